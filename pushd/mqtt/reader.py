"""
Bytes to packets, for all three versions and both directions.

`read_packet` has three outcomes: a packet and where the next one starts; ``None``, because the rest has not
arrived; or an `MQTTError`, after which nothing in the stream can be trusted. It keeps no state: the caller
walks an offset through whatever it received, so that one large read costs one pass and no copies but the
fields.

The packets are dispatched by their first byte, through a table made from `_READERS` and the flags each packet
must carry. PUBLISH and the acknowledgements are most of all traffic: for them the code below repeats in line
what `wire` does in calls.
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
from pushd.mqtt.errors import MalformedPacket, MQTTError, PacketTooLarge, ProtocolError, Refused
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

# Reads the body of one packet, data[at:end]. The fixed header is already taken off.
BodyReader: TypeAlias = Callable[
    [bytes, int, int, int, Version], Packet
]  # data, first byte, at, end, version

# Looked up once: an enum member is three look-ups away each time.
_V3_1 = Version.V3_1
_V3_1_1 = Version.V3_1_1
_V5 = Version.V5
_SUCCESS = ReasonCode.SUCCESS
_PUBLISH = PacketType.PUBLISH
_QOS = tuple(QoS)


def read_packet(data: bytes, at: int, version: Version, max_packet_bytes: int) -> tuple[Packet, int] | None:
    """
    Cut the packet that starts at offset `at` of `data`.

    :param version: what was agreed on; a CONNECT carries its own, and for it this is ignored.
    :param max_packet_bytes: the longest packet to take, its fixed header included (v5 §3.1.2.11.4);
        0 is no limit.
    :return: the packet and the offset behind it; ``None`` while it is not all there.
    :raises PacketTooLarge: 0x95, as soon as the length is there, before the body.
    :raises MalformedPacket: bytes that are no packet.
    :raises ProtocolError: a packet that breaks a rule which concerns it alone.
    :raises Refused: a CONNECT that wants to be answered with a CONNACK.
    """
    available = len(data)
    if available - at < 2:
        return None
    body = at + 2
    length = data[at + 1]
    if length >= 0x80:
        if available == body or not 0 < data[body] < 0x80:
            return _read_long_packet(data, at, version, max_packet_bytes)
        length += (data[body] << 7) - 0x80  # two bytes of Remaining Length, the usual case beside one
        body += 1
    end = body + length
    if 0 < max_packet_bytes < end - at:
        raise _too_large(end - at, max_packet_bytes)
    if end > available:
        return None
    first_byte = data[at]
    return _BY_FIRST_BYTE[first_byte](data, first_byte, body, end, version), end


def _read_long_packet(
    data: bytes, at: int, version: Version, max_packet_bytes: int
) -> tuple[Packet, int] | None:
    """Do as `read_packet`, where the Remaining Length has three or four bytes, or more than it needs."""
    decoded = wire.decode_length(data, at + 1)
    if decoded is None:
        return None
    length, body = decoded
    end = body + length
    if 0 < max_packet_bytes < end - at:
        raise _too_large(end - at, max_packet_bytes)
    if end > len(data):
        return None
    packet = _BY_FIRST_BYTE[data[at]](data, data[at], body, end, version)
    spoken = packet.version if isinstance(packet, Connect) else version
    if spoken is _V5 and body - at - 1 != wire.varint_size(length):  # version 3 does not mind
        raise MalformedPacket("a Remaining Length in more bytes than it needs")  # v5 [MQTT-1.5.5-1]
    return packet, end


def _too_large(size: int, limit: int) -> PacketTooLarge:
    return PacketTooLarge(f"a packet of {size} bytes; {limit} are taken")


class PacketReader:
    """
    Cut a byte stream into MQTT packets, for those who have no buffer of their own.

    `max_packet_bytes` counts the fixed header too (v5 §3.1.2.11.4); 0 is no limit. `version` may be set
    once the CONNECT or the CONNACK is known.
    """

    def __init__(self, max_packet_bytes: int = 0, version: Version = Version.V3_1_1) -> None:
        self.version = version
        self._max_packet_bytes = max_packet_bytes
        self._data = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def next_packet(self) -> Packet | None:
        """
        Return the next whole packet, or ``None`` until more is fed.

        :raises MQTTError: see `read_packet`; the stream is of no use afterwards.
        """
        read = read_packet(self._data, self._at, self.version, self._max_packet_bytes)
        if read is None:
            return None
        packet, self._at = read
        return packet


def announced_version(data: bytes, at: int) -> Version | None:
    """
    Say which version a CONNECT that could not be read was meant to be, to refuse it in its own language.

    :param at: offset of the first byte of the packet.
    :return: ``None`` if not even that can be told.
    """
    try:
        decoded = wire.decode_length(data, at + 1)
        if decoded is None:
            return None
        length, body = decoded
        return _read_protocol(data, body, min(body + length, len(data)))[0]
    except MQTTError:
        return None


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
    version, bridge, at = _read_protocol(data, at, end)
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


def _read_protocol(data: bytes, at: int, end: int) -> tuple[Version, bool, int]:
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
    if flags and code:
        raise ProtocolError(
            "a session is present although the CONNECT failed"
        )  # v3 [MQTT-3.2.2-4], v5 [MQTT-3.2.2-6]
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


# --- Dispatch -----------------------------------------------------------------------------------------------


_READERS: dict[PacketType, BodyReader] = {
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
_DUP = 0x08
# Their flags are 0010 rather than 0000: v3 and v5 [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1].
_ASKING = (PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE)


def _read_illegal(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Packet:
    """No packet begins with this byte, except that clients of 3.1 may send these three again with DUP set."""
    if version is _V3_1 and first_byte ^ _DUP in {kind << 4 | 2 for kind in _ASKING}:
        return _BY_FIRST_BYTE[first_byte ^ _DUP](data, first_byte ^ _DUP, at, end, version)
    raise MalformedPacket(
        f"a packet that begins with 0x{first_byte:02X}"
    )  # v3 [MQTT-2.2.2-2], v5 [MQTT-2.1.3-1]


def _legal_first_bytes(kind: PacketType) -> list[int]:
    if kind is PacketType.PUBLISH:
        # Every flag has a meaning, but QoS 3 does not exist: v3 and v5 [MQTT-3.3.1-4].
        return [0x30 | flags for flags in range(16) if flags & 6 != 6]
    return [kind << 4 | (2 if kind in _ASKING else 0)]


_BY_FIRST_BYTE: list[BodyReader] = [_read_illegal] * 256
for _kind, _reader in _READERS.items():
    for _first_byte in _legal_first_bytes(_kind):
        _BY_FIRST_BYTE[_first_byte] = _reader
