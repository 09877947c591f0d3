"""
Who are you, by Mosquitto's password file: one ``user:hash`` per line.

A user name shown must be in the file, whether or not anonymous clients are let in, and whatever is wrong with
it, the client hears the same: *not authorized*, never *bad user name or password*, as Mosquitto does. Clients
without a user name are not this file's business; the chain decides about them.

The time an answer takes tells as little: an unknown name costs as much as a wrong password. Whoever guesses
is held off (`pushd.auth.failures`), and does not keep others waiting (`pushd.auth.check_queue`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.auth.check_queue import Busy, CheckQueue
from pushd.auth.failures import NO_PASSWORD, WRONG, Attempt, LoginFailures
from pushd.auth.password_hash import InvalidHash, PasswordHash, ScramHash, parse_hash
from pushd.auth.security_file import BLANKS, SecurityFileError, numbered_lines, read_security_file
from pushd.broker.interfaces import Credentials, IAuthenticator, Verdict
from pushd.mqtt.codes import ReasonCode

# What fits into a CONNECT (v3 §3.1.3.5), and the limit of mosquitto_passwd. A lower one would not save much:
# all formats read a long password once, 64 KiB in 0.1 ms, and then work on what is left of it.
MAX_PASSWORD_BYTES = 65_535

# The longest name that fits into a CONNECT (v3 §1.5.3).
MAX_USERNAME_BYTES = 65_535


class PasswordFile:
    """
    The users of one file and the hashes of their passwords. Never changed: a reload makes a new one.

    :ivar scram_hashes: those that SCRAM can use, of whichever users.
    """

    def __init__(self, entries: Mapping[str, PasswordHash], warnings: Iterable[str] = ()) -> None:
        self._entries = dict(entries)
        self._hashes = tuple(self._entries.values())
        self.scram_hashes = tuple(each for each in self._hashes if isinstance(each, ScramHash))
        self.warnings = tuple(warnings)  # for the log: "conf/passwd: readable by everyone, ..."

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def parse(cls, text: str, origin: str) -> PasswordFile:
        """
        Read a file's text. Lines without a colon say nothing, as in Mosquitto; neither does what follows a
        second colon. A file without users is valid: then no user name gets in.

        :param origin: the file's name for messages.
        :raises SecurityFileError: an empty, overlong or repeated name, or a hash that is none.
        """
        entries: dict[str, PasswordHash] = {}
        for number, line in numbered_lines(text, origin):
            if ":" not in line:
                continue
            try:
                _add_entry(entries, line)
            except ValueError as problem:
                raise SecurityFileError(f"{origin}:{number}: {problem}") from problem
        return cls(entries)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> PasswordFile:
        """
        Read a file; 100,000 lines take about a second, so a reload does it in a thread.

        :raises SecurityFileError: as `parse`, or the file cannot be opened.
        """
        password_file = cls.parse(read_security_file(path), os.fspath(path))
        if Path(path).stat().st_mode & stat.S_IRWXO:
            password_file.warnings = (f"{os.fspath(path)}: open to every user of this machine; chmod 600 it",)
        return password_file

    def find(self, username: str) -> PasswordHash | None:
        """The hash of this user's password, or ``None`` for an unknown user."""
        return self._entries.get(username)

    def stand_in(self, seed: bytes) -> PasswordHash | None:
        """
        Somebody's hash, to spend time on for a user who is not here: the same one for the same seed.

        Taken from the file itself, so that unknown names take as long as known ones do, whatever mixture of
        formats and iterations it holds. ``None`` if the file is empty: then there is nothing to find out.
        """
        if not self._hashes:
            return None
        return self._hashes[int.from_bytes(seed, "big") % len(self._hashes)]


def _add_entry(entries: dict[str, PasswordHash], line: str) -> None:
    name, _, rest = line.partition(":")
    name = name.strip(BLANKS)
    if not name:
        raise ValueError("empty user name")
    if len(name.encode()) > MAX_USERNAME_BYTES:
        raise ValueError(f"a user name of more than {MAX_USERNAME_BYTES} bytes")
    if name in entries:
        raise ValueError(f"duplicate user {name!r}")
    try:
        entries[name] = parse_hash(rest.partition(":")[0].strip(BLANKS))
    except InvalidHash as problem:
        raise ValueError(f"password of {name!r}: {problem}") from problem


