"""`pushd.auth.password_file`: the file's grammar, and who gets in by it."""

from __future__ import annotations

import subprocess
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.auth.check_queue import CheckQueue
from pushd.auth.failures import BACKED_OFF, BUSY, FAILED
from pushd.auth.password_file import PasswordFile, PasswordFileAuthenticator
from pushd.auth.password_hash import make_pbkdf2, make_sha512
from pushd.auth.security_file import SecurityFileError
from pushd.broker.interfaces import Credentials, IAuthenticator
from pushd.mqtt.codes import ReasonCode
from tests.auth.logins import Guarded, ThreadPool

HOME, AWAY = "192.0.2.7", "198.51.100.1"

HASH = str(make_pbkdf2(b"secret", 1))
OTHER_HASH = str(make_sha512(b"other"))


class ParseTests(SynchronousTestCase):
    """One ``user:hash`` per line."""

    def refuse(self, text: str, message: str) -> None:
        """The text is refused with this message."""
        error = self.assertRaises(SecurityFileError, PasswordFile.parse, text, "conf/passwd")
        self.assertEqual(str(error), message)

    def test_users_are_found_by_name(self) -> None:
        """Names and hashes are trimmed; comments, empty lines and lines without a colon say nothing."""
        text = f"# users\n\nsome words\nanna:{HASH}\r\n  bert kühn :  {OTHER_HASH}  \n"
        password_file = PasswordFile.parse(text, "f")
        self.assertEqual(len(password_file), 2)
        self.assertEqual(str(password_file.find("anna")), HASH)
        self.assertEqual(str(password_file.find("bert kühn")), OTHER_HASH)
        self.assertIsNone(password_file.find("Anna"))

    def test_text_behind_a_second_colon_says_nothing(self) -> None:
        """As in Mosquitto."""
        self.assertEqual(str(PasswordFile.parse(f"anna:{HASH}:x", "f").find("anna")), HASH)

    def test_empty_file_has_no_users(self) -> None:
        """A new, empty file is fine; nobody gets in by it."""
        self.assertEqual(len(PasswordFile.parse("", "f")), 0)

    def test_empty_name_is_refused(self) -> None:
        """A line without a name is damage, not a user."""
        self.refuse(f"anna:{HASH}\n :{HASH}", "conf/passwd:2: empty user name")

    def test_duplicate_name_is_refused(self) -> None:
        """Which of two passwords holds is not left to chance."""
        self.refuse(f"anna:{HASH}\nbert:{HASH}\nanna :{OTHER_HASH}", "conf/passwd:3: duplicate user 'anna'")

    def test_bad_hash_is_refused(self) -> None:
        """A password in plain text, or none, stops the start; the message does not repeat it."""
        text = "conf/passwd:1: password of 'anna': not a $6$, $7$, $argon2id$ or $scram-sha-256$ hash"
        self.refuse("anna:secret", text)
        self.refuse("anna:", text)

    def test_overlong_name_is_refused(self) -> None:
        """A name that fits into no CONNECT is damage."""
        self.refuse("x" * 65_536 + f":{HASH}", "conf/passwd:1: a user name of more than 65535 bytes")

    @given(st.lists(st.sampled_from(["anna", "bert", ":", HASH, "#", " ", "\n", "\0", "\udcff", "é"])))
    def test_any_text_is_users_or_an_error(self, parts: list[str]) -> None:
        """No text raises anything but `SecurityFileError`, and no user comes of it without a name."""
        try:
            password_file = PasswordFile.parse("".join(parts), "f")
        except SecurityFileError:
            return
        self.assertIsNone(password_file.find(""))


