"""`pushd.service.ports`: real sockets on loopback, a reactor that only remembers what to watch, a clock."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.broker.limits import Limits
from pushd.broker.wheel import TICK_S, TimingWheel
from pushd.service.gate import STARVED_PAUSE_S, Entrance, Gate
from pushd.service.ports import ACCEPTS_PER_TURN, STALL_S, AcceptedTransport, TcpPort
from tests.service.notes import Notes


class Reactor(Clock):
    """Knows what it was asked to watch; the test says when something happens."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self.addReader, self.removeReader = self.readers.add, self.readers.discard
        self.addWriter, self.removeWriter = self.writers.add, self.writers.discard


class Remembering(Factory):
    """Makes protocols that do nothing, and keeps them."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Protocol] = []
        self.addresses: list[IAddress | None] = []

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        self.addresses.append(addr)
        self.made.append(Protocol())
        return self.made[-1]


class PortTestCase(SynchronousTestCase):
    """One port on loopback."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.reactor.advance(1000)
        self.limits = Limits(max_connect_rate=0)
        self.counters = Counters()
        self.gate = Gate(lambda: self.limits, self.counters, self.reactor.seconds)
        self.wheel = TimingWheel(self.reactor, self.reactor.seconds)
        self.wheel.start()
        self.factory = Remembering()
        self.notes = Notes(self)
        self.open("127.0.0.1")

    def open(self, host: str) -> None:
        listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        listening.setblocking(False)
        self.address = listening.getsockname()
        entrance = Entrance(self.gate, "port 1883")
        self.port = TcpPort(listening, self.factory, self.reactor, entrance, self.wheel)
        self.port.startListening()
        self.addCleanup(self.close, self.port)

    def close(self, port: TcpPort) -> None:
        if port.connected:
            port.connectionLost(Failure(ConnectionError()))
        for protocol in self.factory.made:
            if protocol.transport is not None and protocol.transport.connected:
                self.lose(protocol)

    def connect(self, count: int = 1) -> list[socket.socket]:
        """Clients whose connections wait in the kernel's queue."""
        clients = [socket.create_connection(self.address[:2]) for _ in range(count)]
        for client in clients:
            client.settimeout(10)
            self.addCleanup(client.close)
        return clients

    def come(self, count: int = 1) -> list[socket.socket]:
        """Clients, and the reactor's turn after them."""
        clients = self.connect(count)
        self.port.doRead()
        return clients

    def lose(self, protocol: Protocol) -> None:
        """What the reactor does when a connection has ended."""
        assert isinstance(protocol.transport, AcceptedTransport)
        protocol.transport.connectionLost(Failure(ConnectionError()))

    def spend(self, seconds: float) -> None:
        self.reactor.pump([TICK_S] * int(seconds / TICK_S))

    @property
    def is_watched(self) -> bool:
        return self.port in self.reactor.readers


