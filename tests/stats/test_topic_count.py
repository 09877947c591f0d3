"""`pushd.stats.topic_count`: the sum in Redis is that of the nodes, whatever happens to them and to it."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.subscriber_counts import SubscriberCounts
from pushd.redis.door import Door, connect
from pushd.stats import topic_count
from pushd.stats.topic_count import NODES, OWN, SUM, TopicCount
from tests.redis.loop import Loop
from tests.redis.server import RedisServer

HOSTILE = [
    "a b",
    "'\"",
    "-1",
    "{x}",
    "*",
    "\r\nDEL topic-count\r\n",
    "%s",
    "日本/+",
    "\U0010ffff/#",
    "x" * 60_000,
]


class Node:
    """One pushd: what is subscribed to there, and its way to Redis."""

    def __init__(self, case: TopicCountCase, name: str) -> None:
        self.name = name
        self.subscribers = SubscriberCounts()
        self.door = connect(case.server.url, case.loop.reactor, 1.0)
        case.doors.append(self.door)
        self.count = TopicCount(self.door, name, self.subscribers, case.loop.reactor)
        self._case = case

    def subscribe(self, *filters: str) -> None:
        for filter in filters:
            self.subscribers.change(filter, 1)

    def unsubscribe(self, *filters: str) -> None:
        for filter in filters:
            self.subscribers.change(filter, -1)

    def tick(self) -> None:
        """A second goes by."""
        self._case.loop.wait(self.count._tick())


class TopicCountCase(SynchronousTestCase):
    """A Redis, and nodes."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.doors: list[Door] = []
        self.server = RedisServer(Path(folder.name), persistent=True)
        self.addCleanup(self.server.stop)
        self.addCleanup(self.close_doors)
        self.asking = connect(self.server.url, self.loop.reactor)
        self.doors.append(self.asking)
        self.ada, self.bob = Node(self, "ada"), Node(self, "bob")

    def close_doors(self) -> None:
        for door in self.doors:
            self.loop.wait(door.close())

    def ask(self, *words: str | bytes | int) -> Any:
        return self.loop.wait(self.asking.call(*words))

    def told(self, key: str = SUM) -> dict[str, int]:
        words = self.ask("ZRANGE", key, 0, -1, "WITHSCORES")
        return {filter.decode(): int(count) for filter, count in zip(words[::2], words[1::2], strict=True)}

    def let_lease_end(self, node: str) -> None:
        """A node was not heard of for a minute."""
        self.ask("ZADD", NODES, 1, node)


class SumTests(TopicCountCase):
    """Nodes that come and go as they should."""

    def test_sum(self) -> None:
        """What all nodes have, and what changes; filters that nobody has are not there."""
        self.ada.subscribe("a", "a", "b")
        self.bob.subscribe("a", "c")
        self.ada.tick()
        self.bob.tick()
        self.assertEqual(self.told(), {"a": 3, "b": 1, "c": 1})
        self.ada.unsubscribe("a", "b")
        self.bob.subscribe("d")
        self.ada.tick()
        self.bob.tick()
        self.assertEqual(self.told(), {"a": 2, "c": 1, "d": 1})

    def test_hostile_filters(self) -> None:
        """A filter is one word, whatever is in it."""
        self.ada.subscribe(*HOSTILE)
        self.ada.tick()
        self.assertEqual(self.told(), dict.fromkeys(HOSTILE, 1))

    def test_many(self) -> None:
        """More than are told at once."""
        self.patch(topic_count, "AT_ONCE", 10)
        self.ada.subscribe(*map(str, range(105)))
        self.ada.tick()
        self.assertEqual(len(self.told()), 105)
        self.ada.unsubscribe(*map(str, range(100)))
        self.ada.tick()
        self.assertEqual(set(self.told()), set(map(str, range(100, 105))))

    def test_nothing_to_tell(self) -> None:
        """A second in which nothing happens asks nothing of Redis."""
        self.ada.subscribe("a")
        self.ada.tick()
        self.server.stop()
        self.ada.tick()
        self.assertTrue(self.ada.count._in_step)

    def test_started(self) -> None:
        """It tells by itself, at once and then each second."""
        self.ada.subscribe("a")
        self.ada.count.start()
        self.addCleanup(self.ada.count.stop)
        self.loop.wait_until(lambda: self.told() == {"a": 1})
        self.ada.subscribe("b")
        self.loop.wait_until(lambda: self.told() == {"a": 1, "b": 1})


