"""The client of `make crash`: it behaves as the standards ask, across connections."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Connack,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Will,
)
from pushd.mqtt.reader import PacketReader
from pushd.mqtt.writer import encode
from tests.crash.session import ClientSession
from tests.crash.timeline import Key

ONE, TWO = QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE


class Diary:
    """An owner that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connected(self) -> None:
        self.told.append("connected")

    def next_will(self) -> Will | None:
        return None

    def renews(self) -> None:
        self.told.append("renews")

    def renewed(self) -> None:
        self.told.append("renewed")

    def session_lost(self) -> None:
        self.told.append("session lost")

    def acknowledged(self, key: Key) -> None:
        self.told.append(key)

    def arrived(self, packet: Publish) -> None:
        self.told.append(packet.payload)

    def answered(self, topic_filter: str, subscribed: bool) -> None:
        self.told.append((topic_filter, subscribed))

    def refused(self, key: Key | None, code: ReasonCode) -> None:
        self.told.append(("refused", key))

    def ponged(self) -> None:
        self.told.append("ponged")

    def surprised(self, text: str) -> None:
        self.told.append("surprised")


class SessionTestCase(SynchronousTestCase):
    """A session of version 3.1.1 that is online."""

    def setUp(self) -> None:
        self.diary = Diary()
        self.outbox = bytearray()
        self.session = ClientSession("ada", Version.V3_1_1, self.diary, self.outbox)
        self.come_back(False)
        self.diary.told.clear()

    def come_back(self, present: bool = True) -> list[Packet]:
        """The connection breaks; on the next one the broker knows the session, or not."""
        self.session.lost()
        self.outbox.clear()
        self.session.open()
        self.sent()
        self.get(Connack(present))
        return self.sent()

    def get(self, *packets: Packet) -> None:
        """The broker sends these packets."""
        self.session.receive(b"".join(encode(packet, Version.V3_1_1) for packet in packets))

    def sent(self) -> list[Packet]:
        """What the client has sent since the last call."""
        reader = PacketReader()
        self.session.acknowledge()
        reader.feed(bytes(self.outbox))
        self.outbox.clear()
        return list(iter(reader.next_packet, None))

    def publish(self, number: int, qos: QoS) -> None:
        self.session.publish(("news", number), b"%d" % number, qos, False)


class PublishTests(SessionTestCase):
    """v3 §4.4"""

    def test_sent_again(self) -> None:
        """What was not acknowledged is sent again in its order, marked as a duplicate."""
        for number, qos in ((1, ONE), (2, TWO), (3, ONE)):
            self.publish(number, qos)
        self.get(Puback(1))
        again = [
            Publish("news", b"2", TWO, dup=True, packet_id=2),
            Publish("news", b"3", ONE, False, True, 3),
        ]
        self.assertEqual(self.come_back(), again)

    def test_released_again(self) -> None:
        """After PUBREC only PUBREL is sent again; the message is acknowledged at PUBCOMP."""
        self.publish(1, TWO)
        self.get(Pubrec(1))
        self.assertEqual(self.come_back(), [Pubrel(1)])
        self.assertEqual(self.diary.told, ["connected"])
        self.get(Pubcomp(1))
        self.assertEqual(self.diary.told, ["connected", ("news", 1)])
        self.assertEqual(self.come_back(), [])

    def test_session_lost(self) -> None:
        """A broker that has forgotten the session is told on, and nothing is sent again."""
        self.publish(1, ONE)
        self.assertEqual(self.come_back(present=False), [])
        self.assertEqual(self.diary.told, ["session lost", "connected"])

    def test_new_session(self) -> None:
        """Who wants a new session asks for it until it is there, and is not told of a loss."""
        self.publish(1, ONE)
        self.session.renew()
        self.session.lost()
        self.session.open()
        self.assertEqual(self.come_back(present=False), [])
        self.assertEqual(self.diary.told, ["renews", "renews", "renewed", "connected"])

    def test_window(self) -> None:
        """No more than 20 messages wait for their acknowledgements."""
        for number in range(20):
            self.assertTrue(self.session.has_room)
            self.publish(number, ONE)
        self.assertFalse(self.session.has_room)

    def test_refused(self) -> None:
        """A message that the broker does not take, in version 5, is not sent again."""
        self.session = ClientSession("ada", Version.V5, self.diary, self.outbox)
        self.session.open()
        for number, qos in ((1, ONE), (2, TWO)):
            self.publish(number, qos)
        for packet in (Puback(1, ReasonCode.QUOTA_EXCEEDED), Pubrec(2, ReasonCode.QUOTA_EXCEEDED)):
            self.session.receive(encode(packet, Version.V5))
        self.assertEqual(self.diary.told, [("refused", ("news", 1)), ("refused", ("news", 2))])
        self.assertTrue(self.session.is_idle)

    def test_stray_acknowledgements(self) -> None:
        """An acknowledgement of nothing, or of the wrong kind, is a surprise."""
        self.publish(1, TWO)
        self.get(Puback(1), Pubcomp(1), Pubrec(2))
        self.assertEqual(self.diary.told, ["surprised"] * 3)


