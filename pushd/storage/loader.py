"""
What a file remembers, as the broker takes it up: all but the messages of sessions, of which it is told sizes
and expiries. `pushd.storage.messages` reads those when they are asked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.mqtt.codes import QoS, RetainHandling
from pushd.mqtt.packets import SubscriptionRequest
from pushd.mqtt.packets import Will as WillFields
from pushd.mqtt.properties import WILL
from pushd.storage.rows import (
    AUTOMATIC,
    GIVEN_UP,
    DamagedRow,
    Times,
    may_be_replaced,
    read_message,
    read_properties,
    read_push,
    read_source,
)
from pushd.storage.writer import Places


class Loader:
    """Reads one file."""

    def __init__(self, connection: sqlite3.Connection, times: Times) -> None:
        self._connection = connection
        self._times = times

    def state(self) -> r.SavedState:
        """
        All of it.

        :raises DamagedRow: a row that does not say what it should.
        """
        state = r.SavedState()
        by_number = self._sessions()
        self._read_subscriptions(by_number)
        self._read_outlines(by_number)
        for number, count in self._connection.execute(
            "SELECT session, count(*) FROM inflight GROUP BY session"
        ):
            by_number[number].inflight_count = count
        for (number,) in self._connection.execute("SELECT DISTINCT session FROM received"):
            by_number[number].has_received = True
        state.sessions = {session.client_id: session for session in by_number.values()}
        state.retained = {message.topic: message for message in self._retained()}
        state.wills = {will.client_id: will for will in self._wills()}
        state.scheduled = {scheduled.id: scheduled for scheduled in self._scheduled()}
        state.notes = {(note.kind, note.key): note for note in self._notes()}
        self._read_archive(state)
        return state

    def numbers(self) -> dict[str, int]:
        """The numbers of the sessions, by client id."""
        return dict(self._connection.execute("SELECT client_id, id FROM sessions"))

    def places(self) -> Places:
        """The next free numbers of bodies, and of what is in flight."""
        return Places(self._after("id", "bodies"), self._after("position", "inflight"))

    def last_batch(self) -> int:
        """The number of the last batch that the tables have."""
        row = self._connection.execute("SELECT last_batch FROM progress").fetchone()
        if row is None or not isinstance(row[0], int):
            raise DamagedRow("progress: no number")
        return row[0]

    def kept_expired(self) -> int:
        """What has an `until` in the archive that is not later than this is forgotten."""
        row = self._connection.execute("SELECT kept_expired FROM progress").fetchone()
        if row is None or not isinstance(row[0], int):
            raise DamagedRow("progress: no time")
        return row[0]

    def _after(self, column: str, table: str) -> int:
        (last,) = self._connection.execute(f"SELECT max({column}) FROM {table}").fetchone()
        return (last or 0) + 1

    def _sessions(self) -> dict[int, r.SavedSession]:
        rows = self._connection.execute(
            "SELECT id, client_id, username, expiry_s, left_at, listener FROM sessions ORDER BY id"
        )
        return {
            number: r.SavedSession(
                client_id, username, expiry_s, left_at=self._times.read(left_at), listener=listener
            )
            for number, client_id, username, expiry_s, left_at, listener in rows
        }

    def _read_subscriptions(self, by_number: dict[int, r.SavedSession]) -> None:
        rows = self._connection.execute(
            "SELECT session, filter, qos, no_local, retain_as_published, retain_handling, identifier,"
            " standing FROM subscriptions"
        )
        for number, filter, qos, no_local, as_published, handling, identifier, standing in rows:
            session = by_number[number]
            if standing == GIVEN_UP:
                session.given_up.add(filter)
                continue
            request = SubscriptionRequest(
                filter, QoS(qos), bool(no_local), bool(as_published), RetainHandling(handling)
            )
            session.subscriptions[filter] = r.SubscriptionAdded(
                session.client_id, request, identifier, standing == AUTOMATIC
            )

    def _read_outlines(self, by_number: dict[int, r.SavedSession]) -> None:
        # SQLite tells the length of a payload without reading it.
        rows = self._connection.execute(
            "SELECT session, sequence, length(payload), expires_at, push,"
            " CASE WHEN push NOTNULL THEN topic END"
            " FROM queued LEFT JOIN bodies ON id = body ORDER BY session, sequence"
        )
        offset = self._times.offset
        for number, sequence, size, expires_at, mark, topic in rows:
            session = by_number[number]
            if session.last_sequence not in (sequence - 1, 0):
                raise DamagedRow(f"queued: {sequence} follows {session.last_sequence}")
            session.last_sequence = sequence
            session.queued.append(size, None if expires_at is None else expires_at - offset)
            if mark is not None and may_be_replaced(mark):
                push = read_push(mark)
                if push is not None and push.collapse_key:
                    session.places[topic, push.collapse_key] = sequence

    def _retained(self) -> Iterable[Message]:
        rows = self._connection.execute(
            "SELECT topic, payload, properties, expires_at, qos, retain, source FROM retained ORDER BY rowid"
        )
        for topic, payload, properties, expires_at, qos, retain, source in rows:
            message = read_message(topic, payload, properties, expires_at, self._times)
            message.qos, message.retain, message.source = qos, bool(retain), read_source(source)
            yield message

    def _wills(self) -> Iterable[r.WillSet]:
        rows = self._connection.execute(
            "SELECT client_id, username, topic, payload, qos, retain, properties FROM wills"
        )
        for client_id, username, topic, payload, qos, retain, properties in rows:
            fields = WillFields(topic, payload, QoS(qos), bool(retain), read_properties(properties, WILL))
            yield r.WillSet(client_id, username, fields)

    def _scheduled(self) -> Iterable[r.MessageScheduled]:
        rows = self._connection.execute(
            "SELECT id, due_at, topic, payload, properties, expires_at, qos, retain, source, push"
            " FROM scheduled"
        )
        for id, due_at, topic, payload, properties, expires_at, qos, retain, source, push in rows:
            message = read_message(topic, payload, properties, expires_at, self._times)
            message.qos, message.retain, message.source = qos, bool(retain), read_source(source)
            message.push = read_push(push)
            yield r.MessageScheduled(id, due_at - self._times.offset, message)

    def _notes(self) -> Iterable[r.Note]:
        for kind, key, value, until in self._connection.execute("SELECT kind, key, value, until FROM notes"):
            if type(value) is not bytes or type(until) is not int:
                raise DamagedRow("notes: a value that is no bytes, or a time that is no number")
            yield r.Note(kind, key, value, until)

    def _read_archive(self, state: r.SavedState) -> None:
        """Only how much there is: a million rows take half a second."""
        last = self._connection.execute("SELECT number, at FROM kept ORDER BY number DESC LIMIT 1")
        state.last_kept, state.last_kept_at = last.fetchone() or (0, 0)
        rows = self._connection.execute(
            "SELECT (until + 59) / 60, count(*), sum(length(payload)) FROM kept WHERE until > ? GROUP BY 1",
            (self.kept_expired(),),
        )
        state.kept_by_minute = {minute: r.Amount(messages, size) for minute, messages, size in rows}
