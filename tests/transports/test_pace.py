"""`pushd.transports.pace`: so many per second, and a burst after a rest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.wheel import TICK_S, TimingWheel
from pushd.transports.pace import MESSAGE_BURST_S, Brake, Pace


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


class Connection:
    """Counts how often it is paused and resumed."""

    def __init__(self) -> None:
        self.pauses = self.resumes = 0

    def pause(self) -> None:
        self.pauses += 1

    def resume(self) -> None:
        self.resumes += 1


class BrakeTests(SynchronousTestCase):
    """On the wheel"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        wheel = TimingWheel(self.clock, self.clock.seconds)
        wheel.start()
        self.connection = Connection()
        self.brake = Brake(self.connection, wheel, 10)

    def spend(self, seconds: float) -> None:
        self.clock.pump([TICK_S] * int(seconds / TICK_S))

    def test_within_the_burst(self) -> None:
        """Nothing happens."""
        self.brake.passed(int(10 * MESSAGE_BURST_S))
        self.assertEqual(self.connection.pauses, 0)

    def test_paused_for_as_long_as_it_takes(self) -> None:
        """Never too short, and half a second too long at most."""
        self.brake.passed(60)
        self.spend(5 - TICK_S)
        self.assertEqual((self.connection.pauses, self.connection.resumes), (1, 0))
        self.spend(3 * TICK_S)
        self.assertEqual(self.connection.resumes, 1)

    def test_more_in_a_pause(self) -> None:
        """What was in hand already is no second pause: there would be no second resume."""
        self.brake.passed(60)
        self.brake.passed(10)
        self.spend(30)
        self.assertEqual((self.connection.pauses, self.connection.resumes), (1, 1))

    def test_the_rate_holds_in_the_long_run(self) -> None:
        """Although the wheel is late: what was not used meanwhile is made up for."""
        passed = 0
        for _ in range(400):
            if self.connection.pauses == self.connection.resumes:
                self.brake.passed(5)
                passed += 5
            self.spend(TICK_S)
        self.assertIn(passed, range(975, 1025))
