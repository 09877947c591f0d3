"""`pushd.rules.routing`: what a rule matches, where it leads, and that every journey ends."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.broker.interfaces import IRoutingRules
from pushd.mqtt.topics import is_valid_filter, is_valid_name, matches
from pushd.people.interfaces import Friends
from pushd.rules.routing import MAX_COPIES, MAX_FRIEND_COPIES, MAX_HOPS, RESERVED, RoutingRules
from pushd.rules.rule_file import RuleFileError
from tests.processes import ROOT


@dataclass
class Sender:
    """Who publishes."""

    client_id: str = "pc"
    username: str | None = "alice"


ALICE = Sender()


def read(*lines: str) -> RoutingRules:
    """The rules of a file with these lines."""
    return RoutingRules.parse("\n".join(lines), "routes")


def routed(topic: str, *lines: str, sender: Sender | None = ALICE) -> list[str]:
    """Where a message goes."""
    return list(read(*lines).destinations(topic, sender))


class ActionTests(SynchronousTestCase):
    """copy, move, drop"""

    def test_copy(self) -> None:
        """It goes there, too."""
        self.assertEqual(["a", "b"], routed("a", "a copy b"))

    def test_move(self) -> None:
        """It goes there instead."""
        self.assertEqual(["b"], routed("a", "a move b"))

    def test_drop(self) -> None:
        """It goes nowhere."""
        self.assertEqual([], routed("a", "a drop"))

    def test_no_rule(self) -> None:
        """It goes where it was sent."""
        self.assertEqual(["c"], routed("c", "a copy b", "b drop"))
        self.assertEqual(["c"], routed("c"))

    def test_all_that_match(self) -> None:
        """In the order of the file, whatever they do."""
        self.assertEqual(["a", "d", "c", "b"], routed("a", "a copy d", "+ copy c", "+/# copy b"))
        self.assertEqual(["d", "c"], routed("a", "a copy d", "a move c"))
        self.assertEqual(["b"], routed("a", "a drop", "a copy b"))

    def test_two_ways_to_one_topic(self) -> None:
        """Once is enough."""
        self.assertEqual(["a", "b"], routed("a", "a copy b", "+ copy b"))
        self.assertEqual(["b"], routed("a", "a move b", "+ move b"))

    def test_to_itself(self) -> None:
        """That adds nothing, and takes nothing away."""
        for action in ("copy", "move"):
            self.assertEqual(["a"], routed("a", f"+ {action} %1"))


class VariableTests(SynchronousTestCase):
    """What a destination is made of"""

    def test_the_senders_terminals(self) -> None:
        """What somebody says to a friend goes to his own topic, too; what he tells himself is there."""
        rule = "/+/im/u/+ copy /%1/im/u/%u"
        self.assertEqual(["/chat/im/u/jim", "/chat/im/u/alice"], routed("/chat/im/u/jim", rule))
        self.assertEqual(["/chat/im/u/alice"], routed("/chat/im/u/alice", rule))

    def test_client_id(self) -> None:
        """Beside the user's name."""
        self.assertEqual(["a", "b/alice/pc"], routed("a", "a copy b/%u/%c"))

    def test_captures(self) -> None:
        """In their order, as often as they are wanted, and no level is too empty."""
        self.assertEqual(["y/x/y"], routed("x/y", "+/+ move %2/%1/%2"))
        self.assertEqual(["b//c"], routed("a//c", "a/+/+ move b/%1/%2"))

    def test_all_the_rest(self) -> None:
        """As many levels as there are; without any, the level is not there either."""
        self.assertEqual(["b/x/y/z"], routed("a/x/y", "a/# move b/%1/z"))
        self.assertEqual(["b/z"], routed("a", "a/# move b/%1/z"))
        self.assertEqual(["b//z"], routed("a/", "a/# move b/%1/z"))

    def test_many_wildcards(self) -> None:
        """There may be more than nine."""
        topic = "a/b/c/d/e/f/g/h/i/j/k"
        self.assertEqual(["k/a"], routed(topic, "/".join("+" * 11) + " move %11/%1"))

    def test_nobody(self) -> None:
        """A rule that needs a name does not apply where there is none; others do."""
        for sender in (None, Sender("", None), Sender("", "")):
            self.assertEqual(["a", "d"], routed("a", "a copy b/%u", "a copy c/%c", "a copy d", sender=sender))

    def test_hostile_names(self) -> None:
        """None is more than one level, or anything but a name."""
        for name in ("a/b", "+", "#", "a+", "x#", "/", "a\0b", "\ud800"):
            self.assertEqual(["a"], routed("a", "a move b/%u/%c", sender=Sender("pc", name)), name)
            self.assertEqual(["a"], routed("a", "a move b/%c", sender=Sender(name, None)), name)

    def test_strange_names(self) -> None:
        """What is one level is taken as it is: no variable is looked for in it."""
        for name in ("%c", "%1", "a b", "<b>", "'\"", "é", ".."):
            self.assertEqual([f"b/{name}"], routed("a/x", "a/+ move b/%u", sender=Sender("pc", name)))

    def test_dollar_topics(self) -> None:
        """Nothing that is published, and nobody's name, makes a topic of the broker's."""
        sly = Sender("$SYS", "$SYS")
        for topic, rule in (
            ("$x/$SYS/y", "$x/# move %1"),
            ("$x/$share/g/y", "$x/+/+/+ move %1/%2/%3"),
            ("a/x", "a/+ move %u/%1"),
            ("a/x", "a/+ move %c/%1"),
            ("a", "a/# move %1/$SYS/broker/version"),
        ):
            self.assertEqual([topic], routed(topic, rule, sender=sly))
        self.assertEqual(["$x/$SYS"], routed("a", "a move $x/%u", sender=sly))

    def test_no_topic_name(self) -> None:
        """Where nothing is left, or too much comes out, the rule does not apply; it says so once."""
        rules = read("a/# move %1", "b/+ copy %1/%1", "c copy d")
        with capturedLogs() as told:
            for _ in range(3):
                for topic in ("a", "b/" + 40_000 * "x"):
                    self.assertEqual((topic,), rules.destinations(topic, ALICE))
        self.assertEqual(["routes:1", "routes:2"], [event["place"] for event in told])


