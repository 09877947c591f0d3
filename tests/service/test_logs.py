"""The log as the settings want it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.application.service import Application, MultiService
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import pushd
from pushd.config.settings import LogSettings
from pushd.service.logs import (
    LINES_PER_SECOND,
    LogFileError,
    LogObserver,
    RateLimit,
    install,
    make_observer,
    with_twistd_flags,
)


class FakeReactor(Clock):
    """A clock that runs nothing from threads, nor at its start, until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.when_running: list[Callable[[], object]] = []
        self.from_threads: list[Callable[[], object]] = []

    def callWhenRunning(self, callable: Callable[..., object], *args: object) -> None:
        self.when_running.append(lambda: callable(*args))

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None:
        self.from_threads.append(lambda: callable(*args))

    def run(self) -> None:
        """Begin to run."""
        for call in self.when_running:
            call()


class LogCase(SynchronousTestCase):
    """A log file, and a Logger whose events end in it."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "pushd.log"
        self.settings = LogSettings(destinations=(f"file {self.path}",), timestamp=False)
        self.reactor = FakeReactor()

    def observer(self, *, verbose: bool = False, quiet: bool = False, **settings: Any) -> LogObserver:
        """An observer on these settings, its files closed after the test; `self.log` logs to it."""
        observer = make_observer(
            replace(self.settings, **settings), reactor=self.reactor, verbose=verbose, quiet=quiet
        )
        self.addCleanup(observer.close)
        self.log = Logger(namespace="pushd.broker.broker", observer=observer)
        return observer

    def lines(self) -> list[str]:
        """What the file has."""
        return self.path.read_text().splitlines()


class WhatIsWrittenTests(LogCase):
    """``log_type``, ``-v``, ``-q`` and the time stamp."""

    def log_one_of_each(self) -> None:
        self.log.error("error")
        self.log.warn("warning")
        self.log.info("notice", log_type="notice")
        self.log.info("information")
        self.log.info("subscribe", log_type="subscribe")
        self.log.debug("debug")

    def test_is_an_observer(self) -> None:
        """It is what twisted.logger takes for an observer."""
        assert verifyObject(ILogObserver, self.observer())

    def test_default_types(self) -> None:
        """Without a log_type line: errors, warnings, notices and information."""
        self.observer()
        self.log_one_of_each()
        assert self.lines() == ["error", "warning", "notice", "information"]

    def test_chosen_types(self) -> None:
        """Only the types that the settings name."""
        self.observer(types=frozenset({"subscribe", "error"}))
        self.log_one_of_each()
        assert self.lines() == ["error", "subscribe"]

    def test_verbose(self) -> None:
        """-v is every type, after a reload as well."""
        observer = self.observer(verbose=True, types=frozenset())
        observer.configure(self.settings)
        self.log_one_of_each()
        assert len(self.lines()) == 6

    def test_quiet(self) -> None:
        """-q is none."""
        self.observer(quiet=True)
        self.log_one_of_each()
        assert self.lines() == []

    def test_seconds_since_the_epoch(self) -> None:
        """The time is Mosquitto's unless the settings say how to write it."""
        observer = self.observer(timestamp=True)
        observer({"log_format": "hello", "log_time": 1_700_000_000.9})
        assert self.lines() == ["1700000000: hello"]

    def test_time_format(self) -> None:
        """log_timestamp_format is strftime's, in local time."""
        observer = self.observer(timestamp=True, timestamp_format="%Y")
        observer({"log_format": "hello", "log_time": 1_690_000_000.0})
        assert self.lines() == ["2023: hello"]

    def test_nothing_to_say(self) -> None:
        """An event without a text leaves no empty line."""
        self.observer()({"log_format": ""})
        assert self.lines() == []

    def test_other_threads(self) -> None:
        """What another thread logs is written by the reactor, whose work it is to publish a line."""
        self.observer()
        thread = threading.Thread(target=self.log.info, args=["from afar"])
        thread.start()
        thread.join()
        assert self.lines() == []
        self.reactor.from_threads.pop()()
        assert self.lines() == ["from afar"]

    def test_topic(self) -> None:
        """With log_dest topic, lines are published once there is a broker, besides the other destinations."""
        sent: list[tuple[str, bytes]] = []
        observer = self.observer(destinations=("topic", *self.settings.destinations))
        self.log.info("early")
        observer.publish_with(lambda topic, payload: sent.append((topic, payload)))
        self.log.info("hello")
        observer.publish_with(None)
        self.log.info("late")
        assert sent == [("$SYS/broker/log/I", b"hello")]
        assert self.lines() == ["early", "hello", "late"]


