"""
The durable store: SQLite, written by one thread, many records to a commit.

Records are added to a batch in the reactor's thread (`pushd.storage.journal`). A barrier has the batch
written by a thread (`pushd.storage.database`); what is recorded while that goes on is the next batch, and all
barriers that were asked for meanwhile share its commit. So the slower the disk, the larger the batches: a
commit costs one fsync whether it holds one message or a thousand.

The messages of sessions are not kept in memory: they are read when a client comes back
(`pushd.storage.messages`), in the same thread and in between.

While a batch cannot be written (a full disk, an I/O error) it is kept and tried again, its barriers wait, and
`SqliteStore.failing` says why.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, takewhile
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.broker.interfaces import IStore
from pushd.broker.records import Kept, KeptQuery, Record, SavedMessages, SavedState
from pushd.storage import schema
from pushd.storage.batch import Batch
from pushd.storage.database import Database, Durability, Loaded, Search
from pushd.storage.errors import StoreError
from pushd.storage.journal import Journal
from pushd.storage.messages import Found


class _Read(NamedTuple):
    """
    Somebody wants to have a session's messages, or something of the archive.

    :ivar batch: must be durable first.
    :ivar wanted: the session's number; or what to search for, or an id to find the number of.
    """

    batch: int
    wanted: int | KeptQuery | str
    result: Deferred[Any]


@implementer(IStore)
class SqliteStore:
    """
    :ivar pending: whether anything that was recorded is not durable yet.
    :ivar failing: why nothing becomes durable at the moment; ``None`` while all is well.
    :ivar commit_times: of all that did.
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

    # Of so many sessions messages are read in one go, when a fleet comes back; commits are made in between.
    READS = 64
    SEARCHES = 16  # in the archive, the same

    # What is over in the archive is deleted a little at a time, with so long in between.
    SWEEP_S = 0.05

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
        self.commit_times = self._database.commit_times
        self._in_thread = in_thread
        self._call_later = call_later
        self._monotonic = monotonic
        self._sleep = sleep
        self._journal = Journal({}, 1, 0)
        self._apply = self._journal.apply
        self._writing: Batch | None = None
        self._durable = 0  # the number of the last batch that is
        # One thing at a time is done in the thread: what, and whom to give the result.
        self._task: tuple[Callable[[Any], None], Callable[..., Any], tuple[Any, ...]] | None = None
        self._task_since = 0.0
        self._barriers: deque[tuple[int, Deferred[None]]] = deque()  # with the batch that each waits for
        self._reads: deque[_Read] = deque()
        self._flush_call: IDelayedCall | None = None
        self._sweep_call: IDelayedCall | None = None
        self._sweeps_next = False
        self._retry_call: IDelayedCall | None = None
        self._retry_s = self.FIRST_RETRY_S
        self._closing = False
        self._ended = False
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
        self._apply = self._journal.apply
        self._durable = loaded.last_batch
        return loaded.state

    def load_messages(self, client_id: str) -> Deferred[SavedMessages]:
        """
        The messages of one session, by all that was recorded before. While nothing can be written, it waits.
        See `pushd.storage.messages` for messages that cannot be read.

        The Deferred fails with `StoreError` if nothing of the session's can be read.
        """
        number = self._journal.number_of(client_id)
        if number is None:
            return succeed(SavedMessages())
        return self._read(number)

    def find_kept(self, query: KeptQuery) -> Deferred[list[Kept]]:
        """
        What the archive has, by all that was recorded before. While nothing can be written, it waits. See
        `pushd.storage.archive` for what cannot be read.

        The Deferred fails with `StoreError` if nothing can be read.
        """
        return self._read(query)

    def kept_number(self, id: str) -> Deferred[int | None]:
        """The lowest number that the archive has under this id, in the same way."""
        return self._read(id)

    def _read(self, wanted: int | KeptQuery | str) -> Deferred[Any]:
        last = self._last_batch()
        read = _Read(self._durable if last is None else last.number, wanted, Deferred())
        self._reads.append(read)
        self._write_wanted()
        self._read_next()
        return read.result

    def record(self, record: Record) -> None:
        """Append one record. Cheap, never blocks, never fails."""
        if not self.pending:
            self.pending = True
            self._flush_soon()
        self._apply[type(record)](record)

    def barrier(self) -> Deferred[None]:
        """A Deferred that fires when everything recorded before is durable."""
        barrier: Deferred[None] = Deferred()
        last = self._last_batch()
        if last is None:
            self.pending = False  # what was recorded has undone itself
            barrier.callback(None)
            return barrier
        self._barriers.append((last.number, barrier))
        if self._task is None:
            self._write_next()
        elif self.failing is None and self._monotonic() - self._task_since > self.PATIENCE_S:
            self._sleep(self.NAP_S)
        return barrier

    def close(self) -> Deferred[None]:
        """
        Make everything durable and let go of the file. If that cannot be done now, it will not be done: no
        barrier of it fires, and the log says so. Messages are not read any more.
        """
        self._closing = True
        for call in (self._flush_call, self._sweep_call):
            if call is not None:
                call.cancel()
        self._flush_call = self._sweep_call = None
        if self._retry_call is not None:
            self._retry_call.cancel()
            self._try_for_the_last_time()
        self._write_wanted()
        self._end_if_done()
        return self._closed

    def _last_batch(self) -> Batch | None:
        """The newest that is not durable; ``None`` if everything is."""
        return self._journal.batch if self._journal.batch else self._writing

    # Writing

    def _flush_soon(self) -> None:
        if self._flush_call is None and not self._closing:
            self._flush_call = self._call_later(self.FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._flush_call = None
        self._write_next()

    def _write_next(self) -> None:
        """Have the batch written that is being collected, unless there is nothing in it or one is at it."""
        if self._task is None and self._journal.batch:
            self._writing = self._journal.cut()
            self._do(self._written, self._database.write, self._writing)
        self._is_pending()

    def _write_wanted(self) -> None:
        """Write what is being collected if anybody waits for it; else soon."""
        if self._task is not None:
            return
        last_waited_for = max(waiting[-1][0] if waiting else 0 for waiting in (self._barriers, self._reads))
        if not self._closing and last_waited_for <= self._durable:
            if self._journal.batch:
                self._flush_soon()
        elif self._journal.batch:
            self._write_next()
        else:  # what was waited for has undone itself
            self._durable = self._journal.cut().number
            self._fire_barriers()
            self._read_next()

    def _written(self, _: None) -> None:
        assert self._writing is not None
        self._durable = self._writing.number
        if self._writing.expired:
            self._sweep_soon()
        self._writing = None
        # The next is on its way to the disk while those who waited for this one go on.
        self._read_next()
        self._write_wanted()
        self._is_pending()
        self._fire_barriers()

    def _fire_barriers(self) -> None:
        while self._barriers and self._barriers[0][0] <= self._durable:
            self._barriers.popleft()[1].callback(None)

    def _is_pending(self) -> None:
        self.pending = self._writing is not None or bool(self._journal.batch)

    # Reading

    def _read_next(self) -> None:
        """Have read what is asked for: the messages of some sessions, or some things of the archive."""
        if self._task is not None or self._closing:
            return
        reads = [read.wanted for read in islice(self._reads, self.READS) if read.batch <= self._durable]
        sessions = list(takewhile(lambda wanted: isinstance(wanted, int), reads))
        if sessions:
            self._do(self._have_read, self._database.read_messages, sessions)
        elif reads:
            others = list(takewhile(lambda wanted: not isinstance(wanted, int), reads))
            self._do(self._have_found, self._database.search, others[: self.SEARCHES])
        elif self._sweeps_next:
            self._sweeps_next = False
            self._do(self._swept, self._database.sweep)

    def _have_read(self, found: Found) -> None:
        self._answer(found.messages, found.damage)

    def _have_found(self, search: Search) -> None:
        self._answer(search.answers, search.damage)

    def _answer(self, answers: Sequence[object], damage: Iterable[str]) -> None:
        for problem in damage:
            self._log.error("Messages cannot be read: {problem}", problem=problem)
        reads = [self._reads.popleft() for _ in range(len(answers))]
        # Writing first: who waits for a commit does not wait for all of a fleet that comes back.
        self._write_wanted()
        self._read_next()
        for read, answer in zip(reads, answers, strict=True):
            if isinstance(answer, StoreError):
                read.result.errback(answer)
            else:
                read.result.callback(answer)

    # Sweeping

    def _sweep_soon(self) -> None:
        """Have deleted what is over in the archive, when nobody waits for anything else for a moment."""
        if self._sweep_call is None and not self._closing:
            self._sweep_call = self._call_later(self.SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweep_call = None
        self._sweeps_next = True
        self._read_next()

    def _swept(self, is_more: bool) -> None:
        if is_more:
            self._sweep_soon()
        self._write_wanted()
        self._read_next()

    # What is done in the thread

    def _do(self, done: Callable[[Any], None], function: Callable[..., Any], *arguments: Any) -> None:
        self._task = done, function, arguments
        self._task_since = self._monotonic()
        self._try()

    def _try(self) -> None:
        self._retry_call = None
        assert self._task is not None
        _, function, arguments = self._task
        self._in_thread(function, *arguments).addCallbacks(self._did, self._did_not)

    def _did(self, result: Any) -> None:
        if self.failing is not None:
            self._log.info("The store is writing again.", log_type="notice")
            self.failing = None
            self._retry_s = self.FIRST_RETRY_S
        assert self._task is not None
        done, _, _ = self._task
        self._task = None
        done(result)
        if self._closing:
            self._end_if_done()

    def _did_not(self, failure: Failure) -> None:
        reason = failure.getErrorMessage() or repr(failure.value)
        if self._closing:
            self._give_up(reason)
            return
        if self.failing != reason:
            self._log.error(
                "Nothing can be made durable, so nothing is acknowledged until it can: {reason}",
                reason=reason,
            )
        self.failing = reason
        self._journal.batch.settle()  # it may have to grow for a long time
        self._retry_call = self._call_later(self._retry_s, self._try)
        self._retry_s = min(2 * self._retry_s, self.LAST_RETRY_S)

    # The end

    def _try_for_the_last_time(self) -> None:
        self._retry_call = None
        if self._writing is not None:
            self._try()
        else:
            self._task = None  # nobody needs messages any more

    def _give_up(self, reason: str) -> None:
        if self._writing is not None:
            self._log.error("The store ends without what could not be written: {reason}", reason=reason)
            self._end()
        else:
            self._task = None
            self._write_wanted()
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._task is None and not self._journal.batch:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._in_thread(self._database.close).addBoth(lambda _: self._closed.callback(None))
