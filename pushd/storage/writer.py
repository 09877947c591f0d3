"""
One batch of changes as SQL, inside a transaction that somebody else began and will end.

What goes is deleted before what comes is inserted, for a packet identifier may be both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pushd.broker import records as r
from pushd.broker.message import Message, PushMark
from pushd.storage.batch import Batch, Key, Standing
from pushd.storage.rows import (
    AUTOMATIC,
    GIVEN_UP,
    Statement,
    Times,
    written_ids,
    written_properties,
    written_push,
    written_source,
)

Row = tuple[Any, ...]

# A list of rows to look up. (``IN (VALUES ...)`` would read the whole table: SQLite uses an index only for a
# sub-select.)
_PAIRS = "SELECT column1, column2 FROM (VALUES {rows})"

END_SESSIONS = Statement("DELETE FROM sessions WHERE id IN (SELECT column1 FROM (VALUES {rows}))", 1)
OPEN_SESSIONS = Statement(
    "INSERT INTO sessions (id, client_id, username, expiry_s, left_at, listener) VALUES {rows}"
    " ON CONFLICT (id) DO UPDATE SET"
    " username = excluded.username, expiry_s = excluded.expiry_s, left_at = excluded.left_at,"
    " listener = excluded.listener",
    6,
)
LEAVE = Statement(
    "UPDATE sessions SET left_at = gone.column2 FROM (VALUES {rows}) AS gone WHERE id = gone.column1", 2
)
SUBSCRIBE = Statement(
    "INSERT OR REPLACE INTO subscriptions"
    " (session, filter, qos, no_local, retain_as_published, retain_handling, identifier, standing)"
    " VALUES {rows}",
    8,
)
UNSUBSCRIBE = Statement(f"DELETE FROM subscriptions WHERE (session, filter) IN ({_PAIRS})", 2)
ADD_BODIES = Statement(
    "INSERT INTO bodies (id, topic, payload, properties, expires_at, push) VALUES {rows}", 6
)
QUEUE = Statement(
    "INSERT OR REPLACE INTO queued (session, sequence, body, qos, retain, subscription_ids) VALUES {rows}", 6
)
UNQUEUE = Statement(f"DELETE FROM queued WHERE (session, sequence) IN ({_PAIRS})", 2)
SEND = Statement(
    "INSERT OR REPLACE INTO inflight"
    " (session, packet_id, position, body, qos, retain, subscription_ids) VALUES {rows}",
    7,
)
SEND_QUEUED = Statement(
    "INSERT OR REPLACE INTO inflight (session, packet_id, position, body, qos, retain, subscription_ids)"
    " SELECT queued.session, sent.column3, sent.column4, body, qos, retain, subscription_ids"
    " FROM (VALUES {rows}) AS sent CROSS JOIN queued"
    " ON queued.session = sent.column1 AND queued.sequence = sent.column2",
    4,
)
FORGET_SENT = Statement(f"DELETE FROM inflight WHERE (session, packet_id) IN ({_PAIRS})", 2)
HOLD = Statement("INSERT OR REPLACE INTO received (session, packet_id) VALUES {rows}", 2)
LET_GO = Statement(f"DELETE FROM received WHERE (session, packet_id) IN ({_PAIRS})", 2)
RETAIN = Statement(
    "INSERT OR REPLACE INTO retained (topic, payload, qos, retain, properties, expires_at, source)"
    " VALUES {rows}",
    7,
)
CLEAR = Statement("DELETE FROM retained WHERE topic IN (SELECT column1 FROM (VALUES {rows}))", 1)
SCHEDULE = Statement(
    "INSERT OR REPLACE INTO scheduled"
    " (id, due_at, topic, payload, qos, retain, properties, expires_at, source, push) VALUES {rows}",
    10,
)
UNSCHEDULE = Statement("DELETE FROM scheduled WHERE id IN (SELECT column1 FROM (VALUES {rows}))", 1)
GIVE_WILL = Statement(
    "INSERT OR REPLACE INTO wills (client_id, username, topic, payload, qos, retain, properties)"
    " VALUES {rows}",
    7,
)
KEEP = Statement(
    "INSERT OR REPLACE INTO kept"
    " (number, id, at, until, event, topic, payload, qos, retain, properties, expires_at, push)"
    " VALUES {rows}",
    12,
)
FORGET_KEPT = Statement("DELETE FROM kept WHERE number IN (SELECT column1 FROM (VALUES {rows}))", 1)
NOTE = Statement("INSERT OR REPLACE INTO notes (kind, key, value, until) VALUES {rows}", 4)
CLEAR_NOTE = Statement(f"DELETE FROM notes WHERE (kind, key) IN ({_PAIRS})", 2)
TAKE_WILL = Statement("DELETE FROM wills WHERE client_id IN (SELECT column1 FROM (VALUES {rows}))", 1)


@dataclass(slots=True)
class Places:
    """The next free numbers: of a body, and in the order of what is in flight."""

    body: int
    position: int


def write(connection: sqlite3.Connection, batch: Batch, places: Places, times: Times) -> Places:
    """
    Write one settled batch.

    :return: the free numbers after it, which count once it is committed.
    """
    places = Places(places.body, places.position)
    _write_sessions(connection, batch, times)
    _write_subscriptions(connection, batch)
    _write_messages(connection, batch, places, times)
    _write_received(connection, batch)
    _write_retained(connection, batch, times)
    _write_scheduled(connection, batch, times)
    _write_wills(connection, batch)
    _write_archive(connection, batch, times)
    _write_notes(connection, batch)
    connection.execute("UPDATE progress SET last_batch = ?", (batch.number,))
    return places


def _write_sessions(connection: sqlite3.Connection, batch: Batch, times: Times) -> None:
    END_SESSIONS.run(connection, ((number,) for number in batch.ended))
    opened, left = batch.opened, batch.left
    OPEN_SESSIONS.run(
        connection,
        (
            (
                number,
                record.client_id,
                record.username,
                record.expiry_s,
                times.written(left.get(number)),
                record.listener,
            )
            for number, record in opened.items()
        ),
    )
    LEAVE.run(
        connection, ((number, times.written(at)) for number, at in left.items() if number not in opened)
    )


def _write_subscriptions(connection: sqlite3.Connection, batch: Batch) -> None:
    subscriptions = batch.subscriptions.items()
    UNSUBSCRIBE.run(connection, (key for key, standing in subscriptions if standing is None))
    SUBSCRIBE.run(
        connection,
        ((*key, *_standing(standing)) for key, standing in subscriptions if standing is not None),
    )


def _standing(standing: Standing) -> Row:
    """The last columns of `subscriptions`."""
    if isinstance(standing, r.SubscriptionGivenUp):
        return 0, 0, 0, 0, 0, GIVEN_UP
    request = standing.request
    return (
        int(request.qos),
        int(request.no_local),
        int(request.retain_as_published),
        int(request.retain_handling),
        standing.identifier,
        AUTOMATIC if standing.automatic else None,
    )


class _Bodies:
    """
    What the messages of one batch say, each once.

    Variants of one publication share their payload, so that it is enough to compare identities; and what is
    the same in all of these is the same body, whichever publication it comes from.
    """

    def __init__(self, first: int, times: Times) -> None:
        self._times = times
        self._numbers: dict[tuple[int, str, int, float | None, PushMark | None], int] = {}
        self.rows: list[Row] = []
        self.next = first

    def number(self, message: Message) -> int:
        key = id(message.payload), message.topic, id(message.properties), message.expires_at, message.push
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self.next
            self.next += 1
            self.rows.append(
                (
                    number,
                    message.topic,
                    message.payload,
                    written_properties(message.properties),
                    self._times.written(message.expires_at),
                    written_push(message.push),
                )
            )
        return number

    def row(self, message: Message) -> Row:
        """The last columns of `queued` and `inflight`."""
        return (
            self.number(message),
            int(message.qos),
            int(message.retain),
            written_ids(message.subscription_ids),
        )


def _write_messages(connection: sqlite3.Connection, batch: Batch, places: Places, times: Times) -> None:
    bodies = _Bodies(places.body, times)
    queued = [(*key, *bodies.row(message)) for key, message in batch.queued.items()]
    sent: list[Row] = []
    moved: list[Row] = []
    for position, ((session, packet_id), message) in enumerate(batch.inflight.items(), places.position):
        if isinstance(message, int):
            moved.append((session, message, packet_id, position))
        else:
            row = (None, 2, 0, None) if message is None else bodies.row(message)
            sent.append((session, packet_id, position, *row))
    places.body = bodies.next
    places.position += len(batch.inflight)
    UNQUEUE.run(connection, batch.unqueued)
    FORGET_SENT.run(connection, batch.acknowledged)
    SEND_QUEUED.run(connection, moved)
    UNQUEUE.run(connection, _keys(moved))
    ADD_BODIES.run(connection, bodies.rows)
    QUEUE.run(connection, queued)
    SEND.run(connection, sent)


def _keys(rows: Iterable[Row]) -> Iterator[Key]:
    return ((row[0], row[1]) for row in rows)


def _write_received(connection: sqlite3.Connection, batch: Batch) -> None:
    LET_GO.run(connection, (key for key, held in batch.received.items() if not held))
    HOLD.run(connection, (key for key, held in batch.received.items() if held))


def _write_retained(connection: sqlite3.Connection, batch: Batch, times: Times) -> None:
    CLEAR.run(connection, ((topic,) for topic, message in batch.retained.items() if message is None))
    RETAIN.run(
        connection,
        (
            (
                topic,
                message.payload,
                int(message.qos),
                int(message.retain),
                written_properties(message.properties),
                times.written(message.expires_at),
                written_source(message.source),
            )
            for topic, message in batch.retained.items()
            if message is not None
        ),
    )


def _write_scheduled(connection: sqlite3.Connection, batch: Batch, times: Times) -> None:
    UNSCHEDULE.run(connection, ((id,) for id, scheduled in batch.scheduled.items() if scheduled is None))
    SCHEDULE.run(
        connection,
        (
            (
                id,
                times.written(scheduled.due_at),
                scheduled.message.topic,
                scheduled.message.payload,
                int(scheduled.message.qos),
                int(scheduled.message.retain),
                written_properties(scheduled.message.properties),
                times.written(scheduled.message.expires_at),
                written_source(scheduled.message.source),
                written_push(scheduled.message.push),
            )
            for id, scheduled in batch.scheduled.items()
            if scheduled is not None
        ),
    )


def _write_wills(connection: sqlite3.Connection, batch: Batch) -> None:
    TAKE_WILL.run(connection, ((client_id,) for client_id, will in batch.wills.items() if will is None))
    GIVE_WILL.run(
        connection,
        (
            (
                client_id,
                will.username,
                will.fields.topic,
                will.fields.payload,
                int(will.fields.qos),
                int(will.fields.retain),
                written_properties(will.fields.properties),
            )
            for client_id, will in batch.wills.items()
            if will is not None
        ),
    )


def _write_archive(connection: sqlite3.Connection, batch: Batch, times: Times) -> None:
    """What has expired may be a million rows, and is not deleted here: see `pushd.storage.archive.sweep`."""
    FORGET_KEPT.run(connection, ((number,) for number in batch.forgotten))
    KEEP.run(connection, (_kept(kept, times) for kept in batch.kept.values()))
    if batch.expired:
        connection.execute("UPDATE progress SET kept_expired = ?", (batch.expired,))


def _kept(kept: r.Kept, times: Times) -> Row:
    message = kept.message
    return (
        kept.number,
        kept.id,
        kept.at,
        kept.until,
        kept.event,
        message.topic,
        message.payload,
        int(message.qos),
        int(message.retain),
        written_properties(message.properties),
        times.written(message.expires_at),
        written_push(message.push),
    )


def _write_notes(connection: sqlite3.Connection, batch: Batch) -> None:
    notes = batch.notes.items()
    CLEAR_NOTE.run(connection, (key for key, note in notes if note is None))
    NOTE.run(connection, ((*key, note.value, note.until) for key, note in notes if note is not None))
