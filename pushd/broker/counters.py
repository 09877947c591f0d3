"""What the broker counts: plain integers, added to where things happen, read by `pushd.stats`."""

from __future__ import annotations


class Counters:
    """Totals since the start. As in $SYS, a *message* is an MQTT packet of any type."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "clients_expired",
        "clients_maximum",
        "connections_accepted",
        "connects_accepted",
        "others_received",
        "others_sent",
        "publish_bytes_received",
        "publish_bytes_sent",
        "publish_dropped",
        "publish_received",
        "publish_sent",
    )

    def __init__(self) -> None:
        self.bytes_received = 0
        self.bytes_sent = 0
        self.clients_expired = 0  # sessions ended by their expiry
        self.clients_maximum = 0  # most clients connected at once
        self.connections_accepted = 0  # network connections, whether or not a CONNECT followed
        self.connects_accepted = 0  # CONNACKs with Success
        self.others_received = 0  # packets that are no PUBLISH
        self.others_sent = 0
        self.publish_bytes_received = 0  # payload bytes
        self.publish_bytes_sent = 0
        self.publish_dropped: dict[str, int] = {}  # reason -> messages that a subscriber did not get
        self.publish_received = 0
        self.publish_sent = 0

    @property
    def messages_received(self) -> int:
        """Packets of any type."""
        return self.publish_received + self.others_received

    @property
    def messages_sent(self) -> int:
        """Packets of any type."""
        return self.publish_sent + self.others_sent

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count messages that a subscriber did not get, by a short stable reason such as ``queue_full``."""
        self.publish_dropped[reason] = self.publish_dropped.get(reason, 0) + count
