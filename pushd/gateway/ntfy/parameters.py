"""
What a caller can say about a push besides its text: ntfy's parameters, and our own ``qos`` and ``retain``.

Each parameter has several names. They are tried in order among the headers, then in order in the query; a
field of ntfy's JSON object goes before both. Everything is checked here, so that what leaves in a message
object is what its fields say. A parameter for something this server does not offer is refused, not ignored:
whoever asks for a mail must not believe that one was sent.

A message without ``qos`` has QoS 1. A push is meant for devices that may be off at the moment: a broker
keeps QoS 1 messages for a persistent session and need not keep QoS 0 (Mosquitto does not). ``cache=no``
says in ntfy's words that only who is listening now shall have it, so it makes the default QoS 0.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from types import MappingProxyType
from typing import Any

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Problem, Refusal
from pushd.gateway.ntfy.actions import Action, actions_of_json, actions_of_text
from pushd.mqtt.codes import QoS

ALIASES: dict[str, tuple[str, ...]] = {
    "message": ("x-message", "message", "m"),
    "title": ("x-title", "title", "t"),
    "priority": ("x-priority", "priority", "prio", "p"),
    "tags": ("x-tags", "tags", "tag", "ta"),
    "click": ("x-click", "click"),
    "icon": ("x-icon", "icon"),
    "actions": ("x-actions", "actions", "action"),
    "markdown": ("x-markdown", "markdown", "md"),
    "unifiedpush": ("x-unifiedpush", "unifiedpush", "up"),
    "cache": ("x-cache", "cache"),
    "firebase": ("x-firebase", "firebase"),  # nothing is ever forwarded there: "no" is always obeyed
    "qos": ("x-qos", "qos"),
    "ttl": ("x-ttl", "ttl"),
    "format": ("x-format", "format"),
    "retain": ("x-retain", "retain"),
    "delay": ("x-delay", "delay", "x-at", "at", "x-in", "in"),
    "attach": ("x-attach", "attach", "a"),
    "filename": ("x-filename", "filename", "file", "f"),
    "template": ("x-template", "template", "tpl"),
    "sequence_id": ("x-sequence-id", "sequence-id", "sid"),
    "email": ("x-email", "x-e-mail", "email", "e-mail", "mail", "e"),
    "call": ("x-call", "call"),
    "poll_id": ("x-poll-id", "poll-id"),
}

# Two headers that have a meaning of their own and, with one value, imply a parameter.
IMPLIED: dict[bytes, tuple[bytes, str]] = {
    b"Content-Type": (b"text/markdown", "markdown"),
    b"Content-Encoding": (b"aes128gcm", "unifiedpush"),
}

# A value of "no" asks for nothing, so it is granted.
NOT_OFFERED: dict[str, Problem] = {
    "email": problems.EMAIL_OFF,
    "call": problems.CALL_OFF,
}

PRIORITIES = {"min": 1, "low": 2, "default": 3, "high": 4, "max": 5, "urgent": 5} | {
    str(n): n for n in range(1, 6)
}
TRUE = frozenset({"1", "yes", "true"})
FALSE = frozenset({"0", "no", "false"})

# A "Priority: u=4, i" is RFC 9218's, added by proxies on the way; it says nothing about the message.
HTTP_PRIORITY = re.compile(r"(u=[0-7])?,?\s*(i(=\?[01])?)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
ICON = re.compile(r"https?://\S+", re.IGNORECASE)

# An encoded word as RFC 2047 has it. Senders put blanks and the like into theirs, and Python reads those too;
# but it looks for the end of each up to the end of the header, so there may not be many.
_WORD = re.compile(r"=\?[^?\s]+\?[bqBQ]\?[^?\s]*\?=")
MAX_LOOSE_WORDS = 16

POLL_ID = re.compile(r"[A-Za-z0-9]{1,64}")

# As topics are: it stands behind one in a path.
SEQUENCE_ID = re.compile(r"[-_A-Za-z0-9]{1,64}")

MAX_TTL_DIGITS = 9  # of seconds: thirty years


@dataclass(frozen=True, slots=True)
class Parameters:
    """All of them, checked; ``""``, 0, ``()`` and False are for what was not said."""

    message: str = ""
    title: str = ""
    priority: int = 0
    tags: tuple[str, ...] = ()
    click: str = ""
    icon: str = ""
    actions: tuple[Action, ...] = ()
    markdown: bool = False
    unifiedpush: bool = False
    delay: str = ""  # see `pushd.gateway.ntfy.delays`, which knows what time it is
    attach: str = ""  # where the file is that the message is about
    filename: str = ""  # what that is called; without `attach`, the body is the file
    template: str = ""  # what makes the message of the body's JSON: see `pushd.gateway.ntfy.templates`
    priority_template: str = ""  # with `template`, what was said for a priority
    poll_id: str = ""  # there is no message, but this one to be fetched from another server
    sequence_id: str = ""
    keep: bool = True  # ntfy's ``cache``: also for those who do not listen at the moment
    qos: QoS = QoS.AT_LEAST_ONCE
    retain: bool = False
    ttl_s: int | None = None  # how long it is worth being delivered; None: for ever
    as_json: bool | None = None  # whether MQTT subscribers get the message object; None: as is configured


NONE_SAID = Parameters()

Headers = Iterable[tuple[bytes, Sequence[bytes]]]
Query = Mapping[bytes, Sequence[bytes]]
Fields = Mapping[str, object]

_NO_FIELDS: Fields = MappingProxyType({})


def read_parameters(headers: Headers, query: Query, fields: Fields = _NO_FIELDS) -> Parameters:
    """
    :param headers: canonical names (``X-Title``) with all their values, as Twisted has them.
    :param query: names with all their values, percent-decoded.
    :param fields: those of ntfy's JSON object that are parameters, of the types JSON gave them.
    :raises Refusal: a value is malformed, or asks for something that is not offered.
    """
    said: dict[str, object] = {**_of_query(query), **_of_headers(headers)}
    said.update((name, value) for name, value in fields.items() if value is not None and value != "")
    if not said:
        return NONE_SAID
    for name in NOT_OFFERED.keys() & said.keys():
        if str(said[name]).lower() not in FALSE:
            raise Refusal(NOT_OFFERED[name])
    return _checked(said)


def _canonical(name: str) -> bytes:
    """``x-title`` as Twisted spells a header's name: ``X-Title``."""
    return "-".join(word.capitalize() for word in name.split("-")).encode("ascii")


