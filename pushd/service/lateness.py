"""
How late the event loop is.

A timer that should fire each second says it all: whatever keeps the loop from its timers keeps it from its
connections just as long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

INTERVAL_S = 1.0

# How many intervals back `Lateness.recent_s` looks.
RECENT = 10


class Lateness:
    """
    Measures while it is started.

    :param seconds: must not be set back, as a wall clock is now and then.
    :param tell: called with each measurement, in seconds.
    """

    def __init__(
        self, clock: IReactorTime, seconds: Callable[[], float], tell: Callable[[float], None]
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._tell = tell
        self._due_at = 0.0
        self._call: IDelayedCall | None = None
        self._recent: deque[float] = deque([0.0], RECENT)

    @property
    def recent_s(self) -> float:
        """The latest that it was in the last ten seconds."""
        return max(self._recent)

    def start(self) -> None:
        """Begin. Not before the reactor runs: its start is not what is meant."""
        self._due_at = self._seconds() + INTERVAL_S
        self._call = self._clock.callLater(INTERVAL_S, self._measure)

    def stop(self) -> None:
        """Measure no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _measure(self) -> None:
        late_s = max(0.0, self._seconds() - self._due_at)
        self.start()
        self._recent.append(late_s)
        self._tell(late_s)
