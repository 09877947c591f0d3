"""
UnifiedPush between the gateway's pages and the broker: what all listeners of the process share, and who may
push where.

A push is nobody's request: who sends it has shown the endpoint's URL, and no name. So it is published in the
name of the endpoint's owner, by the rules of the listener where that registered it, as they are now. An owner
who may not publish to the topic any more has endpoints that lead nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from pushd.broker.broker import Broker
from pushd.broker.interfaces import Principal, Verdict
from pushd.broker.message import Message, PushMark
from pushd.broker.policy import Policy
from pushd.broker.publication import Publication
from pushd.broker.session import Session
from pushd.broker.targets import Outcome, Targets, push
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Aspect
from pushd.service.people import PeopleOffice

if TYPE_CHECKING:
    from pushd.gateway.http.pages import Pages
    from pushd.gateway.identity.guards import Guard
    from pushd.gateway.unified_push.endpoints import Endpoint, Endpoints
    from pushd.service.assembly import Publisher

log = Logger()

# When something expired that is not to be sent to anybody: however clocks are read, that is past.
LONG_AGO_S = 3600


class UnifiedPush:
    """
    That of a process. What the gateway has for it is imported when the first listener asks.

    :param is_admin: whether a user may reach sessions of others.
    :param base_url: what the gateway is called from outside; empty if nobody has said it.
    :param now: Unix seconds.
    """

    def __init__(
        self,
        broker: Broker,
        is_admin: Callable[[str], bool],
        base_url: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._broker = broker
        self._courier = BrokerCourier(broker, is_admin)
        self._base_url = base_url

    @cached_property
    def endpoints(self) -> Endpoints:
        """Those of all listeners."""
        from pushd.gateway.unified_push.endpoints import Endpoints

        return Endpoints(self._broker.notes, self._durable, self._now)

    def pages(self, guard: Guard, publisher: Publisher) -> Pages:
        """The pages behind one listener's guard."""
        from pushd.gateway.http.own_address import OwnAddress
        from pushd.gateway.identity.visitors import PUSHES_PER_S
        from pushd.gateway.unified_push.endpoint_pages import EndpointPages
        from pushd.gateway.unified_push.matrix import MatrixPages
        from pushd.gateway.unified_push.push_service import PushService

        def charge(endpoint: Endpoint) -> None:
            guard.visitors.check_key(("endpoint", endpoint.id), PUSHES_PER_S)

        service = PushService(self.endpoints, self._courier, charge, self._now)
        address = OwnAddress(self._base_url)
        endpoints: Any = EndpointPages(guard, service, address, publisher.policy.name)
        matrix: Any = MatrixPages(guard, service, publisher, address, self._now)
        return {b"v1/up": endpoints.app.resource(), b"_matrix": matrix.app.resource()}

    def follow(self, people: PeopleOffice) -> None:
        """Hear of accounts that are removed: whoever gets that name next is somebody else."""

        def changed(username: str) -> None:
            if username:
                asked = Deferred.fromCoroutine(self._changed(people, username))
                asked.addErrback(lambda failure: log.failure("Endpoints were not removed", failure=failure))

        people.watch.listen(Aspect.ACCOUNT, changed)

    async def _changed(self, people: PeopleOffice, username: str) -> None:
        if await people.people.account(username) is None:
            for endpoint in self.endpoints.of_owner(username):
                await self.endpoints.remove(endpoint)

    def _durable(self) -> Deferred[None]:
        return self._broker.store.barrier() if self._broker.store.pending else succeed(None)


class Owner:
    """Of an endpoint, when somebody pushes there: a `pushd.broker.interfaces.Principal`."""

    client_id = ""

    def __init__(self, username: str | None) -> None:
        self.username = username


