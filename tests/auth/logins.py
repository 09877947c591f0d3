"""What tests about logging in share: threads that work when told, and failures counted on a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from pushd.auth.failures import LoginFailures


class ThreadPool:
    """Stands in for threads: runs nothing until told."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []
        self.worked = 0  # calls that were run

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Take a call."""
        result: Deferred[Any] = Deferred()
        self.waiting.append((result, lambda: function(*arguments)))
        return result

    def work(self) -> None:
        """Run what is waiting, and what that brings on."""
        while self.waiting:
            result, call = self.waiting.pop(0)
            self.worked += 1
            maybeDeferred(call).chainDeferred(result)


class Guarded(LoginFailures):
    """
    Failures on a clock of their own.

    :ivar limit: may be assigned, as a reload does.
    :ivar counted: refusals by reason.
    """

    def __init__(self, limit: int = 10) -> None:
        self.limit = limit
        self.clock = Clock()
        self.counted: Counter[str] = Counter()
        super().__init__(lambda: self.limit, self.clock.seconds, lambda reason: self.counted.update([reason]))
