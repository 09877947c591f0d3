"""`pushd.broker.will`: when a Will is sent, and what is in it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access
from pushd.broker.will import passed_on
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import Connect, Disconnect, Properties, Publish, Will
from tests.driver import Peer, Rig
from tests.fakes import Rules

P = PropertyId


class WillCase(SynchronousTestCase):
    """bob watches what happens to the Wills of others."""

    def setUp(self) -> None:
        self.rig = Rig(authorizer=Rules({(Access.WRITE, "secret")}))
        self.bob = self.rig.connect("bob", version=Version.V5)
        self.bob.subscribe("#", qos=2)

    def mortal(
        self, delay_s: int = 0, expiry_s: int = 0, *, payload: bytes = b"gone", topic: str = "w"
    ) -> Peer:
        """ada, with a Will."""
        properties: Properties = {P.WILL_DELAY_INTERVAL: delay_s} if delay_s else {}
        peer = self.rig.open()
        peer.send(
            Connect(
                Version.V5,
                "ada",
                clean_start=False,
                properties={P.SESSION_EXPIRY_INTERVAL: expiry_s},
                will=Will(topic, payload, properties=properties),
            )
        )
        return peer

    def sent(self) -> list[bytes]:
        return [packet.payload for packet in self.bob.received() if isinstance(packet, Publish)]

    def pass_time(self, seconds: float) -> None:
        self.rig.clock.pump([0.05] * round(seconds / 0.05))


class DelayTests(WillCase):
    """v5 §3.1.3.2.2"""

    def test_without_a_delay(self) -> None:
        """At once."""
        self.mortal(expiry_s=9).drop()
        self.assertEqual([b"gone"], self.sent())

    def test_delay(self) -> None:
        """Not before it is over, and hardly after."""
        self.mortal(3, 9).drop()
        self.pass_time(3)
        self.assertEqual([], self.sent())
        self.pass_time(0.8)
        self.assertEqual([b"gone"], self.sent())

    def test_session_ends_first(self) -> None:
        """The end of the session is the end of the wait."""
        self.mortal(9, 2).drop()
        self.pass_time(2)
        self.assertEqual([], self.sent())
        self.pass_time(0.8)
        self.assertEqual([b"gone"], self.sent())
        self.pass_time(20)
        self.assertEqual([], self.sent())

    def test_back_in_time(self) -> None:
        """Who comes back before has nothing sent: [MQTT-3.1.3-9]."""
        self.mortal(3, 9).drop()
        self.pass_time(2.9)
        self.mortal(3, 9)
        self.pass_time(30)
        self.assertEqual([], self.sent())

    def test_a_second_will_waits_its_own_time(self) -> None:
        """The time of an earlier Will, which was discarded, is not that of a later one."""
        self.mortal(3, 99).drop()
        self.pass_time(2)
        self.mortal(9, 99, payload=b"second").drop()
        self.pass_time(8.9)
        self.assertEqual([], self.sent())
        self.pass_time(1)
        self.assertEqual([b"second"], self.sent())


class FarewellTests(WillCase):
    """What DISCONNECT does to the Will"""

    def test_normal(self) -> None:
        """0x00 discards it: [MQTT-3.14.4-3]."""
        self.mortal().send(Disconnect())
        self.assertEqual([], self.sent())

    def test_every_other_code(self) -> None:
        """Any other does not: [MQTT-3.1.2-8]."""
        for code in (ReasonCode.DISCONNECT_WITH_WILL, ReasonCode.UNSPECIFIED_ERROR):
            self.mortal().send(Disconnect(code))
            self.assertEqual([b"gone"], self.sent())

    def test_a_wrong_one(self) -> None:
        """A DISCONNECT that breaks a rule is no farewell."""
        self.mortal().send(Disconnect(properties={P.SESSION_EXPIRY_INTERVAL: 5}))
        self.assertEqual([b"gone"], self.sent())


class MessageTests(WillCase):
    """What is sent"""

    def test_not_allowed(self) -> None:
        """The access rules have the last word, at the time of sending."""
        self.mortal(topic="secret").drop()
        self.assertEqual([], self.sent())
        self.assertEqual({"not_authorized": 1}, self.rig.broker.counters.publish_dropped)

    def test_expiry_begins_when_it_is_sent(self) -> None:
        """§3.1.3.2.4: not when the client connected."""
        peer = self.rig.open()
        will = Will("w", b"x", QoS.AT_LEAST_ONCE, properties={P.MESSAGE_EXPIRY_INTERVAL: 5})
        peer.send(Connect(Version.V5, "ada", will=will))
        self.pass_time(60)
        peer.drop()
        (packet,) = self.bob.received()
        assert isinstance(packet, Publish)
        self.assertEqual({P.MESSAGE_EXPIRY_INTERVAL: 5}, packet.properties)

    def test_passed_on(self) -> None:
        """What concerns the message is passed on, what concerns the connection is not."""
        mixed: Properties = {P.WILL_DELAY_INTERVAL: 3, P.CONTENT_TYPE: "text", P.TOPIC_ALIAS: 1}
        self.assertEqual({P.CONTENT_TYPE: "text"}, passed_on(mixed))
        self.assertIsNone(passed_on({P.TOPIC_ALIAS: 1}))
        self.assertIsNone(passed_on({}))
