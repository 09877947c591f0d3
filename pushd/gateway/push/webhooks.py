"""
Telling a program elsewhere that a push has come to its end.

    POST /its/path HTTP/1.1
    Content-Type: application/json
    X-Pushd-Delivery: kX3bP9aQ0zLm                       the push; the same at each attempt
    X-Pushd-Signature: t=1700000000,v1=5257a869e7...     see below

    {"event":"push","id":"kX3bP9aQ0zLm","time":1700000000,"complete":true,
     "counts":{"queued":0,"sent":0,"acknowledged":3,"expired":0,"refused":0}}

It comes once no device of the push has anything before it any more, or, with ``"complete":false``, shortly
before its receipt is forgotten. ``v1`` is the HMAC-SHA256, in hex, of the number behind ``t``, a full stop
and the body, with ``webhook_secret`` as its key. A receiver compares it in constant time, and refuses what
was signed minutes ago.

Any answer from 200 to 299 will do. Otherwise it is tried again, ever later, for about nine hours; what is
left to do then is said in the log and dropped. A 410 ends it at once. What is waited for and what is to be
sent are notes of the broker's: a restart goes on where this process was, so a receiver may hear of a push
twice, and tells that by its id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.broker.records import Note
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.push.outbound import Answer, NoAnswer, NotAllowed, Target

KIND = "webhook"

# Of pushes that are not at their end, or whose end is not told yet.
MAX_WAITING = 10_000

# Before each attempt but the first: nine hours in all.
BACK_OFF_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 21_600.0)

# So long before its receipt is forgotten a push that is not at its end is told of as it is.
LAST_CALL_S = 60.0


log = Logger()
_to_json = json.JSONEncoder(separators=(",", ":")).encode


class Notes(Protocol):
    """What this needs of `pushd.broker.notes.Notes`."""

    def set(self, kind: str, key: str, value: bytes, until: int) -> bool: ...
    def clear(self, kind: str, key: str) -> None: ...
    def of_kind(self, kind: str) -> list[Note]: ...


class Sender(Protocol):
    """What this needs of `pushd.gateway.push.outbound.Outbound`."""

    def read(self, url: str) -> Target: ...
    async def request(self, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> Answer: ...


@dataclass(slots=True)
class Hook:
    """
    One webhook.

    :ivar body: what it is told; ``None`` until there is something.
    :ivar attempts: that failed.
    :ivar due_at: Unix seconds: of the next attempt; before there is something to tell, of the last call.
    """

    id: str
    url: str
    body: str | None
    attempts: int
    due_at: float
    sending: bool = False

    @property
    def host(self) -> str:
        """For log lines: what else is in a URL may be a secret."""
        return urlsplit(self.url).hostname or ""


class Webhooks:
    """
    All that wait for the end of a push, or could not be told yet.

    :param secret: ``webhook_secret`` as it counts now; ``None`` for no webhooks.
    :param clock: for the attempts; `now` is in Unix seconds.
    :param look: what there is to tell of a push now; ``None`` if it is forgotten.
    """

    def __init__(
        self,
        notes: Notes,
        sender: Sender,
        secret: Callable[[], bytes | None],
        clock: IReactorTime,
        now: Callable[[], float],
        look: Callable[[str], Mapping[str, Any] | None],
    ) -> None:
        self._notes = notes
        self._sender = sender
        self._secret = secret
        self._clock = clock
        self._now = now
        self._look = look
        self._hooks: dict[str, Hook] = {}
        self._heap: list[tuple[float, str]] = []  # a hook that has moved on leaves its old entry behind
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._hooks)

    def check(self, url: str) -> None:
        """
        :raises Refusal: a push with this webhook cannot be taken.
        """
        if self._secret() is None:
            raise Refusal(problems.WEBHOOKS_OFF)
        try:
            self._sender.read(url)
        except NotAllowed:
            raise Refusal(problems.WEBHOOK_INVALID) from None
        if len(self._hooks) >= MAX_WAITING:
            raise Refusal(problems.NO_ROOM_FOR_WEBHOOK)

    def expect(self, id: str, url: str, until: float) -> None:
        """
        Tell of this push at its end. Recorded at once.

        :param until: Unix seconds; when its receipt is forgotten.
        """
        self._keep(Hook(id, url, None, 0, until - LAST_CALL_S), until)

    def forget(self, id: str) -> None:
        """There is no such push after all."""
        self._drop(id)

    def complete(self, id: str) -> None:
        """The push has come to its end. Perhaps said more than once, or of one that nobody waits for."""
        hook = self._hooks.get(id)
        if hook is not None and hook.body is None:
            self._tell(hook)

    def start(self) -> None:
        """Take up what the last process left."""
        for note in self._notes.of_kind(KIND):
            url, body, attempts, due_at = json.loads(note.value)
            hook = Hook(note.key, url, body, attempts, due_at)
            self._put(hook)
            if hook.body is None and self._is_over(hook):  # and the last process did not come to tell it
                self._tell(hook)

    def stop(self) -> None:
        """Nothing more is sent: the next process goes on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hooks.clear()

    # What is to be told

    def _is_over(self, hook: Hook) -> bool:
        told = self._look(hook.id)
        return told is None or bool(told["complete"])

    def _tell(self, hook: Hook) -> None:
        told = self._look(hook.id)
        if told is None:
            self._drop(hook.id)
            return
        hook.body = _to_json({"event": "push", **told})
        hook.due_at = self._now()
        self._keep(hook)

    def _keep(self, hook: Hook, until: float | None = None) -> None:
        value = _to_json([hook.url, hook.body, hook.attempts, hook.due_at]).encode()
        end = until or hook.due_at + sum(BACK_OFF_S)
        self._notes.set(KIND, hook.id, value, int(end) + 1)
        self._put(hook)

    def _drop(self, id: str) -> None:
        if self._hooks.pop(id, None) is not None:
            self._notes.clear(KIND, id)

    # When

    def _put(self, hook: Hook) -> None:
        self._hooks[hook.id] = hook
        heappush(self._heap, (hook.due_at, hook.id))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer = self._clock.callLater(max(0.0, self._heap[0][0] - self._now()), self._due)

    def _due(self) -> None:
        self._timer = None
        while self._heap and self._heap[0][0] <= self._now():
            due_at, id = heappop(self._heap)
            hook = self._hooks.get(id)
            if hook is None or hook.due_at != due_at or hook.sending:
                continue
            if hook.body is None:
                self._tell(hook)
            else:
                self._attempt(hook)
        self._set_timer()

    # Sending

    def _attempt(self, hook: Hook) -> None:
        secret = self._secret()
        if secret is None:  # a reload has taken it away: nobody could tell that it is from us
            self._failed(hook, "there is no webhook_secret")
            return
        assert hook.body is not None
        hook.sending = True
        body, at = hook.body.encode(), int(self._now())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "pushd",
            "X-Pushd-Delivery": hook.id,
            "X-Pushd-Signature": signature(secret, at, body),
        }
        asking = Deferred.fromCoroutine(self._sender.request("POST", hook.url, headers, body))
        asking.addCallbacks(self._answered, self._unanswered, (hook,), errbackArgs=(hook,))
        asking.addErrback(lambda failure: log.failure("a webhook of {id}", failure=failure, id=hook.id))

    def _answered(self, answer: Answer, hook: Hook) -> None:
        if answer.is_success:
            self._drop(hook.id)
        elif answer.status == 410:
            self._give_up(hook, "410")
        else:
            self._failed(hook, str(answer.status))

    def _unanswered(self, failure: Any, hook: Hook) -> None:
        failure.trap(NoAnswer, NotAllowed)
        if failure.check(NotAllowed):
            self._give_up(hook, failure.getErrorMessage())
        else:
            self._failed(hook, failure.getErrorMessage())

    def _failed(self, hook: Hook, reason: str) -> None:
        hook.sending = False
        if self._hooks.get(hook.id) is not hook:
            return  # the process ends
        if hook.attempts == len(BACK_OFF_S):
            self._give_up(hook, reason)
            return
        hook.due_at = self._now() + BACK_OFF_S[hook.attempts]
        hook.attempts += 1
        self._keep(hook)

    def _give_up(self, hook: Hook, reason: str) -> None:
        log.warn(
            "The webhook of push {id} at {host} could not be told: {reason}",
            id=hook.id,
            host=hook.host,
            reason=reason,
        )
        self._drop(hook.id)


def signature(secret: bytes, at: int, body: bytes) -> str:
    """
    The header ``X-Pushd-Signature``.

    :param at: Unix seconds, when it is sent.
    """
    signed = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"
