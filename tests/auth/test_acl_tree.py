"""`pushd.auth.acl_tree`: lines are kept by topic, and the result is that of reading them one by one."""

from __future__ import annotations

from itertools import islice, product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.acl_tree import AclLine, AclLines, Names, Substitution
from pushd.broker.interfaces import Access
from pushd.mqtt.topics import is_valid_filter, matches
from tests.auth.acl_case import AclTestCase, Client

WORDS = ("read", "write", "readwrite", "deny")
ANNA = Client("x/y", "c")

levels = st.sampled_from(["a", "b", "", "+", "$SYS", "%u", "%c", "a-%u", "%c%u", "c", "y", "x"])
plain_filters = st.lists(levels, min_size=1, max_size=4).map("/".join)
filters = st.tuples(plain_filters, st.sampled_from(["", "/#"])).map("".join).filter(is_valid_filter)
lines = st.tuples(st.sampled_from(WORDS), filters)
names = st.lists(
    st.sampled_from(["a", "b", "", "$SYS", "c", "x", "y", "a-x", "cx", "%u", "a-%u"]), min_size=1, max_size=5
).map("/".join)


def expanded(topic_filter: str, names: Names) -> str | None:
    """What a pattern is for a client, by the words of the two versions; ``None`` for nothing."""
    username = names.username or ""
    if "%u" in topic_filter and not username:
        return None
    if names.substitution is Substitution.ANYWHERE:
        return topic_filter.replace("%u", username).replace("%c", names.client_id)
    values = {"%u": username, "%c": names.client_id}
    wanted = [level for level in topic_filter.split("/") if level in values]
    if any("/" in values[level] for level in wanted):
        return None
    return "/".join(values.get(level, level) for level in topic_filter.split("/"))


class MatchingTests(AclTestCase):
    """A decision about a topic name."""

    @given(st.lists(lines, max_size=8), names, st.sampled_from([Access.READ, Access.WRITE]))
    def test_same_as_one_by_one(self, rules: list[tuple[str, str]], name: str, access: Access) -> None:
        """For any rules and any topic."""
        self.given_acl(*[f"topic {word} {topic_filter}" for word, topic_filter in rules if topic_filter])
        if name and not name.startswith("$"):
            words = [word for word, topic_filter in rules if matches(topic_filter, name)]
            expected = "deny" not in words and any(access.value in word for word in words)
            self.assertEqual(self.may(Client(), access, name), expected)

    @given(
        st.lists(lines, max_size=5),
        names,
        st.sampled_from(Substitution),
        st.sampled_from([ANNA, Client("x", "c"), Client(None, "c/x"), Client("y", "x")]),
    )
    def test_patterns_are_the_filters_with_names_put_in(
        self, rules: list[tuple[str, str]], name: str, substitution: Substitution, client: Client
    ) -> None:
        """Whichever way: walking along levels is the same as putting in names first, and matching then."""
        self.given_acl(*[f"pattern {word} {topic_filter}" for word, topic_filter in rules])
        self.substitution = substitution
        if name and not name.startswith("$"):
            who = Names(client.client_id, client.username, substitution)
            own = [(word, expanded(topic_filter, who)) for word, topic_filter in rules]
            words = [word for word, topic_filter in own if topic_filter and matches(topic_filter, name)]
            expected = "deny" not in words and any("read" in word for word in words)
            self.assertEqual(self.reads(client, name), expected)

    def test_deep_topic_is_no_trouble(self) -> None:
        """A topic of nothing but slashes is decided without looking at each of its levels."""
        self.given_acl("topic a/b/+", "topic deny /#", "pattern %c/+/a")
        self.assertFalse(self.reads(Client(), "/" * 65_535))

    def test_file_of_many_lines_is_read(self) -> None:
        """A file for a large fleet, made by a script, is just a file."""
        users = "".join(f"user u{n}\ntopic read site/{n}/#\ntopic write site/{n}/up\n" for n in range(5000))
        self.given_acl(users)
        self.assertTrue(self.writes(Client("u4321"), "site/4321/up"))
        self.assertFalse(self.writes(Client("u4321"), "site/4322/up"))


