"""
Packets as a client of MQTT 5.0 sends and receives them, made by hand.

A property is the bytes that it takes, `properties` puts a length in front of some. Nothing here uses
`pushd.mqtt`, and what is the same in version 3 comes from `tests.conformance.packets`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tests.conformance.packets import packet, text, u16

V5 = b"\x00\x04MQTT\x05"

QOS0, QOS1, QOS2 = 0, 1, 2
# The other bits of the subscription options.
NO_LOCAL, RETAIN_AS_PUBLISHED = 0x04, 0x08
SEND_IF_NEW, DO_NOT_SEND = 0x10, 0x20

NEVER = 0xFFFF_FFFF  # a Session Expiry Interval without an end


def u32(value: int) -> bytes:
    """Four bytes, the high one first."""
    return value.to_bytes(4, "big")


def varint(value: int) -> bytes:
    """A Variable Byte Integer."""
    encoded = b""
    while value > 127:
        encoded += bytes((value & 127 | 128,))
        value >>= 7
    return encoded + bytes((value,))


# Properties, by the names of the standard


def payload_format(value: int) -> bytes:
    return b"\x01" + bytes((value,))


def message_expiry(seconds: int) -> bytes:
    return b"\x02" + u32(seconds)


def content_type(value: str | bytes) -> bytes:
    return b"\x03" + text(value)


def response_topic(topic: str | bytes) -> bytes:
    return b"\x08" + text(topic)


def correlation_data(data: bytes) -> bytes:
    return b"\x09" + text(data)


def subscription_id(identifier: int) -> bytes:
    return b"\x0b" + varint(identifier)


def session_expiry(seconds: int) -> bytes:
    return b"\x11" + u32(seconds)


def server_keep_alive(seconds: int) -> bytes:
    return b"\x13" + u16(seconds)


def auth_method(method: str) -> bytes:
    return b"\x15" + text(method)


def auth_data(data: bytes) -> bytes:
    return b"\x16" + text(data)


def request_problem_information(value: int) -> bytes:
    return b"\x17" + bytes((value,))


def will_delay(seconds: int) -> bytes:
    return b"\x18" + u32(seconds)


def request_response_information(value: int) -> bytes:
    return b"\x19" + bytes((value,))


def receive_maximum(count: int) -> bytes:
    return b"\x21" + u16(count)


def topic_alias_maximum(count: int) -> bytes:
    return b"\x22" + u16(count)


def topic_alias(alias: int) -> bytes:
    return b"\x23" + u16(alias)


def user(name: str | bytes, value: str | bytes) -> bytes:
    return b"\x26" + text(name) + text(value)


def maximum_packet_size(size: int) -> bytes:
    return b"\x27" + u32(size)


def properties(*each: bytes) -> bytes:
    """Properties with their length in front."""
    body = b"".join(each)
    return varint(len(body)) + body


# Packets


class Will(NamedTuple):
    """The fields of a Will."""

    topic: str | bytes
    payload: bytes = b"gone"
    qos: int = 0
    retain: bool = False
    properties: tuple[bytes, ...] = ()


def connect(
    client_id: str | bytes,
    *each: bytes,
    clean: bool = True,
    keep_alive: int = 0,
    will: Will | None = None,
    username: str | bytes | None = None,
    password: bytes | None = None,
    protocol: bytes = V5,
) -> bytes:
    """
    CONNECT.

    :param each: its properties.
    """
    flags, payload = 2 * clean, text(client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | 0x20 * will.retain
        payload += properties(*will.properties) + text(will.topic) + text(will.payload)
    if username is not None:
        flags |= 0x80
        payload += text(username)
    if password is not None:
        flags |= 0x40
        payload += text(password)
    return packet(0x10, protocol + bytes((flags,)) + u16(keep_alive) + properties(*each) + payload)


def publish(
    topic: str | bytes,
    payload: bytes = b"",
    packet_id: int = 0,
    *each: bytes,
    qos: int = 0,
    retain: bool = False,
    dup: bool = False,
) -> bytes:
    """PUBLISH; `packet_id` is left out at QoS 0."""
    body = text(topic) + (u16(packet_id) if qos else b"") + properties(*each) + payload
    return packet(0x30 | 8 * dup | qos << 1 | retain, body)


def _acknowledgement(first_byte: int, packet_id: int, code: int, each: tuple[bytes, ...]) -> bytes:
    outcome = bytes((code,)) if code or each else b""
    return packet(first_byte, u16(packet_id) + outcome + (properties(*each) if each else b""))


def puback(packet_id: int, code: int = 0, *each: bytes) -> bytes:
    """PUBACK, as short as can be."""
    return _acknowledgement(0x40, packet_id, code, each)


def pubrec(packet_id: int, code: int = 0, *each: bytes) -> bytes:
    """PUBREC, as short as can be."""
    return _acknowledgement(0x50, packet_id, code, each)


def pubrel(packet_id: int, code: int = 0, *each: bytes) -> bytes:
    """PUBREL, as short as can be."""
    return _acknowledgement(0x62, packet_id, code, each)


def pubcomp(packet_id: int, code: int = 0, *each: bytes) -> bytes:
    """PUBCOMP, as short as can be."""
    return _acknowledgement(0x70, packet_id, code, each)


def subscribe(packet_id: int, *requests: tuple[str | bytes, int], identifier: int = 0) -> bytes:
    """
    SUBSCRIBE to each ``(topic filter, options)``.

    :param identifier: the Subscription Identifier; 0 for none.
    """
    head = properties(*((subscription_id(identifier),) if identifier else ()))
    filters = (text(filter) + bytes((options,)) for filter, options in requests)
    return packet(0x82, u16(packet_id) + head + b"".join(filters))


def suback(packet_id: int, *codes: int) -> bytes:
    """SUBACK without properties."""
    return packet(0x90, u16(packet_id) + b"\0" + bytes(codes))


def unsubscribe(packet_id: int, *filters: str | bytes) -> bytes:
    """UNSUBSCRIBE."""
    return packet(0xA2, u16(packet_id) + b"\0" + b"".join(text(filter) for filter in filters))


def unsuback(packet_id: int, *codes: int) -> bytes:
    """UNSUBACK without properties."""
    return packet(0xB0, u16(packet_id) + b"\0" + bytes(codes))


def disconnect(code: int = 0, *each: bytes) -> bytes:
    """DISCONNECT, as short as can be."""
    outcome = bytes((code,)) if code or each else b""
    return packet(0xE0, outcome + (properties(*each) if each else b""))


def auth(code: int, *each: bytes) -> bytes:
    """AUTH."""
    return packet(0xF0, bytes((code,)) + properties(*each))


# The way back

Value: TypeAlias = "int | str | bytes | tuple[str, str]"

_INTEGERS = {1: 1, 2: 4, 0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1, 0x27: 4}
_INTEGERS |= {0x28: 1, 0x29: 1, 0x2A: 1}
_STRINGS = {3, 8, 0x12, 0x15, 0x1A, 0x1C, 0x1F}
_BINARY = {9, 0x16}

# Identifiers that tests ask for.
SUBSCRIPTION_ID, SESSION_EXPIRY, ASSIGNED_CLIENT_ID, SERVER_KEEP_ALIVE = 0x0B, 0x11, 0x12, 0x13
AUTH_METHOD, AUTH_DATA, RESPONSE_INFORMATION, REASON_STRING = 0x15, 0x16, 0x1A, 0x1F
RECEIVE_MAXIMUM, TOPIC_ALIAS_MAXIMUM, TOPIC_ALIAS, MAXIMUM_QOS = 0x21, 0x22, 0x23, 0x24
RETAIN_AVAILABLE, MESSAGE_EXPIRY, USER, MAXIMUM_PACKET_SIZE = 0x25, 0x02, 0x26, 0x27


class Answer(NamedTuple):
    """
    What a server says to anything but PUBLISH.

    :ivar packet_id: 0 where there is none; of a CONNACK, its acknowledge flags.
    :ivar found: ``(identifier, value)`` of each property, in their order.
    """

    kind: int  # the first byte
    packet_id: int
    codes: tuple[int, ...]
    found: tuple[tuple[int, Value], ...]

    @property
    def code(self) -> int:
        """The only one."""
        (code,) = self.codes
        return code

    def says(self, identifier: int) -> Value | None:
        """The value of a property that may come once; ``None`` if it did not come."""
        values = [value for name, value in self.found if name == identifier]
        assert len(values) < 2, f"property {identifier:#x} came {len(values)} times"
        return values[0] if values else None


class Message(NamedTuple):
    """A PUBLISH that a server sent; `packet_id` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int
    found: tuple[tuple[int, Value], ...]

    def says(self, identifier: int) -> list[Value]:
        """The values of a property."""
        return [value for name, value in self.found if name == identifier]


