"""
Takes what is pushed to endpoints, however it came, and sees that it gets to the broker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from pushd.broker.message import new_push_id
from pushd.broker.publication import Publication
from pushd.gateway.identity.guards import Caller
from pushd.gateway.ntfy.publish import check_accepted
from pushd.gateway.unified_push.endpoints import Endpoint, Endpoints, key_of
from pushd.gateway.unified_push.web_push import WebPush, collapse_key
from pushd.mqtt.codes import ReasonCode


class Courier(Protocol):
    """What is asked of the broker, in the name of whoever owns an endpoint."""

    def permits(self, caller: Caller, endpoint: Endpoint) -> Deferred[ReasonCode]:
        """Whether a caller may have such an endpoint: nobody gets by it what it could not do itself."""

    def deliver(self, endpoint: Endpoint, publication: Publication) -> Deferred[ReasonCode]:
        """
        Publish to the endpoint's topic, or hand it to the sessions that it is for.

        :return: fires when the message is as durable as its QoS asks for, or with why it was refused.
        """

    def keep_s(self, endpoint: Endpoint) -> int:
        """How long the archive keeps what is published to the topic of an endpoint; 0 for not at all."""

    async def withdraw(self, endpoint: Endpoint, id: str, collapse_key: str, is_latest: bool) -> bool:
        """
        Take a message back from wherever it waits.

        :param is_latest: whether it is still the one that waits under its key.
        :return: whether it waited anywhere, when it does not any more.
        """


class Accepted(NamedTuple):
    """What a sender is told of its push."""

    id: str
    ttl_s: int


@dataclass(frozen=True, slots=True)
class PushService:
    """
    Takes pushes for endpoints, however they came.

    :ivar charge: told of each push; raises Refusal if there were too many to its endpoint.
    :ivar now: Unix seconds.
    """

    endpoints: Endpoints
    courier: Courier
    charge: Callable[[Endpoint], None]
    now: Callable[[], float]

    async def take(self, secret: str, push: WebPush) -> Accepted:
        """
        :raises Refusal: 40400, 41000; 42901, and whatever the broker refuses it for.
        """
        endpoint = self.endpoints.find(secret)
        self.charge(endpoint)
        id = new_push_id()
        keep_s = 0 if endpoint.is_direct else self.courier.keep_s(endpoint)
        key = collapse_key(key_of(secret), id, push.topic)
        publication = push.publication(endpoint.topic, key, id, int(self.now()), keep_s)
        if push.topic:
            self.endpoints.note_latest(key, id, push.ttl_s)
        check_accepted(await self.courier.deliver(endpoint, publication))
        self.endpoints.pushed_to(secret)
        return Accepted(id, push.ttl_s)

    async def withdraw(self, secret: str, id: str, topic: str) -> bool:
        """
        :param topic: what it replaced others by; empty if it had none.
        :return: whether the message waited anywhere.
        :raises Refusal: 40400, 41000, for the endpoint.
        """
        endpoint = self.endpoints.find(secret)
        key = collapse_key(key_of(secret), id, topic)
        is_latest = not topic or self.endpoints.is_latest(key, id)
        return await self.courier.withdraw(endpoint, id, key, is_latest)
