"""`pushd.broker.collapse`: what is queued gives way to what is newer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.collapse import Places
from pushd.broker.limits import Limits
from pushd.broker.message import Message, PushMark
from pushd.broker.publication import Publication
from pushd.broker.targets import Targets
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.packets import Puback
from tests.pushing import Boss, PushCase, acknowledge, payloads


def keyed(key: str, topic: str = "t") -> Message:
    message = Message(topic, b"", 1)
    message.push = PushMark("p", 0, collapse_key=key)
    return message


class PlacesTests(SynchronousTestCase):
    """`Places`"""

    def test_by_topic_and_key(self) -> None:
        """A place is found by topic and key together; who has no key finds none."""
        places = Places()
        places.note("t", "k", 7)
        assert places.find(keyed("k"), 0) == 7
        others = keyed("other"), keyed("k", "other"), keyed(""), Message("t", b"")
        assert [places.find(each, 0) for each in others] == [0, 0, 0, 0]

    def test_what_was_sent(self) -> None:
        """What is not queued any more is not found, and is forgotten in the end."""
        places = Places({("t", str(number)): number for number in range(1, 101)})
        assert places.find(keyed("90"), 90) == 0
        assert places.find(keyed("91"), 90) == 91
        places.tidy(10, 90)
        assert len(places._numbers) == 10


class CollapseCase(PushCase):
    def fill_window(self) -> None:
        """bob has a message that he does not acknowledge, and room for none but that."""
        self.broker.limits = Limits(max_inflight_messages=1, max_queued_messages=3)
        self.bob.drop()
        self.bob = self.come("bob")
        self.push_to("bob", b"first")

    def take_all(self) -> list[bytes]:
        """bob comes back, if he is away, and takes everything."""
        if self.bob.closed:
            self.bob = self.come("bob")
        taken: list[bytes] = []
        while more := acknowledge(self.bob):
            taken += more
        return taken


class AwakeTests(CollapseCase):
    """Sessions with a client"""

    def setUp(self) -> None:
        super().setUp()
        self.fill_window()

    def test_takes_the_place(self) -> None:
        """The newer one stands where the older one stood; what was sent already stays."""
        for payload, key in ((b"old", "k"), (b"other", ""), (b"new", "k")):
            self.push_to("bob", payload, key=key)
        assert self.take_all() == [b"first", b"new", b"other"]

    def test_of_the_same_topic_and_key(self) -> None:
        """Another topic or another key is another matter."""
        self.push_to("bob", b"1", key="k")
        self.push_to("bob", b"2", key="l")
        self.push_to("bob", b"3", key="k", topic="else")
        assert self.take_all() == [b"first", b"1", b"2", b"3"]

    def test_receipt(self) -> None:
        """The older one's receipt says what happened to it."""
        older = self.push_to("bob", b"old", key="k")
        newer = self.push_to("bob", b"new", key="k")
        assert (self.state("bob", older), self.state("bob", newer)) == ("refused replaced", "queued")
        assert self.broker.counters.publish_dropped == {"replaced": 1}

    def test_takes_nobodys_place(self) -> None:
        """In a full queue it still has a place, and a smaller one is no reason to drop a message."""
        for payload, key in ((b"old", "k"), (b"b", ""), (b"c", ""), (b"n", "k")):
            self.push_to("bob", payload, key=key)
        assert self.broker.sessions["bob"].queued_bytes == 3
        assert self.take_all() == [b"first", b"n", b"b", b"c"]

    def test_too_large_for_it(self) -> None:
        """By ``max_queued_bytes`` the older one stays."""
        self.push_to("bob", b"old", key="k")
        self.broker.limits = Limits(max_queued_bytes=5)
        code = self.code_of(b"larger", Targets(clients=("bob",)), key="k")
        assert code is ReasonCode.QUOTA_EXCEEDED
        assert self.take_all() == [b"first", b"old"]

    def test_at_qos_0(self) -> None:
        """What leaves at once is not followed by what it has made old."""
        older = self.push_to("bob", b"old", key="k")
        self.push_to("bob", b"other")
        self.push_to("bob", b"new", key="k", qos=0)
        assert self.state("bob", older) == "refused replaced"
        assert payloads(self.bob) == [b"first", b"new"]
        self.bob.send(Puback(1))
        assert self.take_all() == [b"other"]

    def test_nothing_is_kept_for_it(self) -> None:
        """When the queue is empty, nothing is left of its places; without keys there never is."""
        session = self.broker.sessions["bob"]
        self.push_to("bob", b"plain")
        assert session.places is None
        self.push_to("bob", b"k", key="k")
        self.take_all()
        assert session.places is None


