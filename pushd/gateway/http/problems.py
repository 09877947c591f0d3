"""
The catalogue of what the gateway answers when it does not answer 200.

A problem is ntfy's error object, ``{"code":40301,"http":403,"error":"forbidden"}``. Clients unpack it into
a function that takes exactly these names (and an optional ``link``), so no row ever gets another field. The
code is the HTTP status with two digits behind it; codes that ntfy has keep ntfy's meaning, and where it has
none for what is wrong the row ends in 00.

    Refusal        raised anywhere while a request is read; carries its `Problem`
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from pushd.mqtt.codes import ReasonCode


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of the catalogue. `body` is the whole answer, made once."""

    code: int
    error: str
    body: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shown = {"code": self.code, "http": self.http, "error": self.error}
        object.__setattr__(self, "body", json.dumps(shown, separators=(",", ":")).encode() + b"\n")

    @property
    def http(self) -> int:
        """The HTTP status."""
        return self.code // 100


class Refusal(Exception):
    """
    A request that is turned down; the caller is told its `problem` and nothing else.

    :ivar headers: further header lines of the answer, each with its end.
    """

    def __init__(self, problem: Problem, headers: bytes = b"") -> None:
        super().__init__(problem.error)
        self.problem = problem
        self.headers = headers


# The request is not HTTP as we speak it, or says something that means nothing.
MALFORMED_REQUEST = Problem(40000, "invalid request: malformed HTTP, or too many headers")
TOO_MANY_PARAMETERS = Problem(40000, "invalid request: too many query parameters")
CONTROL_CHARACTER = Problem(40000, "invalid request: control character in a parameter")
QOS_INVALID = Problem(40000, "invalid request: qos must be 0, 1 or 2")
RETAIN_INVALID = Problem(40000, "invalid request: retain must be yes or no")
TTL_INVALID = Problem(40000, "invalid request: ttl must be seconds")
FORMAT_INVALID = Problem(40000, "invalid request: format must be raw or json")
POLL_ID_INVALID = Problem(40000, "invalid request: poll id must be that of a message")
SEQUENCE_ID_INVALID = Problem(40000, "invalid request: sequence id invalid")
DELAY_NO_CACHE = Problem(40002, "cannot disable cache for delayed message")
DELAY_INVALID = Problem(40004, "invalid delay parameter: must be a duration, or a time to come")
DELAY_TOO_SMALL = Problem(40005, "invalid delay parameter: too small")
DELAY_TOO_LARGE = Problem(40006, "invalid delay parameter: too large")
PRIORITY_INVALID = Problem(40007, "invalid priority parameter: must be 1 to 5 or a name")
SINCE_INVALID = Problem(40008, "invalid since parameter")
SINCE_WILDCARD = Problem(40008, "invalid since parameter: not for topics with wildcards")
TOPIC_INVALID = Problem(40009, "invalid request: topic invalid")
TOPIC_RESERVED = Problem(40010, "invalid request: topic name is reserved")
ATTACHMENT_URL_INVALID = Problem(40013, "invalid request: attachment must be an http or https URL")
ATTACHMENT_EXPIRES_EARLY = Problem(40015, "invalid request: attachment expiry before delayed delivery date")
NO_WEBSOCKET = Problem(40016, "invalid request: client not using the websocket protocol")
ACTIONS_INVALID = Problem(40018, "invalid request: actions invalid")
ICON_INVALID = Problem(40021, "invalid request: icon must be an http or https URL")
SPAN_INVALID = Problem(40000, "invalid request: from and to must be times, such as -1h, one after the other")
STEP_INVALID = Problem(40000, "invalid request: step must be a multiple of 10 s, such as 10s, 1min or 1h")
TOO_MANY_STEPS = Problem(40000, "invalid request: more than 2000 steps between from and to")
COLUMNS_INVALID = Problem(40000, "invalid request: columns must be names of figures")
HOT_BY_INVALID = Problem(
    40000, "invalid request: by must be messages, bytes, deliveries, drops or subscribers"
)
HOT_WINDOW_INVALID = Problem(40000, "invalid request: window must be 1m, 1h or start")
HOT_COUNT_INVALID = Problem(40000, "invalid request: n must be 1 to 1000")
NO_TOKEN = Problem(40023, "invalid request: no token provided")
JSON_INVALID = Problem(40024, "invalid request: body must be a JSON object with a topic")
TEMPLATE_TOO_LARGE = Problem(
    40041, "invalid request: message or title too large after the template was filled"
)
TEMPLATE_NEEDS_JSON = Problem(40042, "invalid request: body must be JSON for a template, and not too deep")
TEMPLATE_INVALID = Problem(40043, "invalid request: template cannot be read")
TEMPLATE_NOT_ALLOWED = Problem(40044, "invalid request: template calls what is not allowed in it")
TEMPLATE_FAILED = Problem(40045, "invalid request: template does not fit the body, or takes too long")
TEMPLATE_NOT_FOUND = Problem(40047, "invalid request: there is no template of this name")
TEMPLATE_FILE_INVALID = Problem(40048, "invalid request: the template of this name cannot be used")
PERMISSION_INVALID = Problem(40025, "invalid request: permission must be read-write, read-only and so on")
TIER_INVALID = Problem(40030, "invalid request: there are no tiers")
USER_UNKNOWN = Problem(40031, "invalid request: user does not exist")
USERNAME_NOT_NTFYS = Problem(40046, "invalid request: username must be text, not empty or too long")
HASH_INVALID = Problem(40000, "invalid request: a hash instead of a password is not taken")
LABEL_INVALID = Problem(40000, "invalid request: label must be text, not too long")
EXPIRES_INVALID = Problem(40000, "invalid request: expires must be 0, or a time to come in Unix seconds")
USER_FIELD_UNKNOWN = Problem(40000, "invalid request: the fields of an account are password and enabled")
USERNAME_INVALID = Problem(40000, "invalid request: user name too long, or with control characters")
PASSWORD_INVALID = Problem(40000, "invalid request: password must be text, neither empty nor too long")
PASSWORD_MISSING = Problem(40000, "invalid request: a new account needs a password")
ENABLED_INVALID = Problem(40000, "invalid request: enabled must be true or false")
CONNECTED_INVALID = Problem(40000, "invalid request: connected must be yes or no")
LIMIT_INVALID = Problem(40000, "invalid request: limit must be 1 to 1000")
TOO_MANY_LISTED = Problem(40000, "invalid request: more than 1000 topic filters in the list")
PUSH_EMPTY = Problem(40000, "invalid request: body must have at least one byte")
URGENCY_INVALID = Problem(40000, "invalid request: urgency must be very-low, low, normal or high")
PUSH_TOPIC_INVALID = Problem(40000, "invalid request: Topic must be at most 32 characters of URL-safe base64")
CONTENT_ENCODING_INVALID = Problem(
    40000, "invalid request: Content-Encoding must be aes128gcm, or aesgcm with Encryption and Crypto-Key"
)
ENDPOINT_INVALID = Problem(
    40000, "invalid request: an endpoint has a topic, a client or a user, and vapid, each of them a text"
)
VAPID_KEY_INVALID = Problem(40000, "invalid request: vapid must be a public key on P-256, in base64")
MATRIX_INVALID = Problem(40019, "invalid request: body must be a Matrix notification with devices")

