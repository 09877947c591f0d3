"""`pushd.broker.sleep`, `pushd.broker.outline`: sessions whose messages are in the store only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.limits import Limits
from pushd.broker.outline import Outline
from pushd.broker.records import SavedMessages
from pushd.broker.session import Session
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import Packet, Puback, Publish
from pushd.storage.errors import StoreError
from pushd.storage.memory import MemoryStore
from tests.driver import Peer, Rig


class SlowReads(MemoryStore):
    """A store whose messages are read when the test says so; what is read is what there was when asked."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[Deferred[SavedMessages], SavedMessages]] = []

    def load_messages(self, client_id: str) -> Deferred[SavedMessages]:  # type: ignore[override]
        read: Deferred[SavedMessages] = Deferred()
        self.reads.append((read, super().load_messages(client_id)))
        return read

    def finish(self) -> None:
        due, self.reads = self.reads, []
        for read, messages in due:
            read.callback(messages)


def payloads(packets: list[Packet]) -> list[bytes]:
    return [packet.payload for packet in packets if isinstance(packet, Publish)]


class SleepCase(SynchronousTestCase):
    limits = Limits(max_inflight_messages=2, max_queued_messages=3)

    def setUp(self) -> None:
        self.store = SlowReads()
        self.rig = Rig(self.limits, store=self.store)
        self.ada = self.rig.connect("ada")
        self.bob = self.come("bob")
        self.bob.subscribe("t", qos=2)

    def come(self, client_id: str, **more: bool) -> Peer:
        return self.rig.connect(client_id, **{"clean": False, **more})

    def say(self, *payloads: bytes, qos: int = 1) -> None:
        for payload in payloads:
            self.ada.publish("t", payload, qos=qos)

    def finish(self) -> None:
        self.store.finish()
        self.rig.turn()

    @property
    def session(self) -> Session:
        return self.rig.broker.sessions["bob"]


class FallingAsleepTests(SleepCase):
    def test_nothing_stays_in_memory(self) -> None:
        """Without a client, neither what was in flight nor what is queued takes memory."""
        self.say(b"1", b"2", b"3")
        self.bob.drop()
        self.say(b"4")
        assert self.session.sleep is not None
        assert (self.session.queue, self.session.inflight, self.session.waiting_messages) == (None, {}, 4)

    def test_idle_sessions_take_nothing_for_it(self) -> None:
        """Who leaves with nothing waiting is not asked for when it comes back."""
        self.bob.drop()
        assert self.session.sleep is None
        self.come("bob")
        assert self.store.reads == []

    def test_members_of_groups_stay_awake(self) -> None:
        """What a shared group gave away it may want back, which the store would not tell."""
        self.bob.subscribe("$share/g/t", qos=1)
        self.bob.drop()
        self.say(b"1")
        assert self.session.sleep is None
        assert self.session.queue

    def test_clean_sessions_do_not(self) -> None:
        """They end."""
        eve = self.rig.connect("eve")
        eve.drop()
        assert "eve" not in self.rig.broker.sessions


class WakingTests(SleepCase):
    def setUp(self) -> None:
        super().setUp()
        self.say(b"1")
        self.bob.drop()
        self.say(b"2")

    def test_connack_waits(self) -> None:
        """The client is admitted when its messages are there, and gets them in their order."""
        bob = self.come("bob")
        assert bob.connack is None
        self.finish()
        assert payloads(bob.received()) == [b"1", b"2"]
        assert bob.connack is not None
        assert bob.connack.session_present

    def test_messages_that_come_meanwhile(self) -> None:
        """They are queued behind, whether the read has seen them or not."""
        bob = self.come("bob")
        self.say(b"3")
        self.finish()
        assert payloads(bob.received()) == [b"1", b"2"]
        bob.send(Puback(1), Puback(2))
        assert payloads(bob.received()) == [b"3"]

    def test_oldest_dropped_meanwhile(self) -> None:
        """What is dropped from the head while it is read is not sent."""
        self.rig.broker.limits = Limits(max_queued_messages=3, queue_full="drop_oldest")
        bob = self.come("bob")
        self.say(b"3", b"4", b"5")
        self.finish()
        assert payloads(bob.received()) == [b"1", b"3", b"4", b"5"]

    def test_gone_before_they_are_there(self) -> None:
        """Nobody is admitted who has left; the next one gets all of it."""
        self.come("bob").drop()
        bob = self.come("bob")
        self.finish()
        assert payloads(bob.received()) == [b"1", b"2"]
        assert self.rig.broker.online == 2

    def test_two_at_once(self) -> None:
        """Both wait for one read; the later one takes the session over."""
        first, second = self.come("bob"), self.come("bob")
        assert len(self.store.reads) == 1
        self.finish()
        self.finish()  # by then it fell asleep again
        assert first.closed
        assert payloads(second.received()) == [b"1", b"2"]

    def test_clean_start_waits_for_nothing(self) -> None:
        """A session that ends need not wake; who waited for it gets a new one."""
        waits = self.come("bob")
        clean = self.come("bob", clean=True)
        assert clean.connack is not None
        assert not clean.connack.session_present
        clean.drop()
        self.finish()
        waits.received()
        assert waits.connack is not None
        assert not waits.connack.session_present

    def test_expired_meanwhile(self) -> None:
        """A session that expires while it is read is gone, and so are its messages."""
        self.rig.broker.end_session(self.session)
        bob = self.come("bob")
        bob.received()
        assert bob.connack is not None
        assert not bob.connack.session_present

    def test_unreadable(self) -> None:
        """The client is refused, and may try again."""
        bob = self.come("bob")
        (read, _), *_ = self.store.reads
        self.store.reads = []
        read.errback(Failure(StoreError("bad sector")))
        bob.received()
        assert bob.connack is not None
        assert bob.connack.code is ReasonCode.SERVER_UNAVAILABLE
        assert len(self.flushLoggedErrors(StoreError)) == 1
        again = self.come("bob")
        self.finish()
        assert payloads(again.received()) == [b"1", b"2"]

    def test_partly_unreadable(self) -> None:
        """What is left is sent, numbered anew: the journal stays in step."""
        self.say(b"3", b"4")
        bob = self.come("bob")
        (read, messages), *_ = self.store.reads
        del messages.queued[2]
        read.callback(messages)
        bob.received()
        kept = self.store.messages["bob"]
        assert [message.payload for message in kept.queued.values()] == [b"4"]
        assert list(kept.queued) == [self.session.sequence]


