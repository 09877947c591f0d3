"""`pushd.stats.hot_message`: the hottest topics for who has only MQTT."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.stats.hot_message import TOPIC, HotMessage
from pushd.stats.hot_topics import HotTopics


class Counting:
    """Stands in for `HotTopics`: one topic with as many messages as one likes."""

    def __init__(self) -> None:
        self.topic = "a"
        self.messages = 1

    def report(self, by: str, window: str, count: int) -> Deferred[dict[str, Any]]:
        topics = [{"topic": self.topic, "messages": self.messages}]
        return succeed({"by": by, "window": window, "topics": topics[:count]})


class HotMessageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.counting = Counting()
        self.sent: list[tuple[str, bytes]] = []
        self.message = self.make(10)

    def make(self, interval_s: int) -> HotMessage:
        hot_topics = cast(HotTopics, self.counting)
        return HotMessage(hot_topics, lambda *sent: self.sent.append(sent), interval_s, self.clock)

    def test_json(self) -> None:
        """What the gateway says, on one topic, whatever names there are."""
        self.counting.topic = 'ä"\x1b\n'
        self.message.start()
        ((topic, payload),) = self.sent
        self.assertEqual(topic, TOPIC)
        told = {"topic": 'ä"\x1b\n', "messages": 1}
        self.assertEqual(json.loads(payload), {"by": "messages", "window": "1m", "topics": [told]})

    def test_only_changes(self) -> None:
        """As of everything in $SYS, who subscribes hears when something is new."""
        self.message.start()
        self.clock.advance(10)
        self.assertEqual(len(self.sent), 1)
        self.counting.messages = 2
        self.clock.advance(10)
        self.assertEqual(len(self.sent), 2)

    def test_no_sys(self) -> None:
        """With ``sys_interval 0`` there is none, until a reload wants it."""
        message = self.make(0)
        message.start()
        self.clock.advance(100)
        self.assertEqual(self.sent, [])
        message.set_interval(5)
        self.assertEqual(len(self.sent), 1)

    def test_stop(self) -> None:
        """Nothing more is published, and nothing is left on the clock."""
        self.message.start()
        self.message.stop()
        self.counting.messages = 2
        self.clock.advance(100)
        self.assertEqual(len(self.sent), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
