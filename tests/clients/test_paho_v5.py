"""paho-mqtt in version 5: over TCP, TLS with a certificate, WebSocket and both together."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any

from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.clients.furniture import BrokerTestCase
from tests.clients.paho_device import V5, V311, Device
from tests.processes import DEADLINE_S

MANY = 1000
NO_MATCHING_SUBSCRIBERS, NOT_AUTHORISED = 0x10, 0x87
DOORS = ("mqtt", "tls", "websocket", "secure", "http")  # by the names of their ports
CERTIFICATES = ("ca.crt", "phone.crt", "phone.key")

SETTINGS = """\
per_listener_settings true

listener {mqtt} 127.0.0.1
allow_anonymous true
acl_file acl

listener {websocket} 127.0.0.1
protocol websockets
allow_anonymous true

listener {http} 127.0.0.1
protocol http
allow_anonymous true

listener {tls} 127.0.0.1
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
require_certificate true
use_identity_as_username true

listener {secure} 127.0.0.1
protocol websockets
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
require_certificate true
use_identity_as_username true
"""
ACL = "topic #\ntopic deny secret/#\n"


def properties(packet: int, **values: Any) -> Properties:
    """Of a packet, by paho's names for them."""
    made = Properties(packet)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def said(message: MQTTMessage) -> dict[str, Any]:
    """What the publisher or the broker said about a message."""
    assert message.properties is not None
    told: dict[str, Any] = message.properties.json()
    return told


class Version5TestCase(BrokerTestCase):
    """Makes devices."""

    settings = SETTINGS
    acl = ACL

    def device(
        self,
        client_id: str,
        version: MQTTProtocolVersion = V5,
        *,
        door: str = "mqtt",
        subscribes: Iterable[tuple[str, int]] = (),
        keep_s: int = 0,
        clean: bool = True,
        will: dict[str, Any] | None = None,
        manual_ack: bool = False,
        **connect: Any,
    ) -> Device:
        """
        One that is connected and subscribed; it leaves with the test.

        :param keep_s: its Session Expiry Interval.
        :param clean: Clean Start.
        :param will: paho's arguments for one.
        :param connect: further properties of CONNECT.
        """
        transport = "tcp" if door in ("mqtt", "tls") else "websockets"
        device = Device(client_id, version, transport=transport, manual_ack=manual_ack)
        self.addCleanup(device.leave)
        if door in ("tls", "secure"):
            authority, own, key = (str(self.directory / "certs" / name) for name in CERTIFICATES)
            device.client.tls_set(authority, own, key)
        if will is not None:
            device.client.will_set(**will)
        flags: dict[str, Any] = {}
        if version == V5:
            asked = properties(PacketTypes.CONNECT, SessionExpiryInterval=keep_s, **connect)
            flags = {"clean_start": clean, "properties": asked}
        self.assertEqual(device.connect(self.broker.port(door), **flags)[0], 0)
        for filter, qos in subscribes:
            device.subscribe(filter, qos)
        return device


