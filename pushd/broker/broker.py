"""
The broker: one façade over sessions, subscriptions, retained messages and the journal.

Transports bring it clients (`connect`), the gateway publishes through it (`publish`), `pushd.service`
gives it a store, a clock and what to do on a reload.
"""

from __future__ import annotations

import secrets
import string
from functools import partial
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pushd.broker import records
from pushd.broker.client import Client
from pushd.broker.counters import Counters
from pushd.broker.interfaces import Access, Credentials, IConnection, IStore, Principal, Verdict
from pushd.broker.limits import Limits
from pushd.broker.message import Message
from pushd.broker.policy import Policy
from pushd.broker.router import Route, Router
from pushd.broker.session import Session, Subscription
from pushd.broker.topic_tree import TopicTree
from pushd.broker.turn import Turn
from pushd.broker.wheel import TimingWheel
from pushd.mqtt.codes import ReasonCode, Version
from pushd.mqtt.packets import Connack, Connect, SubscriptionRequest, Will
from pushd.mqtt.topics import is_valid_name
from pushd.mqtt.writer import encode

_ID_ALPHABET = string.ascii_letters + string.digits


class Gauges(NamedTuple):
    """What there is right now, as opposed to what was counted since the start."""

    clients_connected: int
    clients_total: int  # sessions, with a client or kept without one
    subscriptions: int
    retained_messages: int
    stored_messages: int  # retained, queued and in flight; one that many sessions wait for counts for each
    stored_bytes: int  # of their payloads


