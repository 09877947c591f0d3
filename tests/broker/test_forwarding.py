"""`pushd.broker.forwarding`: what subscribers get of messages that routing rules copy, move or drop."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.broker import Broker
from pushd.broker.hooks import Hooks
from pushd.broker.interfaces import Access
from pushd.broker.limits import Limits
from pushd.broker.message import Message, Source
from pushd.broker.policy import Policy
from pushd.broker.publication import Publication
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Properties,
    Puback,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from pushd.people.interfaces import Friends
from pushd.rules.routing import RoutingRules
from pushd.storage.memory import MemoryStore
from pushd.transports.protocol import MQTTFactory
from tests.driver import Peer, Rig
from tests.fakes import Doorkeeper, HeldStore, Rules
from tests.storage.disk import Disk

CHAT = "+/im/+ copy %1/im/%u"


def rules(*lines: str) -> RoutingRules:
    return RoutingRules.parse("\n".join(lines), "routes")


def got(peer: Peer) -> list[tuple[str, bytes]]:
    """Topic and payload of what came, not acknowledged."""
    return [(packet.topic, packet.payload) for packet in peer.received() if isinstance(packet, Publish)]


class Process(Rig):
    """A broker with a file, and what the last one has left in it; it has these rules from the start."""

    def __init__(self, case: SynchronousTestCase, disk: Disk, *lines: str) -> None:
        store = disk.open()
        case.patch(store, "load", lambda: disk.state)  # it was read when it was opened
        self.clock, self.store, self.file = disk.clock, store, store
        self.policy = Policy("a test", Doorkeeper(), Rules())
        self.broker = Broker(self.clock, store)
        self.broker.use_routing(rules(*lines))
        self.broker.start(self.policy)
        self.factory = MQTTFactory(self.broker, self.policy)

    def settle(self) -> None:
        """Let the store write what it was told."""
        self.clock.pump([0.05] * 10)


class ForwardingCase(SynchronousTestCase):
    """ada publishes."""

    version = Version.V3_1_1

    def setUp(self) -> None:
        self.start(Rig(authorizer=Rules()))

    def start(self, rig: Rig) -> None:
        self.rig = rig
        self.ada = self.rig.connect("pc", username="ada", version=self.version)

    def rules(self, *lines: str) -> None:
        self.rig.broker.use_routing(rules(*lines))

    def peer(self, client_id: str, *filters: str, qos: int = 1, clean: bool = True) -> Peer:
        peer = self.rig.connect(client_id, clean, version=self.version)
        peer.subscribe(*filters, qos=qos)
        return peer

    def dropped(self) -> dict[str, int]:
        return self.rig.broker.counters.publish_dropped


class DeliveryTests(ForwardingCase):
    """Who gets what"""

    def test_chat(self) -> None:
        """What ada tells jim comes to his terminals and her own, once each; what she tells herself, once."""
        self.rules(CHAT)
        jims = [self.peer(name, "x/im/jim") for name in ("jim-pc", "jim-phone")]
        phone = self.peer("phone", "x/im/ada")
        self.ada.subscribe("x/im/ada")
        self.ada.publish("x/im/jim", b"hello", qos=1)
        self.assertEqual([[("x/im/jim", b"hello")]] * 2, [got(jim) for jim in jims])
        self.assertEqual([("x/im/ada", b"hello")], got(phone))
        self.assertEqual([("x/im/ada", b"hello")], got(self.ada))
        self.ada.publish("x/im/ada", b"note", qos=1)
        self.assertEqual([[], []], [got(jim) for jim in jims])
        self.assertEqual([("x/im/ada", b"note")], got(phone))

    def test_move(self) -> None:
        """Subscribers of the old topic get nothing, those of the new one get it."""
        self.rules("old/# move new/%1")
        old, new = self.peer("old", "old/#"), self.peer("new", "new/#")
        self.ada.publish("old/x", b"1")
        self.assertEqual(([], [("new/x", b"1")]), (got(old), got(new)))

    def test_drop(self) -> None:
        """Nobody gets it; it is counted, and acknowledged as if somebody had."""
        self.rules("t drop")
        bob = self.peer("bob", "#")
        self.ada.publish("t", b"1", qos=1)
        self.assertEqual(([], [Puback(1)]), (bob.received(), self.ada.received()))
        self.assertEqual({"route": 1}, self.dropped())

    def test_each_message(self) -> None:
        """Also those that follow in the same read: none of them takes the express lane."""
        self.rules("t copy u")
        bob = self.peer("bob", "u")
        for qos in (0, 1):
            packets = [Publish("t", b"%d" % n, QoS(qos), packet_id=qos * n) for n in range(1, 4)]
            self.ada.send(*packets)
            self.assertEqual([("u", b"1"), ("u", b"2"), ("u", b"3")], got(bob))
        client = self.ada.protocol.client
        assert client is not None
        self.assertNotIn(b"t", client.routes)

    def test_others_keep_their_way(self) -> None:
        """A topic that no rule concerns is remembered for the express lane."""
        self.rules("t copy u")
        self.ada.publish("v", b"1")
        client = self.ada.protocol.client
        assert client is not None
        self.assertIn(b"v", client.routes)

    def test_new_rules(self) -> None:
        """They count from the next message on, in the express lane, too; and there may be none again."""
        bob = self.peer("bob", "u")
        for lines, expected in (([], []), (["t copy u"], [("u", b"x")]), ([], [])):
            self.rules(*lines)
            self.ada.publish("t", b"x")
            self.ada.publish("t", b"y")
            self.assertEqual(expected, [each for each in got(bob) if each[1] == b"x"])
        self.rig.broker.use_routing(None)
        self.ada.publish("t", b"x")
        self.assertEqual([], got(bob))

    def test_is_as_it_was(self) -> None:
        """QoS and payload; at the lower of its own QoS and the subscription's."""
        self.rules("t copy u")
        bob = self.peer("bob", "u", qos=1)
        for qos, expected in ((0, 0), (1, 1), (2, 1)):
            self.ada.publish("t", b"x", qos=qos)
            (packet,) = bob.received()
            self.assertEqual((b"x", expected), (packet.payload, packet.qos))  # type: ignore[union-attr]


