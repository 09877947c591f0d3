"""
MQTT over WebSocket (v5 §6, RFC 6455): what stands between a network connection and an `MQTTProtocol`.

    socket or TLS  <-->  WebSocketTransport  <-->  MQTTProtocol
                         is its protocol           thinks it is the transport

    OPENING --request--> OPEN --MQTT ends--> CLOSING --peer's close frame--.
       |                  `-- peer's close frame, or no proper frames -----+--> CLOSED
       `-- a request for something else -----------------------------------'

The deadline for CONNECT is the MQTT protocol's own and runs from the first moment: the handshake is part of
it. When a connection ends, MQTT is told at once: a Will shall not wait for a peer that never answers a close
frame. How long the network connection then takes is watched here.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from wsproto.frame_protocol import CloseReason
from zope.interface import implementer

from pushd.mqtt.codes import ReasonCode
from pushd.transports.addresses import peer_address
from pushd.transports.frames import (
    Control,
    FrameError,
    FrameReader,
    Opcode,
    encode_close,
    encode_frame,
    read_close,
)
from pushd.transports.outlet import DirectOutlet, Outlet
from pushd.transports.protocol import CLOSE_TIMEOUT_S, MQTTFactory, MQTTProtocol, Transport
from pushd.transports.upgrade import UpgradeRefused, accept, find_head

log = Logger()


class Phase(IntEnum):
    """What a connection is doing; see the top of this file."""

    OPENING = 0
    OPEN = 1
    CLOSING = 2  # we have said so, the peer has not; what else it says is thrown away
    CLOSED = 3


_OPEN = Phase.OPEN  # looked up once, not per write

# Why MQTT ends a connection, as RFC 6455 §7.4.1 has it; all the rest is a normal closure. A page that speaks
# version 3 of MQTT is not told in any other way.
CLOSE_CODES = {
    ReasonCode.SERVER_SHUTTING_DOWN: CloseReason.GOING_AWAY,
    ReasonCode.ADMINISTRATIVE_ACTION: CloseReason.GOING_AWAY,
    ReasonCode.MALFORMED_PACKET: CloseReason.PROTOCOL_ERROR,
    ReasonCode.PROTOCOL_ERROR: CloseReason.PROTOCOL_ERROR,
    ReasonCode.PACKET_TOO_LARGE: CloseReason.MESSAGE_TOO_BIG,
    ReasonCode.NOT_AUTHORIZED: CloseReason.POLICY_VIOLATION,
    ReasonCode.UNSPECIFIED_ERROR: CloseReason.INTERNAL_ERROR,
}


class FramedMQTTProtocol(MQTTProtocol):
    """What stands behind a `WebSocketTransport`: tells it why it ends the connection."""

    __slots__ = ()

    def close(self, code: ReasonCode, cause: str = "") -> None:
        if isinstance(self.transport, WebSocketTransport):
            self.transport.close_code = CLOSE_CODES.get(code, CloseReason.NORMAL_CLOSURE)
        super().close(code, cause)


class FramedMQTTFactory(MQTTFactory):
    """Makes those."""

    protocol_class = FramedMQTTProtocol


@implementer(IProtocol)
class WebSocketTransport:
    """
    One connection.

    :ivar close_code: what the close frame will say if it is MQTT that ends the connection.
    :ivar slot: belongs to the timing wheel.
    """

    __slots__ = (
        "_due_at",
        "_factory",
        "_head",
        "_mqtt",
        "_outlet",
        "_phase",
        "_reader",
        "close_code",
        "slot",
        "transport",
    )

    transport: Transport
    _outlet: Outlet
    _reader: FrameReader  # from OPEN on

    def __init__(self, factory: WebSocketFactory, mqtt: MQTTProtocol) -> None:
        self._factory = factory
        self._mqtt: MQTTProtocol | None = mqtt  # until it is told that the connection is lost
        self._phase = Phase.OPENING
        self._head = bytearray()  # of the request, until it is whole
        self._due_at: float | None = None
        self.close_code = CloseReason.NORMAL_CLOSURE
        self.slot = 0

    # Called by Twisted

    def makeConnection(self, transport: Transport) -> None:  # type: ignore[override]  # narrower than ITransport
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self._outlet = self._factory.outlet(self.transport)
        if self._mqtt is not None:
            self._mqtt.makeConnection(self)

    def dataReceived(self, data: bytes) -> None:
        if self._phase is Phase.OPENING:
            self._shake_hands(data)
        elif self._phase is not Phase.CLOSED:
            self._receive(data)

    def connectionLost(self, reason: Failure) -> None:
        self._phase = Phase.CLOSED
        self._due_at = None
        self._tell_lost(reason)

    # What MQTT takes for its transport

    def write(self, data: bytes) -> None:
        if self._phase is _OPEN:
            self._outlet.write(encode_frame(data))

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self._outlet.producer = producer

    def unregisterProducer(self) -> None:
        self._outlet.producer = None

    def loseConnection(self) -> None:
        if self._phase is Phase.OPENING:
            self._end()
        elif self._phase is _OPEN:
            self._outlet.write(encode_close(self.close_code))
            self._phase = Phase.CLOSING
            self.transport.resumeProducing()  # or the peer's close frame would never be read
            self._tell_lost(Failure(ConnectionDone()))
            self._be_patient()

    def abortConnection(self) -> None:
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def getPeer(self) -> IAddress:
        return self.transport.getPeer()

    def getHost(self) -> IAddress:
        return self.transport.getHost()

    def getHandle(self) -> Any:
        return self.transport.getHandle()

    @property
    def proxied_tls(self) -> Any:
        """What a proxy in front says of the client's TLS (`pushd.transports.proxy_protocol`)."""
        return getattr(self.transport, "proxied_tls", None)

    # Bytes in

    def _shake_hands(self, data: bytes) -> None:
        self._head += data
        try:
            end = find_head(self._head)
            if end is None:
                return
            answer = accept(bytes(self._head[:end]), self._factory.origins)
        except UpgradeRefused as refusal:
            self._refuse(refusal)
            return
        rest, self._head = bytes(self._head[end:]), _NOTHING
        self._reader = FrameReader()
        self._phase = Phase.OPEN
        self._outlet.write_behind(answer)  # whoever hands a connection over may have written before
        if rest:
            self._receive(rest)

    def _receive(self, data: bytes) -> None:
        try:
            for event in self._reader.receive(data):
                if isinstance(event, Control):
                    self._obey(event)
                elif self._phase is _OPEN and self._mqtt is not None:
                    self._mqtt.dataReceived(event)
                if self._phase is Phase.CLOSED:
                    break
        except FrameError as error:
            self._fail(error)

    def _obey(self, control: Control) -> None:
        if control.opcode is Opcode.CLOSE:
            code = read_close(control.payload)
            if self._phase is _OPEN:
                self._outlet.write(encode_close(code))
            self._end()
        elif control.opcode is Opcode.PING and self._phase is _OPEN and not self._outlet.full:
            # None for who does not read: it would fill our memory with its pings.
            self._outlet.write(encode_frame(control.payload, Opcode.PONG))

    # Ending

    def _refuse(self, refusal: UpgradeRefused) -> None:
        log.info(
            "Connection from {address} refused: {cause}",
            address=peer_address(self.transport),
            cause=refusal,
            log_type="notice",
        )
        self._factory.refused("websocket")
        self._outlet.write_behind(refusal.answer)
        self._end()

    def _fail(self, error: FrameError) -> None:
        if self._phase is _OPEN:
            log.info(
                "Connection from {address}: {error} (WebSocket {code}), disconnecting",
                address=peer_address(self.transport),
                error=error,
                code=int(error.code),
                log_type="notice",
            )
            self._outlet.write(encode_close(error.code))
        self._end()

    def _end(self) -> None:
        self._phase = Phase.CLOSED
        self._head = _NOTHING
        self._outlet.close()
        self._tell_lost(Failure(ConnectionDone()))
        self._be_patient()

    def _tell_lost(self, reason: Failure) -> None:
        mqtt, self._mqtt = self._mqtt, None
        if mqtt is not None:
            mqtt.connectionLost(reason)

    # On the wheel: an end to closing

    def _be_patient(self) -> None:
        if self._due_at is None:
            self._due_at = self._factory.wheel.seconds() + CLOSE_TIMEOUT_S
            self._factory.wheel.add(self)

    def due_at(self) -> float | None:
        return self._due_at

    def on_due(self) -> None:
        self._due_at = None
        self.transport.abortConnection()


_NOTHING = bytearray()  # shared by all whose handshake is over


class WebSocketFactory(Factory):
    """
    One listener, or one path of an HTTP listener: whoever hands a connection over gives `WebSocketTransport`
    the client's request as its first bytes.

    :ivar origins: whose pages may connect; empty is everybody's.
    """

    noisy = False

    def __init__(self, mqtt: FramedMQTTFactory, direct: bool, origins: Collection[str] = ()) -> None:
        """
        :param mqtt: makes what stands behind.
        :param direct: transports have a socket of their own, and it may be written to: no TLS.
        """
        self._mqtt = mqtt
        self.wheel = mqtt.wheel
        self.refused = mqtt.broker.counters.refused
        self.outlet = DirectOutlet if direct else Outlet
        self.origins = origins

    def buildProtocol(self, addr: IAddress | None) -> WebSocketTransport:  # type: ignore[override]  # no `factory` on it
        return WebSocketTransport(self, self._mqtt.buildProtocol(addr))
