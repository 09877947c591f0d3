"""
What templates can call: Go's own functions, and those of ntfy (sprig's) that only look at their arguments.

A row of `FUNCTIONS` says how many arguments one takes, and whether it looks at all that is within them; then
they are measured before it is called. What is not here: regular expressions, since those of Python can be
made to take for ever, dates, since there is no clock in here, and chance.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import posixpath
import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from pushd.gateway.ntfy.gotemplate.errors import ExecutionFailed
from pushd.gateway.ntfy.gotemplate.formats import printf
from pushd.gateway.ntfy.gotemplate.values import (
    check_length,
    equal,
    is_true,
    less,
    shown,
    to_float,
    type_name,
)

MAX_LIST = 5_000  # elements in a list that is counted up

_ANY_NUMBER = 1_000_000
_WORD = re.compile(r"\w[\w']*")


class Function(NamedTuple):
    """
    :ivar call: gets values; raises `ExecutionFailed`.
    :ivar least: how many values it needs.
    :ivar most: how many it takes.
    :ivar whole: whether it looks at what is within lists and objects.
    """

    call: Callable[..., object]
    least: int
    most: int
    whole: bool = False


# What arguments must be


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ExecutionFailed(f"{type_name(value)} instead of a text")
    return value


def _list(value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ExecutionFailed(f"{type_name(value)} instead of a list")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ExecutionFailed(f"{type_name(value)} instead of an object")
    return value


def _whole(value: object) -> int:
    """A whole number of 64 bits, as all arithmetic of sprig's: of a text its value, of anything else 0."""
    if isinstance(value, str):
        value = _of_text(value)
    if isinstance(value, float):
        value = int(value) if math.isfinite(value) else 0
    return _wrapped(value) if isinstance(value, int) else 0


def _of_text(text: str) -> int | float:
    try:
        return float(text[:100]) if "." in text or "e" in text.lower() else int(text[:100])
    except ValueError:
        return 0


def _wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def _floating(value: object) -> float:
    if isinstance(value, str):
        value = _of_text(value)
    return to_float(value) if isinstance(value, int | float) else 0.0


def _string(value: object) -> str:
    """As `shown`, but nothing is an empty text."""
    return "" if value is None else shown(value)


# Go's own


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, list | dict):
        return len(value)
    raise ExecutionFailed(f"{type_name(value)} has no length")


def _index(value: object, *keys: object) -> object:
    for key in keys:
        value = _element(value, key)
    return value


def _element(value: object, key: object) -> object:
    if isinstance(value, dict):
        return value.get(_text(key))
    if isinstance(value, str):
        value = list(value.encode("utf-8", "replace"))
    if not isinstance(value, list):
        raise ExecutionFailed(f"{type_name(value)} has no elements")
    at = _whole(key)
    if isinstance(key, str | bool) or not 0 <= at < len(value):
        raise ExecutionFailed("no such element")
    return value[at]


def _slice(value: object, *ends: object) -> object:
    if not isinstance(value, list | str):
        raise ExecutionFailed(f"{type_name(value)} cannot be cut")
    start, end, *_ = [*map(_whole, ends), *(0, len(value))[len(ends) :]]
    if not 0 <= start <= end <= len(value):
        raise ExecutionFailed("there is no such piece")
    return value[start:end]


def _print(*values: object) -> str:
    """With blanks between two values that are no texts."""
    pieces: list[str] = []
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            pieces.append(" ")
        pieces.append(shown(value, within=True))
    return "".join(pieces)


def _print_line(*values: object) -> str:
    return " ".join(shown(value, within=True) for value in values) + "\n"


# Texts. The text itself comes last: it is what a pipeline brings.


def _cut(length: object, value: object) -> str:
    """``trunc``: the first characters, or with a negative number the last ones."""
    text, count = _text(value), _whole(length)
    return text[:count] if count >= 0 else text[count:]


def _substring(start: object, end: object, value: object) -> str:
    text, first, last = _text(value), _whole(start), _whole(end)
    return text[max(first, 0) :] if last < 0 or last > len(text) else text[max(first, 0) : last]


def _repeat(count: object, value: object) -> str:
    text, times = _text(value), max(_whole(count), 0)
    check_length(len(text) * times)
    return text * times


