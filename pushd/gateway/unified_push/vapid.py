"""
VAPID: how the sender of a Web Push shows that it is the one who may push to an endpoint (RFC 8292).

    Authorization: vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOi..., k=BA1Hxzyi1RUM1b5wjxsn7...

`t` is a JSON Web Token, signed with a key on the curve P-256; `k` is the public half of that key. An endpoint
is bound to a key when it is registered, and from then on takes only what is signed with it. The token names
whom it is shown to (`aud`, the origin of the endpoint) and until when it is good (`exp`), so that one push
service cannot use it at another, and nobody for ever.

This is no general reader of such tokens. One algorithm counts, ES256, whatever else a token says of itself;
and the key is the one that is known already, never one that the request brings.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal

MAX_AGE_S = 86_400  # how far in the future `exp` may be (RFC 8292 §2)
# Senders like to ask for the whole day, and their clocks are not ours.
CLOCK_SKEW_S = 60

MAX_CREDENTIALS_BYTES = 4096  # tokens of real senders have 200 to 400

_POINT_BYTES = 65  # 0x04 and two coordinates: the uncompressed form, the only one (RFC 8292 §3.2)
_COORDINATE_BYTES = 32
_SCHEME = b"vapid"
_NO_CREDENTIALS = b"WWW-Authenticate: vapid\r\n"

_PARAMETER = re.compile(rb'([A-Za-z]+)="?([-_.A-Za-z0-9]*)"?')
_BASE64URL = re.compile(rb"[-_A-Za-z0-9]*")


class InvalidKey(ValueError):
    """That is no public key of the curve P-256."""


def normal_key(text: str) -> str:
    """
    A public key as its owner gives it, in the one spelling that others are compared with.

    :param text: an uncompressed point in URL-safe base64, with its padding or without.
    :raises InvalidKey: it is not on the curve, or no point at all.
    """
    try:
        point = _decode(text.encode("ascii").rstrip(b"="))
        if len(point) != _POINT_BYTES:
            raise ValueError
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    except ValueError:  # also: characters that are not ASCII, or not of this alphabet
        raise InvalidKey from None
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode("ascii")


def check_sender(authorization: bytes, key: str, audiences: Collection[str], now: float) -> None:
    """
    Let through who has signed with `key`.

    :param authorization: the header of this name; empty if there is none.
    :param key: the one that the endpoint is bound to, as `normal_key` spells it.
    :param audiences: origins that we are known by, such as ``https://push.example.com``.
    :param now: Unix seconds.
    :raises Refusal: 40100, nothing was shown; 40300, it is not what it has to be. The statuses are those of
        RFC 8292 §4.2.
    """
    scheme, _, credentials = authorization.strip().partition(b" ")
    if scheme.lower() != _SCHEME:
        raise Refusal(problems.VAPID_MISSING, _NO_CREDENTIALS)
    try:
        shown = _parameters(credentials)
        if _decode(shown[b"k"]) != _decode(key.encode("ascii")):
            raise ValueError
        claims = _claims(shown[b"t"], key)
    except (ValueError, KeyError):
        raise Refusal(problems.VAPID_WRONG) from None
    if not (_is_for(claims.get("aud"), audiences) and _is_current(claims.get("exp"), now)):
        raise Refusal(problems.VAPID_WRONG)


def _parameters(credentials: bytes) -> dict[bytes, bytes]:
    """
    The parameters of an ``Authorization`` header (RFC 9110 §11.4), which may be quoted and come in any order.

    :raises ValueError: they are none, or one is there twice: who knows which of them counts elsewhere.
    """
    if len(credentials) > MAX_CREDENTIALS_BYTES:
        raise ValueError
    found: dict[bytes, bytes] = {}
    for part in credentials.split(b","):
        parameter = _PARAMETER.fullmatch(part.strip())
        if parameter is None or parameter[1].lower() in found:
            raise ValueError
        found[parameter[1].lower()] = parameter[2]
    return found


def _claims(token: bytes, key: str) -> dict[str, Any]:
    """
    What a token says that is signed with `key`; nothing of it is believed before that is certain.

    :raises ValueError: it is not, or it is no token.
    """
    signed, _, signature = token.rpartition(b".")
    head, _, body = signed.partition(b".")
    _verify(_decode(signature), signed, key)
    if _object(head).get("alg") != "ES256":
        raise ValueError
    return _object(body)


def _verify(signature: bytes, signed: bytes, key: str) -> None:
    """
    :param signature: two integers, as RFC 7518 §3.4 writes them.
    :raises ValueError: it is not one of `signed` by `key`.
    """
    if len(signature) != 2 * _COORDINATE_BYTES:
        raise ValueError
    r = int.from_bytes(signature[:_COORDINATE_BYTES], "big")
    s = int.from_bytes(signature[_COORDINATE_BYTES:], "big")
    public_key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), _decode(key.encode("ascii")))
    try:
        public_key.verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
    except InvalidSignature:
        raise ValueError from None


def _object(part: bytes) -> dict[str, Any]:
    """:raises ValueError: it is no JSON object in base64."""
    try:
        value = json.loads(_decode(part))
    except RecursionError:
        raise ValueError from None
    if not isinstance(value, dict):
        raise ValueError
    return value


def _decode(text: bytes) -> bytes:
    """:raises ValueError: it is no URL-safe base64 without padding (RFC 7515 §2)."""
    if not _BASE64URL.fullmatch(text):  # Python's own reader passes over what it does not know
        raise ValueError
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def _is_for(audience: object, audiences: Collection[str]) -> bool:
    """Whether a token is meant for us. RFC 7519 §4.1.3 allows a list."""
    named = audience if isinstance(audience, list) else [audience]
    return any(isinstance(one, str) and one.rstrip("/").lower() in audiences for one in named)


def _is_current(expiry: object, now: float) -> bool:
    """Infinity and NaN, which Python reads in JSON, are beyond both limits or neither above nor below one."""
    if isinstance(expiry, bool) or not isinstance(expiry, int | float):
        return False
    return now < expiry <= now + MAX_AGE_S + CLOCK_SKEW_S
