"""
From an event of twisted.logger to a line of the log: its type, its text, its traceback.

Client ids, topics and names in an event come from the network. Whatever they contain, they stay within the
one line they belong to, and a terminal that shows the line obeys none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure

# Longer ones are cut: a topic may have 65 535 bytes, and a line that is read by people has no use for them.
MAX_LINE_CHARS = 2048

# Of a traceback's lines, these many from the start and from the end are kept; a recursion has thousands.
HEAD_LINES, TAIL_LINES = 10, 40

# The words of ``log_type``. Our code may say one in an event (``log_type="notice"``); else its level decides.
TYPES = (
    "error",
    "warning",
    "notice",
    "information",
    "debug",
    "subscribe",
    "unsubscribe",
    "websockets",
    "internal",
)

_TYPE_BY_LEVEL = {
    LogLevel.critical: "error",
    LogLevel.error: "error",
    LogLevel.warn: "warning",
    LogLevel.info: "information",
    LogLevel.debug: "debug",
}

# What Twisted says in passing at level info: ports and factories (also ours, in our namespaces), which
# say what the service says better, and the access lines of web sites. To us that is debug.
_PASSING_NAMESPACES = ("log_legacy", "twisted.python.log")
_PASSING_FORMATS = ("Starting factory {factory!r}", "Stopping factory {factory!r}")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line as it goes out. All text in it is printable: see `escape`."""

    type: str  # one of `TYPES`
    stamp: str  # "1700000000: ", or "" where the settings want none
    text: str
    details: tuple[str, ...] = ()  # lines of a traceback, to be shown indented below


def type_of(event: LogEvent) -> str:
    """The event's ``log_type``, or what its level amounts to."""
    declared = event.get("log_type")
    if declared in TYPES:
        return str(declared)
    by_level = _TYPE_BY_LEVEL.get(event.get("log_level", LogLevel.info), "information")
    return "debug" if by_level == "information" and _is_said_in_passing(event) else by_level


def _is_said_in_passing(event: LogEvent) -> bool:
    return event.get("log_namespace") in _PASSING_NAMESPACES or event.get("log_format") in _PASSING_FORMATS


def line_of(event: LogEvent, line_type: str, stamp: str) -> LogLine | None:
    """:return: the event's line; None for an event that says nothing."""
    text, failure = _said(event)
    if failure is None:
        return LogLine(line_type, stamp, escape(text)) if text else None
    cause = f"{failure.type.__name__ if failure.type else 'error'}: {failure.getErrorMessage()}"
    text = f"{text.rstrip(' :')}: {cause}" if text else cause
    return LogLine(line_type, stamp, escape(text), tuple(_traceback(failure)))


def _said(event: LogEvent) -> tuple[str, Failure | None]:
    """An event's text and its failure. `log.err` of the older twisted.python.log keeps them elsewhere."""
    failure = event.get("log_failure")
    if failure is None and event.get("isError") and isinstance(event.get("failure"), Failure):
        return str(event.get("why") or "Unhandled error"), event["failure"]
    return formatEvent(event), failure if isinstance(failure, Failure) else None


def _traceback(failure: Failure) -> Iterator[str]:
    try:
        lines = failure.getTraceback().rstrip("\n").split("\n")
    except Exception:  # it calls __str__ of an exception that may be anybody's
        lines = ["(its traceback could not be formatted)"]
    left_out = len(lines) - HEAD_LINES - TAIL_LINES
    if left_out > 0:
        lines[HEAD_LINES:-TAIL_LINES] = [f"({left_out} lines left out)"]
    return map(escape, lines)


def escape(text: str) -> str:
    r"""
    Make text fit to be one line of a log.

    What is not printable in the sense of `repr` appears as in a Python string, ESC as ``\x1b``: C0 and C1
    controls, line and paragraph separators, bidirectional overrides, invisible and unassigned characters,
    lone surrogates. A backslash stays as it is.
    """
    shown = text[: MAX_LINE_CHARS + 1]  # cut before as well as after, so that no time goes into the rest
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else _escaped(char) for char in shown)
    return shown if len(shown) <= MAX_LINE_CHARS else f"{shown[:MAX_LINE_CHARS]}..."


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
