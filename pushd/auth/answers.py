"""
What the keeper of people has answered of late: so that who asks a thousand times in a second waits once.

An answer counts for a few seconds, and not any longer when somebody has told that it is not true any more. An
answer to a question that was asked before that moment is given to those who asked, and not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

# Changes are heard of within a second. This is for those that are not, because the keeper does not answer:
# then nobody is let in for long by what was true once.
FRESH_S = 5.0

MAX_KEPT = 1000

T = TypeVar("T")


@dataclass(slots=True)
class _Kept(Generic[T]):
    answer: T
    since: float


class Answers(Generic[T]):
    """
    :param ask: the keeper's method.
    :param seconds: the time, of a clock that is not set.
    :param worth: whether an answer is kept. Those that anybody could cause by the thousand should not be.
    :param max_kept: the longest unused are forgotten first.
    """

    def __init__(
        self,
        ask: Callable[[str], Deferred[T]],
        seconds: Callable[[], float],
        worth: Callable[[T], bool] = lambda answer: True,
        max_kept: int = MAX_KEPT,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._worth = worth
        self._max_kept = max_kept
        self._kept: OrderedDict[str, _Kept[T]] = OrderedDict()
        self._asking: dict[str, list[Deferred[T]]] = {}  # who waits for an answer that will be kept

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> T | Deferred[T]:
        """
        The answer, at once if it is known.

        :return: a Deferred fails as the keeper's does.
        """
        kept = self._kept.get(key)
        if kept is not None and self._seconds() - kept.since < FRESH_S:
            self._kept.move_to_end(key)
            return kept.answer
        waiting: Deferred[T] = Deferred()
        if key in self._asking:
            self._asking[key].append(waiting)
        else:
            waiters = self._asking[key] = [waiting]
            self._ask(key).addBoth(self._answered, key, waiters)
        return waiting

    def last(self, key: str) -> T | None:
        """What was answered the last time, true or not by now."""
        kept = self._kept.get(key)
        return None if kept is None else kept.answer

    def amend(self, key: str, answer: T) -> None:
        """We know better ourselves. Counts no longer than what was answered."""
        if key in self._kept:
            self._kept[key].answer = answer

    def forget(self, key: str) -> None:
        """Ask again: the answer may be another."""
        self._kept.pop(key, None)
        self._asking.pop(key, None)

    def forget_where(self, doomed: Callable[[T], bool]) -> None:
        """The same for all answers of which this is true, and all questions that are open."""
        for key in [key for key, kept in self._kept.items() if doomed(kept.answer)]:
            del self._kept[key]
        self._asking.clear()

    def _answered(self, result: T | Failure, key: str, waiters: list[Deferred[T]]) -> None:
        if self._asking.get(key) is waiters:
            del self._asking[key]
            if not isinstance(result, Failure) and self._worth(result):
                self._keep(key, result)
        for waiting in waiters:
            waiting.callback(result)  # a Failure becomes one there

    def _keep(self, key: str, answer: T) -> None:
        self._kept[key] = _Kept(answer, self._seconds())
        self._kept.move_to_end(key)
        if len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)


async def settled(answer: T | Deferred[T]) -> T:
    """An answer of `Answers.get`, once it is there."""
    return await answer if isinstance(answer, Deferred) else answer
