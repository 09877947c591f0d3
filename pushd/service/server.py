"""The service: opens the doors, keeps them, closes them. One per process."""

from __future__ import annotations

import atexit
import glob
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred, execute, gatherResults
from twisted.internet.task import Cooperator
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.python.util import switchUID

from pushd import __version__
from pushd.broker.broker import Broker
from pushd.broker.census import Gauges as BrokerGauges
from pushd.broker.interfaces import IStore
from pushd.config.settings import ListenerSettings, Settings
from pushd.people.interfaces import PeopleUnavailable
from pushd.plugins.table import PluginTable
from pushd.service.access import AccessEntries
from pushd.service.accounts import AccountLogins
from pushd.service.assembly import Door, Logins, Office, Publisher, ReadFiles, limits_of, read_files
from pushd.service.attachments import AttachmentOffice
from pushd.service.auto_subscription import Subscribing
from pushd.service.callers import CallerOffice
from pushd.service.doors import Change, Doors, Shut
from pushd.service.friends import SessionFriends
from pushd.service.garbage import Collector
from pushd.service.gate import Entrance, Gate
from pushd.service.hot_topics import HotTopicsOffice
from pushd.service.lateness import Lateness
from pushd.service.listening import CannotListen
from pushd.service.logs import LogFileError, LogObserver, install
from pushd.service.memory_guard import MemoryGuard
from pushd.service.people import PeopleOffice, make_people
from pushd.service.push_api import PushApi
from pushd.service.pushing import Pushing
from pushd.service.redis import RedisOffice
from pushd.service.reload import (
    GRACE_S,
    REASONS,
    Farewell,
    OneAtATime,
    Read,
    cut_off,
    kept_until_restart,
    read_everything,
)
from pushd.service.signals import Signals
from pushd.service.status import StatusOffice, make_history
from pushd.service.subscription_list import subscription_lines
from pushd.service.systemd import Notifier, PassedSockets
from pushd.service.unified_push import UnifiedPush
from pushd.stats.sys_topics import Gauges, SysTopics
from pushd.storage.commit_times import CommitTimes
from pushd.storage.database import Durability
from pushd.storage.errors import StoreError
from pushd.storage.memory import MemoryStore
from pushd.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from pushd.gateway.http.pages import Pages
    from pushd.gateway.identity.guards import Guard

log = Logger()

