"""What is told of the broker's file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.storage import schema
from tests.crash.evidence import StoreFile


class StoreFileTests(SynchronousTestCase):
    """A file with one message that waits for one session."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        with closing(sqlite3.connect(self.path)) as database:
            schema.upgrade(database, schema.steps())
            database.execute("INSERT INTO sessions VALUES (7, 'ada', NULL, NULL, 0, NULL)")
            database.execute("INSERT INTO bodies VALUES (1, 'news', ?, NULL, NULL, NULL)", (b"12 xx",))
            kept = "INSERT INTO kept (number, topic, payload, until) VALUES (5, 'news', ?, 99)"
            database.execute(kept, (b"13 xx",))
            database.execute("INSERT INTO queued VALUES (7, 3, 1, 2, 0, NULL)")
            database.commit()
        self.file = StoreFile(self.path)

    def test_message(self) -> None:
        """Where it waits; of another, nothing."""
        (line,) = self.file.about(("news", 12))
        self.assertEqual(line, "  in the file, news 12: queued for ada, sequence 3, QoS 2")
        self.assertIn("kept as number 5, until 99", self.file.about(("news", 13))[0])
        self.assertEqual(self.file.about(("news", 1)), ["  in the file, news 1: nothing"])

    def test_client(self) -> None:
        """Its session, and how much there is of everything."""
        (line,) = self.file.about("ada")
        self.assertIn("session 7, expiry None", line)
        self.assertIn("0 subscriptions, 1 queued, 0 inflight, 0 received", line)

    def test_no_file(self) -> None:
        """What cannot be read is told, too."""
        (line,) = StoreFile(self.path.with_name("nowhere")).about("ada")
        self.assertIn("no such table", line)
