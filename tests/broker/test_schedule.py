"""`pushd.broker.schedule`: each message once, at its time, whatever happens to the process."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.broker import Broker
from pushd.broker.counters import Counters
from pushd.broker.interfaces import Access
from pushd.broker.limits import Limits
from pushd.broker.message import Message
from pushd.broker.policy import Policy
from pushd.broker.publication import Publication
from pushd.broker.records import MessageScheduled, Record, ScheduleEnded
from pushd.broker.schedule import Schedule
from pushd.broker.wheel import TICK_S, TimingWheel
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.packets import Publish
from pushd.storage.memory import MemoryStore
from pushd.transports.protocol import MQTTFactory
from tests.driver import Peer, Rig
from tests.fakes import Doorkeeper, HeldStore, Rules
from tests.storage.disk import NOON, Disk

MONTH_S = 30 * 86_400.0


def message(payload: bytes = b"x", expires_at: float | None = None) -> Message:
    return Message("t", payload, 1, expires_at=expires_at)


class Diary(MemoryStore):
    """A memory store that also keeps everything recorded, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Record] = []

    def record(self, record: Record) -> None:
        self.records.append(record)
        super().record(record)


class ScheduleCase(SynchronousTestCase):
    """A schedule on a wheel that turns, and what it has published: ``(time, payload)``."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.1)
        self.turns = Clock()  # whose seconds are turns of the reactor
        self.store = Diary()
        self.counters = Counters()
        self.published: list[tuple[float, bytes]] = []
        self.known: Deferred[None] = Deferred()
        self.schedule = self.new()

    def new(self, max_messages: int = 0, max_bytes: int = 0) -> Schedule:
        self.wheel = TimingWheel(self.clock, self.clock.seconds)
        self.wheel.start()
        soon = partial(self.turns.callLater, 1)
        return Schedule(
            self.wheel, self.store, self.counters, self.publish, soon, max_messages, max_bytes, self.prepare
        )

    def prepare(self, message: Message) -> Deferred[None] | None:
        """Nothing is to be known but about one."""
        return self.known if message.payload == b"slow" else None

    def publish(self, message: Message) -> None:
        if message.payload == b"bad":
            raise ValueError("this one")
        self.published.append((self.clock.seconds(), message.payload))

    def add(self, id: str, after_s: float, payload: bytes | None = None) -> bool:
        return self.schedule.add(id, self.clock.seconds() + after_s, message(payload or id.encode()))

    def pass_time(self, seconds: float) -> None:
        """In steps shorter than a slot, as a reactor would."""
        self.clock.pump([0.1] * round(seconds / 0.1))

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.published]


class DueTests(ScheduleCase):
    """When messages are published"""

    def test_at_its_time_and_once(self) -> None:
        """Never early, and hardly late."""
        due = self.clock.seconds() + 12
        self.add("a", 12)
        self.pass_time(30)
        ((at, payload),) = self.published
        self.assertEqual(payload, b"a")
        self.assertTrue(due <= at <= due + 3 * TICK_S)

    def test_an_earlier_one_does_not_wait_for_a_later_one(self) -> None:
        """Nor for what the wheel was going to look at next."""
        self.add("next month", MONTH_S)
        self.add("soon", 3)
        self.pass_time(5)
        self.assertEqual(self.payloads, [b"soon"])

    def test_beyond_the_wheels_horizon(self) -> None:
        """A month is waited for as well as a minute."""
        self.add("a", MONTH_S)
        self.clock.pump([50.0] * int(MONTH_S / 50 - 1))
        self.assertEqual(self.published, [])
        self.clock.pump([50.0] * 4)
        self.assertEqual(self.payloads, [b"a"])

    def test_equal_times_keep_their_order(self) -> None:
        """So that what is said in order to one topic arrives in order."""
        names = [f"{n:02}" for n in range(20)]
        due = self.clock.seconds() + 5
        for name in names:
            self.schedule.add(name[::-1], due, message(name.encode()))
        self.pass_time(10)
        self.assertEqual(self.payloads, [name.encode() for name in names])

    def test_a_time_that_is_past(self) -> None:
        """Is now, or nearly so."""
        self.add("a", -100)
        self.pass_time(1)
        self.assertEqual(self.payloads, [b"a"])

    def test_nine_o_clock(self) -> None:
        """What is due at the same moment goes out in slices, and others are served between them."""
        due = self.clock.seconds() + 1
        for n in range(3 * Schedule.SLICE):
            self.schedule.add(str(n), due, message())
        for turn in (1, 2, 3):
            self.pass_time(3)
            self.assertEqual(len(self.published), turn * Schedule.SLICE)
            self.turns.advance(1)
        self.assertEqual(len(self.schedule), 0)

    def test_one_that_fails_does_not_hold_up_the_others(self) -> None:
        """It is logged, and not tried again."""
        self.add("bad", 1)
        self.add("good", 1)
        self.pass_time(3)
        self.assertEqual(self.payloads, [b"good"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.store.state.scheduled, {})

    def test_one_that_is_worth_nothing_any_more(self) -> None:
        """It expired while the process was down: counted, not published."""
        now = self.clock.seconds()
        self.schedule.restore([MessageScheduled("a", now - 60, message(expires_at=now - 1))])
        self.pass_time(1)
        self.assertEqual((self.published, self.counters.publish_dropped), ([], {"expired": 1}))
        self.assertEqual(self.store.records, [ScheduleEnded("a")])

    def test_after_the_stop(self) -> None:
        """A slice that is left is left to the next process: the store is closed."""
        for n in range(Schedule.SLICE + 1):
            self.add(str(n), 0)
        self.pass_time(1)
        self.schedule.stop()
        self.turns.advance(1)
        self.assertEqual(len(self.published), Schedule.SLICE)


class PrepareTests(ScheduleCase):
    """One about which something must be known first"""

    def setUp(self) -> None:
        super().setUp()
        self.add("a", 1, b"slow")
        self.add("b", 1)
        self.pass_time(3)

    def test_waits(self) -> None:
        """Without holding up others; it is not over before it is published."""
        self.assertEqual(self.payloads, [b"b"])
        self.assertEqual(["a"], [scheduled.id for scheduled in self.schedule])
        self.assertIn("a", self.store.state.scheduled)
        self.known.callback(None)
        self.assertEqual(self.payloads, [b"b", b"slow"])
        self.assertEqual((0, 0), (len(self.schedule), self.schedule.payload_bytes))
        self.assertNotIn("a", self.store.state.scheduled)

    def test_cancelled_meanwhile(self) -> None:
        """Then it is not published, nor in the place of another of the same id."""
        self.assertTrue(self.schedule.cancel("a"))
        self.add("a", 5, b"again")
        self.known.callback(None)
        self.assertEqual(self.payloads, [b"b"])
        self.pass_time(7)
        self.assertEqual(self.payloads, [b"b", b"again"])

    def test_stopped_meanwhile(self) -> None:
        """It is left to the next process."""
        self.schedule.stop()
        self.known.callback(None)
        self.assertEqual(self.payloads, [b"b"])
        self.assertIn("a", self.store.state.scheduled)


class CancelTests(ScheduleCase):
    """What is taken back, and what takes its place"""

    def test_cancelled(self) -> None:
        """It is not published, and the store is told."""
        self.add("a", 1)
        self.assertTrue(self.schedule.cancel("a"))
        self.pass_time(3)
        self.assertEqual((self.published, self.store.state.scheduled), ([], {}))

    def test_nothing_to_cancel(self) -> None:
        """Published, cancelled before or never there: whoever asks learns it, the store does not."""
        self.add("a", 1)
        self.pass_time(3)
        records = len(self.store.records)
        self.assertFalse(self.schedule.cancel("a") or self.schedule.cancel("b"))
        self.assertEqual(len(self.store.records), records)

    def test_again_with_the_same_id(self) -> None:
        """Takes the place of the first, earlier or later."""
        for first, second in ((1.0, 4.0), (4.0, 1.0), (2.0, 2.0)):
            self.add("a", first, b"first")
            self.add("a", second, b"second")
            self.pass_time(8)
        self.assertEqual(self.payloads, [b"second"] * 3)

    def test_cancelling_leaves_nothing_behind(self) -> None:
        """Coming and going for a day does not fill the memory."""
        self.add("kept", MONTH_S)
        for n in range(5000):
            self.add(str(n), MONTH_S)
            self.schedule.cancel(str(n))
        self.assertLess(len(self.schedule._heap), 1100)
        self.assertEqual([scheduled.id for scheduled in self.schedule], ["kept"])

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, 40)), max_size=30))
    def test_any_coming_and_going(self, steps: list[tuple[str, bool, int]]) -> None:
        """What waits at the end is what was put in last and not taken back; each is published once."""
        self.setUp()
        expected: dict[str, bytes] = {}
        for number, (id, cancelled, after_s) in enumerate(steps):
            if cancelled:
                self.assertEqual(self.schedule.cancel(id), expected.pop(id, None) is not None)
            else:
                expected[id] = b"%d" % number
                self.add(id, 1 + after_s, expected[id])
        self.assertEqual(self.schedule.payload_bytes, sum(map(len, expected.values())))
        self.clock.pump([0.25] * 200)
        self.assertEqual(sorted(self.payloads), sorted(expected.values()))
        self.assertEqual((len(self.schedule), self.schedule.payload_bytes), (0, 0))


class RoomTests(ScheduleCase):
    """How many may wait"""

    def test_too_many(self) -> None:
        """The next one is refused and leaves no trace, until there is room again."""
        self.schedule = self.new(max_messages=2)
        self.assertEqual([self.add(id, 5) for id in "abc"], [True, True, False])
        self.assertEqual(list(self.store.state.scheduled), ["a", "b"])
        self.schedule.cancel("a")
        self.assertTrue(self.add("c", 5))

    def test_too_large(self) -> None:
        """Payloads count together, and what is published makes room."""
        self.schedule = self.new(max_bytes=10)
        self.assertEqual([self.add(id, 1, b"12345") for id in "abc"], [True, True, False])
        self.pass_time(3)
        self.assertTrue(self.add("c", 5, b"1234567890"))

    def test_what_a_store_gives_back_is_kept(self) -> None:
        """However the limit was changed meanwhile: it was accepted."""
        self.schedule = self.new(max_messages=1)
        self.schedule.restore(MessageScheduled(id, 2000.0, message()) for id in "ab")
        self.assertEqual((len(self.schedule), self.add("c", 1)), (2, False))


class ListTests(ScheduleCase):
    """What can be asked about what waits"""

    def test_all_of_them(self) -> None:
        """With time and message, by iterating; one by its id."""
        self.add("a", 5)
        self.add("b", 6)
        self.assertEqual(
            sorted((one.id, one.message.payload) for one in self.schedule), [("a", b"a"), ("b", b"b")]
        )
        found = self.schedule.get("a")
        assert found is not None
        self.assertEqual(found.due_at, self.clock.seconds() + 5)
        self.assertTrue("a" in self.schedule and "c" not in self.schedule)
        self.assertIsNone(self.schedule.get("c"))


class RestartTests(ScheduleCase):
    """A process ends without a word, and another takes up what it left behind"""

    def restart(self) -> None:
        self.wheel.stop()
        self.schedule = self.new()
        self.schedule.restore(list(self.store.state.scheduled.values()))

    def test_what_waits_goes_on_waiting(self) -> None:
        """With its time, and once."""
        self.add("a", 20)
        self.pass_time(5)
        self.restart()
        self.pass_time(14)
        self.assertEqual(self.published, [])
        self.pass_time(3)
        self.restart()
        self.pass_time(60)
        self.assertEqual(self.payloads, [b"a"])

    def test_what_became_due_meanwhile_is_published_at_once(self) -> None:
        """In the order of its times."""
        self.store.record(MessageScheduled("b", self.clock.seconds() - 5, message(b"b")))
        self.store.record(MessageScheduled("a", self.clock.seconds() - 9, message(b"a")))
        self.restart()
        self.pass_time(1)
        self.assertEqual(self.payloads, [b"a", b"b"])

    def test_the_end_is_recorded_after_what_follows_from_publishing(self) -> None:
        """Whoever stops between the two may publish it twice, but loses nothing."""
        self.add("a", 1)
        seen: list[bool] = []
        self.schedule._publish = lambda message: seen.append(ScheduleEnded("a") in self.store.records)
        self.pass_time(3)
        self.assertEqual((seen, self.store.records[-1]), ([False], ScheduleEnded("a")))


class Sender:
    """A caller of the gateway."""

    username = "sender"
    client_id = ""


def schedule(rig: Rig, topic: str = "t", delay_s: float = 1.0, retain: bool = False) -> Deferred[ReasonCode]:
    """Hand in the message "later" of QoS 1, under the id "id"."""
    return rig.broker.schedule(rig.policy, Sender(), Publication(topic, b"later", 1, retain), "id", delay_s)


class FacadeTests(SynchronousTestCase):
    """`Broker.schedule`"""

    def setUp(self) -> None:
        self.rules = Rules()
        self.store = HeldStore()
        self.rig = Rig(Limits(message_size_limit=10), authorizer=self.rules, store=self.store)

    def refusal(self, topic: str = "t", retain: bool = False) -> ReasonCode:
        code = self.successResultOf(schedule(self.rig, topic, retain=retain))
        self.assertEqual(len(self.rig.broker.scheduled), 0)
        return code

    def test_accepted_when_it_is_durable(self) -> None:
        """Not before; nobody can tell when the process will end."""
        answer = schedule(self.rig)
        self.assertNoResult(answer)
        self.store.release()
        self.assertIs(self.successResultOf(answer), ReasonCode.SUCCESS)

    def test_delivered_and_retained(self) -> None:
        """As if it were published at that time."""
        self.rig = Rig()
        ada = self.rig.connect("ada")
        ada.subscribe("t")
        schedule(self.rig, retain=True)
        self.assertEqual(ada.received(), [])
        self.rig.clock.pump([0.25] * 8)
        self.assertEqual(ada.received(), [Publish("t", b"later")])
        bob = self.rig.connect("bob")
        bob.subscribe("t")
        self.assertEqual(bob.received(), [Publish("t", b"later", retain=True)])

    def test_refused_as_a_publish_is(self) -> None:
        """At once, and nothing of it waits."""
        self.rules.refused.add((Access.WRITE, "secret"))
        self.assertIs(self.refusal("secret"), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.refusal("$SYS/x"), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.refusal("a/#"), ReasonCode.TOPIC_NAME_INVALID)
        large = self.rig.broker.schedule(self.rig.policy, Sender(), Publication("t", b"x" * 11), "id", 1.0)
        self.assertIs(self.successResultOf(large), ReasonCode.PACKET_TOO_LARGE)
        self.rig = Rig(Limits(retain_available=False))
        self.assertIs(self.refusal(retain=True), ReasonCode.RETAIN_NOT_SUPPORTED)

    def test_refused_for_want_of_room(self) -> None:
        """Too many wait, or the store fails: what could be forgotten is not taken."""
        self.rig.broker.scheduled._max_messages = 1
        schedule(self.rig)
        other = self.rig.broker.schedule(self.rig.policy, Sender(), Publication("t", b"x"), "other", 1.0)
        self.assertIs(self.successResultOf(other), ReasonCode.QUOTA_EXCEEDED)
        self.rig = Rig(store=HeldStore())
        self.rig.broker.store.failing = "disk full"
        self.assertIs(self.refusal(), ReasonCode.QUOTA_EXCEEDED)

    def test_who_was_allowed_is_not_asked_for_again(self) -> None:
        """It was accepted, as what waits in a queue was."""
        schedule(self.rig)
        self.rules.refused.add((Access.WRITE, "t"))
        self.rig.clock.pump([0.25] * 8)
        self.assertEqual(self.rig.broker.counters.publish_dropped, {})
        self.assertEqual(self.store.records[-1], ScheduleEnded("id"))

    def test_a_late_verdict_does_not_move_its_time(self) -> None:
        """The delay counts from when it was asked for."""
        verdict = self.rules.later = Deferred()
        schedule(self.rig, delay_s=10)
        self.rig.clock.advance(4)
        verdict.callback(ReasonCode.SUCCESS)
        (scheduled,) = self.rig.broker.scheduled
        self.assertEqual(scheduled.due_at, 10.0)

    def test_mount_point(self) -> None:
        """In front of the topic, as for everybody who comes in by that listener."""
        self.rig = Rig(mount_point="home/")
        schedule(self.rig)
        (scheduled,) = self.rig.broker.scheduled
        self.assertEqual(scheduled.message.topic, "home/t")


class Process(Rig):
    """A broker with a file, and what was in it."""

    def __init__(self, case: SynchronousTestCase, disk: Disk, wall_s: float = NOON) -> None:
        store = disk.open(wall_s=wall_s)
        case.patch(store, "load", lambda: disk.state)  # it was read when it was opened
        self.clock, self.store, self.file = disk.clock, store, store
        self.policy = Policy("a test", Doorkeeper(), Rules())
        self.broker = Broker(self.clock, store)
        self.broker.start(self.policy)
        self.factory = MQTTFactory(self.broker, self.policy)

    def ada(self) -> Peer:
        return self.connect("ada", clean=False)


class CrashTests(SynchronousTestCase):
    """kill -9, with everything in a file"""

    def payloads(self, killed_after_s: float) -> list[bytes]:
        """What ada gets, who was away while a message of QoS 2 became due, and the process was killed."""
        disk = Disk(self)
        process = Process(self, disk)
        ada = process.ada()
        ada.subscribe("t", qos=2)
        ada.drop()
        accepted = process.broker.schedule(process.policy, Sender(), Publication("t", b"later", 2), "id", 1.0)
        self.assertIs(self.successResultOf(accepted), ReasonCode.SUCCESS)
        process.clock.pump([0.05] * round(killed_after_s / 0.05))
        disk.kill(process.file)
        process = Process(self, disk, NOON + killed_after_s)
        process.clock.pump([0.25] * 10)
        self.assertEqual(len(process.broker.scheduled), 0)
        packets = process.ada().received()
        return [packet.payload for packet in packets if isinstance(packet, Publish)]

    def test_at_any_moment(self) -> None:
        """Before it is due, while it is published, and after: it arrives, once."""
        for moment in range(40):
            self.assertEqual(self.payloads(moment * 0.05), [b"later"], moment)
