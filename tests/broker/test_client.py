"""`pushd.broker.client`: how each packet of a client is answered, and when the answer may leave."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access, Verdict
from pushd.broker.limits import Limits
from pushd.mqtt.codes import QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Auth,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from pushd.mqtt.writer import encode
from tests.driver import Rig
from tests.fakes import HeldStore, Rules

QOS1, QOS2 = QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE
FAILURE = ReasonCode.UNSPECIFIED_ERROR  # all that a version 3 SUBACK can say


class PublishTests(SynchronousTestCase):
    """PUBLISH of a client"""

    def setUp(self) -> None:
        self.rules = Rules({(Access.WRITE, "secret")})
        self.rig = Rig(Limits(message_size_limit=100), authorizer=self.rules)
        self.ada, self.bob = self.rig.connect("ada"), self.rig.connect("bob")
        self.bob.subscribe("#", qos=2)

    def test_acknowledgement_by_qos(self) -> None:
        """None, PUBACK or PUBREC: [MQTT-3.3.4-1]."""
        self.ada.publish("t", b"0")
        self.ada.publish("t", b"1", qos=1, packet_id=11)
        self.ada.publish("t", b"2", qos=2, packet_id=12)
        self.assertEqual([Puback(11), Pubrec(12)], self.ada.received())

    def test_refused_message_vanishes(self) -> None:
        """Version 3 cannot say no: it is acknowledged, given to nobody, and counted: [MQTT-3.3.5-2]."""
        self.ada.publish("secret", b"x", qos=1)
        self.assertEqual(([Puback(1)], []), (self.ada.received(), self.bob.received()))
        self.assertEqual({"not_authorized": 1}, self.rig.broker.counters.publish_dropped)

    def test_refused_qos_2_ends_properly(self) -> None:
        """The handshake of a refused QoS 2 message goes through to its end."""
        self.ada.publish("secret", b"x", qos=2)
        self.ada.send(Pubrel(1))
        self.assertEqual([Pubrec(1), Pubcomp(1)], self.ada.received())

    def test_payload_above_the_limit(self) -> None:
        """message_size_limit: like a refused one, counted for itself; a smaller one still goes through."""
        self.ada.publish("t", b"x" * 100, qos=1)
        self.ada.publish("t", b"x" * 101, qos=1)
        self.assertEqual([100], [len(p.payload) for p in self.bob.received() if isinstance(p, Publish)])
        self.assertEqual({"message_size_limit": 1}, self.rig.broker.counters.publish_dropped)

    def test_reserved_topics(self) -> None:
        """Only the broker speaks below $SYS and $CONTROL; nobody publishes to a shared filter."""
        for topic in ("$SYS/broker/uptime", "$SYS", "$CONTROL/x", "$share/g/t"):
            self.ada.publish(topic, b"x", qos=1)
        self.assertEqual({"not_authorized": 4}, self.rig.broker.counters.publish_dropped)

    def test_state_of_a_bridge(self) -> None:
        """What Mosquitto's bridges tell of themselves is the one exception below $SYS."""
        self.bob.subscribe("$SYS/broker/connection/+/state")
        self.ada.publish("$SYS/broker/connection/b1/state", b"1")
        self.ada.publish("$SYS/broker/connection/b1/x/state", b"1")
        topics = [packet.topic for packet in self.bob.received() if isinstance(packet, Publish)]
        self.assertEqual(["$SYS/broker/connection/b1/state"], topics)

    def test_retain_where_there_is_none(self) -> None:
        """With retain_available false a RETAIN ends the connection: v5 [MQTT-3.2.2-14]."""
        peer = Rig(Limits(retain_available=False)).connect("ada")
        peer.publish("t", b"x", retain=True)
        self.assertTrue(peer.closed)

    def test_verdict_is_asked_for_once(self) -> None:
        """A client that publishes to a topic again pays no second look at the access rules."""
        rig = Rig(authorizer=(rules := Rules()))
        ada = rig.connect("ada")
        for _ in range(5):
            ada.publish("t", b"x")
        self.assertEqual([("ada", Access.WRITE, "t")], rules.asked)

    def test_changed_rules_hold_from_the_next_message(self) -> None:
        """When access rules change, a publisher that was allowed is asked about again."""
        rig = Rig(authorizer=(rules := Rules()))
        ada, bob = rig.connect("ada"), rig.connect("bob")
        bob.subscribe("t")
        ada.publish("t", b"1")
        rules.refused.add((Access.WRITE, "t"))
        rig.broker.access_rules_changed()
        ada.publish("t", b"2")
        self.assertEqual([b"1"], [p.payload for p in bob.received() if isinstance(p, Publish)])

    def test_late_verdict(self) -> None:
        """A verdict that comes later is as good as one at once."""
        for verdict, got in ((ReasonCode.SUCCESS, 1), (ReasonCode.NOT_AUTHORIZED, 0), (None, 0)):
            later: Deferred[Verdict] = Deferred()
            self.rules.later = later
            self.ada.publish("t", b"x", qos=1)
            self.assertEqual([], self.ada.received())
            later.callback(verdict)
            self.rig.turn()
            self.assertEqual([Puback(1)], self.ada.received())
            self.assertEqual(got, len(self.bob.received()))

    def test_verdict_that_was_there_already(self) -> None:
        """A Deferred that has fired holds nothing up."""
        self.rules.later = succeed(ReasonCode.SUCCESS)
        self.ada.send(Publish("t", b"x", QOS1, packet_id=1), Pingreq())
        self.assertEqual([Puback(1), Pingresp()], self.ada.received())

    def test_rules_that_fail(self) -> None:
        """No verdict is a no, and the failure is logged."""
        self.rules.later = fail(ZeroDivisionError())
        self.ada.publish("t", b"x", qos=1)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(([Puback(1)], []), (self.ada.received(), self.bob.received()))


