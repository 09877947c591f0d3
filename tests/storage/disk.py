"""A durable store's file, and one process after the other that uses it; as many as a test likes."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.records import SavedMessages, SavedState
from pushd.storage import schema
from pushd.storage.database import Database, Durability
from pushd.storage.sqlite import SqliteStore

NOON = 1_800_000_000.0  # on the wall clock, when the broker's clock says 0


class Threads:
    """
    A thread that does its work when the test says so.

    :ivar held: whether it waits for `step`; otherwise calls return at once.
    """

    def __init__(self) -> None:
        self.held = False
        self.calls: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if not self.held:
            return maybeDeferred(function, *arguments)
        called: Deferred[Any] = Deferred()
        self.calls.append((called, function, arguments))
        return called

    def step(self) -> None:
        """Do what was asked for first."""
        called, function, arguments = self.calls.pop(0)
        maybeDeferred(function, *arguments).chainDeferred(called)


class Disk:
    """
    A place for a file, and one process after the other that uses it.

    :ivar clock: the reactor's of the last process; the broker's seconds.
    :ivar naps: how often and how long the reactor slept, so that the thread can run.
    :ivar state: what the last process found.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        self._case = case
        self.path = Path(case.mktemp()).absolute() / "pushd.db"
        self.thread = Threads()
        self.naps: list[float] = []

    def open(self, durability: Durability = Durability.NORMAL, wall_s: float = NOON) -> SqliteStore:
        """A new process; its broker counts its seconds from 0."""
        self.clock = Clock()
        store = SqliteStore(
            str(self.path),
            durability=durability,
            in_thread=self.thread,
            call_later=self.clock.callLater,
            wall_clock=lambda: wall_s + self.clock.seconds(),
            monotonic=self.clock.seconds,
            sleep=self.naps.append,
        )
        self._case.addCleanup(store._database.close)
        self.state = self._case.successResultOf(store.load())
        return store

    def kill(self, store: SqliteStore) -> None:
        """End a process without letting it do anything more: files are as they are at this moment."""
        files = {path: path.read_bytes() for path in (self.path, self.log) if path.exists()}
        store._database.close()  # which also moves the log into the database, so it is all put back
        for path, data in files.items():
            path.write_bytes(data)

    def messages(self, store: SqliteStore) -> dict[str, SavedMessages]:
        """Those of all sessions that the last process found."""
        return {
            client_id: self._case.successResultOf(store.load_messages(client_id))
            for client_id in self.state.sessions
        }

    def found(self) -> SavedState:
        """What the next process would find if this one ended now."""
        copy = self.path.with_name("copy.db")
        for suffix in ("", "-wal"):
            if Path(f"{self.path}{suffix}").exists():
                shutil.copy(f"{self.path}{suffix}", f"{copy}{suffix}")
        database = Database(str(copy), Durability.OFF, lambda: NOON, lambda: 0.0, schema.steps())
        state = database.load().state
        database.close()
        return state

    @property
    def log(self) -> Path:
        return Path(f"{self.path}-wal")

    @property
    def aside(self) -> list[str]:
        """Damaged files that were moved aside."""
        return sorted(path.name for path in self.path.parent.iterdir() if "damaged" in path.name)

    def rows(self, sql: str) -> list[Any]:
        """What another program reads in the file meanwhile."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()


# The statements that make a batch durable.
COMMITS = ("INSERT INTO journal", "COMMIT")


class FaultyConnection(sqlite3.Connection):
    """
    A connection whose disk fails on demand. All connections of a test share the faults: a new one is no cure.

    :cvar faults: an error for each of the next statements that `at` names, or ``None`` for one that is well.
    :cvar at: how those statements begin.
    :cvar too_late: whether the statement has its effect all the same.
    """

    faults: list[Exception | None] = []
    at: str | tuple[str, ...] = COMMITS
    too_late = False

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        fault = self.faults.pop(0) if self.faults and sql.startswith(self.at) else None
        if fault is None or self.too_late:
            cursor = super().execute(sql, *arguments)
        if fault is not None:
            if self.too_late:
                cursor.close()  # or its statement keeps the file open
            raise fault.with_traceback(None)
        return cursor