class WayTests(SynchronousTestCase):
    """Messages that are routed are routed again"""

    def test_on_and_on(self) -> None:
        """By the other rules; copies come after what they are made from."""
        self.assertEqual(["a", "b", "c"], routed("a", "b copy c", "a copy b"))
        self.assertEqual(["c"], routed("a", "b move c", "a move b"))
        self.assertEqual(["a"], routed("a", "a copy b", "b drop"))

    def test_circles(self) -> None:
        """They are cut where a message would come back to where it was, and it is never lost by that."""
        self.assertEqual(["b"], routed("a", "a move b", "b move a"))
        self.assertEqual(["a", "b"], routed("a", "a copy b", "b copy a"))
        self.assertEqual(["c"], routed("a", "a move b", "b move c", "c move a"))
        self.assertCountEqual(["x", "y"], routed("a", "a move x", "a move y", "x move y", "y move x"))

    def test_never_the_same_rule_again(self) -> None:
        """A rule that makes topics longer and longer is used once."""
        self.assertEqual(["a", "a/x"], routed("a", "a/# copy a/%1/x"))
        self.assertEqual(["a/x"], routed("a", "a/# move a/%1/x"))

    def test_hops(self) -> None:
        """After eight, a message stays where it is."""
        chain = [f"{n} move {n + 1}" for n in range(20)]
        self.assertEqual([str(MAX_HOPS)], routed("0", *chain))
        self.assertEqual([], routed("0", *chain, f"{MAX_HOPS} drop"))

    def test_grains_of_sand(self) -> None:
        """Rules that all copy what the others copied are stopped; those of the message itself come first."""
        found = routed("t", *grains(30))
        self.assertEqual(MAX_COPIES + 1, len(found))
        self.assertEqual(["t", *[f"r{n}/t" for n in range(30)]], found[:31])

    def test_more_than_can_be_copied(self) -> None:
        """Whatever is not moved any more stays, and what is dropped is dropped all the same."""
        moves = [rule.replace("copy", "move") for rule in grains(30)]
        self.assertTrue(routed("t", *moves))
        self.assertEqual([], routed("t", *moves, "+/# drop", "+ drop"))


def grains(count: int) -> list[str]:
    """So many rules, each of which copies whatever there is to a place of its own."""
    return [f"+/# copy r{n}/%1/%2" for n in range(count)]


FOLLOWED = {"ann", "bob", "eve"}
MUTUAL = {"eve", "bob"}


def befriended(*lines: str, more: frozenset[str] = frozenset()) -> RoutingRules:
    """The rules, for alice with these friends; and each of `more`, mutually."""
    friends = Friends(frozenset(FOLLOWED | more), frozenset(MUTUAL | more))
    return read(*lines).knowing(lambda username: friends if username == "alice" else Friends())


