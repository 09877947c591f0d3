"""`pushd.auth.accounts`: who gets in by an account."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.auth.accounts import AccountAuthenticator, Checked, check_password
from pushd.auth.check_queue import CheckQueue
from pushd.auth.failures import BACKED_OFF, BUSY, FAILED, UNAVAILABLE
from pushd.auth.password_hash import Argon2idHash, Pbkdf2Hash, make_pbkdf2, make_scram, parse_account_hash
from pushd.broker.interfaces import Credentials, IAuthenticator
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Account, PeopleUnavailable
from pushd.people.memory import MemoryPeople
from tests.auth.logins import Guarded, ThreadPool

HASH = str(make_pbkdf2(b"secret", 1))
OTHER_HASH = str(make_pbkdf2(b"other", 1))
LEGACY = "$md5$s$lt$" + hashlib.md5(b"secrets$lt").hexdigest()

YES, NO = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED


class Keeper(MemoryPeople):
    """
    Counts questions.

    :ivar answer: given instead of an account, if there is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answer: Deferred[Account | None] | None = None

    def account(self, username: str) -> Deferred[Account | None]:
        self.asked += 1
        return self.answer or super().account(username)


class AccountsTestCase(SynchronousTestCase):
    limit = 0

    def setUp(self) -> None:
        self.people, self.pool, self.clock = Keeper(), ThreadPool(), Clock()
        self.failures = Guarded(self.limit)
        self.authenticator = AccountAuthenticator(
            self.people, self.pool.run, CheckQueue(threads=1, max_waiting=3), self.failures, self.clock
        )
        self.numbers = count()
        self.keep("anna", HASH)

    def keep(self, username: str, password_hash: str, enabled: bool = True) -> None:
        self.successResultOf(self.people.keep_account(Account(username, password_hash, enabled)))

    def enable(self, username: str, enabled: bool) -> None:
        self.successResultOf(self.people.enable(username, enabled))

    def ask(self, username: str = "anna", password: bytes | None = b"secret") -> Deferred[Any]:
        """The verdict, when the threads have worked."""
        credentials = Credentials("id", username, password, f"192.0.2.7:{next(self.numbers)}")
        return maybeDeferred(self.authenticator.authenticate, credentials)

    def verdict(self, username: str = "anna", password: bytes | None = b"secret") -> ReasonCode:
        answer = self.ask(username, password)
        self.pool.work()
        code = self.successResultOf(answer)
        assert isinstance(code, ReasonCode)
        return code

    def stays(self, username: str = "anna") -> bool:
        """Whether who came in by the account may stay, after a change of it."""
        return self.successResultOf(Deferred.fromCoroutine(self.authenticator.still_admits(username)))


class VerdictTests(AccountsTestCase):
    def test_it_is_an_authenticator(self) -> None:
        """It keeps the promise of the interface."""
        verifyObject(IAuthenticator, self.authenticator)

    def test_right_and_wrong(self) -> None:
        """Only the right password of one's own account lets anybody in."""
        self.keep("bert", OTHER_HASH)
        self.assertIs(self.verdict(), YES)
        self.assertIs(self.verdict("bert", b"other"), YES)
        for username, password in (
            ("anna", b"other"),
            ("bert", b"secret"),
            ("anna", b""),
            ("Anna", b"secret"),
        ):
            self.assertIs(self.verdict(username, password), NO)

    def test_every_format(self) -> None:
        """An account that was imported keeps its hash, whatever it is."""
        self.keep("anna", str(make_scram(b"secret", 1)))
        self.assertIs(self.verdict(), YES)

    def test_no_user_name_is_not_its_business(self) -> None:
        """The chain decides about anonymous clients."""
        for username in (None, ""):
            self.assertIsNone(self.authenticator.authenticate(Credentials("id", username, b"secret")))
        self.assertEqual(self.people.asked, 0)

    def test_unknown_and_disabled(self) -> None:
        """They cost a check and hear what a wrong password hears."""
        self.keep("bert", HASH, enabled=False)
        for username in ("nobody", "bert"):
            before = self.pool.worked
            self.assertIs(self.verdict(username), NO)
            self.assertEqual(self.pool.worked, before + 1)
        self.assertEqual(self.failures.counted, {FAILED: 2})

    def test_enabled_again(self) -> None:
        """What was refused while it was disabled is no reason to refuse it later."""
        self.assertIs(self.verdict(), YES)
        for enabled, verdict in ((False, NO), (True, YES)):
            self.enable("anna", enabled)
            self.assertIs(self.verdict(), verdict)

    def test_no_password(self) -> None:
        """Nobody needs to be asked for that."""
        self.assertIs(self.verdict(password=None), NO)
        self.assertIs(self.verdict(password=b"x" * 65_536), NO)
        self.assertEqual((self.people.asked, self.pool.worked), (0, 0))

    def test_a_hash_that_is_none(self) -> None:
        """Nobody gets in by it, and the log says why."""
        self.keep("anna", "secret")
        self.assertIs(self.verdict(), NO)

    def test_hostile_names(self) -> None:
        """They are names."""
        for name in ("a/b", "#", "+", "%u", "'; --", "<script>", "a" * 65_535, "größe", "anna "):
            self.assertIs(self.verdict(name), NO)
            self.keep(name, HASH)
            self.assertIs(self.verdict(name), YES)


