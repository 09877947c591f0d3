"""
Who are you, by Mosquitto's password file: one ``user:hash`` per line.

A user name shown must be in the file, whether or not anonymous clients are let in, and whatever is wrong with
it, the client hears the same: *not authorized*, never *bad user name or password*, as Mosquitto does. Clients
without a user name are not this file's business; the chain decides about them.

The time an answer takes tells as little: an unknown name costs as much as a wrong password.
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
from zope.interface import implementer

from pushd.auth.password_hash import InvalidHash, PasswordHash, ScramHash, parse_hash
from pushd.auth.security_file import BLANKS, SecurityFileError, numbered_lines, read_security_file
from pushd.broker.interfaces import Credentials, IAuthenticator, Verdict
from pushd.mqtt.codes import ReasonCode

# What fits into a CONNECT (v3 §3.1.3.5), and the limit of mosquitto_passwd. A lower one would not save much:
# all formats read a long password once, 64 KiB in 0.1 ms, and then work on what is left of it.
MAX_PASSWORD_BYTES = 65_535

# The longest name that fits into a CONNECT (v3 §1.5.3).
MAX_USERNAME_BYTES = 65_535

# Checks that may be in the threads or waiting for one. At 10 ms each and two threads the last of them is
# answered after a second; with Argon2 after five, within the time a client waits for its CONNACK.
MAX_WAITING = 200


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
    that reconnects is let in without hashing, while a wrong password always takes its time.
    """

    def __init__(
        self,
        password_file: PasswordFile | None,
        run_in_thread: Callable[..., Deferred[Any]],
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """
        :param password_file: ``None`` for no file: then there is no opinion about anybody.
        :param run_in_thread: called with a function and its arguments, returns a Deferred of its result, like
            ``deferToThreadPool`` with the pool filled in. Two threads will do.
        """
        self._run_in_thread = run_in_thread
        self._max_waiting = max_waiting
        self._waiting = 0
        self.replace(password_file)

    def replace(self, password_file: PasswordFile | None) -> None:
        """Use this file from now on, also for checks that have begun, and forget all good logins."""
        self._password_file = password_file
        self._key = os.urandom(32)
        # One login for each user, so no larger than the file.
        self._good_logins: dict[str, bytes] = {}

    def authenticate(self, credentials: Credentials) -> Verdict | Deferred[Verdict]:
        """A name needs its password; no name, or an empty one, is nobody's business here."""
        username, password = credentials.username, credentials.password
        if self._password_file is None or not username:
            return None
        if password is None or len(password) > MAX_PASSWORD_BYTES:
            return ReasonCode.NOT_AUTHORIZED
        login = self._login(username, password)
        if hmac.compare_digest(self._good_logins.get(username, b""), login):
            return ReasonCode.SUCCESS
        return self._check(credentials, username, password, login)

    def _login(self, username: str, password: bytes) -> bytes:
        # The name's length keeps ("ab", "c") and ("a", "bc") apart.
        name = username.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, len(name).to_bytes(4, "big") + name + password, hashlib.sha256)

    def _check(
        self, credentials: Credentials, username: str, password: bytes, login: bytes
    ) -> Verdict | Deferred[Verdict]:
        password_file = self._password_file
        assert password_file is not None  # `authenticate` has looked
        known = password_file.find(username)
        to_verify = known or password_file.stand_in(self._login(username, b""))
        if to_verify is None:
            return ReasonCode.NOT_AUTHORIZED
        if self._waiting >= self._max_waiting:
            return ReasonCode.SERVER_BUSY

        def checked(matches: bool) -> Verdict | Deferred[Verdict]:
            if self._password_file is not password_file:  # reloaded meanwhile: ask the new file
                return self.authenticate(credentials)
            if known is None or not matches:
                return ReasonCode.NOT_AUTHORIZED
            self._good_logins[username] = login
            return ReasonCode.SUCCESS

        return self._in_thread(to_verify.verify, password).addCallback(checked)

    def _in_thread(self, verify: Callable[[bytes], bool], password: bytes) -> Deferred[bool]:
        self._waiting += 1

        def done(result: Any) -> Any:
            self._waiting -= 1
            return result

        return self._run_in_thread(verify, password).addBoth(done)
