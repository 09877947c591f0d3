"""
From a topic name to those who get the message.

Finding them (the trie, the overlap of one session's subscriptions, the access rules of each) is done once per
topic name and kept as a `Route`. A change of a subscription, of an access rule, or of who is online makes the
routes that it could concern stale; a stale route is built again when it is next needed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pushd.broker.message import Message
from pushd.broker.shared import SharedGroup
from pushd.broker.subscriber_counts import SubscriberCounts
from pushd.broker.tally import Counts
from pushd.broker.topic_map import TopicMap
from pushd.broker.trie import SubscriptionTrie, is_exact

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.client import Client
    from pushd.broker.interfaces import Principal
    from pushd.broker.session import Session, Subscription
    from pushd.broker.tap import Taker, Tap


class Target(NamedTuple):
    """
    One session that gets the messages of a route: one copy at the highest QoS of its subscriptions that match
    and with the identifiers of all; or, by ``allow_duplicate_messages true``, a copy for each of them, at its
    own QoS and with its own identifier. The standard allows both (v5 [MQTT-3.3.4-2] to
    [MQTT-3.3.4-5]). Or one shared group, or one tap.

    `least_qos` is for ``upgrade_outgoing_qos``: `qos` again with it, else 0.
    """

    session: Taker
    qos: int
    retain_as_published: bool
    no_local: bool
    subscription_ids: tuple[int, ...]
    least_qos: int = 0


class Relay(NamedTuple):
    """
    How a QoS 0 PUBLISH of one protocol version is passed on: to `takers` as the bytes that came in,
    to `others` as a message.
    """

    takers: tuple[Client, ...]
    others: tuple[Target, ...]


NOBODY = Relay((), ())


class Route:
    """
    Where publications on one topic name go, and how many went there since somebody took these figures.

    :ivar fresh: cleared when something changed that could concern it; who finds it cleared asks the router.
    :ivar name: the topic name as it stands in a PUBLISH: two bytes of length, then UTF-8.
    :ivar ruled: whether each message is looked at: routing rules concern the topic, so that `targets` are not
        all that there is to it (`pushd.broker.forwarding`), or the archive does.
    """

    __slots__ = (
        "fan_out", "fresh", "left_out", "messages", "name", "payload_bytes", "relay_v3", "relay_v5", "ruled",
        "targets", "topic",
    )  # fmt: skip

    def __init__(self, topic: str, targets: tuple[Target, ...], ruled: bool = False) -> None:
        encoded = topic.encode()
        self.topic = topic
        self.ruled = ruled
        self.name = len(encoded).to_bytes(2, "big") + encoded
        self.targets = targets
        self.relay_v3 = _relay(targets, v5=False)
        self.relay_v5 = _relay(targets, v5=True)
        self.fresh = True
        self.fan_out = len(targets)
        self.messages = 0
        self.payload_bytes = 0
        self.left_out = 0

    def retire(self) -> None:
        """
        Something changed that could concern it. Its publishers may keep it until they publish again, so it
        lets go of all the sessions that it led to.
        """
        self.fresh = False
        self.targets = ()
        self.relay_v3 = self.relay_v5 = NOBODY

    def take(self) -> Counts:
        """What was counted since the last time."""
        messages, payload_bytes, left_out = self.messages, self.payload_bytes, self.left_out
        self.messages = self.payload_bytes = self.left_out = 0
        return Counts(self.topic, messages, payload_bytes, messages * self.fan_out - left_out)

    def publish(self, message: Message, publisher: Principal | None = None) -> None:
        """Give a message to every target, at the lower of its own QoS and the subscription's (v5 §3.8.4)."""
        self.messages += 1
        self.payload_bytes += len(message.payload)
        self.publish_to(self.targets, message, publisher)

    def publish_in_part(
        self, targets: tuple[Target, ...], message: Message, publisher: Principal | None
    ) -> None:
        """The same for some of the targets, when the others get it by another route."""
        self.messages += 1
        self.payload_bytes += len(message.payload)
        self.left_out += self.fan_out - len(targets)
        self.publish_to(targets, message, publisher)

    def publish_to(self, targets: tuple[Target, ...], message: Message, publisher: Principal | None) -> None:
        """Give a message to some of the targets; whoever calls this has counted it."""
        qos, retain = message.qos, message.retain
        for session, granted, as_published, no_local, ids, least in targets:
            if no_local and session is publisher:
                self.left_out += 1
                continue  # v5 [MQTT-3.8.3-3]
            if granted >= qos >= least and not retain and not ids:
                session.deliver(message)
            else:
                session.deliver(message.variant(max(least, min(granted, qos)), retain and as_published, ids))


def _relay(targets: tuple[Target, ...], *, v5: bool) -> Relay:
    takers: list[Client] = []
    others: list[Target] = []
    several = _getting_several(targets)
    for target in targets:
        client = target.session.client
        as_it_came = not (target.no_local or target.subscription_ids or target.least_qos)
        # A run of packets is passed on in one piece; twice, its first message would come after its last.
        as_it_came = as_it_came and target.session not in several
        if client is not None and as_it_came and client.takes_bytes_of(v5):
            takers.append(client)
        else:
            others.append(target)
    return Relay(tuple(takers), tuple(others))


def _getting_several(targets: tuple[Target, ...]) -> set[Taker]:
    """Sessions that get more than one copy of each message: most often nobody, which is soon found out."""
    if len(targets) < 2 or len({target.session for target in targets}) == len(targets):
        return set()
    counts = Counter(target.session for target in targets)
    return {session for session, count in counts.items() if count > 1}


