"""
Which of these topic names does a filter match? The other way round than `pushd.broker.trie`.

Retained messages are asked so by each SUBSCRIBE, cached routes by each change of a subscription.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class _Level(Generic[T]):
    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[str, _Level[T]] | None = None
        self.value: T | None = None


class TopicTree(Generic[T]):
    """A mapping from topic names to values that can be asked with a topic filter. ``None`` is no value."""

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._root: _Level[T] = _Level()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str) -> T | None:
        """The value of exactly this name."""
        return self._values.get(name)

    def values(self) -> list[T]:
        """All of them, in the order in which their names were first set."""
        return list(self._values.values())

    def set(self, name: str, value: T) -> None:
        """Give this name a value, in place of the one that it had."""
        self._values[name] = value
        level = self._root
        for word in name.split("/"):
            if level.children is None:
                level.children = {}
            below = level.children.get(word)
            if below is None:
                below = level.children[word] = _Level()
            level = below
        level.value = value

    def remove(self, name: str) -> None:
        """Forget this name; one that is not there is no error."""
        if self._values.pop(name, None) is None:
            return
        path = [("", self._root)]
        for word in name.split("/"):
            children = path[-1][1].children
            assert children is not None  # the name was set
            path.append((word, children[word]))
        path[-1][1].value = None
        while len(path) > 1:
            word, level = path.pop()
            if level.value is not None or level.children:
                return
            above = path[-1][1].children
            assert above is not None
            del above[word]

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()
        self._root = _Level()

    def match(self, filter: str) -> list[T]:
        """
        The values of all names that this filter matches (v5 §4.7). Names with a leading ``$`` are not
        matched by a wildcard on the first level (v5 [MQTT-4.7.2-1]).
        """
        if "+" not in filter and "#" not in filter:
            value = self._values.get(filter)
            return [] if value is None else [value]
        levels = [self._root]
        for depth, word in enumerate(filter.split("/")):
            if word == "#":
                return self._all_below(levels, from_root=depth == 0)
            levels = _step(levels, word, from_root=depth == 0)
        return [level.value for level in levels if level.value is not None]

    @staticmethod
    def _all_below(levels: list[_Level[T]], from_root: bool) -> list[T]:
        found = []
        waiting = list(levels)
        if from_root:
            waiting = _step(levels, "+", from_root=True)
        while waiting:
            level = waiting.pop()
            if level.value is not None:
                found.append(level.value)
            if level.children is not None:
                waiting.extend(level.children.values())
        return found


def _step(levels: list[_Level[T]], word: str, from_root: bool) -> list[_Level[T]]:
    """One level down, from each of `levels` to where `word` of a filter leads."""
    below: list[_Level[T]] = []
    for level in levels:
        if level.children is None:
            continue
        if word != "+":
            child = level.children.get(word)
            if child is not None:
                below.append(child)
        elif from_root:
            below.extend(child for name, child in level.children.items() if not name.startswith("$"))
        else:
            below.extend(level.children.values())
    return below
