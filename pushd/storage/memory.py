"""
The store that forgets when the process ends: the reference that every other store is tested against.

It applies each record at once, so what it would give back can be looked at at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from pushd.broker import records as r
from pushd.broker.interfaces import IStore
from pushd.broker.outline import Outline


@implementer(IStore)
class MemoryStore:
    """
    :ivar state: what is recorded so far, but for what sessions know of their messages: see `load`.
    :ivar messages: of each session, by client id.
    :ivar kept: what the archive has, by number.
    """

    failing: str | None = None

    def __init__(self) -> None:
        self.state = r.SavedState()
        self.messages: dict[str, r.SavedMessages] = {}
        self.kept: dict[int, r.Kept] = {}
        self.pending = False

    def load(self) -> r.SavedState:
        for client_id, session in self.state.sessions.items():
            _outline(session, self.messages[client_id])
        self.state.kept_by_minute = r.amounts(self.kept.values())
        return self.state

    def load_messages(self, client_id: str) -> r.SavedMessages:
        kept = self.messages.get(client_id, _NOTHING)
        return r.SavedMessages(dict(sorted(kept.queued.items())), dict(kept.inflight), set(kept.received))

    def find_kept(self, query: r.KeptQuery) -> list[r.Kept]:
        found = [kept for kept in self.kept.values() if query.wants(kept)]
        if query.latest:
            found = sorted(
                {kept.message.topic: kept for kept in found}.values(), key=lambda kept: kept.number
            )
        return found[: query.limit]

    def kept_number(self, id: str) -> int | None:
        return next((kept.number for kept in self.kept.values() if kept.id == id), None)

    def record(self, record: r.Record) -> None:
        self.pending = True
        _APPLY[type(record)](self, record)

    def barrier(self) -> Deferred[None]:
        self.pending = False
        return succeed(None)

    def close(self) -> Deferred[None]:
        return self.barrier()


_NOTHING = r.SavedMessages()


def _outline(session: r.SavedSession, messages: r.SavedMessages) -> None:
    """Say in a session what there is of its messages."""
    session.queued, session.places = Outline(), {}
    for sequence, message in sorted(messages.queued.items()):
        session.queued.append(len(message.payload), message.expires_at)
        if message.push is not None and message.push.collapse_key:
            session.places[message.topic, message.push.collapse_key] = sequence
    session.last_sequence = max(messages.queued, default=0)
    session.inflight_count = len(messages.inflight)
    session.has_received = bool(messages.received)


def _opened(store: MemoryStore, record: r.SessionOpened) -> None:
    session = store.state.sessions.get(record.client_id)
    if session is None:
        session = r.SavedSession(record.client_id, record.username, record.expiry_s)
        store.state.sessions[record.client_id] = session
        store.messages[record.client_id] = r.SavedMessages()
    session.username = record.username
    session.expiry_s = record.expiry_s
    session.listener = record.listener
    session.left_at = None


def _left(store: MemoryStore, record: r.SessionLeft) -> None:
    store.state.sessions[record.client_id].left_at = record.at


def _ended(store: MemoryStore, record: r.SessionEnded) -> None:
    store.state.sessions.pop(record.client_id, None)
    store.messages.pop(record.client_id, None)


def _subscribed(store: MemoryStore, record: r.SubscriptionAdded) -> None:
    session = store.state.sessions[record.client_id]
    session.subscriptions[record.request.filter] = record
    session.given_up.discard(record.request.filter)


def _unsubscribed(store: MemoryStore, record: r.SubscriptionRemoved) -> None:
    session = store.state.sessions[record.client_id]
    session.subscriptions.pop(record.filter, None)
    session.given_up.discard(record.filter)


def _given_up(store: MemoryStore, record: r.SubscriptionGivenUp) -> None:
    session = store.state.sessions[record.client_id]
    session.subscriptions.pop(record.filter, None)
    session.given_up.add(record.filter)


def _queued(store: MemoryStore, record: r.MessageQueued) -> None:
    store.messages[record.client_id].queued[record.sequence] = record.message


def _dropped(store: MemoryStore, record: r.MessageDropped) -> None:
    store.messages[record.client_id].queued.pop(record.sequence, None)


def _assigned(store: MemoryStore, record: r.PacketIdAssigned) -> None:
    messages = store.messages[record.client_id]
    messages.inflight[record.packet_id] = messages.queued.pop(record.sequence)


def _sent(store: MemoryStore, record: r.MessageSent) -> None:
    store.messages[record.client_id].inflight[record.packet_id] = record.message


def _released(store: MemoryStore, record: r.MessageReleased) -> None:
    inflight = store.messages[record.client_id].inflight
    inflight.pop(record.packet_id, None)  # to the end: PUBRELs go out in the order of the PUBRECs
    inflight[record.packet_id] = None


def _acknowledged(store: MemoryStore, record: r.MessageAcknowledged) -> None:
    store.messages[record.client_id].inflight.pop(record.packet_id, None)


def _received(store: MemoryStore, record: r.PacketIdReceived) -> None:
    store.messages[record.client_id].received.add(record.packet_id)


def _received_released(store: MemoryStore, record: r.PacketIdReleased) -> None:
    store.messages[record.client_id].received.discard(record.packet_id)


def _retained(store: MemoryStore, record: r.RetainedSet) -> None:
    store.state.retained[record.message.topic] = record.message


def _cleared(store: MemoryStore, record: r.RetainedCleared) -> None:
    store.state.retained.pop(record.topic, None)


def _scheduled(store: MemoryStore, record: r.MessageScheduled) -> None:
    store.state.scheduled[record.id] = record


def _schedule_ended(store: MemoryStore, record: r.ScheduleEnded) -> None:
    store.state.scheduled.pop(record.id, None)


def _will_set(store: MemoryStore, record: r.WillSet) -> None:
    store.state.wills[record.client_id] = record


def _will_cleared(store: MemoryStore, record: r.WillCleared) -> None:
    store.state.wills.pop(record.client_id, None)


def _kept(store: MemoryStore, record: r.MessageKept) -> None:
    store.kept[record.kept.number] = record.kept
    store.state.last_kept, store.state.last_kept_at = record.kept.number, record.kept.at


def _kept_forgotten(store: MemoryStore, record: r.KeptForgotten) -> None:
    store.kept.pop(record.number, None)


def _kept_expired(store: MemoryStore, record: r.KeptExpired) -> None:
    store.kept = {number: kept for number, kept in store.kept.items() if kept.until > record.now}


def _noted(store: MemoryStore, record: r.NoteSet) -> None:
    store.state.notes[record.note.kind, record.note.key] = record.note


def _note_cleared(store: MemoryStore, record: r.NoteCleared) -> None:
    store.state.notes.pop((record.kind, record.key), None)


_APPLY: dict[type, Callable[[MemoryStore, Any], None]] = {
    r.SessionOpened: _opened,
    r.SessionLeft: _left,
    r.SessionEnded: _ended,
    r.SubscriptionAdded: _subscribed,
    r.SubscriptionRemoved: _unsubscribed,
    r.SubscriptionGivenUp: _given_up,
    r.MessageQueued: _queued,
    r.MessageDropped: _dropped,
    r.PacketIdAssigned: _assigned,
    r.MessageSent: _sent,
    r.MessageReleased: _released,
    r.MessageAcknowledged: _acknowledged,
    r.PacketIdReceived: _received,
    r.PacketIdReleased: _received_released,
    r.RetainedSet: _retained,
    r.RetainedCleared: _cleared,
    r.MessageScheduled: _scheduled,
    r.ScheduleEnded: _schedule_ended,
    r.WillSet: _will_set,
    r.WillCleared: _will_cleared,
    r.MessageKept: _kept,
    r.KeptForgotten: _kept_forgotten,
    r.KeptExpired: _kept_expired,
    r.NoteSet: _noted,
    r.NoteCleared: _note_cleared,
}
