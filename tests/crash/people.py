"""
Who takes part in a run: publishers, subscribers who stay, sleep or change their minds, members of a group,
and somebody who looks at what is retained. They act at random and tell the ledger. (Whose session ends is in
`tests.crash.leavers`, whose Will is sent in `tests.crash.wills`.)
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple, cast

from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.errors import MQTTError
from pushd.mqtt.packets import Publish, Will
from tests.crash.crowd import Visitor
from tests.crash.ledger import GROUP, Ledger
from tests.crash.session import ClientSession
from tests.crash.timeline import Key

RETAINED_FILTER = "retained/#"
TEAM = f"{GROUP}team"


# Message Expiry Intervals: one is over before the run is, the other not.
BRIEF_S, LONG_S = 1, 100_000

# Of a message on a topic that ends so. SQLite moves its log into the database every 16 MiB.
HEAVY = "/heavy"
_HEAVY_BYTES = 100_000


def payload_of(key: Key) -> bytes:
    """What a message consists of: of many sizes, some larger than a TCP segment."""
    topic, number = key
    size = 3000 if number % 50 == 0 else number % 150
    return b"%d " % number + b"x" * (_HEAVY_BYTES if topic.endswith(HEAVY) else size)


def key_of(packet: Publish) -> Key:
    """Which message it is; its number is 0 if it is none of ours, or not as it was sent."""
    digits = packet.payload.partition(b" ")[0]
    number = int(digits) if digits.isdigit() else 0
    return packet.topic, number if packet.payload == payload_of((packet.topic, number)) else 0


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
        if self.online:
            self.ledger.timeline.note(self.name, "is gone")
        self.session.lost()

    def act(self) -> None:
        # Sometimes later, so that a crash finds messages that were delivered and not acknowledged.
        if self.session.acknowledgements and (not self.busy or self.rng.random() < 0.7):
            self.session.acknowledge()
        if self.online and self.rng.random() < 0.05:
            self.session.ask_again()

    # As the `Owner` of a session

    def connected(self) -> None:
        self.ledger.timeline.served()
        self.ledger.timeline.note(self.name, "is connected")

    def renews(self) -> None:
        self.ledger.renews(self.name)

    def renewed(self) -> None:
        self.ledger.renewed(self.name)

    def session_lost(self) -> None:
        self.ledger.session_lost(self.name)

    def next_will(self) -> Will | None:
        return None

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

    :param topics: with the QoS of each; see `next_message` for what their names mean.
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
            topic = choose(self._topics, self.rng)
            draft = next_message(topic, self.ledger, self.rng)
            self.session.publish(draft.key, draft.payload, self._topics[topic], draft.retain, draft.expires_s)


class Draft(NamedTuple):
    """A message that is about to be sent."""

    key: Key
    payload: bytes
    retain: bool
    expires_s: int | None


def choose(topics: dict[str, QoS], rng: Random) -> str:
    """One of these; a heavy one once in a while."""
    topic = rng.choice(list(topics))
    return topic if not topic.endswith(HEAVY) or rng.random() < 0.05 else choose(topics, rng)


def next_message(topic: str, ledger: Ledger, rng: Random) -> Draft:
    """
    Make up a message, and tell the ledger that it is about to be sent.

    :param topic: below ``retained/`` it is set, replaced and cleared; with ``fleeting`` in its name its
        messages have a time after which they are over.
    """
    retain = topic.startswith("retained/")
    expires_s = rng.choice([BRIEF_S, LONG_S]) if "fleeting" in topic else None
    key = topic, ledger.topics[topic].sent + 1
    payload = b"" if retain and rng.random() < 0.2 else payload_of(key)
    ledger.sent(topic, payload if retain else None, expires_s)
    return Draft(key, payload, retain, expires_s)


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
        self.ledger.timeline.note(self.name, "asks to be subscribed to %s: %s", topic_filter, subscribe)
        for topic in topics:
            self.ledger.asked(self.name, topic)
        if subscribe:
            self.session.subscribe(topic_filter, qos)
        else:
            self.session.unsubscribe(topic_filter)

    def answered(self, topic_filter: str, subscribed: bool) -> None:
        self.ledger.timeline.note(self.name, "is subscribed to %s: %s", topic_filter, subscribed)
        for topic in self._filters[topic_filter][0]:
            self.ledger.answered(self.name, topic, subscribed)

    def arrived(self, packet: Publish) -> None:
        self._tell_of(packet, self.name)

    def _tell_of(self, packet: Publish, name: str) -> None:
        left = packet.properties.get(PropertyId.MESSAGE_EXPIRY_INTERVAL)
        self.ledger.delivered(name, key_of(packet), packet.qos, packet.dup, cast("int | None", left))


class SlowSubscriber(Subscriber):
    """Takes few messages at once, with each connection another number. Speaks version 5."""

    def opened(self) -> None:
        self.session.receive_maximum = self.rng.randint(1, 20) if self.busy else 20
        super().opened()


class Member(Subscriber):
    """
    Shares a subscription. What the ledger knows is the group, as one client: it is subscribed from the first
    SUBACK of any member on, and whatever arrives at one has arrived.
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
        """:param filters: without the name of the group in front."""
        shared = {f"{TEAM}/{filter}": covered for filter, covered in filters.items()}
        super().__init__(name, version, port, ledger, rng, shared)

    def ask(self, topic_filter: str, subscribe: bool) -> None:
        self.session.subscribe(topic_filter, self._filters[topic_filter][1])

    def answered(self, topic_filter: str, subscribed: bool) -> None:
        for topic in self._filters[topic_filter][0]:
            if not self.ledger.is_subscribed(TEAM, topic):
                self.ledger.answered(TEAM, topic, subscribed)

    def arrived(self, packet: Publish) -> None:
        self._tell_of(packet, TEAM)


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
