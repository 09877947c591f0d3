"""
The push API between the gateway's pages and the broker: what all listeners of the process share, and what
goes on when nobody asks: pushes that become due, and webhooks that are to be told.

What the gateway has for it is imported when the first listener asks. A process without a gateway leaves what
is waiting to the next.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cached_property
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from pushd.broker.broker import Broker
from pushd.broker.interfaces import Principal, Verdict
from pushd.broker.message import source_of
from pushd.broker.policy import Policy
from pushd.broker.publication import Publication
from pushd.broker.receipts import Receipt
from pushd.broker.targets import Outcome, Targets, push
from pushd.config.settings import Settings
from pushd.mqtt.codes import ReasonCode

if TYPE_CHECKING:
    from pushd.gateway.http.events import Streams
    from pushd.gateway.http.pages import Pages
    from pushd.gateway.identity.guards import Guard
    from pushd.gateway.ntfy.publish import PushDesk
    from pushd.gateway.push.outbound import Network
    from pushd.gateway.push.push_api import PushOffice
    from pushd.service.assembly import Publisher

# Looking up a name blocks, for as long as whoever owns it likes: nobody else's work waits in these threads.
RESOLVING_THREADS = 4


class PushApi:
    """
    That of a process.

    :param settings: as they count now.
    :param desk: what ntfy's push pages share.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Callable[[], Settings],
        desk: Callable[[], PushDesk],
        reactor: Any,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._desk = desk
        self._reactor = reactor
        self._resolvers = ThreadPool(0, RESOLVING_THREADS, "names")
        self._in_use = self._running = False

    def pages(self, guard: Guard, publisher: Publisher, streams: Streams) -> Pages:
        """The pages behind one listener's guard."""
        from pushd.gateway.push.push_api import PushApiPages
        from pushd.gateway.push.receipts import ReceiptReader
        from pushd.gateway.push.scheduled import ScheduledPages

        def mount_point() -> str:
            return publisher.policy.mount_point

        self._use()
        office = self.office
        pusher = ListenerPusher(self._broker, lambda: publisher.policy)
        reader = ReceiptReader(self._broker.receipts, guard, self._reactor, mount_point)
        pushes: Any = PushApiPages(guard, pusher, office, reader, streams)
        scheduled: Any = ScheduledPages(
            guard,
            self._broker.scheduled,
            office.postponed,
            self._unix,
            self._durable,
            office.soon,
            mount_point,
        )
        return {b"v1/push": pushes.app.resource(), b"v1/scheduled": scheduled.app.resource()}

    @cached_property
    def office(self) -> PushOffice:
        """What the pages of all listeners share."""
        from pushd.gateway.push.push_api import PushOffice, send_due
        from pushd.gateway.push.receipts import summary
        from pushd.gateway.push.scheduled import Postponed
        from pushd.gateway.push.webhooks import Webhooks

        def look(id: str) -> dict[str, Any] | None:
            receipt = self._broker.receipts.get(id)
            return None if receipt is None else summary(receipt)

        notes, now, desk = self._broker.notes, self._reactor.seconds, self._desk()
        assert desk.answers is not None
        send = send_due(lambda: self.office, self._pusher_of, source_of)
        return PushOffice(
            answers=desk.answers,
            webhooks=Webhooks(notes, self.outbound, self._secret, self._reactor, now, look),
            postponed=Postponed(notes, self._reactor, now, send),
            receipts=self._broker.receipts,
            now=now,
            durable=self._durable,
            can_store=lambda: self._broker.store.failing is None,
            soon=lambda function: self._reactor.callLater(0, function),
            sends_json=desk.sends_json,
        )

    @cached_property
    def outbound(self) -> Any:
        """Who asks others by HTTP: a `pushd.gateway.push.outbound.Outbound`."""
        from pushd.gateway.push.outbound import Outbound

        return Outbound(
            self._reactor,
            self._resolve,
            allowed=self._allowed_networks,
            allow_http=lambda: self._settings().allow_http_webhooks,
        )

    def start(self) -> None:
        """The broker has its notes by now."""
        self._running = True
        if self._in_use:
            self._take_up()

    def stop(self) -> None:
        """Begin nothing more."""
        if self._running and self._in_use:
            self.office.webhooks.stop()
            self.office.postponed.stop()
            self._resolvers.stop()
        self._running = False

    def _use(self) -> None:
        """There is a gateway: from the start on, or since a reload."""
        if not self._in_use:
            self._in_use = True
            if self._running:
                self._take_up()

    def _take_up(self) -> None:
        """Go on with what the last process left."""
        self._resolvers.start()
        self._broker.receipts.on_complete = self._complete
        self.office.webhooks.start()
        self.office.postponed.start()

    def _complete(self, receipt: Receipt) -> None:
        self.office.webhooks.complete(receipt.id)

    def _secret(self) -> bytes | None:
        secret = self._settings().webhook_secret
        return None if secret is None else secret.encode()

    def _allowed_networks(self) -> list[Network]:
        return [ip_network(network) for network in self._settings().allow_private_networks]

    def _resolve(self, name: str) -> Deferred[list[str]]:
        return deferToThreadPool(self._reactor, self._resolvers, addresses_of, name)

    def _pusher_of(self, listener: str) -> ListenerPusher | None:
        """``None`` if the settings have no listener of this name any more."""
        policy = self._broker.policies.get(listener)
        return None if policy is None else ListenerPusher(self._broker, lambda: policy)

    def _durable(self) -> Deferred[None]:
        return self._broker.store.barrier() if self._broker.store.pending else succeed(None)

    def _unix(self, at: float) -> float:
        now: float = self._reactor.seconds()
        return now + at - self._broker.wheel.seconds()


class ListenerPusher:
    """
    A `pushd.gateway.push.push_api.Pusher`.

    :param policy: that of the listener, as it counts now.
    """

    def __init__(self, broker: Broker, policy: Callable[[], Policy]) -> None:
        self._broker = broker
        self._policy = policy

    @property
    def listener(self) -> str:
        """The listener's name."""
        return self._policy().name

    @property
    def mount_point(self) -> str:
        """What its callers do not see of a topic."""
        return self._policy().mount_point

    def push(
        self,
        principal: Principal,
        publication: Publication,
        targets: Targets,
        taken: Callable[[Outcome], object],
    ) -> Deferred[Outcome]:
        """See `pushd.broker.targets.push`."""
        return push(self._broker, self._policy(), principal, publication, targets, taken)

    def may_write(self, principal: Principal, topic: str) -> Deferred[ReasonCode]:
        """Whether somebody may publish there, as things are."""
        verdict = self._broker.may_write(self._policy(), principal, self.mount_point + topic)
        if not isinstance(verdict, Deferred):
            verdict = succeed(verdict)
        return verdict.addCallback(_code)

    def keep_s(self, topic: str) -> int:
        """See `pushd.broker.archive.Archive.keep_s`."""
        return self._broker.archive.keep_s(self.mount_point + topic)


def _code(verdict: Verdict) -> ReasonCode:
    """Nobody's yes is a no."""
    return ReasonCode.NOT_AUTHORIZED if verdict is None else verdict


def addresses_of(name: str) -> list[str]:
    """
    Look a name up. Blocks.

    :return: its addresses, each once, the likeliest to answer first.
    :raises OSError: there are none.
    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))
