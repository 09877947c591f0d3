"""
Who are you, by an access token: what stands for its user's password at the gateway, and may be revoked alone.

A token is looked up by its SHA-256, so nothing is compared that somebody could measure. Its user must be one
whom the listener would let in: one of its password file, or one with an account that is enabled; where there
is neither (certificates or plugins say who somebody is) the token is proof enough. Whoever shows a token that
is unknown, expired or of such a user hears the same, and is counted as for a wrong password.

What was looked up counts for some seconds (`pushd.auth.answers`), so that most requests with a token ask
nobody, and not longer than its user hears of a change: whoever watches people calls `changed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from functools import cached_property

from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.auth.answers import Answers, settled
from pushd.auth.failures import Attempt, LoginFailures
from pushd.broker.interfaces import Credentials
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Account, IPeople, PeopleUnavailable, Token
from pushd.people.tokens import hash_of

log = Logger()

# What stands at the end of the line in the log.
WRONG_TOKEN = "unknown or expired token"

# How much older than now the last use may be that is on record.
NOTED_EVERY_S = 60


class Standing(Enum):
    """What a listener says of a user who shows no password."""

    ADMITTED = "nobody else needs to be asked"
    BY_ACCOUNT = "if its account is enabled"
    UNKNOWN = "this is no user of ours"


class AccessTokens:
    """
    One for all listeners.

    :param people: who keeps tokens and accounts, when they are asked for.
    :param now: Unix seconds.
    :param seconds: the time, of a clock that is not set.
    """

    def __init__(
        self,
        people: Callable[[], IPeople],
        failures: LoginFailures,
        now: Callable[[], float],
        seconds: Callable[[], float],
    ) -> None:
        self._people = people
        self._failures = failures
        self._now = now
        self._seconds = seconds

    @cached_property
    def _tokens(self) -> Answers[Token | None]:
        return Answers(self._people().token, self._seconds, worth=lambda token: token is not None)

    @cached_property
    def _accounts(self) -> Answers[Account | None]:
        return Answers(self._people().account, self._seconds)

    async def verify(
        self, credentials: Credentials, shown: str, standing: Callable[[str], Standing]
    ) -> Token | ReasonCode:
        """
        :param credentials: of the caller; of a refusal without a look, `retry_after_s` is set in it.
        :param standing: what the listener says of the token's user.
        :return: the token if it is good, or why not.
        """
        hash = hash_of(shown)
        try:
            return await self._look_up(credentials, hash, standing)
        except PeopleUnavailable as problem:
            return self._failures.put_off(self._attempt(credentials, None, hash), problem)

    async def _look_up(
        self, credentials: Credentials, hash: str, standing: Callable[[str], Standing]
    ) -> Token | ReasonCode:
        # Whose it was the last time: where that user comes in from, neighbours who guess do not shut it out.
        last = self._tokens.last(hash)
        attempt = self._attempt(credentials, last, hash)
        if lock_s := self._failures.source_lock_s(attempt):
            return self._failures.back_off(attempt, lock_s)
        token = await settled(self._tokens.get(hash))
        if token is not None and last is None:
            attempt = self._attempt(credentials, token, hash)
        if token is None or not await self.is_good(token, standing):
            return self._failures.fail(attempt, WRONG_TOKEN)
        self._failures.succeed(attempt)
        self._note_use(token, credentials.address)
        return token

    async def is_good(self, token: Token, standing: Callable[[str], Standing]) -> bool:
        """
        Whether somebody is let in by this token, as it is now.

        :raises PeopleUnavailable: nobody can say.
        """
        if 0 < token.expires_at <= self._now():
            return False
        said = standing(token.username)
        if said is not Standing.BY_ACCOUNT:
            return said is Standing.ADMITTED
        account = await settled(self._accounts.get(token.username))
        return account is not None and account.enabled

    async def still_good(self, hash: str, standing: Callable[[str], Standing]) -> bool:
        """
        Whether somebody who came in by a token would be let in again.

        :raises PeopleUnavailable: nobody can say.
        """
        token = await settled(self._tokens.get(hash))
        return token is not None and await self.is_good(token, standing)

    async def vouch(self, credentials: Credentials, username: str) -> ReasonCode:
        """
        Whether a user may come in whom somebody else vouches for: if there is an account of that name, it
        must be enabled.
        """
        try:
            account = await settled(self._accounts.get(username))
        except PeopleUnavailable as problem:
            return self._failures.put_off(self._failures.attempt(credentials, username, b""), problem)
        disabled = account is not None and not account.enabled
        return ReasonCode.NOT_AUTHORIZED if disabled else ReasonCode.SUCCESS

    def tokens_changed(self, username: str) -> None:
        """Those of a user have; with an empty name, all may have."""
        self._tokens.forget_where(lambda token: not username or token is None or token.username == username)

    def account_changed(self, username: str) -> None:
        """The same for its account."""
        if username:
            self._accounts.forget(username)
        else:
            self._accounts.forget_where(lambda account: True)

    def _attempt(self, credentials: Credentials, token: Token | None, hash: str) -> Attempt:
        username = "" if token is None else token.username
        return self._failures.attempt(credentials, username, hash.encode("ascii"))

    def _note_use(self, token: Token, address: str) -> None:
        """At most once a minute; nobody waits for it."""
        now = int(self._now())
        if now - token.used_at < NOTED_EVERY_S:
            return
        host = host_of(address)
        self._tokens.amend(token.hash, replace(token, used_at=now, used_from=host))
        self._people().token_used(token.hash, now, host).addErrback(_not_noted)


def host_of(address: str) -> str:
    """
    :param address: as in `Credentials`.
    :return: the same without a port.
    """
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.startswith("unix") else address.partition(":")[0]


def _not_noted(failure: Failure) -> None:
    failure.trap(PeopleUnavailable)
    log.debug("The use of a token was not noted: {problem}", problem=failure.getErrorMessage())
