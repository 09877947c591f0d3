"""`pushd.auth.tallies`: how long failures lock, and what is remembered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.tallies import FORGOTTEN_AFTER_S, LONGEST_LOCK_S, WINDOW_S, Recent, Tallies

KEY, OTHER = b"key", b"other"


class LockTests(SynchronousTestCase):
    """After so many failures"""

    def setUp(self) -> None:
        self.tallies = Tallies()
        self.now = 1000.0

    def lock_s_after(self, times: int = 1, limit: int = 3) -> float:
        """How long so many failures more lock."""
        for _ in range(times):
            self.tallies.fail(KEY, limit, self.now)
        return self.tallies.lock_left_s(KEY, self.now)

    def test_as_many_as_allowed_lock(self) -> None:
        """One fewer does not, and others are not locked."""
        self.assertEqual(self.lock_s_after(2), 0)
        self.assertEqual(self.lock_s_after(), 1)
        self.assertEqual(self.tallies.lock_left_s(OTHER, self.now), 0)

    def test_lock_ends(self) -> None:
        """By itself."""
        self.lock_s_after(3)
        self.assertEqual(self.tallies.lock_left_s(KEY, self.now + 0.75), 0.25)
        self.assertEqual(self.tallies.lock_left_s(KEY, self.now + 1), 0)

    def test_each_further_failure_locks_for_twice_as_long(self) -> None:
        """Up to the longest, whenever it comes."""
        locks = [self.lock_s_after(3)]
        while len(locks) < 11:
            self.now += locks[-1]
            locks.append(self.lock_s_after())
        self.assertEqual(locks, [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_LOCK_S, LONGEST_LOCK_S])

    def test_failure_while_locked_does_not_prolong_it(self) -> None:
        """It was tried before."""
        self.assertEqual(self.lock_s_after(8), 1)
        self.now += 1
        self.assertEqual(self.lock_s_after(), 2)

    def test_failures_of_another_minute_do_not_count(self) -> None:
        """Somebody who mistypes his password now and then is never locked."""
        for _ in range(10):
            self.assertEqual(self.lock_s_after(2), 0)
            self.now += WINDOW_S

    def test_all_is_forgotten_after_a_quiet_time(self) -> None:
        """The next failure is the first."""
        self.lock_s_after(3)
        self.now += FORGOTTEN_AFTER_S
        self.assertFalse(self.tallies.remembers(KEY, self.now))
        self.assertEqual(self.lock_s_after(2), 0)
        self.assertEqual(self.lock_s_after(), 1)

    def test_no_limit_never_locks(self) -> None:
        """But remembers."""
        self.assertEqual(self.lock_s_after(1000, limit=0), 0)
        self.assertTrue(self.tallies.remembers(KEY, self.now))

    def test_longest_lock_is_given(self) -> None:
        """Users are not locked as long as addresses."""
        self.tallies = Tallies(longest_lock_s=3)
        self.lock_s_after(3)
        for lock_s in (2, 3, 3):
            self.now += 3
            self.assertEqual(self.lock_s_after(), lock_s)

    @given(st.lists(st.floats(0, 1000), max_size=50), st.integers(0, 5))
    def test_no_lock_is_longer_than_the_longest(self, pauses: list[float], limit: int) -> None:
        """Whatever the rhythm, and as long as the machine runs."""
        for pause in pauses:
            self.now += pause
            self.assertLessEqual(self.lock_s_after(limit=limit), LONGEST_LOCK_S)


class BoundTests(SynchronousTestCase):
    """Memory has an end, however many fail."""

    def test_the_longest_unused_tallies_go(self) -> None:
        """Who has failed again since stays."""
        tallies = Tallies(max_kept=2)
        for key in (b"a", b"b", b"a", b"c"):
            tallies.fail(key, 2, 0.0)
        self.assertEqual(len(tallies), 2)
        self.assertEqual([tallies.remembers(key, 0.0) for key in (b"a", b"b", b"c")], [True, False, True])

    def test_the_longest_unused_keys_go(self) -> None:
        """The same of a set."""
        recent = Recent(max_kept=2)
        for key in (b"a", b"b", b"a", b"c"):
            recent.add(key)
        self.assertEqual(len(recent), 2)
        self.assertEqual([key in recent for key in (b"a", b"b", b"c")], [True, False, True])
