"""Connections that the gateway hands over: those that ask for a WebSocket at a path where there is one."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.channel import IDLE_S, GatewayChannel
from pushd.gateway.site import make_site
from tests.gateway.callers import Doorkeeper, Press, Wire

ADDRESS = IPv4Address("TCP", "192.0.2.7", 4711)
HEAD = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n"


class Successor(Protocol):
    """Remembers."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: list[BaseException | None] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008  # as Twisted's
        self.lost.append(reason.value)


class Successors(Factory):
    """Makes those, or none."""

    noisy = False
    willing = True

    def __init__(self) -> None:
        self.made: list[Successor] = []

    def buildProtocol(self, addr: Any) -> Successor | None:
        if not self.willing:
            return None
        self.made.append(Successor())
        return self.made[-1]


class UpgradeTestCase(SynchronousTestCase):
    """One connection to a gateway with somebody at /mqtt."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.successors = Successors()
        self.site = make_site(Press(), Doorkeeper(), reactor=self.clock, upgrades={b"/mqtt": self.successors})
        channel = self.site.buildProtocol(ADDRESS)
        assert isinstance(channel, GatewayChannel)
        self.channel = channel
        self.transport = Wire(peerAddress=ADDRESS)
        self.channel.makeConnection(self.transport)

    def send(self, *pieces: bytes) -> bytes:
        """:return: what the gateway itself answered."""
        for piece in pieces:
            self.channel.dataReceived(piece)
        answer: bytes = self.transport.value()
        self.transport.clear()
        return answer


class HandOverTests(UpgradeTestCase):
    """To whom, and with what"""

    def test_the_request_is_the_first_that_is_heard(self) -> None:
        """As it came, and after it every byte that follows."""
        assert self.send(HEAD + b"fra", b"mes") == b""
        (successor,) = self.successors.made
        assert successor.data == HEAD + b"frames"
        assert successor.transport is self.transport

    def test_split_anywhere(self) -> None:
        """However it arrives, and with lines' ends and non-HTTP in what follows."""
        stream = HEAD + b"\r\n\x82\x00GET / HTTP/1.1\r\n\r\n"
        for cut in range(1, len(stream)):
            self.setUp()
            self.send(stream[:cut], stream[cut:])
            assert self.successors.made[0].data == stream, cut

    def test_headers_are_kept(self) -> None:
        """Several of one name, too; names are in no particular case."""
        self.send(HEAD[:-2] + b"X-Thing: a\r\nx-thing: b\r\n\r\n")
        assert b"\r\nX-Thing: a\r\nX-Thing: b\r\n" in self.successors.made[0].data

    def test_a_query_and_a_full_address_are_fine(self) -> None:
        """The path is what counts."""
        for target in (b"/mqtt?a=b", b"http://push.example.com/mqtt"):
            self.setUp()
            self.send(HEAD.replace(b"/mqtt", target))
            assert len(self.successors.made) == 1, target

    def test_everything_else_is_http(self) -> None:
        """Another path, another method, another upgrade, or none."""
        for head in (
            HEAD.replace(b"/mqtt", b"/mqtt/"),
            HEAD.replace(b"/mqtt", b"/"),
            HEAD.replace(b"GET", b"PUT"),
            HEAD.replace(b"websocket", b"h2c"),
            b"GET /mqtt HTTP/1.1\r\nHost: h\r\n\r\n",
        ):
            self.setUp()
            assert self.send(head).startswith(b"HTTP/1.1 "), head
            assert self.successors.made == [], head

    def test_after_another_request(self) -> None:
        """Its answer goes first."""
        first = b"GET /v1/health HTTP/1.1\r\nHost: h\r\n\r\n"
        assert self.send(first + HEAD + b"x").startswith(b"HTTP/1.1 200 ")
        assert self.successors.made[0].data == HEAD + b"x"

    def test_nobody_takes_it(self) -> None:
        """Then it is closed."""
        self.successors.willing = False
        self.send(HEAD)
        assert self.transport.disconnecting


class AfterwardsTests(UpgradeTestCase):
    """What is left to the gateway"""

    def test_its_deadlines_are_over(self) -> None:
        """The successor has its own; no timer is kept for a connection that may stay for days."""
        self.send(HEAD)
        assert self.clock.getDelayedCalls() == []
        self.clock.advance(IDLE_S * 2)
        assert not self.transport.disconnecting

    def test_the_successor_may_be_a_producer(self) -> None:
        """The gateway's channel is none any more."""
        self.send(HEAD)
        assert self.transport.producer is None

    def test_both_hear_of_the_end(self) -> None:
        """The successor, as whoever stands between it and the transport."""
        self.send(HEAD)
        reason = ConnectionLost()
        self.channel.connectionLost(Failure(reason))
        assert self.successors.made[0].lost == [reason]
