"""
The envelope of an instant message: the payload of a PUBLISH to somebody's topic (`pushd.im.topics`).

All integers are big-endian:

    length of sender   2 bytes
    sender             UTF-8; empty for somebody without a name
    time               4 bytes, Unix seconds
    type               1 byte: kind in the high nibble, medium in the low one
    length of content  4 bytes
    content            UTF-8, a JSON array of parts such as {"ty":0,"co":"hello"}

A part has a type ``ty``, what it says or where it is ``co``, and perhaps a file's name and size
``"fn":{"name":...,"size":...}``. Pictures, sounds, films and files travel as links, never inline.

Both directions are strict: what `decode` accepts is what `encode` can make, and every fault is an
`EnvelopeError` that says what it is.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeGuard, TypeVar

MAX_SENDER_BYTES = 0xFFFF
MAX_TIME_S = 0xFFFF_FFFF  # in the year 2106
MAX_CONTENT_BYTES = 0xFFFF_FFFF
MAX_FILE_BYTES = 2**53 - 1  # the largest integer that every reader of JSON takes for itself

_FIXED = struct.Struct(">IBI")  # time, type, length of content

# A scheme and two slashes; what has them is looked up elsewhere, and "data:" is not.
_LINK = re.compile(r"[A-Za-z][-A-Za-z0-9+.]*://\S+")

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class EnvelopeError(ValueError):
    """It is no envelope, or cannot be one; the text says why, and quotes nothing that a stranger sent."""


class Kind(IntEnum):
    """Between whom."""

    PERSON_TO_PERSON = 0
    PC_TO_PHONE = 1
    PHONE_TO_PC = 2


class Medium(IntEnum):
    """What it is as a whole."""

    TEXT = 0
    PICTURE = 1
    AUDIO = 2
    VIDEO = 3
    PDF = 4
    WORD = 5


class PartType(IntEnum):
    """What one part of it is."""

    TEXT = 0
    PICTURE = 1
    AUDIO = 2
    VIDEO = 3
    DOCUMENT = 4
    FILE = 5
    MAP = 6
    RICH_MEDIA = 14


_LINKED = frozenset({PartType.PICTURE, PartType.AUDIO, PartType.VIDEO, PartType.DOCUMENT, PartType.FILE})


@dataclass(frozen=True, slots=True)
class File:
    """:ivar size: in bytes."""

    name: str
    size: int

    def __post_init__(self) -> None:
        _check_text(self.name, "the name of a file")
        if not _is_integer(self.size) or not 0 <= self.size <= MAX_FILE_BYTES:
            raise EnvelopeError("the size of a file is no number of bytes")


@dataclass(frozen=True, slots=True)
class Part:
    """:ivar content: a text, or a link to what the type says."""

    type: PartType
    content: str
    file: File | None = None

    def __post_init__(self) -> None:
        _check_text(self.content, "what a part says")
        if self.type in _LINKED and not _LINK.fullmatch(self.content):
            raise EnvelopeError("a picture, sound, film or file is not given as a link")

    def to_object(self) -> dict[str, Any]:
        """As it stands in the JSON array."""
        told: dict[str, Any] = {"ty": int(self.type), "co": self.content}
        if self.file is not None:
            told["fn"] = {"name": self.file.name, "size": self.file.size}
        return told


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    :ivar sender: a user name; empty for none.
    :ivar time_s: Unix seconds.
    :ivar parts: at least one.
    """

    sender: str
    time_s: int
    parts: tuple[Part, ...]
    kind: Kind = Kind.PERSON_TO_PERSON
    medium: Medium = Medium.TEXT

    def __post_init__(self) -> None:
        _check_text(self.sender, "the sender")
        if "\0" in self.sender:
            raise EnvelopeError("there is a NUL in the sender")
        if not _is_integer(self.time_s) or not 0 <= self.time_s <= MAX_TIME_S:
            raise EnvelopeError("the time does not fit into four bytes")
        if not self.parts:
            raise EnvelopeError("it has no content")

    @property
    def text(self) -> str:
        """What a terminal can show of it: its parts, one a line."""
        return "\n".join(part.content for part in self.parts)


def encode(envelope: Envelope) -> bytes:
    """
    :raises EnvelopeError: the sender or the content is too long.
    """
    sender = envelope.sender.encode()
    if len(sender) > MAX_SENDER_BYTES:
        raise EnvelopeError("the sender is too long")
    content = _to_json([part.to_object() for part in envelope.parts]).encode()
    if len(content) > MAX_CONTENT_BYTES:
        raise EnvelopeError("the content is too long")
    type_byte = envelope.kind << 4 | envelope.medium
    return b"".join(
        (
            len(sender).to_bytes(2, "big"),
            sender,
            _FIXED.pack(envelope.time_s, type_byte, len(content)),
            content,
        )
    )


def decode(payload: bytes) -> Envelope:
    """
    :raises EnvelopeError: `payload` is no envelope, to the last byte.
    """
    if len(payload) < 2:
        raise EnvelopeError("it ends before the length of the sender")
    content_at = 2 + int.from_bytes(payload[:2], "big") + _FIXED.size
    if len(payload) < content_at:
        raise EnvelopeError("it ends before the content")
    sender = _decode_text(payload[2 : content_at - _FIXED.size], "the sender")
    time_s, type_byte, length = _FIXED.unpack_from(payload, content_at - _FIXED.size)
    if length != len(payload) - content_at:
        raise EnvelopeError(f"it has {len(payload) - content_at} bytes of content and says {length}")
    return Envelope(
        sender,
        time_s,
        parts_of_json(_decode_text(payload[content_at:], "the content")),
        to_enum(Kind, type_byte >> 4, "kind"),
        to_enum(Medium, type_byte & 0xF, "medium"),
    )


def parts_of_json(text: str) -> tuple[Part, ...]:
    """
    :raises EnvelopeError: `text` is no JSON array of parts.
    """
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise EnvelopeError("the content is no JSON") from None
    return parts_of(value)


def parts_of(value: object) -> tuple[Part, ...]:
    """
    :param value: what a reader of JSON made of an array of parts.
    :raises EnvelopeError: it is none.
    """
    if not isinstance(value, list):
        raise EnvelopeError("the content is no array")
    return tuple(map(_part_of, value))


Number = TypeVar("Number", bound=IntEnum)


def to_enum(table: type[Number], value: object, what: str) -> Number:
    """
    :raises EnvelopeError: `value` is not in `table`; `what` it should have been.
    """
    try:
        return table(value if _is_integer(value) else -1)
    except ValueError:
        raise EnvelopeError(f"there is no such {what}") from None


def _part_of(value: object) -> Part:
    if not isinstance(value, dict) or not {"ty", "co"} <= value.keys() <= {"ty", "co", "fn"}:
        raise EnvelopeError("a part is no object of ty, co and perhaps fn")
    file = _file_of(value["fn"]) if "fn" in value else None
    return Part(to_enum(PartType, value["ty"], "type of a part"), value["co"], file)


def _file_of(value: object) -> File:
    if not isinstance(value, dict) or value.keys() != {"name", "size"}:
        raise EnvelopeError("a file is no object of name and size")
    return File(value["name"], value["size"])


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise EnvelopeError(f"{what} is no text")
    try:
        value.encode()
    except UnicodeEncodeError:  # an escape of JSON may spell half a surrogate pair
        raise EnvelopeError(f"{what} is no Unicode") from None


def _decode_text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise EnvelopeError(f"{what} is no UTF-8") from None


def _no_number(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")
