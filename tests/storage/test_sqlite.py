"""`pushd.storage.sqlite`: the contract on disk, many records to a commit, and disks that fail."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.storage import backlog, database
from pushd.storage.database import Durability
from pushd.storage.memory import MemoryStore
from pushd.storage.sqlite import SqliteStore
from tests.storage.contract import StoreContract
from tests.storage.disk import COMMITS, NOON, Disk, FaultyConnection
from tests.storage.model import Model, client_ids, journal, steps
from tests.storage.pictures import picture, picture_of

FULL = sqlite3.OperationalError("database or disk is full")
IO_ERROR = sqlite3.OperationalError("disk I/O error")


class OnDisk(StoreContract):
    """The contract of all stores; between a barrier and the next start, the process is killed."""

    durability: Durability

    def make(self) -> SqliteStore:
        assert isinstance(self, SynchronousTestCase)
        self.disk = Disk(self)
        return self.disk.open(self.durability)

    def kept(self) -> dict[str, Any]:
        self.durable()
        self.disk.kill(self.store)
        self.store = self.disk.open(self.durability)
        return self.whole(self.disk.state)


class FullTests(OnDisk, SynchronousTestCase):
    """``durability full``"""

    durability = Durability.FULL


class NormalTests(OnDisk, SynchronousTestCase):
    """``durability normal``"""

    durability = Durability.NORMAL


class OffTests(OnDisk, SynchronousTestCase):
    """``durability off``"""

    durability = Durability.OFF


def retained(n: int) -> r.RetainedSet:
    return r.RetainedSet(Message(f"t/{n}", b"x", 0, True))


class CommitTests(SynchronousTestCase):
    """What is written when"""

    def setUp(self) -> None:
        self.disk = Disk(self)
        self.store = self.disk.open()
        self.thread = self.disk.thread

    def test_barriers_share_a_commit(self) -> None:
        """While one batch is being written, everything else waits for the next, together."""
        self.thread.held = True
        barriers = []
        for n in range(4):
            self.store.record(retained(n))
            barriers.append(self.store.barrier())
        self.thread.step()
        self.successResultOf(barriers[0])
        self.assertNoResult(barriers[1])
        self.thread.step()
        for barrier in barriers[1:]:
            self.successResultOf(barrier)
        self.assertEqual([], self.thread.calls)

    def test_next_batch_is_written_while_barriers_fire(self) -> None:
        """The disk does not wait for those who waited for it."""
        self.thread.held = True
        self.store.record(retained(1))
        calls: list[int] = []
        self.store.barrier().addCallback(lambda _: calls.append(len(self.thread.calls)))
        self.store.record(retained(2))
        self.store.barrier()
        self.thread.step()
        self.assertEqual([1], calls)

    def test_barrier_behind_one_that_is_waited_for(self) -> None:
        """Nothing new was recorded, but what was is not durable yet."""
        self.thread.held = True
        self.store.record(retained(1))
        first, second = self.store.barrier(), self.store.barrier()
        self.assertTrue(self.store.pending)
        self.assertNoResult(second)
        self.thread.step()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertFalse(self.store.pending)

    def test_thread_is_let_run(self) -> None:
        """While a commit is late, whoever waits for one gives the thread a chance; never before."""
        self.thread.held = True
        for n in range(3):
            self.store.record(retained(n))
            self.store.barrier()
            self.disk.clock.advance(0.004)
        self.assertEqual([self.store.NAP_S], self.disk.naps)

    def test_what_is_over_is_never_written(self) -> None:
        """A message that was acknowledged before its commit began costs no write at all."""
        self.store.record(r.SessionOpened("ada", None, None))
        self.successResultOf(self.store.barrier())
        self.thread.held = True
        self.store.record(r.MessageQueued("ada", 1, Message("t", b"x", 1)))
        self.store.record(r.PacketIdAssigned("ada", 1, 1))
        self.store.record(r.MessageAcknowledged("ada", 1))
        self.successResultOf(self.store.barrier())
        self.assertEqual(([], False), (self.thread.calls, self.store.pending))

    def test_what_is_over_while_it_waits(self) -> None:
        """A barrier fires if what it waits for undoes itself before it can be written."""
        self.store.record(r.SessionOpened("ada", None, None))
        self.thread.held = True
        self.store.barrier()
        self.store.record(r.MessageQueued("ada", 1, Message("t", b"x", 1)))
        barrier = self.store.barrier()
        self.store.record(r.MessageDropped("ada", 1))
        self.thread.step()
        self.successResultOf(barrier)
        self.store.record(retained(1))
        self.assertNoResult(self.store.barrier())

    def test_close_by_who_waited(self) -> None:
        """The file is closed once."""
        self.store.record(retained(1))
        self.thread.held = True
        closed: list[Deferred[None]] = []
        self.store.barrier().addCallback(lambda _: closed.append(self.store.close()))
        self.thread.step()
        self.thread.step()
        self.successResultOf(closed[0])
        self.assertEqual([], self.thread.calls)

    def test_what_nobody_waits_for(self) -> None:
        """It is written after a moment all the same, in one go."""
        for n in range(3):
            self.store.record(retained(n))
            self.disk.clock.advance(self.store.FLUSH_S / 4)
        self.assertEqual(0, len(self.disk.found().retained))
        self.disk.clock.advance(self.store.FLUSH_S / 4)
        self.assertEqual(3, len(self.disk.found().retained))
        self.assertFalse(self.store.pending)

    def test_what_came_during_a_commit(self) -> None:
        """If nobody waits for it, it is not written at once, but soon."""
        self.thread.held = True
        self.store.record(retained(1))
        self.store.barrier()
        self.store.record(retained(2))
        self.thread.step()
        self.assertEqual(([], True), (self.thread.calls, self.store.pending))
        self.disk.clock.advance(self.store.FLUSH_S)
        self.thread.step()
        self.assertFalse(self.store.pending)

    def test_close_writes_what_is_left(self) -> None:
        """All of it, in its order; then the file is complete without its log, and nothing ticks."""
        self.thread.held = True
        self.store.record(retained(1))
        barrier = self.store.barrier()
        self.store.record(retained(2))
        closed = self.store.close()
        for _ in range(3):
            self.assertNoResult(closed)
            self.thread.step()
        self.successResultOf(barrier)
        self.successResultOf(closed)
        self.assertEqual(([], False), (self.disk.clock.getDelayedCalls(), self.disk.log.exists()))
        self.assertEqual([(2,)], self.disk.rows("SELECT count(*) FROM retained"))

    def test_batch_after_batch(self) -> None:
        """What is in flight keeps its order and its payloads over many commits and a restart."""
        self.store.record(r.SessionOpened("ada", None, None))
        for n in range(1, 9):
            self.store.record(r.MessageQueued("ada", n, Message("t", b"%d" % n, 1)))
            if n % 2:
                self.successResultOf(self.store.barrier())
            self.store.record(r.PacketIdAssigned("ada", n, 100 - n))
            self.successResultOf(self.store.barrier())
        self.disk.kill(self.store)
        inflight = self.disk.messages(self.disk.open())["ada"].inflight
        sent = [(packet_id, message and message.payload) for packet_id, message in inflight.items()]
        self.assertEqual([(100 - n, b"%d" % n) for n in range(1, 9)], sent)

    def test_body_is_there_once(self) -> None:
        """However many sessions wait for it, at whatever QoS; and it goes with the last of them."""
        self.patch(backlog, "MAX_CHANGES", 0)  # nothing goes to the journal
        push = Message("t", b"body" * 1000, 2, expires_at=99.0)
        for n in range(10):
            self.store.record(r.SessionOpened(f"s{n}", None, None))
            self.store.record(r.MessageQueued(f"s{n}", 1, push.variant(n % 3, n > 5, (n,))))
        self.successResultOf(self.store.barrier())
        self.assertEqual([(1,)], self.disk.rows("SELECT count(*) FROM bodies"))
        for n in range(5):
            self.store.record(r.PacketIdAssigned(f"s{n}", 1, 7))
            self.store.record(r.SessionEnded(f"s{n + 5}"))
        self.successResultOf(self.store.barrier())
        self.assertEqual([(5,)], self.disk.rows("SELECT users FROM body_users"))
        for n in range(5):
            self.store.record(r.MessageAcknowledged(f"s{n}", 7))
        self.successResultOf(self.store.barrier())
        self.assertEqual([], self.disk.rows("SELECT body FROM body_users UNION SELECT id FROM bodies"))


class MessagesTests(SynchronousTestCase):
    """Sessions that come back"""

    def setUp(self) -> None:
        self.disk = Disk(self)
        self.store = self.disk.open()
        self.thread = self.disk.thread
        for n in range(5):
            self.store.record(r.SessionOpened(f"s{n}", None, None))
            self.store.record(r.MessageQueued(f"s{n}", 1, Message("t", b"x", 1)))
        self.successResultOf(self.store.barrier())
        self.thread.held = True

    def test_fleet_shares_a_trip(self) -> None:
        """All that come while the thread is busy are read together, as many as may be at a time."""
        self.patch(SqliteStore, "READS", 3)
        reads = [self.store.load_messages(f"s{n}") for n in range(5)]
        for done in (1, 4, 5):
            self.thread.step()
            self.assertEqual(done, sum(read.called for read in reads))
        self.assertEqual([], self.thread.calls)

    def test_commits_in_between(self) -> None:
        """Who waits for a commit does not wait for a whole fleet."""
        self.patch(SqliteStore, "READS", 1)
        reads = [self.store.load_messages(f"s{n}") for n in range(3)]
        self.store.record(retained(1))
        barrier = self.store.barrier()
        self.thread.step()
        self.thread.step()
        self.successResultOf(barrier)
        self.assertEqual(1, sum(read.called for read in reads))

    def test_what_is_not_durable(self) -> None:
        """It is written first."""
        self.store.record(r.MessageQueued("s1", 2, Message("t", b"y", 1)))
        read = self.store.load_messages("s1")
        self.thread.step()
        self.assertNoResult(read)
        self.thread.step()
        self.assertEqual([1, 2], list(self.successResultOf(read).queued))

    def test_close(self) -> None:
        """Nobody needs messages any more, and the end does not wait for them."""
        self.store.load_messages("s1")
        read = self.store.load_messages("s2")
        closed = self.store.close()
        self.thread.step()
        self.thread.step()
        self.successResultOf(closed)
        self.assertNoResult(read)


class TimeTests(SynchronousTestCase):
    """Every process counts its seconds from another moment"""

    def test_what_is_left(self) -> None:
        """The time while no process ran counts, for messages and for sessions."""
        disk = Disk(self)
        store = disk.open(wall_s=NOON)
        message = Message("t", b"x", 1, True, expires_at=60.0)
        store.record(r.SessionOpened("ada", None, 3600.0))
        store.record(r.MessageQueued("ada", 1, message))
        store.record(r.RetainedSet(message))
        store.record(r.SessionLeft("ada", 20.0))
        self.successResultOf(store.close())
        messages = disk.messages(disk.open(wall_s=NOON + 45.0))
        ada = disk.state.sessions["ada"]
        expire_at = messages["ada"].queued[1].expires_at, disk.state.retained["t"].expires_at
        self.assertEqual((15.0, 15.0, -25.0), (*expire_at, ada.left_at))
        self.assertEqual((False, True), (ada.queued.first_expired(14.9), ada.queued.first_expired(15.0)))


class TroubleTests(SynchronousTestCase):
    """A disk that is full, or broken"""

    def setUp(self) -> None:
        self.patch(database, "connect", self.connect)
        self.patch(FaultyConnection, "faults", [])
        self.disk = Disk(self)
        self.store = self.disk.open(Durability.FULL)
        self.fired: list[int] = []

    def connect(self, path: str) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=0, isolation_level=None, factory=FaultyConnection)

    def break_disk(
        self, *faults: Exception | None, at: str | tuple[str, ...] = COMMITS, too_late: bool = False
    ) -> None:
        self.patch(FaultyConnection, "faults", list(faults))
        self.patch(FaultyConnection, "at", at)
        self.patch(FaultyConnection, "too_late", too_late)

    def put(self, n: int) -> Deferred[None]:
        self.store.record(retained(n))
        return self.store.barrier().addCallback(lambda _: self.fired.append(n))

    def wait(self, seconds: float) -> None:
        self.disk.clock.pump([0.125] * int(seconds * 8))

    def topics(self) -> list[str]:
        self.break_disk()
        return sorted(self.disk.found().retained)

    def test_resumes_by_itself(self) -> None:
        """Nothing is acknowledged meanwhile and nothing is lost; when there is room again all goes on."""
        self.break_disk(*[FULL] * 4)
        for n in range(3):
            self.put(n)
        self.assertEqual("database or disk is full", self.store.failing)
        self.wait(3.0)
        self.assertEqual(([], True), (self.fired, self.store.pending))
        self.wait(1.0)
        self.assertEqual([0, 1, 2], self.fired)
        self.assertEqual((None, False), (self.store.failing, self.store.pending))
        self.assertEqual(["t/0", "t/1", "t/2"], self.topics())

    def test_tries_less_and_less_often(self) -> None:
        """At first after a quarter of a second, then rarely, but at least every ten seconds."""
        self.break_disk(*[FULL] * 100)
        self.put(1)
        delays = []
        for _ in range(9):
            assert self.store._retry_call is not None
            delays.append(self.store._retry_call.getTime() - self.disk.clock.seconds())
            self.disk.clock.advance(delays[-1])
        self.assertEqual([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0], delays)

    def test_soon_again_after_a_success(self) -> None:
        """The patience of the last trouble is forgotten."""
        self.break_disk(FULL, FULL, FULL, None, FULL)
        self.put(1)
        self.wait(2.0)
        self.put(2)
        self.wait(0.375)
        self.assertEqual([1, 2], self.fired)

    def test_commit_that_failed_too_late(self) -> None:
        """It had its effect all the same, and is not done twice."""
        self.break_disk(IO_ERROR, too_late=True)
        self.store.record(retained(0))
        self.put(1)
        self.assertEqual(("disk I/O error", []), (self.store.failing, self.fired))
        self.wait(0.5)
        self.assertEqual([1], self.fired)
        self.assertEqual([(1,)], self.disk.rows("SELECT number FROM journal"))
        self.assertEqual(["t/0", "t/1"], self.topics())

    def test_log_is_not_trusted_after_a_failure(self) -> None:
        """What a failed commit left in the log counts only once it is in the database proper."""
        with closing(sqlite3.connect(self.disk.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM retained").fetchall()
            self.break_disk(IO_ERROR, too_late=True)
            self.put(1)
            self.wait(5.0)
            self.assertEqual([], self.fired)
            self.assertEqual("another program reads the database", self.store.failing)
        self.wait(10.0)
        self.assertEqual(([1], None), (self.fired, self.store.failing))

    def test_failure_at_any_statement(self) -> None:
        """Whatever was done of a batch before is undone."""
        self.put(0)
        for at in ("BEGIN", "INSERT", "UPDATE progress", "DELETE FROM journal", "COMMIT", "PRAGMA"):
            self.break_disk(FULL, FULL, at=at)
            self.put(1)
            self.wait(2.0)  # which makes a fold due
            self.put(2)
            self.wait(2.0)
        self.assertEqual(([0] + [1, 2] * 6, ["t/0", "t/1", "t/2"]), (self.fired, self.topics()))

    def test_database_at_its_limit(self) -> None:
        """SQLite's own words for a full disk, and a batch that is much too large for it."""
        assert self.store._database._connection is not None
        self.store._database._connection.execute("PRAGMA max_page_count = 40")
        for n in range(300):
            self.store.record(r.RetainedSet(Message(f"t/{n}", b"%d" % n * 400, 0, True)))
        barrier = self.store.barrier()
        self.assertEqual("database or disk is full", self.store.failing)
        self.wait(0.25)
        self.successResultOf(barrier)
        self.assertEqual(300, len(self.topics()))

    def test_undone_while_it_waits(self) -> None:
        """What is over before there is room again is never written: the batch does not grow with time."""
        self.break_disk(*[FULL] * 4)
        self.put(1)
        for n in range(50):
            self.store.record(r.SessionOpened(f"s{n}", None, None))
            self.store.record(r.MessageQueued(f"s{n}", 1, Message("t", b"x", 1)))
            self.store.record(r.SessionEnded(f"s{n}"))
        self.wait(1.0)
        self.assertEqual(({}, set()), (self.store._journal.batch.queued, self.store._journal.batch.ended))

    def test_close_while_it_fails(self) -> None:
        """It tries once more."""
        self.break_disk(FULL)
        self.put(1)
        self.successResultOf(self.store.close())
        self.assertEqual(([1], ["t/1"]), (self.fired, self.topics()))

    def test_messages_wait(self) -> None:
        """Until what was recorded before them can be written."""
        self.store.record(r.SessionOpened("ada", None, None))
        self.break_disk(FULL, FULL)
        self.store.record(r.MessageQueued("ada", 1, Message("t", b"x", 1)))
        read = self.store.load_messages("ada")
        self.wait(0.5)
        self.assertNoResult(read)
        self.wait(0.5)
        self.assertEqual([1], list(self.successResultOf(read).queued))

    def test_disk_that_cannot_be_read(self) -> None:
        """Messages are asked for again, like everything else."""
        self.store.record(r.SessionOpened("ada", None, None))
        self.successResultOf(self.store.barrier())
        self.break_disk(IO_ERROR, IO_ERROR, at="SELECT")
        read = self.store.load_messages("ada")
        self.assertEqual("disk I/O error", self.store.failing)
        self.wait(0.25)
        self.assertEqual(({}, None), (self.successResultOf(read).queued, self.store.failing))

    def test_end_while_messages_cannot_be_read(self) -> None:
        """What was recorded is written all the same."""
        self.store.record(r.SessionOpened("ada", None, None))
        self.successResultOf(self.store.barrier())
        self.break_disk(IO_ERROR, IO_ERROR, at="SELECT")
        self.store.load_messages("ada")
        self.store.record(retained(1))
        self.successResultOf(self.store.close())
        self.assertEqual(["t/1"], self.topics())

    def test_close_that_fails(self) -> None:
        """The process can end; what was not acknowledged is lost, and the log says so."""
        self.break_disk(*[FULL] * 10)
        self.put(1)
        self.successResultOf(self.store.close())
        self.assertEqual(([], []), (self.fired, self.topics()))
        self.assertEqual([], self.disk.clock.getDelayedCalls())


