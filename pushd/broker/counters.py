"""What the broker counts: plain integers, added to where things happen, read by `pushd.stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushd.broker.tally import Tally


class Counters:
    """
    Totals since the start. As in $SYS, a *message* is an MQTT packet of any type.

    :ivar by_topic: counts by topic name, too, if somebody wants that.
    """

    __slots__ = (
        "by_topic",
        "bytes_received",
        "bytes_sent",
        "clients_expired",
        "clients_maximum",
        "connections_accepted",
        "connections_closed",
        "connections_paused",
        "connections_refused",
        "connects_accepted",
        "logins_refused",
        "others_received",
        "others_sent",
        "plugin_failures",
        "publish_bytes_received",
        "publish_bytes_sent",
        "publish_dropped",
        "publish_received",
        "publish_sent",
    )

    def __init__(self) -> None:
        self.by_topic: Tally | None = None
        self.bytes_received = 0
        self.bytes_sent = 0
        self.clients_expired = 0  # sessions ended by their expiry
        self.clients_maximum = 0  # most clients connected at once
        self.connections_accepted = 0  # network connections, whether or not a CONNECT followed
        self.connections_closed: dict[str, int] = {}  # reason -> clients that we disconnected
        self.connections_paused: dict[str, int] = {}  # reason -> times that nobody was let in for a moment
        self.connections_refused: dict[str, int] = {}  # reason -> connections that never had a client
        self.connects_accepted = 0  # CONNACKs with Success
        self.logins_refused: dict[str, int] = {}  # reason -> logins by MQTT and HTTP
        self.others_received = 0  # packets that are no PUBLISH
        self.others_sent = 0
        self.plugin_failures: dict[str, int] = {}  # hook/kind -> times that a plugin did not answer
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

    def dropped(self, reason: str, count: int = 1, topic: str | None = None) -> None:
        """
        Count messages that a subscriber did not get, by a short stable reason such as ``queue_full``.

        :param topic: their topic name, if they had been on their way to that subscriber.
        """
        if topic is not None and self.by_topic is not None:
            self.by_topic.dropped(topic, count)
        self.publish_dropped[reason] = self.publish_dropped.get(reason, 0) + count

    def closed(self, reason: str) -> None:
        """Count a client that we disconnected, by a reason such as ``keep_alive_timeout``."""
        self.connections_closed[reason] = self.connections_closed.get(reason, 0) + 1

    def paused(self, reason: str) -> None:
        """Count a moment in which nobody was let in, by a reason such as ``open_files``."""
        self.connections_paused[reason] = self.connections_paused.get(reason, 0) + 1

    def refused(self, reason: str) -> None:
        """Count a connection that ended before it had a client, by a reason such as ``not_authorized``."""
        self.connections_refused[reason] = self.connections_refused.get(reason, 0) + 1

    def login_refused(self, reason: str) -> None:
        """Count a user that was not let in, by MQTT or HTTP, by a reason such as ``failed``."""
        self.logins_refused[reason] = self.logins_refused.get(reason, 0) + 1

    def plugin_failed(self, reason: str) -> None:
        """Count a question that a plugin could not answer, such as ``on_publish/timed_out``."""
        self.plugin_failures[reason] = self.plugin_failures.get(reason, 0) + 1