class SubscribeTests(SynchronousTestCase):
    """SUBSCRIBE and UNSUBSCRIBE of a client"""

    def setUp(self) -> None:
        self.rules = Rules({(Access.SUBSCRIBE, "secret/#")})
        self.rig = Rig(authorizer=self.rules)
        self.ada, self.bob = self.rig.connect("ada"), self.rig.connect("bob")

    def test_one_code_each_in_order(self) -> None:
        """SUBACK has the granted QoS or the failure of each filter in its place: [MQTT-3.9.3-1]."""
        requests = [SubscriptionRequest("a", QOS2), SubscriptionRequest("secret/#"), SubscriptionRequest("b")]
        self.bob.send(Subscribe(5, requests))
        codes = [ReasonCode.GRANTED_QOS_2, FAILURE, ReasonCode.GRANTED_QOS_0]
        self.assertEqual([Suback(5, codes)], self.bob.received())
        self.assertEqual(2, len(self.rig.broker.router.subscriptions))

    def test_shared_filter(self) -> None:
        """Each message goes to one member of the group, each in turn (v5 §4.8.2)."""
        eve = self.rig.connect("eve")
        for peer in (self.bob, eve):
            self.assertEqual([ReasonCode.GRANTED_QOS_0], peer.subscribe("$share/g/t"))
        for _ in range(4):
            self.ada.publish("t", b"x")
        self.assertEqual([2, 2], [len(peer.received()) for peer in (self.bob, eve)])

    def test_again_replaces(self) -> None:
        """The same filter again takes the new QoS and does not double messages: [MQTT-3.8.4-3]."""
        self.bob.subscribe("t", qos=2)
        self.bob.subscribe("t", qos=0)
        self.ada.publish("t", b"x", qos=1)
        self.assertEqual([Publish("t", b"x")], self.bob.received())

    def test_retained_come_after_the_suback(self) -> None:
        """What is retained follows the SUBACK, marked as retained: [MQTT-3.3.1-8]; again when asked again."""
        self.ada.publish("t", b"old", qos=2, retain=True)
        self.ada.send(Pubrel(1))
        for n in (1, 2):
            self.bob.send(Subscribe(n, [SubscriptionRequest("t", QOS1)]))
            expected = [
                Suback(n, [ReasonCode.GRANTED_QOS_1]),
                Publish("t", b"old", QOS1, retain=True, packet_id=n),
            ]
            self.assertEqual(expected, self.bob.received())

    def test_retained_that_may_not_be_read(self) -> None:
        """Retained messages ask the access rules too."""
        self.ada.publish("t/1", b"1", retain=True)
        self.ada.publish("t/2", b"2", retain=True)
        self.rules.refused.add((Access.READ, "t/1", "bob"))
        self.bob.subscribe("t/+")
        self.assertEqual([Publish("t/2", b"2", retain=True)], self.bob.received())

    def test_retained_flag_is_not_passed_on(self) -> None:
        """A message that is passed on at once has RETAIN 0: [MQTT-3.3.1-9]."""
        self.bob.subscribe("t")
        self.ada.publish("t", b"x", retain=True)
        self.assertEqual([Publish("t", b"x")], self.bob.received())

    def test_unsubscribe(self) -> None:
        """UNSUBACK always comes, also for what was never subscribed: [MQTT-3.10.4-5]."""
        self.bob.subscribe("t", "u")
        self.bob.send(Unsubscribe(3, ["t", "never"]))
        self.ada.publish("t", b"x")
        self.ada.publish("u", b"y")
        self.assertEqual([Unsuback(3), Publish("u", b"y")], self.bob.received())

    def test_late_verdicts(self) -> None:
        """Verdicts may come at any time and in any order; the SUBACK waits for all and keeps its order."""
        later: Deferred[Verdict] = Deferred()
        self.rules.later = later
        self.bob.send(
            Subscribe(5, [SubscriptionRequest("a", QOS1), SubscriptionRequest("secret/#")]), Pingreq()
        )
        self.assertEqual([], self.bob.received())
        later.callback(ReasonCode.SUCCESS)
        self.rig.turn()
        expected = [Suback(5, [ReasonCode.GRANTED_QOS_1, FAILURE]), Pingresp()]
        self.assertEqual(expected, self.bob.received())

    def test_rules_that_fail(self) -> None:
        """No verdict is a no."""
        self.rules.later = fail(ZeroDivisionError())
        self.assertEqual([FAILURE], self.bob.subscribe("t"))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_client_that_left_before_the_verdict(self) -> None:
        """A subscription that is granted to somebody who is gone is not kept."""
        later: Deferred[Verdict] = Deferred()
        self.rules.later = later
        self.bob.send(Subscribe(5, [SubscriptionRequest("a")]))
        self.bob.drop()
        later.callback(ReasonCode.SUCCESS)
        self.assertEqual(0, len(self.rig.broker.router.subscriptions))

    def test_client_that_was_replaced_before_the_verdict(self) -> None:
        """Nor is it added to the session of a successor who never asked."""
        later: Deferred[Verdict] = Deferred()
        self.rules.later = later
        eve = self.rig.connect("eve", clean=False)
        eve.send(Subscribe(5, [SubscriptionRequest("a")]))
        self.rig.connect("eve", clean=False)
        later.callback(ReasonCode.SUCCESS)
        self.assertEqual(0, len(self.rig.broker.router.subscriptions))

    def test_mount_point(self) -> None:
        """A mount point stands before every topic of its clients, and they never see it."""
        rig = Rig(mount_point="home/")
        ada, bob = rig.connect("ada"), rig.connect("bob")
        bob.subscribe("#", qos=1)
        ada.publish("t", b"0")
        ada.publish("t", b"1", qos=1, retain=True)
        self.assertEqual(["home/t"], [message.topic for message in rig.broker.retained.match("#")])
        self.assertEqual(
            ["t", "t"], [packet.topic for packet in bob.received() if isinstance(packet, Publish)]
        )
        bob.send(Unsubscribe(3, ["#"]))
        self.assertEqual(0, len(rig.broker.router.subscriptions))


