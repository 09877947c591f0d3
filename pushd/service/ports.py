"""
Ports: where the kernel's connections become ours.

Twisted's own would accept whatever there is. When descriptors run out it gives up a spare one to accept and
close connections as fast as clients try again, a log line for each; and it knows nothing of our limits. Here
a port asks its `pushd.service.gate.Entrance`: it stops listening to the kernel for a moment when it must, and
holds connections back until it is their turn.

The transports made here see to two things that concern every protocol alike: they say when they are gone,
and they cut off a peer that takes no bytes any more.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.broker.wheel import TimingWheel
from pushd.service.gate import Entrance
from pushd.transports.addresses import peer_address

log = Logger()

# Connections taken in one turn of the reactor; those who are in already have their turn in between.
ACCEPTS_PER_TURN = 100

# How long bytes may wait for a peer whose side takes none at all.
STALL_S = 60.0

# One connection that failed before it was ours, or that a firewall does not want: the next may be fine.
_NOT_OURS = (errno.ECONNABORTED, errno.EPERM, errno.EPROTO)


class AcceptedTransport(tcp.Server):
    """
    A TCP connection that came in; with `UnixTransport`, one of the file system.

    Only bytes that the kernel did not take at once are Twisted's to send. While there are any, the timing
    wheel looks at this connection; in an ordinary one, that never happens.

    :ivar slot: belongs to the timing wheel.
    """

    server: AcceptingPort
    slot = 0
    _stuck_since: float | None = None  # when the kernel last took bytes, while some are waiting

    def write(self, data: bytes) -> None:
        """
        Offer the kernel the bytes now. Most often it takes them all: to ask it first whether it would, and no
        longer to ask it, are two system calls and a turn of the reactor for each answer of the gateway.
        """
        if data and self.connected and not self._waits_to_write():
            taken = super().writeSomeData(data)  # ours is for those who wait
            if isinstance(taken, int):
                data = data[taken:]
            # Otherwise Twisted is to find out for itself, and say so where it says such things.
        super().write(data)

    def _waits_to_write(self) -> bool:
        """Whether bytes are waiting, or a producer for the end of what is written."""
        pulls = self.producer is not None and not self.streamingProducer
        return bool(self.dataBuffer or self._tempDataBuffer or pulls or self._writeDisconnected)

    def startWriting(self) -> None:
        """There are bytes to be sent when the kernel can take them."""
        if self._stuck_since is None:
            wheel = self.server.wheel
            self._stuck_since = wheel.seconds()
            if not self.slot:
                wheel.add(self)
        super().startWriting()

    def stopWriting(self) -> None:
        """All bytes are sent, or never will be."""
        self._stuck_since = None
        super().stopWriting()

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Offer the kernel some bytes."""
        taken = super().writeSomeData(data)
        if isinstance(taken, int) and taken > 0:
            self._stuck_since = self.server.wheel.seconds()
        return taken

    def connectionLost(self, reason: Failure) -> None:
        """The end, which may be told twice if a protocol fails while it is being cut off."""
        self.server.forget(self)
        super().connectionLost(reason)

    def due_at(self) -> float | None:
        """For the timing wheel."""
        return None if self._stuck_since is None else self._stuck_since + STALL_S

    def on_due(self) -> None:
        """Nothing went out for a long time; a goodbye would not either."""
        log.info(
            "Connection from {address} does not read any more, disconnecting",
            address=peer_address(self),
            log_type="notice",
        )
        self.server.entrance.gate.counters.closed("does_not_read")
        self._stuck_since = None
        self.abortConnection()


class UnixTransport(AcceptedTransport, unix.Server):
    """The same through the file system."""


class Waiting:
    """
    A connection that waits for its turn. Nothing is read from it, and nothing made for it.

    :ivar slot: belongs to the timing wheel.
    """

    __slots__ = ("_due_at", "_let_in", "slot", "socket")

    def __init__(self, accepted: socket.socket, due_at: float, let_in: Callable[[Waiting], None]) -> None:
        self.socket = accepted
        self._due_at = due_at
        self._let_in = let_in
        self.slot = 0

    def due_at(self) -> float:
        return self._due_at

    def on_due(self) -> None:
        self._let_in(self)