class AsleepTests(CollapseCase):
    """Sessions whose messages are in the store only"""

    def test_replaced_in_the_store(self) -> None:
        """The newer one has the number of the older one, and nothing else is touched."""
        self.bob.drop()
        for payload, key in ((b"old", "k"), (b"b", ""), (b"c", ""), (b"newer", "k")):
            self.push_to("bob", payload, key=key)
        sleep = self.broker.sessions["bob"].sleep
        assert sleep is not None
        assert (len(sleep.outline), sleep.outline.payload_bytes) == (3, 7)
        assert self.take_all() == [b"newer", b"b", b"c"]

    def test_queued_awake(self) -> None:
        """What was queued while the client was there can be replaced when it has gone."""
        self.fill_window()
        self.push_to("bob", b"old", key="k")
        self.bob.drop()
        self.push_to("bob", b"new", key="k")
        assert self.take_all() == [b"first", b"new"]

    def test_queued_asleep(self) -> None:
        """And what was queued while it was away, when it is back."""
        self.fill_window()
        self.bob.drop()
        self.push_to("bob", b"old", key="k")
        self.bob = self.come("bob")
        self.push_to("bob", b"new", key="k")
        assert self.take_all() == [b"first", b"new"]

    def test_after_a_restart(self) -> None:
        """The next process knows what may be replaced."""
        self.bob.drop()
        older = self.push_to("bob", b"old", key="k")
        self.push_to("bob", b"b")
        self.restart()
        self.push_to("bob", b"new", key="k")
        assert self.state("bob", older) == "refused replaced"
        assert self.take_all() == [b"new", b"b"]


class ScheduledTests(PushCase):
    """What is to be published later"""

    def later(self, id: str, key: str, topic: str = "t") -> None:
        publication = Publication(topic, id.encode(), mark=PushMark(id, 0, collapse_key=key))
        self.broker.schedule(self.rig.policy, Boss(), publication, id, 60)

    def waiting(self) -> list[str]:
        return [scheduled.id for scheduled in self.broker.scheduled]

    def test_gives_way_to_a_later_one(self) -> None:
        """Of each topic and key, the one that was said last is published."""
        for id, key, topic in (("a", "k", "t"), ("b", "", "t"), ("c", "k", "u"), ("d", "k", "t")):
            self.later(id, key, topic)
        assert self.waiting() == ["b", "c", "d"]
        assert self.broker.scheduled.payload_bytes == 3

    def test_gives_way_to_one_of_now(self) -> None:
        """What is published at once is newer, too."""
        self.later("a", "k")
        self.push(b"now", Targets(topics=("t",)), key="k")
        assert self.waiting() == []

    def test_after_a_restart(self) -> None:
        """The next process knows what waits with which key."""
        self.later("a", "k")
        self.restart()
        self.later("b", "k")
        assert self.waiting() == ["b"]

    def test_published_in_its_time(self) -> None:
        """A message that is due is published, and the next with its key waits for its own time."""
        self.sue.subscribe("t")
        self.later("a", "k")
        self.rig.clock.pump([0.25] * 244)
        self.later("b", "k")
        assert payloads(self.sue) == [b"a"]
        assert self.waiting() == ["b"]


class AnyOrderTests(CollapseCase):
    """Whatever happens"""

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.sampled_from(["push", "push", "plain", "come", "drop", "read", "restart"]), max_size=25)
    )
    def test_newest_of_each_key(self, steps: list[str]) -> None:
        """bob never gets an old value after a newer one, and gets the newest, and all that has no key."""
        self.setUp()
        self.broker.limits = self.limits = Limits(max_inflight_messages=1, max_queued_messages=0)
        got: list[bytes] = []
        for number, step in enumerate(steps):
            if step in ("push", "plain"):
                self.push_to(
                    "bob", b"%s%03d" % (step[1:2].encode(), number), key="k" if step == "push" else ""
                )
            elif step == "come" and self.bob.closed:
                self.bob = self.come("bob")
            elif step == "drop" and not self.bob.closed:
                self.bob.drop()
            elif step == "read" and not self.bob.closed:
                got += acknowledge(self.bob)
            elif step == "restart":
                self.restart()
                self.bob = self.come("bob")
        got = list(dict.fromkeys(got + self.take_all()))
        values = [payload for payload in got if payload.startswith(b"u")]
        plain = [payload for payload in got if payload.startswith(b"l")]
        assert values == sorted(values)
        assert plain == [b"l%03d" % number for number, step in enumerate(steps) if step == "plain"]
        newest = [b"u%03d" % number for number, step in enumerate(steps) if step == "push"][-1:]
        assert values[-1:] == newest
