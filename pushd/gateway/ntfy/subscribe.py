"""
Reading topics as streams: ntfy's subscriptions.

    GET  /<topic>[,<topic>...]/json           and sse, raw, ws: what is said on these topics
    GET  /<topic>[,<topic>...]/auth           {"success":true} for who may read them all
    GET  /v1/subscribe/<mqtt/topic...>/json   the same of one topic or topic filter of MQTT, as it is

A topic in the first spelling is one of ntfy's, or one of several levels with ``%2F`` between them. The second
takes any topic filter, wildcards and all (``+``, and ``#`` as ``%23``), and is to ``/v1/publish`` what the
first is to pushing. There is no archive for filters with wildcards: such a stream has what is being said.

Who asks for several topics and may not read one gets none. What may be said about a stream are the parameters
``since``, ``poll``, ``scheduled`` (`read_wish`) and filters (`pushd.gateway.ntfy.filters`); what comes of it
is told in `pushd.gateway.ntfy.reading`.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.resource import Resource

from pushd.gateway.http import problems
from pushd.gateway.http.pages import Pages
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.http.streams import HEART_BEAT_S, HttpStream, Places, Stream
from pushd.gateway.identity.guards import Caller, Guard
from pushd.gateway.ntfy.announcements import Announcer
from pushd.gateway.ntfy.filters import read_filter
from pushd.gateway.ntfy.formats import FRAMES, JSON, RAW, SSE, Format
from pushd.gateway.ntfy.lookup import is_true, look_up
from pushd.gateway.ntfy.reading import Reader, Source, Wish, check_access
from pushd.gateway.ntfy.since import ALL, NONE, read_since
from pushd.gateway.ntfy.topics import topic_of_segment
from pushd.gateway.ntfy.websocket import WebSocketStream
from pushd.mqtt.topics import is_valid_filter

# Each is a subscription in the broker. ntfy's apps put all topics of a server into one stream.
MAX_TOPICS = 200

FORMATS = {b"json": JSON, b"sse": SSE, b"raw": RAW, b"ws": FRAMES}
AUTH = b"auth"


def subscribe_pages(
    guard: Guard,
    source: Source,
    places: Places,
    now: Callable[[], float],
    beat_s: Callable[[], float] = lambda: HEART_BEAT_S,
) -> Pages:
    """
    The pages of this module. Those behind topics stand below ``*/``.

    :param places: those that all streams of this listener share.
    :param now: Unix seconds.
    :param beat_s: between signs of life.
    """
    page = SubscribePage(guard, source, places, now, beat_s)
    return {b"v1/subscribe": page} | {b"*/" + name: page for name in (*FORMATS, AUTH)}


class SubscribePage(Resource):
    """All of them."""

    isLeaf = True

    def __init__(
        self,
        guard: Guard,
        source: Source,
        places: Places,
        now: Callable[[], float],
        beat_s: Callable[[], float],
    ) -> None:
        super().__init__()
        self._guard = guard
        self._source = source
        self._places = places
        self._now = now
        self._beat_s = beat_s
        self._announcer = Announcer(source.mark, source.when_durable)

    def render(self, request: GatewayRequest) -> int:
        """
        :raises Refusal: 40401, a method or path that is nothing.
        """
        name = request.segments[-1]
        if request.method not in (b"GET", b"HEAD"):
            raise Refusal(problems.NOT_FOUND)
        if name == AUTH:
            return request.answer_with(self._check(request))
        if name not in FORMATS:
            raise Refusal(problems.NOT_FOUND)
        return request.answered_by(self._serve(request, FORMATS[name]))

    async def _check(self, request: GatewayRequest) -> bytes:
        caller = await self._guard.identify(request)
        await check_access(self._source, caller, read_topics(request).topics)
        return b'{"success":true}\n'

    async def _serve(self, request: GatewayRequest, format: Format) -> None:
        caller = await self._guard.identify(request)
        wish = read_wish(request, self._now())
        reader = Reader(self._source, self._announcer, caller, wish, format, self._now)
        reader.stream = self._stream(request, caller, format, reader)
        await reader.run(await reader.prepare())

    def _stream(self, request: GatewayRequest, caller: Caller, format: Format, reader: Reader) -> Stream:
        """
        :raises Refusal: 42903; 40016 and others, it cannot be a WebSocket.
        """
        leave = self._places.take(caller)
        stream: Stream
        try:
            if format is FRAMES:
                stream = WebSocketStream(request, reader.beat, self._beat_s())
            else:
                stream = HttpStream(request, format.content_type, reader.beat, self._beat_s())
        except Refusal:
            leave()
            raise
        stream.call_when_over(leave)
        return stream


def read_wish(request: GatewayRequest, now: float) -> Wish:
    """
    :param now: Unix seconds.
    :raises Refusal: 40008 for ``since``, 40007 for a priority, and those of `read_topics`.
    """
    topics = read_topics(request)
    poll = is_true(request, "x-poll", "poll", "po")
    said = look_up(request, "x-since", "since", "si")
    since = read_since(said, now, unsaid=ALL if poll else NONE)
    if topics.has_wildcards and not since.nothing:
        raise Refusal(problems.SINCE_WILDCARD)
    scheduled = is_true(request, "x-scheduled", "scheduled", "sched")
    return Wish(
        topics.topics, topics.named, topics.has_wildcards, since, poll, scheduled, read_filter(request)
    )


def read_topics(request: GatewayRequest) -> Wish:
    """
    :return: only about the topics.
    :raises Refusal: 40009 and 40010 for topics, 42904 for too many of them, 40401 for none.
    """
    first, *others = request.segments[:-1]
    if others or first == b"v1":
        return _of_filter(b"/".join(others[1:]))
    parts = first.split(b",")
    if len(parts) > MAX_TOPICS:
        raise Refusal(problems.TOO_MANY_TOPICS)
    topics = tuple(dict.fromkeys(map(topic_of_segment, parts)))
    return Wish(topics, ",".join(topics))


def _of_filter(path: bytes) -> Wish:
    if not path:
        raise Refusal(problems.NOT_FOUND)
    try:
        filter = path.decode()
    except UnicodeDecodeError:
        raise Refusal(problems.TOPIC_INVALID) from None
    if not is_valid_filter(filter):
        raise Refusal(problems.TOPIC_INVALID)
    return Wish((filter,), filter, has_wildcards="+" in filter or "#" in filter)
