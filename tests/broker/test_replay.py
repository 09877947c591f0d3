"""`pushd.broker.replay`: what is retained goes out at once if it is little, else at the client's pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.broker.limits import Limits
from pushd.broker.message import Message
from pushd.broker.replay import Replay, Replays
from pushd.broker.retained import RetainedMessages
from pushd.broker.session import Subscription
from pushd.broker.turn import Turn
from pushd.broker.wheel import TICK_S, TimingWheel
from pushd.mqtt.codes import QoS
from pushd.mqtt.packets import SubscriptionRequest
from pushd.storage.memory import MemoryStore

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.session import Session


@dataclass
class Peer:
    """As much of a client as a replay sees."""

    congested: bool = False
    held: int = 0


@dataclass(eq=False)
class Receiver:
    """
    As much of a session as a replay needs.

    :ivar room: how many messages of QoS 1 and 2 its window has room for.
    :ivar on_deliver: called with each message that comes.
    """

    client: Peer | None = field(default_factory=Peer)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    got: list[Message] = field(default_factory=list)
    room: int = 1_000_000
    on_deliver: Callable[[Message], None] = lambda message: None

    @property
    def has_room(self) -> bool:
        return self.client is not None and not self.client.congested and self.room > 0

    @property
    def topics(self) -> list[str]:
        return [message.topic for message in self.got]

    def deliver(self, message: Message) -> None:
        self.got.append(message)
        self.room -= message.qos > 0
        self.on_deliver(message)


class Stage:
    """As much of a broker as replays need; a turn of the reactor ends when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.limits = Limits()
        self.ends: list[Callable[[], None]] = []
        self.turn = Turn(self.ends.append, MemoryStore(), Counters())
        self.wheel = TimingWheel(self.clock, self.clock.seconds)
        self.wheel.start()
        self.retained = RetainedMessages(MemoryStore(), self.wheel)
        self.replays = Replays(cast("Broker", self))
        self.unreadable: set[str] = set()

    def may_read(self, session: Session, topic: str) -> bool:
        return topic not in self.unreadable

    def retain(self, *topics: str, payload: bytes = b"old", qos: int = 1) -> None:
        for topic in topics:
            self.retained.retain(Message(topic, payload, qos, retain=True))

    def subscribe(self, receiver: Receiver, filter: str, qos: int = 0, identifier: int = 0) -> None:
        request = SubscriptionRequest(filter, QoS(qos))
        subscription = Subscription(cast("Session", receiver), filter, request, identifier)
        receiver.subscriptions[filter] = subscription
        self.replays.start(cast("Session", receiver), subscription)

    def go_on(self, receiver: Receiver) -> None:
        self.replays.go_on(cast("Session", receiver))

    def end_turn(self) -> None:
        due, self.ends[:] = list(self.ends), []
        for call in due:
            call()

    def end_turns(self) -> int:
        """:return: how many turns it took until there was nothing more to do."""
        turns = 0
        while self.ends:
            self.end_turn()
            turns += 1
        return turns


class ReplayCase(SynchronousTestCase):
    """Five thousand topics below ``many``, and one beside them."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.many = [f"many/{n:04}" for n in range(5000)]
        self.stage.retain("one", *self.many)
        self.bob = Receiver()


class AtOnceTests(ReplayCase):
    """What most subscriptions find"""

    def test_few(self) -> None:
        """All leave in the turn of the SUBACK, and no more turns are needed than the one that cleans up."""
        for filter, found in (("one", 1), ("many/0001/#", 1), ("none", 0), ("none/#", 0)):
            self.bob.got.clear()
            self.stage.subscribe(self.bob, filter)
            self.assertEqual(found, len(self.bob.got), filter)
        self.assertEqual(1, self.stage.end_turns())

    def test_a_few_dozen(self) -> None:
        """So do a hundred."""
        self.stage.retain(*[f"some/{n}" for n in range(100)])
        self.stage.subscribe(self.bob, "some/+", qos=1)
        self.assertEqual(100, len(self.bob.got))

    def test_marked(self) -> None:
        """With RETAIN, at the lower of both QoS, with the Subscription Identifier; found by name or not."""
        for filter in ("one", "one/#"):
            for qos in QoS:
                self.stage.subscribe(self.bob, filter, qos, identifier=7)
                message = self.bob.got.pop()
                found = message.qos, message.retain, message.subscription_ids, message.payload
                self.assertEqual((min(qos, 1), True, (7,), b"old"), found)

    def test_upgraded(self) -> None:
        """With ``upgrade_outgoing_qos`` at the subscription's QoS."""
        self.stage.limits = Limits(upgrade_outgoing_qos=True)
        self.stage.subscribe(self.bob, "one", qos=2)
        self.assertEqual([2], [message.qos for message in self.bob.got])

    def test_not_allowed(self) -> None:
        """What the session may not read is left out."""
        self.stage.unreadable = {"many/0002"}
        self.stage.subscribe(self.bob, "many/#")
        self.stage.end_turns()
        self.assertEqual([topic for topic in self.many if topic != "many/0002"], self.bob.topics)

    def test_all_of_a_turn_together(self) -> None:
        """However many subscribe in one turn, at once they get no more than one of them would."""
        crowd = [Receiver() for _ in range(100)]
        for receiver in crowd:
            self.stage.subscribe(receiver, "many/#")
        self.assertLessEqual(sum(len(receiver.got) for receiver in crowd), Replays.AT_ONCE)
        self.stage.end_turns()
        self.assertEqual([self.many] * 100, [receiver.topics for receiver in crowd])


