"""`pushd.broker.broker`: who comes in and is replaced, Wills, retained messages, restarts, the gateway."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records
from pushd.broker.broker import Broker
from pushd.broker.census import Gauges
from pushd.broker.interfaces import Access, Credentials, Verdict
from pushd.broker.limits import Limits
from pushd.broker.policy import Policy
from pushd.broker.publication import Publication
from pushd.mqtt.codes import QoS, ReasonCode
from pushd.mqtt.packets import (
    Connect,
    Disconnect,
    Packet,
    Puback,
    Publish,
    Pubrel,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from pushd.storage.memory import MemoryStore
from tests.driver import Peer, Rig
from tests.fakes import Doorkeeper, FakeConnection, HeldStore, Rules

R = ReasonCode


class ConnectTests(SynchronousTestCase):
    """`Broker.connect`: from the CONNECT to accept or refuse"""

    def setUp(self) -> None:
        self.door = Doorkeeper()
        self.rig = Rig(authenticator=self.door)
        self.connection = FakeConnection()

    def connect(self, packet: Connect, **policy: object) -> Deferred[None] | None:
        credentials = Credentials(packet.client_id, packet.username, packet.password)
        rules = Policy("a test", self.door, Rules(), **policy)  # type: ignore[arg-type]
        return self.rig.broker.connect(packet, credentials, rules, self.connection)

    def refusal(self, packet: Connect, **policy: object) -> ReasonCode:
        self.assertIsNone(self.connect(packet, **policy))
        assert self.connection.refused is not None
        return self.connection.refused[0]

    def test_accept(self) -> None:
        """The connection gets its client and its keep alive."""
        self.assertIsNone(self.connect(Connect(client_id="ada", keep_alive_s=30)))
        assert self.connection.client is not None
        self.assertEqual(
            ("ada", 30), (self.connection.client.session.client_id, self.connection.keep_alive_s)
        )

    def test_no_opinion_is_a_no(self) -> None:
        """Nobody comes in because nobody objected."""
        self.door.answer = None
        self.assertIs(R.NOT_AUTHORIZED, self.refusal(Connect(client_id="ada")))

    def test_the_authenticators_code(self) -> None:
        """The client is told what the authenticator said."""
        self.door.answer = R.BAD_USER_NAME_OR_PASSWORD
        self.assertIs(R.BAD_USER_NAME_OR_PASSWORD, self.refusal(Connect(client_id="ada")))

    def test_later(self) -> None:
        """A pending verdict is a Deferred to wait for; until then nothing happens."""
        verdict: Deferred[Verdict] = Deferred()
        self.door.answer = verdict
        deciding = self.connect(Connect(client_id="ada"))
        assert deciding is not None
        self.assertNoResult(deciding)
        self.assertIsNone(self.connection.client)
        verdict.callback(R.SUCCESS)
        self.successResultOf(deciding)
        self.assertIsNotNone(self.connection.client)

    def test_client_id_is_made_up(self) -> None:
        """A client without an id gets one of its own, with the listener's prefix, before it is judged."""
        for _ in range(2):
            self.connect(Connect(client_id=""), auto_id_prefix="phone-")
        first, second = (credentials.client_id for credentials in self.door.seen)
        self.assertTrue(first.startswith("phone-") and second.startswith("phone-"))
        self.assertNotEqual(first, second)
        self.assertEqual({first, second}, set(self.rig.broker.sessions))

    def test_client_id_is_required(self) -> None:
        """Where allow_zero_length_clientid is false."""
        code = self.refusal(Connect(client_id=""), allow_zero_length_clientid=False)
        self.assertIs(R.CLIENT_IDENTIFIER_NOT_VALID, code)
        self.assertEqual([], self.door.seen)

    def test_max_keepalive(self) -> None:
        """Above it, or without any, version 3 is refused, as by Mosquitto."""
        self.rig = Rig(Limits(max_keepalive_s=60))
        for keep_alive_s in (61, 0):
            refused = self.refusal(Connect(client_id="ada", keep_alive_s=keep_alive_s))
            self.assertIs(R.CLIENT_IDENTIFIER_NOT_VALID, refused)
        self.connect(Connect(client_id="ada", keep_alive_s=60))
        self.assertIsNotNone(self.connection.client)

    def test_retained_will_where_there_is_no_retain(self) -> None:
        """With retain_available false it is refused at once, not when the client is gone."""
        self.rig = Rig(Limits(retain_available=False))
        code = self.refusal(Connect(client_id="ada", will=Will("t", b"x", retain=True)))
        self.assertIs(R.RETAIN_NOT_SUPPORTED, code)


