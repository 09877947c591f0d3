"""`pushd.stats.hot_topics`: what is hot, over three windows, and what that costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.subscriber_counts import SubscriberCounts
from pushd.broker.tally import Counts, Tally
from pushd.stats.hot_topics import LONGEST_NAME, MEASURES, HotTopics, Window
from tests.driver import Rig


class HotTopicsCase(SynchronousTestCase):
    """A broker, what counts in it, and what collects."""

    capacity = 10

    def setUp(self) -> None:
        self.rig = Rig()
        self.clock = self.rig.clock
        broker = self.rig.broker
        self.tally = broker.counters.by_topic = Tally(broker.router.routes)
        subscribers = broker.router.subscriber_counts = SubscriberCounts()
        self.hot = HotTopics(self.capacity, self.tally, subscribers, self.clock)
        self.hot.start()
        self.addCleanup(self.hot.stop)
        self.ada = self.rig.connect("ada")

    def say(self, topic: str, times: int = 1, payload: bytes = b"") -> None:
        for _ in range(times):
            self.ada.publish(topic, payload)

    def pass_time(self, seconds: float) -> None:
        """Seconds go by, one at a time, with all that reactors do meanwhile."""
        while seconds > 0:
            self.clock.advance(min(1, seconds))
            self.clock.pump([0] * 5)
            seconds -= 1

    def report(self, by: str = "messages", window: str = "1m", count: int = 10) -> dict[str, Any]:
        asked = self.hot.report(by, window, count)
        self.clock.pump([0] * 5)
        return self.successResultOf(asked)

    def counted(self, window: str = "1m", by: str = "messages") -> dict[str, int]:
        """One figure of each topic, in the order of the report."""
        return {topic["topic"]: topic[by] for topic in self.report(by, window)["topics"]}


class ReportTests(HotTopicsCase):
    """What is told."""

    def test_all_figures(self) -> None:
        """At once, without waiting for the next collection."""
        self.rig.connect("bob").subscribe("a/+")
        self.say("a/b", 3, b"four")
        self.assertEqual(
            self.report(),
            {
                "by": "messages",
                "window": "1m",
                "topics": [
                    {"topic": "a/b", "messages": 3, "bytes": 12, "deliveries": 3, "drops": 0, "error": 0}
                ],
            },
        )

    def test_order(self) -> None:
        """The most first, by whatever is asked; no more than are asked for."""
        self.rig.connect("bob").subscribe("c")
        self.say("a", 3)
        self.say("b", 1, b"many bytes")
        self.say("c", 2, b"x")
        self.tally.dropped("b", 7)
        self.assertEqual(list(self.counted()), ["a", "c", "b"])
        self.assertEqual(list(self.counted(by="bytes")), ["b", "c"])
        self.assertEqual(list(self.counted(by="deliveries")), ["c"])
        self.assertEqual(self.counted(by="drops"), {"b": 7})
        self.assertEqual(len(self.report(count=2)["topics"]), 2)

    def test_subscribers(self) -> None:
        """Filters, by how many subscribe to them now, whatever the window."""
        for name in ("bob", "eve"):
            self.rig.connect(name).subscribe("a/#")
        self.ada.subscribe("b")
        expected = [
            {"filter": "a/#", "subscribers": 2, "error": 0},
            {"filter": "b", "subscribers": 1, "error": 0},
        ]
        answer = self.report("subscribers", "1h")
        self.assertEqual(answer, {"by": "subscribers", "window": "now", "topics": expected})

    def test_own_topics(self) -> None:
        """The broker's own messages are not counted: there are many, and they tell of all others."""
        self.rig.broker.announce("$SYS/broker/uptime", b"7 seconds")
        self.say("$other/topic")
        self.assertEqual(self.counted(), {"$other/topic": 1})

    def test_long_names(self) -> None:
        """Names take 64 KiB at most in MQTT, and here a part of it: those that begin alike are one."""
        self.say("x" * 60_000 + "1")
        self.say("x" * 60_000 + "2")
        self.ada.subscribe("y" * 60_000)
        self.assertEqual(self.counted(), {"x" * LONGEST_NAME + "…": 2})
        (told,) = self.report("subscribers")["topics"]
        self.assertEqual(told["filter"], "y" * LONGEST_NAME + "…")

    def test_hostile_names(self) -> None:
        """Whatever a topic is called, it is told as it is, and JSON stays JSON."""
        names = [
            '"},{"topic":"',
            "\\",
            "<script>alert(1)</script>",
            "%s{0}",
            "a\x1b[2J\r\n",
            "\u202eab",
            "\U0010ffff",
        ]
        for name in names:
            self.say(name)
        self.assertCountEqual(self.counted(), names)
        self.assertEqual(json.loads(json.dumps(self.report())), self.report())


