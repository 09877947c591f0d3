"""`pushd.broker.terms`: what a version 5 client and the broker agreed on, and what of it is used up."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.limits import Limits
from pushd.broker.message import Message
from pushd.broker.policy import Policy
from pushd.broker.session import MAX_RECEIVED
from pushd.broker.terms import NEVER, Terms, session_expiry
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.errors import ProtocolError
from pushd.mqtt.packets import Connect, Disconnect, Properties, Publish, Subscribe, SubscriptionRequest
from pushd.mqtt.reader import read_packet
from tests.driver import Peer, Rig
from tests.fakes import Doorkeeper, HeldStore, Rules

P = PropertyId
QOS1, QOS2 = QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE


def terms(properties: Properties, limits: Limits | None = None, **policy: int) -> Terms:
    """Those of a client that connects with these properties."""
    rules = Policy("a test", Doorkeeper(), Rules(), **policy)  # type: ignore[arg-type]  # numbers only
    return Terms(Connect(Version.V5, properties=properties), rules, limits or Limits())


def sent(image: tuple[bytes, bytes], packet_id: int = 1) -> Publish:
    """The packet that an image makes."""
    head, tail = image
    data = head + (packet_id.to_bytes(2, "big") if head[0] & 6 else b"") + tail
    read = read_packet(data, 0, Version.V5, 0)
    assert read is not None and isinstance(read[0], Publish)
    return read[0]


def size(image: tuple[bytes, bytes], qos: int) -> int:
    return len(image[0]) + len(image[1]) + (2 if qos else 0)


class AnnouncedTests(SynchronousTestCase):
    """The broker's side, in the CONNACK"""

    def said(self, limits: Limits, **policy: int) -> Properties:
        rules = Policy("a test", Doorkeeper(), Rules(), **policy)  # type: ignore[arg-type]  # numbers only
        return terms({}, limits, **policy).announced(limits, rules)

    def test_defaults_are_left_out(self) -> None:
        """What is as the standard assumes is not said."""
        limits = Limits(max_inflight_messages=0, max_packet_size=0)
        self.assertEqual({P.RECEIVE_MAXIMUM: MAX_RECEIVED}, self.said(limits, max_topic_alias=0))

    def test_every_limit(self) -> None:
        """Everything that is less is said."""
        limits = Limits(max_inflight_messages=3, max_packet_size=100, retain_available=False)
        expected = {
            P.RECEIVE_MAXIMUM: 3, P.MAXIMUM_QOS: 1, P.RETAIN_AVAILABLE: 0, P.MAXIMUM_PACKET_SIZE: 100,
            P.TOPIC_ALIAS_MAXIMUM: 5,
        }  # fmt: skip
        self.assertEqual(expected, self.said(limits, max_qos=1, max_topic_alias=5))

    def test_receive_maximum_is_what_we_remember(self) -> None:
        """Without a limit of messages in flight, what is announced is how many identifiers we hold."""
        self.assertEqual(MAX_RECEIVED, terms({}, Limits(max_inflight_messages=0)).receive_maximum)


class TopicAliasInTests(SynchronousTestCase):
    """Aliases of a client"""

    def test_remembered(self) -> None:
        """A name comes once, from then on the alias stands for it, until it gets another."""
        ours = terms({})
        self.assertEqual(["a", "a"], [ours.topic_of("a", 1), ours.topic_of("", 1)])
        self.assertEqual(["b", "b"], [ours.topic_of("b", 1), ours.topic_of("", 1)])

    def test_up_to_our_maximum(self) -> None:
        """All that we announced are good, the next is 0x94."""
        ours = terms({}, max_topic_alias=2)
        self.assertEqual("b", ours.topic_of("b", 2))
        error = self.assertRaises(ProtocolError, ours.topic_of, "c", 3)
        self.assertIs(ReasonCode.TOPIC_ALIAS_INVALID, error.code)

    def test_unknown(self) -> None:
        """An alias without a name that was never given one is a protocol error: §3.3.4."""
        error = self.assertRaises(ProtocolError, terms({}).topic_of, "", 1)
        self.assertIs(ReasonCode.PROTOCOL_ERROR, error.code)


class TopicAliasOutTests(SynchronousTestCase):
    """Our aliases towards a client"""

    def setUp(self) -> None:
        self.terms = terms({P.TOPIC_ALIAS_MAXIMUM: 2})

    def image(self, topic: str, payload: bytes = b"x") -> Publish:
        return sent(self.terms.image(Message(topic, payload), "", float))

    def test_name_first_alias_later(self) -> None:
        """The first PUBLISH has both, the next one the alias only."""
        topic = "a/long/name"
        first, second = self.image(topic), self.image(topic)
        self.assertEqual((topic, {P.TOPIC_ALIAS: 1}), (first.topic, first.properties))
        self.assertEqual(("", {P.TOPIC_ALIAS: 1}), (second.topic, second.properties))

    def test_never_above_the_clients_maximum(self) -> None:
        """When all aliases are given away, further topics are spelled out."""
        images = [self.image(topic) for topic in ("one/1", "two/2", "three/3", "two/2")]
        self.assertEqual(["one/1", "two/2", "three/3", ""], [image.topic for image in images])
        self.assertEqual({}, images[2].properties)

    def test_none_for_who_wants_none(self) -> None:
        """A client without a Topic Alias Maximum gets none: [MQTT-3.1.2-27]."""
        self.terms = terms({})
        self.assertEqual([{}, {}], [self.image("a/b").properties for _ in range(2)])

    def test_mount_point_is_hidden(self) -> None:
        """What an alias stands for is the name as the client sees it."""
        image = sent(self.terms.image(Message("m/a", b"x"), "m/", float))
        self.assertEqual("a", image.topic)


