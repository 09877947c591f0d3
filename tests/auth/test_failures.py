"""`pushd.auth.failures`: who is refused without a look, whom nobody can lock out, and the line in the log."""

from __future__ import annotations

import re
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.failures import (
    BACKED_OFF,
    BUSY,
    FAILED,
    LONGEST_USER_LOCK_S,
    MAX_SHOWN_NAME,
    WRONG,
    Attempt,
    network_of,
    quoted,
)
from pushd.auth.tallies import FORGOTTEN_AFTER_S
from pushd.broker.interfaces import Credentials
from pushd.mqtt.codes import ReasonCode
from tests.auth.logins import Guarded

HOME, AWAY = "192.0.2.7:4711", "198.51.100.1:1000"


class FailuresTestCase(SynchronousTestCase):
    """Three failures in a minute are allowed."""

    def setUp(self) -> None:
        self.failures = Guarded(limit=3)
        self.numbers = count()

    def attempt(self, address: str = HOME, username: str = "anna", password: str = "secret") -> Attempt:
        """One try to log in."""
        credentials = Credentials("id", username, password.encode(), address)
        return self.failures.attempt(credentials, username, password.encode())

    def guess(self, address: str = HOME, username: str = "anna", times: int = 3) -> None:
        """Fail with as many different passwords."""
        for _ in range(times):
            self.failures.fail(self.attempt(address, username, f"guess {next(self.numbers)}"), WRONG)

    def is_looked_at(self, attempt: Attempt) -> bool:
        """Whether the password would be compared with one that is remembered."""
        return not self.failures.source_lock_s(attempt)

    def is_checked(self, attempt: Attempt) -> bool:
        """Whether the password would be hashed."""
        return self.is_looked_at(attempt) and not self.failures.user_lock_s(attempt)


class AddressTests(FailuresTestCase):
    """Too many failures from one address"""

    def test_address_is_refused_whoever_it_names(self) -> None:
        """Also by another port; other addresses are not."""
        self.guess()
        self.assertFalse(self.is_looked_at(self.attempt("192.0.2.7:9", "bert")))
        self.assertTrue(self.is_checked(self.attempt(AWAY, "bert")))

    def test_names_may_differ(self) -> None:
        """One guess for each of many users is guessing, too; unknown ones are counted like known ones."""
        for name in ("anna", "bert", "nobody"):
            self.guess(username=name, times=1)
        self.assertFalse(self.is_looked_at(self.attempt(username="eve")))

    def test_network_of_ipv6_is_one_address(self) -> None:
        """Whoever has one of its 64 bits has them all."""
        for host in ("1", "2", "3:4:5:6"):
            self.guess(f"[2001:db8::{host}]:7", "bert", 1)
        self.assertFalse(self.is_looked_at(self.attempt("[2001:db8::ffff]:8")))
        self.assertTrue(self.is_looked_at(self.attempt("[2001:db8:0:1::1]:8")))

    def test_it_is_let_in_again_later(self) -> None:
        """After a second first, and as if nothing had been after a quiet time."""
        self.guess()
        self.failures.clock.advance(1)
        self.assertTrue(self.is_checked(self.attempt(username="bert")))
        self.failures.clock.advance(FORGOTTEN_AFTER_S)
        self.guess(times=2)
        self.assertTrue(self.is_checked(self.attempt()))

    def test_refusal_says_for_how_long(self) -> None:
        """To callers who can be told."""
        self.guess()
        attempt = self.attempt()
        code = self.failures.back_off(attempt, self.failures.source_lock_s(attempt))
        self.assertEqual((code, attempt.credentials.retry_after_s), (ReasonCode.NOT_AUTHORIZED, 1.0))

    def test_no_limit_refuses_nobody(self) -> None:
        """Not even who was refused before a reload took the limit away."""
        self.guess(times=10)
        self.failures.limit = 0
        self.assertTrue(self.is_checked(self.attempt()))
        self.guess(AWAY, times=100)
        self.assertTrue(self.is_checked(self.attempt(AWAY)))

    def test_new_limit_holds_at_once(self) -> None:
        """What was counted before a reload counts after it."""
        self.failures.limit = 10
        self.guess(times=4)
        self.assertTrue(self.is_checked(self.attempt()))
        self.failures.limit = 5
        self.guess(times=1)
        self.assertFalse(self.is_looked_at(self.attempt()))


