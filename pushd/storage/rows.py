"""
How messages, properties and times stand in rows, and rows in statements.

Nothing here knows of batches or files; `pushd.storage.writer` writes with it, `pushd.storage.loader` reads.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from pushd.broker.message import Message, PushMark, Source, source_of
from pushd.mqtt.codes import PacketType
from pushd.mqtt.errors import MQTTError
from pushd.mqtt.packets import Properties
from pushd.mqtt.properties import Place, decode_properties, encode_properties

# In the column `standing` of subscriptions; NULL: the client's own.
AUTOMATIC, GIVEN_UP = 1, 2


class DamagedRow(Exception):
    """A row that does not say what it should. Its file is damaged, or was written to by somebody else."""


@dataclass(slots=True)
class Times:
    """
    Rows have seconds since 1970, the broker has seconds since anything.

    :ivar offset: what to add to the broker's time for the other.
    """

    offset: float

    @classmethod
    def now(cls, wall_clock: Callable[[], float], monotonic: Callable[[], float]) -> Times:
        """As the two clocks stand now. The wall clock is set now and then: not to be kept for long."""
        return cls(wall_clock() - monotonic())

    def written(self, time_s: float | None) -> float | None:
        """A time of the broker's, for a row."""
        return None if time_s is None else time_s + self.offset

    def read(self, time_s: float | None) -> float | None:
        """A time of a row, for the broker."""
        return None if time_s is None else time_s - self.offset


def written_properties(properties: Properties | None) -> bytes | None:
    """Properties for a row."""
    return encode_properties(properties) if properties else None


def read_properties(data: bytes | None, where: Place = PacketType.PUBLISH) -> Properties:
    """
    :raises DamagedRow: they are none.
    """
    if data is None:
        return {}
    try:
        properties, end = decode_properties(data, 0, len(data), where)
    except MQTTError as problem:
        raise DamagedRow(f"properties: {problem}") from problem
    if end != len(data):
        raise DamagedRow("properties: more than their length says")
    return properties


def written_ids(ids: tuple[int, ...]) -> str | None:
    """Subscription identifiers for a row."""
    return " ".join(map(str, ids)) if ids else None


def read_ids(text: str | None) -> tuple[int, ...]:
    """
    :raises DamagedRow: they are none.
    """
    if text is None:
        return ()
    try:
        return tuple(map(int, text.split()))
    except ValueError as problem:
        raise DamagedRow(f"subscription identifiers: {problem}") from problem


def written_source(source: Source | None) -> str | None:
    """Who published something, for a row."""
    return None if source is None else json.dumps(source, ensure_ascii=False)


@lru_cache(maxsize=1024)
def read_source(text: str | None) -> Source | None:
    """
    :raises DamagedRow: it is none.
    """
    if text is None:
        return None
    try:
        client_id, username, listener = json.loads(text)
    except (ValueError, TypeError, RecursionError) as problem:
        raise DamagedRow(f"source: {problem}") from problem
    if not (type(client_id) is type(listener) is str and type(username) in (str, type(None))):
        raise DamagedRow(f"source: {text}")
    return source_of(client_id, username, listener)


def written_push(push: PushMark | None) -> str | None:
    """The mark of a push, for a row."""
    return None if push is None else json.dumps(push)


def may_be_replaced(text: str) -> bool:
    """Whether a mark may have a collapse key: where it would stand in JSON, there is not an empty text."""
    return ', "", ' not in text


def read_push(text: str | None) -> PushMark | None:
    """
    :raises DamagedRow: it is none.
    """
    if text is None:
        return None
    try:
        push = PushMark(*json.loads(text))
    except (ValueError, TypeError, RecursionError) as problem:
        raise DamagedRow(f"push: {problem}") from problem
    if tuple(map(type, push)) != (str, int, int, bool, str, bool):
        raise DamagedRow(f"push: {text}")
    return push


def read_message(
    topic: str, payload: bytes, properties: bytes | None, expires_at: float | None, times: Times
) -> Message:
    """
    A publication as a row has it, to make variants of: most are sent at QoS 1, as this one is.

    :raises DamagedRow: it is none.
    """
    if type(topic) is not str or type(payload) is not bytes:
        raise DamagedRow("a topic that is no text, or a payload that is no bytes")
    return Message(topic, payload, 1, False, read_properties(properties) or None, times.read(expires_at))


# A step of SQLite lets go of the interpreter's lock and has to get it back from a busy reactor, which may
# take milliseconds. So many rows go into one step, at sizes that make few different statements: what
# sqlite3 has prepared once it keeps.
_SIZES = tuple(2**power for power in range(9, -1, -1))


class Statement:
    """
    An SQL statement for any number of rows.

    :param sql: ``{rows}`` stands for the rows: ``(?, ?), (?, ?), ...``.
    :param columns: how many there are in each.
    """

    def __init__(self, sql: str, columns: int) -> None:
        row = f"({', '.join('?' * columns)})"
        self.text = lru_cache(maxsize=len(_SIZES))(lambda count: sql.format(rows=", ".join([row] * count)))

    def run(self, connection: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        """Do it for all of them, in as few steps as possible."""
        rows = list(rows)
        at = 0
        for size in _SIZES:
            while len(rows) - at >= size:
                connection.execute(self.text(size), list(chain.from_iterable(rows[at : at + size])))
                at += size