class Broker:
    """
    :ivar sessions: all of them, by client id.
    :ivar online: how many of them have a client.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, store: IStore, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.counters = Counters()
        self.store = store
        # Any reactor can do it with a timer; ours (`pushd.service.reactor`) does it for less.
        at_turn_end = getattr(clock, "call_at_turn_end", None) or partial(clock.callLater, 0)
        self.turn = Turn(at_turn_end, store, self.counters)
        self.wheel = TimingWheel(clock)
        self.router = Router(self)
        self.retained: TopicTree[Message] = TopicTree()
        self.sessions: dict[str, Session] = {}
        self.online = 0

    # A CONNECT, from the packet to the CONNACK

    def connect(
        self, packet: Connect, credentials: Credentials, policy: Policy, connection: IConnection
    ) -> Deferred[None] | None:
        """
        Decide about a CONNECT; `connection` is told by `accept` or `refuse`.

        :return: ``None`` when that was done at once, else a Deferred that fires when it is.
        """
        problem = self._unacceptable(packet, policy)
        if problem is not None:
            connection.refuse(*problem)
            return None
        if not packet.client_id:
            packet.client_id = credentials.client_id = _invented_id(policy.auto_id_prefix)
        verdict = policy.authenticator.authenticate(credentials)
        if not isinstance(verdict, Deferred):
            self._decided(verdict, packet, credentials, policy, connection)
            return None
        verdict.addErrback(self._undecided)
        return verdict.addCallback(self._decided, packet, credentials, policy, connection)

    def _unacceptable(self, packet: Connect, policy: Policy) -> tuple[ReasonCode, str] | None:
        """:return: why a CONNECT is refused whoever sends it, or ``None``."""
        if packet.version is Version.V5:
            return ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "MQTT 5 is not served yet"
        if not packet.client_id and not policy.allow_zero_length_clientid:
            return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "no client id"
        longest = self.limits.max_keepalive_s
        if longest and not 0 < packet.keep_alive_s <= longest:
            # Version 3 has no Server Keep Alive; Mosquitto's answer is this code, too.
            return (
                ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
                f"keep alive {packet.keep_alive_s} above max_keepalive",
            )
        if packet.will is not None and packet.will.retain and not self.limits.retain_available:
            return ReasonCode.RETAIN_NOT_SUPPORTED, "retained Will, but RETAIN is not available"
        return None

    def _undecided(self, failure: object) -> ReasonCode:
        self._log.failure("authentication failed to decide", failure=failure)  # type: ignore[arg-type]
        return ReasonCode.SERVER_UNAVAILABLE

    def _decided(
        self,
        verdict: Verdict,
        packet: Connect,
        credentials: Credentials,
        policy: Policy,
        connection: IConnection,
    ) -> None:
        if verdict is not ReasonCode.SUCCESS:
            connection.refuse(verdict or ReasonCode.NOT_AUTHORIZED, "not authorised")
            return
        session, present = self._open_session(packet, credentials, policy)
        client = session.client = Client(self, policy, session, connection, packet.version)
        self.online += 1
        self.counters.clients_maximum = max(self.counters.clients_maximum, self.online)
        self.counters.connects_accepted += 1
        if packet.will is not None:
            client.will = _will_message(packet.will, policy.mount_point)
        connection.accept(client, packet.keep_alive_s)
        client.must_wait = self.store.pending
        client.send(encode(Connack(present), packet.version))
        if present:
            self.router.presence_changed(session)
            session.resume(client)

    def _open_session(
        self, packet: Connect, credentials: Credentials, policy: Policy
    ) -> tuple[Session, bool]:
        """:return: ``(session, session_present)``: the kept session, or a new one (v3 [MQTT-3.1.2-4])."""
        session = self.sessions.get(packet.client_id)
        if session is not None and session.client is not None:
            self._take_over(session.client)
            session = self.sessions.get(packet.client_id)  # a clean one ended with its connection
        if session is not None and packet.clean_start:
            self.end_session(session)
            session = None
        present = session is not None
        if session is None:
            session = Session(self, policy, packet.client_id, credentials.username or None)
            self.sessions[packet.client_id] = session
        session.policy = policy
        session.username = credentials.username or None
        session.expiry_s = 0.0 if packet.clean_start else None
        if session.persistent:
            self.store.record(records.SessionOpened(session.client_id, session.username, session.expiry_s))
        return session, present

    def _take_over(self, client: Client) -> None:
        """The same client id again: the older connection goes (v3 [MQTT-3.1.4-2], v5 [MQTT-3.1.4-3])."""
        client.connection.close(ReasonCode.SESSION_TAKEN_OVER)
        self.client_lost(client)

    # The end of connections and sessions

    def client_lost(self, client: Client) -> None:
        """A connection is gone, or about to be: its session is kept or ends, its Will is sent."""
        session = client.session
        if session.client is not client:
            return  # taken over before
        session.client = None
        session.offline_since = self.wheel.now
        self.online -= 1
        will, client.will = client.will, None
        if session.persistent:
            self.router.presence_changed(session)
            self.wheel.add(session)
        else:
            self.end_session(session)
        if will is not None:
            self._publish_will(will, session)

    def end_session(self, session: Session) -> None:
        """Forget a session that has no client."""
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
        for subscription in session.subscriptions.values():
            self.router.unsubscribe(subscription)
        session.subscriptions.clear()
        if session.persistent:
            self.store.record(records.SessionEnded(session.client_id))
        session.expiry_s = 0.0

    def _publish_will(self, will: Message, session: Session) -> None:
        verdict = self.may_write(session.policy, session, will.topic)
        if not isinstance(verdict, Deferred):
            verdict = succeed(verdict)
        verdict.addCallback(self._publish_if, will, session)
        verdict.addErrback(lambda failure: self._log.failure("a Will was not sent", failure=failure))

    def _publish_if(self, verdict: Verdict, message: Message, session: Session) -> None:
        if verdict is ReasonCode.SUCCESS:
            self.publish_message(message, session)
        else:
            self.counters.dropped("not_authorized")

    # Messages

    def publish_message(self, message: Message, publisher: Session | None = None) -> Route:
        """
        Pass on a message that was allowed: retain it if it says so, and give it to its subscribers.

        :return: the route that it took.
        """
        if message.retain:
            self._retain(message)
        route = self.router.route(message.topic)
        route.publish(message, publisher)
        return route

    def publish(
        self, policy: Policy, principal: Principal, topic: str, payload: bytes, qos: int, retain: bool
    ) -> Deferred[ReasonCode]:
        """
        Publish for somebody who is no MQTT client.

        :return: fires when all that must survive of it is durable, with ``SUCCESS`` or
            ``NO_MATCHING_SUBSCRIBERS``, or with the reason why it was refused: ``TOPIC_NAME_INVALID``,
            ``NOT_AUTHORIZED``, ``PACKET_TOO_LARGE``, ``RETAIN_NOT_SUPPORTED``.
        """
        topic = policy.mount_point + topic
        if not is_valid_name(topic):
            return succeed(ReasonCode.TOPIC_NAME_INVALID)
        if 0 < self.limits.message_size_limit < len(payload):
            return succeed(ReasonCode.PACKET_TOO_LARGE)
        if retain and not self.limits.retain_available:
            return succeed(ReasonCode.RETAIN_NOT_SUPPORTED)
        verdict = self.may_write(policy, principal, topic)
        if not isinstance(verdict, Deferred):
            verdict = succeed(verdict)
        return verdict.addCallback(self._publish_durably, Message(topic, payload, qos, retain))

    def _publish_durably(self, verdict: Verdict, message: Message) -> ReasonCode | Deferred[ReasonCode]:
        if verdict is not ReasonCode.SUCCESS:
            return verdict or ReasonCode.NOT_AUTHORIZED
        self.counters.publish_received += 1
        self.counters.publish_bytes_received += len(message.payload)
        route = self.publish_message(message)
        code = ReasonCode.SUCCESS if route.targets else ReasonCode.NO_MATCHING_SUBSCRIBERS
        if not self.store.pending:
            return code
        return self.store.barrier().addCallback(lambda _: code)

    def announce(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        """
        Publish something of the broker's own, below ``$SYS``. Asks nobody; such messages are retained
        without being recorded, for the next process makes its own.
        """
        message = Message(topic, payload, 2, retain)
        if retain:
            self.retained.set(topic, message)
        self.router.route(topic).publish(message)

    def _retain(self, message: Message) -> None:
        """Keep a topic's last message; an empty one clears it (v3 [MQTT-3.3.1-10], v5 [MQTT-3.3.1-6])."""
        if message.payload:
            self.retained.set(message.topic, message)
            self.store.record(records.RetainedSet(message))
        elif self.retained.get(message.topic) is not None:
            self.retained.remove(message.topic)
            self.store.record(records.RetainedCleared(message.topic))

    # Subscriptions

    def subscribe(self, session: Session, request: SubscriptionRequest) -> Subscription:
        """Subscribe a session, in place of its subscription to the same filter (v3 [MQTT-3.8.4-3])."""
        subscription = Subscription(session, request)
        session.subscriptions[request.filter] = subscription
        self.router.subscribe(subscription)
        if session.persistent:
            self.store.record(records.SubscriptionAdded(session.client_id, request))
        return subscription

    def unsubscribe(self, session: Session, filter: str) -> bool:
        """:return: whether there was such a subscription."""
        subscription = session.subscriptions.pop(filter, None)
        if subscription is None:
            return False
        self.router.unsubscribe(subscription)
        if session.persistent:
            self.store.record(records.SubscriptionRemoved(session.client_id, filter))
        return True

    def send_retained(self, subscription: Subscription) -> None:
        """Send what is retained for a new subscription, marked so (v3 [MQTT-3.3.1-8])."""
        session = subscription.session
        for message in self.retained.match(subscription.filter):
            if self.may_read(session, message.topic):
                session.deliver(message.variant(min(message.qos, subscription.qos), True))

    # Who may do what

    def authorize(
        self, policy: Policy, principal: Principal, access: Access, topic: str
    ) -> Verdict | Deferred[Verdict]:
        """Ask the access rules of the listener that `principal` came through."""
        return policy.authorizer.authorize(principal, access, topic)

    def may_write(self, policy: Policy, principal: Principal, topic: str) -> Verdict | Deferred[Verdict]:
        """Whether a publish to this topic name is allowed; the broker's own topics never are."""
        if topic.startswith("$") and _is_reserved(topic):
            return ReasonCode.NOT_AUTHORIZED
        return policy.authorizer.authorize(principal, Access.WRITE, topic)

    def may_read(self, session: Session, topic: str) -> bool:
        """Whether a session may be sent messages of this topic name. Decided at once, or not at all."""
        verdict = session.policy.authorizer.authorize(session, Access.READ, topic)
        return verdict is ReasonCode.SUCCESS

    def access_rules_changed(self) -> None:
        """Passwords or access rules were replaced: forget every verdict that was remembered."""
        self.router.forget_routes()

    # Life

    def start(self, default_policy: Policy) -> Deferred[None]:
        """
        Take up what the store remembers, and start the clock.

        :param default_policy: holds for kept sessions until their client comes back.
        """
        loaded = self.store.load()
        if not isinstance(loaded, Deferred):
            loaded = succeed(loaded)
        return loaded.addCallback(self._restore, default_policy)

    def _restore(self, state: records.SavedState, policy: Policy) -> None:
        for topic, message in state.retained.items():
            self.retained.set(topic, message)
        for client_id, saved in list(state.sessions.items()):
            session = Session(self, policy, client_id, saved.username)
            session.restore(saved)
            session.offline_since = self.wheel.now
            self.sessions[client_id] = session
            for request in saved.subscriptions.values():
                subscription = session.subscriptions[request.filter] = Subscription(session, request)
                self.router.subscribe(subscription)
            self.wheel.add(session)
        self.wheel.start()

    def stop(self) -> Deferred[None]:
        """Disconnect every client and make everything durable."""
        for session in list(self.sessions.values()):
            if session.client is not None:
                session.client.connection.close(ReasonCode.SERVER_SHUTTING_DOWN)
                self.client_lost(session.client)
        self.turn.flush()
        self.wheel.stop()
        return self.store.close()

    def gauges(self) -> Gauges:
        """Counted anew at each call: not for the hot path."""
        retained = self.retained.values()
        messages = len(retained)
        payload_bytes = sum(len(message.payload) for message in retained)
        for session in self.sessions.values():
            messages += session.waiting_messages
            payload_bytes += session.waiting_bytes
        return Gauges(
            self.online,
            len(self.sessions),
            len(self.router.subscriptions),
            len(retained),
            messages,
            payload_bytes,
        )


def _invented_id(prefix: str) -> str:
    """A client id for a client that brought none (v5 [MQTT-3.1.3-6])."""
    return prefix + "".join(secrets.choice(_ID_ALPHABET) for _ in range(22))


def _will_message(will: Will, mount_point: str) -> Message:
    return Message(mount_point + will.topic, will.payload, will.qos, will.retain)


def _is_reserved(topic: str) -> bool:
    """
    Whether only the broker itself publishes there. The exception is Mosquitto's: bridges tell of their
    state on ``$SYS/broker/connection/NAME/state``.
    """
    if topic.startswith("$SYS/broker/connection/") and topic.endswith("/state") and topic.count("/") == 4:
        return False
    return topic.startswith(("$SYS/", "$CONTROL/", "$share/")) or topic in ("$SYS", "$CONTROL", "$share")
