"""`pushd.broker.topic_map`: names asked with a filter, all at once or step by step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.topic_map import SortedNames, TopicMap, Walk
from pushd.mqtt.topics import MAX_LEVELS, matches

# Among them the neighbours of a slash and of a dollar, and the last character that there is.
levels = st.sampled_from(["", "a", "b", "a!", "a0", "ab", "$SYS", "!", "%", "\U0010ffff"])
names = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool)
filters = st.lists(st.one_of(levels, st.just("+")), min_size=1, max_size=5).flatmap(
    lambda path: st.sampled_from(["/".join(path), "/".join([*path, "#"]), "#"])
)


def map_of(*names: str) -> TopicMap[str]:
    """Each name is its own value."""
    topics: TopicMap[str] = TopicMap()
    for name in names:
        topics.set(name, name)
    return topics


class MatchTests(SynchronousTestCase):
    """v5 §4.7, the other way round"""

    def test_filters(self) -> None:
        """Exact, one level, this level and all below."""
        topics = map_of("a", "a/b", "a/b/c", "b", "/a", "$SYS/x")
        table = {
            "a/b": ["a/b"],
            "nowhere": [],
            "+": ["a", "b"],
            "a/+": ["a/b"],
            "a/#": ["a", "a/b", "a/b/c"],
            "+/b/#": ["a/b", "a/b/c"],
            "#": ["/a", "a", "a/b", "a/b/c", "b"],
            "+/+/c": ["a/b/c"],
            "+/#": ["/a", "a", "a/b", "a/b/c", "b"],
            "$SYS/#": ["$SYS/x"],
            "+/x": [],
            "/+": ["/a"],
        }
        self.assertEqual(table, {filter: topics.match(filter) for filter in table})

    def test_deepest_topic(self) -> None:
        """As many levels as are allowed do not strain the stack."""
        name = "/".join(["x"] * MAX_LEVELS)
        self.assertEqual([name], map_of(name).match("#"))

    @given(st.lists(names, max_size=15, unique=True), filters)
    def test_as_the_matcher_says(self, names: list[str], filter: str) -> None:
        """Exactly those names that `matches` says, once each and in their order."""
        self.patch(SortedNames, "_PIECE", 2)
        self.patch(Walk, "STEP", 3)
        expected = sorted(name for name in names if matches(filter, name))
        self.assertEqual(expected, map_of(*names).match(filter))


class MappingTests(SynchronousTestCase):
    """What is set, replaced and removed"""

    def test_replace(self) -> None:
        """A name has one value, the last."""
        topics = map_of("a/b")
        topics.set("a/b", "new")
        self.assertEqual(
            ("new", ["new"], ["new"], 1),
            (topics.get("a/b"), topics.match("+/b"), topics.values(), len(topics)),
        )

    def test_remove(self) -> None:
        """A name that is removed is gone for every filter; its neighbours stay."""
        topics = map_of("a", "a/b", "a/b/c")
        topics.remove("a/b")
        topics.remove("never there")
        self.assertEqual(["a", "a/b/c"], sorted(topics.match("#")))
        self.assertIsNone(topics.get("a/b"))

    def test_clear(self) -> None:
        """Everything goes at once."""
        topics = map_of("a", "b/c")
        topics.clear()
        self.assertEqual((0, [], []), (len(topics), topics.match("#"), topics.values()))

    @given(st.lists(st.tuples(st.booleans(), names), max_size=30))
    def test_like_a_dict(self, changes: list[tuple[bool, str]]) -> None:
        """Whatever is set and removed, values come in the order in which their names were first set."""
        topics: TopicMap[str] = TopicMap()
        there: dict[str, str] = {}
        for keep, name in changes:
            if keep:
                topics.set(name, name)
                there[name] = name
            else:
                topics.remove(name)
                there.pop(name, None)
        self.assertEqual(list(there), topics.values())
        self.assertEqual(sorted(name for name in there if name[0] != "$"), topics.match("#"))

    @given(st.dictionaries(names, st.just("old")), st.dictionaries(names, st.just("new")))
    def test_update(self, old: dict[str, str], new: dict[str, str]) -> None:
        """Many at once are the same as one by one."""
        topics: TopicMap[str] = TopicMap()
        topics.update(old)
        topics.update(new)
        both = {name: value for name, value in (old | new).items() if name[0] != "$"}
        self.assertEqual([both[name] for name in sorted(both)], topics.match("#"))


class WalkTests(SynchronousTestCase):
    """A search in steps"""

    @given(
        st.lists(names, min_size=1, max_size=15, unique=True),
        filters,
        st.lists(st.tuples(st.booleans(), names), max_size=30),
    )
    def test_changes_between_steps(
        self, before: list[str], filter: str, changes: list[tuple[bool, str]]
    ) -> None:
        """What is there all along is found, once; what comes or goes, perhaps; what does not match, never."""
        self.patch(SortedNames, "_PIECE", 2)
        self.patch(Walk, "STEP", 1)
        topics = map_of(*before)
        removed = {name for keep, name in changes if not keep}
        walk, found = topics.walk(filter), []
        while not walk.over:
            found += walk.step()
            if changes:
                keep, name = changes.pop()
                topics.set(name, name) if keep else topics.remove(name)
        self.assertEqual(len(set(found)), len(found))
        self.assertLessEqual({name for name in before if matches(filter, name)} - removed, set(found))
        self.assertTrue(all(matches(filter, name) for name in found))

    def test_steps_are_small(self) -> None:
        """However many there are, and whether they match or not, a step looks at a few."""
        topics = map_of(*[f"a/{n}/b" for n in range(3000)])
        for filter in ("#", "+/+/c", "+/+/b", "a/#"):
            walk = topics.walk(filter)
            while not walk.over:
                before = walk.looked_at
                walk.step()
                self.assertLessEqual(walk.looked_at - before, Walk.STEP)

    def test_nothing_there(self) -> None:
        """A walk in an empty map is over after a step that finds nothing, and stays so."""
        for filter in ("a", "a/#", "+", "#"):
            walk = map_of().walk(filter)
            self.assertEqual(([], True, []), (walk.step(), walk.over, walk.step()))

    def test_leaps(self) -> None:
        """What lies between two matches is not looked at."""
        topics = map_of(*[f"d/{device}/{topic}" for device in range(100) for topic in range(100)])
        walk = topics.walk("d/+/50")
        found = []
        while not walk.over:
            found += walk.step()
        self.assertEqual(100, len(found))
        self.assertLess(walk.looked_at, 400)

    def test_deep_names(self) -> None:
        """
        A filter of nothing but ``+`` among names with as many levels looks at each name once at most: there
        is one way through the row, where a tree may branch at every level.
        """
        topics = map_of(*["/".join([*format(n, "08b"), *"x" * (MAX_LEVELS - 8)]) for n in range(256)])
        for filter in ("/".join("+" * MAX_LEVELS), "/".join([*"+" * (MAX_LEVELS - 1), "y"])):
            walk = topics.walk(filter)
            while not walk.over:
                walk.step()
            self.assertLessEqual(walk.looked_at, 256)


class SortedNamesTests(SynchronousTestCase):
    """The row itself"""

    def test_nothing_is_left_behind(self) -> None:
        """When the last name is gone, so is every piece."""
        row = SortedNames()
        for n in range(2000):
            row.add(str(n))
        for n in range(2000):
            row.remove(str(n))
        self.assertEqual(([], []), (row._pieces, row._lasts))

    def test_pieces_are_split(self) -> None:
        """To add a name moves a few hundred others at most, wherever it belongs."""
        row = SortedNames()
        for n in range(5000):
            row.add(f"{n:04}"[::-1])
        self.assertLess(max(len(piece) for piece in row._pieces), 1000)
        self.assertEqual([piece[-1] for piece in row._pieces], row._lasts)
