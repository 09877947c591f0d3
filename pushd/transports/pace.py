"""
How fast: so many of something per second, and after a rest some more at once.

The "generic cell rate algorithm": a token bucket whose state is one number, the moment at which all that was
taken would be worked off at the rate. Nothing needs to be filled up as time goes by, and the rate may change
at any time, as it does with a reload of the settings.
"""

from __future__ import annotations

from typing import Protocol

from pushd.broker.wheel import TimingWheel

# What a client may send at once, after a rest, in seconds of its rate.
MESSAGE_BURST_S = 1.0

_ROUNDING_S = 1e-6  # what sums of floats may be wrong by; nobody shall be made to wait for that


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


class Pausable(Protocol):
    """A connection that need not be read from."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Brake:
    """
    Slows a publisher down: reads nothing from it for as long as it was too fast. Nothing is lost, for what it
    sends meanwhile stays with the kernels, first with ours and then with its own.

    :ivar slot: belongs to the timing wheel.
    """

    __slots__ = ("_connection", "_due_at", "_pace", "_rate", "_wheel", "slot")

    def __init__(self, connection: Pausable, wheel: TimingWheel, rate: int) -> None:
        """
        :param rate: messages per second.
        """
        self._connection = connection
        self._wheel = wheel
        self._rate = rate
        self._pace = Pace()
        self._due_at: float | None = None
        self.slot = 0

    def passed(self, messages: int) -> None:
        """So many have come; whoever was too fast is paused, and resumed when the time is there."""
        now = self._wheel.seconds()
        self._pace.take(messages, now, self._rate)
        wait_s = self._pace.wait_s(now, MESSAGE_BURST_S)
        if wait_s > 0 and self._due_at is None:
            self._due_at = now + wait_s
            self._connection.pause()
            self._wheel.add(self)

    def due_at(self) -> float | None:
        return self._due_at

    def on_due(self) -> None:
        self._due_at = None
        self._connection.resume()
