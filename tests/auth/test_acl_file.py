"""`pushd.auth.acl_file`: Mosquitto's grammar, and its order of decision."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.auth.acl_file import MAX_STEPS, MAX_WARNINGS, AclAuthorizer, AclFile
from pushd.auth.acl_tree import Substitution
from pushd.auth.security_file import SecurityFileError
from pushd.broker.interfaces import Access, IAuthorizer, Verdict
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import is_valid_name
from pushd.people.book import FriendBook
from pushd.people.interfaces import Friends, PeopleUnavailable
from pushd.people.memory import MemoryPeople
from tests.auth.acl_case import AclTestCase, Client


class GrammarTests(AclTestCase):
    """What a line may look like."""

    def refuse(self, text: str, message: str) -> None:
        """The text is refused with this message."""
        error = self.assertRaises(SecurityFileError, AclFile.parse, text, "conf/acl")
        self.assertEqual(str(error), message)

    def test_access_word_names_what_is_granted(self) -> None:
        """read, write, readwrite, and readwrite where there is no word."""
        self.given_acl("topic read r", "topic write w", "topic readwrite rw", "topic both")
        anybody = Client()
        topics = ("r", "w", "rw", "both", "x")
        self.assertEqual([self.reads(anybody, topic) for topic in topics], [True, False, True, True, False])
        self.assertEqual([self.writes(anybody, topic) for topic in topics], [False, True, True, True, False])

    def test_comments_and_blanks_are_overlooked(self) -> None:
        """A comment begins in the first column; spaces may surround words, and lines may end in CRLF."""
        self.given_acl("# topic a", "", "   ", "  topic   read   a b/c \t\r", "user  anna \r", "topic x")
        self.assertTrue(self.reads(Client(), "a b/c"))
        self.assertTrue(self.reads(Client("anna"), "x"))
        self.assertFalse(self.reads(Client(), "a"))

    def test_single_word_is_a_filter_whatever_it_says(self) -> None:
        """``topic read`` is about a topic named read."""
        self.given_acl("topic read")
        self.assertTrue(self.writes(Client(), "read"))

    def test_filter_with_a_space_needs_its_access_word(self) -> None:
        """Without one its beginning is taken for a bad one, as in Mosquitto."""
        self.refuse("topic a b", "conf/acl:1: 'a' is not read, write, readwrite or deny")

    def test_unknown_word_is_refused(self) -> None:
        """A line that is not understood might have been a denial."""
        self.refuse("topic a\n\ntopics b", "conf/acl:3: 'topics' is not user, topic or pattern")
        self.refuse("\ttopic a", "conf/acl:1: '\\ttopic' is not user, topic or pattern")
        self.refuse(" # indented", "conf/acl:1: '#' is not user, topic or pattern")

    def test_missing_name_or_filter_is_refused(self) -> None:
        """A word alone says nothing."""
        self.refuse("user", "conf/acl:1: no user name")
        self.refuse("user  \r", "conf/acl:1: no user name")
        self.assertRaises(SecurityFileError, AclFile.parse, "topic", "f")
        self.assertRaises(SecurityFileError, AclFile.parse, "pattern ", "f")

    def test_bad_filter_is_refused(self) -> None:
        """Wildcards stand for whole levels, the many-level one at the end."""
        for topic_filter in ("a/#/b", "a#", "a/+b", "+a"):
            self.assertRaises(SecurityFileError, AclFile.parse, f"topic read {topic_filter}", "f")
            self.assertRaises(SecurityFileError, AclFile.parse, f"pattern {topic_filter}", "f")

    def test_shared_filter_is_read_and_opens_nothing(self) -> None:
        """People write such lines, and Mosquitto reads them. What counts is a rule for the filter itself."""
        self.given_acl("topic read $share/#", "topic read $share/+/a", "topic $share/g", "topic read b")
        self.assertFalse(self.reads(Client(), "a"))
        self.assertFalse(self.reads(Client(), "$share/g/a"))
        self.assertTrue(self.reads(Client(), "b"))

    def test_user_may_come_twice(self) -> None:
        """Both parts hold."""
        self.given_acl("user anna", "topic read a", "user bert", "topic read b", "user anna", "topic read c")
        self.assertEqual([self.reads(Client("anna"), topic) for topic in "abc"], [True, False, True])
        self.assertEqual([self.reads(Client("bert"), topic) for topic in "abc"], [False, True, False])

    def test_names_may_have_spaces_and_differ_by_case(self) -> None:
        """A name runs to the end of its line."""
        self.given_acl("user Anna von Bert", "topic a")
        self.assertTrue(self.reads(Client("Anna von Bert"), "a"))
        self.assertFalse(self.reads(Client("anna von bert"), "a"))

    @given(
        st.lists(
            st.sampled_from(
                ["topic", "pattern", "user", "read", "deny", "a/+", "#", "%u", " ", "\n", "\0", "\t"]
            )
        )
    )
    def test_any_text_is_rules_or_an_error(self, words: list[str]) -> None:
        """No text raises anything but `SecurityFileError`, and what is read can be asked."""
        try:
            acl = AclFile.parse(" ".join(words), "f")
        except SecurityFileError:
            return
        acl.authorize(Client("anna"), Access.READ, "a/b")


class OrderTests(AclTestCase):
    """The client's own lines, then the patterns; denials first in each."""

    def test_nothing_matched_is_refused(self) -> None:
        """Also with an empty file: an ACL file that says nothing allows nothing."""
        self.given_acl("# nothing")
        self.assertFalse(self.reads(Client(), "a"))
        self.assertFalse(self.writes(Client("anna"), "a"))

    def test_lines_before_any_user_are_for_the_anonymous_only(self) -> None:
        """They are not for everybody."""
        self.given_acl("topic read a", "user anna", "topic read b")
        self.assertTrue(self.reads(Client(), "a"))
        self.assertFalse(self.reads(Client("anna"), "a"))
        self.assertFalse(self.reads(Client(), "b"))

    def test_empty_name_is_anonymous(self) -> None:
        """An empty user name is none."""
        self.given_acl("topic read a", "pattern read %u/x")
        self.assertTrue(self.reads(Client(""), "a"))
        self.assertFalse(self.reads(Client(""), "/x"))

    def test_patterns_are_for_everybody_wherever_they_stand(self) -> None:
        """A pattern below a user is not that user's."""
        self.given_acl("user anna", "pattern read all/%c", "topic read b")
        for client in (Client(), Client("anna"), Client("bert")):
            self.assertTrue(self.reads(client, "all/c1"))
        self.assertTrue(self.reads(Client("anna"), "b"))

    def test_deny_wins_over_any_grant_of_its_list(self) -> None:
        """Wherever it stands in the list, and for reading and writing alike."""
        for lines in (("topic a/#", "topic deny a/b"), ("topic deny a/b", "topic readwrite a/b")):
            self.given_acl(*lines)
            self.assertFalse(self.reads(Client(), "a/b"))
            self.assertFalse(self.writes(Client(), "a/b"))

    def test_line_of_the_other_access_keeps_looking(self) -> None:
        """A line for reading says nothing about writing; a later one may."""
        self.given_acl("topic read a/#", "topic write a/b", "pattern write a/c")
        self.assertTrue(self.writes(Client(), "a/b"))
        self.assertTrue(self.writes(Client(), "a/c"))
        self.assertFalse(self.writes(Client(), "a/d"))

    def test_own_grant_wins_over_a_denying_pattern(self) -> None:
        """The patterns are not asked when the client's own list has decided."""
        self.given_acl("pattern deny a/#", "user anna", "topic read a/b")
        self.assertTrue(self.reads(Client("anna"), "a/b"))
        self.assertFalse(self.writes(Client("anna"), "a/b"))
        self.assertFalse(self.reads(Client("bert"), "a/b"))

    def test_own_denial_wins_over_a_granting_pattern(self) -> None:
        """The same the other way round."""
        self.given_acl("pattern a/#", "user anna", "topic deny a/b")
        self.assertFalse(self.reads(Client("anna"), "a/b"))
        self.assertTrue(self.reads(Client("anna"), "a/c"))

    def test_denying_pattern_wins_over_a_granting_one(self) -> None:
        """Denials first among the patterns too."""
        self.given_acl("pattern a/#", "pattern deny a/%c")
        self.assertFalse(self.reads(Client(), "a/c1"))
        self.assertTrue(self.reads(Client(), "a/c2"))


