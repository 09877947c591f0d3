"""v3 §1.5, v5 §1.5: the data types, each read at the edge of its packet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt import wire
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.wire import (
    MAX_VARINT,
    count_packets,
    decode_length,
    decode_string,
    decode_varint,
    encode_varint,
)

encodable = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)

# v5 table 1-1: the smallest and the largest value of each size.
VARINTS = {
    0: "00",
    127: "7F",
    128: "80 01",
    16_383: "FF 7F",
    16_384: "80 80 01",
    2_097_151: "FF FF 7F",
    2_097_152: "80 80 80 01",
    268_435_455: "FF FF FF 7F",
}


class CountPacketsTests(SynchronousTestCase):
    """v5 §2.1: each packet says how long it is."""

    PACKETS = (b"\xd0\x00", b"\x40\x02\x00\x01", b"\x30\xc8\x01" + bytes(200))

    def test_all(self) -> None:
        """Every packet counts once, whatever its size."""
        self.assertEqual((0, 3), (count_packets(b""), count_packets(b"".join(self.PACKETS))))

    def test_the_rest(self) -> None:
        """Of one that has left in part the rest counts, of one that has left as a whole nothing."""
        data = b"".join(self.PACKETS)
        counts = [count_packets(data, at) for at in (0, 1, 2, 5, 6, len(data) - 1, len(data))]
        self.assertEqual([3, 3, 2, 2, 1, 1, 0], counts)


class DecodeVarintTests(SynchronousTestCase):
    """v5 §1.5.5"""

    def test_table_of_the_standard(self) -> None:
        """The bounds of each size are read and written as the standard prints them."""
        for value, encoded in VARINTS.items():
            data = bytes.fromhex(encoded)
            self.assertEqual((value, len(data)), decode_varint(data, 0))
            self.assertEqual(data, encode_varint(value))

    def test_fifth_byte_is_malformed(self) -> None:
        """A length whose fourth byte announces a fifth ends the connection with 0x81."""
        error = self.assertRaises(MalformedPacket, decode_varint, b"\x80\x80\x80\x80\x01", 0)
        self.assertIs(error.code, ReasonCode.MALFORMED_PACKET)

    def test_fourth_byte_need_not_wait_for_a_fifth(self) -> None:
        """The fourth byte tells already that the number is malformed."""
        self.assertRaises(MalformedPacket, decode_varint, b"\xff\xff\xff\xff", 0)

    def test_incomplete_is_none(self) -> None:
        """While the last byte has not arrived there is no number, and no error."""
        for data in (b"", b"\x80", b"\xff\xff", b"\x80\x80\x80"):
            self.assertIsNone(decode_varint(data, 0))

    def test_more_bytes_than_needed_are_malformed(self) -> None:
        """A number in more bytes than it needs is refused, wherever the zeros hide."""
        for data in (b"\x80\x00", b"\xff\x00", b"\x80\x80\x00", b"\x81\x80\x80\x00"):
            self.assertRaises(MalformedPacket, decode_varint, data, 0)

    def test_version_3_takes_superfluous_zeros(self) -> None:
        """A Remaining Length of version 3 may be longer than it needs to be."""
        self.assertEqual((1, 4), decode_length(b"\x81\x80\x80\x00", 0))
        self.assertRaises(MalformedPacket, decode_length, b"\x81\x80\x80\x80\x00", 0)

    def test_bytes_behind_the_packet_are_not_part_of_it(self) -> None:
        """A number that ends in the next packet is malformed, though its bytes are there."""
        self.assertEqual((128, 2), wire.decode_varint_within(b"\x80\x01", 0, 2))
        self.assertRaises(MalformedPacket, wire.decode_varint_within, b"\x80\x01", 0, 1)
        self.assertRaises(MalformedPacket, wire.decode_varint_within, b"\x80", 0, 1)

    @given(st.integers(0, MAX_VARINT), st.binary(max_size=5), st.binary(max_size=5))
    def test_round_trip(self, value: int, before: bytes, after: bytes) -> None:
        """Every number comes back, wherever it stands, and nothing else is looked at."""
        data = before + encode_varint(value)
        self.assertEqual((value, len(data)), decode_varint(data + after, len(before)))
        self.assertEqual(len(data) - len(before), wire.varint_size(value))

    def test_numbers_that_do_not_fit(self) -> None:
        """We do not write what nobody could read."""
        for value in (-1, MAX_VARINT + 1):
            self.assertRaises(ValueError, encode_varint, value)


class IntegerTests(SynchronousTestCase):
    """v5 §1.5.2, §1.5.3"""

    def test_most_significant_byte_first(self) -> None:
        """Integers are big-endian."""
        self.assertEqual((0x12, 1), wire.decode_byte(b"\x12", 0, 1))
        self.assertEqual((0x1234, 2), wire.decode_u16(b"\x12\x34", 0, 2))
        self.assertEqual((0x12345678, 4), wire.decode_u32(b"\x12\x34\x56\x78", 0, 4))

    def test_the_end_of_the_packet_is_the_end(self) -> None:
        """An integer never takes bytes of the next packet."""
        for decode, size in ((wire.decode_byte, 1), (wire.decode_u16, 2), (wire.decode_u32, 4)):
            for end in range(size):
                self.assertRaises(MalformedPacket, decode, b"\1\2\3\4\5\6", 0, end)

    def test_integers_that_do_not_fit(self) -> None:
        """Writing a number that needs more room is our mistake, and named."""
        for encode, value in ((wire.encode_byte, 256), (wire.encode_u16, 65536), (wire.encode_u32, 1 << 32)):
            self.assertRaises(ValueError, encode, value)
            self.assertRaises(ValueError, encode, -1)
            self.assertEqual(value - 1, int.from_bytes(encode(value - 1), "big"))


class StringTests(SynchronousTestCase):
    """v3 §1.5.3, v5 §1.5.4, §1.5.6, §1.5.7"""

    def test_ill_formed_utf8_is_malformed(self) -> None:
        """Surrogates, overlong forms and half sequences end the connection."""
        for encoded in (
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xc0\x80",
            b"\xc0\xaf",
            b"\xc3",
            b"\xff",
            b"\xf4\x90\x80\x80",
        ):
            self.assertRaises(MalformedPacket, decode_string, b"\0" + bytes([len(encoded)]) + encoded, 0, 9)

    def test_null_is_malformed(self) -> None:
        """U+0000 is in no string."""
        self.assertRaises(MalformedPacket, decode_string, b"\0\3a\0b", 0, 5)
        self.assertRaises(ValueError, wire.encode_string, "a\0b")

    def test_byte_order_mark_is_kept(self) -> None:
        """U+FEFF is a character, at the beginning too."""
        self.assertEqual(("\ufeffa", 6), decode_string(b"\0\4\xef\xbb\xbfa", 0, 6))

    def test_control_characters_are_allowed(self) -> None:
        """What "should not" be sent is taken nevertheless."""
        self.assertEqual(("\x01\x1f\x7f", 5), decode_string(b"\0\3\x01\x1f\x7f", 0, 5))

    def test_length_beyond_the_packet_is_malformed(self) -> None:
        """A length is believed only as far as the packet goes."""
        for decode in (wire.decode_string, wire.decode_binary):
            for end in range(4):
                self.assertRaises(MalformedPacket, decode, b"\0\2ab", 0, end)

    def test_too_long_for_the_wire(self) -> None:
        """65535 bytes can be said, 65536 cannot."""
        self.assertEqual(65537, len(wire.encode_binary(b"x" * 65535)))
        self.assertRaises(ValueError, wire.encode_binary, b"x" * 65536)
        self.assertRaises(ValueError, wire.encode_string, "é" * 32768)
        self.assertRaises(ValueError, wire.encode_string, "\ud800")

    @given(encodable, encodable)
    def test_round_trip(self, name: str, value: str) -> None:
        """Every text comes back as it was, as does a pair of texts."""
        data = wire.encode_pair((name, value))
        self.assertEqual(((name, value), len(data)), wire.decode_pair(data, 0, len(data)))

    @given(st.binary(max_size=70), st.integers(0, 70), st.integers(0, 70))
    def test_any_bytes_give_a_value_or_an_error(self, data: bytes, at: int, end: int) -> None:
        """No bytes and no bounds make a decoder read outside of its packet, or raise anything of its own."""
        end = min(end, len(data))
        decoders: list[Callable[[bytes, int, int], tuple[Any, int]]] = [
            wire.decode_byte,
            wire.decode_u16,
            wire.decode_u32,
            wire.decode_binary,
            wire.decode_string,
            wire.decode_pair,
            wire.decode_varint_within,
        ]
        for decode in decoders:
            try:
                _, stop = decode(data, at, end)
            except MalformedPacket:
                continue
            self.assertTrue(at < stop <= end)


class CheckTextTests(SynchronousTestCase):
    """Text that did not come from the wire: a certificate's name, a topic in a URL."""

    def test_what_cannot_be_said(self) -> None:
        """U+0000, surrogates and more than 65535 bytes are refused with 0x81."""
        for text in ("a\0", "\ud83d", "a" * 65536, "é" * 32768):
            error = self.assertRaises(MalformedPacket, wire.check_text, text)
            self.assertIs(error.code, ReasonCode.MALFORMED_PACKET)

    @given(encodable)
    def test_what_can_be_said(self, text: str) -> None:
        """Text that passes can be written."""
        wire.check_text(text)
        wire.encode_string(text)
