"""
One class per packet. All are plain data, the same for every version of the protocol: what version 3
cannot say (properties, reason codes) is simply at its default there.

By convention a packet is never changed after it was made; the classes are not frozen because freezing
triples the time of making one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, RetainHandling, Version

# A property's value is an int, a str, bytes, or for the two that may repeat a list:
# USER_PROPERTY: list[tuple[str, str]], SUBSCRIPTION_IDENTIFIER: list[int].
PropertyValue: TypeAlias = "int | str | bytes | list[tuple[str, str]] | list[int]"
Properties: TypeAlias = "dict[PropertyId, PropertyValue]"


@dataclass(slots=True)
class Will:
    """The message that a server publishes for a client that went away without DISCONNECT (v5 §3.1.2.5)."""

    topic: str
    payload: bytes
    qos: QoS = QoS.AT_MOST_ONCE
    retain: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Connect:
    """v3 §3.1, v5 §3.1. `keep_alive_s` 0 means none; a `username` of ``None`` means the flag was not set."""

    version: Version = Version.V3_1_1
    client_id: str = ""
    clean_start: bool = True
    keep_alive_s: int = 0
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = field(default_factory=dict)
    bridge: bool = False  # Mosquitto's bridges set bit 0x80 of the protocol level


@dataclass(slots=True)
class Connack:
    """v3 §3.2, v5 §3.2. `code` is the version 5 reason; the writer maps it to a version 3 return code."""

    session_present: bool = False
    code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Publish:
    """v3 §3.3, v5 §3.3. `packet_id` is 0 exactly when `qos` is 0. `topic` may be empty with a Topic Alias."""

    topic: str
    payload: bytes = b""
    qos: QoS = QoS.AT_MOST_ONCE
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class _Acknowledgement:
    packet_id: int
    code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Puback(_Acknowledgement):
    """v3 §3.4, v5 §3.4."""


@dataclass(slots=True)
class Pubrec(_Acknowledgement):
    """v3 §3.5, v5 §3.5."""


@dataclass(slots=True)
class Pubrel(_Acknowledgement):
    """v3 §3.6, v5 §3.6."""


@dataclass(slots=True)
class Pubcomp(_Acknowledgement):
    """v3 §3.7, v5 §3.7."""


@dataclass(slots=True)
class SubscriptionRequest:
    """One filter of a SUBSCRIBE with its options (v5 §3.8.3.1); version 3 has only the QoS."""

    filter: str
    qos: QoS = QoS.AT_MOST_ONCE
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: RetainHandling = RetainHandling.SEND


@dataclass(slots=True)
class Subscribe:
    """v3 §3.8, v5 §3.8."""

    packet_id: int
    requests: list[SubscriptionRequest]
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Suback:
    """v3 §3.9, v5 §3.9. One code per request, in order: a granted QoS or a failure."""

    packet_id: int
    codes: list[ReasonCode]
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Unsubscribe:
    """v3 §3.10, v5 §3.10."""

    packet_id: int
    filters: list[str]
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Unsuback:
    """v3 §3.11, v5 §3.11. Version 3 has no codes on the wire; there `codes` is empty."""

    packet_id: int
    codes: list[ReasonCode] = field(default_factory=list)
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Pingreq:
    """v3 §3.12, v5 §3.12."""


@dataclass(slots=True)
class Pingresp:
    """v3 §3.13, v5 §3.13."""


@dataclass(slots=True)
class Disconnect:
    """v3 §3.14, v5 §3.14. From a server in version 5 only."""

    code: ReasonCode = ReasonCode.NORMAL_DISCONNECTION
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Auth:
    """v5 §3.15."""

    code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=dict)


Packet: TypeAlias = (
    "Connect | Connack | Publish | Puback | Pubrec | Pubrel | Pubcomp | Subscribe | Suback"
    " | Unsubscribe | Unsuback | Pingreq | Pingresp | Disconnect | Auth"
)
