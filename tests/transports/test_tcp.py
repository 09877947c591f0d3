"""`pushd.transports.tcp`: what the kernel does not take is sent later, in order, and nothing twice."""

from __future__ import annotations

import errno
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.broker import Broker
from pushd.broker.limits import Limits
from pushd.broker.policy import Policy
from pushd.mqtt.codes import QoS, ReasonCode, Version
from pushd.mqtt.packets import Connect, Disconnect, Pingreq, Publish, Subscribe, SubscriptionRequest
from pushd.mqtt.writer import encode
from pushd.storage.memory import MemoryStore
from pushd.transports.tcp import TCPFactory, TCPProtocol
from tests.driver import ADDRESS
from tests.fakes import Doorkeeper, Rules

V3 = Version.V3_1_1
LIMIT = Limits().max_write_buffer


class FakeSocket:
    """
    A socket whose kernel buffer has `room`.

    :ivar error: raised by the next `send` instead.
    """

    def __init__(self, wire: bytearray) -> None:
        self._wire = wire
        self.room = 1 << 30
        self.error: OSError | None = None
        self.calls = 0

    def send(self, data: bytes) -> int:
        self.calls += 1
        if self.error is not None:
            raise self.error
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, "full")
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self._wire += taken
        return len(taken)


class FakeTransport(StringTransport):
    """As much of `twisted.internet.tcp.Server` as matters: a socket, and a buffer behind it."""

    def __init__(self) -> None:
        super().__init__(peerAddress=ADDRESS)
        self.wire = bytearray()
        self.socket = FakeSocket(self.wire)
        self.buffered = b""

    def getHandle(self) -> Any:
        return self.socket

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        assert not streaming
        producer.resumeProducing()  # as Twisted does for one that is pulled

    def write(self, data: bytes) -> None:
        assert self.producer is not None, "a write that nobody is told the end of"
        self.buffered += data

    def drain(self) -> None:
        """The socket is writable again, and takes all."""
        self.wire += self.buffered
        self.buffered = b""
        self.socket.room = 1 << 30
        if self.producer is not None:
            self.producer.resumeProducing()


class TCPCase(SynchronousTestCase):
    """One connection that subscribed to ``t``, whose socket the test controls."""

    def setUp(self) -> None:
        self.clock = Clock()
        store = MemoryStore()
        self.broker = Broker(self.clock, store)
        policy = Policy("a test", Doorkeeper(), Rules())
        self.broker.start(policy)
        self.factory = TCPFactory(self.broker, policy)
        protocol = self.factory.buildProtocol(ADDRESS)
        assert isinstance(protocol, TCPProtocol)
        self.protocol, self.transport = protocol, FakeTransport()
        self.protocol.makeConnection(self.transport)
        self.send(Connect(client_id="bob"), Subscribe(1, [SubscriptionRequest("t", QoS.AT_LEAST_ONCE)]))
        self.transport.wire.clear()

    @property
    def socket(self) -> FakeSocket:
        return self.transport.socket

    def send(self, *packets: Any) -> None:
        self.protocol.dataReceived(b"".join(encode(packet, V3) for packet in packets))
        self.clock.advance(0)

    def publish(self, *payloads: bytes) -> bytes:
        """Each in a turn of its own. :return: what bob should get."""
        for payload in payloads:
            self.broker.announce("t", payload, retain=False)
            self.clock.advance(0)
        return b"".join(encode(Publish("t", payload), V3) for payload in payloads)


