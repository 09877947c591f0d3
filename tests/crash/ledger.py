"""
What was promised and what came of it: the bookkeeping of a run, without a socket or a process.

Each topic has one publisher, who numbers its messages from 1. Somebody tells the ledger of every message that
is sent, acknowledged and delivered, and of every subscription that is asked for and granted; it answers with
findings. What is a finding:

- **lost**: acknowledged to the publisher, not delivered to a session that was certainly subscribed from
  before it was sent until after it was acknowledged;
- **duplicate**: delivered twice at QoS 2;
- **order**: delivered for the first time after a later one of the same topic (v3 and v5 [MQTT-4.6.0-5]; what
  is delivered again may come out of order, and so may what the members of a group get);
- **uninvited**: delivered although certainly not subscribed all the time, or meant for an earlier session of
  the same client, or withdrawn: a Will that must not be sent any more;
- **expired**: delivered after its time, or with a wrong rest of it. What the broker had begun to send may
  come again later, marked as a duplicate (v5 [MQTT-3.3.2-5]);
- **lost**, **duplicate** and **order** are said of the archive, too, where all of a topic is to be kept;
- **retained**: a retained message is neither the last that was acknowledged nor a later one;
- **session**: one that was acknowledged is gone;
- **damaged**: not the bytes that were sent; **broken**: the broker breaks a rule of the protocol, or fails.

A Will is a message that is "sent" with the CONNECT, and "acknowledged" when the connection is lost: from then
on the broker, or the one that comes after it, must publish it. A group of a shared subscription is a client
whose name begins with ``$share/``.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise

from tests.crash.timeline import Key, Subject, Timeline

GROUP = "$share/"  # what the name of a group begins with

# How late a message may come that has a time: the broker's wheel turns four times a second, and on a busy
# machine the way from its socket to our bookkeeping takes a while.
SLACK_S = 3.0


class Standing(Enum):
    """What is known of a subscription. From the question until the answer, nothing is."""

    OFF = "off"
    UNSURE = "unsure"
    ON = "on"


@dataclass(slots=True, eq=False)
class Membership:
    """
    One session and one topic. `epoch` changes with `standing`, so that a message can tell if that held.

    :ivar newest: the highest number that was delivered.
    :ivar beyond: numbers up to this one belong to a session that has ended.
    """

    client_id: str
    topic: str
    standing: Standing = Standing.OFF
    epoch: int = 0
    newest: int = 0
    beyond: int = 0
    missing: set[int] = field(default_factory=set)  # acknowledged, due, and not here yet
    over: set[int] = field(default_factory=set)  # never came, for their time was over

    def becomes(self, standing: Standing) -> None:
        self.standing = standing
        self.epoch += 1


@dataclass(slots=True)
class Lifetime:
    """
    How long a message is good. It counts from when the broker took it: that was after `sent_at`, and before
    `acknowledged_at`.
    """

    seconds: float | None = None  # for ever
    sent_at: float = 0.0
    acknowledged_at: float | None = None

    def may_be_over(self, now: float) -> bool:
        return self.seconds is not None and now >= self.sent_at + self.seconds

    def must_be_over(self, now: float) -> bool:
        if self.seconds is None or self.acknowledged_at is None:
            return False
        return now > self.acknowledged_at + self.seconds + SLACK_S

    def allows(self, left_s: int, now: float) -> bool:
        """Whether the broker may say that so much of it is left (v5 [MQTT-3.3.2-6])."""
        return self.seconds is not None and self.seconds >= left_s >= self.seconds - (
            now - self.sent_at + SLACK_S
        )


@dataclass(slots=True)
class Value:
    """What may be retained of a topic."""

    payload: bytes = b""
    lifetime: Lifetime = field(default_factory=Lifetime)

    def allows(self, payload: bytes, now: float) -> bool:
        if not payload:
            return not self.payload or self.lifetime.may_be_over(now)
        return payload == self.payload and not self.lifetime.must_be_over(now)


@dataclass(slots=True)
class Message:
    """
    One that was sent, until all about it is settled. The members' `epochs` are those when it was sent.

    :ivar serial: its place among all messages of all topics.
    :ivar lifetime: its time, if it has one.
    """

    epochs: list[int]
    serial: int
    lifetime: Lifetime
    acknowledged: bool = False
    withdrawn: bool = False
    uninvited: set[str] = field(default_factory=set)  # client ids that must not get it
    deliveries: Counter[str] = field(default_factory=Counter)  # by client id


@dataclass(slots=True)
class Topic:
    """
    :ivar members: everybody who ever subscribes to it.
    :ivar retained: for a topic of retained messages the values it may have now, by number; empty is none.
    :ivar archived: for a topic of which all is kept in the archive what was acknowledged.
    """

    members: dict[str, Membership] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    sent: int = 0
    last_acknowledged: int = 0
    retained: dict[int, Value] = field(default_factory=lambda: {0: Value()})
    archived: set[int] | None = None


@dataclass(slots=True)
class Finding:
    """Something that must not be, and how it came to be."""

    kind: str
    text: str
    timeline: list[str]

    def __str__(self) -> str:
        return "\n".join([f"{self.kind}: {self.text}", *self.timeline])


class Ledger:
    """
    :ivar findings: the first of each kind, with their timelines.
    :ivar counts: of all findings, by kind.
    :ivar tally: of what happened besides: sessions that ended, Wills that were withdrawn, messages that
        were over before they came.
    :ivar evidence: what else there is to say about a subject, such as what the broker's file has of it.
    :ivar sent_count: of all messages; each has the count at that time as its `serial`.
    :ivar newest_acknowledged: the highest serial that was acknowledged.
    """

    SHOWN_OF_A_KIND = 3  # a broker that forgets everything has thousands of the same

    def __init__(self, timeline: Timeline, seconds: Callable[[], float] = time.monotonic) -> None:
        self.timeline = timeline
        self.evidence: Callable[[Subject], list[str]] = lambda subject: []
        self._seconds = seconds
        self.topics: defaultdict[str, Topic] = defaultdict(Topic)
        self.findings: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.tally: Counter[str] = Counter()
        self.sent_count = 0
        self.newest_acknowledged = 0
        self.acknowledged_count = 0
        self.refused_count = 0
        self.delivered_count = 0
        self.repeated_count = 0  # deliveries of QoS 1 messages beyond the first: allowed
        self.may_refuse = False  # the disk may be full

    def found(self, kind: str, text: str, *subjects: Subject) -> None:
        """
        Note a finding.

        :param subjects: what its timeline is about, the most telling one first.
        """
        self.counts[kind] += 1
        if self.counts[kind] <= self.SHOWN_OF_A_KIND:
            said = [line for subject in subjects if subject for line in self.evidence(subject)]
            self.findings.append(Finding(kind, text, self.timeline.about(*subjects) + said))

    # Subscriptions

    def asked(self, client_id: str, topic: str) -> None:
        """SUBSCRIBE or UNSUBSCRIBE is about to be sent: until the answer, either may hold."""
        self._membership(client_id, topic).becomes(Standing.UNSURE)

    def answered(self, client_id: str, topic: str, subscribed: bool) -> None:
        """SUBACK or UNSUBACK came."""
        self._membership(client_id, topic).becomes(Standing.ON if subscribed else Standing.OFF)

    def session_lost(self, client_id: str) -> None:
        """The broker has forgotten an acknowledged session. What it was due is lost; it begins anew."""
        self.found("session", f"{client_id} is not known any more", client_id)
        for topic in self.topics.values():
            if client_id in topic.members:
                topic.members[client_id].becomes(Standing.OFF)

    def renews(self, client_id: str) -> None:
        """
        A CONNECT with Clean Start is about to be sent: nothing is due to this client any more, and nothing
        that was acknowledged up to now may come to it.
        """
        self.timeline.note(client_id, "begins a new session")
        for topic in self.topics.values():
            if client_id in topic.members:
                member = topic.members[client_id]
                member.becomes(Standing.UNSURE)
                member.missing.clear()
                member.beyond = topic.last_acknowledged

    def renewed(self, client_id: str) -> None:
        """Its CONNACK came."""
        self.tally["sessions ended"] += 1
        for topic in self.topics.values():
            if client_id in topic.members:
                topic.members[client_id].becomes(Standing.OFF)

    def session_over(self, client_id: str) -> None:
        """The broker has ended a session that was over, as it should: `renews` and `renewed` in one."""
        self.renews(client_id)
        self.renewed(client_id)

    def is_subscribed(self, client_id: str, topic: str) -> bool:
        """Whether that is certain."""
        return self._membership(client_id, topic).standing is Standing.ON

    def _membership(self, client_id: str, topic: str) -> Membership:
        members = self.topics[topic].members
        if client_id not in members:
            members[client_id] = Membership(client_id, topic)
        return members[client_id]

    # Messages

    def sent(self, name: str, retained: bytes | None = None, expires_s: int | None = None) -> int:
        """
        The next message of a topic is about to be sent.

        :param retained: its payload, if it is to be retained; empty to clear.
        :param expires_s: its Message Expiry Interval.
        :return: its number.
        """
        topic = self.topics[name]
        topic.sent += 1
        self.sent_count += 1
        lifetime = Lifetime(expires_s, self._seconds())
        epochs = [member.epoch for member in topic.members.values()]
        topic.messages[topic.sent] = Message(epochs, self.sent_count, lifetime)
        if retained is not None:
            topic.retained[topic.sent] = Value(retained, lifetime)
        self.timeline.note((name, topic.sent), "sent to %s, number %d", name, topic.sent)
        return topic.sent

    def acknowledged(self, key: Key) -> None:
        """PUBACK, PUBCOMP or 200 came, or a Will is due: the broker answers for this message from now on."""
        name, number = key
        topic = self.topics[name]
        message = topic.messages[number]
        if message.acknowledged:
            return
        message.acknowledged = True
        message.lifetime.acknowledged_at = self._seconds()
        self.newest_acknowledged = max(self.newest_acknowledged, message.serial)
        topic.last_acknowledged = max(topic.last_acknowledged, number)
        self.acknowledged_count += 1
        self.timeline.note(key, "acknowledged")
        if topic.archived is not None:
            topic.archived.add(number)
        if number in topic.retained:
            topic.retained = {at: value for at, value in topic.retained.items() if at >= number}
        # Whoever became a member since then (a dict keeps its order) has no epoch and is left out.
        for member, epoch in zip(topic.members.values(), message.epochs, strict=False):
            if member.epoch == epoch:
                self._settle_member(key, message, member)

    def withdrawn(self, key: Key) -> None:
        """A Will must not be published any more; it must not have been, either."""
        name, number = key
        message = self.topics[name].messages[number]
        message.withdrawn = True
        self.tally["withdrawn"] += 1
        self.topics[name].retained.pop(number, None)
        self.timeline.note(key, "withdrawn")
        for client_id in message.deliveries:
            self._uninvited(key, client_id)

    def refused(self, subject: Subject, why: str) -> None:
        """A publish or a request was answered with a failure. Whether it counts, nobody knows."""
        self.refused_count += 1
        if not self.may_refuse:
            self.found("broken", f"{subject} is refused: {why}", subject)

    def _settle_member(self, key: Key, message: Message, member: Membership) -> None:
        has_it = member.client_id in message.deliveries
        if member.standing is Standing.ON and not has_it:
            member.missing.add(key[1])
        elif member.standing is Standing.OFF:
            message.uninvited.add(member.client_id)
            if has_it:
                self._uninvited(key, member.client_id)

    def delivered(
        self, client_id: str, key: Key, qos: int, again: bool = False, left_s: int | None = None
    ) -> None:
        """
        A subscriber's application got a message.

        :param again: the broker says that it may have sent it before (DUP).
        :param left_s: what it says is left of the message's time.
        """
        name, number = key
        topic = self.topics[name]
        member = self._membership(client_id, name)
        self.delivered_count += 1
        self.timeline.note(key, "delivered to %s at QoS %d", client_id, qos)
        message = topic.messages.get(number)
        if 0 < number <= member.beyond:
            self._uninvited(key, client_id)
        if message is None:
            self._delivered_late(client_id, key, qos)
            return
        message.deliveries[client_id] += 1
        member.missing.discard(number)
        if message.deliveries[client_id] > 1:
            self._delivered_again(client_id, key, qos)
        elif number < member.newest and self._is_ordered(topic, message, member):
            self.found("order", f"{name} {number} after {member.newest}, {client_id}", key, client_id)
        if client_id in message.uninvited or message.withdrawn:
            self._uninvited(key, client_id)
        self._check_time(client_id, key, message.lifetime, again, left_s)
        member.newest = max(member.newest, number)

    def acknowledged_of(self, kind: str) -> int:
        """How many messages were acknowledged on topics whose names begin or end so."""
        return sum(
            topic.last_acknowledged
            for name, topic in self.topics.items()
            if name.startswith(kind) or name.endswith(kind)
        )

    def _is_ordered(self, topic: Topic, message: Message, member: Membership) -> bool:
        """
        Whether a message must come to somebody before the later ones. What its publisher sends again may come
        after what was sent in between, if the first one is not due: to who subscribed only then, or since its
        time is over, which begins anew with the second.
        """
        if member.client_id.startswith(GROUP) or message.lifetime.may_be_over(self._seconds()):
            return False
        place = list(topic.members.values()).index(member)
        return place < len(message.epochs) and message.epochs[place] == member.epoch

    def _check_time(
        self, client_id: str, key: Key, lifetime: Lifetime, again: bool, left_s: int | None
    ) -> None:
        if self.may_refuse:  # what was about to be sent has waited until it could be written
            return
        now = self._seconds()
        if lifetime.must_be_over(now) and not again:
            self.found("expired", f"{key[0]} {key[1]} to {client_id} after its time", key, client_id)
        if left_s is not None and not lifetime.allows(left_s, now):
            text = f"{key[0]} {key[1]} to {client_id}: {left_s} s of {lifetime.seconds} s left"
            self.found("expired", text, key, client_id)

    def _delivered_late(self, client_id: str, key: Key, qos: int) -> None:
        name, number = key
        if number in self._membership(client_id, name).over and not self.may_refuse:
            self.found("expired", f"{name} {number} to {client_id} after its time", key, client_id)
        elif 0 < number <= self.topics[name].sent:
            self._delivered_again(client_id, key, qos)
        else:
            self.found("damaged", f"{name} {number}, which nobody sent, to {client_id}", key, client_id)

    def _delivered_again(self, client_id: str, key: Key, qos: int) -> None:
        if qos == 2:
            self.found("duplicate", f"{key[0]} {key[1]} to {client_id} at QoS 2", key, client_id)
        else:
            self.repeated_count += 1

    def _uninvited(self, key: Key, client_id: str) -> None:
        self.found("uninvited", f"{key[0]} {key[1]} to {client_id}", key, client_id)

    def retained_values(self, values: dict[str, bytes]) -> None:
        """
        Somebody subscribed anew and got these retained messages.

        :param values: by topic name; whatever is not there has none.
        """
        now = self._seconds()
        for name, topic in self.topics.items():
            value = values.get(name, b"")
            if not any(may_be.allows(value, now) for may_be in topic.retained.values()):
                allowed = ", ".join(f"{at}: {may_be.payload[:40]!r}" for at, may_be in topic.retained.items())
                text = f"{name} is {value[:40]!r}; may be {allowed}"
                self.found("retained", text, (name, next(iter(topic.retained))))

    # The archive

    def archives(self, name: str) -> None:
        """From now on, all that is acknowledged on this topic must be in the archive."""
        self.topics[name].archived = set()

    def archive_has(self, name: str, numbers: list[int]) -> None:
        """
        Somebody has read what the archive has of a topic, whose messages are pushed, or published at QoS 2.

        What was sent and not acknowledged may be there, in its place.
        """
        self.tally["read in the archive"] += len(numbers)
        for number in sorted((self.topics[name].archived or set()) - set(numbers)):
            self.found("lost", f"{name} {number} in the archive", (name, number))
        for before, number in pairwise(numbers):
            if number <= before:
                kind = "duplicate" if number == before else "order"
                self.found(kind, f"{name} {number} after {before} in the archive", (name, number))
        for number in numbers:
            if not 0 < number <= self.topics[name].sent:
                self.found("damaged", f"{name} {number}, which nobody sent, in the archive", (name, number))

    # Settling

    @property
    def is_missing(self) -> bool:
        """Whether anything is due that has not come."""
        now = self._seconds()
        return any(
            not topic.messages[number].lifetime.may_be_over(now)
            for topic in self.topics.values()
            for member in topic.members.values()
            for number in member.missing
        )

    def is_awaited(self, key: Key) -> bool:
        """Whether this message, which was acknowledged, is due to anybody who has not got it."""
        name, number = key
        return any(number in member.missing for member in self.topics[name].members.values())

    def settle(self) -> None:
        """All that can come has come. What is missing is lost; of the rest only the numbers are kept."""
        for name, topic in self.topics.items():
            for member in topic.members.values():
                for number in sorted(member.missing):
                    self._settle_missing((name, number), topic, member)
                member.missing.clear()
            # The rest may still be acknowledged: Wills of clients that are there.
            topic.messages = {at: one for at, one in topic.messages.items() if not one.acknowledged}

    def _settle_missing(self, key: Key, topic: Topic, member: Membership) -> None:
        if topic.messages[key[1]].lifetime.may_be_over(self._seconds()):
            self.tally["over"] += 1
            member.over.add(key[1])
        else:
            self.found("lost", f"{key[0]} {key[1]} for {member.client_id}", key, member.client_id)