class WindowTests(HotTopicsCase):
    """1m, 1h and start."""

    def test_minute(self) -> None:
        """It forgets within ten seconds after a minute, and not before 50 seconds."""
        self.say("a")
        self.pass_time(49)
        self.say("b")
        self.assertEqual(self.counted(), {"a": 1, "b": 1})
        self.pass_time(12)
        self.assertEqual(self.counted(), {"b": 1})

    def test_hour(self) -> None:
        """The same with five minutes more or less."""
        self.say("a")
        self.pass_time(55 * 60 - 1)
        self.assertEqual(self.counted("1h"), {"a": 1})
        self.pass_time(5 * 60 + 2)
        self.assertEqual(self.counted("1h"), {})

    def test_start(self) -> None:
        """Nothing is forgotten; figures of all parts add up."""
        for _ in range(3):
            self.say("a", 2)
            self.pass_time(45)
        self.assertEqual(self.counted("start"), {"a": 6})
        self.assertEqual(self.counted("1h"), {"a": 6})
        self.assertEqual(self.counted(), {"a": 2})

    def test_long_sleep(self) -> None:
        """A machine that slept for an hour has nothing to tell of its last minute."""
        self.say("a")
        self.clock.advance(3601)
        self.clock.pump([0] * 5)
        self.pass_time(1)
        self.assertEqual(self.counted(), {})
        self.assertEqual(self.counted("start"), {"a": 1})

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 20), st.integers(1, 9))), max_size=150))
    def test_bounds(self, events: list[tuple[int, int] | None]) -> None:
        """Added up over parts, a figure is never too high, nor too low by more than its error."""
        window = Window(4, parts=3)
        parts: list[dict[str, int]] = [{}]
        for event in events:
            if event is None:
                window.begin_part()
                parts.append({})
            else:
                name, weight = str(event[0]), event[1]
                window.add([Counts(name, weight, weight, 0, 0)])
                parts[-1][name] = parts[-1].get(name, 0) + weight
        for told in window.top("messages", 4):
            exact = sum(part.get(told["topic"], 0) for part in parts[-3:])
            assert told["messages"] <= exact <= told["messages"] + told["error"]
        total = sum(sum(part.values()) for part in parts[-3:])
        assert all(told["error"] * 4 <= total for told in window.top("messages", 4))


class CollectingTests(HotTopicsCase):
    """When and how."""

    def test_every_ten_seconds(self) -> None:
        """Nobody has to ask."""
        self.say("a")
        self.pass_time(11)
        self.assertEqual(list(self.tally.pieces()), [[]])

    def test_at_once_for_all(self) -> None:
        """Those who ask while it is collected get what is collected."""
        self.say("a")
        asked = [self.hot.report("messages", "1m", 1) for _ in range(3)]
        self.clock.pump([0] * 5)
        for report in asked:
            self.assertEqual(self.successResultOf(report)["topics"][0]["messages"], 1)

    def test_wanted(self) -> None:
        """When much waits, it is collected before its time; but not from within whatever has found out."""
        self.say("a")
        self.hot.wanted()
        self.assertEqual(self.rig.broker.router.routes()[0].messages, 1)
        self.clock.pump([0] * 5)
        self.assertEqual(self.rig.broker.router.routes()[0].messages, 0)

    def test_a_mistake(self) -> None:
        """It is in the log; whoever asks is answered, and the next time all is well."""
        pieces = self.tally.pieces

        def broken() -> Iterator[list[Counts]]:
            raise ValueError("a mistake of ours")

        self.patch(self.tally, "pieces", broken)
        self.assertEqual(self.report()["topics"], [])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.patch(self.tally, "pieces", pieces)
        self.say("a")
        self.pass_time(11)
        self.assertEqual(self.counted(), {"a": 1})

    def test_stopped(self) -> None:
        """Nothing is left on the clock, and who has asked is answered."""
        asked = self.hot.report("messages", "1m", 1)
        self.hot.stop()
        self.successResultOf(asked)
        self.successResultOf(self.hot.report("messages", "1m", 1))


class FloodTests(SynchronousTestCase):
    """A million topics that nobody has heard of before."""

    def test_bounds_and_time(self) -> None:
        """Memory holds for so many names and no more, and hot ones stay; no piece takes long."""
        hot = HotTopics(1000, Tally(list), SubscriberCounts(), Clock())
        took = []
        for first in range(0, 1_000_000, 1000):
            piece = [Counts(f"t/{n}", 1, 10, 1, 0) for n in range(first, first + 999)]
            begun = perf_counter()
            hot.take([*piece, Counts("hot", 50, 500, 50, 0)])
            took.append(perf_counter() - begun)
        (told,) = self.successResultOf(_now(hot, 1))["topics"]
        self.assertEqual((told["topic"], told["messages"], told["error"]), ("hot", 50_000, 0))
        sizes = [
            len(board[measure]) for w in hot._windows.values() for board in w._boards for measure in MEASURES
        ]
        self.assertLessEqual(max(sizes), 2000)
        # The median, for others use this machine, too.
        self.assertLess(sorted(took)[len(took) // 2], 0.005)


def _now(hot: HotTopics, count: int) -> Any:
    asked = hot.report("messages", "start", count)
    assert isinstance(hot._ticking.clock, Clock)
    hot._ticking.clock.pump([0] * 5)
    return asked
