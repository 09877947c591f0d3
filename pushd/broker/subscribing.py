"""
One SUBSCRIBE on its way to a SUBACK, and UNSUBSCRIBE.

    SUBSCRIBE ──▶ may it? (each filter; perhaps later) ──▶ subscribed ──▶ SUBACK ──▶ what is retained

The client is not read from while a verdict is pending.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from pushd.broker.hooks import and_then
from pushd.broker.interfaces import Access, Verdict
from pushd.broker.session import Subscription
from pushd.broker.shared import shared_filter
from pushd.mqtt.codes import PacketType, PropertyId, QoS, ReasonCode, RetainHandling, sayable
from pushd.mqtt.errors import ProtocolError
from pushd.mqtt.packets import Suback, Subscribe, SubscriptionRequest, Unsuback, Unsubscribe
from pushd.mqtt.topics import split_shared
from pushd.mqtt.writer import encode

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.client import Client
    from pushd.broker.policy import Policy

log = Logger()


class Subscribing:
    """Lives from the SUBSCRIBE to its SUBACK (v5 §3.8.4)."""

    __slots__ = ("_broker", "_client", "_codes", "_curious", "_packet", "_policy", "_session")

    def __init__(self, broker: Broker, client: Client, packet: Subscribe) -> None:
        self._broker = broker
        self._client = client
        self._packet = packet
        self._policy = client.policy
        self._session = client.session
        self._codes: list[ReasonCode] = []
        self._curious: list[Subscription] = []  # those that want what is retained

    def begin(self) -> None:
        """
        Ask for each filter, and go on when all verdicts are there.

        :raises ProtocolError: a request that no client may make.
        """
        verdicts: list[Verdict] = []
        later: list[Deferred[None]] = []
        for index, request in enumerate(self._packet.requests):
            verdict = self._may_subscribe(request)
            if isinstance(verdict, Deferred):
                verdicts.append(None)
                verdict.addErrback(self._client.no_verdict)
                later.append(verdict.addCallback(partial(verdicts.__setitem__, index)))
            else:
                verdicts.append(verdict)
        if later:
            self._client.decide_later(gatherResults(later), lambda _: self._go_on(verdicts))
        else:
            self._go_on(verdicts)

    def _may_subscribe(self, request: SubscriptionRequest) -> Verdict | Deferred[Verdict]:
        group, filter = split_shared(request.filter)
        if group is not None and request.no_local:
            raise ProtocolError("No Local on a shared subscription")  # v5 [MQTT-3.8.3-4]
        client, filter = self._client, self._policy.mount_point + filter
        verdict = self._broker.authorize(self._policy, self._session, Access.SUBSCRIBE, filter)
        hook = self._policy.hooks.subscribe
        return verdict if hook is None else and_then(verdict, partial(hook, client, filter, request.qos))

    def _go_on(self, verdicts: list[Verdict]) -> None:
        client = self._client
        if self._session.client is not client:
            return  # gone while the verdict was pending: a session that ended would stay subscribed for ever
        for request, verdict in zip(self._packet.requests, verdicts, strict=True):
            code = verdict or ReasonCode.NOT_AUTHORIZED
            if verdict is ReasonCode.SUCCESS:
                code = self._subscribe(request)
            self._codes.append(sayable(code, PacketType.SUBACK))
        if any(code < 0x80 for code in self._codes):
            client.wait_if_recorded()
        client.send(encode(Suback(self._packet.packet_id, self._codes), client.version))
        for subscription in self._curious:
            self._broker.send_retained(self._session, subscription)

    def _subscribe(self, request: SubscriptionRequest) -> ReasonCode:
        """:return: the granted QoS, or why not."""
        request.filter = mounted(self._policy, request.filter)
        request.qos = QoS(min(request.qos, self._policy.max_qos))
        is_new = request.filter not in self._session.subscriptions
        if not self._has_place(is_new):
            return ReasonCode.QUOTA_EXCEEDED
        properties = self._packet.properties
        (identifier,) = cast("list[int]", properties.get(PropertyId.SUBSCRIPTION_IDENTIFIER, [0]))
        subscription = self._broker.subscribe(self._session, request, identifier)
        if _wants_retained(request, is_new):
            self._curious.append(subscription)
        _note(self._client, "{id} {qos} {filter}", "subscribe", request.filter, qos=int(request.qos))
        return ReasonCode(request.qos)

    def _has_place(self, is_new: bool) -> bool:
        """Whether one more subscription can be had, or a new one in place of one."""
        if self._client.v5 and self._session.persistent and self._broker.store.failing is not None:
            return False  # version 3 waits for its SUBACK instead
        most = self._broker.limits.max_subscriptions_per_client
        return not (is_new and 0 < most <= len(self._session.subscriptions))


def unsubscribe(broker: Broker, client: Client, packet: Unsubscribe) -> None:
    """v5 §3.10.4. Always answered, also for a filter that was not subscribed."""
    codes = []
    for filter in packet.filters:
        filter = mounted(client.policy, filter)
        known = broker.unsubscribe(client.session, filter)
        codes.append(ReasonCode.SUCCESS if known else ReasonCode.NO_SUBSCRIPTION_EXISTED)
        _note(client, "{id} {filter}", "unsubscribe", filter)
    client.wait_if_recorded()
    client.send(encode(Unsuback(packet.packet_id, codes), client.version))
    hook = client.policy.hooks.unsubscribe
    if hook is not None:
        for filter, code in zip(packet.filters, codes, strict=True):
            if code is ReasonCode.SUCCESS:
                hook(client, client.policy.mount_point + split_shared(filter)[1])


def mounted(policy: Policy, filter: str) -> str:
    """A filter with the listener's mount point, which goes behind a group's name."""
    if not policy.mount_point:
        return filter
    group, plain = split_shared(filter)
    return shared_filter(group, policy.mount_point + plain)


def _wants_retained(request: SubscriptionRequest, is_new: bool) -> bool:
    """v5 §3.8.3.1. Shared subscriptions get nothing retained (v5 §4.8.2)."""
    if request.filter.startswith("$share/"):
        return False
    if request.retain_handling is RetainHandling.SEND_IF_NEW:
        return is_new
    return request.retain_handling is RetainHandling.SEND


def _note(client: Client, text: str, log_type: str, filter: str, **more: int) -> None:
    """For ``log_type subscribe`` and ``unsubscribe``; the words are Mosquitto's."""
    if client.policy.log_subscriptions:
        log.info(text, id=client.session.client_id, filter=filter, log_type=log_type, **more)