class SameAgainTests(FailuresTestCase):
    """A device with an old password, which tries for ever"""

    def try_again(self, times: int) -> Attempt:
        """Fail with the same password."""
        for _ in range(times):
            self.failures.fail(self.attempt(), WRONG)
        return self.attempt()

    def test_it_is_known_to_be_wrong(self) -> None:
        """So it need not be hashed again."""
        self.assertFalse(self.failures.is_known_wrong(self.attempt()))
        self.assertTrue(self.failures.is_known_wrong(self.try_again(1)))

    def test_it_locks_neither_its_neighbours_nor_its_namesakes(self) -> None:
        """All behind one router, or a fleet that shares one user."""
        self.try_again(100)
        self.assertTrue(self.is_checked(self.attempt(username="bert")))
        self.assertTrue(self.is_checked(self.attempt(password="the right one")))

    def test_it_is_held_off_itself(self) -> None:
        """Like any other."""
        self.assertTrue(self.is_looked_at(self.try_again(2)))
        self.assertFalse(self.is_looked_at(self.try_again(1)))


class UserTests(FailuresTestCase):
    """Too many failures for one user"""

    def guess_from_everywhere(self) -> None:
        """One guess for anna from each of many addresses."""
        for number in range(10):
            self.guess(f"203.0.113.{number}:1", times=1)

    def test_user_is_not_checked_from_elsewhere(self) -> None:
        """But what is remembered passes, and others are checked."""
        self.guess_from_everywhere()
        self.assertFalse(self.is_checked(self.attempt(AWAY)))
        self.assertTrue(self.is_looked_at(self.attempt(AWAY)))
        self.assertTrue(self.is_checked(self.attempt(AWAY, "bert")))

    def test_nobody_locks_a_user_out_of_where_he_was_before(self) -> None:
        """However many guess his password."""
        self.failures.succeed(self.attempt())
        self.guess_from_everywhere()
        self.assertTrue(self.is_checked(self.attempt()))

    def test_nor_does_a_neighbour_who_guesses_other_passwords(self) -> None:
        """Behind one proxy all have one address."""
        self.failures.succeed(self.attempt())
        self.guess(username="bert")
        self.assertTrue(self.is_checked(self.attempt()))
        self.assertFalse(self.is_looked_at(self.attempt(username="bert")))

    def test_who_guesses_beside_him_is_held_off(self) -> None:
        """His address is no place to guess his password without end, not even if it is remembered."""
        self.failures.succeed(self.attempt())
        self.guess()
        self.assertFalse(self.is_looked_at(self.attempt()))

    def test_success_forgives_nothing(self) -> None:
        """Or a login of one's own would be a licence to guess others."""
        self.guess(times=2)
        self.failures.succeed(self.attempt(username="eve"))
        self.guess(times=3, username="bert")
        self.assertFalse(self.is_looked_at(self.attempt()))

    def test_user_finds_a_gap(self) -> None:
        """Whoever comes from a new place during a long attack is locked for some seconds at most."""
        for _ in range(20):
            self.guess_from_everywhere()
            self.failures.clock.advance(LONGEST_USER_LOCK_S)
            self.assertTrue(self.is_checked(self.attempt(AWAY)))

    def test_asking_what_is_remembered_counts_for_the_address(self) -> None:
        """Once for each password."""
        self.guess_from_everywhere()
        for password in ("a", "b", "b", "b"):
            self.failures.back_off_user(self.attempt(AWAY, password=password), 1)
        self.assertTrue(self.is_looked_at(self.attempt(AWAY, password="b")))
        self.failures.back_off_user(self.attempt(AWAY, password="c"), 1)
        self.assertFalse(self.is_looked_at(self.attempt(AWAY, password="b")))