class PatternTests(AclTestCase):
    """``%u`` and ``%c``, as Mosquitto 2.1 reads them."""

    def test_names_take_the_place_of_levels(self) -> None:
        """Each client reaches its own topics and nobody else's."""
        self.given_acl("pattern write devices/%u/%c/up", "pattern read %u/#", "pattern read x/%c")
        anna = Client("anna", "phone")
        self.assertTrue(self.writes(anna, "devices/anna/phone/up"))
        self.assertFalse(self.writes(anna, "devices/anna/tablet/up"))
        self.assertFalse(self.writes(anna, "devices/bert/phone/up"))
        self.assertTrue(self.reads(anna, "anna"))
        self.assertTrue(self.reads(anna, "anna/a/b"))
        self.assertTrue(self.reads(anna, "x/phone"))
        self.assertFalse(self.reads(anna, "bert/a"))

    def test_name_never_widens_a_pattern(self) -> None:
        """A wildcard or a slash in a name opens nothing (CVE-2017-7650), not even what is literally there."""
        self.given_acl("pattern %u/a", "pattern x/%c", "pattern y/%u/#")
        for name in ("+", "#", "a/#", "+/a", "a/b", "/", "a+", "a#b"):
            for topic in ("z/a", "a", "a/b", "x/a", "y/a/b", f"{name}/a", f"x/{name}", f"y/{name}/b"):
                if is_valid_name(topic):
                    self.assertFalse(self.reads(Client(name, name), topic), (name, topic))

    def test_wildcard_in_a_name_shuts_all_patterns(self) -> None:
        """Even one without substitutions; the client's own lines still hold."""
        self.given_acl("pattern all/#", "user a+b", "topic own")
        self.assertFalse(self.reads(Client("a+b"), "all/x"))
        self.assertFalse(self.reads(Client("anna", "c#"), "all/x"))
        self.assertTrue(self.reads(Client("a+b"), "own"))

    def test_slash_in_a_name_shuts_only_patterns_with_it(self) -> None:
        """A user name with a slash is still everybody."""
        self.given_acl("pattern all/#", "pattern c/%c")
        self.assertTrue(self.reads(Client("a/b"), "all/x"))
        self.assertTrue(self.reads(Client("a/b"), "c/c1"))

    def test_dollar_in_a_name_does_not_reach_dollar_topics(self) -> None:
        """A user who is called $SYS reads no statistics by ``%u/#``, and a name of %c is just a name."""
        self.given_acl("pattern %u/#", "pattern x/%u")
        self.assertFalse(self.reads(Client("$SYS"), "$SYS/broker/uptime"))
        self.assertTrue(self.reads(Client("$SYS"), "x/$SYS"))
        self.assertFalse(self.reads(Client("%c"), "x/c1"))

    def test_anonymous_has_no_user_patterns(self) -> None:
        """Patterns with a user name are skipped, those with a client id are not."""
        self.given_acl("pattern a/%u", "pattern b-%u/x", "pattern c/%c")
        self.assertFalse(self.reads(Client(), "a/"))
        self.assertFalse(self.reads(Client(), "a/%u"))
        self.assertFalse(self.reads(Client(), "b-%u/x"))
        self.assertTrue(self.reads(Client(), "c/c1"))

    def test_no_client_id_has_no_client_patterns(self) -> None:
        """A caller who is no MQTT client does not match an empty level."""
        self.given_acl("pattern c/%c", "pattern u/%u")
        caller = Client("anna", "")
        self.assertFalse(self.reads(caller, "c/"))
        self.assertTrue(self.reads(caller, "u/anna"))

    def test_part_of_a_level_is_no_substitution(self) -> None:
        """Since 2.1 ``dev-%u`` is just a name."""
        self.given_acl("pattern read dev-%u/#")
        self.assertFalse(self.reads(Client("anna"), "dev-anna/x"))
        self.assertTrue(self.reads(Client("anna"), "dev-%u/x"))

    def test_topic_lines_substitute_nothing(self) -> None:
        """Only patterns do."""
        self.given_acl("user anna", "topic %u/a")
        self.assertFalse(self.reads(Client("anna"), "anna/a"))
        self.assertTrue(self.reads(Client("anna"), "%u/a"))