class CrashTests(TopicCountCase):
    """Nodes and servers that go when they like."""

    def setUp(self) -> None:
        super().setUp()
        self.ada.subscribe("a", "b")
        self.bob.subscribe("a")
        self.ada.tick()
        self.bob.tick()

    def test_restart(self) -> None:
        """A node that comes back under its name has nothing counted twice, and nothing left over."""
        ada = Node(self, "ada")
        ada.subscribe("b", "c")
        ada.tick()
        self.assertEqual(self.told(), {"a": 1, "b": 1, "c": 1})

    def test_one_that_does_not_come_back(self) -> None:
        """The others take it out of the sum when its lease has ended."""
        self.let_lease_end("ada")
        self.assertEqual(self.told(), {"a": 2, "b": 1})
        bob = Node(self, "bob")
        bob.subscribe("a")
        bob.tick()
        self.assertEqual(self.told(), {"a": 1})
        self.assertEqual(self.told(OWN + "ada"), {})
        self.assertEqual(self.ask("ZRANGE", NODES, 0, -1), [b"bob"])

    def test_taken_for_dead(self) -> None:
        """A node that only seemed to be gone tells everything again."""
        self.test_one_that_does_not_come_back()
        self.ada.subscribe("c")
        self.ada.tick()
        self.ada.tick()
        self.assertEqual(self.told(), {"a": 2, "b": 1, "c": 1})

    def test_half_taken_out(self) -> None:
        """Whoever takes it out may die while doing it; whoever is next goes on."""
        self.ask("ZADD", NODES, 0, "ada")
        self.ask("ZREM", OWN + "ada", "a")
        self.ask("ZINCRBY", SUM, -1, "a")
        self.ada.subscribe("b")
        self.ada.tick()
        self.ada.tick()
        self.assertEqual(self.told(), {"a": 2, "b": 2})

    def test_redis_restarts(self) -> None:
        """While it is away things change; when it is back it hears of all."""
        self.server.stop()
        self.ada.subscribe("c")
        self.ada.unsubscribe("a")
        self.ada.tick()
        self.server.start()
        self.ada.tick()
        self.assertEqual(self.told(), {"a": 1, "b": 1, "c": 1})

    def test_redis_forgets(self) -> None:
        """A Redis that lost everything, or whose sum somebody has deleted, hears it again from each node."""
        for command in (("FLUSHALL",), ("DEL", SUM)):
            self.ask(*command)
            for node in (self.ada, self.bob) * 2:
                node.count._ticks = 0
                node.tick()
            self.assertEqual(self.told(), {"a": 2, "b": 1})

    def test_redis_refuses(self) -> None:
        """One complaint in the log, and the broker goes on; when all is well, all is told."""
        self.ask("SET", OWN + "ada", "of another type")
        self.ada.subscribe("c")
        with capturedLogs() as events:
            for _ in range(3):
                self.ada.tick()
        self.assertEqual([event["what"] for event in events], [topic_count.FAILED])
        self.ask("DEL", OWN + "ada")
        self.ask("DEL", SUM)
        for node in (self.ada, self.bob, self.ada, self.bob):
            node.count._ticks = 0
            node.tick()
        self.assertEqual(self.told(), {"a": 2, "b": 1, "c": 1})

    @settings(max_examples=15, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 1), st.sampled_from(["tick", "crash", "lease", "a", "b", "c"])),
            max_size=25,
        )
    )
    def test_whatever_happens(self, events: list[tuple[int, str]]) -> None:
        """In any order; in the end the sum is what there is."""
        self.ask("FLUSHALL")
        nodes = [Node(self, "ada"), Node(self, "bob")]
        for which, event in events:
            node = nodes[which]
            if event == "tick":
                node.tick()
            elif event == "crash":
                nodes[which] = Node(self, node.name)
            elif event == "lease":
                self.let_lease_end(node.name)
            elif node.subscribers.of(event) > 1:
                node.unsubscribe(event)
            else:
                node.subscribe(event)
        for node in nodes * 3:
            node.count._ticks = 0
            node.tick()
        exact: Counter[str] = Counter()
        for node in nodes:
            exact.update(dict(node.subscribers.top(10)))
        assert self.told() == dict(exact)
