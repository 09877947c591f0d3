"""`pushd.broker.limits`: what the broker does at each of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.limits import Limits
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import Disconnect, Packet, Properties, Puback, Publish
from pushd.storage.memory import MemoryStore
from tests.driver import Peer, Rig

DAY_S = 86_400


def payloads(packets: list[Packet]) -> list[bytes]:
    return [packet.payload for packet in packets if isinstance(packet, Publish)]


class InflightBytesTests(SynchronousTestCase):
    """The option max_inflight_bytes."""

    def setUp(self) -> None:
        self.rig = Rig(Limits(max_inflight_bytes=10))
        self.ada, self.bob = self.rig.connect("ada"), self.rig.connect("bob")
        self.bob.subscribe("t", qos=1)

    def say(self, *sizes: int) -> None:
        for size in sizes:
            self.ada.publish("t", b"x" * size, qos=1)

    def test_window(self) -> None:
        """What would be above waits for an acknowledgement."""
        self.say(4, 5, 2, 1)
        assert [len(each) for each in payloads(self.bob.received())] == [4, 5]
        self.bob.send(Puback(1))
        assert [len(each) for each in payloads(self.bob.received())] == [2, 1]

    def test_order(self) -> None:
        """A small one does not overtake a large one that has to wait."""
        self.say(8, 8, 1)
        assert len(payloads(self.bob.received())) == 1
        self.bob.send(Puback(1))
        assert [len(each) for each in payloads(self.bob.received())] == [8, 1]

    def test_larger_than_the_window(self) -> None:
        """One message is always sent, alone."""
        self.say(50, 1)
        assert [len(each) for each in payloads(self.bob.received())] == [50]
        self.bob.send(Puback(1))
        assert [len(each) for each in payloads(self.bob.received())] == [1]


class UpgradeTests(SynchronousTestCase):
    """The option upgrade_outgoing_qos."""

    def setUp(self) -> None:
        self.rig = Rig(Limits(upgrade_outgoing_qos=True))
        self.ada, self.bob = self.rig.connect("ada"), self.rig.connect("bob")

    def qos(self) -> list[QoS]:
        return [packet.qos for packet in self.bob.received() if isinstance(packet, Publish)]

    def test_live(self) -> None:
        """The subscription's QoS counts, also for a topic in full use."""
        self.bob.subscribe("t", qos=1)
        for _ in range(3):
            self.ada.publish("t", b"x")
        self.ada.publish("t", b"x", qos=2)
        assert self.qos() == [1, 1, 1, 1]

    def test_retained(self) -> None:
        """For what is retained, too."""
        self.ada.publish("t", b"x", retain=True)
        self.bob.subscribe("t", qos=2)
        assert self.qos() == [2]

    def test_shared(self) -> None:
        """And for shared subscriptions."""
        self.bob.subscribe("$share/g/t", qos=1)
        self.ada.publish("t", b"x")
        assert self.qos() == [1]

    def test_off(self) -> None:
        """The standard's way: the lower of both (v5 §3.8.4)."""
        self.rig.broker.limits = Limits()
        self.bob.subscribe("t", qos=1)
        self.ada.publish("t", b"x")
        assert self.qos() == [0]


class SubscriptionsTests(SynchronousTestCase):
    """The option max_subscriptions_per_client."""

    def setUp(self) -> None:
        self.rig = Rig(Limits(max_subscriptions_per_client=2))

    def test_one_more(self) -> None:
        """It is refused; the rest of the packet is granted."""
        bob = self.rig.connect("bob", version=Version.V5)
        granted, quota = ReasonCode.GRANTED_QOS_0, ReasonCode.QUOTA_EXCEEDED
        assert bob.subscribe("a", "b", "c") == [granted, granted, quota]
        assert self.rig.connect("old").subscribe("a", "b", "c")[2] is ReasonCode.UNSPECIFIED_ERROR

    def test_in_place_of_one(self) -> None:
        """Subscribing again to the same filter is always possible."""
        bob = self.rig.connect("bob", version=Version.V5)
        bob.subscribe("a", "b")
        assert bob.subscribe("a", qos=1) == [ReasonCode.GRANTED_QOS_1]

    def test_place_is_given_back(self) -> None:
        """By UNSUBSCRIBE."""
        bob = self.rig.connect("bob", version=Version.V5)
        bob.subscribe("a", "b")
        self.rig.broker.unsubscribe(self.rig.broker.sessions["bob"], "a")
        assert bob.subscribe("c") == [ReasonCode.GRANTED_QOS_0]


