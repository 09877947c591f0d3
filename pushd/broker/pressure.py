"""
A publisher faster than a subscriber is slowed down, not cut off, and nothing is dropped meanwhile.

When the queue of a connected subscriber is half full, whoever published last is not read from until the
queue has drained to a quarter: TCP tells the publisher to wait. That is for a subscriber which keeps going.
One that does not catch up within a second must not slow the others down: its publishers go on, are not held
back again for a while, and its queue may overflow (``queue_full`` says how).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pushd.broker.turn import Turn
from pushd.broker.wheel import TimingWheel

if TYPE_CHECKING:
    from pushd.broker.client import Client
    from pushd.broker.session import Session


class Pressure:
    """
    Where a strained queue and the publisher that it strains meet.

    :ivar strained: a session whose queue was found long by the publish that is under way.
    """

    # How long a publisher waits for a subscriber at most, and how long it is left alone after that.
    PATIENCE_S = 1.0
    IMPATIENCE_S = 30.0

    def __init__(self, wheel: TimingWheel, turn: Turn) -> None:
        self.strained: Session | None = None
        self._wheel = wheel
        self._turn = turn

    def hold_back(self, publisher: Client) -> None:
        """Its publish made a queue long: read no more from it until that is shorter, if there is hope."""
        session, self.strained = self.strained, None
        # Its own queue drains by what it sends us.
        if session is None or session is publisher.session or publisher.impatient_until > self._wheel.now:
            return
        if session.holds_back is None:
            session.holds_back = HeldBack(session, self._wheel, self._turn)
        session.holds_back.add(publisher)

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        """:return: fires when the condition holds; it is looked at a few times per second."""
        wait = _Wait(self._wheel, condition)
        self._wheel.add(wait)
        return wait.over


class _Wait:
    """On the wheel: something that nobody tells us of."""

    __slots__ = ("_condition", "_wheel", "over", "slot")

    def __init__(self, wheel: TimingWheel, condition: Callable[[], bool]) -> None:
        self._wheel = wheel
        self._condition = condition
        self.over: Deferred[None] = Deferred()
        self.slot = 0

    def due_at(self) -> float:
        return self._wheel.now

    def on_due(self) -> None:
        if self._condition():
            self.over.callback(None)
        else:
            self._wheel.add(self)


class HeldBack:
    """The publishers that one session holds back. On the wheel, it is their patience."""

    __slots__ = ("_enough", "_publishers", "_session", "_turn", "_until", "_wheel", "slot")

    def __init__(self, session: Session, wheel: TimingWheel, turn: Turn) -> None:
        self._session = session
        self._wheel = wheel
        self._turn = turn
        self._enough = len(session.queue or ()) // 2
        self._publishers: dict[Client, None] = {}
        self._until: float | None = wheel.seconds() + Pressure.PATIENCE_S
        self.slot = 0
        wheel.add(self)

    def add(self, publisher: Client) -> None:
        if publisher not in self._publishers:
            self._publishers[publisher] = None
            publisher.connection.pause()

    def drained(self, queued: int) -> None:
        """The queue has become shorter."""
        if queued <= self._enough:
            self._let_go()

    def due_at(self) -> float | None:
        return self._until

    def on_due(self) -> None:
        """It did not catch up in time."""
        now = self._wheel.seconds()
        for publisher in self._publishers:
            publisher.impatient_until = now + Pressure.IMPATIENCE_S
        self._let_go()

    def _let_go(self) -> None:
        self._until = None
        self._session.holds_back = None
        for publisher in self._publishers:
            self._turn.afterwards(publisher.connection.resume)  # not amidst what the subscriber has sent
