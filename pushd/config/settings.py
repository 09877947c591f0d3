"""
What the settings file says, typed and complete: every value that was not written has its default.

`read_settings` (in `pushd.config.reader`) makes these; `pushd.service` hands the parts to whom they concern.
Names are those of the options; the table in `pushd.config.options` has defaults, units and ranges.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

MOSQUITTOS_FILE = "mosquitto.db"  # the default of `persistence_file`


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """A plugin and what it is told. The same one at several listeners is equal at all of them."""

    origin: str  # "conf/pushd.conf:12"; for messages
    plugin: str  # as written: where it is, or what it is called
    options: tuple[tuple[str, str], ...] = ()  # plugin_opt_*, in their order, without the prefix
    deny_special_chars: bool = True


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """Who may come in and what they may do: one set for all listeners, or one each."""

    allow_anonymous: bool = False  # resolved: true only by an explicit line or in local-only mode
    password_file: str | None = None
    acl_file: str | None = None
    allow_zero_length_clientid: bool = True
    auto_id_prefix: str = "auto-"
    acl_substitution: str = "2.1"  # the version of Mosquitto whose way with %u and %c in ACLs is taken
    acl_check_subscribe: bool = False
    accounts: bool = False  # whether those who have an account may log in with its password
    plugins: tuple[PluginSettings, ...] = ()  # those for all listeners first, then in the file's order


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One door."""

    origin: str  # "conf/pushd.conf:12", or the flag or default it comes from; for messages
    port: int  # 0 for a Unix socket
    addresses: tuple[str, ...] = ("",)  # or names of hosts, to bind to; "" is every address
    path: str | None = None  # of a Unix socket; then the options of addresses do not count
    protocol: str = "mqtt"  # mqtt | websockets | http
    socket_domain: str | None = None  # None | "ipv4" | "ipv6"
    bind_interface: str | None = None  # such as "eth0"; wins over the addresses
    enable_proxy_protocol: int | None = None  # None | 1 | 2
    proxy_protocol_v2_require_tls: bool = False
    security: SecuritySettings = SecuritySettings()
    max_connections: int = -1
    accept_protocol_versions: frozenset[int] = frozenset({3, 4, 5})
    max_qos: int = 2
    max_topic_alias: int = 10
    max_topic_alias_broker: int = 10
    mount_point: str = ""
    use_username_as_clientid: bool = False
    websockets_origins: tuple[str, ...] = ()  # empty is every origin
    cafile: str | None = None
    capath: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    crlfile: str | None = None
    require_certificate: bool = False
    use_identity_as_username: bool = False
    use_subject_as_username: bool = False
    tls_version: str = "tlsv1.2"  # the minimum: tlsv1.2 | tlsv1.3
    ciphers: str | None = None
    ciphers_tls13: str | None = None

    @property
    def tls(self) -> bool:
        """Whether this door speaks TLS."""
        return self.certfile is not None

    @property
    def knows_certificates(self) -> bool:
        """Whether a client may have shown a certificate: to this door, or to the proxy in front of it."""
        return self.tls or self.enable_proxy_protocol == 2

    @property
    def name(self) -> str:
        """What log lines call it: ``port 1883`` or ``unix:/run/pushd.sock``."""
        return f"port {self.port}" if self.path is None else f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where log lines go, which, and how their time is written."""

    destinations: tuple[str, ...] = ("stderr",)  # none | stderr | stdout | syslog | topic | "file PATH"
    types: frozenset[str] = frozenset({"error", "warning", "notice", "information"})
    timestamp: bool = True
    timestamp_format: str | None = None  # strftime; None is seconds since the epoch
    facility: int | None = None
    connection_messages: bool = True


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What clients may cost. 0 is no limit, as in Mosquitto, unless the option's text says otherwise."""

    max_inflight_messages: int = 20
    max_inflight_bytes: int = 0  # of payloads
    max_queued_messages: int = 1000
    max_queued_bytes: int = 0
    queue_qos0_messages: bool = False
    queue_full: str = "drop_newest"  # drop_newest | drop_oldest | refuse_publisher
    upgrade_outgoing_qos: bool = False
    allow_duplicate_messages: bool = False  # where subscriptions of one client overlap
    check_retain_source: bool = True  # whether who published a retained message still may
    max_packet_size: int = 2_000_000
    message_size_limit: int = 0
    max_keepalive_s: int = 0
    max_subscriptions_per_client: int = 10_000
    max_message_rate: int = 0  # PUBLISH packets per second of one client
    max_write_buffer: int = 1_048_576  # bytes that a peer which does not read may leave with us
    persistent_client_expiration_s: float | None = None  # the longest a session is kept
    retain_available: bool = True
    max_retained_messages: int = 1_000_000
    max_retained_bytes: int = 1_073_741_824  # topic names and properties included
    receipt_duration: int = 86_400  # seconds that receipts of pushes are kept
    max_receipts: int = 200_000  # devices that all receipts may have together
    cache_duration: int = 43_200  # seconds that a push is kept in the archive
    max_kept_messages: int = 1_000_000  # that the archive has
    max_kept_bytes: int = 1_073_741_824  # of their payloads
    global_max_clients: int = -1  # sessions, with a client or kept; negative is no limit
    global_max_connections: int = -1  # clients connected at once; negative is no limit
    memory_limit: int = 0  # bytes of resident memory
    connect_timeout_s: float = 10.0
    max_connect_rate: int = 1000  # connections per second
    max_connect_rate_per_address: int = 100
    max_login_failures: int = 10  # per minute, of one address and of one user


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole settings file."""

    listeners: tuple[ListenerSettings, ...]
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    sys_interval_s: int = 10
    set_tcp_nodelay: bool = True
    persistence: bool = False
    persistence_location: str = ""
    persistence_file: str = MOSQUITTOS_FILE
    durability: str = "full"  # full | normal | off
    clientid_prefixes: str | None = None
    pid_file: str | None = None
    user: str | None = None
    admin_user: tuple[str, ...] = ()  # who may see and change everything through the gateway
    gateway_limits: bool = True  # whether the gateway's callers are held to any rate
    max_request_rate_per_user: int = 100  # requests per second; 0 is no limit, as in the next
    max_request_rate_per_address: int = 10  # of callers without a name
    max_streams_per_caller: int = 30  # open at a time; 0 is no limit
    stream_keepalive_interval: int = 45  # seconds
    trusted_proxy: tuple[str, ...] = ()  # networks, or "unix": whose headers about callers count
    proxy_user_header: str | None = None  # by which these proxies say who somebody is
    webhook_secret: str | None = None  # what webhooks are signed with; None: there are none
    allow_http_webhooks: bool = False  # whether a webhook may do without TLS
    allow_private_networks: tuple[str, ...] = ()  # that webhooks may be in
    redis_url: str | None = None  # None: accounts, friends and counts are in files of our own
    autosubscribe_file: str | None = None
    routes_file: str | None = None
    cache_topic: tuple[tuple[str, int], ...] = ()  # filters, and how many seconds is kept what is said there
    base_url: str | None = None  # what the gateway is called from outside; None: what each caller calls it
    attachment_cache_dir: str | None = None  # None: the gateway takes no files
    attachment_file_size_limit: int = 15_728_640  # bytes, as in the next ones
    attachment_total_size_limit: int = 5_368_709_120
    visitor_attachment_total_size_limit: int = 104_857_600  # of a user, or of an address
    attachment_expiry_duration: int = 10_800  # seconds
    template_dir: str | None = None  # of templates beside our own
    gateway_payload: str = "raw"  # of a push, for MQTT subscribers: its text, or "json", ntfy's object
    hot_topics: int = 1000  # how many topics are counted one by one; 0: none
    status_database: str | None = None  # None: a file of our own
    warnings: tuple[str, ...] = ()  # to be logged: "conf/pushd.conf:12: retry_interval has no effect: ..."

    @property
    def store_path(self) -> str:
        """
        The file of the store: named after `persistence_file`, so that two of them in one folder do not meet;
        but never by just that name, for Mosquitto's own file may be there, and its owner may go back to it.
        """
        stem, ending = os.path.splitext(self.persistence_file)
        name = "pushd.db" if self.persistence_file == MOSQUITTOS_FILE else f"{stem}.pushd{ending}"
        return os.path.join(self.persistence_location, name)
