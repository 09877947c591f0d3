"""`pushd.broker.router`: who gets a message, once, and when the answer is found anew."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access
from pushd.broker.limits import Limits
from pushd.broker.router import Route, Router
from pushd.broker.topic_map import Walk
from pushd.mqtt.codes import PropertyId, QoS, Version
from pushd.mqtt.packets import (
    Packet,
    Properties,
    Publish,
    Pubrel,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
)
from pushd.mqtt.topics import matches
from tests.driver import Peer, Rig
from tests.fakes import Rules


def payloads(peer: Peer) -> list[bytes]:
    return [packet.payload for packet in peer.received() if isinstance(packet, Publish)]


class RouterCase(SynchronousTestCase):
    """Ada publishes, bob and eve subscribe."""

    limits = Limits()

    def setUp(self) -> None:
        self.rules = Rules()
        self.rig = Rig(self.limits, authorizer=self.rules)
        self.ada, self.bob, self.eve = (self.rig.connect(name) for name in ("ada", "bob", "eve"))
        self.router = self.rig.broker.router

    def say(self, *said: bytes, qos: int = 0) -> None:
        for payload in said:
            self.ada.publish("t", payload, qos=qos)


class DuplicateTests(RouterCase):
    """v5 §3.3.4, allow_duplicate_messages true: several subscriptions that match, and a copy for each"""

    limits = Limits(allow_duplicate_messages=True)

    def overlap(self, peer: Peer) -> None:
        peer.send(Subscribe(1, [SubscriptionRequest("t", QoS.AT_LEAST_ONCE)]))
        peer.send(Subscribe(2, [SubscriptionRequest("#", QoS.AT_MOST_ONCE)]))
        peer.received()

    def test_each_at_its_own_qos(self) -> None:
        """Each copy is granted what its own subscription is."""
        self.overlap(self.bob)
        self.say(b"x", qos=1)
        got = sorted(packet.qos for packet in self.bob.received() if isinstance(packet, Publish))
        self.assertEqual([QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE], got)

    def test_each_with_its_own_identifier(self) -> None:
        """In MQTT 5, a client can tell for which of its subscriptions a copy came: [MQTT-3.3.4-5]."""
        eve = self.rig.connect("eve", version=Version.V5)
        for identifier, filter in ((1, "t"), (2, "#")):
            properties: Properties = {PropertyId.SUBSCRIPTION_IDENTIFIER: [identifier]}
            eve.send(Subscribe(identifier, [SubscriptionRequest(filter)], properties))
        eve.received()
        self.say(b"x")
        told = [
            p.properties[PropertyId.SUBSCRIPTION_IDENTIFIER] for p in eve.received() if isinstance(p, Publish)
        ]
        self.assertCountEqual([[1], [2]], told)

    def test_copies_of_a_run_stay_together(self) -> None:
        """The first message does not come again after the last of one read."""
        self.overlap(self.bob)
        self.say(b"0")
        self.bob.received()
        self.ada.send(*(Publish("t", payload) for payload in (b"1", b"2", b"3")))
        self.assertEqual([b"1", b"1", b"2", b"2", b"3", b"3"], payloads(self.bob))

    def test_none_where_nothing_may_be_dropped(self) -> None:
        """By queue_full refuse_publisher, a queue is asked for room for one: one is what comes."""
        self.rig.broker.limits = Limits(queue_full="refuse_publisher", allow_duplicate_messages=True)
        self.overlap(self.bob)
        self.say(b"x", qos=1)
        self.assertEqual([b"x"], payloads(self.bob))


class OverlapTests(RouterCase):
    """As it is by default: one copy that is good for all"""

    def test_once_at_the_highest_qos(self) -> None:
        """However many match, one copy comes, at the highest QoS among them: [MQTT-3.3.5-1]."""
        self.bob.subscribe("t", qos=0)
        self.bob.subscribe("#", qos=2)
        self.bob.subscribe("+", qos=1)
        self.ada.publish("t", b"x", qos=2)
        self.assertEqual([Publish("t", b"x", QoS.EXACTLY_ONCE, packet_id=1)], self.bob.received())

    def test_lower_of_both(self) -> None:
        """A message never comes at a higher QoS than it was sent with, nor than was granted."""
        for granted in QoS:
            self.bob.subscribe("t", qos=granted)
            for sent in QoS:
                self.ada.publish("t", b"x", qos=sent)
                self.ada.send(Pubrel(1))
            got = [packet.qos for packet in self.bob.received() if isinstance(packet, Publish)]
            self.assertEqual([min(granted, sent) for sent in QoS], got)

    def test_one_of_several_removed(self) -> None:
        """What is left still matches, at its own QoS."""
        self.bob.subscribe("t", qos=2)
        self.bob.subscribe("#", qos=1)
        self.bob.send(Unsubscribe(1, ["t"]))
        self.bob.received()
        self.ada.publish("t", b"x", qos=2)
        self.assertEqual([Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=1)], self.bob.received())


class FreshTests(RouterCase):
    """A route is kept until something changes that could concern it"""

    def setUp(self) -> None:
        super().setUp()
        self.bob.subscribe("t")
        self.say(b"0")
        self.bob.received()
        self.route = self.router.route("t")

    def test_kept(self) -> None:
        """The next message takes the same route; what happens to other topics does not matter."""
        self.eve.subscribe("u", "u/#", "$SYS/#")
        self.rig.connect("new").drop()
        self.say(b"1")
        self.assertIs(self.route, self.router.route("t"))

    def test_new_subscription(self) -> None:
        """It gets the next message, by whichever filter, in the same read of the publisher's bytes too."""
        for filter in ("t", "+", "#", "t/#"):
            self.eve.send(Subscribe(1, [SubscriptionRequest(filter)]))
            self.assertFalse(self.route.fresh)
            self.say(filter.encode())
            self.assertEqual([filter.encode()], payloads(self.eve))
            self.eve.send(Unsubscribe(1, [filter]))
            self.route = self.router.route("t")

    def test_subscribed_between_two_messages_of_one_read(self) -> None:
        """A client that subscribes in the middle of its own stream gets what follows, and only that."""
        packets: list[Packet] = [
            Publish("t", b"1"),
            Publish("t", b"2"),
            Subscribe(1, [SubscriptionRequest("t")]),
            Publish("t", b"3"),
            Publish("t", b"4"),
            Unsubscribe(1, ["t"]),
            Publish("t", b"5"),
        ]
        self.ada.send(*packets)
        self.assertEqual([b"3", b"4"], payloads(self.ada))
        self.assertEqual([b"1", b"2", b"3", b"4", b"5"], payloads(self.bob))

    def test_subscriber_that_left(self) -> None:
        """Nothing goes to a connection that is gone."""
        self.bob.drop()
        self.say(b"1")
        self.assertEqual(b"", self.bob.transport.value())
        self.assertFalse(self.router.route("t").targets)

    def test_persistent_subscriber_comes_and_goes(self) -> None:
        """Its messages wait for it while it is away and are passed on while it is there."""
        eve = self.rig.connect("eve", clean=False)
        eve.subscribe("#", qos=1)
        self.say(b"1", qos=1)
        eve.drop()
        self.say(b"2", qos=1)
        self.say(b"QoS 0 is not kept")
        eve = self.rig.connect("eve", clean=False)
        self.say(b"3", qos=1)
        self.say(b"4")
        self.assertEqual([b"1", b"2", b"3", b"4"], payloads(eve))  # the first again, unacknowledged

    def test_stale_route_lets_go(self) -> None:
        """
        Publishers may hold a route for long after it was replaced: it must not hold the thousands of sessions
        that it once led to.
        """
        client = self.ada.protocol.client
        assert client is not None
        held = client.routes[b"t"]
        self.assertTrue(held.targets)
        self.bob.drop()
        self.assertEqual(((), ()), (held.targets, held.relay_v3.takers))

    def test_too_many_topics(self) -> None:
        """When more topics are in use than MAX_ROUTES, all are forgotten, and nothing else is lost."""
        self.patch(Router, "MAX_ROUTES", 5)
        for n in range(17):
            self.ada.publish(f"x/{n}")
            self.say(b"%d" % n)
        self.assertEqual([b"%d" % n for n in range(17)], payloads(self.bob))
        self.assertLessEqual(len(self.router._routes), 5)


