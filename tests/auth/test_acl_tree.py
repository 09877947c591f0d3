"""`pushd.auth.acl_tree`: lines are kept by topic, and the result is that of reading them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.acl_tree import AclLine, AclLines, Names, Substitution
from pushd.broker.interfaces import Access
from pushd.mqtt.topics import is_valid_filter, is_valid_name, matches
from pushd.people.interfaces import Friends
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


def naively(topic_filter: str, friends: Friends) -> set[str]:
    """The filters that a pattern is, with each friend put in: what must never be done for thousands."""
    choices = {"%f": friends.followed, "%F": friends.mutual}
    all_levels = [sorted(choices.get(level, {level})) for level in topic_filter.split("/")]
    made = {"/".join(levels) for levels in product(*all_levels)}
    height = topic_filter.count("/")
    # With + or # a name would match more than itself, and with a slash it would be two levels.
    return {one for one in made if one.count("/") == height and _wildcards(one) == _wildcards(topic_filter)}


def _wildcards(text: str) -> int:
    return text.count("+") + text.count("#")


friend_names = st.sampled_from(["ann", "bob", "$SYS", "%f", "+", "#", "a/b", "a+", "/"])
circles = st.tuples(st.frozensets(friend_names), st.frozensets(friend_names)).map(
    lambda both: Friends(both[0] | both[1], both[1])
)
friend_levels = st.sampled_from(["a", "ann", "+", "%f", "%F", "b%f"])
friend_filters = st.tuples(
    st.lists(friend_levels, min_size=1, max_size=4).map("/".join), st.sampled_from(["", "/#"])
).map("".join)
friend_topic_levels = st.sampled_from(["a", "ann", "bob", "$SYS", "%f", "%F", "a+", "b%f", ""])
friend_topics = st.lists(friend_topic_levels, min_size=1, max_size=5).map("/".join).filter(is_valid_name)


class FriendsTests(AclTestCase):
    """A decision about a topic name that friends stand in."""

    @given(
        st.lists(st.tuples(st.sampled_from(WORDS), friend_filters), max_size=5),
        friend_topics,
        circles,
        st.sampled_from(Substitution),
    )
    def test_same_as_naming_each(
        self, rules: list[tuple[str, str]], name: str, friends: Friends, substitution: Substitution
    ) -> None:
        """For any rules, friends and topic: a look at the set is the same as a line for each friend."""
        self.given_acl(*[f"pattern {word} {topic_filter}" for word, topic_filter in rules])
        self.friends, self.substitution = friends, substitution
        words = [
            word
            for word, topic_filter in rules
            if any(matches(one, name) for one in naively(topic_filter, friends))
        ]
        expected = "deny" not in words and any("read" in word for word in words)
        self.assertEqual(self.reads(Client("me"), name), expected and not name.startswith("$"))

    def test_anonymous_client_has_none(self) -> None:
        """Whatever is said about its friends."""
        self.given_acl("pattern read user/%f/x", "pattern read user/%F/x")
        self.given_friends(mutual=("ann",))
        self.assertFalse(self.reads(Client(), "user/ann/x"))
        self.assertFalse(self.reads(Client(""), "user/ann/x"))
        self.assertTrue(self.reads(Client("me"), "user/ann/x"))

    def test_followed_and_mutual(self) -> None:
        """%f stands for each who is followed, %F for those only who follow back."""
        self.given_acl("pattern read news/%f", "pattern read user/%F/presence/+", "pattern write /%F/chat")
        self.given_friends("bob", mutual=("ann",))
        me = Client("me")
        self.assertTrue(self.reads(me, "news/bob") and self.reads(me, "news/ann"))
        self.assertTrue(self.reads(me, "user/ann/presence/phone"))
        self.assertFalse(self.reads(me, "user/bob/presence/phone"))
        self.assertTrue(self.writes(me, "/ann/chat"))
        self.assertFalse(self.writes(me, "/bob/chat") or self.writes(me, "/me/chat"))

    def test_beside_other_variables(self) -> None:
        """Next to the user name and the client id; several in one pattern match any friend each."""
        self.given_acl("pattern read %u/%f/%c", "pattern read pair/%f/%f")
        self.given_friends("ann", "bob")
        me = Client("me", "phone")
        self.assertTrue(self.reads(me, "me/ann/phone"))
        self.assertFalse(self.reads(me, "me/eve/phone") or self.reads(me, "ann/ann/phone"))
        self.assertTrue(self.reads(me, "pair/ann/bob") and self.reads(me, "pair/ann/ann"))
        self.assertFalse(self.reads(me, "pair/ann/eve"))

    def test_denial(self) -> None:
        """Lines that refuse know friends as well."""
        self.given_acl("pattern read #", "pattern deny secret/%f/#")
        self.given_friends("ann")
        self.assertFalse(self.reads(Client("me"), "secret/ann/x"))
        self.assertTrue(self.reads(Client("me"), "secret/bob/x"))

    def test_text_in_lines_that_are_no_patterns(self) -> None:
        """Only patterns have variables, and only whole levels of them are these two."""
        self.given_acl("user me", "topic read x/%f", "pattern read y-%f")
        self.given_friends("ann")
        self.assertTrue(self.reads(Client("me"), "x/%f") and self.reads(Client("me"), "y-%f"))
        self.assertFalse(self.reads(Client("me"), "x/ann") or self.reads(Client("me"), "y-ann"))

    def test_hostile_names(self) -> None:
        """Nobody opens more than a corner by being somebody's friend, whatever one is called."""
        self.given_acl("pattern read %f/#", "pattern read user/%f/x")
        self.given_friends("+", "#", "+/x", "", "$SYS", "a/b", "%u", "' or 1=1")
        me = Client("me")
        for topic in ("a/b", "user/a/x", "user/a/b/x", "user//x", "$SYS/broker/uptime", "/x", "me/x"):
            self.assertFalse(self.reads(me, topic), topic)
        self.assertTrue(self.reads(me, "%u/x") and self.reads(me, "user/' or 1=1/x"))


