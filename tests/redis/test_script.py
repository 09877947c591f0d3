"""Scripts, and what they answer."""

from __future__ import annotations

import hashlib

import msgpack  # type: ignore[import-untyped]
from twisted.trial.unittest import SynchronousTestCase

from pushd.redis.script import Script, unpacked


class ScriptTests(SynchronousTestCase):
    def test_known_by_its_hash(self) -> None:
        """As Redis computes it: of the text as it is sent."""
        script = Script("return 'ä'")
        self.assertEqual(script.sha, hashlib.sha1("return 'ä'".encode()).hexdigest())

    def test_unpacked(self) -> None:
        """Names come as bytes; what Lua calls an empty table is a list."""
        self.assertEqual(unpacked(msgpack.packb([b"\xff", 1, False, []])), [b"\xff", 1, False, []])
        self.assertEqual(unpacked(msgpack.packb({})), [])
