"""
What is retained, on its way to those who subscribe to it (v5 §3.3.1.3).

Most subscriptions find one retained message, or a few: those leave in the same turn as the SUBACK. ``#`` may
find a million. They are looked for and sent a few at a time, to every such client in its turn, and no faster
than it takes them: at QoS 1 and 2 when there is room in its window, at QoS 0 while its connection is not
congested. None is dropped because there are many, and none waits in memory or in the session's queue, where
it would take the place of a live message.

What is sent is what is retained at that moment, so nobody gets an old value after a newer one.

A replay ends with its subscription: when that is removed, or replaced by one to the same filter, or when its
session ends. That of a session which is kept waits for the client to come back. It is not recorded: when the
broker itself is restarted in the middle of it, the client has to subscribe again for the rest.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, cast

from twisted.logger import Logger

from pushd.broker.message import Message
from pushd.broker.trie import is_exact

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.session import Session, Subscription


class Pace(Enum):
    """How a replay gets on."""

    GOING = auto()
    WAITING = auto()  # for the client to take what was sent
    FINISHED = auto()


class Replay:
    """
    The retained messages for one new subscription.

    :ivar cost: of all steps so far; see `STEP`.
    """

    # What a step may cost: a unit for each topic looked at, found to be sent, and KiB of payload. Half a
    # millisecond.
    STEP = 100

    # Outboxes of one connection that may wait for the store: a disk that is full must not fill the memory.
    MAX_HELD = 16

    __slots__ = ("_broker", "_found", "_session", "_subscription", "_walk", "cost")

    def __init__(self, broker: Broker, subscription: Subscription) -> None:
        self._broker = broker
        self._session = cast("Session", subscription.session)  # groups get nothing retained (v5 §4.8.2)
        self._subscription = subscription
        exact = is_exact(subscription.filter)
        self._walk = None if exact else broker.retained.walk(subscription.filter)
        # Topics whose turn has not come, the next one last.
        self._found = [subscription.filter] if exact else []
        self.cost = 0

    def __repr__(self) -> str:
        return f"<Replay of {self._subscription.filter!r} to {self._session!r}>"

    @property
    def wanted(self) -> bool:
        """Whether the session still has this very subscription."""
        return self._session.subscriptions.get(self._subscription.filter) is self._subscription

    def step(self) -> Pace:
        """Send the next few. The session has a client."""
        limit = self.cost + self.STEP
        found = self._found
        while found or self._look():
            if self.cost >= limit:
                return Pace.GOING
            if found:
                if not self._send(found[-1]):
                    return Pace.WAITING
                found.pop()
        return Pace.FINISHED

    def _look(self) -> bool:
        """:return: whether there may be more to find; perhaps this found nothing."""
        walk = self._walk
        if walk is None or walk.over:
            return False
        looked_at = walk.looked_at
        self._found += reversed(walk.step())
        self.cost += walk.looked_at - looked_at
        return True

    def _send(self, topic: str) -> bool:
        """:return: whether the next topic's turn has come, if only because there is nothing to send."""
        message = self._broker.retained.get(topic)
        if message is None:
            return True
        qos = self._broker.limits.delivery_qos(message.qos, self._subscription.qos)
        if not self._has_room(qos):
            return False
        broker = self._broker
        is_good = message.source is None or broker.is_still_good(message)
        if is_good and broker.may_read(self._session, topic):
            self._session.deliver(self._marked(message, qos))
            self.cost += 1 + (len(message.payload) >> 10)
        return True

    def _has_room(self, qos: int) -> bool:
        if qos:
            return self._session.has_room
        client = self._session.client
        return client is not None and not client.congested and client.held < self.MAX_HELD

    def _marked(self, message: Message, qos: int) -> Message:
        """
        The message with RETAIN set (v3 [MQTT-3.3.1-8], v5 §3.3.1.3). What is asked for by its own name will
        be asked for again, and so its wire image is remembered; those of a million would double the memory.
        """
        identifier = self._subscription.identifier
        ids = (identifier,) if identifier else ()
        if self._walk is None:
            return message.variant(qos, True, ids)
        copy = Message(message.topic, message.payload, qos, True, message.properties, message.expires_at)
        copy.subscription_ids = ids
        return copy


