"""
The store that forgets when the process ends: the reference that every other store is tested against.

It applies each record to a `SavedState` at once, so what it would give back can be looked at at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from pushd.broker import records as r
from pushd.broker.interfaces import IStore


@implementer(IStore)
class MemoryStore:
    """
    :ivar state: what is recorded so far.
    """

    failing: str | None = None

    def __init__(self) -> None:
        self.state = r.SavedState()
        self.pending = False

    def load(self) -> r.SavedState:
        return self.state

    def record(self, record: r.Record) -> None:
        self.pending = True
        _APPLY[type(record)](self.state, record)

    def barrier(self) -> Deferred[None]:
        self.pending = False
        return succeed(None)

    def close(self) -> Deferred[None]:
        return self.barrier()


def _opened(state: r.SavedState, record: r.SessionOpened) -> None:
    session = state.sessions.get(record.client_id)
    if session is None:
        session = r.SavedSession(record.client_id, record.username, record.expiry_s)
        state.sessions[record.client_id] = session
    session.username = record.username
    session.expiry_s = record.expiry_s
    session.left_at = None


def _left(state: r.SavedState, record: r.SessionLeft) -> None:
    state.sessions[record.client_id].left_at = record.at


def _ended(state: r.SavedState, record: r.SessionEnded) -> None:
    state.sessions.pop(record.client_id, None)


def _subscribed(state: r.SavedState, record: r.SubscriptionAdded) -> None:
    state.sessions[record.client_id].subscriptions[record.request.filter] = record


def _unsubscribed(state: r.SavedState, record: r.SubscriptionRemoved) -> None:
    state.sessions[record.client_id].subscriptions.pop(record.filter, None)


def _queued(state: r.SavedState, record: r.MessageQueued) -> None:
    state.sessions[record.client_id].queued[record.sequence] = record.message


def _dropped(state: r.SavedState, record: r.MessageDropped) -> None:
    state.sessions[record.client_id].queued.pop(record.sequence, None)


def _assigned(state: r.SavedState, record: r.PacketIdAssigned) -> None:
    session = state.sessions[record.client_id]
    session.inflight[record.packet_id] = session.queued.pop(record.sequence)


def _released(state: r.SavedState, record: r.MessageReleased) -> None:
    inflight = state.sessions[record.client_id].inflight
    inflight.pop(record.packet_id, None)  # to the end: PUBRELs go out in the order of the PUBRECs
    inflight[record.packet_id] = None


def _acknowledged(state: r.SavedState, record: r.MessageAcknowledged) -> None:
    state.sessions[record.client_id].inflight.pop(record.packet_id, None)


def _received(state: r.SavedState, record: r.PacketIdReceived) -> None:
    state.sessions[record.client_id].received.add(record.packet_id)


def _received_released(state: r.SavedState, record: r.PacketIdReleased) -> None:
    state.sessions[record.client_id].received.discard(record.packet_id)


def _retained(state: r.SavedState, record: r.RetainedSet) -> None:
    state.retained[record.message.topic] = record.message


def _cleared(state: r.SavedState, record: r.RetainedCleared) -> None:
    state.retained.pop(record.topic, None)


def _will_set(state: r.SavedState, record: r.WillSet) -> None:
    state.wills[record.client_id] = record


def _will_cleared(state: r.SavedState, record: r.WillCleared) -> None:
    state.wills.pop(record.client_id, None)


_APPLY: dict[type, Callable[[r.SavedState, Any], None]] = {
    r.SessionOpened: _opened,
    r.SessionLeft: _left,
    r.SessionEnded: _ended,
    r.SubscriptionAdded: _subscribed,
    r.SubscriptionRemoved: _unsubscribed,
    r.MessageQueued: _queued,
    r.MessageDropped: _dropped,
    r.PacketIdAssigned: _assigned,
    r.MessageReleased: _released,
    r.MessageAcknowledged: _acknowledged,
    r.PacketIdReceived: _received,
    r.PacketIdReleased: _received_released,
    r.RetainedSet: _retained,
    r.RetainedCleared: _cleared,
    r.WillSet: _will_set,
    r.WillCleared: _will_cleared,
}
