"""
Subscriptions that the server makes: those of a session are compared with what they should be.

    what it should have ──▶ is it there?  ──no──▶ may it? ──▶ subscribed ──▶ what is retained
                                 │
                                yes: at another QoS ──▶ subscribed again
    what it has besides, and the server made ──▶ taken away

The client is told nothing. It goes before the server: what it has subscribed to itself is its own, with its
own options, and what it has unsubscribed from stays so, until its session ends. Access rules and plugins are
asked as they are for a SUBSCRIBE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.broker.hooks import and_then
from pushd.broker.interfaces import Access, Verdict
from pushd.broker.session import Origin, Session, Subscription
from pushd.broker.subscribing import mounted
from pushd.mqtt.codes import QoS, ReasonCode
from pushd.mqtt.packets import SubscriptionRequest
from pushd.mqtt.topics import split_shared

if TYPE_CHECKING:
    from pushd.broker.broker import Broker

log = Logger()

# What takes a microsecond or so is done for so many in one piece.
AT_ONCE = 20


class Assignment:
    """One comparison of one session."""

    def __init__(
        self, broker: Broker, session: Session, wishes: Iterable[tuple[str, int]], is_complete: bool = True
    ) -> None:
        """
        :param wishes: topic filters without a mount point, with their QoS; of several for the same filter
            the first counts.
        :param is_complete: whether it should have nothing else of the server's.
        """
        self._broker = broker
        self._session = session
        self._wishes = wishes
        self._is_complete = is_complete
        self._wanted: set[str] = set()
        self._new: list[Subscription] = []
        self._is_full = False

    def pieces(self) -> Iterator[Deferred[None] | None]:
        """
        Do it piece by piece, each some microseconds; ends early if the session does.

        :return: for each, a Deferred if it has to be waited for before the next.
        """
        for filter, qos in self._wishes:
            if not self._is_there:
                return
            yield self._wish(mounted(self._session.policy, filter), qos)
        if self._is_complete:
            for number, filter in enumerate(list(self._session.subscriptions)):
                self._look_at(filter)
                if number % AT_ONCE == 0:
                    yield None

    def replays(self) -> Iterator[None]:
        """After that, and piece by piece as well: send what is retained for the new ones."""
        for number, subscription in enumerate(self._new):
            self._replay(subscription)
            if number % AT_ONCE == 0:
                yield None

    @property
    def _is_there(self) -> bool:
        return self._broker.sessions.get(self._session.client_id) is self._session

    def _wish(self, filter: str, qos: int) -> Deferred[None] | None:
        if filter in self._wanted:
            return None
        self._wanted.add(filter)
        session = self._session
        qos = min(qos, session.policy.max_qos)
        known = session.subscriptions.get(filter)
        if known is None:
            return self._ask(filter, QoS(qos))
        if known.origin is Origin.CLIENT:
            known.origin = Origin.BOTH
        elif known.automatic and known.qos != qos:
            self._subscribe(filter, QoS(qos))
        return None

    def _ask(self, filter: str, qos: QoS) -> Deferred[None] | None:
        """
        Whether it may be subscribed; if so, do it. Plugins are asked about clients: for them, a session
        without one waits until it is back.
        """
        session, policy = self._session, self._session.policy
        client, hook = session.client, policy.hooks.subscribe
        if session.given_up is not None and filter in session.given_up:
            return None
        if not self._has_place() or (hook is not None and client is None):
            return None
        _, plain = split_shared(filter)
        verdict = self._broker.authorize(policy, session, Access.SUBSCRIBE, plain)
        if hook is not None and client is not None:
            verdict = and_then(verdict, partial(hook, client, plain, qos))
        if isinstance(verdict, Deferred):
            verdict.addErrback(self._no_verdict)
            return verdict.addCallback(self._decided, filter, qos)
        self._decided(verdict, filter, qos)
        return None

    def _has_place(self) -> bool:
        most = self._broker.limits.max_subscriptions_per_client
        if not 0 < most <= len(self._session.subscriptions):
            return True
        if not self._is_full:
            self._is_full = True
            log.warn(
                "{id} has max_subscriptions_per_client; the server cannot subscribe it to everything",
                id=self._session.client_id,
            )
        return False

    def _no_verdict(self, failure: Failure) -> None:
        log.failure("no verdict about a subscription of {id}", failure, id=self._session.client_id)

    def _decided(self, verdict: Verdict, filter: str, qos: QoS) -> None:
        session = self._session
        if verdict is not ReasonCode.SUCCESS or not self._is_there or filter in session.subscriptions:
            return
        if session.given_up is not None and filter in session.given_up:
            return  # while the verdict was pending
        self._new.append(self._subscribe(filter, qos))

    def _subscribe(self, filter: str, qos: QoS) -> Subscription:
        session = self._session
        if session.policy.log_subscriptions:
            text = "{id} {qos} {filter} (automatically)"
            log.info(text, id=session.client_id, qos=int(qos), filter=filter, log_type="subscribe")
        return self._broker.subscribe(session, SubscriptionRequest(filter, qos), automatic=True)

    def _look_at(self, filter: str) -> None:
        """Take a subscription away that the server does not want any more."""
        known = self._session.subscriptions.get(filter)
        if known is None or filter in self._wanted or known.origin is Origin.CLIENT:
            return
        if known.automatic:
            self._broker.withdraw(self._session, filter)
            if self._session.policy.log_subscriptions:
                text = "{id} {filter} (automatically)"
                log.info(text, id=self._session.client_id, filter=filter, log_type="unsubscribe")
        else:
            known.origin = Origin.CLIENT

    def _replay(self, subscription: Subscription) -> None:
        """Send what is retained, if it is wanted still; a group gets nothing retained (v5 §4.8.2)."""
        if self._session.subscriptions.get(subscription.filter) is subscription:
            self._broker.send_retained(self._session, subscription)
