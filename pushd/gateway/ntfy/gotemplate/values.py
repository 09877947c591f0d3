"""
The values that templates deal with: those of JSON. What is true, how they look as text, how they compare.

Texts look as Go prints them (``map[a:1 b:[x y]]``), but for numbers: Go knows numbers of JSON as floating
point only and writes 1750000000 as ``1.75e+09``. Here a whole number is one, and looks it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from decimal import Decimal

from pushd.gateway.ntfy.gotemplate.errors import ExecutionFailed

MAX_DEPTH = 50  # of lists and objects within each other
MAX_TEXT = 131_072  # characters in all the texts that a function is given, or in the one that it makes

NO_VALUE = "<no value>"  # how nothing at all looks; within lists and objects it is <nil>

Spend = Callable[[int], None]


def is_true(value: object) -> bool:
    """Go's truth, which for these values is Python's: nothing, zero and what is empty are false."""
    return bool(value)


def measure(value: object, spend: Spend) -> int:
    """
    Look at all of a value, at a price: afterwards anything may walk through it.

    A template can put one list into another many times over, which is small to keep and endless to print.

    :return: how many characters its texts have.
    :raises ExecutionFailed: it is too deep, or has too much text.
    """
    characters = 0
    left: list[tuple[object, int]] = [(value, 0)]
    while left:
        one, depth = left.pop()
        spend(1)
        if isinstance(one, str):
            characters += len(one)
        elif isinstance(one, dict | list):
            if depth == MAX_DEPTH:
                raise ExecutionFailed(f"more than {MAX_DEPTH} lists and objects within each other")
            left.extend((part, depth + 1) for part in (one.values() if isinstance(one, dict) else one))
            spend(len(one))
    return check_length(characters)


def check_length(characters: int) -> int:
    """:raises ExecutionFailed: that is too long for a text."""
    if characters > MAX_TEXT:
        raise ExecutionFailed("a text grows too long")
    return characters


def shown(value: object, within: bool = False) -> str:
    """
    As ``%v`` does. `value` must have been measured.

    :param within: whether it is part of a list or an object.
    """
    if value is None:
        return "<nil>" if within else NO_VALUE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{shown(value[key], True)}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(shown(part, True) for part in value)}]"
    return number_shown(value) if isinstance(value, int | float) else str(value)


def number_shown(number: int | float) -> str:
    """The shortest text that is this number, without an exponent unless it is very large or small."""
    if isinstance(number, int):
        return f"{number}" if abs(number) < 10**40 else number_shown(to_float(number))
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"
    if number == 0 or 1e-5 < abs(number) < 1e21:
        return _plain(number)
    digits, _, exponent = repr(number).partition("e")
    return f"{digits.removesuffix('.0')}e{exponent}" if exponent else digits


def _plain(number: float) -> str:
    text = f"{Decimal(repr(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_float(number: int | float) -> float:
    """Also of a whole number beyond all floating point ones."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def type_name(value: object) -> str:
    """What Go calls the type that JSON gives such a value."""
    return next(name for types, name in _TYPE_NAMES if isinstance(value, types))


_TYPE_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float64"),
    (str, "string"),
    (list, "[]interface {}"),
    (dict, "map[string]interface {}"),
    (object, "<nil>"),
)


# Comparing


def equal(first: object, *others: object) -> bool:
    """
    ``eq``: whether the first is one of the others.

    :raises ExecutionFailed: they are of different kinds, or lists or objects.
    """
    return any(_equal(first, other) for other in others)


def _equal(first: object, other: object) -> bool:
    if first is None or other is None:
        return first is other
    _check_comparable(first, other)
    return first == other


def less(first: object, other: object) -> bool:
    """
    ``lt``: of numbers, or of texts.

    :raises ExecutionFailed: they are not two of these.
    """
    _check_comparable(first, other)
    if isinstance(first, str) and isinstance(other, str):
        return first < other
    if _is_number(first) and _is_number(other):
        return first < other  # type: ignore[operator,no-any-return]  # both are numbers
    raise ExecutionFailed("these cannot be put in order")


def _check_comparable(first: object, other: object) -> None:
    for kind in (_is_number, _is_bool, _is_text):
        if kind(first) and kind(other):
            return
    raise ExecutionFailed(f"{type_name(first)} and {type_name(other)} cannot be compared")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


# Fields and elements


def field_of(value: object, name: str) -> object:
    """
    ``.name``. An object without such a field has nothing there.

    :raises ExecutionFailed: it is no object.
    """
    if isinstance(value, dict):
        return value.get(name)
    raise ExecutionFailed(f"{type_name(value)} has no field {name}")


def elements(value: object) -> Iterator[tuple[object, object]]:
    """
    What ``range`` goes through: keys and values, an object's in the order of its keys.

    :raises ExecutionFailed: there is nothing to go through.
    """
    if isinstance(value, list):
        yield from enumerate(list(value))
    elif isinstance(value, dict):
        yield from [(key, value[key]) for key in sorted(value)]
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((number, number) for number in range(value))
    elif value is not None:
        raise ExecutionFailed(f"range cannot go through {type_name(value)}")
