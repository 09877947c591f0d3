"""
The client's half of an MQTT session, done as the standards ask (v3 §4.1 to §4.6, v5 likewise), without I/O.

It outlives its connections, and the broker: what was sent and not acknowledged is sent again under the same
packet identifier, a QoS 2 message that was received is not delivered again before its PUBREL came, and a
SUBSCRIBE or UNSUBSCRIBE that was not answered is asked again.

Each outgoing message goes through

    QoS 1:  SENT -PUBACK-> done
    QoS 2:  SENT -PUBREC-> RELEASED -PUBCOMP-> done

and each incoming one at QoS 2 is held in `received` from PUBLISH to PUBREL; it is delivered when it is first
held.

A session is ended by a CONNECT that asks for a clean start. In version 5 the next one begins with it; in
version 3 that one would not last, so there is a connection just for the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
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
from tests.crash.timeline import Key

NEVER_EXPIRES = 0xFFFF_FFFF
KEEP_ALIVE_S = 600  # longer than any run: nobody sends PINGREQ
_FAILURE = 0x80  # reason codes from here on


class Owner(Protocol):
    """Whoever a session works for."""

    def connected(self) -> None:
        """CONNACK came. Whatever was unfinished has been sent again."""

    def renews(self) -> None:
        """A CONNECT that ends the session and begins another is about to be sent."""

    def renewed(self) -> None:
        """The broker did so. Called before `connected`."""

    def session_lost(self) -> None:
        """The broker does not know a session that it had acknowledged. Called before `connected`."""

    def next_will(self) -> Will | None:
        """A CONNECT is about to be sent. :return: the Will that it shall have."""

    def acknowledged(self, key: Key) -> None:
        """
        A message that was published is the broker's now.

        That is so since PUBREC; but a broker may pass a message on as late as at PUBREL (v3 §4.3.3), and a
        subscription may come in between. So this is called at PUBCOMP.
        """

    def arrived(self, packet: Publish) -> None:
        """A message for the application."""

    def answered(self, topic_filter: str, subscribed: bool) -> None:
        """SUBACK or UNSUBACK came."""

    def refused(self, key: Key | None, code: ReasonCode) -> None:
        """
        The broker said no.

        :param key: the message that it was said to, which is not sent again; ``None`` for a request or a
            CONNECT, which are.
        """

    def ponged(self) -> None:
        """PINGRESP came."""

    def surprised(self, text: str) -> None:
        """The broker broke a rule."""


@dataclass(slots=True)
class Outgoing:
    """A message between PUBLISH and its last acknowledgement."""

    packet: Publish
    key: Key
    released: bool = False


class ClientSession:
    """
    :param outbox: where packets are put to be sent.
    :param clean: forget everything with each connection.
    :param window: how many messages may be unacknowledged at once; less if the broker says so (v5 §4.9).
    :ivar acknowledgements: those for received messages, in their order; the owner decides when they go.
    :ivar receive_maximum: how many messages we take at once, in version 5; ``None``: as many as there are.
    :ivar expires_s: how long the session outlives a connection, in version 5.
    """

    def __init__(
        self,
        client_id: str,
        version: Version,
        owner: Owner,
        outbox: bytearray,
        clean: bool = False,
        window: int = 20,
    ) -> None:
        self.client_id = client_id
        self.version = version
        self.online = False
        self.acknowledgements = bytearray()
        self.receive_maximum: int | None = None
        self.expires_s = NEVER_EXPIRES
        self.outgoing: dict[int, Outgoing] = {}
        self._owner = owner
        self._outbox = outbox
        self._clean = clean
        self._window = window
        self._room = window
        self._known = False  # a CONNACK was seen
        self._passing = False  # this connection's session does not last
        self._gone = False  # the connection before was such a one
        self._renew = False  # the next session shall be a new one
        self._received: dict[int, bytes] = {}  # payloads of QoS 2 messages by packet id, until PUBREL
        self._requests: dict[int, tuple[str, QoS | None]] = {}  # without an answer; no QoS: UNSUBSCRIBE
        self._refused: list[tuple[str, QoS | None]] = []  # requests, to be repeated
        self._taken = 0  # messages of this connection whose last acknowledgement has not left
        self._finished = 0  # of those, the ones that have it in `acknowledgements`
        self._last_id = 0
        self._reader = PacketReader(0, version)

    @property
    def is_idle(self) -> bool:
        """Whether all that was published is acknowledged, and all that was asked for answered."""
        return not self.outgoing and not self._requests and not self._refused

    # The connection

    def open(self) -> None:
        """There is a new connection: say CONNECT."""
        self._reader = PacketReader(0, self.version)
        if self._renew:
            self._owner.renews()
        clean = self._clean or self._renew
        will = self._owner.next_will()
        self._send(
            Connect(
                self.version, self.client_id, clean, KEEP_ALIVE_S, will=will, properties=self._properties()
            )
        )

    def _properties(self) -> Properties:
        if self.version is not Version.V5:
            return {}
        properties: Properties = {}
        if not self._clean:
            properties[PropertyId.SESSION_EXPIRY_INTERVAL] = self.expires_s
        if self.receive_maximum is not None:
            properties[PropertyId.RECEIVE_MAXIMUM] = self.receive_maximum
        return properties

    def renew(self) -> None:
        """
        With the next connection begin a new session. In version 3 the one after that begins it, for this
        one's does not last: the owner, when it is told `renewed`, has to leave.
        """
        self._renew = True

    def lost(self) -> None:
        """The connection is gone, and whatever was about to be sent."""
        self.online = False
        self.acknowledgements.clear()
        self._taken = self._finished = 0
        self._gone, self._passing = self._passing, False
        self._known = self._known and not self._gone

    def receive(self, data: bytes) -> None:
        """Take bytes of the broker."""
        self._reader.feed(data)
        while (packet := self._reader.next_packet()) is not None:
            self._handle(packet)

    def _handle(self, packet: Packet) -> None:
        match packet:
            case Publish():
                self._on_publish(packet)
            case Pubrel():
                self._on_pubrel(packet)
            case Puback() | Pubrec():
                self._on_first_acknowledgement(packet)
            case Pubcomp():
                self._on_pubcomp(packet)
            case Suback() | Unsuback():
                self._on_answer(packet)
            case Connack():
                self._on_connack(packet)
            case Pingresp():
                self._owner.ponged()
            case Disconnect():
                if packet.code is not ReasonCode.SERVER_SHUTTING_DOWN:
                    self._owner.surprised(f"DISCONNECT: {packet.code.name}")
            case _:
                self._owner.surprised(f"{type(packet).__name__} for a client")

    def _on_connack(self, packet: Connack) -> None:
        if packet.code:
            self._owner.refused(None, packet.code)
            return
        announced = packet.properties.get(PropertyId.RECEIVE_MAXIMUM, 65_535)
        assert isinstance(announced, int)
        self._room = min(self._window, announced)
        if packet.session_present and (self._renew or self._clean):
            self._owner.surprised("CONNACK: the session of somebody who asked for a new one")
        if packet.session_present and self._gone:
            self._owner.surprised("CONNACK: a session that was ended")
        self._passing = self._renew and self.version is not Version.V5
        if not packet.session_present and not self._clean:
            self._begin_anew()
        self._known = self.online = True
        self._resume()
        self._owner.connected()

    def _begin_anew(self) -> None:
        self.outgoing.clear()
        self._received.clear()
        self._requests.clear()
        self._refused.clear()
        if self._renew:
            self._renew = False
            self._owner.renewed()
        elif self._known:
            self._owner.session_lost()

    def _resume(self) -> None:
        """Send again what was not acknowledged, in its order (v5 [MQTT-4.4.0-1], [MQTT-4.6.0-1])."""
        for packet_id, message in self.outgoing.items():
            self._send(Pubrel(packet_id) if message.released else replace(message.packet, dup=True))
        unanswered, self._requests = self._requests, {}
        for topic_filter, qos in unanswered.values():
            self._ask(topic_filter, qos)
        self.ask_again()

    # Publishing

    @property
    def has_room(self) -> bool:
        """Whether another message may be published now."""
        return self.online and len(self.outgoing) < self._room

    def publish(self, key: Key, payload: bytes, qos: QoS, retain: bool, expires_s: int | None = None) -> None:
        """Send a message at QoS 1 or 2, for which there is room."""
        packet_id = self._free_id()
        properties: Properties = {}
        if expires_s is not None:
            properties[PropertyId.MESSAGE_EXPIRY_INTERVAL] = expires_s
        packet = Publish(key[0], payload, qos, retain, packet_id=packet_id, properties=properties)
        self.outgoing[packet_id] = Outgoing(packet, key)
        self._send(packet)

    def _on_first_acknowledgement(self, packet: Puback | Pubrec) -> None:
        message = self.outgoing.get(packet.packet_id)
        expected = QoS.AT_LEAST_ONCE if isinstance(packet, Puback) else QoS.EXACTLY_ONCE
        if message is None or message.packet.qos is not expected or message.released:
            self._owner.surprised(f"{packet} for {message}")
            return
        del self.outgoing[packet.packet_id]
        if packet.code >= _FAILURE:
            self._owner.refused(message.key, packet.code)
            return
        if isinstance(packet, Pubrec):
            message.released = True
            # To the end: PUBRELs are sent again in the order of the PUBRECs (v3 [MQTT-4.6.0-4]).
            self.outgoing[packet.packet_id] = message
            self._send(Pubrel(packet.packet_id))
        else:
            self._owner.acknowledged(message.key)

    def _on_pubcomp(self, packet: Pubcomp) -> None:
        message = self.outgoing.get(packet.packet_id)
        if message is None or not message.released:
            self._owner.surprised(f"{packet} for {message}")
            return
        del self.outgoing[packet.packet_id]
        self._owner.acknowledged(message.key)

    # Receiving

    def acknowledge(self) -> None:
        """Send the acknowledgements that have come together."""
        self._outbox += self.acknowledgements
        self.acknowledgements.clear()
        self._taken -= self._finished
        self._finished = 0

    def _on_publish(self, packet: Publish) -> None:
        if packet.qos:
            self._count(packet)
        if packet.qos == 2:
            self._on_publish_qos_2(packet)
            return
        if packet.qos == 1:
            self.acknowledgements += encode(Puback(packet.packet_id), self.version)
            self._finished += 1
        self._owner.arrived(packet)

    def _count(self, packet: Publish) -> None:
        self._taken += 1
        if self.receive_maximum is not None and self._taken > self.receive_maximum:  # v5 [MQTT-3.3.4-9]
            self._owner.surprised(f"{packet} is number {self._taken} of {self.receive_maximum} at once")

    def _on_publish_qos_2(self, packet: Publish) -> None:
        held = self._received.get(packet.packet_id)
        if held is None:
            self._received[packet.packet_id] = packet.payload
            self._owner.arrived(packet)
        elif held != packet.payload or not packet.dup:  # v5 [MQTT-2.2.1-4], [MQTT-3.3.1-1]
            self._owner.surprised(f"{packet} while {held[:40]!r} has this identifier")
        self.acknowledgements += encode(Pubrec(packet.packet_id), self.version)

    def _on_pubrel(self, packet: Pubrel) -> None:
        known = self._received.pop(packet.packet_id, None) is not None
        self._finished += self._finished < self._taken
        code = ReasonCode.SUCCESS if known else ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
        self.acknowledgements += encode(Pubcomp(packet.packet_id, code), self.version)

    # Subscriptions

    def subscribe(self, topic_filter: str, qos: QoS) -> None:
        """Ask for a subscription now, and again with each connection until there is an answer."""
        self._ask(topic_filter, qos)

    def unsubscribe(self, topic_filter: str) -> None:
        """Ask for its end, likewise."""
        self._ask(topic_filter, None)

    def ask_again(self) -> None:
        """Repeat the requests that were refused."""
        refused, self._refused = self._refused, []
        for topic_filter, qos in refused:
            self._ask(topic_filter, qos)

    def _ask(self, topic_filter: str, qos: QoS | None) -> None:
        packet_id = self._free_id()
        self._requests[packet_id] = topic_filter, qos
        if qos is None:
            self._send(Unsubscribe(packet_id, [topic_filter]))
        else:
            self._send(Subscribe(packet_id, [SubscriptionRequest(topic_filter, qos)]))

    def _on_answer(self, packet: Suback | Unsuback) -> None:
        request = self._requests.pop(packet.packet_id, None)
        if request is None:
            self._owner.surprised(f"{packet} without a question")
            return
        topic_filter, qos = request
        if any(code >= _FAILURE for code in packet.codes):
            self._refused.append(request)
            self._owner.refused(None, packet.codes[0])
        else:
            self._owner.answered(topic_filter, qos is not None)

    # Packets

    def ping(self) -> None:
        """Send PINGREQ: when it is answered, whatever the broker had to say before has been said."""
        self._send(Pingreq())

    def leave(self, code: ReasonCode = ReasonCode.SUCCESS) -> None:
        """Say DISCONNECT. The session stays."""
        self._send(Disconnect(code))

    def _free_id(self) -> int:
        self._last_id = self._last_id % 65_535 + 1
        while self._last_id in self.outgoing or self._last_id in self._requests:
            self._last_id = self._last_id % 65_535 + 1
        return self._last_id

    def _send(self, packet: Packet) -> None:
        self._outbox += encode(packet, self.version)