class AcceptTests(PortTestCase):
    """The kernel's connections become ours"""

    def test_let_in(self) -> None:
        """With its address, a transport that is read from, and a place in the count until it is gone."""
        (client,) = self.come()
        (protocol,) = self.factory.made
        self.assertEqual((self.factory.addresses[0].host, self.gate.connection_count), ("127.0.0.1", 1))  # type: ignore[union-attr]
        self.assertIn(protocol.transport, self.reactor.readers)
        self.assertIn(str(client.getpeername()[1]), repr(protocol.transport))
        for _ in range(2):  # Twisted may say it twice
            self.lose(protocol)
        self.assertEqual(self.gate.connection_count, 0)

    def test_ipv6(self) -> None:
        """The same."""
        self.open("::1")
        self.come()
        self.assertEqual(self.factory.addresses[0].host, "::1")  # type: ignore[union-attr]

    def test_so_many_in_a_turn(self) -> None:
        """Those who are in have their turn in between."""
        self.come(ACCEPTS_PER_TURN + 5)
        self.assertEqual(len(self.factory.made), ACCEPTS_PER_TURN)
        self.port.doRead()
        self.assertEqual(len(self.factory.made), ACCEPTS_PER_TURN + 5)

    def test_one_too_many(self) -> None:
        """It is closed without an answer, and nothing is made for it."""
        self.limits = Limits(global_max_connections=1)
        _, refused = self.come(2)
        self.assertEqual(refused.recv(1), b"")
        self.assertEqual((len(self.factory.made), self.gate.connection_count), (1, 1))

    def test_a_factory_that_wants_nobody(self) -> None:
        """Is asked, and counts for nothing."""
        self.patch(self.factory, "buildProtocol", lambda address: None)
        (client,) = self.come()
        self.assertEqual((client.recv(1), self.gate.connection_count), (b"", 0))

    def test_a_factory_that_fails(self) -> None:
        """That connection ends; the port stays open."""
        self.patch(self.factory, "buildProtocol", lambda address: 1 // 0)
        (client,) = self.come()
        self.assertEqual((client.recv(1), self.gate.connection_count), (b"", 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.is_watched)

    def test_a_protocol_that_fails(self) -> None:
        """The same when it has its transport already."""
        self.patch(Protocol, "connectionMade", lambda protocol: 1 // 0)
        (client,) = self.come()
        self.reactor.advance(0)
        self.assertRaises(ConnectionResetError, client.recv, 1)
        self.assertEqual(self.gate.connection_count, 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_systemd_keeps_its_socket(self) -> None:
        """What it has is closed here, but goes on listening for the next process."""
        theirs = self.port.socket.dup()
        self.addCleanup(theirs.close)
        self.close(self.port)
        self.connect()
        theirs.accept()[0].close()


class ChangeTests(PortTestCase):
    """What a reload does to a port"""

    def test_leads_elsewhere(self) -> None:
        """New connections speak something else; those who are in are not cut off, and are still counted."""
        self.come()
        other = Remembering()
        self.port.lead_to(other)
        self.come()
        self.assertEqual((1, 1), (len(self.factory.made), len(other.made)))
        self.assertEqual((0, 1), (self.factory.numPorts, other.numPorts))
        self.lose(self.factory.made[0])
        self.lose(other.made[0])
        self.assertEqual((0, set()), (self.gate.connection_count, self.port.inside))

    def test_closed_at_once(self) -> None:
        """Whoever wants its address has it in the same turn; those who are in stay."""
        self.come()
        self.port.close()
        socket.create_server(self.address[:2]).close()
        self.assertEqual({self.factory.made[0].transport}, self.port.inside)
        self.port.close()  # nothing more happens

    def test_opened_again(self) -> None:
        """It takes over who came in by the one that was closed."""
        self.come()
        inside = tuple(self.port.inside)
        self.port.close()
        self.open("127.0.0.1")
        self.port.take_over(inside)
        self.port.entrance.connection_count += 1  # a door keeps its entrance; here it has another
        self.lose(self.factory.made[0])
        self.assertEqual((set(), 0), (self.port.inside, self.port.entrance.connection_count))

    def test_no_delay(self) -> None:
        """For connections that come from then on."""
        for wanted in (True, False):
            self.port.set_no_delay(wanted)
            found = self.port.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            self.assertEqual(wanted, bool(found))


class PauseTests(PortTestCase):
    """Nobody is let in for a moment"""

    def failing(self, number: int) -> None:
        """A socket that says this whenever somebody is to be accepted."""

        class Failing:
            accepts = 0

            def accept(self) -> None:
                self.accepts += 1
                raise OSError(number, "the system's words")

        self.real, self.failing_socket = self.port.socket, Failing()
        self.port.socket = self.failing_socket  # type: ignore[assignment]

    def test_no_descriptors(self) -> None:
        """The port is not watched for a second, so that the event loop does something else; then it is."""
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EBADF):
            self.failing(number)
            self.port.doRead()
            self.assertEqual((self.failing_socket.accepts, self.is_watched), (1, False))
            self.port.socket = self.real
            self.spend(STARVED_PAUSE_S - TICK_S)
            self.assertFalse(self.is_watched)
            self.spend(3 * TICK_S)
            self.assertTrue(self.is_watched)
        self.assertEqual(self.counters.connections_paused, {"open_files": 5})
        self.assertEqual(self.notes.lines, ["No connections are accepted for a moment: the system's words"])

    def test_a_connection_that_failed_before_it_was_ours(self) -> None:
        """Is no reason for a pause."""
        for number in (errno.ECONNABORTED, errno.EPERM, errno.EPROTO):
            self.failing(number)
            self.port.doRead()
            self.assertTrue(self.is_watched)
            self.port.socket = self.real

    def test_the_last_descriptors(self) -> None:
        """Whoever would get one of them is turned away, and others wait outside."""
        self.gate.max_files = 10
        first, second = self.come(2)
        self.assertEqual(first.recv(1), b"")
        self.assertFalse(self.is_watched)
        self.gate.max_files = None
        self.spend(STARVED_PAUSE_S + 2 * TICK_S)
        self.port.doRead()
        self.assertEqual(self.factory.made[0].transport.getPeer().port, second.getsockname()[1])  # type: ignore[attr-defined]

    def test_more_than_the_rate(self) -> None:
        """They wait in the kernel's queue, and all come in when their time is there."""
        self.limits = Limits(max_connect_rate=1)
        self.come(16)
        self.assertEqual((len(self.factory.made), self.is_watched), (11, False))
        for _ in range(20):
            self.spend(0.5)
            if self.is_watched:
                self.port.doRead()
        self.assertEqual(len(self.factory.made), 16)

    def test_closed_while_it_pauses(self) -> None:
        """It is not watched again."""
        self.gate.close_for(1, "a_test", "a test")
        self.come()
        self.port.loseConnection()
        self.spend(3)
        self.assertFalse(self.is_watched or self.port.connected)


class WaitingTests(PortTestCase):
    """A connection that came before its turn"""

    def setUp(self) -> None:
        super().setUp()
        self.patch(self.gate, "turn_s", lambda host: 2.0)

    def test_let_in_later(self) -> None:
        """It counts, but nothing is read from it, and nothing made for it, until then."""
        self.come(3)
        self.spend(1.5)
        self.assertEqual((self.factory.made, self.gate.connection_count), ([], 3))
        self.spend(1)
        self.assertEqual((len(self.factory.made), self.gate.connection_count), (3, 3))

    def test_the_port_is_closed(self) -> None:
        """They go with it."""
        clients = self.come(2)
        self.close(self.port)
        self.assertEqual([client.recv(1) for client in clients], [b"", b""])
        self.spend(5)
        self.assertEqual((self.factory.made, self.gate.connection_count), ([], 0))


class StallTests(PortTestCase):
    """A peer whose side takes no bytes"""

    def setUp(self) -> None:
        super().setUp()
        (self.client,) = self.come()
        transport = self.factory.made[0].transport
        assert isinstance(transport, AcceptedTransport)
        self.transport = transport
        transport.write(b"x" * 20_000_000)
        self.send()

    def send(self) -> None:
        """Whatever the kernel takes."""
        while self.transport in self.reactor.writers:
            before = self.transport.offset, len(self.transport.dataBuffer)
            self.transport.doWrite()
            if (self.transport.offset, len(self.transport.dataBuffer)) == before:
                break

    def test_takes_nothing(self) -> None:
        """It is cut off in STALL_S, and counted."""
        self.spend(STALL_S - 1)
        self.assertTrue(self.transport.connected)
        self.spend(2)
        self.assertFalse(self.transport.connected)
        self.assertEqual(
            (self.gate.connection_count, self.counters.connections_closed), (0, {"does_not_read": 1})
        )
        port = self.client.getsockname()[1]
        self.assertIn(f"Connection from 127.0.0.1:{port} does not read any more, disconnecting", self.notes)

    def test_takes_a_little(self) -> None:
        """However slow it is, it may stay."""
        for _ in range(4):
            self.spend(STALL_S - 5)
            taken = 0
            while taken < 2_000_000:
                taken += len(self.client.recv(1_000_000))
                self.send()
        self.assertTrue(self.transport.connected)

    def test_took_all(self) -> None:
        """There is nothing to wait for, so nothing to be late with."""
        while self.transport in self.reactor.writers:
            self.client.recv(1_000_000)
            self.send()
        self.spend(3 * STALL_S)
        self.assertTrue(self.transport.connected)
        self.assertIsNone(self.transport.due_at())


class WriteTests(PortTestCase):
    """Bytes that the kernel takes at once"""

    def setUp(self) -> None:
        super().setUp()
        (self.client,) = self.come()
        transport = self.factory.made[0].transport
        assert isinstance(transport, AcceptedTransport)
        self.transport = transport

    def test_nobody_waits(self) -> None:
        """Neither Twisted for the kernel, nor the timing wheel for the peer."""
        self.transport.write(b"hello")
        self.assertEqual(self.client.recv(100), b"hello")
        self.assertNotIn(self.transport, self.reactor.writers)
        self.assertIsNone(self.transport.due_at())

    def test_order(self) -> None:
        """What comes behind bytes that wait is not sent before them."""
        size = 20_000_000
        self.transport.write(b"x" * size)
        self.assertIn(self.transport, self.reactor.writers)
        self.transport.write(b"end")
        received = bytearray()
        while self.transport in self.reactor.writers:
            received += self.client.recv(1_000_000)
            self.transport.doWrite()
        while len(received) < size + 3:
            received += self.client.recv(1_000_000)
        self.assertEqual(bytes(received[-4:]), b"xend")

    def test_a_producer_that_is_pulled(self) -> None:
        """It is asked for more when Twisted has sent what it gave, so Twisted has to send it."""
        pulled = []

        class Producer:
            def resumeProducing(self) -> None:
                pulled.append(1)

            def stopProducing(self) -> None:
                """Nothing to stop."""

        self.transport.registerProducer(Producer(), False)
        self.transport.write(b"piece")
        self.transport.doWrite()
        self.assertEqual(len(pulled), 2)

    def test_a_peer_that_is_gone(self) -> None:
        """Twisted finds out, and says so where it says such things."""
        self.transport.socket.shutdown(2)
        self.transport.write(b"hello")
        self.assertIn(self.transport, self.reactor.writers)
        self.assertIsInstance(self.transport.doWrite(), Exception)