class TakeOverTests(SynchronousTestCase):
    """v3 [MQTT-3.1.4-2]: the same client id again"""

    def setUp(self) -> None:
        self.rig = Rig()
        self.ada = self.rig.connect("ada")

    def test_who_left_while_the_verdict_was_pending_takes_nothing_over(self) -> None:
        """The same client came again meanwhile, and stays."""
        pending: Deferred[Verdict] = Deferred()
        doorkeeper = Doorkeeper(pending)
        rig = Rig(authenticator=doorkeeper)
        first = rig.connect("bob")
        first.drop()
        doorkeeper.answer = R.SUCCESS
        second = rig.connect("bob")
        pending.callback(R.SUCCESS)
        rig.turn()
        self.assertFalse(second.closed)
        self.assertIs(second.protocol.client, rig.broker.sessions["bob"].client)

    def test_older_connection_goes(self) -> None:
        """One client at a time: the newer connection stays."""
        old, new = self.rig.connect("bob"), self.rig.connect("bob")
        self.assertEqual((True, False), (old.closed, new.closed))
        self.assertEqual(2, self.rig.broker.online)

    def test_its_will_is_sent(self) -> None:
        """The older one did not say good-bye."""
        self.ada.subscribe("gone")
        self.rig.connect("bob", will=Will("gone", b"bob"))
        self.rig.connect("bob")
        self.assertEqual([Publish("gone", b"bob")], self.ada.received())

    def test_will_of_the_new_one_stays(self) -> None:
        """When the old connection's end is noticed, it takes nothing from the new one."""
        self.ada.subscribe("gone")
        old = self.rig.connect("bob", clean=False)
        old.transport.stuck = True
        self.rig.connect("bob", clean=False, will=Will("gone", b"new"))
        old.drop()
        self.assertEqual([], self.ada.received())
        self.assertIsNotNone(self.rig.broker.sessions["bob"].client)

    def test_persistent_session_moves(self) -> None:
        """Subscriptions and what is in flight go on with the new connection."""
        old = self.rig.connect("bob", clean=False)
        old.subscribe("t", qos=1)
        self.ada.publish("t", b"1", qos=1)
        new = self.rig.connect("bob", clean=False)
        self.ada.publish("t", b"2", qos=1)
        got = [(p.payload, p.dup) for p in new.received() if isinstance(p, Publish)]
        self.assertEqual([(b"1", True), (b"2", False)], got)

    def test_clean_takes_over_persistent(self) -> None:
        """The kept session ends, in the journal too."""
        self.rig.connect("bob", clean=False).subscribe("t")
        new = self.rig.connect("bob", clean=True)
        self.ada.publish("t", b"x")
        self.assertEqual([], new.received())
        assert isinstance(self.rig.store, MemoryStore)
        self.assertEqual({}, self.rig.store.state.sessions)

    def test_persistent_takes_over_clean(self) -> None:
        """A clean session ends with its connection: the new one begins with nothing."""
        self.rig.connect("bob", clean=True).subscribe("t")
        new = self.rig.connect("bob", clean=False)
        assert new.connack is not None
        self.assertFalse(new.connack.session_present)
        self.assertEqual(0, len(self.rig.broker.router.subscriptions))