class RememberedTests(AccountsTestCase):
    def test_a_fleet_that_comes_back(self) -> None:
        """Only the first login is hashed; the account is looked at each time."""
        for _ in range(20):
            self.assertIs(self.verdict(), YES)
        self.assertEqual(self.pool.worked, 1)
        self.successResultOf(self.people.remove_account("anna"))
        self.assertIs(self.verdict(), NO)

    def test_the_same_at_once(self) -> None:
        """Those who wait for the same answer get it."""
        answers = [self.ask() for _ in range(4)]
        self.pool.work()
        self.assertEqual([self.successResultOf(answer) for answer in answers], [YES] * 4)
        self.assertEqual(self.pool.worked, 1)

    def test_another_password(self) -> None:
        """The old one is of no use at once, and the new one is not known to be wrong."""
        self.assertIs(self.verdict(), YES)
        self.assertIs(self.verdict(password=b"other"), NO)
        self.keep("anna", OTHER_HASH)
        self.assertIs(self.verdict(), NO)
        self.assertIs(self.verdict(password=b"other"), YES)

    def test_wrong_is_not_hashed_twice(self) -> None:
        """A device that knows no better costs nothing."""
        for _ in range(3):
            self.assertIs(self.verdict(password=b"other"), NO)
        self.assertEqual(self.pool.worked, 1)

    def test_changed_while_checked(self) -> None:
        """What counts is the account at the end."""
        for change, verdict in (
            (lambda: self.enable("anna", False), NO),
            (lambda: self.keep("anna", OTHER_HASH), NO),
            (lambda: self.keep("anna", str(make_pbkdf2(b"secret", 1))), YES),
        ):
            self.keep("anna", str(make_pbkdf2(b"secret", 1)))
            answer = self.ask()
            change()
            self.pool.work()
            self.assertIs(self.successResultOf(answer), verdict)

    def test_changed_while_waiting(self) -> None:
        """Nobody gets in by what somebody else was remembered for a moment ago."""
        first, second = self.ask(), self.ask()
        self.enable("anna", False)
        self.pool.work()
        self.assertEqual([self.successResultOf(first), self.successResultOf(second)], [NO, NO])

    def test_changing_all_the_time(self) -> None:
        """Somebody plays with us; there is an end to it."""
        answer = self.ask()
        for _ in range(3):
            self.keep("anna", str(make_pbkdf2(b"secret", 1)))
            [(result, check)] = self.pool.waiting
            self.pool.waiting.clear()
            result.callback(check())
        self.assertIs(self.successResultOf(answer), ReasonCode.SERVER_BUSY)


