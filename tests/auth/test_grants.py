"""`pushd.auth.grants`: which entry of the access control list decides, and what when there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.auth import grants
from pushd.auth.grants import AccessList, Entry, GrantAuthorizer
from pushd.broker.interfaces import Access, IAuthorizer, Verdict
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import matches
from pushd.people.access import PERMISSIONS
from pushd.people.interfaces import Grant

YES, NO = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED
READ, WRITE, SUBSCRIBE = Access.READ, Access.WRITE, Access.SUBSCRIBE


@dataclass
class Asker:
    """Somebody who would like to do something."""

    username: str | None
    client_id: str = "phone"


def listed(*lines: str) -> AccessList:
    """A list of lines like ``ada news* read-only``."""
    return AccessList(Grant(*line.split(" ")) for line in lines)


class ListTestCase(SynchronousTestCase):
    """Each test writes a list, and asks."""

    def use(self, *lines: str) -> None:
        self.authorizer = GrantAuthorizer(lambda username: username == "root")
        self.authorizer.use(listed(*lines))

    def ask(self, username: str | None, access: Access, topic: str) -> Verdict | Deferred[Verdict]:
        return self.authorizer.authorize(Asker(username), access, topic)

    def rights(self, username: str | None, topic: str) -> str:
        """What one may do with a topic: "rw", "-w" and so on, "?" where the list says nothing."""
        signs = {YES: "", NO: "-", None: "?"}
        answers = [self.ask(username, access, topic) for access in (READ, WRITE)]
        return "".join(signs[answer] or sign for answer, sign in zip(answers, "rw", strict=True))  # type: ignore[index]


class DecisionTests(ListTestCase):
    """Topic names."""

    def test_interface(self) -> None:
        """It is an authorizer."""
        verifyObject(IAuthorizer, GrantAuthorizer())

    def test_permissions(self) -> None:
        """What an entry does not let do, it forbids."""
        self.use("ada a read-write", "ada b read-only", "ada c write-only", "ada d deny-all")
        self.assertEqual([self.rights("ada", topic) for topic in "abcde"], ["rw", "r-", "-w", "--", "??"])

    def test_nobody_is_listed(self) -> None:
        """An empty list says nothing, and there is no reason to ask it."""
        self.use()
        self.assertEqual(self.rights("ada", "news"), "??")
        self.assertFalse(self.authorizer.in_use)

    def test_everybody(self) -> None:
        """Users and those without a name; nobody gets what another user has."""
        self.use("* news read-only", "ada diary read-write")
        for username in ("ada", "bob", "", None):
            self.assertEqual(self.rights(username, "news"), "r-", username)
        self.assertEqual(self.rights("ada", "diary"), "rw")
        for username in ("bob", "", None):
            self.assertEqual(self.rights(username, "diary"), "??", username)

    def test_own_entries_go_first(self) -> None:
        """However short they are."""
        self.use("ada * read-only", "* news-of-today deny-all")
        self.assertEqual(self.rights("ada", "news-of-today"), "r-")
        self.assertEqual(self.rights("bob", "news-of-today"), "--")

    def test_longer_pattern_goes_first(self) -> None:
        """Also a denial, and also before the topic itself."""
        self.use("ada n* read-write", "ada news* deny-all", "ada news-* read-only")
        self.assertEqual(self.rights("ada", "number"), "rw")
        self.assertEqual(self.rights("ada", "newspaper"), "--")
        self.assertEqual(self.rights("ada", "news-1"), "r-")
        self.use("ada ab deny-all", "ada a*b* read-only")
        self.assertEqual(self.rights("ada", "ab"), "r-")

    def test_of_the_same_length(self) -> None:
        """The topic itself, then the stricter."""
        self.use("ada new* deny-all", "ada news read-only")
        self.assertEqual(self.rights("ada", "news"), "r-")
        self.use("ada new* read-write", "ada *ews deny-all")
        self.assertEqual(self.rights("ada", "news"), "--")

    def test_star(self) -> None:
        """Any characters, none and slashes too; all others are only themselves."""
        self.use("ada a*c read-only", "ada x.y read-only", "ada [ab] read-only")
        for topic in ("ac", "abc", "a/b/c", "acc", "a*c", "x.y", "[ab]"):
            self.assertEqual(self.rights("ada", topic), "r-", topic)
        for topic in ("a", "c", "acd", "xyz", "x-y", "A/C", "b"):
            self.assertEqual(self.rights("ada", topic), "??", topic)

    def test_dollar_topics(self) -> None:
        """A pattern that begins with a star opens none of them, but it forbids them."""
        self.use("* * read-write")
        self.assertEqual(self.rights("ada", "$SYS/broker/uptime"), "??")
        self.use("* * read-only", "* $SYS* read-only")
        self.assertEqual(self.rights("ada", "$SYS/broker/uptime"), "r-")
        self.use("* * deny-all")
        self.assertEqual(self.rights("ada", "$SYS/broker/uptime"), "--")

    def test_admins(self) -> None:
        """The list is not about them, whatever it says."""
        self.use("* * deny-all", "root * deny-all")
        self.assertEqual(self.rights("root", "news"), "??")

    def test_user_who_is_called_everybody(self) -> None:
        """Has what everybody has."""
        self.use("* news read-only")
        self.assertEqual(self.rights("*", "news"), "r-")

    def test_permission_that_nobody_knows(self) -> None:
        """Who has written it may have meant a no."""
        self.use("ada news read-sometimes")
        self.assertEqual(self.rights("ada", "news"), "--")

    def test_filters_in_place_of_patterns(self) -> None:
        """They match no topic: somebody else has written them."""
        self.use("ada news/# deny-all", "ada + deny-all")
        self.assertEqual(self.rights("ada", "news"), "??")
        self.assertEqual(self.ask("ada", SUBSCRIBE, "news/#"), None)

    def test_hostile_patterns_take_no_time(self) -> None:
        """Many stars and a long topic: looked through once."""
        pattern = "*a" * 500 + "b"
        self.use(f"ada {pattern} read-only")
        self.assertEqual(self.rights("ada", "a" * 65_000), "??")
        self.assertEqual(self.rights("ada", "a" * 65_000 + "b"), "r-")


class SubscribeTests(ListTestCase):
    """Filters: allowed if any topic of theirs may be read, refused if none may."""

    def subscribe(self, topic_filter: str) -> object:
        return self.ask("ada", SUBSCRIBE, topic_filter)

    def test_topic(self) -> None:
        """Without wildcards it is as with reading."""
        self.use("ada a read-only", "ada b write-only", "* * deny-all")
        answers = [self.subscribe(topic) for topic in ("a", "b", "c")]
        self.assertEqual(answers, [YES, NO, NO])

    def test_all_of_it(self) -> None:
        """One entry is about all topics of the filter."""
        self.use("ada news* read-only", "ada secret* deny-all")
        for topic_filter in ("news/#", "news/+/today", "newspapers/+"):
            self.assertEqual(self.subscribe(topic_filter), YES, topic_filter)
        for topic_filter in ("secret/#", "secrets/+"):
            self.assertEqual(self.subscribe(topic_filter), NO, topic_filter)
        self.assertEqual(self.subscribe("others/#"), None)

    def test_some_of_it_is_forbidden(self) -> None:
        """Whoever keeps topics from somebody does not end all else."""
        self.use("ada news/secret deny-all", "ada news/old* deny-all")
        for topic_filter in ("news/#", "news/+", "#", "+/secret"):
            self.assertEqual(self.subscribe(topic_filter), None, topic_filter)

    def test_some_of_it_is_allowed(self) -> None:
        """Then only that comes."""
        self.use("ada alerts* read-only", "* * deny-all")
        for topic_filter in ("#", "+/+", "alerts/#"):
            self.assertEqual(self.subscribe(topic_filter), YES, topic_filter)
        self.assertEqual(self.subscribe("news/#"), NO)
        self.assertEqual(self.ask("bob", SUBSCRIBE, "#"), NO)

    def test_parent_of_a_filter(self) -> None:
        """``news/#`` is about ``news`` as well, which is not below it."""
        self.use("ada news/* deny-all")
        self.assertEqual(self.subscribe("news/#"), None)
        self.assertEqual(self.subscribe("news/a/#"), NO)
        self.use("ada news read-only", "* * deny-all")
        self.assertEqual(self.subscribe("news/#"), YES)

    def test_dollar_filters(self) -> None:
        """As with names."""
        self.use("* * read-only")
        self.assertEqual(self.subscribe("$SYS/#"), None)
        self.use("* * deny-all")
        self.assertEqual(self.subscribe("$SYS/#"), NO)

    def test_too_much_to_look_through(self) -> None:
        """Whoever asks keeps nobody waiting: then each message is checked at its delivery."""
        self.patch(grants, "MAX_LOOKS", 10)
        self.use(*(f"ada topic-{number} read-only" for number in range(20)), "ada a* deny-all")
        self.assertEqual(self.subscribe("a/#"), None)