class MessageTests(Version5TestCase):
    """Messages in both directions."""

    def assert_in_order(self, versions: tuple[MQTTProtocolVersion, ...], qos: int, door: str) -> None:
        """Two devices send each other a thousand messages at once; nothing is lost or out of turn."""
        names = [f"{side}-{door}-{qos}-{'-'.join(map(str, versions))}" for side in ("left", "right")]
        pair = [
            self.device(name, version, door=door, subscribes=[(f"to/{name}", qos)])
            for name, version in zip(names, versions, strict=True)
        ]
        expected = [str(number).encode() for number in range(MANY)]
        for payload in expected:
            for device, to in zip(pair, reversed(names), strict=True):
                device.client.publish(f"to/{to}", payload, qos)
        for device in pair:
            messages = [device.next_message() for _ in range(MANY)]
            self.assertEqual([one.payload for one in messages], expected)
            self.assertEqual({(one.qos, one.dup) for one in messages}, {(qos, False)})

    def test_quality_0(self) -> None:
        """A thousand each way through every door."""
        for door in DOORS:
            self.assert_in_order((V5, V5), 0, door)

    def test_quality_1(self) -> None:
        """A thousand each way through every door."""
        for door in DOORS:
            self.assert_in_order((V5, V5), 1, door)

    def test_quality_2(self) -> None:
        """A thousand each way through every door."""
        for door in DOORS:
            self.assert_in_order((V5, V5), 2, door)

    def test_both_versions(self) -> None:
        """Version 3.1.1 and version 5 send each other a thousand messages at each QoS."""
        for qos in (0, 1, 2):
            self.assert_in_order((V311, V5), qos, "mqtt")
            self.assert_in_order((V311, V5), qos, "websocket")

    def test_large_payloads(self) -> None:
        """A megabyte arrives as it was sent through every door, at each QoS."""
        for door in DOORS:
            device = self.device(f"large-{door}", door=door, subscribes=[(f"large/{door}", 2)])
            for qos in (0, 1, 2):
                payload = bytes([qos, 255, 0, 128]) * 250_000
                device.publish(f"large/{door}", payload, qos)
                self.assertTrue(device.next_message().payload == payload, (door, qos))

    def test_a_device_that_takes_few_at_a_time(self) -> None:
        """With a Receive Maximum, that many are under way and not one more, and none is lost."""
        for qos in (1, 2):
            for most in (1, 7):
                name = f"slow-{qos}-{most}"
                slow = self.device(name, subscribes=[(name, qos)], manual_ack=True, ReceiveMaximum=most)
                sender = self.device(f"sender-{name}")
                for number in range(100):
                    sender.publish(name, str(number), qos)
                for number in range(0, 100, most):
                    messages = [slow.next_message() for _ in range(min(most, 100 - number))]
                    # Whatever was on its way before the answer to SUBSCRIBE has come with it.
                    slow.subscribe("another", 0)
                    self.assertTrue(slow.arrived.empty(), (name, number))
                    for at, message in enumerate(messages, number):
                        self.assertEqual(message.payload, str(at).encode())
                        slow.client.ack(message.mid, message.qos)


class PropertyTests(Version5TestCase):
    """What is said beside the payload."""

    def test_both_ways_through_every_door(self) -> None:
        """The subscriber is told what the publisher said."""
        told = properties(
            PacketTypes.PUBLISH,
            PayloadFormatIndicator=1,
            ContentType="text/plain",
            ResponseTopic="answers",
            CorrelationData=b"\0\xff",
            UserProperty=[("a", "1"), ("b", ""), ("a", "2"), ("grün", "€")],
        )
        for door in DOORS:
            device = self.device(f"teller-{door}", door=door, subscribes=[(f"told/{door}", 2)])
            for qos in (0, 1, 2):
                device.publish(f"told/{door}", "x", qos, told)
                self.assertEqual(said(device.next_message()), told.json())

    def test_from_version_5_to_3_and_back(self) -> None:
        """Version 3.1.1 gets the payload alone; what it says arrives without properties."""
        old = self.device("old", V311, subscribes=[("to/old", 1)])
        new = self.device("new", subscribes=[("to/new", 1)])
        new.publish("to/old", "x", 1, properties(PacketTypes.PUBLISH, UserProperty=("a", "b")))
        self.assertEqual(old.next_message().payload, b"x")
        old.publish("to/new", "y")
        message = new.next_message()
        self.assertEqual((message.payload, said(message)), (b"y", {}))

    def test_retained(self) -> None:
        """A retained message keeps its properties."""
        device = self.device("keeper")
        told = properties(PacketTypes.PUBLISH, ContentType="text/plain", MessageExpiryInterval=100)
        device.client.publish("kept", "x", 1, True, told).wait_for_publish(DEADLINE_S)
        device.subscribe("kept", 1)
        message = device.next_message()
        self.assertTrue(message.retain)
        self.assertEqual(said(message)["ContentType"], "text/plain")
        self.assertIn(said(message)["MessageExpiryInterval"], range(80, 101))

    def test_subscription_identifiers(self) -> None:
        """Each subscription that matches is named; overlapping ones deliver once."""
        device = self.device("numbered")
        for filter, number in (("n/+", 7), ("n/1", 268_435_455)):
            device.subscribe(filter, 1, properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=number))
        for topic, expected in (("n/1", [7, 268_435_455]), ("n/2", [7])):
            device.publish(topic, "x")
            self.assertEqual(sorted(said(device.next_message())["SubscriptionIdentifier"]), expected)
        self.assertTrue(device.arrived.empty())

    def test_subscription_options(self) -> None:
        """No Local, Retain As Published and Retain Handling."""
        device = self.device("choosy")
        other = self.device("other")
        other.client.publish("state", "old", 1, True).wait_for_publish(DEADLINE_S)
        device.subscribe("state", SubscribeOptions(1, noLocal=True, retainAsPublished=True, retainHandling=2))
        device.publish("state", "my own")
        other.client.publish("state", "new", 1, True).wait_for_publish(DEADLINE_S)
        message = device.next_message()
        self.assertEqual((message.payload, message.retain), (b"new", True))


