"""
MQTT.js, the client library of Node programs and of browsers, in versions 3.1.1 and 5, over TCP and WebSocket.

What happens is written in ``js/*.mjs``, one function for each test; ``js/play.mjs`` plays it.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import BrokerTestCase, new_directory, run
from tests.processes import Program, program, start_pushd

PLAY = Path(__file__).with_name("js") / "play.mjs"
V311, V5 = "4", "5"  # as MQTT.js calls them, and CONNECT does

# MQTT.js sends all QoS 2 messages that it has at once, however few the broker says it takes; so this
# broker takes more than any scenario sends.
SETTINGS = """\
allow_anonymous true
max_inflight_messages 1000
max_keepalive 600
acl_file acl

listener {mqtt} 127.0.0.1

listener {websocket} 127.0.0.1
protocol websockets

listener {http} 127.0.0.1
protocol http

listener {tls} 127.0.0.1
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
require_certificate true

listener {secure} 127.0.0.1
protocol websockets
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
require_certificate true
"""
ACL = "topic #\ntopic deny secret/#\n"


class MqttJsTestCase(BrokerTestCase):
    """Plays scenarios."""

    settings = SETTINGS
    acl = ACL

    def urls(self, *schemes: str) -> list[str]:
        """By which a scheme is reached; ``gateway`` is WebSocket on the gateway's port."""
        ports = {"mqtt": "mqtt", "ws": "websocket", "gateway": "http", "mqtts": "tls", "wss": "secure"}
        return [
            f"{'ws' if scheme == 'gateway' else scheme}://localhost:{self.broker.port(ports[scheme])}/mqtt"
            for scheme in schemes
        ]

    def play(
        self,
        file: str,
        scenario: str,
        versions: tuple[str, ...] = (V311, V5),
        schemes: tuple[str, ...] = ("mqtt", "ws"),
    ) -> None:
        """Play it with each version over each scheme."""
        words = (str(PLAY), file, scenario, ",".join(versions), *self.urls(*schemes))
        outcome = run("node", *words, directory=self.directory)
        self.assertEqual(outcome.status, 0, outcome.output)


class MessageTests(MqttJsTestCase):
    """Messages in both directions."""

    def test_many_in_order(self) -> None:
        """Two devices send each other hundreds of messages at once, at each QoS, through every door."""
        self.play("messages", "inOrder", schemes=("mqtt", "ws", "gateway", "wss"))

    def test_large_payloads(self) -> None:
        """A message of many frames arrives as it was sent, over TLS too."""
        self.play("messages", "large", schemes=("mqtt", "ws", "gateway", "mqtts", "wss"))

    def test_retained(self) -> None:
        """It is marked for who comes later; an empty one takes it back."""
        self.play("messages", "retained")

    def test_will(self) -> None:
        """It speaks for a device that is gone without a word, and only for that."""
        self.play("messages", "will")

    def test_unsubscribing(self) -> None:
        """Nothing comes after the answer to UNSUBSCRIBE."""
        self.play("messages", "unsubscribing")


class SessionTests(MqttJsTestCase):
    """What outlives a connection."""

    def test_messages_wait(self) -> None:
        """Hundreds of them, in their order, and without a new SUBSCRIBE."""
        self.play("sessions", "waiting")

    def test_the_session_is_present(self) -> None:
        """CONNACK says whether the broker still knew the client."""
        self.play("sessions", "forgotten")

    def test_takeover(self) -> None:
        """The first connection of a client is told that another one took its session over (0x8E)."""
        self.play("sessions", "takeover")


class Version5Tests(MqttJsTestCase):
    """What only version 5 has."""

    def play5(self, scenario: str) -> None:
        """Over TCP and WebSocket."""
        self.play("version5", scenario, (V5,))

    def test_properties(self) -> None:
        """What a publisher says about a message reaches the subscriber as it was said."""
        self.play5("properties")

    def test_request_and_response(self) -> None:
        """The answers come where they were asked for, with what they belong to."""
        self.play5("request")

    def test_message_expiry(self) -> None:
        """Messages that wait are counted down and go when their time is up."""
        self.play5("messageExpiry")

    def test_session_expiry(self) -> None:
        """A session ends when its time is up, not earlier, and its Will is sent then."""
        self.play5("sessionExpiry")

    def test_session_expiry_in_disconnect(self) -> None:
        """Who leaves may say that the session is not to be kept after all."""
        self.play5("changedExpiry")

    def test_topic_aliases(self) -> None:
        """Both sides say each topic once and use its number then."""
        self.play5("topicAliases")

    def test_topic_aliases_of_the_publisher(self) -> None:
        """A number may come to stand for another topic."""
        self.play5("ownAliases")

    def test_receive_maximum(self) -> None:
        """A device that takes one message at a time is sent one at a time, and all of them."""
        self.play5("receiveMaximum")

    def test_subscription_identifiers(self) -> None:
        """A message says which subscriptions it comes for."""
        self.play5("identifiers")

    def test_shared_subscriptions(self) -> None:
        """Each message of a group goes to one member, and to all in turn."""
        self.play5("shared")

    def test_members_that_leave(self) -> None:
        """What they had not acknowledged is handed on to the others, in order."""
        self.play5("handedOn")

    def test_subscription_options(self) -> None:
        """Retain Handling, Retain As Published and No Local."""
        self.play5("subscriptionOptions")

    def test_connack(self) -> None:
        """It has the client id and the keep alive that count."""
        self.play5("connack")

    def test_refusals(self) -> None:
        """What the ACL forbids is refused with its reason, and the connection goes on."""
        self.play5("refusals")


RESTARTED = """\
allow_anonymous true
listener {mqtt} 127.0.0.1
listener {ws} 127.0.0.1
protocol websockets
"""


class RestartTests(SynchronousTestCase):
    """The broker goes and comes back."""

    def test_devices_come_back(self) -> None:
        """By themselves, and they send what they were given meanwhile."""
        directory = new_directory()
        broker = start_pushd(RESTARTED, directory)
        devices = []
        for scheme in ("mqtt", "ws"):
            for version in (V311, V5):
                url = f"{scheme}://localhost:{broker.port(scheme)}"
                words = ("sessions", "restart", version, url)
                devices.append(Program([program("node"), PLAY, *words], directory))
                self.addCleanup(devices[-1].kill)
        for device in devices:
            device.wait_for("^ready")
        broker.stop()
        self.addCleanup(broker.start_again().stop)
        for device in devices:
            self.assertEqual(device.finish(), 0, device.log())