# What this server does not offer. It says so; a parameter it cannot honour is never silently dropped.
EMAIL_OFF = Problem(40001, "e-mail notifications are not enabled")
ATTACHMENTS_OFF = Problem(40014, "invalid request: body is not text, or a file; attachments are not enabled")
SIGNUP_OFF = Problem(40022, "invalid request: signup not enabled")
CALL_OFF = Problem(40032, "invalid request: phone calls are not enabled")
TEMPLATE_OFF = Problem(40043, "invalid request: templates are not enabled")
HOT_TOPICS_OFF = Problem(40000, "invalid request: hot topics are not enabled")
RETAIN_OFF = Problem(40000, "invalid request: retained messages are not enabled")
QOS_OFF = Problem(40000, "invalid request: this qos is not enabled")

VAPID_MISSING = Problem(40100, "unauthorized: this endpoint takes pushes with VAPID only")
UNAUTHORIZED = Problem(40101, "unauthorized")
VAPID_WRONG = Problem(40300, "forbidden: the VAPID token is not for this endpoint, or not valid now")
FORBIDDEN = Problem(40301, "forbidden")
USER_NOT_FOUND = Problem(40400, "user not found")
NOT_FOLLOWED = Problem(40400, "user is not followed")
NOT_SUBSCRIBED = Problem(40400, "topic filter is not in the list")
ENDPOINT_NOT_FOUND = Problem(40400, "endpoint not found")
TOKEN_NOT_FOUND = Problem(40400, "token not found")
MESSAGE_NOT_FOUND = Problem(40400, "message not found: it was delivered, or has expired")
NOT_FOUND = Problem(40401, "page not found")
USER_EXISTS = Problem(40901, "conflict: user already exists")
REQUEST_TIMEOUT = Problem(40800, "request was not complete in time")
ENDPOINT_GONE = Problem(41000, "endpoint is gone")
MESSAGE_TOO_LARGE = Problem(41301, "message too large")
FILE_TOO_LARGE = Problem(41301, "attachment too large")
FILES_FULL = Problem(41301, "attachment too large: there is no room for files at the moment")
MATRIX_TOO_LARGE = Problem(41302, "Matrix notification too large")
JSON_TOO_LARGE = Problem(41303, "JSON body too large")
RANGE_INVALID = Problem(41600, "invalid request: the file does not reach as far as the range")
TOO_MANY_TOKENS = Problem(42900, "limit reached: too many tokens of one user")
TOO_MANY_ENDPOINTS = Problem(42900, "limit reached: too many endpoints")
WEBSOCKET_VERSION = Problem(42600, "invalid request: only version 13 of websocket is spoken here")
TOO_MANY_REQUESTS = Problem(42901, "limit reached: too many requests")
TOO_MANY_BODIES = Problem(42901, "limit reached: too many large requests on their way at once")
TOO_MANY_TRANSFERS = Problem(42901, "limit reached: too many files on their way at once")
TOO_MANY_STREAMS = Problem(42903, "limit reached: too many active subscriptions")
TOO_MANY_TOPICS = Problem(42904, "limit reached: too many topics in one subscription")
TOO_MANY_FILES = Problem(42905, "limit reached: too many bytes in files; they expire")
TOO_MANY_FAILED_LOGINS = Problem(42909, "limit reached: too many failed logins")

