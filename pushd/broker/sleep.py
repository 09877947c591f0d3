"""
A session that sleeps: its client is away, and its messages are in the store only.

    asleep ──client comes──▶ waking ──messages are there──▶ awake, then the CONNACK
       │                        │
       └── a message comes: ────┴── as well to memory, for what is read may be older
           to the store

`pushd.broker.session` says when it falls asleep, and what becomes of the messages when it wakes.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pushd.broker.message import Message
from pushd.broker.outline import Outline
from pushd.broker.records import SavedMessages


class Sleep:
    """
    One of a session.

    :ivar outline: of what is queued.
    :ivar inflight_count: how many messages are in flight.
    :ivar waking: whether the messages are on their way.
    """

    __slots__ = ("_arrived", "_waiters", "inflight_count", "outline")

    def __init__(self, outline: Outline, inflight_count: int = 0) -> None:
        self.outline = outline
        self.inflight_count = inflight_count
        self._arrived: dict[int, Message] = {}  # since it began to wake, by sequence
        self._waiters: list[Deferred[None]] | None = None

    @property
    def waking(self) -> bool:
        return self._waiters is not None

    def add(self, sequence: int, message: Message) -> None:
        """A message was recorded as queued."""
        self.outline.append(len(message.payload), message.expires_at)
        if self.waking:
            self._arrived[sequence] = message

    def replace(self, at: int, sequence: int, message: Message) -> None:
        """A message was recorded as queued with the number of an older one, which stands at this place."""
        self.outline.replace(at, len(message.payload), message.expires_at)
        if self.waking:
            self._arrived[sequence] = message

    def wait(self) -> Deferred[None]:
        """:return: fires when the session is awake, or has ended meanwhile; fails if it cannot be woken."""
        if self._waiters is None:
            self._waiters = []
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    def complete(self, saved: SavedMessages) -> dict[int, Message]:
        """What is queued, by sequence: what was read, and what came while it was."""
        return {**saved.queued, **self._arrived}

    def over(self, result: Failure | None) -> None:
        """Tell those who waited; after a failure it goes on."""
        waiters, self._waiters = self._waiters or [], None
        self._arrived = {}
        for waiter in waiters:
            waiter.callback(result)  # a Failure makes it an errback
