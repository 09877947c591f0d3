"""`pushd.im.envelope`: the vectors of ``tests/vectors/im_envelopes.json``, and what a table cannot say."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.im.envelope import (
    MAX_CONTENT_BYTES,
    MAX_FILE_BYTES,
    MAX_TIME_S,
    Envelope,
    EnvelopeError,
    File,
    Kind,
    Medium,
    Part,
    PartType,
    decode,
    encode,
    parts_of,
)

TABLE = json.loads((Path(__file__).parent.parent / "vectors" / "im_envelopes.json").read_text("utf-8"))

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
LINKS = st.from_regex(r"\Ahttps?://[^\s]{1,20}\Z").filter(
    lambda link: link.encode("utf-8", "ignore").decode() == link
)
FILES = st.none() | st.builds(File, TEXTS, st.integers(0, MAX_FILE_BYTES))
PARTS = st.builds(Part, st.sampled_from([PartType.TEXT, PartType.MAP, PartType.RICH_MEDIA]), TEXTS, FILES) | (
    st.builds(Part, st.sampled_from([PartType.PICTURE, PartType.FILE]), LINKS, FILES)
)
ENVELOPES = st.builds(
    Envelope,
    TEXTS.filter(lambda text: "\0" not in text),
    st.integers(0, MAX_TIME_S),
    st.lists(PARTS, min_size=1, max_size=5).map(tuple),
    st.sampled_from(Kind),
    st.sampled_from(Medium),
)


def told(envelope: Envelope) -> dict[str, Any]:
    """An envelope as the table has it."""
    return {
        "sender": envelope.sender,
        "time": envelope.time_s,
        "kind": int(envelope.kind),
        "media": int(envelope.medium),
        "content": [part.to_object() for part in envelope.parts],
    }


class VectorTests(SynchronousTestCase):
    """Bytes, and what they say"""

    def test_malformed(self) -> None:
        """Each is refused for its own reason."""
        for row in TABLE["malformed"]:
            error = self.assertRaises(EnvelopeError, decode, bytes.fromhex(row["bytes"]))
            self.assertEqual(str(error), row["error"], row["what"])

    def test_envelopes(self) -> None:
        """They mean what they say, and are made of it again."""
        for row in TABLE["envelopes"]:
            data = bytes.fromhex(row["bytes"])
            envelope = decode(data)
            self.assertEqual(told(envelope), row["envelope"], row["what"])
            self.assertEqual(encode(envelope), data, row["what"])

    def test_cut_off_anywhere(self) -> None:
        """No beginning of an envelope is one."""
        for row in TABLE["envelopes"]:
            data = bytes.fromhex(row["bytes"])
            for end in range(len(data)):
                self.assertRaises(EnvelopeError, decode, data[:end])

    def test_deep_json(self) -> None:
        """Nesting that would exhaust the stack is refused like anything else."""
        content = b"[" * 200_000
        data = b"\0\0" + bytes(5) + len(content).to_bytes(4, "big") + content
        self.assertRaises(EnvelopeError, decode, data)


class RoundTripTests(SynchronousTestCase):
    """Whatever can be said"""

    @given(ENVELOPES)
    def test_any_envelope(self, envelope: Envelope) -> None:
        """What was put into bytes comes out of them."""
        self.assertEqual(decode(encode(envelope)), envelope)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """They are an envelope or an `EnvelopeError`, and never anything else."""
        with contextlib.suppress(EnvelopeError):
            self.assertEqual(decode(encode(decode(data))), decode(data))

    @given(ENVELOPES, st.data())
    def test_damaged(self, envelope: Envelope, draw: st.DataObject) -> None:
        """One wrong byte makes another envelope, or none."""
        data = bytearray(encode(envelope))
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
        with contextlib.suppress(EnvelopeError):
            decode(bytes(data))

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists))
    def test_any_json(self, value: object) -> None:
        """Whatever stands where parts should be."""
        with contextlib.suppress(EnvelopeError):
            parts_of([{"ty": value, "co": value, "fn": {"name": value, "size": value}}])
        with contextlib.suppress(EnvelopeError):
            parts_of(value)


class MakingTests(SynchronousTestCase):
    """Envelopes that cannot be"""

    def test_sender(self) -> None:
        """Its length has two bytes; bytes count, not letters."""
        parts = (Part(PartType.TEXT, "hi"),)
        encode(Envelope("ä" * 32_767, 0, parts))
        self.assertRaises(EnvelopeError, encode, Envelope("ä" * 32_768, 0, parts))
        self.assertRaises(EnvelopeError, Envelope, "\ud800", 0, parts)

    def test_time(self) -> None:
        """Four bytes without a sign."""
        for time_s in (-1, MAX_TIME_S + 1, 1.5, True):
            self.assertRaises(EnvelopeError, Envelope, "", time_s, (Part(PartType.TEXT, "hi"),))

    def test_content(self) -> None:
        """Its length has four bytes; nobody gets near."""
        self.assertEqual(MAX_CONTENT_BYTES, 2**32 - 1)
        self.assertRaises(EnvelopeError, Envelope, "", 0, ())

    def test_text(self) -> None:
        """What a terminal shows: links are shown, not followed."""
        parts = (Part(PartType.TEXT, "look"), Part(PartType.PICTURE, "https://h/p.png"))
        self.assertEqual(Envelope("", 0, parts).text, "look\nhttps://h/p.png")