class ReadTests(SynchronousTestCase):
    """Files on disk."""

    def test_file_of_mosquitto_passwd_lets_its_users_in(self) -> None:
        """A file that the real tool wrote works unchanged, whichever hash it was told to use."""
        path = self.mktemp()
        for flags, user in ((["-c"], "new"), (["-H", "sha512"], "old"), (["-H", "sha512-pbkdf2"], "größe")):
            subprocess.run(["mosquitto_passwd", *flags, "-b", path, user, f"pw of {user}"], check=True)
        password_file = PasswordFile.read(path)
        self.assertEqual(len(password_file), 3)
        for user in ("new", "old", "größe"):
            stored = password_file.find(user)
            assert stored is not None
            self.assertTrue(stored.verify(f"pw of {user}".encode()))
            self.assertFalse(stored.verify(b"pw of"))

    def test_file_that_everybody_can_read_is_worth_a_warning(self) -> None:
        """Hashes are for the broker only."""
        path = Path(self.mktemp())
        path.write_text(f"anna:{HASH}\n")
        path.chmod(0o644)
        self.assertEqual(len(PasswordFile.read(path).warnings), 1)
        path.chmod(0o640)
        self.assertEqual(PasswordFile.read(path).warnings, ())

    def test_error_names_the_file(self) -> None:
        """The operator reads which file and which line."""
        path = Path(self.mktemp())
        path.write_text("anna:plain\n")
        error = self.assertRaises(SecurityFileError, PasswordFile.read, path)
        self.assertIn(f"{path}:1: ", str(error))


class StandInTests(SynchronousTestCase):
    """The work that an unknown user name costs."""

    def test_stand_in_is_one_of_the_files_hashes(self) -> None:
        """Unknown names cost what known ones do, and the same name always the same."""
        password_file = PasswordFile.parse(f"a:{HASH}\nb:{OTHER_HASH}\n", "f")
        chosen = {str(password_file.stand_in(bytes([seed]))) for seed in range(20)}
        self.assertEqual(chosen, {HASH, OTHER_HASH})
        self.assertEqual(password_file.stand_in(b"x"), password_file.stand_in(b"x"))

    def test_empty_file_has_no_stand_in(self) -> None:
        """Nothing can be found out about a file without users."""
        self.assertIsNone(PasswordFile({}).stand_in(b"x"))


