"""
What is inside a packet: one function per packet, from the bytes between its fixed header and its end.

PUBLISH and the acknowledgements are most of all traffic: for them the code below repeats in line what `wire`
does in calls. No function looks at a byte from `end` on, and none leaves a byte before `end` unread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from pushd.mqtt import wire
from pushd.mqtt.codes import (
    LEGAL_CODES,
    ConnectReturnCode,
    PacketType,
    PropertyId,
    QoS,
    ReasonCode,
    RetainHandling,
    Version,
)
from pushd.mqtt.errors import MalformedPacket, ProtocolError, Refused
from pushd.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    Will,
)
from pushd.mqtt.properties import WILL, decode_properties
from pushd.mqtt.topics import SHARE_PREFIX, check_filter, check_name

# Reads the body of one packet: ``(data, first_byte, at, end, version)``, where data[at:end] is the body.
BodyReader: TypeAlias = Callable[[bytes, int, int, int, Version], Packet]

# Looked up once: an enum member is three look-ups away each time.
_V3_1 = Version.V3_1
_V3_1_1 = Version.V3_1_1
_V5 = Version.V5
_SUCCESS = ReasonCode.SUCCESS
_PUBLISH = PacketType.PUBLISH
_QOS = tuple(QoS)

# --- PUBLISH ------------------------------------------------------------------------------------------------

# QoS, RETAIN and DUP by the low nibble of the first byte.
_PUBLISH_FLAGS = tuple((_QOS[(flags >> 1 & 3) % 3], flags & 1 == 1, flags & 8 == 8) for flags in range(16))


def _checked_name(encoded: bytes) -> str:
    """Decode and check a topic name; the empty one, which stands for an alias, passes."""
    topic = wire.decode_text(encoded)  # v3 and v5 [MQTT-3.3.2-1]
    if topic:
        check_name(topic)  # v3 and v5 [MQTT-3.3.2-2]
    return topic


# Names come again and again. To remember the recent ones takes a third of the time of checking them anew, and
# gives everybody the same string, which has its hash ready for the look-up of its route. Names are remembered
# only if they are short, so that no client can make this a store of megabytes.
_remembered_name = lru_cache(maxsize=4096)(_checked_name)
_LONGEST_REMEMBERED_NAME = 256  # bytes


def _read_publish(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Publish:
    name_at = at + 2
    if name_at > end:
        raise MalformedPacket("a PUBLISH without a topic")
    at = name_at + (data[at] << 8 | data[at + 1])
    if at > end:
        raise MalformedPacket("a topic reaches beyond its packet")
    name = data[name_at:at]
    topic = _remembered_name(name) if len(name) <= _LONGEST_REMEMBERED_NAME else _checked_name(name)
    qos, retain, dup = _PUBLISH_FLAGS[first_byte & 0x0F]
    packet_id = 0  # v5 [MQTT-2.2.1-2]
    if qos:
        packet_id, at = _read_packet_id(data, at, end)
    elif dup:
        raise MalformedPacket("DUP with QoS 0")  # v3 and v5 [MQTT-3.3.1-2]
    if version is _V5:
        properties, at = decode_properties(data, at, end, _PUBLISH)
        if not topic and PropertyId.TOPIC_ALIAS not in properties:
            raise ProtocolError("a PUBLISH with neither a topic nor an alias")  # v5 §3.3.2.1
        return Publish(topic, data[at:end], qos, retain, dup, packet_id, properties)
    if not topic:
        raise MalformedPacket("an empty topic", ReasonCode.TOPIC_NAME_INVALID)  # v3 [MQTT-4.7.3-1]
    return Publish(topic, data[at:end], qos, retain, dup, packet_id, {})


def _read_packet_id(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at + 2 > end:
        raise MalformedPacket("a packet identifier is missing")
    packet_id = data[at] << 8 | data[at + 1]
    if packet_id == 0:
        raise ProtocolError("packet identifier 0")  # v3 [MQTT-2.3.1-1], v5 [MQTT-2.2.1-3], [MQTT-2.2.1-4]
    return packet_id, at + 2


# --- PUBACK, PUBREC, PUBREL, PUBCOMP ------------------------------------------------------------------------


def _acknowledgement_reader(
    packet_class: type[Puback] | type[Pubrec] | type[Pubrel] | type[Pubcomp], kind: PacketType
) -> BodyReader:
    """The four differ in name and in their legal codes only."""

    def read(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Packet:
        if end - at == 2:  # all there is before version 5, and there the short form of Success (v5 §3.4.2.1)
            packet_id = data[at] << 8 | data[at + 1]
            if packet_id:
                return packet_class(packet_id, _SUCCESS, {})
        packet_id, at = _read_packet_id(data, at, end)
        if version is not _V5:
            raise MalformedPacket(f"{kind.name} of {end - at} bytes too many")
        return packet_class(packet_id, *_read_outcome(data, at, end, kind))

    return read


def _read_outcome(data: bytes, at: int, end: int, kind: PacketType) -> tuple[ReasonCode, Properties]:
    """Read a reason code and properties; the properties, or both, may be left out (v5 §3.4.2.1)."""
    if at == end:
        return _SUCCESS, {}
    code = _legal_code(data[at], kind)
    if at + 1 == end:
        return code, {}
    properties, at = decode_properties(data, at + 1, end, kind)
    _expect_end(at, end, kind)
    return code, properties


def _legal_code(value: int, kind: PacketType) -> ReasonCode:
    code = LEGAL_CODES[kind].get(value)
    if code is None:
        raise ProtocolError(f"{kind.name} with reason code 0x{value:02X}")
    return code


def _legal_codes(data: bytes, at: int, end: int, kind: PacketType) -> list[ReasonCode]:
    if at == end:
        raise ProtocolError(f"{kind.name} without a reason code")  # v5 §3.9.3, §3.11.3
    return [_legal_code(value, kind) for value in data[at:end]]


def _expect_end(at: int, end: int, kind: PacketType) -> None:
    if at != end:
        raise MalformedPacket(f"{kind.name} of {end - at} bytes too many")


# --- CONNECT, CONNACK ---------------------------------------------------------------------------------------

# The bits of the Connect Flags (v3 §3.1.2.3, v5 §3.1.2.3).
_RESERVED = 0x01
_CLEAN_START = 0x02
_WILL_FLAG = 0x04
_WILL_QOS_SHIFT = 3
_WILL_RETAIN = 0x20
_PASSWORD_FLAG = 0x40
_USERNAME_FLAG = 0x80

_BRIDGE_BIT = 0x80  # of the Protocol Level
_VERSIONS = {("MQIsdp", 3): _V3_1, ("MQTT", 4): _V3_1_1, ("MQTT", 5): _V5}


def _read_connect(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Connect:
    version, bridge, at = read_protocol(data, at, end)
    flags, at = wire.decode_byte(data, at, end)
    _check_connect_flags(flags, version)
    keep_alive_s, at = wire.decode_u16(data, at, end)
    properties: Properties = {}
    if version is _V5:
        properties, at = decode_properties(data, at, end, PacketType.CONNECT)
    client_id, at = wire.decode_string(data, at, end)
    will, at = _read_will(data, at, end, flags, version)
    username, password = _read_credentials(data, at, end, flags, version)
    clean_start = bool(flags & _CLEAN_START)
    _check_client_id(client_id, clean_start, version)
    _check_authentication_data(properties)
    return Connect(
        version, client_id, clean_start, keep_alive_s, username, password, will, properties, bridge
    )


def read_protocol(data: bytes, at: int, end: int) -> tuple[Version, bool, int]:
    """Read the protocol's name and level, and the bit by which Mosquitto's bridges make themselves known."""
    name, at = wire.decode_string(data, at, end)
    if name not in ("MQTT", "MQIsdp"):
        raise ProtocolError("a CONNECT of another protocol")  # v3 and v5 [MQTT-3.1.2-1]
    level, at = wire.decode_byte(data, at, end)
    version = _VERSIONS.get((name, level & ~_BRIDGE_BIT))
    bridge = level & _BRIDGE_BIT != 0
    if version is None or (bridge and version is _V5):
        # v3 and v5 [MQTT-3.1.2-2]
        raise Refused(f"protocol level {level} of {name}", ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
    return version, bridge, at


def _check_connect_flags(flags: int, version: Version) -> None:
    if flags & _RESERVED and version is not _V3_1:  # 3.1 says nothing of this bit
        raise MalformedPacket("the reserved connect flag is set")  # v3 and v5 [MQTT-3.1.2-3]
    will_qos = flags >> _WILL_QOS_SHIFT & 3
    if will_qos == 3:
        raise MalformedPacket("a will of QoS 3")  # v3 [MQTT-3.1.2-14], v5 [MQTT-3.1.2-12]
    if not flags & _WILL_FLAG and (will_qos or flags & _WILL_RETAIN):
        # v3 [MQTT-3.1.2-13], [MQTT-3.1.2-15]; v5 [MQTT-3.1.2-11], [MQTT-3.1.2-13]
        raise MalformedPacket("a will's QoS or retain without a will")
    if version is not _V5 and flags & (_USERNAME_FLAG | _PASSWORD_FLAG) == _PASSWORD_FLAG:
        raise MalformedPacket("a password without a user name")  # v3 [MQTT-3.1.2-22]; version 5 allows it


def _read_will(data: bytes, at: int, end: int, flags: int, version: Version) -> tuple[Will | None, int]:
    if not flags & _WILL_FLAG:
        return None, at
    properties: Properties = {}
    if version is _V5:
        properties, at = decode_properties(data, at, end, WILL)
    topic, at = wire.decode_string(data, at, end)
    check_name(topic)  # v3 [MQTT-3.1.3-10], v5 [MQTT-3.1.3-11]
    payload, at = wire.decode_binary(data, at, end)
    qos = _QOS[flags >> _WILL_QOS_SHIFT & 3]
    return Will(topic, payload, qos, bool(flags & _WILL_RETAIN), properties), at


def _read_credentials(
    data: bytes, at: int, end: int, flags: int, version: Version
) -> tuple[str | None, bytes | None]:
    """Read what ends a CONNECT. In 3.1 either may be missing although its flag is set (3.1 §3.1)."""
    username: str | None = None
    password: bytes | None = None
    if flags & _USERNAME_FLAG and not (version is _V3_1 and at == end):
        username, at = wire.decode_string(data, at, end)
    if flags & _PASSWORD_FLAG and not (version is _V3_1 and at == end):
        password, at = wire.decode_binary(data, at, end)
    _expect_end(at, end, PacketType.CONNECT)
    return username, password


def _check_client_id(client_id: str, clean_start: bool, version: Version) -> None:
    """3.1 also wants at most 23 characters, which Mosquitto and the devices in the field ignore; so do we."""
    if client_id or version is _V5:
        return
    if version is _V3_1 or not clean_start:  # v3 [MQTT-3.1.3-8]
        raise Refused("an empty client id", ReasonCode.CLIENT_IDENTIFIER_NOT_VALID)


def _check_authentication_data(properties: Properties) -> None:
    if PropertyId.AUTHENTICATION_DATA in properties and PropertyId.AUTHENTICATION_METHOD not in properties:
        raise ProtocolError("authentication data without a method")  # v5 §3.1.2.11.10


# What a return code of version 3 means in version 5; the way back is `writer.connect_return_code`.
_CONNECT_REASONS = {
    ConnectReturnCode.ACCEPTED: ReasonCode.SUCCESS,
    ConnectReturnCode.UNACCEPTABLE_PROTOCOL_VERSION: ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    ConnectReturnCode.IDENTIFIER_REJECTED: ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    ConnectReturnCode.SERVER_UNAVAILABLE: ReasonCode.SERVER_UNAVAILABLE,
    ConnectReturnCode.BAD_USER_NAME_OR_PASSWORD: ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    ConnectReturnCode.NOT_AUTHORIZED: ReasonCode.NOT_AUTHORIZED,
}
_REASON_BY_RETURN_CODE: dict[int, ReasonCode] = {
    code.value: reason for code, reason in _CONNECT_REASONS.items()
}


def _read_connack(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Connack:
    flags, at = wire.decode_byte(data, at, end)
    value, at = wire.decode_byte(data, at, end)
    if flags > (0 if version is _V3_1 else 1):
        raise MalformedPacket("reserved acknowledge flags are set")  # v5 [MQTT-3.2.2-1]
    properties: Properties = {}
    if version is _V5:
        code = _legal_code(value, PacketType.CONNACK)
        properties, at = decode_properties(data, at, end, PacketType.CONNACK)
    else:
        code = _connect_reason(value)
    _expect_end(at, end, PacketType.CONNACK)
    if flags and code:  # v3 [MQTT-3.2.2-4], v5 [MQTT-3.2.2-6]
        raise ProtocolError("a session is present although the CONNECT failed")
    return Connack(flags == 1, code, properties)


def _connect_reason(value: int) -> ReasonCode:
    reason = _REASON_BY_RETURN_CODE.get(value)
    if reason is None:
        raise MalformedPacket(f"CONNACK with return code {value}")
    return reason


# --- SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK ---------------------------------------------------------------

# The bits of the Subscription Options (v5 §3.8.3.1); version 3 has the QoS alone.
_NO_LOCAL = 0x04
_RETAIN_AS_PUBLISHED = 0x08
_RETAIN_HANDLING_SHIFT = 4
_RESERVED_OPTIONS_V5 = 0xC0
_RESERVED_OPTIONS_V3 = 0xFC
_RETAIN_HANDLING = tuple(RetainHandling)


def _read_subscribe(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Subscribe:
    packet_id, properties, at = _read_request_head(data, at, end, PacketType.SUBSCRIBE, version)
    requests = []
    while at < end:
        filter, at = _read_filter(data, at, end)
        options, at = wire.decode_byte(data, at, end)
        requests.append(_subscription_request(filter, options, version))
    if not requests:
        raise ProtocolError("a SUBSCRIBE without a filter")  # v3 [MQTT-3.8.3-3], v5 [MQTT-3.8.3-2]
    return Subscribe(packet_id, requests, properties)


def _read_request_head(
    data: bytes, at: int, end: int, kind: PacketType, version: Version
) -> tuple[int, Properties, int]:
    """Read what SUBSCRIBE, UNSUBSCRIBE and their answers begin with."""
    packet_id, at = _read_packet_id(data, at, end)
    if version is not _V5:
        return packet_id, {}, at
    properties, at = decode_properties(data, at, end, kind)
    return packet_id, properties, at


def _read_filter(data: bytes, at: int, end: int) -> tuple[str, int]:
    filter, at = wire.decode_string(data, at, end)  # v3 and v5 [MQTT-3.8.3-1], [MQTT-3.10.3-1]
    check_filter(filter)
    return filter, at


def _subscription_request(filter: str, options: int, version: Version) -> SubscriptionRequest:
    if options & (_RESERVED_OPTIONS_V5 if version is _V5 else _RESERVED_OPTIONS_V3):
        raise MalformedPacket("reserved subscription options are set")  # v3 [MQTT-3-8.3-4], v5 [MQTT-3.8.3-5]
    qos = options & 3
    retain_handling = options >> _RETAIN_HANDLING_SHIFT
    if qos == 3:
        raise MalformedPacket("a subscription of QoS 3")  # v3 [MQTT-3-8.3-4], v5 §3.8.3.1
    if retain_handling == 3:
        raise ProtocolError("retain handling 3")  # v5 §3.8.3.1
    no_local = bool(options & _NO_LOCAL)
    if no_local and filter.startswith(SHARE_PREFIX):
        raise ProtocolError("a shared subscription with No Local")  # v5 [MQTT-3.8.3-4]
    retain_as_published = bool(options & _RETAIN_AS_PUBLISHED)
    return SubscriptionRequest(
        filter, _QOS[qos], no_local, retain_as_published, _RETAIN_HANDLING[retain_handling]
    )


def _read_suback(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Suback:
    packet_id, properties, at = _read_request_head(data, at, end, PacketType.SUBACK, version)
    codes = _legal_codes(data, at, end, PacketType.SUBACK)
    if version is not _V5 and any(code > 2 and code != ReasonCode.UNSPECIFIED_ERROR for code in codes):
        raise MalformedPacket("SUBACK with a reserved return code")  # v3 [MQTT-3.9.3-2]
    return Suback(packet_id, codes, properties)


def _read_unsubscribe(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Unsubscribe:
    packet_id, properties, at = _read_request_head(data, at, end, PacketType.UNSUBSCRIBE, version)
    filters = []
    while at < end:
        filter, at = _read_filter(data, at, end)
        filters.append(filter)
    if not filters:
        raise ProtocolError("an UNSUBSCRIBE without a filter")  # v3 and v5 [MQTT-3.10.3-2]
    return Unsubscribe(packet_id, filters, properties)


def _read_unsuback(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Unsuback:
    packet_id, properties, at = _read_request_head(data, at, end, PacketType.UNSUBACK, version)
    if version is _V5:
        return Unsuback(packet_id, _legal_codes(data, at, end, PacketType.UNSUBACK), properties)
    _expect_end(at, end, PacketType.UNSUBACK)
    return Unsuback(packet_id)


# --- PINGREQ, PINGRESP, DISCONNECT, AUTH --------------------------------------------------------------------


def _read_pingreq(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Pingreq:
    _expect_end(at, end, PacketType.PINGREQ)
    return Pingreq()


def _read_pingresp(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Pingresp:
    _expect_end(at, end, PacketType.PINGRESP)
    return Pingresp()


def _read_disconnect(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Disconnect:
    if version is _V5:
        return Disconnect(*_read_outcome(data, at, end, PacketType.DISCONNECT))
    _expect_end(at, end, PacketType.DISCONNECT)
    return Disconnect()


def _read_auth(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Auth:
    if version is not _V5:
        raise ProtocolError("AUTH before version 5")
    code, properties = _read_outcome(data, at, end, PacketType.AUTH)
    if (code or properties) and PropertyId.AUTHENTICATION_METHOD not in properties:
        raise ProtocolError("AUTH without a method")  # v5 §3.15.2.2.2
    return Auth(code, properties)


# --- The table ----------------------------------------------------------------------------------------------

BODY_READERS: dict[PacketType, BodyReader] = {
    PacketType.CONNECT: _read_connect,
    PacketType.CONNACK: _read_connack,
    PacketType.PUBLISH: _read_publish,
    PacketType.PUBACK: _acknowledgement_reader(Puback, PacketType.PUBACK),
    PacketType.PUBREC: _acknowledgement_reader(Pubrec, PacketType.PUBREC),
    PacketType.PUBREL: _acknowledgement_reader(Pubrel, PacketType.PUBREL),
    PacketType.PUBCOMP: _acknowledgement_reader(Pubcomp, PacketType.PUBCOMP),
    PacketType.SUBSCRIBE: _read_subscribe,
    PacketType.SUBACK: _read_suback,
    PacketType.UNSUBSCRIBE: _read_unsubscribe,
    PacketType.UNSUBACK: _read_unsuback,
    PacketType.PINGREQ: _read_pingreq,
    PacketType.PINGRESP: _read_pingresp,
    PacketType.DISCONNECT: _read_disconnect,
    PacketType.AUTH: _read_auth,
}