class WillTests(SynchronousTestCase):
    """v3 §3.1.2.5"""

    def setUp(self) -> None:
        self.rules = Rules()
        self.rig = Rig(authorizer=self.rules)
        self.ada = self.rig.connect("ada")
        self.ada.subscribe("#", qos=2)

    def bob_dies(self, will: Will, rig: Rig | None = None) -> list[Packet]:
        (rig or self.rig).connect("bob", will=will).drop()
        return self.ada.received()

    def test_sent_when_the_connection_is_lost(self) -> None:
        """At its QoS."""
        expected = Publish("gone", b"bob", QoS.AT_LEAST_ONCE, packet_id=1)
        self.assertEqual([expected], self.bob_dies(Will("gone", b"bob", QoS.AT_LEAST_ONCE)))

    def test_sent_after_an_error(self) -> None:
        """A client that breaks the protocol is not saying good-bye."""
        bob = self.rig.connect("bob", will=Will("gone", b"bob"))
        bob.send(b"\0\0")
        self.assertEqual([Publish("gone", b"bob")], self.ada.received())

    def test_retained(self) -> None:
        """A retained Will is there for those who come later."""
        self.bob_dies(Will("gone", b"bob", retain=True))
        eve = self.rig.connect("eve")
        eve.subscribe("gone")
        self.assertEqual([Publish("gone", b"bob", retain=True)], eve.received())

    def test_access_rules_hold_for_wills(self) -> None:
        """What a client may not publish, its Will may not say; it is counted."""
        self.rules.refused.add((Access.WRITE, "gone", "bob"))
        self.assertEqual([], self.bob_dies(Will("gone", b"bob")))
        self.assertEqual([], self.bob_dies(Will("$SYS/broker/uptime", b"bob")))
        self.assertEqual({"not_authorized": 2}, self.rig.broker.counters.publish_dropped)

    def test_late_verdict(self) -> None:
        """The rules may take their time, also when the client is gone."""
        bob = self.rig.connect("bob", will=Will("gone", b"bob"))
        verdict: Deferred[Verdict] = Deferred()
        self.rules.later = verdict
        bob.drop()
        self.assertEqual([], self.ada.received())
        verdict.callback(R.SUCCESS)
        self.rig.turn()
        self.assertEqual([Publish("gone", b"bob")], self.ada.received())

    def test_rules_that_fail(self) -> None:
        """The Will is not sent, and the failure is logged."""
        bob = self.rig.connect("bob", will=Will("gone", b"bob"))
        verdict: Deferred[Verdict] = Deferred()
        self.rules.later = verdict
        bob.drop()
        verdict.errback(ZeroDivisionError())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual([], self.ada.received())

    def test_mount_point(self) -> None:
        """A Will goes where its client's publishes go."""
        rig = Rig(mount_point="home/")
        ada = rig.connect("ada")
        ada.subscribe("gone")
        rig.connect("bob", will=Will("gone", b"bob", retain=True)).drop()
        self.assertEqual([Publish("gone", b"bob")], ada.received())
        self.assertEqual(["home/gone"], [message.topic for message in rig.broker.retained.match("#")])


