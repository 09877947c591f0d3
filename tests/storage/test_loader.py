"""`pushd.storage.loader`: what the broker takes up at the start."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.storage.loader import Loader
from pushd.storage.rows import DamagedRow, Times
from tests.storage.disk import NOON, Disk


class OutlineTests(SynchronousTestCase):
    """What a session is told of its messages"""

    def setUp(self) -> None:
        self.disk = Disk(self)
        store = self.disk.open()
        store.record(r.SessionOpened("ada", None, None))
        for n in range(5, 9):
            store.record(r.MessageQueued("ada", n, Message("t", b"x" * n, 1, expires_at=n / 2)))
        store.record(r.PacketIdAssigned("ada", 5, 9))
        store.record(r.PacketIdReceived("ada", 4))
        self.successResultOf(store.close())
        self.connection = sqlite3.connect(self.disk.path, isolation_level=None)
        self.addCleanup(self.connection.close)
        self.loader = Loader(self.connection, Times(NOON))

    def test_sizes(self) -> None:
        """How many there are, how large they are together, and whether the first one has expired."""
        ada = self.loader.state().sessions["ada"]
        self.assertEqual((3, 21, 8), (len(ada.queued), ada.queued.payload_bytes, ada.last_sequence))
        self.assertEqual((1, True), (ada.inflight_count, ada.has_received))
        self.assertEqual([False, True], [ada.queued.first_expired(now) for now in (2.9, 3.0)])

    def test_gap(self) -> None:
        """Numbers that do not follow each other are damage: places in the queue are told by them."""
        self.connection.execute("DELETE FROM queued WHERE sequence = 7")
        error = self.assertRaises(DamagedRow, self.loader.state)
        self.assertEqual("queued: 8 follows 6", str(error))

    def test_gap_is_closed(self) -> None:
        """The next start numbers what is left anew, and says so."""
        self.connection.execute("DELETE FROM queued WHERE sequence = 7")
        messages = self.disk.messages(self.disk.open())["ada"].queued
        self.assertEqual([(1, b"x" * 6), (2, b"x" * 8)], [(n, of.payload) for n, of in messages.items()])
        self.assertEqual(1, len([name for name in self.disk.aside if "-wal" not in name]))
