"""
A publication on its way through the broker, built once and shared by everybody who gets it.

A message remembers its *wire image*: the bytes of a PUBLISH up to the packet identifier (`head`) and those
after it (`tail`). Sending it to one more subscriber at QoS 1 or 2 is splicing two bytes between the two;
nothing is encoded again. What differs between subscribers (QoS, RETAIN, subscription identifiers) makes a
*variant*, which is remembered as well: a thousand subscribers with three granted QoS are three variants.
"""

from __future__ import annotations

import os
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from pushd.mqtt.codes import PropertyId
from pushd.mqtt.packets import Properties
from pushd.mqtt.properties import encode_properties
from pushd.mqtt.wire import encode_string, encode_varint

if TYPE_CHECKING:
    from pushd.broker.shared import SharedGroup

# What a server hands on of the properties of a PUBLISH (v5 §3.3.2.3); the Message Expiry Interval is counted
# down, the others belong to one connection.
PASSED_ON = (
    PropertyId.PAYLOAD_FORMAT_INDICATOR,
    PropertyId.CONTENT_TYPE,
    PropertyId.RESPONSE_TOPIC,
    PropertyId.CORRELATION_DATA,
    PropertyId.USER_PROPERTY,
)


class Source(NamedTuple):
    """Who published something, as far as access rules care: a `pushd.broker.interfaces.Principal`."""

    client_id: str
    username: str | None
    listener: str  # the name of its policy


# One bridge may retain a million messages: they all have the same.
source_of = lru_cache(maxsize=1024)(Source)


_LETTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Each value of a byte becomes a letter. 256 is no multiple of 62, so that eight of them come up a little more
# often: an id must be nobody else's, but it is no secret.
_LETTER_OF_BYTE = (_LETTERS * 5)[:256]


def new_push_id() -> str:
    """12 of ``[A-Za-z0-9]``."""
    return os.urandom(12).translate(_LETTER_OF_BYTE).decode("ascii")


class PushMark(NamedTuple):
    """
    What a message keeps of the push that it comes from, by which the gateway knows it again.

    :ivar id: of the message object that its sender was told, 12 of ``[A-Za-z0-9]``.
    :ivar at: Unix seconds.
    :ivar keep_s: how long the archive has it (`pushd.broker.archive`); 0 for not at all.
    :ivar receipt: whether somebody wants to know what becomes of it at each device.
    :ivar collapse_key: it takes the place of what a device has not been sent yet of the same topic and key;
        empty for of nothing.
    :ivar as_json: its payload is its message object, and not only the message's text.
    """

    id: str
    at: int
    keep_s: int = 0
    receipt: bool = False
    collapse_key: str = ""
    as_json: bool = False


