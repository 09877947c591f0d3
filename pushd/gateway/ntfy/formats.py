"""
How a message object is written in each of ntfy's streams.

    json    one line of JSON
    sse     an event whose data is the JSON; anything but a message has its name as the event's type
    raw     the text of a message on one line, and an empty line for anything else
    ws      JSON in a text frame; it has pings of its own in place of ``keepalive``
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from pushd.gateway.http.events import EVENT_STREAM, encode_event
from pushd.gateway.ntfy.messages import to_json
from pushd.gateway.ntfy.websocket import PING, text_frame

_LINE_END = re.compile(r"\r\n|\r|\n")


class Format(NamedTuple):
    """
    :ivar content_type: of an answer that is such a stream.
    :ivar encode: from a message object to bytes.
    :ivar beat: what is written every now and then if that is no message object.
    """

    name: str
    content_type: bytes
    encode: Callable[[dict[str, Any]], bytes]
    beat: bytes = b""


def _json(shown: dict[str, Any]) -> bytes:
    return _text(to_json(shown)) + b"\n"


def _sse(shown: dict[str, Any]) -> bytes:
    event = shown["event"]
    return encode_event(shown, None if event == "message" else event)


def _raw(shown: dict[str, Any]) -> bytes:
    if shown["event"] != "message":
        return b"\n"
    return _text(_LINE_END.sub(" ", str(shown.get("message", "")))) + b"\n"


def _frame(shown: dict[str, Any]) -> bytes:
    return text_frame(_text(to_json(shown)))


def _text(text: str) -> bytes:
    # A plugin or a client of version 5 may have put an escaped half of a character into some JSON.
    return text.encode("utf-8", "replace")


JSON = Format("json", b"application/x-ndjson; charset=utf-8", _json)
SSE = Format("sse", EVENT_STREAM, _sse)
RAW = Format("raw", b"text/plain; charset=utf-8", _raw)
FRAMES = Format("ws", b"", _frame, PING)
