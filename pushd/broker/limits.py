"""What clients may cost, as the broker and its doors need it. `pushd.service` fills it from the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Mosquitto's names where it has them. 0 is no limit where nothing else is said."""

    max_inflight_messages: int = 20
    max_inflight_bytes: int = 0  # of payloads
    max_queued_messages: int = 1000
    max_queued_bytes: int = 0
    queue_qos0_messages: bool = False
    queue_full: str = "drop_newest"  # drop_newest | drop_oldest | refuse_publisher
    upgrade_outgoing_qos: bool = False
    allow_duplicate_messages: bool = False  # where subscriptions of one client overlap
    check_retain_source: bool = True  # whether who published a retained message still may
    max_packet_size: int = 2_000_000  # of a whole packet, fixed header included
    message_size_limit: int = 0  # bytes of a payload
    max_keepalive_s: int = 0
    max_subscriptions_per_client: int = 10_000
    max_message_rate: int = 0  # PUBLISH packets per second of one client
    max_write_buffer: int = 1_048_576  # bytes that a peer which does not read may leave with us
    persistent_client_expiration_s: float | None = None  # the longest a session is kept
    retain_available: bool = True
    max_retained_messages: int = 1_000_000
    max_retained_bytes: int = 1_073_741_824  # topic names and properties included
    cache_duration: int = 43_200  # seconds that a push is kept in the archive; 0: there is none
    max_kept_messages: int = 1_000_000  # that the archive has
    max_kept_bytes: int = 1_073_741_824  # of their payloads
    receipt_duration: int = 86_400  # seconds that receipts of pushes are kept
    max_receipts: int = 200_000  # devices that all receipts may have together
    global_max_clients: int = -1  # sessions, with a client or kept; negative is no limit
    global_max_connections: int = -1  # clients connected at once; negative is no limit
    memory_limit: int = 0  # bytes of resident memory
    connect_timeout_s: float = 10.0  # from accept to a whole CONNECT, TLS handshake included
    max_connect_rate: int = 1000  # connections per second
    max_connect_rate_per_address: int = 100
    max_login_failures: int = 10  # per minute, of one address and of one user

    @property
    def checks_each_publish(self) -> bool:
        """Whether even a small, ordinary PUBLISH may have to be refused."""
        small_packets = self.message_size_limit != 0 or 0 < self.max_packet_size < 2 + 1 + 0x3FFF
        return small_packets or self.queue_full == "refuse_publisher"

    @property
    def window(self) -> int:
        """How many messages may be in flight to one client, at most all packet identifiers."""
        return self.max_inflight_messages or 65_535

    @property
    def strained_queue(self) -> int:
        """From how many messages on a queue is long enough to slow its publishers down."""
        return max(50, self.max_queued_messages // 2) if self.max_queued_messages else 1000

    def delivery_qos(self, published: int, granted: int) -> int:
        """The QoS of a message for a subscription (v5 §3.8.4; ``upgrade_outgoing_qos`` departs from it)."""
        return granted if self.upgrade_outgoing_qos else min(published, granted)

    def session_expiry(self, asked_s: float | None) -> float | None:
        """How long a session is kept that asked for this long; ``None``: for ever."""
        longest = self.persistent_client_expiration_s
        if longest is None or asked_s is None:
            return longest if asked_s is None else asked_s
        return min(longest, asked_s)
