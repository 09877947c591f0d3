"""
Who takes part in a run: publishers, subscribers who stay, sleep or change their minds, somebody who pushes
through the gateway, and somebody who looks at what is retained. They act at random and tell the ledger.
"""

from __future__ import annotations

from random import Random

from pushd.mqtt.codes import QoS, ReasonCode, Version
from pushd.mqtt.errors import MQTTError
from pushd.mqtt.packets import Publish
from tests.crash.crowd import Visitor
from tests.crash.ledger import Ledger
from tests.crash.session import ClientSession
from tests.crash.timeline import Key

RETAINED_FILTER = "retained/#"


def payload_of(number: int) -> bytes:
    """What a topic's message of this number consists of: of many sizes, some larger than a TCP segment."""
    size = 3000 if number % 50 == 0 else number % 150
    return b"%d " % number + b"x" * size


def key_of(packet: Publish) -> Key:
    """Which message it is; its number is 0 if it is none of ours, or not as it was sent."""
    digits = packet.payload.partition(b" ")[0]
    number = int(digits) if digits.isdigit() else 0
    return packet.topic, number if packet.payload == payload_of(number) else 0


class MQTTVisitor(Visitor):
    """An MQTT client with a session that lasts."""

    def __init__(
        self, name: str, version: Version, port: int, ledger: Ledger, rng: Random, clean: bool = False
    ) -> None:
        super().__init__(name, port)
        self.ledger = ledger
        self.rng = rng
        self.session = ClientSession(name, version, self, self.outbox, clean)

    @property
    def online(self) -> bool:
        """Whether the broker has taken it in."""
        return self.session.online

    @property
    def is_done(self) -> bool:
        """Whether it is online, and has an answer to all it published and asked for."""
        return self.online and self.session.is_idle

    def leave(self) -> None:
        """Go away politely."""
        self.wanted = False
        if self.online:
            self.session.leave()

    # As a `Visitor`

    def opened(self) -> None:
        self.session.open()

    def received(self, data: bytes) -> None:
        try:
            self.session.receive(data)
        except MQTTError as error:
            self.surprised(f"{type(error).__name__}: {error}")

    def closed(self) -> None:
        self.session.lost()

    def act(self) -> None:
        # Sometimes later, so that a crash finds messages that were delivered and not acknowledged.
        if self.session.acknowledgements and self.rng.random() < 0.7:
            self.outbox += self.session.acknowledgements
            self.session.acknowledgements.clear()

    # As the `Owner` of a session

    def connected(self) -> None:
        self.ledger.timeline.note(self.name, "is connected")

    def renews(self) -> None:
        self.ledger.renews(self.name)

    def renewed(self) -> None:
        self.ledger.renewed(self.name)

    def session_lost(self) -> None:
        self.ledger.session_lost(self.name)

    def acknowledged(self, key: Key) -> None:
        self.ledger.acknowledged(key)

    def arrived(self, packet: Publish) -> None:
        self.surprised(f"{packet} without any subscription")

    def answered(self, topic_filter: str, subscribed: bool) -> None:
        pass

    def refused(self, key: Key | None, code: ReasonCode) -> None:
        self.ledger.refused(key or self.name, code.name)

    def ponged(self) -> None:
        pass

    def surprised(self, text: str) -> None:
        self.ledger.found("broken", f"{self.name}: {text[:400]}", self.name)


class Publisher(MQTTVisitor):
    """
    Publishes as fast as it may while it is `busy`.

    :param topics: with the QoS of each; those that begin with ``retained/`` are set, replaced and cleared.
    """

    def __init__(
        self,
        name: str,
        version: Version,
        port: int,
        ledger: Ledger,
        rng: Random,
        topics: dict[str, QoS],
    ) -> None:
        super().__init__(name, version, port, ledger, rng)
        self._topics = topics

    def act(self) -> None:
        super().act()
        while self.busy and self.session.has_room:
            topic = self.rng.choice(list(self._topics))
            key, payload, retain = next_message(topic, self.ledger, self.rng)
            self.session.publish(key, payload, self._topics[topic], retain)


def next_message(topic: str, ledger: Ledger, rng: Random) -> tuple[Key, bytes, bool]:
    """
    Make up a message, and tell the ledger that it is about to be sent.

    :return: which it is, its payload, and whether it is retained.
    """
    retain = topic.startswith("retained/")
    if not retain:
        number = ledger.sent(topic)
        return (topic, number), payload_of(number), False
    number = ledger.topics[topic].sent + 1
    payload = b"" if rng.random() < 0.2 else payload_of(number)
    ledger.sent(topic, retained=payload)
    return (topic, number), payload, True


