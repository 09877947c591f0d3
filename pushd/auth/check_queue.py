"""
Whose password is checked next: a short, fair queue in front of the threads that hash.

A check with Argon2 takes some 50 to 90 ms of a core, so two threads do about 25 in a second, and anybody may
ask for one. Whoever asks for many stands in a lane of his own and is asked one at a time; the lanes take
turns. Known lanes, those of users who have come in from the same address before, go first, but leave every
fourth turn to the others.

The queue is short enough that its last one is answered while his client still waits for it. When it is full,
the longest lane loses its last place to somebody from a shorter one; if there is none, the newcomer is told
that we are busy.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred

# As many as there are threads: what is handed to them is out of our hands, and out of order.
THREADS = 2

# At 10 ms each and two threads the last of them is answered after a second; with Argon2 after nine, within
# the ten that a client is given for its CONNECT.
MAX_WAITING = 200

KNOWN_IN_A_ROW = 3


class Busy(Exception):
    """There is no place in the queue, or somebody else has it now."""


@dataclass(slots=True, eq=False)
class _Check:
    start: Callable[[], Any]
    answer: Deferred[Any] = field(default_factory=Deferred)


class Lanes:
    """Those who wait, by lane; a lane that has had its turn goes to the end."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[bytes, deque[_Check]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, lane: bytes, check: _Check) -> None:
        """Last in its lane."""
        self._lanes.setdefault(lane, deque()).append(check)
        self._count += 1

    def take(self) -> _Check:
        """The first of the lane whose turn it is. There must be one."""
        lane, checks = self._lanes.popitem(last=False)
        check = checks.popleft()
        if checks:
            self._lanes[lane] = checks
        self._count -= 1
        return check

    def length(self, lane: bytes) -> int:
        """How many wait in it."""
        return len(self._lanes.get(lane, ()))

    def longest(self) -> int:
        """How many wait in the longest lane."""
        return max(map(len, self._lanes.values()), default=0)

    def take_last(self) -> _Check:
        """The last of the longest lane. There must be one."""
        lane = max(self._lanes, key=self.length)
        check = self._lanes[lane].pop()
        if not self._lanes[lane]:
            del self._lanes[lane]
        self._count -= 1
        return check


class CheckQueue:
    """One for all listeners: they share the threads."""

    def __init__(self, threads: int = THREADS, max_waiting: int = MAX_WAITING) -> None:
        self._threads = threads
        self._max_waiting = max_waiting
        self._running = 0
        self._known, self._others = Lanes(), Lanes()
        self._known_in_a_row = 0
        self._filling = False

    def __len__(self) -> int:
        return len(self._known) + len(self._others)

    def submit(self, lane: bytes, known: bool, start: Callable[[], Any]) -> Deferred[Any]:
        """
        Wait for a turn.

        :param start: called when it comes. Until its result is there, which may be a Deferred, a thread
            counts as taken. It had better look whether the check is still worth its while.
        :return: fires with what `start` came to, or fails with `Busy`.
        """
        if len(self) >= self._max_waiting and not self._make_room(lane, known):
            return fail(Busy())
        check = _Check(start)
        (self._known if known else self._others).add(lane, check)
        self._fill_threads()
        return check.answer

    def _make_room(self, lane: bytes, known: bool) -> bool:
        """Whether somebody could go: of the others if there are any, never for a lane that is as long."""
        lanes = self._others if self._others else self._known
        own = 0 if known and lanes is self._others else lanes.length(lane) + 1
        if (not known and lanes is self._known) or lanes.longest() <= own:
            return False
        lanes.take_last().answer.errback(Busy())
        return True

    def _fill_threads(self) -> None:
        """In a loop: a check that is over at once comes back here, and would do so a hundred deep."""
        if self._filling:
            return
        self._filling = True
        while self._running < self._threads and len(self):
            check = self._next().take()
            self._running += 1
            maybeDeferred(check.start).addBoth(self._ended, check)
        self._filling = False

    def _next(self) -> Lanes:
        wait_for_others = self._known_in_a_row >= KNOWN_IN_A_ROW and len(self._others)
        if len(self._known) and not wait_for_others:
            self._known_in_a_row += 1
            return self._known
        self._known_in_a_row = 0
        return self._others

    def _ended(self, result: Any, check: _Check) -> None:
        self._running -= 1
        self._fill_threads()
        check.answer.callback(result)  # a Failure becomes one there