class WildcardCostTests(RouterCase):
    """A flood of subscriptions with wildcards, while 5000 topics are in use"""

    def setUp(self) -> None:
        super().setUp()
        self.looked_at = 0
        self.routes = [self.router.route(f"device/{n}/state") for n in range(5000)]
        step = Walk.step

        def counted_step(walk: Walk) -> list[str]:
            before = walk.looked_at
            found = step(walk)
            self.looked_at += walk.looked_at - before
            return found

        self.patch(Walk, "step", counted_step)

    def test_matching_nothing(self) -> None:
        """
        Thousands of filters that concern no route cost a look or two at each route that was built, and not
        thousands. Those who publish meanwhile do not change that.
        """
        for n in range(2000):
            self.bob.subscribe(f"+/+/x{n}")
            self.router.route(f"device/{n}/state")
        self.assertLess(self.looked_at, 2 * Router.LOOKS_PER_ROUTE * 7000)

    def test_disconnecting(self) -> None:
        """The end of a session with thousands of them costs no more."""
        self.bob.subscribe(*[f"+/+/x{n}" for n in range(2000)])
        self.looked_at = 0
        for n in range(5000):
            self.router.route(f"device/{n}/state")
        self.bob.drop()
        self.assertLess(self.looked_at, 2 * Router.LOOKS_PER_ROUTE * 5000)

    def test_matching_everything(self) -> None:
        """Where very many are concerned all are dropped, and none of them is used again."""
        self.bob.subscribe("#")
        self.assertFalse(any(route.fresh for route in self.routes))
        self.ada.publish("device/7/state", b"x")
        self.assertEqual([b"x"], payloads(self.bob))

    def test_presence_of_many(self) -> None:
        """Where a session with thousands of subscriptions comes or goes, nothing is looked at."""
        eve = self.rig.connect("eve", clean=False)
        eve.subscribe(*[f"user/{n}/#" for n in range(Router.LOOKS_AT_ONCE)])
        self.ada.publish("user/7/x", b"x")
        route = self.router.route("user/7/x")
        self.looked_at = 0
        eve.drop()
        self.assertEqual((False, 0), (route.fresh, self.looked_at))

    def test_others_stay(self) -> None:
        """An ordinary subscription drops what it concerns and nothing else."""
        self.bob.subscribe("device/7/#", "device/8/+", "+/9/state")
        self.assertEqual(4997, sum(route.fresh for route in self.routes))


