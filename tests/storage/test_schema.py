"""`pushd.storage.schema`: a file goes through all versions, one transaction each."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.storage.errors import StoreError
from pushd.storage.salvage import TABLES
from pushd.storage.schema import steps, upgrade, version_of
from tests.storage.disk import Disk

FIRST = "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1);"
SECOND = "ALTER TABLE t ADD COLUMN b TEXT NOT NULL DEFAULT 'new';"


class UpgradeTests(SynchronousTestCase):
    """From any version to the newest"""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)

    def test_new_file(self) -> None:
        """It gets all versions, one after the other."""
        upgrade(self.connection, [FIRST, SECOND])
        self.assertEqual([(1, "new")], self.connection.execute("SELECT * FROM t").fetchall())
        self.assertEqual(2, version_of(self.connection))

    def test_old_file(self) -> None:
        """It keeps what is in it and gets what it lacks; the next start changes nothing."""
        upgrade(self.connection, [FIRST])
        self.connection.execute("INSERT INTO t VALUES (2)")
        for _ in range(2):
            upgrade(self.connection, [FIRST, SECOND])
        rows = self.connection.execute("SELECT * FROM t").fetchall()
        self.assertEqual([(1, "new"), (2, "new")], rows)

    def test_step_that_fails(self) -> None:
        """Nothing of it is done, and what came before stands."""
        broken = "CREATE TABLE u (a); INSERT INTO nowhere VALUES (1);"
        self.assertRaises(sqlite3.Error, upgrade, self.connection, [FIRST, broken])
        self.assertEqual((1, False), (version_of(self.connection), self.connection.in_transaction))
        self.assertEqual([("t",)], self.connection.execute("SELECT name FROM sqlite_master").fetchall())

    def test_newer_file(self) -> None:
        """It is refused."""
        upgrade(self.connection, [FIRST, SECOND])
        error = self.assertRaises(StoreError, upgrade, self.connection, [FIRST])
        self.assertIn("its schema has version 2, this one knows 1", str(error))

    def test_what_is_shipped(self) -> None:
        """It makes a database, whose columns are those that are recovered from a damaged one."""
        upgrade(self.connection, steps())
        for table, columns in TABLES.items():
            found = [column for _, column, *_ in self.connection.execute(f"PRAGMA table_info({table})")]
            self.assertEqual(set(columns), set(found), table)

    def test_statements_fit_the_first_page(self) -> None:
        """On pages of their own, each would be one more that nothing can be read without; whoever made it."""
        for version in range(len(steps()) + 1):
            path = self.mktemp()
            for last in (version, len(steps())):
                with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                    upgrade(connection, steps()[:last])
            with open(path, "rb") as file:
                kind_of_page = file.read(101)[100]
            self.assertEqual(13, kind_of_page, version)  # a leaf of a table

    def test_file_of_the_first_version(self) -> None:
        """A store that pushd 0.1 wrote is taken up with all that is in it."""
        disk = Disk(self)
        disk.path.parent.mkdir()
        with closing(sqlite3.connect(disk.path, isolation_level=None)) as connection:
            upgrade(connection, steps()[:1])
            for row in (
                "sessions VALUES (7, 'ada', 'a', 60.0, NULL)",
                "subscriptions VALUES (7, 't/#', 1, 0, 1, 2, 5)",
                "bodies VALUES (3, 't', x'616263', NULL, 1800000060.0)",
                "queued VALUES (7, 12, 3, 1, 0, NULL), (7, 13, 3, 2, 1, '5 6')",
                "inflight VALUES (7, 9, 1, 3, 1, 0, NULL), (7, 8, 2, NULL, 2, 0, NULL)",
                "received VALUES (7, 4)",
                "retained VALUES ('r', x'78', 0, 1, NULL, NULL)",
                "wills VALUES ('ada', 'a', 'gone', x'', 0, 0, NULL)",
            ):
                connection.execute(f"INSERT INTO {row}")
            connection.execute("UPDATE progress SET last_batch = 4711")
        store = disk.open()
        ada = disk.state.sessions["ada"]
        self.assertEqual(
            (2, 6, 13, 2), (len(ada.queued), ada.queued.payload_bytes, ada.last_sequence, ada.inflight_count)
        )
        self.assertEqual((["t/#"], 60.0), (list(ada.subscriptions), ada.expiry_s))
        self.assertEqual((["r"], ["ada"]), (list(disk.state.retained), list(disk.state.wills)))
        messages = disk.messages(store)["ada"]
        self.assertEqual(
            ([12, 13], [9, 8], {4}), ([*messages.queued], [*messages.inflight], messages.received)
        )
        store.record(r.MessageScheduled("later", 1.0, messages.queued[12]))
        self.successResultOf(store.barrier())
        self.assertEqual([(4712,)], disk.rows("SELECT number FROM journal"))

    def test_file_of_the_third_version(self) -> None:
        """What was subscribed before there were automatic subscriptions is the clients' own."""
        disk = Disk(self)
        disk.path.parent.mkdir()
        with closing(sqlite3.connect(disk.path, isolation_level=None)) as connection:
            upgrade(connection, steps()[:3])
            connection.execute("INSERT INTO sessions VALUES (7, 'ada', 'a', 60.0, NULL)")
            connection.execute("INSERT INTO subscriptions VALUES (7, 't/#', 1, 0, 1, 2, 5)")
        store = disk.open()
        ada = disk.state.sessions["ada"]
        self.assertEqual(
            (False, set(), None), (ada.subscriptions["t/#"].automatic, ada.given_up, ada.listener)
        )
        store.record(r.SubscriptionGivenUp("ada", "t/#"))
        self.successResultOf(store.barrier())
        disk.kill(store)
        disk.open()
        self.assertEqual(
            ({}, {"t/#"}), (disk.state.sessions["ada"].subscriptions, disk.state.sessions["ada"].given_up)
        )

    def test_fits_the_first_page(self) -> None:
        """Of an empty database, every other page belongs to one table or index."""
        upgrade(self.connection, steps())
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        (roots,) = self.connection.execute("SELECT count(*) FROM sqlite_master WHERE rootpage > 0").fetchone()
        self.assertEqual(1 + roots, pages)

    def test_file_of_the_fourth_version(self) -> None:
        """Its messages come from no push, its bodies are still counted, and it has room for an archive."""
        disk = Disk(self)
        disk.path.parent.mkdir()
        with closing(sqlite3.connect(disk.path, isolation_level=None)) as connection:
            upgrade(connection, steps()[:4])
            for row in (
                "sessions VALUES (7, 'ada', 'a', 60.0, NULL, NULL), (8, 'bob', 'b', 60.0, NULL, NULL)",
                "bodies VALUES (3, 't', x'616263', NULL, NULL)",
                "queued VALUES (7, 12, 3, 1, 0, NULL), (8, 1, 3, 1, 0, NULL)",
            ):
                connection.execute(f"INSERT INTO {row}")
        store = disk.open()
        self.assertIsNone(disk.messages(store)["ada"].queued[12].push)
        for client_id, sequence, left in (("ada", 12, 1), ("bob", 1, 0)):
            store.record(r.MessageDropped(client_id, sequence))
            self.successResultOf(store.close())
            self.assertEqual([(left,)], disk.rows("SELECT count(*) FROM bodies"))
            store = disk.open()
        store.record(r.MessageKept(r.Kept(1, "a", 1, 2, Message("t", b"x"))))
        self.assertEqual(1, len(self.successResultOf(store.find_kept(r.KeptQuery(("t",))))))
