"""`pushd.transports.protocol`: peers that do not keep up, and peers that are too fast."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.limits import Limits
from pushd.mqtt.codes import QoS, Version
from pushd.mqtt.packets import (
    Connack,
    Connect,
    Pingresp,
    Publish,
)
from pushd.mqtt.writer import encode
from pushd.transports.protocol import DEAF_AT, MQTTProtocol
from tests.driver import Rig
from tests.transports.test_protocol import spend

PINGREQ = b"\xc0\0"
V3 = Version.V3_1_1


class SlowConsumerTests(SynchronousTestCase):
    """A peer that does not read may cost max_write_buffer and its window, no more."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.slow, self.fast, self.ada = (self.rig.connect(name) for name in ("slow", "fast", "ada"))
        for peer in (self.slow, self.fast):
            peer.subscribe("t/0", "t/1", qos=1)
        self.slow.stop_reading()

    def flood(self) -> None:
        chunk = Limits().max_write_buffer // 4
        for _ in range(6):
            self.ada.publish("t/0", b"x" * chunk)

    def test_qos_0_is_dropped_and_counted(self) -> None:
        """What does not fit is dropped for this subscriber, by a reason; others get all."""
        self.flood()
        self.assertEqual({"slow_consumer": 2}, self.rig.broker.counters.publish_dropped)
        self.assertEqual(4, len(self.slow.received()))
        self.assertEqual(6, len(self.fast.received()))

    def test_run_of_the_express_lane_is_counted_by_message(self) -> None:
        """Messages that came in one read count one each."""
        self.flood()
        self.ada.send(*[Publish("t/0", b"s")] * 5)
        self.assertEqual({"slow_consumer": 7}, self.rig.broker.counters.publish_dropped)

    def test_qos_1_is_kept(self) -> None:
        """What must arrive is not dropped: the window bounds it."""
        self.flood()
        self.slow.received()
        self.ada.publish("t/1", b"must arrive", qos=1)
        self.assertEqual(
            [Publish("t/1", b"must arrive", QoS.AT_LEAST_ONCE, packet_id=1)], self.slow.received()
        )

    def test_reading_again(self) -> None:
        """Once it has taken what waited, it gets QoS 0 messages again."""
        self.flood()
        self.slow.received()
        self.slow.read_on()
        self.ada.publish("t/0", b"welcome back")
        self.assertEqual([Publish("t/0", b"welcome back")], self.slow.received())

    def ping(self, packets: int) -> None:
        """As many as the transport takes."""
        for _ in range(packets // 1000):
            self.slow.send(PINGREQ * 1000)

    def test_who_asks_and_does_not_read(self) -> None:
        """It is not listened to any more: its answers would grow without end."""
        limit = Limits().max_write_buffer
        self.ping(2 * limit)
        self.assertLess(len(self.slow.transport.value()), (DEAF_AT + 0.1) * limit)
        self.assertEqual("paused", self.slow.transport.producerState)

    def test_who_asked_and_reads_at_last(self) -> None:
        """It is answered, each question once."""
        questions = 1_500_000
        self.ping(questions)
        answers = len(self.slow.received())
        self.slow.read_on()
        self.rig.turn()
        self.assertEqual(questions, answers + len(self.slow.received()))

    def test_the_limit_is_the_one_in_force(self) -> None:
        """A reload changes it for those who are in, too."""
        self.rig.broker.limits = Limits(max_write_buffer=1024)
        self.ada.publish("t/0", b"x" * 1025)
        self.ada.publish("t/0", b"one too many")
        self.assertEqual({"slow_consumer": 1}, self.rig.broker.counters.publish_dropped)

    def test_before_connect(self) -> None:
        """A transport may be full before there is a client; that is no trouble."""
        peer = self.rig.open()
        peer.stop_reading()
        peer.read_on()
        peer.send(Connect(client_id="late"))
        self.assertEqual(Connack(), peer.connack)

    def test_transport_gone(self) -> None:
        """`stopProducing` needs no answer: connectionLost follows."""
        protocol = self.slow.protocol
        assert isinstance(protocol, MQTTProtocol)
        protocol.stopProducing()
        self.assertFalse(self.slow.closed)


class MessageRateTests(SynchronousTestCase):
    """max_message_rate: who is faster is read from more slowly, and never cut off."""

    def setUp(self) -> None:
        self.rig = Rig(Limits(max_message_rate=10))
        self.bob = self.rig.connect("bob")
        self.bob.subscribe("t")
        self.ada = self.rig.connect("ada", keep_alive_s=1)

    def flood(self, messages: int) -> None:
        """Ten to a read."""
        for _ in range(messages // 10):
            self.ada.deliver(encode(Publish("t", b"x"), V3) * 10)

    def came(self, seconds: float) -> int:
        """How many messages bob got in this time."""
        spend(self.rig, seconds)
        return len(self.bob.received())

    def test_slow_enough(self) -> None:
        """Nobody notices the limit, a second's worth at once included."""
        for _ in range(20):
            self.flood(10)
            self.assertEqual("producing", self.ada.transport.producerState)
            self.assertEqual(10, self.came(1.1))

    def test_too_fast(self) -> None:
        """All arrive, at the rate; keep-alive does not run while we are the ones who do not read."""
        self.ada.protocol.transport.deliver = lambda data: None
        for _ in range(10):
            self.ada.protocol.dataReceived(encode(Publish("t", b"x"), V3) * 10)
        self.assertEqual("paused", self.ada.transport.producerState)
        self.assertFalse(self.ada.closed)
        first = self.came(0.1)
        self.assertEqual(20, first)
        self.assertEqual(80, sum(self.came(1) for _ in range(10)))
        self.assertFalse(self.ada.closed)

    def test_acknowledgements_do_not_count(self) -> None:
        """A subscriber answers as fast as it is sent to."""
        self.ada.send(PINGREQ * 1000)
        self.assertEqual("producing", self.ada.transport.producerState)

    def test_gone_while_it_waits(self) -> None:
        """Its Will is sent then, and the end of the pause does nothing."""
        self.flood(100)
        self.ada.drop()
        self.came(20)
        self.assertNotIn("ada", self.rig.broker.sessions)

    def test_clients_from_before_the_limit(self) -> None:
        """A reload counts for those who come from then on."""
        self.rig.broker.limits = Limits()
        fast = self.rig.connect("fast")
        for _ in range(10):
            fast.send(encode(Publish("t", b"x"), V3) * 100)
        self.assertEqual(1000, self.came(0))


class SliceTests(SynchronousTestCase):
    """A busy connection keeps nobody waiting. Each look at the clock here takes a millisecond."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.ada, self.bob = self.rig.connect("ada"), self.rig.connect("bob")
        ticks = itertools.count()
        self.rig.broker.wheel.seconds = lambda: next(ticks) / 1000

    def test_others_are_served_in_between(self) -> None:
        """A read of many packets is handled a few milliseconds at a time."""
        before = self.rig.broker.counters.others_received
        self.ada.deliver(PINGREQ * 100)
        self.assertLess(self.rig.broker.counters.others_received - before, 20)
        self.rig.turn()
        self.assertEqual(100, self.rig.broker.counters.others_received - before)
        self.assertEqual([Pingresp()] * 100, self.ada.received())

    def test_nothing_is_forgotten(self) -> None:
        """The rest follows in the next turns, in its order, with what came meanwhile behind it."""
        self.bob.subscribe("t")
        for start in (0, 50):
            self.ada.deliver(b"".join(encode(Publish("t", b"%d" % n), V3) for n in range(start, start + 50)))
        for _ in range(100):
            self.rig.turn()
        payloads = [packet.payload for packet in self.bob.received() if isinstance(packet, Publish)]
        self.assertEqual([b"%d" % n for n in range(100)], payloads)

    def test_gone_meanwhile(self) -> None:
        """What is left of a connection that is gone is dropped."""
        self.ada.deliver(PINGREQ * 100)
        self.ada.drop()
        self.rig.turn()
        self.assertNotIn("ada", self.rig.broker.sessions)
