"""`pushd.broker.automatic`: subscriptions that the server makes, as clients and stores see them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushd.broker.automatic import Assignment
from pushd.broker.broker import Broker
from pushd.broker.client import Client
from pushd.broker.hooks import Hooks
from pushd.broker.interfaces import Access, IStore, ISubscriber, Verdict
from pushd.broker.limits import Limits
from pushd.broker.records import SubscriptionAdded
from pushd.broker.session import Session
from pushd.mqtt.codes import QoS, ReasonCode
from pushd.mqtt.packets import Packet, Publish, Unsuback, Unsubscribe
from tests.driver import Peer, Rig
from tests.fakes import HeldStore, Rules


@implementer(ISubscriber)
@dataclass
class Wisher:
    """Wishes everybody the same."""

    broker: Broker
    wishes: dict[str, int] = field(default_factory=dict)
    is_complete: bool = True
    waits_for: Deferred[None] | None = None

    def came(self, session: Session) -> Deferred[None] | None:
        if self.waits_for is not None:
            return self.waits_for.addCallback(lambda _: self.look_at(session))
        return self.look_at(session)

    def look_at(self, session: Session) -> Deferred[None] | None:
        """:return: what has to be waited for; then nothing more is wished."""
        assignment = Assignment(self.broker, session, self.wishes.items(), self.is_complete)
        later = next((piece for piece in assignment.pieces() if piece is not None), None)
        list(assignment.replays())
        return later

    def forget(self, session: Session) -> None:
        """It remembers nobody."""


verifyObject(ISubscriber, Wisher(None))  # type: ignore[arg-type]  # it is only looked at


class AutomaticTestCase(SynchronousTestCase):
    """A broker with wishes, and somebody who publishes."""

    def setUp(self) -> None:
        self.rules = Rules()
        self.begin(None, t=1)

    def begin(self, store: IStore | None, limits: Limits | None = None, /, **wishes: int) -> None:
        """A broker, the first or the next with the same store."""
        self.rig = Rig(limits, authorizer=self.rules, store=store)
        self.wisher = Wisher(self.rig.broker, dict(wishes))
        self.rig.broker.subscriber = self.wisher
        self.ada = self.rig.connect("ada")
        self.ada.received()

    def again(self, **wishes: int) -> None:
        """The same after a restart."""
        self.begin(self.rig.store, **(wishes or self.wisher.wishes))

    def look_at(self, client_id: str = "bob") -> None:
        self.wisher.look_at(self.session(client_id))
        self.rig.turn()

    def session(self, client_id: str = "bob") -> Session:
        return self.rig.broker.sessions[client_id]

    def standing(self, client_id: str = "bob") -> dict[str, tuple[int, bool]]:
        """What a session is subscribed to: QoS, and whether that is automatic."""
        subscriptions = self.session(client_id).subscriptions
        return {filter: (each.qos, each.automatic) for filter, each in subscriptions.items()}

    def bob(self, clean: bool = False) -> Peer:
        return self.rig.connect("bob", clean, username="bob")

    def is_in(self, peer: Peer) -> bool:
        """Whether it has a CONNACK by now."""
        self.rig.turn()
        peer.received()
        return peer.connack is not None

    def give_up(self, peer: Peer, filter: str) -> list[Packet]:
        peer.send(Unsubscribe(7, [filter]))
        return peer.received()


class ClientTests(AutomaticTestCase):
    """What clients see of it"""

    def test_messages_come(self) -> None:
        """A client that has never subscribed is sent what comes to it, and no SUBACK."""
        bob = self.bob()
        self.ada.publish("t", b"1", qos=1)
        (message,) = bob.received()
        self.assertEqual(Publish("t", b"1", QoS.AT_LEAST_ONCE, packet_id=1), message)

    def test_retained(self) -> None:
        """What is retained comes for a new subscription, behind the CONNACK; not again when it is kept."""
        self.ada.publish("t", b"r", retain=True)
        bob = self.bob()
        self.assertEqual([Publish("t", b"r", retain=True)], bob.received())
        bob.drop()
        self.assertEqual([], self.bob().received())

    def test_retained_comes_for_a_new_wish(self) -> None:
        """Also to a client that has been there for long, and only for the new one."""
        for topic in ("t", "u"):
            self.ada.publish(topic, b"r", retain=True)
        bob = self.bob()
        bob.received()
        self.wisher.wishes["u"] = 0
        self.look_at()
        self.assertEqual([Publish("u", b"r", retain=True)], bob.received())

    def test_group(self) -> None:
        """A shared subscription is made like any other, and is sent nothing retained."""
        self.ada.publish("t", b"r", retain=True)
        self.wisher.wishes = {"$share/g/t": 1}
        bob = self.bob(clean=True)
        self.ada.publish("t", b"1")
        self.assertEqual([Publish("t", b"1")], bob.received())

    def test_held_connack(self) -> None:
        """The CONNACK of a new session waits for its subscriptions."""
        self.wisher.waits_for = Deferred()
        bob = self.bob()
        self.assertIsNone(bob.connack)
        self.wisher.waits_for.callback(None)
        self.ada.publish("t", b"1")
        self.assertEqual([Publish("t", b"1")], bob.received())
        self.assertIsNotNone(bob.connack)

    def test_messages_while_it_is_held(self) -> None:
        """Whatever is sent to the client before it is let go comes in its order, the CONNACK first."""
        self.wisher.waits_for = Deferred()
        bob = self.bob(clean=True)
        self.look_at()
        self.ada.publish("t", b"1")
        self.assertEqual((None, []), (bob.connack, bob.received()))
        self.wisher.waits_for.callback(None)
        self.ada.publish("t", b"2")
        self.assertEqual([b"1", b"2"], [each.payload for each in bob.received() if isinstance(each, Publish)])

    def test_client_that_does_not_wait(self) -> None:
        """It is gone before it has a CONNACK: nothing is left of it."""
        self.wisher.waits_for = Deferred()
        self.bob(clean=True).drop()
        self.wisher.waits_for.callback(None)
        self.rig.turn()
        self.assertNotIn("bob", self.rig.broker.sessions)
        self.assertEqual(1, len(self.rig.broker.router.subscriptions))  # ada's

    def test_kept_session_does_not_wait(self) -> None:
        """It has its subscriptions, and so its client has its CONNACK."""
        self.bob().drop()
        self.wisher.waits_for = Deferred()
        self.assertIsNotNone(self.bob().connack)


class WishTests(AutomaticTestCase):
    """What is wished, and not wished any more"""

    def test_removed(self) -> None:
        """What the server does not want any more goes; what the client has subscribed to stays."""
        bob = self.bob()
        bob.subscribe("u")
        self.wisher.wishes = {}
        self.look_at()
        self.assertEqual({"u": (0, False)}, self.standing())

    def test_another_qos(self) -> None:
        """It is subscribed again, without retained messages."""
        self.ada.publish("t", b"r", retain=True)
        bob = self.bob()
        bob.received()
        self.wisher.wishes = {"t": 2}
        self.look_at()
        self.assertEqual(({"t": (2, True)}, []), (self.standing(), bob.received()))

    def test_half_of_it(self) -> None:
        """While not all wishes are known, nothing is taken away."""
        self.bob()
        self.wisher.wishes, self.wisher.is_complete = {"u": 0}, False
        self.look_at()
        self.assertEqual({"t": (1, True), "u": (0, True)}, self.standing())

    def test_while_the_client_is_away(self) -> None:
        """A kept session gets what is new, and messages wait for its client; what is old goes."""
        self.bob().drop()
        self.wisher.wishes = {"u": 1}
        self.look_at()
        for topic in ("t", "u"):
            self.ada.publish(topic, b"1", qos=1)
        self.assertEqual([Publish("u", b"1", QoS.AT_LEAST_ONCE, packet_id=1)], self.bob().received())

    def test_mount_point(self) -> None:
        """A listener's mount point stands before each filter, also of a group."""
        self.rig = Rig(mount_point="m/")
        self.wisher = Wisher(self.rig.broker, {"t": 1, "$share/g/t": 0})
        self.rig.broker.subscriber = self.wisher
        self.bob()
        self.assertEqual({"m/t": (1, True), "$share/g/m/t": (0, True)}, self.standing())

    def test_highest_qos(self) -> None:
        """The listener's max_qos holds."""
        self.rig.policy.max_qos = 0
        self.bob()
        self.assertEqual({"t": (0, True)}, self.standing())