# name on the wire -> (parameter, how early it is tried)
_OF_HEADER = {
    _canonical(alias): (parameter, rank)
    for parameter, aliases in ALIASES.items()
    for rank, alias in enumerate(aliases)
}
_OF_QUERY = {
    alias.encode("ascii"): (parameter, rank)
    for parameter, aliases in ALIASES.items()
    for rank, alias in enumerate(aliases)
}


def _of_headers(headers: Headers) -> dict[str, str]:
    found = []
    for name, values in headers:
        if name in _OF_HEADER:
            text = header_text(values[0])
            if text and not (name == b"Priority" and HTTP_PRIORITY.fullmatch(text)):
                found.append((_OF_HEADER[name], text))
        elif name in IMPLIED:
            value, parameter = IMPLIED[name]
            if values[0].partition(b";")[0].strip().lower() == value:
                found.append(((parameter, len(ALIASES[parameter])), "yes"))
    return _earliest(found)


def _of_query(query: Query) -> dict[str, str]:
    found = []
    for name, values in query.items():
        if name in _OF_QUERY:
            text = values[0].decode("utf-8", "replace").strip()
            if text:
                found.append((_OF_QUERY[name], text))
    return _earliest(found)


def _earliest(found: list[tuple[tuple[str, int], str]]) -> dict[str, str]:
    """Of several names of one parameter the value under the one that is tried first."""
    found.sort(key=lambda place_and_text: place_and_text[0], reverse=True)
    return {parameter: text for (parameter, _), text in found}


def header_text(value: bytes) -> str:
    """A header's value: UTF-8, or RFC 2047's encoded words. What is neither is kept as far as it is text."""
    text = value.decode("utf-8", "replace").strip()
    if "=?" not in text or _WORD.sub("", text).count("=?") > MAX_LOOSE_WORDS:
        return text
    try:
        decoded = str(make_header(decode_header(text))).strip()
        decoded.encode()
    except (HeaderParseError, binascii.Error, LookupError, ValueError):
        return text
    return decoded