class AnywherePatternTests(AclTestCase):
    """``%u`` and ``%c``, as Mosquitto 2.0 reads them."""

    substitution = Substitution.ANYWHERE

    def test_names_take_the_place_of_parts(self) -> None:
        """Text is replaced wherever it stands, as often as it does."""
        self.given_acl("pattern dev-%u/#", "pattern x/%c%%u.%c")
        self.assertTrue(self.reads(Client("anna"), "dev-anna/x"))
        self.assertFalse(self.reads(Client("anna"), "dev-%u/x"))
        self.assertTrue(self.reads(Client("anna"), "x/c1%anna.c1"))

    def test_name_may_span_levels(self) -> None:
        """A slash in a name is one between levels, also of a client that is called like a topic."""
        self.given_acl("pattern dev-%u/#", "pattern home/%c/+")
        self.assertTrue(self.reads(Client("x/y"), "dev-x/y/z"))
        self.assertTrue(self.reads(Client("x/y"), "dev-x/y"))
        self.assertFalse(self.reads(Client("x/y"), "dev-x"))
        self.assertFalse(self.reads(Client("x/y"), "dev-x/z"))
        self.assertTrue(self.reads(Client(None, "attic/lamp"), "home/attic/lamp/on"))
        self.assertFalse(self.reads(Client(None, "attic/lamp"), "home/attic/lamp"))

    def test_name_of_slashes_has_nothing(self) -> None:
        """No topic is as deep as a name may be."""
        self.given_acl("pattern %u/#", "pattern a-%c")
        client = Client("/" * 65_535, "/" * 200)
        self.assertFalse(self.reads(client, "/" * 199))
        self.assertFalse(self.subscribes(client, "#"))

    def test_wildcard_in_a_name_widens_nothing(self) -> None:
        """The rule is the same as that of 2.1: no pattern holds for such a client (CVE-2017-7650)."""
        self.given_acl("pattern %u/a", "pattern x-%c/b", "pattern all/#", "user +", "topic own")
        for name in ("+", "#", "a/#", "+/a", "a+"):
            for topic in ("z/a", "a/a", "x-z/b", f"x-{name}/b", "all/x"):
                if is_valid_name(topic):
                    self.assertFalse(self.reads(Client(name), topic), (name, topic))
                    self.assertFalse(self.reads(Client("anna", name), topic), (name, topic))
        self.assertTrue(self.reads(Client("+"), "own"))

    def test_name_is_put_in_once(self) -> None:
        """What a name brings in is text: a user who is called ``%c`` is not the client."""
        self.given_acl("pattern a-%u/b", "pattern c/%c")
        self.assertFalse(self.reads(Client("%c"), "a-c1/b"))
        self.assertTrue(self.reads(Client("%c"), "a-%c/b"))
        self.assertFalse(self.reads(Client("anna", "%u"), "c/anna"))

    def test_dollar_in_a_name_does_not_reach_dollar_topics(self) -> None:
        """Stricter than Mosquitto 2.0: whoever chooses $SYS for a name does not read statistics by it."""
        self.given_acl("pattern %u/#", "pattern %c/broker/#", "pattern $x-%u/#")
        self.assertFalse(self.reads(Client("$SYS"), "$SYS/broker/uptime"))
        self.assertFalse(self.reads(Client("anna", "$SYS"), "$SYS/broker/uptime"))
        self.assertFalse(self.subscribes(Client("$SYS"), "$SYS/#"))
        self.assertTrue(self.reads(Client("anna"), "$x-anna/a"))

    def test_missing_name_has_no_patterns(self) -> None:
        """No user name, no pattern with one in it, whole or in part; no client id the same."""
        self.given_acl("pattern a-%u/b", "pattern c-%c/d", "pattern e/%c")
        self.assertFalse(self.reads(Client(), "a-/b"))
        self.assertFalse(self.reads(Client(""), "a-%u/b"))
        self.assertTrue(self.reads(Client(), "c-c1/d"))
        self.assertFalse(self.reads(Client("anna", ""), "c-/d"))
        self.assertFalse(self.reads(Client("anna", ""), "e/"))


