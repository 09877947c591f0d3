"""`pushd.storage.archive`: however much there is, what is wanted is found by an index, in few steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message, PushMark
from pushd.storage import archive, schema
from pushd.storage.archive import MAX_BYTES, SWEEP, ArchiveReader, sweep
from pushd.storage.batch import Batch
from pushd.storage.errors import StoreError
from pushd.storage.messages import SMALL_BYTES
from pushd.storage.rows import Times
from pushd.storage.writer import Places, write
from tests.storage.disk import NOON, Disk
from tests.storage.pictures import in_archive


def kept(number: int, topic: str = "t", payload: bytes = b"x", until: int = 1000) -> r.Kept:
    """Said in the second of its number."""
    message = Message(topic, payload, 1)
    message.push = PushMark(f"id{number}", number, 60)
    return r.Kept(number, f"id{number}", number, until, message)


class ReaderCase(SynchronousTestCase):
    """A database in memory"""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        schema.upgrade(self.connection, schema.steps())

    def write(self, rows: Iterable[r.Kept]) -> None:
        batch = Batch(1, kept={one.number: one for one in rows})
        write(self.connection, batch, Places(1, 1), Times(0.0))

    def reader(self, unfolded: Batch | None = None, expired: int = 0) -> ArchiveReader:
        return ArchiveReader(self.connection, unfolded or Batch(0), expired, Times(0.0))

    def numbers(self, *topics: str, after: int = 0, limit: int = 1000) -> list[int]:
        return [one.number for one in self.reader().find(r.KeptQuery(topics, after, limit=limit))]


class FindTests(ReaderCase):
    """What is given, and how"""

    def test_plans(self) -> None:
        """Nothing is searched from end to end, and nothing is sorted."""
        for sql in (
            archive._places_sql(of_topic=True, latest=False),
            archive._places_sql(of_topic=True, latest=True),
            archive._places_sql(of_topic=False, latest=False),
            archive._NEXT,
            archive._OF_ID,
            archive._SMALL.format(numbers="?, ?"),
            archive._LARGE.format(numbers="?, ?"),
            archive._SWEEP,
        ):
            plan = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("?")).fetchall()
            steps = [step for *_, step in plan]
            self.assertFalse([step for step in steps if step.startswith("SCAN kept")], sql)
            self.assertFalse([step for step in steps if "TEMP B-TREE" in step], sql)

    def test_few_steps(self) -> None:
        """The number of rows does not matter: a busy reactor lets a thread run at each only now and then."""
        self.write(kept(n) for n in range(1, 201))
        steps: list[str] = []
        self.connection.set_trace_callback(steps.append)
        self.assertEqual(200, len(self.reader().find(r.KeptQuery(("t",)))))
        self.assertEqual(3, len(steps))

    def test_since(self) -> None:
        """The first that is new enough is found in a few steps, however many are older."""
        self.write(kept(n) for n in range(1, 4001, 2))
        steps: list[str] = []
        self.connection.set_trace_callback(steps.append)
        found = self.reader().find(r.KeptQuery(("t",), since=3000))
        self.assertEqual((3001, 3999, 500), (found[0].number, found[-1].number, len(found)))
        self.assertLess(len(steps), 24)

    @given(st.sets(st.integers(1, 60), min_size=1), st.integers(0, 62), st.integers(1, 62))
    def test_any_gaps(self, numbers: set[int], after: int, since: int) -> None:
        """Numbers are missing where others have expired."""
        self.connection.execute("DELETE FROM kept")
        self.write(kept(n) for n in sorted(numbers))
        found = self.reader().find(r.KeptQuery(("t",), after, since))
        self.assertEqual(
            [n for n in sorted(numbers) if n > after and n >= since], [one.number for one in found]
        )

    def test_large_ones(self) -> None:
        """They do not all come at once: the first comes in any case, and asking again brings the others."""
        half = MAX_BYTES // 2 + 1
        self.write(kept(n, payload=b"x" * size) for n, size in enumerate((2 * half, half, half, 5), 1))
        pages = [[1], [2], [3, 4]]
        self.assertEqual(pages, [self.numbers("t", after=page[0] - 1) for page in pages])

    def test_of_any_size(self) -> None:
        """Small and large payloads keep their order."""
        rows = [kept(n, payload=bytes([n]) * SMALL_BYTES * (1 + n % 2)) for n in range(1, 9)]
        self.write(rows)
        found = self.reader().find(r.KeptQuery(("t",)))
        self.assertEqual([in_archive(one) for one in rows], [in_archive(one) for one in found])

    def test_what_the_journal_has(self) -> None:
        """It comes behind what the table has, unless that was too much already."""
        self.write(kept(n) for n in (1, 2, 3))
        unfolded = Batch(2, kept={4: kept(4), 5: kept(5, "u")}, forgotten={2})
        for limit, expected in ((9, [1, 3, 4]), (3, [1, 3, 4]), (2, [1, 3]), (1, [1])):
            found = self.reader(unfolded).find(r.KeptQuery(("t",), limit=limit))
            self.assertEqual(expected, [one.number for one in found])

    def test_what_is_over(self) -> None:
        """It is not found any more, whether it is deleted already or not."""
        self.write([kept(1, until=50), kept(2, until=60)])
        reader = self.reader(Batch(2, kept={3: kept(3, until=70)}), expired=50)
        self.assertEqual([2, 3], [one.number for one in reader.find(r.KeptQuery(("t",)))])
        self.assertEqual((None, 2), (reader.number_of("id1"), reader.number_of("id2")))


class NonsenseTests(SynchronousTestCase):
    """Questions that no row can answer"""

    def test_nothing_is_found(self) -> None:
        """The store does not stop at them: it would be in vain to try again."""
        store = Disk(self).open()
        store.record(r.MessageKept(kept(1)))
        for query in (r.KeptQuery(("\ud800",)), r.KeptQuery(("t",), after=2**64)):
            self.assertEqual([], self.successResultOf(store.find_kept(query)))
        self.assertIsNone(self.successResultOf(store.kept_number("\ud800")))
        self.assertIsNone(store.failing)


class DamageTests(ReaderCase):
    """Rows that make no sense"""

    def test_they_cost_no_others(self) -> None:
        """What can be read is given, and what cannot is said."""
        for column in (
            "qos = 7", "properties = x'0501'", "push = '[]'", "topic = x'ff'", "id = NULL", "at = NULL",
            "topic = CAST(x'ff74' AS TEXT)", "event = NULL",
        ):  # fmt: skip
            with self.subTest(column):
                self.connection.execute("DELETE FROM kept")
                self.write(kept(n) for n in (1, 2, 3))
                self.connection.execute(f"UPDATE kept SET {column} WHERE number = 2")
                reader = self.reader()
                found = reader.find(r.KeptQuery((), limit=9))
                self.assertEqual(([1, 3], 1), ([one.number for one in found], len(reader.damage)))

    def test_page_that_cannot_be_read(self) -> None:
        """Whoever asks is told, and the store goes on."""
        disk = Disk(self)
        store = disk.open()
        store.record(r.MessageKept(kept(1)))
        self.successResultOf(store.close())
        store = disk.open()
        with closing(sqlite3.connect(disk.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_master SET rootpage = 2 WHERE name = 'kept_topic'")
            connection.execute("PRAGMA schema_version = 99")
        self.failureResultOf(store.find_kept(r.KeptQuery(("t",))), StoreError)
        store.record(r.RetainedSet(Message("t", b"x")))
        self.successResultOf(store.barrier())
        self.assertIsNone(store.failing)


class SweepTests(SynchronousTestCase):
    """What is over is deleted bit by bit"""

    def setUp(self) -> None:
        self.disk = Disk(self)
        self.store = self.disk.open()
        for n in range(1, 2 * SWEEP + 12):
            self.store.record(r.MessageKept(kept(n, until=60 if n <= 2 * SWEEP + 10 else 90)))
        self.successResultOf(self.store.barrier())
        self.disk.clock.advance(2.0)

    def rows(self) -> int:
        ((count,),) = self.disk.rows("SELECT count(*) FROM kept")
        return int(count)

    def found(self) -> list[int]:
        return [one.number for one in self.successResultOf(self.store.find_kept(r.KeptQuery(())))]

    def expire(self) -> None:
        self.store.record(r.KeptExpired(60))
        self.successResultOf(self.store.barrier())

    def test_slices(self) -> None:
        """Nothing of it is found from the first moment on; no commit has much to do."""
        self.expire()
        self.assertEqual([2 * SWEEP + 11], self.found())
        counts = [self.rows()]
        for _ in range(4):
            self.disk.clock.advance(self.store.SWEEP_S)
            counts.append(self.rows())
        self.assertEqual([2 * SWEEP + 11, SWEEP + 11, 11, 1, 1], counts)
        self.assertEqual([], [call for call in self.disk.clock.getDelayedCalls() if call is not None])

    def test_killed_in_between(self) -> None:
        """What was over is so for the next process, too."""
        self.expire()
        self.disk.clock.advance(self.store.SWEEP_S)
        self.disk.kill(self.store)
        self.store = self.disk.open()
        ((minute, amount),) = self.disk.state.kept_by_minute.items()
        self.assertEqual((2, 1), (minute, amount.messages))
        self.assertEqual([2 * SWEEP + 11], self.found())

    def test_others_go_first(self) -> None:
        """While somebody waits to read, the rest stays where it is."""
        self.expire()
        self.disk.thread.held = True
        read = self.store.find_kept(r.KeptQuery((), limit=1))
        self.disk.clock.advance(self.store.SWEEP_S)
        self.disk.thread.step()
        self.successResultOf(read)
        self.assertEqual(1, len(self.disk.thread.calls))
        self.disk.thread.step()
        self.assertEqual(SWEEP + 11, self.rows())
        self.disk.thread.held = False

    def test_closed_in_between(self) -> None:
        """The end of the process does not wait for it."""
        self.expire()
        self.successResultOf(self.store.close())
        self.assertEqual(2 * SWEEP + 11, self.rows())
        self.assertEqual([], self.disk.clock.getDelayedCalls())

    def test_nothing_is_left(self) -> None:
        """:return: of `sweep` says whether to go on."""
        with closing(sqlite3.connect(self.disk.path, isolation_level=None)) as connection:
            self.assertEqual([True, True, False, False], [sweep(connection, 60) for _ in range(4)])


class OtherClockTests(SynchronousTestCase):
    """A process whose broker counts its seconds from another moment"""

    def test_expiry_of_the_message(self) -> None:
        """It is the same moment; what the archive counts in Unix seconds stays as it is."""
        disk = Disk(self)
        store = disk.open()
        message = Message("t", b"x", expires_at=60.0)
        store.record(r.MessageKept(replace(kept(1), message=message)))
        self.successResultOf(store.close())
        store = disk.open(wall_s=NOON + 45.0)
        (found,) = self.successResultOf(store.find_kept(r.KeptQuery(("t",))))
        self.assertEqual((1, 1000, 15.0), (found.at, found.until, found.message.expires_at))
