"""`pushd.broker.targets`: whom a push is for."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import targets as targets_module
from pushd.broker.hooks import Hooks
from pushd.broker.interfaces import Access, Verdict
from pushd.broker.limits import Limits
from pushd.broker.message import Message, PushMark
from pushd.broker.policy import Policy
from pushd.broker.publication import Publication
from pushd.broker.session import Session
from pushd.broker.targets import SessionsByUser, Targets, covers, name_for, push
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import is_valid_name, matches
from tests.driver import Rig
from tests.fakes import Doorkeeper, HeldStore, Rules
from tests.pushing import Boss, PushCase, payloads, published, said

ALL = Targets(all=True)


class DirectTests(PushCase):
    """Users, clients, all"""

    def test_every_session_of_a_user(self) -> None:
        """A push to a user reaches each of the user's sessions, and nobody else's."""
        outcome = self.push(b"hi", Targets(users=("bob", "nobody")))
        assert (outcome.code, outcome.sessions, outcome.sent) == (ReasonCode.SUCCESS, 2, 2)
        assert [payloads(peer) for peer in (self.bob, self.bob2, self.ada)] == [[b"hi"], [b"hi"], []]

    def test_needs_no_subscription(self) -> None:
        """The message comes under the publication's topic and at its QoS, whatever was subscribed to."""
        self.push(b"hi", Targets(clients=("ada",)), topic="you/there", qos=2)
        (packet,) = published(self.ada.received())
        assert (packet.topic, packet.qos, packet.retain) == ("you/there", 2, False)

    def test_waits_for_who_is_away(self) -> None:
        """A session without its client has the message queued."""
        self.bob.drop()
        outcome = self.push(b"hi", Targets(clients=("bob",)))
        assert (outcome.sent, outcome.queued) == (0, 1)
        assert payloads(self.come("bob")) == [b"hi"]

    def test_all(self) -> None:
        """Everybody gets it once."""
        outcome = self.push(b"hi", Targets(all=True, users=("bob",), clients=("bob",)))
        assert (outcome.sessions, outcome.sent) == (4, 4)
        assert [payloads(peer) for peer in (self.ada, self.bob, self.sue)] == [[b"hi"]] * 3

    def test_once_though_a_topic_reached_it(self) -> None:
        """Who has got the push by a topic is not given it again."""
        self.sue.subscribe("t", qos=1)
        outcome = self.push(b"hi", Targets(topics=("t",), users=("sue", "ada")))
        assert said(self.sue) == [("t", b"hi")]
        assert said(self.ada) == [("news", b"hi")]
        assert outcome.sessions == 2

    def test_nobody(self) -> None:
        """A push that reaches nobody says so."""
        assert self.code_of(b"", Targets(users=("eve",))) is ReasonCode.NO_MATCHING_SUBSCRIBERS

    def test_no_session_of_old(self) -> None:
        """A user's name leads to the sessions that are the user's now."""
        self.bob2.drop()
        self.come("bob2", "sue")
        self.bob.drop()
        self.broker.end_session(self.broker.sessions["bob"])
        assert self.push(b"", Targets(users=("bob",))).sessions == 0
        assert self.push(b"", Targets(users=("sue",))).sessions == 2

    def test_by_user_after_a_restart(self) -> None:
        """Whose a kept session is stays known."""
        self.restart()
        assert self.push(b"", Targets(users=("bob",))).queued == 2

    def test_offline_at_qos_0(self) -> None:
        """What nothing waits for is refused by who is away, and counted."""
        self.bob.drop()
        outcome = self.push(b"", Targets(users=("bob",)), qos=0)
        assert (outcome.sent, outcome.refused) == (1, {"offline": 1})


