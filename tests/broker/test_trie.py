"""`pushd.broker.trie`: which subscriptions match a topic name, and what they leave behind."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.trie import SubscriptionTrie, _Node, is_exact
from pushd.mqtt.topics import MAX_LEVELS, matches

levels = st.sampled_from(["", "a", "b", "$SYS"])
names = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool)
filters = st.lists(st.one_of(levels, st.just("+")), min_size=1, max_size=5).flatmap(
    lambda path: st.sampled_from(["/".join(path), "/".join([*path, "#"]), "#"])
)
changes = st.lists(st.tuples(st.booleans(), st.sampled_from("xyz"), filters), max_size=30)


@dataclass(eq=False)
class Entry:
    """What the trie needs to know of a subscription."""

    session: str
    filter: str


def trie_of(*entries: Entry) -> SubscriptionTrie:
    trie = SubscriptionTrie()
    for entry in entries:
        trie.add(entry)  # type: ignore[arg-type]  # a subscription in all that counts
    return trie


def nodes_of(trie: SubscriptionTrie) -> list[_Node]:
    """All but the root."""
    nodes = [trie._root]
    for node in nodes:
        nodes.extend(node.children.values())
    return nodes[1:]


class MatchTests(SynchronousTestCase):
    """v5 §4.7"""

    def matching(self, name: str, *filters: str) -> list[str]:
        trie = trie_of(*[Entry("ada", filter) for filter in filters])
        return sorted(subscription.filter for subscription in trie.match(name))

    def test_exact_and_wild(self) -> None:
        """Each filter that matches, one entry each."""
        filters = ("a/b", "a/+", "a/#", "#", "+/b", "a", "a/b/c", "+", "a/b/#", "/a/b")
        self.assertEqual(["#", "+/b", "a/#", "a/+", "a/b", "a/b/#"], self.matching("a/b", *filters))

    def test_hash_matches_the_parent(self) -> None:
        """``a/#`` matches ``a`` (v5 §4.7.1.2)."""
        self.assertEqual(["a/#"], self.matching("a", "a/#", "a/+"))

    def test_dollar(self) -> None:
        """Wildcards on the first level match no ``$`` topic: [MQTT-4.7.2-1]."""
        filters = ("#", "+/x", "$SYS/#", "$SYS/+", "$SYS/x", "+/#")
        self.assertEqual(["$SYS/#", "$SYS/+", "$SYS/x"], self.matching("$SYS/x", *filters))

    def test_empty_levels_count(self) -> None:
        """``/a`` has two levels, the first of them empty."""
        self.assertEqual(["+/+", "/+"], self.matching("/a", "/+", "+/+", "+", "a"))

    def test_deepest_topic(self) -> None:
        """As many levels as are allowed do not strain the stack."""
        name = "/".join(["x"] * MAX_LEVELS)
        self.assertEqual(3, len(self.matching(name, "x/#", "/".join(["+"] * MAX_LEVELS), name)))

    def test_hash_behind_a_long_way(self) -> None:
        """``a/b/c/#`` matches what it should, also where no other filter parts the way to it."""
        for name, count in (("a/b", 0), ("a/b/c", 1), ("a/b/c/d/e", 1), ("a/b/x", 0), ("a/b/x/d", 0)):
            self.assertEqual(count, len(self.matching(name, "a/b/c/#")), name)

    @given(st.lists(filters, max_size=12, unique=True), names)
    def test_as_the_matcher_says(self, filters: list[str], name: str) -> None:
        """Exactly those filters that `matches` says."""
        expected = sorted(filter for filter in filters if matches(filter, name))
        self.assertEqual(expected, self.matching(name, *filters))