class WarningTests(AclTestCase):
    """Lines that decide differently by `acl_substitution` 2.0 and 2.1 are named at the start."""

    def test_variable_in_a_part_of_a_level(self) -> None:
        """Each pattern like that, with its place."""
        self.given_acl("topic dev-%u", "pattern read dev-%u/#", "pattern %u/%c", "pattern a/%c%c")
        places = [warning.partition(": ")[0] for warning in self.acl.warnings]
        self.assertEqual(places, ["conf/acl:2", "conf/acl:4"])
        self.assertIn("'dev-%u/#'", self.acl.warnings[0])
        self.assertIn("acl_substitution 2.0", self.acl.warnings[0])

    def test_user_with_a_slash(self) -> None:
        """Whoever is named in the file and has a slash in the name, if there are patterns for that name."""
        self.given_acl("user x/y", "topic a", "user x", "pattern write up/%u", "pattern down/%u/#")
        (warning,) = self.acl.warnings
        self.assertTrue(warning.startswith("conf/acl:1: user 'x/y': "), warning)
        self.assertTrue(warning.endswith("see lines 4, 5"), warning)

    def test_nothing_to_warn_of(self) -> None:
        """Files that mean the same everywhere are not talked about."""
        self.given_acl("user x/y", "topic a-%u", "pattern b/%c")
        self.assertEqual(self.acl.warnings, ())
        self.given_acl("user x", "pattern b/%u")
        self.assertEqual(self.acl.warnings, ())

    def test_friends_in_a_part_of_a_level(self) -> None:
        """Whoever writes that hopes for something that it does not mean."""
        self.given_acl("topic a-%f", "pattern read a-%f/#", "pattern %f/%F", "pattern %u%F")
        friends = [warning for warning in self.acl.warnings if "%F count" in warning]
        self.assertEqual([warning.partition(": ")[0] for warning in friends], ["conf/acl:2", "conf/acl:4"])

    def test_many_warnings_are_few(self) -> None:
        """A log is not flooded by a file of a thousand lines of a kind."""
        self.given_acl("pattern %u", *[f"pattern dev-%u/{n}\nuser {n}/x" for n in range(100)])
        more = [warning for warning in self.acl.warnings if "more" in warning]
        self.assertEqual(len(self.acl.warnings), 2 * MAX_WARNINGS + 2)
        self.assertEqual(more, ["conf/acl: 80 more patterns like this", "conf/acl: 80 more users like this"])

    def test_pattern_for_everybody(self) -> None:
        """Mosquitto warns of a pattern without a variable; we take it for what it says."""
        self.given_acl("pattern read news/#", "pattern read %c/#")
        self.assertEqual(self.acl.warnings, ())
        self.assertTrue(self.reads(Client(), "news/x"))


