"""
The properties of version 5 (§2.2.2): one table, read by the decoder and the encoder.

A property list is a length and then, one after the other, an identifier and a value of the type that belongs
to the identifier. Reading one takes time in proportion to its length, however often a User Property repeats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pushd.mqtt import wire
from pushd.mqtt.codes import PacketType, PropertyId, ReasonCode
from pushd.mqtt.errors import MalformedPacket, ProtocolError
from pushd.mqtt.packets import Properties
from pushd.mqtt.topics import check_name

# Where a property list stands: in a packet, or among the fields of the Will, which has a list of its own.
WILL: Final = "WILL"
Place: TypeAlias = "PacketType | Literal['WILL']"


@dataclass(frozen=True)
class Kind:
    """The type of a property's value, and how it is read and written."""

    decode: Callable[[bytes, int, int], tuple[Any, int]]
    encode: Callable[[Any], bytes]


BYTE = Kind(wire.decode_byte, wire.encode_byte)
TWO_BYTES = Kind(wire.decode_u16, wire.encode_u16)
FOUR_BYTES = Kind(wire.decode_u32, wire.encode_u32)
VARINT = Kind(wire.decode_varint_within, wire.encode_varint)
STRING = Kind(wire.decode_string, wire.encode_string)
PAIR = Kind(wire.decode_pair, wire.encode_pair)
BINARY = Kind(wire.decode_binary, wire.encode_binary)


@dataclass(frozen=True)
class Rule:
    """
    What the standard says of one property.

    `least` and `most` bound its number; `repeats` names the places where it may come more than once.
    """

    kind: Kind
    places: frozenset[Place]
    least: int = 0
    most: int | None = None
    repeats: frozenset[Place] = frozenset()
    code: ReasonCode = ReasonCode.PROTOCOL_ERROR  # of a number out of bounds


def _in(*places: Place) -> frozenset[Place]:
    return frozenset(places)


_P = PropertyId
_T = PacketType
_MESSAGE = _in(_T.PUBLISH, WILL)
_ACKNOWLEDGEMENTS = _in(_T.PUBACK, _T.PUBREC, _T.PUBREL, _T.PUBCOMP, _T.SUBACK, _T.UNSUBACK)
_ANSWERS = _ACKNOWLEDGEMENTS | _in(_T.CONNACK, _T.DISCONNECT, _T.AUTH)
_EVERYWHERE = _ANSWERS | _MESSAGE | _in(_T.CONNECT, _T.SUBSCRIBE, _T.UNSUBSCRIBE)
_PUBLISH = _in(_T.PUBLISH)

# v5 §2.2.2.2, table 2-4; the bounds are those of the section on each packet.
RULES: dict[int, Rule] = {
    _P.PAYLOAD_FORMAT_INDICATOR: Rule(BYTE, _MESSAGE, most=1),
    _P.MESSAGE_EXPIRY_INTERVAL: Rule(FOUR_BYTES, _MESSAGE),
    _P.CONTENT_TYPE: Rule(STRING, _MESSAGE),
    _P.RESPONSE_TOPIC: Rule(STRING, _MESSAGE),
    _P.CORRELATION_DATA: Rule(BINARY, _MESSAGE),
    _P.SUBSCRIPTION_IDENTIFIER: Rule(VARINT, _in(_T.PUBLISH, _T.SUBSCRIBE), least=1, repeats=_PUBLISH),
    _P.SESSION_EXPIRY_INTERVAL: Rule(FOUR_BYTES, _in(_T.CONNECT, _T.CONNACK, _T.DISCONNECT)),
    _P.ASSIGNED_CLIENT_IDENTIFIER: Rule(STRING, _in(_T.CONNACK)),
    _P.SERVER_KEEP_ALIVE: Rule(TWO_BYTES, _in(_T.CONNACK)),
    _P.AUTHENTICATION_METHOD: Rule(STRING, _in(_T.CONNECT, _T.CONNACK, _T.AUTH)),
    _P.AUTHENTICATION_DATA: Rule(BINARY, _in(_T.CONNECT, _T.CONNACK, _T.AUTH)),
    _P.REQUEST_PROBLEM_INFORMATION: Rule(BYTE, _in(_T.CONNECT), most=1),
    _P.WILL_DELAY_INTERVAL: Rule(FOUR_BYTES, _in(WILL)),
    _P.REQUEST_RESPONSE_INFORMATION: Rule(BYTE, _in(_T.CONNECT), most=1),
    _P.RESPONSE_INFORMATION: Rule(STRING, _in(_T.CONNACK)),
    _P.SERVER_REFERENCE: Rule(STRING, _in(_T.CONNACK, _T.DISCONNECT)),
    _P.REASON_STRING: Rule(STRING, _ANSWERS),
    _P.RECEIVE_MAXIMUM: Rule(TWO_BYTES, _in(_T.CONNECT, _T.CONNACK), least=1),
    _P.TOPIC_ALIAS_MAXIMUM: Rule(TWO_BYTES, _in(_T.CONNECT, _T.CONNACK)),
    _P.TOPIC_ALIAS: Rule(
        TWO_BYTES, _PUBLISH, least=1, code=ReasonCode.TOPIC_ALIAS_INVALID
    ),  # v5 [MQTT-3.3.2-8]
    _P.MAXIMUM_QOS: Rule(BYTE, _in(_T.CONNACK), most=1),
    _P.RETAIN_AVAILABLE: Rule(BYTE, _in(_T.CONNACK), most=1),
    _P.USER_PROPERTY: Rule(PAIR, _EVERYWHERE, repeats=_EVERYWHERE),
    _P.MAXIMUM_PACKET_SIZE: Rule(FOUR_BYTES, _in(_T.CONNECT, _T.CONNACK), least=1),
    _P.WILDCARD_SUBSCRIPTION_AVAILABLE: Rule(BYTE, _in(_T.CONNACK), most=1),
    _P.SUBSCRIPTION_IDENTIFIER_AVAILABLE: Rule(BYTE, _in(_T.CONNACK), most=1),
    _P.SHARED_SUBSCRIPTION_AVAILABLE: Rule(BYTE, _in(_T.CONNACK), most=1),
}
_NAMES: dict[int, PropertyId] = {name.value: name for name in PropertyId}


