"""The far end of a connection: an MQTT client for tests, as polite as it needs to be."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost

from pushd.broker.message import Message as BrokerMessage
from pushd.broker.will import passed_on
from pushd.mqtt.codes import QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    Will,
)
from pushd.mqtt.reader import PacketReader
from pushd.mqtt.writer import encode
from pushd.plugins.shapes import Message, broker_message, message_of
from pushd.testing.wire import Wire
from pushd.transports.protocol import MQTTProtocol


class Device:
    """
    Answers are there when a method returns, if the broker has given them; later ones after
    `MemoryBroker.advance`.

    :ivar disconnect_code: what the broker's DISCONNECT said, if there was one.
    """

    def __init__(self, clock: Any, protocol: MQTTProtocol, version: Version) -> None:
        self._clock = clock
        self._version = version
        self._reader = PacketReader()
        self._reader.version = version
        self._wire = Wire(clock, protocol)
        self._connack: Connack | None = None
        self._messages: list[Message] = []
        self._codes: list[ReasonCode] = []  # of the last SUBACK or UNSUBACK
        self._packet_id = 0
        self._acknowledged: dict[int, ReasonCode] = {}
        self.disconnect_code: ReasonCode | None = None
        protocol.makeConnection(self._wire)

    # What it does

    def connect(
        self,
        client_id: str,
        username: str | None,
        password: str | bytes | None,
        clean: bool,
        will: Will | None,
    ) -> None:
        """Send CONNECT."""
        secret = password.encode() if isinstance(password, str) else password
        self.send(Connect(self._version, client_id, clean, 0, username, secret, will))

    def subscribe(self, *filters: str, qos: int = 0) -> list[ReasonCode]:
        """:return: the codes of the SUBACK; none if it has not come."""
        self._codes = []
        requests = [SubscriptionRequest(filter, QoS(qos)) for filter in filters]
        self.send(Subscribe(self._next_id(), requests))
        return self._codes

    def unsubscribe(self, *filters: str) -> list[ReasonCode]:
        """:return: the codes of the UNSUBACK."""
        self._codes = []
        self.send(Unsubscribe(self._next_id(), list(filters)))
        return self._codes

    def publish(
        self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False, **properties: Any
    ) -> ReasonCode | None:
        """
        :param properties: those of `pushd.plugins.Message`; for version 5.
        :return: the code of PUBACK or PUBREC; ``None`` at QoS 0, or if it has not come.
        """
        message = Message(topic, payload, qos, retain, **properties)
        packet_id = self._next_id() if qos else 0
        self._acknowledged.pop(packet_id, None)
        sent: Properties = broker_message(message, 0.0).properties or {}
        self.send(Publish(topic, payload, QoS(qos), retain, packet_id=packet_id, properties=sent))
        return self._acknowledged.get(packet_id)

    def disconnect(self) -> None:
        """Say farewell."""
        self.send(Disconnect())

    def drop(self) -> None:
        """Be gone without a word."""
        self._wire.lost(ConnectionLost())
        self._clock.advance(0)

    def send(self, *pieces: Packet | bytes) -> None:
        """Send packets or raw bytes in one piece."""
        data = b"".join(
            piece if isinstance(piece, bytes) else encode(piece, self._version) for piece in pieces
        )
        self._wire.deliver(data)
        self._take_up()

    # What came of it

    @property
    def code(self) -> ReasonCode | None:
        """Of the CONNACK; ``None`` if it has not come."""
        self._take_up()
        return None if self._connack is None else self._connack.code

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        self._take_up()
        return self._wire.over

    @property
    def acknowledged(self) -> dict[int, ReasonCode]:
        """What each message of QoS 1 or 2 was answered, by packet identifier; the first is 1."""
        self._take_up()
        return self._acknowledged

    def messages(self) -> list[Message]:
        """Those that came since the last time. They have been acknowledged."""
        self._take_up()
        came, self._messages = self._messages, []
        return came

    def _take_up(self) -> None:
        """Let the turn of the reactor end, and read until nothing more comes."""
        while True:
            self._clock.advance(0)
            data: bytes = self._wire.value()
            if not data:
                return
            self._wire.clear()
            self._reader.feed(data)
            while (packet := self._reader.next_packet()) is not None:
                self._take(packet)

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Connack):
            self._connack = packet
        elif isinstance(packet, Publish):
            self._take_message(packet)
        elif isinstance(packet, Puback | Pubrec):
            self._acknowledged[packet.packet_id] = packet.code
            if isinstance(packet, Pubrec) and packet.code < 0x80:
                self._wire.deliver(encode(Pubrel(packet.packet_id), self._version))
        elif isinstance(packet, Pubrel):
            self._wire.deliver(encode(Pubcomp(packet.packet_id), self._version))
        elif isinstance(packet, Suback | Unsuback):
            self._codes = packet.codes
        elif isinstance(packet, Disconnect):
            self.disconnect_code = packet.code

    def _take_message(self, packet: Publish) -> None:
        message = BrokerMessage(
            packet.topic, packet.payload, packet.qos, packet.retain, passed_on(packet.properties)
        )
        self._messages.append(message_of(message, 0.0))
        if packet.qos:
            answer = Puback(packet.packet_id) if packet.qos == 1 else Pubrec(packet.packet_id)
            self._wire.deliver(encode(answer, self._version))

    def _next_id(self) -> int:
        self._packet_id += 1
        return self._packet_id