def read_answer(data: bytes) -> Answer:
    """Take apart a packet other than PUBLISH."""
    kind, body = data[0], _body(data)
    packet_id, at = 0, 0
    if kind in (0xE0, 0xF0):
        pass
    elif kind == 0x20:
        packet_id, at = body[0], 1
    else:
        packet_id, at = int.from_bytes(body[:2], "big"), 2
    if kind in (0x90, 0xB0):
        found, at = _read_properties(body, at)
        return Answer(kind, packet_id, tuple(body[at:]), found)
    code = body[at] if len(body) > at else 0
    found, end = _read_properties(body, at + 1) if len(body) > at + 1 else ((), len(body))
    assert end == len(body), "bytes behind the properties"
    return Answer(kind, packet_id, (code,), found)


def read_message(data: bytes) -> Message:
    """Take a PUBLISH apart."""
    assert data[:1] and data[0] >> 4 == 3, f"no PUBLISH: {data[:80]!r}"
    first, body = data[0], _body(data)
    at = 2 + int.from_bytes(body[:2], "big")
    topic, qos, packet_id = body[2:at].decode(), first >> 1 & 3, 0
    if qos:
        packet_id, at = int.from_bytes(body[at : at + 2], "big"), at + 2
    found, at = _read_properties(body, at)
    return Message(topic, body[at:], qos, bool(first & 1), bool(first & 8), packet_id, found)


def _body(data: bytes) -> bytes:
    at = 1
    while data[at] > 127:
        at += 1
    return data[at + 1 :]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] > 127:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
    return value | data[at] << shift, at + 1


def _read_text(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    return data[at + 2 : end], end


def _read_properties(data: bytes, at: int) -> tuple[tuple[tuple[int, Value], ...], int]:
    length, at = _read_varint(data, at)
    end, found = at + length, []
    while at < end:
        identifier = data[at]
        value, at = _read_value(identifier, data, at + 1)
        found.append((identifier, value))
    assert at == end, "a property reaches beyond the properties"
    return tuple(found), end


def _read_value(identifier: int, data: bytes, at: int) -> tuple[Value, int]:
    if identifier in _INTEGERS:
        size = _INTEGERS[identifier]
        return int.from_bytes(data[at : at + size], "big"), at + size
    if identifier == SUBSCRIPTION_ID:
        return _read_varint(data, at)
    first, at = _read_text(data, at)
    if identifier in _BINARY:
        return first, at
    if identifier in _STRINGS:
        return first.decode(), at
    assert identifier == USER, f"property {identifier:#x}"
    second, at = _read_text(data, at)
    return (first.decode(), second.decode()), at
