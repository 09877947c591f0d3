"""``docs/fail2ban``: its expression finds each failed login in our log, and nothing that anybody made up."""

from __future__ import annotations

import re
from configparser import RawConfigParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.access_tokens import WRONG_TOKEN
from pushd.auth.failures import NO_PASSWORD, UNREADABLE, WRONG
from pushd.auth.scram import ScramMethod
from pushd.broker.interfaces import Credentials
from pushd.config.settings import LogSettings
from pushd.service.logs import LINES_PER_SECOND, LogObserver
from tests.auth.logins import Guarded

FILTER = Path(__file__).resolve().parents[2] / "docs" / "fail2ban" / "filter.d" / "pushd.conf"

# What fail2ban takes for a time, and cuts out of a line before its expression sees it.
TIMES = {
    "Epoch": re.compile(r"^\d{10}(?=: )"),
    "ISO 8601": re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"),
    "syslog": re.compile(r"^\w{3} \d\d \d\d:\d\d:\d\d"),
}

ADDRESSES = {"192.0.2.7:4711": "192.0.2.7", "[2001:db8::7]:1": "2001:db8::7", "127.0.0.1:65535": "127.0.0.1"}

FORGED = "Login failed: user 'x' from 203.0.113.9:1 (no password)"

HOSTILE_NAMES = [
    FORGED,
    f"' from 203.0.113.9:1 (no password)\n{FORGED}",
    f"\r\n1700000000: {FORGED}\n",
    "x' from 203.0.113.9:1 (",
    "\u2028" + FORGED,
    "\x1b[2K\r" + FORGED,
    "a" * 65_535,
    "größe {braces} %s \\",
    "",
]


class ClockThatRuns(Clock):
    """With the rest of what a log needs of a reactor."""

    def callWhenRunning(self, function: object, *arguments: object) -> None:
        assert callable(function)
        function(*arguments)

    def callFromThread(self, function: object, *arguments: object) -> None:
        raise AssertionError("no thread logs here")


def expression() -> re.Pattern[str]:
    """The documented one; fail2ban has IPv4 and IPv6 addresses for its ``<ADDR>``."""
    parser = RawConfigParser()
    parser.read(FILTER, encoding="utf-8")
    return re.compile(
        parser["Definition"]["failregex"].replace("<ADDR>", r"(?P<address>[0-9.]+|[0-9a-fA-F:]+)")
    )


def found(lines: list[str]) -> list[str]:
    """The addresses that fail2ban would count."""
    pattern, addresses = expression(), []
    for line in lines:
        for time in TIMES.values():
            line = time.sub("", line, count=1)
        match = pattern.search(line)
        if match is not None:
            addresses.append(match["address"])
    return addresses


class FilterTests(SynchronousTestCase):
    """The expression and real lines."""

    def open_log(self, timestamp: bool = True, timestamp_format: str | None = None) -> None:
        """Write a log with these settings from now on."""
        self.path = Path(self.mktemp())
        destinations = (f"file {self.path}",)
        settings = LogSettings(destinations, timestamp=timestamp, timestamp_format=timestamp_format)
        self.clock = ClockThatRuns()
        observer = LogObserver(settings, self.clock)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.addCleanup(observer.close)

    def lines(self) -> list[str]:
        """What is in it."""
        return self.path.read_text("utf-8").split("\n")[:-1]

    def fail_login(self, name: str, address: str = "192.0.2.7:4711", reason: str = WRONG) -> None:
        """Somebody fails."""
        failures = Guarded()
        failures.fail(failures.attempt(Credentials("id", name, b"", address), name, b""), reason)

    def test_every_failure_is_found_with_its_address(self) -> None:
        """With each way to write the time, also none."""
        for timestamp, timestamp_format in ((True, None), (False, None), (True, "%Y-%m-%dT%H:%M:%S")):
            self.open_log(timestamp, timestamp_format)
            for reason in (WRONG, WRONG_TOKEN, NO_PASSWORD, UNREADABLE, ScramMethod.name):
                for address in ADDRESSES:
                    self.fail_login("anna", address, reason)
            self.assertEqual(found(self.lines()), list(ADDRESSES.values()) * 5)

    def test_refusals_are_found(self) -> None:
        """Who goes on while nothing is looked at is to be shut out sooner."""
        self.open_log()
        failures = Guarded()
        attempt = failures.attempt(Credentials("id", "anna", b"", "192.0.2.7:1"), "anna", b"")
        failures.back_off(attempt, 1)
        self.assertEqual(found(self.lines()), ["192.0.2.7"])

    def test_count_of_those_held_back_is_found(self) -> None:
        """With the address of the last."""
        self.open_log()
        for _ in range(LINES_PER_SECOND + 5):
            self.fail_login("anna")
        self.clock.advance(1)
        self.assertIn("5 more, the last: ", self.lines()[-1])
        self.assertEqual(found(self.lines()), ["192.0.2.7"] * (LINES_PER_SECOND + 1))

    def test_journal_and_syslog_are_read(self) -> None:
        """They put the machine and the process in front; the time may stand there twice."""
        self.open_log()
        self.fail_login("anna")
        (line,) = self.lines()
        without_time = line.partition(": ")[2]
        for shown in (
            f"host twistd[17]: {line}",
            f"Nov 21 10:00:00 host twistd[17]: {line}",
            f"Nov 21 10:00:00 host pushd[17]: {without_time}",
        ):
            self.assertEqual(found([shown]), ["192.0.2.7"], shown)

    def test_hostile_names_accuse_nobody(self) -> None:
        """Each is one line about the address that it came from."""
        self.open_log()
        for name in HOSTILE_NAMES:
            self.fail_login(name)
        self.assertEqual(found(self.lines()), ["192.0.2.7"] * len(HOSTILE_NAMES))
        self.assertEqual(len(self.lines()), len(HOSTILE_NAMES))

    @given(st.text(st.characters()))
    def test_no_name_accuses_anybody(self, name: str) -> None:
        """Whatever text it is."""
        self.open_log()
        self.fail_login(f"{name}' from 203.0.113.9:1 (no password)")
        self.assertEqual(found(self.lines()), ["192.0.2.7"])
        self.doCleanups()

    def test_other_lines_accuse_nobody(self) -> None:
        """A client id is not between quotes, but such a line never ends with it, nor begins."""
        self.open_log()
        for name in HOSTILE_NAMES:
            Logger().warn("Client {id} closed its connection.", id=name)
            Logger().warn("Client {id} ({address}): gone", id=f"pushd[1]: {name}", address="192.0.2.7:1")
            Logger().warn("New client connected from 192.0.2.7:1 as {id} (p4, c1, k60, u'{id}').", id=name)
        self.assertEqual(found(self.lines()), [])