class ClientExpirationTests(SynchronousTestCase):
    """The option persistent_client_expiration."""

    def setUp(self) -> None:
        self.limits = Limits(persistent_client_expiration_s=DAY_S)
        self.rig = Rig(self.limits)

    def come(self, version: Version, expiry_s: int = 0) -> Peer:
        properties: Properties = {PropertyId.SESSION_EXPIRY_INTERVAL: expiry_s} if expiry_s else {}
        return self.rig.connect("bob", clean=False, version=version, properties=properties)

    def pass_time(self, seconds: float) -> None:
        self.rig.clock.pump([seconds, 0.25, 0.25, 0.25, 61, 0.25])

    def test_version_3(self) -> None:
        """A session without a clean start would be kept for ever: it ends after this time."""
        self.come(Version.V3_1_1).drop()
        self.pass_time(DAY_S - 120)
        assert "bob" in self.rig.broker.sessions
        self.pass_time(120)
        assert "bob" not in self.rig.broker.sessions

    def test_version_5_is_told(self) -> None:
        """One that asks for longer gets this, and hears so (v5 §3.2.2.3.2)."""
        bob = self.come(Version.V5, 0xFFFF_FFFF)
        assert bob.connack is not None
        assert bob.connack.properties[PropertyId.SESSION_EXPIRY_INTERVAL] == DAY_S

    def test_shorter_is_kept(self) -> None:
        """Who asks for less gets what it asks for, without a word."""
        bob = self.come(Version.V5, 60)
        assert bob.connack is not None
        assert PropertyId.SESSION_EXPIRY_INTERVAL not in bob.connack.properties
        assert self.rig.broker.sessions["bob"].expiry_s == 60

    def test_changed_at_the_end(self) -> None:
        """A DISCONNECT cannot ask for more either."""
        bob = self.come(Version.V5, 60)
        bob.send(Disconnect(properties={PropertyId.SESSION_EXPIRY_INTERVAL: 2 * DAY_S}))
        assert self.rig.broker.sessions["bob"].expiry_s == DAY_S

    def test_sessions_from_before(self) -> None:
        """It holds for those that a store has kept."""
        store = MemoryStore()
        Rig(store=store).connect("bob", clean=False).drop()
        self.rig = Rig(self.limits, store=store)
        self.pass_time(DAY_S)
        assert "bob" not in self.rig.broker.sessions


class ClientsTests(SynchronousTestCase):
    """The option global_max_clients."""

    def setUp(self) -> None:
        self.rig = Rig(Limits(global_max_clients=2))
        self.rig.connect("ada")
        self.bob = self.rig.connect("bob", clean=False)

    def code(self, client_id: str, version: Version) -> ReasonCode:
        connack = self.rig.connect(client_id, version=version).connack
        assert connack is not None
        return connack.code

    def test_one_more(self) -> None:
        """It is refused."""
        assert self.code("eve", Version.V5) is ReasonCode.QUOTA_EXCEEDED
        assert self.code("old", Version.V3_1_1) is ReasonCode.SERVER_UNAVAILABLE

    def test_kept_sessions_count(self) -> None:
        """One whose client is away takes its place, and its client may come back."""
        self.bob.drop()
        assert self.code("eve", Version.V5) is ReasonCode.QUOTA_EXCEEDED
        assert self.code("bob", Version.V5) is ReasonCode.SUCCESS

    def test_no_limit(self) -> None:
        """Negative, as it is by default."""
        self.rig.broker.limits = Limits()
        assert self.code("eve", Version.V5) is ReasonCode.SUCCESS


class RetainedLimitTests(SynchronousTestCase):
    """The options max_retained_messages and memory_limit, as publishers and subscribers see them."""

    def setUp(self) -> None:
        self.rig = Rig(Limits(max_retained_messages=1))
        self.ada, self.eve = self.rig.connect("ada"), self.rig.connect("eve", version=Version.V5)
        self.ada.publish("a", b"1", retain=True)

    def kept(self) -> list[str]:
        return sorted(message.topic for message in self.rig.broker.retained.match("#"))

    def test_version_5(self) -> None:
        """One more is refused, and reaches nobody."""
        self.ada.subscribe("b")
        self.eve.publish("b", b"1", qos=1, retain=True)
        (answer,) = self.eve.received()
        assert isinstance(answer, Puback)
        assert (answer.code, self.ada.received()) == (ReasonCode.QUOTA_EXCEEDED, [])

    def test_version_3(self) -> None:
        """It could not be told: the message is passed on, counted, and not kept."""
        self.ada.subscribe("b")
        self.ada.publish("b", b"1", qos=1, retain=True)
        assert payloads(self.ada.received()) == [b"1"]
        assert self.kept() == ["a"]
        assert self.rig.broker.counters.publish_dropped == {"retained_full": 1}

    def test_replacing_and_clearing(self) -> None:
        """Both are always possible."""
        self.eve.publish("a", b"2", qos=1, retain=True)
        self.eve.publish("a", b"", qos=1, retain=True)
        self.eve.publish("b", b"", qos=1, retain=True)
        codes = [packet.code for packet in self.eve.received() if isinstance(packet, Puback)]
        assert all(code < 0x80 for code in codes)
        assert self.kept() == []

    def test_memory_is_scarce(self) -> None:
        """Nothing new is kept then."""
        self.rig.broker.limits = Limits()
        self.rig.broker.memory_is_scarce = True
        self.ada.publish("b", b"1", retain=True)
        assert self.kept() == ["a"]


class LimitsTests(SynchronousTestCase):
    def test_odd_settings(self) -> None:
        """Zero is no limit where Mosquitto has it so; nothing divides by it."""
        zero = Limits(max_inflight_messages=0, max_queued_messages=0)
        assert (zero.window, zero.strained_queue) == (65_535, 1000)
        assert Limits(max_queued_messages=1).strained_queue == 50
