"""
One network connection that speaks MQTT: bytes in, packets to the broker, bytes out.

This is the sole owner of ``dataReceived``, and the one place where an `MQTTError` becomes a CONNACK, a
DISCONNECT or silence. It decides nothing else. `pushd.transports.tcp` has the shorter way out for plain TCP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IPushProducer
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.broker.admission import Admission
from pushd.broker.broker import Broker
from pushd.broker.client import Client
from pushd.broker.express import handle_express
from pushd.broker.interfaces import Credentials, IConnection, PeerCertificate
from pushd.broker.policy import Policy
from pushd.mqtt.codes import PropertyId, ReasonCode, Version
from pushd.mqtt.connection import Connection, Phase
from pushd.mqtt.errors import MQTTError, Refused
from pushd.mqtt.packets import Auth, Connack, Connect, Disconnect, Packet, Properties
from pushd.mqtt.wire import count_packets, decode_length
from pushd.mqtt.writer import encode
from pushd.transports.addresses import peer_address
from pushd.transports.brake import Brake
from pushd.transports.tls import describe_tls_error

log = Logger()

_ACTIVE = Phase.ACTIVE  # looked up once, not per read

# At `max_write_buffer` a peer that does not read gets no more messages of QoS 0. What else grows is answers
# to what it asks: at so many times the limit, we stop listening to it until it has read all.
DEAF_AT = 2

# How long a packet may take from its first byte to its last, also for a client without a keep-alive.
PACKET_TIMEOUT_S = 60.0

# How long one connection may keep all others waiting: a read may bring thousands of small packets.
SLICE_S = 0.005

# How long a connection that we close may take to accept our last bytes before it is cut off.
CLOSE_TIMEOUT_S = 5.0


class Transport(Protocol):
    """What this needs of Twisted's transports: those of TCP, TLS and Unix sockets have it."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def getPeer(self) -> IAddress: ...
    def getHost(self) -> IAddress: ...
    def getHandle(self) -> Any: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...