class OnceTests(ForwardingCase):
    """A session that several topics lead to gets one message"""

    def setUp(self) -> None:
        super().setUp()
        self.rules("t copy u", "t copy v")

    def test_the_original_first(self) -> None:
        """Then the copies, in the order of the rules."""
        for filters, expected in ((["#"], "t"), (["v", "u"], "u"), (["v", "t"], "t"), (["v"], "v")):
            bob = self.peer("bob", *filters)
            self.ada.publish("t", b"x")
            self.assertEqual([(expected, b"x")], got(bob))
            bob.drop()

    def test_the_highest_qos_before_that(self) -> None:
        """A wildcard at QoS 0 does not cost a sleeping phone what its own topic would have kept for it."""
        bob = self.peer("bob", "#", qos=0, clean=False)
        bob.subscribe("u", qos=1)
        bob.drop()
        self.ada.publish("t", b"x", qos=1)
        self.assertEqual([("u", b"x")], got(self.rig.connect("bob", clean=False)))

    def test_what_is_not_better(self) -> None:
        """A QoS above the message's own counts for nothing."""
        bob = self.peer("bob", "t", qos=0)
        bob.subscribe("u", qos=2)
        self.ada.publish("t", b"x", qos=0)
        self.assertEqual([("t", b"x")], got(bob))

    def test_shared(self) -> None:
        """Of each group one member gets it, once, however many of the topics the group shares."""
        one, other = self.peer("one", "$share/g/+"), self.peer("other", "$share/g/+")
        for payload in (b"1", b"2"):
            self.ada.publish("t", payload, qos=1)
        self.assertEqual(([("t", b"1")], [("t", b"2")]), (got(one), got(other)))

    def test_shared_copy(self) -> None:
        """The members take turns with copies, too."""
        one, other = self.peer("one", "$share/g/u"), self.peer("other", "$share/g/u")
        for payload in (b"1", b"2"):
            self.ada.publish("t", payload, qos=1)
        self.assertEqual(([("u", b"1")], [("u", b"2")]), (got(one), got(other)))

    def test_copies_for_each_subscription(self) -> None:
        """By allow_duplicate_messages that holds for each topic, but still for one of them."""
        self.rig.broker.limits = Limits(allow_duplicate_messages=True)
        bob = self.peer("bob", "u", "+")
        self.ada.publish("t", b"x")
        self.assertEqual([("t", b"x")], got(bob))
        bob.drop()
        bob = self.peer("bob", "u", "u/#")
        self.ada.publish("t", b"x")
        self.assertEqual([("u", b"x")] * 2, got(bob))


