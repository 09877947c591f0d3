"""
A process that records as fast as it can and says what became durable; `test_kill` ends it without warning.

    python recorder.py FILE [full|normal|off]

It first prints ``at N``: the newest number that the file gave back, 0 if there is none; or why it cannot
start. Then it counts on from there: each number is queued for a session and retained, the number before is
sent and the one before that acknowledged. For each barrier that fires it prints a line with the number.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.storage.database import Durability
from pushd.storage.sqlite import SqliteStore

reactor: Any = _reactor


class Recorder:
    """Counts, ten numbers to a turn of the reactor."""

    def __init__(self, path: str, durability: Durability) -> None:
        pool = ThreadPool(1, 1, "store")
        pool.start()
        self._pool = pool
        in_thread = partial(deferToThreadPool, reactor, pool)
        self._store = SqliteStore(
            path, durability=durability, in_thread=in_thread, call_later=reactor.callLater
        )
        self._number = 0

    def start(self) -> None:
        self._store.load().addCallback(self._loaded).addErrback(self._failed)

    def _loaded(self, state: r.SavedState) -> None:
        if state.sessions:
            self._number = state.sessions["ada"].last_sequence
            self._store.load_messages("ada").addCallback(self._check, state).addErrback(self._failed)
        else:
            self._store.record(r.SessionOpened("ada", None, None))
            self._begin()

    def _check(self, messages: r.SavedMessages, state: r.SavedState) -> None:
        check(state, messages)
        self._begin()

    def _begin(self) -> None:
        print("at", self._number, flush=True)
        self._count()

    def _failed(self, failure: Failure) -> None:
        print(failure.getErrorMessage(), flush=True)
        self._store.close()
        self._pool.stop()
        reactor.stop()

    def _count(self) -> None:
        for _ in range(10):
            self._number += 1
            self._record(self._number)
        self._store.barrier().addCallback(partial(self._durable, self._number))
        reactor.callLater(0, self._count)

    def _durable(self, number: int, _: None) -> None:
        print(number, flush=True)

    def _record(self, number: int) -> None:
        record = self._store.record
        message = Message("count", b"%d" % number, 2, True)
        record(r.RetainedSet(message))
        record(r.MessageQueued("ada", number, message))
        record(r.PacketIdReceived("ada", number % 65_535 + 1))
        if number > 1:
            record(r.PacketIdAssigned("ada", number - 1, packet_id(number - 1)))
            record(r.PacketIdReleased("ada", (number - 1) % 65_535 + 1))
        if number > 2:
            record(r.MessageReleased("ada", packet_id(number - 2)))
        if number > 3:
            record(r.MessageAcknowledged("ada", packet_id(number - 3)))


def packet_id(number: int) -> int:
    return number % 65_535 + 1


def check(state: r.SavedState, messages: r.SavedMessages) -> None:
    """Whether what was given back is what was recorded up to one number, wherever a batch ended."""
    session = state.sessions["ada"]
    number = max(messages.queued)
    assert [*messages.queued] == [number], [*messages.queued]
    assert (len(session.queued), session.last_sequence) == (1, number)
    assert state.retained["count"].payload == b"%d" % number == messages.queued[number].payload
    inflight = {packet_id(n): n for n in (number - 1, number - 2) if n > 0}
    assert messages.inflight.keys() == inflight.keys(), (messages.inflight, number)
    for identifier, message in messages.inflight.items():
        assert (message is None) == (inflight[identifier] == number - 2), (messages.inflight, number)
    assert messages.received == {packet_id(number)}, messages.received


if __name__ == "__main__":
    recorder = Recorder(sys.argv[1], Durability[(sys.argv[2:] or ["normal"])[0].upper()])
    reactor.callWhenRunning(recorder.start)
    reactor.run()
