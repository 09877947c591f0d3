"""
Who calls the gateways of this process, beside those with names and passwords: by access tokens, and by the
word of trusted proxies; how fast each of them may be; and which streams end when a token does.

Nobody is asked about people until a caller shows a token, or a proxy names a user.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from pushd.auth.access_tokens import AccessTokens
from pushd.auth.failures import LoginFailures, network_of
from pushd.broker.broker import Broker
from pushd.config.settings import Settings
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Aspect, IPeople, PeopleUnavailable, Token
from pushd.service.people import PeopleOffice

if TYPE_CHECKING:
    from pushd.broker.interfaces import Credentials
    from pushd.broker.tap import Tap
    from pushd.gateway.identity.guards import Caller, Reception
    from pushd.gateway.identity.proxies import Trust
    from pushd.gateway.identity.visitors import Rates
    from pushd.gateway.ntfy.account import Allowance
    from pushd.service.assembly import Door

log = Logger()

# How often streams are looked for whose token has expired.
LOOK_S = 10.0


class CallerOffice:
    """
    See above.

    :param failures: of all logins of the process.
    :param settings: as they count now.
    :param doors: all that are open.
    :param now: Unix seconds, by which tokens expire.
    :param seconds: the time, of a clock that is not set.
    """

    def __init__(
        self,
        people: PeopleOffice,
        broker: Broker,
        failures: LoginFailures,
        settings: Callable[[], Settings],
        doors: Callable[[], Iterable[Door]],
        reactor: Any,
        now: Callable[[], float] = time.time,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._office = people
        self._broker = broker
        self._settings = settings
        self._doors = doors
        self._now = now
        self._seconds = seconds
        self.tokens = AccessTokens(self._people, failures, now, seconds)
        self._watched = False
        self._looking = LoopingCall(self._look_for_expired)
        self._looking.clock = reactor
        self._trusting: tuple[Settings, Trust] | None = None
        self._rating: tuple[Settings, Rates | None] | None = None
        self._visitors: Any = None

    def reception(self, door: Door) -> Reception:
        """For the gateway of one listener."""
        from pushd.gateway.identity.guards import Reception
        from pushd.gateway.identity.proxies import Proxies
        from pushd.gateway.identity.visitors import Visitors

        if self._visitors is None:
            self._visitors = Visitors(self._rates, self._seconds, network_of)
        return Reception(DoorTokens(self.tokens, door), Proxies(self._trust), self._visitors)

    def stop(self) -> None:
        """No stream is looked at any more."""
        if self._looking.running:
            self._looking.stop()

    def _people(self) -> IPeople:
        """From now on changes are listened for."""
        people = self._office.people
        if not self._watched:
            self._watched = True
            self._office.watch.listen(Aspect.TOKENS, self._tokens_changed)
            self._office.watch.listen(Aspect.ACCOUNT, self._account_changed)
            self._looking.start(LOOK_S, now=False)
        return people

    # By the settings

    def _rates(self) -> Rates | None:
        """Made once of each settings."""
        settings = self._settings()
        if self._rating is None or self._rating[0] is not settings:
            self._rating = settings, rates_of(settings)
        return self._rating[1]

    def _trust(self) -> Trust:
        """Made once of each settings."""
        settings = self._settings()
        if self._trusting is None or self._trusting[0] is not settings:
            self._trusting = settings, trust_of(settings)
        return self._trusting[1]

    # Streams whose token ends

    def _tokens_changed(self, username: str) -> None:
        self.tokens.tokens_changed(username)
        self._look_at(username)

    def _account_changed(self, username: str) -> None:
        self.tokens.account_changed(username)
        self._look_at(username)

    def _look_at(self, username: str) -> None:
        """With an empty name, at those of everybody."""
        taps = [tap for tap, token in self._by_token() if not username or token.username == username]
        if taps:
            looked = Deferred.fromCoroutine(self._cut_those_without(taps))
            looked.addErrback(lambda failure: log.failure("Changes of tokens were not followed", failure))

    def _by_token(self) -> list[tuple[Tap, Token]]:
        found = [(tap, getattr(tap.principal, "token", None)) for tap in self._broker.taps]
        return [(tap, token) for tap, token in found if token is not None]

    async def _cut_those_without(self, taps: list[Tap]) -> None:
        """One after the other: after an outage it may be all of them."""
        for tap in taps:
            if not await self._still_good(tap):
                tap.cut()

    async def _still_good(self, tap: Tap) -> bool:
        token = getattr(tap.principal, "token", None)
        door = next((door for door in self._doors() if tap.policy in door.policies), None)
        if token is None or door is None:
            return True  # there is none any more: whoever closed it sees to its streams
        try:
            return await self.tokens.still_good(token.hash, partial(door.standing_of, tap))
        except PeopleUnavailable:
            return True  # it is looked at again with the next change

    def _look_for_expired(self) -> None:
        now = self._now()
        for tap, token in self._by_token():
            if 0 < token.expires_at <= now:
                tap.cut()


class DoorTokens:
    """Tokens as the callers of one listener see them: `pushd.gateway.identity.guards.Tokens`."""

    def __init__(self, tokens: AccessTokens, door: Door) -> None:
        self._tokens = tokens
        self._door = door

    def verify(self, credentials: Credentials, shown: str) -> Awaitable[Token | ReasonCode]:
        """See `AccessTokens.verify`."""
        standing = partial(self._door.standing, credentials.certificate)
        return self._tokens.verify(credentials, shown, standing)

    def vouch(self, credentials: Credentials, username: str) -> Awaitable[ReasonCode]:
        """See `AccessTokens.vouch`. Where accounts are not asked, none is disabled."""
        if not self._door.asks_accounts:
            return _at_once(ReasonCode.SUCCESS)
        return self._tokens.vouch(credentials, username)


async def _at_once(code: ReasonCode) -> ReasonCode:
    return code


def allowance_of(settings: Settings, caller: Caller) -> Allowance:
    """What a caller may have, by the settings."""
    from pushd.gateway.ntfy.account import UNLIMITED, Allowance

    rate: float = settings.max_request_rate_per_user
    if caller.username is None:
        rate = settings.max_request_rate_per_address
    elif caller.token is not None:
        rate = caller.token.rate_per_s or rate
    limited = settings.gateway_limits and rate
    takes_files = settings.attachment_cache_dir is not None
    return Allowance(
        int(rate * 86_400) if limited else UNLIMITED,
        keep_messages_s=settings.limits.cache_duration,
        file_bytes=settings.attachment_file_size_limit if takes_files else 0,
        all_files_bytes=settings.visitor_attachment_total_size_limit if takes_files else 0,
        keep_files_s=settings.attachment_expiry_duration if takes_files else 0,
    )


def rates_of(settings: Settings) -> Rates | None:
    """How fast callers may be; ``None`` if that does not matter."""
    from pushd.gateway.identity.visitors import Rates

    if not settings.gateway_limits:
        return None
    return Rates(settings.max_request_rate_per_user, settings.max_request_rate_per_address)


def trust_of(settings: Settings) -> Trust:
    """Whose word counts, by the settings."""
    from pushd.gateway.identity.proxies import Trust

    networks = tuple(ip_network(where) for where in settings.trusted_proxy if where != "unix")
    return Trust(networks, "unix" in settings.trusted_proxy, settings.proxy_user_header or "")