class WriteTests(TCPCase):
    """The way out"""

    def setUp(self) -> None:
        super().setUp()
        self.send(Subscribe(1, [SubscriptionRequest("t")]))
        self.transport.wire.clear()
        self.socket.calls = 0

    def test_straight_to_the_socket(self) -> None:
        """One `send` for a turn, and Twisted's buffer stays out of it."""
        expected = self.publish(b"1")
        self.assertEqual((expected, 1), (bytes(self.transport.wire), self.socket.calls))
        self.assertIsNone(self.transport.producer)

    def test_socket_that_takes_a_part(self) -> None:
        """The rest goes to Twisted, and what follows behind it."""
        self.socket.room = 3
        expected = self.publish(b"1", b"2", b"3")
        self.assertEqual(expected[:3], bytes(self.transport.wire))
        self.assertEqual(expected[3:], self.transport.buffered)
        self.assertEqual(1, self.socket.calls)

    def test_full_socket(self) -> None:
        """EAGAIN: nothing is taken, nothing is lost."""
        self.socket.room = 0
        expected = self.publish(b"1")
        self.assertEqual(expected, self.transport.buffered)

    def test_straight_again_once_drained(self) -> None:
        """When Twisted's buffer is empty, the short way is open again."""
        self.socket.room = 0
        expected = self.publish(b"1")
        self.transport.drain()
        self.assertIsNone(self.transport.producer)
        expected += self.publish(b"2")
        self.assertEqual(expected, bytes(self.transport.wire))
        self.assertEqual(b"", self.transport.buffered)

    @given(st.lists(st.one_of(st.integers(0, 12), st.just(-1)), max_size=30))
    def test_every_byte_once_in_order(self, rooms: list[int]) -> None:
        """However much the kernel takes, and whenever it drains, the stream is the stream."""
        self.setUp()
        expected = b""
        for n, room in enumerate(rooms):
            if room < 0:
                self.transport.drain()
            else:
                self.socket.room = room
                expected += self.publish(b"message %d" % n)
        self.transport.drain()
        self.assertEqual(expected, bytes(self.transport.wire))

    def test_reset_by_the_peer(self) -> None:
        """Nothing happens before Twisted says connectionLost; others are served."""
        for error in (ConnectionResetError(), BrokenPipeError(), OSError(errno.EBADF, "closed")):
            self.socket.error = error
            self.publish(b"1")
        self.assertEqual((b"", b""), (bytes(self.transport.wire), self.transport.buffered))
        self.assertEqual(1, self.broker.online)


class SlowConsumerTests(TCPCase):
    """A peer that does not read"""

    def test_qos_0_is_dropped_above_the_limit(self) -> None:
        """What waits in Twisted's buffer is bounded; what is dropped is counted."""
        self.send(Subscribe(1, [SubscriptionRequest("t")]))
        self.socket.room = 0
        self.publish(*[b"x" * (LIMIT // 4)] * 6)
        self.assertEqual({"slow_consumer": 2}, self.broker.counters.publish_dropped)
        self.assertLess(len(self.transport.buffered), 1.5 * LIMIT)

    def test_what_waits_is_known(self) -> None:
        """As many packets and bytes as the peer has not taken, the rest of a torn one among them."""
        self.send(Subscribe(1, [SubscriptionRequest("t")]))
        self.socket.room = 3
        expected = self.publish(b"one", b"two") + self.publish(b"three")
        (session,) = self.broker.sessions.values()
        assert session.client is not None
        connection = session.client.connection
        self.assertEqual((3, len(expected) - 3), (connection.unsent_packets, connection.unsent_bytes))
        self.transport.drain()
        self.assertEqual((0, 0), (connection.unsent_packets, connection.unsent_bytes))

    def test_again_once_drained(self) -> None:
        """It gets QoS 0 messages again when it has taken what waited."""
        self.send(Subscribe(1, [SubscriptionRequest("t")]))
        self.socket.room = 0
        self.publish(*[b"x" * LIMIT] * 2)
        self.transport.drain()
        self.transport.wire.clear()
        expected = self.publish(b"back")
        self.assertEqual(expected, bytes(self.transport.wire))


class CloseTests(TCPCase):
    """The end"""

    def test_outbox_goes_first(self) -> None:
        """What was answered in the last turn is with the kernel before the connection closes."""
        self.send(Pingreq(), Disconnect())
        self.assertEqual(b"\xd0\0", bytes(self.transport.wire))
        self.assertTrue(self.transport.disconnecting)

    def test_what_waits_goes_first(self) -> None:
        """Bytes in Twisted's buffer keep their producer until they are gone: then Twisted closes."""
        self.socket.room = 0
        self.publish(b"1")
        waiting = len(self.transport.buffered)
        self.protocol.close(ReasonCode.SUCCESS)
        self.clock.advance(0)
        self.assertTrue(self.transport.disconnecting)
        self.assertIsNotNone(self.transport.producer)
        self.transport.drain()
        self.assertIsNone(self.transport.producer)
        self.assertEqual(waiting, len(self.transport.wire))
