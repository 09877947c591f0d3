"""
The durable store: SQLite, written by one thread, many records to a commit.

Records are added to a batch in the reactor's thread (`pushd.storage.journal`). A barrier has the batch
written by a thread (`pushd.storage.database`); what is recorded while that goes on is the next batch, and all
barriers that were asked for meanwhile share its commit. So the slower the disk, the larger the batches: a
commit costs one fsync whether it holds one message or a thousand.

While a batch cannot be written (a full disk, an I/O error) it is kept and tried again, its barriers wait, and
`SqliteStore.failing` says why.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.broker.interfaces import IStore
from pushd.broker.records import Record, SavedState
from pushd.storage import schema
from pushd.storage.database import Database, Durability, Loaded
from pushd.storage.journal import Batch, Journal


@implementer(IStore)
class SqliteStore:
    """
    :ivar pending: whether anything that was recorded is not durable yet.
    :ivar failing: why nothing becomes durable at the moment; ``None`` while all is well.
    """

    # What nobody waits for, such as that a client has acknowledged, is written after this time at the latest.
    FLUSH_S = 0.1

    # After a failure it is tried again, first soon, then less and less often.
    FIRST_RETRY_S = 0.25
    LAST_RETRY_S = 10.0

    # A thread gets the interpreter's lock back when others let go of it for a while, or never do. A busy
    # reactor lets go at each system call, for moments: then a commit was seen to take seconds. So from this
    # age of a batch on, who asks for a barrier sleeps for the shortest time that there is.
    PATIENCE_S = 0.005
    NAP_S = 0.00002

    _log = Logger()

    def __init__(
        self,
        path: str,
        *,
        durability: Durability = Durability.FULL,
        in_thread: Callable[..., Deferred[Any]],
        call_later: Callable[..., IDelayedCall],
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        :param path: of the file; those beside it begin with the same name.
        :param in_thread: ``in_thread(function, *arguments)`` calls it in a thread and gives a Deferred of
            what it returned.
        :param call_later: the reactor's ``callLater``.
        :param monotonic: the broker's seconds, which records are in.
        :param sleep: lets other threads run.
        """
        self.pending = False
        self.failing: str | None = None
        self._database = Database(path, durability, wall_clock, monotonic, schema.steps())
        self._in_thread = in_thread
        self._call_later = call_later
        self._monotonic = monotonic
        self._sleep = sleep
        self._journal = Journal({}, 1, 0)
        self._writing: Batch | None = None
        self._writing_since = 0.0
        self._barriers: deque[tuple[int, Deferred[None]]] = deque()  # with the batch that each waits for
        self._flush_call: IDelayedCall | None = None
        self._retry_call: IDelayedCall | None = None
        self._retry_s = self.FIRST_RETRY_S
        self._closing = False
        self._closed: Deferred[None] = Deferred()

    def load(self) -> Deferred[SavedState]:
        """
        What was durable when the last process ended. A damaged file is moved aside, and what can be read of
        it is recovered; the log says so.

        The Deferred fails with `StoreError` if the file is in use, newer than this program, or cannot be
        opened.
        """
        return self._in_thread(self._database.load).addCallback(self._loaded)

    def _loaded(self, loaded: Loaded) -> SavedState:
        for warning in loaded.warnings:
            self._log.error("{warning}", warning=warning)
        self._journal = Journal(loaded.numbers, loaded.next_number, loaded.last_batch)
        return loaded.state

    def record(self, record: Record) -> None:
        """Append one record. Cheap, never blocks, never fails."""
        if not self.pending:
            self.pending = True
            self._flush_soon()
        self._journal.record(record)

    def barrier(self) -> Deferred[None]:
        """A Deferred that fires when everything recorded before is durable."""
        barrier: Deferred[None] = Deferred()
        last = self._journal.batch if self._journal.batch else self._writing
        if last is not None:
            self._barriers.append((last.number, barrier))
            if self._writing is None:
                self._write_next()
            elif self.failing is None and self._monotonic() - self._writing_since > self.PATIENCE_S:
                self._sleep(self.NAP_S)
        else:
            self.pending = False  # what was recorded has undone itself
            barrier.callback(None)
        return barrier

    def close(self) -> Deferred[None]:
        """
        Make everything durable and let go of the file. If that cannot be done now, it will not be done: no
        barrier of it fires, and the log says so.
        """
        self._closing = True
        if self._flush_call is not None:
            self._flush_call.cancel()
            self._flush_call = None
        if self._retry_call is not None:
            self._retry_call.cancel()
            self._write()
        elif self._journal.batch:
            self._write_next()
        elif self._writing is None:
            self._end()
        return self._closed

    # Writing

    def _flush_soon(self) -> None:
        if self._flush_call is None and not self._closing:
            self._flush_call = self._call_later(self.FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._flush_call = None
        self._write_next()

    def _write_next(self) -> None:
        """Have the batch written that is being collected, unless there is nothing in it or one is at it."""
        if self._writing is None and self._journal.batch:
            self._writing = self._journal.cut()
            self._writing_since = self._monotonic()
            self._write()
        self.pending = self._writing is not None or bool(self._journal.batch)

    def _write(self) -> None:
        self._retry_call = None
        written = self._in_thread(self._database.write, self._writing)
        written.addCallbacks(self._written, self._not_written, callbackArgs=(self._writing,))

    def _written(self, _: None, batch: Batch) -> None:
        if self.failing is not None:
            self._log.info("The store is writing again.", log_type="notice")
            self.failing = None
            self._retry_s = self.FIRST_RETRY_S
        self._writing = None
        self._go_on(batch.number)
        # The next is on its way to the disk while those who waited for this one go on.
        while self._barriers and self._barriers[0][0] <= batch.number:
            self._barriers.popleft()[1].callback(None)
        if self._closing and self._writing is None:
            self._end()

    def _go_on(self, written: int) -> None:
        """Write the next batch, if anybody waits for it."""
        waited_for = bool(self._barriers) and self._barriers[-1][0] > written
        if waited_for or self._closing:
            self._write_next()
        elif self._journal.batch:
            self._flush_soon()
        else:
            self.pending = False

    def _end(self) -> None:
        if not self._closed.called:
            self._in_thread(self._database.close).addBoth(lambda _: self._closed.callback(None))

    # Trouble

    def _not_written(self, failure: Failure) -> None:
        reason = failure.getErrorMessage() or repr(failure.value)
        if self._closing:
            self._log.error("The store ends without what could not be written: {reason}", reason=reason)
            self._end()
            return
        if self.failing != reason:
            self._log.error(
                "Nothing can be made durable, so nothing is acknowledged until it can: {reason}",
                reason=reason,
            )
        self.failing = reason
        self._journal.batch.settle()  # it may have to grow for a long time
        self._retry_call = self._call_later(self._retry_s, self._write)
        self._retry_s = min(2 * self._retry_s, self.LAST_RETRY_S)