def decode_properties(data: bytes, at: int, end: int, where: Place) -> tuple[Properties, int]:
    """
    Read a property list, its length included.

    :param where: the packet it stands in, or `WILL`.
    :return: the properties in the order of their first appearance, and the offset behind the list.
    :raises MalformedPacket: 0x81, an unknown identifier, or a value that does not fit.
    :raises ProtocolError: 0x82, a property that has no place here, comes twice, or is out of bounds.
    """
    if at < end and data[at] == 0:  # none, as in most packets
        return {}, at + 1
    length, at = wire.decode_varint_within(data, at, end)
    stop = at + length
    if stop > end:
        raise MalformedPacket("a property length reaches beyond its packet")
    properties: Properties = {}
    while at < stop:
        name, rule = _known_property(data[at], where)
        value, at = rule.kind.decode(data, at + 1, stop)
        _check_value(name, rule, value)
        _keep(properties, name, rule, value, where)
    return properties, stop


def _known_property(identifier: int, where: Place) -> tuple[PropertyId, Rule]:
    """Identifiers are Variable Byte Integers, but all of them fit one byte: what does not is unknown."""
    rule = RULES.get(identifier)
    if rule is None:
        raise MalformedPacket(f"unknown property 0x{identifier:02X}")
    name = _NAMES[identifier]
    if where not in rule.places:
        # §2.2.2.2 says "malformed"; 0x82 is what Mosquitto answers, and tells the author of a client more.
        raise ProtocolError(f"{name.name} has no place in {_name_of(where)}")
    return name, rule


def _check_value(name: PropertyId, rule: Rule, value: Any) -> None:
    if isinstance(value, int) and (value < rule.least or (rule.most is not None and value > rule.most)):
        raise ProtocolError(f"{name.name} is {value}", rule.code)
    if name is PropertyId.RESPONSE_TOPIC:
        check_name(value)  # v5 [MQTT-3.3.2-14]


def _keep(properties: Properties, name: PropertyId, rule: Rule, value: Any, where: Place) -> None:
    """Add `value` to `properties`: in a list if it is one of the two that may repeat somewhere."""
    if name in properties and where not in rule.repeats:
        raise ProtocolError(f"{name.name} twice in {_name_of(where)}")
    if rule.repeats:
        values: Any = properties.setdefault(name, [])
        values.append(value)
    else:
        properties[name] = value


def _name_of(where: Place) -> str:
    return "the Will" if where == WILL else PacketType(where).name


def encode_properties(properties: Properties) -> bytes:
    """
    Write a property list, its length included.

    :raises ValueError: a value that the wire cannot carry.
    """
    if not properties:
        return b"\0"  # v5 [MQTT-2.2.2-1]
    body = b"".join(_encode_property(name, value) for name, value in properties.items())
    return wire.encode_varint(len(body)) + body


def _encode_property(name: PropertyId, value: Any) -> bytes:
    rule = RULES[name]
    identifier = wire.encode_byte(name)
    if rule.repeats:
        return b"".join(identifier + rule.kind.encode(each) for each in value)
    return identifier + rule.kind.encode(value)
