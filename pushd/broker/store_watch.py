"""
What the broker does differently while nothing can be made durable (a full disk, an I/O error).

Nothing is acknowledged that could be forgotten: version 5 clients hear *Quota exceeded*, version 3 clients
nothing until there is space again. Everybody stays connected, and QoS 0 goes on. What arrived before the
failure was noticed is kept in memory, and is acknowledged when the store has caught up, which it tries by
itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushd.broker.broker import Broker


class StoreWatch:
    """Looks at each tick of the wheel whether the store is failing."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._failing = False
        self.slot = 0

    def start(self) -> None:
        """Begin to look."""
        self._broker.wheel.add(self)

    def due_at(self) -> float | None:
        return self._broker.wheel.now

    def on_due(self) -> None:
        self.start()
        failing = self._broker.store.failing is not None
        if failing is not self._failing:
            self._failing = failing
            self._broker.store_changed()
