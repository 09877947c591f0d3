"""
The pages of the gateway: what is at which path.

    POST|PUT  /                        ntfy's JSON object
    POST|PUT  /<topic>                 the body is the message; %2F in the topic is a level's end
    POST|PUT  /v1/publish/<mqtt/topic> the body is the payload, byte for byte
    GET       /v1/health               open to all
    OPTIONS   anything                 what a browser may send from another site's page: everything

Pushing is the hot path and a plain resource. The other pages of ``/v1`` are klein's: half as fast, and easier
to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from pushd.broker.interfaces import Principal
from pushd.broker.publication import Publication
from pushd.gateway import problems
from pushd.gateway.delays import DelayRange
from pushd.gateway.guards import Guard
from pushd.gateway.messages import Message, new_id
from pushd.gateway.pages import Pages, json_app
from pushd.gateway.problems import OF_REASON_CODE, Refusal
from pushd.gateway.pushes import Push, push_of_bytes, push_of_json, push_of_text
from pushd.gateway.request import GatewayRequest
from pushd.gateway.topics import topic_of_segment, topic_of_segments
from pushd.mqtt.codes import ReasonCode

_ACCEPTED = frozenset({ReasonCode.SUCCESS, ReasonCode.NO_MATCHING_SUBSCRIBERS})


class Publisher(Protocol):
    """What the gateway asks of the broker."""

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


class Root(Resource):
    """Sends each request to its page."""

    def __init__(
        self,
        guard: Guard,
        publisher: Publisher,
        healthy: Callable[[], bool],
        now: Callable[[], float],
        delays: DelayRange,
        pages: Pages,
    ) -> None:
        super().__init__()
        self._push = PushPage(guard, publisher, now, delays)
        self._version_1 = VersionOne(healthy).app.resource()
        self._preflight = Preflight()
        self._pages = pages

    def getChildWithDefault(self, segment: bytes, request: GatewayRequest) -> IResource:
        if request.method == b"OPTIONS":
            return self._preflight
        if segment == b"v1" and request.postpath and request.postpath[0] != b"publish":
            _check_path(request)
            return self._pages.get(b"v1/" + request.postpath[0], self._version_1)
        if request.method in (b"GET", b"HEAD") and segment in self._pages:
            _check_path(request)
            return self._pages[segment]
        return self._push


class PushPage(Resource):
    """Takes pushes in all their spellings and answers with ntfy's message object."""

    isLeaf = True

    def __init__(
        self, guard: Guard, publisher: Publisher, now: Callable[[], float], delays: DelayRange
    ) -> None:
        super().__init__()
        self._guard = guard
        self._publisher = publisher
        self._now = now
        self._delays = delays

    def render(self, request: GatewayRequest) -> int:
        """
        :raises Refusal: 40401, a method or path that is nothing.
        """
        if request.method not in (b"POST", b"PUT") or not _is_push_path(request):
            raise Refusal(problems.NOT_FOUND)
        return request.answer_with(self._publish(request))

    async def _publish(self, request: GatewayRequest) -> bytes:
        caller = await self._guard.identify(request)
        push = read_push(request)
        if push.parameters.delay:
            return await self._schedule(caller, push)
        parameters = push.parameters
        code = await self._publisher.publish(caller, push.publication())
        check_accepted(code)
        return Message(new_id(), int(self._now()), push.topic, push.payload, parameters).to_json()

    async def _schedule(self, caller: Principal, push: Push) -> bytes:
        """As in ntfy, the time in the answer is that of the delivery."""
        parameters = push.parameters
        now = self._now()
        due_at = self._delays.due_at(parameters.delay, now)
        message = Message(new_id(), int(due_at), push.topic, push.payload, parameters)
        code = await self._publisher.schedule(caller, push.publication(), message.id, due_at - now)
        check_accepted(code)
        return message.to_json()


def read_push(request: GatewayRequest) -> Push:
    """
    :raises Refusal: it makes no sense.
    """
    headers, query, body = request.requestHeaders.getAllRawHeaders(), request.args, request.body
    first, *others = request.segments
    if others:
        return push_of_bytes(topic_of_segments(others[1:]), body, headers, query)
    if not first:
        return push_of_json(body, headers, query)
    return push_of_text(topic_of_segment(first), body, headers, query)


def check_accepted(code: ReasonCode) -> None:
    """
    :raises Refusal: the broker did not take it.
    """
    if code not in _ACCEPTED:
        raise Refusal(OF_REASON_CODE.get(code, problems.INTERNAL_ERROR))


def _check_path(request: GatewayRequest) -> None:
    """klein answers a path that is not UTF-8 with plain text, and logs it as an error of ours."""
    try:
        b"/".join(request.segments).decode()
    except UnicodeDecodeError:
        raise Refusal(problems.NOT_FOUND) from None


def _is_push_path(request: GatewayRequest) -> bool:
    return len(request.segments) == 1 or request.segments[:2] == [b"v1", b"publish"]


# There is one thing yet that can be wrong with a pushd that answers.
_NOT_HEALTHY = b'{"healthy":false,"reason":"nothing can be stored at the moment"}\n'


class VersionOne:
    """The pages under ``/v1`` that are not pushes."""

    app = json_app()

    def __init__(self, healthy: Callable[[], bool]) -> None:
        self._healthy = healthy

    @app.route("/health", methods=["GET"])
    def health(self, request: GatewayRequest) -> bytes:
        """For probes and load balancers, without a login: it names no file, and the log says more."""
        if self._healthy():
            return request.prepared(b'{"healthy":true}\n')
        return request.prepared(_NOT_HEALTHY, 503)


_EVERYTHING_ALLOWED = (
    b"Access-Control-Allow-Methods: GET, PUT, POST, PATCH, DELETE\r\nAccess-Control-Allow-Headers: *\r\n"
)


class Preflight(Resource):
    """``OPTIONS``, with which a browser asks whether a page of another site may send what it is about to."""

    isLeaf = True

    def render(self, request: GatewayRequest) -> int:
        request.answer(b"", headers=_EVERYTHING_ALLOWED)
        return NOT_DONE_YET