class Router:
    """
    Owns the subscriptions and the cached routes.

    :ivar subscriber_counts: how many there are by filter, if somebody wants to know.
    :ivar subscriptions: changed through `subscribe` and `unsubscribe` only, which keep the routes right.
    """

    # Each takes about 700 bytes without its subscribers. When there are more topics than this in use at
    # once, all are dropped: a list of what was used last would cost every message.
    MAX_ROUTES = 50_000

    # To find the routes that a filter concerns, others are looked at in vain. When that was done so many
    # times for each route that was built, all are dropped instead: looking costs at most a fraction of
    # building, whatever filters are subscribed, and where there are no routes it costs nothing.
    LOOKS_PER_ROUTE = 2

    # Nor is one change worth more than this: to look at 50 000 routes takes longer than to drop them.
    LOOKS_AT_ONCE = 4000

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.subscriptions = SubscriptionTrie()
        self.subscriber_counts: SubscriberCounts | None = None
        self._routes: TopicMap[Route] = TopicMap()
        self._looks_left = 0

    def route(self, topic: str) -> Route:
        """The route of a valid topic name, from the cache or built now."""
        route = self._routes.get(topic)
        if route is None:
            if len(self._routes) >= self.MAX_ROUTES:
                self.forget_routes()
            route = Route(topic, self._targets(topic), self._ruled(topic))
            self._routes.set(topic, route)
            self._looks_left += self.LOOKS_PER_ROUTE
        return route

    def _ruled(self, topic: str) -> bool:
        rules = self._broker.routing
        return (rules is not None and rules.concern(topic)) or self._broker.archive.concerns(topic)

    def subscribe(self, subscription: Subscription) -> None:
        """From now on, matching messages go to this subscription, too."""
        count = len(self.subscriptions)
        self.subscriptions.add(subscription)
        if len(self.subscriptions) > count:
            self.count_subscriber(subscription, 1)
        self._concerns(subscription.filter)

    def unsubscribe(self, subscription: Subscription) -> None:
        """From now on, they do not."""
        count = len(self.subscriptions)
        self.subscriptions.remove(subscription)
        if len(self.subscriptions) < count:
            self.count_subscriber(subscription, -1)
        self._concerns(subscription.filter)

    def count_subscriber(self, subscription: Subscription, change: int) -> None:
        """
        A subscriber came or went: `change` is 1 or -1. Shared groups tell of their members; a group itself is
        none.
        """
        if self.subscriber_counts is not None and not isinstance(subscription.session, SharedGroup):
            self.subscriber_counts.change(subscription.filter, change)

    def presence_changed(self, session: Session | Tap) -> None:
        """A session's client came, left or changed what it can take or may read."""
        if not self.forget_for_many(session):
            for subscription in session.subscriptions.values():
                self._concerns(subscription.filter)

    def forget_for_many(self, session: Session | Tap) -> bool:
        """
        Drop all routes if a session has so many subscriptions that to look for those of each takes longer:
        before they are taken out, for one.
        """
        many = len(session.subscriptions) > self.LOOKS_AT_ONCE // 4
        if many:
            self.forget_routes()
        return many

    def routes(self) -> list[Route]:
        """All that are in use."""
        return self._routes.values()

    def forget_routes(self) -> None:
        """Every route is built again: access rules changed, or nothing less is worth the trouble."""
        for route in self._routes.values():
            self._retire(route)
        self._routes.clear()
        self._looks_left = 0

    def _concerns(self, filter: str) -> None:
        if is_exact(filter):
            self._forget_route(filter)
            return
        if not len(self._routes):
            return
        walk = self._routes.walk(filter)
        stale: list[str] = []
        while not walk.over:
            stale += walk.step()
            in_vain = walk.looked_at - len(stale)
            if in_vain > self._looks_left or walk.looked_at > self.LOOKS_AT_ONCE:
                self.forget_routes()
                return
        self._looks_left -= in_vain
        for topic in stale:
            self._forget_route(topic)

    def _forget_route(self, topic: str) -> None:
        route = self._routes.get(topic)
        if route is not None:
            self._retire(route)
            self._routes.remove(topic)

    def _retire(self, route: Route) -> None:
        route.retire()
        by_topic = self._broker.counters.by_topic
        if by_topic is not None and route.messages:
            by_topic.retired(route)

    def _targets(self, topic: str) -> tuple[Target, ...]:
        limits, may_read = self._broker.limits, self._broker.may_read
        targets = [
            _target(subscription, limits.upgrade_outgoing_qos)
            for subscription in self.subscriptions.match(topic)
        ]
        # `refuse_publisher` promises to drop nothing, and a queue is asked for one place, not for several.
        if not limits.allow_duplicate_messages or limits.queue_full == "refuse_publisher":
            targets = _one_for_each(targets)
        return tuple(
            target
            for target in targets
            if isinstance(target.session, SharedGroup) or may_read(target.session, topic)
        )


def _target(subscription: Subscription, upgrade: bool) -> Target:
    return Target(
        subscription.session,
        subscription.qos,
        subscription.retain_as_published,
        subscription.no_local,
        (subscription.identifier,) if subscription.identifier else (),
        subscription.qos if upgrade else 0,
    )


def _one_for_each(targets: list[Target]) -> list[Target]:
    """One target for each session, however many of its subscriptions match."""
    by_session: dict[Taker, Target] = {}
    for target in targets:
        known = by_session.get(target.session)
        by_session[target.session] = target if known is None else _merged(known, target)
    return list(by_session.values())


def _merged(one: Target, other: Target) -> Target:
    """Overlapping subscriptions of a session: what any of them is due, it gets."""
    higher = one if one.qos >= other.qos else other
    return Target(
        one.session,
        higher.qos,
        higher.retain_as_published,
        one.no_local and other.no_local,
        one.subscription_ids + other.subscription_ids,
        higher.least_qos,
    )
