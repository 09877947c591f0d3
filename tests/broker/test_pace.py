"""`pushd.broker.pace`: so many per second, and a burst after a rest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.pace import Pace, Paces


class PaceTests(SynchronousTestCase):
    """The bucket"""

    def taken(self, pace: Pace, now: float, rate: float, burst_s: float) -> int:
        """How many may go at this moment."""
        count = 0
        while pace.wait_s(now, burst_s) == 0:
            pace.take(1, now, rate)
            count += 1
        return count

    def test_burst_then_rate(self) -> None:
        """After a rest the burst, then as many as the time allows."""
        pace = Pace()
        self.assertEqual(self.taken(pace, 100.0, 50, 2.0), 101)
        self.assertEqual(self.taken(pace, 101.0, 50, 2.0), 50)
        self.assertEqual(self.taken(pace, 101.5, 50, 2.0), 25)

    def test_a_rest_gives_no_more_than_the_burst(self) -> None:
        """However long it was."""
        pace = Pace()
        self.taken(pace, 100.0, 50, 2.0)
        self.assertFalse(pace.is_rested(101.0))
        self.assertTrue(pace.is_rested(1000.0))
        self.assertEqual(self.taken(pace, 1000.0, 50, 2.0), 101)

    def test_the_wait_is_to_the_point(self) -> None:
        """Whoever waits so long may go, and not before."""
        pace = Pace()
        pace.take(60, 100.0, 20)
        self.assertAlmostEqual(pace.wait_s(100.0, 1.0), 2.0)
        self.assertGreater(pace.wait_s(101.99, 1.0), 0)
        self.assertEqual(pace.wait_s(102.0, 1.0), 0)

    @given(st.lists(st.floats(0, 3), max_size=40), st.integers(1, 200), st.floats(0.5, 10))
    def test_never_more_than_rate_and_burst(self, gaps: list[float], rate: int, burst_s: float) -> None:
        """Over any time, from whatever start."""
        pace, now, total = Pace(), 5.0, 0
        for gap in gaps:
            now += gap
            total += self.taken(pace, now, rate, burst_s)
        self.assertLessEqual(total, rate * (now - 5.0 + burst_s) + 2)


class PacesTests(SynchronousTestCase):
    """One for each of many"""

    def test_each_key_has_its_own(self) -> None:
        """And keeps it."""
        paces = Paces()
        paces.of("a", 100.0).take(60, 100.0, 20)
        self.assertGreater(paces.of("a", 100.0).wait_s(100.0, 1.0), 0)
        self.assertEqual(paces.of("b", 100.0).wait_s(100.0, 1.0), 0)

    def test_memory_is_bounded(self) -> None:
        """However many come; those who are at rest are forgotten first."""
        paces = Paces(max_kept=100)
        for number in range(60):
            paces.of(number, 100.0).take(1, 100.0, 1)
        paces.of("busy", 100.0).take(1000, 100.0, 1)
        for number in range(1000, 1300):
            paces.of(number, 200.0)
            self.assertLessEqual(len(paces), 100)
        self.assertGreater(paces.of("busy", 200.0).wait_s(200.0, 1.0), 0)

    def test_nobody_rests(self) -> None:
        """All are forgotten then: to look through them again and again would cost more."""
        paces = Paces(max_kept=100)
        for number in range(250):
            paces.of(number, 100.0).take(1000, 100.0, 1)
        self.assertLessEqual(len(paces), 100)
