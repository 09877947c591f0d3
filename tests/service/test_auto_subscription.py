"""`pushd.service.auto_subscription`: who is looked at when, with what the keeper of people says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.broker.interfaces import IStore, ISubscriber
from pushd.config.settings import ListenerSettings, SecuritySettings, Settings
from pushd.mqtt.packets import Publish
from pushd.people.interfaces import Friends, PeopleUnavailable
from pushd.people.memory import MemoryPeople
from pushd.rules.auto_subscribe import AutoRules
from pushd.service.auto_subscription import (
    FIRST_CONNECTED,
    PATIENCE_S,
    RETRY_S,
    SLICE_S,
    AutoSubscription,
    Subscribing,
)
from pushd.service.people import PeopleOffice
from tests.driver import Peer, Rig

WITHOUT_ACCOUNTS = Settings(listeners=(ListenerSettings("a test", port=1883),))
WITH_ACCOUNTS = Settings(
    listeners=(ListenerSettings("a test", port=1883, security=SecuritySettings(accounts=True)),)
)


class SlowPeople(MemoryPeople):
    """
    They say what they know when the test lets them.

    :ivar answer: instead of what they know about friends: for one question only.
    :ivar away: whether they cannot be asked.
    :ivar asked: about whose friends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answer: Deferred[Friends] | None = None
        self.away = False
        self.asked: list[str] = []

    def friends(self, username: str) -> Deferred[Friends]:
        self.asked.append(username)
        if self.away:
            return fail(PeopleUnavailable("away"))
        answer, self.answer = self.answer, None
        return answer or super().friends(username)

    def connected(self, username: str) -> Deferred[bool]:
        return fail(PeopleUnavailable("away")) if self.away else super().connected(username)


class Turns(Clock):
    """
    A reactor whose turns do not run into each other, and whose time goes on by itself.

    :ivar tick_s: how long it takes to look at the time.
    """

    def __init__(self, tick_s: float) -> None:
        super().__init__()
        self.tick_s = tick_s
        self.now = 0.0
        self.due: list[Callable[[], object]] = []

    def look(self) -> float:
        self.now += self.tick_s
        return self.now

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Any:
        if delay:
            return super().callLater(delay, callable, *args, **kw)
        self.due.append(partial(callable, *args, **kw))
        return None

    def turn(self) -> None:
        """Do what is due now, and not what that makes due."""
        due, self.due = self.due, []
        for call in due:
            call()


class SubscriptionTestCase(SynchronousTestCase):
    """A broker, people, and rules."""

    rules = "/%u/chat 1\nuser/%F/presence 0"

    def setUp(self) -> None:
        self.people = SlowPeople()
        self.begin(None)

    def begin(self, store: IStore | None) -> None:
        """A process, the first or the next."""
        self.rig = Rig(store=store)
        clock = self.rig.clock
        self.office = PeopleOffice(lambda: self.people, clock)
        self.subscriber = AutoSubscription(self.rig.broker, clock, lambda: 0.0, lambda: 1_800_000_000.5)
        self.rig.broker.subscriber = self.subscriber
        self.subscriber.use(AutoRules.parse(self.rules, "rules"))
        self.subscriber.ask(self.office)
        self.office.start()
        self.subscriber.take_up()
        self.settle()

    def settle(self, seconds: float = 0.5) -> None:
        """Time goes on: changes are heard of, and followed."""
        self.rig.clock.pump([seconds / 10] * 10)

    def befriend(self, *names: str) -> None:
        for name in names:
            self.people.follow("ada", name)
            self.people.follow(name, "ada")

    def come(self, client_id: str = "phone", clean: bool = False, username: str | None = "ada") -> Peer:
        peer = self.rig.connect(client_id, clean, username=username)
        peer.received()
        return peer

    def filters(self, client_id: str = "phone") -> set[str]:
        return set(self.rig.broker.sessions[client_id].subscriptions)


