"""
Pushes as programs send them: to topics, users and clients, and with an account of what became of them.

    POST  /v1/push            one push (`pushd.gateway.push.push_request`)
    POST  /v1/push/batch      up to 1000: [{...}, ...]
    GET   /v1/push/<id>       its receipt (`pushd.gateway.push.receipts`); ?limit=1..1000, ?after=
    GET   /v1/push/<id>/sse   what happens to it, as server-sent events

The answer to a push comes once all that must survive of it is durable, with how many sessions it reached:

    {"id":"kX3bP9aQ0zLm","time":1700000000,"sessions":3,"counts":{"queued":1,"sent":2,"refused":0}}

With ``?wait=5s`` it comes when the push has come to its end at each of them, or after that time, and is a
receipt's summary. The answer to a batch has a result for each push, in their order: what its own answer would
be, or ``{"error": {...}}`` with the error object. One that is refused does not keep the others from being
sent. A batch with an ``Idempotency-Key`` may be sent again: what was pushed is not pushed twice.

**Who may.** The caller must be allowed to publish: to each topic that is named, or nothing is sent at all; to
"topic", for what goes to users, clients and all; and of what a topic with a wildcard stands for, the rest is
left out. Each session must be allowed to read it, too. Nobody needs to be an administrator: who may write to
some topic may push to all who may read it. Where that is too much, an ACL keeps "topic" to a few.

A push that asks for a receipt, for a webhook or to wait has a receipt; the others cost nothing beyond
themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from pushd.broker.interfaces import Principal
from pushd.broker.message import PushMark, new_push_id
from pushd.broker.publication import Publication
from pushd.broker.targets import Outcome, Targets
from pushd.broker.trie import is_exact
from pushd.gateway.http import problems
from pushd.gateway.http.events import Streams
from pushd.gateway.http.openapi import EVENTS, described, integer, listed, or_null, record, text
from pushd.gateway.http.pages import json_answer, json_app, page_limit, path_text
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller, Guard
from pushd.gateway.identity.scopes import WHOLE
from pushd.gateway.ntfy.delays import DelayRange
from pushd.gateway.ntfy.idempotency import Answers, Remember, forget, key_of, who
from pushd.gateway.ntfy.messages import marked_as_json, message_object, to_json
from pushd.gateway.ntfy.publish import check_accepted
from pushd.gateway.push.push_request import SCHEMA, PushRequest, read_batch, read_json, read_push_request
from pushd.gateway.push.receipts import (
    ReceiptReader,
    Receipts,
    after_of,
    summary,
    wait_of,
)
from pushd.gateway.push.scheduled import Later, Postponed
from pushd.gateway.push.webhooks import Webhooks
from pushd.mqtt.codes import ReasonCode

# Programs put off what they like; a reminder for next year belongs in a calendar all the same.
DELAYS = DelayRange(1, 30 * 86_400)

# Of a batch, before others are served: about 5 ms.
SLICE = 20

log = Logger()


class Pusher(Protocol):
    """The broker as the callers of one listener see it."""

    @property
    def listener(self) -> str:
        """The listener's name."""

    @property
    def mount_point(self) -> str:
        """What its callers do not see of a topic."""

    def push(
        self,
        principal: Principal,
        publication: Publication,
        targets: Targets,
        taken: Callable[[Outcome], object],
    ) -> Deferred[Outcome]:
        """See `pushd.broker.targets.push`."""

    def may_write(self, principal: Principal, topic: str) -> Deferred[ReasonCode]:
        """Whether somebody may publish there, as things are."""

    def keep_s(self, topic: str) -> int:
        """How long the archive keeps what is pushed to a topic; 0 for not at all."""


