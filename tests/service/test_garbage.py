"""`pushd.service.garbage`: the collector, kept out of the way."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.service.garbage import INTERVAL_S, Collector


class Cycle:
    """Something that counting references does not free."""

    def __init__(self) -> None:
        self.itself = self


class CollectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.before = gc.get_threshold()
        self.clock = Clock()
        self.collector = Collector(self.clock)
        self.collector.start()
        self.addCleanup(self.collector.stop)

    def test_old_objects_are_left_alone(self) -> None:
        """However many there come to be, they are not looked through in the midst of work."""
        full = gc.get_stats()[2]["collections"]
        kept = [[number] for number in range(200_000)]
        assert len(kept) == 200_000
        assert gc.get_stats()[2]["collections"] == full

    def test_young_cycles_go(self) -> None:
        """What was short-lived is freed soon."""
        cycle = weakref.ref(Cycle())
        kept = [[number] for number in range(20_000)]
        assert len(kept) == 20_000
        assert cycle() is None

    def test_old_cycles_go_in_time(self) -> None:
        """Once per hour everything is looked through."""
        old = Cycle()
        gc.collect(1)
        cycle = weakref.ref(old)
        del old
        gc.collect(1)
        self.clock.advance(INTERVAL_S)
        assert cycle() is None

    def test_stop(self) -> None:
        """The process has its collector back."""
        self.collector.stop()
        assert gc.get_threshold() == self.before
        assert self.clock.getDelayedCalls() == []
