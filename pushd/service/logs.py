"""
The log, as the ``log_*`` lines of the settings want it.

Our code logs through twisted.logger, like all of Twisted; `LogObserver` is where those events end up. The
application that it is installed in logs through it from twistd's first line on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import get_ident
from typing import Any, Protocol, cast

from twisted.logger import ILogObserver, LogEvent
from twisted.python.components import Componentized
from zope.interface import implementer

from pushd.config.settings import LogSettings
from pushd.service.log_destinations import Destination, LogFileError, LogTopics, open_destinations
from pushd.service.log_lines import TYPES, line_of, type_of

__all__ = [
    "LINES_PER_SECOND",
    "LogFileError",
    "LogObserver",
    "RateLimit",
    "install",
    "make_observer",
    "with_twistd_flags",
]

# Of one kind. Whoever floods the broker shall not fill its disk, nor drown what others do.
LINES_PER_SECOND = 50


class Reactor(Protocol):
    """What a log needs of Twisted's reactor."""

    def seconds(self) -> float: ...
    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> object: ...
    def callWhenRunning(self, callable: Callable[..., object], *args: object) -> object: ...
    def callFromThread(self, callable: Callable[..., object], *args: object) -> object: ...


class RateLimit:
    """
    Lets through so many events of a kind per second, and then tells how many it held back.

    Events are of one kind if they have the same format: the text before anything was filled in.

    :param more: called, at the latest a second after, with the number held back and the last of those.
    """

    def __init__(self, reactor: Reactor, more: Callable[[int, LogEvent], None]) -> None:
        self._reactor = reactor
        self._more = more
        self._second_s = 0.0  # when the second began that is being counted
        self._seen: dict[object, int] = {}  # in that second
        self._held: dict[object, tuple[int, LogEvent]] = {}

    def admits(self, event: LogEvent) -> bool:
        """Whether the event may pass."""
        now_s = self._reactor.seconds()
        if not 0 <= now_s - self._second_s < 1:  # below 0 if the clock was set back
            self._second_s = now_s
            self._seen.clear()
            self.tell_held()
        kind = event.get("log_format")
        self._seen[kind] = self._seen.get(kind, 0) + 1
        if self._seen[kind] <= LINES_PER_SECOND:
            return True
        self._hold(kind, event)
        return False

    def _hold(self, kind: object, event: LogEvent) -> None:
        if not self._held:
            self._reactor.callLater(1, self.tell_held)
        count, _ = self._held.get(kind, (0, event))
        self._held[kind] = count + 1, event

    def tell_held(self) -> None:
        """Say what was held back since this was last said."""
        held, self._held = self._held, {}
        for count, event in held.values():
            self._more(count, event)


