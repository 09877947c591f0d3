"""
What must survive, as an ordered journal of small records.

Every persistent session numbers the messages that are queued for it (`sequence`, from 1, without gaps), so
that a store can speak of one of them without comparing anything. Only sessions that outlive their connection
are recorded; retained messages always are, and so is every Will: a crash is no reason to forget that a client
is gone, and one without a session has nobody else to tell it.

Times (`Message.expires_at`, `SessionLeft.at`, `MessageScheduled.due_at`) are in the broker's seconds. What
those count from may be different for every process: a store gives back what they are for the one that asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from pushd.broker.message import Message
from pushd.broker.outline import Outline
from pushd.mqtt.packets import SubscriptionRequest
from pushd.mqtt.packets import Will as WillFields


@dataclass(slots=True)
class SessionOpened:
    """A session began, or one that was kept has a client again; `expiry_s` counts from when that leaves."""

    client_id: str
    username: str | None
    expiry_s: float | None  # None: never
    listener: str | None = None  # the name of its policy


@dataclass(slots=True)
class SessionLeft:
    """Its client left: the time until it expires, or until its Will is sent, has begun."""

    client_id: str
    at: float


@dataclass(slots=True)
class SessionEnded:
    """A session is over, and all that was recorded of it."""

    client_id: str


@dataclass(slots=True)
class SubscriptionAdded:
    """In place of the same session's subscription to the same filter, if there was one."""

    client_id: str
    request: SubscriptionRequest
    identifier: int = 0  # the Subscription Identifier; 0 for none
    automatic: bool = False  # made by the server, which may take it away again


@dataclass(slots=True)
class SubscriptionRemoved:
    """If it was given up, that is forgotten, too."""

    client_id: str
    filter: str


@dataclass(slots=True)
class SubscriptionGivenUp:
    """The client does not want what the server has subscribed it to: not again, as long as the session is."""

    client_id: str
    filter: str


@dataclass(slots=True)
class MessageQueued:
    """
    A message waits for the session: with the next number, or in the place of one that was dropped from the
    middle of the queue just before, with that one's number (`pushd.broker.collapse`).
    """

    client_id: str
    sequence: int
    message: Message


@dataclass(slots=True)
class MessageDropped:
    """A queued message will never be sent."""

    client_id: str
    sequence: int


@dataclass(slots=True)
class PacketIdAssigned:
    """A queued message is about to be sent under this packet identifier."""

    client_id: str
    sequence: int
    packet_id: int


@dataclass(slots=True)
class MessageSent:
    """A message is about to be sent under this packet identifier, without having been queued."""

    client_id: str
    packet_id: int
    message: Message


@dataclass(slots=True)
class MessageReleased:
    """PUBREC came: from now on PUBREL is sent again, never the PUBLISH (v5 [MQTT-4.3.3-5])."""

    client_id: str
    packet_id: int


@dataclass(slots=True)
class MessageAcknowledged:
    """PUBACK, PUBCOMP or a failing PUBREC came: the packet identifier is free again."""

    client_id: str
    packet_id: int


@dataclass(slots=True)
class PacketIdReceived:
    """A QoS 2 PUBLISH of the client arrived and was passed on (v5 §4.3.3)."""

    client_id: str
    packet_id: int


@dataclass(slots=True)
class PacketIdReleased:
    """Its PUBREL came: the same packet identifier is a new message from now on."""

    client_id: str
    packet_id: int


@dataclass(slots=True)
class RetainedSet:
    message: Message


@dataclass(slots=True)
class RetainedCleared:
    topic: str


@dataclass(slots=True)
class MessageScheduled:
    """A message is to be published later."""

    id: str  # nobody else's
    due_at: float
    message: Message


@dataclass(slots=True)
class ScheduleEnded:
    """A scheduled message was published, or will not be."""

    id: str


@dataclass(slots=True)
class WillSet:
    """A client came with a Will, in place of any that was recorded before. It may have no session to keep."""

    client_id: str
    username: str | None
    fields: WillFields  # the topic name with its mount point


@dataclass(slots=True)
class WillCleared:
    """The client's Will was sent, or will not be."""

    client_id: str


