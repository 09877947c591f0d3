"""`pushd.rules.auto_subscribe`: from rules, names and friends to topic filters."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.topics import is_valid_filter, matches, split_shared
from pushd.people.interfaces import Friends
from pushd.rules.auto_subscribe import AutoRules
from pushd.rules.rule_file import RuleFileError

FRIENDS = Friends(frozenset({"bob", "eve", "a/b", "#"}), frozenset({"eve", "+"}))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HOSTILE = st.one_of(TEXT, st.text("+#/$%ucfF a", max_size=6), st.sampled_from(["$SYS", "$share", "%u", ""]))


def wishes(text: str, username: str | None = "ada", client_id: str = "phone") -> dict[str, int]:
    """What a client shall have by these rules, in their order."""
    return dict(AutoRules.parse(text, "rules").wishes(username, client_id, FRIENDS))


class WishTests(SynchronousTestCase):
    """What rules come to"""

    def test_names(self) -> None:
        """%u and %c are the client's, as often as they stand there."""
        self.assertEqual({"/ada/c/phone/ada": 1}, wishes("/%u/c/%c/%u 1"))

    def test_friends(self) -> None:
        """%f makes one for each who is followed, %F for each mutual friend, where the name is one level."""
        self.assertEqual({"u/bob/+": 0, "u/eve/+": 0}, wishes("u/%f/+ 0"))
        self.assertEqual({"eve": 2}, wishes("%F 2"))

    def test_without_a_name(self) -> None:
        """Who is anonymous gets what needs no user name."""
        self.assertEqual({"c/phone": 0}, wishes("u/%u 0\nc/%c 0\n[user x]\nx 0", None))

    def test_wide_names(self) -> None:
        """A wildcard or a slash in a name never widens a rule: it does not match."""
        for name in ("+", "#", "a/b", "a+b"):
            self.assertEqual({"all": 0}, wishes("u/%u 1\nall 0", name), name)
            self.assertEqual({}, wishes("c/%c 1", "ada", name), name)

    def test_dollar_names(self) -> None:
        """Nobody's name makes a rule one for the broker's own topics, or for a group."""
        for name in ("$SYS", "$share"):
            self.assertEqual({f"u/{name}": 0}, wishes("%u/# 0\n%u/g/t 0\n$share/g/%u/# 0\nu/%u 0", name))

    def test_sections(self) -> None:
        """What stands behind a user's name is for that user, beside what is for everybody."""
        text = "all 0\n[user ada]\na 1\n[user b]c]\nb 1\n[user ada]\nd 2"
        self.assertEqual({"all": 0, "a": 1, "d": 2}, wishes(text))
        self.assertEqual({"all": 0, "b": 1}, wishes(text, "b]c"))
        self.assertEqual({"all": 0}, wishes(text, "eve"))

    def test_the_same_filter_twice(self) -> None:
        """The first time it has the highest QoS, be it by a rule or by a list."""
        rules = AutoRules.parse("t 0\n%u 1\n[user ada]\nt 2", "rules")
        made = list(rules.wishes("ada", "phone", FRIENDS, {"ada": 2, "t": 1, "z": 0}))
        self.assertEqual([("t", 2), ("ada", 2)], made[:2])
        first = dict(reversed(made))
        self.assertEqual({"t": 2, "ada": 2, "z": 0}, first)

    def test_lists_are_literal(self) -> None:
        """What an operator or a user has put into a list means what it says."""
        self.assertEqual(
            [("a/%u", 1)], list(AutoRules.parse("", "rules").wishes("ada", "c", listed={"a/%u": 1}))
        )

    def test_shared(self) -> None:
        """A rule may subscribe everybody to a group."""
        self.assertEqual({"$share/workers/jobs/ada": 1}, wishes("$share/workers/jobs/%u 1"))

    def test_who_needs_friends(self) -> None:
        """Only those for whom some rule asks for them."""
        rules = AutoRules.parse("t 0\n[user ada]\nu/%F 0", "rules")
        self.assertEqual([True, False, False], [rules.wants_friends(name) for name in ("ada", "bob", None)])

    @given(HOSTILE, HOSTILE, st.frozensets(HOSTILE, max_size=4))
    def test_hostile_names(self, username: str, client_id: str, friends: frozenset[str]) -> None:
        """Whatever anybody is called, each filter is valid, and as narrow as its rule."""
        rules = AutoRules.parse("a/%u/%c/x 0\n%u/y 1\na/%F/z 2\n%F 0\n$share/g/%u/w 0", "rules")
        widest = {"+/y", "a/+/+/x", "a/+/z", "+", "+/w"}
        for filter, _ in rules.wishes(username, client_id, Friends(friends, friends)):
            assert is_valid_filter(filter)
            group, plain = split_shared(filter)
            assert "+" not in plain and "#" not in plain and group in (None, "g")
            assert any(matches(one, plain) for one in widest), filter


class FileTests(SynchronousTestCase):
    """What a file may say"""

    def refusal(self, text: str) -> str:
        return str(self.assertRaises(RuleFileError, AutoRules.parse, text, "rules"))

    def test_filters_with_blanks(self) -> None:
        """The QoS is the last word."""
        self.assertEqual({"a b/c": 1, "d": 2}, wishes("a b/c \t 1\r\n\td 2  "))

    def test_mistakes(self) -> None:
        """Each names its line and says what is wrong."""
        for line, told in (
            ("a", "'a': no QoS behind it"),
            ("a 3", "'3' is no QoS: 0, 1 or 2"),
            ("a +1", "'+1' is no QoS: 0, 1 or 2"),
            ("a#b 1", "topic filter: # is not the last level, whole"),
            ("$share/g 1", "topic filter: a group name without a filter behind it"),
            ("x-%u 1", "'x-%u': a variable is a whole level, or none"),
            ("%f/%F 1", "%f or %F may be there once"),
            ("$share/%u/a 1", "a group's name has no variables"),
            ("[users ada]", "[users ada] is not [user NAME]"),
            ("[user ]", "no user name"),
        ):
            self.assertEqual(f"rules:2: {told}", self.refusal(f"# first\n{line}"))

    def test_no_file(self) -> None:
        """The error names it."""
        error = self.assertRaises(RuleFileError, AutoRules.read, "no/file")
        self.assertEqual("no/file: No such file or directory", str(error))

    def test_the_example(self) -> None:
        """The file that comes with pushd subscribes nobody to anything, and says what could be said."""
        path = Path(__file__).parents[2] / "conf" / "autosubscribe"
        self.assertEqual({}, dict(AutoRules.read(path).wishes("anna", "phone", FRIENDS)))
        examples = [
            line[1:] for line in path.read_text().splitlines() if line[1:2].strip() and line[0] == "#"
        ]
        self.assertEqual(
            {"/anna/chat": 1, "user/eve/presence/+": 1, "alerts/#": 2}, wishes("\n".join(examples), "anna")
        )

    @given(st.one_of(TEXT, st.text("a/+#%ufFc$ 012[]user\n", max_size=40)))
    def test_any_text(self, text: str) -> None:
        """It is rules, or an error that says where; and what rules make is a filter."""
        try:
            made = wishes(text)
        except RuleFileError as error:
            assert str(error).startswith("rules:")
        else:
            assert all(is_valid_filter(filter) and 0 <= qos <= 2 for filter, qos in made.items())