class AccessTests(RouterCase):
    """Subscribing is one question, reading another"""

    def test_may_not_read(self) -> None:
        """Who subscribed with a wildcard gets what it may read, and only that."""
        self.rules.refused.add((Access.READ, "t", "eve"))
        for peer in (self.bob, self.eve):
            peer.subscribe("#", qos=1)
        self.say(b"x", qos=1)
        self.assertEqual(([b"x"], []), (payloads(self.bob), payloads(self.eve)))

    def test_asked_once_per_topic(self) -> None:
        """A topic in use costs no question per message."""
        self.bob.subscribe("t")
        self.say(b"1", b"2", b"3")
        self.assertEqual(1, self.rules.asked.count(("bob", Access.READ, "t")))

    def test_changed_rules(self) -> None:
        """They hold from the next message on."""
        self.bob.subscribe("t")
        self.say(b"1")
        self.rules.refused.add((Access.READ, "t"))
        self.rig.broker.access_rules_changed()
        self.say(b"2")
        self.rules.refused.clear()
        self.rig.broker.access_rules_changed()
        self.say(b"3")
        self.assertEqual([b"1", b"3"], payloads(self.bob))

    def test_another_user_of_the_same_session(self) -> None:
        """Who comes back under another name is judged by that name."""

        class ByName(Rules):
            def authorize(self, principal, access, topic):  # type: ignore[no-untyped-def]
                verdict = super().authorize(principal, access, topic)
                if access is Access.READ and principal.username == "guest":
                    return None
                return verdict

        rig = Rig(authorizer=ByName())
        ada = rig.connect("ada")
        bob = rig.connect("bob", clean=False, username="owner")
        bob.subscribe("t", qos=1)
        ada.publish("t", b"1", qos=1)
        bob.drop()
        bob = rig.connect("bob", clean=False, username="guest")
        ada.publish("t", b"2", qos=1)
        self.assertEqual([], payloads(bob))


