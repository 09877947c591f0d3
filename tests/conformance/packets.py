"""
Packets as a client of MQTT 3.1 and 3.1.1 sends and receives them, made by hand.

Nothing here uses `pushd.mqtt`: an error there must not make itself look right. Where a test is about the
bytes of a packet it spells them out instead.
"""

from __future__ import annotations

PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"
DISCONNECT = b"\xe0\x00"

ACCEPTED = b"\x20\x02\x00\x00"
RESUMED = b"\x20\x02\x01\x00"  # accepted, and a session was present

V3_1 = b"\x00\x06MQIsdp\x03"
V3_1_1 = b"\x00\x04MQTT\x04"


def u16(value: int) -> bytes:
    """Two bytes, the high one first."""
    return value.to_bytes(2, "big")


def text(value: str | bytes) -> bytes:
    """A string with its length in front; bytes are taken as they are, to send what is no UTF-8."""
    encoded = value.encode() if isinstance(value, str) else value
    return u16(len(encoded)) + encoded


def packet(first_byte: int, body: bytes) -> bytes:
    """A fixed header, and what follows it."""
    length, remaining = b"", len(body)
    while remaining > 127:
        length += bytes((remaining & 127 | 128,))
        remaining >>= 7
    return bytes((first_byte,)) + length + bytes((remaining,)) + body


def connect(
    client_id: str | bytes,
    *,
    clean: bool = True,
    keep_alive: int = 0,
    will: tuple[str | bytes, bytes, int, bool] | None = None,
    username: str | bytes | None = None,
    password: bytes | None = None,
    protocol: bytes = V3_1_1,
) -> bytes:
    """
    CONNECT.

    :param keep_alive: in seconds; 0 is none.
    :param will: ``(topic, payload, qos, retain)``.
    :param protocol: its name and level, as they stand in the packet.
    """
    flags, payload = 2 * clean, text(client_id)
    if will is not None:
        topic, message, qos, retain = will
        flags |= 0x04 | qos << 3 | 0x20 * retain
        payload += text(topic) + text(message)
    if username is not None:
        flags |= 0x80
        payload += text(username)
    if password is not None:
        flags |= 0x40
        payload += text(password)
    return packet(0x10, protocol + bytes((flags,)) + u16(keep_alive) + payload)


def connack(code: int, *, present: bool = False) -> bytes:
    """CONNACK."""
    return bytes((0x20, 2, present, code))


def publish(
    topic: str | bytes,
    payload: bytes = b"",
    packet_id: int = 0,
    *,
    qos: int = 0,
    retain: bool = False,
    dup: bool = False,
) -> bytes:
    """PUBLISH; `packet_id` is left out at QoS 0."""
    body = text(topic) + (u16(packet_id) if qos else b"") + payload
    return packet(0x30 | 8 * dup | qos << 1 | retain, body)


def puback(packet_id: int) -> bytes:
    """PUBACK."""
    return b"\x40\x02" + u16(packet_id)


def pubrec(packet_id: int) -> bytes:
    """PUBREC."""
    return b"\x50\x02" + u16(packet_id)


def pubrel(packet_id: int) -> bytes:
    """PUBREL."""
    return b"\x62\x02" + u16(packet_id)


def pubcomp(packet_id: int) -> bytes:
    """PUBCOMP."""
    return b"\x70\x02" + u16(packet_id)


def subscribe(packet_id: int, *requests: tuple[str | bytes, int]) -> bytes:
    """SUBSCRIBE to each ``(topic filter, QoS)``."""
    return packet(0x82, u16(packet_id) + b"".join(text(filter) + bytes((qos,)) for filter, qos in requests))


def suback(packet_id: int, *codes: int) -> bytes:
    """SUBACK."""
    return packet(0x90, u16(packet_id) + bytes(codes))


def unsubscribe(packet_id: int, *filters: str | bytes) -> bytes:
    """UNSUBSCRIBE."""
    return packet(0xA2, u16(packet_id) + b"".join(text(filter) for filter in filters))


def unsuback(packet_id: int) -> bytes:
    """UNSUBACK."""
    return b"\xb0\x02" + u16(packet_id)