@implementer(IProtocol, IConnection, IPushProducer)
class MQTTProtocol:
    """
    Twisted's protocol and the broker's `IConnection`. Not a subclass of Twisted's `Protocol`, whose instances
    have a ``__dict__``: there is one of these per connection.

    Reading is paused while a verdict is pending, while a client is too fast, and while it does not read
    itself; `_pauses` counts for how many of these reasons. What comes all the same waits in `_rest`.

    :ivar client: from the accepted CONNECT on.
    :ivar slot: belongs to the timing wheel.
    """

    __slots__ = (
        "_admission",
        "_begun_at",
        "_brake",
        "_credentials",
        "_deaf",
        "_factory",
        "_heard_at",
        "_needed",
        "_patience_s",
        "_pauses",
        "_rest",
        "_state",
        "_unsent",
        "_unsent_packets",
        "client",
        "slot",
        "transport",
    )

    def __init__(self, factory: MQTTFactory) -> None:
        self._factory = factory
        self._state = Connection(factory.broker.limits.max_packet_size)
        self._rest: bytearray | None = None  # an incomplete packet, or what came while paused
        self._needed = 0  # how long `_rest` must be before it is worth looking at
        self._begun_at: float | None = None  # when the incomplete packet in `_rest` began
        self._pauses = 0
        self._deaf = False  # paused until the peer has read what waits for it
        self._brake: Brake | None = None
        self._heard_at = 0.0
        self._patience_s: float | None = None
        self._unsent = 0  # bytes given to a transport whose buffer is full
        self._unsent_packets = 0  # that they are, the first perhaps not whole
        self.client: Client | None = None
        self._admission: Admission | None = None
        self._credentials: Credentials | None = None  # until they are accepted
        self.slot = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    @property
    def address(self) -> str:
        """Where the peer is, for log lines."""
        return peer_address(self.transport)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended, nor begun to."""
        return self._state.phase is not Phase.CLOSED

    @property
    def unsent_bytes(self) -> int:
        """How much was written that the peer has not taken, as far as we know."""
        return self._unsent

    @property
    def unsent_packets(self) -> int:
        """How many packets these are."""
        return self._unsent_packets

    # Called by Twisted

    def makeConnection(self, transport: Transport) -> None:  # type: ignore[override]  # narrower than ITransport
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        # One deadline from here to a whole CONNECT, TLS handshake included.
        self._wait(self._factory.broker.limits.connect_timeout_s)
        self._watch_buffer()

    def dataReceived(self, data: bytes) -> None:
        self._factory.broker.counters.bytes_received += len(data)
        if self._rest is not None:
            self._rest += data
            if len(self._rest) >= self._needed and not self._pauses:
                self._consume_rest()
        elif self._brake is None:
            self._consume(data)
        else:
            self._consume_braked(data, self._brake)

    def connectionLost(self, reason: Failure) -> None:
        self._patience_s = None
        self._state.close()
        self._forget_rest()
        if self._credentials is not None:
            self._credentials.abandon()
        client, self.client = self.client, None
        if client is not None:
            if client.session.client is client and client.policy.log_connections:
                log.info("Client {id} closed its connection.", id=client.session.client_id, log_type="notice")
            client.lost()
        elif (cause := describe_tls_error(reason.value)) is not None:
            self._factory.broker.counters.refused("tls")
            log.info(
                "Connection from {address} failed: {cause}",
                address=self.address,
                cause=cause,
                log_type="notice",
            )

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._unsent = self._unsent_packets = 1

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._unsent = self._unsent_packets = 0
        if self.client is not None:
            self.client.congested = False
            self._factory.broker.replays.go_on(self.client.session)
        if self._deaf:
            self._deaf = False
            self.resume()

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` follows."""

    def _watch_buffer(self) -> None:
        self.transport.registerProducer(self, True)

    # Bytes in

    def _consume(self, data: bytes) -> None:
        at = 0
        state = self._state
        began = 0.0
        try:
            while not self._pauses:
                # Not once the connection is closing: what comes after its end is not looked at.
                if self.client is not None and state.phase is _ACTIVE:
                    at = handle_express(self.client, data, at)
                cut = state.next_packet(data, at)
                if cut is None:
                    break
                packet, at = cut
                self._handle(packet)
                now = self._factory.wheel.seconds()
                began = began or now
                if now - began > SLICE_S:
                    self._let_others()
            if at < len(data) and state.phase is not Phase.CLOSED:
                self._keep(data, at)
        except MQTTError as error:
            self._broken(error)
            return
        except Exception:
            log.failure("{connection!r} failed", connection=self)
            self.close(ReasonCode.UNSPECIFIED_ERROR)
            return
        if at and self.client is not None:
            self._heard_at = self._factory.wheel.seconds()

    def _let_others(self) -> None:
        """Go on in the next turn of the reactor."""
        self.pause()
        self._factory.broker.turn.afterwards(self.resume)

    def _handle(self, packet: Packet) -> None:
        if self.client is not None:
            self.client.on_packet(packet)
            return
        self._factory.broker.counters.others_received += 1
        if isinstance(packet, Connect):
            self._connect(packet)
        elif isinstance(packet, Auth) and self._admission is not None:
            self._decide(self._admission.go_on(packet))
        else:
            self._close()  # DISCONNECT instead of an answer to our challenge

    def _consume_braked(self, data: bytes, brake: Brake) -> None:
        """Do as `_consume`, and slow down a client that publishes faster than it may."""
        counters = self._factory.broker.counters
        before = counters.publish_received
        self._consume(data)
        if self.is_open:
            brake.passed(counters.publish_received - before)

    def _consume_rest(self) -> None:
        rest, self._rest = self._rest, None
        if rest and self._brake is not None:
            self._consume_braked(bytes(rest), self._brake)
        elif rest:
            self._consume(bytes(rest))
        if self._rest is None:
            self._begun_at = None

    def _keep(self, data: bytes, at: int) -> None:
        """Keep an incomplete packet, and how long it will be: a byte at a time must not cost a look each."""
        self._rest = bytearray(data[at:])
        header = decode_length(data, at + 1)
        self._needed = 0 if header is None else header[1] - at + header[0]
        if at or self._begun_at is None:
            self._begun_at = self._factory.wheel.seconds()
            if not self.slot:  # no keep-alive, so the wheel does not know of it yet
                self._factory.wheel.add(self)

    def _forget_rest(self) -> None:
        self._rest = None
        self._begun_at = None

    def _connect(self, packet: Connect) -> None:
        credentials = self._credentials = Credentials(
            packet.client_id,
            packet.username,
            packet.password,
            self.address,
            self._factory.peer_certificate(self.transport),
        )
        self._decide(self._factory.broker.connect(packet, credentials, self._factory.policy, self))

    def _decide(self, deciding: Deferred[None] | None) -> None:
        if deciding is not None:
            self.pause()
            deciding.addErrback(self._failed)
            deciding.addCallback(lambda _: self.resume())

    def _failed(self, failure: Failure) -> None:
        log.failure("{connection!r} failed", failure=failure, connection=self)
        self.close(ReasonCode.UNSPECIFIED_ERROR)

    def _broken(self, error: MQTTError) -> None:
        """The one place where an exception becomes CONNACK, DISCONNECT or silence."""
        if self.client is None and (isinstance(error, Refused) or self._state.version is Version.V5):
            self.refuse(error.code, str(error))  # v5 §4.13.1; version 3 has no code for what is malformed
            return
        log.info(
            "{connection}: {error} ({code}), disconnecting",
            connection=self._name(),
            error=error,
            code=f"0x{error.code:02X} {error.code.name}",
            log_type="notice",
        )
        self.close(error.code, str(error))

    def _name(self) -> str:
        if self.client is None:
            return f"Connection from {self.address}"
        return f"Client {self.client.session.client_id} ({self.address})"

    # What the broker tells its client's connection

    def accept(self, client: Client, keep_alive_s: float) -> None:
        self._state.accept()
        self._admission = self._credentials = None
        self.client = client
        if client.policy.log_connections:
            self._tell_connected(client, keep_alive_s)
        rate = self._factory.broker.limits.max_message_rate
        if rate:
            self._brake = Brake(self, self._factory.wheel, rate)
        # One and a half times the keep alive (v3 [MQTT-3.1.2-24], v5 [MQTT-3.1.2-22]).
        self._wait(keep_alive_s * 1.5 if keep_alive_s else None)

    def _tell_connected(self, client: Client, keep_alive_s: float) -> None:
        session = client.session
        log.info(
            "New client connected from {address} as {id} (p{version}, c{clean}, k{keep_alive}{user}).",
            address=self.address,
            id=session.client_id,
            version=int(client.version),
            clean=int(not session.persistent),
            keep_alive=int(keep_alive_s),
            user="" if session.username is None else f", u'{session.username}'",
            log_type="notice",
        )

    def challenge(self, admission: Admission, packet: Auth) -> None:
        if self._state.phase is Phase.CLOSED:
            return
        self._state.challenge()
        self._admission = admission
        self.write(encode(packet, self._state.version))

    def refuse(self, code: ReasonCode, cause: str) -> None:
        if self._state.phase is Phase.CLOSED:
            return
        self._factory.broker.counters.refused(code.name.lower())
        log.info(
            "Connection from {address} refused: {cause} ({code})",
            address=self.address,
            cause=cause,
            code=f"0x{code:02X} {code.name}",
            log_type="notice",
        )
        data = encode(Connack(code=code, properties=_reason(cause)), self._state.version)
        if 0 < self._state.peer_max_packet_bytes < len(data):  # v5 [MQTT-3.2.2-19]
            data = encode(Connack(code=code), self._state.version)
        self.write(data)
        self._close()

    def write(self, data: bytes) -> None:
        self.transport.write(data)
        if self._unsent:
            self._add_unsent(data)

    def _add_unsent(self, data: bytes, sent: int = 0) -> None:
        """:param sent: so many bytes of the beginning have left."""
        self._unsent += len(data) - sent
        self._unsent_packets += count_packets(data, sent)
        limit = self._factory.broker.limits.max_write_buffer
        if self._unsent > limit and self.client is not None:
            self.client.congested = True
            if self._unsent > DEAF_AT * limit and not self._deaf:
                self._deaf = True
                self.pause()

    def close(self, code: ReasonCode, cause: str = "") -> None:
        if self._state.phase is Phase.CLOSED and self._patience_s == CLOSE_TIMEOUT_S:
            return
        if code >= 0x80:
            self._count_end(code.name.lower())
        if self.client is not None and self._state.version is Version.V5 and code >= 0x80:
            self.client.send_explained(Disconnect(code), cause)  # v5 §4.13.1
        self._close()

    def _count_end(self, reason: str) -> None:
        counters = self._factory.broker.counters
        if self.client is None:
            counters.refused(reason)
        else:
            counters.closed(reason)

    def _close(self) -> None:
        self._state.close()
        self._forget_rest()
        self._wait(CLOSE_TIMEOUT_S)
        # At the end of the turn, so that what is in the outbox goes first.
        self._factory.broker.turn.afterwards(self._let_go)

    def _let_go(self) -> None:
        if self.client is not None and self.client.held:
            # What waits for the store goes first, our DISCONNECT behind it; the wheel sees to an end.
            self._factory.broker.store.barrier().addCallback(lambda _: self._let_go())
            return
        self.transport.unregisterProducer()  # or TLS would wait for it before it closes
        self.transport.loseConnection()

    def pause(self) -> None:
        self._pauses += 1
        if self._rest is None:
            self._rest = bytearray()
        self.transport.pauseProducing()

    def resume(self) -> None:
        self._pauses -= 1
        if self._pauses or self._state.phase is Phase.CLOSED:
            return
        if self.client is not None:
            # We did not listen; what it did meanwhile, or did not, is no fault of its own.
            self._heard_at = self._factory.wheel.seconds()
            self._begun_at = None
        self._consume_rest()
        if not self._pauses:
            self.transport.resumeProducing()

    # On the wheel: CONNECT in time, keep-alive, and an end to closing

    def _wait(self, patience_s: float | None) -> None:
        self._heard_at = self._factory.wheel.seconds()
        self._patience_s = patience_s
        self._factory.wheel.add(self)

    def due_at(self) -> float | None:
        patience_s = self._patience_s
        if self._pauses and self._state.phase is _ACTIVE:
            return None if patience_s is None else self._factory.wheel.seconds() + patience_s
        due_at = None if patience_s is None else self._heard_at + patience_s
        if self._begun_at is None:
            return due_at
        packet_due_at = self._begun_at + PACKET_TIMEOUT_S
        return packet_due_at if due_at is None else min(due_at, packet_due_at)

    def on_due(self) -> None:
        if self._state.phase is Phase.CLOSED:
            self._patience_s = None
            self.transport.abortConnection()
            return
        log.info(
            "{connection} has exceeded its time, disconnecting", connection=self._name(), log_type="notice"
        )
        if self.client is None:
            self._factory.broker.counters.refused("connect_timeout")
            self.close(ReasonCode.SUCCESS)
        else:
            self.close(ReasonCode.KEEP_ALIVE_TIMEOUT)


def _reason(cause: str) -> Properties:
    """A Reason String: allowed in a CONNACK whatever the client asked for (v5 §3.1.2.11.7)."""
    return {PropertyId.REASON_STRING: cause} if cause else {}


def no_certificate(transport: Transport) -> PeerCertificate | None:
    """What a listener without TLS knows of its peers' certificates."""
    return None


class MQTTFactory(Factory):
    """
    One listener.

    :param peer_certificate: the verified certificate of a connection's peer, if it showed one.
    """

    noisy = False
    protocol_class: type[MQTTProtocol] = MQTTProtocol

    def __init__(
        self,
        broker: Broker,
        policy: Policy,
        peer_certificate: Callable[[Transport], PeerCertificate | None] = no_certificate,
    ) -> None:
        self.broker = broker
        self.wheel = broker.wheel
        self.policy = policy
        self.peer_certificate = peer_certificate

    def buildProtocol(self, addr: IAddress | None) -> MQTTProtocol:  # type: ignore[override]  # no `factory` on it
        self.broker.counters.connections_accepted += 1
        return self.protocol_class(self)
