"""
Who is calling.

A caller shows a user name and a password with Basic authentication, in the ``Authorization`` header or, for
those who can set no header, as its value in raw URL-safe base64 in ``?auth=``; or an access token, as
``Bearer`` or as the password of an empty user name. Schemes that belong to others (a Web Push sender's
``vapid``) are none of our business and leave the caller anonymous. Where the listener takes a certificate's
name for the user's, nothing of this is needed; and where a proxy is trusted to know who somebody is, its word
goes before all others.

Wrong credentials are 401, and 429 after too many of them: then they are not looked at for as long as
``Retry-After`` says. Whoever shows none is never told 401, but 403 at the first thing that needs a
name: ntfy's clients tell "log in again" from "not yours" by it. Nor does a 401 carry a
``WWW-Authenticate``: it would make browsers put up a log-in box of their own in front of a web
application's.

Who is known then may still ask too often (`pushd.gateway.identity.visitors`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.defer import Deferred

from pushd.broker.interfaces import Credentials, IAuthenticator, PeerCertificate, Verdict
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.proxies import Proxies
from pushd.gateway.identity.scopes import WHOLE, Scope
from pushd.gateway.identity.visitors import UNLIMITED, Visitors, retry_after
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Token

_NO_ANSWER_NOW = frozenset({ReasonCode.SERVER_BUSY, ReasonCode.SERVER_UNAVAILABLE})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")

# Ours have 32. This is for those that are not worth a look.
MAX_TOKEN_BYTES = 1024

# The user name of who shows a token: no user has it.
BY_TOKEN = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """
    A `pushd.broker.interfaces.Principal` that is no MQTT client.

    :ivar transport: by which it came, for as long as its answer goes on.
    :ivar scope: what it may publish and listen to, of what its user may. Access rules see to that.
    :ivar token: by which it came in, if it was one.
    :ivar address: where it comes from, as in `pushd.broker.interfaces.Credentials`.
    """

    username: str | None
    client_id: str = ""
    transport: object = field(default=None, compare=False, repr=False)
    scope: Scope = WHOLE
    token: Token | None = field(default=None, compare=False, repr=False)
    address: str = field(default="", compare=False, repr=False)


class Tokens(Protocol):
    """Who knows tokens, as the callers of one listener see it."""

    def verify(self, credentials: Credentials, shown: str) -> Awaitable[Token | ReasonCode]:
        """:return: the token, if it is good for this listener; else why not."""

    def vouch(self, credentials: Credentials, username: str) -> Awaitable[ReasonCode]:
        """:return: whether a user may come in for whom a trusted proxy vouches."""


@dataclass(frozen=True, slots=True)
class Reception:
    """
    What a guard goes by beside names and passwords.

    :ivar tokens: ``None`` if there are none; then nobody can be vouched for either.
    :ivar proxies: whose word counts.
    :ivar visitors: how much each may ask.
    """

    tokens: Tokens | None = None
    proxies: Proxies = field(default_factory=Proxies)
    visitors: Visitors = UNLIMITED


class Guard:
    """
    Turns a request into a `Caller`, or away.

    :param peer_certificate: finds the verified certificate of a transport's peer, or ``None``.
    :param peer_address: how that peer is called in log lines.
    :param unreadable: told of whoever shows something that is no user name and password, and what it was.
    :param is_admin: whether a user may see and change what is not its own (``admin_user``).
    """

    def __init__(
        self,
        authenticator: IAuthenticator,
        peer_certificate: Callable[[object], PeerCertificate | None],
        peer_address: Callable[[object], str],
        unreadable: Callable[[Credentials, bytes], None],
        is_admin: Callable[[str], bool] = lambda username: False,
        reception: Reception | None = None,
    ) -> None:
        reception = reception or Reception()
        self._is_admin = is_admin
        self._authenticator = authenticator
        self._peer_certificate = peer_certificate
        self._peer_address = peer_address
        self._unreadable = unreadable
        self._tokens = reception.tokens
        self._proxies = reception.proxies
        self.visitors = reception.visitors

    async def identify(self, request: GatewayRequest, cost: int = 1) -> Caller:
        """
        :param cost: how many requests this one counts for; 0 if somebody else than the caller is charged.
        :raises Refusal: 40101 for wrong credentials, 40301 for none where some are needed, 42901, 42909,
            50300.
        """
        caller = await self._recognize(request)
        self.visitors.check(caller, cost)
        return caller

    async def identify_user(self, request: GatewayRequest) -> Caller:
        """
        Somebody with a name.

        :raises Refusal: as `identify`; 40301 for an anonymous caller.
        """
        caller = await self.identify(request)
        if caller.username is None:
            raise Refusal(problems.FORBIDDEN)
        return caller

    async def identify_in_full(self, request: GatewayRequest) -> Caller:
        """
        Somebody who may do all that its user may, and not only publish or listen to some topics.

        :raises Refusal: as `identify_user`; 40301 for a token with a scope.
        """
        caller = await self.identify_user(request)
        if not caller.scope.is_whole:
            raise Refusal(problems.FORBIDDEN)
        return caller

    async def identify_admin(self, request: GatewayRequest) -> Caller:
        """
        Somebody who may see and change everything.

        :raises Refusal: as `identify_in_full`; 40301 for everybody else.
        """
        caller = await self.identify_in_full(request)
        if not self.is_admin(caller):
            raise Refusal(problems.FORBIDDEN)
        return caller

    def is_admin(self, caller: Caller) -> bool:
        """Whether a caller may see and change what is not its own."""
        return caller.username is not None and caller.scope.is_whole and self.names_admin(caller.username)

    def names_admin(self, username: str) -> bool:
        """Whether a user is an administrator."""
        return self._is_admin(username)

    async def _recognize(self, request: GatewayRequest) -> Caller:
        peer = self._peer_address(request.channel or request.transport)
        credentials = Credentials(
            client_id="",
            username=None,
            password=None,
            address=self._proxies.address_of(request, peer),
            certificate=self._peer_certificate(request.transport),
        )
        vouched_for = self._proxies.user_of(request, peer)
        if vouched_for is not None:
            return await self._by_proxy(request, credentials, vouched_for)
        self._read(request, credentials)
        if credentials.username == BY_TOKEN:
            return await self._by_token(request, credentials)
        return await self._by_password(request, credentials)

    def _read(self, request: GatewayRequest, credentials: Credentials) -> None:
        try:
            credentials.username, credentials.password = shown(request)
            if credentials.username == BY_TOKEN and self._tokens is None:
                raise Refusal(problems.UNAUTHORIZED)
        except Refusal:
            self._unreadable(credentials, b" ".join(_all_authorization(request)))
            raise

    async def _by_password(self, request: GatewayRequest, credentials: Credentials) -> Caller:
        """Or by a certificate, or by nothing."""
        anonymous = credentials.username is None
        verdict = self._authenticator.authenticate(credentials)
        if isinstance(verdict, Deferred):
            verdict = await verdict
        if verdict is not ReasonCode.SUCCESS:
            raise _refusal(verdict, credentials, problems.FORBIDDEN if anonymous else problems.UNAUTHORIZED)
        return Caller(credentials.username, transport=request.transport, address=credentials.address)

    async def _by_token(self, request: GatewayRequest, credentials: Credentials) -> Caller:
        assert self._tokens is not None and credentials.password is not None
        token = await self._tokens.verify(credentials, credentials.password.decode())
        if isinstance(token, ReasonCode):
            raise _refusal(token, credentials, problems.UNAUTHORIZED)
        return Caller(
            token.username,
            transport=request.transport,
            scope=Scope(token.writes, token.reads),
            token=token,
            address=credentials.address,
        )

    async def _by_proxy(self, request: GatewayRequest, credentials: Credentials, username: str) -> Caller:
        if self._tokens is None:
            raise Refusal(problems.UNAUTHORIZED)
        verdict = await self._tokens.vouch(credentials, username)
        if verdict is not ReasonCode.SUCCESS:
            raise _refusal(verdict, credentials, problems.UNAUTHORIZED)
        return Caller(username, transport=request.transport, address=credentials.address)


def _refusal(verdict: Verdict, credentials: Credentials, problem: problems.Problem) -> Refusal:
    """Why somebody is turned away; `problem` is for those who were looked at."""
    if verdict in _NO_ANSWER_NOW:
        return Refusal(problems.UNAVAILABLE)
    if credentials.retry_after_s:
        return Refusal(problems.TOO_MANY_FAILED_LOGINS, retry_after(credentials.retry_after_s))
    return Refusal(problem)


def shown(request: GatewayRequest) -> tuple[str | None, bytes | None]:
    """
    The user name and password that `request` shows; ``(None, None)`` if none, and `BY_TOKEN` with a token.

    :raises Refusal: 40101, it shows some that cannot be read.
    """
    scheme, _, value = _authorization(request).partition(b" ")
    if scheme.lower() == b"bearer":
        return BY_TOKEN, _token(value.strip())
    if scheme.lower() != b"basic":
        return None, None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        username = user.decode()
    except ValueError:
        raise Refusal(problems.UNAUTHORIZED) from None
    if not colon or _CONTROL.search(username):  # RFC 7617 §2 on control characters
        raise Refusal(problems.UNAUTHORIZED)
    return username, password if username else _token(password)


def _token(value: bytes) -> bytes:
    if not value or len(value) > MAX_TOKEN_BYTES or not value.isascii():
        raise Refusal(problems.UNAUTHORIZED)
    return value


def _authorization(request: GatewayRequest) -> bytes:
    """The header ``Authorization``, or the query parameter that stands for it and goes before it."""
    long_name, short_name, header = _all_authorization(request)
    encoded = long_name or short_name
    if not encoded:
        return header.strip()
    try:
        standard = encoded.rstrip(b"=").translate(_STANDARD_ALPHABET)
        return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True).strip()
    except binascii.Error:
        raise Refusal(problems.UNAUTHORIZED) from None


def _all_authorization(request: GatewayRequest) -> tuple[bytes, bytes, bytes]:
    header = request.getHeader(b"authorization") or b""
    return request.argument(b"authorization"), request.argument(b"auth"), header
