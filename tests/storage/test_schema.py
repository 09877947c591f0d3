"""`pushd.storage.schema`: a file goes through all versions, one transaction each."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from pushd.storage.errors import StoreError
from pushd.storage.salvage import TABLES
from pushd.storage.schema import steps, upgrade, version_of

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

    def test_fits_the_first_page(self) -> None:
        """Of an empty database, every other page belongs to one table or index."""
        upgrade(self.connection, steps())
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        (roots,) = self.connection.execute("SELECT count(*) FROM sqlite_master WHERE rootpage > 0").fetchone()
        self.assertEqual(1 + roots, pages)
