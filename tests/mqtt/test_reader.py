"""How packets are cut from a stream. What is in them: ``tests/vectors`` and ``test_round_trip.py``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import QoS, ReasonCode, Version
from pushd.mqtt.errors import MalformedPacket, PacketTooLarge
from pushd.mqtt.packets import Connect, Packet, Pingreq, Puback, Publish
from pushd.mqtt.reader import PacketReader, announced_version, read_packet
from pushd.mqtt.writer import encode

V3, V5 = Version.V3_1_1, Version.V5


class RemainingLengthTests(SynchronousTestCase):
    """v3 §2.2.3, v5 §2.1.4"""

    def test_every_size_of_the_length(self) -> None:
        """Payloads on both sides of each limit of the length's size are read in every version."""
        for version in Version:
            for size in (0, 124, 125, 16_380, 16_381, 2_097_148, 2_097_149):
                packet = Publish("a", b"x" * size)
                data = encode(packet, version)
                self.assertEqual((packet, len(data)), read_packet(data, 0, version, 0))

    def test_the_length_is_waited_for(self) -> None:
        """While the Remaining Length itself is incomplete, nothing can be said."""
        for data in (b"", b"\x30", b"\x30\x80", b"\x30\xff", b"\x30\x80\x80", b"\x30\xff\xff\xff"):
            self.assertIsNone(read_packet(data, 0, V3, 1000))

    def test_connect_is_held_to_its_own_version(self) -> None:
        """An overlong length is judged by the version in the CONNECT, not by the one passed."""
        for packet in (Connect(V3, "c"), Connect(V5, "c")):
            data = encode(packet, V3)
            overlong = bytes([data[0], data[1] | 0x80, 0]) + data[2:]
            for version in Version:
                if packet.version is V5:
                    self.assertRaises(MalformedPacket, read_packet, overlong, 0, version, 0)
                else:
                    self.assertEqual((packet, len(overlong)), read_packet(overlong, 0, version, 0))


class PacketLimitTests(SynchronousTestCase):
    """v5 §3.1.2.11.4, §3.2.2.3.6"""

    def test_too_large_is_known_from_the_length(self) -> None:
        """A client that announces 256 MB is refused after five bytes."""
        error = self.assertRaises(PacketTooLarge, read_packet, b"\x30\xff\xff\xff\x7f", 0, V3, 2_000_000)
        self.assertIs(error.code, ReasonCode.PACKET_TOO_LARGE)

    def test_limit_holds_for_each_size_of_the_length(self) -> None:
        """Header and body together may be as long as the limit and no longer."""
        for size in (10, 200, 20_000):
            data = encode(Publish("a", b"x" * size), V3)
            self.assertIsNotNone(read_packet(data, 0, V3, len(data)))
            self.assertRaises(PacketTooLarge, read_packet, data[:5], 0, V3, len(data) - 1)

    def test_limit_holds_for_one_packet_not_for_the_buffer(self) -> None:
        """Where the packet starts in the buffer does not matter."""
        data = b"\xc0\0" * 50 + b"\x40\2\0\1"
        self.assertEqual((Puback(1), 104), read_packet(data, 100, V3, 4))

    def test_zero_is_no_limit(self) -> None:
        """Without a limit the protocol's own holds: 256 MB."""
        self.assertIsNone(read_packet(b"\x30\xff\xff\xff\x7f", 0, V3, 0))


class TopicNameTests(SynchronousTestCase):
    """v3 and v5 §3.3.2"""

    def test_the_same_name_is_the_same_string(self) -> None:
        """A name that comes again is not made again: its hash is ready for the look-up of its route."""
        data = encode(Publish("room/1/temperature"), V3)
        first, second = read_packet(data, 0, V3, 0), read_packet(data, 0, V3, 0)
        assert first and second and isinstance(first[0], Publish) and isinstance(second[0], Publish)
        self.assertIs(first[0].topic, second[0].topic)

    def test_a_malformed_name_stays_malformed(self) -> None:
        """A name that was refused once is refused again."""
        data = b"\x30\x05\0\3a/+"
        for _ in range(3):
            error = self.assertRaises(MalformedPacket, read_packet, data, 0, V3, 0)
            self.assertIs(error.code, ReasonCode.TOPIC_NAME_INVALID)


class AnnouncedVersionTests(SynchronousTestCase):
    """v5 §3.1.2.2: what an unreadable CONNECT was meant to be."""

    def test_version_of_a_whole_connect(self) -> None:
        """Name and level say it."""
        for version in Version:
            self.assertIs(announced_version(b"??" + encode(Connect(version, "c"), version), 2), version)

    def test_version_of_the_beginning_of_a_connect(self) -> None:
        """Name and level are enough; less is not."""
        data = encode(Connect(V5, "c"), V5)
        for size in range(len(data)):
            self.assertIs(announced_version(data[:size], 0), V5 if size >= 9 else None)

    def test_what_cannot_be_told(self) -> None:
        """Another protocol, an unknown level, an endless length: no version."""
        for data in (
            b"\x10\x07\0\4HTTP\5",
            b"\x10\x07\0\4MQTT\6",
            b"\x10\xff\xff\xff\xff\xff",
            b"\x10\0",
            b"",
        ):
            self.assertIsNone(announced_version(data, 0))


class PacketReaderTests(SynchronousTestCase):
    """A reader that keeps the bytes itself."""

    def test_nothing_fed(self) -> None:
        """There is no packet where there are no bytes."""
        self.assertIsNone(PacketReader().next_packet())

    def test_packets_come_in_their_order(self) -> None:
        """Several packets fed at once come out one by one, the rest of the last when it is there."""
        packets: list[Packet] = [Publish("a", b"x", QoS(1), packet_id=7), Pingreq(), Puback(7)]
        stream = b"".join(encode(packet, V3) for packet in packets)
        reader = PacketReader()
        reader.feed(stream[:-1])
        self.assertEqual([*packets[:2], None], [reader.next_packet() for _ in range(3)])
        reader.feed(stream[-1:])
        self.assertEqual([packets[2], None], [reader.next_packet() for _ in range(2)])

    def test_version_may_be_set_later(self) -> None:
        """A reader that learns the version from the first packet reads the next ones by it."""
        packet = Publish("a", b"x", properties={})
        reader = PacketReader()
        reader.version = V5
        reader.feed(encode(packet, V5))
        self.assertEqual(packet, reader.next_packet())

    def test_the_limit_holds(self) -> None:
        """A packet above the limit is refused before its body is fed."""
        reader = PacketReader(max_packet_bytes=10)
        reader.feed(b"\x30\x09")
        self.assertRaises(PacketTooLarge, reader.next_packet)
