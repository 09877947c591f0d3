"""
Server-sent events: an answer that goes on for as long as its reader stays.

    self._streams = Streams()                       # one for each gateway
    ...
    @app.route("/news", methods=["GET"])
    async def news(self, request: GatewayRequest) -> None:
        caller = await self._guard.identify(request)
        stream = self._streams.prepare(request, caller)      # or 42903: too many are open
        await feed(stream, self._listening, caller, "news/#", lambda topic, message: stream.send(...))
        stream.begin()
        await stream.until_over()

Until `begin` the request can still be refused; from then on its answer has begun. A stream is over when its
reader leaves, when `close` is called, or when the reader does not read what it is sent: then it is cut off,
for what waits for a reader takes memory, and a stream with gaps would look whole.

The format is that of the HTML standard, §9.2: lines ``field: value``, and an empty line behind each event.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from pushd.broker.interfaces import Principal
from pushd.broker.message import Message
from pushd.broker.tap import Tap
from pushd.gateway import problems
from pushd.gateway.guards import Caller
from pushd.gateway.problems import Refusal
from pushd.gateway.request import GatewayRequest, http_date
from pushd.mqtt.codes import ReasonCode

# As often as ntfy's keep-alives (`keepalive-interval`): proxies and phones take a minute of silence for the
# end.
HEART_BEAT_S = 45.0

# What may wait for a reader beside the 64 KiB from which on the transport says that it does not keep up.
MAX_UNREAD_BYTES = 262_144

# A browser shares one login between its tabs, a house its address; ntfy has `visitor-subscription-limit` 30.
MAX_PER_CALLER = 30
# A stream takes a file of the process, as a connection does, and about 20 KiB.
MAX_STREAMS = 10_000

_HEADERS = (
    (b"Server", b"pushd"),
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Cache-Control", b"no-store"),
    (b"Access-Control-Allow-Origin", b"*"),
    (b"X-Accel-Buffering", b"no"),  # nginx would wait for a few kilobytes
)

_HEART_BEAT = b":\n\n"  # a comment, which no reader takes for an event

log = Logger()
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# A user name, or the address of a caller without one.
_Who: TypeAlias = "tuple[str | None, str]"


class Streams:
    """
    Those that are open at one gateway.

    :param per_caller: how many one user may have open; callers without a name are told apart by address.
    :param at_most: how many there may be.
    """

    def __init__(self, per_caller: int = MAX_PER_CALLER, at_most: int = MAX_STREAMS) -> None:
        self._per_caller = per_caller
        self._at_most = at_most
        self._open: Counter[_Who] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def prepare(self, request: GatewayRequest, caller: Caller) -> EventStream:
        """
        Have a place for a stream, from now until its request is over in whatever way.

        :raises Refusal: 42903, all places are taken.
        """
        who = _who(request, caller)
        if self._open[who] >= self._per_caller or self._count >= self._at_most:
            raise Refusal(problems.TOO_MANY_STREAMS)
        self._open[who] += 1
        self._count += 1
        stream = EventStream(request)
        stream.call_when_over(lambda: self._leave(who))
        return stream

    def _leave(self, who: _Who) -> None:
        self._count -= 1
        self._open[who] -= 1
        if not self._open[who]:
            del self._open[who]


def _who(request: GatewayRequest, caller: Caller) -> _Who:
    if caller.username is not None:
        return caller.username, ""
    return None, str(getattr(request.getClientAddress(), "host", ""))


class Stage(Enum):
    """How far a stream has come."""

    PREPARED = "its request can still be refused"
    OPEN = "its answer has begun"
    CUT = "its connection is about to end"
    OVER = "nobody is there any more"


@implementer(IPushProducer)
class EventStream:
    """One reader's events. Made by `Streams.prepare`."""

    def __init__(self, request: GatewayRequest) -> None:
        self._request = request
        self._channel: Any = request.channel  # a `GatewayChannel`; the request forgets it at its end
        self._stage = Stage.PREPARED
        self._full = False  # the transport, of what the reader has not read
        self._unread_bytes = 0  # written since then
        self._beat: IDelayedCall | None = None
        self._when_over: list[Callable[[], object]] = []
        if self._channel is None:  # it left while somebody asked who it is
            self._stage = Stage.OVER
        else:
            request.notifyFinish().addBoth(self._ended)

    @property
    def over(self) -> bool:
        """Whether nobody is there any more."""
        return self._stage is Stage.OVER

    def call_when_over(self, function: Callable[[], object]) -> None:
        """Call it once when the stream is over: at once, if it is."""
        if self.over:
            function()
        else:
            self._when_over.append(function)

    def until_over(self) -> Deferred[None]:
        """:return: fires when the stream is over. klein's pages await it, and then return nothing."""
        waiting: Deferred[None] = Deferred()
        self.call_when_over(lambda: waiting.callback(None))
        return waiting

    def begin(self) -> None:
        """Start the answer. A HEAD has only headers, and is over."""
        if self._stage is not Stage.PREPARED:
            return
        self._stage = Stage.OPEN
        headers = self._request.responseHeaders
        for name, value in _HEADERS:
            headers.setRawHeaders(name, [value])
        headers.setRawHeaders(b"Date", [http_date()])
        self._request.registerProducer(self, True)
        self._full = self._channel.begin_stream()
        self._beat_heart()  # at once: browsers say "open" at the first bytes of the body
        if self._request.method == b"HEAD":
            self.close()

    def send(self, data: dict[str, Any] | str, event: str | None = None, id: str | None = None) -> None:
        """
        Send an event. Before `begin` and after the end there is nobody to send it to.

        :param data: an object goes as JSON; a text may have several lines.
        :param event: its type; "message" is what readers take it for without one.
        :param id: what a reader that comes back says it has seen (``Last-Event-ID``).
        :raises ValueError: a type or id with a line's end in it, or NUL.
        """
        if self._stage is Stage.OPEN:
            self._write(encode_event(data, event, id))

    def close(self) -> None:
        """End the answer properly; its connection may go on to another request."""
        if self._stage is Stage.PREPARED:
            self._request.refuse(problems.UNAVAILABLE)
        elif self._stage is Stage.OPEN:
            self._request.unregisterProducer()
            self._request.finish()

    # What the transport says

    def pauseProducing(self) -> None:
        """The reader does not keep up. What is said meanwhile waits for it, up to a bound."""
        self._full, self._unread_bytes = True, 0

    def resumeProducing(self) -> None:
        """It has read all that waited."""
        self._full = False

    def stopProducing(self) -> None:
        """It is gone; the request is told, too."""

    def _write(self, data: bytes) -> None:
        was_full = self._full  # the very write that fills the transport does not count
        self._request.write(data)
        if was_full:
            self._unread_bytes += len(data)
            if self._unread_bytes > MAX_UNREAD_BYTES:
                self._cut_off()

    def _cut_off(self) -> None:
        self._stage = Stage.CUT
        log.info("A reader of events does not read them: cut off.", log_type="notice")
        self._channel.transport.abortConnection()

    def _beat_heart(self) -> None:
        self._beat = self._channel.callLater(HEART_BEAT_S, self._beat_heart)
        self._write(_HEART_BEAT)

    def _ended(self, _: object) -> None:
        self._stage = Stage.OVER
        if self._beat is not None:
            self._beat.cancel()
        functions, self._when_over = self._when_over, []
        for function in functions:
            function()


