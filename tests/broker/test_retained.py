"""`pushd.broker.retained`: the last message of each topic, recorded as it changes, until it expires."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.message import Message
from pushd.broker.records import RetainedCleared, RetainedSet
from pushd.broker.retained import RetainedMessages
from pushd.broker.wheel import TimingWheel
from tests.fakes import HeldStore


class RetainedCase(SynchronousTestCase):
    """Time passes with `pass_time`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = HeldStore()
        self.wheel = TimingWheel(self.clock, self.clock.seconds)
        self.wheel.start()
        self.retained = RetainedMessages(self.store, self.wheel)

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

    def test_matching(self) -> None:
        """By filter; wildcards do not see ``$`` topics."""
        for topic in ("a/b", "a/c", "$SYS/a"):
            self.retain(topic, topic.encode())
        self.assertEqual([b"a/b", b"a/c"], self.found("a/+"))
        self.assertEqual([b"a/b", b"a/c"], self.found("#"))
        self.assertEqual([b"$SYS/a"], self.found("$SYS/#"))


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