class WillOfTheClientTests(AutomaticTestCase):
    """The client goes before the server"""

    def test_unsubscribed(self) -> None:
        """It is not subscribed again: not when wishes are looked at, nor when its client is back."""
        bob = self.bob()
        self.assertEqual([Unsuback(7, [])], self.give_up(bob, "t"))
        self.look_at()
        bob.drop()
        self.bob()
        self.assertEqual({}, self.standing())

    def test_new_session(self) -> None:
        """With the session ends what the client gave up."""
        bob = self.bob()
        self.give_up(bob, "t")
        bob.drop()
        self.rig.connect("bob", clean=True)
        self.assertEqual({"t": (1, True)}, self.standing())

    def test_given_up_over_a_restart(self) -> None:
        """It stays so."""
        self.give_up(self.bob(), "t")
        self.again()
        self.bob()
        self.assertEqual({}, self.standing())

    def test_own_subscription(self) -> None:
        """One that the client makes has its options, and no change of rules removes it."""
        bob = self.bob()
        self.assertEqual([ReasonCode.GRANTED_QOS_0], bob.subscribe("t", qos=0))
        self.look_at()
        self.assertEqual({"t": (0, False)}, self.standing())
        self.wisher.wishes = {}
        self.look_at()
        self.assertEqual({"t": (0, False)}, self.standing())

    def test_own_subscription_over_a_restart(self) -> None:
        """It is the client's still."""
        self.bob().subscribe("t", qos=0)
        self.again(u=1)
        self.look_at()
        self.assertEqual({"t": (0, False), "u": (1, True)}, self.standing())

    def test_own_subscription_given_up(self) -> None:
        """To what the server wants as well: it is not made again."""
        for begin in (lambda: None, self.look_at):
            bob = self.bob(clean=True)
            bob.subscribe("t")
            begin()
            self.give_up(bob, "t")
            self.look_at()
            self.assertEqual({}, self.standing())

    def test_wanted_again(self) -> None:
        """Who subscribes after all has it; who gives it up again has not."""
        bob = self.bob()
        for _ in range(2):
            self.give_up(bob, "t")
            bob.subscribe("t")
            self.assertEqual({"t": (0, False)}, self.standing())
        self.give_up(bob, "t")
        self.look_at()
        self.assertEqual({}, self.standing())

    def test_given_up_in_vain(self) -> None:
        """What nobody has subscribed to is not remembered."""
        bob = self.bob()
        for filter in ("u", "v"):
            self.give_up(bob, filter)
        self.assertIsNone(self.session().given_up)


