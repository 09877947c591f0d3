"""
Who are you, by Mosquitto's password file: one ``user:hash`` per line.

A user name shown must be in the file, whether or not anonymous clients are let in, and whatever is wrong with
it, the client hears the same: *not authorized*, never *bad user name or password*, as Mosquitto does. Clients
without a user name are not this file's business; the chain decides about them. Where there are accounts too
(`pushd.auth.accounts`), neither are users that are not in it.

The time an answer takes tells as little: an unknown name costs as much as a wrong password. How a password is
checked, `pushd.auth.login_check` says.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.auth.check_queue import Busy, CheckQueue
from pushd.auth.failures import WRONG, Attempt, LoginFailures
from pushd.auth.login_check import LoginCheck
from pushd.auth.password_hash import InvalidHash, PasswordHash, ScramHash, parse_hash
from pushd.auth.security_file import BLANKS, SecurityFileError, numbered_lines, read_security_file
from pushd.broker.interfaces import Credentials, IAuthenticator, Verdict
from pushd.mqtt.codes import ReasonCode

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
    Checks user name and password against a `PasswordFile`, which a reload may replace. That forgets all good
    logins.

    :ivar knows_all: whether there are no other users than those of the file. If there may be some, others are
        asked about them.
    """

    knows_all = True

    def __init__(
        self,
        password_file: PasswordFile | None,
        run_in_thread: Callable[..., Deferred[Any]],
        queue: CheckQueue,
        failures: LoginFailures,
    ) -> None:
        """
        :param password_file: ``None`` for no file: then there is no opinion about anybody.
        :param run_in_thread, queue, failures: see `LoginCheck`.
        """
        self._check = LoginCheck(run_in_thread, queue, failures)
        self.replace(password_file)

    def replace(self, password_file: PasswordFile | None) -> None:
        """Use this file from now on, also for checks that have begun, and forget all good logins."""
        self._password_file = password_file
        self._check.forget()

    def authenticate(self, credentials: Credentials) -> Verdict | Deferred[Verdict]:
        """A name needs its password; no name, or an empty one, is nobody's business here."""
        username, password_file = credentials.username, self._password_file
        if password_file is None or not username:
            return None
        if not self.knows_all and password_file.find(username) is None:
            return None
        attempt = self._check.attempt(credentials, username)
        verdict = self._verdict_at_once(attempt)
        if verdict is not None:
            return verdict
        checking = self._check.in_turn(attempt, lambda: self._verify(attempt, password_file))
        return checking.addCallbacks(self._checked, self._not_checked, (credentials,))

    def _verdict_at_once(self, attempt: Attempt) -> ReasonCode | None:
        """:return: the verdict, or ``None`` if only hashing can tell."""
        verdict = self._check.verdict_at_once(attempt)
        if verdict is None and not self._password_file:
            return self._check.failures.fail(attempt, WRONG)  # a file without users has nothing to hide
        return verdict

    def _verify(self, attempt: Attempt, password_file: PasswordFile) -> Verdict | Deferred[Verdict]:
        """:return: the verdict, or ``None`` if there is another file now."""
        if self._password_file is not password_file:
            return None
        verdict = self._verdict_at_once(attempt)  # others may have failed, or got in by it, meanwhile
        known = password_file.find(attempt.username)
        to_verify = known or password_file.stand_in(self._check.seed(attempt.username))
        if verdict is not None or to_verify is None:
            return verdict

        def verified(matches: bool) -> Verdict:
            if self._password_file is not password_file:
                return None
            if known is None or not matches:
                return self._check.failures.fail(attempt, WRONG)
            self._check.remember(attempt)
            return self._check.failures.succeed(attempt)

        password = attempt.credentials.password
        return self._check.run_in_thread(to_verify.verify, password).addCallback(verified)

    def _checked(self, verdict: Verdict, credentials: Credentials) -> Verdict | Deferred[Verdict]:
        """Ask a new file anew, behind all who wait: the turn is over."""
        return self.authenticate(credentials) if verdict is None else verdict

    def _not_checked(self, failure: Failure) -> Verdict:
        failure.trap(Busy)
        return self._check.failures.turn_away()