class SessionTests(Version5TestCase):
    """What outlives a connection, and for how long."""

    def test_messages_wait(self) -> None:
        """Hundreds of them, in their order and with their properties, through every door."""
        told = properties(PacketTypes.PUBLISH, UserProperty=[("a", "b")])
        expected = [str(number).encode() for number in range(300)]
        for door in DOORS:
            qos = 1 + DOORS.index(door) % 2
            name = f"away-{door}"
            self.device(name, door=door, keep_s=100, subscribes=[(name, qos)]).leave()
            sender = self.device(f"sender-{door}")
            for payload in expected[:-1]:
                sender.client.publish(name, payload, qos, properties=told)
            sender.publish(name, expected[-1], qos, told)
            back = self.device(name, door=door, keep_s=100, clean=False)
            self.assertTrue(back.session_present)
            messages = [back.next_message() for _ in expected]
            self.assertEqual([one.payload for one in messages], expected)
            self.assertTrue(all(said(one) == told.json() for one in messages))

    def test_clean_start(self) -> None:
        """It forgets what there was, and what it begins is kept all the same."""
        for clean, expected in ((False, False), (False, True), (True, False), (False, True)):
            device = self.device("present", clean=clean, keep_s=100)
            self.assertIs(device.session_present, expected)
            device.leave()

    def test_a_session_without_a_time(self) -> None:
        """It ends with its connection."""
        for _ in range(2):
            device = self.device("short", clean=False)
            self.assertFalse(device.session_present)
            device.leave()

    def test_a_session_whose_time_is_up(self) -> None:
        """It ends, not early; its Will is sent then, however long that was to wait."""
        watcher = self.device("watcher", subscribes=[("time", 1)])
        delayed = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=100)
        will = {"topic": "time", "payload": "up", "qos": 1, "properties": delayed}
        mortal = self.device("mortal", keep_s=1, will=will)
        died = time.monotonic()
        mortal.die()
        watcher.next_message()
        self.assertGreaterEqual(time.monotonic() - died, 1)
        self.assertFalse(self.device("mortal", clean=False).session_present)

    def test_a_will_that_waits(self) -> None:
        """It is sent after its delay, with its properties; not for a device that comes back in time."""
        watcher = self.device("wills", subscribes=[("wills/#", 1)])
        for name, delay in (("returning", 1), ("dead", 2)):
            told = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=delay, ContentType="text/plain")
            will = {"topic": f"wills/{name}", "payload": "gone", "qos": 1, "properties": told}
            mortal = self.device(name, keep_s=100, will=will)
            died = time.monotonic()
            mortal.die()
        self.assertTrue(self.device("returning", keep_s=100, clean=False).session_present)
        message = watcher.next_message()
        self.assertEqual(message.topic, "wills/dead")
        self.assertGreaterEqual(time.monotonic() - died, 2)
        self.assertEqual(said(message), {"ContentType": "text/plain"})

    def test_a_farewell_with_a_will(self) -> None:
        """DISCONNECT with 0x04 has the Will sent; it may also change how long the session is kept."""
        watcher = self.device("last", subscribes=[("last/words", 1)])
        will = {"topic": "last/words", "payload": "adieu", "qos": 1}
        speaker = self.device("speaker", keep_s=100, will=will)
        code = ReasonCode(PacketTypes.DISCONNECT, identifier=4)
        speaker.client.disconnect(code, properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0))
        self.assertEqual(watcher.next_message().payload, b"adieu")
        self.assertFalse(self.device("speaker", clean=False).session_present)

    def test_takeover(self) -> None:
        """The first connection is told that another one took its session over."""
        first = self.device("twin", keep_s=100, subscribes=[("twin", 1)])
        second = self.device("twin", keep_s=100, clean=False)
        self.assertEqual(first.ends.get(timeout=DEADLINE_S), "Session taken over")
        second.publish("twin", "hello")
        self.assertEqual(second.next_message().payload, b"hello")

    def test_what_was_not_acknowledged_comes_again(self) -> None:
        """Marked as such, before anything newer, and in the window that the new connection has."""
        device = self.device("sloppy", keep_s=100, manual_ack=True, subscribes=[("sloppy", 1)])
        sender = self.device("careful")
        for number in range(5):
            sender.publish("sloppy", str(number))
        for _ in range(5):
            device.next_message()
        device.die()
        sender.publish("sloppy", "newer")
        again = self.device("sloppy", keep_s=100, clean=False, ReceiveMaximum=1)
        messages = [again.next_message() for _ in range(6)]
        self.assertEqual([one.payload for one in messages], [b"0", b"1", b"2", b"3", b"4", b"newer"])
        self.assertEqual([one.dup for one in messages], [True] * 5 + [False])