class AccessTests(AutomaticTestCase):
    """Who may"""

    def test_refused(self) -> None:
        """What a SUBSCRIBE may not have, a wish may not have."""
        self.rules.refused = {(Access.SUBSCRIBE, "t", "bob")}
        self.bob()
        self.assertEqual({}, self.standing())
        self.rules.refused = set()
        self.look_at()
        self.assertEqual({"t": (1, True)}, self.standing())

    def test_asked_by_the_plain_filter(self) -> None:
        """Rules are asked about a group's filter, as they are for a SUBSCRIBE."""
        self.wisher.wishes = {"$share/g/t": 1}
        self.bob()
        self.assertIn(("bob", Access.SUBSCRIBE, "t"), self.rules.asked)

    def test_asked_once(self) -> None:
        """What is there is not asked about again."""
        self.bob()
        asked = len(self.rules.asked)
        self.look_at()
        self.assertEqual(asked, len(self.rules.asked))

    def test_verdict_that_comes_later(self) -> None:
        """It counts when it comes, if it is still wanted then."""
        for given_up, expected in ((False, {"t": (1, True)}), (True, {})):
            self.rules.later = later = Deferred[Verdict]()
            bob = self.bob(clean=True)
            if given_up:
                self.session().give_up("t")
            later.callback(ReasonCode.SUCCESS)
            self.assertTrue(self.is_in(bob))
            self.assertEqual(expected, self.standing())

    def test_verdict_that_fails(self) -> None:
        """Whoever cannot decide has refused, and the client is let in."""
        self.rules.later = later = Deferred[Verdict]()
        bob = self.bob(clean=True)
        later.errback(ValueError("no idea"))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.assertEqual(({}, True), (self.standing(), self.is_in(bob)))

    def test_verdict_for_a_session_that_ended(self) -> None:
        """It subscribes nobody."""
        self.rules.later = later = Deferred[Verdict]()
        self.bob(clean=True).drop()
        later.callback(ReasonCode.SUCCESS)
        self.assertEqual(1, len(self.rig.broker.router.subscriptions))  # ada's

    def test_plugins(self) -> None:
        """They are asked about a client; a session whose client is away waits until it is back."""
        asked: list[str] = []

        def subscribe(client: Client, filter: str, qos: QoS) -> Verdict:
            asked.append(f"{client.session.client_id} {filter} {qos}")
            return ReasonCode.NOT_AUTHORIZED if filter == "t" else ReasonCode.SUCCESS

        self.rig.policy.hooks = Hooks(subscribe=subscribe)
        self.bob().drop()
        self.wisher.wishes["u"] = 0
        self.look_at()
        self.assertEqual({}, self.standing())
        self.bob()
        self.assertEqual({"u": (0, True)}, self.standing())
        self.assertEqual(["bob t 1", "bob t 1", "bob u 0"], asked)

    def test_too_many(self) -> None:
        """max_subscriptions_per_client holds for all of a client's together."""
        self.rig.broker.limits = replace(self.rig.broker.limits, max_subscriptions_per_client=2)
        self.wisher.wishes = {"a": 0, "b": 0, "c": 0}
        bob = self.bob()
        self.assertEqual(["a", "b"], [*self.standing()])
        self.assertEqual([ReasonCode.UNSPECIFIED_ERROR], bob.subscribe("d"))
        self.give_up(bob, "a")
        self.look_at()
        self.assertEqual(["b", "c"], [*self.standing()])


