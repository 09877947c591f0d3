"""
Who is asked in which order, and what holds when nobody has an opinion.

Both chains answer at once when everybody in them does, and fail closed: whoever raises an exception, or says
something that is no verdict, has refused. The reason goes to the log, not to the client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.auth.dollar_topics import is_closed
from pushd.broker.interfaces import Access, Credentials, IAuthenticator, IAuthorizer, Principal, Verdict
from pushd.mqtt.codes import ReasonCode

log = Logger()


@implementer(IAuthenticator)
class AuthenticatorChain:
    """
    Asks each authenticator until one has an opinion. `authenticators` and `allow_anonymous` may be assigned
    at a reload.
    """

    def __init__(self, authenticators: Iterable[IAuthenticator], allow_anonymous: bool) -> None:
        self.authenticators = tuple(authenticators)
        self.allow_anonymous = allow_anonymous

    def authenticate(self, credentials: Credentials) -> Verdict | Deferred[Verdict]:
        """
        Never ``None``: without any opinion a client comes in only where anonymous clients do. That goes for
        clients with a user name too, as in Mosquitto: nobody is there to check it.

        An empty user name is none, for everybody who comes after: ``credentials.username`` becomes ``None``.
        """
        if credentials.username == "":
            credentials.username = None
        return self._ask(iter(self.authenticators), credentials)

    def _ask(
        self, remaining: Iterator[IAuthenticator], credentials: Credentials
    ) -> Verdict | Deferred[Verdict]:
        for authenticator in remaining:
            try:
                verdict = authenticator.authenticate(credentials)
            except Exception:
                return _failed(Failure(), authenticator, ReasonCode.SERVER_UNAVAILABLE)
            if isinstance(verdict, Deferred):
                verdict.addErrback(_failed, authenticator, ReasonCode.SERVER_UNAVAILABLE)
                return verdict.addCallback(self._answered, authenticator, remaining, credentials)
            if verdict is not None:
                return _checked(verdict, authenticator, ReasonCode.SERVER_UNAVAILABLE)
        return ReasonCode.SUCCESS if self.allow_anonymous else ReasonCode.NOT_AUTHORIZED

    def _answered(
        self,
        verdict: Verdict,
        authenticator: IAuthenticator,
        remaining: Iterator[IAuthenticator],
        credentials: Credentials,
    ) -> Verdict | Deferred[Verdict]:
        if verdict is None:
            return self._ask(remaining, credentials)
        return _checked(verdict, authenticator, ReasonCode.SERVER_UNAVAILABLE)


@implementer(IAuthorizer)
class AuthorizerChain:
    """
    Asks each authorizer until one has an opinion; without any, everything is allowed but what never is
    (`pushd.auth.dollar_topics`). `authorizers` may be assigned at a reload.
    """

    def __init__(self, authorizers: Iterable[IAuthorizer]) -> None:
        self.authorizers = tuple(authorizers)

    def authorize(self, principal: Principal, access: Access, topic: str) -> Verdict | Deferred[Verdict]:
        """Never ``None``, and never a Deferred for READ: whoever answers that later has refused."""
        if is_closed(access, topic):
            return ReasonCode.NOT_AUTHORIZED
        return self._ask(iter(self.authorizers), principal, access, topic)

    def _ask(
        self, remaining: Iterator[IAuthorizer], principal: Principal, access: Access, topic: str
    ) -> Verdict | Deferred[Verdict]:
        for authorizer in remaining:
            try:
                verdict = authorizer.authorize(principal, access, topic)
            except Exception:
                return _failed(Failure(), authorizer, ReasonCode.NOT_AUTHORIZED)
            if isinstance(verdict, Deferred):
                verdict.addErrback(_failed, authorizer, ReasonCode.NOT_AUTHORIZED)
                if access is Access.READ:
                    return _checked(verdict, authorizer, ReasonCode.NOT_AUTHORIZED)
                return verdict.addCallback(self._answered, authorizer, remaining, principal, access, topic)
            if verdict is not None:
                return _checked(verdict, authorizer, ReasonCode.NOT_AUTHORIZED)
        return ReasonCode.SUCCESS

    def _answered(
        self,
        verdict: Verdict,
        authorizer: IAuthorizer,
        remaining: Iterator[IAuthorizer],
        principal: Principal,
        access: Access,
        topic: str,
    ) -> Verdict | Deferred[Verdict]:
        if verdict is None:
            return self._ask(remaining, principal, access, topic)
        return _checked(verdict, authorizer, ReasonCode.NOT_AUTHORIZED)


def _failed(failure: Failure, asked: object, instead: ReasonCode) -> ReasonCode:
    log.failure("{asked} could not decide; refused", failure=failure, asked=type(asked).__name__)
    return instead


def _checked(verdict: Any, asked: object, instead: ReasonCode) -> ReasonCode:
    """
    A verdict from a third party's plug-in may be anything, ``True`` for example, which would pass as 0x01.
    """
    if isinstance(verdict, ReasonCode):
        return verdict
    log.error("{asked} said {verdict!r}, no verdict; refused", asked=type(asked).__name__, verdict=verdict)
    return instead
