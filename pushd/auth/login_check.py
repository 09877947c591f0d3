"""
Passwords against hashes: what is the same wherever the hashes come from.

A good login is remembered, as a keyed digest that is of no use outside this process: a fleet that reconnects
is let in without hashing, while a wrong password always takes its time. A second try with the same wrong one
does not, but whoever makes it has learnt already what there is to learn.

Whoever guesses is held off (`pushd.auth.failures`), and does not keep others waiting
(`pushd.auth.check_queue`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pushd.auth.check_queue import CheckQueue
from pushd.auth.failures import NO_PASSWORD, WRONG, Attempt, LoginFailures
from pushd.broker.interfaces import Credentials
from pushd.mqtt.codes import ReasonCode

# What fits into a CONNECT (v3 §3.1.3.5), and the limit of mosquitto_passwd. A lower one would not save much:
# all formats read a long password once, 64 KiB in 0.1 ms, and then work on what is left of it.
MAX_PASSWORD_BYTES = 65_535


class LoginCheck:
    """
    Checks the logins of one source of users.

    :param run_in_thread: called with a function and its arguments, returns a Deferred of its result, like
        ``deferToThreadPool`` with the pool filled in.
    :param queue: of all who use these threads.
    """

    def __init__(
        self, run_in_thread: Callable[..., Deferred[Any]], queue: CheckQueue, failures: LoginFailures
    ) -> None:
        self.run_in_thread = run_in_thread
        self.failures = failures
        self._queue = queue
        self.forget()

    def forget(self) -> None:
        """Remember no login any more, neither good nor bad ones."""
        self._key = os.urandom(32)
        # One for each user that exists.
        self._good_logins: dict[str, bytes] = {}

    def attempt(self, credentials: Credentials, username: str, against: bytes = b"") -> Attempt:
        """
        One try to log in.

        :param against: what the password is held against, if that may change while logins are remembered:
            none of them counts for anything else.
        """
        proof = self._login(username, credentials.password, against)
        return self.failures.attempt(credentials, username, proof)

    def seed(self, username: str) -> bytes:
        """The same for the same name, and unforeseeable: to choose a stand-in by."""
        return self._login(username, b"")

    def _login(self, username: str, password: bytes | None, against: bytes = b"") -> bytes:
        """A digest to know a login again; empty if there is no password in it, or none that is checked."""
        if password is None or len(password) > MAX_PASSWORD_BYTES:
            return b""
        # The lengths keep ("ab", "c") and ("a", "bc") apart.
        parts = (username.encode("utf-8", "surrogatepass"), against, password)
        return hmac.digest(
            self._key, b"".join(b"%d:%b" % (len(part), part) for part in parts), hashlib.sha256
        )

    def refusal(self, attempt: Attempt) -> ReasonCode | None:
        """:return: why it is refused whatever the password is held against, or ``None``."""
        if lock_s := self.failures.source_lock_s(attempt):
            return self.failures.back_off(attempt, lock_s)
        if not attempt.proof:
            return self.failures.fail(attempt, NO_PASSWORD)
        return None

    def verdict_at_once(self, attempt: Attempt) -> ReasonCode | None:
        """:return: the verdict, or ``None`` if only hashing can tell."""
        failures = self.failures
        refusal = self.refusal(attempt)
        if refusal is not None:
            return refusal
        if hmac.compare_digest(self._good_logins.get(attempt.username, b""), attempt.proof):
            return failures.succeed(attempt)
        if failures.is_known_wrong(attempt):
            return failures.fail(attempt, WRONG)
        if lock_s := failures.user_lock_s(attempt):
            return failures.back_off_user(attempt, lock_s)
        return None

    def in_turn(self, attempt: Attempt, start: Callable[[], Any]) -> Deferred[Any]:
        """
        Wait for a turn to hash.

        :return: what `start` came to, or the failure `pushd.auth.check_queue.Busy`.
        """
        known = self.failures.knows(attempt)
        lane = attempt.pair if known else attempt.network
        return self._queue.submit(lane, known, start)

    def remember(self, attempt: Attempt) -> None:
        """The password was right for what it was held against."""
        self._good_logins[attempt.username] = attempt.proof
