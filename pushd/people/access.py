"""What may stand in an entry of the access control list, and what its words mean."""

from __future__ import annotations

import re

from pushd.people.interfaces import EVERYBODY

# What a permission lets do: whether it lets read, and whether it lets write. The stricter first.
PERMISSIONS = {
    "deny-all": (False, False),
    "read-only": (True, False),
    "write-only": (False, True),
    "read-write": (True, True),
}

# What ntfy's command line takes for the same.
OTHER_WORDS = {
    "deny": "deny-all",
    "none": "deny-all",
    "read": "read-only",
    "ro": "read-only",
    "write": "write-only",
    "wo": "write-only",
    "rw": "read-write",
}

# What everybody may be called beside `EVERYBODY`.
EVERYBODY_WORDS = ("everyone", "anonymous")

MAX_PATTERN_BYTES = 65_535  # the longest topic name that fits into a packet (v3 §1.5.3)

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def permission_of(word: str) -> str:
    """
    One of `PERMISSIONS`.

    :raises ValueError: the word is for none.
    """
    permission = OTHER_WORDS.get(word, word)
    if permission not in PERMISSIONS:
        raise ValueError(f"{word!r} is not {', '.join(PERMISSIONS)}")
    return permission


def who_is(word: str) -> str:
    """Whom a word of a command line is about: a user name, or `EVERYBODY`."""
    return EVERYBODY if word in EVERYBODY_WORDS else word


def check_pattern(pattern: str) -> None:
    """
    Refuse what could match no topic name, or could be taken for a topic filter.

    :raises ValueError: it is empty, too long, or has ``+``, ``#`` or what no topic name has in it.
    """
    if not pattern:
        raise ValueError("the topic is empty")
    if _FORBIDDEN.search(pattern):
        raise ValueError("the topic must be UTF-8 without control characters")
    if len(pattern.encode()) > MAX_PATTERN_BYTES:
        raise ValueError(f"the topic is longer than {MAX_PATTERN_BYTES} bytes")
    if "+" in pattern or "#" in pattern:
        raise ValueError("the topic has + or # in it; * stands for any characters here, slashes too")
