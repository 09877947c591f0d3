"""
One CONNECT on its way to a CONNACK.

    CONNECT ──▶ acceptable? ──▶ who is it? ──▶ session ──▶ CONNACK, what waits
                    │             │  ▲  │
                    ▼        AUTH ▼  │  ▼
                 refused     (challenge)  refused

Whoever is asked may answer later; the connection's reading is paused meanwhile.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.broker.client import Client
from pushd.broker.exchange import Exchange
from pushd.broker.interfaces import AuthStep, Credentials, IConnection, ISubscriber, Verdict
from pushd.broker.policy import Policy
from pushd.broker.session import Session
from pushd.broker.terms import Terms, session_expiry
from pushd.broker.will import Will
from pushd.mqtt.codes import PropertyId, ReasonCode, Version
from pushd.mqtt.errors import ProtocolError
from pushd.mqtt.packets import Auth, Connack, Connect, Properties
from pushd.mqtt.writer import encode

if TYPE_CHECKING:
    from pushd.broker.broker import Broker

log = Logger()

_ID_ALPHABET = string.ascii_letters + string.digits


class Admission:
    """Lives from the CONNECT to its CONNACK."""

    __slots__ = ("_answer", "_broker", "_connection", "_credentials", "_exchange", "_packet", "_policy")

    def __init__(
        self,
        broker: Broker,
        packet: Connect,
        credentials: Credentials,
        policy: Policy,
        connection: IConnection,
    ) -> None:
        self._broker = broker
        self._packet = packet
        self._credentials = credentials
        self._policy = policy
        self._connection = connection
        self._exchange: Exchange | None = None
        self._answer: Properties = {}  # of the CONNACK

    def begin(self) -> Deferred[None] | None:
        """
        Decide; the connection is told by `accept`, `refuse` or `challenge`.

        :return: ``None`` when that was done at once, else a Deferred that fires when it is.
        """
        problem = self._problem()
        if problem is not None:
            self._connection.refuse(*problem)
            return None
        self._settle_client_id()
        method = self._packet.properties.get(PropertyId.AUTHENTICATION_METHOD)
        if method is None:
            return self._then(self._policy.authenticator.authenticate(self._credentials), self._decided)
        known = self._policy.auth_methods.get(cast(str, method))
        if known is None:
            self._connection.refuse(  # v5 [MQTT-4.12.0-1]
                ReasonCode.BAD_AUTHENTICATION_METHOD, "an authentication method that we do not have"
            )
            return None
        self._exchange = Exchange(known, self._credentials)
        return self._then(self._exchange.step(self._packet.properties), self._stepped)

    def go_on(self, packet: Auth) -> Deferred[None] | None:
        """
        The client's answer to a challenge. Returns as `begin` does.

        :raises ProtocolError: it is of another method, or does not go on (v5 [MQTT-4.12.0-3]).
        """
        assert self._exchange is not None  # only its challenges are answered
        if packet.code is not ReasonCode.CONTINUE_AUTHENTICATION:
            raise ProtocolError(f"AUTH with {packet.code.name} before the CONNACK")
        return self._then(self._exchange.step(packet.properties), self._stepped)

    def _problem(self) -> tuple[ReasonCode, str] | None:
        """:return: why this CONNECT is refused whoever sends it, or ``None``."""
        packet, policy, limits = self._packet, self._policy, self._broker.limits
        if packet.version not in policy.accept_protocol_versions:
            return ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, f"version {packet.version.name} is not accepted"
        if not packet.client_id and not policy.allow_zero_length_clientid:
            return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "no client id"
        if not (packet.client_id or policy.auto_id_prefix).startswith(policy.clientid_prefixes):
            return ReasonCode.NOT_AUTHORIZED, "a client id without the prefix of clientid_prefixes"
        if packet.version is not Version.V5 and self._keep_alive_s() != packet.keep_alive_s:
            # There is no Server Keep Alive to tell it; Mosquitto's answer is this code, too.
            return (
                ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
                f"keep alive {packet.keep_alive_s} above max_keepalive",
            )
        will = packet.will
        if will is not None and will.retain and not limits.retain_available:
            return ReasonCode.RETAIN_NOT_SUPPORTED, "a retained Will"  # v5 [MQTT-3.2.2-13]
        if will is not None and will.qos > policy.max_qos:
            return ReasonCode.QOS_NOT_SUPPORTED, f"a Will of QoS {will.qos}"  # v5 [MQTT-3.2.2-12]
        return None

    def _keep_alive_s(self) -> int:
        """What the client asks for, or less if we want to hear of it sooner; 0 is never."""
        asked, longest = self._packet.keep_alive_s, self._broker.limits.max_keepalive_s
        return longest if longest and not 0 < asked <= longest else asked

    def _settle_client_id(self) -> None:
        """A client that brought none is given one, and told in version 5 (v5 [MQTT-3.1.3-6])."""
        if self._packet.client_id:
            return
        invented = "".join(secrets.choice(_ID_ALPHABET) for _ in range(22))
        self._packet.client_id = self._credentials.client_id = self._policy.auto_id_prefix + invented
        self._answer[PropertyId.ASSIGNED_CLIENT_IDENTIFIER] = self._packet.client_id

    def _then(self, answer: Any, go_on: Callable[[Any], Deferred[None] | None]) -> Deferred[None] | None:
        if not isinstance(answer, Deferred):
            return go_on(answer)
        return answer.addErrback(self._undecided).addCallback(go_on)

    def _undecided(self, failure: Failure) -> ReasonCode | AuthStep:
        log.failure("authentication failed to decide", failure=failure)
        code = ReasonCode.SERVER_UNAVAILABLE
        return code if self._exchange is None else AuthStep(code)

    def _stepped(self, step: AuthStep) -> Deferred[None] | None:
        assert self._exchange is not None  # it made the step
        if step.code is ReasonCode.CONTINUE_AUTHENTICATION:
            self._connection.challenge(self, self._exchange.answer(step))
            return None
        if step.code is ReasonCode.SUCCESS:
            self._credentials.username = step.username
            self._answer.update(self._exchange.answer(step).properties)
        return self._decided(step.code)

    def _decided(self, verdict: Verdict) -> Deferred[None] | None:
        if verdict is ReasonCode.SUCCESS and self._policy.use_username_as_clientid:
            verdict = self._take_username()
        hook = self._policy.hooks.connect
        if hook is None or verdict is not ReasonCode.SUCCESS or not self._connection.is_open:
            return self._judged(verdict)
        return self._then(hook(self._credentials, self._packet), self._judged)

    def _take_username(self) -> ReasonCode:
        """
        ``use_username_as_clientid``: as a certificate or a password has proven it, and not as it was sent.

        :return: whether there is one, as a verdict.
        """
        username = self._credentials.username
        if not username:
            return ReasonCode.NOT_AUTHORIZED
        self._packet.client_id = self._credentials.client_id = username
        if PropertyId.ASSIGNED_CLIENT_IDENTIFIER in self._answer:
            self._answer[PropertyId.ASSIGNED_CLIENT_IDENTIFIER] = username
        return ReasonCode.SUCCESS

    def _judged(self, verdict: Verdict) -> Deferred[None] | None:
        if not self._connection.is_open:
            return None  # gone while we asked: it must not take its session from who may have come since
        if verdict is not ReasonCode.SUCCESS:
            self._connection.refuse(verdict or ReasonCode.NOT_AUTHORIZED, "not authorised")
            return None
        terms = None
        if self._packet.version is Version.V5:
            terms = self._agree()
            if 0 < terms.max_packet_bytes < len(encode(Connack(properties=self._answer), Version.V5)):
                # v5 [MQTT-3.1.2-24]. What we announce must be told, so there is nothing to leave out.
                self._connection.refuse(ReasonCode.PACKET_TOO_LARGE, "no room for a CONNACK")
                return None
        return self._open(terms)

    def _agree(self) -> Terms:
        """What holds between a version 5 client and us; our side of it goes into the CONNACK."""
        broker, packet = self._broker, self._packet
        terms = Terms(packet, self._policy, broker.limits)
        self._answer.update(terms.announced(broker.limits, self._policy))
        if self._keep_alive_s() != packet.keep_alive_s:
            self._answer[PropertyId.SERVER_KEEP_ALIVE] = self._keep_alive_s()  # v5 [MQTT-3.1.2-21]
        granted = broker.limits.session_expiry(self._expiry_s())
        if granted is not None and granted != self._expiry_s():
            self._answer[PropertyId.SESSION_EXPIRY_INTERVAL] = int(granted)  # v5 §3.2.2.3.2
        return terms

    def _open(self, terms: Terms | None) -> Deferred[None] | None:
        """Admit the client, when all about its user is at hand, and the messages of its kept session are."""
        if not self._connection.is_open:
            return None
        problem = self._no_place()
        if problem is not None:
            self._connection.refuse(ReasonCode.QUOTA_EXCEEDED, problem)
            return None
        packet, broker = self._packet, self._broker
        companion, username = broker.companion, self._credentials.username or None
        preparing = None if companion is None else companion.prepare(username, self._policy)
        if preparing is not None:
            return preparing.addCallbacks(lambda _: self._open(terms), self._not_prepared)
        broker.free(packet.client_id)
        kept = broker.sessions.get(packet.client_id)
        waking = None if kept is None or packet.clean_start else kept.wake()
        if waking is not None:
            # Not at once after that: somebody else may have come with the same client id.
            return waking.addCallbacks(lambda _: self._open(terms), self._not_woken)
        session, present = broker.open_session(
            packet.client_id,
            username,
            self._policy,
            clean=packet.clean_start,
            expiry_s=self._expiry_s(),
        )
        self._admit(session, present, terms)
        return None

    def _not_prepared(self, _: Failure) -> None:
        """Whoever could not say has told the log."""
        if self._connection.is_open:
            self._connection.refuse(ReasonCode.SERVER_UNAVAILABLE, "its friends could not be read")

    def _not_woken(self, failure: Failure) -> None:
        log.failure("the messages of {id} could not be read", failure=failure, id=self._packet.client_id)
        self._connection.refuse(ReasonCode.SERVER_UNAVAILABLE, "its messages could not be read")

    def _no_place(self) -> str | None:
        """:return: why the broker cannot take one more session, or ``None``."""
        broker = self._broker
        kept = broker.sessions.get(self._packet.client_id)
        most = broker.limits.global_max_clients
        if kept is None and 0 <= most <= len(broker.sessions):
            return "global_max_clients reached"
        if broker.memory_is_scarce:
            return "memory_limit reached"
        persistent = self._expiry_s() != 0.0 or (kept is not None and kept.persistent)
        if persistent and broker.store.failing is not None:
            return "nothing can be stored at the moment"
        return None

    def _expiry_s(self) -> float | None:
        """How long the session outlives the connection: in version 3 not at all, or for ever."""
        if self._packet.version is Version.V5:
            return session_expiry(self._packet.properties)
        return 0.0 if self._packet.clean_start else None

    def _admit(self, session: Session, present: bool, terms: Terms | None) -> None:
        packet, broker = self._packet, self._broker
        client = Client(broker, self._policy, session, self._connection, packet.version, terms)
        client.exchange = self._exchange
        client.keep_alive_s = self._keep_alive_s()
        if packet.will is not None:
            client.will = Will(broker, session, packet.will, self._policy.mount_point)
        broker.client_came(client)
        self._connection.accept(client, self._keep_alive_s())
        # What is sent again below may rest on records of the last connection that are not durable yet.
        client.must_wait = session.persistent or (broker.store.pending and broker.store.failing is None)
        if client.will is not None:
            # After that: a client without a session to keep is not made to wait for a disk.
            broker.store.record(client.will.record())
        client.send(encode(Connack(present, properties=self._answer), packet.version))
        if present:
            broker.router.presence_changed(session)
            session.resume(client)
        if broker.subscriber is not None:
            self._subscribe(broker.subscriber, client, present)

    def _subscribe(self, subscriber: ISubscriber, client: Client, present: bool) -> None:
        """
        Whoever hears of the CONNACK of a new session may rely on its automatic subscriptions: nothing leaves
        before they are there, or a publisher who was told "I am online" would publish to nobody. Messages
        that come by the first of them wait behind the CONNACK. A session that was kept has its subscriptions,
        and is only looked at again, while its client goes on.
        """
        subscribing = subscriber.came(client.session)
        if subscribing is not None and not present:
            client.hold()
            subscribing.addCallback(lambda _: client.let_go())