class RetainedTests(SynchronousTestCase):
    """v3 §3.3.1.3"""

    def setUp(self) -> None:
        self.rig = Rig()
        self.ada = self.rig.connect("ada")

    def retained(self, filter: str) -> list[tuple[str, bytes, int]]:
        peer = self.rig.connect()
        peer.subscribe(filter, qos=2)
        return sorted((p.topic, p.payload, p.qos) for p in peer.received() if isinstance(p, Publish))

    def test_last_one_stays(self) -> None:
        """[MQTT-3.3.1-5]"""
        for payload in (b"1", b"2"):
            self.ada.publish("t", payload, qos=1, retain=True)
        self.ada.publish("t", b"not retained", qos=2)
        self.assertEqual([("t", b"2", 1)], self.retained("t"))

    def test_empty_one_clears(self) -> None:
        """It is passed on as a message, and none is left: [MQTT-3.3.1-10]."""
        bob = self.rig.connect("bob")
        bob.subscribe("t")
        self.ada.publish("t", b"1", retain=True)
        self.ada.publish("t", b"", retain=True)
        self.assertEqual([Publish("t", b"1"), Publish("t", b"")], bob.received())
        self.assertEqual([], self.retained("#"))

    def test_wildcards(self) -> None:
        """All that match; those of ``$`` topics only when they are named."""
        for topic in ("a", "a/b", "c"):
            self.ada.publish(topic, b"x", retain=True)
        self.rig.broker.announce("$SYS/x", b"x")
        self.assertEqual(["a", "a/b", "c"], [topic for topic, _, _ in self.retained("#")])
        self.assertEqual(["a", "a/b"], [topic for topic, _, _ in self.retained("a/#")])
        self.assertEqual(["$SYS/x"], [topic for topic, _, _ in self.retained("$SYS/#")])

    def test_survives_a_restart(self) -> None:
        """In the journal, unlike what the broker announces of itself."""
        self.ada.publish("t", b"1", qos=1, retain=True)
        self.rig.broker.announce("$SYS/x", b"x")
        self.rig = Rig(store=self.rig.store)
        self.assertEqual([("t", b"1", 1)], self.retained("#"))
        self.assertEqual([], self.retained("$SYS/#"))

    def test_more_than_the_window(self) -> None:
        """Retained messages wait for their acknowledgements like others; none is lost."""
        for n in range(30):
            self.ada.publish(f"t/{n}", b"x", qos=1, retain=True)
        peer = self.rig.connect("bob")
        peer.subscribe("t/#", qos=1)
        self.assertEqual(20, len(peer.received()))
        for packet_id in range(1, 31):
            peer.send(Puback(packet_id))
        self.assertEqual(10, len(peer.received()))


class RetainSourceTests(SynchronousTestCase):
    """The option check_retain_source: whoever has retained a message must still be allowed to publish it"""

    def setUp(self) -> None:
        self.rules = Rules()
        self.rig = Rig(authorizer=self.rules)

    def seen(self) -> list[str]:
        """What a new client gets that subscribes to everything."""
        peer = self.rig.connect()
        peer.subscribe("#")
        return sorted(packet.topic for packet in peer.received() if isinstance(packet, Publish))

    def forbid(self, *client_ids: str) -> None:
        self.rules.refused |= {(Access.WRITE, "t", client_id) for client_id in client_ids}

    def test_not_any_more(self) -> None:
        """What ada left behind is not sent once she may not write there; what bob leaves there then is."""
        ada, bob = self.rig.connect("ada"), self.rig.connect("bob")
        ada.publish("t", b"x", retain=True)
        ada.publish("u", b"x", retain=True)
        self.assertEqual(["t", "u"], self.seen())
        self.forbid("ada")
        self.assertEqual(["u"], self.seen())
        bob.publish("t", b"x", retain=True)
        self.assertEqual(["t", "u"], self.seen())

    def test_after_a_restart(self) -> None:
        """Who it was is remembered; the default listener's rules count if the one it came by is gone."""
        self.rig.connect("ada").publish("t", b"x", retain=True)
        self.rig = Rig(authorizer=self.rules, store=self.rig.store)
        self.assertEqual(["t"], self.seen())
        self.forbid("ada")
        self.assertEqual([], self.seen())

    def test_by_the_rules_of_its_listener(self) -> None:
        """Each listener may have an ACL of its own."""
        self.rig.connect("ada").publish("t", b"x", retain=True)
        self.rig.broker.policies = {"a test": Policy("a test", Doorkeeper(), Rules({(Access.WRITE, "t")}))}
        self.assertEqual([], self.seen())

    def test_wills_and_callers_of_the_gateway(self) -> None:
        """They are somebody, too."""
        will = Will("t", b"x", QoS.AT_MOST_ONCE, retain=True)
        self.rig.connect("ada", will=will).drop()
        caller = Credentials("", "carl", None)
        self.rig.broker.publish(self.rig.policy, caller, Publication("u", b"x", 0, True))
        self.assertEqual(["t", "u"], self.seen())
        self.forbid("ada")
        self.rules.refused.add((Access.WRITE, "u", ""))
        self.assertEqual([], self.seen())

    def test_switched_off(self) -> None:
        """Then only the reader is asked for."""
        self.rig.connect("ada").publish("t", b"x", retain=True)
        self.forbid("ada")
        self.rig.broker.limits = Limits(check_retain_source=False)
        self.assertEqual(["t"], self.seen())

    def test_rules_that_take_their_time(self) -> None:
        """They said yes when it was published; nobody is made to wait for them again."""
        self.rig.connect("ada").publish("t", b"x", retain=True)
        later: Deferred[Verdict] = Deferred()
        self.rig.broker.policies = {"a test": Policy("a test", Doorkeeper(), Rules(later=later))}
        self.assertEqual(["t"], self.seen())
        later.errback(ValueError("nobody listens"))
        self.assertIsNone(self.successResultOf(later))


