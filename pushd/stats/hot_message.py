"""``$SYS/broker/topics/hot``: the hottest topics of the last minute, as JSON, for who has only MQTT."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from pushd.stats.hot_topics import HotTopics

TOPIC = "$SYS/broker/topics/hot"

# Names are up to 256 characters long: a few KiB at most, for each who subscribes to all of $SYS.
COUNT = 10


class HotMessage:
    """
    Publishes while it is started, whenever something has changed.

    :param publish: called with a topic name and a payload; the broker makes it a retained message.
    :param interval_s: ``sys_interval``; 0 for never.
    """

    def __init__(
        self,
        hot_topics: HotTopics,
        publish: Callable[[str, bytes], None],
        interval_s: int,
        clock: IReactorTime,
    ) -> None:
        self._hot_topics = hot_topics
        self._publish = publish
        self._interval_s = interval_s
        self._published: dict[str, Any] | None = None
        self._publishing = LoopingCall(self._ask)
        self._publishing.clock = clock

    def start(self) -> None:
        """Publish now, and from here on what changes."""
        if self._interval_s > 0:
            self._publishing.start(self._interval_s)

    def stop(self) -> None:
        """Publish nothing more."""
        if self._publishing.running:
            self._publishing.stop()

    def set_interval(self, interval_s: int) -> None:
        """Go on at another interval, as after a reload of the settings."""
        if interval_s != self._interval_s:
            self.stop()
            self._interval_s = interval_s
            self.start()

    def _ask(self) -> Deferred[None]:
        return self._hot_topics.report("messages", "1m", COUNT).addCallback(self._tell)

    def _tell(self, report: dict[str, Any]) -> None:
        if self._publishing.running and report != self._published:
            self._publish(TOPIC, json.dumps(report, ensure_ascii=False, separators=(",", ":")).encode())
            self._published = report
