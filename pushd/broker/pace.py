"""
How fast: so many of something per second, and after a rest some more at once.

The "generic cell rate algorithm": a token bucket whose state is one number, the moment at which all that was
taken would be worked off at the rate. Nothing needs to be filled up as time goes by, and the rate may change
at any time, as it does with a reload of the settings.
"""

from __future__ import annotations

from collections.abc import Hashable

_ROUNDING_S = 1e-6  # what sums of floats may be wrong by; nobody shall be made to wait for that

# How many are remembered; about 2 MB.
MAX_KEPT = 10_000


class Pace:
    """
    One bucket.

    Rates are per second and not 0; a burst is given in seconds: so many seconds' worth may go at once.
    """

    __slots__ = ("_worked_off_at",)

    def __init__(self) -> None:
        self._worked_off_at = 0.0

    def take(self, count: int, now: float, rate: float) -> None:
        """Note that `count` of them have gone, whether or not it was their turn."""
        self._worked_off_at = max(self._worked_off_at, now) + count / rate

    def wait_s(self, now: float, burst_s: float) -> float:
        """How long until the next one may go; 0 for now."""
        wait_s = self._worked_off_at - burst_s - now
        return wait_s if wait_s > _ROUNDING_S else 0.0

    def is_rested(self, now: float) -> bool:
        """Whether a new one would do as well."""
        return self._worked_off_at <= now


class Paces:
    """
    A bucket for each of many keys, in bounded memory: however many addresses somebody has, all that it gets
    for them is that paces are forgotten.
    """

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        self._max_kept = max_kept
        self._paces: dict[Hashable, Pace] = {}

    def __len__(self) -> int:
        return len(self._paces)

    def of(self, key: Hashable, now: float) -> Pace:
        """That of `key`; a rested one if it is not known."""
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) >= self._max_kept:
                self._forget_rested(now)
            pace = self._paces[key] = Pace()
        return pace

    def _forget_rested(self, now: float) -> None:
        """Make room: of those who rested nothing is lost, and looking at all of them must be worth it."""
        self._paces = {key: pace for key, pace in self._paces.items() if not pace.is_rested(now)}
        if len(self._paces) > self._max_kept // 2:
            self._paces.clear()