class DurabilityTests(SynchronousTestCase):
    """Nothing is acknowledged, and no packet identifier is used, before it is durable; and in order."""

    def setUp(self) -> None:
        self.store = HeldStore()
        self.rig = Rig(store=self.store)
        self.ada = self.rig.connect("ada")
        self.bob = self.rig.connect("bob", clean=False)
        self.store.release()
        self.bob.send(Subscribe(1, [SubscriptionRequest("t", QOS2)]))
        self.store.release()
        self.bob.received()

    def test_persistent_connack(self) -> None:
        """Session Present must be true the next time: a new persistent session waits for its record."""
        eve = self.rig.connect("eve", clean=False)
        self.assertIsNone(eve.connack)
        self.store.release()
        eve.received()
        self.assertIsNotNone(eve.connack)

    def test_clean_connack(self) -> None:
        """A clean session does not touch the store."""
        self.assertIsNotNone(self.rig.connect("eve").connack)
        self.assertEqual([], self.store.barriers)

    def test_suback_and_unsuback(self) -> None:
        """Those of a persistent session wait."""
        self.bob.send(Subscribe(1, [SubscriptionRequest("u")]), Unsubscribe(2, ["u"]))
        self.assertEqual([], self.bob.received())
        self.store.release()
        self.assertEqual([Suback(1, [ReasonCode.SUCCESS]), Unsuback(2)], self.bob.received())

    def test_puback_waits_for_the_subscribers_record(self) -> None:
        """PUBACK says that the message is safe with all who will get it; so the message itself waits."""
        self.ada.publish("t", b"1", qos=1)
        self.assertEqual(([], []), (self.ada.received(), self.bob.received()))
        self.store.release()
        self.assertEqual([Puback(1)], self.ada.received())
        self.assertEqual([Publish("t", b"1", QOS1, packet_id=1)], self.bob.received())

    def test_nothing_to_record(self) -> None:
        """A message that nobody persistent gets is acknowledged at once."""
        self.ada.publish("elsewhere", b"1", qos=1)
        self.assertEqual([Puback(1)], self.ada.received())
        self.assertEqual([], self.store.barriers)

    def test_retained_waits(self) -> None:
        """A retained message is recorded, so its PUBACK waits."""
        self.ada.publish("elsewhere", b"1", qos=1, retain=True)
        self.assertEqual([], self.ada.received())
        self.store.release()
        self.assertEqual([Puback(1)], self.ada.received())

    def test_later_output_queues_behind(self) -> None:
        """What needs no record does not overtake what waits for one."""
        self.ada.publish("t", b"1", qos=1)
        self.ada.publish("t", b"0")
        self.assertEqual([], self.bob.received())
        self.store.release(1)
        self.assertEqual([Publish("t", b"1", QOS1, packet_id=1)], self.bob.received())
        self.store.release()
        self.assertEqual([Publish("t", b"0")], self.bob.received())

    def test_ping_waits_for_no_disk(self) -> None:
        """However slow the disk, the client hears in time that it is connected."""
        self.ada.publish("t", b"1", qos=1)
        self.bob.send(Pingreq())
        self.assertEqual([Pingresp()], self.bob.received())

    def test_others_do_not_wait(self) -> None:
        """A client that nothing is recorded for is answered while others wait."""
        self.ada.publish("t", b"1", qos=1)
        eve = self.rig.connect("eve")
        eve.send(Pingreq())
        self.assertEqual([Pingresp()], eve.received())

    def test_one_barrier_for_a_turn(self) -> None:
        """All that a turn records is waited for once."""
        self.ada.send(*[Publish("t", b"x", QOS1, packet_id=n) for n in range(1, 11)])
        self.assertEqual(1, len(self.store.barriers))
        self.store.release()
        self.assertEqual([Puback(n) for n in range(1, 11)], self.ada.received())

    def test_pubrec_and_pubcomp_of_a_persistent_publisher(self) -> None:
        """The identifier of a QoS 2 message is durable before PUBREC, its release before PUBCOMP."""
        self.bob.publish("elsewhere", b"2", qos=2)
        self.assertEqual([], self.bob.received())
        self.store.release()
        self.assertEqual([Pubrec(1)], self.bob.received())
        self.bob.send(Pubrel(1))
        self.assertEqual([], self.bob.received())
        self.store.release()
        self.assertEqual([Pubcomp(1)], self.bob.received())

    def test_pubrel_waits(self) -> None:
        """That PUBREC came is durable before PUBREL: the PUBLISH must not come again: v5 [MQTT-4.3.3-5]."""
        self.ada.publish("t", b"2", qos=2)
        self.store.release()
        self.bob.received()
        self.bob.send(Pubrec(1))
        self.assertEqual([], self.bob.received())
        self.store.release()
        self.assertEqual([Pubrel(1)], self.bob.received())

    def test_connection_that_is_gone_when_it_is_durable(self) -> None:
        """Nobody is there to be answered, and that is no trouble."""
        self.bob.publish("t", b"2", qos=2)
        self.bob.drop()
        self.store.release()
        self.assertEqual(b"", self.bob.transport.value())