def _checked(said: dict[str, object]) -> Parameters:
    template = _template(said.get("template"))
    if template:
        said["priority_template"] = said.pop("priority", "")
    read = {}
    for name, value in said.items():
        if name in _READERS:
            field, reader = _READERS[name]
            read[field] = reader(value)
    if not read.get("keep", True):
        if read.get("delay"):
            raise Refusal(problems.DELAY_NO_CACHE)
        read.setdefault("qos", QoS.AT_MOST_ONCE)
    return Parameters(**read)


def _line(value: object) -> str:
    """A text of one line. It may end up in a header or a log some day: nothing that breaks lines gets in."""
    text = str(value)
    if _CONTROL.search(text):
        raise Refusal(problems.CONTROL_CHARACTER)
    return text


def _matching(pattern: re.Pattern[str], problem: Problem) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = _line(value)
        if text and not pattern.fullmatch(text):
            raise Refusal(problem)
        return text

    return read


def priority_of(value: object) -> int:
    """
    :return: 1 to 5, or 0 if none was said.
    :raises Refusal: 40007, that is none.
    """
    if value is None or value == 0:  # ntfy's JSON object says 0 for "not set"
        return 0
    try:
        return PRIORITIES[str(value).lower()]
    except KeyError:
        raise Refusal(problems.PRIORITY_INVALID) from None


def _message(value: object) -> str:
    return str(value).replace("\\n", "\n")  # curl users cannot easily type a newline


def _tags(value: object) -> tuple[str, ...]:
    """Parted by commas, which no tag can have in it; so it is with ntfy."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return tuple(tag for tag in map(str.strip, _line(text).split(",")) if tag)


def _actions(value: object) -> tuple[Action, ...]:
    return actions_of_json(value) if isinstance(value, list) else actions_of_text(str(value))


def _is_true(value: object) -> bool:
    """ntfy's booleans: whatever is not yes is no."""
    return str(value).lower() in TRUE


def _is_kept(value: object) -> bool:
    """Whether the message is for those as well who do not listen at the moment."""
    return str(value).lower() not in FALSE


def _retain(value: object) -> bool:
    """Ours is strict: who misspells it would find out weeks later."""
    if str(value).lower() not in TRUE | FALSE:
        raise Refusal(problems.RETAIN_INVALID)
    return _is_true(value)


def _template(value: object) -> str:
    text = "" if value is None else _line(value)
    return "" if text.lower() in FALSE else text


def _ttl(value: object) -> int:
    """Seconds, as in a header of Web Push (RFC 8030 §5.2)."""
    digits = str(value)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_TTL_DIGITS):
        raise Refusal(problems.TTL_INVALID)
    return int(digits)


def _format(value: object) -> bool:
    try:
        return {"raw": False, "json": True}[str(value).lower()]
    except KeyError:
        raise Refusal(problems.FORMAT_INVALID) from None


def _qos(value: object) -> QoS:
    if str(value) not in ("0", "1", "2"):
        raise Refusal(problems.QOS_INVALID)
    return QoS(int(str(value)))


# The field of `Parameters` for each parameter, and who reads its value. Most pushes say one or two of them,
# so only those are looked at.
_READERS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "message": ("message", _message),
    "title": ("title", _line),
    "priority": ("priority", priority_of),
    "tags": ("tags", _tags),
    "click": ("click", _line),  # ntfy's apps open mailto:, geo: and others, too: they know what they can
    "icon": ("icon", _matching(ICON, problems.ICON_INVALID)),
    "actions": ("actions", _actions),
    "markdown": ("markdown", _is_true),
    "unifiedpush": ("unifiedpush", _is_true),
    "delay": ("delay", _line),
    "attach": ("attach", _line),
    "filename": ("filename", _line),
    "template": ("template", _template),
    "priority_template": ("priority_template", str),
    "poll_id": ("poll_id", _matching(POLL_ID, problems.POLL_ID_INVALID)),
    "sequence_id": ("sequence_id", _matching(SEQUENCE_ID, problems.SEQUENCE_ID_INVALID)),
    "cache": ("keep", _is_kept),
    "qos": ("qos", _qos),
    "retain": ("retain", _retain),
    "ttl": ("ttl_s", _ttl),
    "format": ("as_json", _format),
}