def _replace(old: object, new: object, value: object) -> str:
    text, before, after = _text(value), _text(old), _text(new)
    check_length(len(text) + text.count(before) * len(after))
    return text.replace(before, after)


def _indent(count: object, value: object) -> str:
    blanks = _repeat(count, " ")
    return blanks + _replace("\n", "\n" + blanks, value)


def _cat(*values: object) -> str:
    return " ".join(_string(value) for value in values if value is not None)


def _joined(separator: object, value: object) -> str:
    between = _text(separator)
    pieces = [_string(part) for part in (value if isinstance(value, list) else [value]) if part is not None]
    check_length(sum(map(len, pieces)) + len(between) * len(pieces))
    return between.join(pieces)


def _quoted(*values: object) -> str:
    return " ".join(_json(_string(value)) for value in values if value is not None)


def _single_quoted(*values: object) -> str:
    return " ".join(f"'{_string(value)}'" for value in values if value is not None)


def _split(separator: object, value: object) -> list[str]:
    text, between = _text(value), _text(separator)
    return text.split(between) if between else list(text)


def _numbered(pieces: list[str]) -> dict[str, str]:
    """As ``split`` answers: the pieces under ``_0``, ``_1`` and so on."""
    return {f"_{number}": piece for number, piece in enumerate(pieces)}


def _split_n(separator: object, count: object, value: object) -> dict[str, str]:
    text, between, most = _text(value), _text(separator), _whole(count)
    pieces = text.split(between, most - 1) if between and most > 0 else _split(separator, value)
    return _numbered(pieces)


def _plural(one: object, many: object, count: object) -> object:
    return one if _whole(count) == 1 else many


def _hashed(name: str) -> Callable[[object], str]:
    return lambda value: hashlib.new(name, _bytes(value), usedforsecurity=False).hexdigest()


def _bytes(value: object) -> bytes:
    return _text(value).encode("utf-8", "replace")


def _decoded(decode: Callable[[bytes], bytes]) -> Callable[[object], str]:
    def decoded(value: object) -> str:
        try:
            return decode(_bytes(value)).decode("utf-8", "replace")
        except ValueError:
            raise ExecutionFailed("this is not encoded like that") from None

    return decoded


# Numbers


def _divided(first: object, second: object) -> int:
    """Towards zero, as in Go."""
    dividend, divisor = _whole(first), _whole(second)
    if divisor == 0:
        raise ExecutionFailed("division by zero")
    quotient = abs(dividend) // abs(divisor)
    return _wrapped(quotient if (dividend < 0) == (divisor < 0) else -quotient)


def _remainder(first: object, second: object) -> int:
    return _wrapped(_whole(first) - _divided(first, second) * _whole(second))


def _product(*values: object) -> int:
    product = 1
    for value in values:
        product = _wrapped(product * _whole(value))
    return product


def _rounded(value: object, places: object = 0) -> float:
    """Half away from zero."""
    number, scale = _floating(value), 10.0 ** min(max(_whole(places), 0), 15)
    scaled = abs(number) * scale
    return math.copysign(math.floor(scaled + 0.5) / scale, number) if math.isfinite(scaled) else number


def _whole_part(function: Callable[[float], int]) -> Callable[[object], float]:
    def rounded(value: object) -> float:
        number = _floating(value)
        return float(function(number)) if math.isfinite(number) else number

    return rounded


def _counted(start: int, end: int, step: int) -> list[int]:
    numbers = range(start, end, step) if step else range(0)
    if len(numbers) > MAX_LIST:
        raise ExecutionFailed(f"more than {MAX_LIST} elements")
    return list(numbers)


def _until_step(start: object, end: object, step: object) -> list[int]:
    return _counted(_whole(start), _whole(end), _whole(step))


def _until(count: object) -> list[int]:
    end = _whole(count)
    return _counted(0, end, 1 if end >= 0 else -1)


# Choosing


def _default(instead: object, value: object = None) -> object:
    return value if is_true(value) else instead


def _coalesce(*values: object) -> object:
    return next(filter(is_true, values), None)


def _ternary(yes: object, no: object, condition: object) -> object:
    return yes if is_true(condition) else no


