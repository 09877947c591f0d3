"""Retained messages: the last of each topic that was marked so, for later subscribers (v5 §3.3.1.3)."""

from __future__ import annotations

from pushd.broker import records
from pushd.broker.interfaces import IStore
from pushd.broker.message import Message
from pushd.broker.topic_tree import TopicTree
from pushd.broker.wheel import TimingWheel


class RetainedMessages:
    """What is retained, recorded as it changes, and forgotten when it expires."""

    def __init__(self, store: IStore, wheel: TimingWheel) -> None:
        self._store = store
        self._wheel = wheel
        self._messages: TopicTree[Message] = TopicTree()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def payload_bytes(self) -> int:
        """All payloads together; counted anew at each call."""
        return sum(len(message.payload) for message in self._messages.values())

    def match(self, filter: str) -> list[Message]:
        """Those whose topic name this filter matches, and which are still good."""
        now = self._wheel.now
        return [message for message in self._messages.match(filter) if not message.expired(now)]

    def retain(self, message: Message) -> None:
        """Keep a topic's last message; an empty one clears it (v3 [MQTT-3.3.1-10], v5 [MQTT-3.3.1-6])."""
        if message.payload:
            self.keep(message)
            self._store.record(records.RetainedSet(message))
        else:
            self.clear(message.topic)

    def keep(self, message: Message) -> None:
        """Keep a message without recording it: the store has it already, or need not have it."""
        self._messages.set(message.topic, message)
        if message.expires_at is not None:
            self._wheel.add(_Expiry(self, message))

    def clear(self, topic: str) -> None:
        """Keep nothing of this topic."""
        if self._messages.get(topic) is not None:
            self._messages.remove(topic)
            self._store.record(records.RetainedCleared(topic))

    def expire(self, message: Message) -> None:
        """Forget a message whose time is over, unless another has taken its place."""
        if self._messages.get(message.topic) is message:
            self.clear(message.topic)


class _Expiry:
    """On the wheel: the end of one retained message (v5 [MQTT-3.3.2-5])."""

    __slots__ = ("_message", "_retained", "slot")

    def __init__(self, retained: RetainedMessages, message: Message) -> None:
        self._retained = retained
        self._message = message
        self.slot = 0

    def due_at(self) -> float | None:
        return self._message.expires_at

    def on_due(self) -> None:
        self._retained.expire(self._message)