@implementer(IAuthenticator)
class PasswordFileAuthenticator:
    """
    Checks user name and password against a `PasswordFile`, which a reload may replace.

    A good login is remembered until then, as a keyed digest that is of no use outside this process: a fleet
    that reconnects is let in without hashing, while a wrong password always takes its time. A second try with
    the same wrong one does not, but whoever makes it has learnt already what there is to learn.
    """

    def __init__(
        self,
        password_file: PasswordFile | None,
        run_in_thread: Callable[..., Deferred[Any]],
        queue: CheckQueue,
        failures: LoginFailures,
    ) -> None:
        """
        :param password_file: ``None`` for no file: then there is no opinion about anybody.
        :param run_in_thread: called with a function and its arguments, returns a Deferred of its result, like
            ``deferToThreadPool`` with the pool filled in.
        :param queue: of all who use these threads.
        """
        self._run_in_thread = run_in_thread
        self._queue = queue
        self._failures = failures
        self.replace(password_file)

    def replace(self, password_file: PasswordFile | None) -> None:
        """Use this file from now on, also for checks that have begun, and forget all good logins."""
        self._password_file = password_file
        self._key = os.urandom(32)
        # One login for each user, so no larger than the file.
        self._good_logins: dict[str, bytes] = {}

    def authenticate(self, credentials: Credentials) -> Verdict | Deferred[Verdict]:
        """A name needs its password; no name, or an empty one, is nobody's business here."""
        username, password_file = credentials.username, self._password_file
        if password_file is None or not username:
            return None
        attempt = self._failures.attempt(credentials, username, self._login(username, credentials.password))
        verdict = self._verdict_at_once(attempt)
        if verdict is not None:
            return verdict
        known = self._failures.knows(attempt)
        lane = attempt.pair if known else attempt.network
        checking = self._queue.submit(lane, known, lambda: self._check(attempt, password_file))
        return checking.addCallbacks(self._checked, self._not_checked, (credentials,))

    def _login(self, username: str, password: bytes | None) -> bytes:
        """A digest to know a login again; empty if there is no password in it, or none that is checked."""
        if password is None or len(password) > MAX_PASSWORD_BYTES:
            return b""
        # The name's length keeps ("ab", "c") and ("a", "bc") apart.
        name = username.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, len(name).to_bytes(4, "big") + name + password, hashlib.sha256)

    def _verdict_at_once(self, attempt: Attempt) -> ReasonCode | None:
        """:return: the verdict, or ``None`` if only hashing can tell."""
        failures = self._failures
        if lock_s := failures.source_lock_s(attempt):
            return failures.back_off(attempt, lock_s)
        if not attempt.proof:
            return failures.fail(attempt, NO_PASSWORD)
        if hmac.compare_digest(self._good_logins.get(attempt.username, b""), attempt.proof):
            return failures.succeed(attempt)
        if failures.is_known_wrong(attempt) or not self._password_file:
            return failures.fail(attempt, WRONG)
        if lock_s := failures.user_lock_s(attempt):
            return failures.back_off_user(attempt, lock_s)
        return None

    def _check(self, attempt: Attempt, password_file: PasswordFile) -> Verdict | Deferred[Verdict]:
        """:return: the verdict, or ``None`` if there is another file now."""
        if self._password_file is not password_file:
            return None
        verdict = self._verdict_at_once(attempt)  # others may have failed, or got in by it, meanwhile
        known = password_file.find(attempt.username)
        to_verify = known or password_file.stand_in(self._login(attempt.username, b""))
        if verdict is not None or to_verify is None:
            return verdict

        def verified(matches: bool) -> Verdict:
            if self._password_file is not password_file:
                return None
            if known is None or not matches:
                return self._failures.fail(attempt, WRONG)
            self._good_logins[attempt.username] = attempt.proof
            return self._failures.succeed(attempt)

        return self._run_in_thread(to_verify.verify, attempt.credentials.password).addCallback(verified)

    def _checked(self, verdict: Verdict, credentials: Credentials) -> Verdict | Deferred[Verdict]:
        """Ask a new file anew, behind all who wait: the turn is over."""
        return self.authenticate(credentials) if verdict is None else verdict

    def _not_checked(self, failure: Failure) -> Verdict:
        failure.trap(Busy)
        return self._failures.turn_away()
