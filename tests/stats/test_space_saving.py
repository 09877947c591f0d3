"""`pushd.stats.space_saving`: what the sketch promises, against counts that forget nothing."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.stats.space_saving import Counted, SpaceSaving

names = st.one_of(st.sampled_from("abc"), st.integers(0, 60).map(str))
streams = st.lists(st.tuples(names, st.integers(1, 50)), max_size=400)


def sketch_of(capacity: int, stream: list[tuple[str, int]]) -> SpaceSaving:
    sketch = SpaceSaving(capacity)
    sketch.add_all(stream)
    return sketch


def exactly(stream: list[tuple[str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, weight in stream:
        counts[name] += weight
    return counts


class BoundTests(SynchronousTestCase):
    """Metwally, Agrawal, El Abbadi 2005"""

    @given(st.integers(1, 12), streams)
    def test_counts(self, capacity: int, stream: list[tuple[str, int]]) -> None:
        """No figure is too high, and none is too low by more than its error, which is at most N / K."""
        sketch, counts = sketch_of(capacity, stream), exactly(stream)
        assert sketch.total == sum(counts.values())
        for name in counts:
            _, certain, error = sketch.of(name)
            assert certain <= counts[name] <= certain + error
            assert error * capacity <= sketch.total

    @given(st.integers(1, 12), streams)
    def test_frequent_names_are_there(self, capacity: int, stream: list[tuple[str, int]]) -> None:
        """Whatever has more than N / K of it all, before and after the last trim."""
        sketch, counts = sketch_of(capacity, stream), exactly(stream)
        frequent = {name for name, count in counts.items() if count * capacity > sketch.total}
        assert frequent <= {name for name, _, _ in sketch}
        sketch.trim()
        assert frequent <= {name for name, _, _ in sketch}

    @given(st.integers(1, 12), streams)
    def test_size(self, capacity: int, stream: list[tuple[str, int]]) -> None:
        """Twice the capacity at most, and the capacity when it is trimmed."""
        sketch = SpaceSaving(capacity)
        for name, weight in stream:
            sketch.add(name, weight)
            assert len(sketch) <= 2 * capacity
        sketch.trim()
        assert len(sketch) <= capacity

    @given(streams.filter(lambda stream: len({name for name, _ in stream}) <= 20))
    def test_few_names_are_exact(self, stream: list[tuple[str, int]]) -> None:
        """While there is room for all, nothing is estimated."""
        sketch = sketch_of(20, stream)
        assert {name: certain for name, certain, error in sketch if not error} == dict(exactly(stream))

    @given(streams)
    def test_pieces(self, stream: list[tuple[str, int]]) -> None:
        """It does not matter in what pieces it is told."""
        one_by_one = SpaceSaving(5)
        for name, weight in stream:
            one_by_one.add(name, weight)
        assert list(one_by_one) == list(sketch_of(5, stream))


class NewcomerTests(SynchronousTestCase):
    """Who comes when there is no room."""

    def test_inherits_the_smallest_count(self) -> None:
        """It may have been there before, so its error is the most that may have been forgotten."""
        sketch = sketch_of(2, [("a", 9), ("b", 8), ("c", 3), ("d", 2)])
        sketch.add("e", 5)
        self.assertEqual(sketch.of("e"), Counted("e", 5, 3))
        self.assertEqual(sketch.of("c"), Counted("c", 0, 3))
        self.assertEqual(sketch.of("a"), Counted("a", 9, 0))

    def test_flood(self) -> None:
        """A hundred thousand names that come once do not drive out those that come often."""
        sketch = SpaceSaving(100)
        sketch.add_all(chain.from_iterable((("hot", 1), (f"cold/{n}", 1)) for n in range(100_000)))
        self.assertEqual(sketch.of("hot"), Counted("hot", 100_000, 0))
        self.assertLessEqual(sketch.floor, 2000)
