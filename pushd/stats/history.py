"""
The history of the status: samples on their way to a database that may be slow, away, or back.

Nothing waits for the database but this. Samples that cannot be written are kept, up to a day of them, and
each new one is the occasion to try again. The log says when the database is lost, and when it is back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.stats.figures import FIGURES, SAMPLE_S, Figure, Sample
from pushd.stats.tables import DAY_S, Cursor, HistoryError, Span, Tables

# What waits at most: a day, in some 10 MB of memory.
MAX_WAITING = DAY_S // SAMPLE_S

# Samples of one transaction: an hour of them took SQLite 15 ms, in its thread.
AT_ONCE = 360

# Readings that wait at once: each may hold two thousand rows.
MAX_READING = 8


class Pool(Protocol):
    """The part of `twisted.enterprise.adbapi.ConnectionPool` that is used."""

    def runInteraction(self, interaction: Callable[..., Any], *arguments: Any) -> Deferred[Any]: ...
    def close(self) -> None: ...


class History:
    """
    Writes samples to a database and reads them again.

    :param pool: of one thread, so that it does one thing at a time.
    :param place: how the database is called in the log; no password is in it.
    :param now: Unix seconds.
    :ivar failing: why nothing can be written; ``None`` while all is well.
    :ivar lost: samples that were given up because the database was away for too long.
    """

    _log = Logger()

    def __init__(self, pool: Pool, tables: Tables, place: str, now: Callable[[], float]) -> None:
        self._pool = pool
        self._tables = tables
        self._place = place
        self._now = now
        self._waiting: deque[Sample] = deque()
        self._writing: Deferred[None] | None = None
        self._prepared = False
        self._reading = 0
        self._closed = False
        self.failing: str | None = None
        self.lost = 0

    @property
    def waiting(self) -> int:
        """Samples that are not written yet."""
        return len(self._waiting)

    def open(self) -> None:
        """Have the tables made, or found: what they hold can be read from then on."""
        self._write()

    def add(self, sample: Sample) -> None:
        """Have one written, now or later."""
        if self._closed:
            return
        self._waiting.append(sample)
        if self._writing is None:  # otherwise the first are under way
            while len(self._waiting) > MAX_WAITING:
                self._waiting.popleft()
                self.lost += 1
            self._write()

    def read(self, span: Span, figures: Sequence[Figure] = FIGURES) -> Deferred[bytes]:
        """
        What was written of a span: an object of JSON; see `pushd.stats.tables.Table`.

        The Deferred fails with `HistoryError` at once while the database is away or too many others ask, and
        when it cannot answer.
        """
        if self._closed or not self._prepared or self._reading >= MAX_READING:
            return fail(HistoryError(self.failing or "the history cannot be read now"))
        self._reading += 1
        return self._pool.runInteraction(self._tables.read_json, span, figures).addBoth(self._have_read)

    def _have_read(self, result: Any) -> Any:
        self._reading -= 1
        if isinstance(result, Failure):
            reason = _reason(result)
            self._log.warn("The history of the status could not be read: {reason}", reason=reason)
            raise HistoryError(reason) from result.value
        return result

    def close(self) -> Deferred[None]:
        """Let go of the database, when what it is doing has ended. What still waits is lost."""
        self._closed = True
        ended = self._writing or succeed(None)
        return ended.addCallback(lambda _: self._pool.close())

    def _write(self) -> None:
        batch = [self._waiting[index] for index in range(min(AT_ONCE, len(self._waiting)))]
        self._writing = Deferred()
        written = self._pool.runInteraction(self._write_batch, batch, self._prepared)
        written.addCallbacks(self._written, self._not_written, callbackArgs=(len(batch),))
        written.addErrback(lambda failure: self._log.failure("The history has failed", failure=failure))

    def _write_batch(self, cursor: Cursor, batch: Sequence[Sample], prepared: bool) -> None:
        """All of it, in the thread and in one transaction."""
        if not prepared:
            self._tables.prepare(cursor)
        if batch:
            self._tables.write(cursor, batch)
        self._tables.forget(cursor, self._now())

    def _written(self, _: object, count: int) -> None:
        self._prepared = True
        for _sample in range(count):
            self._waiting.popleft()
        if self.failing is not None:
            self._log.info(
                "The history of the status is written again: {place}", place=self._place, log_type="notice"
            )
            self.failing = None
        self._has_ended()
        if self._waiting and not self._closed:
            self._write()

    def _not_written(self, failure: Failure) -> None:
        """Said once: the reason may differ a little from one attempt to the next."""
        self._prepared = False  # what comes back may be another database
        if self.failing is None:
            self._log.error(
                "The history of the status is kept in memory until it can be written to {place}: {reason}",
                place=self._place,
                reason=_reason(failure),
            )
        self.failing = _reason(failure)
        self._has_ended()

    def _has_ended(self) -> None:
        ended, self._writing = self._writing, None
        assert ended is not None
        ended.callback(None)


def _reason(failure: Failure) -> str:
    return failure.getErrorMessage() or type(failure.value).__name__
