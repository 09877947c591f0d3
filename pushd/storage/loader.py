"""What a file remembers, as the broker takes it up."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.mqtt.codes import QoS, RetainHandling
from pushd.mqtt.packets import SubscriptionRequest
from pushd.mqtt.packets import Will as WillFields
from pushd.mqtt.properties import WILL
from pushd.storage.rows import DamagedRow, Times, read_ids, read_message, read_properties
from pushd.storage.writer import Places


class Loader:
    """
    Reads one file.

    A body is made into a message when it is first asked for; all who wait for it share the payload.
    """

    def __init__(self, connection: sqlite3.Connection, times: Times) -> None:
        self._connection = connection
        self._times = times
        self._bodies: dict[int, Message | tuple[Any, ...]] = {}

    def state(self) -> r.SavedState:
        """
        All of it.

        :raises DamagedRow: a row that does not say what it should.
        """
        state = r.SavedState()
        by_number = self._sessions()
        self._read_subscriptions(by_number)
        self._bodies = {row[0]: row[1:] for row in self._connection.execute(f"{_BODIES} ORDER BY id")}
        self._read_queues(by_number)
        state.sessions = {session.client_id: session for session in by_number.values()}
        state.retained = {message.topic: message for message in self._retained()}
        state.wills = {will.client_id: will for will in self._wills()}
        self._bodies = {}
        return state

    def load_queue(self, number: int, session: r.SavedSession) -> None:
        """
        Read what one session waits for, is in the middle of, and holds.

        :raises DamagedRow: a row that does not say what it should.
        """
        only = "WHERE session = ?"
        self._read_queues({number: session}, only, (number,))
        self._bodies = {}

    def numbers(self) -> dict[str, int]:
        """The numbers of the sessions, by client id."""
        return dict(self._connection.execute("SELECT client_id, id FROM sessions"))

    def places(self) -> Places:
        """The next free numbers of bodies, and of what is in flight."""
        return Places(self._after("id", "bodies"), self._after("position", "inflight"))

    def last_batch(self) -> int:
        """The number of the last batch that was committed."""
        row = self._connection.execute("SELECT last_batch FROM progress").fetchone()
        if row is None or not isinstance(row[0], int):
            raise DamagedRow("progress: no number")
        return row[0]

    def _after(self, column: str, table: str) -> int:
        (last,) = self._connection.execute(f"SELECT max({column}) FROM {table}").fetchone()
        return (last or 0) + 1

    def _sessions(self) -> dict[int, r.SavedSession]:
        rows = self._connection.execute(
            "SELECT id, client_id, username, expiry_s, left_at FROM sessions ORDER BY id"
        )
        return {
            number: r.SavedSession(client_id, username, expiry_s, left_at=self._times.read(left_at))
            for number, client_id, username, expiry_s, left_at in rows
        }

    def _read_subscriptions(self, by_number: dict[int, r.SavedSession]) -> None:
        rows = self._connection.execute(
            "SELECT session, filter, qos, no_local, retain_as_published, retain_handling, identifier"
            " FROM subscriptions"
        )
        for number, filter, qos, no_local, as_published, handling, identifier in rows:
            session = by_number[number]
            request = SubscriptionRequest(
                filter, QoS(qos), bool(no_local), bool(as_published), RetainHandling(handling)
            )
            session.subscriptions[filter] = r.SubscriptionAdded(session.client_id, request, identifier)

    def _read_queues(
        self, by_number: dict[int, r.SavedSession], only: str = "", arguments: tuple[int, ...] = ()
    ) -> None:
        """:param only: a WHERE clause for some sessions' rows."""
        execute = self._connection.execute
        for number, sequence, *rest in execute(f"{_QUEUED} {only} ORDER BY session, sequence", arguments):
            by_number[number].queued[sequence] = self._message(*rest)
        for number, packet_id, body, *rest in execute(f"{_INFLIGHT} {only} ORDER BY position", arguments):
            message = None if body is None else self._message(body, *rest)
            by_number[number].inflight[packet_id] = message
        for number, packet_id in execute(f"SELECT session, packet_id FROM received {only}", arguments):
            by_number[number].received.add(packet_id)

    def _message(self, body: int, qos: int, retain: int, ids: str | None) -> Message:
        known = self._bodies.get(body)
        if known is None:
            known = self._connection.execute(f"{_BODIES} WHERE id = ?", (body,)).fetchone()[1:]
        if not isinstance(known, Message):
            topic, payload, properties, expires_at = known
            known = read_message(topic, payload, properties, expires_at, self._times)
            known.qos, known.retain = qos, bool(retain)
            known.subscription_ids = read_ids(ids)
            self._bodies[body] = known
        return known.variant(qos, bool(retain), read_ids(ids))

    def _retained(self) -> Iterable[Message]:
        rows = self._connection.execute(
            "SELECT topic, payload, properties, expires_at, qos, retain FROM retained ORDER BY rowid"
        )
        for topic, payload, properties, expires_at, qos, retain in rows:
            message = read_message(topic, payload, properties, expires_at, self._times)
            message.qos, message.retain = qos, bool(retain)
            yield message

    def _wills(self) -> Iterable[r.WillSet]:
        rows = self._connection.execute(
            "SELECT client_id, username, topic, payload, qos, retain, properties FROM wills"
        )
        for client_id, username, topic, payload, qos, retain, properties in rows:
            fields = WillFields(topic, payload, QoS(qos), bool(retain), read_properties(properties, WILL))
            yield r.WillSet(client_id, username, fields)


_BODIES = "SELECT id, topic, payload, properties, expires_at FROM bodies"
_QUEUED = "SELECT session, sequence, body, qos, retain, subscription_ids FROM queued"
_INFLIGHT = "SELECT session, packet_id, body, qos, retain, subscription_ids FROM inflight"