class StoreTests(AutomaticTestCase):
    """What survives"""

    def test_restart(self) -> None:
        """It is there once, and is the server's."""
        self.bob()
        self.again()
        self.assertEqual({"t": (1, True)}, self.standing())
        bob = self.bob()
        self.ada.publish("t", b"1", qos=1)
        (message,) = bob.received()
        self.assertIsInstance(message, Publish)

    def test_rules_that_change_meanwhile(self) -> None:
        """What a new process does not want goes, for a client that is away, too."""
        self.bob()
        self.again(u=0)
        self.look_at()
        self.assertEqual({"u": (0, True)}, self.standing())

    def test_listener(self) -> None:
        """A session is looked at by what holds at its own listener, before its client is back."""
        self.bob()
        broker = Broker(Clock(), self.rig.store)
        first = replace(self.rig.policy, name="first")
        broker.policies = {"first": first, self.rig.policy.name: self.rig.policy}
        broker.start(first)
        self.assertIs(self.rig.policy, broker.sessions["bob"].policy)

    def test_connack_waits_for_the_store(self) -> None:
        """A client that has its CONNACK has its subscriptions, whatever happens to the broker then."""
        store = HeldStore()
        self.begin(store, t=1)
        store.release()
        bob = self.bob()
        self.assertFalse(self.is_in(bob))
        store.release()
        self.assertTrue(self.is_in(bob))
        self.assertIsInstance(store.records[-1], SubscriptionAdded)
