"""`pushd.auth.acl_file`: Mosquitto's grammar, and its order of decision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.auth.acl_file import AclAuthorizer, AclFile
from pushd.auth.security_file import SecurityFileError
from pushd.broker.interfaces import Access, IAuthorizer
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import is_valid_name, matches


@dataclass
class Client:
    """Somebody who wants something."""

    username: str | None = None
    client_id: str = "c1"


class AclTestCase(SynchronousTestCase):
    """Asks one ACL file."""

    acl: AclFile

    def given_acl(self, *lines: str) -> None:
        """The file has these lines."""
        self.acl = AclFile.parse("\n".join(lines), "conf/acl")

    def may(self, client: Client, access: Access, topic: str) -> bool:
        """Whether the file allows this; every verdict is one of two."""
        verdict = self.acl.authorize(client, access, topic)
        self.assertIn(verdict, (ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED))
        return verdict is ReasonCode.SUCCESS

    def reads(self, client: Client, topic: str) -> bool:
        """Whether it may get messages of this topic."""
        return self.may(client, Access.READ, topic)

    def writes(self, client: Client, topic: str) -> bool:
        """Whether it may publish to this topic."""
        return self.may(client, Access.WRITE, topic)


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

    def test_subscribing_is_never_refused(self) -> None:
        """As in Mosquitto each message is checked when it is delivered."""
        self.given_acl("topic deny #")
        for topic_filter in ("#", "$SYS/#", "$share/g/a", "a/+/b"):
            self.assertTrue(self.may(Client(), Access.SUBSCRIBE, topic_filter))


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
        """Since 2.1 ``dev-%u`` is just a name; the file's warnings say so."""
        self.given_acl("pattern read dev-%u/#")
        self.assertFalse(self.reads(Client("anna"), "dev-anna/x"))
        self.assertTrue(self.reads(Client("anna"), "dev-%u/x"))
        self.assertEqual(len(self.acl.warnings), 1)
        self.assertIn("conf/acl:1: ", self.acl.warnings[0])

    def test_pattern_for_everybody(self) -> None:
        """Mosquitto warns of a pattern without a variable; we take it for what it says."""
        self.given_acl("pattern read news/#", "pattern read %c/#")
        self.assertEqual(self.acl.warnings, ())
        self.assertTrue(self.reads(Client(), "news/x"))

    def test_topic_lines_substitute_nothing(self) -> None:
        """Only patterns do."""
        self.given_acl("user anna", "topic %u/a")
        self.assertFalse(self.reads(Client("anna"), "anna/a"))
        self.assertTrue(self.reads(Client("anna"), "%u/a"))


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


class ManyLinesTests(AclTestCase):
    """Lines are kept by topic; the result is that of reading them one by one."""

    filters = st.lists(st.sampled_from(["a", "b", "", "+", "$SYS"]), min_size=1, max_size=4).map("/".join)
    lines = st.tuples(st.sampled_from(["read", "write", "readwrite", "deny"]), filters, st.booleans())
    names = st.lists(st.sampled_from(["a", "b", "", "$SYS", "c"]), min_size=1, max_size=4).map("/".join)

    @given(st.lists(lines, max_size=8), names, st.sampled_from([Access.READ, Access.WRITE]))
    def test_same_as_one_by_one(self, lines: list[tuple[str, str, bool]], name: str, access: Access) -> None:
        """For any rules and any topic."""
        rules = [(word, topic_filter + "/#" * below) for word, topic_filter, below in lines if topic_filter]
        self.given_acl(*[f"topic {word} {topic_filter}" for word, topic_filter in rules])
        if name and not name.startswith("$"):
            words = [word for word, topic_filter in rules if matches(topic_filter, name)]
            expected = "deny" not in words and any(access.value in word for word in words)
            self.assertEqual(self.may(Client(), access, name), expected)

    def test_deep_topic_is_no_trouble(self) -> None:
        """A topic of nothing but slashes is decided without looking at each of its beginnings."""
        self.given_acl("topic a/b/+", "topic deny /#")
        self.assertFalse(self.reads(Client(), "/" * 65_535))

    def test_file_of_many_lines_is_read(self) -> None:
        """A file for a large fleet, made by a script, is just a file."""
        users = "".join(f"user u{n}\ntopic read site/{n}/#\ntopic write site/{n}/up\n" for n in range(5000))
        self.given_acl(users)
        self.assertTrue(self.writes(Client("u4321"), "site/4321/up"))
        self.assertFalse(self.writes(Client("u4321"), "site/4322/up"))


class AclAuthorizerTests(SynchronousTestCase):
    """What the broker asks."""

    def test_it_is_an_authorizer(self) -> None:
        """It keeps the promise of the interface."""
        verifyObject(IAuthorizer, AclAuthorizer(None))

    def test_no_file_is_no_opinion(self) -> None:
        """Without an ACL file nobody is refused here."""
        self.assertIsNone(AclAuthorizer(None).authorize(Client(), Access.READ, "a"))

    def test_new_rules_hold_at_once(self) -> None:
        """A reload replaces all rules in one step."""
        authorizer = AclAuthorizer(AclFile.parse("topic a", "f"))
        self.assertIs(authorizer.authorize(Client(), Access.READ, "a"), ReasonCode.SUCCESS)
        authorizer.replace(AclFile.parse("topic b", "f"))
        self.assertIs(authorizer.authorize(Client(), Access.READ, "a"), ReasonCode.NOT_AUTHORIZED)

    def test_file_is_read_from_disk(self) -> None:
        """And errors name it."""
        path = Path(self.mktemp())
        path.write_text("topic a\n")
        self.assertIs(AclFile.read(path).authorize(Client(), Access.READ, "a"), ReasonCode.SUCCESS)
        path.write_text("topics a\n")
        error = self.assertRaises(SecurityFileError, AclFile.read, path)
        self.assertIn(f"{path}:1: ", str(error))