class FriendsTests(ForwardingCase):
    """Rules that ask for friends"""

    def befriend(self, username: str, *names: str) -> None:
        """From now on they are mutual friends of this user, and no others."""
        self.friends[username] = Friends(frozenset(names), frozenset(names))

    def setUp(self) -> None:
        super().setUp()
        self.friends: dict[str, Friends] = {}
        asked = rules("presence/+ copy feed/%F/%u", "letters/%F move inbox/%1", "letters/+ drop")
        self.rig.broker.use_routing(asked.knowing(lambda username: self.friends.get(username, Friends())))

    def test_each_gets_his(self) -> None:
        """Acknowledged once, however many copies there are."""
        self.befriend("ada", "jim", "eve")
        readers = [self.peer(name, f"feed/{name}/#") for name in ("eve", "jim", "joe")]
        self.ada.publish("presence/pc", b"on", qos=1)
        copies = [[("feed/eve/ada", b"on")], [("feed/jim/ada", b"on")], []]
        self.assertEqual((copies, [Puback(1)]), ([got(reader) for reader in readers], self.ada.received()))

    def test_once_for_who_reads_all(self) -> None:
        """Like all copies."""
        self.befriend("ada", "jim", "eve")
        reader = self.peer("reader", "feed/#")
        self.ada.publish("presence/pc", b"on")
        self.assertEqual([("feed/eve/ada", b"on")], got(reader))

    def test_by_who_sends_it(self) -> None:
        """What was found out about a topic for one sender is not held against another."""
        jim, bob = self.peer("jim", "inbox/jim"), self.rig.connect("bob", username="bob")
        nobody = self.rig.connect("nobody")
        self.befriend("ada", "jim")
        for payload in (b"1", b"2"):
            for sender in (nobody, bob, self.ada):
                sender.publish("letters/jim", payload)
        self.assertEqual([("inbox/jim", b"1"), ("inbox/jim", b"2")], got(jim))
        self.assertEqual({"route": 4}, self.dropped())

    def test_changes(self) -> None:
        """The next message goes by the friends of then, whatever has gone by those of before."""
        jim, letter = self.peer("jim", "inbox/jim"), Publish("letters/jim", b"x")
        self.ada.send(letter, letter)
        self.befriend("ada", "jim")
        self.ada.send(letter, letter)
        self.befriend("ada")
        self.ada.send(letter)
        self.assertEqual([("inbox/jim", b"x")] * 2, got(jim))

    def test_others_keep_their_way(self) -> None:
        """Topics that would match for nobody are not looked at."""
        for topic, ruled in (("letters/jim", True), ("letters/jim/x", False), ("feed/jim/ada", False)):
            self.assertIs(ruled, self.rig.broker.router.route(topic).ruled, topic)


class Version5Tests(ForwardingCase):
    """What version 5 adds"""

    version = Version.V5

    def setUp(self) -> None:
        super().setUp()
        self.rules("t copy u")

    def test_properties(self) -> None:
        """Copies have those of the message, and its expiry counts down."""
        bob = self.peer("bob", "u", clean=True)
        said: Properties = {PropertyId.CONTENT_TYPE: "text/plain", PropertyId.USER_PROPERTY: [("a", "b")]}
        self.ada.send(Publish("t", b"x", properties={**said, PropertyId.MESSAGE_EXPIRY_INTERVAL: 9}))
        (packet,) = bob.received()
        assert isinstance(packet, Publish)
        self.assertEqual({**said, PropertyId.MESSAGE_EXPIRY_INTERVAL: 9}, packet.properties)

    def test_subscription_identifier(self) -> None:
        """That of the subscription that it came by."""
        bob = self.rig.connect("bob", version=self.version)
        for identifier, filter in enumerate(("u", "#"), 1):
            properties: Properties = {PropertyId.SUBSCRIPTION_IDENTIFIER: [identifier]}
            bob.send(Subscribe(identifier, [SubscriptionRequest(filter)], properties))
        bob.received()
        self.ada.publish("t", b"x")
        (packet,) = bob.received()
        assert isinstance(packet, Publish)
        self.assertEqual(("t", [2]), (packet.topic, packet.properties[PropertyId.SUBSCRIPTION_IDENTIFIER]))

    def test_no_local(self) -> None:
        """A copy is the publisher's own as the original is; by another subscription it gets it."""
        self.ada.send(Subscribe(1, [SubscriptionRequest("u", no_local=True)]))
        self.ada.received()
        self.ada.publish("t", b"1")
        self.assertEqual([], got(self.ada))
        self.ada.subscribe("+")
        self.ada.publish("t", b"2")
        self.assertEqual([("t", b"2")], got(self.ada))

    def test_no_local_does_not_cost_the_copy(self) -> None:
        """Whom the original is kept from, the copy may still be for."""
        self.ada.send(Subscribe(1, [SubscriptionRequest("t", QoS.EXACTLY_ONCE, no_local=True)]))
        self.ada.received()
        self.ada.subscribe("u")
        self.ada.publish("t", b"x")
        self.assertEqual([("u", b"x")], got(self.ada))

    def test_nobody(self) -> None:
        """The publisher hears whether anybody is there for any of it; of what is dropped it hears nothing."""
        self.rules("t copy u", "d drop")
        self.ada.publish("t", b"x", qos=1)
        self.assertEqual([Puback(1, ReasonCode.NO_MATCHING_SUBSCRIBERS)], self.ada.received())
        self.peer("bob", "u")
        for topic in "td":
            self.ada.publish(topic, b"x", qos=1)
            self.assertEqual([Puback(1)], self.ada.received())


