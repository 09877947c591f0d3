"""
Pushing, in all of ntfy's spellings and in ours.

    POST|PUT  /                           ntfy's JSON object
    POST|PUT  /<topic>                    the body is the message; %2F in the topic is a level's end
    GET       /<topic>/publish            the same for who can only open a URL; also send and trigger
    POST|PUT  /<topic>/<sequence>         a message that takes the place of earlier ones of this sequence
    PUT       /<topic>/<sequence>/clear   readers shall take those away; also read
    DELETE    /<topic>/<sequence>         and forget them; one that is scheduled is not published
    POST|PUT  /v1/publish/<mqtt/topic>    the body is the payload, byte for byte

The answer is ntfy's message object, once all that must survive of the push is durable. This is the gateway's
hot path, and so a plain resource.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

from pushd.broker.interfaces import Principal
from pushd.broker.message import PushMark, new_push_id
from pushd.broker.publication import Publication
from pushd.gateway.http import problems
from pushd.gateway.http.problems import OF_REASON_CODE, Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller, Guard
from pushd.gateway.identity.visitors import PUSHES_PER_S
from pushd.gateway.ntfy.composing import Composer, sequence_id
from pushd.gateway.ntfy.delays import DelayRange
from pushd.gateway.ntfy.idempotency import Answers, Remember
from pushd.gateway.ntfy.messages import as_json, marked_as_json, message_line
from pushd.gateway.ntfy.parameters import TRUE, Parameters
from pushd.gateway.ntfy.pushes import Push
from pushd.gateway.ntfy.topics import topic_of_segment
from pushd.mqtt.codes import ReasonCode

# What an app shows until it has fetched a message that is elsewhere; ntfy's words.
POLL_TEXT = b"New message"

# What stands behind a topic in a path.
BY_GET = frozenset({b"publish", b"send", b"trigger"})
CLEAR = frozenset({b"clear", b"read"})

PLAIN = Composer()

_ACCEPTED = frozenset({ReasonCode.SUCCESS, ReasonCode.NO_MATCHING_SUBSCRIBERS})


class Publisher(Protocol):
    """What pushing asks of the broker."""

    def publish(self, principal: Principal, publication: Publication) -> Deferred[ReasonCode]:
        """
        Publish for `principal`, if it may.

        :return: fires when the message is stored as durably as its QoS asks for, or with why it was refused.
        """

    def schedule(
        self, principal: Principal, publication: Publication, id: str, delay_s: float
    ) -> Deferred[ReasonCode]:
        """
        The same later, under an id by which it can be cancelled until then. `principal` must be allowed to
        publish now.

        :return: fires when it is certain that the message will be published, or with why it was refused.
        """

    def tell(self, principal: Principal, publication: Publication, event: str) -> Deferred[ReasonCode]:
        """
        Tell those who read the topic as a stream, now or later, what becomes of a sequence, or to fetch a
        message from elsewhere. What is scheduled of a sequence is cancelled by ``message_delete``.

        :return: as `publish`.
        """

    def has_readers(self, topic: str) -> bool:
        """Whether anybody would get what is pushed to a topic."""

    def keep_s(self, topic: str) -> int:
        """How long the archive keeps what is pushed to a topic; 0 for not at all."""


@dataclass(frozen=True, slots=True)
class PushDesk:
    """
    What the push pages of all listeners share.

    :ivar sends_json: whether MQTT subscribers get message objects, unless a push says something else.
    :ivar composer: makes pushes of requests.
    :ivar answers: gives a request that comes again the answer of the first; ``None``: each is the first.
    """

    sends_json: Callable[[], bool] = lambda: False
    answers: Answers | None = None
    composer: Composer = PLAIN


class PushPage(Resource):
    """
    Takes pushes, and answers with ntfy's message object.

    :param now: Unix seconds.
    """

    isLeaf = True

    def __init__(
        self,
        guard: Guard,
        publisher: Publisher,
        now: Callable[[], float],
        delays: DelayRange,
        desk: PushDesk,
    ) -> None:
        super().__init__()
        self._guard = guard
        self._publisher = publisher
        self._now = now
        self._delays = delays
        self._desk = desk

    def render(self, request: GatewayRequest) -> int:
        """
        :raises Refusal: 40401, a method or path that is nothing.
        """
        if is_push(request):
            return request.answer_with(self._publish(request))
        event = event_of(request)
        if event is None:
            raise Refusal(problems.NOT_FOUND)
        return request.answer_with(self._end(request, event))

    async def _publish(self, request: GatewayRequest) -> bytes:
        caller = await self._identify(request)
        answers = self._desk.answers
        if answers is None or request.getHeader(b"idempotency-key") is None:
            return await self._push(request, caller, None)
        return await answers.of_request(request, caller, partial(self._push, request, caller))

    async def _identify(self, request: GatewayRequest) -> Caller:
        """
        A push for an app (UnifiedPush) that somebody waits for is held against the app's topic, and not
        against whoever sends it.
        """
        topic = _topic_of_app(request)
        if topic is None or not self._publisher.has_readers(topic):
            return await self._guard.identify(request)
        caller = await self._guard.identify(request, cost=0)
        self._guard.visitors.check_key(("unifiedpush", topic), PUSHES_PER_S)
        return caller

    async def _push(self, request: GatewayRequest, caller: Caller, remember: Remember | None) -> bytes:
        push, file = await self._desk.composer.compose(request, caller, self._due_at)
        if push.parameters.poll_id:
            return await self._tell(caller, replace(push, payload=POLL_TEXT), "poll_request")
        send = self._schedule if push.parameters.delay else self._send
        try:
            return await send(caller, push, remember)
        except Refusal:
            if file is not None:
                self._desk.composer.forget(file)
            raise

    def _due_at(self, delay: str) -> float:
        return self._delays.due_at(delay, self._now()) if delay else 0.0

    async def _send(self, caller: Caller, push: Push, remember: Remember | None) -> bytes:
        publication = self._publication(push, int(self._now()))
        answer = _answer(publication)
        check_accepted(await self._publisher.publish(caller, _to_remember(publication, remember, answer)))
        return answer

    async def _schedule(self, caller: Caller, push: Push, remember: Remember | None) -> bytes:
        """As in ntfy, the time in the answer is that of the delivery."""
        due_at, now = self._due_at(push.parameters.delay), self._now()
        publication = self._publication(push, int(due_at))
        assert publication.mark is not None
        answer, id = _answer(publication), publication.mark.id
        publication = _to_remember(publication, remember, answer)
        check_accepted(await self._publisher.schedule(caller, publication, id, due_at - now))
        return answer

    async def _end(self, request: GatewayRequest, event: str) -> bytes:
        """What was said in a sequence is over, one way or the other."""
        caller = await self._guard.identify(request)
        topic = topic_of_segment(request.segments[0])
        push = Push(topic, b"", Parameters(sequence_id=sequence_id(request.segments[1])))
        return await self._tell(caller, push, event)

    async def _tell(self, caller: Caller, push: Push, event: str) -> bytes:
        """Something for readers of streams alone."""
        publication = push.publication(self._mark(push, int(self._now())))
        check_accepted(await self._publisher.tell(caller, publication, event))
        return _answer(publication, event)

    def _publication(self, push: Push, at: int) -> Publication:
        publication = push.publication(self._mark(push, at))
        wanted = push.parameters.as_json
        if not (self._desk.sends_json() if wanted is None else wanted):
            return publication
        assert publication.mark is not None
        payload = as_json(push.topic, publication.message("", 0))
        return replace(publication, payload=payload, mark=marked_as_json(publication.mark))

    def _mark(self, push: Push, at: int) -> PushMark:
        return PushMark(new_push_id(), at, self._publisher.keep_s(push.topic) if push.parameters.keep else 0)


def _to_remember(publication: Publication, remember: Remember | None, answer: bytes) -> Publication:
    """The same, with its answer recorded when it is."""
    return publication if remember is None else replace(publication, taken=partial(remember, answer))


def _answer(publication: Publication, event: str = "message") -> bytes:
    mark = publication.mark
    assert mark is not None
    until = mark.at + mark.keep_s if mark.keep_s else 0
    return message_line(publication.topic, publication.message("", 0), event, until)


def _topic_of_app(request: GatewayRequest) -> str | None:
    """The topic of an endpoint as ntfy's apps hand it out, ``/upXXXXXXXXXXXX?up=1``."""
    if not request.args or request.argument(b"up").decode("latin-1").lower() not in TRUE:
        return None
    first, *others = request.segments
    return None if others or not first else topic_of_segment(first)


def is_push(request: GatewayRequest) -> bool:
    """Whether somebody wants something published."""
    segments = request.segments
    if segments[:2] == [b"v1", b"publish"]:
        return request.method in (b"POST", b"PUT")
    if request.method == b"GET":
        return len(segments) == 2 and segments[1] in BY_GET
    named = len(segments) == 1 or all(segments)
    return request.method in (b"POST", b"PUT") and len(segments) <= 2 and named


def event_of(request: GatewayRequest) -> str | None:
    """What readers of a topic are to do with a sequence; ``None`` if that is not what the request says."""
    segments = request.segments
    if request.method == b"DELETE" and len(segments) == 2:
        return "message_delete"
    if request.method == b"PUT" and len(segments) == 3 and segments[2] in CLEAR:
        return "message_clear"
    return None


def check_accepted(code: ReasonCode) -> None:
    """
    :raises Refusal: the broker did not take it.
    """
    if code not in _ACCEPTED:
        raise Refusal(OF_REASON_CODE.get(code, problems.INTERNAL_ERROR))