def _fail(reason: object) -> object:
    raise ExecutionFailed(_text(reason))


# Lists and objects. Nothing is changed in place: what others hold stays as it is.


def _same(first: object, second: object) -> bool:
    """Whether two measured values are equal all through; True is not 1."""
    return _json(first) == _json(second)


def _unique(value: object) -> list[object]:
    found: dict[str, object] = {}
    for part in _list(value):
        found.setdefault(_json(part), part)
    return list(found.values())


def _without(value: object, *unwanted: object) -> list[object]:
    out = {_json(part) for part in unwanted}
    return [part for part in _list(value) if _json(part) not in out]


def _has(wanted: object, value: object) -> bool:
    return any(_same(part, wanted) for part in _list(value))


def _last(value: object) -> object:
    items = _list(value)
    return items[-1] if items else None


def _first(value: object) -> object:
    items = _list(value)
    return items[0] if items else None


def _concatenated(*values: object) -> list[object]:
    return [part for value in values for part in _list(value)]


def _chunked(size: object, value: object) -> list[object]:
    items, step = _list(value), max(_whole(size), 1)
    return [items[at : at + step] for at in range(0, len(items), step)]


def _dict(*pairs: object) -> dict[str, object]:
    values = [*pairs[1::2], ""]
    return {_string(key): value for key, value in zip(pairs[::2], values, strict=False)}


def _get(value: object, key: object) -> object:
    return _object(value).get(_text(key), "")


def _set(value: object, key: object, to: object) -> dict[str, object]:
    return {**_object(value), _text(key): to}


def _omit(value: object, *keys: object) -> dict[str, object]:
    return {key: part for key, part in _object(value).items() if key not in keys}


def _pick(value: object, *keys: object) -> dict[str, object]:
    return {key: part for key, part in _object(value).items() if key in keys}


def _keys(*values: object) -> list[str]:
    return sorted(key for value in values for key in _object(value))


def _values(value: object) -> list[object]:
    return [part for _, part in sorted(_object(value).items(), key=lambda pair: pair[0])]


def _pluck(key: object, *values: object) -> list[object]:
    name = _text(key)
    return [_object(value)[name] for value in values if name in _object(value)]


def _dig(*path: object) -> object:
    """``dig "a" "b" DEFAULT OBJECT``: the object's ``.a.b``, or DEFAULT where one of them is missing."""
    *keys, instead, value = path
    for key in keys:
        if not isinstance(value, dict) or _text(key) not in value:
            return instead
        value = value[_text(key)]
    return value


# JSON, and what things are


def _json(value: object, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, ensure_ascii=False, separators=separators, indent=indent, sort_keys=True)


def _from_json(value: object) -> object:
    try:
        return json.loads(_text(value))
    except (ValueError, RecursionError):
        raise ExecutionFailed("this is no JSON") from None


_KINDS = {
    "string": "string",
    "bool": "bool",
    "int": "int",
    "float64": "float64",
    "[]interface {}": "slice",
    "map[string]interface {}": "map",
    "<nil>": "invalid",
}


def _kind(value: object) -> str:
    return _KINDS[type_name(value)]