class OwnTopicsTests(SynchronousTestCase):
    """``$SYS`` is the broker's own"""

    def test_announce(self) -> None:
        """Subscribers of $SYS get it; those of # do not."""
        rig = Rig(authorizer=Rules({(Access.WRITE, "$SYS/x")}))
        all_topics, system = rig.connect("a"), rig.connect("b")
        all_topics.subscribe("#")
        system.subscribe("$SYS/#")
        rig.broker.announce("$SYS/x", b"1", retain=False)
        rig.turn()
        self.assertEqual(([], [Publish("$SYS/x", b"1")]), (all_topics.received(), system.received()))
        self.assertEqual(0, len(rig.broker.retained))

    def test_may_write(self) -> None:
        """Rules are not even asked about topics that are the broker's own."""
        rig = Rig(authorizer=(rules := Rules()))
        principal = Credentials("ada", None, None)
        verdicts = [
            rig.broker.may_write(rig.policy, principal, topic)
            for topic in ("$SYS/a", "$CONTROL/b", "$SYS", "$x")
        ]
        self.assertEqual([R.NOT_AUTHORIZED] * 3 + [R.SUCCESS], verdicts)
        self.assertEqual([("ada", Access.WRITE, "$x")], rules.asked)


class PublishTests(SynchronousTestCase):
    """`Broker.publish`: for those who are no MQTT client"""

    caller = Credentials("", "backend", None)

    def setUp(self) -> None:
        self.rules = Rules()
        self.store = HeldStore()
        self.rig = Rig(Limits(message_size_limit=10), authorizer=self.rules, store=self.store)
        self.bob = self.rig.connect("bob")

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 1, retain: bool = False) -> Deferred[R]:
        return self.rig.broker.publish(self.rig.policy, self.caller, Publication(topic, payload, qos, retain))

    def test_delivered(self) -> None:
        """Subscribers get it as if a client had sent it; the caller learns that there were some."""
        self.bob.subscribe("t", qos=1)
        self.assertIs(R.SUCCESS, self.successResultOf(self.publish("t")))
        self.rig.turn()
        self.assertEqual([Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=1)], self.bob.received())

    def test_nobody_there(self) -> None:
        """No subscriber is no error, but can be told apart."""
        self.assertIs(R.NO_MATCHING_SUBSCRIBERS, self.successResultOf(self.publish("t")))

    def test_durable(self) -> None:
        """When somebody is away, the caller hears nothing before the message is safe."""
        away = self.rig.connect("away", clean=False)
        away.send(Subscribe(1, [SubscriptionRequest("t", QoS.AT_LEAST_ONCE)]))
        away.drop()
        self.store.release()
        published = self.publish("t")
        self.assertNoResult(published)
        self.store.release()
        self.assertIs(R.SUCCESS, self.successResultOf(published))

    def test_refusals(self) -> None:
        """Each with its reason, and nobody gets anything."""
        self.bob.subscribe("#")
        self.rules.refused.add((Access.WRITE, "secret"))
        table = {"a/+": R.TOPIC_NAME_INVALID, "": R.TOPIC_NAME_INVALID, "secret": R.NOT_AUTHORIZED}
        table["$SYS/x"] = R.NOT_AUTHORIZED
        self.assertEqual(table, {topic: self.successResultOf(self.publish(topic)) for topic in table})
        self.assertIs(R.PACKET_TOO_LARGE, self.successResultOf(self.publish("t", b"x" * 11)))
        self.rig.turn()
        self.assertEqual([], self.bob.received())

    def test_retain_where_there_is_none(self) -> None:
        """With retain_available false."""
        self.rig = Rig(Limits(retain_available=False))
        self.assertIs(R.RETAIN_NOT_SUPPORTED, self.successResultOf(self.publish("t", retain=True)))

    def test_rules_with_no_opinion(self) -> None:
        """It is a no, also when it comes later."""
        self.rules.later = succeed(None)
        self.assertIs(R.NOT_AUTHORIZED, self.successResultOf(self.publish("t")))

    def test_mount_point(self) -> None:
        """Callers through a listener with a mount point speak below it."""
        self.rig = Rig(mount_point="home/")
        bob = self.rig.connect("bob")
        bob.subscribe("t")
        self.publish("t")
        self.rig.turn()
        self.assertEqual([Publish("t", b"x")], bob.received())


