"""What the tests of the history share: samples with known figures, and databases without threads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.python import threadpool
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.stats.figures import FIGURES, NAMES, Sample
from pushd.stats.history import History
from pushd.stats.tables import Span

# A full hour, at which a minute and a sample begin as well.
HOUR = 1_700_000_000 // 3600 * 3600


def sample(at: int, dropped: dict[str, int] | None = None, **figures: float | None) -> Sample:
    """One in which all other figures are not known."""
    assert set(figures) <= set(NAMES)
    return Sample(at, tuple(figures.get(name) for name in NAMES), dropped or {})


class Reactor(Clock):
    """What adbapi asks of a reactor, its threads aside."""

    def callWhenRunning(self, function: Callable[[], object]) -> None:
        """It never runs."""

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)


class NoThreads:
    """A pool in which everything is done at once."""

    def __init__(self, minimum: int, maximum: int) -> None:
        assert (minimum, maximum) == (1, 1)

    def callInThreadWithCallback(
        self, done: Callable[[bool, Any], object], function: Callable[..., Any], *arguments: Any
    ) -> None:
        try:
            result = function(*arguments)
        except Exception:
            done(False, Failure())
        else:
            done(True, result)

    def stop(self) -> None:
        pass


class HistoryCase(SynchronousTestCase):
    """Whose histories do everything at once."""

    def setUp(self) -> None:
        self.patch(threadpool, "ThreadPool", NoThreads)
        self.reactor = Reactor()
        self.reactor.advance(HOUR)

    def opened(self, history: History) -> History:
        history.open()
        self.addCleanup(history.close)
        return history

    def table(self, history: History, begin: int, end: int, step_s: int, *names: str) -> Any:
        """What it answers about some figures."""
        figures = [figure for figure in FIGURES if figure.name in names]
        return json.loads(self.successResultOf(history.read(Span(begin, end, step_s), figures)))

    def rows(self, history: History, begin: int, end: int, step_s: int, *names: str) -> Any:
        """The rows of that."""
        return self.table(history, begin, end, step_s, *names)["rows"]
