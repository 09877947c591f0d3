"""`pushd.broker.tap`: listening without being an MQTT client."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access, Verdict
from pushd.broker.limits import Limits
from pushd.broker.message import Message
from pushd.broker.tap import Tap, listen
from pushd.gateway.identity.guards import Caller
from pushd.mqtt.codes import ReasonCode
from tests.driver import Rig
from tests.fakes import Rules

EVE = Caller("eve")


class TapCase(SynchronousTestCase):
    """ada publishes; eve listens."""

    mount_point = ""

    def setUp(self) -> None:
        self.rules = Rules()
        self.rig = Rig(authorizer=self.rules, mount_point=self.mount_point)
        self.ada = self.rig.connect("ada")
        self.heard: list[tuple[str, bytes, int, bool]] = []
        self.cuts = 0

    def ask(self, filter: str) -> Deferred[Tap | ReasonCode]:
        return listen(self.rig.broker, self.rig.policy, EVE, filter, self.hear, self.cut)

    def tap(self, filter: str) -> Tap:
        tap = self.successResultOf(self.ask(filter))
        assert isinstance(tap, Tap)
        return tap

    def hear(self, topic: str, message: Message) -> None:
        if message.payload == b"ouch":
            raise ValueError("a mistake of the listener's")
        self.heard.append((topic, message.payload, message.qos, message.retain))

    def cut(self) -> None:
        self.cuts += 1

    def payloads(self) -> list[bytes]:
        """What was heard since the last time."""
        heard, self.heard = self.heard, []
        return [payload for _, payload, _, _ in heard]


class ListenTests(TapCase):
    """What is heard"""

    def test_messages(self) -> None:
        """All that match come at QoS 0, and at once; a bystander's do not."""
        self.tap("news/+")
        for qos in (0, 1, 2):
            self.ada.publish("news/today", b"%d" % qos, qos=qos)
        self.ada.publish("weather", b"fine")
        self.assertEqual(self.heard, [("news/today", b"%d" % qos, 0, False) for qos in (0, 1, 2)])

    def test_retain_flag(self) -> None:
        """It is told what is new and was to be kept; what was kept before is not new."""
        self.ada.publish("t", b"old", retain=True)
        self.tap("t")
        self.ada.publish("t", b"new", retain=True)
        self.assertEqual(self.heard, [("t", b"new", 0, True)])

    def test_beside_a_subscriber(self) -> None:
        """Each gets every message once, in the same order, a run of them in one read too."""
        bob = self.rig.connect("bob")
        bob.subscribe("t", qos=1)
        for filter in ("t", "#"):
            self.tap(filter)
        self.ada.publish("t", b"a")
        self.ada.publish("t", b"b")
        self.assertEqual(self.payloads(), [b"a", b"a", b"b", b"b"])
        self.assertEqual(len(bob.received()), 2)

    def test_end(self) -> None:
        """From then on nothing is heard, and nothing is left of it; nobody is told what he did himself."""
        first, second = self.tap("t"), self.tap("t")
        first.end()
        first.end()
        self.ada.publish("t", b"x")
        self.assertEqual(self.payloads(), [b"x"])
        second.end()
        self.assertEqual((len(self.rig.broker.taps), len(self.rig.broker.router.subscriptions)), (0, 0))
        self.assertEqual(self.cuts, 0)

    def test_failure(self) -> None:
        """A listener that fails hears nothing more; the publisher does not notice."""
        self.tap("t")
        for payload in (b"ouch", b"x"):
            self.ada.publish("t", payload, qos=1)
        self.assertEqual((self.payloads(), self.cuts), ([], 1))
        self.assertEqual(len(self.ada.received()), 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_nothing_is_refused_for_it(self) -> None:
        """By queue_full refuse_publisher, whoever keeps nothing keeps nobody waiting."""
        self.rig.broker.limits = Limits(queue_full="refuse_publisher")
        self.tap("t")
        self.ada.publish("t", b"x", qos=1)
        self.assertEqual(len(self.ada.received()), 1)

    def test_figures(self) -> None:
        """It is no client's subscription."""
        self.tap("#")
        self.assertEqual(self.successResultOf(self.rig.broker.gauges()).subscriptions, 0)

    def test_stop(self) -> None:
        """When the broker stops, listeners are told."""
        self.tap("t")
        self.rig.broker.stop()
        self.assertEqual(self.cuts, 1)


class AccessTests(TapCase):
    """Who may listen"""

    def test_refused(self) -> None:
        """Whoever may not subscribe gets the reason."""
        self.rules.refused.add((Access.SUBSCRIBE, "secret/#"))
        self.assertIs(self.successResultOf(self.ask("secret/#")), ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(len(self.rig.broker.taps), 0)

    def test_later(self) -> None:
        """A verdict may take its time."""
        later: Deferred[Verdict] = Deferred()
        self.rules.later = later
        asked = self.ask("t")
        self.ada.publish("t", b"too early")
        later.callback(ReasonCode.SUCCESS)
        self.successResultOf(asked)
        self.ada.publish("t", b"x")
        self.assertEqual(self.payloads(), [b"x"])

    def test_unreadable_topics(self) -> None:
        """Of what a filter matches, the listener hears what it may read."""
        self.rules.refused.add((Access.READ, "b", ""))
        self.tap("#")
        for topic in ("a", "b"):
            self.ada.publish(topic, topic.encode())
        self.assertEqual(self.payloads(), [b"a"])

    def test_rules_change(self) -> None:
        """New access rules count from the next message on, both ways."""
        self.tap("t")
        self.ada.publish("t", b"1")
        self.rules.refused.add((Access.READ, "t", ""))
        self.rig.broker.access_rules_changed()
        self.ada.publish("t", b"2")
        self.rules.refused.clear()
        self.rig.broker.access_rules_changed()
        self.ada.publish("t", b"3")
        self.assertEqual(self.payloads(), [b"1", b"3"])

    def test_no_filter(self) -> None:
        """Nor may anybody share a subscription with MQTT clients in this way, and take messages from them."""
        for filter in ("", "a/#/b", "a+", "a\0", "$share/g/t", "x" * 70_000):
            self.assertIs(self.successResultOf(self.ask(filter)), ReasonCode.TOPIC_FILTER_INVALID)

    def test_own_topics(self) -> None:
        """Wildcards do not match the broker's own topics; who names them may hear them."""
        self.tap("#")
        self.rig.broker.announce("$SYS/broker/x", b"1", retain=False)
        self.assertEqual(self.payloads(), [])


class MountPointTests(TapCase):
    """A listener with a mount point"""

    mount_point = "there/"

    def test_hidden(self) -> None:
        """The principal neither names it nor sees it."""
        tap = self.tap("t")
        self.ada.publish("t", b"x")
        self.assertEqual(self.heard, [("t", b"x", 0, False)])
        self.assertEqual(tap.subscription.filter, "there/t")
