"""`pushd.transports.proxy_protocol`: wait for the proxy's header, step aside, or end the connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IProtocol, ITransport
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.limits import Limits
from pushd.mqtt.codes import Version
from pushd.mqtt.packets import Connack, Connect
from pushd.mqtt.reader import PacketReader
from pushd.mqtt.writer import encode
from pushd.transports.protocol import MQTTProtocol
from pushd.transports.proxy_header import Header, TlsFacts
from pushd.transports.proxy_protocol import ProxiedTransport, ProxyFactory, ProxyProtocol
from tests.driver import Rig
from tests.fakes import Doorkeeper
from tests.transports.proxies import COMMON_NAME, LINE, TCP4, binary, ssl

PROXY = IPv4Address("TCP", "198.51.100.9", 5000)
CONNECT = encode(Connect(client_id="ada"), Version.V3_1_1)


class Wire(StringTransport):
    """A transport that hands bytes to whoever is its protocol at the moment."""

    aborted = False
    protocol: Any = None

    def deliver(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def abortConnection(self) -> None:
        self.aborted = True
        self.lose()

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionError()))


class ProxyTestCase(SynchronousTestCase):
    """A listener behind a proxy, on a clock."""

    def setUp(self) -> None:
        self.doorkeeper = Doorkeeper()
        self.rig = Rig(Limits(connect_timeout_s=10), self.doorkeeper)

    def listener(self, version: int = 1, **rules: Any) -> ProxyFactory:
        """:param rules: see `ProxyFactory`."""
        self.factory = ProxyFactory(
            self.rig.factory,
            version,
            self.rig.broker,
            **rules,
        )
        return self.factory

    def open(self, factory: ProxyFactory) -> Wire:
        wire = Wire(peerAddress=PROXY)
        wire.protocol = factory.buildProtocol(PROXY)
        wire.protocol.makeConnection(wire)
        return wire

    def sent(self, wire: Wire) -> object:
        """The first packet that came back."""
        self.rig.turn()
        reader = PacketReader()
        reader.feed(wire.value())
        return reader.next_packet()


class StepAsideTests(ProxyTestCase):
    """A good header."""

    def test_the_client_is_the_one_in_the_header(self) -> None:
        """To those who check who is there; the first packet may come with the header."""
        wire = self.open(self.listener())
        wire.deliver(LINE + CONNECT)
        self.assertIsInstance(self.sent(wire), Connack)
        self.assertEqual(self.doorkeeper.seen[0].address, "192.0.2.7:4711")

    def test_byte_by_byte(self) -> None:
        """However slowly it comes."""
        wire = self.open(self.listener(2))
        for byte in binary(TCP4 + ssl(0x07, 0, COMMON_NAME)) + CONNECT:
            wire.deliver(bytes([byte]))
        self.assertIsInstance(self.sent(wire), Connack)

    def test_out_of_the_way(self) -> None:
        """Afterwards bytes go straight to MQTT, whose transport has all that the real one has."""
        wire = self.open(self.listener())
        wire.deliver(LINE)
        protocol = wire.protocol
        self.assertIsInstance(protocol, MQTTProtocol)
        self.assertIsInstance(protocol.transport, ProxiedTransport)
        self.assertTrue(ITransport.providedBy(protocol.transport))
        self.assertEqual(protocol.transport.getHost(), wire.getHost())

    def test_handed_on(self) -> None:
        """A protocol that gives its connection to another one gives it the real transport's bytes."""
        wire = self.open(self.listener())
        wire.deliver(LINE)
        wire.protocol.transport.protocol = other = object()
        self.assertIs(wire.protocol, other)
        self.assertIs(ProxiedTransport(wire, Header()).protocol, other)

    def test_health_checks(self) -> None:
        """A proxy that speaks for itself, or does not know for whom, keeps its own address."""
        for version, header in ((1, b"PROXY UNKNOWN\r\n"), (2, binary(b"", 0, 0x20)), (2, binary(b"", 0))):
            wire = self.open(self.listener(version))
            wire.deliver(header)
            self.assertEqual(wire.protocol.transport.getPeer(), PROXY)

    def test_unix_clients(self) -> None:
        """Behind a proxy on the same machine."""
        wire = self.open(self.listener(2))
        wire.deliver(binary(b"/run/app".ljust(108, b"\0") + bytes(108), 0x31))
        self.assertEqual(wire.protocol.transport.getPeer(), UNIXAddress(b"/run/app"))
        self.assertEqual(wire.protocol.address, "unix:/run/app")

    def test_tls_facts_are_kept(self) -> None:
        """For whoever makes a user name of the certificate."""
        wire = self.open(self.listener(2))
        wire.deliver(binary(TCP4 + ssl(0x07, 0, COMMON_NAME)))
        self.assertEqual(wire.protocol.transport.proxied_tls, TlsFacts(True, "phone1"))


