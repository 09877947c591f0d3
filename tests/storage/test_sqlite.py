"""`pushd.storage.sqlite`: the contract on disk, group commit, what can go wrong with a disk, damaged files."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.mqtt.packets import SubscriptionRequest
from pushd.storage import database
from pushd.storage.errors import StoreError
from pushd.storage.memory import MemoryStore
from pushd.storage.sqlite import Durability, SqliteStore
from tests.storage.contract import LEFT_AT, Model, StoreContract, journal, picture, steps

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
    :ivar state: what the last process found.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        self._case = case
        self.path = Path(case.mktemp()).absolute() / "pushd.db"
        self.thread = Threads()

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


class OnDisk(StoreContract):
    """The contract of all stores; between a barrier and the next start, the process is killed."""

    durability: Durability

    def make(self) -> SqliteStore:
        assert isinstance(self, SynchronousTestCase)
        self.disk = Disk(self)
        return self.disk.open(self.durability)

    def kept(self) -> dict[str, Any]:
        self.durable()
        self.disk.kill(self.store)
        self.store = self.disk.open(self.durability)
        return picture(self.disk.state)


class FullTests(OnDisk, SynchronousTestCase):
    """``durability full``"""

    durability = Durability.FULL


class NormalTests(OnDisk, SynchronousTestCase):
    """``durability normal``"""

    durability = Durability.NORMAL


class OffTests(OnDisk, SynchronousTestCase):
    """``durability off``"""

    durability = Durability.OFF
