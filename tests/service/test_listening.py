"""`pushd.service.listening`: from the words of a listener to sockets; real ones, on loopback."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, cast

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.broker.limits import Limits
from pushd.broker.wheel import TimingWheel
from pushd.config.settings import ListenerSettings
from pushd.service import listening
from pushd.service.gate import Entrance, Gate
from pushd.service.listening import CannotListen, Endpoint, endpoints, listen
from pushd.service.systemd import PassedSocket, PassedSockets
from tests.processes import free_port


class Reactor:
    """Keeps the sockets that it is asked to watch."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def addReader(self, port: Any) -> None:
        self.sockets.append(port.socket)


class ListenTestCase(SynchronousTestCase):
    """Opens listeners, and closes them."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.port = free_port()

    def listen(self, *passed: socket.socket, no_delay: bool = False, **values: Any) -> list[socket.socket]:
        """:param values: of the listener's settings."""
        listener = ListenerSettings("x.conf:1", **{"port": self.port, **values})
        offered = PassedSockets([PassedSocket(each, "door") for each in passed])
        self.addCleanup(offered.close_rest)
        before = len(self.reactor.sockets)
        clock = Clock()
        entrance = Entrance(Gate(Limits, Counters(), clock.seconds), "a test")
        wheel = TimingWheel(clock, clock.seconds)
        places = endpoints(listener)
        listen(listener, places, Factory(), offered, self.reactor, entrance, wheel, no_delay=no_delay)
        opened = self.reactor.sockets[before:]
        for each in opened:
            self.addCleanup(each.close)
        return opened

    def hosts(self, **values: Any) -> list[str]:
        return [each.getsockname()[0] for each in self.listen(**values)]

    def refusal(self, **values: Any) -> str:
        return str(self.assertRaises(CannotListen, self.listen, **values))

    def opened(self, host: str, both: bool = False) -> socket.socket:
        """A socket as systemd has it."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = Endpoint(family, (host, self.port), both=both).open()
        self.addCleanup(made.close)
        return made

    def can_connect(self, host: str) -> bool:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as client:
            return client.connect_ex((host, self.port)) == 0


class AddressTests(ListenTestCase):
    """Which sockets a listener is."""

    def test_every_address(self) -> None:
        """One socket for both families."""
        self.assertEqual(self.hosts(), ["::"])
        self.assertTrue(self.can_connect("127.0.0.1") and self.can_connect("::1"))

    def test_one_family(self) -> None:
        """``socket_domain`` leaves the other one out, and free for others."""
        self.assertEqual(self.hosts(socket_domain="ipv6"), ["::"])
        self.assertFalse(self.can_connect("127.0.0.1"))
        self.assertEqual(self.hosts(socket_domain="ipv4"), ["0.0.0.0"])

    def test_the_ipv6_wildcard_by_name(self) -> None:
        """``listener 1883 ::`` is every IPv6 address and leaves IPv4 to its own line, as with Mosquitto."""
        self.assertEqual(self.hosts(addresses=("::",)), ["::"])
        self.assertEqual(self.hosts(addresses=("0.0.0.0",)), ["0.0.0.0"])

    def test_several_addresses(self) -> None:
        """Each is a socket of its own."""
        self.assertEqual(self.hosts(addresses=("127.0.0.1", "::1")), ["127.0.0.1", "::1"])

    def test_names_with_several_addresses(self) -> None:
        """A host name is good for all of its addresses, of the family that was asked for."""
        answers = [(socket.AF_INET, 1, 6, "", (host, self.port)) for host in ("127.0.0.1", "127.0.0.2")]
        self.patch(listening.socket, "getaddrinfo", lambda name, port, family, kind: answers * 2)
        self.assertEqual(self.hosts(addresses=("broker.example",)), ["127.0.0.1", "127.0.0.2"])

    def test_an_address_that_is_not_here(self) -> None:
        """One of several may be missing, as ``::1`` often is in a container; the only one may not."""
        self.assertEqual(self.hosts(addresses=("192.0.2.200", "127.0.0.1")), ["127.0.0.1"])
        told = self.refusal(addresses=("192.0.2.200",))
        self.assertRegex(told, rf"^x.conf:1: cannot listen on 192.0.2.200 port {self.port}: .*[Aa]ssign")

    def test_no_ipv6_at_all(self) -> None:
        """Then every address is every IPv4 address."""
        real = Endpoint.open

        def without_ipv6(endpoint: Endpoint) -> socket.socket:
            if endpoint.family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no IPv6")
            return real(endpoint)

        self.patch(Endpoint, "open", without_ipv6)
        self.assertEqual(self.hosts(), ["0.0.0.0"])

    def test_a_port_that_is_taken(self) -> None:
        """The reason names the line, the address and the port; what was open already is closed again."""
        self.opened("::1")
        told = self.refusal(addresses=("127.0.0.1", "::1"))
        self.assertRegex(told, f"^x.conf:1: cannot listen on ::1 port {self.port}: .*in use")
        self.assertFalse(self.can_connect("127.0.0.1"))

    def test_a_name_without_address(self) -> None:
        """It is named, too."""
        told = self.refusal(addresses=("no-such-host.invalid",))
        self.assertIn("cannot listen on no-such-host.invalid: ", told)
        self.assertIn("cannot listen on ", self.refusal(addresses=("x" * 70 + ".invalid",)))

    def test_sockets_are_ready(self) -> None:
        """
        They do not block the reactor, Nagle's algorithm is off if that is asked for, and the kernel will find
        out about peers that are gone.
        """
        (opened,) = self.listen(addresses=("127.0.0.1",), no_delay=True)
        self.assertFalse(os.get_blocking(opened.fileno()))
        self.assertTrue(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertTrue(opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))


class InterfaceTests(ListenTestCase):
    """``bind_interface``."""

    def test_wins_over_the_address(self) -> None:
        """Every address of this interface, whatever the listener's own is."""
        (opened,) = self.listen(bind_interface="lo", addresses=("192.0.2.200",))
        self.assertEqual(opened.getsockname()[0], "::")
        self.assertEqual(opened.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16), b"lo\0")
        self.assertTrue(self.can_connect("127.0.0.1"))

    def test_no_such_interface(self) -> None:
        """The reason names it."""
        self.assertIn("there is no network interface 'nope0'", self.refusal(bind_interface="nope0"))

    def test_not_permitted(self) -> None:
        """The reason says what it takes."""
        self.patch(listening.socket, "socket", Forbidden)
        self.assertIn(
            "'lo' is for root, or with the capability CAP_NET_RAW", self.refusal(bind_interface="lo")
        )

    def test_not_on_this_system(self) -> None:
        """It is not silently left out elsewhere."""
        self.patch(listening, "socket", Elsewhere())
        self.assertIn("works on Linux only", self.refusal(bind_interface="lo"))


