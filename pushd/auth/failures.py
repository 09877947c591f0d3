"""
Guessing passwords: who has failed too often, and a line in the log for each failure.

Counted are the address, the user name, and for a user who has come in from this very address before, the two
together. Whoever comes back to such an address is refused for failures of the two together only: neither
somebody who guesses that user's password from elsewhere, nor a neighbour behind the same router or proxy,
locks him out. Everybody else is refused while the address is locked, without being looked at; and while the
user is, without hashing, but a login that is still remembered passes.

    known user and address:   (user, address) locked?  ──▶ remembered? ──▶ hash
    anybody else:             address locked?          ──▶ remembered? ──▶ user locked? ──▶ hash

The same wrong login again from the same address is no further guess, but a device with an old password. It is
refused without hashing and counts for itself only, so that it does not lock its neighbours.

A refusal is answered at once. To hold it back would cost us a connection, and would not slow down somebody
who tries by many of them. MQTT clients hear what a wrong password hears; unknown names are counted like known
ones: nobody finds out who exists.

The line is the same whichever way the login came, and meant to be stable: ``docs/fail2ban`` reads it.

    Login failed: user 'anna' from 192.0.2.7:4711 (wrong password or unknown user)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address

from twisted.logger import Logger

from pushd.auth.tallies import Recent, Tallies
from pushd.broker.interfaces import Credentials
from pushd.mqtt.codes import ReasonCode

log = Logger()

# What stands in brackets at the end of the line.
WRONG = "wrong password or unknown user"
NO_PASSWORD = "no password"
UNREADABLE = "no user name and password that could be read"
BACKING_OFF = "too many failures"

# What refusals are counted as.
FAILED, BACKED_OFF, BUSY, UNAVAILABLE = "failed", "backoff", "busy", "unavailable"

# A user whom many addresses try at once is not locked for longer: whoever comes in from a new place must find
# a gap. It is still less than the ten in a minute that are allowed by default.
LONGEST_USER_LOCK_S = 15.0

MAX_SHOWN_NAME = 64


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to log in, by the keys under which it is counted. Digests, so that long names take no room."""

    credentials: Credentials
    username: str
    proof: bytes
    network: bytes
    user: bytes
    pair: bytes
    login: bytes


