"""
A reactor of a test's own, which runs while the test waits for something and stands still otherwise.

    loop = Loop()
    people = RedisPeople(connect(server.url, loop.reactor))
    account = loop.wait(people.account("ada"))
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from tests.processes import DEADLINE_S

# How long a condition that no event of the reactor makes true may be true before it is seen.
LOOK_S = 0.02

T = TypeVar("T")


class Loop:
    """
    See above.

    :ivar reactor: for what is tested.
    :ivar in_thread: calls a function in a thread of this reactor's pool.
    """

    def __init__(self) -> None:
        self.reactor = SelectReactor()
        pool = self.reactor.getThreadPool()
        pool.start()
        self.in_thread: Callable[..., Deferred[Any]] = partial(deferToThreadPool, self.reactor, pool)

    def wait(self, result: Deferred[T], timeout_s: float = DEADLINE_S) -> T:
        """
        Run until this fires.

        :return: what it fires with; what it fails with is raised.
        """
        outcome: list[Any] = []
        result.addBoth(outcome.append)
        self.wait_until(lambda: bool(outcome), timeout_s)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        value: T = outcome[0]
        return value

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
        """Run until something is so."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.reactor.runUntilCurrent()
            if is_so():
                return
            assert time.monotonic() < deadline, "it takes too long"
            idle_s = self.reactor.timeout()  # until the next timer; None: there is none
            self.reactor.doIteration(LOOK_S if idle_s is None else min(idle_s, LOOK_S))

    def close(self) -> None:
        """End its threads, and let go of its descriptors."""
        self.reactor.getThreadPool().stop()
        self.reactor.removeAll()
        self.reactor.waker.connectionLost(None)
