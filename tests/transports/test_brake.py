"""`pushd.transports.brake`: a client that publishes too fast is not read from."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.wheel import TICK_S, TimingWheel
from pushd.transports.brake import MESSAGE_BURST_S, Brake


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
