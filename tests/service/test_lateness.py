"""`pushd.service.lateness`: what keeps the event loop, on a clock that jumps."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.service.lateness import INTERVAL_S, RECENT, Lateness


class LatenessTests(SynchronousTestCase):
    """Measured while it is started"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[float] = []
        self.lateness = Lateness(self.clock, self.clock.seconds, self.told.append)
        self.lateness.start()

    def test_in_time(self) -> None:
        """Nothing to tell, once each second."""
        self.clock.pump([INTERVAL_S] * 3)
        self.assertEqual((self.told, self.lateness.recent_s), ([0.0] * 3, 0.0))

    def test_late(self) -> None:
        """By how much, and the next one is measured from there."""
        self.clock.advance(INTERVAL_S + 1.5)
        self.clock.advance(INTERVAL_S + 0.25)
        self.assertEqual(self.told, [1.5, 0.25])
        self.assertEqual(self.lateness.recent_s, 1.5)

    def test_forgotten_after_a_while(self) -> None:
        """The figure is about now."""
        self.clock.advance(INTERVAL_S + 1.5)
        self.clock.pump([INTERVAL_S] * RECENT)
        self.assertEqual(self.lateness.recent_s, 0.0)

    def test_stopped(self) -> None:
        """Nothing is left with the reactor; stopping twice is no mistake."""
        self.lateness.stop()
        self.lateness.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