class AccessTests(ForwardingCase):
    """The rules are the operator's"""

    def test_writing(self) -> None:
        """Who may write to the topic need not be allowed to write to where it is copied."""
        assert isinstance(self.rig.policy.authorizer, Rules)
        self.rig.policy.authorizer.refused.add((Access.WRITE, "u"))
        self.rules("t copy u", "u copy t")
        bob = self.peer("bob", "#")
        self.ada.publish("u", b"1")
        self.assertEqual([], got(bob))
        self.ada.publish("t", b"2")
        self.assertEqual([("t", b"2")], got(bob))

    def test_reading(self) -> None:
        """Who may not read where it is copied does not get the copy."""
        assert isinstance(self.rig.policy.authorizer, Rules)
        self.rig.policy.authorizer.refused.add((Access.READ, "u", "bob"))
        self.rules("t move u")
        bob, eve = self.peer("bob", "#"), self.peer("eve", "#")
        self.ada.publish("t", b"x")
        self.assertEqual(([], [("u", b"x")]), (got(bob), got(eve)))

    def test_mount_point(self) -> None:
        """Rules see whole topics; clients see theirs."""
        self.start(Rig(mount_point="m/"))
        self.rules("m/t copy m/u", "t drop")
        bob = self.peer("bob", "u")
        self.ada.publish("t", b"x")
        self.assertEqual([("u", b"x")], got(bob))

    def test_hostile_user(self) -> None:
        """A name that is a pattern leads nowhere."""
        self.rules("t copy u/%u")
        bob = self.peer("bob", "u/#")
        self.rig.connect("eve", username="a/b").publish("t", b"1")
        self.rig.connect("eve", username="#").publish("t", b"2")
        self.ada.publish("t", b"3")
        self.assertEqual([("u/ada", b"3")], got(bob))

    def test_after_the_plugins(self) -> None:
        """What they make of a message is what is routed; of copies they hear nothing."""
        asked: list[str] = []

        def rename(principal: object, message: Message) -> Message:
            asked.append(message.topic)
            return Message("t", message.payload)

        self.rig.policy.hooks = Hooks(publish=rename)
        self.rules("t copy u/%u", "x drop")
        bob = self.peer("bob", "u/#")
        self.ada.publish("x", b"1")
        self.assertEqual(([("u/ada", b"1")], ["x"]), (got(bob), asked))