class PacketSizeTests(SynchronousTestCase):
    """The client's Maximum Packet Size"""

    def check(self, topic: str, qos: int, alias_maximum: int = 0) -> None:
        """A message of just the right size fits, one byte more does not; what is sent is never larger."""
        message = Message(topic, b"x" * 100, qos)
        exact = size(message.encode_v5(), qos)
        tight = terms({P.MAXIMUM_PACKET_SIZE: exact, P.TOPIC_ALIAS_MAXIMUM: alias_maximum})
        self.assertTrue(tight.fits(message, "", 0.0))
        self.assertFalse(tight.fits(Message(topic, b"x" * 101, qos), "", 0.0))
        for _ in range(2):
            self.assertLessEqual(size(tight.image(message, "", float), qos), exact)

    def test_exact(self) -> None:
        """To the byte, at each QoS."""
        for qos in (0, 1, 2):
            self.check("topic", qos)

    def test_an_alias_takes_room_too(self) -> None:
        """Where there is none for it, the message goes without."""
        for topic in ("a", "ab", "abc", "a/long/topic"):
            self.check(topic, 1, alias_maximum=5)

    def test_without_the_mount_point(self) -> None:
        """What counts is what the client is sent."""
        message = Message("mount/point/t", b"x")
        shorter = size(Message("t", b"x").encode_v5(), 0)
        self.assertTrue(terms({P.MAXIMUM_PACKET_SIZE: shorter}).fits(message, "mount/point/", 0.0))

    def test_no_limit(self) -> None:
        """A client that named none takes everything."""
        self.assertTrue(terms({}).fits(Message("t", b"x" * 100_000), "", 0.0))


class SessionExpiryTests(SynchronousTestCase):
    """v5 §3.1.2.11.2"""

    def test_values(self) -> None:
        """Absent is 0, the largest number is never."""
        self.assertEqual(0.0, session_expiry({}))
        self.assertEqual(7.0, session_expiry({P.SESSION_EXPIRY_INTERVAL: 7}))
        self.assertIsNone(session_expiry({P.SESSION_EXPIRY_INTERVAL: NEVER}))


class ReceiveMaximumTests(SynchronousTestCase):
    """How many messages of a client are under way: v5 [MQTT-3.3.4-7]"""

    def rig(self) -> tuple[Rig, Peer]:
        rig = Rig(Limits(max_inflight_messages=3))
        return rig, rig.connect("ada", version=Version.V5)

    def publish(self, peer: Peer, *packet_ids: int, qos: QoS = QOS1) -> None:
        peer.send(*(Publish("t", b"x", qos, packet_id=number) for number in packet_ids))

    def codes(self, peer: Peer) -> list[ReasonCode]:
        return [packet.code for packet in peer.received() if isinstance(packet, Disconnect)]

    def test_overrun(self) -> None:
        """One more of QoS 2 than announced ends the connection with 0x93."""
        _, ada = self.rig()
        self.publish(ada, 1, 2, 3, 4, qos=QOS2)
        self.assertEqual([ReasonCode.RECEIVE_MAXIMUM_EXCEEDED], self.codes(ada))

    def test_burst_of_qos_1(self) -> None:
        """Who does not count is slowed down, and acknowledged in order: MQTT.js does not."""
        _, ada = self.rig()
        self.publish(ada, *range(1, 12))
        self.assertEqual(list(range(1, 12)), [packet.packet_id for packet in ada.received()])
        self.assertFalse(ada.closed)

    def test_just_as_many(self) -> None:
        """As many as announced is what it is for, again and again."""
        _, ada = self.rig()
        for _ in range(5):
            self.publish(ada, 1, 2, 3)
            self.assertEqual(3, len(ada.received()))

    def test_qos_2_counts_until_pubrel(self) -> None:
        """PUBREC gives nothing back; one that is sent again is not counted twice."""
        _, ada = self.rig()
        self.publish(ada, 1, 2, qos=QOS2)
        self.publish(ada, 1, 2, 3, qos=QOS2)
        self.assertEqual([], self.codes(ada))
        self.publish(ada, 4, qos=QOS2)
        self.assertEqual([ReasonCode.RECEIVE_MAXIMUM_EXCEEDED], self.codes(ada))

    def test_acknowledgements_that_wait_for_the_store(self) -> None:
        """
        A client that goes on as soon as a PUBACK arrives is never above its Receive Maximum, although later
        ones still wait for the store.
        """
        ada, store = self.slow()
        self.publish(ada, 1, 2)
        self.publish(ada, 3)
        for first in range(10, 100, 10):
            store.release(1)
            acknowledged = len(ada.received())
            self.publish(ada, *range(first, first + acknowledged))
        self.assertFalse(ada.closed)

    def test_overrun_while_the_store_is_slow(self) -> None:
        """A client that does not wait for it is not read any further, until it is through."""
        ada, store = self.slow()
        self.publish(ada, 1, 2, 3, 4, 5, 6)
        self.assertEqual([], ada.received())
        for _ in range(4):
            store.release()
            ada.send()  # nothing: the turn ends
        self.assertEqual([1, 2, 3, 4, 5, 6], [packet.packet_id for packet in ada.received()])

    def slow(self) -> tuple[Peer, HeldStore]:
        """A client whose messages must be kept for somebody, by a store that takes its time."""
        store = HeldStore()
        rig = Rig(Limits(max_inflight_messages=3), store=store)
        sink = rig.connect("sink", clean=False)
        store.release()
        sink.send(Subscribe(1, [SubscriptionRequest("t", QOS1)]))
        store.release()
        ada = rig.connect("ada", version=Version.V5)
        store.release()
        ada.received()
        return ada, store
