"""`pushd.storage.journal`: what undoes itself is never written."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.mqtt.packets import SubscriptionRequest, Will
from pushd.storage.batch import Batch
from pushd.storage.journal import _METHODS, Journal

MESSAGE = Message("t", b"x", 2)
ADA = 7  # the number of a session that is written already


class BatchTests(SynchronousTestCase):
    """What is left of some records"""

    def setUp(self) -> None:
        self.journal = Journal({"ada": ADA}, 8, 41)

    def sum(self, *records: r.Record) -> Batch:
        """All of them in one batch."""
        for record in records:
            self.journal.apply[type(record)](record)
        batch = self.journal.cut()
        batch.settle()
        return batch

    def test_every_record_is_known(self) -> None:
        """One that is not would fail in the middle of a turn."""
        names = {name.strip() for name in str(r.Record).split("|")}
        self.assertEqual(names, {kind.__name__ for kind in _METHODS})

    def test_numbers(self) -> None:
        """Batches follow each other, and a session's number is never given to another."""
        opened, ended = r.SessionOpened("bob", None, None), r.SessionEnded("bob")
        numbers = [next(iter(self.sum(opened).opened)) for _ in range(2) if self.sum(ended) or True]
        self.assertEqual([8, 9], numbers)
        self.assertEqual(46, self.journal.batch.number)

    def test_message_that_is_over(self) -> None:
        """Nothing is left of one that was queued and dropped, or sent and acknowledged."""
        self.assertFalse(self.sum(
            r.MessageQueued("ada", 1, MESSAGE), r.MessageDropped("ada", 1),
            r.MessageQueued("ada", 2, MESSAGE), r.PacketIdAssigned("ada", 2, 5),
            r.MessageAcknowledged("ada", 5),
            r.MessageQueued("ada", 3, MESSAGE), r.PacketIdAssigned("ada", 3, 5),
            r.MessageReleased("ada", 5), r.MessageAcknowledged("ada", 5),
            r.PacketIdReceived("ada", 9), r.PacketIdReleased("ada", 9),
        ))  # fmt: skip

    def test_message_that_is_sent_at_once(self) -> None:
        """It is never written as queued."""
        batch = self.sum(r.MessageQueued("ada", 1, MESSAGE), r.PacketIdAssigned("ada", 1, 5))
        self.assertEqual(({}, {(ADA, 5): MESSAGE}), (batch.queued, batch.inflight))

    def test_message_that_is_written(self) -> None:
        """It is moved; if it is over by then, it is deleted where it stands."""
        batch = self.sum(r.PacketIdAssigned("ada", 3, 5), r.PacketIdAssigned("ada", 4, 6),
                         r.MessageAcknowledged("ada", 6), r.MessageDropped("ada", 5))  # fmt: skip
        self.assertEqual(({(ADA, 5): 3}, {(ADA, 4), (ADA, 5)}), (batch.inflight, batch.unqueued))

    def test_packet_identifier_that_is_used_again(self) -> None:
        """The old row goes and the new one comes."""
        batch = self.sum(r.MessageAcknowledged("ada", 5), r.MessageQueued("ada", 1, MESSAGE),
                         r.PacketIdAssigned("ada", 1, 5))  # fmt: skip
        self.assertEqual(({(ADA, 5)}, {(ADA, 5): MESSAGE}), (batch.acknowledged, batch.inflight))

    def test_identifier_that_is_released_and_held_again(self) -> None:
        """What is written is right."""
        self.assertFalse(self.sum(r.PacketIdReleased("ada", 5), r.PacketIdReceived("ada", 5)))

    def test_session_that_begins_and_ends(self) -> None:
        """Nothing is left of it, whatever happened in between."""
        self.assertFalse(self.sum(
            r.SessionOpened("bob", None, None), r.SubscriptionAdded("bob", SubscriptionRequest("t")),
            r.MessageQueued("bob", 1, MESSAGE), r.MessageQueued("bob", 2, MESSAGE),
            r.PacketIdAssigned("bob", 1, 1), r.PacketIdReceived("bob", 1), r.SessionLeft("bob", 1.0),
            r.MessageDropped("bob", 2), r.SessionEnded("bob"),
        ))  # fmt: skip

    def test_session_that_ends_and_begins(self) -> None:
        """The old one goes with all that it had; the new one has its own."""
        batch = self.sum(
            r.MessageQueued("ada", 1, MESSAGE), r.MessageAcknowledged("ada", 5), r.SessionEnded("ada"),
            r.SessionOpened("ada", "a", 1.0), r.MessageQueued("ada", 1, MESSAGE),
        )  # fmt: skip
        self.assertEqual(({ADA}, [8], {(8, 1): MESSAGE}), (batch.ended, [*batch.opened], batch.queued))
        self.assertEqual(set(), batch.acknowledged)

    def test_last_one_counts(self) -> None:
        """Of retained messages, Wills, subscriptions and comings and goings."""
        will = r.WillSet("ada", None, Will("t", b"x"))
        batch = self.sum(
            r.RetainedSet(Message("t", b"1")), r.RetainedSet(MESSAGE), r.RetainedCleared("u"),
            r.WillCleared("ada"), will, r.SessionLeft("ada", 1.0), r.SessionOpened("ada", None, None),
            r.SubscriptionAdded("ada", SubscriptionRequest("t")), r.SubscriptionRemoved("ada", "t"),
        )  # fmt: skip
        self.assertEqual(({"t": MESSAGE, "u": None}, {"ada": will}), (batch.retained, batch.wills))
        self.assertEqual(({}, {(ADA, "t"): None}), (batch.left, batch.subscriptions))
