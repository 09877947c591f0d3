"""
Where the history may be: an SQLite file, memory, MariaDB or MySQL. Each through twisted.enterprise.adbapi, in
one thread of its own: whoever waits for a database there keeps nobody else waiting.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from twisted.enterprise.adbapi import Connection, ConnectionPool

from pushd.stats import schema
from pushd.stats.history import History
from pushd.stats.tables import HistoryError, Tables

DEFAULT_PORT = 3306

# A database that does not answer is away. While one of these passes, a stop of pushd waits for it.
CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 10


def in_file(path: str, reactor: Any) -> History:
    """
    The history in an SQLite file, which is made if it is missing. One that is damaged is moved aside.

    It may lose its last seconds with the machine's power, never with the process.
    """
    pool = ConnectionPool(
        "sqlite3",
        path,
        timeout=5.0,
        check_same_thread=False,  # the pool's thread uses the connection, the reactor's closes it
        cp_min=1,
        cp_max=1,
        cp_openfun=lambda connection: _open_file(connection, path),
        cp_reactor=reactor,
    )
    return History(pool, Tables("?", schema.steps()), path, reactor.seconds)


def in_memory(reactor: Any) -> History:
    """The history for as long as the process lives; 20 MB after a month."""
    pool = ConnectionPool(
        "sqlite3", ":memory:", check_same_thread=False, cp_min=1, cp_max=1, cp_reactor=reactor
    )
    return History(pool, Tables("?", schema.steps()), "memory", reactor.seconds)


def in_mysql(url: str, reactor: Any) -> History:
    """
    The history in a database of its own in MariaDB or MySQL.

    :param url: ``mysql://user:password@host[:port]/database``, checked by whoever reads the settings; user,
        password and database percent-encoded where need be.
    """
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORT
    database = unquote(parts.path[1:])
    pool = MySqlPool(
        "pymysql",
        host=parts.hostname,
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        charset="utf8mb4",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=ANSWER_TIMEOUT_S,
        write_timeout=ANSWER_TIMEOUT_S,
        cp_min=1,
        cp_max=1,
        cp_reactor=reactor,
    )
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    place = f"database {database} at {host}:{port}"
    return History(pool, Tables("%s", schema.steps()), place, reactor.seconds)


class _NewAfterFailure(Connection):
    """
    A connection that something has gone wrong with is given up, and the server undoes what was begun. adbapi
    would ask whether it is still good, and log a traceback for each answer that does not come.
    """

    def rollback(self) -> None:
        self._pool.disconnect(self._connection)


class MySqlPool(ConnectionPool):
    connectionFactory = _NewAfterFailure


def _open_file(connection: sqlite3.Connection, path: str) -> None:
    """
    :raises HistoryError: it was damaged, and is not there any more; the next attempt makes a new one.
    """
    try:
        os.chmod(path, 0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as problem:
        connection.close()
        if type(problem) is not sqlite3.DatabaseError:  # the disk's or another process's doing
            raise
        verdict = str(problem)
    if verdict != "ok":
        connection.close()
        raise HistoryError(f"{path} is damaged ({verdict}): moved to {_move_aside(path)}")


def _move_aside(path: str) -> str:
    """:return: the new name. An older file of this name was damaged as well."""
    aside = f"{path}.damaged"
    os.replace(path, aside)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.remove(f"{path}{suffix}")
    return aside
