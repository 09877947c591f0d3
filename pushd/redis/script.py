"""
Lua scripts that Redis runs as one step.

A script may answer with ``cmsgpack.pack(...)``: one string instead of a list. txredisapi takes lists apart
element by element, each in a turn of the reactor of its own; 5000 names in one string take it one turn.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it has no type hints


class Script:
    """
    The text of one.

    :ivar sha: by which Redis knows it once it has seen it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest()


def unpacked(answer: bytes) -> Any:
    """What a script has packed: lists, bytes, numbers, booleans. Lua's empty table is one list."""
    value = msgpack.unpackb(answer, raw=True, strict_map_key=False)
    return [] if value == {} else value
