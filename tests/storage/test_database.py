"""`pushd.storage.database`: the file is ours alone, of a schema that we know, and whole."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.mqtt.packets import SubscriptionRequest
from pushd.storage import database
from pushd.storage.errors import StoreError
from pushd.storage.rows import DamagedRow
from pushd.storage.sqlite import SqliteStore
from tests.storage.disk import Disk

ROOT = Path(__file__).resolve().parents[2]


def fill(store: SqliteStore, sessions: int = 200) -> None:
    """Something of everything, on many pages."""
    for n in range(sessions):
        client_id = f"client-{n}"
        store.record(r.SessionOpened(client_id, None, None))
        store.record(r.SubscriptionAdded(client_id, SubscriptionRequest(f"t/{n}")))
        for sequence in (1, 2, 3):
            store.record(r.MessageQueued(client_id, sequence, Message(f"t/{n}", b"%d" % n * 50, 1)))
        store.record(r.PacketIdAssigned(client_id, 1, 7))
        store.record(r.RetainedSet(Message(f"t/{n}", b"%d" % n * 50, 1, True)))
        store.record(r.MessageKept(r.Kept(n + 1, f"id{n}", n, 9999, Message(f"t/{n}", b"%d" % n * 50))))
        store.record(r.NoteSet(r.Note("note", f"k{n}", b"%d" % n * 50, 9999)))


class DiskTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = Disk(self)
        self.path = self.disk.path
        self.lines: list[str] = []
        note = cast(ILogObserver, self.note)
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def note(self, event: Any) -> None:
        if "warning" in event:
            self.lines.append(str(event["warning"]))

    def refusal(self) -> str:
        """Why a store does not open."""
        store = SqliteStore(str(self.path), in_thread=maybeDeferred, call_later=Clock().callLater)
        return str(self.failureResultOf(store.load(), StoreError).value)


class FileTests(DiskTestCase):
    """Who may have the file"""

    def test_nobody_else_may_read_it(self) -> None:
        """Messages are private: the folder is made 0700, every file 0600."""
        store = self.disk.open()
        fill(store, 1)
        store.barrier()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.path.parent.iterdir()}
        self.assertEqual({0o600}, set(modes.values()), modes)
        self.assertIn("pushd.db-wal", modes)
        self.assertEqual(0o700, stat.S_IMODE(self.path.parent.stat().st_mode))

    def test_second_store(self) -> None:
        """It is refused while the first one is open, and welcome afterwards."""
        store = self.disk.open()
        self.assertEqual(f"{self.path}: it is in use by another process", self.refusal())
        self.successResultOf(store.close())
        self.disk.open()

    def test_second_process(self) -> None:
        """The same across processes."""
        self.disk.open()
        child = subprocess.run(
            [sys.executable, ROOT / "tests/storage/recorder.py", self.path],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        self.assertIn(b"it is in use by another process", child.stdout)

    def test_others_may_read_a_running_store(self) -> None:
        """For a backup, say; they do not hold up what is written."""
        store = self.disk.open()
        with closing(sqlite3.connect(self.path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM retained").fetchall()
            store.record(r.RetainedSet(Message("t", b"x")))
            self.successResultOf(store.barrier())

    def test_place_that_cannot_be_used(self) -> None:
        """The message names the file."""
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.write_text("a file where a folder should be")
        self.assertIn(str(self.path), self.refusal())

    def test_old_sqlite(self) -> None:
        """One without what we need is refused at the start, not at the first commit."""
        self.patch(sqlite3, "sqlite_version_info", (3, 34, 1))
        self.assertIn("too old", self.refusal())

    def test_newer_schema(self) -> None:
        """It is refused, and the file is left as it is."""
        self.successResultOf(self.disk.open().close())
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        before = self.path.read_bytes()
        self.assertIn("newer pushd: its schema has version 99", self.refusal())
        self.assertEqual(before, self.path.read_bytes())

    def test_database_that_another_program_keeps(self) -> None:
        """That is not damage: nothing is moved, and the start fails."""
        self.successResultOf(self.disk.open().close())
        self.patch(database, "connect", lambda path: sqlite3.connect(path, timeout=0, isolation_level=None))
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            self.assertIn("database is locked", self.refusal())
        self.assertEqual([], self.disk.aside)
        self.disk.open()

    def test_start_that_was_cut_short(self) -> None:
        """What it left behind is no obstacle, and no empty database."""
        self.path.parent.mkdir(parents=True)
        Path(f"{self.path}.new").write_bytes(b"half a file")
        self.disk.open()
        self.assertEqual([], self.disk.aside)


class DamagedTests(DiskTestCase):
    """A file that cannot be relied on is moved aside; what can be read of it is kept"""

    def setUp(self) -> None:
        super().setUp()
        store = self.disk.open()
        fill(store)
        self.successResultOf(store.close())
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("VACUUM")  # nobody would miss what is on free pages
        self.whole = self.path.read_bytes()

    def check(self, least: int) -> None:
        """:param least: how many of 200 sessions, retained messages and so on must still be there."""
        store = self.disk.open()
        state = self.disk.state
        self.assertGreaterEqual(len(state.sessions), least)
        self.assertGreaterEqual(len(state.retained), least)
        self.assertGreaterEqual(len(state.notes), least)
        archive = self.successResultOf(store.find_kept(r.KeptQuery(())))
        self.assertGreaterEqual(len(archive), least)
        self.assertEqual(len(archive), sum(amount.messages for amount in state.kept_by_minute.values()))
        for client_id, messages in self.disk.messages(store).items():
            for message in [*messages.queued.values(), *messages.inflight.values()]:
                assert message is not None
                self.assertEqual(client_id.removeprefix("client-").encode() * 50, message.payload)
        (line,) = self.lines
        self.assertIn(f"{self.path} is damaged", line)
        self.assertEqual(1, len(self.disk.aside))
        fill(store, 5)
        self.successResultOf(store.barrier())
        self.assertIsNone(store.failing)

    def test_page_of_nonsense(self) -> None:
        """Wherever it is, what is on other pages is kept."""
        pages = len(self.whole) // 4096
        for page in range(1, pages, max(1, pages // 12)):
            data = bytearray(self.whole)
            data[page * 4096 : page * 4096 + 4096] = b"\xa5" * 4096
            self.path.write_bytes(data)
            self.disk.open()._database.close()
            for name in self.disk.aside:
                self.path.with_name(name).unlink()
            self.assertEqual(1, len(self.lines), page)
            self.assertGreater(len(self.disk.state.sessions) + len(self.disk.state.retained), 100, page)
            self.lines.clear()

    def test_leaf_of_the_sessions(self) -> None:
        """A table's rows before and behind a bad page are there."""
        with closing(sqlite3.connect(self.path)) as connection:
            sql = "SELECT min(pageno) FROM dbstat WHERE name = 'retained' AND pagetype = 'leaf'"
            try:
                (page,) = connection.execute(sql).fetchone()
            except sqlite3.OperationalError:  # a SQLite without dbstat
                page = self.whole.index(b"99" * 50) // 4096 + 1
        data = bytearray(self.whole)
        data[(page - 1) * 4096 : page * 4096] = bytes(4096)
        self.path.write_bytes(data)
        self.check(150)

    def test_truncated(self) -> None:
        """The start says so, and does not begin empty."""
        self.path.write_bytes(self.whole[: len(self.whole) * 3 // 4])
        self.disk.open()
        self.assertEqual((1, 1), (len(self.lines), len(self.disk.aside)))
        self.assertGreater(len(self.disk.state.sessions), 0)

    def test_no_database_at_all(self) -> None:
        """It is kept, and the log says that nothing could be read."""
        for content in (b"", b"no database" * 1000):
            self.path.write_bytes(content)
            self.disk.open()._database.close()
            self.assertEqual({}, self.disk.state.sessions)
            self.assertIn("Nothing of it could be read", self.lines.pop())
        first, second = self.disk.aside
        self.assertEqual(b"", self.path.with_name(first).read_bytes())
        self.assertTrue(self.path.with_name(second).read_bytes().startswith(b"no database"))

    def test_other_contents(self) -> None:
        """A database without tables, or without the number of the last batch, is not one of ours either."""
        for sql in ("DELETE FROM progress", "PRAGMA user_version = 0", "DROP TABLE queued"):
            self.path.write_bytes(self.whole)
            with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
                connection.execute(sql)
            self.disk.open()._database.close()
            self.assertEqual((200, 1), (len(self.disk.state.sessions), len(self.lines)), sql)
            self.lines.clear()

    def test_rows_that_make_no_sense(self) -> None:
        """SQLite has nothing against them, but the broker could not use them. The others are kept."""
        nonsense = (
            "UPDATE retained SET properties = x'0501' WHERE rowid = 3",
            "UPDATE sessions SET client_id = CAST(x'ff' AS TEXT) WHERE id = 3",
            "UPDATE queued SET qos = 7 WHERE session = 4",
            "UPDATE queued SET subscription_ids = 'x' WHERE session = 5",
            "UPDATE bodies SET topic = x'00' WHERE id = (SELECT body FROM inflight WHERE session = 6)",
            "DELETE FROM bodies WHERE id = (SELECT body FROM inflight WHERE session = 7)",
            "INSERT INTO subscriptions VALUES (4711, 't', 0, 0, 0, 0, 0, 1)",
            "UPDATE kept SET push = '[1]' WHERE number = 8",
            "UPDATE notes SET value = 'text' WHERE key = 'k9'",
        )
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for sql in nonsense:
                connection.execute(sql)
        self.check(199)
        self.assertNotIn("t/2", self.disk.state.retained)
        self.assertEqual(0, self.disk.state.sessions["client-6"].inflight_count)

    def test_log_without_its_database(self) -> None:
        """It would be taken for the log of the new one: it is moved aside."""
        log = Path(f"{self.path}-wal")
        self.path.unlink()
        log.write_bytes(b"a log")
        self.disk.open()
        self.assertEqual(
            ["is missing, but its log is there"],
            [line[len(str(self.path)) + 1 :][:32] for line in self.lines],
        )
        self.assertEqual(b"a log", self.path.with_name(self.disk.aside[0]).read_bytes())

    def test_log_goes_along(self) -> None:
        """What was committed but stands in the log alone is recovered, too."""
        store = self.disk.open()
        store.record(r.RetainedSet(Message("t/late", b"x")))
        self.successResultOf(store.barrier())
        self.disk.kill(store)
        data = bytearray(self.path.read_bytes())
        data[4096 * 5 : 4096 * 6] = b"\xa5" * 4096
        self.path.write_bytes(data)
        self.disk.open()
        self.assertEqual(1, len(self.lines))
        self.assertIn("t/late", self.disk.state.retained)

    def spoil_journal(self, sql: str) -> None:
        """A killed process leaves three batches in the journal, which get damaged."""
        store = self.disk.open()
        for n in range(3):
            store.record(r.RetainedSet(Message(f"late/{n}", b"x", 1, True)))
            self.successResultOf(store.barrier())
        self.disk.kill(store)
        with closing(sqlite3.connect(self.path)) as connection, connection:
            self.assertEqual([(3,)], connection.execute("SELECT count(*) FROM journal").fetchall())
            connection.execute(sql)

    def test_journal_entry_that_makes_no_sense(self) -> None:
        """The others are applied, in their order, and the log says how many were not."""
        for value in ("x'c1'", "x'80ff'", "'text'", "zeroblob(100)", "substr(changes, 1, 20)"):
            self.path.write_bytes(self.whole)
            self.spoil_journal(f"UPDATE journal SET changes = {value} WHERE number % 3 = 1")
            self.disk.open()._database.close()
            (line,) = self.lines
            self.assertIn("is damaged (journal: ", line)
            self.assertIn("Of its journal, 1 entries could not be read.", line)
            late = [topic for topic in self.disk.state.retained if topic.startswith("late")]
            self.assertEqual((200, 2), (len(self.disk.state.sessions), len(late)), value)
            self.lines.clear()

    def test_journal_beside_damage(self) -> None:
        """What is in the journal alone is recovered with the rest."""
        self.spoil_journal("DROP TABLE received")
        self.disk.open()
        self.assertEqual((200, 203), (len(self.disk.state.sessions), len(self.disk.state.retained)))

    def test_damaged_file_of_the_first_version(self) -> None:
        """It has no journal, and nothing that is scheduled; the rest is recovered."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for table in ("journal", "scheduled", "kept", "notes"):
                connection.execute(f"DROP TABLE {table}")
            for column in ("retained.source", "sessions.listener", "subscriptions.standing", "bodies.push"):
                connection.execute("ALTER TABLE {} DROP COLUMN {}".format(*column.split(".")))
            connection.execute("ALTER TABLE progress DROP COLUMN kept_expired")
            connection.execute("PRAGMA user_version = 1")
            connection.execute("DELETE FROM progress")
        self.disk.open()
        self.assertEqual((200, 1), (len(self.disk.state.sessions), len(self.lines)))

    def test_damage_that_is_found_twice(self) -> None:
        """When even what was recovered cannot be used, the process must not start on it."""
        self.path.write_bytes(b"no database")
        self.patch(database, "_check", self.find_damage)
        self.assertIn("still", self.refusal())

    @staticmethod
    def find_damage(connection: sqlite3.Connection) -> None:
        raise DamagedRow("still")
