"""paho-mqtt, the client library of most Python programs, in versions 3.1 and 3.1.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from paho.mqtt.enums import MQTTProtocolVersion

from tests.clients.furniture import BrokerTestCase, mosquitto_passwd
from tests.clients.paho_device import V31, V311, Device
from tests.processes import DEADLINE_S

MANY = 1000
NOT_AUTHORIZED = 0x87  # what paho calls CONNACK's 5

SETTINGS = """\
per_listener_settings true

listener {mqtt} 127.0.0.1
allow_anonymous true

listener {named} 127.0.0.1
password_file passwd

listener {tls} 127.0.0.1
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
require_certificate true
use_identity_as_username true
"""


class PahoTestCase(BrokerTestCase):
    """Makes devices."""

    settings = SETTINGS

    def device(
        self,
        client_id: str,
        version: MQTTProtocolVersion = V311,
        *,
        port: str = "mqtt",
        subscribes: Iterable[tuple[str, int]] = (),
        **flags: Any,
    ) -> Device:
        """One that is connected and subscribed; it leaves with the test."""
        device = Device(client_id, version, **flags)
        self.addCleanup(device.leave)
        self.assertEqual(device.connect(self.broker.port(port))[0], 0)
        for filter, qos in subscribes:
            device.subscribe(filter, qos)
        return device


class MessageTests(PahoTestCase):
    """Messages in both directions."""

    def assert_in_order(self, version: MQTTProtocolVersion, qos: int) -> None:
        """Two devices send each other a thousand messages at once; nothing is lost or out of turn."""
        names = (f"left-{version}-{qos}", f"right-{version}-{qos}")
        pair = [self.device(name, version, subscribes=[(f"to/{name}", qos)]) for name in names]
        expected = [str(number).encode() for number in range(MANY)]
        for payload in expected:
            for device, to in zip(pair, reversed(names), strict=True):
                device.client.publish(f"to/{to}", payload, qos)
        for device in pair:
            messages = [device.next_message() for _ in range(MANY)]
            self.assertEqual([one.payload for one in messages], expected)
            self.assertEqual({one.qos for one in messages}, {qos})
            self.assertEqual([one.dup for one in messages], [False] * MANY)

    def test_quality_0(self) -> None:
        """In both versions, 3.1 and 3.1.1."""
        for version in (V31, V311):
            self.assert_in_order(version, 0)

    def test_quality_1(self) -> None:
        """In both versions."""
        for version in (V31, V311):
            self.assert_in_order(version, 1)

    def test_quality_2(self) -> None:
        """In both versions."""
        for version in (V31, V311):
            self.assert_in_order(version, 2)

    def test_large_payloads(self) -> None:
        """64 KiB and nearly all that max_packet_size allows arrive as they were sent, at each QoS."""
        device = self.device("large", subscribes=[("large", 2)])
        for size in (65_536, 1_900_000):
            for qos in (0, 1, 2):
                payload = bytes([qos, 255, 0, 128]) * (size // 4)
                device.publish("large", payload, qos)
                self.assertTrue(device.next_message().payload == payload, (size, qos))

    def test_too_large(self) -> None:
        """A packet above max_packet_size ends the connection; others do not notice."""
        other = self.device("other", subscribes=[("too/large", 1)])
        device = self.device("too-large")
        device.client.publish("too/large", b"x" * 2_000_001)
        device.ends.get(timeout=DEADLINE_S)
        other.publish("too/large", "small")
        self.assertEqual(other.next_message().payload, b"small")

    def test_unsubscribing(self) -> None:
        """Nothing comes after the answer to UNSUBSCRIBE."""
        device = self.device("leaver", subscribes=[("left/a", 1), ("left/b", 1)])
        device.client.unsubscribe("left/a")
        device.acknowledged.get(timeout=DEADLINE_S)
        device.publish("left/a", "unheard")
        device.publish("left/b", "heard")
        self.assertEqual(device.next_message().payload, b"heard")


class SessionTests(PahoTestCase):
    """What outlives a connection."""

    def test_messages_wait(self) -> None:
        """Hundreds of them, in their order, and without a new SUBSCRIBE."""
        expected = [str(number).encode() for number in range(300)]
        for version, qos in ((V31, 1), (V31, 2), (V311, 1), (V311, 2)):
            name = f"away-{version}-{qos}"
            self.device(name, version, clean_session=False, subscribes=[(f"{name}/#", qos)]).leave()
            sender = self.device(f"sender-{name}")
            for payload in expected[:-1]:
                sender.client.publish(f"{name}/topic", payload, qos)
            sender.publish(f"{name}/topic", expected[-1], qos)
            again = self.device(name, version, clean_session=False)
            self.assertEqual(again.next_payloads(300), expected)

    def test_the_session_is_present(self) -> None:
        """CONNACK says whether the broker still knew the client; a clean session forgets it."""
        for clean, expected in ((False, False), (False, True), (True, False), (False, False)):
            device = Device("present", clean_session=clean)
            self.assertEqual(device.connect(self.broker.port("mqtt")), (0, expected))
            device.leave()

    def test_what_was_not_acknowledged_comes_again(self) -> None:
        """Marked as such and with its packet identifier, before anything newer."""
        flags: dict[str, Any] = {"clean_session": False, "manual_ack": True}
        device = self.device("sloppy", subscribes=[("sloppy", 1)], **flags)
        sender = self.device("sender")
        for number in range(5):
            sender.publish("sloppy", str(number))
        first = [device.next_message() for _ in range(5)]
        for message in first[:2]:
            device.client.ack(message.mid, message.qos)
        # The broker has seen the acknowledgements once it answers what came after them.
        device.subscribe("another", 1)
        device.die()
        sender.publish("sloppy", "newer")
        again = self.device("sloppy", **flags)
        messages = [again.next_message() for _ in range(4)]
        self.assertEqual([one.payload for one in messages], [b"2", b"3", b"4", b"newer"])
        self.assertEqual([one.dup for one in messages], [True, True, True, False])
        self.assertEqual([one.mid for one in messages[:3]], [one.mid for one in first[2:]])

    def test_quality_2_is_delivered_once(self) -> None:
        """A message whose handshake was cut off is not delivered twice."""
        flags: dict[str, Any] = {"clean_session": False, "manual_ack": True}
        device = self.device("once", subscribes=[("once", 2)], **flags)
        device.publish("once", "first", 2)
        self.assertEqual(device.next_message().payload, b"first")  # PUBREL is there, PUBCOMP is held back
        device.die()
        device.client.manual_ack_set(False)
        self.assertEqual(device.connect(self.broker.port("mqtt")), (0, True))
        device.publish("once", "second", 2)
        self.assertEqual(device.next_message().payload, b"second")

    def test_what_a_publisher_could_not_send(self) -> None:
        """paho sends what was not acknowledged again; nothing is lost, and nothing of QoS 2 is doubled."""
        reader = self.device("reader", subscribes=[("cut", 2)])
        sender = self.device("cutter", clean_session=False)
        for number in range(100):
            sender.client.publish("cut", str(number), 2)
        sender.die()
        sender.connect(self.broker.port("mqtt"))
        sender.publish("cut", "end", 2)
        self.assertEqual(
            reader.next_payloads(101), [str(number).encode() for number in range(100)] + [b"end"]
        )

    def test_the_same_client_id_again(self) -> None:
        """The second connection takes the session over; the first one is closed."""
        first = self.device("twin", clean_session=False, subscribes=[("twin", 1)])
        second = self.device("twin", clean_session=False)
        first.ends.get(timeout=DEADLINE_S)
        second.publish("twin", "hello")
        self.assertEqual(second.next_message().payload, b"hello")
        self.assertTrue(first.arrived.empty())

    def test_the_will_of_a_killed_client(self) -> None:
        """It is sent when the socket closes, and not after a farewell."""
        watcher = self.device("watcher", subscribes=[("wills/#", 2)])
        for name, end in (("polite", Device.leave), ("killed", Device.die)):
            mortal = Device(name)
            mortal.client.will_set(f"wills/{name}", "gone", 2)
            mortal.connect(self.broker.port("mqtt"))
            end(mortal)
        message = watcher.next_message()
        self.assertEqual((message.topic, message.payload, message.qos), ("wills/killed", b"gone", 2))


class IdentityTests(PahoTestCase):
    """Who is let in."""

    def attempt(self, password: str) -> int:
        """:return: the code that ada is told."""
        device = Device("ada")
        device.client.username_pw_set("ada", password)
        self.addCleanup(device.leave)
        return device.connect(self.broker.port("named"))[0]

    def test_a_changed_password(self) -> None:
        """After SIGHUP the new one counts; who is connected stays connected."""
        self.assertEqual((self.attempt("changed"), self.attempt("secret")), (NOT_AUTHORIZED, 0))
        ada = Device("ada-stays")
        self.addCleanup(ada.leave)
        ada.client.username_pw_set("ada", "secret")
        ada.connect(self.broker.port("named"))
        mosquitto_passwd("-b", self.directory / "passwd", "ada", "changed")
        self.addCleanup(mosquitto_passwd, "-b", self.directory / "passwd", "ada", "secret")
        self.broker.reload()
        self.assertEqual((self.attempt("secret"), self.attempt("changed")), (NOT_AUTHORIZED, 0))
        ada.subscribe("still", 1)
        ada.publish("still", "here")
        self.assertEqual(ada.next_message().payload, b"here")

    def test_a_client_certificate(self) -> None:
        """paho shows it, and messages go both ways at each QoS, large ones too."""
        for version in (V31, V311):
            device = Device(f"tls-{version}", version)
            self.addCleanup(device.leave)
            authority, own, key = (
                str(self.directory / "certs" / name) for name in ("ca.crt", "phone.crt", "phone.key")
            )
            device.client.tls_set(authority, own, key)
            self.assertEqual(device.connect(self.broker.port("tls"))[0], 0)
            device.subscribe("tls", 2)
            for qos in (0, 1, 2):
                device.publish("tls", bytes(500_000), qos)
                self.assertEqual(len(device.next_message().payload), 500_000)