class Listening(Protocol):
    """What streams ask of the broker."""

    def listen(
        self,
        principal: Principal,
        filter: str,
        received: Callable[[str, Message], None],
        ended: Callable[[], None],
    ) -> Deferred[Tap | ReasonCode]:
        """See `pushd.broker.tap.listen`."""


async def feed(
    stream: EventStream,
    listening: Listening,
    caller: Caller,
    filter: str,
    received: Callable[[str, Message], None],
) -> None:
    """
    Give `received` what comes on the topics that `filter` matches, for as long as the stream lasts.

    :raises Refusal: the caller may not listen there.
    """
    tap = await listening.listen(caller, filter, received, stream.close)
    if isinstance(tap, ReasonCode):
        raise Refusal(problems.OF_REASON_CODE.get(tap, problems.INTERNAL_ERROR))
    stream.call_when_over(tap.end)


def encode_event(data: dict[str, Any] | str, event: str | None = None, id: str | None = None) -> bytes:
    """
    :return: an event as it stands in a stream.
    :raises ValueError: see `EventStream.send`.
    """
    lines = [f"{name}: {_one_line(value)}" for name, value in (("event", event), ("id", id)) if value]
    text = data if isinstance(data, str) else _to_json(data)
    # The three ends of a line that the format knows; str.splitlines knows more.
    lines += [f"data: {line}" for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


def _one_line(value: str) -> str:
    if any(letter in value for letter in "\r\n\0"):
        raise ValueError("an event's type or id is one line")
    return value
