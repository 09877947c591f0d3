"""
When a message is to be delivered: ntfy's ``delay``, ``at`` and ``in``.

    30m   2 hours   in 1h30m   90 seconds         from now
    1893456000                                    in Unix time
    2030-01-31T09:00:00Z   2030-01-31 09:00       with an offset from UTC, or by the server's clock
    10am   15:30   noon   3 pm                    today, or tomorrow if that is past
    tomorrow, 3pm   7:30am Tuesday   friday       a day, by the server's clock; at this hour if none is said

It is read to the letter or not at all. Libraries for times in plain language were tried (dateparser 1.5,
parsedatetime 2.6): to both, "tomorrow at 25:00" is some time tomorrow. Who hears at once that a time is not
understood can mend it; who gets the message at the wrong time cannot. The first also took 20 MB of memory,
and 0.15 s before its first answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal

# ntfy's: a delay in between is likely to be meant. A message that is due in a month belongs in a calendar.
MIN_DELAY_S = 10
MAX_DELAY_S = 3 * 86_400

MAX_LETTERS = 64  # all there is to read fits twice

UNITS_S = {
    name: seconds
    for names, seconds in (
        ("s sec secs second seconds", 1),
        ("m min mins minute minutes", 60),
        ("h hour hours", 3600),
        ("d day days", 86_400),  # of 24 hours, also when clocks are changed
    )
    for name in names.split()
}
DAYS = {"today": 0, "tonight": 0, "tomorrow": 1}
WEEKDAYS = {
    name: number
    for number, names in enumerate(
        (
            "mon monday",
            "tue tuesday",
            "wed wednesday",
            "thu thursday",
            "fri friday",
            "sat saturday",
            "sun sunday",
        )
    )
    for name in names.split()
}
CLOCKS = {"noon": time(12), "midnight": time(0)}

# Every repetition is bounded, and each of these is tried at one place only: nothing to backtrack over.
_DIGITS = re.compile(r"[0-9]{1,12}")
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([a-z]{1,7})[ ,]*")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[t ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]{1,9})?"
    r"(z|[-+][0-9]{2}:[0-9]{2})?"
)
_CLOCK = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))?(?::([0-9]{2}))?(am|pm)?")
_LONE_HALF = re.compile(r"(?<=[0-9]) (?=[ap]m\b)")  # "3 pm"


@dataclass(frozen=True, slots=True)
class DelayRange:
    """How long a message may be held back, in seconds."""

    min_s: float = MIN_DELAY_S
    max_s: float = MAX_DELAY_S

    def due_at(self, text: str, now: float, zone: tzinfo | None = None) -> float:
        """
        :param now: in Unix seconds.
        :param zone: where it is the time that `text` speaks of; the server's own by default.
        :return: in Unix seconds, too.
        :raises Refusal: 40004, it is no time, or one that is past; 40005, too soon; 40006, too late.
        """
        due_at = read_time(text, now, zone)
        # As in ntfy, in whole seconds: who adds ten to what ``date +%s`` says shall not be too early.
        if int(due_at) < int(now) + self.min_s:
            raise Refusal(problems.DELAY_TOO_SMALL)
        if int(due_at) > int(now) + self.max_s:
            raise Refusal(problems.DELAY_TOO_LARGE)
        return due_at


def read_time(text: str, now: float, zone: tzinfo | None = None) -> float:
    """
    :param now: in Unix seconds, as the result.
    :raises Refusal: 40004, it is none, or past.
    """
    text = text.strip().lower()
    try:
        due_at = _read(text, now, zone) if len(text) <= MAX_LETTERS else None
    except (ValueError, OverflowError, OSError):  # 30 February, the year 9999, what `localtime` cannot say
        due_at = None
    if due_at is None or due_at < now:
        raise Refusal(problems.DELAY_INVALID)
    return due_at


def _read(text: str, now: float, zone: tzinfo | None) -> float | None:
    if _DIGITS.fullmatch(text):
        return float(text)
    delay_s = _duration(text.removeprefix("in "))
    if delay_s is not None:
        return now + delay_s
    timestamp = _TIMESTAMP.fullmatch(text)
    if timestamp is not None:
        return _timestamp(timestamp[1], timestamp[2], timestamp[3], zone)
    return _day_and_clock(text, datetime.fromtimestamp(int(now), zone))


def _duration(text: str) -> float | None:
    """A number and its unit, or several in a row."""
    total_s, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or part[2] not in UNITS_S:
            return None
        total_s += float(part[1]) * UNITS_S[part[2]]
        at = part.end()
    return total_s if text else None


def _timestamp(day: str, clock: str, offset: str | None, zone: tzinfo | None) -> float:
    """RFC 3339, in whole seconds; `offset` may be missing."""
    moment = datetime.fromisoformat(f"{day} {clock}{'+00:00' if offset == 'z' else offset or ''}")
    return (moment if offset else moment.replace(tzinfo=zone)).timestamp()


def _day_and_clock(text: str, now: datetime) -> float | None:
    """A day, a time of day, or both in any order."""
    day: str | None = None
    clock: time | None = None
    for word in _words(text):
        if day is None and (word in DAYS or word in WEEKDAYS):
            day = word
        elif clock is None:
            clock = _clock(word)
            if clock is None:
                return None
        else:
            return None
    return None if day is None and clock is None else _next(day, clock or now.time(), now)


def _words(text: str) -> list[str]:
    words = _LONE_HALF.sub("", text.replace(",", " ")).split()
    return [word for word in words if word not in ("at", "on")]


def _clock(word: str) -> time | None:
    """
    :raises ValueError: there is no such time of day.
    """
    found = _CLOCK.fullmatch(word)
    if found is None:
        return CLOCKS.get(word)
    hour, minute, second, half = int(found[1]), found[2], int(found[3] or 0), found[4]
    if half is None:
        return None if minute is None else time(hour, int(minute), second)
    if not 1 <= hour <= 12:
        return None
    return time(hour % 12 + 12 * (half == "pm"), int(minute or 0), second)


def _next(day: str | None, clock: time, now: datetime) -> float:
    """The next time that it is `clock` on such a day; of today or tomorrow, that of this one day."""
    today = now.date()
    if day in DAYS:
        return _moment(today + timedelta(DAYS[day]), clock, now)
    ahead = 0 if day is None else (WEEKDAYS[day] - today.weekday()) % 7
    moment = _moment(today + timedelta(ahead), clock, now)
    if moment > now.timestamp():
        return moment
    return _moment(today + timedelta(ahead + (1 if day is None else 7)), clock, now)


def _moment(day: date, clock: time, now: datetime) -> float:
    """In the time zone of `now`; one without is by the server's clock."""
    return datetime.combine(day, clock, now.tzinfo).timestamp()