class PassedTests(ListenTestCase):
    """Sockets that systemd opened."""

    def test_one_that_fits(self) -> None:
        """It is used; binding anew would fail."""
        for host in ("127.0.0.1", "::1"):
            (used,) = self.listen(self.opened(host), addresses=(host,))
            self.assertEqual(used.getsockname()[:2], (host, self.port))

    def test_every_address(self) -> None:
        """As one socket for both families or as two."""
        self.assertEqual(len(self.listen(self.opened("::", both=True))), 1)
        self.port = free_port()
        self.assertEqual(len(self.listen(self.opened("0.0.0.0"), self.opened("::"))), 2)

    def test_the_rest_is_opened(self) -> None:
        """Of two addresses, systemd had one."""
        opened = self.listen(self.opened("::1"), addresses=("127.0.0.1", "::1"))
        self.assertEqual([each.getsockname()[0] for each in opened], ["::1", "127.0.0.1"])

    def test_more_than_the_settings_say(self) -> None:
        """A socket that lets in more than the listener may is not its own: the port is taken then."""
        wide = self.opened("0.0.0.0")
        self.assertIn(
            "in use", str(self.assertRaises(CannotListen, self.listen, wide, addresses=("127.0.0.1",)))
        )

    def test_both_families_where_one_is_wanted(self) -> None:
        """IPv4 would come in by it."""
        both = self.opened("::", both=True)
        self.assertIn("in use", str(self.assertRaises(CannotListen, self.listen, both, socket_domain="ipv6")))

    def test_another_interface(self) -> None:
        """A socket for all interfaces is not one for this interface."""
        every = self.opened("::", both=True)
        self.assertRaises(CannotListen, self.listen, every, bind_interface="lo")


class UnixTests(ListenTestCase):
    """Listeners in the file system."""

    def test_opened(self) -> None:
        """And, when something else is in its place, refused with line and reason."""
        path = self.mktemp()
        (opened,) = self.listen(port=0, path=path, addresses=())
        self.assertEqual(opened.getsockname(), path)
        told = self.refusal(port=0, path=path, addresses=())
        self.assertEqual(told, f"x.conf:1: cannot listen on unix:{path}: another process listens there")

    def test_passed(self) -> None:
        """systemd's is used."""
        path = self.mktemp()
        made = socket.socket(socket.AF_UNIX)
        made.bind(path)
        made.listen()
        self.assertEqual(self.listen(made, port=0, path=path, addresses=()), [made])


class Forbidden(socket.socket):
    """A socket of somebody without privileges, on a kernel before 5.7."""

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        if option == socket.SO_BINDTODEVICE:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        super().setsockopt(level, option, *value)


class Elsewhere:
    """The module `socket` of a system that is not Linux."""

    def __getattr__(self, name: str) -> Any:
        if name == "SO_BINDTODEVICE":
            raise AttributeError(name)
        return cast(Any, getattr(socket, name))
