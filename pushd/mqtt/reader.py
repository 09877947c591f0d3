"""
Bytes to packets, for all three versions and both directions.

`read_packet` has three outcomes: a packet and where the next one starts; ``None``, because the rest has not
arrived; or an `MQTTError`, after which nothing in the stream can be trusted. It keeps no state: the caller
walks an offset through whatever it received, so that one large read costs one pass and no copies but the
fields.

Here is where a packet begins and ends; what is in it is read by `pushd.mqtt.bodies`. The two meet in a table
of 256 entries, one for each first byte, made from the kinds of packets and the flags that each must carry.
"""

from __future__ import annotations

from pushd.mqtt import wire
from pushd.mqtt.bodies import BODY_READERS, BodyReader, read_protocol
from pushd.mqtt.codes import PacketType, Version
from pushd.mqtt.errors import MalformedPacket, MQTTError, PacketTooLarge
from pushd.mqtt.packets import Connect, Packet

# Looked up once: an enum member is three look-ups away each time.
_V3_1 = Version.V3_1
_V5 = Version.V5


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
        return read_protocol(data, body, min(body + length, len(data)))[0]
    except MQTTError:
        return None


_DUP = 0x08
# Their flags are 0010 rather than 0000: v3 and v5 [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1].
_ASKING = (PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE)


def _read_illegal(data: bytes, first_byte: int, at: int, end: int, version: Version) -> Packet:
    """No packet begins with this byte, except that clients of 3.1 may send these three again with DUP set."""
    if version is _V3_1 and first_byte ^ _DUP in {kind << 4 | 2 for kind in _ASKING}:
        return _BY_FIRST_BYTE[first_byte ^ _DUP](data, first_byte ^ _DUP, at, end, version)
    # v3 [MQTT-2.2.2-2], v5 [MQTT-2.1.3-1]
    raise MalformedPacket(f"a packet that begins with 0x{first_byte:02X}")


def _legal_first_bytes(kind: PacketType) -> list[int]:
    if kind is PacketType.PUBLISH:
        # Every flag has a meaning, but QoS 3 does not exist: v3 and v5 [MQTT-3.3.1-4].
        return [0x30 | flags for flags in range(16) if flags & 6 != 6]
    return [kind << 4 | (2 if kind in _ASKING else 0)]


_BY_FIRST_BYTE: list[BodyReader] = [_read_illegal] * 256
for _kind, _reader in BODY_READERS.items():
    for _first_byte in _legal_first_bytes(_kind):
        _BY_FIRST_BYTE[_first_byte] = _reader
