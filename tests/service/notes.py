"""What was logged, as a test sees it."""

from __future__ import annotations

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase


class Notes:
    """
    Takes notes until the test is over.

    :ivar lines: the events' texts.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self._note)
        test.addCleanup(globalLogPublisher.removeObserver, self._note)

    def _note(self, event: LogEvent) -> None:
        self.lines.append(formatEvent(event))

    def __contains__(self, line: str) -> bool:
        return line in self.lines