class SharedTests(Version5TestCase):
    """``$share/group/filter``"""

    def test_everybody_gets_a_part(self) -> None:
        """Members behind all doors share a thousand messages, none is lost or doubled."""
        members = [
            self.device(f"member-{door}", door=door, subscribes=[("$share/workers/jobs/+", 1)])
            for door in DOORS
        ]
        arrived: SimpleQueue[MQTTMessage] = SimpleQueue()
        for member in members:
            member.arrived = arrived
        sender = self.device("foreman")
        for number in range(MANY):
            sender.client.publish(f"jobs/{number % 3}", str(number), 1)
        got = Counter(arrived.get(timeout=DEADLINE_S).payload for _ in range(MANY))
        self.assertEqual(got, Counter(str(number).encode() for number in range(MANY)))

    def test_what_a_member_leaves_behind(self) -> None:
        """Its unacknowledged messages go to another one."""
        stuck = self.device("stuck", manual_ack=True, subscribes=[("$share/heirs/work", 1)])
        sender = self.device("giver")
        for number in range(10):
            sender.publish("work", str(number))
        stuck.next_payloads(10)
        heir = self.device("heir", subscribes=[("$share/heirs/work", 1)])
        stuck.die()
        self.assertEqual(heir.next_payloads(10), [str(number).encode() for number in range(10)])


class ReasonTests(Version5TestCase):
    """Version 5 is told why."""

    def test_acknowledgements(self) -> None:
        """The acknowledgement says that a message may not be published, or that nobody subscribed."""
        device = self.device("curious")
        codes = []
        device.client.on_publish = lambda _, __, ___, code, ____: codes.append(code.value)
        for topic in ("secret/door", "open/door"):
            device.publish(topic, "x")
        self.assertEqual(codes, [NOT_AUTHORISED, NO_MATCHING_SUBSCRIBERS])

    def test_what_the_broker_offers(self) -> None:
        """CONNACK names the client id that the broker chose and the broker's limits."""
        device = Device("", V5)
        self.addCleanup(device.leave)
        told: SimpleQueue[Properties] = SimpleQueue()
        device.client.on_connect = lambda _, __, ___, ____, properties: told.put(properties)
        device.client.connect("localhost", self.broker.port("mqtt"))
        device.client.loop_start()
        offers = told.get(timeout=DEADLINE_S).json()
        self.assertRegex(offers.pop("AssignedClientIdentifier"), ".+")
        expected = {"ReceiveMaximum": 20, "MaximumPacketSize": 2_000_000, "TopicAliasMaximum": 10}
        self.assertEqual(offers, expected)
