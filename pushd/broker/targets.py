"""
Whom a push is for, and handing it to them.

**Topics.** Each is published to as by anybody: its subscribers get it, routing rules hold, it is retained if
that is wanted.

**Wildcards.** A topic with a wildcard stands for the subscriptions that it covers: those whose every topic
name it matches. Each of them gives a topic name that is published to; the same name is published to once. The
name of a subscription without a wildcard is its filter. In one with wildcards each ``+`` becomes an empty
level and ``/#`` is left out; of a name that would be empty, ``-`` is left, and of ``/#``, ``/``::

    topic           subscriptions there are                 published to
    alerts/#        alerts, alerts/fire, alerts/+/de, #     alerts, alerts/fire, alerts//de
    alerts/+        alerts/fire, alerts/fire/de, alerts/#   alerts/fire
    +               door, +                                 door, -

What the caller may not publish to is left out, too, so nobody learns of it. A session gets one copy for each
name that one of its subscriptions matches, covered or not: they are ordinary publishes.

**Users, clients, all.** The message goes right into those sessions, under the publication's own topic and at
its QoS, and needs no subscription. The caller must be allowed to publish to that topic, and each session to
read it. A session that a topic of the same push has reached already is not given a second copy. Who came by a
listener with a mount point of its own sees the topic below that, and can be reached by callers whose mount
point that is below.

However many they are, the answer comes when all of it is durable. A push to so many that it takes more than
one turn of the reactor is recorded as it goes: when the process ends in the middle, nobody was told that it
had been accepted, and whoever sends it again sends it to some for the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pushd.broker.message import Message
from pushd.broker.receipts import Headcount
from pushd.broker.trie import is_exact
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import is_valid_filter

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.hooks import Decision
    from pushd.broker.interfaces import Principal
    from pushd.broker.policy import Policy
    from pushd.broker.publication import Publication
    from pushd.broker.session import Session

# What one push takes of a turn of the reactor before others are served.
SLICE_S = 0.003

# To how many topic names one push is published at most; whoever means more sessions than that says ``all``.
MAX_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class Targets:
    """
    :ivar topics: topic names, or filters with wildcards; without the listener's mount point.
    :ivar users: user names: each session of theirs.
    :ivar clients: client ids.
    :ivar all: every session there is.
    """

    topics: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    all: bool = False

    @property
    def direct(self) -> bool:
        """Whether anybody is addressed who need not have subscribed."""
        return bool(self.users or self.clients or self.all)


@dataclass(slots=True)
class Outcome:
    """
    What became of a push. Where `code` is a failure, nobody has got it.

    :ivar code: ``SUCCESS``; ``NO_MATCHING_SUBSCRIBERS`` if it reached nobody; or why it was refused: as
        `Broker.publish` says. ``QUOTA_EXCEEDED`` is also for the full queue of the one session that it was
        for, for a receipt of more devices than there is room for, and for too many topic names.
    :ivar sessions: how many it was handed to, whether they took it or not; those who listen without being an
        MQTT client are none.
    :ivar sent: copies that were sent at once,
    :ivar queued: that wait for their session,
    :ivar refused: and that sessions did not take, by reason (`pushd.broker.receipts.Device.reason`).
    """

    code: ReasonCode
    sessions: int = 0
    sent: int = 0
    queued: int = 0
    refused: dict[str, int] | None = None


def push(
    broker: Broker,
    policy: Policy,
    principal: Principal,
    publication: Publication,
    targets: Targets,
    taken: Callable[[Outcome], object] = lambda outcome: None,
) -> Deferred[Outcome]:
    """
    Hand a push out. It has a mark; if that wants a receipt, `broker.receipts` has it under the mark's id from
    now on, unless the push is refused.

    :param policy: that of the caller's listener.
    :param publication: its topic is that of what goes to users, clients and all; `targets` has the others.
    :param taken: called when it was handed to the last of them, in the turn in which that is recorded: what
        is recorded there becomes durable together with it. Not if it is refused.
    :return: fires when all that must survive of it is durable.
    """
    return Deferred.fromCoroutine(_Push(broker, policy, principal, publication, targets, taken).run())


def covers(filter: str, other: str) -> bool:
    """Whether a topic filter matches every topic name that another one matches."""
    levels, others = filter.split("/"), other.split("/")
    if others[0].startswith("$") and levels[0] in ("+", "#"):
        return False  # v5 [MQTT-4.7.2-1]
    for at, level in enumerate(levels):
        if level == "#":
            return True
        if at == len(others) or others[at] == "#" or level not in ("+", others[at]):
            return False
    return len(levels) == len(others)


def name_for(filter: str) -> str:
    """A topic name that a filter without mount point matches: see **Wildcards** above."""
    if is_exact(filter):
        return filter
    levels = filter.split("/")
    if levels[-1] == "#":
        levels.pop()
    name = "/".join("" if level == "+" else level for level in levels)
    return name or ("/" if filter.startswith("/") else "-")


class _Refused(Exception):
    """The push is: `code` says why."""

    def __init__(self, code: ReasonCode) -> None:
        super().__init__(code)
        self.code = code


class _Push:
    """One push on its way to everybody that it is for."""

    def __init__(
        self,
        broker: Broker,
        policy: Policy,
        principal: Principal,
        publication: Publication,
        targets: Targets,
        taken: Callable[[Outcome], object],
    ) -> None:
        assert publication.mark is not None  # nothing else tells its messages from others
        self._broker = broker
        self._policy = policy
        self._principal = principal
        self._publication = publication
        self._mark = publication.mark
        self._targets = targets
        self._taken = taken
        self._headcount = Headcount(self._mark.id)
        self._own: dict[str, Message | None] = {}  # what goes right into sessions, by their mount point
        self._slice_end = broker.wheel.seconds() + SLICE_S

    async def run(self) -> Outcome:
        try:
            messages = [await self._allowed(topic) for topic in self._targets.topics if is_exact(topic)]
            messages += await self._expanded()
            sessions = await self._sessions() if self._targets.direct else []
            self._check_room(messages, sessions)
            await self._hand_out(messages, sessions)
            self._check_only_one(messages, sessions)
        except _Refused as refusal:
            return Outcome(refusal.code)
        self._broker.receipts.settle(self._mark.id)
        if self._publication.taken is not None:
            self._publication.taken()
        self._taken(self._outcome())
        if self._broker.store.pending and self._matters:
            await self._broker.store.barrier()
        return self._outcome()

    @property
    def _matters(self) -> bool:
        publication = self._publication
        kept = self._mark.keep_s > 0 or self._mark.receipt or publication.taken is not None
        return publication.qos > 0 or publication.retain or kept

    def _outcome(self) -> Outcome:
        count = self._headcount
        reached = len(count.reached)
        code = ReasonCode.SUCCESS if reached else ReasonCode.NO_MATCHING_SUBSCRIBERS
        return Outcome(code, reached, count.sent, count.queued, dict(count.refused))

    # What is published

    async def _allowed(self, topic: str) -> Message:
        decision = await self._judge(self._policy.mount_point, topic)
        if isinstance(decision, Message):
            return decision
        raise _Refused(decision)

    async def _judge(self, mount_point: str, topic: str) -> Decision:
        """Whether the caller may publish to this topic, and what becomes of the message by plugins."""
        publication = replace(self._publication, topic=topic)
        message = publication.message(mount_point, self._broker.wheel.seconds())
        decision = await self._broker.judge(self._policy, self._principal, message)
        if isinstance(decision, Message):
            decision.push = self._mark  # a plugin may have made another message of it
        return decision

    async def _expanded(self) -> list[Message]:
        """The messages for topics with wildcards, but for those that the caller may not publish."""
        messages = []
        for topic in await self._names():
            decision = await self._judge(self._policy.mount_point, topic)
            await self._breathe()
            if isinstance(decision, Message):
                messages.append(decision)
        return messages

    async def _names(self) -> Iterable[str]:
        """The topic names that topics with wildcards stand for."""
        mount_point = self._policy.mount_point
        wanted = [mount_point + topic for topic in self._targets.topics if not is_exact(topic)]
        if not all(map(is_valid_filter, wanted)) or (wanted and self._publication.retain):
            raise _Refused(ReasonCode.TOPIC_NAME_INVALID)
        names: dict[str, None] = {}
        for filter in self._broker.router.subscriptions.filters() if wanted else ():
            if any(covers(each, filter) for each in wanted):
                names[name_for(filter[len(mount_point) :])] = None
                if len(names) > MAX_NAMES:
                    raise _Refused(ReasonCode.QUOTA_EXCEEDED)
            await self._breathe()
        return names

    # Who is handed it without having subscribed

    async def _sessions(self) -> list[Session]:
        """Who is addressed. What they are to get is in `_own` then."""
        await self._allowed(self._publication.topic)
        if self._targets.all:
            sessions = list(self._broker.sessions.values())
        else:
            sessions = list(dict.fromkeys(self._addressed()))
        for session in sessions:
            mount_point = session.policy.mount_point
            if mount_point not in self._own:
                self._own[mount_point] = await self._message_for(mount_point)
            await self._breathe()
        return sessions

    def _addressed(self) -> Iterator[Session]:
        for client_id in self._targets.clients:
            if (session := self._broker.sessions.get(client_id)) is not None:
                yield session
        for username in self._targets.users:
            yield from self._broker.by_user.of(username)

    async def _message_for(self, mount_point: str) -> Message | None:
        """What sessions with this mount point are given."""
        if not mount_point.startswith(self._policy.mount_point):
            return None
        decision = await self._judge(mount_point, self._publication.topic)
        return decision if isinstance(decision, Message) else None

    # Handing out

    def _check_room(self, messages: list[Message], sessions: list[Session]) -> None:
        """Everybody is to get it, or nobody. Opens the receipt."""
        broker = self._broker
        if self._matters and broker.store.failing is not None:
            raise _Refused(ReasonCode.QUOTA_EXCEEDED)
        for message in messages:
            matters = message.qos > 0 or message.retain
            if matters and not (
                broker.has_place(message, self._principal) and broker.can_retain(message, self._principal)
            ):
                raise _Refused(ReasonCode.QUOTA_EXCEEDED)
        if self._mark.receipt:
            subscribers = sum(len(broker.router.route(each.topic).targets) for each in messages)
            if not broker.receipts.has_room(len(sessions) + subscribers):
                raise _Refused(ReasonCode.QUOTA_EXCEEDED)
            owner = self._principal.username or ""
            broker.receipts.open(self._mark.id, owner, expiry_s=self._publication.expiry_s)

    async def _hand_out(self, messages: list[Message], sessions: list[Session]) -> None:
        for message in messages:
            informed = self._broker.inform_rules(message, self._principal)
            if isinstance(informed, Deferred):
                await informed
            await self._breathe()  # before, not behind: whoever is told of the last is told in its turn
            self._publish(message)
        if (own := self._own.get(self._policy.mount_point)) is not None:
            self._count_published(own)
        for session in sessions:
            await self._breathe()
            self._give(session)

    def _publish(self, message: Message) -> None:
        self._count_published(message)
        self._broker.receipts.headcount = self._headcount
        try:
            self._broker.publish_message(message, self._principal)
        finally:
            self._broker.receipts.headcount = None

    def _count_published(self, message: Message) -> None:
        self._broker.counters.publish_received += 1
        self._broker.counters.publish_bytes_received += len(message.payload)

    def _give(self, session: Session) -> None:
        """Put the message into a session, unless that is over or has it already."""
        message = self._own.get(session.policy.mount_point)
        if message is None or self._broker.sessions.get(session.client_id) is not session:
            return
        if session.client_id in self._headcount.reached:
            return
        receipts = self._broker.receipts
        receipts.headcount = self._headcount
        try:
            if self._broker.may_read(session, message.topic):
                session.deliver(message)
            else:
                receipts.refused(session, message, "not_authorized")
        finally:
            receipts.headcount = None

    def _check_only_one(self, messages: list[Message], sessions: list[Session]) -> None:
        """Whoever pushes to one session wants to know that it could not take it."""
        if not messages and len(sessions) == 1 and self._headcount.refused["queue_full"]:
            self._broker.receipts.forget(self._mark.id)
            raise _Refused(ReasonCode.QUOTA_EXCEEDED)

    async def _breathe(self) -> None:
        """Let others be served when this has taken its share of a turn."""
        if self._broker.wheel.seconds() < self._slice_end:
            return
        later: Deferred[None] = Deferred()
        self._broker.soon(lambda: later.callback(None))
        await later
        self._slice_end = self._broker.wheel.seconds() + SLICE_S


class SessionsByUser:
    """
    The sessions of each user. Most users have one, and no set of their own for it.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, Session | set[Session]] = {}

    def add(self, session: Session) -> None:
        """A session is there; once more does no harm. Those of nobody are not listed."""
        if session.username is None:
            return
        there = self._sessions.setdefault(session.username, session)
        if isinstance(there, set):
            there.add(session)
        elif there is not session:
            self._sessions[session.username] = {there, session}

    def put(self, session: Session, username: str | None) -> None:
        """Make a session this user's, and nobody else's any more."""
        if session.username != username:
            self.remove(session)
            session.username = username
        self.add(session)

    def remove(self, session: Session) -> None:
        """It is not, or is about to be another user's. One that is not listed is no error."""
        there = self._sessions.get(session.username or "")
        if there is session:
            del self._sessions[session.username or ""]
        elif isinstance(there, set):
            there.discard(session)
            if not there:
                del self._sessions[session.username or ""]

    def of(self, username: str) -> list[Session]:
        """All sessions of a user."""
        there = self._sessions.get(username, ())
        return list(there) if isinstance(there, (set, tuple)) else [there]
