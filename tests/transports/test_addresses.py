"""`pushd.transports.addresses`: how the far end of a connection is written."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pushd.transports.addresses import peer_address, plain_host


def written(peer: IAddress, host: IAddress | None = None) -> str:
    return peer_address(StringTransport(hostAddress=host, peerAddress=peer))


class PeerAddressTests(SynchronousTestCase):
    """One form for each family, in which the port can be told from the rest."""

    def test_ipv4(self) -> None:
        """As everybody writes it."""
        self.assertEqual(written(IPv4Address("TCP", "192.0.2.7", 4711)), "192.0.2.7:4711")

    def test_ipv6(self) -> None:
        """In brackets, for it has colons of its own; a zone stays."""
        self.assertEqual(written(IPv6Address("TCP", "2001:db8::7", 4711)), "[2001:db8::7]:4711")
        self.assertEqual(written(IPv6Address("TCP", "fe80::7%eth0", 4711)), "[fe80::7%eth0]:4711")

    def test_ipv4_in_ipv6(self) -> None:
        """A client is called the same, whichever family its listener is of."""
        self.assertEqual(written(IPv6Address("TCP", "::ffff:192.0.2.7", 4711)), "192.0.2.7:4711")
        self.assertEqual(plain_host("::ffff:192.0.2.7"), "192.0.2.7")

    def test_addresses_that_only_look_mapped(self) -> None:
        """What has no dots behind the prefix is IPv6."""
        self.assertEqual(plain_host("::ffff:1:2"), "::ffff:1:2")
        self.assertEqual(plain_host("::1"), "::1")

    def test_unix(self) -> None:
        """By the client's own path, or by that of the door it came through."""
        door = UNIXAddress(b"/run/pushd.sock")
        self.assertEqual(written(UNIXAddress(None), door), "unix:/run/pushd.sock")
        self.assertEqual(written(UNIXAddress(b"/run/\xff"), door), "unix:/run/\\xff")
        self.assertEqual(written(UNIXAddress(None), UNIXAddress(None)), "unix")