class ComingTests(SubscriptionTestCase):
    """A client comes"""

    def test_interface(self) -> None:
        """It is what the broker asks."""
        verifyObject(ISubscriber, self.subscriber)

    def test_rules_friends_and_lists(self) -> None:
        """It has what the rules say, for each friend, and what is in its user's list."""
        self.befriend("bob")
        self.people.keep_subscription("ada", "extra/+", 2)
        self.assertIsNotNone(self.come().connack)
        self.assertEqual({"/ada/chat", "user/bob/presence", "extra/+"}, self.filters())

    def test_anonymous(self) -> None:
        """Nobody is asked about somebody without a name."""
        self.come(username=None)
        self.assertEqual((set(), []), (self.filters(), self.people.asked))

    def test_connack_waits(self) -> None:
        """For a new session, until its friends are known."""
        self.people.answer = answer = Deferred[Friends]()
        phone = self.come()
        self.assertIsNone(phone.connack)
        answer.callback(Friends(mutual=frozenset({"bob"})))
        self.rig.turn()
        phone.received()
        self.assertIsNotNone(phone.connack)
        self.assertEqual({"/ada/chat", "user/bob/presence"}, self.filters())

    def test_connack_does_not_wait_for_ever(self) -> None:
        """Who cannot be told in time is let in with what the rules say; the rest follows."""
        self.befriend("bob")
        self.settle()
        self.people.answer = Deferred()
        phone = self.come()
        self.settle(PATIENCE_S)
        phone.received()
        self.assertIsNotNone(phone.connack)
        self.assertEqual({"/ada/chat"}, self.filters())
        self.settle(RETRY_S)
        self.assertEqual({"/ada/chat", "user/bob/presence"}, self.filters())

    def test_people_are_away(self) -> None:
        """Nobody loses anything by it, and those who come meanwhile are looked at again."""
        self.befriend("bob")
        self.settle()
        self.come().drop()
        self.people.away = True
        self.assertIsNotNone(self.come("tablet").connack)
        self.come()
        self.assertEqual({"/ada/chat", "user/bob/presence"}, self.filters())
        self.assertEqual({"/ada/chat"}, self.filters("tablet"))
        self.settle(RETRY_S)
        self.people.away = False
        self.settle(RETRY_S)
        self.assertEqual(self.filters(), self.filters("tablet"))

    def test_another_user(self) -> None:
        """A kept session that another user takes up has that user's subscriptions."""
        self.come().drop()
        self.come(username="bob")
        self.assertEqual({"/bob/chat"}, self.filters())
        self.people.keep_subscription("ada", "of/ada", 0)
        self.settle()
        self.assertEqual({"/bob/chat"}, self.filters())

    def test_restart(self) -> None:
        """A kept session has everything once, and new rules hold for it before its client is back."""
        self.befriend("bob")
        self.come()
        self.rules = "new/%c 0\nuser/%F/presence 0"
        self.begin(self.rig.store)
        self.assertEqual({"new/phone", "user/bob/presence"}, self.filters())
        self.assertEqual(2, len(self.rig.broker.router.subscriptions))


class ChangeTests(SubscriptionTestCase):
    """Something changes"""

    def test_friends(self) -> None:
        """Within a second, for clients that are there and for sessions whose client is away."""
        self.come("tablet").drop()
        self.come()
        self.befriend("bob", "eve")
        self.settle()
        both = {"/ada/chat", "user/bob/presence", "user/eve/presence"}
        self.assertEqual((both, both), (self.filters(), self.filters("tablet")))
        self.people.unfollow("bob", "ada")
        self.settle()
        self.assertEqual(both - {"user/bob/presence"}, self.filters("tablet"))

    def test_friends_are_no_concern(self) -> None:
        """Where no rule asks for them, nobody else does."""
        self.subscriber.use(AutoRules.parse("t 0", "rules"))
        self.come()
        self.befriend("bob")
        self.settle()
        self.assertEqual([], self.people.asked)

    def test_list(self) -> None:
        """Added, removed, and with another QoS."""
        self.come()
        self.people.keep_subscription("ada", "extra", 0)
        self.settle()
        self.people.keep_subscription("ada", "extra", 2)
        self.settle()
        self.assertEqual(2, self.rig.broker.sessions["phone"].subscriptions["extra"].qos)
        self.people.remove_subscription("ada", "extra")
        self.settle()
        self.assertEqual({"/ada/chat"}, self.filters())

    def test_rules(self) -> None:
        """A reload holds for everybody who is there."""
        self.come()
        self.come("tablet", username=None)
        self.subscriber.use(AutoRules.parse("all 0", "rules"))
        self.settle()
        self.assertEqual(({"all"}, {"all"}), (self.filters(), self.filters("tablet")))

    def test_changes_while_it_is_looked_at(self) -> None:
        """What was asked for before a change is not the last word."""
        self.come()
        self.people.answer = answer = Deferred[Friends]()
        self.befriend("bob")
        self.settle()
        self.befriend("eve")
        self.settle()
        answer.callback(Friends(mutual=frozenset({"bob"})))
        self.settle()
        self.assertEqual({"/ada/chat", "user/bob/presence", "user/eve/presence"}, self.filters())

    def test_all_may_have_changed(self) -> None:
        """When nobody can say what has changed, everybody is looked at."""
        self.come()
        self.people.known.follows = {"ada": {"bob"}, "bob": {"ada"}}
        self.subscriber._friends_changed("")
        self.settle()
        self.assertEqual({"/ada/chat", "user/bob/presence"}, self.filters())

    def test_sessions_that_end(self) -> None:
        """They are forgotten, and whatever is on its way for them."""
        self.people.answer = answer = Deferred[Friends]()
        self.come(clean=True).drop()
        answer.callback(Friends())
        self.settle()
        self.assertEqual(({}, {}), (self.subscriber._sessions, self.subscriber._again))


