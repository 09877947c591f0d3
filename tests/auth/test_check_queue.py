"""`pushd.auth.check_queue`: whose turn it is, and who has to go."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.check_queue import Busy, CheckQueue
from tests.auth.logins import ThreadPool


class QueueTestCase(SynchronousTestCase):
    """One thread, and room for four to wait."""

    def setUp(self) -> None:
        self.pool = ThreadPool()
        self.queue = CheckQueue(threads=1, max_waiting=4)
        self.done: list[str] = []

    def submit(self, names: str, lane: bytes = b"lane", known: bool = False) -> list[Deferred[Any]]:
        """A check for each letter of `names`; `done` lists them as they are done."""
        return [self.queue.submit(lane, known, partial(self._start, name)) for name in names]

    def _start(self, name: str) -> Deferred[Any]:
        return self.pool.run(self.done.append, name)

    def order(self) -> str:
        """In which order all were done."""
        self.pool.work()
        return "".join(self.done)


class TurnTests(QueueTestCase):
    """Lanes take turns."""

    def test_as_many_start_as_there_are_threads(self) -> None:
        """The others wait with us, where their order can change."""
        self.submit("abc")
        self.assertEqual((len(self.pool.waiting), len(self.queue)), (1, 2))

    def test_one_lane_keeps_its_order(self) -> None:
        """First come, first served."""
        self.submit("abcd")
        self.assertEqual(self.order(), "abcd")

    def test_lanes_take_turns(self) -> None:
        """Who asks for many does not delay who asks for one by more than one."""
        self.submit("abc", b"one")
        self.submit("x", b"two")
        self.submit("y", b"three")
        self.assertEqual(self.order(), "abxyc")

    def test_known_lanes_go_first(self) -> None:
        """Whoever came in from there before is not held up by strangers."""
        self.submit("abc", b"one")
        self.submit("x", b"two", known=True)
        self.assertEqual(self.order(), "axbc")

    def test_known_lanes_leave_every_fourth_turn_to_others(self) -> None:
        """A fleet that comes back does not shut out who is new."""
        self.queue = CheckQueue(threads=1)
        self.submit("a")
        self.submit("xyzXYZ", b"two", known=True)
        self.submit("bc")
        self.assertEqual(self.order(), "axyzbXYZc")

    def test_result_is_handed_on(self) -> None:
        """Also one that is there at once, and a failure."""
        self.assertEqual(self.successResultOf(self.queue.submit(b"", False, lambda: 7)), 7)
        failing = self.queue.submit(b"", False, lambda: 1 // 0)
        self.failureResultOf(failing, ZeroDivisionError)
        self.assertEqual(self.successResultOf(self.queue.submit(b"", False, lambda: 8)), 8)

    def test_hundreds_that_end_at_once_need_no_stack(self) -> None:
        """A long queue of those who need no thread any more is done in one go."""
        self.queue = CheckQueue(threads=1, max_waiting=5000)
        self.submit("a")
        answers = [self.queue.submit(b"", False, lambda: 7) for _ in range(5000)]
        self.pool.work()
        self.assertEqual({self.successResultOf(answer) for answer in answers}, {7})

    def test_answer_may_ask_again(self) -> None:
        """The turn is over by then, so the only thread is free for it."""
        (asked,) = self.submit("a")
        again: Deferred[Any] = asked.addCallback(lambda _: self.submit("b")[0])
        self.assertEqual(self.order(), "ab")
        self.successResultOf(again)


class FullTests(QueueTestCase):
    """Four wait, and somebody else comes."""

    def assert_busy(self, *answers: Deferred[Any]) -> None:
        """These were sent away."""
        for answer in answers:
            self.failureResultOf(answer, Busy)

    def test_no_room_for_more_of_the_longest_lane(self) -> None:
        """It is the newcomer who goes."""
        answers = self.submit("abcdef")
        self.assert_busy(answers[-1])
        self.assertEqual(self.order(), "abcde")

    def test_longest_lane_makes_room_for_a_shorter_one(self) -> None:
        """It loses its last."""
        answers = self.submit("abcde", b"one")
        self.submit("x", b"two")
        self.assert_busy(answers[-1])
        self.assertEqual(self.order(), "abxcd")

    def test_no_lane_makes_room_for_one_as_long(self) -> None:
        """When all have as many places as they can have, it is first come, first served."""
        self.submit("a", b"running")
        first = self.submit("bc", b"one")
        self.submit("de", b"two")
        answers = self.submit("xy", b"three")
        self.assert_busy(first[1], answers[1])
        self.assertEqual(self.order(), "abdxe")

    def test_others_make_room_for_the_known(self) -> None:
        """Even if they have a single place each."""
        answers = [self.submit(name, name.encode())[0] for name in "abcde"]
        self.submit("x", b"x", known=True)
        self.assert_busy(answers[1])
        self.assertEqual(self.order()[:2], "ax")

    def test_the_known_make_no_room_for_others(self) -> None:
        """But for each other."""
        answers = self.submit("abcde", b"one", known=True)
        self.assert_busy(*self.submit("x", b"two"))
        self.submit("y", b"three", known=True)
        self.assert_busy(answers[-1])
        self.assertEqual(self.order(), "abycd")

    @given(st.lists(st.tuples(st.sampled_from([b"1", b"2", b"3"]), st.booleans(), st.booleans())))
    def test_everybody_is_answered(self, visits: list[tuple[bytes, bool, bool]]) -> None:
        """Once, by a check or as busy, whoever comes in which order; and never do more wait than may."""
        self.setUp()
        answers: list[Deferred[Any]] = []
        for lane, known, works in visits:
            answers += self.submit("a", lane, known)
            self.assertLessEqual(len(self.queue), 4)
            if works:
                self.pool.work()
        self.pool.work()
        busy = [answer for answer in answers if isinstance(answer.result, Failure)]
        self.assert_busy(*busy)
        self.assertEqual(len(self.done) + len(busy), len(visits))
