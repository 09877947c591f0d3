"""`pushd.gateway.ntfy.delays`: when somebody means."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import datetime, timedelta, timezone
from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Problem, Refusal
from pushd.gateway.ntfy.delays import CLOCKS, DAYS, MAX_LETTERS, UNITS_S, WEEKDAYS, DelayRange, read_time

UTC = timezone.utc
NOW = datetime(2025, 3, 5, 12, 0, 30, tzinfo=UTC)  # a Wednesday

# Each is some time to a library that guesses.
NO_TIMES = (
    "", "soon", "5", "-5m", "5 m 3", "m5", "1.m", "5w", "5mins ago", "in", "in in 5m", "30mtomorrow", "1e9s",
    "99", "1600000000", "tomorrow at 25:00", "24:00", "10:60", "13pm", "0am", "3pm 4pm", "at", "on, at",
    "tomorrow tomorrow", "tomorrow 3pm tuesday", "yesterday", "the quick 3pm fox", "3pm EST", "may", "9 9",
    "2025-02-30T10:00:00Z", "2025-03-05T11:59:59Z", "2025-03-05 10:00", "9999-12-31T23:59:59Z?", "today 9am",
    "2025-03-06T10:00:00+2", "\u06630m", "1:2:3:4", "3p m",
)  # fmt: skip


def when(text: str, now: datetime = NOW) -> str:
    """As a date and time in the zone of `now`."""
    moment = datetime.fromtimestamp(read_time(text, now.timestamp(), now.tzinfo), now.tzinfo)
    return f"{moment:%Y-%m-%d %H:%M:%S}"


class ReadTimeTests(SynchronousTestCase):
    """`read_time`: to the letter or not at all"""

    def assert_read(self, expected: dict[str, str], now: datetime = NOW) -> None:
        self.assertEqual({text: when(text, now) for text in expected}, expected)

    def test_durations(self) -> None:
        """ntfy's and Go's, with or without "in"."""
        expected = dict.fromkeys(
            ("30m", "30min", "30 minutes", "in 30 mins", "0.5h", "1800s", "  30M "), 1800
        )
        expected |= {"2 days": 172_800, "1h30m": 5400, "1 hour, 30 minutes": 5400, "1 day 1 s": 86_401}
        now = NOW.timestamp()
        self.assertEqual({text: read_time(text, now) - now for text in expected}, expected)

    def test_unix_time(self) -> None:
        """In whole seconds."""
        self.assertEqual(read_time("1893456000", NOW.timestamp()), 1_893_456_000)

    def test_timestamps(self) -> None:
        """RFC 3339; without an offset they are the server's."""
        self.assert_read(
            {
                "2025-03-06T10:00:00Z": "2025-03-06 10:00:00",
                "2025-03-06t10:00:00.123+02:00": "2025-03-06 08:00:00",
                "2025-03-06 10:00": "2025-03-06 10:00:00",
            }
        )
        eastern = NOW.astimezone(timezone(timedelta(hours=-5)))
        self.assert_read({"2025-03-06 10:00": "2025-03-06 10:00:00"}, eastern)

    def test_times_of_day(self) -> None:
        """The next one: today's, or tomorrow's if that is past."""
        self.assert_read(
            {
                "3pm": "2025-03-05 15:00:00",
                "3:30 PM": "2025-03-05 15:30:00",
                "at 23:59:59": "2025-03-05 23:59:59",
                "10am": "2025-03-06 10:00:00",
                "12am": "2025-03-06 00:00:00",
                "12pm": "2025-03-06 12:00:00",
                "noon": "2025-03-06 12:00:00",
                "midnight": "2025-03-06 00:00:00",
            }
        )

    def test_days(self) -> None:
        """ntfy's own examples among them, in either order; a day alone means this hour of it."""
        self.assert_read(
            {
                "tomorrow, 3pm": "2025-03-06 15:00:00",
                "8:30pm tomorrow": "2025-03-06 20:30:00",
                "Tomorrow": "2025-03-06 12:00:30",
                "tonight at 8pm": "2025-03-05 20:00:00",
                "Friday, 7am": "2025-03-07 07:00:00",
                "on fri at 7:00": "2025-03-07 07:00:00",
                "Tuesday, 7am": "2025-03-11 07:00:00",
                "wednesday 1pm": "2025-03-05 13:00:00",
                "wednesday 11:00": "2025-03-12 11:00:00",
                "wednesday": "2025-03-12 12:00:30",
            }
        )

    def test_clocks_that_are_changed(self) -> None:
        """Nine o'clock is what the server's clock will say; a day of a duration has 24 hours."""
        self.live_in("CET-1CEST,M3.5.0,M10.5.0/3")
        saturday = datetime(2025, 3, 29, 12, 0)
        self.assert_read({"tomorrow, 9am": "2025-03-30 09:00:00", "1 day": "2025-03-30 13:00:00"}, saturday)
        self.assert_read({"2025-03-30 09:00": "2025-03-30 09:00:00"}, saturday)

    def live_in(self, zone: str) -> None:
        """Set the server's own time zone, in POSIX's words: those need no files."""
        self.addCleanup(time.tzset)
        self.patch(os, "environ", {**os.environ, "TZ": zone})
        os.putenv("TZ", zone)
        time.tzset()

    def test_what_is_no_time_to_come(self) -> None:
        """Nothing is guessed."""
        for text in NO_TIMES:
            with self.assertRaises(Refusal, msg=text) as refused:
                when(text)
            self.assertIs(refused.exception.problem, problems.DELAY_INVALID, text)

    @given(
        st.text(max_size=MAX_LETTERS + 5)
        | st.lists(
            st.sampled_from(
                [*UNITS_S, *DAYS, *WEEKDAYS, *CLOCKS, "in", "at", "pm", ":", ",", " ", "-", "t", "z"]
            )
            | st.integers(0, 10**13).map(str),
            max_size=12,
        ).map("".join)
        | st.dates().map(lambda day: f"{day}T00:00:00Z")
        | st.dates().map(lambda day: f"{day} 00:00")
    )
    def test_any_text(self, text: str) -> None:
        """Is a time to come, or refused."""
        with contextlib.suppress(Refusal):
            self.assertGreaterEqual(read_time(text, NOW.timestamp()), NOW.timestamp())

    def test_hostile_text(self) -> None:
        """As much of it as a header holds takes no longer than a word."""
        begun = perf_counter()
        for piece in ("1", "1 ", "1m ", "1m1m,", " ", ",", "at ", "1:", "9999999999.", "in "):
            for length in (MAX_LETTERS, 16_000):
                with self.assertRaises(Refusal):
                    read_time((piece * length)[:length] + "!", NOW.timestamp())
        self.assertLess(perf_counter() - begun, 1.0)


