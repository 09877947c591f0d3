"""
Twisted's epoll reactor with a shorter way from a readable socket to its protocol.

An event that brings one message costs mostly the reactor's own work: a logging context is made and left
around each socket, and "at the end of this turn" costs a zero-delay call through the heap of timers. Neither
is needed here. Where nothing can be batched (``benchmarks/``, scenarios single and trickle), CPU per message
went from 1.10 of Mosquitto's to 0.93, and from 1.26 to 0.98.

It is a normal Twisted reactor in everything else. ``twistd pushd`` installs it unless another one was chosen
(``twistd --reactor``); where there is no epoll, Twisted's default serves as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from select import EPOLLIN

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.python import log


class TurnReactor(EPollReactor):
    """A reactor whose turns have an end that one can ask to be called at."""

    # Sockets per turn. Twisted's limit is the number of all sockets, for which room is made each time.
    MAX_EVENTS = 1024

    def __init__(self) -> None:
        self._at_turn_end: list[Callable[[], None]] = []
        super().__init__()

    def call_at_turn_end(self, call: Callable[[], None]) -> None:
        """
        Call this once, when the sockets that are readable in this turn have been read.

        Cheaper than ``callLater(0, ...)``, and at the same time. Only from the reactor's thread.
        """
        self._at_turn_end.append(call)

    def timeout(self) -> float | None:
        """How long to sleep at most: not at all if a turn's end is waited for (from a timed call, say)."""
        return 0 if self._at_turn_end else super().timeout()

    def doPoll(self, timeout: float | None) -> None:
        """One turn: read what is readable, then end the turn."""
        events = self._poller.poll(-1 if timeout is None else timeout, self.MAX_EVENTS)
        selectables = self._selectables
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is None:
                continue  # closed by what another socket of this turn brought
            if event == EPOLLIN:
                try:
                    why = selectable.doRead()
                except Exception as problem:
                    log.err()
                    why = problem
                if why:
                    self._disconnectSelectable(selectable, why, True)
            else:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)
        self._end_turn()

    doIteration = doPoll

    def _end_turn(self) -> None:
        calls, self._at_turn_end = self._at_turn_end, []
        for call in calls:
            try:
                call()
            except Exception:
                log.err()


def install() -> None:
    """Make it the process's reactor. The name is what Twisted's reactor plugins have."""
    installReactor(TurnReactor())


def install_unless_chosen() -> None:
    """Make it the process's reactor, unless there is one already."""
    if "twisted.internet.reactor" not in sys.modules:
        install()
