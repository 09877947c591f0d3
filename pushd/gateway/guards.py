"""
Who is calling.

A caller shows a user name and a password with Basic authentication, in the ``Authorization`` header or, for
those who can set no header, as its value in raw URL-safe base64 in ``?auth=``. Schemes that belong to
others (a Web Push sender's ``vapid``) are none of our business and leave the caller anonymous. Access
tokens, as ``Bearer`` or as the password of an empty user name, do not exist here: whoever shows one shows
something wrong.

Wrong credentials are 401, and 429 after too many of them: then they are not looked at for as long as
``Retry-After`` says. Whoever shows none is never told 401, but 403 at the first thing that needs a
name: ntfy's clients tell "log in again" from "not yours" by it. Nor does a 401 carry a
``WWW-Authenticate``: it would make browsers put up a log-in box of their own in front of a web
application's.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from pushd.broker.interfaces import Credentials, IAuthenticator, PeerCertificate
from pushd.gateway import problems
from pushd.gateway.problems import Refusal
from pushd.gateway.request import GatewayRequest
from pushd.mqtt.codes import ReasonCode

_NO_ANSWER_NOW = frozenset({ReasonCode.SERVER_BUSY, ReasonCode.SERVER_UNAVAILABLE})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class Caller:
    """
    A `pushd.broker.interfaces.Principal` that is no MQTT client.

    :ivar transport: by which it came, for as long as its answer goes on.
    """

    username: str | None
    client_id: str = ""
    transport: object = field(default=None, compare=False, repr=False)


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
    ) -> None:
        self._is_admin = is_admin
        self._authenticator = authenticator
        self._peer_certificate = peer_certificate
        self._peer_address = peer_address
        self._unreadable = unreadable

    async def identify(self, request: GatewayRequest) -> Caller:
        """
        :raises Refusal: 40101 for wrong credentials, 40301 for none where some are needed, 42909, 50300.
        """
        credentials = self._credentials(request)
        anonymous = credentials.username is None
        verdict = self._authenticator.authenticate(credentials)
        if isinstance(verdict, Deferred):
            verdict = await verdict
        if verdict is ReasonCode.SUCCESS:
            return Caller(credentials.username, transport=request.transport)
        if verdict in _NO_ANSWER_NOW:
            raise Refusal(problems.UNAVAILABLE)
        if credentials.retry_after_s:
            raise Refusal(problems.TOO_MANY_FAILED_LOGINS, _retry_after(credentials.retry_after_s))
        raise Refusal(problems.FORBIDDEN if anonymous else problems.UNAUTHORIZED)

    async def identify_user(self, request: GatewayRequest) -> Caller:
        """
        Somebody with a name.

        :raises Refusal: as `identify`; 40301 for an anonymous caller.
        """
        caller = await self.identify(request)
        if caller.username is None:
            raise Refusal(problems.FORBIDDEN)
        return caller

    async def identify_admin(self, request: GatewayRequest) -> Caller:
        """
        Somebody who may see and change everything.

        :raises Refusal: as `identify_user`; 40301 for everybody else.
        """
        caller = await self.identify_user(request)
        if not self.is_admin(caller):
            raise Refusal(problems.FORBIDDEN)
        return caller

    def is_admin(self, caller: Caller) -> bool:
        """Whether a caller may see and change what is not its own."""
        return caller.username is not None and self._is_admin(caller.username)

    def _credentials(self, request: GatewayRequest) -> Credentials:
        credentials = Credentials(
            client_id="",
            username=None,
            password=None,
            address=self._peer_address(request.transport),
            certificate=self._peer_certificate(request.transport),
        )
        try:
            credentials.username, credentials.password = shown(request)
        except Refusal:
            self._unreadable(credentials, b" ".join(_all_authorization(request)))
            raise
        return credentials


def shown(request: GatewayRequest) -> tuple[str | None, bytes | None]:
    """
    The user name and password that `request` shows; ``(None, None)`` if none.

    :raises Refusal: 40101, it shows some that cannot be read, or a token.
    """
    scheme, _, value = _authorization(request).partition(b" ")
    if scheme.lower() == b"bearer":
        raise Refusal(problems.UNAUTHORIZED)
    if scheme.lower() != b"basic":
        return None, None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        username = user.decode()
    except ValueError:
        raise Refusal(problems.UNAUTHORIZED) from None
    if not username or not colon or _CONTROL.search(username):  # RFC 7617 §2 on control characters
        raise Refusal(problems.UNAUTHORIZED)
    return username, password


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


def _retry_after(seconds: float) -> bytes:
    """RFC 9110 §10.2.3: whole seconds."""
    return b"Retry-After: %d\r\n" % math.ceil(seconds)
