"""What the byte vectors cannot say of the writer: mapping to version 3, and what it refuses to write."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import ConnectReturnCode, PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
)
from pushd.mqtt.reader import read_packet
from pushd.mqtt.writer import connect_return_code, encode, encode_ack

V3_1, V3, V5 = Version.V3_1, Version.V3_1_1, Version.V5


class ConnectReturnCodeTests(SynchronousTestCase):
    """v3 §3.2.2.3"""

    def test_table(self) -> None:
        """Each reason becomes the return code that says most of it."""
        expected = {
            ReasonCode.SUCCESS: 0,
            ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: 1,
            ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: 2,
            ReasonCode.SERVER_UNAVAILABLE: 3,
            ReasonCode.SERVER_BUSY: 3,
            ReasonCode.SERVER_SHUTTING_DOWN: 3,
            ReasonCode.QUOTA_EXCEEDED: 3,
            ReasonCode.BAD_USER_NAME_OR_PASSWORD: 4,
            ReasonCode.NOT_AUTHORIZED: 5,
            ReasonCode.BANNED: 5,
            ReasonCode.PROTOCOL_ERROR: 5,
        }
        self.assertEqual(expected, {code: connect_return_code(code) for code in expected})

    def test_a_failure_never_becomes_accepted(self) -> None:
        """Whatever the reason, a client that was refused is told so."""
        for code in ReasonCode:
            accepted = connect_return_code(code) is ConnectReturnCode.ACCEPTED
            self.assertEqual(accepted, code is ReasonCode.SUCCESS)

    def test_every_return_code_comes_back(self) -> None:
        """Reader and writer agree on what each return code means."""
        for value in ConnectReturnCode:
            data = bytes([0x20, 2, 0, value])
            read = read_packet(data, 0, V3, 0)
            assert read is not None
            self.assertEqual(data, encode(read[0], V3))


class VersionThreeTests(SynchronousTestCase):
    """What version 3 cannot say is left out."""

    def test_session_present_is_reserved_in_3_1(self) -> None:
        """3.1 clients get a zero there; 3.1.1 clients the flag."""
        self.assertEqual(b"\x20\2\0\0", encode(Connack(True), V3_1))
        self.assertEqual(b"\x20\2\1\0", encode(Connack(True), V3))

    def test_a_refusal_has_no_session(self) -> None:
        """Session present is never set beside a failure (v3 [MQTT-3.2.2-4], v5 [MQTT-3.2.2-6])."""
        packet = Connack(True, ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(b"\x20\2\0\5", encode(packet, V3))
        self.assertEqual(b"\x20\3\0\x87\0", encode(packet, V5))

    def test_failed_subscriptions_are_0x80(self) -> None:
        """Each refusal becomes the one failure code that version 3 has (v3 §3.9.3)."""
        packet = Suback(1, [ReasonCode.GRANTED_QOS_2, ReasonCode.NOT_AUTHORIZED, ReasonCode.QUOTA_EXCEEDED])
        self.assertEqual(b"\x90\5\0\1\2\x80\x80", encode(packet, V3))

    def test_codes_and_properties_disappear(self) -> None:
        """A packet made for version 5 is written as version 3 knows it."""
        why = {PropertyId.REASON_STRING: "why"}
        packets: dict[bytes, Packet] = {
            b"\x40\2\0\1": Puback(1, ReasonCode.QUOTA_EXCEEDED, {**why}),
            b"\xb0\2\0\1": Unsuback(1, [ReasonCode.SUCCESS], {**why}),
            b"\xe0\0": Disconnect(ReasonCode.SESSION_TAKEN_OVER, {**why}),
            b"\x30\4\0\1ax": Publish("a", b"x", properties={PropertyId.CONTENT_TYPE: "text"}),
        }
        for data, packet in packets.items():
            self.assertEqual(data, encode(packet, V3))

    def test_subscription_options_disappear(self) -> None:
        """Of the options only the QoS is left."""
        request = SubscriptionRequest("a", QoS(1), no_local=True, retain_as_published=True)
        self.assertEqual(b"\x82\6\0\1\0\1a\1", encode(Subscribe(1, [request]), V3))


class AckTests(SynchronousTestCase):
    """v3 and v5 §3.4 to §3.7"""

    def test_the_short_way_writes_the_same_bytes(self) -> None:
        """`encode_ack` and `encode` agree in every version, for the ends of the range."""
        for packet_id in (1, 255, 256, 65535):
            for version in Version:
                self.assertEqual(encode(Puback(packet_id), version), encode_ack(0x40, packet_id))
                self.assertEqual(encode(Pubrec(packet_id), version), encode_ack(0x50, packet_id))
                self.assertEqual(encode(Pubrel(packet_id), version), encode_ack(0x62, packet_id))
                self.assertEqual(encode(Pubcomp(packet_id), version), encode_ack(0x70, packet_id))


class UnwritableTests(SynchronousTestCase):
    """Mistakes of ours are found before they reach a peer."""

    def test_what_the_wire_cannot_carry(self) -> None:
        """Too long, out of range, or no text: a `ValueError`, in every version."""
        packets: list[Packet] = [
            Publish("a" * 65536),
            Publish("a\0"),
            Publish("\ud800"),
            Publish("a", qos=QoS(1), packet_id=65536),
            Connect(V3, "c", keep_alive_s=65536),
            Connect(V5, "c", password=b"x" * 65536),
        ]
        for packet in packets:
            for version in Version:
                self.assertRaises(ValueError, encode, packet, version)

    def test_packet_identifier_0(self) -> None:
        """A packet that needs an identifier is not written without one."""
        packets: list[Packet] = [
            Publish("a", qos=QoS(1)),
            Puback(0),
            Subscribe(0, [SubscriptionRequest("a")]),
        ]
        for packet in packets:
            self.assertRaises(ValueError, encode, packet, V3)

    def test_auth_before_version_5(self) -> None:
        """Version 3 has no AUTH."""
        for version in (V3_1, V3):
            self.assertRaises(ValueError, encode, Auth(), version)