class ForEachFriendTests(SynchronousTestCase):
    """``%f`` and ``%F`` in destinations"""

    def routed(
        self, *lines: str, sender: Sender | None = ALICE, more: frozenset[str] = frozenset()
    ) -> list[str]:
        """Where a message goes that was published to ``a/b``."""
        return list(befriended(*lines, more=more).destinations("a/b", sender))

    def test_copies(self) -> None:
        """One for each user who is followed, or who follows back, by name."""
        self.assertEqual(
            ["a/b", "x/ann/alice/b", "x/bob/alice/b", "x/eve/alice/b"], self.routed("a/+ copy x/%f/%u/%1")
        )
        self.assertEqual(["a/b", "bob", "eve"], self.routed("a/+ copy %F"))
        self.assertEqual(["a/b", "b/a/b/bob", "b/a/b/eve"], self.routed("a/+ copy %1/a/%1/%F"))

    def test_move(self) -> None:
        """To each of them instead."""
        self.assertEqual(["bob/x", "eve/x"], self.routed("a/+ move %F/x"))

    def test_nobody(self) -> None:
        """Without any the rule does not apply: what would be moved stays."""
        for sender in (None, Sender("pc", None), Sender("pc", ""), Sender("pc", "lonely")):
            for action in ("copy", "move"):
                self.assertEqual(["a/b"], self.routed(f"a/+ {action} x/%F", sender=sender))

    def test_nobody_knows(self) -> None:
        """By the rules of a file alone nobody has friends."""
        self.assertEqual(["a"], routed("a", "a copy x/%f", "a move x/%F"))

    def test_hostile_names(self) -> None:
        """Friends whose names are more than a level get none, and keep it from nobody else."""
        more = frozenset(["a/b", "+", "#", "x#", "/", "", "a\0", "%1", "%F", "$SYS", "\ud800"])
        self.assertEqual(
            ["a/b", "x/$SYS", "x/%1", "x/%F", "x/bob", "x/eve"], self.routed("a/b copy x/%F", more=more)
        )
        self.assertEqual(["a/b", "%1", "%F", "bob", "eve"], self.routed("a/b copy %F", more=more))

    def test_what_looks_like_it(self) -> None:
        """A level that was published is no variable."""
        rules = befriended("+/+ move x/%1/%F/%2")
        self.assertEqual(("x/%F/bob/%f", "x/%F/eve/%f"), rules.destinations("%F/%f", ALICE))

    def test_routed_again(self) -> None:
        """Like all copies."""
        found = self.routed("a/+ copy x/%F", "x/bob move y", "x/%f copy z/%1", "a/b move z/%F")
        self.assertEqual(["x/eve", "z/bob", "z/eve", "y"], found)

    def test_most(self) -> None:
        """A thousand at most, those who are first by name; the log hears once of the others."""
        more = frozenset(f"u{number:04}" for number in range(MAX_FRIEND_COPIES))
        rules = befriended("a copy x/%F", "a copy y", more=more)
        with capturedLogs() as events:
            for _ in range(3):
                found = rules.destinations("a", ALICE)
        self.assertEqual(MAX_FRIEND_COPIES + 2, len(found))
        self.assertEqual(("a", "x/bob", "x/eve", "x/u0000"), found[:4])
        self.assertEqual("y", found[-1])
        self.assertEqual(1, len(events))

    def test_what_is_left_out_costs_nothing(self) -> None:
        """Rules for friends that go on from each other's copies stop where the copies do."""
        more = frozenset(f"u{number:04}" for number in range(5 * MAX_FRIEND_COPIES))
        rules = befriended("a copy b/%F", "b/+ copy c/%1/%F", "c/+/+ copy c/%1/%2/%f", more=more)
        started = perf_counter()
        self.assertEqual(MAX_FRIEND_COPIES + 1, len(rules.destinations("a", ALICE)))
        self.assertLess(perf_counter() - started, 1.0)  # some 10 ms


