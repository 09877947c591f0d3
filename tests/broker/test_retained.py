"""`pushd.broker.retained`: the last message of each topic, recorded as it changes, until it expires."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.limits import Limits
from pushd.broker.message import Message
from pushd.broker.records import RetainedCleared, RetainedSet
from pushd.broker.retained import Deadlines, RetainedMessages
from pushd.broker.wheel import TICK_S, TimingWheel
from pushd.mqtt.codes import PropertyId
from tests.fakes import HeldStore


class RetainedCase(SynchronousTestCase):
    """Time passes with `pass_time`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = HeldStore()
        self.wheel = TimingWheel(self.clock, self.clock.seconds)
        self.wheel.start()
        self.limits = Limits()
        self.retained = RetainedMessages(self.store, self.wheel, lambda: self.limits)

    def retain(self, topic: str, payload: bytes, expires_at: float | None = None) -> Message:
        message = Message(topic, payload, retain=True, expires_at=expires_at)
        self.retained.retain(message)
        return message

    def found(self, filter: str = "#") -> list[bytes]:
        return sorted(message.payload for message in self.retained.match(filter))

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds / 0.05))


class KeepingTests(RetainedCase):
    """v5 §3.3.1.3"""

    def test_last_one_counts(self) -> None:
        """One message a topic; each change is recorded."""
        first, second = self.retain("a", b"1"), self.retain("a", b"22")
        self.assertEqual([b"22"], self.found())
        self.assertEqual((1, 2), (len(self.retained), self.retained.payload_bytes))
        self.assertEqual([RetainedSet(first), RetainedSet(second)], self.store.records)

    def test_empty_clears(self) -> None:
        """An empty message clears its topic, and is not kept."""
        self.retain("a", b"1")
        self.retain("a", b"")
        self.assertEqual(([], 0), (self.found(), len(self.retained)))
        self.assertEqual(RetainedCleared("a"), self.store.records[-1])

    def test_clearing_nothing(self) -> None:
        """Nothing to clear is nothing to record."""
        self.retain("a", b"")
        self.retained.clear("b")
        self.assertEqual([], self.store.records)

    def test_kept_without_a_record(self) -> None:
        """What the store has already, or need not have."""
        self.retained.keep(Message("a", b"1", retain=True))
        self.assertEqual(([b"1"], []), (self.found("a"), self.store.records))

    def test_bytes(self) -> None:
        """They are counted as messages come, change and go, and as they are restored."""
        self.retain("a", b"12345")
        self.retain("ab", b"1")
        self.retain("a", b"123")
        self.assertEqual((4, 7), (self.retained.payload_bytes, self.retained.held_bytes))
        self.retain("a", b"")
        self.assertEqual((1, 3), (self.retained.payload_bytes, self.retained.held_bytes))
        again = RetainedMessages(self.store, self.wheel)
        again.restore(self.retained.match("#"))
        self.assertEqual((1, 1, 3), (len(again), again.payload_bytes, again.held_bytes))

    def test_walk(self) -> None:
        """What is found step by step is told by its topic."""
        self.retain("a", b"1")
        self.retain("b", b"2", expires_at=-1.0)
        topics = self.retained.walk("#").step()
        self.assertEqual([b"1", None], [m and m.payload for m in map(self.retained.get, topics)])

    def test_matching(self) -> None:
        """By filter; wildcards do not see ``$`` topics."""
        for topic in ("a/b", "a/c", "$SYS/a"):
            self.retain(topic, topic.encode())
        self.assertEqual([b"a/b", b"a/c"], self.found("a/+"))
        self.assertEqual([b"a/b", b"a/c"], self.found("#"))
        self.assertEqual([b"$SYS/a"], self.found("$SYS/#"))


