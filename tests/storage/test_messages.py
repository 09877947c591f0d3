"""`pushd.storage.messages`: one session's messages, in few steps, and as far as they can be read."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.mqtt.codes import PropertyId
from pushd.storage.errors import StoreError
from pushd.storage.messages import SMALL_BYTES, Found, read_messages
from pushd.storage.rows import Times
from tests.storage.disk import NOON, Disk
from tests.storage.pictures import picture_of, plain


class MessagesTests(SynchronousTestCase):
    """From a file"""

    def setUp(self) -> None:
        disk = Disk(self)
        store = disk.open()
        properties: dict[PropertyId, object] = {PropertyId.CORRELATION_DATA: bytes(range(256))}
        self.push = Message("é; 'x' y", b"\0 ;body", 1, False, properties, expires_at=5.25)  # type: ignore[arg-type]
        self.large = Message("t", b"x" * (SMALL_BYTES + 1), 2, True)
        for client_id in ("ada", "bob", "eve"):
            store.record(r.SessionOpened(client_id, None, None))
            for n, message in enumerate(
                (self.push, self.large, self.push.variant(2, True, (5, 268_435_455))), 1
            ):
                store.record(r.MessageQueued(client_id, n, message))
            store.record(r.PacketIdAssigned(client_id, 1, 9))
            store.record(r.PacketIdReceived(client_id, 4))
        self.successResultOf(store.close())
        self.connection = sqlite3.connect(disk.path, isolation_level=None)
        self.addCleanup(self.connection.close)

    def read(self, *numbers: int) -> Found:
        return read_messages(self.connection, numbers, Times(NOON))

    def queued(self, number: int) -> dict[int, Message]:
        (messages,) = self.read(number).messages
        assert isinstance(messages, r.SavedMessages)
        return messages.queued

    def test_of_some_sessions(self) -> None:
        """All of theirs, whatever bytes it has, in the order of the question; one may come twice."""
        found = self.read(3, 1, 3, 4711)
        expected = r.SavedMessages(
            {2: self.large, 3: self.push.variant(2, True, (5, 268_435_455))}, {9: self.push}, {4}
        )
        pictures = [picture_of(of) for of in found.messages if isinstance(of, r.SavedMessages)]
        self.assertEqual([*[picture_of(expected)] * 3, picture_of(r.SavedMessages())], pictures)

    def test_few_steps(self) -> None:
        """The number of rows does not matter: a busy reactor lets a thread run at each only now and then."""
        steps: list[str] = []
        self.connection.set_trace_callback(steps.append)
        self.read(1, 2, 3)
        self.assertEqual(5, len(steps))

    def test_payload_is_shared(self) -> None:
        """A push to many that come back together takes its memory once."""
        queues = [of.queued for of in self.read(1, 2, 3).messages if isinstance(of, r.SavedMessages)]
        self.assertEqual(1, len({id(queue[2].payload) for queue in queues}))

    def test_row_that_makes_no_sense(self) -> None:
        """It costs no other message; its place is kept by one that has expired."""
        third = "id = (SELECT body FROM queued WHERE session = 1 AND sequence = 3)"
        for sql in (
            "UPDATE queued SET qos = 7 WHERE session = 1 AND sequence = 3",
            "UPDATE queued SET subscription_ids = 'x' WHERE session = 1 AND sequence = 3",
            f"UPDATE bodies SET properties = x'0501' WHERE {third}",
            f"UPDATE bodies SET topic = CAST(x'ff' AS TEXT) WHERE {third}",
            f"DELETE FROM bodies WHERE {third}",
        ):
            self.connection.execute("BEGIN")
            self.connection.execute(sql)
            queued = self.queued(1)
            self.assertEqual([2, 3], list(queued), sql)
            self.assertEqual((plain(self.large), True), (plain(queued[2]), queued[3].expired(0.0)), sql)
            self.assertIn("session 1, message 3: ", self.read(1).damage[0])
            self.connection.execute("ROLLBACK")

    def test_row_that_is_missing(self) -> None:
        """So is that of one that is not there."""
        self.connection.execute("UPDATE queued SET sequence = 5 WHERE sequence = 3 AND session = 1")
        self.connection.execute("UPDATE queued SET qos = 7 WHERE sequence = 2 AND session = 1")
        self.assertEqual([True] * 3 + [False], [of.expired(0.0) for of in self.queued(1).values()])

    def test_packet_that_makes_no_sense(self) -> None:
        """It is left out: the packet identifier is free."""
        self.connection.execute("UPDATE inflight SET qos = 7 WHERE session = 2")
        found = self.read(1, 2)
        inflight = [list(of.inflight) for of in found.messages if isinstance(of, r.SavedMessages)]
        self.assertEqual(([[9], []], 1), (inflight, len(found.damage)))

    def test_other_kinds_of_values(self) -> None:
        """SQLite takes any value in any column."""
        self.connection.execute("UPDATE queued SET qos = 'x' WHERE session = 1 AND sequence = 3")
        self.assertTrue(self.queued(1)[3].expired(0.0))

    def test_page_that_cannot_be_read(self) -> None:
        """What has nothing to do with it is given all the same."""
        self.connection.set_authorizer(
            lambda action, table, *_: sqlite3.SQLITE_DENY if table == "received" else sqlite3.SQLITE_OK
        )
        found = self.read(1)
        self.assertIsInstance(found.messages[0], StoreError)
        self.assertEqual(1, len(found.damage))