@dataclass(frozen=True, slots=True)
class PushOffice:
    """
    What the pages of all listeners share.

    :ivar answers: for requests that come again.
    :ivar postponed: what is to be sent later.
    :ivar now: Unix seconds.
    :ivar durable: fires when all that was recorded until now is.
    :ivar can_store: whether that can be expected to happen soon.
    :ivar soon: calls something when others have been served.
    :ivar sends_json: whether MQTT subscribers get message objects, unless a push says something else.
    """

    answers: Answers
    webhooks: Webhooks
    postponed: Postponed
    receipts: Receipts
    now: Callable[[], float]
    durable: Callable[[], Deferred[None]]
    can_store: Callable[[], bool]
    soon: Callable[[Callable[[], None]], object]
    sends_json: Callable[[], bool] = lambda: False

    def send(
        self,
        pusher: Pusher,
        principal: Principal,
        wanted: PushRequest,
        id: str,
        taken: Callable[[Outcome], object],
    ) -> Deferred[Outcome]:
        """Push now. `taken` is as in `Pusher.push`."""

        def recorded(outcome: Outcome) -> None:
            if wanted.webhook:
                receipt = self.receipts.get(id)
                self.webhooks.expect(id, wanted.webhook, self.now() if receipt is None else receipt.until)
            taken(outcome)

        publication = self._publication(wanted, self._mark(pusher, wanted, id))
        return pusher.push(principal, publication, wanted.targets, recorded)

    def _mark(self, pusher: Pusher, wanted: PushRequest, id: str) -> PushMark:
        topics = [topic for topic in wanted.targets.topics if is_exact(topic)]
        # Where topics differ, none may be kept longer than its own configuration says. What goes right into
        # sessions has no history, nor has what a wildcard stands for.
        keep_s = min(map(pusher.keep_s, topics), default=0) if wanted.parameters.keep else 0
        receipt = wanted.receipt or bool(wanted.webhook)
        return PushMark(id, int(self.now()), keep_s, receipt, wanted.collapse_key)

    def _publication(self, wanted: PushRequest, mark: PushMark) -> Publication:
        publication = wanted.publication(mark)
        as_json = wanted.parameters.as_json
        if not (self.sends_json() if as_json is None else as_json):
            return publication
        shown = message_object(wanted.topic, publication.message("", 0))
        if not wanted.topic:  # several: each device knows by which it came
            del shown["topic"]
        return replace(publication, payload=to_json(shown).encode(), mark=marked_as_json(mark))

    async def send_later(
        self, pusher: Pusher, caller: Caller, wanted: PushRequest, said: dict[str, Any], remember: Remember
    ) -> bytes:
        """
        Put a push off.

        :param said: the JSON object that it was read from.
        :raises Refusal: it is no time to come, the caller may not publish there now, or too many wait.
        """
        now = self.now()
        due_at = DELAYS.due_at(wanted.deliver_at, now)
        topics = [topic for topic in wanted.targets.topics if is_exact(topic)]
        if len(topics) < len(wanted.targets.topics) and caller.scope != WHOLE:
            raise Refusal(problems.FORBIDDEN)  # nobody knows then what a token's scope was
        for topic in [*topics, wanted.topic] if wanted.targets.direct else topics:
            check_accepted(await pusher.may_write(caller, topic))
        if not self.can_store():
            raise Refusal(problems.NO_ROOM)
        later = Later(new_push_id(), due_at, caller.username, pusher.listener, said)
        answer = _line({"id": later.id, "time": int(due_at), "scheduled": True})
        self.postponed.add(later)
        remember(answer)
        await self.durable()
        return answer


_COUNTS = record(
    ["queued", "sent", "refused"],
    queued=integer("Copies that wait for their session"),
    sent=integer("Copies that were sent at once"),
    refused=integer("Copies that sessions did not take"),
    acknowledged=integer(),
    expired=integer(),
)
_ANSWER = record(
    ["id", "time"],
    id=text(),
    time=integer("Unix seconds"),
    sessions=integer("How many sessions it reached"),
    counts=_COUNTS,
)
_RESULTS = record(["results"], results=listed({"type": "object"}, "In the order of the pushes"))
_RECEIPT = record(
    ["id", "time", "complete", "counts", "devices", "next"],
    id=text(),
    time=integer(),
    expires=integer("When it is forgotten"),
    complete={"type": "boolean"},
    counts=_COUNTS,
    devices=listed({"type": "object"}),
    next=or_null(text("What `after` wants")),
)
_KEY = {"Idempotency-Key": text("Makes it safe to send the same request again, for 24 hours")}
_WAIT = {"wait": text("Answer when it has come to its end everywhere, or after this time", examples=["5s"])}
_PAGE = {"after": text("What `next` was"), "limit": integer(minimum=1, maximum=1000)}


