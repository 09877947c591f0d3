"""
Listening sockets: from the words of a listener to open doors.

A listener may be several sockets: the name of a host may have several addresses. They are made here rather
than by Twisted's ``listenTCP``, which cannot be told of one family or one network interface, and then given
to `pushd.service.ports`. A socket that systemd has opened already is taken instead of making one.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from pushd.broker.wheel import TimingWheel
from pushd.config.settings import ListenerSettings
from pushd.service.gate import Entrance
from pushd.service.ports import AcceptingPort, TcpPort
from pushd.service.systemd import PassedSockets
from pushd.service.unix_port import UnixPort, bind_unix

log = Logger()

# Connections that wait to be accepted. After a restart a whole fleet comes back at once.
BACKLOG = 1024

_FAMILIES = {None: socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}  # by socket_domain

# What this machine does not have. Of several addresses one is enough: in many a container there is no ::1.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class CannotListen(Exception):
    """
    A door that cannot be opened. The text names the line of the settings and the reason.

    :ivar is_taken: somebody listens there already.
    """

    def __init__(self, listener: ListenerSettings, where: str, problem: Exception) -> None:
        reason = getattr(problem, "strerror", None) or str(problem)
        super().__init__(f"{listener.origin}: cannot listen {where}: {reason}")
        self.is_taken = getattr(problem, "errno", None) == errno.EADDRINUSE


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    One address to listen on.

    :ivar address: as `socket.socket.bind` takes it.
    :ivar device: the only network interface to hear; ``None`` for all.
    :ivar both: the IPv6 wildcard that takes IPv4 as well.
    """

    family: int
    address: tuple[Any, ...]
    device: str | None = None
    both: bool = False

    def __str__(self) -> str:
        on_device = "" if self.device is None else f" of {self.device}"
        return f"{self.address[0]}{on_device} port {self.address[1]}"

    def is_of(self, passed: socket.socket) -> bool:
        """Whether a socket that is open already hears what this would, and no more."""
        if passed.family != self.family or passed.getsockname()[:2] != self.address[:2]:
            return False
        if self.address[0] == "::" and not self.both:
            only_v6 = passed.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            return bool(only_v6) and self._is_on_device(passed)
        return self._is_on_device(passed)

    def _is_on_device(self, passed: socket.socket) -> bool:
        if self.device is None:
            return True
        name = passed.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)  # IFNAMSIZ
        return name.rstrip(b"\0") == self.device.encode()

    def open(self) -> socket.socket:
        """
        Make a socket that listens there.

        :raises OSError: it is not to be had.
        """
        opened = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not self.both)
            if self.device is not None:
                _bind_to_device(opened, self.device)
            opened.bind(self.address)
            opened.listen(BACKLOG)
            opened.setblocking(False)
        except BaseException:
            opened.close()
            raise
        return opened


def endpoints(listener: ListenerSettings) -> list[Endpoint]:
    """
    Everything that a TCP listener may be heard on; nothing for a Unix socket.

    Blocks while the names of hosts are looked up: that harms nobody before the start, and belongs into a
    thread after it.

    :raises CannotListen: a name that has no address.
    """
    if listener.path is not None:
        return []
    if _is_everywhere(listener):
        return _everywhere(listener)
    return [
        Endpoint(family, address)
        for name in listener.addresses
        for family, address in dict.fromkeys(_resolved(listener, name))
    ]


def listen(
    listener: ListenerSettings,
    places: list[Endpoint],
    factory: IProtocolFactory,
    passed: PassedSockets,
    reactor: Any,
    entrance: Entrance,
    wheel: TimingWheel,
    *,
    no_delay: bool = False,
    owner: tuple[int, int] | None = None,
) -> list[AcceptingPort]:
    """
    Open one listener.

    :param places: its `endpoints`.
    :param passed: the sockets that systemd has opened.
    :param entrance: decides who may come in.
    :param wheel: for whoever has to wait.
    :param no_delay: switch Nagle's algorithm off.
    :param owner: user and group that a Unix socket shall belong to; ``None`` for those of the process.
    :raises CannotListen: nothing of this listener is open then.
    """
    if listener.path is not None:
        opened, is_passed = _open_unix(listener, listener.path, passed, owner)
        _tell(listener, f"unix:{listener.path}")
        return [_started(UnixPort(opened, factory, reactor, entrance, wheel, keep_file=is_passed))]
    ports = []
    for opened in _open_all(listener, places, passed):
        # Accepted sockets inherit both.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # for clients without a keep-alive
        if no_delay:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ports.append(_started(TcpPort(opened, factory, reactor, entrance, wheel)))
        _tell(listener, str(Endpoint(opened.family, opened.getsockname(), listener.bind_interface)))
    return ports


