"""
What can still be read of a damaged file, row by row.

SQLite stops at the first page of a table that makes no sense. Each table is therefore read from both ends,
and where rows belong to sessions, session by session: one bad page then costs what is on it, and little more.
Nothing is taken over that does not say what it should, or that is of no use by itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from typing import Any

from pushd.mqtt.codes import PacketType
from pushd.mqtt.properties import WILL
from pushd.storage.blob import unpack
from pushd.storage.loader import Loader
from pushd.storage.rows import DamagedRow, Times, read_ids, read_properties, read_push, read_source
from pushd.storage.writer import write

Row = tuple[Any, ...]

_NUMBER, _TEXT, _BYTES = (int,), (str,), (bytes,)
_TEXT_OR_NOT, _BYTES_OR_NOT, _TIME_OR_NOT = (str, type(None)), (bytes, type(None)), (float, type(None))

# Each table with its columns, those of its key first, and what may stand in them. Bodies come before what
# needs them, sessions before what is theirs.
TABLES: dict[str, dict[str, tuple[type, ...]]] = {
    "sessions": {
        "id": _NUMBER, "client_id": _TEXT, "username": _TEXT_OR_NOT, "expiry_s": _TIME_OR_NOT,
        "left_at": _TIME_OR_NOT, "listener": _TEXT_OR_NOT,
    },
    "retained": {
        "topic": _TEXT, "payload": _BYTES, "qos": _NUMBER, "retain": _NUMBER, "properties": _BYTES_OR_NOT,
        "expires_at": _TIME_OR_NOT, "source": _TEXT_OR_NOT,
    },
    "wills": {
        "client_id": _TEXT, "username": _TEXT_OR_NOT, "topic": _TEXT, "payload": _BYTES, "qos": _NUMBER,
        "retain": _NUMBER, "properties": _BYTES_OR_NOT,
    },
    "scheduled": {
        "id": _TEXT, "due_at": (float,), "topic": _TEXT, "payload": _BYTES, "qos": _NUMBER,
        "retain": _NUMBER, "properties": _BYTES_OR_NOT, "expires_at": _TIME_OR_NOT,
        "source": _TEXT_OR_NOT, "push": _TEXT_OR_NOT,
    },
    "kept": {
        "number": _NUMBER, "id": _TEXT, "at": _NUMBER, "until": _NUMBER, "event": _TEXT, "topic": _TEXT,
        "payload": _BYTES, "qos": _NUMBER, "retain": _NUMBER, "properties": _BYTES_OR_NOT,
        "expires_at": _TIME_OR_NOT, "push": _TEXT_OR_NOT,
    },
    "notes": {"kind": _TEXT, "key": _TEXT, "value": _BYTES, "until": _NUMBER},
    "bodies": {
        "id": _NUMBER, "topic": _TEXT, "payload": _BYTES, "properties": _BYTES_OR_NOT,
        "expires_at": _TIME_OR_NOT, "push": _TEXT_OR_NOT,
    },
    "subscriptions": {
        "session": _NUMBER, "filter": _TEXT, "qos": _NUMBER, "no_local": _NUMBER,
        "retain_as_published": _NUMBER, "retain_handling": _NUMBER, "identifier": _NUMBER,
        "standing": (int, type(None)),
    },
    "queued": {
        "session": _NUMBER, "sequence": _NUMBER, "body": _NUMBER, "qos": _NUMBER, "retain": _NUMBER,
        "subscription_ids": _TEXT_OR_NOT,
    },
    "inflight": {
        "session": _NUMBER, "packet_id": _NUMBER, "position": _NUMBER, "body": (int, type(None)),
        "qos": _NUMBER, "retain": _NUMBER, "subscription_ids": _TEXT_OR_NOT,
    },
    "received": {"session": _NUMBER, "packet_id": _NUMBER},
}  # fmt: skip

_TIMES = Times(0.0)  # as they stand in the rows

# Rows whose session or body was lost, and bodies that nobody needs any more.
_USELESS = (
    "DELETE FROM subscriptions WHERE session NOT IN (SELECT id FROM sessions)",
    "DELETE FROM received WHERE session NOT IN (SELECT id FROM sessions)",
    *(
        f"DELETE FROM {table} WHERE session NOT IN (SELECT id FROM sessions)"
        f" OR body NOT IN (SELECT id FROM bodies)"
        for table in ("queued", "inflight")
    ),
    "DELETE FROM bodies WHERE id NOT IN (SELECT body FROM body_users)",
)


def salvage(damaged: sqlite3.Connection, into: sqlite3.Connection) -> str:
    """
    Copy what can be read.

    :param damaged: is closed.
    :param into: an empty database with all tables.
    :return: a sentence that says what came over.
    """
    # What is no UTF-8 becomes something that cannot be inserted, instead of the end of reading.
    damaged.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    with suppress(sqlite3.Error):
        damaged.execute("PRAGMA writable_schema = ON")  # else a file that is too short is not read at all
    into.execute("BEGIN IMMEDIATE")
    with closing(damaged):
        for table in TABLES:
            for row in _rows(damaged, into, table):
                _take(into, table, row)
        lost = _apply_journal(damaged, into)
    for sql in _USELESS:
        into.execute(sql)
    _close_gaps(into)
    counts = {table: _count(into, table) for table in TABLES}
    into.execute("COMMIT")
    journal = f" Of its journal, {lost} entries could not be read." if lost else ""
    if not any(counts.values()):
        return f"Nothing of it could be read: pushd starts with an empty store.{journal}"
    kept = ", ".join(f"{count} {table}" for table, count in counts.items())
    return f"What could be read of it is recovered: {kept}.{journal}"


def _apply_journal(damaged: sqlite3.Connection, into: sqlite3.Connection) -> int:
    """
    Write what the journal has into the tables.

    :return: how many rows of it make no sense.
    """
    rows: dict[Any, Any] = dict(_from_both_ends(damaged, "journal", ("number", "changes"), "", "rowid", ()))
    lost = 0
    for number, blob in sorted(rows.items()):
        into.execute("SAVEPOINT entry")
        try:
            write(into, unpack(number, blob, _TIMES), Loader(into, _TIMES).places(), _TIMES)
        except (DamagedRow, OverflowError, sqlite3.IntegrityError):
            into.execute("ROLLBACK TO entry")
            lost += 1
        into.execute("RELEASE entry")
    return lost


def _close_gaps(into: sqlite3.Connection) -> None:
    """Number the queues anew that have lost messages: what waits for a session has numbers without gaps."""
    torn = into.execute(
        "SELECT session FROM queued GROUP BY session HAVING max(sequence) - min(sequence) >= count(*)"
    ).fetchall()
    for session in torn:
        rows = into.execute("SELECT sequence FROM queued WHERE session = ? ORDER BY sequence", session)
        for number, (sequence,) in enumerate(rows.fetchall(), 1):
            into.execute(
                "UPDATE queued SET sequence = ? WHERE session = ? AND sequence = ?",
                (number, *session, sequence),
            )


def _rows(damaged: sqlite3.Connection, into: sqlite3.Connection, table: str) -> Iterator[Row]:
    """What can be read of a table. A row may come twice."""
    key, second = list(TABLES[table])[:2]
    columns = _columns(damaged, table)
    if key != "session":
        # In the order of the pages, whatever else the table has an index for.
        order = "kind" if table == "notes" else "rowid"
        yield from _from_both_ends(damaged, table, columns, "", order, ())
        return
    for (number,) in into.execute("SELECT id FROM sessions").fetchall():
        yield from _from_both_ends(damaged, table, columns, "WHERE session = ?", second, (number,))


def _columns(damaged: sqlite3.Connection, table: str) -> list[str]:
    """What to read of a table: a file of an older version may not have all of it."""
    try:
        there = [name for name, *_ in damaged.execute(f"SELECT * FROM {table} LIMIT 0").description]
    except sqlite3.Error:
        return list(TABLES[table])
    return [column if column in there else "NULL" for column in TABLES[table]]


def _from_both_ends(
    damaged: sqlite3.Connection, table: str, columns: Iterable[str], only: str, key: str, arguments: Row
) -> Iterator[Row]:
    names = ", ".join(columns)
    for direction in ("ASC", "DESC"):
        sql = f"SELECT {names} FROM {table} {only} ORDER BY {key} {direction}"
        try:
            yield from damaged.execute(sql, arguments)
        except sqlite3.Error:
            continue
        return


def _take(into: sqlite3.Connection, table: str, row: Row) -> None:
    """Copy a row, if it is good and not there yet."""
    columns, places = ", ".join(TABLES[table]), ", ".join("?" * len(row))
    with suppress(DamagedRow, UnicodeError, OverflowError, sqlite3.IntegrityError):
        _check(table, row)
        into.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})", row)


def _check(table: str, row: Row) -> None:
    """:raises DamagedRow: there is something in it that the broker could not use."""
    for (column, kinds), value in zip(TABLES[table].items(), row, strict=True):
        if type(value) not in kinds:
            raise DamagedRow(column)
        if column in ("qos", "retain_handling") and not 0 <= value <= 2:
            raise DamagedRow(column)
        if column == "sequence" and value < 1:
            raise DamagedRow(column)
        if column == "properties":
            read_properties(value, WILL if table == "wills" else PacketType.PUBLISH)
        if column == "subscription_ids":
            read_ids(value)
        if column == "source":
            read_source(value)
        if column == "push":
            read_push(value)


def _count(into: sqlite3.Connection, table: str) -> int:
    (count,) = into.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)
