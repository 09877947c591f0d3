"""
The broker as those see it who read topics as streams, at one listener: what they may read, what was said
there and what is being said. They know topics without that listener's mount point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pushd.broker.interfaces import Access, Principal, Verdict
from pushd.broker.message import Message, PushMark
from pushd.broker.records import Kept, KeptQuery
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import is_valid_filter

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.tap import Tap
    from pushd.service.assembly import Publisher


class Audience:
    """
    A `pushd.gateway.ntfy.reading.Source`.

    :param publisher: the same broker as the callers of that listener see it otherwise; it knows the rules.
    """

    def __init__(self, broker: Broker, publisher: Publisher) -> None:
        self._broker = broker
        self._publisher = publisher

    # What they may

    def may_read(self, principal: Principal, topic: str) -> Deferred[ReasonCode]:
        """
        Whether somebody may read a topic, or subscribe to a filter with wildcards.

        :return: fires with ``SUCCESS``, or with why not: ``TOPIC_FILTER_INVALID``, or what the access rules
            say.
        """
        return Deferred.fromCoroutine(self._may_read(principal, topic))

    async def _may_read(self, principal: Principal, topic: str) -> ReasonCode:
        policy, whole = self._publisher.policy, self._whole(topic)
        if not is_valid_filter(whole):
            return ReasonCode.TOPIC_FILTER_INVALID
        verdict = self._broker.authorize(policy, principal, Access.SUBSCRIBE, whole)
        if isinstance(verdict, Deferred):
            verdict = await verdict
        if verdict is not ReasonCode.SUCCESS or _has_wildcards(topic):
            return _decided(verdict)
        companion = self._broker.companion
        preparing = None if companion is None else companion.prepare(principal.username, policy)
        if preparing is not None:  # READ is decided at once, or not at all
            await preparing.addErrback(lambda _: None)
        return self._read_verdict(principal, whole)

    def still_reads(self, principal: Principal, topic: str) -> bool:
        """The same as far as it can be decided at once. Of a filter the broker asks with each message."""
        if _has_wildcards(topic):
            return True
        verdict = self._read_verdict(principal, self._whole(topic))
        return verdict in (ReasonCode.SUCCESS, ReasonCode.SERVER_UNAVAILABLE)

    def _read_verdict(self, principal: Principal, topic: str) -> ReasonCode:
        verdict = self._broker.authorize(self._publisher.policy, principal, Access.READ, topic)
        if isinstance(verdict, Deferred):
            verdict.addErrback(lambda _: None)
            return ReasonCode.SERVER_UNAVAILABLE
        return _decided(verdict)

    # What is being said

    def listen(
        self,
        principal: Principal,
        filter: str,
        received: Callable[[str, Message], None],
        ended: Callable[[], None],
    ) -> Deferred[Tap | ReasonCode]:
        """See `pushd.broker.tap.listen`."""
        return self._publisher.listen(principal, filter, received, ended)

    def watch(self, topic: str, function: Callable[[Kept], None]) -> Callable[[], None]:
        """See `pushd.broker.archive.Archive.watch`."""
        return self._broker.archive.watch(self._whole(topic), function)

    def mark(self, message: Message) -> PushMark:
        """See `pushd.broker.archive.Archive.mark`."""
        return self._broker.archive.mark(message)

    def when_durable(self, function: Callable[[], None]) -> None:
        """See `pushd.broker.broker.Broker.when_durable`."""
        self._broker.when_durable(function)

    # What was said, and what will be

    def find(self, query: KeptQuery) -> Deferred[list[Kept]]:
        """See `pushd.broker.archive.Archive.find`."""
        return self._broker.archive.find(replace(query, topics=tuple(map(self._whole, query.topics))))

    def number_of(self, id: str) -> Deferred[int | None]:
        """See `pushd.broker.archive.Archive.number_of`."""
        return self._broker.archive.number_of(id)

    def scheduled(self, topics: tuple[str, ...]) -> list[Message]:
        """What waits to be published to these topics, in the order in which it is due."""
        wanted = set(map(self._whole, topics))
        waiting = [each for each in self._broker.scheduled if each.message.topic in wanted]
        return [each.message for each in sorted(waiting, key=lambda each: each.due_at)]

    # Topics

    def topic_of(self, message: Message) -> str:
        """As callers of this listener know it."""
        return message.topic[len(self._publisher.policy.mount_point) :]

    def _whole(self, topic: str) -> str:
        return self._publisher.policy.mount_point + topic


def _decided(verdict: Verdict) -> ReasonCode:
    """Nobody's yes is a no."""
    return ReasonCode.NOT_AUTHORIZED if verdict is None else verdict


def _has_wildcards(topic: str) -> bool:
    return "+" in topic or "#" in topic