class PermissionTests(PushCase):
    """Who may"""

    def test_caller_may_not_write(self) -> None:
        """Without the right to the topic nobody is reached."""
        self.rules.refused.add((Access.WRITE, "news"))
        assert self.code_of(b"", ALL) is ReasonCode.NOT_AUTHORIZED
        assert payloads(self.ada) == []

    def test_all_or_nothing(self) -> None:
        """One topic that is refused refuses the push."""
        self.sue.subscribe("a")
        self.rules.refused.add((Access.WRITE, "b"))
        assert self.code_of(b"", Targets(topics=("a", "b"))) is ReasonCode.NOT_AUTHORIZED
        assert payloads(self.sue) == []

    def test_session_may_not_read(self) -> None:
        """A device is not given what it could not have subscribed to."""
        self.rules.refused.add((Access.READ, "news", "bob"))
        outcome = self.push(b"", Targets(users=("bob",)))
        assert (outcome.sent, outcome.refused) == (1, {"not_authorized": 1})
        assert self.state("bob") == "refused not_authorized"

    def test_broker_topics(self) -> None:
        """Nobody pushes in the broker's name."""
        assert self.code_of(b"", ALL, topic="$SYS/broker/version") is ReasonCode.NOT_AUTHORIZED

    def test_no_topic_name(self) -> None:
        """What is no topic name is refused, whichever way it is meant."""
        for topic, targets in (("a/+", ALL), ("", ALL), ("t", Targets(topics=("a/#/b",)))):
            assert self.code_of(b"", targets, topic=topic) is ReasonCode.TOPIC_NAME_INVALID

    def test_plugin(self) -> None:
        """A plugin may have something else said, or nothing."""
        answers = [Message("news", b"else", 1), ReasonCode.QUOTA_EXCEEDED]
        self.rig.policy.hooks = Hooks(publish=lambda principal, message: answers[-1])
        assert self.code_of(b"hi", ALL) is ReasonCode.QUOTA_EXCEEDED
        answers.pop()
        assert self.push(b"hi", ALL).sessions == 4
        assert payloads(self.ada) == [b"else"]
        assert self.state("ada") == "sent"

    def test_verdict_that_takes_its_time(self) -> None:
        """Nothing is handed out before the access rules have spoken."""
        verdict: Deferred[Verdict] = Deferred()
        self.rules.later = verdict
        pushing = self.begin(b"hi", ALL)
        assert payloads(self.ada) == []
        verdict.callback(ReasonCode.SUCCESS)
        self.rig.turn()
        assert self.successResultOf(pushing).sessions == 4


class RoomTests(PushCase):
    """Full queues"""

    def fill(self) -> None:
        self.bob.drop()
        for _ in range(3):
            self.push_to("bob", receipt=False)

    def test_the_only_one(self) -> None:
        """A push to one session whose queue is full is refused, and leaves no receipt."""
        self.fill()
        assert self.code_of(b"", Targets(clients=("bob",))) is ReasonCode.QUOTA_EXCEEDED
        assert self.broker.receipts.get(self.id) is None
        assert len(self.broker.receipts) == 0

    def test_one_of_many(self) -> None:
        """For others' sake it is not: it is counted."""
        self.fill()
        outcome = self.push(b"", Targets(users=("bob",)))
        assert (outcome.code, outcome.sent) == (ReasonCode.SUCCESS, 1)
        assert outcome.refused == {"queue_full": 1}

    def test_failing_store(self) -> None:
        """What could not be kept is refused."""
        self.rig.store.failing = "disk full"  # type: ignore[misc]
        assert self.code_of(b"", ALL) is ReasonCode.QUOTA_EXCEEDED
        assert self.code_of(b"", ALL, qos=0, receipt=False) is ReasonCode.SUCCESS

    def test_too_many_receipts(self) -> None:
        """Receipts of more devices than there is room for are refused; without one it goes out."""
        self.broker.limits = Limits(max_receipts=3)
        assert self.code_of(b"", ALL) is ReasonCode.QUOTA_EXCEEDED
        assert payloads(self.ada) == []
        assert self.push(b"", ALL, receipt=False).sessions == 4


