"""
Pushes that are to be sent later.

    GET     /v1/scheduled        {"scheduled": [...], "next": null}: the caller's own, an administrator's all,
                                 in the order of their times; ?limit=1..1000, ?after= goes on from "next"
    GET     /v1/scheduled/<id>   one, with all that it says
    DELETE  /v1/scheduled/<id>   it is not sent

Two sorts of them are shown as one. What was pushed in ntfy's way to one topic waits as a message in the
broker (`pushd.broker.schedule`). What ``POST /v1/push`` was told waits as it was said, in a note of the
broker's (`Postponed`), for whom it is for is decided when it is sent: who has subscribed by then, and whether
its sender may still write there. It is sent once: that it was, and what follows from it, is recorded in one
turn of the reactor. Where that is impossible at the moment it is tried again, for a day at the most.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, nsmallest
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.broker.message import Message
from pushd.broker.records import MessageScheduled, Note
from pushd.gateway.http import problems
from pushd.gateway.http.openapi import described, integer, listed, or_null, record, text
from pushd.gateway.http.pages import json_answer, json_app, page_limit, path_text
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller, Guard
from pushd.gateway.ntfy.messages import message_object
from pushd.mqtt.codes import ReasonCode

KIND = "later"

MAX_POSTPONED = 10_000
MAX_POSTPONED_BYTES = 67_108_864  # of what was said, all together

# What is due and cannot be sent now is tried again so often, and for so long.
RETRY_S = 30.0
GIVE_UP_S = 86_400
AT_ONCE = 50

# Refusals that may be over in a while; any other is the end.
_PASSING = frozenset({ReasonCode.QUOTA_EXCEEDED, ReasonCode.SERVER_BUSY, ReasonCode.SERVER_UNAVAILABLE})


log = Logger()
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Notes(Protocol):
    """What this needs of `pushd.broker.notes.Notes`."""

    def set(self, kind: str, key: str, value: bytes, until: int) -> bool: ...
    def clear(self, kind: str, key: str) -> None: ...
    def of_kind(self, kind: str) -> list[Note]: ...


class Schedule(Protocol):
    """What this needs of `pushd.broker.schedule.Schedule`."""

    def __iter__(self) -> Iterator[MessageScheduled]: ...
    def get(self, id: str) -> MessageScheduled | None: ...
    def cancel(self, id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Later:
    """
    A push that was put off.

    :ivar due_at: Unix seconds.
    :ivar username: whose it is; ``None`` for somebody without a name.
    :ivar listener: the name of the one that it came by.
    :ivar said: the JSON object of ``POST /v1/push``.
    """

    id: str
    due_at: float
    username: str | None
    listener: str
    said: dict[str, Any]

    def to_note(self) -> bytes:
        """As it is kept."""
        return _to_json([self.due_at, self.username, self.listener, self.said]).encode()

    @classmethod
    def of_note(cls, note: Note) -> Later:
        """The same from there."""
        return cls(note.key, *json.loads(note.value))


# Sends one that is due. Calls its second argument in the turn in which the push is recorded.
Send = Callable[[Later, Callable[[], None]], "Deferred[ReasonCode]"]


class Postponed:
    """
    What ``POST /v1/push`` has put off.

    :param clock: for waiting; `now` is in Unix seconds.
    """

    def __init__(self, notes: Notes, clock: IReactorTime, now: Callable[[], float], send: Send) -> None:
        self._notes = notes
        self._clock = clock
        self._now = now
        self._send = send
        self._waiting: dict[str, Later] = {}
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._heap: list[tuple[float, str]] = []  # a cancelled one leaves its entry behind
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Later]:
        return iter(list(self._waiting.values()))

    def get(self, id: str) -> Later | None:
        """The one of this id, if it was not sent yet."""
        return self._waiting.get(id)

    def add(self, later: Later) -> None:
        """
        Recorded at once.

        :raises Refusal: 50700, too many wait.
        """
        value = later.to_note()
        full = len(self._waiting) >= MAX_POSTPONED or self._bytes + len(value) > MAX_POSTPONED_BYTES
        if full or not self._notes.set(KIND, later.id, value, int(later.due_at) + GIVE_UP_S + 1):
            raise Refusal(problems.NO_ROOM_FOR_LATER)
        self._put(later, len(value))

    def cancel(self, id: str) -> bool:
        """:return: whether there was one."""
        if id not in self._waiting:
            return False
        self._forget(id)
        return True

    def start(self) -> None:
        """Take up what the last process left; what is overdue goes at once."""
        for note in self._notes.of_kind(KIND):
            self._put(Later.of_note(note), len(note.value))

    def stop(self) -> None:
        """Send nothing more: the next process will."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put(self, later: Later, size: int) -> None:
        self._waiting[later.id] = later
        self._sizes[later.id] = size
        self._bytes += size
        self._wait(later.id, later.due_at)

    def _forget(self, id: str) -> None:
        if self._waiting.pop(id, None) is not None:
            self._bytes -= self._sizes.pop(id)
            self._notes.clear(KIND, id)

    # When

    def _wait(self, id: str, until: float) -> None:
        heappush(self._heap, (until, id))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap and not self._stopped:
            self._timer = self._clock.callLater(max(0.0, self._heap[0][0] - self._now()), self._due)

    def _due(self) -> None:
        self._timer = None
        for _ in range(AT_ONCE):
            if not self._heap or self._heap[0][0] > self._now():
                break
            later = self._waiting.get(heappop(self._heap)[1])
            if later is not None:
                sending = self._send(later, lambda id=later.id: self._forget(id))  # type: ignore[misc]
                sending.addCallback(self._sent, later)
                sending.addErrback(self._failed, later)
        self._set_timer()

    def _sent(self, code: ReasonCode, later: Later) -> None:
        if later.id not in self._waiting or self._stopped:
            return
        if code in _PASSING and self._now() < later.due_at + GIVE_UP_S:
            self._wait(later.id, self._now() + RETRY_S)
            return
        log.warn("Scheduled push {id} was not sent: {code}", id=later.id, code=code.name)
        self._forget(later.id)

    def _failed(self, failure: Any, later: Later) -> None:
        """It would fail again after each restart."""
        log.failure("scheduled push {id} could not be sent", failure=failure, id=later.id)
        self._forget(later.id)


