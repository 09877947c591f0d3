"""
``people.db``: opened, kept in order, and shared with other processes.

A server and any number of ``pushctl`` may have it open at once. Readers never wait (WAL); writers wait for
each other, `BUSY_S` at the most, and none keeps the others waiting for longer than its few rows take. All of
this may wait for the disk, and belongs into a thread; several threads may be here at the same time, each with
a connection of its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pushd.people import schema
from pushd.people.interfaces import PeopleUnavailable

# How long to wait for other writers.
BUSY_S = 2.0


class PeopleFile:
    """
    One file. It is made if it is not there.

    Every method may raise `PeopleUnavailable`, with the name of the file in it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """What is read in here is of one moment."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """What is changed in here is changed all at once and for good; if an exception leaves, nothing is."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Let go of the file. Whoever is still at it does so when done."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            self._see_that_it_is_open()
            connection = self._idle.pop() if self._idle else self._open()
            try:
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
        except (OSError, sqlite3.Error, PeopleUnavailable) as problem:
            raise PeopleUnavailable(f"{self.path}: {problem}") from problem
        self._put_back(connection)

    def _see_that_it_is_open(self) -> None:
        if self._closed:
            raise PeopleUnavailable("it was closed")

    def _put_back(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()

    def _open(self) -> sqlite3.Connection:
        self._see_that_it_is_there()
        connection = sqlite3.connect(
            self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # An account that was made is there after a power cut. There are few of these a second.
            connection.execute("PRAGMA synchronous = FULL")
            # A weak hash that was replaced shall not stay in a page that nobody uses.
            connection.execute("PRAGMA secure_delete = ON")
            schema.upgrade(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _see_that_it_is_there(self) -> None:
        """
        Its hashes are nobody else's business. One that root makes, with ``pushctl`` say, belongs to whom its
        folder belongs to: to the user that the server runs as.
        """
        folder = os.path.dirname(self.path) or "."
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            if os.geteuid() == 0:
                owner = os.stat(folder)
                os.chown(self.path, owner.st_uid, owner.st_gid)