class QueueFullTests(SleepCase):
    """The limits of a queue hold while it is in the store only."""

    def setUp(self) -> None:
        super().setUp()
        self.bob.drop()

    def back(self) -> list[bytes]:
        self.rig.broker.limits = Limits()
        bob = self.come("bob")
        self.finish()
        return payloads(bob.received())

    def test_drop_newest(self) -> None:
        """Mosquitto's way, and the default."""
        self.say(b"1", b"2", b"3", b"4")
        assert self.rig.broker.counters.publish_dropped == {"queue_full": 1}
        assert self.back() == [b"1", b"2", b"3"]

    def test_drop_oldest(self) -> None:
        """The latest are kept."""
        self.rig.broker.limits = Limits(max_queued_messages=3, queue_full="drop_oldest")
        self.say(b"1", b"2", b"3", b"4", b"5")
        assert self.rig.broker.counters.publish_dropped == {"queue_full": 2}
        assert self.back() == [b"3", b"4", b"5"]

    def test_drop_oldest_by_bytes(self) -> None:
        """As many go as the new one needs; one that could never fit drops nobody."""
        self.rig.broker.limits = Limits(max_queued_bytes=10, queue_full="drop_oldest")
        self.say(b"1234", b"5678", b"90abcd", b"far too large")
        assert self.rig.broker.counters.publish_dropped == {"queue_full": 2}
        assert self.back() == [b"5678", b"90abcd"]

    def test_refuse_publisher_v5(self) -> None:
        """Nobody gets what one queue has no place for; the publisher is told."""
        self.rig.broker.limits = Limits(max_queued_messages=1, queue_full="refuse_publisher")
        eve = self.rig.connect("eve", version=Version.V5)
        eve.publish("t", b"1", qos=1)
        eve.publish("t", b"2", qos=1)
        codes = [packet.code for packet in eve.received()]  # type: ignore[union-attr]
        assert codes == [ReasonCode.SUCCESS, ReasonCode.QUOTA_EXCEEDED]
        assert self.back() == [b"1"]

    def test_refuse_publisher_v3(self) -> None:
        """A version 3 publisher waits for its PUBACK until there is place."""
        self.rig.broker.limits = Limits(max_queued_messages=1, queue_full="refuse_publisher")
        self.say(b"1", b"2", b"3")
        assert len(self.ada.received()) == 1
        assert self.back() == [b"1"]
        self.rig.clock.pump([0.25] * 3)
        assert len(self.ada.received()) == 2

    def test_expired_ones_take_nobodys_place(self) -> None:
        """Those at the head that have expired make room."""
        eve = self.rig.connect("eve", version=Version.V5)
        for number in range(3):
            soon = {PropertyId.MESSAGE_EXPIRY_INTERVAL: 5}
            eve.send(Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=number + 1, properties=soon))
        self.rig.clock.pump([0.25] * 24)
        self.say(b"1", b"2")
        assert self.rig.broker.counters.publish_dropped == {"expired": 3}
        assert self.back() == [b"1", b"2"]


class OutlineTests(SynchronousTestCase):
    @given(st.lists(st.tuples(st.integers(0, 2**20), st.none() | st.floats(0, 10))), st.integers(0, 50))
    def test_adds_up(self, messages: list[tuple[int, float | None]], drops: int) -> None:
        """It says what a list of the messages would say."""
        outline = Outline()
        for size, expires_at in messages:
            outline.append(size, expires_at)
        drops = min(drops, len(messages))
        for _ in range(drops):
            outline.drop_first()
        left = messages[drops:]
        assert len(outline) == len(left)
        assert outline.payload_bytes == sum(size for size, _ in left)
        expired = bool(left) and left[0][1] is not None and left[0][1] <= 5
        assert outline.first_expired(5) is expired
