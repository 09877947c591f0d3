"""
From a request's parts to a push: which topic, which bytes, which parameters. Nothing here knows sockets.

The bytes follow ntfy's rules: text is trimmed, and what is not text is a file. UnifiedPush and
``/v1/publish`` carry bytes for programs: those arrive as they were sent, all of them or none (with
``retain``, none clears a topic's retained message, as in MQTT).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pushd.broker.message import PushMark
from pushd.broker.publication import Publication
from pushd.gateway.http import problems
from pushd.gateway.http.body_limits import MESSAGE_LIMIT_BYTES
from pushd.gateway.http.problems import Refusal
from pushd.gateway.ntfy.messages import properties_of
from pushd.gateway.ntfy.parameters import ALIASES, Headers, Parameters, Query, read_parameters
from pushd.gateway.ntfy.topics import topic_of_json

EMPTY_MESSAGE = b"triggered"


_LISTS = frozenset({"tags", "actions"})


@dataclass(frozen=True, slots=True)
class Push:
    """
    What a caller asks to be published.

    :ivar is_text: the payload is one; if it is empty, nothing was said.
    :ivar is_file: the request's body is a file, and no message.
    :ivar attachment: ntfy's object for a file that the message is about.
    """

    topic: str
    payload: bytes
    parameters: Parameters
    is_text: bool = False
    is_file: bool = False
    attachment: Mapping[str, object] | None = None

    def publication(self, mark: PushMark) -> Publication:
        """The same for the broker."""
        said = self.parameters
        properties = properties_of(said, self.attachment) or None
        return Publication(self.topic, self.payload, said.qos, said.retain, properties, said.ttl_s, mark)


def push_of_text(topic: str, body: bytes, headers: Headers, query: Query) -> Push:
    """
    ``POST /<topic>``.

    :raises Refusal: whatever `read_parameters` raises.
    """
    parameters = read_parameters(headers, query)
    if parameters.unifiedpush:
        return Push(topic, body, parameters)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return Push(topic, b"", parameters, is_file=True)
    if parameters.filename and not parameters.attach:
        return Push(topic, b"", parameters, is_file=True)
    return Push(topic, _text_payload(text, parameters), parameters, is_text=True)


def push_of_bytes(topic: str, body: bytes, headers: Headers, query: Query) -> Push:
    """
    ``POST /v1/publish/<topic>``.

    :raises Refusal: whatever `read_parameters` raises.
    """
    parameters = read_parameters(headers, query)
    return Push(topic, body or parameters.message.encode(), parameters)


def push_of_json(body: bytes, headers: Headers, query: Query) -> Push:
    """
    ``POST /`` with ntfy's JSON object. Fields that nobody knows are left alone.

    :raises Refusal: 40024 if the body is none; 40009 or 40010 for its topic; 41301 for its message; whatever
        `read_parameters` raises.
    """
    fields = _fields(body)
    topic = topic_of_json(str(fields.pop("topic", "")))
    parameters = read_parameters(headers, query, fields)
    payload = _text_payload(str(fields.get("message", "")), parameters)
    if len(payload) > MESSAGE_LIMIT_BYTES:
        raise Refusal(problems.MESSAGE_TOO_LARGE)
    return Push(topic, payload, parameters, is_text=True)


def _text_payload(text: str, parameters: Parameters) -> bytes:
    return text.strip().encode() or parameters.message.strip().encode()


def _fields(body: bytes) -> dict[str, object]:
    """The object's fields that mean something to us and are set, each of a plausible type."""
    try:
        text = body.decode()
        loaded = json.loads(text)
        if "\\ud" in text.lower():  # an escape may spell a lone surrogate: no UTF-8, so no message either
            json.dumps(loaded, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # also: no UTF-8, and integers of more digits than Python takes
        raise Refusal(problems.JSON_INVALID) from None
    if not isinstance(loaded, dict):
        raise Refusal(problems.JSON_INVALID)
    fields = {name: loaded[name] for name in ALIASES.keys() | {"topic"} if loaded.get(name) is not None}
    if not all(_is_plausible(name, value) for name, value in fields.items()):
        raise Refusal(problems.JSON_INVALID)
    return fields


def _is_plausible(name: str, value: object) -> bool:
    if isinstance(value, list):
        return name == "actions" or (name in _LISTS and all(isinstance(tag, str) for tag in value))
    if name in ("topic", "message"):
        return isinstance(value, str)
    return isinstance(value, str | int)  # bool is an int
