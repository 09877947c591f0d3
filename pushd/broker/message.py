"""
A publication on its way through the broker, built once and shared by everybody who gets it.

A message remembers its *wire image*: the bytes of a PUBLISH up to the packet identifier (`head`) and those
after it (`tail`). Sending it to one more subscriber at QoS 1 or 2 is splicing two bytes between the two;
nothing is encoded again. What differs between subscribers (QoS, RETAIN) makes a *variant*, which is
remembered as well: a thousand subscribers with three granted QoS are three variants.
"""

from __future__ import annotations

from pushd.mqtt.packets import Properties
from pushd.mqtt.properties import encode_properties
from pushd.mqtt.wire import encode_string, encode_varint


class Message:
    """
    :ivar topic: the topic name, mount point included.
    :ivar qos: the QoS it is delivered at, 0 to 2; of a fresh message, the publisher's.
    :ivar retain: the RETAIN flag it is delivered with.
    :ivar properties: those of version 5 that a server passes on (v5 §3.3.2.3), or ``None``.
    :ivar image_v3: what `encode` made for version 3, or the very bytes that came in; ``None`` until needed.
    :ivar image_v5: the same for version 5.
    """

    __slots__ = (
        "_variants",
        "image_v3",
        "image_v5",
        "payload",
        "properties",
        "qos",
        "retain",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = properties
        self.image_v3: tuple[bytes, bytes] | None = None
        self.image_v5: tuple[bytes, bytes] | None = None
        self._variants: dict[tuple[int, bool], Message] | None = None

    def __repr__(self) -> str:
        return f"<Message {self.topic!r} qos={self.qos} retain={self.retain} {len(self.payload)} bytes>"

    def variant(self, qos: int, retain: bool) -> Message:
        """The same publication for a subscriber that gets it with this QoS and RETAIN flag."""
        if qos == self.qos and retain == self.retain:
            return self
        if self._variants is None:
            self._variants = {}
        message = self._variants.get((qos, retain))
        if message is None:
            message = Message(self.topic, self.payload, qos, retain, self.properties)
            self._variants[qos, retain] = message
        return message

    def encode(self, v5: bool, mount_point: str = "") -> tuple[bytes, bytes]:
        """
        Make the wire image for subscribers of version 5, or of version 3; DUP is not set.

        :param mount_point: a prefix of `topic` that these subscribers do not see. Their image is not kept.
        :return: ``(head, tail)``; at QoS 1 and 2 the packet identifier goes between them.
        """
        name = encode_string(self.topic[len(mount_point) :])
        tail = self.payload
        if v5:
            tail = encode_properties(self.properties or {}) + tail
        remaining = len(name) + len(tail) + (2 if self.qos else 0)
        first = 0x30 | self.qos << 1 | self.retain
        image = bytes((first,)) + encode_varint(remaining) + name, tail
        if not mount_point:
            if v5:
                self.image_v5 = image
            else:
                self.image_v3 = image
        return image
