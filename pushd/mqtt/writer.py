"""
Packets to bytes, for all three versions and both directions.

What version 3 cannot say is left out or mapped here and nowhere else: reason codes become return codes,
properties disappear. A packet that no version can say (a topic of 70 000 bytes, AUTH in version 3) is a
`ValueError`: a mistake of ours, not of a peer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from pushd.mqtt import wire
from pushd.mqtt.codes import ConnectReturnCode, ReasonCode, Version
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
from pushd.mqtt.properties import encode_properties

_PROTOCOLS = {Version.V3_1: b"\0\6MQIsdp", Version.V3_1_1: b"\0\4MQTT", Version.V5: b"\0\4MQTT"}
_BRIDGE_BIT = 0x80  # of the Protocol Level

# Before version 5 a server could not say more than this; what is not listed becomes NOT_AUTHORIZED.
_RETURN_CODES = {
    ReasonCode.SUCCESS: ConnectReturnCode.ACCEPTED,
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: ConnectReturnCode.UNACCEPTABLE_PROTOCOL_VERSION,
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: ConnectReturnCode.IDENTIFIER_REJECTED,
    ReasonCode.SERVER_UNAVAILABLE: ConnectReturnCode.SERVER_UNAVAILABLE,
    ReasonCode.SERVER_BUSY: ConnectReturnCode.SERVER_UNAVAILABLE,
    ReasonCode.SERVER_SHUTTING_DOWN: ConnectReturnCode.SERVER_UNAVAILABLE,
    ReasonCode.QUOTA_EXCEEDED: ConnectReturnCode.SERVER_UNAVAILABLE,
    ReasonCode.BAD_USER_NAME_OR_PASSWORD: ConnectReturnCode.BAD_USER_NAME_OR_PASSWORD,
}

_pack_ack = struct.Struct(">BBH").pack


def encode(packet: Packet, version: Version) -> bytes:
    """
    Write `packet` as the peer of this `version` reads it. A CONNECT is written in the version it names.

    :raises ValueError: the packet cannot be said in this version, or at all.
    """
    return _WRITERS[type(packet)](packet, version)


def encode_ack(first_byte: int, packet_id: int) -> bytes:
    """
    Write a PUBACK (0x40), PUBREC (0x50), PUBREL (0x62) or PUBCOMP (0x70) that says Success.

    These four bytes are the same in every version; nothing else is sent as often.
    """
    return _pack_ack(first_byte, 2, packet_id)


def connect_return_code(code: ReasonCode) -> ConnectReturnCode:
    """Say in a version 3 CONNACK what `code` says in version 5."""
    return _RETURN_CODES.get(code, ConnectReturnCode.NOT_AUTHORIZED)


def _frame(first_byte: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return wire.encode_byte(first_byte) + wire.encode_varint(len(body)) + body


def _properties(properties: Properties, version: Version) -> bytes:
    return encode_properties(properties) if version is Version.V5 else b""


def _packet_id(packet_id: int) -> bytes:
    if packet_id == 0:
        raise ValueError("packet identifier 0")  # v3 [MQTT-2.3.1-1], v5 [MQTT-2.2.1-3]
    return wire.encode_u16(packet_id)


def _write_connect(packet: Connect, _: Version) -> bytes:
    version = packet.version
    return _frame(
        0x10,
        _PROTOCOLS[version],
        wire.encode_byte(version | (_BRIDGE_BIT if packet.bridge else 0)),
        wire.encode_byte(_connect_flags(packet)),
        wire.encode_u16(packet.keep_alive_s),
        _properties(packet.properties, version),
        wire.encode_string(packet.client_id),
        _will(packet.will, version),
        b"" if packet.username is None else wire.encode_string(packet.username),
        b"" if packet.password is None else wire.encode_binary(packet.password),
    )


def _connect_flags(packet: Connect) -> int:
    flags = 0x02 if packet.clean_start else 0
    if packet.will is not None:
        flags |= 0x04 | packet.will.qos << 3 | (0x20 if packet.will.retain else 0)
    if packet.password is not None:
        flags |= 0x40
    if packet.username is not None:
        flags |= 0x80
    return flags


def _will(will: Will | None, version: Version) -> bytes:
    if will is None:
        return b""
    properties = _properties(will.properties, version)
    return properties + wire.encode_string(will.topic) + wire.encode_binary(will.payload)


def _write_connack(packet: Connack, version: Version) -> bytes:
    # A failed CONNECT has no session: v3 [MQTT-3.2.2-4], v5 [MQTT-3.2.2-6]. 3.1 has no such flag at all.
    present = packet.session_present and not packet.code and version is not Version.V3_1
    code = packet.code if version is Version.V5 else connect_return_code(packet.code)
    return _frame(0x20, bytes((present, code)), _properties(packet.properties, version))


def _write_publish(packet: Publish, version: Version) -> bytes:
    first_byte = 0x30 | (0x08 if packet.dup else 0) | packet.qos << 1 | (1 if packet.retain else 0)
    return _frame(
        first_byte,
        wire.encode_string(packet.topic),
        _packet_id(packet.packet_id) if packet.qos else b"",  # v5 [MQTT-2.2.1-2]
        _properties(packet.properties, version),
        packet.payload,
    )


def _acknowledgement_writer(first_byte: int) -> Callable[[Any, Version], bytes]:
    def write(packet: Puback | Pubrec | Pubrel | Pubcomp, version: Version) -> bytes:
        outcome = _outcome(packet.code, packet.properties) if version is Version.V5 else b""
        return _frame(first_byte, _packet_id(packet.packet_id), outcome)

    return write


def _outcome(code: ReasonCode, properties: Properties) -> bytes:
    """Write reason code and properties as short as v5 §3.4.2.1 allows: both, the code alone, or nothing."""
    if properties:
        return wire.encode_byte(code) + encode_properties(properties)
    return wire.encode_byte(code) if code else b""


def _write_subscribe(packet: Subscribe, version: Version) -> bytes:
    requests = (
        wire.encode_string(request.filter) + wire.encode_byte(_options(request, version))
        for request in packet.requests
    )
    return _frame(0x82, _packet_id(packet.packet_id), _properties(packet.properties, version), *requests)


def _options(request: SubscriptionRequest, version: Version) -> int:
    if version is not Version.V5:
        return request.qos
    no_local = 0x04 if request.no_local else 0
    retain_as_published = 0x08 if request.retain_as_published else 0
    return request.qos | no_local | retain_as_published | request.retain_handling << 4


def _write_suback(packet: Suback, version: Version) -> bytes:
    codes = packet.codes if version is Version.V5 else [min(code, 0x80) for code in packet.codes]
    return _frame(0x90, _packet_id(packet.packet_id), _properties(packet.properties, version), bytes(codes))


def _write_unsubscribe(packet: Unsubscribe, version: Version) -> bytes:
    filters = (wire.encode_string(filter) for filter in packet.filters)
    return _frame(0xA2, _packet_id(packet.packet_id), _properties(packet.properties, version), *filters)


def _write_unsuback(packet: Unsuback, version: Version) -> bytes:
    codes = bytes(packet.codes) if version is Version.V5 else b""
    return _frame(0xB0, _packet_id(packet.packet_id), _properties(packet.properties, version), codes)


def _write_pingreq(packet: Pingreq, version: Version) -> bytes:
    return b"\xc0\0"


def _write_pingresp(packet: Pingresp, version: Version) -> bytes:
    return b"\xd0\0"


def _write_disconnect(packet: Disconnect, version: Version) -> bytes:
    return _frame(0xE0, _outcome(packet.code, packet.properties) if version is Version.V5 else b"")


def _write_auth(packet: Auth, version: Version) -> bytes:
    if version is not Version.V5:
        raise ValueError("AUTH before version 5")
    return _frame(0xF0, _outcome(packet.code, packet.properties))


_WRITERS: dict[type, Callable[[Any, Version], bytes]] = {
    Connect: _write_connect,
    Connack: _write_connack,
    Publish: _write_publish,
    Puback: _acknowledgement_writer(0x40),
    Pubrec: _acknowledgement_writer(0x50),
    Pubrel: _acknowledgement_writer(0x62),
    Pubcomp: _acknowledgement_writer(0x70),
    Subscribe: _write_subscribe,
    Suback: _write_suback,
    Unsubscribe: _write_unsubscribe,
    Unsuback: _write_unsuback,
    Pingreq: _write_pingreq,
    Pingresp: _write_pingresp,
    Disconnect: _write_disconnect,
    Auth: _write_auth,
}
