"""`pushd.broker.wheel`: never early, hardly late, and nothing stays that is not waited for."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.wheel import TICK_S, TimingWheel


@dataclass(eq=False)
class Egg:
    """Is due at `due`, and notes when it was told."""

    clock: Clock
    due: float | None
    slot: int = 0
    told: list[float] = field(default_factory=list)

    def due_at(self) -> float | None:
        return self.due

    def on_due(self) -> None:
        self.told.append(self.clock.seconds())
        self.due = None


class WheelCase(SynchronousTestCase):
    """A wheel that turns since 1000.1 s."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.1)
        self.wheel = TimingWheel(self.clock, self.clock.seconds)
        self.wheel.start()

    def egg(self, after_s: float | None) -> Egg:
        egg = Egg(self.clock, None if after_s is None else self.clock.seconds() + after_s)
        self.wheel.add(egg)
        return egg

    def pass_time(self, seconds: float) -> None:
        """In steps shorter than a slot, as a reactor would."""
        self.clock.pump([0.05] * round(seconds / 0.05))

    def waiting(self) -> int:
        """How many places in the wheel are taken."""
        return sum(len(slot) for slot in self.wheel._slots.values())


class DueTests(WheelCase):
    """When things become due"""

    @given(st.floats(0, 20), st.lists(st.floats(0.001, 1.5), min_size=20, max_size=40))
    def test_never_early_hardly_late(self, after_s: float, steps: list[float]) -> None:
        """However unevenly the reactor runs: not before its time, nor later than two slots and a step."""
        self.setUp()
        egg = self.egg(after_s)
        due = egg.due
        assert due is not None
        self.clock.pump([*steps, *[0.2] * 110])
        (told,) = egg.told
        self.assertGreaterEqual(told, due)
        self.assertLessEqual(told, due + 2 * TICK_S + max(0.2, *steps) + 1e-6)

    def test_once(self) -> None:
        """What was told is not told again."""
        egg = self.egg(1)
        self.pass_time(60)
        self.assertEqual(1, len(egg.told))

    def test_never(self) -> None:
        """What is never due takes no place."""
        self.egg(None)
        self.assertEqual(0, self.waiting())

    def test_time_that_moves_on(self) -> None:
        """A deadline that is put off needs no call: it is noticed when the old one comes."""
        egg = self.egg(1)
        for _ in range(10):
            self.pass_time(0.8)
            egg.due = self.clock.seconds() + 1
        self.assertEqual([], egg.told)
        self.pass_time(1.6)
        self.assertEqual(1, len(egg.told))

    def test_earlier_than_before(self) -> None:
        """A deadline that comes closer is added again, and still told once."""
        egg = self.egg(10)
        egg.due = self.clock.seconds() + 1
        self.wheel.add(egg)
        self.pass_time(2)
        self.assertEqual(1, len(egg.told))
        self.pass_time(20)
        self.assertEqual(1, len(egg.told))

    def test_added_twice(self) -> None:
        """Twice in one slot is told once."""
        egg = self.egg(1)
        self.wheel.add(egg)
        self.pass_time(5)
        self.assertEqual(1, len(egg.told))

    def test_called_off(self) -> None:
        """What is no longer due when its time comes is not told."""
        egg = self.egg(1)
        egg.due = None
        self.pass_time(5)
        self.assertEqual([], egg.told)

    def test_overdue_already(self) -> None:
        """What should have happened before happens at the next slot."""
        egg = self.egg(-500)
        self.pass_time(2 * TICK_S)
        self.assertEqual(1, len(egg.told))

    def test_again_from_within(self) -> None:
        """What is told may wait once more."""
        egg = self.egg(1)
        real = egg.on_due

        def once_more() -> None:
            real()
            if len(egg.told) < 3:
                egg.due = self.clock.seconds() + 1
                self.wheel.add(egg)

        egg.on_due = once_more  # type: ignore[method-assign]
        self.pass_time(10)
        self.assertEqual(3, len(egg.told))

    def test_reactor_that_was_held_up(self) -> None:
        """After a long silence everything that came due meanwhile is told."""
        eggs = [self.egg(after_s) for after_s in (1, 100, 3000)]
        self.clock.advance(2000)
        self.pass_time(1)
        self.assertEqual([1, 1, 0], [len(egg.told) for egg in eggs])


class WheelTests(WheelCase):
    """The wheel itself"""

    def test_failure_stops_nobody_else(self) -> None:
        """A timer that fails is logged; the others go off, and the wheel turns on."""
        broken, fine, later = self.egg(1), self.egg(1), self.egg(3)
        broken.on_due = lambda: 1 // 0  # type: ignore[method-assign,assignment]
        self.pass_time(5)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual([1, 1], [len(fine.told), len(later.told)])

    def test_now(self) -> None:
        """`now` is at most a slot old."""
        self.pass_time(7)
        self.assertLessEqual(self.clock.seconds() - self.wheel.now, TICK_S)

    def test_one_timer_for_all(self) -> None:
        """A thousand connections cost the reactor one delayed call."""
        for n in range(1000):
            self.egg(n / 10)
        self.assertEqual(1, len(self.clock.getDelayedCalls()))

    def test_stop(self) -> None:
        """A wheel that stands leaves nothing to the reactor; stopping it again is no error."""
        self.wheel.stop()
        self.wheel.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_what_is_gone_does_not_stay(self) -> None:
        """
        A connection with a keep alive of 18 hours that closes after a second must not be held for 18 hours:
        clients that come and go would fill the memory.
        """
        for _ in range(100):
            self.egg(65_535).due = None
        self.pass_time(TimingWheel.HORIZON_S + 2 * TICK_S)
        self.assertEqual(0, self.waiting())

    def test_beyond_the_horizon(self) -> None:
        """What is due later than the wheel looks ahead is told in its time all the same."""
        egg = self.egg(3 * TimingWheel.HORIZON_S + 0.1)
        due = egg.due
        assert due is not None
        self.pass_time(3 * TimingWheel.HORIZON_S)
        self.assertEqual([], egg.told)
        self.pass_time(1)
        self.assertLessEqual(egg.told[0] - due, 2 * TICK_S)
