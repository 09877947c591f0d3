"""
The numbers of the standard, named: packet types, QoS, reason codes, property identifiers, versions.

Sources: MQTT Version 5.0 (OASIS, 2019), here "v5"; MQTT Version 3.1.1 (OASIS, 2014), here "v3";
MQTT V3.1 (IBM, 2010), which 3.1.1 differs from only where the text says "3.1".
"""

from enum import IntEnum


class Version(IntEnum):
    """The Protocol Level byte of CONNECT (v3 §3.1.2.2, v5 §3.1.2.2)."""

    V3_1 = 3  # protocol name "MQIsdp"
    V3_1_1 = 4
    V5 = 5


class PacketType(IntEnum):
    """The high nibble of a packet's first byte (v5 §2.1.2). AUTH exists in version 5 only."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class QoS(IntEnum):
    """How often a message arrives (v5 §4.3)."""

    AT_MOST_ONCE = 0
    AT_LEAST_ONCE = 1
    EXACTLY_ONCE = 2


class RetainHandling(IntEnum):
    """When a SUBSCRIBE is answered with retained messages (v5 §3.8.3.1)."""

    SEND = 0
    SEND_IF_NEW = 1
    DO_NOT_SEND = 2


class ReasonCode(IntEnum):
    """
    The outcome of an operation (v5 §2.4). Codes from 0x80 on are failures.

    0x00 has three names in the standard; the aliases keep each line readable.
    """

    SUCCESS = 0x00
    NORMAL_DISCONNECTION = 0x00
    GRANTED_QOS_0 = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


class ConnectReturnCode(IntEnum):
    """The return code of a CONNACK before version 5 (v3 §3.2.2.3, table 3.1)."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL_VERSION = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USER_NAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


class PropertyId(IntEnum):
    """The identifier in front of a property (v5 §2.2.2.2, table 2-4)."""

    PAYLOAD_FORMAT_INDICATOR = 0x01
    MESSAGE_EXPIRY_INTERVAL = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY_INTERVAL = 0x11
    ASSIGNED_CLIENT_IDENTIFIER = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY_INTERVAL = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_SUBSCRIPTION_AVAILABLE = 0x28
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29
    SHARED_SUBSCRIPTION_AVAILABLE = 0x2A


def _by_value(*codes: ReasonCode) -> dict[int, ReasonCode]:
    return {code.value: code for code in codes}


_R = ReasonCode
_PUBLISH_OUTCOMES = _by_value(
    _R.SUCCESS,
    _R.NO_MATCHING_SUBSCRIBERS,
    _R.UNSPECIFIED_ERROR,
    _R.IMPLEMENTATION_SPECIFIC_ERROR,
    _R.NOT_AUTHORIZED,
    _R.TOPIC_NAME_INVALID,
    _R.PACKET_IDENTIFIER_IN_USE,
    _R.QUOTA_EXCEEDED,
    _R.PAYLOAD_FORMAT_INVALID,
)
_RELEASE_OUTCOMES = _by_value(_R.SUCCESS, _R.PACKET_IDENTIFIER_NOT_FOUND)