FUNCTIONS: dict[str, Function] = {
    # Go's own. How far `and` and `or` look is decided in `pushd.gateway.ntfy.gotemplate.execution`.
    "and": Function(lambda *values: values[-1], 1, _ANY_NUMBER),
    "or": Function(lambda *values: values[-1], 1, _ANY_NUMBER),
    "not": Function(lambda value: not is_true(value), 1, 1),
    "eq": Function(equal, 2, _ANY_NUMBER),
    "ne": Function(lambda first, second: not equal(first, second), 2, 2),
    "lt": Function(less, 2, 2),
    "le": Function(lambda first, second: not less(second, first), 2, 2),
    "gt": Function(lambda first, second: less(second, first), 2, 2),
    "ge": Function(lambda first, second: not less(first, second), 2, 2),
    "len": Function(_length, 1, 1),
    "index": Function(_index, 1, _ANY_NUMBER),
    "slice": Function(_slice, 1, 3),
    "print": Function(_print, 0, _ANY_NUMBER, whole=True),
    "println": Function(_print_line, 0, _ANY_NUMBER, whole=True),
    "printf": Function(lambda format, *values: printf(_text(format), *values), 1, _ANY_NUMBER, whole=True),
    "html": Function(lambda value: html.escape(_string(value)), 1, 1, whole=True),
    "urlquery": Function(lambda value: quote_plus(_string(value), errors="replace"), 1, 1, whole=True),
    # Texts
    "trim": Function(lambda value: _text(value).strip(), 1, 1),
    "trimAll": Function(lambda letters, value: _text(value).strip(_text(letters)), 2, 2),
    "trimPrefix": Function(lambda start, value: _text(value).removeprefix(_text(start)), 2, 2),
    "trimSuffix": Function(lambda end, value: _text(value).removesuffix(_text(end)), 2, 2),
    "upper": Function(lambda value: _text(value).upper(), 1, 1),
    "lower": Function(lambda value: _text(value).lower(), 1, 1),
    "title": Function(lambda value: _WORD.sub(lambda word: word[0].capitalize(), _text(value)), 1, 1),
    "trunc": Function(_cut, 2, 2),
    "substr": Function(_substring, 3, 3),
    "repeat": Function(_repeat, 2, 2),
    "replace": Function(_replace, 3, 3),
    "contains": Function(lambda part, value: _text(part) in _text(value), 2, 2),
    "hasPrefix": Function(lambda start, value: _text(value).startswith(_text(start)), 2, 2),
    "hasSuffix": Function(lambda end, value: _text(value).endswith(_text(end)), 2, 2),
    "quote": Function(_quoted, 0, _ANY_NUMBER, whole=True),
    "squote": Function(_single_quoted, 0, _ANY_NUMBER, whole=True),
    "cat": Function(_cat, 0, _ANY_NUMBER, whole=True),
    "indent": Function(_indent, 2, 2),
    "nindent": Function(lambda count, value: "\n" + _indent(count, value), 2, 2),
    "plural": Function(_plural, 3, 3),
    "join": Function(_joined, 2, 2, whole=True),
    "split": Function(lambda separator, value: _numbered(_split(separator, value)), 2, 2),
    "splitn": Function(_split_n, 3, 3),
    "splitList": Function(_split, 2, 2),
    "toString": Function(_string, 1, 1, whole=True),
    "toStrings": Function(lambda value: [_string(part) for part in _list(value)], 1, 1, whole=True),
    "sha1sum": Function(_hashed("sha1"), 1, 1),
    "sha256sum": Function(_hashed("sha256"), 1, 1),
    "sha512sum": Function(_hashed("sha512"), 1, 1),
    "adler32sum": Function(lambda value: str(zlib.adler32(_bytes(value))), 1, 1),
    "b64enc": Function(lambda value: base64.b64encode(_bytes(value)).decode("ascii"), 1, 1),
    "b64dec": Function(_decoded(base64.b64decode), 1, 1),
    "b32enc": Function(lambda value: base64.b32encode(_bytes(value)).decode("ascii"), 1, 1),
    "b32dec": Function(_decoded(base64.b32decode), 1, 1),
    "base": Function(lambda value: posixpath.basename(_text(value)), 1, 1),
    "dir": Function(lambda value: posixpath.dirname(_text(value)) or ".", 1, 1),
    "ext": Function(lambda value: posixpath.splitext(_text(value))[1], 1, 1),
    # Numbers
    "add": Function(lambda *values: _wrapped(sum(map(_whole, values))), 0, _ANY_NUMBER),
    "add1": Function(lambda value: _wrapped(_whole(value) + 1), 1, 1),
    "sub": Function(lambda first, second: _wrapped(_whole(first) - _whole(second)), 2, 2),
    "mul": Function(_product, 1, _ANY_NUMBER),
    "div": Function(_divided, 2, 2),
    "mod": Function(_remainder, 2, 2),
    "max": Function(lambda *values: max(map(_whole, values)), 1, _ANY_NUMBER),
    "biggest": Function(lambda *values: max(map(_whole, values)), 1, _ANY_NUMBER),
    "min": Function(lambda *values: min(map(_whole, values)), 1, _ANY_NUMBER),
    "maxf": Function(lambda *values: max(map(_floating, values)), 1, _ANY_NUMBER),
    "minf": Function(lambda *values: min(map(_floating, values)), 1, _ANY_NUMBER),
    "floor": Function(_whole_part(math.floor), 1, 1),
    "ceil": Function(_whole_part(math.ceil), 1, 1),
    "round": Function(_rounded, 1, 2),
    "atoi": Function(lambda value: _whole(_text(value)), 1, 1),
    "until": Function(_until, 1, 1),
    "untilStep": Function(_until_step, 3, 3),
    # Choosing
    "default": Function(_default, 1, 2),
    "empty": Function(lambda value: not is_true(value), 1, 1),
    "coalesce": Function(_coalesce, 0, _ANY_NUMBER),
    "all": Function(lambda *values: all(map(is_true, values)), 0, _ANY_NUMBER),
    "any": Function(lambda *values: any(map(is_true, values)), 0, _ANY_NUMBER),
    "ternary": Function(_ternary, 3, 3),
    "fail": Function(_fail, 1, 1),
    # Lists and objects
    "list": Function(lambda *values: list(values), 0, _ANY_NUMBER),
    "tuple": Function(lambda *values: list(values), 0, _ANY_NUMBER),
    "first": Function(_first, 1, 1),
    "last": Function(_last, 1, 1),
    "rest": Function(lambda value: _list(value)[1:], 1, 1),
    "initial": Function(lambda value: _list(value)[:-1], 1, 1),
    "reverse": Function(lambda value: _list(value)[::-1], 1, 1),
    "append": Function(lambda value, part: [*_list(value), part], 2, 2),
    "push": Function(lambda value, part: [*_list(value), part], 2, 2),
    "prepend": Function(lambda value, part: [part, *_list(value)], 2, 2),
    "concat": Function(_concatenated, 0, _ANY_NUMBER),
    "chunk": Function(_chunked, 2, 2),
    "compact": Function(lambda value: list(filter(is_true, _list(value))), 1, 1),
    "uniq": Function(_unique, 1, 1, whole=True),
    "without": Function(_without, 1, _ANY_NUMBER, whole=True),
    "has": Function(_has, 2, 2, whole=True),
    "sortAlpha": Function(lambda value: sorted(map(_string, _list(value))), 1, 1, whole=True),
    "dict": Function(_dict, 0, _ANY_NUMBER, whole=True),
    "get": Function(_get, 2, 2),
    "set": Function(_set, 3, 3),
    "unset": Function(_omit, 2, 2),
    "hasKey": Function(lambda value, key: _text(key) in _object(value), 2, 2),
    "keys": Function(_keys, 0, _ANY_NUMBER),
    "values": Function(_values, 1, 1),
    "pluck": Function(_pluck, 1, _ANY_NUMBER),
    "pick": Function(_pick, 1, _ANY_NUMBER),
    "omit": Function(_omit, 1, _ANY_NUMBER),
    "dig": Function(_dig, 3, _ANY_NUMBER),
    "deepEqual": Function(_same, 2, 2, whole=True),
    # JSON, and what things are
    "toJSON": Function(_json, 1, 1, whole=True),
    "toRawJSON": Function(_json, 1, 1, whole=True),
    "toPrettyJSON": Function(lambda value: _json(value, indent=2), 1, 1, whole=True),
    "fromJSON": Function(_from_json, 1, 1),
    "typeOf": Function(type_name, 1, 1),
    "typeIs": Function(lambda name, value: name == type_name(value), 2, 2),
    "kindOf": Function(_kind, 1, 1),
    "kindIs": Function(lambda name, value: name == _kind(value), 2, 2),
}

# sprig's names for those that fail instead of giving nothing. Here everything fails that cannot be done.
_MUST: tuple[str, ...] = ("append", "chunk", "compact", "first", "fromJSON", "has", "initial", "last")
_MUST += (
    "prepend",
    "push",
    "rest",
    "reverse",
    "slice",
    "toJSON",
    "toPrettyJSON",
    "toRawJSON",
    "uniq",
    "without",
)
FUNCTIONS |= {f"must{name[0].upper()}{name[1:]}": FUNCTIONS[name] for name in _MUST}