class ExplainTests(AclTestCase):
    """Which line decides."""

    def test_line_that_decides(self) -> None:
        """Denials first, then the file's order; own lines before patterns."""
        self.given_acl(
            "pattern read #",
            "user anna",
            "topic write a/#",
            "topic read a/b",
            "topic a/+",
            "topic deny a/c",
            "topic deny a/c",
        )
        anna = Client("anna")
        self.assertEqual(self.decider(anna, Access.READ, "a/b"), 4)
        self.assertEqual(self.decider(anna, Access.READ, "a/x"), 5)
        self.assertEqual(self.decider(anna, Access.WRITE, "a/b"), 3)
        self.assertEqual(self.decider(anna, Access.WRITE, "a/c"), 6)
        self.assertEqual(self.decider(anna, Access.READ, "x"), 1)

    def test_line_is_shown_as_it_is_written(self) -> None:
        """But for the spaces around it."""
        self.given_acl("", "  topic   read  a b \r")
        line = self.acl.explain(Client(), Access.READ, "a b")
        self.assertEqual((line.number, line.text), (2, "topic   read  a b"))  # type: ignore[union-attr]

    def test_why_no_line_does(self) -> None:
        """Nothing matches, a name shuts out all patterns, or no line could open the topic."""
        self.given_acl("pattern a", "topic $SYS/#")
        self.assertEqual(self.decider(Client(), Access.READ, "b"), "NOTHING")
        self.assertEqual(self.decider(Client("a+b"), Access.READ, "a"), "WILDCARD_IN_NAME")
        self.assertEqual(self.decider(Client(), Access.WRITE, "$SYS/a"), "CLOSED")
        self.given_acl("topic a")
        self.assertEqual(self.decider(Client("a+b"), Access.READ, "a"), "NOTHING")