class EndTests(SubscriptionTestCase):
    """The process ends"""

    def test_in_the_middle(self) -> None:
        """Nobody is looked at any more, nothing is left to be done, and nothing has failed."""
        turns = Turns(0.000_1)
        subscriber = self.rig.broker.subscriber = AutoSubscription(self.rig.broker, turns, turns.look)
        subscriber.use(AutoRules.parse(self.rules, "rules"))
        subscriber.ask(self.office)
        self.befriend(*[f"friend-{number}" for number in range(500)])
        self.come()
        self.people.away = True
        self.come("tablet")
        subscriber.stop()
        while turns.due:
            turns.turn()
        subscriber.use(AutoRules.parse("t 0", "rules"))
        self.assertEqual(([], []), (turns.due, turns.getDelayedCalls()))
        self.assertLess(len(self.filters()), 500)


class FirstConnectedTests(SubscriptionTestCase):
    """A user is here for the first time"""

    def setUp(self) -> None:
        super().setUp()
        self.admin = self.rig.connect("admin")
        self.admin.subscribe("$SYS/broker/clients/#")

    def announced(self) -> list[dict[str, Any]]:
        packets = [packet for packet in self.admin.received() if isinstance(packet, Publish)]
        self.assertEqual(set(), {packet.topic for packet in packets} - {FIRST_CONNECTED})
        self.assertFalse(any(packet.retain for packet in packets))
        return [json.loads(packet.payload) for packet in packets]

    def test_told_once(self) -> None:
        """By whatever client the user comes, and however often."""
        for client_id in ("phone", "tablet", "phone"):
            self.come(client_id)
        (said,) = self.announced()
        self.assertEqual(("ada", "phone", 1_800_000_000), (said["username"], said["clientid"], said["time"]))
        self.assertIn("address", said)

    def test_hostile_names(self) -> None:
        """JSON holds whatever somebody is called."""
        for name in ('"},{"', "<script>", "a/+/#", "é\u2028"):
            self.come(f"of {name}", username=name)
        names = ['"},{"', "<script>", "a/+/#", "é\u2028"]
        self.assertEqual(names, [said["username"] for said in self.announced()])

    def test_not_known(self) -> None:
        """While people are away nothing is said; the next time it is."""
        self.people.away = True
        self.come()
        self.assertEqual([], self.announced())
        self.people.away = False
        self.come()
        self.assertEqual(1, len(self.announced()))

    def test_removed_account(self) -> None:
        """Who is removed with everything may come for the first time again."""
        self.come()
        self.people.remove_account("ada")
        self.people.known.connected.discard("ada")
        self.subscriber._account_changed("ada")
        self.come()
        self.assertEqual(2, len(self.announced()))

    def test_anonymous(self) -> None:
        """They are nobody."""
        self.come(username=None)
        self.assertEqual([], self.announced())