@implementer(ILogObserver)
class LogObserver:
    """
    Writes events of twisted.logger to the destinations of the settings.

    Made in the reactor's thread. Events from other threads are written by the reactor, a moment later. Until
    the reactor runs nothing is limited in number: the start may have much to complain about.

    :param types: the types to write whatever the settings say, now and after a reload.
    :raises LogFileError: a log file cannot be opened.
    """

    def __init__(self, settings: LogSettings, reactor: Reactor, types: frozenset[str] | None = None) -> None:
        self._reactor = reactor
        self._thread = get_ident()
        self._directory = os.getcwd()  # a daemon changes it, and relative paths mean this one
        self._topics = LogTopics()
        self._destinations: list[Destination] = []
        self._fixed_types = types
        self.configure(settings)
        self._limit = RateLimit(reactor, self._write_more)
        self._limited = False
        reactor.callWhenRunning(self._start_limiting)

    def __call__(self, event: LogEvent) -> None:
        """Write the event if its type is wanted."""
        if type_of(event) not in self._types:
            return
        if get_ident() != self._thread:
            self._reactor.callFromThread(self, event)
        elif not self._limited or self._limit.admits(event):
            self._write(event)

    def writes(self, *types: str) -> bool:
        """Whether a line of any of these types would be seen: making one costs more than dropping it."""
        return bool(self._destinations) and not self._types.isdisjoint(types)

    def configure(self, settings: LogSettings) -> None:
        """
        Log as these settings say from now on.

        :raises LogFileError: a log file cannot be opened; everything stays as it was.
        """
        replaced = self._destinations
        self._destinations = open_destinations(
            settings.destinations, settings.facility, self._topics, self._directory
        )
        self._settings = settings
        self._types = settings.types if self._fixed_types is None else self._fixed_types
        for destination in replaced:
            destination.close()

    def reopen(self) -> None:
        """
        Open the log files again by name, for they may have been moved away (logrotate).

        :raises LogFileError: one cannot be opened; the old ones stay in use.
        """
        self.configure(self._settings)

    def publish_with(self, publish: Callable[[str, bytes], None] | None) -> None:
        """
        Let ``log_dest topic`` publish with this: a topic name, a payload, not retained. None: no broker.
        """
        self._topics.publish = publish

    def close(self) -> None:
        """Write what was held back, and then nothing more."""
        self._limit.tell_held()
        replaced, self._destinations = self._destinations, []
        for destination in replaced:
            destination.close()

    def _start_limiting(self) -> None:
        self._limited = True

    def _write_more(self, count: int, event: LogEvent) -> None:
        self._write(event, f"{count} more, the last: ")

    def _write(self, event: LogEvent, before: str = "") -> None:
        line = line_of(event, type_of(event), self._stamp(event.get("log_time") or time.time()))
        if line is None:
            return
        if before:
            line = replace(line, text=before + line.text, details=())
        for destination in self._destinations:
            destination.write(line)

    def _stamp(self, time_s: float) -> str:
        if not self._settings.timestamp:
            return ""
        if self._settings.timestamp_format is None:
            return f"{int(time_s)}: "
        return f"{time.strftime(self._settings.timestamp_format, time.localtime(time_s))}: "


def make_observer(
    settings: LogSettings, *, reactor: Reactor | None = None, verbose: bool = False, quiet: bool = False
) -> LogObserver:
    """
    Make what writes the log.

    :param reactor: the process's own if it is not given.
    :param verbose: write every type, whatever the settings say (``-v``).
    :param quiet: write none (``-q``).
    :raises LogFileError: a log file cannot be opened.
    """
    if reactor is None:
        from twisted.internet import reactor as running  # not at the top, where it would choose for twistd

        reactor = cast(Reactor, running)
    types = frozenset(TYPES) if verbose else frozenset[str]() if quiet else None
    return LogObserver(settings, reactor, types)


def install(log: LogObserver, parent: object) -> None:
    """
    Let an application log through `log`; to be called from a service's ``setServiceParent``.

    twistd makes the application after the service and asks it for an observer before anything starts: the
    moment when the one is added to the other is the one to do it. Added to a service of another program,
    ours leaves that program's log alone.
    """
    if isinstance(parent, Componentized):
        parent.setComponent(ILogObserver, log)


def with_twistd_flags(settings: LogSettings, flags: Mapping[str, Any]) -> LogSettings:
    """
    Let twistd's own flags go before the file, as its users expect.

    :param flags: twistd's options. ``--syslog`` and ``--logfile`` say where lines go. A daemon has neither
        standard output nor standard error; what would go there goes to twistd's file, ``twistd.log``.
    """
    if flags.get("syslog"):
        return replace(settings, destinations=("syslog",))
    if flags.get("logfile"):
        path = flags["logfile"]
        return replace(settings, destinations=("stdout" if path == "-" else f"file {path}",))
    if flags.get("nodaemon", True) or flags.get("debug"):
        return settings
    return replace(settings, destinations=tuple(dict.fromkeys(map(_of_a_daemon, settings.destinations))))


def _of_a_daemon(word: str) -> str:
    return "file twistd.log" if word in ("stderr", "stdout") else word