class FromFriendsTests(SynchronousTestCase):
    """``%f`` and ``%F`` in sources"""

    def test_matches(self) -> None:
        """The name of a friend, whole, and captures it."""
        rules = befriended("to/%F/# move in/%1/%u/%2", "to/%f/# move out/%1", "to/# drop")
        for topic, expected in (
            ("to/bob/x", ("in/bob/alice/x", "out/bob")),
            ("to/ann/x", ("out/ann",)),
            ("to/bobby", ()),
            ("to/alice", ()),
            ("to", ()),
        ):
            self.assertEqual(expected, rules.destinations(topic, ALICE), topic)

    def test_nobody(self) -> None:
        """A sender without friends has nobody whose name would match."""
        rules = befriended("to/%f drop")
        for sender in (None, Sender("pc", None), Sender("pc", ""), Sender("pc", "lonely")):
            self.assertEqual(("to/ann",), rules.destinations("to/ann", sender))

    def test_hostile_names(self) -> None:
        """What is no whole level matches nothing, nor does one that would open topics of the broker."""
        rules = befriended("to/%f drop", "%F/# drop", more=frozenset(["", "a/b", "+", "#", "$SYS", "%f"]))
        for topic in ("to/", "to/a/b", "$SYS/x", "/x"):
            self.assertEqual((topic,), rules.destinations(topic, ALICE), topic)
        self.assertEqual((), rules.destinations("to/%f", ALICE))
        self.assertEqual((), rules.destinations("to/$SYS", ALICE))

    def test_concern(self) -> None:
        """Every topic that would match for somebody; so what is remembered of it holds for everybody."""
        rules = befriended("to/%f/x drop")
        for topic, expected in (
            ("to/zoe/x", True),
            ("to//x", False),
            ("to/zoe", False),
            ("zoe/zoe/x", False),
        ):
            self.assertIs(expected, rules.concern(topic), topic)
        self.assertFalse(befriended("%f/x drop").concern("$SYS/x"))

    def test_uses_friends(self) -> None:
        """Where no rule asks for them, nobody needs to know them."""
        self.assertTrue(read("a copy b", "a/%F drop").uses_friends)
        self.assertTrue(read("a copy b/%f").uses_friends)
        self.assertFalse(read("a copy b/%u", "100%f/x drop").uses_friends)

    def test_seen_at_once(self) -> None:
        """The friends of now count."""
        friends = {"alice": Friends()}
        rules = read("a/%F drop").knowing(friends.__getitem__)
        self.assertEqual(("a/ann",), rules.destinations("a/ann", ALICE))
        friends["alice"] = Friends(frozenset({"ann"}), frozenset({"ann"}))
        self.assertEqual((), rules.destinations("a/ann", ALICE))


class MistakeTests(SynchronousTestCase):
    """What is wrong with a file"""

    def told(self, line: str) -> str:
        """What is said of a line."""
        return str(self.assertRaises(RuleFileError, read, "# rules", "a copy b", line))

    def test_mistakes(self) -> None:
        """Each names its file, line and reason."""
        for line, reason in (
            ("a", "'a' is not SOURCE copy|move|drop DESTINATION"),
            ("a send b", "'a send b' is not SOURCE copy|move|drop DESTINATION"),
            ("a Copy b", "'a Copy b' is not SOURCE copy|move|drop DESTINATION"),
            ("a copy", "no destination after 'copy'"),
            ("a drop b", "'b' is too much; topics with blanks in them have no rules"),
            ("a copy b # c", "'#' is too much; topics with blanks in them have no rules"),
            ("a/#/b copy c", "topic filter: # is not the last level, whole"),
            ("a+ copy c", "topic filter: + is not a whole level"),
            ("$share/g/a copy b", "a source is no shared filter: nobody publishes to $share/"),
            ("%u/x copy b", "'%u': variables but %f and %F stand in the destination only"),
            ("%fx/y copy b", "'%fx': variables but %f and %F stand in the destination only"),
            ("a copy b/+", "topic name: a wildcard"),
            ("a copy b/#", "topic name: a wildcard"),
            ("a copy b/%1", "%1: the source has no wildcards"),
            ("+/# copy b/%3", "%3: the source has 2 wildcards"),
            ("a copy b/x%u", "'x%u': variables are %u, %c, %f, %F, %1, %2 ..., each a whole level"),
            ("a copy b/%F/%f", "%f or %F may be there once"),
            ("a copy b/%f/%f", "%f or %F may be there once"),
            ("%F/a copy b/%2", "%2: the source has 1 wildcards"),
            ("a copy b/%Fx", "'%Fx': variables are %u, %c, %f, %F, %1, %2 ..., each a whole level"),
            ("+ copy b/%0", "'%0': variables are %u, %c, %f, %F, %1, %2 ..., each a whole level"),
            ("a copy b\0", "NUL character"),
            *((f"a copy {word}/x", f"only the broker itself publishes under {word}") for word in RESERVED),
        ):
            self.assertEqual(f"routes:3: {reason}", self.told(line))

    def test_blanks(self) -> None:
        """As many as look good. What only Unicode takes for one is a part of the topic."""
        self.assertEqual(["b"], routed("a", " a \t move\t\tb \r"))
        self.assertEqual(["b\u2003c"], routed("a\xa0", "a\xa0 move b\u2003c"))

    def test_per_cent(self) -> None:
        """A sign that begins no variable is one like others."""
        self.assertEqual(["100%/%-"], routed("5%", "5% move 100%/%-"))

    def test_example(self) -> None:
        """The file that comes with pushd is good as it is, and with its examples in use."""
        text = (ROOT / "conf" / "routes").read_text()
        self.assertFalse(RoutingRules.parse(text, "routes").concern("/chat/im/u/jim"))
        examples = [line[1:] for line in text.splitlines() if line[:1] == "#" and line[1:2] not in (" ", "")]
        self.assertEqual(6, len(examples))
        self.assertTrue(read(*examples).concern("/chat/im/u/jim"))


