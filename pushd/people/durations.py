"""Times and rates as people write them: ``90d``, ``10/s``."""

from __future__ import annotations

import re

UNITS_S = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86_400,
    "day": 86_400,
    "w": 604_800,
    "week": 604_800,
}

# A thousand years; what is added to a time must still be one.
MAX_S = 1000 * 365 * UNITS_S["d"]

_DURATION = re.compile(r"([0-9]{1,12}) ?([a-z]+)", re.ASCII)
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?: ?/ ?([a-z]+))?", re.ASCII)


def duration_s(text: str) -> int:
    """
    Seconds of ``90d``, ``12 hours`` and the like: a whole number and one unit.

    :raises ValueError: it is no such text, nothing, or more than a thousand years.
    """
    found = _DURATION.fullmatch(text)
    unit_s = found and _unit_s(found[2])
    if not (found and unit_s):
        raise ValueError(f"{text!r} is no time like 90d, 12h or 30m")
    seconds = int(found[1]) * unit_s
    if not 0 < seconds <= MAX_S:
        raise ValueError(f"{text!r} is not between a second and a thousand years")
    return seconds


def rate_per_s(text: str) -> float:
    """
    How many per second ``10/s``, ``600/min`` and the like are; ``10`` alone is per second.

    :raises ValueError: it is no such text, or nothing.
    """
    found = _RATE.fullmatch(text)
    unit_s = found and _unit_s(found[2] or "s")
    if not (found and unit_s):
        raise ValueError(f"{text!r} is no rate like 10/s or 100/h")
    rate = float(found[1]) / unit_s
    if rate == 0:
        raise ValueError(f"{text!r} lets nothing through")
    return rate


def rate_text(rate: float) -> str:
    """A rate per second for people to read: in the smallest unit in which it is at least one."""
    for unit, unit_s in (("s", 1), ("min", 60), ("h", 3600)):
        if rate * unit_s >= 1 or unit == "h":
            break
    return f"{rate * unit_s:g}/{unit}"


def _unit_s(word: str) -> int | None:
    return UNITS_S.get(word) or UNITS_S.get(word.removesuffix("s"))
