"""An application's server as VAPID knows it: a key, and tokens signed with it."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ES256 = {"typ": "JWT", "alg": "ES256"}


def encoded(data: bytes) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Sender:
    """:ivar key: its public key, as endpoints are registered with it."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        public = self._private.public_key()
        self.key = encoded(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    def token(self, claims: Any, header: Any = ES256) -> str:
        """A token that says this, whatever it is."""
        parts = [json.dumps(part).encode() for part in (header, claims)]
        return self.sign(".".join(map(encoded, parts)))

    def sign(self, signed: str) -> str:
        """The same for what is encoded already."""
        r, s = decode_dss_signature(self._private.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def authorization(self, audience: str, expiry: float) -> str:
        """The value of the header."""
        return f"vapid t={self.token({'aud': audience, 'exp': expiry})}, k={self.key}"
