"""
ntfy's message object, and what a message of MQTT has in its place.

A topic is the same topic on both sides. A push reaches MQTT subscribers as its bare text, and what else was
said about it as properties of version 5:

    title, priority, tags, click, icon, actions, attachment, sequence_id     User Properties of these names
    markdown                                                    the Content Type ``text/markdown``

`tags` are parted by commas, `actions` and `attachment` are JSON. Whoever asks for it (``format=json``) sends
the message object itself as the payload instead: then subscribers of version 3 learn it all, too.

The way back is the same: a client of version 5 that publishes with these properties gives readers of streams
a title and a priority. What does not mean anything is left out there, for streams tolerate nothing that is
wrong: priorities from 1 to 5 and no others.

Field names and their order are ntfy's; a field that is not set is left out. Fields that ntfy does not know
are harmless to its clients, unlike in error objects.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from pushd.broker.message import Message, PushMark
from pushd.gateway.http.problems import PROPERTIES_TOO_LARGE, Refusal
from pushd.gateway.ntfy.actions import actions_of_text
from pushd.gateway.ntfy.parameters import ICON, POLL_ID, PRIORITIES, SEQUENCE_ID, Parameters
from pushd.mqtt.codes import PropertyId
from pushd.mqtt.packets import Properties

# All that is said about a push. A text of MQTT has 65 535 bytes at most, and a device has to take the packet.
MAX_PROPERTIES_BYTES = 16_384

# Events that have one; the others are about a message that was there before.
WITH_A_TEXT = ("message", "poll_request")

MARKDOWN = "text/markdown"

# In which ntfy writes the fields.
ORDER = (
    "id", "time", "expires", "event", "topic", "sequence_id", "title", "message", "priority", "tags", "click",
    "icon", "actions", "attachment", "poll_id", "content_type", "encoding",
)  # fmt: skip

to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def properties_of(parameters: Parameters, attachment: Mapping[str, object] | None = None) -> Properties:
    """
    What was said about a push, as it goes along with the message.

    :raises Refusal: 40000, that is too much.
    """
    said = {
        "title": parameters.title,
        "priority": str(parameters.priority or ""),
        "tags": ",".join(parameters.tags),
        "click": parameters.click,
        "icon": parameters.icon,
        "actions": to_json(parameters.actions) if parameters.actions else "",
        "attachment": to_json(attachment) if attachment else "",
        "sequence_id": parameters.sequence_id,
        "poll_id": parameters.poll_id,
    }
    pairs = [(name, value) for name, value in said.items() if value]
    if pairs and sum(len(value.encode()) for _, value in pairs) > MAX_PROPERTIES_BYTES:
        raise Refusal(PROPERTIES_TOO_LARGE)
    properties: Properties = {PropertyId.USER_PROPERTY: pairs} if pairs else {}
    if parameters.markdown:
        properties[PropertyId.CONTENT_TYPE] = MARKDOWN
    return properties


def message_object(topic: str, message: Message, event: str = "message", until: int = 0) -> dict[str, Any]:
    """
    :param topic: as whoever reads this knows it, without the mount point.
    :param message: that has a mark.
    :param until: Unix seconds; when the archive forgets it, 0 for one that it does not have.
    """
    mark = message.push
    assert mark is not None
    if mark.as_json:
        whole = _object_of(message.payload)
        if whole is not None:
            return {**whole, "topic": topic}
    shown: dict[str, Any] = {"id": mark.id, "time": mark.at}
    if until:
        shown["expires"] = until
    shown.update(event=event, topic=topic)
    if event in WITH_A_TEXT:
        shown.update(_as_text(message.payload))
    if message.properties:
        shown.update(_said(message.properties))
        return {name: shown[name] for name in ORDER if name in shown}
    return shown


def message_line(topic: str, message: Message, event: str = "message", until: int = 0) -> bytes:
    """The same as it is written: one line of JSON, with its end."""
    # A plugin or a client of version 5 may have put an escaped half of a character into some JSON.
    return (to_json(message_object(topic, message, event, until)) + "\n").encode("utf-8", "replace")


def as_json(topic: str, message: Message) -> bytes:
    """A payload that is the message object."""
    return to_json(message_object(topic, message)).encode()


def marked_as_json(mark: PushMark) -> PushMark:
    """The mark of the message that has such a payload."""
    return mark._replace(as_json=True)


def _as_text(payload: bytes) -> dict[str, str]:
    """The payload as JSON can carry it: bytes that are not UTF-8 are encoded, and say so."""
    try:
        return {"message": payload.decode()}
    except UnicodeDecodeError:
        return {"message": base64.b64encode(payload).decode("ascii"), "encoding": "base64"}


def _object_of(payload: bytes) -> dict[str, Any] | None:
    """What `as_json` made; ``None`` if a plugin has made something else of it since."""
    try:
        loaded = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) and loaded.keys() >= {"id", "time", "event"} else None


def _said(properties: Properties) -> dict[str, object]:
    """The fields that the properties of a message stand for, as far as they mean anything."""
    pairs: Any = properties.get(PropertyId.USER_PROPERTY, ())
    said: dict[str, object] = {}
    for name, value in pairs:
        read = _FIELDS.get(name)
        field = None if read is None or name in said else read(value)
        if field:
            said[name] = field
    if properties.get(PropertyId.CONTENT_TYPE) == MARKDOWN:
        said["content_type"] = MARKDOWN
    return said


def _actions(text: str) -> object:
    try:
        return list(actions_of_text(text))
    except Refusal:
        return None


def _attachment(text: str) -> object:
    """A name and a URL, at least; whoever publishes it by MQTT may say what it likes besides."""
    try:
        attachment = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(attachment, dict):
        return None
    shown = {name: value for name, value in attachment.items() if type(value) is _ATTACHMENT.get(name)}
    return shown if {"name", "url"} <= shown.keys() else None


_ATTACHMENT = {"name": str, "type": str, "url": str, "size": int, "expires": int}

_FIELDS: dict[str, Callable[[str], object]] = {
    "poll_id": lambda text: text if POLL_ID.fullmatch(text) else None,
    "sequence_id": lambda text: text if SEQUENCE_ID.fullmatch(text) else None,
    "title": str,
    "priority": PRIORITIES.get,
    "tags": lambda text: [tag for tag in map(str.strip, text.split(",")) if tag],
    "click": str,
    "icon": lambda text: text if ICON.fullmatch(text) else None,
    "actions": _actions,
    "attachment": _attachment,
}