class TopicTests(PushCase):
    """Topics and wildcards"""

    def test_ordinary_publish(self) -> None:
        """A topic's subscribers get it as ever; it is retained if that is wanted."""
        self.sue.subscribe("a/+", qos=1)
        outcome = self.push(b"hi", Targets(topics=("a/b",)), retain=True)
        assert (outcome.sessions, outcome.sent) == (1, 1)
        assert said(self.sue) == [("a/b", b"hi")]
        assert self.broker.retained.get("a/b") is not None

    def test_examples(self) -> None:
        """A wildcard is published to the names of the subscriptions that it covers, each once."""
        for filter in ("alerts", "alerts/fire", "alerts/+/de"):
            self.sue.subscribe(filter)
        self.ada.subscribe("alerts/fire")
        self.ada.subscribe("door")
        self.push(b"!", Targets(topics=("alerts/#",)))
        assert said(self.sue) == [("alerts", b"!"), ("alerts/fire", b"!"), ("alerts//de", b"!")]
        assert said(self.ada) == [("alerts/fire", b"!")]

    def test_names_of_no_level(self) -> None:
        """Where nothing is left of a filter, the name is still one."""
        self.sue.subscribe("+")
        self.push(b"!", Targets(topics=("+",)))
        assert said(self.sue) == [("-", b"!")]

    def test_not_the_brokers(self) -> None:
        """A wildcard on the first level leaves out what begins with $."""
        self.sue.subscribe("$SYS/#")
        assert self.code_of(b"!", Targets(topics=("#",))) is ReasonCode.NO_MATCHING_SUBSCRIBERS

    def test_leaves_out_what_the_caller_may_not(self) -> None:
        """Names that the caller may not write to are not published to, and not told of."""
        for filter in ("a/x", "a/y"):
            self.sue.subscribe(filter)
        self.rules.refused.add((Access.WRITE, "a/x"))
        assert self.code_of(b"!", Targets(topics=("a/+",))) is ReasonCode.SUCCESS
        assert said(self.sue) == [("a/y", b"!")]

    def test_no_more_than_so_many(self) -> None:
        """There is an end to the names that a wildcard stands for."""
        self.sue.subscribe("a/x", "a/y", "a/z")
        with patch.object(targets_module, "MAX_NAMES", 2):
            assert self.code_of(b"!", Targets(topics=("a/+",))) is ReasonCode.QUOTA_EXCEEDED
        assert said(self.sue) == []

    def test_nothing_retained_by_wildcards(self) -> None:
        """Names that stand for somebody else's filters keep nothing."""
        assert self.code_of(b"!", Targets(topics=("a/+",)), retain=True) is ReasonCode.TOPIC_NAME_INVALID

    def test_shared_group(self) -> None:
        """Of a group, the member that gets it counts."""
        self.sue.subscribe("$share/g/a/b")
        self.bob.subscribe("$share/g/a/b")
        assert self.push(b"!", Targets(topics=("a/#",))).sessions == 1


class MountPointTests(PushCase):
    """Listeners with a mount point"""

    mount_point = "home/"

    def test_own(self) -> None:
        """Callers and devices of one listener do not see its mount point."""
        self.push(b"hi", Targets(clients=("ada",)))
        assert said(self.ada) == [("news", b"hi")]
        assert ("", Access.WRITE, "home/news") in self.rules.asked

    def test_wildcards(self) -> None:
        """What a wildcard covers is below the mount point."""
        self.sue.subscribe("a/+")
        self.push(b"!", Targets(topics=("#",)))
        assert said(self.sue) == [("a/", b"!")]

    def test_another(self) -> None:
        """Whoever is below the caller's mount point sees the topic below its own; others are out of reach."""
        inside, outside = (Policy(name, Doorkeeper(), self.rules, name) for name in ("home/garden/", "den/"))
        self.broker.sessions["ada"].policy = inside
        self.broker.sessions["sue"].policy = outside
        outcome = self.push(b"", Targets(clients=("ada", "sue", "bob")))
        assert outcome.sessions == 2
        assert set(self.receipt().devices) == {("ada", "home/garden/news"), ("bob", "home/news")}
        assert ("", Access.WRITE, "home/garden/news") in self.rules.asked


