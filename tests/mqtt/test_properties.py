"""v5 §2.2.2: the table of properties, and the lists made by it. Byte vectors: ``packets_properties.json``."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import PacketType, PropertyId, ReasonCode
from pushd.mqtt.errors import MalformedPacket, MQTTError, ProtocolError
from pushd.mqtt.properties import RULES, WILL, Place, decode_properties, encode_properties
from pushd.mqtt.wire import encode_varint

PLACES: list[Place] = [*PacketType, WILL]

# v5 table 2-4, its last column once more: a table is checked against another one, made independently.
ALLOWED = """
01 PUBLISH WILL
02 PUBLISH WILL
03 PUBLISH WILL
08 PUBLISH WILL
09 PUBLISH WILL
0B PUBLISH SUBSCRIBE
11 CONNECT CONNACK DISCONNECT
12 CONNACK
13 CONNACK
15 CONNECT CONNACK AUTH
16 CONNECT CONNACK AUTH
17 CONNECT
18 WILL
19 CONNECT
1A CONNACK
1C CONNACK DISCONNECT
1F CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH
21 CONNECT CONNACK
22 CONNECT CONNACK
23 PUBLISH
24 CONNACK
25 CONNACK
26 CONNECT CONNACK PUBLISH WILL PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK \
   DISCONNECT AUTH
