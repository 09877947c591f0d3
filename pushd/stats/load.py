"""
Load averages, as `uptime` shows them for a machine: how much of something happens per minute, smoothed.

Each average forgets exponentially: after its window has passed, what happened before weighs 1/e. The figures
are those under ``$SYS/broker/load``, by the formula Mosquitto's users know them from.
"""

from __future__ import annotations

from math import exp

# The last level of the topic, and the window in seconds.
WINDOWS: tuple[tuple[str, float], ...] = (("1min", 60.0), ("5min", 300.0), ("15min", 900.0))


class LoadAverage:
    """How fast one ever-growing total grows, per minute, over each of `WINDOWS`."""

    __slots__ = ("_total", "values")

    def __init__(self, total: int = 0) -> None:
        """:param total: what was counted before the first `update`; it is no load."""
        self._total = total
        self.values = [0.0] * len(WINDOWS)  # per minute, in the order of `WINDOWS`

    def update(self, total: int, elapsed_s: float) -> None:
        """
        Take in what was counted since the last update.

        :param elapsed_s: the time since then. None having passed, there is no rate to speak of, and
            what was counted is left for the next update.
        """
        if elapsed_s <= 0:
            return
        per_minute = (total - self._total) * 60 / elapsed_s
        self._total = total
        self.values = [
            per_minute + exp(-elapsed_s / window_s) * (value - per_minute)
            for value, (_, window_s) in zip(self.values, WINDOWS, strict=True)
        ]
