"""Hot topics in this process: who counts, who collects and who tells; nobody with ``hot_topics 0``."""

from __future__ import annotations

from typing import Any

from pushd.broker.broker import Broker
from pushd.broker.subscriber_counts import SubscriberCounts
from pushd.broker.tally import Tally
from pushd.config.settings import Settings
from pushd.stats.hot_message import HotMessage
from pushd.stats.hot_topics import HotTopics


class HotTopicsOffice:
    """
    Made before the broker has any subscription, for it begins to count them then.

    :ivar hot_topics: who answers; ``None`` if nothing is counted.
    """

    def __init__(self, broker: Broker, settings: Settings, reactor: Any) -> None:
        self.hot_topics: HotTopics | None = None
        if settings.hot_topics == 0:
            return
        subscribers = broker.router.subscriber_counts = SubscriberCounts()
        tally = broker.counters.by_topic = Tally(broker.router.routes)
        self.hot_topics = HotTopics(settings.hot_topics, tally, subscribers, reactor)
        self._message = HotMessage(self.hot_topics, broker.announce, settings.sys_interval_s, reactor)

    def start(self) -> None:
        """Begin to collect and to tell."""
        if self.hot_topics is not None:
            self.hot_topics.start()
            self._message.start()

    def stop(self) -> None:
        """Do neither any more."""
        if self.hot_topics is not None:
            self._message.stop()
            self.hot_topics.stop()

    def use(self, settings: Settings) -> None:
        """Go by these settings, as after a reload."""
        if self.hot_topics is not None:
            self._message.set_interval(settings.sys_interval_s)
