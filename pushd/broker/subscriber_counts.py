"""
How many subscribe to each topic filter, and which filters most do.

Kept up to date with each subscription, so that nobody has to walk along a million of them to know which are
the ten with the most subscribers. Filters stand in drawers by their count; those with a single subscriber, on
a push server nearly all, are in no drawer. With s subscriptions there are at most sqrt(2 s) drawers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice


class SubscriberCounts:
    """
    A member of a shared group counts like any subscriber of the filter.

    :ivar changed: filters whose count has changed since somebody has emptied it; ``None`` while nobody does.
    """

    __slots__ = ("_counts", "_drawers", "changed")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._drawers: dict[int, dict[str, None]] = {}  # dicts: among equals, who came first stands first
        self.changed: set[str] | None = None

    def __len__(self) -> int:
        """How many filters there are."""
        return len(self._counts)

    def __iter__(self) -> Iterator[str]:
        """All filters."""
        return iter(self._counts)

    def of(self, filter: str) -> int:
        """How many subscribe to exactly this filter."""
        return self._counts.get(filter, 0)

    def change(self, filter: str, change: int) -> None:
        """So many more subscribe to it, or fewer."""
        old = self._counts.get(filter, 0)
        count = old + change
        self._file(filter, old, count)
        if count:
            self._counts[filter] = count
        else:
            del self._counts[filter]
        if self.changed is not None:
            self.changed.add(filter)

    def _file(self, filter: str, old: int, count: int) -> None:
        """Move a filter from the drawer of its old count to that of its new one."""
        if old > 1:
            drawer = self._drawers[old]
            del drawer[filter]
            if not drawer:
                del self._drawers[old]
        if count > 1:
            self._drawers.setdefault(count, {})[filter] = None

    def top(self, count: int) -> list[tuple[str, int]]:
        """The filters with the most subscribers, and how many that are; the most first."""
        return list(islice(self._by_count(), count))

    def _by_count(self) -> Iterator[tuple[str, int]]:
        for count in sorted(self._drawers, reverse=True):
            yield from ((filter, count) for filter in self._drawers[count])
        yield from ((filter, 1) for filter, count in self._counts.items() if count == 1)