class RetainTests(ForwardingCase):
    """Messages that are to be retained"""

    def retained(self) -> dict[str, bytes]:
        return {message.topic: message.payload for message in self.rig.broker.retained.match("#")}

    def test_copies_are_retained(self) -> None:
        """Each at its topic, and an empty one clears them all."""
        self.rules("t copy u")
        self.ada.publish("t", b"x", retain=True)
        self.assertEqual({"t": b"x", "u": b"x"}, self.retained())
        self.ada.publish("t", b"", retain=True)
        self.assertEqual({}, self.retained())

    def test_move_and_drop(self) -> None:
        """Nothing is retained where nobody gets it."""
        self.rules("t move u", "d drop")
        self.ada.publish("t", b"x", retain=True)
        self.ada.publish("d", b"x", retain=True)
        self.assertEqual({"u": b"x"}, self.retained())

    def test_no_room(self) -> None:
        """Where one cannot be retained version 5 is refused, and nothing is retained."""
        self.rig.broker.limits = Limits(max_retained_messages=1)
        self.rules("t copy u")
        self.ada.publish("t", b"x", retain=True)
        ada = self.rig.connect("v5", version=Version.V5)
        ada.publish("t", b"y", qos=1, retain=True)
        self.assertEqual([ReasonCode.QUOTA_EXCEEDED], [packet.code for packet in ada.received()])  # type: ignore[union-attr]
        self.assertEqual({"t": b"x"}, self.retained())
        self.assertEqual(1, self.dropped()["retained_full"])

    def test_source(self) -> None:
        """Of a publisher who may not write any more the message is not sent; copies are nobody's, and are."""
        assert isinstance(self.rig.policy.authorizer, Rules)
        self.rig.broker.policies = {self.rig.policy.name: self.rig.policy}
        self.rules("t copy u")
        self.ada.publish("t", b"x", retain=True)
        self.rig.policy.authorizer.refused |= {(Access.WRITE, "t"), (Access.WRITE, "u")}
        self.assertEqual([("u", b"x")], got_retained(self.rig.connect("bob"), "t", "u"))


def got_retained(peer: Peer, *filters: str) -> list[tuple[str, bytes]]:
    peer.send(Subscribe(1, [SubscriptionRequest(filter) for filter in filters]))
    return got(peer)


class SafetyTests(ForwardingCase):
    """What was acknowledged is not lost, and not there twice"""

    def test_acknowledged_when_all_are_safe(self) -> None:
        """The PUBACK waits for what was recorded of the copies."""
        store = HeldStore()
        self.start(Rig(store=store))
        self.rules("t move u")
        store.release()
        bob = self.rig.connect("bob", clean=False)
        store.release()
        bob.send(Subscribe(1, [SubscriptionRequest("u", QoS.AT_LEAST_ONCE)]))
        store.release()
        bob.drop()
        store.release()
        self.ada.publish("t", b"x", qos=1)
        self.assertEqual([], self.ada.received())
        store.release()
        self.assertEqual([Puback(1)], self.ada.received())

    def test_restart(self) -> None:
        """Copies wait for their subscribers over the end of the process."""
        disk = Disk(self)
        process = Process(self, disk, "t copy u")
        self.start(process)
        for name, filter in (("bob", "t"), ("eve", "u")):
            self.peer(name, filter, clean=False).drop()
        self.ada.publish("t", b"x", qos=1)
        process.settle()
        self.assertEqual([Puback(1)], self.ada.received())
        disk.kill(process.file)
        self.start(Process(self, disk))
        for name, topic in (("bob", "t"), ("eve", "u")):
            self.assertEqual([(topic, b"x")], got(self.rig.connect(name, clean=False)))

    def test_exactly_once(self) -> None:
        """A QoS 2 message that comes again makes neither a second original nor a second copy."""
        self.rules("t copy u")
        bob, eve = self.peer("bob", "t", qos=2), self.peer("eve", "u", qos=2)
        for _ in range(2):
            self.ada.publish("t", b"x", qos=2, packet_id=7)
            self.assertEqual([Pubrec(7)], self.ada.received())
        self.ada.send(Pubrel(7))
        self.assertEqual(([("t", b"x")], [("u", b"x")]), (got(bob), got(eve)))

    def test_exactly_once_over_a_restart(self) -> None:
        """Nor when it comes again after the end of the process."""
        store = MemoryStore()
        self.start(Rig(store=store))
        self.peer("eve", "u", qos=2, clean=False).drop()
        for _ in range(2):
            self.start(Rig(store=store))
            self.rules("t copy u")
            self.rig.connect("ada", clean=False).publish("t", b"x", qos=2, packet_id=7)
        self.assertEqual([("u", b"x")], got(self.rig.connect("eve", clean=False)))

    def test_queue_of_a_copy(self) -> None:
        """By refuse_publisher a full queue that a copy goes to refuses the message, as its own would."""
        self.rig.broker.limits = Limits(queue_full="refuse_publisher", max_queued_messages=1)
        self.rules("t copy u")
        self.peer("eve", "u", clean=False).drop()
        ada = self.rig.connect("v5", version=Version.V5)
        codes = []
        for _ in range(2):
            ada.publish("t", b"x", qos=1)
            codes += [packet.code for packet in ada.received() if isinstance(packet, Puback)]
        self.assertEqual([ReasonCode.SUCCESS, ReasonCode.QUOTA_EXCEEDED], codes)

    def test_waiting_for_the_queue_of_a_copy(self) -> None:
        """Version 3 waits for its PUBACK until there is room."""
        self.rig.broker.limits = Limits(queue_full="refuse_publisher", max_queued_messages=1)
        self.rules("t copy u")
        self.peer("eve", "u", clean=False).drop()
        self.ada.publish("t", b"1", qos=1, packet_id=1)
        self.ada.publish("t", b"2", qos=1, packet_id=2)
        self.assertEqual([Puback(1)], self.ada.received())
        eve = self.rig.connect("eve", clean=False)
        self.rig.clock.pump([0.5] * 4)
        self.assertEqual([Puback(2)], self.ada.received())
        self.assertEqual([("u", b"1"), ("u", b"2")], got(eve))


