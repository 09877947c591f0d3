"""
From where on a reader wants what was said before it came: ntfy's ``since``.

    all                    what the archive has
    none                   nothing; so it is for a stream that does not say
    latest                 the last of each topic
    bQ1gAWzE2cbG           what came after the message with this id
    1700000000             what was said then or later, in Unix seconds
    10m   1h30m   45s      as long ago as that

Twelve digits are an id, as in ntfy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal

UNITS_S = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

# Every repetition is bounded: nothing to backtrack over.
_ID = re.compile(r"[A-Za-z0-9]{12}")
_UNIX_TIME = re.compile(r"[0-9]{1,11}")
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|[dhms])")
_MAX_LETTERS = 64


@dataclass(frozen=True, slots=True)
class Since:
    """
    :ivar nothing: of what was said before.
    :ivar latest: only the last of each topic.
    :ivar id: only what came after this message; if nobody knows it, everything: twice is better than never.
    :ivar at: Unix seconds; only what was said then or later.
    """

    nothing: bool = False
    latest: bool = False
    id: str = ""
    at: int = 0


ALL = Since()
NONE = Since(nothing=True)
LATEST = Since(latest=True)

_BY_NAME = {"all": ALL, "none": NONE, "latest": LATEST}


def read_since(text: str, now: float, unsaid: Since = NONE) -> Since:
    """
    :param now: Unix seconds.
    :param unsaid: what no text means.
    :raises Refusal: 40008, it means nothing.
    """
    if not text:
        return unsaid
    if text in _BY_NAME:
        return _BY_NAME[text]
    if _ID.fullmatch(text):
        return Since(id=text)
    if _UNIX_TIME.fullmatch(text):
        return Since(at=int(text))
    return Since(at=max(0, int(now - _duration_s(text))))


def _duration_s(text: str) -> float:
    total_s, at = 0.0, 0
    while at < len(text) <= _MAX_LETTERS and (part := _PART.match(text, at)):
        total_s += float(part[1]) * UNITS_S[part[2]]
        at = part.end()
    if at < len(text):
        raise Refusal(problems.SINCE_INVALID)
    return total_s