class DelayRangeTests(SynchronousTestCase):
    """ntfy's 10 seconds to 3 days"""

    def refusal(self, text: str) -> Problem:
        with self.assertRaises(Refusal, msg=text) as refused:
            DelayRange().due_at(text, NOW.timestamp(), UTC)
        problem: Problem = refused.exception.problem
        return problem

    def test_the_ends_are_within(self) -> None:
        """Whoever asks for exactly 10 seconds or 3 days gets them."""
        now = NOW.timestamp() + 0.7
        for text, due in {"10s": now + 10, "3d": now + 259_200}.items():
            self.assertEqual(DelayRange().due_at(text, now, UTC), due)
        self.assertEqual(DelayRange().due_at(str(int(now) + 10), now), int(now) + 10)

    def test_beyond_them(self) -> None:
        """Each has a code of its own, and what is past is no time to come."""
        self.assertIs(self.refusal("9s"), problems.DELAY_TOO_SMALL)
        self.assertIs(self.refusal("today"), problems.DELAY_TOO_SMALL)
        for text in ("259201s", "99999999h", "999999999999", "tuesday"):
            self.assertIs(self.refusal(text), problems.DELAY_TOO_LARGE, text)
        self.assertIs(self.refusal("1600000000"), problems.DELAY_INVALID)