class FriendFiltersTests(AclTestCase):
    """A decision about a topic filter that friends stand in."""

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from(["read", "deny"]), friend_filters), min_size=1, max_size=4),
        st.lists(st.sampled_from(["a", "ann", "+", "bob", "$SYS"]), min_size=1, max_size=3).map("/".join),
        st.sampled_from(["", "/#"]),
        circles,
    )
    def test_same_as_naming_each(
        self, rules: list[tuple[str, str]], wanted: str, ending: str, friends: Friends
    ) -> None:
        """Refused if and only if it would be with a line for each friend."""
        self.given_acl(*[f"pattern {word} {topic_filter}" for word, topic_filter in rules])
        self.friends = friends
        found = self.subscribes(Client("me"), wanted + ending)
        self.given_acl(
            "user me",  # whose own lines have no variables: somebody is called %f
            *[
                f"topic {word} {one}"
                for word, topic_filter in rules
                for one in sorted(naively(topic_filter, friends))
                if not (one.startswith("$") and topic_filter.startswith("%"))
            ],
        )
        self.friends = Friends()
        self.assertEqual(found, self.subscribes(Client("me"), wanted + ending))

    def test_wildcard_needs_one_friend(self) -> None:
        """What a wildcard could bring is something if there is anybody, and nothing if there is not."""
        self.given_acl("pattern read user/%F/presence")
        for topic_filter in ("user/+/presence", "user/#", "#", "+/+/+"):
            self.given_friends("bob")
            self.assertFalse(self.subscribes(Client("me"), topic_filter), topic_filter)
            self.given_friends("bob", mutual=("ann",))
            self.assertTrue(self.subscribes(Client("me"), topic_filter), topic_filter)

    def test_friend_by_name(self) -> None:
        """Somebody's own topic, and nobody else's."""
        self.given_acl("pattern read user/%F/presence")
        self.given_friends(mutual=("ann",))
        self.assertTrue(self.subscribes(Client("me"), "user/ann/presence"))
        self.assertTrue(self.subscribes(Client("me"), "user/ann/#"))
        self.assertFalse(self.subscribes(Client("me"), "user/bob/#"))
        self.assertFalse(self.subscribes(Client("me"), "user/ann/chat"))


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

    def test_thousands_of_friends(self) -> None:
        """A friend is looked up among five thousand, not looked for; in a filter, any will do."""

        class Unlisted(frozenset[str]):
            def __iter__(self) -> Iterator[str]:
                yield from islice(super().__iter__(), 1)
                raise AssertionError("more than one was looked at")

        tree = AclLines()
        tree.add(AclLine(1, "", (Access.READ,)), "user/%f/up", is_pattern=True)
        friends = Unlisted(f"user{number}" for number in range(5000))
        asked = Names("c1", "me", Substitution.WHOLE_LEVELS, Friends(friends))
        found = [line.number for line in tree.matching("user/user4321/up", asked)]
        self.assertEqual((found, list(tree.matching("user/stranger/up", asked))), ([1], []))
        self.assertIn(["user", "user7", "up"], list(tree.readable_within("user/user7/up", asked)))
        walk = (step for step in tree.readable_within("user/+/up", asked) if step is not None)
        self.assertEqual(next(walk)[::2], ["user", "up"])

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