class Subscriber(MQTTVisitor):
    """
    Subscribes once and stays subscribed.

    :param filters: the topic names that each topic filter covers, and the QoS it is asked for with.
    """

    def __init__(
        self,
        name: str,
        version: Version,
        port: int,
        ledger: Ledger,
        rng: Random,
        filters: dict[str, tuple[list[str], QoS]],
    ) -> None:
        super().__init__(name, version, port, ledger, rng)
        self._filters = filters
        self._is_new = True

    def connected(self) -> None:
        super().connected()
        if self._is_new:
            self._is_new = False
            for topic_filter in self._filters:
                self.ask(topic_filter, True)

    def renewed(self) -> None:
        super().renewed()
        self._is_new = True

    def session_lost(self) -> None:
        super().session_lost()
        self._is_new = True

    def ask(self, topic_filter: str, subscribe: bool) -> None:
        """Send SUBSCRIBE or UNSUBSCRIBE."""
        topics, qos = self._filters[topic_filter]
        for topic in topics:
            self.ledger.asked(self.name, topic)
        if subscribe:
            self.session.subscribe(topic_filter, qos)
        else:
            self.session.unsubscribe(topic_filter)

    def answered(self, topic_filter: str, subscribed: bool) -> None:
        for topic in self._filters[topic_filter][0]:
            self.ledger.answered(self.name, topic, subscribed)

    def arrived(self, packet: Publish) -> None:
        self.ledger.delivered(self.name, key_of(packet), packet.qos)


class Wanderer(Subscriber):
    """Subscribes and unsubscribes all the time while it is `busy`."""

    def __init__(
        self,
        name: str,
        version: Version,
        port: int,
        ledger: Ledger,
        rng: Random,
        filters: dict[str, tuple[list[str], QoS]],
    ) -> None:
        super().__init__(name, version, port, ledger, rng, filters)
        self._subscribed = dict.fromkeys(filters, False)

    def answered(self, topic_filter: str, subscribed: bool) -> None:
        super().answered(topic_filter, subscribed)
        self._subscribed[topic_filter] = subscribed

    def act(self) -> None:
        super().act()
        if self.busy and self.is_done and self.rng.random() < 0.05:
            topic_filter = self.rng.choice(list(self._filters))
            self.ask(topic_filter, not self._subscribed[topic_filter])


class Inspector(MQTTVisitor):
    """
    Subscribes to everything retained, compares, and goes; comes only when nobody publishes.

    :ivar wanted: set it for another visit; it becomes false when all was seen.
    """

    wanted = False

    def __init__(self, name: str, version: Version, port: int, ledger: Ledger, rng: Random) -> None:
        super().__init__(name, version, port, ledger, rng, clean=True)
        self._seen: dict[str, bytes] = {}

    def connected(self) -> None:
        super().connected()
        self._seen = {}
        self.session.subscribe(RETAINED_FILTER, QoS.AT_MOST_ONCE)

    def answered(self, topic_filter: str, subscribed: bool) -> None:
        self.session.ping()

    def arrived(self, packet: Publish) -> None:
        if packet.retain:
            self._seen[packet.topic] = packet.payload

    def ponged(self) -> None:
        self.ledger.retained_values(self._seen)
        self.leave()


class Pusher(Visitor):
    """
    Pushes through the HTTP gateway while it is `busy`, one after the other; 200 is the acknowledgement.

    What was not answered is not pushed again: nobody could tell it from another push.
    """

    def __init__(self, port: int, ledger: Ledger, rng: Random, topics: dict[str, QoS]) -> None:
        super().__init__("pusher", port)
        self._ledger = ledger
        self._rng = rng
        self._topics = topics
        self._pending: Key | None = None
        self._answer = b""

    @property
    def is_done(self) -> bool:
        """Whether nothing waits for its answer."""
        return self._pending is None

    def closed(self) -> None:
        self._pending = None
        self._answer = b""

    def act(self) -> None:
        if self.busy and self._pending is None:
            topic = self._rng.choice(list(self._topics))
            self._pending, payload, retain = next_message(topic, self._ledger, self._rng)
            self.outbox += (
                f"POST /v1/publish/{topic}?qos={self._topics[topic]:d}&retain={retain:d} HTTP/1.1\r\n"
                f"Host: localhost\r\nContent-Length: {len(payload)}\r\n\r\n"
            ).encode() + payload

    def received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if end and len(body) >= _content_length(head):
            self._answered(head)

    def _answered(self, head: bytes) -> None:
        assert self._pending is not None, head
        if head.startswith(b"HTTP/1.1 200"):
            self._ledger.acknowledged(self._pending)
        else:
            self._ledger.refused(self._pending, head.splitlines()[0].decode())
        self._pending, self._answer = None, b""


def _content_length(head: bytes) -> int:
    for line in head.lower().splitlines():
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