class DurableTests(SynchronousTestCase):
    """When it answers"""

    def setUp(self) -> None:
        self.store = HeldStore()
        self.rig = Rig(store=self.store)
        for number in range(30):
            self.rig.connect(f"d{number}", False)
        self.store.release()
        self.rig.turn()

    def push(self, taken: list[str] | None = None) -> Deferred[targets_module.Outcome]:
        told = None if taken is None else lambda: taken.append("taken")
        publication = Publication("t", b"", mark=PushMark("p", 0), taken=told)
        return push(self.rig.broker, self.rig.policy, Boss(), publication, ALL)

    def test_after_the_barrier(self) -> None:
        """The answer comes when all of it is durable."""
        pushing = self.push()
        self.rig.turn()
        self.assertNoResult(pushing)
        self.store.release()
        assert self.successResultOf(pushing).sessions == 30

    def test_in_slices(self) -> None:
        """While many are handed it, others are served; its sender's own record is made with the last."""
        taken: list[str] = []
        with patch.object(targets_module, "SLICE_S", 0.0):
            pushing = self.push(taken)
            waiting = [session.waiting_messages for session in self.rig.broker.sessions.values()]
            assert sum(waiting) < 30 and not taken
            for _ in range(100):
                self.rig.turn()
        assert taken == ["taken"]
        self.store.release()
        assert self.successResultOf(pushing).sessions == 30

    def test_who_ends_meanwhile(self) -> None:
        """A session that is over when its turn comes is left out."""
        with patch.object(targets_module, "SLICE_S", 0.0):
            pushing = self.push()
            self.rig.broker.end_session(self.rig.broker.sessions["d29"])
            for _ in range(100):
                self.rig.turn()
        self.store.release()
        assert self.successResultOf(pushing).sessions == 29


levels = st.lists(st.sampled_from(["a", "b", "", "+"]), min_size=1, max_size=3).map("/".join)
filters = st.one_of(levels, levels.map(lambda filter: filter + "/#"), st.just("#")).filter(bool)


class CoversTests(SynchronousTestCase):
    """`covers` and `name_for`"""

    @given(filters, filters, st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=4).map("/".join))
    def test_means_what_it_says(self, filter: str, other: str, name: str) -> None:
        """Whoever covers a filter matches whatever that matches, and the name that stands for it."""
        if covers(filter, other):
            assert not matches(other, name) or matches(filter, name)
            assert matches(filter, name_for(other))

    @given(filters)
    def test_name(self, filter: str) -> None:
        """The name for a filter is a topic name that it matches."""
        name = name_for(filter)
        assert is_valid_name(name) and matches(filter, name)

    def test_examples(self) -> None:
        """A filter does not cover what matches more than it does."""
        assert covers("a/#", "a") and covers("#", "a/+") and covers("+/b", "a/b") and covers("#", "#")
        for filter, other in (("a/+", "a/#"), ("a", "+"), ("a/+", "a"), ("#", "$SYS/a"), ("a", "a/b")):
            assert not covers(filter, other), (filter, other)


class SessionsByUserTests(SynchronousTestCase):
    """`SessionsByUser`"""

    @given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["u", "v", None]))))
    def test_like_a_scan(self, moves: list[tuple[int, str | None]]) -> None:
        """Whatever sessions become whose, each user has exactly its own."""
        rig = Rig(authorizer=Rules())
        sessions = [Session(rig.broker, rig.policy, str(number), None) for number in range(4)]
        by_user = SessionsByUser()
        for number, username in moves:
            by_user.put(sessions[number], username)
            for name in ("u", "v"):
                assert set(by_user.of(name)) == {each for each in sessions if each.username == name}
        for session in sessions:
            by_user.remove(session)
        assert by_user.of("u") + by_user.of("v") == []
