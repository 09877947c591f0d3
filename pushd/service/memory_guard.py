"""
``memory_limit``: what happens before the system takes the whole process for its memory.

From nine tenths of the limit on, nobody new is let in and nothing new is retained. Above it, the client that
most bytes wait for is disconnected, one each second, until there is room again: one that does not read must
not be the end of all others. Sessions that are away take no memory (`pushd.broker.sleep`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from pushd.mqtt.codes import ReasonCode
from pushd.stats.heap import resident_bytes

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.client import Client

log = Logger()


class MemoryGuard:
    """Looks each second, while there is a limit. On the wheel, it is that second."""

    PERIOD_S = 1.0
    SCARCE = 0.9  # of the limit

    def __init__(self, broker: Broker, resident: Callable[[], int] = lambda: resident_bytes()[0]) -> None:
        self._broker = broker
        self._resident = resident
        self._due = 0.0
        self.slot = 0

    def start(self) -> None:
        """Begin to look."""
        self._due = self._broker.wheel.seconds() + self.PERIOD_S
        self._broker.wheel.add(self)

    def due_at(self) -> float | None:
        return self._due

    def on_due(self) -> None:
        self.start()
        limit = self._broker.limits.memory_limit
        taken = self._resident() if limit else 0
        self._tell(limit > 0 and taken >= self.SCARCE * limit)
        if 0 < limit < taken:
            self._make_room()

    def _tell(self, scarce: bool) -> None:
        if scarce is not self._broker.memory_is_scarce:
            self._broker.memory_is_scarce = scarce
            text = "nobody new is let in" if scarce else "there is room again"
            log.warn("memory_limit: {text}", text=text)

    def _make_room(self) -> None:
        clients = [each.client for each in self._broker.sessions.values() if each.client is not None]
        largest = max(clients, key=_waiting_bytes, default=None)
        if largest is None or _waiting_bytes(largest) == 0:
            return
        log.warn(
            "memory_limit: {client} does not keep up and is disconnected", client=largest.session.client_id
        )
        largest.connection.close(ReasonCode.QUOTA_EXCEEDED, "memory_limit")


def _waiting_bytes(client: Client) -> int:
    return client.connection.unsent_bytes + client.session.waiting_bytes
