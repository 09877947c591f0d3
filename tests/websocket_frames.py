"""WebSocket frames as a client sends them, whole and broken, and those that come back."""

from __future__ import annotations

from typing import NamedTuple

REQUEST = (
    b"GET /mqtt HTTP/1.1\r\n"
    b"Host: push.example.com\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n"
    b"\r\n"
)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # to this key, says RFC 6455 §1.3

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def masked_frame(
    payload: bytes = b"",
    opcode: int = BINARY,
    *,
    first: int = 0x80,
    key: bytes | None = b"\x9a\x01\x7f\xe3",
    length: int | None = None,
) -> bytes:
    """
    :param first: the bits beside the opcode: FIN, and those that are reserved.
    :param key: ``None`` does not mask.
    :param length: what the frame claims, if not the truth.
    """
    size = len(payload) if length is None else length
    mask = 0 if key is None else 0x80
    if size < 126:
        number = bytes((mask | size,))
    elif size < 0x10000:
        number = bytes((mask | 126,)) + size.to_bytes(2, "big")
    else:
        number = bytes((mask | 127,)) + size.to_bytes(8, "big")
    head = bytes((first | opcode,)) + number
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


class Frame(NamedTuple):
    """One that the server sent."""

    opcode: int
    payload: bytes


def server_frames(data: bytes) -> list[Frame]:
    """Take apart what the server sent: whole, final, not masked, in the shortest form."""
    frames = []
    while data:
        assert data[0] & 0xF0 == 0x80, data[:2]
        assert data[1] < 0x80, data[:2]
        length, start = data[1], 2
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
            assert length > (125 if start == 4 else 0xFFFF)
        payload = data[start : start + length]
        assert len(payload) == length
        frames.append(Frame(data[0] & 0x0F, payload))
        data = data[start + length :]
    return frames