class LegacyTests(AccountsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.keep("anna", LEGACY)

    def stored(self) -> str:
        account = self.successResultOf(self.people.account("anna"))
        assert account is not None
        return account.password_hash

    def test_replaced_at_the_first_login(self) -> None:
        """By a hash of the same password; and that is no change, so nobody has to go."""
        self.assertIs(self.verdict(), YES)
        self.assertTrue(self.stored().startswith("$argon2id$"))
        self.assertTrue(parse_account_hash(self.stored()).verify(b"secret"))
        self.assertTrue(self.stays())
        self.assertIs(self.verdict(), YES)
        self.assertEqual(self.pool.worked, 1)

    def test_a_wrong_password_replaces_nothing(self) -> None:
        """And takes as long."""
        self.assertIs(self.verdict(password=b"wrong"), NO)
        self.assertEqual(self.stored(), LEGACY)
        self.assertIsNotNone(check_password(parse_account_hash(LEGACY), b"wrong").renewed)

    def test_it_cannot_be_replaced_now(self) -> None:
        """Next time, then. Who shows the password gets in."""
        self.patch(self.people, "replace_hash", lambda *_: fail(PeopleUnavailable("gone")))
        self.assertIs(self.verdict(), YES)
        self.assertEqual(self.stored(), LEGACY)
        self.assertTrue(self.stays())

    def test_somebody_else_has_replaced_it(self) -> None:
        """Then that one counts."""
        answer, other = self.ask(), str(make_pbkdf2(b"secret", 1))
        [(result, check)] = self.pool.waiting
        self.pool.waiting.clear()
        self.successResultOf(self.people.replace_hash("anna", LEGACY, other))
        result.callback(check())
        self.pool.work()
        self.assertIs(self.successResultOf(answer), YES)
        self.assertEqual(self.stored(), other)


class UnavailableTests(AccountsTestCase):
    def test_nobody_can_be_asked(self) -> None:
        """That is no failed login, and not even who is remembered gets in."""
        self.assertIs(self.verdict(), YES)
        self.people.answer = fail(PeopleUnavailable("gone"))
        self.assertIs(self.verdict(), ReasonCode.SERVER_UNAVAILABLE)
        self.assertEqual(self.failures.counted, {UNAVAILABLE: 1})
        self.people.answer = None
        self.assertIs(self.verdict(), YES)

    def test_no_answer_at_all(self) -> None:
        """It is not waited for without end."""
        self.people.answer = Deferred()
        answer = self.ask()
        self.assertNoResult(answer)
        self.clock.advance(4)
        self.assertIs(self.successResultOf(answer), ReasonCode.SERVER_UNAVAILABLE)

    def test_lost_while_checking(self) -> None:
        """The password was right, but nobody knows whether that still counts."""
        answer = self.ask()
        self.people.answer = fail(PeopleUnavailable("gone"))
        self.pool.work()
        self.assertIs(self.successResultOf(answer), ReasonCode.SERVER_UNAVAILABLE)

    def test_too_many_at_once(self) -> None:
        """The queue is bounded."""
        answers = [self.ask(password=b"%d" % number) for number in range(5)]
        self.assertIs(self.successResultOf(answers.pop()), ReasonCode.SERVER_BUSY)
        self.assertEqual(self.failures.counted, {BUSY: 1})
        self.pool.work()
        self.assertEqual([self.successResultOf(answer) for answer in answers], [NO] * 4)


class GuessingTests(AccountsTestCase):
    limit = 3

    def test_who_guesses_is_held_off(self) -> None:
        """Neither hashed for, nor is anybody asked."""
        for number in range(3):
            self.assertIs(self.verdict(password=b"guess %d" % number), NO)
        asked = self.people.asked
        self.assertIs(self.verdict(), NO)
        self.assertEqual(self.failures.counted, {FAILED: 3, BACKED_OFF: 1})
        self.assertEqual((self.people.asked, self.pool.worked), (asked, 3))
        self.failures.clock.advance(1)
        self.assertIs(self.verdict(), YES)


class InsideTests(AccountsTestCase):
    """Who has come in, and what has become of the account."""

    def test_nobody_inside(self) -> None:
        """Somebody of that name who came in by something else is not meant."""
        self.enable("anna", False)
        self.assertTrue(self.stays())
        self.assertEqual(self.authenticator.users(), [])

    def test_nothing_has_changed(self) -> None:
        """Nobody has to go for a change that is none."""
        self.verdict()
        self.keep("anna", HASH)
        self.assertTrue(self.stays())
        self.assertEqual(self.authenticator.users(), ["anna"])

    def test_changes(self) -> None:
        """Disabled, removed, another password: whoever is inside has to go, once."""
        for change in (
            lambda: self.enable("anna", False),
            lambda: self.successResultOf(self.people.remove_account("anna")),
            lambda: self.keep("anna", OTHER_HASH),
        ):
            self.keep("anna", HASH)
            self.verdict()
            change()
            self.assertFalse(self.stays())
            self.assertTrue(self.stays())

    def test_both_passwords(self) -> None:
        """Who came in by the old one has to go, though somebody came by the new one meanwhile."""
        self.verdict()
        self.keep("anna", OTHER_HASH)
        self.assertIs(self.verdict(password=b"other"), YES)
        self.assertFalse(self.stays())
        self.assertTrue(self.stays())

    def test_nobody_can_say(self) -> None:
        """They stay until somebody can."""
        self.verdict()
        self.people.answer = fail(PeopleUnavailable("gone"))
        self.failureResultOf(
            Deferred.fromCoroutine(self.authenticator.still_admits("anna")), PeopleUnavailable
        )
        self.people.answer = None
        self.enable("anna", False)
        self.assertFalse(self.stays())


class StandInTests(AccountsTestCase):
    def hashed_for(self, username: str) -> Any:
        """What is worked on for a name."""
        seen: list[Any] = []

        def run(_: object, stored: object, password: bytes) -> Deferred[Any]:
            seen.append(stored)
            return succeed(Checked(False))

        self.authenticator._check.run_in_thread = run
        self.successResultOf(self.ask(username, b"%d" % next(self.numbers)))
        return seen[0]

    def test_what_a_new_account_costs(self) -> None:
        """As long as nothing else is known."""
        self.assertIsInstance(self.hashed_for("nobody"), Argon2idHash)

    def test_what_others_cost(self) -> None:
        """Of accounts that were looked at, and of the file that is asked before."""
        self.authenticator.resemble([make_pbkdf2(b"x", 7), None])
        self.hashed_for("anna")
        found = [self.hashed_for(f"nobody {number}") for number in range(60)]
        iterations = {each.iterations for each in found if isinstance(each, Pbkdf2Hash)}
        self.assertEqual(iterations, {1, 7})
        self.assertTrue(any(isinstance(each, Argon2idHash) for each in found))
