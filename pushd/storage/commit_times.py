"""How long it takes to make something durable."""

from __future__ import annotations


class CommitTimes:
    """
    Counted by the thread that commits, read by others: of two that meet, one may miss the latest commit.

    :ivar count: commits since the start.
    :ivar total_s: how long they took together.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_s = 0.0
        self._longest_s = 0.0

    def add(self, duration_s: float) -> None:
        """One more."""
        self.count += 1
        self.total_s += duration_s
        self._longest_s = max(self._longest_s, duration_s)

    def take_longest(self) -> float:
        """How many seconds the longest took since the last time that this was asked."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s