# The reason codes that each packet may carry, by their value: anything else ends the connection.
LEGAL_CODES: dict[PacketType, dict[int, ReasonCode]] = {
    PacketType.CONNACK: _by_value(  # v5 [MQTT-3.2.2-8]
        _R.SUCCESS,
        _R.UNSPECIFIED_ERROR,
        _R.MALFORMED_PACKET,
        _R.PROTOCOL_ERROR,
        _R.IMPLEMENTATION_SPECIFIC_ERROR,
        _R.UNSUPPORTED_PROTOCOL_VERSION,
        _R.CLIENT_IDENTIFIER_NOT_VALID,
        _R.BAD_USER_NAME_OR_PASSWORD,
        _R.NOT_AUTHORIZED,
        _R.SERVER_UNAVAILABLE,
        _R.SERVER_BUSY,
        _R.BANNED,
        _R.BAD_AUTHENTICATION_METHOD,
        _R.TOPIC_NAME_INVALID,
        _R.PACKET_TOO_LARGE,
        _R.QUOTA_EXCEEDED,
        _R.PAYLOAD_FORMAT_INVALID,
        _R.RETAIN_NOT_SUPPORTED,
        _R.QOS_NOT_SUPPORTED,
        _R.USE_ANOTHER_SERVER,
        _R.SERVER_MOVED,
        _R.CONNECTION_RATE_EXCEEDED,
    ),
    PacketType.PUBACK: _PUBLISH_OUTCOMES,  # v5 [MQTT-3.4.2-1]
    PacketType.PUBREC: _PUBLISH_OUTCOMES,  # v5 [MQTT-3.5.2-1]
    PacketType.PUBREL: _RELEASE_OUTCOMES,  # v5 [MQTT-3.6.2-1]
    PacketType.PUBCOMP: _RELEASE_OUTCOMES,  # v5 [MQTT-3.7.2-1]
    PacketType.SUBACK: _by_value(  # v5 [MQTT-3.9.3-2]
        _R.GRANTED_QOS_0,
        _R.GRANTED_QOS_1,
        _R.GRANTED_QOS_2,
        _R.UNSPECIFIED_ERROR,
        _R.IMPLEMENTATION_SPECIFIC_ERROR,
        _R.NOT_AUTHORIZED,
        _R.TOPIC_FILTER_INVALID,
        _R.PACKET_IDENTIFIER_IN_USE,
        _R.QUOTA_EXCEEDED,
        _R.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        _R.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
        _R.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
    ),
    PacketType.UNSUBACK: _by_value(  # v5 [MQTT-3.11.3-2]
        _R.SUCCESS,
        _R.NO_SUBSCRIPTION_EXISTED,
        _R.UNSPECIFIED_ERROR,
        _R.IMPLEMENTATION_SPECIFIC_ERROR,
        _R.NOT_AUTHORIZED,
        _R.TOPIC_FILTER_INVALID,
        _R.PACKET_IDENTIFIER_IN_USE,
    ),
    PacketType.DISCONNECT: _by_value(  # v5 [MQTT-3.14.2-1]; 0x8C after a failed re-authentication (§2.4)
        _R.NORMAL_DISCONNECTION,
        _R.DISCONNECT_WITH_WILL,
        _R.UNSPECIFIED_ERROR,
        _R.MALFORMED_PACKET,
        _R.PROTOCOL_ERROR,
        _R.IMPLEMENTATION_SPECIFIC_ERROR,
        _R.NOT_AUTHORIZED,
        _R.SERVER_BUSY,
        _R.SERVER_SHUTTING_DOWN,
        _R.BAD_AUTHENTICATION_METHOD,
        _R.KEEP_ALIVE_TIMEOUT,
        _R.SESSION_TAKEN_OVER,
        _R.TOPIC_FILTER_INVALID,
        _R.TOPIC_NAME_INVALID,
        _R.RECEIVE_MAXIMUM_EXCEEDED,
        _R.TOPIC_ALIAS_INVALID,
        _R.PACKET_TOO_LARGE,
        _R.MESSAGE_RATE_TOO_HIGH,
        _R.QUOTA_EXCEEDED,
        _R.ADMINISTRATIVE_ACTION,
        _R.PAYLOAD_FORMAT_INVALID,
        _R.RETAIN_NOT_SUPPORTED,
        _R.QOS_NOT_SUPPORTED,
        _R.USE_ANOTHER_SERVER,
        _R.SERVER_MOVED,
        _R.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        _R.CONNECTION_RATE_EXCEEDED,
        _R.MAXIMUM_CONNECT_TIME,
        _R.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
        _R.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
    ),
    PacketType.AUTH: _by_value(  # v5 [MQTT-3.15.2-1]
        _R.SUCCESS,
        _R.CONTINUE_AUTHENTICATION,
        _R.RE_AUTHENTICATE,
    ),
}


def sayable(code: ReasonCode, kind: PacketType) -> ReasonCode:
    """A verdict as a packet can say it: whoever decides does not know the codes that each may have."""
    return LEGAL_CODES[kind].get(code, ReasonCode.NOT_AUTHORIZED)