class JournalTests(SynchronousTestCase):
    """Any journal, with a disk of any pace and any failures"""

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps, st.data())
    def test_after_a_kill(self, taken: list[tuple[str, tuple[Any, ...]]], data: st.DataObject) -> None:
        """
        What a killed process leaves is what was recorded up to some moment, and that is not before the last
        barrier that fired.
        """
        self.patch(database, "connect", lambda path: sqlite3.connect(
            path, isolation_level=None, factory=FaultyConnection
        ))  # fmt: skip
        self.tearDown()
        self.patch(backlog, "MAX_CHANGES", data.draw(st.sampled_from([0, 4, 8192])))
        disk, memory, model = Disk(self), MemoryStore(), Model()
        store = disk.open()
        disk.thread.held = True
        moments = [picture(memory.state, memory.messages, [])]
        durable = [0]
        for record in journal(model, taken):
            store.record(record)
            memory.record(record)
            moments.append(picture(memory.state, memory.messages, memory.kept.values()))
            self.happen(disk, store, memory, data, durable, len(moments) - 1)
        disk.thread.held = False
        FaultyConnection.faults = []
        disk.kill(store)
        store = disk.open()
        archive = self.successResultOf(store.find_kept(r.KeptQuery(())))
        self.assertIn(picture(disk.state, disk.messages(store), archive), moments[max(durable) :])

    def happen(
        self, disk: Disk, store: SqliteStore, memory: MemoryStore, data: st.DataObject,
        durable: list[int], now: int,
    ) -> None:  # fmt: skip
        """What else goes on between two records."""
        for event in data.draw(
            st.lists(st.sampled_from(["barrier", "read", "disk", "time", "fault", "late"]))
        ):
            if event == "barrier":
                store.barrier().addCallback(lambda _: durable.append(now))
            elif event == "read":
                self.read(disk, store, memory, data.draw(client_ids))
            elif event == "disk" and disk.thread.calls:
                disk.thread.step()
            elif event == "time":
                disk.clock.advance(1.0)  # which makes a fold due
            elif event in ("fault", "late"):
                FaultyConnection.faults = [FULL]
                FaultyConnection.at = data.draw(st.sampled_from([COMMITS, ("DELETE",), ("SELECT",)]))
                FaultyConnection.too_late = event == "late"

    def read(self, disk: Disk, store: SqliteStore, memory: MemoryStore, client_id: str) -> None:
        """A session's messages, whatever the disk does: all that is recorded."""
        read = store.load_messages(client_id)
        for _ in range(20):
            if disk.thread.calls:
                disk.thread.step()
            else:
                disk.clock.advance(store.LAST_RETRY_S)
            if read.called:
                break
        self.assertEqual(picture_of(memory.load_messages(client_id)), picture_of(self.successResultOf(read)))

    def tearDown(self) -> None:
        FaultyConnection.faults = []
        FaultyConnection.too_late = False
        FaultyConnection.at = COMMITS
