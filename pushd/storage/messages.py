"""
The messages of some sessions, read while a busy reactor runs beside.

Each row that SQLite gives lets go of the interpreter's lock, and getting it back may take milliseconds. So
the rows of all sessions that are asked for come as one text, with a space between columns and a semicolon
between rows; what could hold either comes in hexadecimal. Only large payloads come one by one.

Where that fails, for a row that makes no sense say, everything is read row by row, and what can be read of
it is given.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pushd.broker.message import Message
from pushd.broker.records import SavedMessages
from pushd.storage.errors import StoreError
from pushd.storage.rows import DamagedRow, Times, read_ids, read_message, read_push

# Payloads of up to this size come many to a step.
SMALL_BYTES = 4096
# Bodies to a step: a text of 2 MiB at most.
CHUNK = 256

Row = tuple[Any, ...]


class Found(NamedTuple):
    """
    :ivar messages: of one session after the other; a `StoreError` if they cannot be read.
    :ivar damage: for the log: what could not be read.
    """

    messages: list[SavedMessages | StoreError]
    damage: list[str]


def read_messages(connection: sqlite3.Connection, numbers: Sequence[int], times: Times) -> Found:
    """
    What some sessions wait for, are in the middle of, and hold.

    A queued message that cannot be read is given back as one that has expired long ago: the numbers of a
    queue have no gaps, and whoever finds one expired drops it. One in flight is left out.

    :raises sqlite3.Error: the disk fails.
    """
    try:
        by_number = _AtOnce(connection, times).read(numbers)
        return Found([by_number[number] for number in numbers], [])
    except (DamagedRow, LookupError, TypeError, ValueError, sqlite3.Error):
        return _RowByRow(connection, times).read(numbers)


class _AtOnce:
    """As few steps as possible, and an exception for whatever is not as it should be."""

    def __init__(self, connection: sqlite3.Connection, times: Times) -> None:
        self._connection = connection
        self._times = times
        self._bodies: dict[int, Message] = {}

    def read(self, numbers: Sequence[int]) -> dict[int, SavedMessages]:
        by_number = {number: SavedMessages() for number in numbers}
        queued = sorted(self._rows(_QUEUED, numbers, 6), key=lambda row: (int(row[0]), int(row[1])))
        inflight = sorted(self._rows(_INFLIGHT, numbers, 7), key=lambda row: int(row[0]))
        self._read_bodies({int(row[2]) for row in queued} | {int(row[3]) for row in inflight if row[3]})
        for number, sequence, body, *rest in queued:
            by_number[int(number)].queued[int(sequence)] = self._message(body, *rest)
        for _, number, packet_id, body, *rest in inflight:
            message = self._message(body, *rest) if body else None
            by_number[int(number)].inflight[int(packet_id)] = message
        for number, packet_id in self._rows(_RECEIVED, numbers, 2):
            by_number[int(number)].received.add(int(packet_id))
        return by_number

    def _rows(self, sql: str, numbers: Sequence[int], columns: int) -> list[list[str]]:
        places = ", ".join("?" * len(numbers))
        count, text = self._connection.execute(sql.format(numbers=places), numbers).fetchone()
        rows = [row.split(" ", columns - 1) for row in text.split(";")] if text else []
        if len(rows) != count:  # a NULL where none should be makes a row of nothing
            raise DamagedRow("messages: a row without a value")
        return rows

    def _read_bodies(self, numbers: Iterable[int]) -> None:
        wanted = list(numbers)
        for at in range(0, len(wanted), CHUNK):
            some = wanted[at : at + CHUNK]
            for number, topic, payload, properties, expires_at, push in self._rows(_SMALL, some, 6):
                self._bodies[int(number)] = _body(
                    self._times,
                    bytes.fromhex(topic).decode(),
                    bytes.fromhex(payload),
                    bytes.fromhex(properties) or None,
                    float(expires_at) if expires_at else None,
                    bytes.fromhex(push).decode() or None,
                )
            large = self._connection.execute(_LARGE.format(numbers=", ".join("?" * len(some))), some)
            for number, *columns in large:
                self._bodies[number] = _body(self._times, *columns)

    def _message(self, body: str, qos: str, retain: str, ids: str) -> Message:
        return read_variant(self._bodies[int(body)], int(qos), int(retain), ids or None)


class _RowByRow:
    """What can still be read."""

    def __init__(self, connection: sqlite3.Connection, times: Times) -> None:
        self._connection = connection
        self._times = times
        self._damage: list[str] = []

    def read(self, numbers: Sequence[int]) -> Found:
        return Found([self._read_if_possible(number) for number in numbers], self._damage)

    def _read_if_possible(self, number: int) -> SavedMessages | StoreError:
        try:
            return self._read(number)
        except sqlite3.OperationalError:  # of the disk, not of the contents
            raise
        except (sqlite3.Error, TypeError) as problem:
            self._damage.append(f"session {number}: {problem}")
            return StoreError(str(problem))

    def _read(self, number: int) -> SavedMessages:
        messages = SavedMessages()
        for sequence, *rest in self._connection.execute(_ONE_QUEUED, (number,)):
            self._close_gap(number, messages.queued, sequence)
            messages.queued[sequence] = (
                self._message(f"session {number}, message {sequence}", rest) or _lost()
            )
        for packet_id, body, *rest in self._connection.execute(_ONE_INFLIGHT, (number,)):
            if body is None:
                messages.inflight[packet_id] = None
            elif message := self._message(f"session {number}, packet {packet_id}", rest):
                messages.inflight[packet_id] = message
        messages.received.update(
            packet_id for (packet_id,) in self._connection.execute(_ONE_RECEIVED, (number,))
        )
        return messages

    def _close_gap(self, number: int, queued: dict[int, Message], sequence: int) -> None:
        for lost in range(max(queued, default=sequence - 1) + 1, sequence):
            self._damage.append(f"session {number}, message {lost}: missing")
            queued[lost] = _lost()

    def _message(self, where: str, columns: Iterable[Any]) -> Message | None:
        topic, payload, properties, expires_at, push, qos, retain, ids = columns
        try:
            # What is no UTF-8 would end the reading of the other rows, so topics come as bytes.
            push = push and push.decode()
            body = _body(self._times, topic.decode(), payload, properties, expires_at, push)
            return read_variant(body, qos, retain, ids and ids.decode())
        except (DamagedRow, AttributeError, LookupError, TypeError, ValueError) as problem:
            self._damage.append(f"{where}: {problem!r}")
            return None


def _body(
    times: Times,
    topic: str,
    payload: bytes,
    properties: bytes | None,
    expires_at: float | None,
    push: str | None,
) -> Message:
    message = read_message(topic, payload, properties, expires_at, times)
    message.push = read_push(push)
    return message


def read_variant(body: Message, qos: int, retain: int, ids: str | None) -> Message:
    """
    A publication as one session gets it.

    :raises DamagedRow: there is no such QoS.
    """
    if not 0 <= qos <= 2:
        raise DamagedRow(f"QoS {qos}")
    return body.variant(qos, bool(retain), read_ids(ids))


def _lost() -> Message:
    return Message("", b"", 1, expires_at=-math.inf)


_IN = "WHERE session IN ({numbers})"
_QUEUED = (
    "SELECT count(*), group_concat(session || ' ' || sequence || ' ' || body || ' ' || qos || ' ' || retain"
    f" || ' ' || coalesce(subscription_ids, ''), ';') FROM queued {_IN}"
)
_INFLIGHT = (
    "SELECT count(*), group_concat(position || ' ' || session || ' ' || packet_id || ' '"
    " || coalesce(body, '') || ' ' || qos || ' ' || retain || ' ' || coalesce(subscription_ids, ''), ';')"
    f" FROM inflight {_IN}"
)
_RECEIVED = f"SELECT count(*), group_concat(session || ' ' || packet_id, ';') FROM received {_IN}"
_SMALL = (
    "SELECT count(*), group_concat(id || ' ' || hex(topic) || ' ' || hex(payload) || ' ' || hex(properties)"
    " || ' ' || coalesce(expires_at, '') || ' ' || hex(push), ';')"
    f" FROM bodies WHERE id IN ({{numbers}}) AND length(payload) <= {SMALL_BYTES}"
)
_LARGE = (
    "SELECT id, topic, payload, properties, expires_at, push"
    f" FROM bodies WHERE id IN ({{numbers}}) AND length(payload) > {SMALL_BYTES}"
)
_REST = (
    "CAST(topic AS BLOB), payload, properties, expires_at, CAST(push AS BLOB), qos, retain,"
    " CAST(subscription_ids AS BLOB)"
)
_ONE_QUEUED = (
    f"SELECT sequence, {_REST} FROM queued LEFT JOIN bodies ON id = body WHERE session = ? ORDER BY sequence"
)
_ONE_INFLIGHT = (
    f"SELECT packet_id, body, {_REST} FROM inflight LEFT JOIN bodies ON id = body"
    " WHERE session = ? ORDER BY position"
)
_ONE_RECEIVED = "SELECT packet_id FROM received WHERE session = ?"
