"""How fast a client may publish: it is not read from for as long as it was too fast."""

from __future__ import annotations

from typing import Protocol

from pushd.broker.pace import Pace
from pushd.broker.wheel import TimingWheel

# What a client may send at once, after a rest, in seconds of its rate.
MESSAGE_BURST_S = 1.0


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
