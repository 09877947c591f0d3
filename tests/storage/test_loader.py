"""`pushd.storage.loader`: one session's part of a file."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.storage.loader import Loader
from pushd.storage.rows import Times
from tests.storage.contract import plain
from tests.storage.disk import Disk


class QueueTests(SynchronousTestCase):
    """What one session waits for"""

    def setUp(self) -> None:
        store = Disk(self).open()
        self.push = Message("t", b"body", 1, expires_at=5.0)
        for client_id in ("ada", "bob"):
            store.record(r.SessionOpened(client_id, None, None))
            for n in (1, 2, 3):
                store.record(r.MessageQueued(client_id, n, self.push))
            store.record(r.PacketIdAssigned(client_id, 1, 9))
        store.record(r.PacketIdReceived("bob", 4))
        self.successResultOf(store.barrier())
        assert store._database._connection is not None
        self.loader = Loader(store._database._connection, Times(1_800_000_000.0))

    def test_of_one_session(self) -> None:
        """It is all there, without what others wait for."""
        bob = r.SavedSession("bob", None, None)
        self.loader.load_queue(self.loader.numbers()["bob"], bob)
        self.assertEqual([2, 3], list(bob.queued))
        self.assertEqual(([9], {4}), (list(bob.inflight), bob.received))
        self.assertEqual(plain(self.push), plain(bob.inflight[9]))

    def test_payload_is_shared(self) -> None:
        """A push to many takes its memory once, as it did before the restart."""
        state = self.loader.state()
        payloads = {
            id(message.payload)
            for session in state.sessions.values()
            for message in [*session.queued.values(), *session.inflight.values()]
            if message is not None
        }
        self.assertEqual(1, len(payloads))
