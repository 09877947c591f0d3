"""
``printf``: Go's verbs ``%v %s %q %d %c %x %X %o %b %e %f %g %t %T %%``, with flags, width and precision.

As in Go a verb that does not fit its value is no error: it says so in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pushd.gateway.ntfy.gotemplate.errors import ExecutionFailed
from pushd.gateway.ntfy.gotemplate.values import (
    NO_VALUE,
    check_length,
    number_shown,
    shown,
    to_float,
    type_name,
)

# A width is room in the text that costs nothing to ask for.
MAX_WIDTH = 999

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?P<precision>\.\d*)?(?P<verb>.)?", re.DOTALL)


def printf(format: str, *values: object) -> str:
    """
    :raises ExecutionFailed: a width above `MAX_WIDTH`, or one that is an argument (``*``).
    """
    left = iter(values)
    pieces: list[str] = []
    length = at = 0
    for verb in _VERB.finditer(format):
        pieces += format[at : verb.start()], _formatted(verb, left)
        length = check_length(length + len(pieces[-1]) + len(pieces[-2]))
        at = verb.end()
    return "".join((*pieces, format[at:], _extra(list(left))))


def _formatted(verb: re.Match[str], left: Iterator[object]) -> str:
    width, precision = _size(verb["width"]), verb["precision"]
    letter = verb["verb"]
    if letter is None:
        return "%!(NOVERB)"
    if letter == "%":
        return "%"
    if letter == "*":
        raise ExecutionFailed("the width of a format cannot be an argument")
    places = None if precision is None else _size(precision[1:])
    try:
        value = next(left)
    except StopIteration:
        return f"%!{letter}(MISSING)"
    text = _as_verb(letter, value, places, verb["flags"])
    return _padded(text, width, verb["flags"], isinstance(value, int | float))


def _size(digits: str) -> int:
    if len(digits) > 3:
        raise ExecutionFailed(f"a width in a format is above {MAX_WIDTH}")
    return int(digits or 0)


def _padded(text: str, width: int, flags: str, is_number: bool) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and is_number:
        return text.zfill(width)
    return text.rjust(width)


def _extra(values: list[object]) -> str:
    if not values:
        return ""
    return f"%!(EXTRA {', '.join(f'{type_name(value)}={_plain(value)}' for value in values)})"


def _plain(value: object) -> str:
    return shown(value, within=True)


def _as_verb(letter: str, value: object, places: int | None, flags: str) -> str:
    if letter == "T":
        return type_name(value)
    if letter in "vs" and not (letter == "s" and isinstance(value, bool | int | float)):
        return _plain(value)[:places]
    if letter in "qxX" and isinstance(value, str):
        return _quoted(value[:places]) if letter == "q" else _hexadecimal(value[:places], letter)
    if letter == "t" and isinstance(value, bool):
        return _plain(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = _number(letter, value, places)
        if text is not None:
            return f"+{text}" if "+" in flags and value >= 0 else text
    return (
        f"%!{letter}({type_name(value)}={_plain(value)})" if value is not None else f"%!{letter}({NO_VALUE})"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _hexadecimal(text: str, letter: str) -> str:
    digits = text.encode("utf-8", "replace").hex()
    return digits.upper() if letter == "X" else digits


def _number(letter: str, number: int | float, places: int | None) -> str | None:
    """:return: ``None`` if numbers have no such verb, or not this number."""
    if letter in "eEfFgG":
        return _floating(letter, to_float(number), places)
    if isinstance(number, float):
        if not number.is_integer():
            return None
        number = int(number)
    if letter == "c" and 0 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
        return chr(number)
    if letter == "d":
        return f"{'-' if number < 0 else ''}{number_shown(abs(number)).zfill(places or 0)}"
    return format(number, letter) if letter in "xXob" else None


def _floating(letter: str, number: float, places: int | None) -> str:
    if letter in "gG" and places is None:
        return number_shown(number)
    return format(number, f".{6 if places is None else places}{letter}")
