"""
One timer for all connections: a timing wheel.

A keep-alive that is pushed back by every packet would cost a timer operation per packet. Here it costs
nothing: a connection only notes when it was last heard, and when its slot of the wheel comes round it either
is overdue or is put into a later slot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

TICK_S = 0.25


class Timed(Protocol):
    """
    Something that may become due.

    :ivar slot: belongs to the wheel: the number of the slot that this is in; 0 when in none.
    """

    slot: int

    def due_at(self) -> float | None:
        """When, in the wheel's seconds; ``None`` if never (any more)."""

    def on_due(self) -> None:
        """That time has come. May `add` itself again."""


class TimingWheel:
    """
    Slots of a quarter of a second. Nothing fires early; nothing fires more than two slots late.

    :ivar now: the time of the last tick; on a busy machine it may be older than `TICK_S`. Good for telling
        whether something is due, not for noting when something happened.
    :ivar seconds: the time.
    """

    # Nothing is put further ahead than this, but looked at once more on the way: a connection with a keep
    # alive of 18 hours that closed after a second shall not be held here for the rest of the day.
    HORIZON_S = 60.0

    _HORIZON = int(HORIZON_S / TICK_S)

    _log = Logger()

    def __init__(self, clock: IReactorTime, seconds: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds = seconds
        self.now: float = seconds()
        self._slots: dict[int, list[Timed]] = {}
        self._slot = self._slot_of(self.now)
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to turn."""
        self._call = self._clock.callLater(TICK_S, self._tick)

    def stop(self) -> None:
        """Stand still; what is in the slots stays there."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def add(self, timed: Timed) -> None:
        """
        Put `timed` where it is due. Needed when it is new, and when it becomes due earlier than before;
        a time that only moves on is noticed when the old one comes. Being in an older slot does no harm.
        """
        due = timed.due_at()
        if due is None:
            return
        slot = min(max(self._slot_of(due), self._slot) + 1, self._slot + self._HORIZON)
        timed.slot = slot
        self._slots.setdefault(slot, []).append(timed)

    def _slot_of(self, time_s: float) -> int:
        return int(time_s / TICK_S)

    def _tick(self) -> None:
        self._call = self._clock.callLater(TICK_S, self._tick)
        self.now = self.seconds()
        current = self._slot_of(self.now)
        while self._slot < current:
            self._slot += 1
            for timed in self._slots.pop(self._slot, ()):
                if timed.slot == self._slot:
                    self._visit(timed)

    def _visit(self, timed: Timed) -> None:
        timed.slot = 0
        due = timed.due_at()
        if due is None:
            return
        if due > self.now:
            self.add(timed)
            return
        try:
            timed.on_due()
        except Exception:
            self._log.failure("a timer of {timed!r} failed", timed=timed)
