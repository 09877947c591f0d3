"""
How much waits for all sessions together, counted in slices: to look at a hundred thousand of them takes a
tenth of a second, and nobody shall wait for that each time the figures under ``$SYS`` are due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from twisted.internet.defer import Deferred

from pushd.broker.session import Session


class Gauges(NamedTuple):
    """What there is right now, as opposed to what was counted since the start."""

    clients_connected: int
    clients_total: int  # sessions, with a client or kept without one
    subscriptions: int  # without the shared ones
    shared_subscriptions: int
    retained_messages: int
    stored_messages: int  # retained, queued and in flight; one that many sessions wait for counts for each
    stored_bytes: int  # of their payloads
    unsent_packets: int  # that peers have not taken yet, as far as we know
    unsent_bytes: int  # of these


class Waiting(NamedTuple):
    """
    :ivar messages: queued or in flight; one that many sessions wait for counts for each.
    :ivar payload_bytes: of these.
    :ivar unsent_packets: written to connections whose peers have not taken them, as far as we know.
    :ivar unsent_bytes: of these.
    """

    messages: int = 0
    payload_bytes: int = 0
    unsent_packets: int = 0
    unsent_bytes: int = 0


class Census:
    """One count: of those who were there at its begin, each as it is when its turn comes."""

    SLICE = 2000  # sessions; 1 to 2 ms

    def __init__(self, sessions: Iterable[Session], soon: Callable[[Callable[[], None]], object]) -> None:
        """:param soon: calls something when others have been served."""
        self._sessions: Iterator[Session] = iter(list(sessions))
        self._soon = soon
        self._waiting = Waiting()
        self._counted: Deferred[Waiting] = Deferred()

    def count(self) -> Deferred[Waiting]:
        """:return: fires when all are counted: at once, if there is no more than one slice of them."""
        self._count_slice()
        return self._counted

    def _count_slice(self) -> None:
        messages, payload_bytes, unsent_packets, unsent_bytes = self._waiting
        looked_at = 0
        for session in islice(self._sessions, self.SLICE):
            looked_at += 1
            messages += session.waiting_messages
            payload_bytes += session.waiting_bytes
            if session.client is not None:
                unsent_packets += session.client.connection.unsent_packets
                unsent_bytes += session.client.connection.unsent_bytes
        self._waiting = Waiting(messages, payload_bytes, unsent_packets, unsent_bytes)
        if looked_at < self.SLICE:
            self._counted.callback(self._waiting)
        else:
            self._soon(self._count_slice)
