"""`pushd.broker.tally`: what happened at which topic, seen from the clients that made it happen."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.limits import Limits
from pushd.broker.tally import Counts, Tally
from pushd.mqtt.codes import QoS, Version
from pushd.mqtt.packets import Publish, Subscribe, SubscriptionRequest
from pushd.mqtt.writer import encode
from tests.driver import Peer, Rig

V3 = Version.V3_1_1


def collected(tally: Tally) -> dict[str, tuple[int, ...]]:
    """Messages, bytes, deliveries and drops since the last time, by topic."""
    sums: dict[str, tuple[int, ...]] = {}
    for piece in tally.pieces():
        for counts in piece:
            old = sums.get(counts.topic, (0, 0, 0, 0))
            sums[counts.topic] = tuple(a + b for a, b in zip(old, counts[1:], strict=True))
    return sums


class TallyCase(SynchronousTestCase):
    limits = Limits()

    def setUp(self) -> None:
        self.rig = Rig(self.limits)
        self.tally = Tally(self.rig.broker.router.routes)
        self.rig.broker.counters.by_topic = self.tally
        self.ada, self.bob, self.eve = (self.rig.connect(name) for name in ("ada", "bob", "eve"))

    def say(self, topic: str, payload: bytes, qos: int, number: int) -> None:
        self.ada.send(Publish(topic, payload, QoS(qos), packet_id=number if qos else 0))

    def subscribe_both(self, filter: str, qos: int = 0) -> None:
        self.bob.subscribe(filter, qos=qos)
        self.eve.subscribe(filter, qos=qos)


class CountingTests(TallyCase):
    """Messages, bytes and copies."""

    def test_first_and_following(self) -> None:
        """The first message to a topic goes another way than those that follow: all are counted."""
        self.subscribe_both("t")
        for number, qos in enumerate((0, 0, 1, 1, 2, 2), 1):
            self.say("t", b"four", qos, number)
        self.assertEqual(collected(self.tally), {"t": (6, 24, 12, 0)})

    def test_runs(self) -> None:
        """Many in one read, to subscribers who get them as they came and to others."""
        self.subscribe_both("t")
        self.rig.connect("new", version=Version.V5).subscribe("t")
        self.ada.publish("t", b"")
        self.ada.send(encode(Publish("t", b"xyz"), V3) * 10)
        self.assertEqual(collected(self.tally), {"t": (11, 30, 33, 0)})

    def test_only_what_is_new(self) -> None:
        """What was collected is not collected again."""
        self.ada.publish("t", b"x")
        collected(self.tally)
        self.assertEqual(collected(self.tally), {})
        self.ada.publish("t", b"x")
        self.assertEqual(collected(self.tally), {"t": (1, 1, 0, 0)})

    def test_routes_that_are_no_more(self) -> None:
        """What was counted before a subscription came or went is not lost, nor the copies that there were."""
        self.ada.publish("t", b"x")
        self.bob.subscribe("t")
        self.ada.publish("t", b"x")
        self.eve.subscribe("#")
        self.ada.publish("t", b"x")
        self.rig.broker.access_rules_changed()
        self.ada.publish("t", b"x")
        self.assertEqual(collected(self.tally), {"t": (4, 4, 5, 0)})

    def test_own_messages(self) -> None:
        """Who does not want its own is no subscriber of those (v5 §3.8.3.1)."""
        ada = self.rig.connect("ada", version=Version.V5)
        ada.send(Subscribe(1, [SubscriptionRequest("t", QoS.AT_LEAST_ONCE, no_local=True)]))
        self.bob.subscribe("t")
        for qos in (0, 0, 1):
            ada.publish("t", b"x", qos=qos)
        self.bob.publish("t", b"x")
        self.assertEqual(collected(self.tally), {"t": (4, 4, 5, 0)})

    def test_shared_groups(self) -> None:
        """A group gets one copy, however many members it has."""
        self.subscribe_both("$share/g/t")
        self.ada.publish("t", b"x")
        self.assertEqual(collected(self.tally), {"t": (1, 1, 1, 0)})

    def test_nobody_counts(self) -> None:
        """Without a tally everything goes on as ever."""
        self.rig.broker.counters.by_topic = None
        self.ada.publish("t", b"x")
        self.bob.subscribe("t")
        self.assertEqual(collected(self.tally), {})

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["a", "a/b", "c"]), st.integers(0, 2)), max_size=30))
    def test_any_order(self, sent: list[tuple[str, int]]) -> None:
        """However topics and levels of service follow on one another."""
        self.setUp()
        self.subscribe_both("a/#", qos=2)
        for number, (topic, qos) in enumerate(sent, 1):
            self.say(topic, b"xy", qos, number)
        messages = Counter(topic for topic, _ in sent)
        expected = {t: (n, 2 * n, 2 * n if t[0] == "a" else 0, 0) for t, n in messages.items()}
        assert collected(self.tally) == expected


class DropTests(TallyCase):
    """Copies that a subscriber did not get."""

    limits = Limits(max_queued_messages=2, max_write_buffer=1)

    def leave_behind(self, peer: Peer, *filters: str) -> None:
        for filter in filters:
            peer.subscribe(filter, qos=1)
        peer.drop()

    def test_slow_consumer(self) -> None:
        """Runs and single messages to one who does not read."""
        self.subscribe_both("t")
        self.ada.publish("t", b"x")
        self.bob.stop_reading()
        self.ada.publish("t", b"x")  # stays in the buffer
        self.ada.send(encode(Publish("t", b"x"), V3) * 5)
        self.ada.publish("t", b"x", qos=1)
        self.assertEqual(collected(self.tally), {"t": (8, 8, 16, 6)})

    def test_full_queue(self) -> None:
        """Each topic bears the loss of its own messages."""
        self.leave_behind(self.rig.connect("kept", clean=False), "a", "b")
        for topic in ("a", "a", "b", "b", "a"):
            self.ada.publish(topic, b"x", qos=1)
        self.assertEqual(collected(self.tally), {"a": (3, 3, 3, 1), "b": (2, 2, 2, 2)})

    def test_group_without_members_that_may(self) -> None:
        """A shared group none of whose members may read it drops."""
        self.subscribe_both("$share/g/t")
        self.patch(self.rig.broker, "may_read", lambda session, topic: False)
        self.ada.publish("t", b"x")
        self.assertEqual(collected(self.tally), {"t": (1, 1, 1, 1)})


class Basket:
    """A `pushd.broker.tally.Collector` that remembers what it was told."""

    def __init__(self) -> None:
        self.wishes = 0
        self.taken: list[Counts] = []

    def wanted(self) -> None:
        self.wishes += 1

    def take(self, piece: list[Counts]) -> None:
        self.taken += piece


class BoundTests(TallyCase):
    """How much may wait."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(Tally, "PIECE", 10)
        self.patch(Tally, "SOON", 40)
        self.patch(Tally, "MOST", 100)
        self.basket = self.tally.collector = Basket()

    def test_retired_routes(self) -> None:
        """The collector is told when there are many, and takes some when there are too many. None is lost."""
        for number in range(150):
            self.ada.publish(f"t/{number}", b"x")
        self.rig.broker.access_rules_changed()
        self.assertEqual(self.basket.wishes, 1)
        rest = collected(self.tally)
        self.assertLess(len(rest), 100)
        self.assertEqual(len(rest) + len(self.basket.taken), 150)

    def test_drops(self) -> None:
        """The same with drops at many topics."""
        for number in range(150):
            self.tally.dropped(f"t/{number}", 2)
        self.assertEqual(self.basket.wishes, 1)
        rest = collected(self.tally)
        self.assertEqual(sum(rest[t][3] for t in rest) + sum(c.drops for c in self.basket.taken), 300)

    def test_pieces(self) -> None:
        """Others are served between two pieces of no more than so many topics."""
        for number in range(25):
            self.ada.publish(f"t/{number}", b"x")
        self.assertEqual([len(piece) for piece in self.tally.pieces()], [10, 10, 5])