# Hashing keeps one core busy; a second thread lets one slow argon2id check not hold up the others.
HASHING_THREADS = 2


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
        self._reloading = OneAtATime(self._reload)
        self._signals = Signals(
            {"SIGHUP": self.reload, "SIGUSR1": self.save, "SIGUSR2": self.tell_subscriptions}
            | {"SIGRTMIN": self.reopen_log},
            reactor,
        )
        self._hashers = ThreadPool(0, HASHING_THREADS, "hashing")
        self._notifier = Notifier(os.environ, reactor)
        self._writers = ThreadPool(0, 1, "store")  # SQLite has one writer at a time
        self._store = self._make_store(settings)
        self.broker = Broker(reactor, self._store, limits_of(settings.limits), time.monotonic)
        self._memory_guard = MemoryGuard(self.broker)
        self._collector = Collector(reactor)
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
        self._redis = RedisOffice(settings.redis_url, reactor)
        self.hot_topics = HotTopicsOffice(self.broker, settings, reactor, self._redis)
        self.status = StatusOffice(
            self.broker.counters,
            self._gauges,
            getattr(self._store, "commit_times", CommitTimes()),  # one in memory never commits
            partial(make_history, settings, reactor),
            reactor,
        )
        self.people = PeopleOffice(partial(make_people, settings, self._redis, self._in_thread), reactor)
        self.friends = SessionFriends(self.people, self.broker, reactor)
        self.accounts = AccountLogins(
            self.people, self.broker, lambda: self.doors.all, self._in_hashing_thread, reactor
        )
        self._access = AccessEntries(
            self.people, self.broker, lambda: self.doors.all, self._in_thread, reactor, self._is_admin
        )
        self._logins = Logins(self.broker, HASHING_THREADS, self.accounts.make, self._access.make)
        self._callers = CallerOffice(
            self.people,
            self.broker,
            self._logins.failures,
            lambda: self._settings,
            lambda: self.doors.all,
            reactor,
        )
        files = read_files(settings)
        self.friends.route_by(files.routing)
        self._subscribing = Subscribing(self.broker, self.people, reactor)
        self._subscribing.use(settings, files.subscribing)
        self._warnings = [*settings.warnings, *files.warnings()]
        self._plugins = self._make_plugins(files)
        self._attachments = AttachmentOffice(lambda: self._settings, reactor)
        self._pushing = Pushing(self.broker, lambda: self._settings, reactor.seconds, self._attachments)
        self._push_api = PushApi(self.broker, lambda: self._settings, self._pushing.desk, reactor)
        self._unified_push = UnifiedPush(
            self.broker, self._is_admin, lambda: self._settings.base_url or "", reactor.seconds
        )
        self.doors = Doors(self._make_door, reactor, self.broker.wheel)
        self.doors.prepare(settings, files)
        self._use(settings)

    def _make_store(self, settings: Settings) -> IStore:
        if not settings.persistence:
            return MemoryStore()
        return SqliteStore(
            settings.store_path,
            durability=Durability[settings.durability.upper()],
            in_thread=self._in_writer_thread,
            call_later=self._reactor.callLater,
        )

    def _in_writer_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Before the reactor runs there is nothing to keep waiting, and no door opens before all is read."""
        if not self._reactor.running:
            return execute(function, *arguments)
        return deferToThreadPool(self._reactor, self._writers, function, *arguments)

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """For what may block, and need not wait for anything else that does."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)

    def _in_hashing_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._hashers, function, *arguments)

    def _make_door(self, listener: ListenerSettings, entrance: Entrance | None) -> Door:
        return Door(
            listener,
            self.broker,
            self.gate,
            self._in_hashing_thread,
            self._reactor,
            self._logins,
            healthy=lambda: self._store.failing is None,
            entrance=entrance,
            book=lambda: self.friends.book,
            office=Office(self._is_admin, self._make_pages, self._pushing.desk, self._callers.reception),
        )

    def _is_admin(self, username: str) -> bool:
        return username in self._settings.admin_user

    def _make_pages(self, guard: Guard, publisher: Publisher) -> Pages:
        from pushd.service.pages import Desk, make_pages

        desk = Desk(
            self.broker,
            lambda: self._settings,
            self._in_thread,
            partial(self._reactor.callLater, 0),
            self.status,
            self.people,
            self.accounts,
            self.hot_topics.hot_topics,
            self._push_api,
            self._attachments,
            self._unified_push,
        )
        return make_pages(guard, publisher, desk)

    def _make_plugins(self, files: ReadFiles) -> PluginTable:
        """:raises PluginError: one cannot be made of its class."""
        files.table = PluginTable(files.plugins.values(), self.broker, self._reactor)
        return files.table

    def _use(self, settings: Settings) -> None:
        """Go by these settings, as far as they are not the doors' own."""
        self._settings = settings
        self.broker.limits = limits_of(settings.limits)
        self.broker.archive.keep_topics(settings.cache_topic)
        self.broker.policies = {door.policy.name: door.policy for door in self.doors.all}
        for door in self.doors.all:
            door.log(
                connections=settings.log.connection_messages and self._log.writes("notice"),
                subscriptions=self._log.writes("subscribe", "unsubscribe"),
            )

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
        elif os.geteuid() == 0:
            self._warnings.append("pushd runs as root, for want of a line `user NAME`")
        self.gate.max_files = _allow_many_files()
        self._hashers.start()
        self._writers.start()
        self._open_store(account)
        self._open_attachments(account)
        self._open_doors(account)
        if account is not None:
            switchUID(*account)

    def _open_store(self, owner: tuple[int, int] | None) -> None:
        """Read what the last process left. It never starts empty because that could not be read."""
        settings = self._settings
        if (settings.persistence or self.people.in_use) and settings.persistence_location:
            _make_folder(settings.persistence_location, owner)
        failures: list[Failure] = []
        # The reactor does not run yet: all of this has happened when it returns. An exception would not
        # get out of the Deferred.
        self.broker.start(self.doors.all[0].policy).addErrback(failures.append)
        for failure in failures:
            if failure.check(StoreError) is None:
                failure.raiseException()
            _exit(failure.getErrorMessage())
        if settings.persistence and owner is not None:
            # Opened before privileges are dropped; who is left must be able to write to it.
            for name in glob.glob(glob.escape(settings.store_path) + "*"):
                os.chown(name, *owner)

    def _open_attachments(self, owner: tuple[int, int] | None) -> None:
        try:
            self._attachments.open(owner)
        except OSError as problem:
            _exit(f"attachment_cache_dir: {problem}")

    def _open_doors(self, owner: tuple[int, int] | None) -> None:
        passed = PassedSockets.of(os.environ)
        try:
            self.doors.open(passed, owner)
        except CannotListen as problem:
            _exit(str(problem))
        self._warnings += passed.close_rest()

    def startService(self) -> None:
        super().startService()
        self._signals.listen()
        self._open_people()
        self._start_plugins()
        self._subscribing.start()
        for warning in self._warnings:
            log.warn("{warning}", warning=warning)
        self._log.publish_with(partial(self.broker.announce, retain=False))
        self.sys_topics.start()
        self.hot_topics.start()
        self.status.start()
        self._push_api.start()
        self._attachments.start()
        self._memory_guard.start()
        self._collector.start()
        self._reactor.callWhenRunning(self._lateness.start)
        self._write_pid_file()
        self._notifier.ready()
        # Last: whoever waits for this line may send signals and read the pid file.
        log.info("pushd version {version} running", version=__version__)

    def _open_people(self) -> None:
        """Not before the process is the user that it stays: a file that is made belongs to that one."""
        try:
            self.people.start()
        except PeopleUnavailable as problem:
            _exit(str(problem))
        self._access.start()
        if self.people.in_use:
            self._unified_push.follow(self.people)
        self.friends.look_again()

    def _start_plugins(self) -> None:
        """Those that take their time let nobody in before they have started."""
        failures: list[Failure] = []
        starting = self._plugins.start()
        starting.addCallbacks(lambda _: self.broker.access_rules_changed(), failures.append)
        for failure in failures:
            _exit(failure.getErrorMessage())
        starting.addCallback(lambda _: self._plugins_started(failures))

    def _plugins_started(self, failures: list[Failure]) -> None:
        """The end, if one of them could not be started after all."""
        self.status.ready = bool(self.running) and not failures
        for failure in failures:
            log.critical("{problem}", problem=failure.getErrorMessage())
            # twistd knows no other end of a reactor than a good one; who restarts us has to.
            atexit.register(os._exit, 1)
            self._reactor.stop()

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
        self.hot_topics.stop()
        self._subscribing.stop()
        self._lateness.stop()
        self._collector.stop()
        self._callers.stop()
        self._push_api.stop()
        self._log.publish_with(None)
        watched = self.status.stop()
        closed = self.doors.close()
        stopped = self.broker.stop()
        stopped.addBoth(lambda _: self._plugins.stop())
        stopped.addBoth(lambda _: self.people.stop())
        stopped.addBoth(lambda _: self._redis.close())
        stopped.addBoth(self._stop_threads)
        if self._settings.pid_file is not None:
            _remove(self._settings.pid_file)
        log.info("pushd version {version} terminating", version=__version__)
        ended: Deferred[Any] = gatherResults([watched, closed, stopped])
        return ended.addBoth(self._ended)

    def _stop_threads(self, result: Any) -> Any:
        self._attachments.stop()
        self._hashers.stop()
        self._writers.stop()
        return result

    def _ended(self, result: Any) -> Any:
        self._signals.leave()  # not before: the default of most is to end the process at once
        self._notifier.stopped()
        return result

    # Signals

    def save(self) -> None:
        """Everything is stored as it happens; this tells when all that did so far is safe."""
        if not self._settings.persistence:
            log.info("There is nothing to save: persistence is off.", log_type="notice")
            return
        saved = self._store.barrier()
        saved.addCallback(lambda _: log.info("Everything is saved.", log_type="notice"))

    def tell_subscriptions(self) -> None:
        """Write them to the log."""
        log.info("Subscriptions:", log_type="notice")
        for line in subscription_lines(self.broker.sessions.values()):
            # Each is a format of its own. Lines of the same are held back when there are many at once.
            log.info(line.replace("{", "{{").replace("}", "}}"), log_type="notice")

    def reopen_log(self) -> None:
        """The log files were moved away (logrotate)."""
        try:
            self._log.reopen()
        except LogFileError as problem:
            log.error("The log files were not opened again: {problem}", problem=problem)
        else:
            log.info("The log files are opened again.")

    def reload(self) -> None:
        """Read the settings again, and everything that they name; see `pushd.service.reload`."""
        self._reloading.ask()

    def _reload(self) -> Deferred[Any]:
        log.info("Reloading the settings.")
        reading = self._in_thread(read_everything, self._read_again)
        return reading.addCallback(self._replace).addErrback(self._not_reloaded)

    def _replace(self, read: Read) -> Deferred[None]:
        return Deferred.fromCoroutine(self._replace_with(read, self._make_plugins(read.files)))

    async def _replace_with(self, read: Read, plugins: PluginTable) -> None:
        """New plugins start before the old ones stop: if one of them cannot, nothing has changed."""
        await plugins.start()
        old = self._plugins
        try:
            if self.running:  # otherwise the end came first
                await self._change(read, plugins)
        finally:
            await (old if plugins is self._plugins else plugins).stop()

    def _change(self, read: Read, plugins: PluginTable) -> Deferred[None]:
        """All at once, or nothing; so what may fail comes first."""
        if self._settings.redis_url is not None:
            self.people.prepare()
        change = Change(self.doors, read.settings, read.files, read.places)
        change.open()
        try:
            self._log.configure(read.settings.log)
        except LogFileError:
            change.undo()
            raise
        shut = change.commit()
        self._plugins = plugins
        settings, unchanged = kept_until_restart(self._settings, read.settings)
        self._use(settings)
        self.friends.route_by(read.files.routing)
        self._subscribing.use(settings, read.files.subscribing)
        self.sys_topics.set_interval(settings.sys_interval_s)
        self.hot_topics.use(settings)
        self.broker.access_rules_changed()
        self.friends.look_again()
        self._tell_changed(read, unchanged)
        return self._see_out(shut)

    def _see_out(self, shut: list[Shut]) -> Deferred[None]:
        """Whoever has to go goes; the next reload waits until all are looked at."""
        farewell = Farewell(self.broker, self.doors, shut)
        if shut:
            self._reactor.callLater(GRACE_S, cut_off, shut)
        pieces = Cooperator(scheduler=partial(self._reactor.callLater, 0)).cooperate(farewell.pieces())
        return pieces.whenDone().addCallback(lambda _: None)

    def _tell_changed(self, read: Read, unchanged: list[str]) -> None:
        for warning in (*read.settings.warnings, *read.files.warnings()):
            log.warn("{warning}", warning=warning)
        for name in unchanged:
            log.warn("{name} has changed: that takes effect at the next start.", name=name)
        log.info("The settings, and the files that they name, are reloaded.", log_type="notice")

    @staticmethod
    def _not_reloaded(failure: Failure) -> None:
        if failure.check(*REASONS) is None:
            log.failure("Nothing was reloaded", failure=failure)
        else:
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
            packets_out=gauges.unsent_packets,
            packets_out_bytes=gauges.unsent_bytes,
            event_loop_late_ms=round(self._lateness.recent_s * 1000),
            scheduled_messages=len(self.broker.scheduled),
            store_failing=self._store.failing,
        )


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
