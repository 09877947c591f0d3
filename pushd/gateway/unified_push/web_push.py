"""
What an application's server sends to an endpoint, read from its request (RFC 8030 §5).

    POST /v1/up/LTsYvWDSPtGzNA...        the body: 1 to 4096 bytes, encrypted as a rule
    TTL: 3600                            for how long it is worth anything, in seconds
    Urgency: high                        very-low, low, normal, high
    Topic: news                          it replaces what waits under this name
    Content-Encoding: aes128gcm          how the device has to decrypt it

The body is nobody's business but the device's. What says how to decrypt it goes along as User Properties.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from twisted.web.http_headers import Headers

from pushd.broker.message import PushMark
from pushd.broker.publication import Publication
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.mqtt.codes import PropertyId, QoS
from pushd.mqtt.packets import Properties

MAX_BODY_BYTES = 4096  # what a push service must take (RFC 8030 §7.2), and no more than any does

# RFC 8030 wants the header and senders of UnifiedPush do without it: a day, for a phone that is off at night.
DEFAULT_TTL_S = 86_400
MAX_TTL_S = 28 * 86_400  # as Firebase; whoever asks for more is told what it gets

# To who is connected now: even where messages of QoS 0 are queued they are no use a second later.
_AT_ONCE_S = 1

# The words of RFC 8030 §5.3, and ntfy's numbers for them. Normal is what a message is without a priority.
URGENCIES = {"very-low": 1, "low": 2, "normal": 0, "high": 4}

# `aesgcm` is a draft of RFC 8188, which some libraries still speak: it has its parameters in headers.
ENCODINGS: dict[str, tuple[bytes, ...]] = {"": (), "aes128gcm": (), "aesgcm": (b"Encryption", b"Crypto-Key")}

_TTL = re.compile(rb"[0-9]{1,20}")
_TOPIC = re.compile(rb"[-_A-Za-z0-9]{0,32}")
_PARAMETERS = re.compile(rb"[ -~]{1,512}")


class WebPush(NamedTuple):
    """
    What an application's server sends.

    :ivar ttl_s: for how long it is worth anything; 0 for whoever is connected now.
    :ivar topic: it replaces what waits at the same endpoint under this name; not a topic of MQTT.
    :ivar encryption: headers that a device needs to decrypt it, by their names in lower case.
    """

    body: bytes
    ttl_s: int = DEFAULT_TTL_S
    urgency: str = "normal"
    topic: str = ""
    encryption: tuple[tuple[str, str], ...] = ()

    def publication(self, topic: str, collapse_key: str, id: str, now: int, keep_s: int) -> Publication:
        """
        :param topic: that of MQTT.
        :param collapse_key: see `collapse_key`; empty if it replaces nothing and cannot be withdrawn.
        :param id: of the message.
        :param now: Unix seconds.
        :param keep_s: how long messages of this topic are kept for streams.
        """
        return Publication(
            topic,
            self.body,
            QoS.AT_LEAST_ONCE if self.ttl_s else QoS.AT_MOST_ONCE,
            properties=self._properties(),
            expiry_s=self.ttl_s or _AT_ONCE_S,
            mark=PushMark(id, now, min(keep_s, self.ttl_s), collapse_key=collapse_key),
        )

    def _properties(self) -> Properties | None:
        said = list(self.encryption)
        if URGENCIES[self.urgency]:
            said += [("urgency", self.urgency), ("priority", str(URGENCIES[self.urgency]))]
        return {PropertyId.USER_PROPERTY: said} if said else None


def collapse_key(endpoint_key: str, id: str, topic: str) -> str:
    """
    By what a message is found where it waits.

    :param endpoint_key: of its endpoint: its messages replace nobody else's.
    :param topic: of Web Push; without one it has a key of its own, and replaces nothing.
    """
    return f"{endpoint_key}/{topic}" if topic else f"{endpoint_key}.{id}"


def read_web_push(headers: Headers, body: bytes) -> WebPush:
    """
    :raises Refusal: 41301, 40000: a header that has no meaning, or a body without a byte.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Refusal(problems.MESSAGE_TOO_LARGE)
    if not body:
        raise Refusal(problems.PUSH_EMPTY)
    return WebPush(body, _ttl(headers), _urgency(headers), _topic(headers), _encryption(headers))


def _ttl(headers: Headers) -> int:
    said = _value(headers, b"TTL")
    if not said:
        return DEFAULT_TTL_S
    if not _TTL.fullmatch(said):
        raise Refusal(problems.TTL_INVALID)
    return min(int(said), MAX_TTL_S)


def _urgency(headers: Headers) -> str:
    said = _value(headers, b"Urgency").decode("latin-1").lower() or "normal"
    if said not in URGENCIES:
        raise Refusal(problems.URGENCY_INVALID)
    return said


def _topic(headers: Headers) -> str:
    said = _value(headers, b"Topic")
    if not _TOPIC.fullmatch(said):
        raise Refusal(problems.PUSH_TOPIC_INVALID)
    return said.decode("ascii")


def _encryption(headers: Headers) -> tuple[tuple[str, str], ...]:
    encoding = _value(headers, b"Content-Encoding").decode("latin-1").lower()
    if encoding not in ENCODINGS:
        raise Refusal(problems.CONTENT_ENCODING_INVALID)
    said = [("content-encoding", encoding)] if encoding else []
    for name in ENCODINGS[encoding]:
        value = _value(headers, name)
        if not _PARAMETERS.fullmatch(value):
            raise Refusal(problems.CONTENT_ENCODING_INVALID)
        said.append((name.decode("ascii").lower(), value.decode("ascii")))
    return tuple(said)


def _value(headers: Headers, name: bytes) -> bytes:
    """A header that is there twice has a comma in it (RFC 9110 §5.3), which none of ours but one allows."""
    return b", ".join(headers.getRawHeaders(name, ())).strip()