class LimitTests(RetainedCase):
    """``max_retained_messages`` and ``max_retained_bytes``"""

    def keeps(self, topic: str, payload: bytes, **more: object) -> bool:
        return self.retained.retain(Message(topic, payload, retain=True, **more))  # type: ignore[arg-type]

    def test_messages(self) -> None:
        """One more topic is refused, and not recorded; those that are there may change."""
        self.limits = Limits(max_retained_messages=2)
        kept = [self.keeps(topic, b"1") for topic in ("a", "b", "c", "a")]
        self.assertEqual([True, True, False, True], kept)
        self.assertEqual(["a", "b", "a"], [r.message.topic for r in self.store.records])  # type: ignore[union-attr]
        self.assertEqual((True, True), (self.keeps("a", b""), self.keeps("c", b"1")))

    def test_bytes(self) -> None:
        """Topic and payload count; what replaces a message counts for the difference."""
        self.limits = Limits(max_retained_bytes=10)
        self.assertTrue(self.keeps("a", b"12345"))
        self.assertFalse(self.keeps("b", b"1234"))
        self.assertTrue(self.keeps("b", b"123"))
        self.assertFalse(self.keeps("a", b"123456"))
        self.assertTrue(self.keeps("a", b"54321"))
        self.assertEqual([b"123", b"54321"], self.found())

    def test_long_names_and_properties(self) -> None:
        """They take as much memory as a payload does."""
        self.limits = Limits(max_retained_bytes=1000)
        self.assertFalse(self.keeps("a" * 1000, b"1"))
        self.assertFalse(self.keeps("a", b"1", properties={PropertyId.CONTENT_TYPE: "x" * 1000}))
        self.assertEqual(0, self.retained.held_bytes)

    def test_lowered_by_a_reload(self) -> None:
        """What is there stays; it may be replaced by what is not larger, and cleared."""
        for topic in ("a", "b"):
            self.retain(topic, b"12345")
        self.limits = Limits(max_retained_messages=1, max_retained_bytes=1)
        self.assertTrue(self.keeps("a", b"67890"))
        self.assertFalse(self.keeps("a", b"123456"))
        self.assertTrue(self.keeps("b", b""))
        self.assertEqual([b"67890"], self.found())

    def test_no_limit(self) -> None:
        """0 is none."""
        self.limits = Limits(max_retained_messages=0, max_retained_bytes=0)
        self.assertTrue(self.keeps("a", b"1"))

    def test_the_brokers_own(self) -> None:
        """They count, but are kept whatever the limit says; so is what a store gives back."""
        self.limits = Limits(max_retained_messages=1)
        self.retained.restore([Message("a", b"1"), Message("b", b"2")])
        self.retained.keep(Message("$SYS/x", b"1", retain=True))
        self.assertEqual((3, False), (len(self.retained), self.keeps("c", b"1")))


class ExpiryTests(RetainedCase):
    """v5 [MQTT-3.3.2-5]"""

    def test_forgotten_in_time(self) -> None:
        """Not before it expires; hardly later it is gone, and recorded as gone."""
        self.retain("a", b"1", expires_at=3.0)
        self.pass_time(2.9)
        self.assertEqual([b"1"], self.found())
        self.pass_time(0.8)
        self.assertEqual(([], 0), (self.found(), len(self.retained)))
        self.assertEqual(RetainedCleared("a"), self.store.records[-1])

    def test_another_has_taken_its_place(self) -> None:
        """The end of a message is not the end of the next one."""
        self.retain("a", b"1", expires_at=1.0)
        self.retain("a", b"2")
        self.retain("b", b"3", expires_at=1.0)
        self.retain("b", b"4", expires_at=9.0)
        self.pass_time(3)
        self.assertEqual([b"2", b"4"], self.found())

    def test_expired_while_nobody_was_running(self) -> None:
        """What a store gives back too late is not sent, and soon forgotten."""
        self.pass_time(10)
        self.retained.keep(Message("a", b"1", retain=True, expires_at=5.0))
        self.assertEqual([], self.found())
        self.pass_time(1)
        self.assertEqual(0, len(self.retained))

    def test_restored(self) -> None:
        """What a store gives back expires when it would have."""
        self.retained.restore([Message("a", b"1", expires_at=3.0), Message("b", b"2")])
        self.pass_time(3.6)
        self.assertEqual([b"2"], self.found())
        self.assertEqual([RetainedCleared("a")], self.store.records)

    def test_sooner_than_the_one_before(self) -> None:
        """A message that lives shorter than the one it replaced goes in its own time."""
        self.retain("a", b"1", expires_at=100.0)
        self.retain("a", b"2", expires_at=2.0)
        self.pass_time(2.6)
        self.assertEqual(0, len(self.retained))

    def test_many_at_once(self) -> None:
        """None is found any more; the reactor is not stopped for all, some are forgotten at each tick."""
        self.retained.restore(Message(str(n), b"x", expires_at=1.0) for n in range(Deadlines.AT_ONCE * 3))
        self.pass_time(1.0 + 2 * TICK_S)
        self.assertEqual([], self.found())
        self.assertLessEqual(Deadlines.AT_ONCE, len(self.retained))
        self.pass_time(1.0)
        self.assertEqual(0, len(self.retained))

    def test_republished_again_and_again(self) -> None:
        """Whether its messages live longer or shorter each time, a topic does not pile up deadlines."""
        deadlines = self.retained._deadlines
        for n in range(10_000):
            self.retain("a", b"x", expires_at=1e6 + n)
            self.retain("b", b"x", expires_at=1e6 - n)
            self.retain(f"c/{n}", b"x", expires_at=1e6)
            self.retain(f"c/{n}", b"")
        self.assertEqual(2, len(deadlines))
        self.assertLess(len(deadlines._heap), 2 * Deadlines.AT_ONCE)
