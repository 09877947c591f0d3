"""
The message object: what a push is answered with, and what streams will carry, one JSON object a line.

Field names and their order of importance are ntfy's; a field that is not set is left out. Fields that ntfy
does not know are harmless to its clients, unlike in error objects.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass

from pushd.gateway.parameters import Parameters

_LETTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Each of the 256 byte values becomes a letter. 256 is no multiple of 62, so eight letters come up a little
# more often; an id needs to be unique, not unguessable, and keeps over 71 of its 72 bits.
_LETTER_OF_BYTE = (_LETTERS * 5)[:256]

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def new_id() -> str:
    """A message id: 12 of ``[A-Za-z0-9]``."""
    return os.urandom(12).translate(_LETTER_OF_BYTE).decode("ascii")


@dataclass(slots=True)
class Message:
    """An accepted push. `time` is in Unix seconds; `payload` is what MQTT subscribers get."""

    id: str
    time: int
    topic: str
    payload: bytes
    parameters: Parameters

    def to_json(self) -> bytes:
        """One line, ending in a newline."""
        shown: dict[str, object] = {"id": self.id, "time": self.time, "event": "message", "topic": self.topic}
        shown.update(self.parameters.shown())
        shown.update(_as_text(self.payload))
        return (_to_json(shown) + "\n").encode()


def _as_text(payload: bytes) -> dict[str, str]:
    """The payload as JSON can carry it: bytes that are not UTF-8 are encoded, and say so."""
    try:
        return {"message": payload.decode()}
    except UnicodeDecodeError:
        return {"message": base64.b64encode(payload).decode("ascii"), "encoding": "base64"}
