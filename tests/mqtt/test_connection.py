"""The phases of a connection: what a client may say when, and who is told what."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import PacketType, PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.connection import MAX_CONNECT_BYTES, TRANSITIONS, Connection, Phase
from pushd.mqtt.errors import MalformedPacket, MQTTError, PacketTooLarge, ProtocolError, Refused
from pushd.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
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
from pushd.mqtt.wire import encode_varint
from pushd.mqtt.writer import encode

V3, V5 = Version.V3_1_1, Version.V5
METHOD = {PropertyId.AUTHENTICATION_METHOD: "SCRAM"}

# What a client may send while it is ACTIVE, besides the DISCONNECT that ends it.
FROM_CLIENTS: list[Packet] = [
    Publish("a", b"x"),
    Puback(1),
    Pubrec(1),
    Pubrel(1),
    Pubcomp(1),
    Subscribe(1, [SubscriptionRequest("a")]),
    Unsubscribe(1, ["a"]),
    Pingreq(),
]
FROM_SERVERS: list[Packet] = [
    Connack(),
    Suback(1, [ReasonCode.GRANTED_QOS_0]),
    Unsuback(1, [ReasonCode.SUCCESS]),
    Pingresp(),
]


def connected(version: Version = V3, max_packet_bytes: int = 0) -> Connection:
    """A connection that has sent its CONNECT and was accepted."""
    connection = Connection(max_packet_bytes)
    connection.next_packet(encode(Connect(version, "c"), version), 0)
    connection.accept()
    return connection


class AwaitingConnectTests(SynchronousTestCase):
    """v3 and v5 [MQTT-3.1.0-1]"""

    def test_connect_is_handed_out_and_decided(self) -> None:
        """A CONNECT comes out as it went in; the verdict is the broker's."""
        packet = Connect(V5, "c", keep_alive_s=60)
        data = encode(packet, V5)
        connection = Connection()
        self.assertEqual((packet, len(data)), connection.next_packet(data, 0))
        self.assertIs(connection.phase, Phase.DECIDING)

    def test_version_is_the_connects(self) -> None:
        """From its CONNECT on, a connection speaks the version of its client."""
        for version in Version:
            self.assertIs(connected(version).version, version)

    def test_nothing_has_arrived(self) -> None:
        """No bytes are no reason to do anything."""
        connection = Connection()
        self.assertIsNone(connection.next_packet(b"", 0))
        self.assertIs(connection.phase, Phase.AWAITING_CONNECT)

    def test_connect_arriving_byte_by_byte(self) -> None:
        """Until its last byte is there, a CONNECT is awaited."""
        data = encode(Connect(V3, "c"), V3)
        connection = Connection()
        for size in range(len(data)):
            self.assertIsNone(connection.next_packet(data[:size], 0))
        self.assertIsNotNone(connection.next_packet(data, 0))

    def test_any_other_first_byte_ends_it_at_once(self) -> None:
        """One byte is enough to turn away what is no CONNECT: TLS, HTTP, another packet."""
        for first_byte in set(range(256)) - {0x10}:
            error = self.assertRaises(ProtocolError, Connection().next_packet, bytes([first_byte]), 0)
            self.assertIs(error.code, ReasonCode.PROTOCOL_ERROR)

    def test_connect_of_more_than_100_000_bytes(self) -> None:
        """Nobody may claim more than a CONNECT can need; the claim is refused before its bytes come."""
        for limit in (0, 2_000_000):
            self.assertRaises(PacketTooLarge, Connection(limit).next_packet, b"\x10\xff\xff\x7f", 0)

    def test_the_largest_connect(self) -> None:
        """A CONNECT of exactly the limit is taken."""
        payload = b"x" * 60_000
        packet = Connect(V3, "c", will=Will("w", payload), username="u")
        packet.username = "u" * (MAX_CONNECT_BYTES - len(encode(packet, V3)) + 1)
        data = encode(packet, V3)
        self.assertEqual(MAX_CONNECT_BYTES, len(data))
        self.assertIsNotNone(Connection().next_packet(data, 0))

    def test_a_smaller_limit_holds_for_connect_too(self) -> None:
        """The operator's limit is the limit of a CONNECT, if it is below 100 000."""
        data = encode(Connect(V3, "c" * 100), V3)
        self.assertRaises(PacketTooLarge, Connection(len(data) - 1).next_packet, data, 0)
        self.assertIsNotNone(Connection(len(data)).next_packet(data, 0))