# The pages


class _Row(NamedTuple):
    """One of either sort. They are ordered by their first two fields."""

    due_at: float
    id: str
    username: str | None
    what: Later | Message


_AFTER = re.compile(r"([0-9]{1,12}\.[0-9]{3})-([^\x00-\x1f]{1,64})")

_SHOWN = record(
    ["id", "time", "username"],
    id=text(),
    time=integer("When it is to be sent, in Unix seconds"),
    username=or_null(text("Whose it is")),
    topic=text(),
)
_LIST = record(["scheduled", "next"], scheduled=listed(_SHOWN), next=or_null(text("What `after` wants")))
_QUERY = {"after": text("What `next` was"), "limit": integer(minimum=1, maximum=1000)}
_CANCELLED = record(["id", "cancelled"], id=text(), cancelled={"type": "boolean"})

# Rows that are looked at in one piece.
SLICE = 1000


class ScheduledPages:
    """
    :param schedule: the broker's.
    :param unix: makes Unix seconds of the broker's.
    :param durable: fires when all that was recorded until now is.
    :param soon: calls something when others have been served.
    :param mount_point: of this listener.
    """

    app = json_app()

    def __init__(
        self,
        guard: Guard,
        schedule: Schedule,
        postponed: Postponed,
        unix: Callable[[float], float],
        durable: Callable[[], Deferred[None]],
        soon: Callable[[Callable[[], None]], object],
        mount_point: Callable[[], str],
    ) -> None:
        self._guard = guard
        self._schedule = schedule
        self._postponed = postponed
        self._unix = unix
        self._durable = durable
        self._soon = soon
        self._mount_point = mount_point

    @app.route("/scheduled", methods=["GET"])
    @described("What is to be sent later", query=_QUERY, answer=_LIST)
    async def listing(self, request: GatewayRequest) -> bytes:
        """
        :raises Refusal: 40000.
        """
        caller = await self._guard.identify(request)
        limit, after = page_limit(request), _after(request)
        rows = await self._first(caller, limit + 1, after)
        shown = [self._summary(row) for row in rows[:limit]]
        last = rows[limit - 1] if len(rows) > limit else None
        return json_answer(
            request, {"scheduled": shown, "next": None if last is None else f"{last.due_at:.3f}-{last.id}"}
        )

    @app.route("/scheduled/<id>", methods=["GET"])
    @described("One of them, with all that it says", answer=_SHOWN)
    async def one(self, request: GatewayRequest, id: str) -> bytes:
        """
        :raises Refusal: 40400, there is none, or it is somebody else's.
        """
        caller = await self._guard.identify(request)
        row = self._row(caller, path_text(id))
        return json_answer(request, {**self._whole(row), **self._summary(row)})

    @app.route("/scheduled/<id>", methods=["DELETE"])
    @described("Do not send it", answer=_CANCELLED)
    async def cancel(self, request: GatewayRequest, id: str) -> bytes:
        """
        The answer comes when that is durable.

        :raises Refusal: 40400, there is none, or it is somebody else's.
        """
        caller = await self._guard.identify(request)
        row = self._row(caller, path_text(id))
        cancelled = self._postponed.cancel(row.id) or self._schedule.cancel(row.id)
        await self._durable()
        return json_answer(request, {"id": row.id, "cancelled": cancelled})

    def _row(self, caller: Caller, id: str) -> _Row:
        later, scheduled = self._postponed.get(id), self._schedule.get(id)
        row = _row_of_later(later) if later else self._row_of_message(scheduled) if scheduled else None
        if row is None or not (self._may_see(caller, row) or _both_without_name(caller, row)):
            raise Refusal(problems.SCHEDULED_NOT_FOUND)
        return row

    def _row_of_message(self, scheduled: MessageScheduled) -> _Row:
        source = scheduled.message.source
        username = None if source is None else source.username
        return _Row(round(self._unix(scheduled.due_at), 3), scheduled.id, username, scheduled.message)

    def _may_see(self, caller: Caller, row: _Row) -> bool:
        """
        In a list, what was sent without a name is for administrators: nobody knows whose it is. A token that
        is for some topics sees nothing of what its user has sent otherwise.
        """
        own = row.username is not None and row.username == caller.username and caller.scope.is_whole
        return own or self._guard.is_admin(caller)

    async def _first(self, caller: Caller, count: int, after: tuple[float, str]) -> list[_Row]:
        """The first so many behind `after`, looked for in slices: there may be 100 000."""
        best: list[_Row] = []
        messages = map(self._row_of_message, list(self._schedule))
        everything = chain(map(_row_of_later, self._postponed), messages)
        while rows := list(islice(everything, SLICE)):
            fitting = (row for row in rows if row[:2] > after and self._may_see(caller, row))
            best = nsmallest(count, chain(best, fitting), key=lambda row: row[:2])
            later: Deferred[None] = Deferred()
            self._soon(lambda later=later: later.callback(None))  # type: ignore[misc]
            await later
        return best

    def _summary(self, row: _Row) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": row.id, "time": int(row.due_at), "username": row.username}
        if isinstance(row.what, Message):
            return {**shown, "topic": self._topic(row.what)}
        return shown | {name: row.what.said[name] for name in ("topic", "targets") if name in row.what.said}

    def _whole(self, row: _Row) -> dict[str, Any]:
        if isinstance(row.what, Later):
            return row.what.said
        topic = self._topic(row.what)
        return {} if row.what.push is None else message_object(topic, row.what)

    def _topic(self, message: Message) -> str:
        return message.topic.removeprefix(self._mount_point())


def _both_without_name(caller: Caller, row: _Row) -> bool:
    """Whoever has no name but knows the id was told it. A plugin's message has no sender at all."""
    has_sender = isinstance(row.what, Later) or row.what.source is not None
    return has_sender and row.username is None and caller.username is None


def _row_of_later(later: Later) -> _Row:
    return _Row(round(later.due_at, 3), later.id, later.username, later)


def _after(request: GatewayRequest) -> tuple[float, str]:
    said = request.argument(b"after").decode(errors="replace")
    if not said:
        return 0.0, ""
    found = _AFTER.fullmatch(said)
    if found is None:
        raise Refusal(problems.AFTER_INVALID)
    return float(found[1]), found[2]
