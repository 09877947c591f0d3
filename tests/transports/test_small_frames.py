"""`pushd.transports.small_frames`: the express lane of WebSocket frames."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.transports.small_frames import MAX_SMALL_BYTES, take_small_frames
from tests.websocket_frames import CLOSE, CONTINUATION, PING, TEXT, masked_frame


def key_of(number: int) -> bytes:
    """Every frame has its own."""
    return (number * 2654435761 & 0xFFFFFFFF).to_bytes(4, "big")


def message(length: int, number: int) -> tuple[bytes, bytes]:
    """:return: a payload, and the frame around it."""
    payload = bytes((at * 7 + number) & 0xFF for at in range(length))
    return payload, masked_frame(payload, key=key_of(number))


def take(data: bytes, at: int = 0) -> tuple[bytes, int]:
    """:return: the payload that was taken, and the offset behind it."""
    pieces: list[bytes | bytearray] = []
    end = take_small_frames(data, at, pieces)
    return b"".join(pieces), end


class RunTests(SynchronousTestCase):
    """Frames of equal size, one behind the other."""

    def test_every_size(self) -> None:
        """However the length falls into words of a key, and whichever bytes of the header tell it."""
        for length in (*range(20), *range(120, 135), 499, 500, 501, 505, 506, 507, 1000):
            payloads, frames = zip(*(message(length, number) for number in range(20)), strict=True)
            data = b"".join(frames)
            assert take(data) == (b"".join(payloads), len(data)), length

    def test_every_count(self) -> None:
        """Shorter than a run, as long as the longest, and longer."""
        for count in (*range(20), 255, 256, 257, 600):
            payloads, frames = zip(*(message(5, number) for number in range(count or 1)), strict=True)
            data = b"".join(frames)
            assert take(data) == (b"".join(payloads), len(data)), count

    def test_a_run_ends(self) -> None:
        """With a frame that is one byte longer, or that has not come as a whole."""
        payloads, frames = zip(*(message(9, number) for number in range(30)), strict=True)
        longer, frame = message(10, 30)
        run = b"".join(frames)
        assert take(run + frame) == (b"".join(payloads) + longer, len(run) + len(frame))
        assert take(run + frame[:-1]) == (b"".join(payloads), len(run))
        assert take(run + frames[0][:-1]) == (b"".join(payloads), len(run))

    def test_payload_that_looks_like_a_header(self) -> None:
        """Where a run would have its next frames there may be anything."""
        trap = masked_frame(b"\x82\x81" * 60, key=bytes(4))
        data = b"".join(masked_frame(b"ab", key=key_of(at)) for at in range(9)) + trap * 3
        assert take(data) == (b"ab" * 9 + b"\x82\x81" * 180, len(data))


class LeftTests(SynchronousTestCase):
    """What is not for this lane."""

    def test_others_are_left(self) -> None:
        """Control frames, parts of messages, what is too long, and what is wrong."""
        others = (
            masked_frame(b"a", PING),
            masked_frame(b"\x03\xe8", CLOSE),
            masked_frame(b"a", TEXT),
            masked_frame(b"a", first=0),
            masked_frame(b"a", CONTINUATION),
            masked_frame(b"a", key=None) + bytes(9),
            masked_frame(bytes(MAX_SMALL_BYTES + 1)),
            b"\x82\xfe\x00\x7d" + bytes(4 + 125),
            b"\x82\xff" + (2**63 - 1).to_bytes(8, "big") + bytes(100),
        )
        payload, frame = message(3, 1)
        for other in others:
            assert take(frame * 10 + other + frame) == (payload * 10, len(frame) * 10), other[:4]

    def test_frames_that_are_not_whole(self) -> None:
        """Nothing is taken of them, wherever they end."""
        for length in (0, 1, 125, 126, MAX_SMALL_BYTES):
            _, frame = message(length, 1)
            for end in {*range(12), len(frame) - 1} - {len(frame)}:
                assert take(frame[: min(end, len(frame) - 1)]) == (b"", 0), (length, end)

    def test_from_an_offset(self) -> None:
        """What is before it does not matter."""
        payload, frame = message(8, 3)
        assert take(b"\x82\x83xyz" + frame * 12, 5) == (payload * 12, 5 + 12 * len(frame))


class AnyFramesTests(SynchronousTestCase):
    @given(st.lists(st.tuples(st.integers(0, 600), st.integers(1, 40)), max_size=6), st.randoms())
    def test_all_are_taken(self, groups: list[tuple[int, int]], random: Random) -> None:
        """Sizes in any order, equal ones in any number: each payload is there once, in order."""
        payloads = [random.randbytes(length) for length, count in groups for _ in range(count)]
        data = b"".join(masked_frame(payload, key=random.randbytes(4)) for payload in payloads)
        assert take(data) == (b"".join(payloads), len(data))
