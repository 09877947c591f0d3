"""
Every option of a settings file, one row each: how it is read, where it counts, and what pushd makes of it.

The names, defaults and rules are Mosquitto 2.1's (mosquitto.conf(5), and its behaviour where that says less);
pushd's own options are at the end. Parser, check, reload and the test of ``conf/pushd.conf`` read this table;
the few options that shape the file (`listener`, `include_dir`, ...) have their code in `pushd.config.reader`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pushd.config.kinds import (
    INT_MAX,
    Anything,
    Boolean,
    Choice,
    Duration,
    EndpointKind,
    FilePath,
    Integer,
    Kind,
    LogDestination,
    ProtocolVersions,
    Text,
    port,
    seconds,
)


class Scope(Enum):
    """What a line of an option belongs to, and so where in a file it may stand."""

    FILE = "the whole broker"
    SECURITY = "the whole broker, or under per_listener_settings the listener it follows"
    LISTENER = "the listener it follows, or the default listener if there is none yet"
    OPEN_LISTENER = "the listener it follows; there must be one"
    DEFAULT_LISTENER = "the default listener, wherever the line stands; what follows belongs to it too"
    BRIDGE = "the connection it follows; there must be one"
    PLUGIN = "the plugin it follows; there must be one"


class Repeat(Enum):
    """What a second line of the same option does."""

    ONCE = "it is an error"
    LAST = "it replaces the first"
    ALL = "both count"


class Status(Enum):
    """What pushd makes of an option."""

    WORKS = "implemented"
    LATER = "not implemented yet: accepted, with a warning that names it"
    REFUSED = "not implemented yet, and a door would stand wider open without it: the start stops"
    NO_EFFECT = "accepted with a warning; there is nothing here that it could change"


G, S, L, OPEN, DEFAULT, B, P = Scope
ONCE, LAST, ALL = Repeat
WORKS, LATER, REFUSED, NO_EFFECT = Status
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

    @property
    def key(self) -> str:
        """The name its value is kept under."""
        return self.sets or self.name


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
TEXT, PATH, BOOLEAN, WORDS = Text(), FilePath(), Boolean(), Text()
PREFIX_TEXT = Text(max_bytes=50)  # of generated client ids
MOUNT_POINT = Text(forbidden="+#")
INTERFACE = Text(max_bytes=15, forbidden=" /")  # as Linux has it (IFNAMSIZ)
BYTES = Integer(below=0, unit="bytes")
MESSAGES = Integer(below=0, unit="messages")
MAX_PAYLOAD = 268_435_455  # the largest Remaining Length (v3 §2.2.3)

LISTENERS = (
    Option("listener", EndpointKind(), None, G, repeat=ALL),
    Option("port", port(), 1883, DEFAULT),
    Option("bind_address", TEXT, None, DEFAULT, repeat=ONCE),
    Option("protocol", Choice(("mqtt", "websockets", "http"), later=("http_api",)), "mqtt", L),
    Option("socket_domain", Choice(("ipv4", "ipv6")), None, L),
    Option("bind_interface", INTERFACE, None, L, repeat=ONCE),
    Option("accept_protocol_versions", ProtocolVersions(), frozenset({3, 4, 5}), OPEN, HUP),
    Option("max_connections", Integer(1, below=-1), -1, L, HUP),  # 0 is no limit either, as measured
    Option("max_qos", Integer(0, 2), 2, L, HUP, aliases=("maximum_qos",)),
    Option("max_topic_alias", Integer(0, 65535), 10, OPEN, HUP),
    Option("max_topic_alias_broker", Integer(0, 65535), 10, OPEN, HUP),
    Option("mount_point", MOUNT_POINT, "", OPEN, HUP),
    Option("use_username_as_clientid", BOOLEAN, False, L, HUP, LATER),
    Option("listener_allow_anonymous", BOOLEAN, None, OPEN, HUP, sets="allow_anonymous"),
    Option("listener_auto_id_prefix", PREFIX_TEXT, None, OPEN, HUP, repeat=ONCE, sets="auto_id_prefix"),
    Option("http_dir", PATH, None, OPEN, status=LATER, repeat=ONCE),
    Option("websockets_origin", TEXT, (), OPEN, HUP, repeat=ALL),
    Option("enable_proxy_protocol", Integer(1, 2), None, OPEN),
    Option("proxy_protocol_v2_require_tls", BOOLEAN, False, OPEN),
)

TLS = (
    Option("certfile", PATH, None, L, HUP),
    Option("keyfile", PATH, None, L, HUP),
    Option("cafile", PATH, None, OPEN, HUP),  # Mosquitto keeps the old file on SIGHUP; there is no reason to
    Option("capath", PATH, None, L, HUP),
    Option("require_certificate", BOOLEAN, False, L, HUP),
    Option("use_identity_as_username", BOOLEAN, False, L, HUP),
    Option("use_subject_as_username", BOOLEAN, False, L, HUP),
    Option("crlfile", PATH, None, L, HUP),
    Option("disable_client_cert_date_checks", BOOLEAN, False, OPEN, status=LATER),
    Option("ciphers", TEXT, None, L),
    Option("ciphers_tls1.3", TEXT, None, L),
    Option("tls_version", Choice(("tlsv1.2", "tlsv1.3")), "tlsv1.2", OPEN, repeat=ONCE),
    Option("tls_engine", TEXT, None, L, status=NO_EFFECT, repeat=ONCE),
    Option("tls_engine_kpass_sha1", TEXT, None, L, status=NO_EFFECT),
    Option("tls_keyform", TEXT, None, L, status=NO_EFFECT),
    Option("dhparamfile", Anything(), None, G, status=NO_EFFECT),
    # Without psk_hint the listener would speak plain text where the file asks for encryption.
    Option("psk_hint", TEXT, None, L, status=REFUSED, repeat=ONCE),
    Option("psk_file", PATH, None, S, HUP, LATER),
)

SECURITY = (
    Option("per_listener_settings", BOOLEAN, False, G, HUP),
    Option("allow_anonymous", BOOLEAN, False, S, HUP),
    Option("password_file", PATH, None, S, HUP),
    Option("acl_file", PATH, None, S, HUP),
    Option("allow_zero_length_clientid", BOOLEAN, True, S, HUP),
    Option("auto_id_prefix", PREFIX_TEXT, "auto-", S, HUP, repeat=ONCE),
    Option("clientid_prefixes", TEXT, None, G, HUP, LATER),
    # A plugin is somebody's access check: a broker that starts without it lets in whom the check kept out.
    Option("plugin", TEXT, None, S, status=REFUSED, repeat=ALL, aliases=("auth_plugin",)),
    Option("global_plugin", TEXT, None, G, status=REFUSED, repeat=ALL),
    Option("plugin_load", WORDS, None, G, status=REFUSED, repeat=ALL),
    Option("plugin_use", TEXT, None, OPEN, status=REFUSED, repeat=ALL),
    Option("auth_plugin_deny_special_chars", BOOLEAN, True, P, status=LATER),
    Option("plugin_opt_", TEXT, None, P, status=LATER, prefix=True),
    Option("auth_opt_", TEXT, None, P, status=LATER, prefix=True),
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
    Option("allow_duplicate_messages", BOOLEAN, True, G, HUP, LATER),
    Option("persistent_client_expiration", Duration(), None, G, HUP),
    Option("retain_available", BOOLEAN, True, G, HUP),
    Option("retain_expiry_interval", Integer(1, unit="minutes"), None, G, HUP),
    Option("check_retain_source", BOOLEAN, True, G, status=LATER),
    Option("memory_limit", Integer(0, 2**63 - 1, unit="bytes"), 0, G, HUP),
    Option(
        "packet_buffer_size", Integer(0, 65535), 4096, status=NO_EFFECT, aliases=("websockets_headers_size",)
    ),
    Option("set_tcp_nodelay", BOOLEAN, True, G, HUP),  # unlike Mosquitto; conf/pushd.conf says why
    Option("retry_interval", Anything(), None, G, status=NO_EFFECT),
)

PERSISTENCE = (
    Option("persistence", BOOLEAN, False, G, HUP, aliases=("retained_persistence",)),
    Option("persistence_location", PATH, "", G, HUP, repeat=ONCE),
    Option("durability", Choice(("full", "normal", "off")), "full", G),
    Option("persistence_file", TEXT, "mosquitto.db", G, HUP, LATER, ONCE),
    Option("autosave_interval", Integer(0, below=0), 1800, G, HUP, NO_EFFECT),
    Option("autosave_on_changes", BOOLEAN, False, G, HUP, NO_EFFECT),
)

REPORTS = (
    Option("sys_interval", seconds(0, 65535), 10, G, HUP),
    Option("enable_control_api", BOOLEAN, False, G, HUP, LATER),
    Option("connection_messages", BOOLEAN, True, G, HUP),
    Option("log_dest", LogDestination(), ("stderr",), G, HUP, repeat=ALL),
    Option("log_type", Choice((*LOG_TYPES, "all", "none")), LOG_TYPES[:4], G, HUP, repeat=ALL),
    Option("log_timestamp", BOOLEAN, True, G, HUP),
    Option("log_timestamp_format", TEXT, None, G, HUP, repeat=ONCE),
    Option("log_facility", Integer(0, 7), None, G, HUP),
    Option("websockets_log_level", Integer(-INT_MAX), 0, G, status=NO_EFFECT),
)

PROCESS = (
    Option("include_dir", PATH, None, G, HUP, repeat=ALL),
    Option("pid_file", PATH, None, G, repeat=ONCE),
    Option("user", TEXT, None, G),
)

# `connection` starts a bridge, the others belong to it. Without bridges their words are not taken apart yet.
BRIDGES = (
    Option("connection", WORDS, None, G, HUP, LATER, ALL),
    Option("address", WORDS, None, B, HUP, LATER, ONCE, aliases=("addresses",)),
    Option("topic", WORDS, None, B, HUP, LATER, ALL),
    Option("remote_clientid", TEXT, None, B, HUP, LATER, ONCE, aliases=("clientid",)),
    Option("remote_username", TEXT, None, B, HUP, LATER, ONCE, aliases=("username",)),
    Option("remote_password", TEXT, None, B, HUP, LATER, ONCE, aliases=("password",)),
    Option("local_clientid", TEXT, None, B, HUP, LATER, ONCE),
    Option("local_username", TEXT, None, B, HUP, LATER, ONCE),
    Option("local_password", TEXT, None, B, HUP, LATER, ONCE),
    Option("cleansession", BOOLEAN, False, B, HUP, LATER),
    Option("local_cleansession", BOOLEAN, None, B, HUP, LATER),
    Option("keepalive_interval", Integer(5, 65535, below=5, unit="seconds"), 60, B, HUP, LATER),
    Option("idle_timeout", Integer(1, below=1, unit="seconds"), 60, B, HUP, LATER),
    Option("threshold", Integer(1, below=1, unit="messages"), 10, B, HUP, LATER),
    Option("start_type", Choice(("automatic", "lazy", "once")), "automatic", B, HUP, LATER),
    Option("restart_timeout", WORDS, "5 30", B, HUP, LATER),
    Option("round_robin", BOOLEAN, False, B, HUP, LATER),
    Option("try_private", BOOLEAN, True, B, HUP, LATER),
    Option("notifications", BOOLEAN, True, B, HUP, LATER),
    Option("notifications_local_only", BOOLEAN, False, B, HUP, LATER),
    Option("notification_topic", TEXT, None, B, HUP, LATER, ONCE),
    Option("bridge_protocol_version", Choice(("mqttv31", "mqttv311", "mqttv50")), "mqttv311", B, HUP, LATER),
    Option("bridge_max_packet_size", Integer(0, below=0, unit="bytes"), 0, B, HUP, LATER),
    Option("bridge_max_topic_alias", Integer(0, 65535), 10, B, HUP, LATER),
    Option("bridge_receive_maximum", Integer(1, 65535, unit="messages"), 20, B, HUP, LATER),
    Option("bridge_session_expiry_interval", seconds(0, INT_MAX), 0, B, HUP, LATER),
    Option("bridge_outgoing_retain", BOOLEAN, True, B, HUP, LATER),
    Option("bridge_attempt_unsubscribe", BOOLEAN, True, B, HUP, LATER),
    Option("bridge_bind_address", TEXT, None, B, HUP, LATER, ONCE),
    Option("bridge_reload_type", Choice(("lazy", "immediate")), "lazy", B, HUP, LATER),
    Option("bridge_tcp_keepalive", WORDS, None, B, HUP, LATER),
    Option("bridge_tcp_user_timeout", Integer(0, unit="milliseconds"), None, B, HUP, LATER),
    Option("bridge_cafile", PATH, None, B, HUP, LATER, ONCE),
    Option("bridge_capath", PATH, None, B, HUP, LATER, ONCE),
    Option("bridge_certfile", PATH, None, B, HUP, LATER, ONCE),
    Option("bridge_keyfile", PATH, None, B, HUP, LATER),
    Option("bridge_tls_version", TEXT, None, B, HUP, LATER, ONCE),
    Option("bridge_tls_use_os_certs", BOOLEAN, False, B, HUP, LATER),
    Option("bridge_insecure", BOOLEAN, False, B, HUP, LATER),
    Option("bridge_alpn", TEXT, None, B, HUP, LATER, ONCE),
    Option("bridge_ciphers", TEXT, None, B, HUP, LATER, ONCE),
    Option("bridge_ciphers_tls1.3", TEXT, None, B, HUP, LATER, ONCE),
    Option("bridge_require_ocsp", BOOLEAN, False, B, HUP, LATER),
    Option("bridge_identity", TEXT, None, B, HUP, LATER, ONCE),
    Option("bridge_psk", TEXT, None, B, HUP, LATER, ONCE),
)

OURS = (
    # From accept to a whole CONNECT, TLS included. Mosquitto gives 20 s times 1.5: kind to an attacker.
    Option("connect_timeout", seconds(1, 3600), 10, G, HUP),
    Option("queue_full", Choice(("drop_newest", "drop_oldest", "refuse_publisher")), "drop_newest", G, HUP),
    Option("max_subscriptions_per_client", Integer(0, below=0), 10_000, G, HUP),
    Option("max_retained_messages", Integer(0, below=0, unit="messages"), 1_000_000, G, HUP),
    Option("max_retained_bytes", BYTES, 1_073_741_824, G, HUP),
    Option("max_message_rate", Integer(0, below=0), 0, G, HUP),
    Option("max_write_buffer", Integer(1024, unit="bytes"), 1_048_576, G, HUP),
    Option("max_connect_rate", Integer(0, below=0), 1000, G, HUP),
    Option("max_connect_rate_per_address", Integer(0, below=0), 100, G, HUP),
    Option("max_login_failures", Integer(0, below=0), 10, G, HUP),
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
_PREFIXES = tuple(option for option in OPTIONS if option.prefix)


def find(name: str) -> Option | None:
    """:return: the row of an option as it is written in a file, or ``None`` if there is none of that name."""
    option = _BY_NAME.get(name)
    if option is not None and not option.prefix:
        return option
    return next((row for row in _PREFIXES if name.startswith(row.name) and name != row.name), None)
