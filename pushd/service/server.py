"""The service: opens the doors, keeps them, closes them. One per process."""

from __future__ import annotations

import glob
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, execute, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.python.util import switchUID

from pushd import __version__
from pushd.broker.broker import Broker
from pushd.broker.broker import Gauges as BrokerGauges
from pushd.broker.interfaces import IStore
from pushd.config.settings import ListenerSettings, Settings
from pushd.service.assembly import Door, Logins, ReadFiles, limits_of, read_files
from pushd.service.gate import Gate
from pushd.service.lateness import Lateness
from pushd.service.listening import CannotListen, listen
from pushd.service.logs import LogFileError, LogObserver, install
from pushd.service.memory_guard import MemoryGuard
from pushd.service.systemd import Notifier, PassedSockets
from pushd.stats.sys_topics import Gauges, SysTopics
from pushd.storage.database import Durability
from pushd.storage.errors import StoreError
from pushd.storage.memory import MemoryStore
from pushd.storage.sqlite import SqliteStore

log = Logger()

# Hashing keeps one core busy; a second thread lets one slow argon2id check not hold up the others.
HASHING_THREADS = 2

# In `persistence_location`. Not `persistence_file`, whose default, mosquitto.db, is a file of another format.
STORE_FILE = "pushd.db"


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
        self._notifier = Notifier(os.environ, reactor)
        self._writers = ThreadPool(0, 1, "store")  # SQLite has one writer at a time
        self._store = self._make_store(settings)
        self.broker = Broker(reactor, self._store, limits_of(settings.limits), time.monotonic)
        self._memory_guard = MemoryGuard(self.broker)
        self._logins = Logins(self.broker, HASHING_THREADS)
        self.gate = Gate(lambda: self.broker.limits, self.broker.counters, time.monotonic)
        self._lateness = Lateness(reactor, time.monotonic, self.gate.loop_was_late)
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

    def _make_store(self, settings: Settings) -> IStore:
        if not settings.persistence:
            return MemoryStore()
        return SqliteStore(
            os.path.join(settings.persistence_location, STORE_FILE),
            durability=Durability[settings.durability.upper()],
            in_thread=self._in_writer_thread,
            call_later=self._reactor.callLater,
        )

    def _in_writer_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Before the reactor runs there is nothing to keep waiting, and no door opens before all is read."""
        if not self._reactor.running:
            return execute(function, *arguments)
        return deferToThreadPool(self._reactor, self._writers, function, *arguments)

    def _make_door(self, listener: ListenerSettings) -> Door:
        return Door(
            listener,
            self.broker,
            self.gate,
            partial(deferToThreadPool, self._reactor, self._hashers),
            self._reactor,
            self._logins,
            healthy=lambda: self._store.failing is None,
        )

    def _use(self, settings: Settings, files: ReadFiles) -> None:
        self.broker.limits = limits_of(settings.limits)
        for door, listener, context in zip(self._doors, settings.listeners, files.contexts, strict=True):
            door.use(listener, files, context)
            door.policy.log_connections = settings.log.connection_messages and self._log.writes("notice")
            door.policy.log_subscriptions = self._log.writes("subscribe", "unsubscribe")

    # Start

    def setServiceParent(self, parent: Any) -> None:
        """Becoming part of twistd's application is the moment to say who writes its log."""
        install(self._log, parent)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Open the listeners, while low ports may still be had; then become the user that `user` names."""
        super().privilegedStartService()
        account = None
        if self._settings.user is not None and os.geteuid() == 0:
            account = _account(self._settings.user)
        self.gate.max_files = _allow_many_files()
        self._hashers.start()
        self._writers.start()
        self._open_store(account)
        self._open_doors(account)
        if account is not None:
            switchUID(*account)

    def _open_store(self, owner: tuple[int, int] | None) -> None:
        """Read what the last process left. It never starts empty because that could not be read."""
        settings = self._settings
        if settings.persistence and settings.persistence_location:
            _make_folder(settings.persistence_location, owner)
        failures: list[Failure] = []
        # The reactor does not run yet: all of this has happened when it returns. An exception would not
        # get out of the Deferred.
        self.broker.start(self._doors[0].policy).addErrback(failures.append)
        for failure in failures:
            if failure.check(StoreError) is None:
                failure.raiseException()
            _exit(failure.getErrorMessage())
        if settings.persistence and owner is not None:
            # Opened before privileges are dropped; who is left must be able to write to it.
            path = os.path.join(settings.persistence_location, STORE_FILE)
            for name in glob.glob(glob.escape(path) + "*"):
                os.chown(name, *owner)

    def _open_doors(self, owner: tuple[int, int] | None) -> None:
        passed = PassedSockets.of(os.environ)
        no_delay = self._settings.set_tcp_nodelay
        for door in self._doors:
            try:
                self._ports += listen(
                    door.settings,
                    door.factory(),
                    passed,
                    self._reactor,
                    door.entrance,
                    self.broker.wheel,
                    no_delay=no_delay,
                    owner=owner,
                )
            except CannotListen as problem:
                _exit(str(problem))
        self._warnings += passed.close_rest()

    def startService(self) -> None:
        super().startService()
        signal.signal(signal.SIGHUP, self._hang_up)
        for warning in self._warnings:
            log.warn("{warning}", warning=warning)
        self._log.publish_with(partial(self.broker.announce, retain=False))
        self.sys_topics.start()
        self._memory_guard.start()
        self._reactor.callWhenRunning(self._lateness.start)
        self._write_pid_file()
        self._notifier.ready()
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
        self._notifier.stopping()
        self.sys_topics.stop()
        self._lateness.stop()
        self._log.publish_with(None)
        closed = DeferredList([maybeDeferred(port.stopListening) for port in self._ports])
        stopped = self.broker.stop()
        stopped.addBoth(self._stop_threads)
        if self._settings.pid_file is not None:
            _remove(self._settings.pid_file)
        log.info("pushd version {version} terminating", version=__version__)
        ended: Deferred[Any] = gatherResults([closed, stopped])
        return ended.addBoth(self._ended)

    def _stop_threads(self, result: Any) -> Any:
        self._hashers.stop()
        self._writers.stop()
        return result

    def _ended(self, result: Any) -> Any:
        self._notifier.stopped()
        return result

    # Reload

    def _hang_up(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self.reload)

    def reload(self) -> Deferred[None]:
        """
        Read limits, passwords, access rules and certificates again; nobody who is connected is dropped. Files
        are read in a thread, and nothing changes unless all of them are good.
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

    def _gauges(self) -> Deferred[Gauges]:
        return self.broker.gauges().addCallback(self._with_ours)

    def _with_ours(self, gauges: BrokerGauges) -> Gauges:
        return Gauges(
            clients_connected=gauges.clients_connected,
            clients_total=gauges.clients_total,
            subscriptions=gauges.subscriptions,
            shared_subscriptions=gauges.shared_subscriptions,
            retained_messages=gauges.retained_messages,
            stored_messages=gauges.stored_messages,
            stored_bytes=gauges.stored_bytes,
            sockets=self.gate.connection_count,
            packets_out_bytes=gauges.unsent_bytes,
            event_loop_late_ms=round(self._lateness.recent_s * 1000),
            scheduled_messages=len(self.broker.scheduled),
            store_failing=self._store.failing,
        )


