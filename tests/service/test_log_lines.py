"""From events to lines."""

from __future__ import annotations

import unicodedata
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from twisted.python import log as legacy_log
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.service.log_lines import HEAD_LINES, MAX_LINE_CHARS, TAIL_LINES, LogLine, escape, line_of, type_of


def event_of(level: str, text: str, namespace: str = "pushd.broker", **fields: Any) -> LogEvent:
    """The event that a Logger makes of this."""
    events: list[LogEvent] = []
    observer = cast(ILogObserver, events.append)
    Logger(namespace=namespace, observer=observer).emit(LogLevel.levelWithName(level), text, **fields)
    return events[0]


def legacy_event(*message: str, **fields: Any) -> LogEvent:
    """The event that the older twisted.python.log makes of this."""
    events: list[LogEvent] = []
    publisher = legacy_log.LogPublisher(publishPublisher=events.append)
    publisher.msg(*message, **fields)
    return events[0]


def failure_of(problem: BaseException) -> Failure:
    """A failure with a traceback of one frame."""
    try:
        raise problem
    except BaseException:
        return Failure()


class TypeOfTests(SynchronousTestCase):
    """Which ``log_type`` an event has."""

    def test_by_level(self) -> None:
        """Each level of Twisted has its word."""
        words = {
            "critical": "error",
            "error": "error",
            "warn": "warning",
            "info": "information",
            "debug": "debug",
        }
        assert {level: type_of(event_of(level, "text")) for level in words} == words

    def test_declared(self) -> None:
        """Code that says what type its line has is believed."""
        assert type_of(event_of("info", "text", log_type="notice")) == "notice"
        assert type_of(event_of("debug", "text", log_type="subscribe")) == "subscribe"

    def test_declared_nonsense(self) -> None:
        """A word that is no type leaves the level to decide."""
        assert type_of(event_of("warn", "text", log_type="alarm")) == "warning"

    def test_no_level(self) -> None:
        """An event without a level, made by hand, is information."""
        assert type_of({"log_format": "text"}) == "information"

    def test_what_twistd_says(self) -> None:
        """twistd's lines about start and end are information."""
        event = event_of("info", "starting up", "twisted.scripts._twistd_unix.UnixAppLogger")
        assert type_of(event) == "information"

    def test_factories_and_ports(self) -> None:
        """Ports and factories that start and stop are debug, also our own factories."""
        started = event_of("info", "Starting factory {factory!r}", "pushd.transports.tcp.F", factory=1)
        assert type_of(started) == "debug"
        assert type_of(legacy_event("Site starting on 8080")) == "debug"

    def test_legacy_errors(self) -> None:
        """An error is an error, whichever of Twisted's two ways it was logged."""
        assert type_of(legacy_event("oops", isError=1)) == "error"


class LineOfTests(SynchronousTestCase):
    """What the line says."""

    def line(self, event: LogEvent) -> LogLine:
        """The event's line."""
        line = line_of(event, "error", "12: ")
        assert line is not None
        return line

    def test_filled_in(self) -> None:
        """Fields stand where the format wants them, behind the stamp."""
        line = self.line(event_of("info", "{client} left {port}", client="door", port=1883))
        assert line == LogLine("error", "12: ", "door left 1883")

    def test_nothing_said(self) -> None:
        """An event without a text is no line."""
        assert line_of({"log_level": LogLevel.info}, "information", "") is None

    def test_hostile_client_id(self) -> None:
        """A client id with a newline and a forged line in it stays within its line."""
        line = self.line(event_of("info", "{client} left", client="x\n1700000000: \x1b[2Jroot came"))
        assert line.text == r"x\n1700000000: \x1b[2Jroot came left"

    def test_field_that_breaks(self) -> None:
        """An event that cannot be formatted is still told, in one line."""
        assert "Unable to format event" in self.line(event_of("info", "{missing}")).text

    def test_failure(self) -> None:
        """A failure's line says what happened; its traceback follows in lines of its own."""
        line = self.line(event_of("critical", "No luck", log_failure=failure_of(ValueError("bad\nday"))))
        assert line.text == r"No luck: ValueError: bad\nday"
        assert line.details[0].startswith("Traceback")
        assert any("failure_of" in detail for detail in line.details)
        assert all(detail.isprintable() for detail in line.details)

    def test_failure_without_a_text(self) -> None:
        """A failure that comes alone, as from a Deferred that nobody handled, speaks for itself."""
        event = event_of("critical", "", log_failure=failure_of(ValueError("bad day")))
        assert self.line(event).text == "ValueError: bad day"

    def test_colon_is_not_doubled(self) -> None:
        """A text that already leads up to the failure with a colon gets no second one."""
        event = event_of("critical", "Unhandled:", log_failure=failure_of(ValueError("x")))
        assert self.line(event).text == "Unhandled: ValueError: x"

    def test_legacy_failure(self) -> None:
        """log.err of the older twisted.python.log is told the same way."""
        line = self.line(legacy_event(failure=failure_of(ValueError("x")), why="No luck", isError=1))
        assert line.text == "No luck: ValueError: x"
        assert line.details[0].startswith("Traceback")

    def test_long_traceback(self) -> None:
        """Of a thousand lines, the first and the last are told, and how many are not."""
        event = event_of("critical", "", log_failure=failure_of(ValueError("\n".join("x" * 1000))))
        details = self.line(event).details
        assert len(details) == HEAD_LINES + TAIL_LINES + 1
        assert details[HEAD_LINES].endswith("lines left out)")

    def test_exception_without_a_text(self) -> None:
        """An exception whose __str__ fails is logged all the same."""

        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no")

        line = self.line(event_of("critical", "No luck", log_failure=failure_of(Mute())))
        assert line.text.startswith("No luck: Mute: ")


class EscapeTests(SynchronousTestCase):
    """Text that is fit for a line."""

    def test_plain(self) -> None:
        """Text that people read stays as it is, in any script."""
        for text in ("a topic/with 3 levels", "Tür", "日本", "Привет", "🚪", "back\\slash", ""):
            assert escape(text) == text

    def test_not_printable(self) -> None:
        """Controls, separators, overrides and lone surrogates appear as in a Python string."""
        for text, wanted in (
            ("\x00", r"\x00"),
            ("\n\r\t", r"\n\r\t"),
            ("\x1b[31m", r"\x1b[31m"),
            ("\x7f\x85\x9b", r"\x7f\x85\x9b"),
            ("\u2028\u2029", r"\u2028\u2029"),
            ("\u202e\u2066\u200f", r"\u202e\u2066\u200f"),
            ("\ud800", r"\ud800"),
            ("\U000e0041", r"\U000e0041"),
        ):
            assert escape(text) == wanted

    def test_too_long(self) -> None:
        """A line is cut, and shows it."""
        assert escape("x" * MAX_LINE_CHARS) == "x" * MAX_LINE_CHARS
        assert escape("x" * 1_000_000) == "x" * MAX_LINE_CHARS + "..."

    def test_too_long_once_escaped(self) -> None:
        """Escaping does not make a line longer than that."""
        assert escape("\x00" * MAX_LINE_CHARS) == (r"\x00" * MAX_LINE_CHARS)[:MAX_LINE_CHARS] + "..."

    @given(st.text(st.characters()))
    def test_any_text(self, text: str) -> None:
        """Whatever comes in, one printable line of bounded length that UTF-8 can carry comes out."""
        line = escape(text)
        assert len(line) <= MAX_LINE_CHARS + 3
        assert line.encode().decode() == line
        assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in line)