INTERNAL_ERROR = Problem(50001, "internal server error")
UNAVAILABLE = Problem(50300, "service unavailable: try again later")
NO_ANSWER_IN_TIME = Problem(50300, "message could not be stored in time; it may still be delivered")
NO_ROOM = Problem(50700, "insufficient storage: a queue is full, or the server cannot store messages now")

# The push API, beside what is wrong with a push of any kind.
PUSH_INVALID = Problem(40024, "invalid request: body must be a JSON object")
NO_TARGETS = Problem(40000, "invalid request: targets must name topics, users or clients, or say all")
TOO_MANY_TARGETS = Problem(40000, "invalid request: more than 1000 targets")
ALL_TARGETS_INVALID = Problem(40000, "invalid request: targets.all must be true or false")
TOPIC_MISSING = Problem(40000, "invalid request: topic is missing: users, clients and all get it on one")
TOPIC_UNUSED = Problem(40000, "invalid request: topic is for users, clients and all; topics are their own")
PAYLOAD_INVALID = Problem(40000, "invalid request: either message or payload_base64")
BASE64_INVALID = Problem(40000, "invalid request: payload_base64 is no base64")
PROPERTIES_INVALID = Problem(40000, "invalid request: properties must be at most 64 names with texts")
PROPERTY_IS_FIELD = Problem(40000, "invalid request: properties must not be named as fields are")
PROPERTIES_TOO_LARGE = Problem(
    40000, "invalid request: title, tags, properties and so on take more than 16384 bytes"
)
COLLAPSE_KEY_INVALID = Problem(
    40000, "invalid request: collapse_key must be 1 to 64 letters, without control characters"
)
RETAIN_WITHOUT_TOPIC = Problem(40000, "invalid request: retain is for topics without wildcards alone")
BATCH_INVALID = Problem(40024, "invalid request: body must be a JSON list, or an object with pushes")
BATCH_TOO_LONG = Problem(40000, "invalid request: more than 1000 pushes")
TOO_MANY_BATCH_TARGETS = Problem(40000, "invalid request: more than 10000 targets in a batch")
WAIT_INVALID = Problem(40000, "invalid request: wait must be 0s to 60s")
WAIT_FOR_LATER = Problem(40000, "invalid request: nobody can wait for what is delivered later")
AFTER_INVALID = Problem(40000, "invalid request: after must be what next was")
WEBHOOKS_OFF = Problem(40000, "invalid request: webhooks are not enabled")
WEBHOOK_INVALID = Problem(40000, "invalid request: webhook must be an https URL of a public address")
IDEMPOTENCY_KEY_INVALID = Problem(40000, "invalid request: Idempotency-Key must be 1 to 255 letters of ASCII")
IDEMPOTENCY_KEY_USED = Problem(42200, "Idempotency-Key was used for another request")
PUSH_NOT_FOUND = Problem(40400, "push not found")
SCHEDULED_NOT_FOUND = Problem(40400, "scheduled message not found")
NO_ROOM_FOR_KEY = Problem(50700, "insufficient storage: too many answers are kept for Idempotency-Keys")
NO_ROOM_FOR_LATER = Problem(50700, "insufficient storage: too many messages are scheduled")
NO_ROOM_FOR_WEBHOOK = Problem(50700, "insufficient storage: too many webhooks wait")

# What the broker says to who wants to publish or to listen, in HTTP's words. Anything not listed is our own
# fault.
OF_REASON_CODE: dict[ReasonCode, Problem] = {
    ReasonCode.NOT_AUTHORIZED: FORBIDDEN,
    ReasonCode.TOPIC_NAME_INVALID: TOPIC_INVALID,
    ReasonCode.TOPIC_FILTER_INVALID: TOPIC_INVALID,
    ReasonCode.PACKET_TOO_LARGE: MESSAGE_TOO_LARGE,
    ReasonCode.QUOTA_EXCEEDED: NO_ROOM,
    ReasonCode.RETAIN_NOT_SUPPORTED: RETAIN_OFF,
    ReasonCode.QOS_NOT_SUPPORTED: QOS_OFF,
    ReasonCode.MESSAGE_RATE_TOO_HIGH: TOO_MANY_REQUESTS,
    ReasonCode.SERVER_BUSY: UNAVAILABLE,
    ReasonCode.SERVER_UNAVAILABLE: UNAVAILABLE,
    ReasonCode.SERVER_SHUTTING_DOWN: UNAVAILABLE,
}
