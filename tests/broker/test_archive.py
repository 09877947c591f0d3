"""`pushd.broker.archive`: what was said on a topic is there for those who come later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from pushd.broker.broker import Broker
from pushd.broker.interfaces import IRoutingRules, Principal
from pushd.broker.limits import Limits
from pushd.broker.message import Message, PushMark, Source
from pushd.broker.policy import Policy
from pushd.broker.publication import Publication
from pushd.broker.records import Kept, KeptQuery
from pushd.broker.tap import listen
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import Puback, Publish, Will
from pushd.storage.memory import MemoryStore
from tests.driver import Rig
from tests.fakes import HeldStore

CALLER: Principal = Source("", "ada", "a test")


@implementer(IRoutingRules)
class Elsewhere:
    """Routing rules that take what is said on one topic to others."""

    def __init__(self, topic: str, *others: str) -> None:
        self._topic = topic
        self._others = others

    def concern(self, topic: str) -> bool:
        return topic == self._topic

    def destinations(self, topic: str, sender: Principal | None) -> tuple[str, ...]:
        return self._others if topic == self._topic else (topic,)


class ArchiveCase(SynchronousTestCase):
    """A broker over a store in memory; its clock says 0."""

    limits = Limits()

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.start()

    def start(self) -> None:
        """The next process."""
        self.rig = Rig(self.limits, store=self.store)
        self.broker = self.rig.broker
        self.archive = self.broker.archive

    def push(
        self, topic: str = "t", payload: bytes = b"x", keep_s: int = 60, qos: int = 1, id: str = "a",
        expiry_s: float | None = None,
    ) -> Deferred[ReasonCode]:  # fmt: skip
        """As the gateway does."""
        mark = PushMark(id, int(self.rig.clock.seconds()), keep_s)
        publication = Publication(topic, payload, qos, mark=mark, expiry_s=expiry_s)
        return self.broker.publish(self.rig.policy, CALLER, publication)

    def find(self, *topics: str, after: int = 0, since: int = 0, limit: int = 1000) -> list[Kept]:
        query = KeptQuery(topics, after, since, False, limit)
        found: list[Kept] = self.successResultOf(self.archive.find(query))
        return found

    def said(self, *topics: str) -> list[bytes]:
        return [kept.message.payload for kept in self.find(*topics)]


class KeepTests(ArchiveCase):
    """What is kept, and for how long"""

    def test_push(self) -> None:
        """It is kept as long as it says, with its mark."""
        self.rig.clock.advance(100)
        self.push(keep_s=60, id="abc")
        (kept,) = self.find("t")
        self.assertEqual((1, "abc", 100, 160), (kept.number, kept.id, kept.at, kept.until))
        self.assertEqual((b"x", PushMark("abc", 100, 60)), (kept.message.payload, kept.message.push))
        self.assertEqual(1, self.successResultOf(self.archive.number_of("abc")))

    def test_push_that_is_not_to_be_kept(self) -> None:
        """Its sender does not want that."""
        self.push(keep_s=0)
        self.assertEqual([], self.find("t"))

    def test_what_mqtt_clients_publish(self) -> None:
        """It is not kept, unless an exception says so: they have sessions and retained messages."""
        self.rig.connect("ada").publish("t", b"x", qos=1)
        self.assertEqual([], self.find("t"))

    def test_push_that_expires(self) -> None:
        """Nobody is given it when nobody would be sent it any more."""
        self.push(keep_s=600, expiry_s=30.0)
        self.assertEqual([30], [kept.until for kept in self.find("t")])
        self.push(keep_s=600, expiry_s=0.0)
        self.assertEqual(1, self.archive.count)

    def test_push_that_is_taken_elsewhere(self) -> None:
        """It is kept where routing rules have it, and only there, under one id."""
        self.broker.use_routing(Elsewhere("t", "u", "v"))
        self.push("t", id="abc")
        self.assertEqual([[], [b"x"], [b"x"]], [self.said(topic) for topic in ("t", "u", "v")])
        self.assertEqual(["abc", "abc"], [kept.id for kept in self.find("u", "v")])

    def test_push_that_is_delayed(self) -> None:
        """It is kept from when it is published."""
        mark = PushMark("abc", 50, 60)
        self.broker.schedule(self.rig.policy, CALLER, Publication("t", b"x", mark=mark), "abc", 50.0)
        self.rig.clock.pump([0.25] * 200)
        self.assertEqual([], self.find("t"))
        self.rig.clock.pump([0.25] * 4)
        self.assertEqual([("abc", 110)], [(kept.id, kept.until) for kept in self.find("t")])

    def test_default(self) -> None:
        """How long is one setting for all topics, and goes with each reload."""
        self.assertEqual(43_200, self.archive.keep_s("t"))
        self.broker.limits = replace(self.limits, cache_duration=0)
        self.assertEqual(0, self.archive.keep_s("t"))

    def test_will_of_a_client_that_a_crash_took_along(self) -> None:
        """It is kept behind what was kept before, though it is sent while the broker starts."""
        for n in range(2):
            self.push("t", b"%d" % n)
        self.rig.connect("bob", will=Will("t", b"bob is gone"))
        with self.lines_from_the_start(("t", 60)):
            self.start()
        self.assertEqual([b"0", b"1", b"bob is gone"], self.said("t"))

    @contextmanager
    def lines_from_the_start(self, *lines: tuple[str, int]) -> Iterator[None]:
        """As `pushd.service` has it: the settings are there before what was stored."""
        begin = Broker.start

        def start(broker: Broker, policy: Policy) -> Deferred[None]:
            broker.archive.keep_topics(lines)
            return begin(broker, policy)

        with patch.object(Broker, "start", start):
            yield

    def test_restart(self) -> None:
        """What is kept next comes after all that was kept before, whatever the clock says."""
        self.rig.clock.advance(100)
        self.push(payload=b"1", keep_s=600)
        self.start()
        self.push(payload=b"2", keep_s=600)
        self.assertEqual([(1, 100, b"1"), (2, 100, b"2")], [
            (kept.number, kept.at, kept.message.payload) for kept in self.find("t")
        ])  # fmt: skip
        self.assertEqual(2, self.archive.count)


class DurableTests(SynchronousTestCase):
    """Nobody hears that it was taken before it is kept"""

    def setUp(self) -> None:
        self.store = HeldStore()
        self.rig = Rig(store=self.store)

    def test_push(self) -> None:
        """Also one of QoS 0 that nobody listens to is answered after the commit."""
        mark = PushMark("abc", 0, 60)
        publication = Publication("t", b"x", 0, mark=mark)
        answer = self.rig.broker.publish(self.rig.policy, CALLER, publication)
        self.assertNoResult(answer)
        self.store.release()
        self.assertIs(self.successResultOf(answer), ReasonCode.NO_MATCHING_SUBSCRIBERS)

    def test_push_while_nothing_can_be_stored(self) -> None:
        """It is refused, whatever its QoS."""
        self.store.failing = "disk full"
        publication = Publication("t", b"x", 0, mark=PushMark("abc", 0, 60))
        answer = self.rig.broker.publish(self.rig.policy, CALLER, publication)
        self.assertIs(self.successResultOf(answer), ReasonCode.QUOTA_EXCEEDED)

    def test_message_of_an_mqtt_client(self) -> None:
        """PUBACK waits for the same commit."""
        self.rig.broker.archive.keep_topics([("t", 60)])
        ada = self.rig.connect("ada")
        ada.send(Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=1))
        self.assertEqual([], ada.received())
        self.store.release()
        self.assertEqual([1], [packet.packet_id for packet in ada.received() if isinstance(packet, Puback)])


class ExceptionTests(ArchiveCase):
    """``cache_topic``"""

    def setUp(self) -> None:
        super().setUp()
        self.archive.keep_topics([("a/secret", 0), ("a/#", 600), ("b", 30)])
        self.ada = self.rig.connect("ada")

    def test_pushes(self) -> None:
        """The first line that matches says how long."""
        self.assertEqual(
            [0, 600, 30, 43_200], [self.archive.keep_s(topic) for topic in ("a/secret", "a/x", "b", "c")]
        )

    def test_what_mqtt_clients_publish(self) -> None:
        """It is kept there, any bytes, at any QoS, and has an id of its own."""
        for n, qos in enumerate((0, 1, 2)):
            self.ada.publish("a/x", bytes((255, n)), qos=qos)
            self.ada.publish("a/secret", b"no", qos=qos)
            self.ada.publish("c", b"no", qos=qos)
        found = self.find()
        self.assertEqual([b"\xff\0", b"\xff\1", b"\xff\2"], [kept.message.payload for kept in found])
        self.assertEqual((3, {600}), (len({kept.id for kept in found}), {kept.until for kept in found}))
        self.assertRegex(found[0].id, "^[A-Za-z0-9]{12}$")

    def test_run_of_qos_0(self) -> None:
        """Packets that come in one piece are kept one by one, also when subscribers get them."""
        bob = self.rig.connect("bob")
        bob.subscribe("#")
        self.ada.send(*[Publish("b", b"%d" % n) for n in range(5)])
        self.assertEqual([b"%d" % n for n in range(5)], self.said("b"))
        self.assertEqual(5, len(bob.received()))

    def test_properties(self) -> None:
        """They are kept along."""
        said = {PropertyId.CONTENT_TYPE: "text/plain"}
        self.rig.connect("eve", version=Version.V5).send(Publish("b", b"x", properties=dict(said)))
        self.assertEqual([said], [kept.message.properties for kept in self.find("b")])

    def test_push(self) -> None:
        """It is kept once; and not at all, if its sender does not want that."""
        self.push("b", b"1")
        self.push("b", b"2", keep_s=0)
        self.assertEqual([b"1"], self.said("b"))

    def test_same_id_for_all(self) -> None:
        """Who listens knows a message by the id that it is kept under."""
        heard: list[str] = []
        listen(
            self.broker, self.rig.policy, CALLER, "b",
            lambda topic, message: heard.append(self.archive.mark(message).id), lambda: None,
        )  # fmt: skip
        self.ada.publish("b", b"x", qos=1)
        self.assertEqual([kept.id for kept in self.find("b")], heard)

    def test_taken_elsewhere(self) -> None:
        """What a routing rule takes to such a topic is kept there, and not where it was."""
        self.broker.use_routing(Elsewhere("c", "c", "b"))
        self.ada.publish("c", b"x", qos=1)
        self.assertEqual(["b"], [kept.message.topic for kept in self.find()])

    def test_reload(self) -> None:
        """From then on the new lines count, also for topics that are in use."""
        self.ada.publish("b", b"1")
        self.archive.keep_topics([("c", 60)])
        for topic in ("b", "c"):
            self.ada.publish(topic, b"2")
        self.assertEqual([("b", b"1"), ("c", b"2")], [
            (kept.message.topic, kept.message.payload) for kept in self.find()
        ])  # fmt: skip

    def test_retained(self) -> None:
        """It is kept as it was published, and reaches later subscribers as ever."""
        self.ada.send(Publish("b", b"x", retain=True))
        bob = self.rig.connect("bob")
        bob.subscribe("b")
        self.assertEqual(([b"x"], [b"x"]), (self.said("b"), [
            packet.payload for packet in bob.received() if isinstance(packet, Publish)
        ]))  # fmt: skip

    def test_topics_of_the_broker(self) -> None:
        """A wildcard does not reach them."""
        self.archive.keep_topics([("#", 60)])
        self.broker.announce("$SYS/uptime", b"1")
        self.assertFalse(self.archive.concerns("$SYS/uptime"))
        self.assertEqual([], self.find())


class MarkTests(ArchiveCase):
    """How a message is known again"""

    def test_message_without_one(self) -> None:
        """It gets one, once."""
        self.rig.clock.advance(7.5)
        message = Message("t", b"x")
        mark = self.archive.mark(message)
        self.assertEqual((mark, 7, 0), (message.push, mark.at, mark.keep_s))
        self.assertIs(mark, self.archive.mark(message))

    def test_listeners(self) -> None:
        """All of them see the same."""
        seen: list[str] = []
        for filter in ("t", "#"):
            listen(
                self.broker, self.rig.policy, CALLER, filter,
                lambda topic, message: seen.append(self.archive.mark(message).id), lambda: None,
            )  # fmt: skip
        self.rig.connect("ada").publish("t", b"x", qos=2)
        self.assertEqual((2, 1), (len(seen), len(set(seen))))


class EventTests(ArchiveCase):
    """What is to be done with earlier messages"""

    def event(self, topic: str = "t", keep_s: int = 60) -> Kept:
        message = Message(topic, b"")
        message.push = PushMark("abc", 5, keep_s)
        return self.archive.tell(message, "message_delete")

    def test_kept(self) -> None:
        """It is found among the messages, in its place."""
        self.push(payload=b"1")
        self.assertEqual(2, self.event().number)
        self.push(payload=b"2")
        self.assertEqual(["message", "message_delete", "message"], [kept.event for kept in self.find("t")])

    def test_kept_as_long_as_pushes(self) -> None:
        """Where it does not say otherwise; where nothing is kept, it is told all the same."""
        self.assertEqual(43_200, self.event(keep_s=0).until)
        self.broker.limits = replace(self.limits, cache_duration=0)
        self.assertEqual((0, "abc"), (self.event(keep_s=0).number, self.event(keep_s=0).id))
        self.assertEqual(1, len(self.find("t")))

    def test_watchers(self) -> None:
        """Those who watch the topic are told, as long as they want that."""
        heard: list[tuple[str, str]] = []

        def hear(who: str, kept: Kept) -> None:
            heard.append((who, kept.event))

        stops = [self.archive.watch("t", partial(hear, who)) for who in ("ada", "bob")]
        self.event()
        self.event("other")
        stops[0]()
        stops[0]()
        self.event()
        self.assertEqual(["ada", "bob", "bob"], [who for who, _ in heard])
        stops[1]()
        self.assertEqual({}, self.archive._watchers)

    def test_watcher_that_fails(self) -> None:
        """The others are told all the same."""
        heard: list[Kept] = []
        self.archive.watch("t", lambda kept: 1 / 0)  # type: ignore[arg-type]
        self.archive.watch("t", heard.append)
        self.event()
        self.assertEqual(1, len(heard))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class ExpiryTests(ArchiveCase):
    """When it is over"""

    def test_not_given_any_more(self) -> None:
        """To the second."""
        self.push(payload=b"1", keep_s=30)
        self.push(payload=b"2", keep_s=31)
        self.rig.clock.advance(30)
        self.assertEqual(([b"2"], 2), (self.said("t"), self.archive.count))

    def test_forgotten(self) -> None:
        """A while later, all that is over at once."""
        for keep_s in (30, 31, 500):
            self.push(keep_s=keep_s)
        self.rig.clock.pump([1.0] * 180)
        self.assertEqual((1, [3]), (self.archive.count, [*self.store.kept]))

    def test_page_of_what_is_over(self) -> None:
        """Behind it there is more: nothing found means that there is nothing."""
        for n in range(5):
            self.push(payload=b"%d" % n, keep_s=10)
        self.push(payload=b"last", keep_s=60)
        self.rig.clock.advance(20)
        self.assertEqual([b"last"], [kept.message.payload for kept in self.find("t", limit=2)])

    def test_restart(self) -> None:
        """What was kept before goes in its time, too, and counts until then."""
        self.push(keep_s=90)
        self.push(keep_s=900)
        self.start()
        self.assertEqual(2, self.archive.count)
        self.rig.clock.pump([1.0] * 180)
        self.assertEqual((1, [2]), (self.archive.count, [*self.store.kept]))

    def test_clock_is_set_back(self) -> None:
        """What is kept then is not over before its time, and comes after what was kept before."""
        self.rig.clock.advance(1000)
        self.push(keep_s=30)
        self.rig.clock.rightNow = 400.0
        self.push(keep_s=30)
        self.assertEqual([1000, 1000], [kept.at for kept in self.find("t", since=1000)])


class LimitTests(ArchiveCase):
    """``max_kept_messages`` and ``max_kept_bytes``"""

    limits = Limits(max_kept_messages=10)

    def test_oldest_go(self) -> None:
        """Whatever their topic; it is counted."""
        for n in range(13):
            self.push("ab"[n % 2], b"%d" % n)
        self.assertEqual([b"%d" % n for n in range(3, 13)], self.said())
        self.assertEqual((10, 3), (self.archive.count, self.broker.counters.publish_dropped["archive_full"]))

    def test_a_few_at_a_time(self) -> None:
        """A large archive that is full makes room for more than one, so that it seldom has to."""
        self.broker.limits = Limits(max_kept_messages=500)
        for _ in range(501):
            self.push()
        self.assertEqual(495, self.archive.count)

    def test_bytes(self) -> None:
        """Of all payloads together; a small one goes with those that are older than a large one."""
        self.broker.limits = Limits(max_kept_bytes=1000)
        for body in (b"x", b"y" * 600, b"z", b"w" * 600):
            self.push("a", body)
        self.assertEqual([b"z", b"w" * 600], self.said())
        self.assertEqual((2, 601), (self.archive.count, self.archive.payload_bytes))
        self.assertEqual(2, self.broker.counters.publish_dropped["archive_full"])

    def test_bytes_that_are_over_do_not_count(self) -> None:
        """They were counted off with their minute."""
        self.broker.limits = Limits(max_kept_bytes=1000)
        self.push("a", b"x" * 900, keep_s=30)
        self.rig.clock.pump([1.0] * 130)
        self.push("a", b"y" * 900)
        self.assertEqual(([b"y" * 900], 900), (self.said(), self.archive.payload_bytes))

    def test_no_limit(self) -> None:
        """0 is none."""
        self.broker.limits = Limits(max_kept_messages=0)
        for _ in range(12):
            self.push()
        self.assertEqual(12, self.archive.count)

    def test_reload(self) -> None:
        """A lower limit counts soon, without another message."""
        for _ in range(10):
            self.push(keep_s=900)
        self.broker.limits = Limits(max_kept_messages=4)
        self.rig.clock.pump([1.0] * 70)
        self.assertEqual((4, [7, 8, 9, 10]), (self.archive.count, [*self.store.kept]))

    def test_what_is_over_does_not_count(self) -> None:
        """Nothing has to go for it once it is forgotten."""
        for keep_s in [30] * 10 + [900] * 3:
            if keep_s == 900:
                self.rig.clock.pump([1.0] * 30)
            self.push(keep_s=keep_s)
        self.assertEqual([11, 12, 13], [kept.number for kept in self.find()])

    def test_expired_while_the_oldest_are_looked_for(self) -> None:
        """They are counted off once."""
        store = HeldStore()
        self.rig = Rig(self.limits, store=store)
        self.broker, self.archive = self.rig.broker, self.rig.broker.archive
        for keep_s in [60] * 5 + [900] * 6:
            self.push(keep_s=keep_s)
        self.rig.clock.pump([1.0] * 125)
        store.release()
        self.assertEqual((6, 6), (self.archive.count, len(store._memory.kept)))