class WhetherTests(LogCase):
    """Asked before a line is made that perhaps nobody sees."""

    def test_types(self) -> None:
        """Any of the types will do."""
        observer = self.observer(types=frozenset({"notice"}))
        self.assertTrue(observer.writes("subscribe", "notice"))
        self.assertFalse(observer.writes("subscribe", "unsubscribe"))

    def test_nowhere_to_write_to(self) -> None:
        """With ``log_dest none`` nothing is seen, whatever its type."""
        self.assertFalse(self.observer(destinations=("none",)).writes("notice"))


class ChangeTests(LogCase):
    """Rotation, reload and the end."""

    def test_reopen(self) -> None:
        """After logrotate has moved the file, reopen begins a new one."""
        observer = self.observer()
        self.log.info("one")
        moved = self.path.rename(self.path.with_suffix(".1"))
        self.log.info("two")
        observer.reopen()
        self.log.info("three")
        assert moved.read_text() == "one\ntwo\n"
        assert self.lines() == ["three"]

    def test_relative_path(self) -> None:
        """A relative path means the directory of the start, though a daemon goes elsewhere."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.path.parent)
        observer = self.observer(destinations=("file pushd.log",))
        os.chdir("/")
        observer.reopen()
        self.log.info("hello")
        assert self.lines() == ["hello"]

    def test_reopen_that_fails(self) -> None:
        """If the file cannot be opened again, the old one goes on being written."""
        observer = self.observer()
        moved = self.path.rename(self.path.with_suffix(".1"))
        self.path.mkdir()
        self.assertRaises(LogFileError, observer.reopen)
        self.log.info("hello")
        assert moved.read_text() == "hello\n"

    def test_configure(self) -> None:
        """A reload may change destinations and types."""
        observer = self.observer()
        other = self.path.with_name("other.log")
        observer.configure(
            replace(self.settings, destinations=(f"file {other}",), types=frozenset({"error"}))
        )
        self.log.info("information")
        self.log.error("error")
        assert other.read_text() == "error\n"
        assert self.lines() == []

    def test_cannot_start(self) -> None:
        """A log file that cannot be opened is said at the start."""
        self.assertRaises(LogFileError, self.observer, destinations=("file /nonexistent/pushd.log",))

    def test_close(self) -> None:
        """A closed log takes events and writes none."""
        self.observer().close()
        self.log.info("late")
        assert self.lines() == []


class LimitTests(LogCase):
    """A flood in the log."""

    def test_a_flood(self) -> None:
        """Of 1000 equal lines in a second 50 are written, and a second later how many there were more."""
        self.observer()
        self.reactor.run()
        for number in range(1000):
            self.log.info("Bad packet from {client}", client=number)
        assert len(self.lines()) == LINES_PER_SECOND
        self.reactor.advance(1)
        assert self.lines()[LINES_PER_SECOND:] == ["950 more, the last: Bad packet from 999"]

    def test_other_kinds_pass(self) -> None:
        """A flood of one kind does not drown the others."""
        self.observer()
        self.reactor.run()
        for _ in range(1000):
            self.log.info("flood")
        self.log.info("something else")
        assert self.lines()[-1] == "something else"

    def test_next_second(self) -> None:
        """In the next second lines are written again, after the number of those held back."""
        self.observer()
        self.reactor.advance(100.5)
        self.reactor.run()
        for _ in range(52):
            self.log.info("flood")
        self.reactor.advance(1)
        self.log.info("flood")
        assert self.lines()[-2:] == ["2 more, the last: flood", "flood"]

    def test_start_is_not_limited(self) -> None:
        """A settings file with 300 warnings shows them all."""
        self.observer()
        for number in range(300):
            self.log.warn("{warning}", warning=number)
        assert len(self.lines()) == 300

    def test_traceback_of_a_flood(self) -> None:
        """The line about those held back is one line, also when they were failures."""
        self.observer()
        self.reactor.run()
        for _ in range(LINES_PER_SECOND + 1):
            try:
                raise ValueError("x")
            except ValueError:
                self.log.failure("No luck")
        self.reactor.advance(1)
        assert self.lines()[-1] == "1 more, the last: No luck: ValueError: x"

    def test_close_tells(self) -> None:
        """What was held back in the last second is told at the end."""
        observer = self.observer()
        self.reactor.run()
        for _ in range(LINES_PER_SECOND + 3):
            self.log.info("flood")
        observer.close()
        assert self.lines()[-1] == "3 more, the last: flood"

    def test_clock_set_back(self) -> None:
        """A clock that is set back does not hold lines back until it has caught up."""
        told: list[tuple[int, LogEvent]] = []
        limit = RateLimit(self.reactor, lambda count, event: told.append((count, event)))
        self.reactor.advance(1000)
        event: LogEvent = {"log_format": "flood"}
        assert sum(limit.admits(event) for _ in range(60)) == LINES_PER_SECOND
        self.reactor.rightNow = 10.0
        assert limit.admits(event)
        assert told == [(10, event)]


class InstallTests(LogCase):
    """Which program logs through it."""

    def test_application(self) -> None:
        """An application asks its component for the observer to use."""
        observer, application = self.observer(), Application("test")
        install(observer, application)
        assert application.getComponent(ILogObserver) is observer

    def test_part_of_another_program(self) -> None:
        """A program that adds the service to a service of its own keeps its log."""
        install(self.observer(), MultiService())


class TwistdFlagTests(SynchronousTestCase):
    """twistd's flags go before the file."""

    settings = LogSettings(destinations=("stderr", "stdout", "topic"))

    def test_in_the_foreground(self) -> None:
        """With -n alone, or outside twistd, the settings count."""
        for flags in ({"nodaemon": 1}, {"nodaemon": 0, "debug": True}, {}):
            assert with_twistd_flags(self.settings, flags) is self.settings

    def test_daemon(self) -> None:
        """A daemon's lines go to twistd.log rather than nowhere, once."""
        changed = with_twistd_flags(self.settings, {"nodaemon": 0, "logfile": None})
        assert changed.destinations == ("file twistd.log", "topic")

    def test_daemon_with_a_log_file(self) -> None:
        """A daemon whose settings name a file logs there and nowhere else."""
        settings = LogSettings(destinations=("file /var/log/pushd.log",))
        assert with_twistd_flags(settings, {"nodaemon": 0}) == settings

    def test_logfile(self) -> None:
        """--logfile says where; - is standard output."""
        assert with_twistd_flags(self.settings, {"logfile": "x.log"}).destinations == ("file x.log",)
        assert with_twistd_flags(self.settings, {"logfile": "-"}).destinations == ("stdout",)

    def test_syslog(self) -> None:
        """--syslog is log_dest syslog."""
        assert with_twistd_flags(self.settings, {"syslog": 1}).destinations == ("syslog",)