class AcceptingPort(tcp.Port):
    """
    A socket that listens: `TcpPort` or `pushd.service.unix_port.UnixPort`.

    :ivar inside: the connections that came in here and are open.
    :ivar slot: belongs to the timing wheel, which ends its pauses.
    """

    transport = AcceptedTransport

    entrance: Entrance
    wheel: TimingWheel
    inside: set[AcceptedTransport]
    slot = 0
    _listening: socket.socket
    _paused_until: float | None = None
    _waiting: dict[Waiting, Any]  # -> where it comes from, as the kernel says it

    def adopt(self, listening: socket.socket, entrance: Entrance, wheel: TimingWheel) -> None:
        """
        Take a socket that listens already; to be called once, before `startListening`.

        :param listening: becomes this port's own.
        """
        self._listening = listening
        self.entrance = entrance
        self.wheel = wheel
        self.inside = set()
        self._waiting = {}

    def startListening(self) -> None:
        """Let the reactor watch it."""
        self.factory.doStart()  # type: ignore[union-attr]  # it is set by __init__
        # systemd has it too, and will give it to the next process: it is closed, not shut down.
        self._shouldShutdown = False
        self.socket = self._listening
        self.fileno = self.socket.fileno  # type: ignore[method-assign]  # as Twisted's own ports do
        self.connected = True
        self.startReading()

    def lead_to(self, factory: IProtocolFactory) -> None:
        """Let `factory` speak with who comes from now on; who is inside already goes on as before."""
        factory.doStart()
        self.factory.doStop()  # type: ignore[union-attr]  # as above
        self.factory = factory  # type: ignore[assignment]  # Twisted's own annotation is too narrow

    def close(self) -> None:
        """Listen no more, from this moment on. Twisted's own way to say so takes a turn of the reactor."""
        self.stopReading()
        if self.connected:
            self.connectionLost(Failure(ConnectionDone()))

    def set_no_delay(self, no_delay: bool) -> None:
        """Whether connections that come from now on are without Nagle's algorithm; TCP's business only."""

    def take_over(self, transports: Iterable[AcceptedTransport]) -> None:
        """These came in by a port that is closed, and belong here now."""
        for transport in transports:
            transport.server = self
            self.inside.add(transport)

    def forget(self, transport: AcceptedTransport) -> None:
        """A connection that came in here is gone."""
        if transport in self.inside:
            self.inside.remove(transport)
            self.entrance.left()

    def doRead(self) -> None:
        """Take what the kernel has, as long as the gate is open."""
        for _ in range(ACCEPTS_PER_TURN):
            pause_s = self.entrance.gate.pause_s()
            if pause_s > 0:
                self._pause(pause_s)
                return
            try:
                accepted, address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno not in _NOT_OURS:
                    self.entrance.gate.starved(problem)
                continue
            self._receive(accepted, address)

    def connectionLost(self, reason: Failure) -> None:
        """Close it, and with it whoever waits."""
        waiting, self._waiting = self._waiting, {}
        for one in waiting:
            self._turn_away(one.socket)
        tcp.Port.connectionLost(self, reason)  # not that of `unix.Port`, which removes the file in any case

    def _receive(self, accepted: socket.socket, address: Any) -> None:
        wait_s = self.entrance.admit(accepted.fileno(), self._host(address))
        if wait_s is None:
            accepted.close()
        elif wait_s > 0:
            waiting = Waiting(accepted, self.wheel.seconds() + wait_s, self._let_in_waiting)
            self._waiting[waiting] = address
            self.wheel.add(waiting)
        else:
            self._let_in(accepted, address)

    def _let_in_waiting(self, waiting: Waiting) -> None:
        if waiting in self._waiting:  # else the port was closed
            self._let_in(waiting.socket, self._waiting.pop(waiting))

    def _let_in(self, accepted: socket.socket, address: Any) -> None:
        transport: AcceptedTransport | None = None
        try:
            accepted.setblocking(False)
            protocol = self.factory.buildProtocol(self._buildAddr(address))  # type: ignore[union-attr]  # as above
            if protocol is not None:
                self.sessionno += 1
                transport = self.transport(accepted, protocol, address, self, self.sessionno, self.reactor)
                self.inside.add(transport)
                protocol.makeConnection(transport)
        except Exception:  # or Twisted would close the port
            log.failure("A connection could not be let in")
            if transport is not None:
                transport.abortConnection()
        if transport is None:
            self._turn_away(accepted)

    def _turn_away(self, accepted: socket.socket) -> None:
        """Close a connection that was counted, but has no transport yet to say that it is gone."""
        accepted.close()
        self.entrance.left()

    def _host(self, address: Any) -> str | None:
        """Where a connection comes from; ``None`` for the file system."""
        return None

    # On the wheel: the end of a pause

    def _pause(self, pause_s: float) -> None:
        self._paused_until = self.wheel.seconds() + pause_s
        self.stopReading()
        self.wheel.add(self)

    def due_at(self) -> float | None:
        return self._paused_until

    def on_due(self) -> None:
        self._paused_until = None
        if self.connected and not self.disconnecting:
            self.startReading()


class TcpPort(AcceptingPort):
    """A TCP socket that listens."""

    def __init__(
        self,
        listening: socket.socket,
        factory: IProtocolFactory,
        reactor: Any,
        entrance: Entrance,
        wheel: TimingWheel,
    ) -> None:
        host, port = listening.getsockname()[:2]
        super().__init__(port, factory, interface=host, reactor=reactor)
        self._realPortNumber = port  # Twisted names connections by it
        self.adopt(listening, entrance, wheel)

    def set_no_delay(self, no_delay: bool) -> None:
        """Accepted sockets inherit it."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)

    def _receive(self, accepted: socket.socket, address: Any) -> None:
        if len(address) == 4 and address[3]:  # link-local: an address only together with its interface
            with suppress(OSError):
                host, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
                address = (host, *address[1:])
        super()._receive(accepted, address)

    def _host(self, address: Any) -> str:
        return cast(str, address[0])