class NetworkTests(SynchronousTestCase):
    """What counts as one address."""

    def test_port_does_not_count(self) -> None:
        """Nor which door of the machine itself."""
        for address, network in (
            ("192.0.2.7:4711", b"192.0.2.7"),
            ("unix:/run/pushd.sock", b"unix:/run/pushd.sock"),
            ("[2001:db8:1:2:3:4:5:6]:4711", bytes.fromhex("20010db800010002")),
            ("[fe80::1%eth0]:1", bytes.fromhex("fe80000000000000")),
            ("", b""),
        ):
            self.assertEqual(network_of(address), network)

    @given(st.text())
    def test_any_address_is_some_network(self, address: str) -> None:
        """A proxy may state any."""
        network_of(address)
        network_of(f"[{address}]:1")


class LineTests(FailuresTestCase):
    """What the log says."""

    def setUp(self) -> None:
        super().setUp()
        self.events = EventLoggingObserver()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def lines(self) -> list[str]:
        """What was logged."""
        return [formatEvent(event) for event in self.events]

    def test_failure_is_a_line(self) -> None:
        """Of the type notice, which is written by default."""
        self.failures.fail(self.attempt(), WRONG)
        wanted = "Login failed: user 'anna' from 192.0.2.7:4711 (wrong password or unknown user)"
        self.assertEqual(self.lines(), [wanted])
        self.assertEqual(self.events[0]["log_type"], "notice")

    def test_refusal_is_a_line(self) -> None:
        """Who does not stop is to be seen, too."""
        self.failures.back_off(self.attempt(), 1)
        self.failures.back_off_user(self.attempt(), 1)
        wanted = "Login failed: user 'anna' from 192.0.2.7:4711 (too many failures)"
        self.assertEqual(self.lines(), [wanted] * 2)

    def test_something_unreadable_is_a_line(self) -> None:
        """Without a name, and without what it was; it counts for the address."""
        for number in range(3):
            self.failures.unreadable(Credentials("", None, None, HOME), b"Bearer tk_%d" % number)
        wanted = "Login failed: user '' from 192.0.2.7:4711 (no user name and password that could be read)"
        self.assertEqual(self.lines(), [wanted] * 3)
        self.assertFalse(self.is_looked_at(self.attempt()))

    def test_each_refusal_is_counted(self) -> None:
        """By its reason; to be busy is no failure, and no line."""
        self.failures.fail(self.attempt(), WRONG)
        self.failures.back_off(self.attempt(), 1)
        self.assertIs(self.failures.turn_away(), ReasonCode.SERVER_BUSY)
        self.assertEqual(self.failures.counted, {FAILED: 1, BACKED_OFF: 1, BUSY: 1})
        self.assertEqual(len(self.lines()), 2)

    def test_hostile_names_stay_between_the_quotes(self) -> None:
        """Quotes, line ends and control characters are escaped; backslashes too, so nothing looks like it."""
        for name, shown in (
            ("x' from 192.0.2.1:1 (y)", r"'x\x27 from 192.0.2.1:1 (y)'"),
            ("a\nb\r\x1b[2J\0", r"'a\nb\r\x1b[2J\x00'"),
            (r"a\n", r"'a\\n'"),
            ("größe\u2028\udcff", r"'größe\u2028\udcff'"),
            ("{braces}", "'{braces}'"),
        ):
            self.assertEqual(quoted(name), shown)

    def test_long_names_are_cut(self) -> None:
        """There may be 65,535 bytes of them."""
        self.assertEqual(quoted("a" * 65_535), f"'{'a' * MAX_SHOWN_NAME}...'")

    @given(st.text(st.characters()))
    def test_any_name_is_one_quoted_word(self, name: str) -> None:
        """Printable, of a bounded length, with quotes at its ends only."""
        shown = quoted(name)
        self.assertTrue(re.fullmatch("'[^']*'", shown) and shown.isprintable())
        self.assertLess(len(shown), 11 * MAX_SHOWN_NAME)