class PushApiPages:
    """
    ``/v1/push`` and below, of one listener.

    :param pusher: the broker as callers of this listener see it.
    :param receipts: the receipts, the same.
    """

    app = json_app()

    def __init__(
        self, guard: Guard, pusher: Pusher, office: PushOffice, receipts: ReceiptReader, streams: Streams
    ) -> None:
        self._guard = guard
        self._pusher = pusher
        self._office = office
        self._receipts = receipts
        self._streams = streams

    @app.route("/push", methods=["POST"])
    @described("Push to topics, users and clients", query=_WAIT, headers=_KEY, body=SCHEMA, answer=_ANSWER)
    async def push(self, request: GatewayRequest) -> bytes:
        """
        :raises Refusal: as `read_push_request`; what the broker says to a publish; 50700, no room.
        """
        caller = await self._guard.identify(request)
        said, wait_s = read_json(request.body), wait_of(request)
        wanted = read_push_request(said)
        if wait_s and wanted.deliver_at:
            raise Refusal(problems.WAIT_FOR_LATER)
        if wait_s:
            wanted = replace(wanted, receipt=True)
        make = partial(self._push, caller, wanted, said)
        answer = await self._office.answers.of_request(request, caller, make)
        if wait_s:
            answer = await self._waited(request, caller, answer, wait_s)
        return request.prepared(answer)

    async def _push(
        self, caller: Caller, wanted: PushRequest, said: dict[str, Any], remember: Remember
    ) -> bytes:
        if wanted.webhook:
            self._office.webhooks.check(wanted.webhook)
        if wanted.deliver_at:
            return await self._office.send_later(self._pusher, caller, wanted, said, remember)
        id, at = new_push_id(), int(self._office.now())
        told: list[bytes] = []

        def taken(outcome: Outcome) -> None:
            told.append(_told(id, at, outcome))
            remember(told[0])

        outcome = await self._office.send(self._pusher, caller, wanted, id, taken)
        check_accepted(outcome.code)
        return told[0]

    async def _waited(self, request: GatewayRequest, caller: Caller, answer: bytes, wait_s: float) -> bytes:
        """The answer with what has become of the push meanwhile."""
        told = json.loads(answer)
        await self._receipts.until_complete(told["id"], wait_s, request)
        receipt = await self._receipts.read(caller, told["id"])
        return _line({**told, **summary(receipt)})

    @app.route("/push/batch", methods=["POST"])
    @described(
        "Up to 1000 pushes, each for itself",
        headers=_KEY,
        body={"oneOf": [listed(SCHEMA), record(["pushes"], pushes=listed(SCHEMA))]},
        answer=_RESULTS,
    )
    async def batch(self, request: GatewayRequest) -> bytes:
        """
        :raises Refusal: 40000 or 40024 for what is no batch; 42901.
        """
        caller = await self._guard.identify(request)
        pushes, key = read_batch(request.body), key_of(request)
        self._guard.visitors.check(caller, max(len(pushes) - 1, 0))
        whose, waiting = who(caller), []
        for number, said in enumerate(pushes):
            waiting.append(Deferred.fromCoroutine(self._one(caller, said, whose, key, number)))
            if number % SLICE == SLICE - 1:
                await self._breathe()
        results = await gatherResults(waiting)
        return request.prepared(b'{"results":[' + b",".join(results) + b"]}\n")

    async def _one(
        self, caller: Caller, said: dict[str, Any], whose: str, key: bytes | None, number: int
    ) -> bytes:
        """One push of a batch, and its result: it never fails."""
        try:
            make = partial(self._push, caller, read_push_request(said), said)
            if key is None:
                return (await make(forget)).strip()
            digest = sha256(_line(said)).digest()
            return (await self._office.answers.answer(whose, key, digest, make, number + 1)).strip()
        except Refusal as refusal:
            problem = refusal.problem
        except Exception:
            log.failure("one push of a batch failed")
            problem = problems.INTERNAL_ERROR
        return b'{"error":' + problem.body.strip() + b"}"

    def _breathe(self) -> Deferred[None]:
        later: Deferred[None] = Deferred()
        self._office.soon(lambda: later.callback(None))
        return later

    @app.route("/push/<id>", methods=["GET"])
    @described("What became of a push at each device", query=_PAGE | _WAIT, answer=_RECEIPT)
    async def receipt(self, request: GatewayRequest, id: str) -> bytes:
        """
        :raises Refusal: 40400, there is none that this caller may read.
        """
        caller = await self._guard.identify(request)
        id, limit, after, wait_s = path_text(id), page_limit(request), after_of(request), wait_of(request)
        later = self._office.postponed.get(id)
        if later is not None:
            return json_answer(request, self._not_yet(caller, later))
        if wait_s:
            await self._receipts.read(caller, id)  # before somebody waits for what is not theirs
            await self._receipts.until_complete(id, wait_s, request)
        receipt = await self._receipts.read(caller, id)
        return json_answer(request, self._receipts.page(receipt, after, limit))

    def _not_yet(self, caller: Caller, later: Later) -> dict[str, Any]:
        if not self._receipts.may_read(caller, later.username or ""):
            raise Refusal(problems.PUSH_NOT_FOUND)
        shown = {"id": later.id, "time": int(later.due_at), "scheduled": True, "complete": False}
        return {**shown, "counts": {}, "devices": [], "next": None}

    @app.route("/push/<id>/sse", methods=["GET"])
    @described("What happens to a push, as it happens", answers=EVENTS)
    async def stream(self, request: GatewayRequest, id: str) -> None:
        """
        :raises Refusal: 40400, there is none that this caller may read; 42903.
        """
        caller = await self._guard.identify(request)
        receipt = await self._receipts.read(caller, path_text(id))
        stream = self._streams.prepare(request, caller)
        self._receipts.follow(receipt, stream)
        await stream.until_over()


