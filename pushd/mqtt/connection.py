"""
The phases of one network connection, as a server sees them.

                      CONNECT                accept()
    AWAITING_CONNECT ─────────▶ DECIDING ─────────────▶ ACTIVE ──┐ DISCONNECT
                                 ▲    │ challenge()              │
                            AUTH │    ▼                          ▼
                               CHALLENGED ───DISCONNECT──▶ CLOSED, also by close() at any time

`Connection` reads bytes and keeps the phase; it decides nothing. The broker looks at the CONNECT, asks whom
it must, perhaps for a while, and then tells the verdict: `accept`, `refuse` or `challenge`. Meanwhile nothing
more is read, for clients may send on before they see the CONNACK (v5 §3.1.4).
"""

from __future__ import annotations

from enum import IntEnum
from typing import cast

from pushd.mqtt.codes import PacketType, PropertyId, ReasonCode, Version
from pushd.mqtt.errors import MQTTError, ProtocolError
from pushd.mqtt.packets import Auth, Connect, Packet, Publish
from pushd.mqtt.reader import announced_version, read_packet


class Phase(IntEnum):
    """Where a connection stands."""

    AWAITING_CONNECT = 0
    DECIDING = 1  # the CONNECT, or an answer to a challenge, is with the broker
    CHALLENGED = 2  # an AUTH went out, its answer is awaited (v5 §4.12)
    ACTIVE = 3
    CLOSED = 4


P = PacketType

# What a client may send in each phase, and the phase that follows. Anything not listed is a Protocol Error;
# that alone enforces v3 and v5 [MQTT-3.1.0-1] and [MQTT-3.1.0-2], and turns away what only a server may send.
TRANSITIONS: dict[Phase, dict[int, Phase]] = {
    Phase.AWAITING_CONNECT: {P.CONNECT: Phase.DECIDING},
    Phase.DECIDING: {},  # nothing is read: what the client sent ahead waits
    Phase.CHALLENGED: {P.AUTH: Phase.DECIDING, P.DISCONNECT: Phase.CLOSED},  # v5 [MQTT-3.1.2-30]
    Phase.ACTIVE: {
        P.PUBLISH: Phase.ACTIVE,
        P.PUBACK: Phase.ACTIVE,
        P.PUBREC: Phase.ACTIVE,
        P.PUBREL: Phase.ACTIVE,
        P.PUBCOMP: Phase.ACTIVE,
        P.SUBSCRIBE: Phase.ACTIVE,
        P.UNSUBSCRIBE: Phase.ACTIVE,
        P.PINGREQ: Phase.ACTIVE,
        P.DISCONNECT: Phase.CLOSED,
        P.AUTH: Phase.ACTIVE,  # re-authentication (v5 §4.12.1); before version 5 the reader refuses it
    },
    Phase.CLOSED: {},  # nothing is read: what comes after the end is not looked at
}

# Looked up once, not per packet: an enum member is three look-ups away each time.
_V5 = Version.V5
_ACTIVE = Phase.ACTIVE
_WHILE_ACTIVE = TRANSITIONS[_ACTIVE]

_CONNECT_FIRST_BYTE = 0x10
# Mosquitto's limit. A client id, a will and credentials are small; before them we know nothing of the peer.
MAX_CONNECT_BYTES = 100_000