class SubscribeTests(AclTestCase):
    """With `acl_check_subscribe`: refused where no message could ever be delivered."""

    def test_filter_within_what_may_be_read(self) -> None:
        """A filter that the ACL's covers, or equals."""
        self.given_acl("topic read sensors/#", "topic read news/+/today")
        for topic_filter in ("sensors/#", "sensors", "sensors/+/state", "news/+/today", "news/x/today"):
            self.assertTrue(self.subscribes(Client(), topic_filter), topic_filter)

    def test_filter_wider_than_what_may_be_read(self) -> None:
        """A dashboard may subscribe to everything, and gets what it may read."""
        self.given_acl("topic read sensors/+/state")
        for topic_filter in ("#", "sensors/#", "+/+/+", "sensors/cellar/#", "+/cellar/state"):
            self.assertTrue(self.subscribes(Client(), topic_filter), topic_filter)

    def test_filter_beside_what_may_be_read(self) -> None:
        """Nothing of it could ever be read."""
        self.given_acl("topic read sensors/+/state", "topic write alerts/#")
        for topic_filter in ("sensors", "sensors/+", "sensors/+/set", "alerts/#", "+/+", "sensors/+/+/#"):
            self.assertEqual(self.subscribes(Client(), topic_filter), topic_filter == "sensors/+/+/#")

    def test_denials_count(self) -> None:
        """A denial that covers all there would be to read refuses; one that leaves something does not."""
        self.given_acl(
            "topic read a/#", "topic deny a/secret/#", "topic deny a/+/key", "topic b", "topic deny +"
        )
        self.assertTrue(self.subscribes(Client(), "a/#"))
        self.assertTrue(self.subscribes(Client(), "a/+/+"))
        self.assertFalse(self.subscribes(Client(), "a/secret/+/#"))
        self.assertFalse(self.subscribes(Client(), "a/x/key"))
        self.assertFalse(self.subscribes(Client(), "+/+/key"))
        self.assertFalse(self.subscribes(Client(), "b"))

    def test_denials_of_some_depths_leave_others(self) -> None:
        """What is denied level by level goes on below."""
        self.given_acl("topic a/#", "topic deny a", "topic deny a/+", "topic deny a/+/+/+/#")
        self.assertTrue(self.subscribes(Client(), "a/#"))
        self.assertFalse(self.subscribes(Client(), "a/+"))
        self.assertFalse(self.subscribes(Client(), "a/+/+/+/#"))

    def test_dollar_topics_are_apart(self) -> None:
        """``#`` is not about them, neither in the filter nor in a line."""
        self.given_acl("topic #", "user anna", "topic read $SYS/#")
        self.assertFalse(self.subscribes(Client(), "$SYS/#"))
        self.assertFalse(self.subscribes(Client("anna"), "#"))
        self.assertTrue(self.subscribes(Client("anna"), "$SYS/broker/+"))
        self.given_acl("topic #", "topic deny $SYS/#")
        self.assertTrue(self.subscribes(Client(), "#"))

    def test_patterns_are_for_their_client(self) -> None:
        """Somebody else's corner is refused."""
        self.given_acl("pattern read users/%u/#", "pattern read %c/in")
        anna = Client("anna", "phone")
        self.assertTrue(self.subscribes(anna, "users/anna/#"))
        self.assertTrue(self.subscribes(anna, "users/#"))
        self.assertTrue(self.subscribes(anna, "+/in"))
        self.assertFalse(self.subscribes(anna, "users/bert/#"))
        self.assertFalse(self.subscribes(Client("a+", "phone"), "users/#"))

    def test_long_search_is_given_up(self) -> None:
        """Nobody keeps the broker busy by asking: the subscription is granted, and brings nothing."""
        lines = [f"pattern read site/{number}/up" for number in range(MAX_STEPS)]
        self.given_acl(*lines)
        self.assertEqual(self.decider(Client(), Access.SUBSCRIBE, "site/+/x"), "TOO_MUCH")
        self.assertTrue(self.subscribes(Client(), "site/+/x"))
        self.assertFalse(self.subscribes(Client(), "site/7/x"))
        self.given_acl(*lines, "pattern deny site/+/up")
        self.assertEqual(self.decider(Client(), Access.SUBSCRIBE, "#"), "TOO_MUCH")

    def test_line_that_decides(self) -> None:
        """That which allows to read something of it, or the last that denies."""
        self.given_acl("topic read a/b", "topic deny c/#", "topic read c/d", "topic read d", "topic deny d")
        self.assertEqual(self.decider(Client(), Access.SUBSCRIBE, "+/b"), 1)
        self.assertEqual(self.decider(Client(), Access.SUBSCRIBE, "d"), 5)
        self.assertEqual(self.decider(Client(), Access.SUBSCRIBE, "x"), "NOTHING")


