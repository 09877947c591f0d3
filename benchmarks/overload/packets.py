"""The few packets of MQTT 3.1.1 that attackers and their victims send."""

from __future__ import annotations

from collections.abc import Sequence

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13  # types of packets that a broker sends
RETAINED = 0x01  # flag of a PUBLISH: this is a topic's last value

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


def _text(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _packet(first_byte: int, body: bytes) -> bytes:
    length, left = bytearray(), len(body)
    while left > 127:
        length.append(left & 127 | 128)
        left >>= 7
    return bytes((first_byte, *length, left)) + body


def connect(client_id: str, user: str | None = None, password: str = "", clean: bool = True) -> bytes:
    """CONNECT without keep-alive."""
    flags, credentials = 2 * clean, b""
    if user is not None:
        flags |= 0xC0
        credentials = _text(user) + _text(password)
    return _packet(0x10, b"\x00\x04MQTT\x04" + bytes((flags, 0, 0)) + _text(client_id) + credentials)


def subscribe(filters: Sequence[str], qos: int = 0, packet_id: int = 1) -> bytes:
    """SUBSCRIBE to all of them, with the same QoS."""
    body = b"".join(_text(one) + bytes((qos,)) for one in filters)
    return _packet(0x82, packet_id.to_bytes(2, "big") + body)


def publish(topic: str, payload: bytes, packet_id: int = 0, retain: bool = False) -> bytes:
    """PUBLISH of QoS 1, or without a packet id of QoS 0."""
    identifier = packet_id.to_bytes(2, "big") if packet_id else b""
    return _packet(0x30 | (2 if packet_id else 0) | retain, _text(topic) + identifier + payload)


def puback(packet_id: bytes) -> bytes:
    """The acknowledgement of a PUBLISH; its id as it stood there."""
    return b"\x40\x02" + packet_id


def cut(data: bytes, at: int) -> tuple[int, int, int] | None:
    """
    Find the ends of the packet that starts at `at`.

    :return: its first byte, and the offsets of its body and of the next packet; ``None`` while it is not
        whole.
    """
    length = shift = 0
    body = at + 1
    while body < len(data):
        byte = data[body]
        body += 1
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (data[at], body, body + length) if body + length <= len(data) else None
    return None


def publish_id(body: bytes) -> bytes:
    """The two bytes of packet id in the body of a PUBLISH of QoS 1."""
    topic_end = 2 + int.from_bytes(body[:2], "big")
    return body[topic_end : topic_end + 2]
