"""
Which of these topic names does a filter match? The other way round than `pushd.broker.trie`.

Retained messages are asked so by each SUBSCRIBE, cached routes by each change of a subscription.

All names stand in one sorted row, where those that begin alike are neighbours: ``a/b/#`` is ``a/b`` and what
lies from ``a/b/`` up to ``a/b0`` (in Unicode, ``0`` follows ``/``); a filter with ``+`` is a search that
leaps from one stretch of the row to the next. A tree of levels would find the way a little faster, but takes
a node and a dict for each level of each name, 48 KB for a name of 200 levels; and somebody who walks in it
loses his way when it changes. In a row he only remembers the name at which he goes on.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class TopicMap(Generic[T]):
    """A mapping from topic names to values that can be asked with a topic filter. ``None`` is no value."""

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._names = SortedNames()

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
        if name not in self._values:
            self._names.add(name)
        self._values[name] = value

    def update(self, values: Mapping[str, T]) -> None:
        """Set many at once: for a million names, in a fifth of the time that one by one takes."""
        self._values.update(values)
        self._names.fill(self._values)

    def remove(self, name: str) -> None:
        """Forget this name; one that is not there is no error."""
        if self._values.pop(name, None) is not None:
            self._names.remove(name)

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()
        self._names.fill(())

    def walk(self, filter: str) -> Walk:
        """Begin to look for the names that this filter matches (v5 §4.7), a few at a time."""
        return Walk(self._names, filter)

    def match(self, filter: str) -> list[T]:
        """The values of all names that this filter matches, in the order of their names."""
        walk = self.walk(filter)
        found: list[T] = []
        while not walk.over:
            found += [self._values[name] for name in walk.step()]
        return found


class SortedNames:
    """Distinct names, ordered by their code points, in pieces: to add one moves a few hundred, not all."""

    _PIECE = 256  # names in a piece that was split; twice as many are split again

    __slots__ = ("_lasts", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[list[str]] = []  # none of them empty
        self._lasts: list[str] = []  # the last name of each

    def fill(self, names: Iterable[str]) -> None:
        """Hold these names and no others."""
        row = sorted(names)
        self._pieces[:] = [row[at : at + self._PIECE] for at in range(0, len(row), self._PIECE)]
        self._lasts[:] = [piece[-1] for piece in self._pieces]

    def add(self, name: str) -> None:
        """Add a name that is not there."""
        if not self._pieces:
            self.fill((name,))
            return
        at = min(bisect_left(self._lasts, name), len(self._pieces) - 1)
        piece = self._pieces[at]
        insort(piece, name)
        self._lasts[at] = piece[-1]
        if len(piece) >= 2 * self._PIECE:
            self._pieces.insert(at, piece[: self._PIECE])
            del piece[: self._PIECE]
            self._lasts.insert(at, self._pieces[at][-1])

    def remove(self, name: str) -> None:
        """Take out a name that is there."""
        at = bisect_left(self._lasts, name)
        piece = self._pieces[at]
        del piece[bisect_left(piece, name)]
        if piece:
            self._lasts[at] = piece[-1]
        else:
            del self._pieces[at], self._lasts[at]

    def page(self, start: str, count: int) -> list[str]:
        """Some names from `start` on, `count` at most and at least one; none if there are no more."""
        at = bisect_left(self._lasts, start)
        if at == len(self._lasts):
            return []
        piece = self._pieces[at]
        first = bisect_left(piece, start)
        return piece[first : first + count]


class Walk:
    """
    A search that one can take a rest from.

    Between two steps names may come and go. One that is there from the beginning to the end is not missed;
    one that was added or removed meanwhile may be found or not.

    :ivar looked_at: how many names it has compared so far, those that match included.
    """

    # Names in a step. Comparing takes half a microsecond each, or ten if a name has 200 levels.
    STEP = 50

    __slots__ = ("_levels", "_names", "_stretches", "looked_at")

    def __init__(self, names: SortedNames, filter: str) -> None:
        self._names = names
        # Where it goes on and where it ends, the next one last. All matches are in these parts of the row.
        self._stretches = _stretches(filter)
        # The filter's levels, if a name in its stretches must be compared with them.
        self._levels = filter.split("/") if "+" in filter else None
        self.looked_at = 0

    @property
    def over(self) -> bool:
        """Whether there is nothing more to find."""
        return not self._stretches

    def step(self) -> list[str]:
        """:return: some more names that match; perhaps none, though it is not over."""
        while self._stretches:
            start, end = self._stretches.pop()
            page, goal = self._page(start, end)
            found = page
            if self._levels is None:
                self.looked_at += len(page)
            else:
                found, goal = self._compared(self._levels, page, goal)
            if goal < end:
                self._stretches.append((goal, end))
            if page:
                return found
        return []

    def _page(self, start: str, end: str) -> tuple[list[str], str]:
        """:return: some names of a stretch, and where to go on behind them."""
        page = self._names.page(start, self.STEP)
        if page and page[-1] < end:
            return page, _next(page[-1])
        return page[: bisect_left(page, end)], end

    def _compared(self, levels: list[str], page: list[str], goal: str) -> tuple[list[str], str]:
        """:return: those of a page that match, and `goal`, or a place behind it: where to go on."""
        found = []
        at = 0
        while at < len(page):
            self.looked_at += 1
            leap = _next_match(levels, page[at])
            at += 1
            if leap is None:
                found.append(page[at - 1])
            elif leap > page[-1]:
                return found, max(goal, leap)
            else:
                at = bisect_left(page, leap, at)
        return found, goal


# Behind all names: longer than any that begins with the last character that there is.
_LAST = "\U0010ffff" * 16_384


def _stretches(filter: str) -> list[tuple[str, str]]:
    """Parts of the row, each with its end exclusive and the first one last, that hold all matches."""
    wildcards = [at for at in (filter.find("+"), filter.find("#")) if at >= 0]
    if not wildcards:
        return [(filter, _next(filter))]
    prefix = filter[: min(wildcards)]
    if not prefix:
        # A wildcard on the first level matches no ``$`` topic (v5 [MQTT-4.7.2-1]); ``%`` follows ``$``.
        return [("%", _LAST), ("", "$")]
    stretch = prefix, prefix[:-1] + "0"
    if filter.endswith("#") and len(prefix) == len(filter) - 1:
        return [stretch, (prefix[:-1], _next(prefix[:-1]))]  # "a/#" matches "a", too (v5 §4.7.1.2)
    return [stretch]


def _next(name: str) -> str:
    """What follows next in the order of names, whether it is there or not."""
    return name + "\0"


def _next_match(levels: list[str], name: str) -> str | None:
    """
    Compare a name with a filter.

    :param levels: of a filter with a ``+``; the name is in its stretches.
    :return: ``None`` if it matches, otherwise the next name that perhaps does, if it is there.
    """
    words = name.split("/")
    for at, level in enumerate(levels):
        if level == "#":
            return None
        if at == len(words):
            return _next(name)  # "a" before "a!/c" and "a/c": nothing to leap over
        if level != "+" and level != words[at]:
            return _towards(levels, at, words, name)
    return None if len(words) == len(levels) else _behind(levels, len(levels), words)


def _towards(levels: list[str], at: int, words: list[str], name: str) -> str:
    """From a name whose word `at` is not that of the filter to where it is; see `_next_match`."""
    goal = "/".join((*words[:at], levels[at]))
    if goal > name:
        return goal
    # Perhaps "a/b" lies behind, and "a/b/c" still ahead: this is "a/b!" between the two.
    if at + 1 < len(levels) and (goal := goal + "/") > name:
        return goal
    return _behind(levels, at, words)


def _behind(levels: list[str], at: int, words: list[str]) -> str:
    """The end of all names that have the same word as this one for the last ``+`` before `at`."""
    last = at - 1
    while levels[last] != "+":
        last -= 1
    return "/".join(words[: last + 1]) + "0"