def _told(id: str, at: int, outcome: Outcome) -> bytes:
    refused = outcome.refused or {}
    told: dict[str, Any] = {
        "id": id,
        "time": at,
        "sessions": outcome.sessions,
        "counts": {"queued": outcome.queued, "sent": outcome.sent, "refused": sum(refused.values())},
    }
    return _line({**told, "reasons": refused} if refused else told)


def _line(value: object) -> bytes:
    return to_json(value).encode() + b"\n"


def send_due(
    office: Callable[[], PushOffice],
    pusher_of: Callable[[str], Pusher | None],
    source: Callable[..., Principal],
) -> Callable[[Later, Callable[[], None]], Deferred[ReasonCode]]:
    """
    How what was put off is sent when it is time; see `pushd.gateway.push.scheduled.Postponed`.

    :param pusher_of: by the name of a listener.
    :param source: makes a principal of a client id, a user name and a listener.
    """

    async def send(later: Later, taken: Callable[[], None]) -> ReasonCode:
        pusher = pusher_of(later.listener)
        if pusher is None:  # there is nobody to say what may be sent
            return ReasonCode.NOT_AUTHORIZED
        try:
            wanted = read_push_request(later.said)
        except Refusal:  # a newer version is stricter
            return ReasonCode.UNSPECIFIED_ERROR
        principal = source("", later.username, later.listener)
        outcome = await office().send(pusher, principal, wanted, later.id, lambda outcome: taken())
        return outcome.code

    def start(later: Later, taken: Callable[[], None]) -> Deferred[ReasonCode]:
        sending: Coroutine[Deferred[Any], Any, ReasonCode] = send(later, taken)
        return Deferred.fromCoroutine(sending)

    return start
