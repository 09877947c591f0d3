"""The client's side of SCRAM-SHA-256 (RFC 5802 §3), as a client's author would write it from the RFC."""

from __future__ import annotations

import base64
import hashlib
import hmac


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


class ScramClient:
    """
    One exchange. Its parts may be changed by a test before they are sent.

    :param header: the GS2 header.
    :param name: as it stands in the message, with its escapes.
    """

    def __init__(
        self, name: str, password: str, *, header: str = "n,,", nonce: str = "rOprNGfwEbeRWgbNEkqO"
    ) -> None:
        self.header = header
        self.binding = base64.b64encode(header.encode()).decode()
        self.nonce = nonce
        self._password = password
        self._bare = f"n={name},r={nonce}"
        self._server_signature = b""

    def first(self) -> bytes:
        """What the exchange begins with."""
        return f"{self.header}{self._bare}".encode()

    def final(self, server_first: bytes | None, *, spoil: int = 0) -> bytes:
        """
        The answer to the server's first message.

        :param spoil: changes the proof.
        """
        assert server_first is not None
        text = server_first.decode()
        fields = dict(field.split("=", 1) for field in text.split(","))
        assert fields["r"].startswith(self.nonce) and fields["r"] != self.nonce
        without_proof = f"c={self.binding},r={fields['r']}"
        proof = bytearray(self._proof(fields, f"{self._bare},{text},{without_proof}".encode()))
        proof[0] ^= spoil
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def trusts(self, server_final: bytes | None) -> bool:
        """Whether the server's last message shows that it knows the user."""
        return server_final == b"v=" + base64.b64encode(self._server_signature)

    def _proof(self, fields: dict[str, str], all_said: bytes) -> bytes:
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), salt, rounds)
        client_key = hmac_sha256(salted, b"Client Key")
        signature = hmac_sha256(hashlib.sha256(client_key).digest(), all_said)
        self._server_signature = hmac_sha256(hmac_sha256(salted, b"Server Key"), all_said)
        return bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