class UnreadListTests(SynchronousTestCase):
    """Before the list came for the first time."""

    def setUp(self) -> None:
        self.authorizer = GrantAuthorizer()

    def ask(self, access: Access, client_id: str = "phone") -> Deferred[Verdict]:
        answer = self.authorizer.authorize(Asker("ada", client_id), access, "news")
        assert isinstance(answer, Deferred)
        self.assertNoResult(answer)
        return answer

    def test_waits(self) -> None:
        """Who writes or subscribes is answered by the list."""
        self.assertTrue(self.authorizer.in_use)
        write, subscribe = self.ask(WRITE), self.ask(SUBSCRIBE)
        self.authorizer.use(listed("ada news read-only"))
        self.assertEqual(self.successResultOf(write), NO)
        self.assertEqual(self.successResultOf(subscribe), YES)

    def test_reading(self) -> None:
        """Nobody can say now, and those who are away get it later."""
        verdict = self.authorizer.authorize(Asker("ada"), READ, "news")
        self.assertEqual(verdict, ReasonCode.SERVER_UNAVAILABLE)

    def test_list_cannot_be_had(self) -> None:
        """A no, and by HTTP the truth: what is forbidden is not done because nobody knows of it."""
        mqtt, http = self.ask(WRITE), self.ask(WRITE, client_id="")
        self.authorizer.look_again()
        self.assertEqual(self.successResultOf(mqtt), NO)
        self.assertEqual(self.successResultOf(http), ReasonCode.SERVER_UNAVAILABLE)

    def test_cancelled(self) -> None:
        """Who does not wait any more is not told."""
        answer = self.ask(WRITE)
        answer.cancel()
        self.failureResultOf(answer)
        self.authorizer.use(listed())


