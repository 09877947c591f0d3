"""How long commits take."""

from __future__ import annotations

import os

from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.records import SessionOpened
from pushd.storage.commit_times import CommitTimes
from pushd.storage.sqlite import SqliteStore


class CommitTimesTests(SynchronousTestCase):
    def test_longest(self) -> None:
        """That since it was last asked for."""
        times = CommitTimes()
        for duration_s in (0.1, 0.3, 0.2):
            times.add(duration_s)
        assert (times.count, times.take_longest(), times.take_longest()) == (3, 0.3, 0.0)
        self.assertAlmostEqual(times.total_s, 0.6)

    def test_of_a_store(self) -> None:
        """Each commit counts, and nothing else does."""
        os.makedirs(folder := self.mktemp())
        store = SqliteStore(f"{folder}/pushd.db", in_thread=execute, call_later=Clock().callLater)
        self.successResultOf(store.load())
        self.successResultOf(store.barrier())
        assert store.commit_times.count == 0
        store.record(SessionOpened("phone", None, None))
        self.successResultOf(store.barrier())
        assert store.commit_times.count == 1
        assert store.commit_times.total_s > 0
        self.successResultOf(store.close())
