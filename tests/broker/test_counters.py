"""`pushd.broker.counters`: what is counted, seen from a client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.mqtt.codes import QoS, Version
from pushd.mqtt.packets import Connect, Pingreq, Puback, Publish
from pushd.mqtt.writer import encode
from tests.driver import Rig


class DroppedTests(SynchronousTestCase):
    """`Counters.dropped`"""

    def test_by_reason(self) -> None:
        """Each reason has its own count, from the first."""
        counters = Counters()
        counters.dropped("queue_full")
        counters.dropped("slow_consumer", 3)
        counters.dropped("queue_full")
        self.assertEqual({"queue_full": 2, "slow_consumer": 3}, counters.publish_dropped)


class TrafficTests(SynchronousTestCase):
    """One publisher, two subscribers: what the figures say afterwards."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.ada, *self.others = (self.rig.connect(name) for name in ("ada", "bob", "eve"))
        for peer in self.others:
            peer.subscribe("t", qos=1)
        self.before = self.figures()

    def figures(self) -> dict[str, int]:
        counters = self.rig.broker.counters
        apart = {"publish_dropped", "others_received", "others_sent"}
        names = {*type(counters).__slots__, "messages_received", "messages_sent"} - apart
        return {name: getattr(counters, name) for name in names}

    def change(self) -> dict[str, int]:
        """:return: what grew since `setUp`."""
        return {
            name: value - self.before[name]
            for name, value in self.figures().items()
            if value != self.before[name]
        }

    def test_qos_0(self) -> None:
        """Messages are packets; publishes and their payload bytes are counted for each subscriber."""
        packet = Publish("t", b"four")
        size = len(encode(packet, Version.V3_1_1))
        expected = {
            "bytes_received": 2 * size,
            "bytes_sent": 4 * size,
            "messages_received": 2,
            "messages_sent": 4,
            "publish_bytes_received": 8,
            "publish_bytes_sent": 16,
            "publish_received": 2,
            "publish_sent": 4,
        }
        self.ada.send(packet)  # the slow way, for the topic is new
        self.ada.send(packet)  # the express lane
        self.assertEqual(expected, self.change())

    def test_acknowledgements_are_messages(self) -> None:
        """A QoS 1 message from one to two: PUBLISH and two PUBACKs in, PUBACK and two PUBLISHes out."""
        self.ada.publish("t", b"x", qos=1)
        for peer in self.others:
            peer.send(Puback(1))
        grown = self.change()
        self.assertEqual((3, 3), (grown["messages_received"], grown["messages_sent"]))
        self.assertEqual((1, 2), (grown["publish_received"], grown["publish_sent"]))

    def test_sent_again_counts_again(self) -> None:
        """A message that a resumed session is sent once more was sent twice."""
        peer = self.rig.connect("old", clean=False)
        peer.subscribe("u", qos=1)
        self.ada.publish("u", b"x", qos=1)
        peer.drop()
        self.rig.connect("old", clean=False)
        self.assertEqual(2, self.change()["publish_sent"])

    def test_ping(self) -> None:
        """PINGREQ and PINGRESP are a message each way."""
        self.ada.send(Pingreq())
        expected = {"bytes_received": 2, "bytes_sent": 2, "messages_received": 1, "messages_sent": 1}
        self.assertEqual(expected, self.change())

    def test_connects(self) -> None:
        """Network connections, accepted CONNECTs, and the most clients that there were at once."""
        self.rig.open()
        self.rig.connect("new").drop()
        self.rig.connect("newer").send(Connect(client_id="not twice"))
        grown = self.change()
        self.assertEqual(3, grown["connections_accepted"])
        self.assertEqual(2, grown["connects_accepted"])
        self.assertEqual(1, grown["clients_maximum"])

    def test_publish_that_nobody_wants(self) -> None:
        """It was received, and nothing was sent or dropped."""
        self.ada.publish("nobody", b"x", qos=QoS.AT_MOST_ONCE)
        self.assertNotIn("publish_sent", self.change())
        self.assertEqual({}, self.rig.broker.counters.publish_dropped)