class OrderTests(RouterCase):
    """v3 §4.6: messages of one publisher on one topic arrive in their order"""

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["t", "u"]), st.booleans()), min_size=1, max_size=40))
    def test_each_topic_and_qos(self, sent: list[tuple[str, bool]]) -> None:
        """Through window, queue and express lane, whatever the client acknowledges when."""
        self.setUp()
        self.bob.subscribe("t", "u", qos=1)
        expected: dict[tuple[str, int], list[bytes]] = {}
        got: dict[tuple[str, int], list[bytes]] = {}
        for n, (topic, acknowledged) in enumerate(sent):
            payload = b"%d" % n
            self.ada.publish(topic, payload, qos=acknowledged, packet_id=n + 1 if acknowledged else 0)
            expected.setdefault((topic, int(acknowledged)), []).append(payload)
        for packet in self.bob.received():
            assert isinstance(packet, Publish)
            got.setdefault((packet.topic, packet.qos), []).append(packet.payload)
        for key, payloads in got.items():
            self.assertEqual(expected[key][: len(payloads)], payloads)


class ModelTests(SynchronousTestCase):
    """Who gets what, against the plainest model of a broker"""

    filters = st.sampled_from(["t", "a/b", "+", "a/+", "#", "a/#", "$SYS/#"])
    steps = st.lists(
        st.one_of(
            st.tuples(st.just("subscribe"), st.integers(0, 2), filters),
            st.tuples(st.just("unsubscribe"), st.integers(0, 2), filters),
            st.tuples(st.just("publish"), st.integers(0, 2), st.sampled_from(["t", "a/b", "a"])),
            st.tuples(st.just("come back"), st.integers(0, 2), st.just("")),
        ),
        max_size=30,
    )

    @settings(max_examples=80, deadline=None)
    @given(steps, st.booleans())
    def test_every_subscriber(self, steps: list[tuple[str, int, str]], copies: bool) -> None:
        """Each message reaches exactly the clients with a matching subscription: once, or once for each."""
        rig = Rig(Limits(allow_duplicate_messages=copies))
        peers = [rig.connect(f"p{n}") for n in range(3)]
        subscribed: list[set[str]] = [set(), set(), set()]
        for step, n, topic in steps:
            if step == "subscribe":
                peers[n].subscribe(topic)
                subscribed[n].add(topic)
            elif step == "unsubscribe":
                peers[n].send(Unsubscribe(1, [topic]))
                subscribed[n].discard(topic)
            elif step == "come back":
                peers[n] = rig.connect(f"p{n}")
                subscribed[n].clear()
            else:
                peers[n].publish(topic, b"x")
                matching = [sum(matches(f, topic) for f in filters) for filters in subscribed]
                expected = matching if copies else [min(1, count) for count in matching]
                self.assertEqual(expected, [len(payloads(peer)) for peer in peers])


class RouteTests(SynchronousTestCase):
    """`Route` itself"""

    def test_name_as_it_stands_in_a_publish(self) -> None:
        """Two bytes of length, then UTF-8."""
        self.assertEqual(b"\0\3\xc3\xa9t", Route("ét", ()).name)

    def test_starts_fresh(self) -> None:
        """Until the router says otherwise."""
        self.assertTrue(Route("t", ()).fresh)