def _doors(settings: Settings) -> list[tuple[object, ...]]:
    """What makes a listener another listener."""
    return [
        (
            each.port,
            each.path,
            each.addresses,
            each.socket_domain,
            each.bind_interface,
            each.protocol,
            each.tls,
            each.enable_proxy_protocol,
            each.proxy_protocol_v2_require_tls,
        )
        for each in settings.listeners
    ]


def _allow_many_files() -> int | None:
    """
    A connection is a file: take all that the system grants.

    :return: how many that is; ``None`` if there is no limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return None if hard == resource.RLIM_INFINITY else hard


def _account(user: str) -> tuple[int, int]:
    """The numbers of a user and its group."""
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        _exit(f"user: there is no user {user!r}")
    return entry.pw_uid, entry.pw_gid


def _make_folder(path: str, owner: tuple[int, int] | None) -> None:
    """Make the store's folder if it is missing; one that is there keeps its owner."""
    if os.path.isdir(path):
        return
    try:
        os.makedirs(path, mode=0o700)
        if owner is not None:
            os.chown(path, *owner)
    except OSError as problem:
        _exit(f"persistence_location {path}: {problem.strerror}")


def _exit(reason: str) -> NoReturn:
    sys.stderr.write(f"Error: {reason}\n")
    raise SystemExit(1)


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError as problem:
        log.warn("{path} could not be removed: {problem}", path=path, problem=problem)