class ReceiveTests(SessionTestCase):
    """v3 §4.3"""

    def test_qos_2_once(self) -> None:
        """A message that is sent again on another connection is acknowledged again, not delivered again."""
        self.get(Publish("news", b"one", TWO, packet_id=7))
        self.assertEqual(self.sent(), [Pubrec(7)])
        self.come_back()
        self.get(Publish("news", b"one", TWO, dup=True, packet_id=7), Pubrel(7))
        self.assertEqual(self.sent(), [Pubrec(7), Pubcomp(7)])
        self.assertEqual(self.diary.told, [b"one", "connected"])

    def test_identifier_free_again(self) -> None:
        """After PUBREL the same packet identifier is another message."""
        for payload in (b"one", b"two"):
            self.get(Publish("news", payload, TWO, packet_id=7), Pubrel(7))
        self.assertEqual(self.diary.told, [b"one", b"two"])

    def test_not_marked(self) -> None:
        """A repetition without DUP, or another message under an identifier in use, is a surprise."""
        self.get(Publish("news", b"one", TWO, packet_id=7))
        self.get(Publish("news", b"one", TWO, packet_id=7))
        self.get(Publish("news", b"two", TWO, dup=True, packet_id=7))
        self.assertEqual(self.diary.told, [b"one", "surprised", "surprised"])


class SubscribeTests(SessionTestCase):
    """A request belongs to its connection (v3 §4.1): whoever wants it asks again."""

    def test_asked_again(self) -> None:
        """A SUBSCRIBE without SUBACK is repeated on the next connection."""
        self.session.subscribe("news", ONE)
        (again,) = self.come_back()
        assert isinstance(again, Subscribe)
        self.get(Suback(again.packet_id, [ReasonCode.GRANTED_QOS_1]))
        self.assertEqual(self.diary.told, ["connected", ("news", True)])
        self.assertTrue(self.session.is_idle)

    def test_refused(self) -> None:
        """A request that is refused is repeated when the owner thinks fit, and is open until then."""
        self.session.subscribe("news", ONE)
        (question,) = self.sent()
        assert isinstance(question, Subscribe)
        self.get(Suback(question.packet_id, [ReasonCode.QUOTA_EXCEEDED]))
        self.assertEqual(self.diary.told, [("refused", None)])
        self.assertEqual(self.sent(), [])
        self.assertFalse(self.session.is_idle)
        self.session.ask_again()
        (again,) = self.sent()
        self.assertIsInstance(again, Subscribe)


class EndTests(SessionTestCase):
    """In version 3 a session is ended by a connection that is only for that."""

    def test_ended(self) -> None:
        """The connection after that begins another; that the old one is there is a surprise."""
        self.session.renew()
        self.assertEqual(self.come_back(present=False), [])
        self.assertEqual(self.diary.told, ["renews", "renewed", "connected"])
        self.come_back(present=False)
        self.assertEqual(self.diary.told[3:], ["connected"])

    def test_not_ended(self) -> None:
        """A broker that gives the old session back is told on."""
        self.session.renew()
        self.come_back(present=False)
        self.come_back(present=True)
        self.assertEqual(self.diary.told[3:], ["surprised", "connected"])


class WindowTests(SessionTestCase):
    """v5 §4.9"""

    def test_receive_maximum(self) -> None:
        """More at once than the client takes is a surprise; what was acknowledged counts no more."""
        self.session.receive_maximum = 1
        self.get(Publish("news", b"1", ONE, packet_id=1))
        self.sent()
        self.get(Publish("news", b"2", TWO, packet_id=2))
        self.assertEqual(self.diary.told, [b"1", b"2"])
        self.get(Publish("news", b"3", ONE, packet_id=3))
        self.assertEqual(self.diary.told[2:], ["surprised", b"3"])
