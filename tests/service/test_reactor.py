"""`pushd.service.reactor`: still a Twisted reactor."""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReactorCore, IReactorTCP, IReactorThreads, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.service.reactor import TurnReactor


class TurnReactorTests(SynchronousTestCase):
    """Each test runs a reactor of its own, which is not installed, until it stops itself."""

    def setUp(self) -> None:
        self.reactor = TurnReactor()
        self.seen: list[str] = []
        self.addCleanup(self._dispose)

    def _dispose(self) -> None:
        self.reactor.removeAll()
        self.reactor._poller.close()

    def run_until_stopped(self) -> None:
        """Run, but no longer than a broken reactor deserves."""
        guard = self.reactor.callLater(10, self.reactor.stop)
        self.reactor.addSystemEventTrigger("before", "shutdown", lambda: guard.active() and guard.cancel())
        self.reactor.run(installSignalHandlers=False)

    def serve(self, received: Callable[[Protocol, bytes], None]) -> socket.socket:
        """:return: a client's socket, connected to a server that calls `received`."""

        class Server(Protocol):
            def dataReceived(self, data: bytes) -> None:
                received(self, data)

            def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
                test.seen.append("lost")
                test.reactor.stop()

        test = self
        port = self.reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(client.close)
        return client

    def test_interfaces(self) -> None:
        """What every Twisted reactor provides."""
        for interface in (IReactorCore, IReactorTime, IReactorTCP, IReactorThreads):
            verifyObject(interface, self.reactor)

    def test_turn_ends_after_what_is_readable(self) -> None:
        """What is asked for while data is handled happens when all of the turn is handled, and once."""

        def received(server: Protocol, data: bytes) -> None:
            self.seen.append(data.decode())
            self.reactor.call_at_turn_end(lambda: self.seen.append("end"))
            self.reactor.callLater(0, server.transport.loseConnection)

        self.serve(received).sendall(b"hello")
        self.run_until_stopped()
        self.assertEqual(self.seen, ["hello", "end", "lost"])

    def test_turn_ends_at_once_after_a_timed_call(self) -> None:
        """Asked for outside of any event, it does not wait for the next one."""
        self.reactor.callLater(0, lambda: self.reactor.call_at_turn_end(self.reactor.stop))
        self.run_until_stopped()

    def test_a_failing_protocol_loses_its_connection_only(self) -> None:
        """The error is logged, the connection closed, and the reactor goes on to say so."""

        def received(server: Protocol, data: bytes) -> None:
            raise ZeroDivisionError(data)

        self.serve(received).sendall(b"hello")
        self.run_until_stopped()
        self.assertEqual(self.seen, ["lost"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_failing_end_does_not_keep_others_from_theirs(self) -> None:
        """Each call is on its own."""

        def fail() -> None:
            raise ZeroDivisionError

        self.reactor.call_at_turn_end(fail)
        self.reactor.call_at_turn_end(lambda: self.reactor.callLater(0, self.reactor.stop))
        self.run_until_stopped()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_peer_that_resets(self) -> None:
        """Hang-ups take Twisted's own way."""
        client = self.serve(lambda server, data: None)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        self.run_until_stopped()
        self.assertEqual(self.seen, ["lost"])

    def test_calls_from_threads(self) -> None:
        """A thread's call wakes it up."""
        self.reactor.callLater(0, self.reactor.callInThread, self.reactor.callFromThread, self.reactor.stop)
        self.run_until_stopped()
