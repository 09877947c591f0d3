"""
The garbage collector, kept out of the way.

Counting references frees nearly everything here at once; the collector is for cycles. But its oldest
generation is all that a broker holds, and to look through a million retained messages takes 0.4 seconds in
which nobody is served. Python would do that whenever there is a quarter more of them. So it is done once per
hour instead, and what the store gave back at the start is not looked at any more. (``benchmarks/``, overload,
a million retained topics: the p99 of a pair beside it went from 325 to 24 ms.)
"""

from __future__ import annotations

import gc

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

INTERVAL_S = 3600.0

# Allocations until the youngest generation is looked at, and how many such looks until the next older one is.
# The oldest never is by itself.
_YOUNG, _MIDDLE, _NEVER = 5_000, 20, 1_000_000


class Collector:
    """Python's collector while it is started."""

    def __init__(self, clock: IReactorTime) -> None:
        self._call = LoopingCall(gc.collect)
        self._call.clock = clock
        self._before = gc.get_threshold()

    def start(self) -> None:
        """From now on; what there is already stays as long as it is in use."""
        gc.freeze()
        gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)
        self._call.start(INTERVAL_S, now=False)

    def stop(self) -> None:
        """As before."""
        if self._call.running:
            self._call.stop()
            gc.set_threshold(*self._before)
            gc.unfreeze()
