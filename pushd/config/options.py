"""
Every option of a settings file, one row each: how it is read, where it counts, and what pushd makes of it.

The names, defaults and rules are Mosquitto 2.1's (mosquitto.conf(5), and its behaviour where that says less);
pushd's own options are at the end. Parser, check and manual (`pushd.config.manual`) read this table, and a
test holds ``conf/pushd.conf`` to it; the few options that shape the file (`listener`, `include_dir`, ...)
have their code in `pushd.config.reader`.

What an option does is explained in ``conf/pushd.conf``, if it works. If not, its row has a note.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import partial

from pushd.config.kinds import (
    INT_MAX,
    Anything,
    BaseUrl,
    Boolean,
    Choice,
    Duration,
    EndpointKind,
    FilePath,
    HeaderName,
    Integer,
    IpNetwork,
    Kind,
    LogDestination,
    MySqlUrl,
    Network,
    ProtocolVersions,
    RedisUrl,
    Retention,
    SecretText,
    Size,
    Text,
    TopicRetention,
    port,
    seconds,
)


class Scope(Enum):
    """What a line of an option belongs to, and so where in a file it may stand."""

    FILE = "anywhere"
    SECURITY = "anywhere, or per listener"  # of the listener it follows, under per_listener_settings
    LISTENER = "after listener, or opens one"  # the default listener
    OPEN_LISTENER = "after listener"
    DEFAULT_LISTENER = "anywhere; opens a listener"  # the default listener; what follows belongs to it too
    BRIDGE = "after connection"
    PLUGIN = "after plugin"


class Repeat(Enum):
    """What a second line of the same option does."""

    ONCE = "it is an error"
    LAST = "it replaces the first"
    ALL = "both count"


class Status(Enum):
    """What pushd makes of an option."""

    WORKS = "works"
    LATER = "not yet"  # accepted with a warning: it is not implemented
    NO_EFFECT = "no effect"  # accepted with a warning: there is nothing here that it could change


G, S, L, OPEN, DEFAULT, B, P = Scope
ONCE, LAST, ALL = Repeat
WORKS, LATER, NO_EFFECT = Status
HUP = True  # SIGHUP applies a change; without it, only a restart does


@dataclass(frozen=True, slots=True)
class Option:
    """One row. `default` is the value after reading; ``None`` is "nothing", which cannot be written down."""

    name: str
    kind: Kind
    default: object = None
    scope: Scope = G
    reloadable: bool = False
    status: Status = WORKS
    repeat: Repeat = LAST
    aliases: tuple[str, ...] = ()
    sets: str = ""  # the option whose value this one gives, if it is another spelling with a scope of its own
    prefix: bool = False  # the name is only the beginning of one
    note: str = ""  # what is missing or happens instead, if it does not work

    @property
    def key(self) -> str:
        """The name its value is kept under."""
        return self.sets or self.name

    @property
    def title(self) -> str:
        """What a manual calls it: what is only the beginning of a name has NAME behind it."""
        return f"{self.name}NAME" if self.prefix else self.name

    @property
    def ours(self) -> bool:
        """Whether Mosquitto does not know it."""
        return self in OURS

    def kind_of(self, name: str) -> Kind:
        """How the value is read of a line with this name: some options of plugins are secrets."""
        return SECRET if self.prefix and SECRET_NAME.search(name) else self.kind


LOG_TYPES = (
    "error",
    "warning",
    "notice",
    "information",
    "debug",
    "subscribe",
    "unsubscribe",
    "websockets",
    "internal",
)
TEXT, PATH, DIRECTORY, BOOLEAN, SECRET = (
    Text(),
    FilePath(),
    FilePath(name="DIRECTORY"),
    Boolean(),
    SecretText(),
)
SECRET_NAME = re.compile("password|passwd|secret|token|psk")  # in the name of a plugin's option
ADDRESS, NAME, LIST = Text(name="ADDRESS"), Text(name="NAME"), Text(name="LIST")
PREFIX_TEXT = Text(max_bytes=50, name="PREFIX")  # of generated client ids
MOUNT_POINT = Text(forbidden="+#", name="PREFIX")
INTERFACE = Text(max_bytes=15, forbidden=" /", name="INTERFACE")  # as Linux has it (IFNAMSIZ)
PROTOCOL = Choice(
    ("mqtt", "websockets", "http"),
    remarks={
        "http_api": "http_api is not implemented yet: this listener stays shut (http is pushd's own gateway)"
    },
)
# A minimum: what comes in may only get stronger.
TLS_VERSION = Choice(
    ("tlsv1.2", "tlsv1.3"),
    remarks=dict.fromkeys(("tlsv1.1", "tlsv1"), "TLS 1.1 and older are not spoken; tlsv1.2 is the minimum"),
    means=dict.fromkeys(("tlsv1.1", "tlsv1"), "tlsv1.2"),
)
BYTES = Integer(below=0, unit="bytes")
MESSAGES = Integer(below=0, unit="messages")
MAX_PAYLOAD = 268_435_455  # the largest Remaining Length (v3 §2.2.3)

LISTENERS = (
    Option("listener", EndpointKind(), None, G, HUP, repeat=ALL),
    Option("port", port(), 1883, DEFAULT, HUP),
    Option("bind_address", ADDRESS, None, DEFAULT, HUP, repeat=ONCE),
    Option("protocol", PROTOCOL, "mqtt", L, HUP),
    Option("socket_domain", Choice(("ipv4", "ipv6")), None, L, HUP),
    Option("bind_interface", INTERFACE, None, L, HUP, repeat=ONCE),
    Option("accept_protocol_versions", ProtocolVersions(), frozenset({3, 4, 5}), OPEN, HUP),
    Option("max_connections", Integer(1, below=-1), -1, L, HUP),  # 0 is no limit either, as measured
    Option("max_qos", Integer(0, 2), 2, L, HUP, aliases=("maximum_qos",)),
    Option("max_topic_alias", Integer(0, 65535), 10, OPEN, HUP),
    Option("max_topic_alias_broker", Integer(0, 65535), 10, OPEN, HUP),
    Option("mount_point", MOUNT_POINT, "", OPEN, HUP),
    Option("use_username_as_clientid", BOOLEAN, False, L, HUP),
    Option("listener_allow_anonymous", BOOLEAN, None, OPEN, HUP, sets="allow_anonymous"),
    Option("listener_auto_id_prefix", PREFIX_TEXT, None, OPEN, HUP, repeat=ONCE, sets="auto_id_prefix"),
    Option(
        "http_dir",
        DIRECTORY,
        None,
        OPEN,
        status=LATER,
        repeat=ONCE,
        note="the gateway serves no files from a directory",
    ),
    Option("websockets_origin", Text(name="ORIGIN"), (), OPEN, HUP, repeat=ALL),
    Option("enable_proxy_protocol", Integer(1, 2), None, OPEN, HUP),
    Option("proxy_protocol_v2_require_tls", BOOLEAN, False, OPEN, HUP),
)

NO_ENGINES = "keys are read from PEM files; OpenSSL has given up its engines"

TLS = (
    Option("certfile", PATH, None, L, HUP),
    Option("keyfile", PATH, None, L, HUP),
    Option("cafile", PATH, None, OPEN, HUP),  # Mosquitto keeps the old file on SIGHUP; there is no reason to
    Option("capath", DIRECTORY, None, L, HUP),
    Option("require_certificate", BOOLEAN, False, L, HUP),
    Option("use_identity_as_username", BOOLEAN, False, L, HUP),
    Option("use_subject_as_username", BOOLEAN, False, L, HUP),
    Option("crlfile", PATH, None, L, HUP),
    Option(
        "disable_client_cert_date_checks",
        BOOLEAN,
        False,
        OPEN,
        status=LATER,
        note="expired client certificates are refused",
    ),
    Option("ciphers", LIST, None, L, HUP),
    Option("ciphers_tls1.3", LIST, None, L, HUP),
    Option("tls_version", TLS_VERSION, "tlsv1.2", OPEN, HUP, repeat=ONCE),
    Option("tls_engine", TEXT, None, L, status=NO_EFFECT, repeat=ONCE, note=NO_ENGINES),
    Option("tls_engine_kpass_sha1", SECRET, None, L, status=NO_EFFECT, note=NO_ENGINES),
    Option("tls_keyform", TEXT, None, L, status=NO_EFFECT, note=NO_ENGINES),
    Option(
        "dhparamfile", Anything(), None, G, status=NO_EFFECT, note="OpenSSL has good parameters of its own"
    ),
    # Without it the listener would speak plain text where the file asks for encryption.
    Option(
        "psk_hint",
        TEXT,
        None,
        L,
        status=LATER,
        repeat=ONCE,
        note="pre-shared keys are not known, so its listener stays shut",
    ),
    Option("psk_file", PATH, None, S, HUP, LATER, note="pre-shared keys are not known"),
)

PLUGIN, VALUE = Text(name="PLUGIN"), Text(name="VALUE")

SECURITY = (
    Option("per_listener_settings", BOOLEAN, False, G, HUP),
    Option("allow_anonymous", BOOLEAN, False, S, HUP),
    Option("password_file", PATH, None, S, HUP),
    Option("acl_file", PATH, None, S, HUP),
    Option("allow_zero_length_clientid", BOOLEAN, True, S, HUP),
    Option("auto_id_prefix", PREFIX_TEXT, "auto-", S, HUP, repeat=ONCE),
    Option("clientid_prefixes", Text(name="PREFIX"), None, G, HUP),
    Option("plugin", PLUGIN, None, S, HUP, repeat=ALL, aliases=("auth_plugin",)),
    Option("global_plugin", PLUGIN, None, G, HUP, repeat=ALL),
    Option("plugin_load", Text(name="NAME PLUGIN"), None, G, HUP, repeat=ALL),
    Option("plugin_use", NAME, None, OPEN, HUP, repeat=ALL),
    Option("plugin_opt_", VALUE, None, P, HUP, prefix=True),
    Option("auth_opt_", VALUE, None, P, HUP, prefix=True),
    Option("auth_plugin_deny_special_chars", BOOLEAN, True, P, HUP),
)

LIMITS = (
    Option("global_max_clients", Integer(-INT_MAX), -1, G, HUP),
    Option("global_max_connections", Integer(-INT_MAX), -1, G, HUP),
    Option("max_keepalive", seconds(0, 65535), 0, G, HUP),
    Option("max_packet_size", Integer(20, unit="bytes"), 2_000_000, G, HUP),
    Option("message_size_limit", Integer(0, MAX_PAYLOAD, unit="bytes"), 0, G, HUP),
    Option("max_inflight_messages", Integer(0, 65535, below=0, unit="messages"), 20, G, HUP),
    Option("max_inflight_bytes", BYTES, 0, G, HUP),
    Option("max_queued_messages", MESSAGES, 1000, G, HUP),
    Option("max_queued_bytes", BYTES, 0, G, HUP),
    Option("queue_qos0_messages", BOOLEAN, False, G, HUP),
    Option("upgrade_outgoing_qos", BOOLEAN, False, G, HUP),
    Option("allow_duplicate_messages", BOOLEAN, False, G, HUP),
    Option("persistent_client_expiration", Duration(), None, G, HUP),
    Option("retain_available", BOOLEAN, True, G, HUP),
    Option(
        "retain_expiry_interval",
        Integer(1, unit="minutes"),
        None,
        G,
        status=NO_EFFECT,
        note="retained messages go by themselves as soon as they expire",
    ),
    Option("check_retain_source", BOOLEAN, True, G, HUP),
    Option("memory_limit", Integer(0, 2**63 - 1, unit="bytes"), 0, G, HUP),
    Option(
        "packet_buffer_size",
        Integer(0, 65535, unit="bytes"),
        4096,
        status=NO_EFFECT,
        aliases=("websockets_headers_size",),
        note="buffers have the size of what is in them",
    ),
    Option("set_tcp_nodelay", BOOLEAN, True, G, HUP),  # unlike Mosquitto; conf/pushd.conf says why
    Option(
        "retry_interval",
        Anything(),
        None,
        G,
        status=NO_EFFECT,
        note="messages are sent again when their client comes back, and only then",
    ),
)

AT_ONCE = "every change is stored at once"

PERSISTENCE = (
    Option("persistence", BOOLEAN, False, G, aliases=("retained_persistence",)),
    Option("persistence_location", DIRECTORY, "", G, repeat=ONCE),
    Option("persistence_file", TEXT, "mosquitto.db", G, repeat=ONCE),
    Option(
        "autosave_interval",
        Integer(0, below=0, unit="seconds"),
        1800,
        G,
        status=NO_EFFECT,
        note=AT_ONCE,
    ),
    Option("autosave_on_changes", BOOLEAN, False, G, status=NO_EFFECT, note=AT_ONCE),
)

REPORTS = (
    Option("sys_interval", seconds(0, 65535), 10, G, HUP),
    Option("enable_control_api", BOOLEAN, False, G, HUP, LATER, note="nobody answers under $CONTROL"),
    Option("connection_messages", BOOLEAN, True, G, HUP),
    Option("log_dest", LogDestination(), ("stderr",), G, HUP, repeat=ALL),
    Option("log_type", Choice((*LOG_TYPES, "all", "none")), LOG_TYPES[:4], G, HUP, repeat=ALL),
    Option("log_timestamp", BOOLEAN, True, G, HUP),
    Option("log_timestamp_format", Text(name="FORMAT"), None, G, HUP, repeat=ONCE),
    Option("log_facility", Integer(0, 7), None, G, HUP),
    Option(
        "websockets_log_level",
        Integer(-INT_MAX),
        0,
        G,
        status=NO_EFFECT,
        note="it is for libwebsockets, which is not used here",
    ),
)

PROCESS = (
    Option("include_dir", DIRECTORY, None, G, HUP, repeat=ALL),
    Option("pid_file", PATH, None, G, repeat=ONCE),
    Option("user", NAME, None, G),
)

NO_BRIDGES = "no connection to another broker is made"
of_a_bridge = partial(Option, scope=B, reloadable=HUP, status=LATER, note=NO_BRIDGES)

# `connection` starts a bridge, the others belong to it. Without bridges their words are not taken apart yet.
BRIDGES = (
    Option("connection", NAME, None, G, HUP, LATER, ALL, note=NO_BRIDGES),
    of_a_bridge("address", Text(name="ADDRESS[:PORT] ..."), None, repeat=ONCE, aliases=("addresses",)),
    of_a_bridge("topic", Text(name="PATTERN [DIRECTION [QOS [LOCAL [REMOTE]]]]"), None, repeat=ALL),
    of_a_bridge("remote_clientid", TEXT, None, repeat=ONCE, aliases=("clientid",)),
    of_a_bridge("remote_username", TEXT, None, repeat=ONCE, aliases=("username",)),
    of_a_bridge("remote_password", SECRET, None, repeat=ONCE, aliases=("password",)),
    of_a_bridge("local_clientid", TEXT, None, repeat=ONCE),
    of_a_bridge("local_username", TEXT, None, repeat=ONCE),
    of_a_bridge("local_password", SECRET, None, repeat=ONCE),
    of_a_bridge("cleansession", BOOLEAN, False),
    of_a_bridge("local_cleansession", BOOLEAN, None),
    of_a_bridge("keepalive_interval", Integer(5, 65535, below=5, unit="seconds"), 60),
    of_a_bridge("idle_timeout", Integer(1, below=1, unit="seconds"), 60),
    of_a_bridge("threshold", Integer(1, below=1, unit="messages"), 10),
    of_a_bridge("start_type", Choice(("automatic", "lazy", "once")), "automatic"),
    of_a_bridge("restart_timeout", Text(name="BASE [CAP [STABLE]]"), "5 30"),
    of_a_bridge("round_robin", BOOLEAN, False),
    of_a_bridge("try_private", BOOLEAN, True),
    of_a_bridge("notifications", BOOLEAN, True),
    of_a_bridge("notifications_local_only", BOOLEAN, False),
    of_a_bridge("notification_topic", TEXT, None, repeat=ONCE),
    of_a_bridge("bridge_protocol_version", Choice(("mqttv31", "mqttv311", "mqttv50")), "mqttv311"),
    of_a_bridge("bridge_max_packet_size", Integer(0, below=0, unit="bytes"), 0),
    of_a_bridge("bridge_max_topic_alias", Integer(0, 65535), 10),
    of_a_bridge("bridge_receive_maximum", Integer(1, 65535, unit="messages"), 20),
    of_a_bridge("bridge_session_expiry_interval", seconds(0, INT_MAX), 0),
    of_a_bridge("bridge_outgoing_retain", BOOLEAN, True),
    of_a_bridge("bridge_attempt_unsubscribe", BOOLEAN, True),
    of_a_bridge("bridge_bind_address", TEXT, None, repeat=ONCE),
    of_a_bridge("bridge_reload_type", Choice(("lazy", "immediate")), "lazy"),
    of_a_bridge("bridge_tcp_keepalive", Text(name="IDLE INTERVAL COUNT"), None),
    of_a_bridge("bridge_tcp_user_timeout", Integer(0, unit="milliseconds"), None),
    of_a_bridge("bridge_cafile", PATH, None, repeat=ONCE),
    of_a_bridge("bridge_capath", DIRECTORY, None, repeat=ONCE),
    of_a_bridge("bridge_certfile", PATH, None, repeat=ONCE),
    of_a_bridge("bridge_keyfile", PATH, None),
    of_a_bridge("bridge_tls_version", TEXT, None, repeat=ONCE),
    of_a_bridge("bridge_tls_use_os_certs", BOOLEAN, False),
    of_a_bridge("bridge_insecure", BOOLEAN, False),
    of_a_bridge("bridge_alpn", TEXT, None, repeat=ONCE),
    of_a_bridge("bridge_ciphers", TEXT, None, repeat=ONCE),
    of_a_bridge("bridge_ciphers_tls1.3", TEXT, None, repeat=ONCE),
    of_a_bridge("bridge_require_ocsp", BOOLEAN, False),
    of_a_bridge("bridge_identity", TEXT, None, repeat=ONCE),
    of_a_bridge("bridge_psk", SECRET, None, repeat=ONCE),
)

OURS = (
    Option("acl_substitution", Choice(("2.0", "2.1")), "2.1", S, HUP),
    Option("acl_check_subscribe", BOOLEAN, False, S, HUP),
    Option("durability", Choice(("full", "normal", "off")), "full", G),
    # From accept to a whole CONNECT, TLS included. Mosquitto gives 20 s times 1.5: kind to an attacker.
    Option("connect_timeout", seconds(1, 3600), 10, G, HUP),
    Option("queue_full", Choice(("drop_newest", "drop_oldest", "refuse_publisher")), "drop_newest", G, HUP),
    Option("max_subscriptions_per_client", Integer(0, below=0), 10_000, G, HUP),
    Option("max_retained_messages", Integer(0, below=0, unit="messages"), 1_000_000, G, HUP),
    Option("max_retained_bytes", BYTES, 1_073_741_824, G, HUP),
    # ntfy's cache-duration.
    Option("cache_duration", Retention(), 43_200, G, HUP),
    Option("cache_topic", TopicRetention(), (), G, HUP, repeat=ALL),
    Option("max_kept_messages", Integer(0, below=0, unit="messages"), 1_000_000, G, HUP),
    Option("max_kept_bytes", BYTES, 1_073_741_824, G, HUP),
    Option("receipt_duration", seconds(60, 604_800), 86_400, G, HUP),
    Option("max_receipts", Integer(0, below=0, unit="devices"), 200_000, G, HUP),
    Option("max_message_rate", Integer(0, below=0), 0, G, HUP),
    Option("max_write_buffer", Integer(1024, unit="bytes"), 1_048_576, G, HUP),
    Option("max_connect_rate", Integer(0, below=0), 1000, G, HUP),
    Option("max_connect_rate_per_address", Integer(0, below=0), 100, G, HUP),
    Option("max_login_failures", Integer(0, below=0), 10, G, HUP),
    Option("gateway_limits", BOOLEAN, True, G, HUP),
    Option("max_request_rate_per_user", Integer(0, below=0), 100, G, HUP),
    Option("max_request_rate_per_address", Integer(0, below=0), 10, G, HUP),
    Option("max_streams_per_caller", Integer(0, below=0), 30, G, HUP),
    # Not ntfy's name for it: that is an option of Mosquitto's bridges.
    Option("stream_keepalive_interval", seconds(5, 75), 45, G, HUP),
    Option("trusted_proxy", Network(), (), G, HUP, repeat=ALL),
    Option("proxy_user_header", HeaderName(), None, G, HUP, repeat=ONCE),
    Option("webhook_secret", SECRET, None, G, HUP, repeat=ONCE),
    Option("allow_http_webhooks", BOOLEAN, False, G, HUP),
    Option("allow_private_networks", IpNetwork(), (), G, HUP, repeat=ALL),
    Option("accounts", BOOLEAN, False, S, HUP),
    Option("admin_user", NAME, (), G, HUP, repeat=ALL),
    Option("redis_url", RedisUrl(), None, G, repeat=ONCE),
    Option("autosubscribe_file", PATH, None, G, HUP, repeat=ONCE),
    Option("routes_file", PATH, None, G, HUP, repeat=ONCE),
    Option("hot_topics", Integer(0, 5000, unit="topics"), 1000, G),
    Option("status_database", MySqlUrl(), None, G, repeat=ONCE),
    Option("gateway_payload", Choice(("raw", "json")), "raw", G, HUP),
    Option("base_url", BaseUrl(), None, G, HUP, repeat=ONCE),
    # ntfy's names and defaults, as far as it has them.
    Option("attachment_cache_dir", DIRECTORY, None, G, repeat=ONCE),
    Option("attachment_file_size_limit", Size(1), 15_728_640, G, HUP),
    Option("attachment_total_size_limit", Size(), 5_368_709_120, G, HUP),
    Option("attachment_expiry_duration", Duration(), 10_800, G, HUP),
    Option("visitor_attachment_total_size_limit", Size(), 104_857_600, G, HUP),
    Option("template_dir", DIRECTORY, None, G, HUP, repeat=ONCE),
)

OPTIONS: tuple[Option, ...] = (
    *LISTENERS,
    *TLS,
    *SECURITY,
    *LIMITS,
    *PERSISTENCE,
    *REPORTS,
    *PROCESS,
    *BRIDGES,
    *OURS,
)

_BY_NAME = {name: option for option in OPTIONS for name in (option.name, *option.aliases)}
LONGEST_NAME = 2 * max(map(len, _BY_NAME))
_PREFIXES = tuple(option for option in OPTIONS if option.prefix)


def find(name: str) -> Option | None:
    """:return: the row of an option as it is written in a file, or ``None`` if there is none of that name."""
    option = _BY_NAME.get(name)
    if option is not None and not option.prefix:
        return option
    return next((row for row in _PREFIXES if name.startswith(row.name) and name != row.name), None)


def nearest(name: str) -> str | None:
    """The option that somebody may have meant who wrote this, or ``None``."""
    if len(name) > LONGEST_NAME:
        return None
    return next(iter(get_close_matches(name.lower(), _BY_NAME, n=1, cutoff=0.75)), None)
