"""
Who is counted most, of more than can be remembered: the space-saving sketch.

Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005:
keep `capacity` names with a count each; a newcomer takes the place of the name with the smallest count, and
starts from that count, since it may have been there before. How much of a name's count it has only inherited
is its error. With N the sum of all weights that were added and K the capacity,

- what is told of a name is at most what was really added, and at most its error too little;
- no error is above N / K;
- each name of which more than N / K was added is there.

There is one thing about it that is not in the paper: newcomers are let in until there are twice as many names
as there should be, and then the smaller half goes at once. To find the smallest for each newcomer would take
ten times as long as to count. The bounds stay, since whenever the floor rises by some weight, that much is
taken from at least K + 1 names, each of which had it (Agarwal et al., "Mergeable Summaries", 2012, §2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Counted(NamedTuple):
    """
    :ivar certain: what was certainly added of a name.
    :ivar error: how much more it may have been, at most.
    """

    name: str
    certain: int
    error: int


class SpaceSaving:
    """
    Holds at most twice `capacity` names.

    :ivar floor: the most that may have been added of a name that is not there.
    :ivar total: the sum of all weights, N in the bounds above.
    """

    __slots__ = ("_counts", "_inherited", "capacity", "floor", "total")

    def __init__(self, capacity: int) -> None:
        """:param capacity: K in the bounds above, at least 1."""
        self.capacity = capacity
        self.floor = 0
        self.total = 0
        self._counts: dict[str, int] = {}  # with what was inherited
        self._inherited: dict[str, int] = {}  # only of those that have: most often nobody has

    def __len__(self) -> int:
        return len(self._counts)

    def __iter__(self) -> Iterator[Counted]:
        """All names that are there, in no order."""
        inherited = self._inherited
        for name, count in self._counts.items():
            error = inherited.get(name, 0)
            yield Counted(name, count - error, error)

    def add(self, name: str, weight: int = 1) -> None:
        """Count a name `weight` times, at least once."""
        self.add_all(((name, weight),))

    def add_all(self, weights: Iterable[tuple[str, int]]) -> None:
        """Count many names, in a fifth of the time that one by one takes."""
        counts, inherited, floor, most = self._counts, self._inherited, self.floor, 2 * self.capacity
        total = 0
        for name, weight in weights:
            total += weight
            if name in counts:
                counts[name] += weight
                continue
            if len(counts) >= most:
                self.trim()
                floor = self.floor
            counts[name] = floor + weight
            if floor:
                inherited[name] = floor
        self.total += total

    def trim(self) -> None:
        """Keep the `capacity` names with the highest counts; among equals, those that were there first."""
        counts, inherited = self._counts, self._inherited
        if len(counts) <= self.capacity:
            return
        ranked = sorted(counts, key=counts.__getitem__, reverse=True)
        self.floor = counts[ranked[self.capacity]]
        for name in ranked[self.capacity :]:
            del counts[name]
            inherited.pop(name, None)

    def add_up(self, totals: dict[str, int]) -> None:
        """Add what was certainly added of each name to what is there."""
        inherited = self._inherited
        for name, count in self._counts.items():
            totals[name] = totals.get(name, 0) + count - inherited.get(name, 0)

    def of(self, name: str) -> Counted:
        """What there is to say of a name; of one that is not there, that it may be up to the floor."""
        count = self._counts.get(name)
        if count is None:
            return Counted(name, 0, self.floor)
        error = self._inherited.get(name, 0)
        return Counted(name, count - error, error)