class AuthenticatorTests(SynchronousTestCase):
    """Who gets in."""

    def setUp(self) -> None:
        self.pool = ThreadPool()
        self.failures = Guarded(limit=0)
        self.authenticator = PasswordFileAuthenticator(
            PasswordFile.parse(f"anna:{HASH}\nbert:{OTHER_HASH}\n", "f"),
            self.pool.run,
            CheckQueue(threads=1, max_waiting=1),
            self.failures,
        )

    def ask(self, username: str | None, password: bytes | None) -> Any:
        """What the authenticator says at once: a verdict, ``None`` or a Deferred."""
        return self.authenticator.authenticate(Credentials("id", username, password))

    def verdict(self, username: str | None, password: bytes | None) -> Any:
        """What it says after the threads have worked."""
        answer = self.ask(username, password)
        self.assertIsInstance(answer, Deferred)
        self.pool.work()
        return self.successResultOf(answer)

    def test_it_is_an_authenticator(self) -> None:
        """It keeps the promise of the interface."""
        verifyObject(IAuthenticator, self.authenticator)

    def test_right_password_gets_in(self) -> None:
        """The user of each hash format is let in, checked in a thread."""
        self.assertIs(self.verdict("anna", b"secret"), ReasonCode.SUCCESS)
        self.assertIs(self.verdict("bert", b"other"), ReasonCode.SUCCESS)

    def test_wrong_password_is_not_authorized(self) -> None:
        """The answer is 0x87, 5 in version 3, as Mosquitto's: never 4."""
        self.assertIs(self.verdict("anna", b"Secret"), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.verdict("anna", b""), ReasonCode.NOT_AUTHORIZED)

    def test_unknown_user_costs_a_check_and_is_not_authorized(self) -> None:
        """Neither the answer nor the work shows that there is no such user, even with somebody's password."""
        for password in (b"secret", b"other"):
            self.assertIs(self.verdict("nobody", password), ReasonCode.NOT_AUTHORIZED)

    def test_no_user_name_is_not_its_business(self) -> None:
        """The chain decides about anonymous clients, and an empty name is none."""
        self.assertIsNone(self.ask(None, b"secret"))
        self.assertIsNone(self.ask("", b"secret"))

    def test_no_file_is_no_opinion(self) -> None:
        """Without a password file nobody is turned away here."""
        self.authenticator.replace(None)
        self.assertIsNone(self.ask("anna", b"wrong"))

    def test_user_name_without_password_is_refused_at_once(self) -> None:
        """A missing password is not an empty one, and no user's."""
        self.assertIs(self.ask("anna", None), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.ask("nobody", None), ReasonCode.NOT_AUTHORIZED)

    def test_overlong_password_is_not_hashed(self) -> None:
        """What cannot come by MQTT is refused without work; the longest that can is checked."""
        self.assertIs(self.ask("anna", b"x" * 65_536), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.verdict("anna", b"x" * 65_535), ReasonCode.NOT_AUTHORIZED)

    def test_empty_file_refuses_every_name(self) -> None:
        """A file without users is not a missing file."""
        self.authenticator.replace(PasswordFile({}))
        self.assertIs(self.ask("anna", b"secret"), ReasonCode.NOT_AUTHORIZED)

    def test_too_many_checks_are_turned_away_as_busy(self) -> None:
        """The queue is bounded, and free again when the threads have caught up."""
        answers = [self.ask("anna", b"%d" % count) for count in range(2)]
        self.assertIs(self.successResultOf(self.ask("bert", b"other")), ReasonCode.SERVER_BUSY)
        self.assertEqual(self.failures.counted, {BUSY: 1})
        self.pool.work()
        for answer in answers:
            self.successResultOf(answer)
        self.assertIs(self.verdict("bert", b"other"), ReasonCode.SUCCESS)

    def test_failed_check_frees_its_place(self) -> None:
        """A check that raises is the chain's to handle; it does not fill the queue up."""
        for _ in range(3):
            answer = self.ask("anna", b"secret")
            self.pool.waiting.pop()[0].errback(MemoryError())
            self.failureResultOf(answer, MemoryError)
        self.assertIs(self.verdict("anna", b"secret"), ReasonCode.SUCCESS)

    def test_name_that_is_no_utf8_is_refused(self) -> None:
        """A lone surrogate, whoever lets it through, is an unknown user."""
        self.assertIs(self.verdict("\udcff", b"secret"), ReasonCode.NOT_AUTHORIZED)


