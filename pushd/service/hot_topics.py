"""Hot topics in this process: who counts, who collects and who tells; nobody with ``hot_topics 0``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from pushd.broker.broker import Broker
from pushd.broker.subscriber_counts import SubscriberCounts
from pushd.broker.tally import Tally
from pushd.config.settings import Settings
from pushd.service.node import node_name
from pushd.service.redis import RedisOffice
from pushd.stats.hot_message import HotMessage
from pushd.stats.hot_topics import HotTopics

if TYPE_CHECKING:
    from pushd.stats.topic_count import TopicCount

log = Logger()


class HotTopicsOffice:
    """
    Made before the broker has any subscription, for it begins to count them then.

    :ivar hot_topics: who answers; ``None`` if nothing is counted.
    """

    def __init__(self, broker: Broker, settings: Settings, reactor: Any, redis: RedisOffice) -> None:
        self.hot_topics: HotTopics | None = None
        self._settings = settings
        self._reactor = reactor
        self._redis = redis
        self._topic_count: TopicCount | None = None
        if settings.hot_topics == 0:
            return
        self._subscribers = broker.router.subscriber_counts = SubscriberCounts()
        tally = broker.counters.by_topic = Tally(broker.router.routes)
        self.hot_topics = HotTopics(settings.hot_topics, tally, self._subscribers, reactor)
        self._message = HotMessage(self.hot_topics, broker.announce, settings.sys_interval_s, reactor)

    def start(self) -> None:
        """Begin to collect and to tell. The process is the user now that it stays, and may write files."""
        if self.hot_topics is None:
            return
        self.hot_topics.start()
        self._message.start()
        if self._redis.url is not None:
            self._tell_redis()

    def _tell_redis(self) -> None:
        """Imported here: a broker without Redis needs none of it."""
        from pushd.redis.errors import BadUrl
        from pushd.stats.topic_count import TopicCount

        settings = self._settings
        try:
            node = node_name(settings.persistence_location if settings.persistence else None)
            door = self._redis.door
        except (OSError, BadUrl) as problem:
            log.error("Subscribers are not counted in Redis: {problem}", problem=problem)
            return
        self._topic_count = TopicCount(door, node, self._subscribers, self._reactor)
        self._topic_count.start()

    def stop(self) -> None:
        """Do neither any more."""
        if self.hot_topics is not None:
            self._message.stop()
            self.hot_topics.stop()
        if self._topic_count is not None:
            self._topic_count.stop()

    def use(self, settings: Settings) -> None:
        """Go by these settings, as after a reload."""
        if self.hot_topics is not None:
            self._message.set_interval(settings.sys_interval_s)
