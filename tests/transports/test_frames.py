"""`pushd.transports.frames`: RFC 6455 §5 as far as MQTT has use for it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from wsproto.frame_protocol import FrameProtocol

from pushd.transports.frames import (
    Control,
    FrameError,
    FrameReader,
    Opcode,
    encode_close,
    encode_frame,
    read_close,
)
from pushd.transports.small_frames import MAX_SMALL_BYTES
from tests.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close_payload,
    masked_frame,
    server_frames,
)

LENGTHS = (0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, MAX_SMALL_BYTES, MAX_SMALL_BYTES + 1, 65535, 65536)


def read(*pieces: bytes) -> tuple[bytes, list[Control], int | None]:
    """:return: all payload, all control frames, and the code of the error that ended it."""
    reader, payload, controls = FrameReader(), b"", []
    try:
        for piece in pieces:
            for event in reader.receive(piece):
                if isinstance(event, Control):
                    controls.append(event)
                else:
                    payload += event
    except FrameError as error:
        return payload, controls, error.code
    return payload, controls, None


class DataTests(SynchronousTestCase):
    """§5.4, §5.6"""

    def test_every_form_of_length(self) -> None:
        """A payload comes out as it went in, however its length is written and wherever the next begins."""
        for length in LENGTHS:
            payload = bytes(at * 7 & 0xFF for at in range(length))
            assert read(masked_frame(payload) * 2) == (payload * 2, [], None), length

    def test_a_run_of_frames_is_one_piece(self) -> None:
        """Messages of a busy publisher reach MQTT together: it passes runs of them on as one."""
        run = b"".join(masked_frame(bytes((at,)) * 20, key=bytes((at, 1, 2, 3))) for at in range(50))
        assert len(list(FrameReader().receive(run))) == 1

    def test_parts_of_a_message(self) -> None:
        """Frames that continue another are as good as whole ones; control frames may come between."""
        parts = (
            masked_frame(b"ab", first=0)
            + masked_frame(b"p", PING)
            + masked_frame(b"", CONTINUATION, first=0)
            + masked_frame(b"cd", CONTINUATION)
            + masked_frame(b"ef")
        )
        assert read(parts) == (b"abcdef", [Control(Opcode.PING, b"p")], None)

    def test_a_payload_does_not_wait_for_its_end(self) -> None:
        """What has come of a frame is passed on: how much more it claims does not matter."""
        reader = FrameReader()
        head = masked_frame(b"abc", length=2**63 - 1)
        assert list(reader.receive(head)) == [b"abc"]
        more = bytes(byte ^ b"\x9a\x01\x7f\xe3"[at % 4] for at, byte in enumerate(b"abcdefgh"))
        assert list(reader.receive(more[3:])) == [b"defgh"]

    def test_empty_frames(self) -> None:
        """They are nothing, as often as they come."""
        assert read(masked_frame() * 3 + masked_frame(b"a") + masked_frame() * 3) == (b"a", [], None)


class ControlTests(SynchronousTestCase):
    """§5.5"""

    def test_order_is_kept(self) -> None:
        """A close frame comes after the data that was sent before it."""
        data = masked_frame(b"a") + masked_frame(close_payload(1000), CLOSE)
        assert list(FrameReader().receive(data)) == [b"a", Control(Opcode.CLOSE, b"\x03\xe8")]

    def test_control_frames_come_whole(self) -> None:
        """Also if they do not arrive that way."""
        data = masked_frame(b"x" * 125, PONG)
        pieces = [data[at : at + 1] for at in range(len(data))]
        assert read(*pieces) == (b"", [Control(Opcode.PONG, b"x" * 125)], None)

    def test_codes(self) -> None:
        """A client may give a code, with or without a reason, or none."""
        assert read_close(b"") is None
        for code in (1000, 1001, 1003, 1007, 1014, 3000, 4999):
            assert read_close(close_payload(code, "für alle".encode())) == code

    def test_codes_that_are_none(self) -> None:
        """Reserved ones, those that are never sent, and half a code."""
        for payload in (b"\x03", *map(close_payload, (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535))):
            error = self.assertRaises(FrameError, read_close, payload)
            assert error.code == 1002, payload

    def test_reasons_that_are_not_utf8(self) -> None:
        """1007"""
        assert self.assertRaises(FrameError, read_close, close_payload(1000, b"\xff")).code == 1007


class ErrorTests(SynchronousTestCase):
    """What a server must refuse, by the code it answers."""

    BROKEN = {
        "not masked (§5.1)": (masked_frame(b"a", key=None), 1002),
        "RSV1, which compression would use": (masked_frame(b"a", first=0xC0), 1002),
        "RSV2": (masked_frame(b"a", first=0xA0), 1002),
        "RSV3": (masked_frame(b"a", first=0x90), 1002),
        "text (v5 [MQTT-6.0.0-1])": (masked_frame(b"a", TEXT), 1003),
        "opcode 3": (masked_frame(b"a", 0x3), 1002),
        "opcode 11": (masked_frame(b"a", 0xB), 1002),
        "continues nothing": (masked_frame(b"a", CONTINUATION), 1002),
        "new message within another": (masked_frame(b"", first=0) + masked_frame(b"a", BINARY), 1002),
        "ping of 126 bytes": (masked_frame(b"x" * 126, PING), 1002),
        "close in parts": (masked_frame(b"", CLOSE, first=0), 1002),
        "2 bytes for a length of 125": (b"\x82\xfe\x00\x7d" + bytes(4 + 125), 1002),
        "8 bytes for a length of 65535": (b"\x82\xff" + (65535).to_bytes(8, "big") + bytes(4), 1002),
        "a length of 64 bits": (b"\x82\xff" + (2**63).to_bytes(8, "big") + bytes(4), 1002),
    }  # fmt: skip

    def test_broken_frames(self) -> None:
        """Each ends the connection; what came before is not lost, nor is it doubled."""
        for name, (frame, code) in self.BROKEN.items():
            assert read(masked_frame(b"before") + frame) == (b"before", [], code), name

    def test_split_anywhere(self) -> None:
        """How the bytes arrive makes no difference to any of them."""
        for name, (frame, code) in self.BROKEN.items():
            data = masked_frame(b"ok") + frame
            pieces = [data[at : at + 1] for at in range(len(data))]
            assert read(*pieces) == (b"ok", [], code), name

    def test_as_soon_as_it_can_be_seen(self) -> None:
        """Nobody waits for the key of a frame that has none, or for the body of a text."""
        for start in (b"\x82\x01", b"\xc2\x80", b"\x83\x80", b"\x89\xfe"):
            assert read(start)[2] == 1002


class EncodingTests(SynchronousTestCase):
    """What the server sends."""

    def test_every_form_of_length(self) -> None:
        """Shortest form, not masked."""
        for length in LENGTHS:
            assert server_frames(encode_frame(bytes(length))) == [Frame(BINARY, bytes(length))]

    def test_close(self) -> None:
        """With a code or, to whom gave none, without."""
        assert encode_close(1000) == b"\x88\x02\x03\xe8"
        assert encode_close(None) == b"\x88\x00"


FRAMES = st.lists(
    st.builds(
        masked_frame,
        st.one_of(st.binary(max_size=300), st.just(bytes(70_000))),
        st.sampled_from((BINARY, BINARY, BINARY, CONTINUATION, PING, PONG, TEXT)),
        first=st.sampled_from((0x80, 0x80, 0x80, 0x00)),
        key=st.binary(min_size=4, max_size=4),
    ),
    max_size=12,
)


class AnyBytesTests(SynchronousTestCase):
    @given(FRAMES, st.lists(st.integers(0, 2000), max_size=6))
    def test_pieces_make_no_difference(self, frames: list[bytes], cuts: list[int]) -> None:
        """The same stream, cut anywhere, is read the same."""
        stream = b"".join(frames)
        edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
        pieces = [stream[start:end] for start, end in pairwise(edges)]
        assert read(*pieces) == read(stream)

    @given(FRAMES)
    def test_wsproto_agrees(self, frames: list[bytes]) -> None:
        """The library's own reader finds the same payload in frames that both take."""
        stream = b"".join(frames)
        payload, controls, code = read(stream)
        if code is None:
            theirs = FrameProtocol(client=False, extensions=[])
            theirs.receive_bytes(stream)
            found = list(theirs.received_frames())
            assert payload == b"".join(bytes(f.payload) for f in found if f.opcode == BINARY)  # type: ignore[arg-type]
            assert [c.payload for c in controls] == [f.payload for f in found if f.opcode > BINARY]

    @given(st.lists(st.binary(max_size=200), max_size=8))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Nothing but frames or a FrameError comes of them, and little of them is kept."""
        reader = FrameReader()
        try:
            for piece in pieces:
                list(reader.receive(piece))
        except FrameError:
            return
        assert len(reader._rest) < 14 + 125