class GoodLoginTests(SynchronousTestCase):
    """A good login is remembered, in no usable form, until the file is read again."""

    def setUp(self) -> None:
        self.pool = ThreadPool()
        self.authenticator = PasswordFileAuthenticator(
            PasswordFile.parse(f"anna:{HASH}", "f"), self.pool.run, CheckQueue(), Guarded(limit=0)
        )
        self.log_in(b"secret")

    def log_in(self, password: bytes) -> Any:
        """What the authenticator says at once; the threads work afterwards."""
        answer = self.authenticator.authenticate(Credentials("id", "anna", password))
        self.pool.work()
        return answer

    def test_second_login_is_answered_at_once(self) -> None:
        """A fleet that reconnects is let in without hashing."""
        self.assertIs(self.log_in(b"secret"), ReasonCode.SUCCESS)

    def test_other_password_is_still_checked(self) -> None:
        """A remembered login is of use for that password only, and a failed attempt does not forget it."""
        for wrong in (b"wrong", b"Secret"):
            self.assertIs(self.successResultOf(self.log_in(wrong)), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.log_in(b"secret"), ReasonCode.SUCCESS)

    def test_wrong_password_is_not_hashed_twice(self) -> None:
        """A device that knows no better costs nothing, until the file is read again and may be with it."""
        self.log_in(b"other")
        self.assertIs(self.log_in(b"other"), ReasonCode.NOT_AUTHORIZED)
        self.authenticator.replace(PasswordFile.parse(f"anna:{OTHER_HASH}", "f"))
        self.assertIs(self.successResultOf(self.log_in(b"other")), ReasonCode.SUCCESS)

    def test_reload_forgets_it(self) -> None:
        """A password that was changed in the file is of no use any more."""
        self.authenticator.replace(PasswordFile.parse(f"anna:{OTHER_HASH}", "f"))
        self.assertIs(self.successResultOf(self.log_in(b"secret")), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.successResultOf(self.log_in(b"other")), ReasonCode.SUCCESS)

    def test_reload_during_a_check_asks_the_new_file(self) -> None:
        """A user who was deleted while being checked does not slip in, nor is the login remembered."""
        self.authenticator.replace(PasswordFile.parse(f"anna:{HASH}", "f"))
        answer: Any = self.authenticator.authenticate(Credentials("id", "anna", b"secret"))
        self.authenticator.replace(PasswordFile.parse(f"bert:{OTHER_HASH}", "f"))
        self.pool.work()
        self.assertEqual(self.pool.worked, 3)  # one of them when the test began
        self.assertIs(self.successResultOf(answer), ReasonCode.NOT_AUTHORIZED)

    def test_password_is_not_kept(self) -> None:
        """What is remembered is a digest under a key that no other process and no later reload has."""
        [remembered] = self.authenticator._check._good_logins.values()
        self.assertEqual(len(remembered), 32)
        self.authenticator.replace(PasswordFile.parse(f"anna:{HASH}", "f"))
        self.log_in(b"secret")
        self.assertNotEqual([remembered], list(self.authenticator._check._good_logins.values()))

    def test_unknown_user_is_not_remembered(self) -> None:
        """Who is not in the file takes no room."""
        for name in ("nobody", "somebody"):
            self.authenticator.authenticate(Credentials("id", name, b"secret"))
        self.pool.work()
        self.assertEqual(list(self.authenticator._check._good_logins), ["anna"])


