"""MQTT over WebSocket with a client that people use, on all the doors that speak it; closing, too."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paho.mqtt.client import WebsocketConnectionError
from paho.mqtt.enums import MQTTProtocolVersion

from tests.clients.furniture import BrokerTestCase, Received
from tests.clients.paho_device import V31, V311, Device
from tests.processes import DEADLINE_S, start_pushd
from tests.websocket_frames import CLOSE, REQUEST, Frame, close_payload, masked_frame, server_frames

V5 = MQTTProtocolVersion.MQTTv5
NOT_AUTHORIZED = 0x87  # what paho calls CONNACK's 5

SETTINGS = """\
per_listener_settings true

listener {mqtt} 127.0.0.1
allow_anonymous true

listener {ws} 127.0.0.1
protocol websockets
allow_anonymous true

listener {http} 127.0.0.1
protocol http
allow_anonymous true

listener {wss} 127.0.0.1
protocol websockets
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
crlfile certs/ca.crl
require_certificate true
use_identity_as_username true

listener {https} 127.0.0.1
protocol http
certfile certs/server.crt
keyfile certs/server.key
password_file passwd

listener {strict} 127.0.0.1
protocol websockets
allow_anonymous true
websockets_origin https://a.example
"""

CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
CONNACK = b"\x20\x02\0\0"


class WebSocketTestCase(BrokerTestCase):
    """Makes devices."""

    settings = SETTINGS

    def device(
        self, client_id: str, version: MQTTProtocolVersion = V311, *, path: str = "/mqtt", **flags: Any
    ) -> Device:
        """One that has not connected yet; it leaves with the test."""
        device = Device(client_id, version, transport="websockets", **flags)
        device.client.ws_set_options(path=path)
        self.addCleanup(device.leave)
        return device

    def connected(self, port: str, client_id: str, *arguments: Any, **flags: Any) -> Device:
        """:raises AssertionError: it is not let in."""
        device = self.device(client_id, *arguments, **flags)
        self.assertEqual(device.connect(self.broker.port(port))[0], 0)
        return device


class DoorTests(WebSocketTestCase):
    """Each door, each version of MQTT"""

    def test_messages_both_ways(self) -> None:
        """From an empty one to one that fills many frames, at each QoS, in order."""
        for port in ("ws", "http"):
            for version in (V31, V311, V5):
                topic = f"{port}/{version}"
                device = self.connected(port, f"{port}-{version}", version)
                device.subscribe(topic, 2)
                payloads = [b"", b"x", b"y" * 120, b"z" * 130, bytes(70_000), bytes(1_900_000), b"last"]
                for qos in (0, 1, 2):
                    for payload in payloads:
                        device.publish(topic, payload, qos)
                    assert device.next_payloads(len(payloads)) == payloads, (topic, qos)

    def test_many_messages(self) -> None:
        """A thousand without a pause: many frames in each read of the socket."""
        device = self.connected("ws", "busy")
        device.subscribe("busy", 1)
        expected = [str(number).encode() for number in range(1000)]
        for payload in expected:
            device.client.publish("busy", payload, 1)
        self.assertEqual(device.next_payloads(1000), expected)

    def test_any_path_on_a_door_of_its_own(self) -> None:
        """As Mosquitto takes it; the gateway has pages at other paths."""
        self.connected("ws", "elsewhere", path="/some/where?else=1")
        device = self.device("nowhere", path="/some/where")
        self.assertRaises(WebsocketConnectionError, device.connect, self.broker.port("http"))

    def test_with_others(self) -> None:
        """One message space: plain MQTT, WebSocket and the gateway."""
        page = self.connected("http", "page")
        page.subscribe("space/#", 1)
        plain = self.subscriber("-t", "space/#", "-q", 1)
        self.curl("/v1/publish/space/http", "-d", "pushed")
        page.publish("space/ws", "said")
        self.assertEqual([message.payload for message in plain.until("said")], ["pushed", "said"])
        self.assertEqual(page.next_payloads(2), [b"pushed", b"said"])

    def test_a_session_outlives_its_connection(self) -> None:
        """What came meanwhile waits, whichever door is taken then."""
        device = self.connected("ws", "wanderer", clean_session=False)
        device.subscribe("wait/for/it", 1)
        device.leave()
        self.publish("-t", "wait/for/it", "-m", "hello", "-q", 1)
        again = self.connected("http", "wanderer", clean_session=False)
        self.assertEqual(again.next_payloads(1), [b"hello"])

    def test_a_will(self) -> None:
        """Published when the connection fails."""
        heir = self.subscriber("-t", "gone/+", "-q", 1)
        device = self.device("mortal")
        device.client.will_set("gone/mortal", "farewell", 1)
        device.connect(self.broker.port("ws"))
        connection: Any = device.client.socket()
        connection._socket.shutdown(socket.SHUT_RDWR)  # paho's own has no way to fail
        self.assertEqual(heir.until("farewell"), [Received("gone/mortal", "farewell", 1, False)])


class TlsTests(WebSocketTestCase):
    """wss: and who is there"""

    def trust(self, device: Device, authority: str, certificate: str = "", key: str = "") -> None:
        """Trust our server; show a certificate, if there is one."""
        paths = [
            str(self.directory / "certs" / name) if name else None for name in (authority, certificate, key)
        ]
        device.client.tls_set(ca_certs=paths[0], certfile=paths[1], keyfile=paths[2])

    def test_a_client_certificate_is_a_name(self) -> None:
        """As on every other TLS listener."""
        device = self.device("secure")
        self.trust(device, "ca.crt", "phone.crt", "phone.key")
        self.assertEqual(device.connect(self.broker.port("wss"))[0], 0)
        device.subscribe("secure", 1)
        device.publish("secure", bytes(300_000))
        self.assertEqual(device.next_payloads(1), [bytes(300_000)])
        self.broker.wait_for(r"as secure \(p4, c1, k60, u'phone'\)")

    def test_no_certificate_or_a_revoked_one(self) -> None:
        """Gets nobody to the handshake of the WebSocket."""
        for names in (("ca.crt",), ("ca.crt", "stolen.crt", "stolen.key")):
            device = self.device("stranger")
            self.trust(device, *names)
            self.assertRaises((OSError, WebsocketConnectionError), device.connect, self.broker.port("wss"))

    def test_the_gateways_port(self) -> None:
        """With TLS and a password."""
        device = self.device("named")
        self.trust(device, "ca.crt")
        device.client.username_pw_set("ada", "secret")
        self.assertEqual(device.connect(self.broker.port("https"))[0], 0)
        device.subscribe("named", 1)
        device.publish("named", b"x")
        self.assertEqual(device.next_payloads(1), [b"x"])

    def test_a_wrong_password(self) -> None:
        """CONNACK says so, through frames."""
        device = self.device("impostor")
        self.trust(device, "ca.crt")
        device.client.username_pw_set("ada", "wrong")
        self.assertEqual(device.connect(self.broker.port("https"))[0], NOT_AUTHORIZED)


class RawTests(WebSocketTestCase):
    """What no decent client shows"""

    @contextmanager
    def page(self, port: int, request: bytes = REQUEST) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
            connection.sendall(request)
            yield connection

    def test_origins(self) -> None:
        """Who is not on the list gets 403, and nothing else."""
        for origin, answer in ((b"https://a.example", b" 101 "), (b"https://b.example", b" 403 ")):
            request = REQUEST[:-2] + b"Origin: " + origin + b"\r\n\r\n"
            with self.page(self.broker.port("strict"), request) as connection:
                self.assertIn(answer, connection.recv(100))

    def test_a_broken_frame(self) -> None:
        """Its code, then the end: the socket is not left open."""
        with self.page(self.broker.port("ws")) as connection:
            connection.sendall(masked_frame(CONNECT) + masked_frame(b"{}", 1))
            frames = server_frames(_rest(connection).partition(b"\r\n\r\n")[2])
        self.assertEqual(frames[-1], Frame(CLOSE, close_payload(1003)))

    def test_the_server_stops(self) -> None:
        """Pages are told that it goes away: 1001, by both kinds of door."""
        broker = start_pushd(
            "allow_anonymous true\nlistener {ws}\nprotocol websockets\nlistener {http}\nprotocol http\n",
            self.directory,
        )
        with self.page(broker.port("ws")) as first, self.page(broker.port("http")) as second:
            for connection in (first, second):
                connection.sendall(masked_frame(CONNECT))
                _until(connection, CONNACK)
            broker.signal(signal.SIGTERM)
            for connection in (first, second):
                self.assertEqual(server_frames(_rest(connection)), [Frame(CLOSE, close_payload(1001))])
        broker.finish()


def _until(connection: socket.socket, end: bytes) -> None:
    data = b""
    while not data.endswith(end):
        data += connection.recv(1000) or end


def _rest(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))