class EndTests(SynchronousTestCase):
    """What is left of a client"""

    def setUp(self) -> None:
        self.rig = Rig()
        self.broker = self.rig.broker

    def assert_nothing_left(self) -> None:
        self.assertEqual(
            ({}, 0, 0), (self.broker.sessions, self.broker.online, len(self.broker.router.subscriptions))
        )

    def comes(self, clean: bool) -> Peer:
        peer = self.rig.connect("ada", clean=clean)
        peer.subscribe("a", "b/+", "#", qos=2)
        peer.publish("b/c", b"x", qos=2)
        return peer

    def test_clean_session(self) -> None:
        """Nothing, however it went."""
        for leave in (Peer.drop, lambda peer: peer.send(Disconnect()), lambda peer: peer.send(b"\0\0")):
            leave(self.comes(clean=True))
            self.assert_nothing_left()

    def test_session_that_expires(self) -> None:
        """A kept session goes when its time is over, not before, and is counted."""
        peer = self.comes(clean=False)
        self.broker.sessions["ada"].expiry_s = 10.0
        peer.drop()
        self.rig.clock.pump([1.0] * 9)
        self.assertIn("ada", self.broker.sessions)
        self.rig.clock.pump([1.0] * 3)
        self.assert_nothing_left()
        self.assertEqual(1, self.broker.counters.clients_expired)

    def test_client_that_comes_back_in_time(self) -> None:
        """Its session stays, and its time starts anew when it leaves again."""
        for _ in range(4):
            peer = self.comes(clean=False)
            self.broker.sessions["ada"].expiry_s = 10.0
            peer.drop()
            self.rig.clock.pump([1.0] * 8)
        self.assertIn("ada", self.broker.sessions)

    def test_kept_for_ever(self) -> None:
        """Version 3 sessions have no end."""
        self.comes(clean=False).drop()
        self.rig.clock.pump([3600.0] * 100)
        self.assertIn("ada", self.broker.sessions)

    def test_stop(self) -> None:
        """Every client is disconnected, Wills are sent, the store is closed and the clock left alone."""
        store = HeldStore()
        rig = Rig(store=store)
        ada = rig.connect("ada")
        ada.subscribe("gone")
        bob = rig.connect("bob", will=Will("gone", b"bob"))
        stopped = rig.broker.stop()
        rig.turn()
        self.assertTrue(ada.closed and bob.closed and store.closed)
        self.assertNoResult(stopped)
        store.release()
        self.successResultOf(stopped)
        self.assertEqual([], rig.clock.getDelayedCalls())


