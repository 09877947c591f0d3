"""
An online client: the broker's side of one network connection, from the accepted CONNECT to its end.

It answers each packet of the client and collects in `outbox` what the client will be sent when the reactor's
turn is over (`pushd.broker.turn`). What outlives the connection is in its `Session`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.broker.exchange import Exchange
from pushd.broker.hooks import Decision
from pushd.broker.interfaces import AuthStep, Credentials, IConnection, Verdict
from pushd.broker.message import Message
from pushd.broker.session import Session
from pushd.broker.subscribing import Subscribing, unsubscribe
from pushd.broker.terms import Terms, session_expiry
from pushd.broker.will import Will, passed_on
from pushd.mqtt import packets
from pushd.mqtt.codes import PacketType, PropertyId, ReasonCode, Version, sayable
from pushd.mqtt.errors import ProtocolError
from pushd.mqtt.packets import Publish
from pushd.mqtt.writer import encode

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.policy import Policy
    from pushd.broker.router import Route

PUBACK, PUBREC, PUBREL, PUBCOMP = b"\x40\x02", b"\x50\x02", 0x62, b"\x70\x02"
PINGRESP = b"\xd0\x00"


class Client:
    """
    :ivar outbox: pieces of bytes to send at the end of the turn, in their order.
    :ivar must_wait: whether the outbox has something that may leave only when the store is durable.
    :ivar held: how many outboxes already wait for that; later ones queue behind them.
    :ivar congested: the peer does not read: QoS 0 messages for it are dropped.
    :ivar plain_v3: whether it is sent messages exactly as `Message.image_v3` has them.
    :ivar plain_v5: the same for `Message.image_v5`, where there is one.
    :ivar choosy: whether it has a Maximum Packet Size.
    :ivar terms: what a version 5 client agreed on with us; ``None`` for version 3.
    :ivar routes: those that this client may publish to, by the topic name's UTF-8 as the client spells it.
    :ivar window: how many QoS 1 and 2 messages may be in flight to it.
    :ivar window_bytes: how many bytes of payload; 0 is no limit.
    :ivar impatient_until: when it has waited for a slow subscriber in vain, it is not made to before this.
    :ivar pressure: the broker's.
    :ivar keep_alive_s: within which it must be heard; 0 for never.
    :ivar since: when its CONNECT was accepted, in the wheel's seconds.
    """

    # A client that publishes to more topics than this pays for the look-up of the access rules again.
    MAX_ROUTES = 1024

    __slots__ = (
        "_broker",
        "choosy",
        "congested",
        "connection",
        "counters",
        "exchange",
        "held",
        "impatient_until",
        "keep_alive_s",
        "must_wait",
        "outbox",
        "plain_v3",
        "plain_v5",
        "policy",
        "pressure",
        "routes",
        "session",
        "since",
        "terms",
        "turn",
        "v5",
        "version",
        "will",
        "window",
        "window_bytes",
    )

    _log = Logger()

    def __init__(
        self,
        broker: Broker,
        policy: Policy,
        session: Session,
        connection: IConnection,
        version: Version,
        terms: Terms | None = None,
    ) -> None:
        self._broker = broker
        self.policy = policy
        self.session = session
        self.connection = connection
        self.version = version
        self.v5 = terms is not None
        self.terms = terms
        self.plain_v3 = terms is None and not policy.mount_point
        self.plain_v5 = terms is not None and not terms.uses_aliases and not policy.mount_point
        self.choosy = terms is not None and terms.max_packet_bytes > 0
        self.turn = broker.turn
        self.pressure = broker.pressure
        self.counters = broker.counters
        self.settle_window()
        self.window_bytes = broker.limits.max_inflight_bytes
        self.impatient_until = 0.0
        self.keep_alive_s = 0
        self.since = broker.wheel.seconds()
        self.will: Will | None = None
        self.exchange: Exchange | None = None
        self.outbox: list[bytes] = []
        self.must_wait = False
        self.held = 0
        self.congested = False
        self.routes: dict[bytes, Route] = NO_ROUTES

    def __repr__(self) -> str:
        return f"<Client {self.session.client_id!r}>"

    def settle_window(self) -> None:
        """
        How much it may be sent at once: what both sides agreed on; nothing while the store fails that would
        have to record it first.
        """
        window = self._broker.limits.window
        self.window = window if self.terms is None else min(self.terms.window, window)
        if self.session.persistent and self._broker.store.failing is not None:
            self.window = 0

    # Sending

    def send(self, data: bytes) -> None:
        """Put one whole packet into the outbox."""
        outbox = self.outbox
        if not outbox:
            self.turn.mark(self)
        outbox.append(data)
        self.counters.others_sent += 1

    def hold(self) -> None:
        """
        Let nothing leave that was sent in this turn, nor what is sent from now on, before `let_go`: only who
        finds the outbox empty marks it.
        """
        self.turn.unmark(self)

    def let_go(self) -> None:
        """Send what `hold` has held back."""
        self.turn.mark(self)

    def send_ack(self, first_byte: int, packet_id: int) -> None:
        """Send an acknowledgement with Success; it leaves when what it acknowledges is durable."""
        self.must_wait |= self._broker.store.pending
        self.send(bytes((first_byte, 2, packet_id >> 8, packet_id & 0xFF)))

    def send_explained(self, packet: packets.Puback | packets.Pubrec | packets.Disconnect, why: str) -> None:
        """
        Send a packet with a Reason String, unless that makes it larger than the client takes
        (v5 [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.14.2-3]).

        :param why: empty for none.
        """
        data = encode(packet, self.version)
        if why:
            explained = encode(replace(packet, properties={PropertyId.REASON_STRING: why}), self.version)
            if self.terms is None or not 0 < self.terms.max_packet_bytes < len(explained):
                data = explained
        self.send(data)

    def send_unacknowledged(self, message: Message) -> None:
        """Send a message at QoS 0, or drop it if the client does not keep up."""
        if self.congested:
            self.session.dropped(message, "slow_consumer")
            return
        if self.choosy and not self.fits(message):
            self.session.dropped(message, "packet_too_large")  # v5 [MQTT-3.1.2-25]
            return
        if message.push is not None:
            self._broker.receipts.sent(self.session, message)
        outbox = self.outbox
        if not outbox:
            self.turn.mark(self)
        outbox += self._image(message)
        counters = self.counters
        counters.publish_sent += 1
        counters.publish_bytes_sent += len(message.payload)

    def send_acknowledged(self, message: Message, packet_id: int, flags: int = 0) -> None:
        """
        Send a message at QoS 1 or 2.

        :param flags: more bits for the first byte: DUP when it is sent again.
        """
        if self.plain_v3:
            image = message.image_v3
        else:
            image = message.image_v5 if self.plain_v5 else None
        head, tail = image or self._image(message)
        if flags:
            head = bytes((head[0] | flags,)) + head[1:]
        outbox = self.outbox
        if not outbox:
            self.turn.mark(self)
        outbox += (head, packet_id.to_bytes(2, "big"), tail)
        counters = self.counters
        counters.publish_sent += 1
        counters.publish_bytes_sent += len(message.payload)

    def _image(self, message: Message) -> tuple[bytes, bytes]:
        """:return: the wire image of a message as this client is sent it."""
        if self.terms is not None:
            return self.terms.image(message, self.policy.mount_point, self._broker.wheel.seconds)
        if self.policy.mount_point:
            return message.encode_v3(self.policy.mount_point)
        return message.image_v3 or message.encode_v3()

    def fits(self, message: Message) -> bool:
        """Whether the client takes packets as large as this message makes."""
        return self.terms is None or self.terms.fits(message, self.policy.mount_point, self._broker.wheel.now)

    def takes_bytes_of(self, v5: bool) -> bool:
        """Whether a QoS 0 PUBLISH can be passed on as it came from a client of version 5 or of version 3."""
        if self.terms is None:
            return not v5 and not self.policy.mount_point
        return v5 and not self.policy.mount_point and self.terms.takes_any_bytes

    # Packets of the client

    def on_packet(self, packet: packets.Packet) -> None:
        """
        Answer one packet.

        :raises MQTTError: the connection must end.
        """
        if not isinstance(packet, Publish):
            self.counters.others_received += 1
        _ON_PACKET.get(type(packet), _unexpected)(self, packet)

    def on_publish(self, packet: Publish) -> None:
        """
        Pass a message on and acknowledge it (v5 §4.3).

        Clients in the field (MQTT.js) send QoS 1 without counting. Our PUBACKs only wait for the end of the
        turn, or for the store: such a client is slowed down until they have left, and not cut off.
        """
        terms = self.terms
        if terms is not None and packet.qos == 1 and terms.owed >= terms.receive_maximum:
            self.decide_later(terms.when_settled(), lambda _: self.on_publish(packet))
            return
        counters = self.counters
        counters.publish_received += 1
        counters.publish_bytes_received += len(packet.payload)
        if packet.retain and not self._broker.limits.retain_available:
            # v5 [MQTT-3.2.2-14]
            raise ProtocolError("RETAIN is not available", ReasonCode.RETAIN_NOT_SUPPORTED)
        if packet.qos > self.policy.max_qos:
            # v5 [MQTT-3.2.2-11]
            raise ProtocolError(f"QoS {packet.qos} above max_qos", ReasonCode.QOS_NOT_SUPPORTED)
        if terms is not None:
            self._check_terms(terms, packet)
        topic = self.policy.mount_point + packet.topic
        code: Verdict | Deferred[Verdict] = self._broker.may_write(self.policy, self.session, topic)
        if isinstance(code, Deferred):
            self.decide_later(code.addErrback(self.no_verdict), partial(self._publish, packet, topic))
        else:
            self._publish(packet, topic, code)

    def _check_terms(self, terms: Terms, packet: Publish) -> None:
        """Spell out a Topic Alias; see that the client keeps to our Receive Maximum (v5 [MQTT-3.3.4-7])."""
        alias = packet.properties.pop(PropertyId.TOPIC_ALIAS, 0)
        if alias:
            packet.topic = terms.topic_of(packet.topic, cast(int, alias))
        received = self.session.received or ()
        if packet.qos == 2 and len(received) >= terms.receive_maximum and packet.packet_id not in received:
            raise ProtocolError("more messages than our Receive Maximum", ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)

    @property
    def at_receive_maximum(self) -> bool:
        """Whether one more QoS 1 or 2 message of this client may be above our Receive Maximum."""
        terms = self.terms
        return terms is not None and terms.owed + len(self.session.received or ()) >= terms.receive_maximum

    def _publish(self, packet: Publish, topic: str, code: Verdict) -> None:
        message = Message(topic, packet.payload, packet.qos, packet.retain)
        if packet.retain:
            message.source = self.session.source
        if packet.properties:
            self._pass_properties(packet, message)
        hook = self.policy.hooks.publish
        if hook is None or code is not ReasonCode.SUCCESS or not self._is_news(packet):
            self._take(packet, message, code)
            return
        decision = hook(self.session, message)
        if isinstance(decision, Deferred):
            self.decide_later(decision, partial(self._take_decided, packet, message))
        else:
            self._take_decided(packet, message, decision)

    def _is_news(self, packet: Publish) -> bool:
        """Whether a message is worth a look: it is not too large, and did not come before."""
        return not self._is_too_large(packet) and not self._came_before(packet)

    def _is_too_large(self, packet: Publish) -> bool:
        return 0 < self._broker.limits.message_size_limit < len(packet.payload)

    def _came_before(self, packet: Publish) -> bool:
        """Whether it is of QoS 2 and has been taken already, so that only its answer got lost."""
        return packet.qos == 2 and packet.packet_id in (self.session.received or ())

    def _take_decided(self, packet: Publish, message: Message, decision: Decision) -> None:
        if isinstance(decision, Message):
            self._take(packet, decision, ReasonCode.SUCCESS)
        elif decision is ReasonCode.SUCCESS:
            self._make_vanish(packet)
        else:
            self._take(packet, message, decision)

    def _make_vanish(self, packet: Publish) -> None:
        """Acknowledge a message that nobody gets as if it had been passed on."""
        self.counters.dropped("plugin")
        if packet.qos == 2:
            self.session.hold_received(packet.packet_id)
        if packet.qos:
            self.accept_publish(packet.qos, packet.packet_id.to_bytes(2, "big"))

    def _take(self, packet: Publish, message: Message, code: Verdict) -> None:
        """
        :param message: what is to be passed on of the packet.
        :param code: ``SUCCESS``, or why it is not.
        """
        dropped = "not_authorized" if code is ReasonCode.NOT_AUTHORIZED else "refused"
        if self._is_too_large(packet):
            code, dropped = ReasonCode.QUOTA_EXCEEDED, "message_size_limit"  # PUBACK has no PACKET_TOO_LARGE
        elif code is ReasonCode.SUCCESS and packet.qos and not self._has_place(packet, message):
            if self.v5:
                code, dropped = ReasonCode.QUOTA_EXCEEDED, "quota_exceeded"
            elif self._broker.store.failing is None:
                self._publish_later(packet, message)
                return
        if code is ReasonCode.SUCCESS:
            code = self._pass_on(packet, message)
        else:
            self.counters.dropped(dropped)
        if packet.qos:
            self._answer_publish(packet, ReasonCode.NOT_AUTHORIZED if code is None else code)

    def _has_place(self, packet: Publish, message: Message) -> bool:
        """Whether a message of QoS 1 or 2 can be taken; one of QoS 2 that comes again was taken before."""
        if self._came_before(packet):
            return True
        if self.v5 and not self._broker.can_retain(message, self.session):
            return False  # version 3 would not hear of it: there it is passed on, and not kept
        return self._broker.has_place(message, self.session)

    def _publish_later(self, packet: Publish, message: Message) -> None:
        """Some queue is full, and nothing may be dropped: version 3 has no words for it but silence."""

        def decided(_: None) -> None:
            if self.session.client is self:
                self._answer_publish(packet, self._pass_on(packet, message))

        has_place = partial(self._broker.has_place, message, self.session)
        self.decide_later(self.pressure.when(lambda: not self.connection.is_open or has_place()), decided)

    def _pass_on(self, packet: Publish, message: Message) -> ReasonCode:
        """Give a message that is allowed to its subscribers, unless it came before."""
        if packet.qos == 2 and not self.session.hold_received(packet.packet_id):
            self.must_wait = True  # perhaps so shortly before that its record is not durable yet
            return ReasonCode.SUCCESS
        code = self._broker.publish_message(message, self.session)
        if self._may_hurry():
            self._remember(packet.topic.encode(), self._broker.router.route(message.topic))
        if self.pressure.strained is not None:
            self.pressure.hold_back(self)
        return code

    def _may_hurry(self) -> bool:
        """Whether what it publishes next to the same topic name may take the express lane."""
        broker = self._broker
        unasked = self.policy.hooks.publish is None and not broker.limits.checks_each_publish
        return unasked and broker.store.failing is None

    def _pass_properties(self, packet: Publish, message: Message) -> None:
        message.properties = passed_on(packet.properties)
        expiry_s = packet.properties.get(PropertyId.MESSAGE_EXPIRY_INTERVAL)
        if expiry_s is not None:
            message.expires_at = self._broker.expires_at(cast(int, expiry_s))

    def _answer_publish(self, packet: Publish, code: ReasonCode) -> None:
        """
        Version 3 has no way to say no: a message that is refused is acknowledged all the same, and vanishes
        (v3 [MQTT-3.3.5-2]).
        """
        if self.terms is not None and code is not ReasonCode.SUCCESS:
            if code < 0x80:
                self.must_wait |= self._broker.store.pending
            self.terms.owed += packet.qos == 1
            make = packets.Puback if packet.qos == 1 else packets.Pubrec
            code = sayable(code, PacketType.PUBACK)
            self.send_explained(make(packet.packet_id, code), self._reason(code))
        else:
            self.accept_publish(packet.qos, packet.packet_id.to_bytes(2, "big"))

    def accept_publish(self, qos: int, packet_id: bytes) -> None:
        """PUBACK or PUBREC with Success, when what came of the message is durable."""
        if self.terms is not None:
            self.terms.owed += qos == 1
        self.must_wait |= self._broker.store.pending
        self.send((PUBACK if qos == 1 else PUBREC) + packet_id)

    def _remember(self, name: bytes, route: Route) -> None:
        """Unless each message has to be looked at, for where routing rules send it."""
        if route.ruled:
            return
        if self.routes is NO_ROUTES or len(self.routes) >= self.MAX_ROUTES:
            self.routes = {}
        self.routes[name] = route

    def on_puback(self, packet_id: int, code: ReasonCode = ReasonCode.SUCCESS) -> None:
        if code >= 0x80:
            self.session.on_refused(packet_id, 1)
        else:
            self.session.on_puback(packet_id)

    def on_pubrec(self, packet_id: int, code: ReasonCode = ReasonCode.SUCCESS) -> None:
        if code >= 0x80:
            self.session.on_refused(packet_id, 2)
        elif self.session.on_pubrec(packet_id) or not self.v5:
            # In version 3 also for an unknown identifier: it ends the client's side of the handshake.
            self.send_ack(PUBREL, packet_id)
        else:
            self.send(encode(packets.Pubrel(packet_id, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), self.version))

    def on_pubrel(self, packet_id: int) -> None:
        known = self.session.release_received(packet_id)
        self.must_wait |= self._broker.store.pending
        if known or not self.v5:
            self.send(PUBCOMP + packet_id.to_bytes(2, "big"))
        else:
            self.send(
                encode(packets.Pubcomp(packet_id, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), self.version)
            )

    def on_pubcomp(self, packet_id: int) -> None:
        self.session.on_pubcomp(packet_id)

    def on_pingreq(self) -> None:
        """Answer at once, even when all else for this client waits for the store: it is well connected."""
        if self.held:
            self.counters.others_sent += 1
            self.counters.bytes_sent += len(PINGRESP)
            self.connection.write(PINGRESP)
        else:
            self.send(PINGRESP)

    def on_disconnect(self, packet: packets.Disconnect) -> None:
        """
        A farewell. A normal one discards the Will (v3 and v5 [MQTT-3.14.4-3]); any other code of version 5,
        one that asks for the Will or an error, does not (v5 [MQTT-3.1.2-8]).
        """
        if PropertyId.SESSION_EXPIRY_INTERVAL in packet.properties:
            self._change_expiry(session_expiry(packet.properties))
        if packet.code is ReasonCode.NORMAL_DISCONNECTION and self.will is not None:
            self.will = None
            self._broker.wills.forget(self.session.client_id)
        self.connection.close(ReasonCode.SUCCESS)

    def _change_expiry(self, expiry_s: float | None) -> None:
        """v5 §3.14.2.2.2. A session that was to end with the connection cannot be kept after all."""
        if not self.session.persistent and expiry_s != 0.0:
            raise ProtocolError("a Session Expiry Interval for a session without one")
        self._broker.change_expiry(self.session, expiry_s)

    def on_auth(self, packet: packets.Auth) -> None:
        """The client wants to re-authenticate, or goes on with it (v5 §4.12.1)."""
        if self.exchange is None:
            raise ProtocolError("AUTH, but no Authentication Method at CONNECT")  # v5 [MQTT-4.12.1-1]
        if packet.code is ReasonCode.RE_AUTHENTICATE:
            method = self.policy.auth_methods.get(self.exchange.method)
            if method is None:  # a reload has taken it away
                raise ProtocolError("a method no longer offered", ReasonCode.BAD_AUTHENTICATION_METHOD)
            self.exchange = Exchange(method, Credentials(self.session.client_id, None, None))
        elif self.exchange.finished:
            raise ProtocolError("AUTH without Re-authenticate")
        step = self.exchange.step(packet.properties)
        if isinstance(step, Deferred):
            self.decide_later(step, self._stepped)
        else:
            self._stepped(step)

    def _stepped(self, step: AuthStep) -> None:
        assert self.exchange is not None  # it made the step
        if step.code is ReasonCode.SUCCESS and step.username != self.session.username:
            step = AuthStep(ReasonCode.NOT_AUTHORIZED)  # a session does not change hands
        if step.code >= 0x80:
            code = sayable(step.code, PacketType.DISCONNECT)
            self.connection.close(code, "re-authentication failed")  # v5 [MQTT-4.12.1-2]
        else:
            self.send(encode(self.exchange.answer(step), self.version))

    def _reason(self, code: ReasonCode) -> str:
        """A Reason String for the client's author, if it wants to hear of problems (v5 [MQTT-3.1.2-29])."""
        if self.terms is None or not self.terms.problem_information or code < 0x80:
            return ""
        return code.name.replace("_", " ").lower()

    def on_subscribe(self, packet: packets.Subscribe) -> None:
        Subscribing(self._broker, self, packet).begin()

    def on_unsubscribe(self, packet: packets.Unsubscribe) -> None:
        unsubscribe(self._broker, self, packet)

    def wait_if_recorded(self) -> None:
        """What is answered now must be durable first, if it is to be at all."""
        if self.session.persistent:
            self.must_wait |= self._broker.store.pending

    # Verdicts that take their time

    def decide_later(self, verdict: Deferred[Any], decided: Callable[[Any], None]) -> None:
        """Read nothing more from this client until the verdict is there."""
        self.connection.pause()
        verdict.addCallback(decided)
        verdict.addErrback(self._fail)
        verdict.addCallback(lambda _: self.connection.resume())

    def no_verdict(self, failure: Failure) -> ReasonCode:
        """An errback: whoever cannot decide has refused."""
        self._log.failure("no verdict for {client!r}", failure=failure, client=self)
        return ReasonCode.NOT_AUTHORIZED

    def _fail(self, failure: Failure) -> None:
        self._log.failure("{client!r} could not be answered", failure=failure, client=self)
        self.connection.close(ReasonCode.UNSPECIFIED_ERROR)

    # The end

    def lost(self) -> None:
        """The network connection is gone. Called once."""
        self._broker.client_lost(self)


# What all clients that have not published yet share. Never written to.
NO_ROUTES: dict[bytes, Route] = {}


def _unexpected(client: Client, packet: Any) -> None:
    raise ProtocolError(f"{type(packet).__name__} while a client is active")


# What a client may send once it is accepted; `pushd.mqtt.connection` has refused anything else before.
_ON_PACKET: dict[type, Callable[[Client, Any], None]] = {
    packets.Publish: Client.on_publish,
    packets.Puback: lambda client, packet: client.on_puback(packet.packet_id, packet.code),
    packets.Pubrec: lambda client, packet: client.on_pubrec(packet.packet_id, packet.code),
    packets.Pubrel: lambda client, packet: client.on_pubrel(packet.packet_id),
    packets.Pubcomp: lambda client, packet: client.on_pubcomp(packet.packet_id),
    packets.Subscribe: Client.on_subscribe,
    packets.Unsubscribe: Client.on_unsubscribe,
    packets.Pingreq: lambda client, packet: client.on_pingreq(),
    packets.Disconnect: Client.on_disconnect,
    packets.Auth: Client.on_auth,
}