@dataclass(slots=True)
class Kept:
    """
    Something that was said on a topic, as the archive has it (`pushd.broker.archive`).

    :ivar number: its place in the order of all that was ever kept, from 1.
    :ivar id: 12 of ``[A-Za-z0-9]``. One push may be kept more than once, by its topics.
    :ivar at: Unix seconds; never less than that of what was kept before.
    :ivar until: Unix seconds; from then on it is not there any more.
    :ivar event: ``message``; what somebody wants done with earlier ones, ``message_clear`` or
        ``message_delete``; or ``poll_request``, for a message that is elsewhere.
    """

    number: int
    id: str
    at: int
    until: int
    message: Message
    event: str = "message"

    @property
    def minute(self) -> int:
        """When that many minutes are over (since 1970), so is it."""
        return -(-self.until // 60)


class Amount(NamedTuple):
    """How much of the archive."""

    messages: int
    payload_bytes: int


def amounts(archive: Iterable[Kept]) -> dict[int, Amount]:
    """How much there is, by `Kept.minute`."""
    found: dict[int, Amount] = {}
    for kept in archive:
        messages, size = found.get(kept.minute, (0, 0))
        found[kept.minute] = Amount(messages + 1, size + len(kept.message.payload))
    return found


@dataclass(slots=True)
class MessageKept:
    """The archive has one more."""

    kept: Kept


@dataclass(slots=True)
class KeptForgotten:
    """It has one less, before its time."""

    number: int


@dataclass(slots=True)
class KeptExpired:
    """All are forgotten whose `until` is not later than this."""

    now: int  # Unix seconds


@dataclass(slots=True)
class Note:
    """
    A small fact that must survive and is nobody's business but that of who wrote it; see
    `pushd.broker.notes`.

    :ivar until: Unix seconds; from then on it does not count any more, and whoever wrote it clears it.
    """

    kind: str
    key: str
    value: bytes
    until: int


@dataclass(slots=True)
class NoteSet:
    """In place of the one of the same kind and key, if there was one."""

    note: Note


@dataclass(slots=True)
class NoteCleared:
    kind: str
    key: str


Record: TypeAlias = (
    "SessionOpened | SessionLeft | SessionEnded"
    " | SubscriptionAdded | SubscriptionRemoved | SubscriptionGivenUp"
    " | MessageQueued | MessageDropped | PacketIdAssigned | MessageSent | MessageReleased"
    " | MessageAcknowledged"
    " | PacketIdReceived | PacketIdReleased | RetainedSet | RetainedCleared"
    " | MessageScheduled | ScheduleEnded | WillSet | WillCleared"
    " | MessageKept | KeptForgotten | KeptExpired | NoteSet | NoteCleared"
)


@dataclass(slots=True)
class SavedSession:
    """A persistent session as a store gives it back at the start: without its messages."""

    client_id: str
    username: str | None
    expiry_s: float | None
    subscriptions: dict[str, SubscriptionAdded] = field(default_factory=dict)  # by filter
    left_at: float | None = None  # None: its client was there to the end
    listener: str | None = None  # that its client came through last; None: not known
    given_up: set[str] = field(default_factory=set)  # filters
    queued: Outline = field(default_factory=Outline)
    last_sequence: int = 0  # of what is queued; 0 if nothing is
    places: dict[tuple[str, str], int] = field(default_factory=dict)  # by topic and collapse key: a sequence
    inflight_count: int = 0
    has_received: bool = False  # whether a QoS 2 PUBLISH of its client awaits PUBREL


@dataclass(slots=True)
class SavedMessages:
    """The messages of one session: see `IStore.load_messages`."""

    queued: dict[int, Message] = field(default_factory=dict)  # by sequence, in its order
    inflight: dict[int, Message | None] = field(default_factory=dict)  # by packet id; None: released
    received: set[int] = field(default_factory=set)  # packet ids


@dataclass(slots=True)
class SavedState:
    """What a store remembers at the start."""

    sessions: dict[str, SavedSession] = field(default_factory=dict)
    retained: dict[str, Message] = field(default_factory=dict)
    wills: dict[str, WillSet] = field(default_factory=dict)  # by client id
    scheduled: dict[str, MessageScheduled] = field(default_factory=dict)  # by id
    last_kept: int = 0  # the highest number that the archive has; the next one is higher
    last_kept_at: int = 0  # its time
    kept_by_minute: dict[int, Amount] = field(default_factory=dict)  # how much there is, by `Kept.minute`
    notes: dict[tuple[str, str], Note] = field(default_factory=dict)  # by kind and key


@dataclass(frozen=True, slots=True)
class KeptQuery:
    """
    What is wanted of the archive.

    :ivar topics: names, mount point included: on any of these; empty: on any at all.
    :ivar after: only what has a higher number.
    :ivar since: Unix seconds; only what was said then or later.
    :ivar latest: only the last of each of these topics.
    :ivar limit: at most so many, or as many as are not too large together: the first ones.
    """

    topics: tuple[str, ...]
    after: int = 0
    since: int = 0
    latest: bool = False
    limit: int = 1000

    def wants(self, kept: Kept) -> bool:
        """Whether something is of these topics, and new enough."""
        on_topic = not self.topics or kept.message.topic in self.topics
        return on_topic and kept.number > self.after and kept.at >= self.since