27 CONNECT CONNACK
28 CONNACK
29 CONNACK
2A CONNACK
"""

# A value for each property, as bytes.
SAMPLES = {
    0x01: "01",
    0x02: "00000001",
    0x03: "0001 61",
    0x08: "0001 61",
    0x09: "0001 61",
    0x0B: "01",
    0x11: "00000001",
    0x12: "0001 61",
    0x13: "0001",
    0x15: "0001 61",
    0x16: "0001 61",
    0x17: "01",
    0x18: "00000001",
    0x19: "01",
    0x1A: "0001 61",
    0x1C: "0001 61",
    0x1F: "0001 61",
    0x21: "0001",
    0x22: "0001",
    0x23: "0001",
    0x24: "01",
    0x25: "01",
    0x26: "0001 61 0001 62",
    0x27: "00000001",
    0x28: "01",
    0x29: "01",
    0x2A: "01",
}


def property_list(*identifiers: int) -> bytes:
    """A property list of sample values."""
    body = b"".join(bytes([each]) + bytes.fromhex(SAMPLES[each]) for each in identifiers)
    return bytes([len(body)]) + body


def is_taken(data: bytes, where: Place) -> bool:
    try:
        decode_properties(data, 0, len(data), where)
    except ProtocolError:
        return False
    return True


class RuleTests(SynchronousTestCase):
    """v5 §2.2.2.2"""

    def test_every_property_has_a_rule(self) -> None:
        """All 27 are known, and nothing else is."""
        self.assertEqual({each.value for each in PropertyId}, {int(each) for each in RULES})
        self.assertEqual(27, len(RULES))

    def test_properties_stand_where_table_2_4_puts_them(self) -> None:
        """Each property is taken in the packets the standard names, and refused in all others."""
        for line in ALLOWED.split("\n")[1:-1]:
            identifier, *names = line.split()
            data = property_list(int(identifier, 16))
            taken = {str(getattr(where, "name", where)) for where in PLACES if is_taken(data, where)}
            self.assertEqual(set(names), taken, identifier)

    def test_only_two_properties_repeat(self) -> None:
        """A User Property may come twice anywhere, a Subscription Identifier in a PUBLISH."""
        repeating = {
            (each, where)
            for each in SAMPLES
            for where in RULES[each].places
            if is_taken(property_list(each, each), where)
        }
        everywhere = {(0x26, where) for where in RULES[0x26].places}
        self.assertEqual(everywhere | {(0x0B, PacketType.PUBLISH)}, repeating)

    def test_misplaced_is_0x82(self) -> None:
        """The peer is told of a Protocol Error, as Mosquitto tells it."""
        data = property_list(PropertyId.TOPIC_ALIAS)
        error = self.assertRaises(ProtocolError, decode_properties, data, 0, len(data), PacketType.CONNECT)
        self.assertIs(error.code, ReasonCode.PROTOCOL_ERROR)

    def test_numbers_out_of_bounds_are_protocol_errors(self) -> None:
        """Zero or two where the standard wants one is refused, everywhere the property may stand."""
        zero = {"0B00", "210000", "230000", "2700000000"}
        two = {"0102", "1702", "1902", "2402", "2502", "2802", "2902", "2A02"}
        for each in sorted(zero | two):
            body = bytes.fromhex(each)
            for where in RULES[body[0]].places:
                self.assertFalse(is_taken(bytes([len(body)]) + body, where), each)


class DecodePropertiesTests(SynchronousTestCase):
    """v5 §2.2.2.1"""

    def test_reading_stops_at_the_length(self) -> None:
        """What stands behind the list is not part of it."""
        data = b"\xff" + property_list(0x01) + b"payload"
        read = decode_properties(data, 1, len(data), PacketType.PUBLISH)
        self.assertEqual(({PropertyId.PAYLOAD_FORMAT_INDICATOR: 1}, 4), read)

    def test_the_end_of_the_packet_is_the_end(self) -> None:
        """Cut anywhere, a list is malformed, though more bytes follow in the buffer."""
        data = property_list(0x26, 0x02, 0x09)
        for end in range(len(data)):
            self.assertRaises(MalformedPacket, decode_properties, data, 0, end, PacketType.PUBLISH)

    def test_identifiers_that_do_not_exist(self) -> None:
        """Every byte that is no identifier is malformed, in every place."""
        for identifier in set(range(256)) - set(SAMPLES):
            data = bytes([9, identifier, 0, 0, 0, 0, 0, 0, 0, 0])
            for where in PLACES:
                self.assertRaises(MalformedPacket, decode_properties, data, 0, len(data), where)

    def test_order_is_kept(self) -> None:
        """Properties stay in the order they came in, user properties among themselves too."""
        data = property_list(0x26, 0x02, 0x26, 0x01)
        properties, _ = decode_properties(data, 0, len(data), PacketType.PUBLISH)
        self.assertEqual([0x26, 0x02, 0x01], list(properties))
        self.assertEqual([("a", "b"), ("a", "b")], properties[PropertyId.USER_PROPERTY])

    def test_ten_times_the_properties_take_ten_times_the_time(self) -> None:
        """Thousands of user properties are read in proportion to their number, not to its square."""

        def seconds(count: int) -> float:
            body = bytes.fromhex("26" + SAMPLES[0x26]) * count
            data = encode_varint(len(body)) + body
            started = time.process_time()
            decode_properties(data, 0, len(data), PacketType.PUBLISH)
            return time.process_time() - started

        few = min(seconds(2_000) for _ in range(3))
        many = min(seconds(20_000) for _ in range(3))
        self.assertLess(many, 50 * few)

    def test_errors_do_not_repeat_what_was_sent(self) -> None:
        """What ends up in a log holds nothing that a peer has chosen."""
        for body in (b"\x1f\0\x06secret\x1f\0\1x", b"\x03\0\x06secret", b"\x1f\0\x07secret\xff"):
            data = bytes([len(body)]) + body
            error = self.assertRaises(MQTTError, decode_properties, data, 0, len(data), PacketType.CONNACK)
            self.assertNotIn("secret", str(error))


class EncodePropertiesTests(SynchronousTestCase):
    """v5 §2.2.2.1"""

    def test_none_is_a_length_of_zero(self) -> None:
        """No properties are said, not left out (v5 [MQTT-2.2.2-1])."""
        self.assertEqual(b"\0", encode_properties({}))

    def test_every_property_comes_back(self) -> None:
        """What was read from a sample is written as the same bytes."""
        for identifier in SAMPLES:
            data = property_list(identifier)
            (where, *_) = RULES[identifier].places
            properties, _ = decode_properties(data, 0, len(data), where)
            self.assertEqual(data, encode_properties(properties))

    def test_a_value_that_does_not_fit(self) -> None:
        """A number too large or a text too long is our mistake, and named."""
        self.assertRaises(ValueError, encode_properties, {PropertyId.TOPIC_ALIAS: 65536})
        self.assertRaises(ValueError, encode_properties, {PropertyId.REASON_STRING: "x" * 65536})