class DollarTests(AclTestCase):
    """Topics that begin with a dollar sign."""

    def test_wildcards_do_not_reach_them(self) -> None:
        """``#`` and ``+`` never cover ``$SYS``; reading it needs a line of its own."""
        self.given_acl("topic #", "topic +/broker", "user anna", "topic read $SYS/#")
        self.assertFalse(self.reads(Client(), "$SYS/broker"))
        self.assertTrue(self.reads(Client("anna"), "$SYS/broker"))

    def test_sys_cannot_be_written(self) -> None:
        """No line opens it, but that of a bridge's state."""
        self.given_acl("topic $SYS/#")
        self.assertFalse(self.writes(Client(), "$SYS/broker/uptime"))
        self.assertTrue(self.writes(Client(), "$SYS/broker/connection/b/state"))

    def test_share_is_no_topic(self) -> None:
        """No message has such a topic."""
        self.given_acl("topic $share/g/#")
        self.assertFalse(self.writes(Client(), "$share/g/a"))


class AclAuthorizerTests(SynchronousTestCase):
    """What the broker asks."""

    def test_it_is_an_authorizer(self) -> None:
        """It keeps the promise of the interface."""
        verifyObject(IAuthorizer, AclAuthorizer(None))

    def test_no_file_is_no_opinion(self) -> None:
        """Without an ACL file nobody is refused here."""
        self.assertIsNone(AclAuthorizer(None).authorize(Client(), Access.READ, "a"))

    def test_subscribing_is_not_refused(self) -> None:
        """As in Mosquitto, each message is checked when it is delivered."""
        authorizer = AclAuthorizer(AclFile.parse("topic deny #", "f"))
        for topic_filter in ("#", "$SYS/#", "a/+/b"):
            verdict = authorizer.authorize(Client(), Access.SUBSCRIBE, topic_filter)
            self.assertIs(verdict, ReasonCode.SUCCESS)

    def test_subscribing_is_refused_on_request(self) -> None:
        """With `acl_check_subscribe`, where there is nothing to be had."""
        authorizer = AclAuthorizer(None)
        authorizer.replace(AclFile.parse("topic a", "f"), check_subscribe=True)
        asked = [authorizer.authorize(Client(), Access.SUBSCRIBE, topic) for topic in ("+", "b")]
        self.assertEqual(asked, [ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED])

    def test_substitution_is_chosen(self) -> None:
        """As in Mosquitto 2.1, unless the settings say as in 2.0."""
        acl = AclFile.parse("pattern dev-%c/a", "f")
        authorizer = AclAuthorizer(acl)
        self.assertIs(authorizer.authorize(Client(), Access.READ, "dev-c1/a"), ReasonCode.NOT_AUTHORIZED)
        authorizer.replace(acl, Substitution("2.0"))
        self.assertIs(authorizer.authorize(Client(), Access.READ, "dev-c1/a"), ReasonCode.SUCCESS)

    def test_new_rules_hold_at_once(self) -> None:
        """A reload replaces all rules in one step."""
        authorizer = AclAuthorizer(AclFile.parse("topic a", "f"))
        self.assertIs(authorizer.authorize(Client(), Access.READ, "a"), ReasonCode.SUCCESS)
        authorizer.replace(AclFile.parse("topic b", "f"))
        self.assertIs(authorizer.authorize(Client(), Access.READ, "a"), ReasonCode.NOT_AUTHORIZED)

    def test_uses_friends(self) -> None:
        """Nobody's friends are loaded for a file that does not ask for them."""
        self.assertFalse(AclFile.parse("topic %f\npattern a-%f\npattern %u", "f").uses_friends)
        self.assertTrue(AclFile.parse("topic a\npattern x/%F", "f").uses_friends)

    def test_file_is_read_from_disk(self) -> None:
        """And errors name it."""
        path = Path(self.mktemp())
        path.write_text("topic a\n")
        self.assertIs(AclFile.read(path).authorize(Client(), Access.READ, "a"), ReasonCode.SUCCESS)
        path.write_text("topics a\n")
        error = self.assertRaises(SecurityFileError, AclFile.read, path)
        self.assertIn(f"{path}:1: ", str(error))


