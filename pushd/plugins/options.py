"""
``plugin_opt_NAME VALUE`` lines as an instance of a plugin's ``Config``.

A field is read by its annotation: ``str``, ``int``, ``float``, ``bool`` (``true`` or ``false``), a
``Literal`` of words, or a ``list`` of any of these, whose items are separated by blanks and may stand on
several lines. Each may be ``… | None``. A field without a default must be in the settings.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class OptionError(ValueError):
    """The options of a plugin are not those that it can have; the text says which and why."""


def make_config(shape: type, options: Sequence[tuple[str, str]]) -> Any:
    """
    :param shape: a dataclass, or a class that would be one.
    :param options: names without ``plugin_opt_``, and values.
    :raises OptionError: one is unknown, missing, given twice or not of its type.
    """
    if not is_dataclass(shape):
        shape = dataclass(frozen=True)(shape)
    hints = get_type_hints(shape)
    known = {field.name: field for field in fields(shape) if field.init}
    given = _by_name(options, known)
    values = {name: _value(name, hints[name], texts) for name, texts in given.items()}
    for name, field in known.items():
        if name not in values and _is_needed(field):
            raise OptionError(f"plugin_opt_{name} is missing")
    try:
        return shape(**values)
    except ValueError as problem:  # of its __post_init__
        raise OptionError(str(problem)) from problem


def _is_needed(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _by_name(options: Sequence[tuple[str, str]], known: dict[str, Field[Any]]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for name, text in options:
        if name not in known:
            there_are = ", ".join(known) or "none"
            raise OptionError(f"plugin_opt_{name} is not an option of it; there are: {there_are}")
        given.setdefault(name, []).append(text)
    return given


def _value(name: str, wanted: Any, texts: list[str]) -> Any:
    wanted = _without_none(wanted)
    if get_origin(wanted) in (list, tuple):
        items = [item for text in texts for item in text.split()]
        read = [_scalar(name, get_args(wanted)[0], item) for item in items]
        return read if get_origin(wanted) is list else tuple(read)
    if len(texts) > 1:
        raise OptionError(f"plugin_opt_{name} is given twice")
    return _scalar(name, wanted, texts[0])


def _without_none(wanted: Any) -> Any:
    """``X`` of ``X | None``."""
    if get_origin(wanted) in (types.UnionType, Union):
        others = [each for each in get_args(wanted) if each is not type(None)]
        return others[0] if len(others) == 1 else wanted
    return wanted


def _scalar(name: str, wanted: Any, text: str) -> Any:
    if wanted is str:
        return text
    if wanted is int and _INTEGER.fullmatch(text):
        return int(text)
    if wanted is float and (number := _float(text)) is not None:
        return number
    if wanted is bool and text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    if get_origin(wanted) is Literal and text in get_args(wanted):
        return text
    raise OptionError(f"plugin_opt_{name}: {text[:60]!r} is not {_described(wanted)}")


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _described(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return " or ".join(map(str, get_args(wanted)))
    known = {int: "an integer", float: "a number", bool: "true or false"}
    return known.get(wanted, f"something that can be read as {wanted}")