class CountedNames(Names):
    """Counts how often they are asked, which is once for each pattern that is looked at."""

    asked = 0

    def put_into(self, level: str) -> list[str] | None:
        self.asked += 1
        return super().put_into(level)


class CostTests(SynchronousTestCase):
    """A decision costs what the topic is long, not what the list is."""

    def test_lines_that_differ_after_a_variable(self) -> None:
        """A thousand patterns with the same beginning are one beginning."""
        tree = AclLines()
        for number in range(1000):
            tree.add(AclLine(number, "", (Access.READ,)), f"%c/{number}/up", is_pattern=True)
        asked = CountedNames("c1", None, Substitution.WHOLE_LEVELS)
        found = [line.number for line in tree.matching("c1/321/up", asked)]
        self.assertEqual((found, asked.asked), ([321], 1))

    def test_subtree_without_reading_is_not_walked(self) -> None:
        """Lines for writing, and what a denial shuts, cost a subscription nothing."""
        tree = AclLines()
        tree.add(AclLine(0, "", ()), "shut/#", is_pattern=True)
        for number in range(1, 1000):
            tree.add(AclLine(number, "", (Access.WRITE,)), f"up/%c/{number}/%c", is_pattern=True)
            tree.add(AclLine(number, "", (Access.READ,)), f"shut/%c/{number}/%c", is_pattern=True)
        asked = CountedNames("c1", None, Substitution.WHOLE_LEVELS)
        steps = list(tree.readable_within("#", asked))
        self.assertEqual((steps, asked.asked), ([None] * 3, 0))  # the root, "up" and "shut"

    def test_first_find_ends_the_walk(self) -> None:
        """A subscription to everything, by somebody with a thousand lines, looks at one."""
        tree = AclLines()
        for number in range(1000):
            tree.add(AclLine(number, "", (Access.READ,)), f"site/{number}/up", is_pattern=False)
        walk = tree.readable_within("#", Names("c1", None, Substitution.WHOLE_LEVELS))
        steps = list(islice(walk, 5))
        self.assertEqual(steps, [None, None, None, None, ["site", "0", "up"]])


class ReadableWithinTests(AclTestCase):
    """A decision about a topic filter: is there a name in it that may be read?"""

    # All names of up to five levels. "z" stands in no rule, and so for all that do not either.
    every_name = [
        "/".join(name)
        for depth in range(1, 6)
        for name in product(("a", "c", "x", "a-x", "a-%u", "z"), repeat=depth)
    ]

    endings = st.sampled_from(["", "/#"])
    rule_levels = st.lists(st.sampled_from(["a", "+", "%u", "%c", "a-%u"]), min_size=1, max_size=2)
    rule_filters = st.tuples(rule_levels.map("/".join), endings).map("".join) | st.just("#")
    wanted_levels = st.lists(st.sampled_from(["a", "+", "c", "x", "a-x"]), min_size=1, max_size=3)
    wanted_filters = st.tuples(wanted_levels.map("/".join), endings).map("".join) | st.just("#")

    @settings(max_examples=50, deadline=None)  # 9,330 names each
    @given(
        st.lists(st.tuples(st.sampled_from(["read", "deny"]), rule_filters), min_size=1, max_size=5),
        wanted_filters,
        st.sampled_from(Substitution),
        st.sampled_from([Client("x", "c"), Client("x/c", "a")]),
        st.booleans(),
    )
    def test_same_as_trying_every_name(
        self,
        rules: list[tuple[str, str]],
        topic_filter: str,
        substitution: Substitution,
        client: Client,
        own: bool,
    ) -> None:
        """Refused if and only if no message that the filter matches could be delivered."""
        words = [f"{'topic' if own and '%' not in b else 'pattern'} {a} {b}" for a, b in rules]
        self.given_acl(f"user {client.username}", *words)
        self.substitution = substitution
        possible = any(self.reads(client, name) for name in self.every_name if matches(topic_filter, name))
        self.assertEqual(self.subscribes(client, topic_filter), possible, (words, topic_filter))