class Message:
    """
    :ivar topic: the topic name, mount point included.
    :ivar qos: the QoS it is delivered at, 0 to 2; of a fresh message, the publisher's.
    :ivar retain: the RETAIN flag it is delivered with.
    :ivar properties: those of version 5 that a server passes on, or ``None``.
    :ivar expires_at: in the broker's seconds, or ``None``; from then on nobody is sent it.
    :ivar source: of one that is to be retained, who did so; ``None``: nobody who could lose the right to it.
    :ivar push: the mark of the push that it comes from; ``None`` if an MQTT client sent it.
    :ivar subscription_ids: of the subscriptions that it is delivered for (v5 [MQTT-3.3.4-3]).
    :ivar shared: the group that it was given to one member of, and the message as the group got it.
    :ivar image_v3: what `encode_v3` made, or the very bytes that came in; ``None`` until needed.
    :ivar image_v5: the same for version 5.
    """

    __slots__ = (
        "_variants",
        "expires_at",
        "image_v3",
        "image_v5",
        "payload",
        "properties",
        "push",
        "qos",
        "retain",
        "shared",
        "source",
        "subscription_ids",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        expires_at: float | None = None,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = properties
        self.expires_at = expires_at
        self.source: Source | None = None
        self.push: PushMark | None = None
        self.subscription_ids: tuple[int, ...] = ()
        self.shared: tuple[SharedGroup, Message] | None = None
        self.image_v3: tuple[bytes, bytes] | None = None
        self.image_v5: tuple[bytes, bytes] | None = None
        self._variants: dict[tuple[int, bool, tuple[int, ...]], Message] | None = None

    def __repr__(self) -> str:
        return f"<Message {self.topic!r} qos={self.qos} retain={self.retain} {len(self.payload)} bytes>"

    def variant(self, qos: int, retain: bool, subscription_ids: tuple[int, ...] = ()) -> Message:
        """The same publication for a subscriber that gets it so."""
        if qos == self.qos and retain == self.retain and subscription_ids == self.subscription_ids:
            return self
        if self._variants is None:
            self._variants = {}
        key = qos, retain, subscription_ids
        message = self._variants.get(key)
        if message is None:
            message = self._variants[key] = self._copy(*key)
        return message

    def share(self, group: SharedGroup, qos: int, retain: bool, subscription_ids: tuple[int, ...]) -> Message:
        """The same publication for the one member of a group that gets it."""
        message = self._copy(qos, retain, subscription_ids)
        message.shared = group, self
        return message

    def forwarded(self, topic: str) -> Message:
        """
        The same publication on another topic, as a routing rule has it. It has no `source`: whoever published
        it need not be allowed to write there, so losing the right to it changes nothing.
        """
        message = Message(topic, self.payload, self.qos, self.retain, self.properties, self.expires_at)
        message.push = self.push
        return message

    def _copy(self, qos: int, retain: bool, subscription_ids: tuple[int, ...]) -> Message:
        message = Message(self.topic, self.payload, qos, retain, self.properties, self.expires_at)
        message.subscription_ids = subscription_ids
        message.push = self.push
        return message

    def expired(self, now: float) -> bool:
        """Whether it is too late to send it (v5 [MQTT-3.3.2-5])."""
        return self.expires_at is not None and self.expires_at <= now

    # Wire images: (head, tail). At QoS 1 and 2 the packet identifier goes between them; DUP is not set.

    def encode_v3(self, mount_point: str = "") -> tuple[bytes, bytes]:
        """
        Make the image for subscribers of version 3.

        :param mount_point: a prefix of `topic` that these subscribers do not see. Their image is not kept.
        """
        image = self._head(self.topic[len(mount_point) :], len(self.payload)), self.payload
        if not mount_point:
            self.image_v3 = image
        return image

    def encode_v5(self) -> tuple[bytes, bytes]:
        """Make the image for subscribers of version 5 that see the whole topic; not for one that expires."""
        self.image_v5 = self.encode_v5_for(self.topic, 0, 0.0)
        return self.image_v5

    def encode_v5_for(self, name: str, alias: int, now: float) -> tuple[bytes, bytes]:
        """
        Make the image for one subscriber.

        :param name: the topic name as it sees it; empty if the alias says enough.
        :param alias: a Topic Alias, or 0 for none.
        :param now: to count the Message Expiry Interval down to (v5 [MQTT-3.3.2-6]).
        """
        properties: Properties = dict(self.properties) if self.properties else {}
        if self.expires_at is not None:
            properties[PropertyId.MESSAGE_EXPIRY_INTERVAL] = max(0, ceil(self.expires_at - now))
        if self.subscription_ids:
            properties[PropertyId.SUBSCRIPTION_IDENTIFIER] = list(self.subscription_ids)
        if alias:
            properties[PropertyId.TOPIC_ALIAS] = alias
        encoded = encode_properties(properties) if properties else b"\0"
        tail = encoded + self.payload
        return self._head(name, len(tail)), tail

    def _head(self, name: str, tail_bytes: int) -> bytes:
        encoded = encode_string(name)
        remaining = len(encoded) + tail_bytes + (2 if self.qos else 0)
        return bytes((0x30 | self.qos << 1 | self.retain,)) + encode_varint(remaining) + encoded
