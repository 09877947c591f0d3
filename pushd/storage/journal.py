"""
What must be written next: the journal, kept as its sum.

Records come in at the pace of packets, and most of what they say is over soon: a message is queued, sent and
acknowledged within milliseconds. So a record is not put into a list but applied to the batch that is being
collected, where it may undo what an earlier one did. What is undone is never written, and while nothing can
be written (a full disk) the batch grows with what there is to remember, not with what happened.

A batch speaks of sessions by their numbers. A number is given to one session only as long as the process
lives, so that what concerns an ended session is told from what concerns the next one of the same client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pushd.broker import records as r
from pushd.broker.message import Message

_NOTHING: Any = object()

# A session's number, and a sequence number or packet identifier of the session.
Key = tuple[int, int]


@dataclass(slots=True)
class Batch:
    """
    Changes to what is written already.

    :ivar number: one more than that of the batch before.
    :ivar created: sessions of which nothing is written yet.
    :ivar ended: sessions that are over. What else this batch says of them does not count: see `settle`.
    :ivar unqueued: messages that are written as queued, and need not be any more.
    :ivar inflight: in the order of sending: a message; ``None`` for one that is released; or the sequence
        number of one that is written as queued.
    :ivar acknowledged: packet identifiers that are written as in flight, and are free. One may be in
        `inflight` as well: it is used again.
    :ivar received: packet identifiers that are written (false) or are not (true), and that is wrong.
    """

    number: int
    opened: dict[int, r.SessionOpened] = field(default_factory=dict)
    left: dict[int, float] = field(default_factory=dict)
    created: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    subscriptions: dict[tuple[int, str], r.SubscriptionAdded | None] = field(default_factory=dict)
    queued: dict[Key, Message] = field(default_factory=dict)
    unqueued: set[Key] = field(default_factory=set)
    inflight: dict[Key, Message | int | None] = field(default_factory=dict)
    acknowledged: set[Key] = field(default_factory=set)
    received: dict[Key, bool] = field(default_factory=dict)
    retained: dict[str, Message | None] = field(default_factory=dict)
    wills: dict[str, r.WillSet | None] = field(default_factory=dict)
    scheduled: dict[str, r.MessageScheduled | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.queued or self.inflight or self.acknowledged or self.unqueued or self.received
            or self.retained or self.opened or self.left or self.ended or self.subscriptions or self.wills
            or self.scheduled
        )  # fmt: skip

    def settle(self) -> None:
        """Forget what concerns sessions that are over, and those that never were written altogether."""
        ended = self.ended
        if not ended:
            return
        by_numbers: tuple[dict[int, Any], ...] = self.opened, self.left
        for by_number in by_numbers:
            for number in ended & by_number.keys():
                del by_number[number]
        by_keys: tuple[dict[Any, Any], ...] = self.subscriptions, self.queued, self.inflight, self.received
        for by_key in by_keys:
            for key in [key for key in by_key if key[0] in ended]:
                del by_key[key]
        for keys in (self.unqueued, self.acknowledged):
            keys.difference_update([key for key in keys if key[0] in ended])
        never_written = ended & self.created
        self.created -= never_written
        ended -= never_written


class Journal:
    """
    :ivar batch: what was recorded since the last `cut`.
    """

    def __init__(self, numbers: dict[str, int], next_number: int, last_batch: int) -> None:
        """
        :param numbers: of the sessions that are written, by client id. Belongs to the journal from now on.
        :param next_number: the first that was never given to a session.
        :param last_batch: the number of the last one that was written.
        """
        self._numbers = numbers
        self._next_number = next_number
        self.batch = Batch(last_batch + 1)
        self._apply: dict[type, Callable[[Any], None]] = {
            kind: getattr(self, name) for kind, name in _METHODS.items()
        }

    def record(self, record: r.Record) -> None:
        """Add a record to the batch."""
        self._apply[type(record)](record)

    def number_of(self, client_id: str) -> int | None:
        """The number of a client's session; ``None`` if it has none."""
        return self._numbers.get(client_id)

    def cut(self) -> Batch:
        """Begin a new batch. :return: the one that is complete now."""
        batch = self.batch
        self.batch = Batch(batch.number + 1)
        return batch

    # Sessions

    def _opened(self, record: r.SessionOpened) -> None:
        number = self._numbers.get(record.client_id)
        if number is None:
            number = self._numbers[record.client_id] = self._next_number
            self._next_number += 1
            self.batch.created.add(number)
        self.batch.opened[number] = record
        self.batch.left.pop(number, None)

    def _left(self, record: r.SessionLeft) -> None:
        self.batch.left[self._numbers[record.client_id]] = record.at

    def _ended(self, record: r.SessionEnded) -> None:
        number = self._numbers.pop(record.client_id, None)
        if number is not None:
            self.batch.ended.add(number)

    def _subscribed(self, record: r.SubscriptionAdded) -> None:
        self.batch.subscriptions[self._numbers[record.client_id], record.request.filter] = record

    def _unsubscribed(self, record: r.SubscriptionRemoved) -> None:
        self.batch.subscriptions[self._numbers[record.client_id], record.filter] = None

    # Messages to a session

    def _queued(self, record: r.MessageQueued) -> None:
        self.batch.queued[self._numbers[record.client_id], record.sequence] = record.message

    def _dropped(self, record: r.MessageDropped) -> None:
        key = self._numbers[record.client_id], record.sequence
        if self.batch.queued.pop(key, None) is None:
            self.batch.unqueued.add(key)

    def _assigned(self, record: r.PacketIdAssigned) -> None:
        number = self._numbers[record.client_id]
        message = self.batch.queued.pop((number, record.sequence), None)
        self.batch.inflight[number, record.packet_id] = record.sequence if message is None else message

    def _released(self, record: r.MessageReleased) -> None:
        key = self._numbers[record.client_id], record.packet_id
        self._forget_in_flight(key)
        self.batch.inflight[key] = None

    def _acknowledged(self, record: r.MessageAcknowledged) -> None:
        self._forget_in_flight((self._numbers[record.client_id], record.packet_id))

    def _forget_in_flight(self, key: Key) -> None:
        known = self.batch.inflight.pop(key, _NOTHING)
        if known is _NOTHING:
            self.batch.acknowledged.add(key)
        elif isinstance(known, int):
            self.batch.unqueued.add((key[0], known))

    # QoS 2 messages of a session's client

    def _received(self, record: r.PacketIdReceived) -> None:
        self._flip((self._numbers[record.client_id], record.packet_id), True)

    def _received_released(self, record: r.PacketIdReleased) -> None:
        self._flip((self._numbers[record.client_id], record.packet_id), False)

    def _flip(self, key: Key, held: bool) -> None:
        """The two alternate: what comes second undoes what came first."""
        if self.batch.received.pop(key, held) is held:
            self.batch.received[key] = held

    # What concerns no session

    def _retained(self, record: r.RetainedSet) -> None:
        self.batch.retained[record.message.topic] = record.message

    def _cleared(self, record: r.RetainedCleared) -> None:
        self.batch.retained[record.topic] = None

    def _scheduled(self, record: r.MessageScheduled) -> None:
        self.batch.scheduled[record.id] = record

    def _schedule_ended(self, record: r.ScheduleEnded) -> None:
        self.batch.scheduled[record.id] = None

    def _will_set(self, record: r.WillSet) -> None:
        self.batch.wills[record.client_id] = record

    def _will_cleared(self, record: r.WillCleared) -> None:
        self.batch.wills[record.client_id] = None


_METHODS: dict[type, str] = {
    r.SessionOpened: "_opened",
    r.SessionLeft: "_left",
    r.SessionEnded: "_ended",
    r.SubscriptionAdded: "_subscribed",
    r.SubscriptionRemoved: "_unsubscribed",
    r.MessageQueued: "_queued",
    r.MessageDropped: "_dropped",
    r.PacketIdAssigned: "_assigned",
    r.MessageReleased: "_released",
    r.MessageAcknowledged: "_acknowledged",
    r.PacketIdReceived: "_received",
    r.PacketIdReleased: "_received_released",
    r.RetainedSet: "_retained",
    r.RetainedCleared: "_cleared",
    r.MessageScheduled: "_scheduled",
    r.ScheduleEnded: "_schedule_ended",
    r.WillSet: "_will_set",
    r.WillCleared: "_will_cleared",
}