class BrokerCourier:
    """A `pushd.gateway.unified_push.push_service.Courier`."""

    def __init__(self, broker: Broker, is_admin: Callable[[str], bool]) -> None:
        self._broker = broker
        self._is_admin = is_admin

    def permits(self, caller: Principal, endpoint: Endpoint) -> Deferred[ReasonCode]:
        """Whether a caller may publish where such an endpoint leads."""
        policy = self._policy(endpoint)
        if policy is None:
            return succeed(ReasonCode.SERVER_UNAVAILABLE)
        if not self._reaches(endpoint):
            return succeed(ReasonCode.NOT_AUTHORIZED)
        verdict = self._broker.may_write(policy, caller, policy.mount_point + endpoint.topic)
        if not isinstance(verdict, Deferred):
            verdict = succeed(verdict)
        return verdict.addCallback(_decided)

    def deliver(self, endpoint: Endpoint, publication: Publication) -> Deferred[ReasonCode]:
        """Publish in the name of the owner. A session that is not there, or not the owner's, gets nothing."""
        policy = self._policy(endpoint)
        if policy is None:
            return succeed(ReasonCode.SERVER_UNAVAILABLE)
        owner = Owner(endpoint.owner)
        if not endpoint.is_direct:
            return self._broker.publish(policy, owner, publication)
        if not self._reaches(endpoint):
            return succeed(ReasonCode.NOT_AUTHORIZED)
        targets = Targets(users=_some(endpoint.user), clients=_some(endpoint.client))
        return push(self._broker, policy, owner, publication, targets).addCallback(_code)

    def keep_s(self, endpoint: Endpoint) -> int:
        """How long the archive keeps what is published to its topic."""
        policy = self._policy(endpoint)
        return 0 if policy is None else self._broker.archive.keep_s(policy.mount_point + endpoint.topic)

    async def withdraw(self, endpoint: Endpoint, id: str, collapse_key: str, is_latest: bool) -> bool:
        """Have a message taken out of all queues where it is found by its key, and out of the archive."""
        policy = self._policy(endpoint)
        if policy is None:
            return False
        topic = policy.mount_point + endpoint.topic
        sessions = self._sessions(endpoint, topic) if is_latest else []
        waited = [
            session.withdraw(self._stand_in(session, endpoint, topic, collapse_key)) for session in sessions
        ]
        was_kept = await self._broker.archive.forget(topic, id, collapse_key)
        if self._broker.store.pending:
            await self._broker.store.barrier()
        return any(waited) or was_kept

    def _sessions(self, endpoint: Endpoint, topic: str) -> list[Session]:
        """Those that what is pushed to an endpoint is queued for."""
        broker = self._broker
        if endpoint.user:
            return broker.by_user.of(endpoint.user)
        if endpoint.client:
            return [broker.sessions[endpoint.client]] if endpoint.client in broker.sessions else []
        return [
            target.session
            for target in broker.router.route(topic).targets
            if isinstance(target.session, Session)
        ]

    def _stand_in(self, session: Session, endpoint: Endpoint, topic: str, collapse_key: str) -> Message:
        """What takes the place of a withdrawn message in a queue, and is not sent either."""
        if endpoint.is_direct:
            topic = session.policy.mount_point + endpoint.topic
        message = Message(topic, b"", 1, expires_at=self._broker.wheel.seconds() - LONG_AGO_S)
        message.push = PushMark("", 0, collapse_key=collapse_key)
        return message

    def _policy(self, endpoint: Endpoint) -> Policy | None:
        """``None`` while there is no listener of this name: the settings may have it again tomorrow."""
        return self._broker.policies.get(endpoint.listener)

    def _reaches(self, endpoint: Endpoint) -> bool:
        """Whether the session that an endpoint is for is its owner's, or there is none at the moment."""
        session = self._broker.sessions.get(endpoint.client) if endpoint.client else None
        if session is None or session.username == endpoint.owner:
            return True
        return endpoint.owner is not None and self._is_admin(endpoint.owner)


def _decided(verdict: Verdict) -> ReasonCode:
    return ReasonCode.NOT_AUTHORIZED if verdict is None else verdict


def _some(name: str) -> tuple[str, ...]:
    return (name,) if name else ()


def _code(outcome: Outcome) -> ReasonCode:
    return outcome.code