NAMES = st.lists(st.sampled_from(["a", "b", "", "$x", "é"]), min_size=1, max_size=5).map("/".join)
FILTERS = st.lists(st.sampled_from(["a", "b", "", "$x", "+", "#"]), min_size=1, max_size=5).map("/".join)
DESTINATIONS = st.lists(
    st.sampled_from(["a", "b", "c", "%u", "%1", "%2", "%f", "%F"]), min_size=1, max_size=4
).map("/".join)
SOURCES = st.lists(st.sampled_from(["a", "b", "", "$x", "+", "#", "%f", "%F"]), min_size=1, max_size=5).map(
    "/".join
)
USERNAMES = st.frozensets(st.sampled_from(["a", "b", "", "$x", "é", "%F", "+", "a/b"]) | st.text(max_size=3))
FRIENDS = st.builds(lambda some, more: Friends(some | more, some), USERNAMES, USERNAMES)
RULES = st.lists(
    st.tuples(SOURCES, st.sampled_from(["copy", "move"]), DESTINATIONS).map(" ".join), max_size=8
)


class AnythingTests(SynchronousTestCase):
    """Whatever stands in a file"""

    @given(st.text(st.sampled_from("ab+#/%u1 \t\n\r\0$copymvedr\ud800"), max_size=60) | st.text())
    @example("# copy a")
    def test_any_text(self, text: str) -> None:
        """It is read, or refused with file and line."""
        try:
            rules = RoutingRules.parse(text, "routes")
        except RuleFileError as problem:
            self.assertRegex(str(problem), "^routes:[0-9]+: ")
        else:
            self.assertTrue(all(map(is_valid_name, rules.destinations("a/b", ALICE))))

    @given(FILTERS, NAMES)
    def test_matching(self, filter: str, name: str) -> None:
        """A source matches what a subscription with the same filter would get."""
        if is_valid_filter(filter) and is_valid_name(name) and filter[0] != "#":
            self.assertEqual(matches(filter, name), read(f"{filter} drop").concern(name))

    @settings(deadline=None)
    @given(RULES, NAMES, st.text(min_size=1, max_size=4), FRIENDS)
    def test_journeys_end(self, lines: list[str], topic: str, username: str, friends: Friends) -> None:
        """
        Somewhere, as long as nothing is dropped, and on topics that may be published to; within the bounds.
        """
        good = [line for line in lines if line[0] != "#" and is_good(line)]
        if not is_valid_name(topic):
            return
        rules = read(*good).knowing(lambda _: friends)
        journey = rules.journey(topic, Sender("pc", username))
        self.assertTrue(journey.topics)
        self.assertLessEqual(len(journey.topics), MAX_COPIES + MAX_FRIEND_COPIES + 1)
        self.assertTrue(rules.concern(topic) or journey.topics == [topic])
        for place in journey.topics:
            self.assertTrue(is_valid_name(place))
            self.assertTrue(place == topic or not place.startswith("$"))

    @given(SOURCES, NAMES, FRIENDS)
    def test_matching_friends(self, source: str, name: str, friends: Friends) -> None:
        """A source matches what it would with any friend's name in the place of ``%f``, and no more."""
        if not (is_valid_filter(source) and is_valid_name(name) and source[0] != "#"):
            return
        levels = name.split("/")
        meant = {"%f": friends.followed - {""}, "%F": friends.mutual - {""}}
        matched = matches(source.replace("%f", "+").replace("%F", "+"), name) and all(
            level in meant[wanted]
            for wanted, level in zip(source.split("/"), levels, strict=False)
            if wanted in meant
        )
        rules = read(f"{source} drop").knowing(lambda _: friends)
        self.assertEqual([] if matched else [name], list(rules.destinations(name, ALICE)))

    def test_provides(self) -> None:
        """What the broker asks for."""
        self.assertTrue(verifyObject(IRoutingRules, read()))


def is_good(line: str) -> bool:
    """Whether it is a rule."""
    try:
        read(line)
    except RuleFileError:
        return False
    return True
