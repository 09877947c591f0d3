"""`pushd.storage.batch`: many batches are worth as much as their sum."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.storage.batch import Batch
from pushd.storage.journal import Journal
from tests.storage.model import Model, journal, steps
from tests.storage.test_blob import seen

MESSAGE = Message("t", b"x", 2)


class SumTests(SynchronousTestCase):
    """What is left of some batches"""

    @given(steps, st.sets(st.integers(0, 60)))
    def test_any_cuts(self, taken: list[tuple[str, tuple[Any, ...]]], cuts: set[int]) -> None:
        """Wherever batches end, their sum is what one batch of all would be."""
        whole, parts, total = Journal({}, 1, 0), Journal({}, 1, 0), Batch(0)
        for number, record in enumerate(journal(Model(), taken)):
            whole.apply[type(record)](record)
            parts.apply[type(record)](record)
            if number in cuts:
                total.absorb(self.settled(parts.cut()))
        total.absorb(self.settled(parts.cut()))
        expected = seen(self.settled(whole.cut()))
        self.assertEqual({**expected, "number": total.number}, seen(self.settled(total)))

    @staticmethod
    def settled(batch: Batch) -> Batch:
        batch.settle()
        return batch

    def test_later_batch_is_left_as_it_is(self) -> None:
        """It may have to be written once more."""
        later = Batch(2, queued={(1, 2): MESSAGE}, acknowledged={(1, 5)})
        total = Batch(1, inflight={(1, 5): MESSAGE})
        total.absorb(later)
        total.unqueue((1, 2))
        self.assertEqual(({(1, 2): MESSAGE}, {(1, 5)}), (later.queued, later.acknowledged))

    def test_message_that_is_over(self) -> None:
        """Nothing is left of one that was queued, sent, released and acknowledged in four batches."""
        sums, total = Journal({"ada": 7}, 8, 0), Batch(0)
        for record in (
            r.MessageQueued("ada", 1, MESSAGE),
            r.PacketIdAssigned("ada", 1, 5),
            r.MessageReleased("ada", 5),
            r.MessageAcknowledged("ada", 5),
        ):
            sums.apply[type(record)](record)
            total.absorb(sums.cut())
            self.assertLessEqual(len(total), 2)
        self.assertFalse(total)