class RefusalTests(ProxyTestCase):
    """Everything else ends the connection, and MQTT never hears of it."""

    def assert_cut(self, wire: Wire) -> None:
        self.assertTrue(wire.aborted)
        self.assertEqual(wire.value(), b"")
        self.assertIsInstance(wire.protocol, ProxyProtocol)
        self.assertEqual(self.doorkeeper.seen, [])
        self.assertEqual(set(self.rig.broker.counters.connections_refused), {"proxy_header"})

    def test_no_header(self) -> None:
        """A client that comes past the proxy."""
        wire = self.open(self.listener())
        wire.deliver(CONNECT)
        self.assert_cut(wire)

    def test_the_other_version(self) -> None:
        """Is not the one agreed on."""
        for version, data in ((1, binary()), (2, LINE)):
            wire = self.open(self.listener(version))
            wire.deliver(data)
            self.assert_cut(wire)

    def test_no_tls(self) -> None:
        """Where TLS is asked for, whoever came without it is dropped; so is a health check."""
        for header in (binary(), binary(b"", 0, 0x20), binary(TCP4 + ssl(0x00))):
            wire = self.open(self.listener(2, require_tls=True))
            wire.deliver(header + CONNECT)
            self.assert_cut(wire)

    def test_no_certificate(self) -> None:
        """Where a certificate is asked for, one that the proxy did not find good is none."""
        for facts in (ssl(0x01), ssl(0x07, 1, COMMON_NAME), b""):
            wire = self.open(self.listener(2, require_certificate=True))
            wire.deliver(binary(TCP4 + facts) + CONNECT)
            self.assert_cut(wire)

    def test_enough_of_both(self) -> None:
        """A good certificate passes both rules."""
        wire = self.open(self.listener(2, require_tls=True, require_certificate=True))
        wire.deliver(binary(TCP4 + ssl(0x07, 0, COMMON_NAME)) + CONNECT)
        self.assertIsInstance(self.sent(wire), Connack)

    def test_not_in_time(self) -> None:
        """A header has as long as a CONNECT has, and not longer for each byte."""
        wire = self.open(self.listener())
        for byte in LINE[:9]:
            wire.deliver(bytes([byte]))
            self.rig.clock.advance(1)
        self.assertFalse(wire.aborted)
        self.rig.clock.pump([0.25] * 8)
        self.assert_cut(wire)

    def test_nothing_after_the_end(self) -> None:
        """What else was on its way is not looked at."""
        wire = self.open(self.listener())
        protocol = wire.protocol
        wire.deliver(b"x")
        protocol.dataReceived(LINE + CONNECT)
        self.assert_cut(wire)


class TurnTests(ProxyTestCase):
    """The pace of an address is that of the client's, not of the proxy's."""

    def through(self, turn_s: float | None) -> Wire:
        """A client that has its turn in so many seconds, and does not wait with its CONNECT."""
        self.asked: list[str] = []

        def turn_of(host: str) -> float | None:
            self.asked.append(host)
            return turn_s

        wire = self.open(self.listener(turn_s=turn_of))
        wire.deliver(LINE + CONNECT[:5])
        return wire

    def test_at_once(self) -> None:
        """The address in the header is the one that counts."""
        wire = self.through(0.0)
        self.assertEqual(self.asked, ["192.0.2.7"])
        self.assertIsInstance(wire.protocol, MQTTProtocol)

    def test_later(self) -> None:
        """Nothing is read before, and nothing is lost."""
        wire = self.through(2.0)
        wire.deliver(CONNECT[5:])  # what the transport still had in hand
        self.rig.clock.pump([0.25] * 7)
        self.assertEqual((wire.producerState, self.doorkeeper.seen), ("paused", []))
        self.rig.clock.pump([0.25] * 3)
        self.assertEqual(wire.producerState, "producing")
        self.assertIsInstance(self.sent(wire), Connack)

    def test_never(self) -> None:
        """Too many wait already."""
        self.assertTrue(self.through(None).aborted)
        self.assertEqual(self.rig.broker.counters.connections_refused, {"max_connect_rate_per_address": 1})

    def test_gone_while_it_waits(self) -> None:
        """Nothing is made for it."""
        wire = self.through(2.0)
        wire.lose()
        self.rig.clock.pump([0.25] * 50)
        self.assertIsInstance(wire.protocol, ProxyProtocol)
        self.assertFalse(wire.aborted)

    def test_the_file_system(self) -> None:
        """Has no pace."""
        wire = self.open(self.listener(2, turn_s=lambda host: None))
        wire.deliver(binary(b"/run/app".ljust(108, b"\0") + bytes(108), 0x31))
        self.assertIsInstance(wire.protocol, MQTTProtocol)


class FactoryTests(ProxyTestCase):
    """What Twisted knows of it."""

    def test_factory_of_factory(self) -> None:
        """Starting and stopping reach the protocol's own factory."""
        factory = self.listener()
        factory.doStart()
        self.assertEqual((factory.numPorts, self.rig.factory.numPorts), (1, 1))
        factory.doStop()
        self.assertEqual((factory.numPorts, self.rig.factory.numPorts), (0, 0))

    def test_a_protocol(self) -> None:
        """As Twisted knows them, and without a dict for each."""
        protocol = self.listener().buildProtocol(None)
        self.assertTrue(IProtocol.providedBy(protocol))
        self.assertFalse(hasattr(protocol, "__dict__"))
