"""
WebSocket frames (RFC 6455 §5): bytes in, a stream of bytes and control frames out, and the way back.

MQTT takes no notice of where frames begin and end (v5 [MQTT-6.0.0-2]), so neither does this: the payload of
data frames is passed on as it arrives, whole frame or not. Nothing of a data frame is kept, and a frame may
claim any length; what must fit into memory is the MQTT packet, which has a limit of its own. Kept are at most
a header that is not whole yet, and a control frame.

wsproto, which does the opening handshake, has a reader of frames as well. It takes 6.3 µs for a frame of 115
bytes; a saturated publisher's messages come in one such frame each, and all the rest that pushd does for one
costs 0.3 to 2 µs. `pushd.transports.small_frames` takes 0.3 to 0.7 µs, and this reader what that one leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from wsproto.frame_protocol import CloseReason, XorMaskerSimple

from pushd.transports.small_frames import take_small_frames

MAX_CONTROL_BYTES = 125  # payload of a control frame (§5.5)

_FINAL, _RESERVED, _MASKED = 0x80, 0x70, 0x80

# What a close frame may say (§7.4); 1004 to 1006 and 1015 are never sent, below 3000 only what has a meaning.
_MEANINGS = frozenset({*range(1000, 1004), *range(1007, 1015)})

_NO_MASKER = XorMaskerSimple(bytes(4))  # between frames; an idle connection shall not hold one of its own


class Opcode(IntEnum):
    """What a frame is (§5.2). Control frames have the fourth bit."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class FrameError(Exception):
    """Bytes that are no frames, or not such as a client of MQTT sends. `code` is what the peer is told."""

    def __init__(self, cause: str, code: CloseReason = CloseReason.PROTOCOL_ERROR) -> None:
        super().__init__(cause)
        self.code = code


class Control(NamedTuple):
    """A control frame, unmasked."""

    opcode: Opcode
    payload: bytes


class _Header(NamedTuple):
    final: bool
    opcode: Opcode
    length: int  # of the payload
    key: bytes
    end: int  # offset of the payload


class FrameReader:
    """Takes apart what a client sends."""

    __slots__ = ("_left", "_masker", "_rest", "_within_message")

    def __init__(self) -> None:
        self._rest = b""  # a header or control frame that is not whole yet
        self._left = 0  # bytes still to come of the data frame under way
        self._masker = _NO_MASKER  # of that frame; it knows how far in its key it is
        self._within_message = False  # a data frame that is not the last of its message has come

    def receive(self, data: bytes) -> Iterator[bytes | Control]:
        """
        The payload of data frames, as few pieces as possible, and the control frames between them.

        :raises FrameError: once all that came before the error was given out. The reader is of no use then.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        pieces: list[bytes | bytearray] = []
        try:
            at = self._go_on(data, 0, pieces)
            while at < len(data):
                if not self._within_message:
                    at = take_small_frames(data, at, pieces)
                header = _read_header(data, at)
                if header is None:
                    self._rest = data[at:]
                    break
                if header.opcode < Opcode.CLOSE:
                    self._begin(header)
                    at = self._go_on(data, header.end, pieces)
                    continue
                end = header.end + header.length
                if end > len(data):
                    self._rest = data[at:]
                    break
                if pieces:
                    yield b"".join(pieces)
                    pieces = []
                masker = XorMaskerSimple(header.key)
                yield Control(header.opcode, bytes(masker.process(bytearray(data[header.end : end]))))
                at = end
        except FrameError:
            if pieces:
                yield b"".join(pieces)
            raise
        if pieces:
            yield b"".join(pieces)

    def _begin(self, header: _Header) -> None:
        if header.opcode is Opcode.TEXT:  # v5 [MQTT-6.0.0-1], v3 [MQTT-6.0.0-1]
            raise FrameError("a text frame", CloseReason.UNSUPPORTED_DATA)
        if self._within_message is not (header.opcode is Opcode.CONTINUATION):
            raise FrameError(f"{header.opcode.name} at the wrong place")
        self._within_message = not header.final
        self._left = header.length
        self._masker = XorMaskerSimple(header.key)

    def _go_on(self, data: bytes, at: int, pieces: list[bytes | bytearray]) -> int:
        """Take what is there of the data frame under way. :return: the offset behind it."""
        size = min(self._left, len(data) - at)
        if size:
            pieces.append(self._masker.process(bytearray(data[at : at + size])))
            self._left -= size
            if not self._left:
                self._masker = _NO_MASKER
        return at + size


def read_close(payload: bytes) -> int | None:
    """
    The code in a close frame; a client may leave it out.

    :raises FrameError: a code that may not be sent, or a reason that is not UTF-8.
    """
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _MEANINGS or 3000 <= code < 5000):
        raise FrameError("a close frame with no proper code")
    try:
        payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        raise FrameError("a reason that is not UTF-8", CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None
    return code


def encode_frame(payload: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    """One whole frame as a server sends it: not masked."""
    first, length = _FINAL | opcode, len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 0x10000:
        return bytes((first, 126, length >> 8, length & 0xFF)) + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def encode_close(code: int | None) -> bytes:
    """:param code: ``None`` if the peer gave none either."""
    return encode_frame(b"" if code is None else code.to_bytes(2, "big"), Opcode.CLOSE)


def _read_header(data: bytes, at: int) -> _Header | None:
    """
    :return: ``None`` while it is not whole.
    :raises FrameError: as soon as that can be seen.
    """
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    if first & _RESERVED:
        raise FrameError("a reserved bit: no extension was agreed on")
    if not second & _MASKED:
        raise FrameError("a frame that is not masked")  # §5.1
    try:
        opcode = Opcode(first & 0x0F)
    except ValueError:
        raise FrameError(f"opcode {first & 0x0F}") from None
    final, length, end = bool(first & _FINAL), second & 0x7F, at + 2
    if opcode >= Opcode.CLOSE and not (final and length <= MAX_CONTROL_BYTES):
        raise FrameError(f"{opcode.name} that is too long or in parts")
    if length > 125:
        width = 2 if length == 126 else 8
        if len(data) < end + width:
            return None
        length, end = _read_length(data[end : end + width]), end + width
    if len(data) < end + 4:
        return None
    return _Header(final, opcode, length, data[end : end + 4], end + 4)


def _read_length(number: bytes) -> int:
    length = int.from_bytes(number, "big")
    if length < (126 if len(number) == 2 else 0x10000) or length >> 63:
        raise FrameError("a length that is not as short as it could be, or that has 64 bits")  # §5.2
    return length