class Replays:
    """
    All that are under way. Sessions take turns, and so the client with a thousand subscriptions gets on no
    faster than the one with a single one.

    :ivar waiting: sessions whose client does not keep up. They are looked at four times a second, and when
        somebody says that it has become worth while (`go_on`).
    """

    # What all of them together may take of a turn of the reactor; one step is always made.
    SLICE_S = 0.002

    # What may be sent at once, before the end of the turn, to all who subscribe in it: 300 messages, 2 ms.
    AT_ONCE = 6 * Replay.STEP

    _log = Logger()

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._queues: dict[Session, deque[Replay]] = {}
        # Each session with a queue is in one of these three.
        self._going: deque[Session] = deque()
        self.waiting: set[Session] = set()
        self._away: set[Session] = set()
        self._at_once = self.AT_ONCE
        self._is_scheduled = False
        self.slot = 0  # on the wheel

    def start(self, session: Session, subscription: Subscription) -> None:
        """Send what is retained for a new subscription; what is not too much for it, at once."""
        if is_exact(subscription.filter) and self._broker.retained.get(subscription.filter) is None:
            return
        replay = Replay(self._broker, subscription)
        if session in self._queues:
            self._put_behind(session, replay)
            return
        self._schedule()
        pace = Pace.GOING
        while pace is Pace.GOING and self._at_once > 0:
            cost = replay.cost
            pace = replay.step()
            self._at_once -= replay.cost - cost
        if pace is not Pace.FINISHED:
            self._queues[session] = deque((replay,))
            self._continue(session, pace)

    def go_on(self, session: Session) -> None:
        """The session's client came back, or has taken some of what it was sent."""
        if session in self.waiting:
            self.waiting.remove(session)
        elif session in self._away:
            self._away.remove(session)
        else:
            return
        self._going.append(session)
        self._schedule()

    def end(self, session: Session) -> None:
        """A session is over."""
        self._queues.pop(session, None)
        self.waiting.discard(session)
        self._away.discard(session)

    def _put_behind(self, session: Session, replay: Replay) -> None:
        """A client may subscribe and unsubscribe for ever: what it wants no more is not kept for ever."""
        queue = self._queues[session]
        queue.append(replay)
        if len(queue) > 2 * len(session.subscriptions):
            self._queues[session] = deque(replay for replay in queue if replay.wanted)

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._broker.turn.afterwards(self._take_turns)

    def _take_turns(self) -> None:
        """All that was sent before has left, or is known not to: give each session a step."""
        self._is_scheduled = False
        self._at_once = self.AT_ONCE
        seconds = self._broker.wheel.seconds
        end = seconds() + self.SLICE_S
        for _ in range(len(self._going)):
            session = self._going.popleft()
            self._advance(session)
            if seconds() >= end:
                break
        if self._going:
            self._schedule()

    def _advance(self, session: Session) -> None:
        queue = self._queues.get(session)
        if queue is None:
            return  # it ended meanwhile
        while queue and not queue[0].wanted:
            queue.popleft()
        if not queue:
            del self._queues[session]
        elif session.client is None:
            self._away.add(session)
        else:
            self._continue(session, self._step(queue))

    def _step(self, queue: deque[Replay]) -> Pace:
        """One step of the next replay; what the session is to do then."""
        pace = Pace.FINISHED
        try:
            pace = queue[0].step()
        except Exception:
            self._log.failure("{replay!r} failed", replay=queue[0])
        if pace is Pace.FINISHED:
            queue.popleft()
            return Pace.GOING
        if pace is Pace.GOING:
            queue.rotate(-1)  # a short one shall not wait for a long one
        return pace

    def _continue(self, session: Session, pace: Pace) -> None:
        if pace is Pace.GOING:
            self._going.append(session)
            self._schedule()
        else:
            self.waiting.add(session)
            if self.slot == 0:
                self._broker.wheel.add(self)

    # On the wheel: nobody tells when a client's write buffer is empty

    def due_at(self) -> float | None:
        return self._broker.wheel.now if self.waiting else None

    def on_due(self) -> None:
        for session in list(self.waiting):
            self.go_on(session)