class SlowPeople(MemoryPeople):
    """Answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Deferred[Friends]] = []

    def friends(self, username: str) -> Deferred[Friends]:
        self.asked.append(Deferred())
        return self.asked[-1]


class FriendsAuthorizerTests(SynchronousTestCase):
    """What the broker asks, where it depends on friends."""

    def setUp(self) -> None:
        self.people = SlowPeople()
        self.book = FriendBook(self.people, Clock())
        self.authorizer = AclAuthorizer(None)
        acl = AclFile.parse("pattern news\npattern user/%f/#\npattern deny news/%f", "f")
        self.authorizer.replace(acl, check_subscribe=True, book=self.book)

    def ask(self, access: Access, topic: str, client: Client | None = None) -> Verdict | Deferred[Verdict]:
        return self.authorizer.authorize(client or Client("me"), access, topic)

    def ask_later(self, access: Access, topic: str, client_id: str = "c1") -> Deferred[Verdict]:
        """What is not answered at once."""
        answer = self.ask(access, topic, Client("me", client_id))
        assert isinstance(answer, Deferred)
        return answer

    def test_known_friends(self) -> None:
        """Whoever has a session gets answers at once."""
        self.book.need("me")
        self.people.asked[0].callback(Friends(frozenset({"ann"})))
        self.assertIs(self.ask(Access.READ, "user/ann/x"), ReasonCode.SUCCESS)
        self.assertIs(self.ask(Access.WRITE, "user/bob/x"), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.ask(Access.SUBSCRIBE, "user/+/x"), ReasonCode.SUCCESS)

    def test_reading_cannot_wait(self) -> None:
        """While they are not known, a message is neither allowed nor refused."""
        self.assertIs(self.ask(Access.READ, "user/ann/x"), ReasonCode.SERVER_UNAVAILABLE)
        self.assertIs(self.ask(Access.READ, "news/ann"), ReasonCode.SERVER_UNAVAILABLE)
        self.assertEqual(self.people.asked, [])

    def test_what_does_not_depend_on_them(self) -> None:
        """Other lines decide whether or not friends are known; nobody asks for them."""
        self.assertIs(self.ask(Access.READ, "news"), ReasonCode.SUCCESS)
        self.assertIs(self.ask(Access.WRITE, "other"), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.ask(Access.WRITE, "user/ann/x", Client()), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.ask(Access.WRITE, "user/ann/x", Client("+")), ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(self.people.asked, [])

    def test_publishing_waits(self) -> None:
        """A caller without a session is looked up, and kept no longer than it takes."""
        answers = [self.ask_later(Access.WRITE, f"user/{name}/x") for name in ("ann", "bob")]
        self.people.asked[0].callback(Friends(frozenset({"ann"})))
        verdicts = [self.successResultOf(answer) for answer in answers]
        self.assertEqual(verdicts, [ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED])
        self.assertEqual((len(self.people.asked), len(self.book)), (1, 0))

    def test_subscribing_waits(self) -> None:
        """With `acl_check_subscribe`."""
        answer = self.ask_later(Access.SUBSCRIBE, "user/+/x")
        self.people.asked[0].callback(Friends())
        self.assertIs(self.successResultOf(answer), ReasonCode.NOT_AUTHORIZED)

    def test_subscribing_waits_for_newer_friends(self) -> None:
        """Who subscribes because of a new friend is not refused because the news is still on its way."""
        self.book.need("me")
        self.people.asked.pop().callback(Friends())
        self.book.refresh("me")
        answer = self.ask_later(Access.SUBSCRIBE, "user/ann/x")
        self.people.asked.pop().callback(Friends(frozenset({"ann"})))
        self.assertIs(self.successResultOf(answer), ReasonCode.SUCCESS)
        self.book.refresh("me")
        answer = self.ask_later(Access.SUBSCRIBE, "user/ann/x")
        self.people.asked.pop().errback(PeopleUnavailable("away"))
        self.assertIs(self.successResultOf(answer), ReasonCode.SUCCESS)

    def test_unavailable(self) -> None:
        """Refused; a caller of the gateway hears that it may try again."""
        answers = [self.ask_later(Access.WRITE, "user/ann/x", client_id) for client_id in ("", "c1")]
        self.people.asked[0].errback(PeopleUnavailable("away"))
        verdicts = [self.successResultOf(answer) for answer in answers]
        self.assertEqual(verdicts, [ReasonCode.SERVER_UNAVAILABLE, ReasonCode.NOT_AUTHORIZED])
        self.assertEqual(len(self.book), 0)
