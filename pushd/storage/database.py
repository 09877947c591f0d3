"""
The file of the durable store: opened, locked, kept whole, written batch by batch.

Everything here may wait for the disk and belongs into a thread, one call at a time.

A COMMIT that fails leaves open whether it had its effect, and an fsync that failed may claim success when it
is repeated though the data is lost. So the connection is given up at any failure. The next attempt opens the
file again and moves what its log holds into the database proper, which writes it anew and reports honestly;
then the numbers in ``journal`` and ``progress.last_batch`` tell whether the batch is there. What else is
known of the file is read again as well, so that nothing half done is built upon: see `pushd.storage.backlog`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from enum import Enum
from typing import NamedTuple, TypeAlias

from pushd.broker.records import Kept, KeptQuery, SavedState
from pushd.storage import schema
from pushd.storage.archive import ArchiveReader, sweep
from pushd.storage.backlog import Backlog
from pushd.storage.batch import Batch
from pushd.storage.commit_times import CommitTimes
from pushd.storage.errors import StoreError
from pushd.storage.loader import Loader
from pushd.storage.messages import Found, read_messages
from pushd.storage.rows import DamagedRow, Times
from pushd.storage.salvage import salvage
from pushd.storage.writer import Places

# UPDATE ... FROM is younger than Python 3.10 is on some systems.
OLDEST_SQLITE = (3, 35, 0)

# Pages of 4 KiB in the log before they are moved into the database: 16 MiB, a few times less often than
# SQLite's own 1000, for each time takes two fsyncs. What is larger after a burst is cut back.
CHECKPOINT_PAGES = 4096
LOG_BYTES = 64 * 1024 * 1024

Answer: TypeAlias = "list[Kept] | int | StoreError | None"

# Of what is read from the file.
_NONSENSE = (DamagedRow, LookupError, TypeError, ValueError)


class Durability(Enum):
    """What a barrier promises; the value is what SQLite calls it."""

    FULL = "FULL"  # survives power loss: fsync at each commit
    NORMAL = "NORMAL"  # survives the end of the process, however sudden; fsync now and then
    OFF = "OFF"  # the same, without any fsync: a power loss may damage the file


class Loaded(NamedTuple):
    """
    What a file has to say.

    :ivar numbers: of the sessions, by client id.
    :ivar warnings: for the log: what happened to the file.
    """

    state: SavedState
    numbers: dict[str, int]
    next_number: int
    last_batch: int
    warnings: list[str]


class Search(NamedTuple):
    """
    What was found in the archive.

    :ivar answers: a `StoreError` in the place of one that cannot be read.
    :ivar damage: for the log: what could not be read.
    """

    answers: list[Answer]
    damage: list[str]


class Database:
    """One file, and the process that it belongs to."""

    def __init__(
        self,
        path: str,
        durability: Durability,
        wall_clock: Callable[[], float],
        monotonic: Callable[[], float],
        steps: Sequence[str],
    ) -> None:
        """
        :param monotonic: the broker's seconds.
        :param steps: the versions of the schema; see `pushd.storage.schema`.
        """
        self.path = path
        self._durability = durability
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._steps = steps
        self.commit_times = CommitTimes()
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._places = Places(1, 1)
        self._backlog = Backlog(0)

    # The life of the file

    def load(self) -> Loaded:
        """
        Open the file, or make it, and read all of it.

        :raises StoreError: it cannot be used.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreError(f"{self.path}: SQLite {sqlite3.sqlite_version} is too old, 3.35 is needed")
        try:
            self._take_lock()
            warnings = self._settle_files()
            try:
                loaded = self._open_and_read()
            except _Damaged as problem:
                warnings += self._recover(str(problem))
                loaded = self._open_and_read()
        except (OSError, sqlite3.Error, StoreError, _Damaged) as problem:
            self._let_go()
            raise StoreError(f"{self.path}: {problem}") from problem
        return loaded._replace(warnings=warnings)

    def close(self) -> None:
        """Let go of the file. Its journal and its log become part of it, if that can be done."""
        if self._connection is not None and self._backlog:
            with suppress(sqlite3.Error):
                self._backlog.fold(self._connection, self._places, self._times())
        self._let_go()

    def _let_go(self) -> None:
        self._give_up_connection()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        """
        A file of its own is locked: a program that closes SQLite's loses SQLite's own locks. Others may read
        the database meanwhile, to back it up say.
        """
        os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
        self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError("it is in use by another process") from None

    def _settle_files(self) -> list[str]:
        """
        See that there is a database. One is made under another name and gets its own when it is complete, so
        an empty file is never what an earlier start left behind.
        """
        with suppress(FileNotFoundError):
            os.remove(f"{self.path}.new")
        if os.path.exists(self.path):
            return []
        warnings = []
        if os.path.exists(f"{self.path}-wal"):
            aside = self._move_aside()
            warnings.append(f"{self.path} is missing, but its log is there: moved to {aside}-wal")
        self._make().close()
        self._put_in_place()
        return warnings

    def _make(self) -> sqlite3.Connection:
        """A new database with all tables and nothing in them, under its temporary name."""
        path = f"{self.path}.new"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection = connect(path)
        connection.execute("PRAGMA recursive_triggers = ON")
        schema.upgrade(connection, self._steps)
        return connection

    def _put_in_place(self) -> None:
        os.rename(f"{self.path}.new", self.path)
        directory = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _open_and_read(self) -> Loaded:
        """:raises _Damaged: what was opened is closed again."""
        try:
            return self._try_to_read()
        except (sqlite3.Error, *_NONSENSE) as problem:
            if isinstance(problem, sqlite3.Error) and not _is_damage(problem):
                raise
            damage = str(problem) if isinstance(problem, (sqlite3.Error, DamagedRow)) else repr(problem)
        # Not before here: the frames of a traceback hold statements, and those would keep the file open.
        self._give_up_connection()
        raise _Damaged(damage)

    def _try_to_read(self) -> Loaded:
        if os.path.getsize(self.path) == 0:
            raise DamagedRow("it is empty")
        connection = self._connection = self._open()
        _check(connection)
        if schema.version_of(connection) == 0:
            raise DamagedRow("there are no tables in it")
        schema.upgrade(connection, self._steps)
        self._take_up(connection)
        if self._backlog:
            self._places = self._backlog.fold(connection, self._places, self._times())
        loader = Loader(connection, self._times())
        state, numbers = loader.state(), loader.numbers()
        next_number = max(numbers.values(), default=0) + 1
        return Loaded(state, numbers, next_number, self._backlog.last_batch, [])

    def _open(self) -> sqlite3.Connection:
        connection = connect(self.path)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._durability.value}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
            # Rows that are replaced count as deleted, for the triggers that count who needs a body.
            connection.execute("PRAGMA recursive_triggers = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_up_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _times(self) -> Times:
        return Times.now(self._wall_clock, self._monotonic)

    # A damaged file

    def _recover(self, problem: str) -> list[str]:
        """Move the file aside, and what can be read of it into a new one. :return: what to log."""
        aside = self._move_aside()
        with closing(self._make()) as connection:
            report = salvage(connect(aside), connection)
        self._put_in_place()
        return [f"{self.path} is damaged ({problem}): moved to {aside}. {report}"]

    def _move_aside(self) -> str:
        """:return: the new name. A log goes along, under the name where SQLite looks for it."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._wall_clock()))
        aside = f"{self.path}.damaged-{stamp}"
        count = 1
        while os.path.exists(aside) or os.path.exists(f"{aside}-wal"):
            count += 1
            aside = f"{self.path}.damaged-{stamp}-{count}"
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
        with suppress(FileNotFoundError):
            os.remove(f"{self.path}-shm")  # an index of the log, which SQLite makes anew
        return aside

    # Writing

    def write(self, batch: Batch) -> None:
        """
        Commit a batch, unless an attempt that failed did so after all. At any exception call this again with
        the same batch, later.
        """
        batch.settle()
        if not batch:
            return
        try:
            connection = self._connection
            if connection is None:
                connection = self._open_again()
            if self._backlog.last_batch < batch.number:
                began_at = self._monotonic()
                self._places = self._backlog.write(connection, batch, self._places, self._times(), began_at)
                self.commit_times.add(self._monotonic() - began_at)
        except BaseException:
            self._give_up_connection()
            raise

    # Reading

    def read_messages(self, numbers: Sequence[int]) -> Found:
        """The messages of some sessions, as far as batches were committed."""
        try:
            found = read_messages(self._connection or self._open_again(), numbers, self._times())
            by_session = dict(zip(numbers, found.messages, strict=True))
            self._backlog.add_messages(
                {number: of for number, of in by_session.items() if not isinstance(of, StoreError)}
            )
            return found
        except BaseException:
            self._give_up_connection()
            raise

    def search(self, wanted: Sequence[KeptQuery | str]) -> Search:
        """What the archive has for queries, and the numbers of ids, as far as batches were committed."""
        times = self._times()
        try:
            connection = self._connection or self._open_again()
            reader = ArchiveReader(connection, self._backlog.unfolded, self._backlog.expired, times)
            return Search([self._answer(reader, one) for one in wanted], reader.damage)
        except BaseException:
            self._give_up_connection()
            raise

    @staticmethod
    def _answer(reader: ArchiveReader, wanted: KeptQuery | str) -> Answer:
        try:
            return reader.number_of(wanted) if isinstance(wanted, str) else reader.find(wanted)
        except (OverflowError, UnicodeError):  # no row can have that, and it would be in vain to try again
            return None if isinstance(wanted, str) else []
        except sqlite3.OperationalError:  # of the disk, not of the contents
            raise
        except sqlite3.Error as problem:
            reader.damage.append(f"archive: {problem}")
            return StoreError(str(problem))

    def sweep(self) -> bool:
        """Delete some of what is over in the archive. :return: whether there may be more."""
        try:
            return sweep(self._connection or self._open_again(), self._backlog.expired)
        except BaseException:
            self._give_up_connection()
            raise

    def _open_again(self) -> sqlite3.Connection:
        """After a failure: see the top of this file."""
        connection = self._connection = self._open()
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("another program reads the database")
        self._take_up(connection)
        return connection

    def _take_up(self, connection: sqlite3.Connection) -> None:
        """Read how far the file is."""
        loader = Loader(connection, self._times())
        self._places = loader.places()
        self._backlog = Backlog.read(connection, loader.last_batch(), loader.kept_expired(), self._times())


class _Damaged(Exception):
    """The file can be opened, but what is in it cannot be relied on."""


def connect(path: str) -> sqlite3.Connection:
    """A connection that leaves transactions to us; threads take turns with it."""
    return sqlite3.connect(
        path, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=512
    )


def _check(connection: sqlite3.Connection) -> None:
    """
    Look through the whole file: 0.3 s for a million small messages, two seconds for 2 GB of payloads, and as
    long as the disk takes to read it. What is damaged would otherwise be found when a client comes for it,
    with a process around it that can do nothing but to fail; at the start it can be moved aside.

    :raises DamagedRow: SQLite finds the file in disorder.
    """
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedRow(verdict)


def _is_damage(problem: sqlite3.Error) -> bool:
    """
    Whether an error speaks of the contents of the file, and not of the disk or of other processes: those are
    always `OperationalError`.
    """
    return type(problem) is sqlite3.DatabaseError or str(problem).startswith(
        ("Could not decode to UTF-8", "no such table", "no such column")
    )
