"""
Which part of the history somebody asks for: the parameters of ``GET /v1/status/history``.

    from, to    1893456000                          Unix seconds, with a fraction or not
                2030-01-31T09:00:00Z, 2030-01-31    with an offset from UTC, or by the server's clock
                -1h, -30min, -90s, -7d, -1y         before now
                now
    step        10s, 1min, 5m, 1h, 1d, 600          a multiple of 10 s
    columns     cpu_percent,clients_connected       names of figures

What is missing is an hour up to now, steps of which there are some hundreds, and all figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.ntfy.delays import UNITS_S

MAX_STEPS = 2000

# As many points as a chart has pixels, or half as many.
_ENOUGH_STEPS = 750
# What people read on an axis.
_STEPS_S = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400, 604_800)
_SHORTEST_S = _STEPS_S[0]

_UNITS_S = UNITS_S | {"w": 604_800, "y": 31_536_000}
_LATEST_S = 2**36  # the year 4147; further than that no calendar of Python's goes everywhere

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_DURATION = re.compile(r"([0-9]{1,9}) ?([a-z]{0,7})")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]{1,9})?"
    # A "+" that was not percent-encoded is a blank by now.
    r"([Zz]|[-+ ][0-9]{2}:[0-9]{2})?)?"
)


class Query(NamedTuple):
    """
    A good question.

    :ivar begin: Unix seconds, a multiple of `step_s`, as is `end`; this one is within, `end` is not.
    :ivar columns: names of figures; ``None`` is all of them.
    """

    begin: int
    end: int
    step_s: int
    columns: list[str] | None


def read_query(
    argument: Callable[[bytes], bytes],
    now: float,
    kept: Sequence[tuple[int, int]],
    names: Sequence[str],
) -> Query:
    """
    :param argument: the value of a parameter; empty if there is none.
    :param now: in Unix seconds.
    :param kept: how fine the history is, in seconds, and how long it is so; the finest first.
    :param names: of the figures that there are.
    :raises Refusal: 40000, it makes no sense, or asks for too much.
    """
    begin = _time(_text(argument(b"from")) or "-1h", now)
    end = _time(_text(argument(b"to")) or "now", now)
    if begin >= end:
        raise Refusal(problems.SPAN_INVALID)
    text = _text(argument(b"step"))
    step_s = _step(text) if text else _fitting_step(begin, end, now, kept)
    first, last = int(begin // step_s) * step_s, -int(-end // step_s) * step_s
    if (last - first) // step_s > MAX_STEPS:
        raise Refusal(problems.TOO_MANY_STEPS)
    return Query(first, last, step_s, _columns(_text(argument(b"columns")), names))


def _text(value: bytes) -> str:
    """What is no text matches nothing that is asked for."""
    return value.decode("utf-8", "replace").strip()


def _time(text: str, now: float) -> float:
    """:raises Refusal: it is none."""
    try:
        at = _read_time(text, now)
    except (ValueError, OverflowError, OSError):  # 30 February; what `localtime` cannot say
        at = None
    if at is None or not 0 <= at <= _LATEST_S:
        raise Refusal(problems.SPAN_INVALID)
    return at


def _read_time(text: str, now: float) -> float | None:
    if text == "now":
        return now
    if text.startswith("-"):
        ago_s = _duration(text[1:])
        return None if ago_s is None else now - ago_s
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    day, clock, offset = found[1], found[2] or "00:00", (found[3] or "").replace(" ", "+")
    return datetime.fromisoformat(f"{day} {clock}{'+00:00' if offset in ('Z', 'z') else offset}").timestamp()


def _duration(text: str) -> int | None:
    """In seconds; ``None`` if it is none."""
    found = _DURATION.fullmatch(text)
    if found is None or (found[2] or "s") not in _UNITS_S:
        return None
    return int(found[1]) * _UNITS_S[found[2] or "s"]


def _step(text: str) -> int:
    """:raises Refusal: it is none."""
    step_s = _duration(text)
    if not step_s or step_s % _SHORTEST_S or step_s > _LATEST_S:
        raise Refusal(problems.STEP_INVALID)
    return step_s


def _fitting_step(begin: float, end: float, now: float, kept: Sequence[tuple[int, int]]) -> int:
    """The finest of which there are not too many, and of which there is something left at `begin`."""
    finest_s = next((step_s for step_s, kept_s in kept if now - begin <= kept_s), kept[-1][0])
    for step_s in _STEPS_S:
        if step_s >= finest_s and (end - begin) / step_s <= _ENOUGH_STEPS:
            return step_s
    return int((end - begin) // _ENOUGH_STEPS // _STEPS_S[-1] + 1) * _STEPS_S[-1]


def _columns(text: str, names: Sequence[str]) -> list[str] | None:
    """:raises Refusal: there is no such figure."""
    if not text:
        return None
    columns = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if not set(columns) <= set(names):
        raise Refusal(problems.COLUMNS_INVALID)
    return columns
