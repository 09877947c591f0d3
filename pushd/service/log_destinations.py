"""
Where log lines go: the words of ``log_dest``.

All of them write at once, buffer nothing, and never raise: a full disk must not stop the broker. What could
not be written is counted, and the count is written as soon as something can be.
"""

from __future__ import annotations

import os
import syslog
from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.logger import Logger

from pushd.service.log_lines import LogLine

STDOUT, STDERR = 1, 2

# As Mosquitto: only the one who runs the broker reads its log.
FILE_MODE = 0o600

# Non-blocking matters for a named pipe only: without a reader, opening it fails instead of waiting for one.
_OPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK

# Debug and internal lines have no topic: each publish would cause some more of them.
_TOPICS = {
    "error": "$SYS/broker/log/E",
    "warning": "$SYS/broker/log/W",
    "notice": "$SYS/broker/log/N",
    "information": "$SYS/broker/log/I",
    "subscribe": "$SYS/broker/log/M/subscribe",
    "unsubscribe": "$SYS/broker/log/M/unsubscribe",
}

_SYSLOG_PRIORITIES = {
    "error": syslog.LOG_ERR,
    "warning": syslog.LOG_WARNING,
    "notice": syslog.LOG_NOTICE,
    "information": syslog.LOG_INFO,
    "subscribe": syslog.LOG_NOTICE,
    "unsubscribe": syslog.LOG_NOTICE,
}  # the others are LOG_DEBUG


class LogFileError(Exception):
    """A log file cannot be opened. The text names the file and the cause."""


class Destination(Protocol):
    """Something that takes lines."""

    def write(self, line: LogLine) -> None:
        """Let the line go out. Never raises."""

    def close(self) -> None:
        """Let go of what was opened."""


class Descriptor:
    """An open file of the system, such as standard error: below Python's streams, which twistd replaces."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lost = 0  # lines since the last that went out whole

    def write(self, line: LogLine) -> None:
        """A traceback follows its line, each line of it behind a tab; no line of the log begins with one."""
        text = line.stamp + "\n\t".join((line.text, *line.details)) + "\n"
        if self._lost:
            # The new line first: the last one that went out may have been torn.
            text = f"\n{line.stamp}{self._lost} log lines could not be written\n{text}"
        try:
            self._put(text.encode("utf-8", "backslashreplace"))
            self._lost = 0
        except OSError:
            self._lost += 1

    def _put(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Nothing: who opened the descriptor closes it."""


class LogFile(Descriptor):
    """
    A file that lines are appended to; made if it is not there.

    :raises LogFileError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        try:
            super().__init__(os.open(path, _OPEN_FLAGS, FILE_MODE))
        except (OSError, ValueError) as problem:
            cause = getattr(problem, "strerror", None) or problem
            raise LogFileError(f"log_dest file {path}: {cause}") from problem

    def close(self) -> None:
        """Close the file. It takes no more lines."""
        os.close(self._fd)


class Syslog:
    """
    The system's log, which has its own time stamps.

    :param facility: 0-7 for local0-local7; None for daemon.
    :param emit: takes a priority and a text.
    """

    def __init__(self, facility: int | None, emit: Callable[[int, str], None] = syslog.syslog) -> None:
        code = syslog.LOG_DAEMON if facility is None else syslog.LOG_LOCAL0 + (facility << 3)
        syslog.openlog("pushd", syslog.LOG_PID, code)
        self._emit = emit

    def write(self, line: LogLine) -> None:
        """A traceback's lines are messages of their own."""
        priority = _SYSLOG_PRIORITIES.get(line.type, syslog.LOG_DEBUG)
        self._emit(priority, line.text)
        for detail in line.details:
            self._emit(priority, "\t" + detail)

    def close(self) -> None:
        """Nothing: there is one connection to syslog per process, and a successor may use it already."""


class LogTopics:
    """
    Topics below ``$SYS/broker/log``, for whoever may subscribe to them. Tracebacks stay at home.

    Lines that come while one is being published, because of that, are not published in their turn.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.publish: Callable[[str, bytes], None] | None = None  # None while there is no broker
        self._publishing = False

    def write(self, line: LogLine) -> None:
        """Publish the line if its type has a topic."""
        topic = _TOPICS.get(line.type)
        if topic is None or self.publish is None or self._publishing:
            return
        self._publishing = True
        try:
            self.publish(topic, (line.stamp + line.text).encode("utf-8", "backslashreplace"))
        except Exception:
            self._log.failure("A log line could not be published")  # to the other destinations
        finally:
            self._publishing = False

    def close(self) -> None:
        """Nothing was opened."""


def open_destinations(
    words: Iterable[str], facility: int | None, topics: LogTopics, directory: str
) -> list[Destination]:
    """
    :param words: as in `LogSettings.destinations`.
    :param topics: what ``topic`` stands for.
    :param directory: where relative paths begin.
    :raises LogFileError: a file cannot be opened; none stays open then.
    """
    opened: list[Destination] = []
    try:
        for word in words:
            opened += _open(word, facility, topics, directory)
    except LogFileError:
        for destination in opened:
            destination.close()
        raise
    return opened


def _open(word: str, facility: int | None, topics: LogTopics, directory: str) -> list[Destination]:
    """:return: nothing for ``none``, else one destination."""
    if word.startswith("file "):
        return [LogFile(os.path.join(directory, word.removeprefix("file ")))]
    match word:
        case "none":
            return []
        case "stderr":
            return [Descriptor(STDERR)]
        case "stdout":
            return [Descriptor(STDOUT)]
        case "syslog":
            return [Syslog(facility)]
        case "topic":
            return [topics]
    raise ValueError(f"log_dest {word}: there is no such destination")
