"""`pushd.storage.backlog`: what goes to the journal, and when what is left of it becomes rows."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.storage import backlog
from tests.storage.disk import Disk


class BacklogTests(SynchronousTestCase):
    """Of a running store"""

    def setUp(self) -> None:
        self.disk = Disk(self)
        self.store = self.disk.open()
        self.write(r.SessionOpened("ada", None, None))
        self.fold()

    def write(self, *records: r.Record) -> None:
        """One batch."""
        for record in records:
            self.store.record(record)
        self.successResultOf(self.store.barrier())

    def fold(self) -> None:
        """Let the journal get old; the next batch begins a new one."""
        self.disk.clock.advance(backlog.MAX_AGE_S)
        self.write(r.RetainedCleared("nothing"))

    def queue(self, number: int, payload: bytes = b"x") -> r.Record:
        return r.MessageQueued("ada", number, Message("t", payload, 1))

    def count(self, table: str) -> int:
        [(count,)] = self.disk.rows(f"SELECT count(*) FROM {table}")
        return int(count)

    def steps(self) -> list[str]:
        """What SQLite is asked to do from now on."""
        steps: list[str] = []
        connection = self.store._database._connection
        assert connection is not None
        connection.set_trace_callback(steps.append)
        return steps

    def test_one_step(self) -> None:
        """A commit is a single statement, for each lets a busy reactor go first."""
        steps = self.steps()
        self.write(self.queue(1), r.PacketIdAssigned("ada", 1, 7), r.PacketIdReceived("ada", 3))
        self.assertEqual(1, len(steps), steps)

    def test_message_that_is_over(self) -> None:
        """What was queued, sent and acknowledged between two folds never becomes a row."""
        steps = self.steps()
        self.write(self.queue(1))
        self.write(r.PacketIdAssigned("ada", 1, 7))
        self.write(r.MessageAcknowledged("ada", 7))
        self.fold()
        self.assertIn("DELETE FROM journal", steps)
        for table in ("queued", "inflight", "bodies"):
            self.assertEqual([], [step for step in steps if table in step])

    def test_what_is_left(self) -> None:
        """After a second it is in the tables, and the journal has the newest batch only."""
        self.write(self.queue(1), self.queue(2))
        self.write(r.PacketIdAssigned("ada", 1, 7))
        self.assertEqual((0, 0, 3), (self.count("queued"), self.count("inflight"), self.count("journal")))
        self.fold()
        self.assertEqual((1, 1, 1), (self.count("queued"), self.count("inflight"), self.count("journal")))

    def test_many_changes(self) -> None:
        """They are written before a fold would take long."""
        self.patch(backlog, "MAX_CHANGES", 10)
        for n in range(1, 10):
            self.write(self.queue(n))
        self.assertEqual((0, 10), (self.count("queued"), self.count("journal")))
        self.write(self.queue(10))
        self.assertEqual((9, 1), (self.count("queued"), self.count("journal")))

    def test_disk_use(self) -> None:
        """Payloads that are there twice are bounded, and the place of what was deleted is used again."""
        self.patch(backlog, "MAX_BYTES", 100_000)
        sizes = []
        for n in range(1, 41):
            self.write(self.queue(n, b"%06d" % n * 3000), r.PacketIdAssigned("ada", n, n))
            self.write(r.MessageAcknowledged("ada", n))
            [(pages,)] = self.disk.rows("PRAGMA page_count")
            sizes.append(pages)
        self.assertLess(max(sizes), 80)
        self.assertLess(self.count("journal"), 12)

    def test_large_batches(self) -> None:
        """They are written once: a push to many sessions that are not there, or a large payload."""
        self.patch(backlog, "MAX_QUEUED", 5)
        self.write(self.queue(1))
        self.write(*[self.queue(n) for n in range(2, 9)])
        self.assertEqual((8, 0), (self.count("queued"), self.count("journal")))
        self.write(r.RetainedSet(Message("t", b"x" * (backlog.MAX_PAYLOAD_BYTES + 1), 0, True)))
        self.assertEqual((1, 0), (self.count("retained"), self.count("journal")))

    def test_orderly_end(self) -> None:
        """Everything is in the tables."""
        self.write(self.queue(1))
        self.successResultOf(self.store.close())
        self.assertEqual((1, 0), (self.count("queued"), self.count("journal")))

    def test_start_after_a_crash(self) -> None:
        """What the journal has goes to the tables at once, and batches are counted on."""
        self.write(self.queue(1), self.queue(2))
        self.write(r.PacketIdAssigned("ada", 1, 7))
        [(last,)] = self.disk.rows("SELECT max(number) FROM journal")
        self.disk.kill(self.store)
        self.store = self.disk.open()
        self.assertEqual((1, 1, 0), (self.count("queued"), self.count("inflight"), self.count("journal")))
        self.assertEqual([(last,)], self.disk.rows("SELECT last_batch FROM progress"))
        self.write(self.queue(3))
        self.assertEqual([(last + 1,)], self.disk.rows("SELECT number FROM journal"))

    def test_messages_of_a_session(self) -> None:
        """They are those of the tables and what has happened since."""
        self.write(*[self.queue(n) for n in range(1, 6)], r.PacketIdAssigned("ada", 1, 1))
        self.write(r.PacketIdReceived("ada", 8), r.PacketIdReceived("ada", 9))
        self.fold()
        self.fold()
        self.write(r.PacketIdAssigned("ada", 2, 2), r.MessageDropped("ada", 3), self.queue(6))
        self.write(r.MessageReleased("ada", 1), r.PacketIdReleased("ada", 8), r.PacketIdReceived("ada", 7))
        messages = self.successResultOf(self.store.load_messages("ada"))
        self.assertEqual([4, 5, 6], list(messages.queued))
        self.assertEqual(([2, 1], {7, 9}), (list(messages.inflight), messages.received))
        self.assertEqual(3, self.count("journal"))

    def test_session_that_ended(self) -> None:
        """Nothing of it is read, though the tables still have it."""
        self.write(self.queue(1))
        self.fold()
        read = self.store._database.read_messages
        number = self.store._journal.number_of("ada")
        assert number is not None
        self.write(r.SessionEnded("ada"))
        self.assertEqual([r.SavedMessages()], read([number]).messages)


class FailureTests(SynchronousTestCase):
    """A fold that is cut short"""

    def test_any_moment(self) -> None:
        """Wherever the disk fails, nothing is lost and nothing is done twice."""
        for failing in range(1, 30):
            disk = Disk(self)
            store = disk.open()
            store.record(r.SessionOpened("ada", None, None))
            for n in range(1, 5):
                store.record(r.MessageQueued("ada", n, Message("t", b"%d" % n, 1)))
                store.record(r.PacketIdAssigned("ada", n, 10 + n))
                self.successResultOf(store.barrier())
            disk.clock.advance(backlog.MAX_AGE_S)
            self.fail_at(store, failing)
            store.record(r.MessageAcknowledged("ada", 11))
            barrier = store.barrier()
            disk.clock.advance(1.0)
            self.successResultOf(barrier)
            read = store.load_messages("ada")
            disk.clock.advance(1.0)
            inflight = self.successResultOf(read).inflight
            self.assertEqual([12, 13, 14], list(inflight), failing)
            self.successResultOf(store.close())
            disk.open()
            self.assertEqual([(3,)], disk.rows("SELECT count(*) FROM bodies"), failing)

    def fail_at(self, store: Any, count: int) -> None:
        """Interrupt SQLite as it works, after some of its instructions."""
        calls = iter(range(count))
        connection: sqlite3.Connection = store._database._connection
        connection.set_progress_handler(lambda: int(next(calls, None) is None), 40)
