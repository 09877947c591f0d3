"""`pushd.broker.topic_tree`: names asked with a filter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.topic_tree import TopicTree
from pushd.mqtt.topics import MAX_LEVELS, matches

levels = st.sampled_from(["", "a", "b", "$SYS"])
names = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool)
filters = st.lists(st.one_of(levels, st.just("+")), min_size=1, max_size=5).flatmap(
    lambda path: st.sampled_from(["/".join(path), "/".join([*path, "#"]), "#"])
)


def tree_of(*names: str) -> TopicTree[str]:
    """Each name is its own value."""
    tree: TopicTree[str] = TopicTree()
    for name in names:
        tree.set(name, name)
    return tree


class MatchTests(SynchronousTestCase):
    """v5 §4.7, the other way round"""

    def test_filters(self) -> None:
        """Exact, one level, this level and all below."""
        tree = tree_of("a", "a/b", "a/b/c", "b", "/a", "$SYS/x")
        table = {
            "a/b": ["a/b"],
            "nowhere": [],
            "+": ["a", "b"],
            "a/+": ["a/b"],
            "a/#": ["a", "a/b", "a/b/c"],
            "+/b/#": ["a/b", "a/b/c"],
            "#": ["/a", "a", "a/b", "a/b/c", "b"],
            "$SYS/#": ["$SYS/x"],
            "+/x": [],
            "/+": ["/a"],
        }
        self.assertEqual(table, {filter: sorted(tree.match(filter)) for filter in table})

    def test_deepest_topic(self) -> None:
        """As many levels as are allowed do not strain the stack."""
        name = "/".join(["x"] * MAX_LEVELS)
        self.assertEqual([name], tree_of(name).match("#"))

    @given(st.lists(names, max_size=15, unique=True), filters)
    def test_as_the_matcher_says(self, names: list[str], filter: str) -> None:
        """Exactly those names that `matches` says, once each."""
        expected = sorted(name for name in names if matches(filter, name))
        self.assertEqual(expected, sorted(tree_of(*names).match(filter)))


class MappingTests(SynchronousTestCase):
    """What is set, replaced and removed"""

    def test_replace(self) -> None:
        """A name has one value, the last."""
        tree = tree_of("a/b")
        tree.set("a/b", "new")
        self.assertEqual(
            ("new", ["new"], ["new"], 1), (tree.get("a/b"), tree.match("+/b"), tree.values(), len(tree))
        )

    def test_remove(self) -> None:
        """A name that is removed is gone for every filter; its neighbours stay."""
        tree = tree_of("a", "a/b", "a/b/c")
        tree.remove("a/b")
        tree.remove("never there")
        self.assertEqual(["a", "a/b/c"], sorted(tree.match("#")))
        self.assertIsNone(tree.get("a/b"))

    def test_clear(self) -> None:
        """Everything goes at once."""
        tree = tree_of("a", "b/c")
        tree.clear()
        self.assertEqual((0, [], []), (len(tree), tree.match("#"), tree.values()))

    @given(st.lists(names, max_size=20, unique=True))
    def test_nothing_is_left_behind(self, names: list[str]) -> None:
        """When the last name is gone, so is every level."""
        tree = tree_of(*names)
        for name in names:
            tree.remove(name)
        self.assertFalse(tree._root.children)
        self.assertEqual(0, len(tree))

    @given(st.lists(st.tuples(st.booleans(), names), max_size=30))
    def test_like_a_dict(self, changes: list[tuple[bool, str]]) -> None:
        """Whatever is set and removed, values come in the order in which their names were first set."""
        tree: TopicTree[str] = TopicTree()
        there: dict[str, str] = {}
        for keep, name in changes:
            if keep:
                tree.set(name, name)
                there[name] = name
            else:
                tree.remove(name)
                there.pop(name, None)
        self.assertEqual(list(there), tree.values())
