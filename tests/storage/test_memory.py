"""`pushd.storage.memory`: the reference store keeps the contract of all stores."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records
from pushd.broker.message import Message
from pushd.storage.memory import _APPLY, MemoryStore
from tests.storage.contract import StoreContract


class MemoryStoreTests(StoreContract, SynchronousTestCase):
    """As the broker needs it"""

    def make(self) -> MemoryStore:
        return MemoryStore()

    def test_state_can_be_looked_at(self) -> None:
        """What would be given back is there at once, without a barrier."""
        store = MemoryStore()
        store.record(records.RetainedSet(Message("t", b"x")))
        self.assertEqual(["t"], list(store.state.retained))

    def test_barrier_fires_at_once(self) -> None:
        """There is nothing to wait for."""
        self.successResultOf(MemoryStore().barrier())

    def test_every_record_is_known(self) -> None:
        """One that is not would fail in the middle of a turn."""
        names = {name.strip() for name in str(records.Record).split("|")}
        self.assertEqual(names, {kind.__name__ for kind in _APPLY})
