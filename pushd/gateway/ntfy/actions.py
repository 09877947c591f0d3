"""
Action buttons: up to three things a notification offers to do.

Written either as JSON, a list of objects, or as text: actions parted by ``;``, each a list parted by ``,``
of an action's type, its label, its URL and then ``name=value``, any of which may stand in quotes:

    view, Open portal, https://example.com/, clear=true; http, Lock, https://example.com/lock, method=PUT

The server checks them, gives each an id, and passes them on; only a client ever acts on one.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from pushd.gateway.http.problems import ACTIONS_INVALID, Refusal

Action: TypeAlias = "dict[str, object]"

MAX_ACTIONS = 3

# What an action of this type must have besides a label, in the order in which text may leave its name out.
REQUIRED: dict[str, tuple[str, ...]] = {
    "view": ("url",),
    "http": ("url",),
    "broadcast": (),
    "copy": ("value",),
}

TEXTS = frozenset({"label", "url", "method", "body", "intent", "value"})
TABLES = frozenset({"headers", "extras"})  # in text: headers.NAME=value


def actions_of_json(listed: list[object]) -> tuple[Action, ...]:
    """
    :raises Refusal: 40018.
    """
    if len(listed) > MAX_ACTIONS:
        raise Refusal(ACTIONS_INVALID)
    return tuple(_checked(number, action) for number, action in enumerate(listed, 1))


def actions_of_text(text: str) -> tuple[Action, ...]:
    """
    :raises Refusal: 40018.
    """
    if not text.startswith("["):
        return actions_of_json([_action_of_words(words) for words in _words(text) if words != [("", "")]])
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        raise Refusal(ACTIONS_INVALID) from None
    return actions_of_json(listed)


def _checked(number: int, said: object) -> Action:
    if not isinstance(said, dict):
        raise Refusal(ACTIONS_INVALID)
    # Clients that make JSON of objects write null for what is not set.
    action = {name: value for name, value in said.items() if value is not None}
    kind = action.get("action")
    if not isinstance(kind, str) or kind not in REQUIRED:
        raise Refusal(ACTIONS_INVALID)
    needed = ("label", *REQUIRED[kind])
    if not all(action.get(name) for name in needed) or not all(map(_is_sound, action.items())):
        raise Refusal(ACTIONS_INVALID)
    checked: Action = {"id": f"action{number}", "action": kind}
    checked.update((name, action[name]) for name in action if name in TEXTS | TABLES | {"clear"})
    if kind == "http":
        checked.setdefault("method", "POST")
    return checked


def _is_sound(item: tuple[str, object]) -> bool:
    """Whether a field has the type that clients take for granted. Fields nobody knows are left out anyway."""
    name, value = item
    if name in TEXTS:
        return isinstance(value, str) and _is_utf8(value)
    if name in TABLES:
        return isinstance(value, dict) and all(
            isinstance(part, str) and _is_utf8(part) for pair in value.items() for part in pair
        )
    return name != "clear" or isinstance(value, bool)


def _is_utf8(text: str) -> bool:
    """JSON's escapes can spell lone surrogates, which no UTF-8 can."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _action_of_words(words: list[tuple[str, str]]) -> Action:
    """
    :param words: ``(name, value)`` of each part; the name is ``""`` where none was written.
    """
    action: Action = {}
    unnamed = ["action", "label"]
    for name, value in words:
        if not name:
            if not unnamed:
                raise Refusal(ACTIONS_INVALID)
            name = unnamed.pop(0)
        _put(action, name, value)
        if name == "action":
            unnamed += REQUIRED.get(value, ())
    return action


def _put(action: Action, name: str, value: str) -> None:
    table, dot, key = name.partition(".")
    if dot and table in TABLES:
        entries = action.setdefault(table, {})
        assert isinstance(entries, dict)
        entries[key] = value
    elif name == "clear":
        action[name] = value in ("1", "yes", "true")
    elif name == "action" or name in TEXTS:
        action[name] = value
    else:
        raise Refusal(ACTIONS_INVALID)


def _words(text: str) -> list[list[tuple[str, str]]]:
    """Cut `text` into actions, and each into its ``(name, value)`` parts."""
    actions: list[list[tuple[str, str]]] = [[]]
    at = 0
    while True:
        name, at = _name(text, at)
        value, at = _value(text, at)
        actions[-1].append((name, value))
        if at >= len(text):
            return actions
        if text[at] == ";":
            actions.append([])
        at += 1


def _name(text: str, at: int) -> tuple[str, int]:
    """The name of the ``name=value`` at `at`, and where its value starts; ``""`` if there is no name."""
    end = at
    while end < len(text) and (text[end].isalnum() or text[end] in " ._-"):
        end += 1
    name = text[at:end].strip()
    known = name in TEXTS or name in ("action", "clear") or name.partition(".")[0] in TABLES
    return (name, end + 1) if known and text[end : end + 1] == "=" else ("", at)


def _value(text: str, at: int) -> tuple[str, int]:
    """
    A value, up to the ``,`` or ``;`` that ends it; in quotes it may hold either.

    :raises Refusal: 40018, an open quote, or something between a quote's end and the next part.
    """
    while text[at : at + 1].isspace():
        at += 1
    quote = text[at : at + 1]
    if quote and quote in "'\"":
        return _quoted(text, at + 1, quote)
    end = at
    while end < len(text) and text[end] not in ",;":
        end += 1
    return text[at:end].strip(), end


def _quoted(text: str, at: int, quote: str) -> tuple[str, int]:
    letters = []
    while at < len(text) and text[at] != quote:
        if text[at] == "\\" and text[at + 1 : at + 2] == quote:
            at += 1
        letters.append(text[at])
        at += 1
    if at >= len(text):
        raise Refusal(ACTIONS_INVALID)
    at += 1
    while text[at : at + 1].isspace():
        at += 1
    if at < len(text) and text[at] not in ",;":
        raise Refusal(ACTIONS_INVALID)
    return "".join(letters), at
