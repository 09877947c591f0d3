"""
Who are you, by an account: a user name and a hash that `pushd.people` keeps, in Redis or in a file of ours.

Asked at each login, so what is changed counts at once. A user without an account, one whose account is
disabled, and one with a wrong password hear the same after the same time, and are counted alike; who guesses
is held off before anybody is asked. Whoever cannot be told because the keeper does not answer hears *server
unavailable*, and may come back: nobody is let in by what was known once.

Legacy hashes (``$md5$``) are replaced at the first login that they let in. Until then they cost as much as
the new ones: a new hash is made even if the password is wrong, or the time would tell who has never come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from pushd.auth.check_queue import Busy, CheckQueue
from pushd.auth.failures import WRONG, Attempt, LoginFailures, quoted
from pushd.auth.login_check import LoginCheck
from pushd.auth.password_hash import (
    AccountHash,
    InvalidHash,
    Md5Hash,
    PasswordHash,
    make_argon2id,
    parse_account_hash,
)
from pushd.auth.stand_ins import StandIns
from pushd.broker.interfaces import Credentials, IAuthenticator, Verdict
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Account, IPeople, PeopleUnavailable

log = Logger()

# A Redis that is away is noticed sooner, by its keeper; a disk that hangs is not. A client is given ten
# seconds for its CONNECT, unless the settings say otherwise.
ANSWER_S = 4.0

# An account that changes each time its password is checked is being played with.
MOST_ROUNDS = 3

T = TypeVar("T")

# What those came in by who are inside, if that is not one and the same.
_SEVERAL = b""


@implementer(IAuthenticator)
class AccountAuthenticator:
    """
    Checks user name and password against accounts. One for all listeners: they share what is remembered.

    :param run_in_thread, queue, failures: see `LoginCheck`.
    """

    def __init__(
        self,
        people: IPeople,
        run_in_thread: Callable[..., Deferred[Any]],
        queue: CheckQueue,
        failures: LoginFailures,
        clock: IReactorTime,
    ) -> None:
        self._people = people
        self._check = LoginCheck(run_in_thread, queue, failures)
        self._failures = failures
        self._clock = clock
        self._stand_ins = StandIns()
        self._came_by: dict[str, bytes] = {}  # user -> which hash, or `_SEVERAL`

    def resemble(self, hashes: Iterable[PasswordHash | None]) -> None:
        """Let unknown users cost what these do: those of a file that is asked before."""
        for known in hashes:
            if known is not None:
                self._stand_ins.learn(known)

    def authenticate(self, credentials: Credentials) -> Verdict | Deferred[Verdict]:
        """A name needs its password; no name, or an empty one, is nobody's business here."""
        username = credentials.username
        if not username:
            return None
        # Before anybody is asked: guesses shall not occupy the keeper.
        refusal = self._check.refusal(self._check.attempt(credentials, username))
        if refusal is not None:
            return refusal
        return Deferred.fromCoroutine(self._decide(credentials, username))

    async def _decide(self, credentials: Credentials, username: str) -> ReasonCode:
        try:
            for _ in range(MOST_ROUNDS):
                account = await self._account(username)
                verdict = await self._held_against(credentials, username, account)
                if verdict is not None:
                    return verdict
        except PeopleUnavailable as problem:
            return self._failures.put_off(self._check.attempt(credentials, username), problem)
        except Busy:
            pass
        return self._failures.turn_away()

    async def _account(self, username: str) -> Account | None:
        """
        The account that lets this user in, or ``None``.

        :raises PeopleUnavailable: there is no answer, or not in time.
        """
        account = await self._in_time(self._people.account(username))
        return account if account is not None and account.enabled else None

    async def _held_against(
        self, credentials: Credentials, username: str, account: Account | None
    ) -> ReasonCode | None:
        """
        :return: ``None`` if the account has changed meanwhile.
        :raises PeopleUnavailable, Busy: it cannot be said.
        """
        attempt = self._check.attempt(credentials, username, _fingerprint(account))
        verdict = self._check.verdict_at_once(attempt)
        if verdict is not None:
            if verdict is ReasonCode.SUCCESS and account is not None:
                self._came(account)
            return verdict
        checked = await self._check.in_turn(attempt, lambda: self._verify(attempt, account))
        if isinstance(checked, ReasonCode):
            # Somebody else got in by the same while this one waited: that account may be old by now.
            return None if checked is ReasonCode.SUCCESS else checked
        if account is None or not checked.matches:
            return self._failures.fail(attempt, WRONG)
        return await self._let_in(credentials, account, checked.renewed)

    def _verify(self, attempt: Attempt, account: Account | None) -> ReasonCode | Deferred[Checked]:
        verdict = self._check.verdict_at_once(attempt)  # others may have failed, or got in by it, meanwhile
        if verdict is not None:
            return verdict
        to_verify = None if account is None else _parsed(account)
        if to_verify is None:
            to_verify = self._stand_ins.pick(self._check.seed(attempt.username))
        else:
            self._stand_ins.learn(to_verify)

        def verified(checked: Checked) -> Checked:
            if checked.matches and account is not None:
                self._check.remember(attempt)  # before the next in the queue is looked at
            return checked

        password = attempt.credentials.password
        return self._check.run_in_thread(check_password, to_verify, password).addCallback(verified)

    async def _let_in(
        self, credentials: Credentials, account: Account, renewed: str | None
    ) -> ReasonCode | None:
        """The password was right, a moment ago. Returns and raises as `_held_against`."""
        if await self._account(account.username) != account:
            return None
        new = account if renewed is None else await self._renew(account, renewed)
        if new is None:
            return None
        self._came(new)
        attempt = self._check.attempt(credentials, new.username, _fingerprint(new))
        self._check.remember(attempt)
        return self._failures.succeed(attempt)

    async def _renew(self, account: Account, renewed: str) -> Account | None:
        """
        Replace a legacy hash.

        :return: what the account is now; ``None`` if it has changed meanwhile.
        """
        try:
            replaced = await self._in_time(
                self._people.replace_hash(account.username, account.password_hash, renewed)
            )
        except PeopleUnavailable as problem:
            user = quoted(account.username)
            log.warn("The legacy hash of user {user} stays: {problem}", user=user, problem=problem)
            return account
        return self._renewed(account, renewed) if replaced else None

    async def _in_time(self, answer: Deferred[T]) -> T:
        """
        :raises PeopleUnavailable: there is no answer, or not in time.
        """
        try:
            return await answer.addTimeout(ANSWER_S, self._clock)
        except TookTooLong:
            raise PeopleUnavailable(f"no answer in {ANSWER_S:g} s") from None

    # Who is inside

    def _came(self, account: Account) -> None:
        by = _fingerprint(account)
        if self._came_by.setdefault(account.username, by) != by:
            self._came_by[account.username] = _SEVERAL

    def _renewed(self, account: Account, renewed: str) -> Account:
        """The password is the same, so whoever came in by it has come in by the new hash."""
        new = replace(account, password_hash=renewed)
        if self._came_by.get(account.username) == _fingerprint(account):
            self._came_by[account.username] = _fingerprint(new)
        return new

    def users(self) -> list[str]:
        """Everybody who has come in by an account, and may be inside."""
        return list(self._came_by)

    async def still_admits(self, username: str) -> bool:
        """
        Whether everybody may stay who has come in by this account: it is there, enabled, and has the same
        password. Ask once for each change: who comes in after a "no" is not meant by it any more.

        :raises PeopleUnavailable: it cannot be said.
        """
        if username not in self._came_by:
            return True
        account = await self._account(username)
        by = _fingerprint(account)
        if account is not None and self._came_by.get(username) == by:
            return True
        if account is None:
            self._came_by.pop(username, None)
        else:
            self._came_by[username] = by
        return False


@dataclass(frozen=True, slots=True)
class Checked:
    """
    :ivar renewed: a new hash of the password that was shown, if it was held against a legacy one.
    """

    matches: bool
    renewed: str | None = None


def check_password(stored: AccountHash, password: bytes) -> Checked:
    """For a thread: takes its time."""
    if not isinstance(stored, Md5Hash):
        return Checked(stored.verify(password))
    renewed = str(make_argon2id(password))  # not only if it matches: see the top of this file
    return Checked(stored.verify(password), renewed)


def _parsed(account: Account) -> AccountHash | None:
    try:
        return parse_account_hash(account.password_hash)
    except InvalidHash as problem:
        log.error("Account of {user}: {problem}", user=quoted(account.username), problem=problem)
        return None


def _fingerprint(account: Account | None) -> bytes:
    """Tells hashes apart, and takes less room than one."""
    if account is None:
        return b""
    return hashlib.blake2b(account.password_hash.encode("utf-8", "surrogatepass"), digest_size=16).digest()
