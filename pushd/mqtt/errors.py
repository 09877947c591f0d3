"""
Why a connection ends.

    MQTTError
    ├── MalformedPacket       bytes that are no packet
    │   └── PacketTooLarge    a length above what we take; known before the body arrives
    ├── ProtocolError         a packet that must not come here, or not now
    └── Refused               well-formed, but the CONNECT is turned down

Raise one of these when the connection ends; return a `ReasonCode` when the conversation goes on.
"""

from pushd.mqtt.codes import ReasonCode


class MQTTError(Exception):
    """The root of the tree. ``code`` is what a version 5 peer is told (v5 [MQTT-4.13.1-1])."""

    code = ReasonCode.UNSPECIFIED_ERROR

    def __init__(self, cause: str, code: ReasonCode | None = None) -> None:
        super().__init__(cause)
        if code is not None:
            self.code = code


class MalformedPacket(MQTTError):
    """Bytes that are no packet (v5 §1.2 Malformed Packet)."""

    code = ReasonCode.MALFORMED_PACKET


class PacketTooLarge(MalformedPacket):
    """A Remaining Length above the Maximum Packet Size (v5 [MQTT-3.2.2-15])."""

    code = ReasonCode.PACKET_TOO_LARGE


class ProtocolError(MQTTError):
    """A packet that the standard forbids here (v5 §1.2 Protocol Error)."""

    code = ReasonCode.PROTOCOL_ERROR


class Refused(MQTTError):
    """A CONNECT that is answered with a CONNACK other than Success, then closed (v5 [MQTT-3.2.2-7])."""

    code = ReasonCode.NOT_AUTHORIZED
