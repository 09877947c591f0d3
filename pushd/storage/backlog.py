"""
What is durable, but not in the tables yet.

A batch becomes durable as one row of the table ``journal``, which costs SQLite next to nothing: one
statement, and bytes that follow each other. The sum of these batches is in memory as well. Now and then it is
*folded*: written into the tables, and the rows of the journal deleted, in one transaction. What was queued,
sent and acknowledged between two folds never touches the tables.

A fold leaves out the batch that comes with it, which becomes the first of the new journal: what it has just
sent is likely to be acknowledged before the next.

After a crash the journal is applied to the tables, row after row. So it is after a failure: then the sum is
read again from what the file has, and whatever was half done in memory is forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from pushd.broker.records import SavedMessages
from pushd.storage.batch import Batch
from pushd.storage.blob import pack, unpack
from pushd.storage.rows import DamagedRow, Times
from pushd.storage.writer import Places, write

# A fold is due from one of these on. A message is in flight for milliseconds, so that after a second most of
# what was sent has cancelled out; the tables take some ten microseconds for each change, so that nobody waits
# for long; and the file need not be large because of payloads that it has twice.
MAX_AGE_S = 1.0
MAX_CHANGES = 8192
MAX_BYTES = 16 * 1024 * 1024

# Payloads of a batch that go to the journal first. Larger ones are better written once.
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024

# Messages of a batch that wait for a client, or are in the archive: of more than that, most will be there for
# long, and are better written once.
MAX_QUEUED = 512

_ADD = "INSERT INTO journal (number, changes) VALUES (?, ?)"


class Backlog:
    """
    The journal of one file, and its sum.

    :ivar last_batch: the number of the last batch that is in the file.
    :ivar expired: what has an `until` in the archive that is not later than this is forgotten.
    """

    def __init__(self, last_batch: int, expired: int = 0) -> None:
        """
        :param last_batch: that the tables have. The journal is empty.
        :param expired: as the tables have it.
        """
        self.expired = expired
        self._begin(last_batch)

    def _begin(self, last_batch: int) -> None:
        self._sum = Batch(last_batch)
        self._bytes = 0
        self._began_at: float | None = None

    @classmethod
    def read(cls, connection: sqlite3.Connection, last_batch: int, expired: int, times: Times) -> Backlog:
        """
        What a file has.

        :raises DamagedRow: a row that does not say what it should.
        """
        backlog = cls(last_batch, expired)
        for number, blob in connection.execute("SELECT number, changes FROM journal ORDER BY number"):
            if type(blob) is not bytes:
                raise DamagedRow(f"journal: {number}: no bytes")
            backlog._add(unpack(number, blob, times), len(blob), 0.0)
        return backlog

    def __bool__(self) -> bool:
        """Whether there is anything in the journal."""
        return self._began_at is not None

    @property
    def last_batch(self) -> int:
        return self._sum.number

    # Writing

    def write(
        self, connection: sqlite3.Connection, batch: Batch, places: Places, times: Times, now: float
    ) -> Places:
        """
        Make a batch durable. At any exception nothing is known: the backlog is to be read again.

        :param places: the next free ones in the tables.
        :return: those after it.
        """
        blob = None
        if len(batch) <= MAX_CHANGES and len(batch.queued) + len(batch.kept) <= MAX_QUEUED:
            blob = pack(batch, times, MAX_PAYLOAD_BYTES)
        if blob is not None and not self._is_due(batch, blob, now):
            connection.execute(_ADD, (batch.number, blob))  # alone, it is a transaction
            self._add(batch, len(blob), now)
            return places
        connection.execute("BEGIN IMMEDIATE")
        if blob is None:
            self._absorb(batch)
        places = self._fold(connection, places, times)
        if blob is not None:
            connection.execute(_ADD, (batch.number, blob))
        connection.execute("COMMIT")
        self._begin(self._sum.number)
        if blob is not None:
            self._add(batch, len(blob), now)
        return places

    def fold(self, connection: sqlite3.Connection, places: Places, times: Times) -> Places:
        """Write everything into the tables. See `write`."""
        connection.execute("BEGIN IMMEDIATE")
        places = self._fold(connection, places, times)
        connection.execute("COMMIT")
        self._begin(self._sum.number)
        return places

    def _is_due(self, batch: Batch, blob: bytes, now: float) -> bool:
        if self._began_at is None:
            return False
        return (
            now - self._began_at >= MAX_AGE_S
            or len(self._sum) + len(batch) > MAX_CHANGES
            or self._bytes + len(blob) > MAX_BYTES
        )

    def _fold(self, connection: sqlite3.Connection, places: Places, times: Times) -> Places:
        self._sum.settle()
        places = write(connection, self._sum, places, times)
        connection.execute("DELETE FROM journal")
        return places

    def _add(self, batch: Batch, size: int, now: float) -> None:
        self._absorb(batch)
        self._bytes += size
        if self._began_at is None:
            self._began_at = now

    def _absorb(self, batch: Batch) -> None:
        self._sum.absorb(batch)
        self.expired = batch.expired or self.expired

    # Reading

    @property
    def unfolded(self) -> Batch:
        """What is not in the tables yet. To be looked at only."""
        return self._sum

    def add_messages(self, by_session: Mapping[int, SavedMessages]) -> None:
        """
        Complete what the tables have of some sessions' messages.

        :param by_session: by number; changed.
        """
        for number in self._sum.ended & by_session.keys():
            for kept in (by_session[number].queued, by_session[number].inflight, by_session[number].received):
                kept.clear()
        self._take_away(by_session)
        for (number, sequence), message in self._sum.queued.items():
            if number in by_session:
                by_session[number].queued[sequence] = message
        for messages in by_session.values():  # one that took the place of another has that one's number
            messages.queued = dict(sorted(messages.queued.items()))
        for (number, packet_id), held in self._sum.received.items():
            if number in by_session:
                received = by_session[number].received
                (received.add if held else received.discard)(packet_id)

    def _take_away(self, by_session: Mapping[int, SavedMessages]) -> None:
        for number, sequence in self._sum.unqueued:
            if number in by_session:
                by_session[number].queued.pop(sequence, None)
        for number, packet_id in self._sum.acknowledged:
            if number in by_session:
                by_session[number].inflight.pop(packet_id, None)
        for (number, packet_id), sent in self._sum.inflight.items():
            if number in by_session:
                messages = by_session[number]
                if type(sent) is not int:
                    messages.inflight[packet_id] = sent  # type: ignore[assignment]
                elif sent in messages.queued:
                    messages.inflight[packet_id] = messages.queued.pop(sent)
