"""A transport without a socket."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pushd.transports.protocol import MQTTProtocol

ADDRESS = IPv4Address("TCP", "192.0.2.7", 4711)


class Wire(StringTransport):
    """
    Like a socket's transport: nothing comes in while reading is paused; the end is told later, and does not
    come while a producer is registered (`twisted.internet.interfaces.ITransport.loseConnection`).

    :ivar over: the protocol was told of its end.
    :ivar aborted: cut off, with bytes that the peer did not take.
    :ivar stuck: the peer does not take the last bytes, so that closing never ends.
    """

    def __init__(self, clock: Clock, protocol: MQTTProtocol) -> None:
        super().__init__(peerAddress=ADDRESS)
        self._clock = clock
        self._protocol = protocol
        self._coming = b""
        self.over = False
        self.aborted = False
        self.stuck = False

    def deliver(self, data: bytes) -> None:
        """Let the protocol read this, after what has come before."""
        self._coming += data
        if self.producerState == "producing" and not self.disconnecting and self._coming:
            data, self._coming = self._coming, b""
            self._protocol.dataReceived(data)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._clock.callLater(0, self.deliver, b"")

    def write(self, data: bytes) -> None:
        if not self.over:
            super().write(data)

    def unregisterProducer(self) -> None:
        self.producer = None  # like Twisted's own, without a complaint if there is none
        self._end_if_done()

    def full(self, is_full: bool) -> None:
        """Tell the producer whether more can be taken."""
        producer = self.producer
        assert producer is not None
        if is_full:
            producer.pauseProducing()
        else:
            producer.resumeProducing()

    def getHandle(self) -> None:
        """There is no socket."""

    def loseConnection(self) -> None:
        self.disconnecting = True
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self.disconnecting and self.producer is None and not self.stuck:
            self._clock.callLater(0, self.lost, ConnectionDone())

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True
        self._clock.callLater(0, self.lost, ConnectionLost())

    def lost(self, reason: Exception) -> None:
        """Tell the protocol, once."""
        if not self.over:
            self.over = self.disconnecting = True
            self._protocol.connectionLost(Failure(reason))