PLUGIN = """
from twisted.application.service import Service, ServiceMaker
from twisted.internet import reactor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python import usage

from pushd.config.settings import LogSettings
from pushd.service.logs import install, make_observer, with_twistd_flags

log = Logger(namespace="pushd.test")


class Options(usage.Options):
    pass


class Noisy(Service):
    def __init__(self, observer):
        self.observer = observer

    def setServiceParent(self, parent):
        install(self.observer, parent)
        super().setServiceParent(parent)

    def startService(self):
        log.info("hello from {who}", who="a\\x1bb")
        print("printed")
        reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        reactor.callWhenRunning(self.run)

    def run(self):
        reactor.callInThread(log.info, "from a thread")
        reactor.callLater(0.05, reactor.stop)
        raise ValueError("no\\nluck")


def makeService(options):
    settings = with_twistd_flags(LogSettings(timestamp=False), options.parent)
    return Noisy(make_observer(settings))


noisy = ServiceMaker("noisy", "twisted.plugins.noisy_plugin", "logs", "noisy")
"""


class TwistdTests(SynchronousTestCase):
    """A real twistd with a plugin that installs the log as pushd does."""

    def run_twistd(self, *flags: str) -> tuple[subprocess.CompletedProcess[str], str]:
        """:return: how it ended, and what it wrote to log.txt if it did."""
        with tempfile.TemporaryDirectory() as name:
            plugins = Path(name, "twisted", "plugins")
            plugins.mkdir(parents=True)
            (plugins / "noisy_plugin.py").write_text(PLUGIN)
            root = str(Path(pushd.__file__).parent.parent)
            ended = subprocess.run(
                [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *flags, "noisy"],
                cwd=name,
                env={**os.environ, "PYTHONPATH": os.pathsep.join((name, root))},
                capture_output=True,
                text=True,
                timeout=60,
            )
            log = Path(name, "log.txt")
            return ended, log.read_text() if log.exists() else ""

    def check(self, written: str) -> None:
        """All that was said is there, each in its line, and no port or factory."""
        lines = written.splitlines()
        assert lines[0].startswith("twistd ")
        assert lines[-1] == "Server Shut Down."
        for wanted in (r"hello from a\x1bb", "printed", "from a thread"):
            assert wanted in lines
        assert r"ValueError: no\nluck" in written
        assert "\tTraceback (most recent call last):" in lines
        assert "actory" not in written

    def test_standard_error(self) -> None:
        """In the foreground everything from twistd's first line to its last is on standard error."""
        ended, _ = self.run_twistd("-n", "--pidfile=")
        self.check(ended.stderr)
        assert ended.stdout == ""

    def test_logfile_flag(self) -> None:
        """twistd's --logfile takes it all."""
        ended, written = self.run_twistd("-n", "--pidfile=", "--logfile=log.txt")
        self.check(written)
        assert (ended.stdout, ended.stderr) == ("", "")