class FailedConnectTests(SynchronousTestCase):
    """v5 §3.1.4: who cannot be served is told so in the language it speaks."""

    def test_version_5_is_known_although_its_connect_is_malformed(self) -> None:
        """A client of version 5 whose will is malformed can be answered in version 5."""
        data = encode(Connect(V5, "c", will=Will("w/#", b"")), V5)
        connection = Connection()
        self.assertRaises(MalformedPacket, connection.next_packet, data, 0)
        self.assertIs(connection.version, V5)

    def test_version_5_is_known_although_its_connect_is_too_large(self) -> None:
        """The version may be known before the body has arrived."""
        data = encode(Connect(V5, "c", will=Will("w", b"x" * 65_000), username="u" * 60_000), V5)
        connection = Connection()
        self.assertRaises(PacketTooLarge, connection.next_packet, data[:20], 0)
        self.assertIs(connection.version, V5)

    def test_an_unknown_version_is_answered_in_3_1_1(self) -> None:
        """Level 6 is refused with the CONNACK that every client understands."""
        connection = Connection()
        error = self.assertRaises(Refused, connection.next_packet, b"\x10\x07\0\4MQTT\6", 0)
        self.assertIs(error.code, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
        self.assertIs(connection.version, V3)

    def test_an_empty_client_id_is_answered_in_its_version(self) -> None:
        """A client of 3.1 without an id gets the CONNACK of 3.1."""
        connection = Connection()
        data = encode(Connect(Version.V3_1, ""), Version.V3_1)
        self.assertRaises(Refused, connection.next_packet, data, 0)
        self.assertIs(connection.version, Version.V3_1)


class DecidingTests(SynchronousTestCase):
    """v5 §3.1.4: clients may send packets before they have seen the CONNACK."""

    def test_what_was_sent_ahead_waits(self) -> None:
        """While the verdict is pending nothing is read, and nothing is lost."""
        first = encode(Connect(V3, "c"), V3)
        data = first + encode(Publish("a", b"x"), V3)
        connection = Connection()
        connection.next_packet(data, 0)
        self.assertIsNone(connection.next_packet(data, len(first)))
        connection.accept()
        self.assertEqual((Publish("a", b"x"), len(data)), connection.next_packet(data, len(first)))

    def test_refused_is_the_end(self) -> None:
        """Whatever a refused client sent ahead is not looked at."""
        first = encode(Connect(V3, "c"), V3)
        connection = Connection()
        connection.next_packet(first, 0)
        connection.refuse()
        self.assertIs(connection.phase, Phase.CLOSED)
        self.assertIsNone(connection.next_packet(first + b"\xff\xff\xff\xff\xff\xff", len(first)))

    def test_a_verdict_without_a_question_is_a_mistake(self) -> None:
        """A verdict that comes twice, or after the end, must not bring a connection to life."""
        closed = connected()
        closed.close()
        for connection in (Connection(), connected(), closed):
            for verdict in (connection.accept, connection.refuse, connection.challenge):
                self.assertRaises(RuntimeError, verdict)


class ChallengedTests(SynchronousTestCase):
    """v5 §4.12"""

    def challenged(self) -> Connection:
        connection = Connection()
        connection.next_packet(encode(Connect(V5, "c", properties={**METHOD}), V5), 0)
        connection.challenge()
        return connection

    def test_an_answer_goes_to_the_broker(self) -> None:
        """An AUTH is decided like the CONNECT, until the client is accepted."""
        connection = self.challenged()
        answer = Auth(ReasonCode.CONTINUE_AUTHENTICATION, {**METHOD})
        data = encode(answer, V5)
        self.assertEqual((answer, len(data)), connection.next_packet(data, 0))
        self.assertIs(connection.phase, Phase.DECIDING)
        connection.accept()
        self.assertIs(connection.phase, Phase.ACTIVE)

    def test_a_client_may_give_up(self) -> None:
        """DISCONNECT ends it."""
        connection = self.challenged()
        connection.next_packet(encode(Disconnect(), V5), 0)
        self.assertIs(connection.phase, Phase.CLOSED)

    def test_an_answer_is_no_larger_than_a_connect(self) -> None:
        """Whoever is not known yet gets no more memory for a challenge; told from the length alone."""
        for length, taken in ((99_000, True), (100_000, False)):
            header = b"\xf0" + encode_varint(length)
            if taken:
                self.assertIsNone(self.challenged().next_packet(header, 0))
            else:
                self.assertRaises(PacketTooLarge, self.challenged().next_packet, header, 0)

    def test_anything_else_is_a_protocol_error(self) -> None:
        """Before it is known, a client may do nothing (v5 [MQTT-3.1.2-30])."""
        for packet in [*FROM_CLIENTS, *FROM_SERVERS, Connect(V5, "c")]:
            self.assertRaises(ProtocolError, self.challenged().next_packet, encode(packet, V5), 0)


class ActiveTests(SynchronousTestCase):
    """What a client may send once it is accepted."""

    def test_packets_of_clients_are_handed_out(self) -> None:
        """Everything a client may send comes out, in every version, and the connection stays."""
        for version in Version:
            connection = connected(version)
            for packet in FROM_CLIENTS:
                data = encode(packet, version)
                self.assertEqual((packet, len(data)), connection.next_packet(data, 0))
            self.assertIs(connection.phase, Phase.ACTIVE)

    def test_packets_of_servers_are_protocol_errors(self) -> None:
        """A client that plays the server is turned away by its first byte, in every version."""
        for version in Version:
            for packet in FROM_SERVERS:
                data = encode(packet, version)[:1]
                self.assertRaises(ProtocolError, connected(version).next_packet, data, 0)

    def test_a_second_connect_is_a_protocol_error(self) -> None:
        """A client introduces itself once (v3 and v5 [MQTT-3.1.0-2])."""
        for version in Version:
            data = encode(Connect(version, "c"), version)
            self.assertRaises(ProtocolError, connected(version).next_packet, data, 0)

    def test_packet_type_0_is_a_protocol_error(self) -> None:
        """There is no such packet."""
        self.assertRaises(ProtocolError, connected().next_packet, b"\0\0", 0)

    def test_disconnect_is_the_last_packet(self) -> None:
        """What a client sends after DISCONNECT is not looked at (v3 [MQTT-3.14.4-2], v5 [MQTT-3.14.4-1])."""
        for version in Version:
            connection = connected(version)
            data = encode(Disconnect(), version) + encode(Pingreq(), version)
            self.assertEqual((Disconnect(), 2), connection.next_packet(data, 0))
            self.assertIs(connection.phase, Phase.CLOSED)
            self.assertIsNone(connection.next_packet(data, 2))

    def test_half_a_disconnect_ends_nothing(self) -> None:
        """The phase moves with whole packets only."""
        connection = connected()
        self.assertIsNone(connection.next_packet(b"\xe0", 0))
        self.assertIs(connection.phase, Phase.ACTIVE)

    def test_re_authentication(self) -> None:
        """A client of version 5 may authenticate again at any time (v5 §4.12.1)."""
        packet = Auth(ReasonCode.RE_AUTHENTICATE, {**METHOD})
        data = encode(packet, V5)
        self.assertEqual((packet, len(data)), connected(V5).next_packet(data, 0))

    def test_auth_before_version_5_is_a_protocol_error(self) -> None:
        """Version 3 knows no AUTH."""
        for version in (Version.V3_1, V3):
            self.assertRaises(ProtocolError, connected(version).next_packet, b"\xf0\0", 0)

    def test_auth_with_success_is_for_servers(self) -> None:
        """A client cannot declare itself authenticated (v5 §3.15.2.1)."""
        for data in (encode(Auth(), V5), encode(Auth(properties={**METHOD}), V5)):
            self.assertRaises(ProtocolError, connected(V5).next_packet, data, 0)

    def test_subscription_identifier_is_for_servers(self) -> None:
        """A client's PUBLISH with a subscription identifier is refused (v5 [MQTT-3.3.4-6])."""
        packet = Publish("a", qos=QoS(1), packet_id=1, properties={PropertyId.SUBSCRIPTION_IDENTIFIER: [1]})
        self.assertRaises(ProtocolError, connected(V5).next_packet, encode(packet, V5), 0)

    def test_other_properties_of_a_publish_pass(self) -> None:
        """What a client may say of its message is handed out."""
        packet = Publish("a", properties={PropertyId.CONTENT_TYPE: "text/plain"})
        data = encode(packet, V5)
        self.assertEqual((packet, len(data)), connected(V5).next_packet(data, 0))

    def test_the_limit_holds(self) -> None:
        """A packet above the limit is refused by its length, before its body."""
        connection = connected(max_packet_bytes=100)
        self.assertRaises(PacketTooLarge, connection.next_packet, b"\x30\x63", 0)
        self.assertIsNone(connection.next_packet(b"\x30\x62", 0))

    def test_many_packets_in_one_buffer(self) -> None:
        """One read of the network is walked packet by packet."""
        packets: list[Packet] = [Publish("a", b"x"), Pingreq(), Puback(7), Publish("b", b"y" * 300)]
        data = b"".join(encode(packet, V3) for packet in packets)
        connection, at, seen = connected(), 0, []
        while (read := connection.next_packet(data, at)) is not None:
            packet, at = read
            seen.append(packet)
        self.assertEqual((packets, len(data)), (seen, at))


class TransitionTests(SynchronousTestCase):
    """The table itself."""

    def test_every_phase_has_its_row(self) -> None:
        """No phase was forgotten."""
        self.assertEqual(set(Phase), set(TRANSITIONS))

    def test_only_a_connect_opens(self) -> None:
        """No packet leads to ACTIVE but from ACTIVE: only a verdict does."""
        for phase, row in TRANSITIONS.items():
            if phase is not Phase.ACTIVE:
                self.assertNotIn(Phase.ACTIVE, row.values())

    def test_close_is_harmless_at_any_time(self) -> None:
        """Closing twice is closing once."""
        connection = connected()
        connection.close()
        connection.close()
        self.assertIs(connection.phase, Phase.CLOSED)

    def test_a_connection_is_small(self) -> None:
        """There may be a hundred thousand of them: three fields and no dictionary."""
        self.assertFalse(hasattr(Connection(), "__dict__"))
        self.assertLessEqual(sys.getsizeof(Connection()), 64)

    @settings(deadline=None, max_examples=300)
    @given(
        st.sampled_from(Version),
        st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(FROM_CLIENTS)), max_size=6),
        st.lists(st.integers(0, 60), max_size=6),
    )
    def test_any_stream_gives_packets_or_an_mqtt_error(
        self, version: Version, stream: list[bytes | Packet], cuts: list[int]
    ) -> None:
        """Whatever comes, cut wherever: packets of known types, ``None``, or an `MQTTError`."""
        data = b"".join(part if isinstance(part, bytes) else encode(part, version) for part in stream)
        connection, at = connected(version), 0
        allowed = {PacketType(kind).name for kind in TRANSITIONS[Phase.ACTIVE]}
        try:
            for size in [*sorted(cuts), len(data)]:
                while (read := connection.next_packet(data[: max(size, at)], at)) is not None:
                    packet, at = read
                    self.assertIn(type(packet).__name__.upper(), allowed)
        except MQTTError:
            pass
        self.assertLessEqual(at, len(data))
