"""
Shared subscriptions: each message goes to one member of a group (v5 §4.8.2).

A group stands in the trie like a session with one subscription. Members take turns; who is online and keeps
up goes before who is not. What a member leaves behind unacknowledged when it goes is given to another that is
online; if there is none it waits for that member, until its session ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pushd.broker.message import Message
from pushd.mqtt.topics import SHARE_PREFIX

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.session import Session, Subscription


def shared_filter(group: str | None, filter: str) -> str:
    """``$share/GROUP/FILTER``, or the filter itself without a group; `split_shared` takes it apart."""
    return filter if group is None else f"{SHARE_PREFIX}{group}/{filter}"


class SharedGroup:
    """
    The members of ``$share/NAME/FILTER``.

    :ivar subscription: the group's own, which stands in the trie.
    :ivar client: always ``None``: a group is never sent bytes as they came in.
    """

    __slots__ = ("_broker", "_members", "_turns", "name", "subscription")

    client = None
    subscription: Subscription

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker = broker
        self.name = name
        self._members: dict[Session, Subscription] = {}
        self._turns: deque[Session] = deque()

    def __repr__(self) -> str:
        return f"<SharedGroup {self.name!r} of {len(self._members)}>"

    def __len__(self) -> int:
        return len(self._members)

    def join(self, session: Session, subscription: Subscription) -> None:
        """Add a member, or change what it subscribed with."""
        if session not in self._members:
            self._turns.append(session)
            self._broker.router.count_subscriber(subscription, 1)
        self._members[session] = subscription

    def leave(self, session: Session) -> None:
        """Remove a member; one that is none is no error."""
        subscription = self._members.pop(session, None)
        if subscription is not None:
            self._turns.remove(session)
            self._broker.router.count_subscriber(subscription, -1)

    def deliver(self, message: Message) -> None:
        """Give a message to the member whose turn it is."""
        member = self._next_member(message.topic)
        if member is None:
            self._broker.counters.dropped("no_group_member", topic=message.topic)
            return
        subscription = self._members[member]
        retain = message.retain and subscription.retain_as_published
        ids = (subscription.identifier,) if subscription.identifier else ()
        qos = self._broker.limits.delivery_qos(message.qos, subscription.qos)
        member.deliver(message.share(self, qos, retain, ids))

    def has_place(self, size: int) -> bool:
        """Whether any member can queue a payload of `size` bytes."""
        return not self._members or any(member.has_place(size) for member in self._members)

    def has_other_online(self, session: Session) -> bool:
        """Whether any member but this one has a client."""
        return any(member.client is not None for member in self._members if member is not session)

    def take_back(self, message: Message) -> None:
        """A member left before it acknowledged this message, which `deliver` gave to it."""
        if self._members:
            assert message.shared is not None  # it came from here
            self.deliver(message.shared[1])
        else:
            self._broker.counters.dropped("no_group_member", topic=message.topic)

    def _next_member(self, topic: str) -> Session | None:
        """Who may read it and is online and has room; else who is online; else who keeps a session."""
        second = third = None
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            member = self._turns[-1]
            if not self._broker.may_read(member, topic):
                continue
            if member.has_room:
                return member
            if member.client is not None:
                second = second or member
            else:
                third = third or member
        chosen = second or third
        if chosen is not None:
            self._turns.remove(chosen)
            self._turns.append(chosen)
        return chosen