def _started(port: AcceptingPort) -> AcceptingPort:
    port.startListening()
    return port


def _tell(listener: ListenerSettings, where: str) -> None:
    protocol = listener.protocol + (" TLS" if listener.tls else "")
    log.info("Opening {protocol} listener on {where}.", protocol=protocol, where=where)


def _open_all(
    listener: ListenerSettings, places: list[Endpoint], passed: PassedSockets
) -> list[socket.socket]:
    """
    The sockets of a listener, those first that are open already.

    :raises CannotListen: one of them is not to be had, or this machine has none of the addresses.
    """
    opened = passed.take(lambda each: any(place.is_of(each) for place in places))
    if opened and _is_everywhere(listener):
        return opened  # in one socket or in two, as systemd was told
    for place in places:
        if any(place.is_of(each) for each in opened):
            continue
        try:
            opened.append(place.open())
        except OSError as problem:
            failure = CannotListen(listener, f"on {place}", problem)
            if problem.errno not in _NOT_HERE or (place is places[-1] and not opened):
                _close(opened)
                raise failure from problem
            log.info("{failure}; left out", failure=failure)
            continue
        if place.both:
            break
    return opened


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _is_everywhere(listener: ListenerSettings) -> bool:
    return listener.bind_interface is not None or "" in listener.addresses


def _everywhere(listener: ListenerSettings) -> list[Endpoint]:
    """The wildcards. Where the first takes both families, the other is for machines without IPv6."""
    both = listener.socket_domain is None and socket.has_dualstack_ipv6()
    device = listener.bind_interface
    v6 = Endpoint(socket.AF_INET6, ("::", listener.port), device, both)
    v4 = Endpoint(socket.AF_INET, ("0.0.0.0", listener.port), device)
    return {None: [v6, v4], "ipv4": [v4], "ipv6": [v6]}[listener.socket_domain]


def _resolved(listener: ListenerSettings, name: str) -> list[tuple[int, tuple[Any, ...]]]:
    family = _FAMILIES[listener.socket_domain]
    try:
        found = socket.getaddrinfo(name, listener.port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise CannotListen(listener, f"on {name}", problem) from problem
    return [(one[0], one[4]) for one in found]


def _bind_to_device(opened: socket.socket, device: str) -> None:
    """:raises OSError: with a text of our own, for the system's ("No such device") names nothing."""
    if not hasattr(socket, "SO_BINDTODEVICE"):
        raise OSError(errno.ENOTSUP, "bind_interface works on Linux only")
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    except OSError as problem:
        if problem.errno == errno.ENODEV:
            raise OSError(problem.errno, f"there is no network interface {device!r}") from None
        if problem.errno == errno.EPERM:
            reason = f"the interface {device!r} is for root, or with the capability CAP_NET_RAW"
            raise OSError(problem.errno, reason) from None
        raise


def _open_unix(
    listener: ListenerSettings, path: str, passed: PassedSockets, owner: tuple[int, int] | None
) -> tuple[socket.socket, bool]:
    """
    :return: the socket of a listener in the file system, and whether it was open already.
    :raises CannotListen: something else is in its place, or may not be put there.
    """
    there = os.path.abspath(path)
    taken = passed.take(lambda each: each.family == socket.AF_UNIX and each.getsockname() == there)
    if taken:
        return taken[0], True
    try:
        return bind_unix(path, owner, BACKLOG), False
    except OSError as problem:
        raise CannotListen(listener, f"on unix:{path}", problem) from problem
