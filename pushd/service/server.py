"""The service: opens the doors, keeps them, closes them. One per process."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.python.util import switchUID

from pushd import __version__
from pushd.broker.broker import Broker
from pushd.config.settings import ListenerSettings, Settings
from pushd.service.assembly import Door, ReadFiles, limits_of, read_files
from pushd.service.logs import LogFileError, LogObserver, install
from pushd.stats.sys_topics import Gauges, SysTopics
from pushd.storage.memory import MemoryStore

log = Logger()

# Hashing keeps one core busy; a second thread lets one slow argon2id check not hold up the others.
HASHING_THREADS = 2

# Connections that wait to be accepted. After a restart a whole fleet comes back at once.
BACKLOG = 1024


class Server(Service):
    """
    A running pushd.

    :param read_again: reads the settings file anew, for a reload; raises `ConfigError`.
    """

    name = "pushd"

    def __init__(
        self, settings: Settings, *, reactor: Any, log: LogObserver, read_again: Callable[[], Settings]
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._log = log
        self._read_again = read_again
        self._hashers = ThreadPool(0, HASHING_THREADS, "hashing")
        self.broker = Broker(reactor, MemoryStore(), limits_of(settings.limits))
        self.sys_topics = SysTopics(
            self.broker.counters,
            self._gauges,
            self.broker.announce,
            version=__version__,
            interval_s=settings.sys_interval_s,
            clock=reactor,
        )
        files = read_files(settings)
        self._warnings = [*settings.warnings, *files.warnings()]
        self._doors = [self._make_door(listener) for listener in settings.listeners]
        self._use(settings, files)
        self._ports: list[IListeningPort] = []

    def _make_door(self, listener: ListenerSettings) -> Door:
        in_thread = partial(deferToThreadPool, self._reactor, self._hashers)
        return Door(listener, self.broker, in_thread, self._settings.log.connection_messages, self._reactor)

    def _use(self, settings: Settings, files: ReadFiles) -> None:
        for door, listener, context in zip(self._doors, settings.listeners, files.contexts, strict=True):
            door.use(listener, files, context)

    # Start

    def setServiceParent(self, parent: Any) -> None:
        """Becoming part of twistd's application is the moment to say who writes its log."""
        install(self._log, parent)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Open the listeners, while low ports may still be had; then become the user that `user` names."""
        super().privilegedStartService()
        _allow_many_files()
        self._hashers.start()
        self.broker.start(self._doors[0].policy)
        for door in self._doors:
            for address in door.settings.addresses:
                self._listen(door, address)
        if self._settings.user is not None and os.geteuid() == 0:
            _become(self._settings.user)

    def _listen(self, door: Door, address: str) -> None:
        interface = address or _every_address(door.settings.socket_domain)
        try:
            port = self._reactor.listenTCP(
                door.settings.port, door.factory(), backlog=BACKLOG, interface=interface
            )
        except CannotListenError as problem:
            sys.stderr.write(f"Error: {door.settings.origin}: {problem}\n")
            raise SystemExit(1) from problem
        if self._settings.set_tcp_nodelay:
            port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        self._ports.append(port)
        log.info(
            "Opening {protocol} listener on {interface} port {port}.",
            protocol=door.settings.protocol + (" TLS" if door.settings.tls else ""),
            interface=interface,
            port=door.settings.port,
        )

    def startService(self) -> None:
        super().startService()
        signal.signal(signal.SIGHUP, self._hang_up)
        for warning in self._warnings:
            log.warn("{warning}", warning=warning)
        self._log.publish_with(partial(self.broker.announce, retain=False))
        self.sys_topics.start()
        self._write_pid_file()
        # Last: whoever waits for this line may send signals and read the pid file.
        log.info("pushd version {version} running", version=__version__)

    def _write_pid_file(self) -> None:
        if self._settings.pid_file is not None:
            with open(self._settings.pid_file, "w", encoding="ascii") as pid_file:
                pid_file.write(f"{os.getpid()}\n")

    # Stop

    def stopService(self) -> Deferred[Any]:
        """Close the doors, tell every client, make everything durable."""
        super().stopService()
        self.sys_topics.stop()
        self._log.publish_with(None)
        closed = DeferredList([maybeDeferred(port.stopListening) for port in self._ports])
        stopped = self.broker.stop()
        self._hashers.stop()
        if self._settings.pid_file is not None:
            _remove(self._settings.pid_file)
        log.info("pushd version {version} terminating", version=__version__)
        return gatherResults([closed, stopped])

    # Reload

    def _hang_up(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self.reload)

    def reload(self) -> Deferred[None]:
        """
        Read passwords, access rules and certificates again; nobody who is connected is dropped. Files are
        read in a thread, and nothing changes unless all of them are good.
        """
        log.info("Reloading the settings.")
        reading = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._read_everything)
        return reading.addCallbacks(self._reloaded, self._not_reloaded)

    def _read_everything(self) -> tuple[Settings, ReadFiles]:
        settings = self._read_again()
        return settings, read_files(settings)

    def _reloaded(self, read: tuple[Settings, ReadFiles]) -> None:
        settings, files = read
        if _doors(settings) != _doors(self._settings):
            log.warn("Nothing was reloaded: listeners were added, removed or moved, which needs a restart.")
            return
        try:
            self._log.configure(settings.log)
        except LogFileError as problem:
            log.error("Nothing was reloaded: {problem}", problem=problem)
            return
        self._use(settings, files)
        self._settings = settings
        self.sys_topics.set_interval(settings.sys_interval_s)
        self.broker.access_rules_changed()
        for warning in files.warnings():
            log.warn("{warning}", warning=warning)
        log.info("Passwords, access rules and certificates are reloaded.", log_type="notice")

    @staticmethod
    def _not_reloaded(failure: Failure) -> None:
        log.error("Nothing was reloaded: {problem}", problem=failure.getErrorMessage())

    # Figures

    def _gauges(self) -> Gauges:
        gauges = self.broker.gauges()
        return Gauges(
            clients_connected=gauges.clients_connected,
            clients_total=gauges.clients_total,
            subscriptions=gauges.subscriptions,
            shared_subscriptions=gauges.shared_subscriptions,
            retained_messages=gauges.retained_messages,
            stored_messages=gauges.stored_messages,
            stored_bytes=gauges.stored_bytes,
            sockets=sum(door.connection_count for door in self._doors),
        )


def _doors(settings: Settings) -> list[tuple[int, tuple[str, ...], str, bool]]:
    """What makes a listener another listener."""
    return [(each.port, each.addresses, each.protocol, each.tls) for each in settings.listeners]


def _every_address(socket_domain: str | None) -> str:
    """The IPv6 wildcard takes IPv4 as well, where there is IPv6 at all."""
    return "0.0.0.0" if socket_domain == "ipv4" or not socket.has_dualstack_ipv6() else "::"


def _allow_many_files() -> None:
    """A connection is a file: take all that the system grants."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _become(user: str) -> None:
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        sys.stderr.write(f"Error: user: there is no user {user!r}\n")
        raise SystemExit(1) from None
    switchUID(entry.pw_uid, entry.pw_gid)


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError as problem:
        log.warn("{path} could not be removed: {problem}", path=path, problem=problem)