WORDS = st.text("ab/*$", min_size=1, max_size=6)
TOPICS = st.text("ab/$", min_size=1, max_size=8)


class EntryTests(SynchronousTestCase):
    """What an entry is about, held against the plain definitions."""

    @given(WORDS, TOPICS)
    def test_matches(self, pattern: str, topic: str) -> None:
        """As a regular expression would, which could take forever."""
        expression = ".*".join(map(re.escape, pattern.split("*")))
        self.assertEqual(
            Entry(Grant("ada", pattern, "deny-all")).matches(topic), bool(re.fullmatch(expression, topic))
        )

    @given(WORDS, TOPICS, st.sets(st.integers(0, 7)), st.none() | st.integers(0, 7))
    def test_filters(self, pattern: str, topic: str, plus_at: set[int], hash_at: int | None) -> None:
        """Covered is only what is matched with all its topics; and it meets whatever has one in common."""
        levels = ["+" if at in plus_at else level for at, level in enumerate(topic.split("/"))]
        topic_filter = "/".join(levels if hash_at is None else [*levels[:hash_at], "#"])
        if not matches(topic_filter, topic):  # a wildcard in place of a $
            return
        entry = Entry(Grant("ada", pattern, "deny-all"))
        if entry.covers(topic_filter):
            self.assertTrue(entry.matches(topic))
        if entry.matches(topic):
            self.assertTrue(entry.may_meet(topic_filter))


GRANTS = st.builds(Grant, st.sampled_from(["ada", "*"]), WORDS, st.sampled_from(sorted(PERMISSIONS)))


class WholeListTests(SynchronousTestCase):
    """All of it, against the rule as it would be said."""

    @given(st.lists(GRANTS, max_size=12, unique_by=lambda grant: (grant.username, grant.pattern)), TOPICS)
    def test_the_same_entry_decides(self, kept: list[Grant], topic: str) -> None:
        """However it is found."""
        for access in (READ, WRITE):
            found = AccessList(kept).deciding("ada", access, topic)
            expected = self.deciding(kept, access, topic)
            self.assertEqual(None if found is None else found.grant, expected)

    def deciding(self, kept: list[Grant], access: Access, topic: str) -> Grant | None:
        for grant in sorted(kept, key=self.order):
            expression = ".*".join(map(re.escape, grant.pattern.split("*")))
            if not re.fullmatch(expression, topic):
                continue
            allows = PERMISSIONS[grant.permission][access is WRITE]
            if not (allows and topic.startswith("$") and grant.pattern.startswith("*")):
                return grant
        return None

    @staticmethod
    def order(grant: Grant) -> tuple[bool, int, bool, int]:
        strictness = ["deny-all", "read-only", "write-only", "read-write"].index(grant.permission)
        return grant.username == "*", -len(grant.pattern), "*" in grant.pattern, strictness
