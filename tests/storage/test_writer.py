"""`pushd.storage.writer`: every statement finds its rows by an index."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from pushd.storage import schema, writer
from pushd.storage.rows import Statement

STATEMENTS = {name: value for name, value in vars(writer).items() if isinstance(value, Statement)}
TABLES = {
    "sessions", "subscriptions", "bodies", "body_users", "queued", "inflight", "received", "retained",
    "wills", "scheduled", "kept", "notes",
}  # fmt: skip


class PlanTests(SynchronousTestCase):
    """What SQLite says that it would do"""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        schema.upgrade(self.connection, schema.steps())

    def test_nothing_is_searched_from_end_to_end(self) -> None:
        """A commit takes as long as what is in it, not as what is in the file."""
        for name, statement in STATEMENTS.items():
            for count in (1, 512):
                sql = statement.text(count)
                plan = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("?")).fetchall()
                scanned = {step.split()[1] for *_, step in plan if step.startswith("SCAN")}
                self.assertEqual(set(), scanned & TABLES, name)

    def test_triggers_search_nothing_either(self) -> None:
        """They run for each row."""
        self.connection.execute("PRAGMA recursive_triggers = ON")
        for sql in (
            "DELETE FROM subscriptions WHERE session = 1",
            "DELETE FROM queued WHERE session = 1",
            "DELETE FROM inflight WHERE session = 1",
            "DELETE FROM received WHERE session = 1",
        ):
            (plan,) = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
            self.assertTrue(plan[-1].startswith("SEARCH"), plan)