class SliceTests(ReplayCase):
    """Many messages: a few in each turn of the reactor"""

    def test_all_come(self) -> None:
        """Each once; not in one turn."""
        self.stage.subscribe(self.bob, "many/+")
        self.assertGreater(self.stage.end_turns(), 50)
        self.assertEqual(self.many, self.bob.topics)

    def test_looking_in_vain(self) -> None:
        """To look at thousands of topics without finding any is spread over many turns, too."""
        self.stage.subscribe(self.bob, "+/+/+")
        self.assertGreater(self.stage.end_turns(), 30)
        self.assertEqual([], self.bob.got)

    def test_large_messages(self) -> None:
        """One turn's part is limited in bytes as well: an outbox is joined before it is written."""
        self.stage.retain(*[f"large/{n}" for n in range(20)], payload=bytes(1_000_000))
        self.stage.subscribe(self.bob, "large/+")
        self.assertLessEqual(len(self.bob.got), 2)
        self.assertGreaterEqual(self.stage.end_turns(), 18)
        self.assertEqual(20, len(self.bob.got))

    def test_fairly(self) -> None:
        """Sessions take turns: one that comes later, with little to get, is not behind one with thousands."""
        ada = Receiver()
        self.stage.subscribe(self.bob, "many/#")
        self.stage.end_turn()
        for filter in self.many[:20]:
            self.stage.subscribe(ada, filter)
        self.stage.end_turn()
        self.assertEqual(20, len(ada.got))
        self.assertLess(len(self.bob.got), 1000)

    def test_of_one_session(self) -> None:
        """So do the subscriptions of a session."""
        self.stage.subscribe(self.bob, "many/#")
        self.stage.subscribe(self.bob, "one")
        for _ in range(3):
            self.stage.end_turn()
        self.assertIn("one", self.bob.topics)
        self.stage.end_turns()
        self.assertEqual(sorted([*self.many, "one"]), sorted(self.bob.topics))

    def test_out_of_time(self) -> None:
        """When a turn has taken long enough the others have to wait for the next, but each has its turn."""
        crowd = [Receiver() for _ in range(10)]
        for receiver in crowd:
            receiver.on_deliver = lambda message: self.stage.clock.advance(Replays.SLICE_S / 20)
            self.stage.subscribe(receiver, "many/#")
        for receiver in crowd:
            receiver.got.clear()
        for _ in range(10):
            before = sum(len(receiver.got) for receiver in crowd)
            self.stage.end_turn()
            self.assertLessEqual(sum(len(receiver.got) for receiver in crowd) - before, Replay.STEP)
        self.assertTrue(all(receiver.got for receiver in crowd))

    def test_one_that_fails(self) -> None:
        """An error ends one replay, says so, and keeps nobody else from what is theirs."""
        self.stage.subscribe(self.bob, "many/#")
        ada = Receiver()
        self.stage.subscribe(ada, "many/#")

        def fail(message: Message) -> None:
            raise ZeroDivisionError

        self.bob.on_deliver = fail
        self.stage.end_turns()
        self.assertEqual(self.many, ada.topics)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class PaceTests(ReplayCase):
    """Never faster than the client takes it, and nothing is lost by that"""

    def test_window(self) -> None:
        """At QoS 1 and 2 as many as the window has room for; an acknowledgement makes room for the next."""
        self.bob.room = 20
        self.stage.subscribe(self.bob, "many/#", qos=1)
        self.stage.end_turns()
        self.assertEqual(20, len(self.bob.got))
        self.bob.room = 3
        self.stage.go_on(self.bob)
        self.stage.end_turns()
        self.assertEqual(self.many[:23], self.bob.topics)

    def test_congested(self) -> None:
        """At QoS 0 nothing while the client does not read; then the rest."""
        assert self.bob.client is not None
        self.stage.subscribe(self.bob, "many/#")
        self.bob.client.congested = True
        before = len(self.bob.got)
        self.stage.end_turns()
        self.assertEqual(before, len(self.bob.got))
        self.bob.client.congested = False
        self.stage.go_on(self.bob)
        self.stage.end_turns()
        self.assertEqual(self.many, self.bob.topics)

    def test_a_full_window_is_nothing_to_qos_0(self) -> None:
        """A message that needs no acknowledgement does not wait for those of others."""
        self.bob.room = 0
        self.stage.subscribe(self.bob, "one", qos=0)
        self.assertEqual(["one"], self.bob.topics)

    def test_disk_is_full(self) -> None:
        """Outboxes that wait for the store are no place for a million messages."""
        assert self.bob.client is not None
        self.bob.client.held = Replay.MAX_HELD
        self.stage.subscribe(self.bob, "many/#")
        self.stage.end_turns()
        self.assertEqual([], self.bob.got)

    def test_nobody_tells(self) -> None:
        """It is looked at again by and by, and costs nothing in between."""
        assert self.bob.client is not None
        self.bob.client.congested = True
        self.stage.subscribe(self.bob, "one")
        self.stage.end_turns()
        self.assertEqual([], self.stage.ends)
        self.bob.client.congested = False
        self.stage.clock.pump([TICK_S] * 3)
        self.stage.end_turns()
        self.assertEqual(["one"], self.bob.topics)

    def test_others_go_on(self) -> None:
        """One that does not keep up holds up nobody."""
        self.bob.room = 0
        self.stage.subscribe(self.bob, "many/#", qos=1)
        ada = Receiver()
        self.stage.subscribe(ada, "many/#", qos=1)
        self.stage.end_turns()
        self.assertEqual(self.many, ada.topics)

    def test_room_that_nothing_waits_for(self) -> None:
        """To be told of it is no error."""
        self.stage.go_on(self.bob)
        self.assertEqual([], self.stage.ends)