class StartTests(SynchronousTestCase):
    """What a store gives back"""

    def test_store_that_takes_its_time(self) -> None:
        """The broker is ready when everything is loaded."""
        loading: Deferred[records.SavedState] = Deferred()
        rig = Rig()
        store = HeldStore()
        self.patch(store, "load", lambda: loading)
        broker = Broker(rig.clock, store)
        started = broker.start(rig.policy)
        self.assertNoResult(started)
        state = records.SavedState({"ada": records.SavedSession("ada", "a", None, left_at=0.0)})
        loading.callback(state)
        self.successResultOf(started)
        self.assertEqual(["ada"], list(broker.sessions))

    def test_messages_for_those_who_have_not_come_back(self) -> None:
        """A kept session is served from the first moment after a restart, by the access rules too."""
        rules = Rules()
        first = Rig()
        bob = first.connect("bob", clean=False)
        bob.subscribe("t", "u", qos=1)
        rules.refused.add((Access.READ, "u", "bob"))
        rig = Rig(authorizer=rules, store=first.store)
        ada = rig.connect("ada")
        ada.publish("t", b"1", qos=1)
        ada.publish("u", b"2", qos=1)
        bob = rig.connect("bob", clean=False)
        self.assertEqual([Publish("t", b"1", QoS.AT_LEAST_ONCE, packet_id=1)], bob.received())

    def test_expiry_starts_with_the_broker(self) -> None:
        """How long a client was away before is not known; its time runs from the start."""
        store = MemoryStore()
        store.record(records.SessionOpened("ada", None, 5.0))
        rig = Rig(store=store)
        rig.clock.pump([1.0] * 7)
        self.assertEqual(({}, {}), (rig.broker.sessions, store.state.sessions))


class GaugesTests(SynchronousTestCase):
    """What there is right now"""

    def test_counts(self) -> None:
        """Clients, sessions, subscriptions; messages retained, queued and in flight with their bytes."""
        rig = Rig(Limits(max_inflight_messages=1))
        ada = rig.connect("ada")
        bob = rig.connect("bob", clean=False)
        bob.subscribe("t", "t/+", qos=1)
        bob.drop()
        rig.connect("bob", clean=False)
        rig.connect("away", clean=False).drop()
        for payload in (b"1", b"22", b"333"):
            ada.publish("t", payload, qos=1)
        ada.publish("r", b"4444", retain=True)
        gauges = self.successResultOf(rig.broker.gauges())
        self.assertEqual(Gauges(2, 3, 2, 0, 1, 1 + 3, 4 + 6, 0, 0), gauges)

    def test_released_messages_have_no_bytes(self) -> None:
        """A QoS 2 message that the client has counts until PUBCOMP, without its payload."""
        rig = Rig()
        ada, bob = rig.connect("ada"), rig.connect("bob")
        bob.subscribe("t", qos=2)
        ada.publish("t", b"22", qos=2)
        ada.send(Pubrel(1))
        bob.send(b"\x50\2\0\1")
        gauges = self.successResultOf(rig.broker.gauges())
        self.assertEqual((1, 0), (gauges.stored_messages, gauges.stored_bytes))

    def test_shared_subscriptions(self) -> None:
        """They are counted apart from the others, and each member of a group has one of its own."""
        rig = Rig()
        for name in ("ada", "bob"):
            rig.connect(name).subscribe("t", "$share/g/t", "$share/h/t")
        gauges = self.successResultOf(rig.broker.gauges())
        self.assertEqual((2, 4), (gauges.subscriptions, gauges.shared_subscriptions))