class ChangeTests(SynchronousTestCase):
    """What is added and removed"""

    def test_one_filter_of_many_sessions(self) -> None:
        """All of them match, in the order in which they came."""
        for filter in ("t", "+"):
            trie = trie_of(*[Entry(f"s{n}", filter) for n in range(3)])
            self.assertEqual(["s0", "s1", "s2"], [entry.session for entry in trie.match("t")])

    def test_again_replaces(self) -> None:
        """The same session and filter stand there once, as they were last."""
        for filter in ("t", "+"):
            for others in ([], [Entry("bob", filter)]):
                old, new = Entry("ada", filter), Entry("ada", filter)
                trie = trie_of(*others, old, new)
                self.assertEqual([*others, new], trie.match("t"))
                self.assertEqual(len(others) + 1, len(trie))

    def test_remove_what_is_not_there(self) -> None:
        """It is no error, whether nothing, something shorter or somebody else's is there."""
        trie = trie_of(Entry("ada", "a/+/c"), Entry("ada", "a"))
        for filter in ("b", "a", "a/+", "a/+/c", "a/+/c/d", "+", "#"):
            trie.remove(Entry("bob", filter))  # type: ignore[arg-type]
        self.assertEqual(2, len(trie))

    @given(changes)
    def test_like_a_set(self, changes: list[tuple[bool, str, str]]) -> None:
        """Whatever comes and goes, what is there is what was added and not removed; its number is known."""
        trie = SubscriptionTrie()
        there: dict[tuple[str, str], Entry] = {}
        for add, session, filter in changes:
            entry = Entry(session, filter)
            if add:
                trie.add(entry)  # type: ignore[arg-type]
                there[session, filter] = entry
            else:
                trie.remove(entry)  # type: ignore[arg-type]
                there.pop((session, filter), None)
        self.assertEqual(len(there), len(trie))
        for name in ("a", "a/b", "/", "b/a/$SYS"):
            expected = {entry for (_, filter), entry in there.items() if matches(filter, name)}
            self.assertEqual(expected, set(trie.match(name)))

    @given(st.lists(st.tuples(st.sampled_from("xyz"), filters), max_size=20, unique=True))
    def test_nothing_is_left_behind(self, subscribed: list[tuple[str, str]]) -> None:
        """When the last subscription is gone, so is every node: a broker runs for years."""
        entries = [Entry(*pair) for pair in subscribed]
        trie = trie_of(*entries)
        for entry in reversed(entries):
            trie.remove(entry)  # type: ignore[arg-type]
        self.assertEqual(({}, {}, 0), (trie._exact, trie._root.children, len(trie)))

    @given(changes)
    def test_no_node_in_vain(self, changes: list[tuple[bool, str, str]]) -> None:
        """After any change there is a node only where filters end or part."""
        trie = SubscriptionTrie()
        for add, session, filter in changes:
            (trie.add if add else trie.remove)(Entry(session, filter))  # type: ignore[arg-type]
            for node in nodes_of(trie):
                self.assertTrue(node.subscribers is not None or len(node.children) > 1)

    @given(changes)
    def test_all_filters(self, changes: list[tuple[bool, str, str]]) -> None:
        """The filters that are told are those that somebody subscribes to, each once."""
        trie = SubscriptionTrie()
        there: set[tuple[str, str]] = set()
        for add, session, filter in changes:
            (trie.add if add else trie.remove)(Entry(session, filter))  # type: ignore[arg-type]
            (there.add if add else there.discard)((session, filter))
        self.assertEqual(sorted({filter for _, filter in there}), sorted(trie.filters()))

    def test_deep_filters(self) -> None:
        """Filters of 200 levels take two nodes each at most, wherever they part."""
        filters = ["/".join([*format(n, "010b").replace("1", "+"), *["+", "x"] * 95]) for n in range(1024)]
        trie = trie_of(*[Entry("ada", filter) for filter in filters])
        self.assertLess(len(nodes_of(trie)), 2 * len(filters))
        name = "/".join(["0"] * 10 + ["y", "x"] * 95)
        self.assertEqual(sorted(filters), sorted(entry.filter for entry in trie.match(name)))
        self.assertEqual([], trie.match(name + "/y"))


class IsExactTests(SynchronousTestCase):
    """`is_exact`"""

    def test_wildcards(self) -> None:
        """A filter with ``+`` or ``#`` is none."""
        self.assertEqual([True, False, False], [is_exact(filter) for filter in ("a/b", "a/+", "#")])
