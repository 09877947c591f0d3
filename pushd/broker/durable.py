"""What is to be done when all that was recorded before is durable: tell somebody of a message, say."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from pushd.broker.interfaces import IStore


class WhenDurable:
    """
    Calls functions in the order in which they were given to it. All of one turn of the reactor share a
    barrier, however many listeners are told.
    """

    _log = Logger()

    def __init__(self, store: IStore, at_turn_end: Callable[[Callable[[], None]], object]) -> None:
        """:param at_turn_end: calls something once, when the sockets that are readable now have been read."""
        self._store = store
        self._at_turn_end = at_turn_end
        self._collected: list[Callable[[], object]] = []
        self._barriers = 0  # that have not fired, or whose functions are being called

    def __call__(self, function: Callable[[], object]) -> None:
        """Call this at once if nothing waits to be durable, else when everything recorded until now is."""
        if not (self._store.pending or self._collected or self._barriers):
            function()
            return
        if not self._collected:
            self._at_turn_end(self._ask)
        self._collected.append(function)

    def _ask(self) -> None:
        functions, self._collected = self._collected, []
        self._barriers += 1
        self._store.barrier().addCallback(self._durable, functions)

    def _durable(self, _: None, functions: list[Callable[[], object]]) -> None:
        for function in functions:
            try:
                function()
            except Exception:
                self._log.failure("{function} failed", function=function)
        self._barriers -= 1