class OtherSendersTests(ForwardingCase):
    """Not only clients publish"""

    def publish(self, username: str | None = "ada", retain: bool = False) -> ReasonCode:
        """By HTTP."""
        who = Source("", username, "http")
        return self.successResultOf(
            self.rig.broker.publish(self.rig.policy, who, Publication("x/im/jim", b"push", 1, retain))
        )

    def test_gateway(self) -> None:
        """A push is its user's; there is no client id."""
        self.rules(CHAT, "x/# copy id/%c")
        phone = self.peer("phone", "x/im/ada", "id/#")
        self.assertIs(ReasonCode.SUCCESS, self.publish())
        self.rig.turn()
        self.assertEqual([("x/im/ada", b"push")], got(phone))
        self.assertIs(ReasonCode.NO_MATCHING_SUBSCRIBERS, self.publish(None))

    def test_dropped_push(self) -> None:
        """It is a success, too."""
        self.rules("+/# drop")
        self.assertIs(ReasonCode.SUCCESS, self.publish())

    def test_will(self) -> None:
        """It is the client's who left it."""
        self.rules(CHAT)
        phone = self.peer("phone", "x/im/eve")
        self.rig.connect("eve", username="eve", will=Will("x/im/jim", b"gone")).drop()
        self.assertEqual([("x/im/eve", b"gone")], got(phone))

    def test_will_of_the_last_process(self) -> None:
        """Also when it is sent at the start."""
        store = MemoryStore()
        rig = Rig(store=store)
        rig.connect("phone", clean=False).subscribe("x/im/eve", qos=1)
        rig.connect("eve", username="eve", will=Will("x/im/jim", b"gone", QoS.AT_LEAST_ONCE))
        broker = Broker(Clock(), store)
        broker.use_routing(rules(CHAT))
        broker.start(Policy("a test", Doorkeeper(), Rules()))
        self.assertEqual(1, broker.sessions["phone"].waiting_messages)

    def test_later(self) -> None:
        """A push for later goes by the rules of then, and is still its user's, after a restart, too."""
        disk = Disk(self)
        process = Process(self, disk, "x/# drop")
        self.start(process)
        self.peer("phone", "x/im/ada", clean=False)
        who = Source("", "ada", "http")
        later = self.rig.broker.schedule(self.rig.policy, who, Publication("x/im/jim", b"push"), "7", 9.0)
        process.settle()
        self.assertIs(ReasonCode.SUCCESS, self.successResultOf(later))
        disk.kill(process.file)
        self.start(Process(self, disk, CHAT))
        phone = self.rig.connect("phone", clean=False)
        self.rig.clock.pump([1.0] * 30)
        self.assertEqual([("x/im/ada", b"push")], got(phone))

    def test_nobodys(self) -> None:
        """A plugin's own are routed by rules without names."""
        self.rules("t copy u/%u", "t copy v")
        bob = self.peer("bob", "u/#", "v")
        self.rig.broker.publish_durably(Message("t", b"x"))
        self.rig.turn()
        self.assertEqual([("v", b"x")], got(bob))

    def test_the_brokers_own(self) -> None:
        """What it tells under $SYS stays where it is."""
        self.rules("$SYS/# copy t", "$SYS/# drop")
        bob = self.peer("bob", "#", "$SYS/#")
        self.rig.broker.announce("$SYS/x", b"1")
        self.rig.turn()
        self.assertEqual([("$SYS/x", b"1")], got(bob))
