"""What a plugin sees of clients and messages: small, frozen, and not the broker's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pushd.broker.client import Client
from pushd.broker.interfaces import Credentials, PeerCertificate, Principal
from pushd.broker.message import Message as BrokerMessage
from pushd.broker.session import Session
from pushd.mqtt.codes import PropertyId
from pushd.mqtt.packets import Properties
from pushd.mqtt.properties import encode_properties
from pushd.mqtt.topics import is_valid_name
from pushd.mqtt.wire import text_fault

# A packet's Remaining Length takes 268 435 455 (v5 §2.1.4), and there is more in it than the payload.
MAX_PAYLOAD_BYTES = 268_000_000
MAX_EXPIRY_S = 0xFFFF_FFFF

RESERVED = ("$SYS", "$CONTROL", "$share")  # first levels of topics that only the broker publishes to


@dataclass(frozen=True, slots=True)
class Login:
    """
    What somebody shows who wants to come in: an MQTT client, or a caller of the HTTP gateway.

    :ivar client_id: empty for a caller of the gateway.
    :ivar username: ``None`` if it shows none.
    :ivar password: as it came; not all of them are text.
    :ivar address: host and port of the peer, such as ``192.0.2.7:4711``.
    :ivar listener: the one it came through, such as ``port 1883``.
    :ivar certificate: already verified against the listener's authorities.
    """

    client_id: str
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    address: str = ""
    listener: str = ""
    certificate: PeerCertificate | None = None

    @property
    def password_text(self) -> str:
        """The password as text; empty if there is none, or if it is no text."""
        try:
            return (self.password or b"").decode()
        except UnicodeDecodeError:
            return ""


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """
    Who acts.

    :ivar client_id: empty for a caller of the HTTP gateway.
    :ivar username: ``None`` for an anonymous one.
    :ivar address: host and port; empty if it is not connected, as when its Will is sent.
    :ivar listener: the one it came through, such as ``port 1883``.
    :ivar version: of MQTT: 3 (3.1), 4 (3.1.1) or 5; 0 if it is not connected, or by HTTP.
    """

    client_id: str
    username: str | None = None
    address: str = ""
    listener: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """
    A publication. ``dataclasses.replace`` makes another of it.

    :ivar topic: the topic name, with the listener's mount point.
    :ivar retain: whether it becomes the topic's retained message, or with an empty payload clears it.
    :ivar user_properties: name and value, in their order.
    :ivar expires_in_s: from now on nobody is sent it after so many seconds; ``None``: whenever.
    """

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    payload_is_text: bool | None = None  # UTF-8; None where the publisher did not say
    user_properties: tuple[tuple[str, str], ...] = ()
    expires_in_s: float | None = None


# From the broker's


def login_of(credentials: Credentials, listener: str) -> Login:
    """What an authenticator of `listener` sees."""
    return Login(
        credentials.client_id,
        credentials.username,
        credentials.password,
        credentials.address,
        listener,
        credentials.certificate,
    )


def client_of(principal: Principal, listener: str) -> ClientInfo:
    """Somebody who came through `listener`."""
    client = principal.client if isinstance(principal, Session) else None
    if client is None:
        return ClientInfo(principal.client_id, principal.username, "", listener)
    return online(client)


def online(client: Client) -> ClientInfo:
    """A client that is connected, or was just now."""
    session = client.session
    return ClientInfo(
        session.client_id,
        session.username,
        client.connection.address,
        client.policy.name,
        int(client.version),
    )


def message_of(message: BrokerMessage, now: float) -> Message:
    """:param now: in the broker's seconds, as is the message's expiry."""
    properties: dict[PropertyId, Any] = message.properties or {}
    is_text = properties.get(PropertyId.PAYLOAD_FORMAT_INDICATOR)
    return Message(
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        properties.get(PropertyId.CONTENT_TYPE),
        properties.get(PropertyId.RESPONSE_TOPIC),
        properties.get(PropertyId.CORRELATION_DATA),
        None if is_text is None else bool(is_text),
        tuple(properties.get(PropertyId.USER_PROPERTY, ())),
        None if message.expires_at is None else max(0.0, message.expires_at - now),
    )


# To the broker's


def broker_message(message: Message, now: float) -> BrokerMessage:
    """
    :param now: in the broker's seconds.
    :raises ValueError: it cannot be sent, or may not be published by anybody.
    :raises TypeError: a field is not of its type.
    """
    _check(message)
    properties = _properties(message)
    encode_properties(properties)  # what the wire cannot carry is found out now, not when it is delivered
    expires_at = None if message.expires_in_s is None else now + message.expires_in_s
    return BrokerMessage(
        message.topic, bytes(message.payload), message.qos, message.retain, properties or None, expires_at
    )


def _check(message: Message) -> None:
    if not isinstance(message.topic, str) or not isinstance(message.payload, bytes | bytearray | memoryview):
        raise TypeError("a topic is text, and a payload is bytes")
    if not is_valid_name(message.topic) or message.topic.partition("/")[0] in RESERVED:
        raise ValueError(f"{message.topic!r} is no topic name to publish to")
    if message.qos not in (0, 1, 2):
        raise ValueError(f"{message.qos!r} is no QoS")
    if len(message.payload) > MAX_PAYLOAD_BYTES:
        raise ValueError("a payload that is too long for a packet")
    if message.response_topic is not None and not is_valid_name(message.response_topic):
        raise ValueError(f"{message.response_topic!r} is no topic name to respond to")
    if message.expires_in_s is not None and not 0 <= message.expires_in_s <= MAX_EXPIRY_S:
        raise ValueError(f"{message.expires_in_s!r} is no time to expire in")
    for text in (message.content_type or "", *(text for pair in message.user_properties for text in pair)):
        if not isinstance(text, str) or text_fault(text) is not None:
            raise ValueError(f"{text!r} is no text for a property")


def _properties(message: Message) -> Properties:
    properties: Properties = {}
    if message.payload_is_text is not None:
        properties[PropertyId.PAYLOAD_FORMAT_INDICATOR] = int(message.payload_is_text)
    if message.content_type is not None:
        properties[PropertyId.CONTENT_TYPE] = message.content_type
    if message.response_topic is not None:
        properties[PropertyId.RESPONSE_TOPIC] = message.response_topic
    if message.correlation_data is not None:
        properties[PropertyId.CORRELATION_DATA] = bytes(message.correlation_data)
    if message.user_properties:
        properties[PropertyId.USER_PROPERTY] = [(name, value) for name, value in message.user_properties]
    return properties