class Connection:
    """
    One client's side of the protocol: bytes in, packets out, in an order that the standard allows.

    `version` is 3.1.1 until a CONNECT says otherwise. `max_packet_bytes` counts the fixed header; 0 is no
    limit. `peer_max_packet_bytes` is the same for the other direction, once the CONNECT is there.
    """

    __slots__ = ("max_packet_bytes", "peer_max_packet_bytes", "phase", "version")

    def __init__(self, max_packet_bytes: int = 0) -> None:
        self.phase = Phase.AWAITING_CONNECT
        self.version = Version.V3_1_1
        self.max_packet_bytes = max_packet_bytes
        self.peer_max_packet_bytes = 0

    def next_packet(self, data: bytes, at: int) -> tuple[Packet, int] | None:
        """
        Read the packet that starts at offset `at` of `data`, and move to the phase that follows it.

        :return: the packet and the offset behind it; ``None`` while it is not all there, while a verdict is
            awaited, and after the end.
        :raises MQTTError: the connection must end; `version` is the one to say so in.
        """
        if self.phase is not _ACTIVE:
            return self._next_before_active(data, at)
        if at >= len(data):
            return None
        kind = data[at] >> 4
        following = _WHILE_ACTIVE.get(kind)
        if following is None:
            raise _out_of_place(kind, _ACTIVE)
        read = read_packet(data, at, self.version, self.max_packet_bytes)
        if read is not None:
            if self.version is _V5:
                _check_sent_by_client(read[0])
            self.phase = following
        return read

    def accept(self) -> None:
        """The broker took the CONNECT: a CONNACK with Success leaves, and anything may follow."""
        self._decide(Phase.ACTIVE)

    def refuse(self) -> None:
        """The broker turned the CONNECT down: a CONNACK says why, and nothing more is read."""
        self._decide(Phase.CLOSED)

    def challenge(self) -> None:
        """The broker wants to know more: an AUTH leaves, and only its answer may follow (v5 §4.12)."""
        self._decide(Phase.CHALLENGED)

    def close(self) -> None:
        """The network connection ends, or is about to; nothing more is read. Harmless at any time."""
        self.phase = Phase.CLOSED

    def _decide(self, phase: Phase) -> None:
        if self.phase is not Phase.DECIDING:
            raise RuntimeError(f"a verdict of {phase.name} while {self.phase.name}")
        self.phase = phase

    def _next_before_active(self, data: bytes, at: int) -> tuple[Packet, int] | None:
        transitions = TRANSITIONS[self.phase]
        if not transitions or at >= len(data):
            return None
        following = transitions.get(data[at] >> 4)
        if following is None:
            raise _out_of_place(data[at] >> 4, self.phase)
        if self.phase is Phase.AWAITING_CONNECT:
            read = self._read_connect(data, at)
        else:
            read = read_packet(data, at, self.version, self._limit_of_strangers)
        if read is not None:
            _check_sent_by_client(read[0])
            self.phase = following
        return read

    @property
    def _limit_of_strangers(self) -> int:
        """How large a packet may be before the client is accepted."""
        return min(self.max_packet_bytes or MAX_CONNECT_BYTES, MAX_CONNECT_BYTES)

    def _read_connect(self, data: bytes, at: int) -> tuple[Packet, int] | None:
        """Whoever does not speak MQTT is told from the first byte; no memory is spent on what they claim."""
        if data[at] != _CONNECT_FIRST_BYTE:
            raise ProtocolError("the first byte is not that of a CONNECT")
        try:
            read = read_packet(data, at, self.version, self._limit_of_strangers)
        except MQTTError:
            self.version = announced_version(data, at) or self.version
            raise
        if read is not None and isinstance(read[0], Connect):
            connect = read[0]
            self.version = connect.version
            self.peer_max_packet_bytes = cast(int, connect.properties.get(PropertyId.MAXIMUM_PACKET_SIZE, 0))
        return read


def _out_of_place(kind: int, phase: Phase) -> ProtocolError:
    name = P(kind).name if kind else "a packet of type 0"
    return ProtocolError(f"{name} while {phase.name}")


def _check_sent_by_client(packet: Packet) -> None:
    """Refuse what is well-formed in version 5, but only a server may say."""
    if isinstance(packet, Publish):
        if packet.properties and PropertyId.SUBSCRIPTION_IDENTIFIER in packet.properties:
            raise ProtocolError("a client's PUBLISH with a subscription identifier")  # v5 [MQTT-3.3.4-6]
    elif isinstance(packet, Auth) and packet.code is ReasonCode.SUCCESS:
        raise ProtocolError("a client's AUTH with Success")  # v5 §3.15.2.1
