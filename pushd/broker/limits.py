"""What one client may cost, as the broker needs it. `pushd.service` fills it from the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Mosquitto's names. 0 is no limit."""

    max_inflight_messages: int = 20
    max_queued_messages: int = 1000
    max_queued_bytes: int = 0
    queue_qos0_messages: bool = False
    max_packet_size: int = 2_000_000  # bytes of a whole packet, fixed header included
    message_size_limit: int = 0  # bytes of a payload
    max_keepalive_s: int = 0
    retain_available: bool = True
    connect_timeout_s: float = 10.0  # from accept to a whole CONNECT, TLS handshake included

    @property
    def checks_small_packets(self) -> bool:
        """Whether a PUBLISH with a Remaining Length of two bytes may be above a limit."""
        return self.message_size_limit != 0 or 0 < self.max_packet_size < 2 + 1 + 0x3FFF

    @property
    def window(self) -> int:
        """How many messages may be in flight to one client, at most all packet identifiers."""
        return self.max_inflight_messages or 65_535
