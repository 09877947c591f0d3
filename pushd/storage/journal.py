"""
What must be written next: the journal, kept as its sum.

Records come in at the pace of packets. Each is applied to the batch that is being collected: see
`pushd.storage.batch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushd.broker import records as r
from pushd.storage.batch import Batch


class Journal:
    """
    :ivar batch: what was recorded since the last `cut`.
    :ivar apply: adds a record to the batch, by the kind of record: ``apply[type(record)](record)``. A method
        for that would double the time that it takes, thrice for each message.
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
        self.apply: dict[type, Callable[[Any], None]] = {
            kind: getattr(self, name) for kind, name in _METHODS.items()
        }

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

    def _given_up(self, record: r.SubscriptionGivenUp) -> None:
        self.batch.subscriptions[self._numbers[record.client_id], record.filter] = record

    # Messages to a session

    def _queued(self, record: r.MessageQueued) -> None:
        self.batch.queued[self._numbers[record.client_id], record.sequence] = record.message

    def _dropped(self, record: r.MessageDropped) -> None:
        self.batch.unqueue((self._numbers[record.client_id], record.sequence))

    def _assigned(self, record: r.PacketIdAssigned) -> None:
        self.batch.send((self._numbers[record.client_id], record.packet_id), record.sequence)

    def _sent(self, record: r.MessageSent) -> None:
        self.batch.inflight[self._numbers[record.client_id], record.packet_id] = record.message

    def _released(self, record: r.MessageReleased) -> None:
        key = self._numbers[record.client_id], record.packet_id
        self.batch.forget_in_flight(key)
        self.batch.inflight[key] = None

    def _acknowledged(self, record: r.MessageAcknowledged) -> None:
        self.batch.forget_in_flight((self._numbers[record.client_id], record.packet_id))

    # QoS 2 messages of a session's client

    def _received(self, record: r.PacketIdReceived) -> None:
        self.batch.flip((self._numbers[record.client_id], record.packet_id), True)

    def _received_released(self, record: r.PacketIdReleased) -> None:
        self.batch.flip((self._numbers[record.client_id], record.packet_id), False)

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

    def _kept(self, record: r.MessageKept) -> None:
        self.batch.kept[record.kept.number] = record.kept

    def _kept_forgotten(self, record: r.KeptForgotten) -> None:
        self.batch.forget_kept(record.number)

    def _kept_expired(self, record: r.KeptExpired) -> None:
        self.batch.expire_kept(record.now)

    def _noted(self, record: r.NoteSet) -> None:
        self.batch.notes[record.note.kind, record.note.key] = record.note

    def _note_cleared(self, record: r.NoteCleared) -> None:
        self.batch.notes[record.kind, record.key] = None


_METHODS: dict[type, str] = {
    r.SessionOpened: "_opened",
    r.SessionLeft: "_left",
    r.SessionEnded: "_ended",
    r.SubscriptionAdded: "_subscribed",
    r.SubscriptionRemoved: "_unsubscribed",
    r.SubscriptionGivenUp: "_given_up",
    r.MessageQueued: "_queued",
    r.MessageDropped: "_dropped",
    r.PacketIdAssigned: "_assigned",
    r.MessageSent: "_sent",
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
    r.MessageKept: "_kept",
    r.KeptForgotten: "_kept_forgotten",
    r.KeptExpired: "_kept_expired",
    r.NoteSet: "_noted",
    r.NoteCleared: "_note_cleared",
}
