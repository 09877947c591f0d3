"""
What the archive has, found and read while a busy reactor runs beside.

As for the messages of sessions (`pushd.storage.messages`), each row that SQLite gives may cost milliseconds.
So what is looked for is found as one text of numbers and sizes, and read as texts of many rows; only large
payloads come one by one. Where that fails, it is read row by row, and what can be read is given.

What is durable but not in the table yet is in the sum of the journal (`pushd.storage.backlog`). Its numbers
are higher than any in the table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from pushd.broker.message import Message
from pushd.broker.records import Kept, KeptQuery
from pushd.storage.batch import Batch
from pushd.storage.messages import SMALL_BYTES
from pushd.storage.rows import DamagedRow, Times, read_message, read_push

# Of payloads that one search gives, unless its first one is larger by itself.
MAX_BYTES = 4 * 1024 * 1024
# Rows to a step: a text of 2 MiB at most.
CHUNK = 256

# What is over is deleted so many rows at a time: about 5 ms.
SWEEP = 500

_NONSENSE = (DamagedRow, AttributeError, LookupError, TypeError, ValueError)


class ArchiveReader:
    """
    Reads one file.

    :ivar damage: for the log: what could not be read.
    """

    def __init__(self, connection: sqlite3.Connection, unfolded: Batch, expired: int, times: Times) -> None:
        """
        :param unfolded: what is not in the table yet.
        :param expired: what has an `until` that is not later than this is forgotten.
        """
        self._connection = connection
        self._unfolded = unfolded
        self._expired = expired
        self._times = times
        self.damage: list[str] = []

    def find(self, query: KeptQuery) -> list[Kept]:
        """:raises sqlite3.Error: the disk fails, or the file is damaged."""
        newer = [kept for kept in self._unfolded.kept.values() if query.wants(kept) and self._counts(kept)]
        topics: Sequence[str | None] = query.topics or (None,)
        if query.latest:
            last = {kept.message.topic: kept for kept in newer}
            newer = sorted(last.values(), key=lambda kept: kept.number)
            topics = [topic for topic in topics if topic not in last]
        older = self._places(query, topics)
        chosen = _as_many_as_fit(older[: query.limit])
        found = self._read(chosen)
        return found if len(chosen) < len(older) else (found + newer)[: query.limit]

    def number_of(self, id: str) -> int | None:
        """The lowest number of what has this id."""
        rows = self._connection.execute(_OF_ID, (id, self._expired)).fetchall()
        in_table = (number for (number,) in rows if number not in self._unfolded.forgotten)
        newer = (kept.number for kept in self._unfolded.kept.values() if kept.id == id and self._counts(kept))
        return next(in_table, None) or next(newer, None)

    def _counts(self, kept: Kept) -> bool:
        return kept.until > self._expired

    # Where it is

    def _places(self, query: KeptQuery, topics: Iterable[str | None]) -> list[tuple[int, int]]:
        """The numbers of what is wanted of the table, with the sizes of the payloads; too many perhaps."""
        first = self._first(query)
        forgotten = self._unfolded.forgotten
        limit = (1 if query.latest else query.limit) + len(forgotten)
        places: set[tuple[int, int]] = set()
        for topic in topics:
            sql = _places_sql(topic is not None, query.latest)
            of_topic = () if topic is None else (topic,)
            count, text = self._connection.execute(sql, (*of_topic, first, self._expired, limit)).fetchone()
            found = [_pair(place) for place in text.split(";")] if count else []
            found = [place for place in found if place[0] not in forgotten]
            places.update([max(found)] if found and query.latest else found)
        return sorted(places)

    def _first(self, query: KeptQuery) -> int:
        """From which number on it is new enough: their order is that of the times, so no index is needed."""
        if query.since == 0:
            return query.after + 1
        low, high = query.after + 1, self._last() + 1
        while low < high:  # about twenty times for a million rows
            middle = (low + high) // 2
            number, at = self._connection.execute(_NEXT, (middle,)).fetchone()
            low, high = (low, middle) if at >= query.since else (number + 1, high)
        return low

    def _last(self) -> int:
        (last,) = self._connection.execute("SELECT max(number) FROM kept").fetchone()
        return last or 0

    # What it says

    def _read(self, numbers: Sequence[int]) -> list[Kept]:
        try:
            found = self._read_many(numbers)
        except (*_NONSENSE, sqlite3.DataError):
            found = [kept for number in numbers if (kept := self._read_one(number)) is not None]
        return sorted(found, key=lambda kept: kept.number)

    def _read_many(self, numbers: Sequence[int]) -> list[Kept]:
        found = []
        for at in range(0, len(numbers), CHUNK):
            some = numbers[at : at + CHUNK]
            places = ", ".join("?" * len(some))
            (text,) = self._connection.execute(_SMALL.format(numbers=places), some).fetchone()
            found += [self._kept(*_columns(row)) for row in text.split(";")] if text else []
            found += [
                self._kept(*row) for row in self._connection.execute(_LARGE.format(numbers=places), some)
            ]
        if len(found) < len(numbers):
            raise DamagedRow("archive: a row without a value")
        return found

    def _read_one(self, number: int) -> Kept | None:
        try:
            id, event, topic, *rest = self._connection.execute(_ONE, (number,)).fetchone()
            # What is no UTF-8 would end the reading of the others, so texts come as bytes.
            return self._kept(number, id.decode(), event.decode(), topic.decode(), *rest)
        except _NONSENSE as problem:
            self.damage.append(f"archive, {number}: {problem!r}")
            return None

    def _kept(
        self, number: int, id: str, event: str, topic: str, payload: bytes, properties: bytes | None,
        push: str | None, at: int, until: int, qos: int, retain: int, expires_at: float | None,
    ) -> Kept:  # fmt: skip
        message: Message = read_message(topic, payload, properties, expires_at, self._times)
        if not (id and event and type(at) is type(until) is int and 0 <= qos <= 2):
            raise DamagedRow(f"id {id!r}, event {event!r}, at {at}, until {until}, QoS {qos}")
        message.qos, message.retain, message.push = qos, bool(retain), read_push(push)
        return Kept(number, id, at, until, message, event)


def sweep(connection: sqlite3.Connection, expired: int) -> bool:
    """
    Delete some of what is over, in a transaction of its own.

    :return: whether there may be more.
    """
    return connection.execute(_SWEEP, (expired, SWEEP)).rowcount >= SWEEP


def _pair(place: str) -> tuple[int, int]:
    number, size = place.split(" ")
    return int(number), int(size)


def _as_many_as_fit(places: Iterable[tuple[int, int]]) -> list[int]:
    """The first numbers whose payloads are not too large together."""
    chosen: list[int] = []
    total = 0
    for number, size in places:
        total += size
        if chosen and total > MAX_BYTES:
            break
        chosen.append(number)
    return chosen


def _columns(row: str) -> tuple[Any, ...]:
    """A row of `_SMALL`: texts and bytes come in hexadecimal."""
    number, id, event, topic, payload, properties, push, at, until, qos, retain, expires_at = row.split(" ")
    texts = (bytes.fromhex(text).decode() for text in (id, event, topic))
    return (
        int(number), *texts, bytes.fromhex(payload), bytes.fromhex(properties) or None,
        bytes.fromhex(push).decode() or None, int(at), int(until), int(qos), int(retain),
        float(expires_at) if expires_at else None,
    )  # fmt: skip


def _places_sql(of_topic: bool, latest: bool) -> str:
    return (
        "SELECT count(*), group_concat(number || ' ' || size, ';') FROM"
        " (SELECT number, length(payload) AS size FROM kept WHERE"
        f" {'topic = ? AND' if of_topic else ''} number >= ? AND +until > ?"
        f" ORDER BY number {'DESC' if latest else 'ASC'} LIMIT ?)"
    )


# With a plus in front, SQLite does not think of the index for a column: next to nothing is over, so that it
# would look through all of it.
_NEXT = "SELECT number, at FROM kept WHERE number >= ? ORDER BY number LIMIT 1"
_OF_ID = "SELECT number FROM kept WHERE id = ? AND +until > ? ORDER BY number"
_SMALL = (
    "SELECT group_concat(number || ' ' || hex(id) || ' ' || hex(event) || ' ' || hex(topic) || ' '"
    " || hex(payload) || ' ' || hex(properties) || ' ' || hex(push) || ' ' || at || ' ' || until || ' '"
    " || qos || ' ' || retain || ' ' || coalesce(expires_at, ''), ';')"
    f" FROM kept WHERE number IN ({{numbers}}) AND length(payload) <= {SMALL_BYTES}"
)
_LARGE = (
    "SELECT number, id, event, topic, payload, properties, push, at, until, qos, retain, expires_at"
    f" FROM kept WHERE number IN ({{numbers}}) AND length(payload) > {SMALL_BYTES}"
)
_ONE = (
    "SELECT CAST(id AS BLOB), CAST(event AS BLOB), CAST(topic AS BLOB), payload, properties, push, at, until,"
    " qos, retain, expires_at FROM kept WHERE number = ?"
)
_SWEEP = "DELETE FROM kept WHERE number IN (SELECT number FROM kept WHERE until <= ? LIMIT ?)"
