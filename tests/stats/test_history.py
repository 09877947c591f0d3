"""Samples on their way to a database that answers when it likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from pushd.stats import schema
from pushd.stats.history import AT_ONCE, MAX_READING, MAX_WAITING, History
from pushd.stats.tables import HistoryError, Span, Tables
from tests.stats.histories import HOUR, sample

SPAN = Span(HOUR, HOUR + 60, 10)


class SlowPool:
    """Does nothing but to remember what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[Any, ...], Deferred[Any]]] = []
        self.closed = False

    def runInteraction(self, interaction: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.asked.append((arguments, answer))
        return answer

    def close(self) -> None:
        self.closed = True

    def done(self) -> None:
        """What it was asked first is done."""
        self.asked.pop(0)[1].callback(None)

    def failed(self) -> None:
        """The same has failed."""
        self.asked.pop(0)[1].errback(OSError("gone"))


class HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pool = SlowPool()
        self.history = History(self.pool, Tables("?", schema.steps()), "a place", lambda: HOUR)
        self.said: list[str] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "pushd.stats.history.History":
            self.said.append(f"{event['log_level'].name}: {event['log_format'].format(**event)}")

    def add(self, count: int = 1) -> None:
        for number in range(count):
            self.history.add(sample(HOUR + 10 * number))

    def test_one_thing_at_a_time(self) -> None:
        """While one sample is written the next ones wait, and then go together."""
        self.add(4)
        assert [len(batch) for (batch, _), _ in self.pool.asked] == [1]
        self.pool.done()
        assert [len(batch) for (batch, _), _ in self.pool.asked] == [3]
        self.pool.done()
        assert (self.history.waiting, self.pool.asked) == (0, [])

    def test_tables_are_asked_for(self) -> None:
        """First of all, and again after each failure; otherwise not."""
        for failed in (True, False, False):
            self.add()
            prepared = self.pool.asked[0][0][1]
            assert prepared is (not failed and self.history._prepared)
            (self.pool.failed if failed else self.pool.done)()
        assert self.history._prepared

    def test_told_once(self) -> None:
        """The log hears of the first failure and of the first success, and not of those in between."""
        for _ in range(5):
            self.add()
            self.pool.failed()
        assert (self.history.failing, self.history.waiting) == ("gone", 5)
        self.add()
        self.pool.done()
        self.add()
        self.pool.done()
        assert self.said == [
            "error: The history of the status is kept in memory until it can be written to a place: gone",
            "info: The history of the status is written again: a place",
        ]

    def test_bound(self) -> None:
        """A day waits; beyond that the oldest are given up, and counted."""
        self.add()
        self.pool.failed()
        for number in range(MAX_WAITING + 2):
            self.history.add(sample(HOUR + 10 * number))
            self.pool.failed()
        assert (self.history.waiting, self.history.lost) == (MAX_WAITING, 3)

    def test_batches(self) -> None:
        """What has piled up is written an hour at a time, all at one go."""
        self.add()
        self.add(AT_ONCE + 10)
        sizes = []
        while self.pool.asked:
            sizes.append(len(self.pool.asked[0][0][0]))
            self.pool.done()
        assert sizes == [1, AT_ONCE, 10]

    def test_readers(self) -> None:
        """Nobody waits for a database that is away, and of a slow one only a few at once."""
        self.failureResultOf(self.history.read(SPAN), HistoryError)
        self.history.open()
        self.pool.done()
        for _ in range(MAX_READING):
            self.assertNoResult(self.history.read(SPAN))
        self.failureResultOf(self.history.read(SPAN), HistoryError)
        self.pool.done()
        self.assertNoResult(self.history.read(SPAN))

    def test_reading_fails(self) -> None:
        """Whoever asked hears that, and the log why."""
        self.history.open()
        self.pool.done()
        answer = self.history.read(SPAN)
        self.pool.failed()
        assert "gone" in str(self.failureResultOf(answer, HistoryError).value)
        assert self.said == ["warn: The history of the status could not be read: gone"]

    def test_close_while_writing(self) -> None:
        """The end comes when the database has answered, whatever it says."""
        for answer in (self.pool.done, self.pool.failed):
            self.setUp()
            self.add(2)
            closed = self.history.close()
            self.assertNoResult(closed)
            (self.pool.done if answer.__name__ == "done" else self.pool.failed)()
            self.successResultOf(closed)
            assert self.pool.closed
            assert self.pool.asked == []