class LoginFailures:
    """
    One for all listeners, so that nobody gets more tries by knocking at several doors. A reload keeps it.

    :param limit: how many failures in a minute are allowed, of an address and of a user; 0 is no limit. Asked
        each time.
    :param seconds: the time.
    :param count: called with the reason of each refusal: `FAILED`, `BACKED_OFF`, `BUSY` or
        `UNAVAILABLE`.
    """

    def __init__(
        self, limit: Callable[[], int], seconds: Callable[[], float], count: Callable[[str], None]
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._count = count
        self._key = os.urandom(16)
        self._networks, self._pairs, self._logins = Tallies(), Tallies(), Tallies()
        self._users = Tallies(LONGEST_USER_LOCK_S)
        self._known_pairs = Recent()
        self._unchecked = Recent()

    def attempt(self, credentials: Credentials, username: str, proof: bytes) -> Attempt:
        """
        :param proof: the same for a login that is the same again, as far as that can be told.
        """
        network = network_of(credentials.address)
        name = username.encode("utf-8", "surrogatepass")
        return Attempt(
            credentials,
            username,
            proof,
            self._digest(b"network", network),
            self._digest(b"user", name),
            self._digest(b"pair", network, name),
            self._digest(b"login", network, name, proof),
        )

    def _digest(self, *parts: bytes) -> bytes:
        digest = hashlib.blake2b(key=self._key, digest_size=16)
        for part in parts:
            digest.update(b"%d:%b" % (len(part), part))
        return digest.digest()

    # Asked in this order

    def knows(self, attempt: Attempt) -> bool:
        """Whether this user has come in from this address."""
        return attempt.pair in self._known_pairs

    def source_lock_s(self, attempt: Attempt) -> float:
        """For how long nothing is looked at that comes from there; 0 if it is."""
        now = self._seconds()
        lock_s = self._logins.lock_left_s(attempt.login, now)
        if self.knows(attempt):
            lock_s = max(lock_s, self._pairs.lock_left_s(attempt.pair, now))
        else:
            lock_s = max(lock_s, self._networks.lock_left_s(attempt.network, now))
        return lock_s if self._limit() else 0.0

    def is_known_wrong(self, attempt: Attempt) -> bool:
        """Whether exactly this has been found wrong lately."""
        return self._logins.remembers(attempt.login, self._seconds())

    def user_lock_s(self, attempt: Attempt) -> float:
        """For how long no password of this user is checked that comes from there; 0 if it is."""
        if self.knows(attempt) or not self._limit():
            return 0.0
        return self._users.lock_left_s(attempt.user, self._seconds())

    # Told afterwards

    def succeed(self, attempt: Attempt) -> ReasonCode:
        """It was right. That forgives nothing: who guesses may have a login of his own."""
        self._known_pairs.add(attempt.pair)
        return ReasonCode.SUCCESS

    def fail(self, attempt: Attempt, reason: str) -> ReasonCode:
        """It was wrong."""
        limit, now = self._limit(), self._seconds()
        if not self._logins.remembers(attempt.login, now):
            self._networks.fail(attempt.network, limit, now)
            if attempt.username:
                self._users.fail(attempt.user, limit, now)
            if self.knows(attempt):
                self._pairs.fail(attempt.pair, limit, now)
        self._logins.fail(attempt.login, limit, now)
        return self._refuse(attempt, reason, FAILED)

    def back_off(self, attempt: Attempt, lock_s: float) -> ReasonCode:
        """It was not looked at, because of its source."""
        attempt.credentials.retry_after_s = lock_s
        return self._refuse(attempt, BACKING_OFF, BACKED_OFF)

    def back_off_user(self, attempt: Attempt, lock_s: float) -> ReasonCode:
        """
        It was not checked, because of its user. It counts for the address all the same: to ask whether a
        login is remembered is a way to guess, too.
        """
        if attempt.login not in self._unchecked:
            self._unchecked.add(attempt.login)
            self._networks.fail(attempt.network, self._limit(), self._seconds())
        return self.back_off(attempt, lock_s)

    def turn_away(self) -> ReasonCode:
        """There was no time to check it, and it may be right: that is no failure."""
        self._count(BUSY)
        return ReasonCode.SERVER_BUSY

    def put_off(self, attempt: Attempt, problem: object) -> ReasonCode:
        """Nobody could say what to check it against: that is no failure either."""
        self._count(UNAVAILABLE)
        log.warn(
            "Login of user {user} from {address} could not be checked: {problem}",
            user=quoted(attempt.username),
            address=attempt.credentials.address,
            problem=problem,
        )
        return ReasonCode.SERVER_UNAVAILABLE

    def unreadable(self, credentials: Credentials, shown: bytes) -> None:
        """A caller showed something that is no user name and password."""
        self.fail(self.attempt(credentials, "", shown), UNREADABLE)

    def _refuse(self, attempt: Attempt, reason: str, counted_as: str) -> ReasonCode:
        self._count(counted_as)
        log.info(
            "Login failed: user {user} from {address} ({reason})",
            user=quoted(attempt.username),
            address=attempt.credentials.address,
            reason=reason,
            log_type="notice",
        )
        return ReasonCode.NOT_AUTHORIZED


def network_of(address: str) -> bytes:
    """
    What counts as one address: that without its port, and of IPv6 the first 64 bits, for whoever has one of
    those addresses has them all (RFC 6177 §2).

    :param address: as in `Credentials`: ``192.0.2.7:4711``, ``[2001:db8::7]:4711``, ``unix:/run/pushd.sock``.
    """
    if not address.startswith("["):
        host = address if address.startswith("unix:") else address.rpartition(":")[0] or address
        return host.encode("utf-8", "surrogatepass")
    host = address[1:].partition("]")[0]
    try:
        return IPv6Address(host).packed[:8]
    except ValueError:
        return host.encode("utf-8", "surrogatepass")


def quoted(name: str) -> str:
    r"""
    A user name for the log: between quotes, cut if it is long, and without anything in it that could be taken
    for the end of the quotes or of the line: ``'`` appears as ``\x27``, a line feed as ``\n``.
    """
    shown = "".join(map(_escaped, name[:MAX_SHOWN_NAME]))
    return f"'{shown}{'...' if len(name) > MAX_SHOWN_NAME else ''}'"


def _escaped(char: str) -> str:
    if char == "'":
        return r"\x27"
    if char.isprintable() and char != "\\":
        return char
    return char.encode("unicode_escape").decode("ascii")
