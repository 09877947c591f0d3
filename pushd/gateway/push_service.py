"""
Takes what is pushed to endpoints, however it came, and sees that it gets to the broker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from pushd.broker.publication import Publication
from pushd.gateway.endpoints import Endpoint, Endpoints, key_of
from pushd.gateway.guards import Caller
from pushd.gateway.messages import new_id
from pushd.gateway.publish import check_accepted
from pushd.gateway.web_push import WebPush
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

    def withdraw(self, endpoint: Endpoint, id: str) -> Deferred[bool]:
        """Take a message back from wherever it waits. :return: fires with whether it waited anywhere."""


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
        id = new_id()
        keep_s = 0 if endpoint.is_direct else self.courier.keep_s(endpoint)
        publication = push.publication(endpoint.topic, key_of(secret), id, int(self.now()), keep_s)
        check_accepted(await self.courier.deliver(endpoint, publication))
        self.endpoints.pushed_to(secret)
        return Accepted(id, push.ttl_s)
