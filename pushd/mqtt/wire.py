"""
The data types of the wire (v3 §1.5, v5 §1.5): integers, strings, binary data.

Every ``decode_…(data, at, end)`` reads one value that starts at offset `at`, and looks at nothing from offset
`end` on: that is where its packet ends, whatever the lengths inside the packet claim. It returns
``(value, next_offset)`` and raises `MalformedPacket` when the value does not fit.

Every ``encode_…`` raises `ValueError` for a value that the wire cannot carry: that is a mistake of ours, not
of a peer.
"""

from __future__ import annotations

from pushd.mqtt.errors import MalformedPacket

MAX_VARINT = 268_435_455  # four bytes of seven bits (v5 §1.5.5)
MAX_STRING_BYTES = 65_535  # a length has two bytes (v5 §1.5.4)


def decode_byte(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read one byte."""
    if at >= end:
        raise MalformedPacket("a byte is missing")
    return data[at], at + 1


def decode_u16(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a Two Byte Integer, most significant byte first (v5 §1.5.2)."""
    if at + 2 > end:
        raise MalformedPacket("a two byte integer is cut short")
    return data[at] << 8 | data[at + 1], at + 2


def decode_u32(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a Four Byte Integer, most significant byte first (v5 §1.5.3)."""
    if at + 4 > end:
        raise MalformedPacket("a four byte integer is cut short")
    return int.from_bytes(data[at : at + 4], "big"), at + 4


def decode_length(data: bytes, at: int) -> tuple[int, int] | None:
    """
    Read a Remaining Length as version 3 has it: up to four bytes, of which the last may be superfluous zeros.

    :return: ``(value, next_offset)``, or ``None`` while the last byte has not arrived.
    :raises MalformedPacket: the fourth byte still announces another (v3 §2.2.3).
    """
    value = 0
    for index, byte in enumerate(data[at : at + 4]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    if len(data) - at >= 4:
        raise MalformedPacket("a variable byte integer of more than four bytes")
    return None


def count_packets(data: bytes, at: int = 0) -> int:
    """How many of the packets that `data` consists of end behind the offset `at`."""
    count = start = 0
    while start < len(data):
        decoded = decode_length(data, start + 1)
        end = len(data) if decoded is None else sum(decoded)
        count += end > at
        start = end
    return count


def decode_varint(data: bytes, at: int) -> tuple[int, int] | None:
    """
    Read one Variable Byte Integer (v5 §1.5.5).

    :param at: offset of its first byte in `data`; `data` is not consumed.
    :return: ``(value, next_offset)``, 0 <= value <= 268_435_455, or ``None`` while the last byte has not
        arrived.
    :raises MalformedPacket: 0x81, the fourth byte still announces another, or fewer bytes would have done.
    """
    decoded = decode_length(data, at)
    if decoded is not None and decoded[1] - at != varint_size(decoded[0]):
        raise MalformedPacket("a variable byte integer in more bytes than it needs")  # v5 [MQTT-1.5.5-1]
    return decoded


def decode_varint_within(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a Variable Byte Integer that must end before its packet does."""
    decoded = decode_varint(data, at)
    if decoded is None or decoded[1] > end:
        raise MalformedPacket("a variable byte integer is cut short")
    return decoded


def decode_binary(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Read Binary Data: two bytes of length, then as many bytes (v5 §1.5.6)."""
    start = at + 2
    if start > end:
        raise MalformedPacket("a length is cut short")
    stop = start + (data[at] << 8 | data[at + 1])
    if stop > end:
        raise MalformedPacket("a length reaches beyond its packet")
    return data[start:stop], stop


def decode_string(data: bytes, at: int, end: int) -> tuple[str, int]:
    """
    Read a UTF-8 Encoded String (v3 §1.5.3, v5 §1.5.4).

    U+FEFF stays where it is (v3 [MQTT-1.5.3-3], v5 [MQTT-1.5.4-3]). Control characters and non-characters
    "should not" be there, which is no reason to end a connection.
    """
    encoded, at = decode_binary(data, at, end)
    return decode_text(encoded), at


def decode_pair(data: bytes, at: int, end: int) -> tuple[tuple[str, str], int]:
    """Read a UTF-8 String Pair (v5 §1.5.7)."""
    name, at = decode_string(data, at, end)
    value, at = decode_string(data, at, end)
    return (name, value), at


def decode_text(encoded: bytes) -> str:
    """Decode the bytes of a UTF-8 Encoded String, its length already taken off."""
    try:
        # Python's decoder refuses surrogates and overlong forms, too: v3 [MQTT-1.5.3-1], v5 [MQTT-1.5.4-1].
        text = encoded.decode()
    except UnicodeDecodeError as error:
        raise MalformedPacket("ill-formed UTF-8") from error
    if "\0" in text:
        raise MalformedPacket("U+0000 in a string")  # v3 [MQTT-1.5.3-2], v5 [MQTT-1.5.4-2]
    return text


def text_fault(text: str) -> str | None:
    """Say why `text` cannot be a UTF-8 Encoded String, or ``None`` if it can be."""
    if "\0" in text:
        return "U+0000 in a string"
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        return "a surrogate in a string"
    return "a string of more than 65535 bytes" if size > MAX_STRING_BYTES else None


def check_text(text: str) -> None:
    """Raise `MalformedPacket` for text, from a certificate or an HTTP request say, that MQTT cannot carry."""
    fault = text_fault(text)
    if fault is not None:
        raise MalformedPacket(fault)


def varint_size(value: int) -> int:
    """How many bytes `value` takes as a Variable Byte Integer."""
    return 1 if value < 0x80 else 2 if value < 0x4000 else 3 if value < 0x20_0000 else 4


def encode_varint(value: int) -> bytes:
    """Write a Variable Byte Integer in as few bytes as possible (v5 [MQTT-1.5.5-1])."""
    if 0 <= value < 0x80:
        return value.to_bytes(1, "big")
    if not 0 <= value <= MAX_VARINT:
        raise ValueError(f"{value} does not fit a variable byte integer")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_byte(value: int) -> bytes:
    """Write one byte."""
    return _encode_integer(value, 1)


def encode_u16(value: int) -> bytes:
    """Write a Two Byte Integer."""
    return _encode_integer(value, 2)


def encode_u32(value: int) -> bytes:
    """Write a Four Byte Integer."""
    return _encode_integer(value, 4)


def _encode_integer(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise ValueError(f"{value} does not fit {size} bytes") from None


def encode_binary(value: bytes) -> bytes:
    """Write Binary Data with its length in front."""
    if len(value) > MAX_STRING_BYTES:
        raise ValueError(f"{len(value)} bytes are more than a length of two bytes can say")
    return len(value).to_bytes(2, "big") + value


def encode_string(text: str) -> bytes:
    """Write a UTF-8 Encoded String with its length in front. A surrogate is a `UnicodeEncodeError`."""
    if "\0" in text:
        raise ValueError("U+0000 in a string")
    return encode_binary(text.encode())


def encode_pair(pair: tuple[str, str]) -> bytes:
    """Write a UTF-8 String Pair."""
    return encode_string(pair[0]) + encode_string(pair[1])
