"""Retained messages: the last of each topic that was marked so, for later subscribers (v5 §3.3.1.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush

from pushd.broker import records
from pushd.broker.interfaces import IStore
from pushd.broker.limits import Limits
from pushd.broker.message import Message
from pushd.broker.topic_map import TopicMap, Walk
from pushd.broker.wheel import TimingWheel
from pushd.mqtt.properties import encode_properties


class RetainedMessages:
    """
    What is retained, recorded as it changes, and forgotten when it expires.

    Mosquitto has to be told to look for expired messages (``retain_expiry_interval``). Here they go by
    themselves, so that a configuration that asks for it has what it wants.

    :ivar payload_bytes: of all payloads together.
    :ivar held_bytes: what counts for ``max_retained_bytes``: topic names and properties, too. Otherwise a
        million names of 64 KiB with a payload of one byte would be below any limit. The broker's own topics,
        below ``$SYS``, do not count.
    """

    def __init__(self, store: IStore, wheel: TimingWheel, limits: Callable[[], Limits] = Limits) -> None:
        """:param limits: gives those of now: a reload may replace them."""
        self._store = store
        self._wheel = wheel
        self._limits = limits
        self._messages: TopicMap[Message] = TopicMap()
        self._deadlines = Deadlines(wheel, self._expire)
        self.payload_bytes = 0
        self.held_bytes = 0
        self._own = 0  # how many of them are the broker's

    def __len__(self) -> int:
        return len(self._messages)

    def get(self, topic: str) -> Message | None:
        """What is retained of exactly this topic, if it is still good."""
        message = self._messages.get(topic)
        return None if message is None or message.expired(self._wheel.now) else message

    def walk(self, filter: str) -> Walk:
        """Begin to look for the topics that this filter matches; `get` tells what is retained of each."""
        return self._messages.walk(filter)

    def match(self, filter: str) -> list[Message]:
        """All at once that this filter matches, and that are still good: for filters that match few."""
        now = self._wheel.now
        return [message for message in self._messages.match(filter) if not message.expired(now)]

    def retain(self, message: Message) -> bool:
        """
        Keep a topic's last message; an empty one clears it (v3 [MQTT-3.3.1-10], v5 [MQTT-3.3.1-6]).

        :return: whether there was room for it. If not, what was retained of its topic stays.
        """
        if not message.payload:
            self.clear(message.topic)
        elif self.has_room_for(message):
            self.keep(message)
            self._store.record(records.RetainedSet(message))
        else:
            return False
        return True

    def has_room_for(self, message: Message) -> bool:
        """What takes no more than what it replaces always has room, also under a limit that was lowered."""
        limits = self._limits()
        old = self._messages.get(message.topic)
        if old is None and 0 < limits.max_retained_messages <= len(self._messages) - self._own:
            return False
        more = _size(message) - (0 if old is None else _size(old))
        return more <= 0 or not 0 < limits.max_retained_bytes < self.held_bytes + more

    def keep(self, message: Message) -> None:
        """
        Keep a message without recording it: the broker's own, which the next process makes anew. It is never
        refused, and counts in ``$SYS/broker/retained messages/count``, but not for the limits.
        """
        topic = message.topic
        old = self._messages.get(topic)
        if old is not None:
            self._count(old, -1)
        self._messages.set(topic, message)
        self._count(message, 1)
        if message.expires_at is not None:
            self._deadlines.set(topic, message.expires_at)
        elif old is not None and old.expires_at is not None:
            self._deadlines.drop(topic)

    def restore(self, messages: Iterable[Message]) -> None:
        """Keep what a store gives back, whatever the limits say now. Only where nothing is kept yet."""
        by_topic = {message.topic: message for message in messages}
        self._messages.update(by_topic)
        for topic, message in by_topic.items():
            self._count(message, 1)
            if message.expires_at is not None:
                self._deadlines.set(topic, message.expires_at)

    def clear(self, topic: str) -> None:
        """Keep nothing of this topic."""
        message = self._messages.get(topic)
        if message is not None:
            self._messages.remove(topic)
            self._count(message, -1)
            self._deadlines.drop(topic)
            self._store.record(records.RetainedCleared(topic))

    def _count(self, message: Message, times: int) -> None:
        self.payload_bytes += times * len(message.payload)
        if message.topic.startswith("$SYS/"):
            self._own += times
        else:
            self.held_bytes += times * _size(message)

    def _expire(self, topic: str) -> None:
        """A message's time is over (v5 [MQTT-3.3.2-5]), or was until another took its place."""
        message = self._messages.get(topic)
        if message is None or message.expires_at is None:
            return
        if message.expires_at <= self._wheel.now:
            self.clear(topic)
        else:
            self._deadlines.set(topic, message.expires_at)


def _size(message: Message) -> int:
    properties = message.properties
    size = len(message.topic) + len(message.payload)
    return size + len(encode_properties(properties)) if properties else size


class Deadlines:
    """
    On the wheel: which topic's message expires next.

    One place on the wheel for all, and not one for each: the wheel visits everything that is on it once a
    minute, and a million visits in one tick are a second.
    """

    # How many are called at a tick, four times a second, when many are due at once; no subscriber is sent one
    # that waits here.
    AT_ONCE = 1000

    def __init__(self, wheel: TimingWheel, expire: Callable[[str], None]) -> None:
        """:param expire: called with a topic some time after its deadline, which is forgotten then."""
        self._wheel = wheel
        self._expire = expire
        self._next: dict[str, float] = {}  # by topic
        self._heap: list[tuple[float, str]] = []  # those, and some that are no more
        self.slot = 0

    def __len__(self) -> int:
        return len(self._next)

    def set(self, topic: str, at: float) -> None:
        """
        Call at this time. If the topic has an earlier deadline it stays, and who is called looks how late it
        is: a message that is replaced each second by one that lives for an hour leaves one, and not 3600.
        """
        known = self._next.get(topic)
        if known is not None and known <= at:
            return
        soonest = self.due_at()
        self._next[topic] = at
        heappush(self._heap, (at, topic))
        self._tidy()
        if soonest is None or at < soonest:
            self._wheel.add(self)

    def drop(self, topic: str) -> None:
        """Do not call."""
        if self._next.pop(topic, None) is not None:
            self._tidy()

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._next) + self.AT_ONCE:
            self._heap = [(at, topic) for topic, at in self._next.items()]
            heapify(self._heap)

    def due_at(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def on_due(self) -> None:
        try:
            self._call_due()
        finally:
            self._wheel.add(self)

    def _call_due(self) -> None:
        for _ in range(self.AT_ONCE):
            if not self._heap or self._heap[0][0] > self._wheel.now:
                return
            at, topic = heappop(self._heap)
            if self._next.get(topic) == at:
                del self._next[topic]
                self._expire(topic)
