"""`pushd.service.hot_topics`: what counts in a process, and that nothing does when it is not wanted."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.broker import Broker
from pushd.config.reader import read_settings
from pushd.config.settings import Settings
from pushd.service.hot_topics import HotTopicsOffice
from pushd.service.redis import RedisOffice
from pushd.storage.memory import MemoryStore
from tests.driver import Rig


class HotTopicsOfficeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()

    def settings(self, *lines: str) -> Settings:
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(("listener 1883", *lines, "")))
        return read_settings(path, environ={})

    def office(self, *lines: str) -> HotTopicsOffice:
        office = HotTopicsOffice(
            self.rig.broker, self.settings(*lines), self.rig.clock, RedisOffice(None, self.rig.clock)
        )
        office.start()
        self.addCleanup(office.stop)
        return office

    def told(self) -> dict[str, object]:
        """What ``$SYS`` says."""
        message = self.rig.broker.retained.get("$SYS/broker/topics/hot")
        assert message is not None
        told: dict[str, object] = json.loads(message.payload)
        return told

    def test_sys(self) -> None:
        """The hottest topics are retained in $SYS, a moment after sys_interval."""
        self.office()
        self.rig.connect("ada").publish("a", b"four")
        self.rig.clock.pump([10, *[0] * 9])
        figures = {"messages": 1, "bytes": 4, "deliveries": 0, "drops": 0, "error": 0}
        self.assertEqual(
            self.told(), {"by": "messages", "window": "1m", "topics": [{"topic": "a", **figures}]}
        )

    def test_none(self) -> None:
        """With 0, nobody counts, and nobody is there to ask."""
        office = self.office("hot_topics 0")
        office.use(self.settings())
        self.assertIsNone(office.hot_topics)
        self.assertIsNone(self.rig.broker.counters.by_topic)
        self.assertIsNone(self.rig.broker.router.subscriber_counts)
        self.assertEqual(len(self.rig.clock.getDelayedCalls()), len(Rig().clock.getDelayedCalls()))

    def test_reload(self) -> None:
        """Another interval holds from then on."""
        office = self.office("sys_interval 0")
        self.assertIsNone(self.rig.broker.retained.get("$SYS/broker/topics/hot"))
        office.use(self.settings("sys_interval 5"))
        self.rig.clock.pump([0] * 9)
        self.assertEqual(self.told()["topics"], [])

    def test_restored_subscriptions(self) -> None:
        """Those of sessions that the last process left count from the start."""
        store = MemoryStore()
        self.rig = Rig(store=store)
        self.rig.connect("bob", clean=False).subscribe("a", "$share/g/a")
        clock = Clock()
        broker = Broker(clock, store)
        office = HotTopicsOffice(broker, self.settings(), clock, RedisOffice(None, clock))
        broker.start(self.rig.policy)
        assert office.hot_topics is not None
        report = self.successResultOf(office.hot_topics.report("subscribers", "1m", 5))
        self.assertEqual(report["topics"], [{"filter": "a", "subscribers": 2, "error": 0}])