class VersionTests(SynchronousTestCase):
    """What only one version has."""

    def test_auth_has_no_place_here(self) -> None:
        """A packet that is legal on the wire but that nobody asked for ends the connection."""
        rig = Rig()
        peer = rig.connect("ada")
        peer.protocol._state.version = Version.V5
        peer.deliver(encode(Auth(ReasonCode.RE_AUTHENTICATE, {}), Version.V5))
        rig.turn()
        self.assertTrue(peer.closed)

    def test_version_3_1(self) -> None:
        """A client of 3.1 is served like one of 3.1.1."""
        rig = Rig()
        peer = rig.connect("ada", version=Version.V3_1)
        peer.subscribe("t", qos=1)
        rig.connect("bob").publish("t", b"x", qos=1)
        self.assertEqual([Publish("t", b"x", QOS1, packet_id=1)], peer.received())


class Version5Tests(SynchronousTestCase):
    """What a version 5 client is told that version 3 has no words for"""

    def setUp(self) -> None:
        self.rules = Rules({(Access.WRITE, "secret"), (Access.SUBSCRIBE, "secret")})
        self.rig = Rig(authorizer=self.rules)
        self.ada = self.rig.connect("ada", version=Version.V5)

    def codes(self) -> list[ReasonCode]:
        return [packet.code for packet in self.ada.received() if isinstance(packet, (Puback, Pubrec))]

    def test_refused_publish(self) -> None:
        """0x87 in PUBACK and PUBREC; a refused QoS 2 message holds no identifier."""
        self.ada.publish("secret", b"x", qos=1)
        self.ada.publish("secret", b"x", qos=2, packet_id=2)
        self.assertEqual([ReasonCode.NOT_AUTHORIZED] * 2, self.codes())
        self.assertFalse(self.rig.broker.sessions["ada"].received)

    def test_refused_subscription(self) -> None:
        """0x87 stands where its filter stood, in a group, too."""
        no = ReasonCode.NOT_AUTHORIZED
        granted = self.ada.subscribe("a", "secret", "$share/g/secret", "$share/g/a", qos=1)
        self.assertEqual([ReasonCode.GRANTED_QOS_1, no, no, ReasonCode.GRANTED_QOS_1], granted)

    def test_verdicts_that_a_packet_cannot_say(self) -> None:
        """Rules may answer with any code; what PUBACK or SUBACK does not have becomes 0x87."""
        for _ in range(2):
            self.rules.later = succeed(ReasonCode.SERVER_UNAVAILABLE)
            self.ada.publish("t", b"x", qos=1)
        self.assertEqual([ReasonCode.NOT_AUTHORIZED] * 2, self.codes())
        self.rules.later = succeed(ReasonCode.SERVER_UNAVAILABLE)
        self.assertEqual([ReasonCode.NOT_AUTHORIZED], self.ada.subscribe("t"))

    def test_nobody_there(self) -> None:
        """0x10 when nobody gets it, on the express lane, too."""
        for packet_id in (1, 2):
            self.ada.publish("t", b"x", qos=1, packet_id=packet_id)
        self.assertEqual([ReasonCode.NO_MATCHING_SUBSCRIBERS] * 2, self.codes())

    def test_unknown_identifiers(self) -> None:
        """0x92 for what we know nothing of."""
        gone = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
        self.ada.send(Pubrel(9), Pubrec(9), Puback(9), Pubcomp(9))
        self.assertEqual([Pubcomp(9, gone), Pubrel(9, gone)], self.ada.received())