class ChangeTests(ReplayCase):
    """What happens while a replay is under way"""

    def setUp(self) -> None:
        super().setUp()
        self.bob.room = 10
        self.stage.subscribe(self.bob, "many/#", qos=1)
        self.stage.end_turns()

    def more(self, room: int = 1_000_000) -> None:
        self.bob.room = room
        self.stage.go_on(self.bob)
        self.stage.end_turns()

    def test_newer_value(self) -> None:
        """What was published meanwhile is sent as it is now: an old value never follows a newer one."""
        self.stage.retain("many/0010", "many/4000", payload=b"new")
        self.more()
        self.assertEqual(self.many, self.bob.topics)
        newer = [message.topic for message in self.bob.got if message.payload == b"new"]
        self.assertEqual(["many/0010", "many/4000"], newer)

    def test_cleared(self) -> None:
        """What was cleared meanwhile is not sent, also if it was the next one."""
        self.stage.retain("many/0010", "many/4000", payload=b"")
        self.more()
        self.assertEqual(set(self.many) - {"many/0010", "many/4000"}, set(self.bob.topics))

    def test_forbidden_meanwhile(self) -> None:
        """The access rules of the moment hold."""
        self.stage.unreadable = set(self.many[10:])
        self.more()
        self.assertEqual(self.many[:10], self.bob.topics)

    def test_unsubscribed(self) -> None:
        """Nothing comes after that."""
        del self.bob.subscriptions["many/#"]
        self.more()
        self.assertEqual(10, len(self.bob.got))
        self.assertEqual({}, self.stage.replays._queues)

    def test_subscribed_again(self) -> None:
        """The same filter again begins anew, once."""
        self.stage.subscribe(self.bob, "many/#", qos=1)
        self.more()
        self.assertEqual([*self.many[:10], *self.many], self.bob.topics)

    def test_subscribing_for_ever(self) -> None:
        """A client that does not read but subscribes and unsubscribes piles up nothing."""
        for n in range(1000):
            self.stage.subscribe(self.bob, f"+/{n:04}/#", qos=1)
            del self.bob.subscriptions[f"+/{n:04}/#"]
        (queue,) = self.stage.replays._queues.values()
        self.assertLess(len(queue), 10)

    def test_client_of_a_kept_session_leaves(self) -> None:
        """The rest waits for it to come back, however long, and goes to its next connection."""
        self.bob.client = None
        self.more()
        self.stage.clock.pump([TICK_S] * 10)
        self.assertEqual((10, set()), (len(self.bob.got), self.stage.replays.waiting))
        self.bob.client = Peer()
        self.more()
        self.assertEqual(self.many, self.bob.topics)

    def test_session_ends(self) -> None:
        """Nothing of it is kept, whether it waits, is away or has its turn."""
        for client, go_on in ((Peer(), False), (None, True), (Peer(), True)):
            receiver = Receiver(room=0)
            self.stage.subscribe(receiver, "many/#", qos=1)
            receiver.client = client
            if go_on:
                self.stage.go_on(receiver)
            if client is None:
                self.stage.end_turns()
            receiver.subscriptions.clear()
            self.stage.replays.end(cast("Session", receiver))
            self.stage.end_turns()
            self.assertEqual([self.bob], list(self.stage.replays._queues))
            self.assertEqual(({self.bob}, set()), (self.stage.replays.waiting, self.stage.replays._away))

    def test_images_are_not_kept(self) -> None:
        """What was sent for a wildcard leaves nothing behind at the million messages that are retained."""
        self.stage.subscribe(Receiver(), "many/#", qos=0)
        self.stage.end_turns()
        kept = [self.stage.retained.get(topic) for topic in self.many]
        self.assertEqual([None] * 5000, [message and message._variants for message in kept])