class GuessingTests(SynchronousTestCase):
    """Three failures are allowed, and one thread checks."""

    def setUp(self) -> None:
        self.pool = ThreadPool()
        self.failures = Guarded(limit=3)
        self.authenticator = self.door(f"anna:{HASH}\nbert:{HASH}")
        self.numbers = count()

    def door(self, users: str) -> PasswordFileAuthenticator:
        """A listener with this file; all share what is counted."""
        queue = CheckQueue(threads=1)
        return PasswordFileAuthenticator(PasswordFile.parse(users, "f"), self.pool.run, queue, self.failures)

    def ask(self, username: str = "anna", password: str = "secret", host: str = HOME) -> Deferred[Any]:
        """The verdict, when the threads have worked."""
        self.shown = Credentials("id", username, password.encode(), f"{host}:{next(self.numbers)}")
        return maybeDeferred(self.authenticator.authenticate, self.shown)

    def verdict(self, username: str = "anna", password: str = "secret", host: str = HOME) -> ReasonCode:
        """The verdict after that."""
        answer = self.ask(username, password, host)
        self.pool.work()
        code = self.successResultOf(answer)
        assert isinstance(code, ReasonCode)
        return code

    def guess(self, username: str = "anna", host: str = HOME, times: int = 3) -> None:
        """Try some passwords."""
        for _ in range(times):
            self.assertIs(
                self.verdict(username, f"guess {next(self.numbers)}", host), ReasonCode.NOT_AUTHORIZED
            )

    def test_who_guesses_is_not_hashed_for(self) -> None:
        """Not even with the right password; the answer is the same, and HTTP's callers hear how long."""
        self.guess()
        self.assertIs(self.verdict(), ReasonCode.NOT_AUTHORIZED)
        self.assertEqual((self.pool.worked, self.shown.retry_after_s), (3, 1.0))
        self.assertEqual(self.failures.counted, {FAILED: 3, BACKED_OFF: 1})
        self.failures.clock.advance(1)
        self.assertIs(self.verdict(), ReasonCode.SUCCESS)

    def test_wrong_password_is_no_reason_to_come_back(self) -> None:
        """It was looked at."""
        self.guess()
        self.assertEqual(self.shown.retry_after_s, 0)

    def test_remembered_login_is_not_for_guessing(self) -> None:
        """Nor is it looked up for who is held off: 3 µs a guess would be many guesses."""
        self.assertIs(self.verdict(host=AWAY), ReasonCode.SUCCESS)
        self.guess()
        self.assertIs(self.verdict(), ReasonCode.NOT_AUTHORIZED)

    def test_good_logins_pass_while_others_guess(self) -> None:
        """From the same address if they came from there before, from a new one if they are remembered."""
        self.assertIs(self.verdict(), ReasonCode.SUCCESS)
        for number in range(9):
            self.guess("anna", f"203.0.113.{number}", times=1)
        self.guess("eve")
        self.assertIs(self.verdict(), ReasonCode.SUCCESS)
        self.assertIs(self.verdict(host=AWAY), ReasonCode.SUCCESS)
        self.assertIs(self.verdict("bert"), ReasonCode.NOT_AUTHORIZED)

    def test_user_who_came_in_before_is_checked_after_a_reload(self) -> None:
        """It forgets what was remembered, but not where that was; nor who failed."""
        self.verdict()
        self.guess("eve")
        self.authenticator.replace(PasswordFile.parse(f"anna:{HASH}\nbert:{HASH}", "f"))
        self.assertIs(self.verdict(), ReasonCode.SUCCESS)
        self.assertIs(self.verdict("bert"), ReasonCode.NOT_AUTHORIZED)

    def test_another_listener_is_no_second_chance(self) -> None:
        """All doors count together."""
        self.guess()
        self.authenticator = self.door(f"anna:{HASH}")
        self.assertIs(self.verdict(), ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(self.failures.counted[BACKED_OFF], 1)

    def test_wrong_at_one_listener_may_be_right_at_another(self) -> None:
        """What is known to be wrong is so for one file."""
        self.assertIs(self.verdict(password="other"), ReasonCode.NOT_AUTHORIZED)
        self.authenticator = self.door(f"anna:{OTHER_HASH}")
        self.assertIs(self.verdict(password="other"), ReasonCode.SUCCESS)

    def test_guesses_at_once_are_not_all_hashed(self) -> None:
        """Those that wait are looked at again when it is their turn."""
        answers = [self.ask(password=f"guess {number}") for number in range(20)]
        self.pool.work()
        self.assertEqual({self.successResultOf(answer) for answer in answers}, {ReasonCode.NOT_AUTHORIZED})
        self.assertEqual(self.pool.worked, 3)

    def test_the_same_login_at_once_is_hashed_once(self) -> None:
        """A fleet that shares a user and comes back after a restart; or one with an old password."""
        for password, code in (("secret", ReasonCode.SUCCESS), ("old", ReasonCode.NOT_AUTHORIZED)):
            answers = [self.ask(password=password, host=AWAY) for _ in range(20)]
            self.pool.work()
            self.assertEqual({self.successResultOf(answer) for answer in answers}, {code})
        self.assertEqual(self.pool.worked, 2)

    def test_known_users_are_checked_before_strangers(self) -> None:
        """Where many guess, who came in before waits for one check at most."""
        self.verdict()
        self.authenticator.replace(PasswordFile.parse(f"anna:{HASH}", "f"))
        for number in range(10):
            self.ask("bert", "guess", f"203.0.113.{number}")
        answer = self.ask()
        for _ in range(2):
            result, check = self.pool.waiting.pop(0)
            result.callback(check())
        self.assertIs(self.successResultOf(answer), ReasonCode.SUCCESS)

    def test_user_name_without_password_is_a_failure(self) -> None:
        """In the log, too."""
        answer = self.authenticator.authenticate(Credentials("id", "anna", None, "192.0.2.7:1"))
        self.assertIs(answer, ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(self.failures.counted, {FAILED: 1})
