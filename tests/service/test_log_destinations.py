"""The words of ``log_dest``."""

from __future__ import annotations

import os
import stat
import syslog
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.service.log_destinations import (
    Descriptor,
    LogFile,
    LogFileError,
    LogTopics,
    Syslog,
    open_destinations,
)
from pushd.service.log_lines import TYPES, LogLine

LINE = LogLine("notice", "12: ", "hello")


class DirectoryCase(SynchronousTestCase):
    """A directory for log files."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.path = self.directory / "pushd.log"

    def open(self, *words: str) -> list[object]:
        """What `open_destinations` makes of the words, closed after the test."""
        opened = open_destinations(words, None, LogTopics(), str(self.directory))
        for destination in opened:
            self.addCleanup(destination.close)
        return list(opened)


class DescriptorTests(SynchronousTestCase):
    """Standard output and standard error."""

    def setUp(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        os.set_blocking(self.reader, False)
        self.addCleanup(os.close, self.writer)
        self.addCleanup(os.close, self.reader)
        self.destination = Descriptor(self.writer)

    def test_at_once(self) -> None:
        """A line is there when the call returns."""
        self.destination.write(LINE)
        assert os.read(self.reader, 100) == b"12: hello\n"

    def test_utf8(self) -> None:
        """Lines are UTF-8, whatever the locale; a broken time format does not stop them."""
        self.destination.write(LogLine("notice", "\udcff: ", "Tür"))
        assert os.read(self.reader, 100) == b"\\udcff: T\xc3\xbcr\n"

    def test_traceback(self) -> None:
        """Lines of a traceback begin with a tab, as no other line does."""
        self.destination.write(LogLine("error", "12: ", "oops", ("Traceback:", "  File x")))
        assert os.read(self.reader, 100) == b"12: oops\n\tTraceback:\n\t  File x\n"

    def test_lost_lines_are_counted(self) -> None:
        """Nothing raises while nothing can be written; then the log says how much it lacks."""
        filled = 0
        while filled < 10_000_000:
            try:
                filled += os.write(self.writer, bytes(4096))
            except BlockingIOError:
                break
        self.destination.write(LINE)
        self.destination.write(LINE)
        while filled > 0:
            filled -= len(os.read(self.reader, 65536))
        self.destination.write(LINE)
        assert os.read(self.reader, 1000) == b"\n12: 2 log lines could not be written\n12: hello\n"


class LogFileTests(DirectoryCase):
    """``log_dest file PATH``"""

    def test_made_for_the_owner_alone(self) -> None:
        """A new log file is readable to whoever runs the broker and nobody else."""
        self.open(f"file {self.path}")
        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600

    def test_appends(self) -> None:
        """A restart goes on where the last run ended."""
        self.path.write_text("earlier\n")
        (log,) = self.open(f"file {self.path}")
        assert isinstance(log, LogFile)
        log.write(LINE)
        assert self.path.read_text() == "earlier\n12: hello\n"

    def test_cannot_be_opened(self) -> None:
        """The error names the file and the cause."""
        error = self.assertRaises(LogFileError, self.open, f"file {self.directory}")
        assert str(error) == f"log_dest file {self.directory}: Is a directory"
        error = self.assertRaises(LogFileError, self.open, "file /nonexistent/pushd.log")
        assert str(error) == "log_dest file /nonexistent/pushd.log: No such file or directory"
        self.assertRaises(LogFileError, self.open, "file a\0b")

    def test_pipe_without_a_reader(self) -> None:
        """A named pipe that nobody reads is an error at the start, not a start that hangs."""
        os.mkfifo(self.path)
        self.assertRaises(LogFileError, self.open, f"file {self.path}")


class OpenDestinationsTests(DirectoryCase):
    """All the words together."""

    def test_add_up(self) -> None:
        """Every word is a destination of its own, but none."""
        opened = self.open("none", "stderr", "stdout", "syslog", "topic", "file with a space.log")
        assert [type(each) for each in opened] == [Descriptor, Descriptor, Syslog, LogTopics, LogFile]
        assert (self.directory / "with a space.log").exists()

    def test_all_or_nothing(self) -> None:
        """When one file cannot be opened, the others are not left open."""
        before = len(os.listdir("/dev/fd"))
        self.assertRaises(LogFileError, self.open, f"file {self.path}", "file /nonexistent/x")
        assert len(os.listdir("/dev/fd")) == before

    def test_unknown(self) -> None:
        """A word that the settings should have refused is not passed over."""
        self.assertRaises(ValueError, self.open, "printer")


class SyslogTests(SynchronousTestCase):
    """``log_dest syslog``"""

    def setUp(self) -> None:
        self.sent: list[tuple[int, str]] = []
        self.destination = Syslog(3, lambda priority, text: self.sent.append((priority, text)))
        self.addCleanup(syslog.closelog)

    def test_priorities(self) -> None:
        """Each type has a priority."""
        for line_type in TYPES:
            self.destination.write(LogLine(line_type, "12: ", line_type))
        assert {text: priority for priority, text in self.sent} == {
            "error": syslog.LOG_ERR,
            "warning": syslog.LOG_WARNING,
            "notice": syslog.LOG_NOTICE,
            "information": syslog.LOG_INFO,
            "debug": syslog.LOG_DEBUG,
            "subscribe": syslog.LOG_NOTICE,
            "unsubscribe": syslog.LOG_NOTICE,
            "websockets": syslog.LOG_DEBUG,
            "internal": syslog.LOG_DEBUG,
        }

    def test_traceback(self) -> None:
        """The lines of a traceback follow as messages of their own."""
        self.destination.write(LogLine("error", "", "oops", ("Traceback:",)))
        assert [text for _, text in self.sent] == ["oops", "\tTraceback:"]


class LogTopicsTests(SynchronousTestCase):
    """``log_dest topic``"""

    def setUp(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.topics = LogTopics()
        self.topics.publish = lambda topic, payload: self.sent.append((topic, payload))

    def test_topic_by_type(self) -> None:
        """Each type has its topic; debug and what is below it has none."""
        for line_type in TYPES:
            self.topics.write(LogLine(line_type, "12: ", "hello"))
        assert self.sent == [
            ("$SYS/broker/log/E", b"12: hello"),
            ("$SYS/broker/log/W", b"12: hello"),
            ("$SYS/broker/log/N", b"12: hello"),
            ("$SYS/broker/log/I", b"12: hello"),
            ("$SYS/broker/log/M/subscribe", b"12: hello"),
            ("$SYS/broker/log/M/unsubscribe", b"12: hello"),
        ]

    def test_no_broker(self) -> None:
        """Lines before the broker is there go elsewhere only."""
        self.topics.publish = None
        self.topics.write(LINE)
        assert self.sent == []

    def test_no_echo(self) -> None:
        """A line that publishing a line causes is not published, and the next is."""

        def publish(topic: str, payload: bytes) -> None:
            self.sent.append((topic, payload))
            self.topics.write(LogLine("warning", "", "queue full"))

        self.topics.publish = publish
        self.topics.write(LINE)
        self.topics.write(LINE)
        assert [topic for topic, _ in self.sent] == ["$SYS/broker/log/N", "$SYS/broker/log/N"]

    def test_a_failing_publish(self) -> None:
        """A broker that fails is reported, and does not stop the logging."""

        def publish(topic: str, payload: bytes) -> None:
            raise RuntimeError("no broker")

        self.topics.publish = publish
        self.topics.write(LINE)
        self.topics.write(LINE)
        assert len(self.flushLoggedErrors(RuntimeError)) == 2