class TimeTests(SubscriptionTestCase):
    """How long it takes"""

    def test_many_friends_in_slices(self) -> None:
        """Five thousand do not stop the reactor; each turn takes no more than its slice."""
        turns = Turns(0.000_01)
        subscriber = self.rig.broker.subscriber = AutoSubscription(self.rig.broker, turns, turns.look)
        subscriber.use(AutoRules.parse(self.rules, "rules"))
        subscriber.ask(self.office)
        self.befriend(*[f"friend-{number}" for number in range(5000)])
        phone, spent = self.come(), []
        while turns.due:
            self.assertTrue(phone.connack is None or len(self.filters()) == 5001)
            before = turns.now
            turns.turn()
            self.rig.turn()
            spent.append(turns.now - before)
            phone.received()
        self.assertLess(max(spent), SLICE_S + 0.000_1)
        self.assertGreater(len(spent), 10)
        self.assertEqual((5001, True), (len(self.filters()), phone.connack is not None))

    def test_cost_of_a_connect(self) -> None:
        """Twenty rules take 0.2 ms at the most; ten times that here, for a machine that is busy."""
        self.subscriber._people = None
        self.rig.policy.log_subscriptions = False
        rules = "\n".join(f"a{number}/%u/b/%c 1" for number in range(20))
        costs = []
        for count in range(100):
            self.subscriber._rules = AutoRules.parse("" if count % 2 else rules, "rules")
            began = time.process_time()
            peer = self.rig.connect(f"c{count}", clean=count % 4 < 2, username="ada")
            costs.append((count % 2, time.process_time() - began))
            self.assertEqual(0 if count % 2 else 20, len(self.filters(f"c{count}")))
            peer.received()
        with_rules, without = (sorted(cost for odd, cost in costs if odd == kind)[10] for kind in (0, 1))
        print(f"20 rules at a connect: {(with_rules - without) * 1e6:.0f} us")
        self.assertLess(with_rules - without, 0.002)


@dataclass
class Offices:
    """Counts how often people were needed."""

    made: list[MemoryPeople] = field(default_factory=list)

    def make(self) -> MemoryPeople:
        self.made.append(MemoryPeople())
        return self.made[-1]


class SubscribingTests(SynchronousTestCase):
    """When there is such a thing at all"""

    def setUp(self) -> None:
        self.offices = Offices()
        self.begin(None)

    def begin(self, store: IStore | None) -> None:
        self.rig = Rig(store=store)
        office = PeopleOffice(self.offices.make, self.rig.clock)
        self.subscribing = Subscribing(self.rig.broker, office, self.rig.clock)

    def test_not_used(self) -> None:
        """Without rules and accounts, a broker has nothing of it."""
        self.subscribing.use(WITHOUT_ACCOUNTS, None)
        self.subscribing.start()
        self.subscribing.stop()
        self.assertEqual((None, []), (self.rig.broker.subscriber, self.offices.made))

    def test_rules_or_accounts(self) -> None:
        """Either is enough, also when a reload brings it."""
        for settings, rules in ((WITHOUT_ACCOUNTS, AutoRules.parse("t 0", "rules")), (WITH_ACCOUNTS, None)):
            self.begin(None)
            self.subscribing.start()
            self.rig.connect("phone", username="ada")
            self.subscribing.use(settings, rules)
            self.rig.clock.pump([0.1] * 3)
            self.assertIsNotNone(self.rig.broker.subscriber)
            filters = [*self.rig.broker.sessions["phone"].subscriptions]
            self.assertEqual([] if rules is None else ["t"], filters)
            self.subscribing.stop()

    def test_rules_are_gone(self) -> None:
        """What they have left in the store goes at the next start, and at a reload."""
        for restarts in (True, False):
            self.subscribing.use(WITHOUT_ACCOUNTS, AutoRules.parse("t 0", "rules"))
            self.subscribing.start()
            self.rig.connect("phone", clean=False, username="ada")
            if restarts:
                self.begin(self.rig.store)
            self.assertEqual(["t"], [*self.rig.broker.sessions["phone"].subscriptions])
            self.subscribing.use(WITHOUT_ACCOUNTS, None)
            self.subscribing.start()
            self.rig.clock.pump([0.1] * 3)
            self.assertEqual([], [*self.rig.broker.sessions["phone"].subscriptions])
