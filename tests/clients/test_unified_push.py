"""
Web Push from end to end: pywebpush encrypts, signs and sends, curl registers, and devices listen with
paho-mqtt or read ntfy's streams. Only the device has the key to read what was sent.
"""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

import http_ece  # type: ignore[import-untyped]
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from py_vapid import Vapid02  # type: ignore[import-untyped]
from pywebpush import WebPushException, webpush  # type: ignore[import-untyped]

from tests.clients.furniture import BrokerTestCase
from tests.clients.paho_device import V5, Device
from tests.processes import DEADLINE_S

ADA = ("-u", "ada:secret")
BOB = ("-u", "bob:hunter2")

SETTINGS = """\
persistence true
persistence_location data
base_url http://localhost:{http}
per_listener_settings true

listener {mqtt} 127.0.0.1
password_file passwd
acl_file acl

listener {http} 127.0.0.1
protocol http
allow_anonymous true
password_file passwd
acl_file acl
"""
# As ntfy's manual has it for UnifiedPush: topics that nobody guesses, open to anonymous senders.
ACL = """\
topic write upOpen12345678

user ada
topic readwrite #

user bob
topic readwrite #
"""


class Phone:
    """
    What an application on a device has: a key pair, and a secret that it shares with its server.

    :ivar endpoint: the answer to its registration.
    """

    def __init__(self, endpoint: dict[str, Any]) -> None:
        self.endpoint = endpoint
        self.url: str = endpoint["endpoint"]
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._secret = os.urandom(16)

    def subscription(self) -> dict[str, Any]:
        """What it tells the server, in the words of browsers."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"endpoint": self.url, "keys": {"p256dh": b64(point), "auth": b64(self._secret)}}

    def read(self, message: MQTTMessage) -> str:
        """Decrypt what came."""
        said = dict(message.properties.UserProperty)  # type: ignore[union-attr]
        return self.decrypt(bytes(message.payload), said)

    def decrypt(self, payload: bytes, said: dict[str, str]) -> str:
        """:param said: what is known of the encryption."""
        known: dict[str, Any] = {"private_key": self._key, "auth_secret": self._secret}
        if said["content-encoding"] == "aesgcm":
            known["salt"] = decoded(parameters(said["encryption"])["salt"])
            known["dh"] = decoded(parameters(said["crypto-key"])["dh"])
        text: bytes = http_ece.decrypt(payload, version=said["content-encoding"], **known)
        return text.decode()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parameters(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.replace(";", ",").split(","))
    return {name: value for name, _, value in pairs}


class Server:
    """An application's server."""

    def __init__(self) -> None:
        self._vapid = Vapid02()
        self._vapid.generate_keys()
        point = self._vapid.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.key = b64(point)

    def push(self, phone: Phone, text: str, ttl: int = 600, **more: Any) -> Any:
        """:return: the response."""
        claims = {"sub": "mailto:ops@example.com"}
        return webpush(phone.subscription(), text, self._vapid, claims, ttl=ttl, timeout=DEADLINE_S, **more)


class UnifiedPushTestCase(BrokerTestCase):
    settings = SETTINGS
    acl = ACL

    def register(self, *flags: str, **fields: str) -> Phone:
        answer = self.curl("/v1/up", *(flags or ADA), "-d", json.dumps(fields))
        self.assertEqual(answer.status, 201, answer)
        return Phone(json.loads(answer.body))

    def device(self, name: str, user: str = "ada", password: str = "secret") -> Device:
        """A phone with a persistent session."""
        device = Device(name, V5)
        device.client.username_pw_set(user, password)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600
        device.connect(self.broker.port("mqtt"), clean_start=False, properties=kept)
        self.addCleanup(device.leave)
        return device

    def curl_url(self, url: str, *flags: str) -> Any:
        return self.curl(url.partition(f":{self.broker.port('http')}")[2], *flags)


class WebPushTests(UnifiedPushTestCase):
    def test_to_a_device(self) -> None:
        """What a server encrypts, the device decrypts: in both encodings, to the last byte that fits."""
        server, device = Server(), self.device("reader")
        phone = self.register(vapid=server.key)
        device.subscribe(phone.endpoint["topic"], 1)
        for text, encoding in (("héllo", "aes128gcm"), ("x" * 3993, "aes128gcm"), ("hello", "aesgcm")):
            # pywebpush signs for the older encoding in an older way, which RFC 8292 did away with.
            headers = {"Authorization": self.authorization(server)} if encoding == "aesgcm" else {}
            response = server.push(
                phone, text, content_encoding=encoding, headers={"Urgency": "high", **headers}
            )
            self.assertEqual((response.status_code, response.headers["TTL"]), (201, "600"))
            message = device.next_message()
            self.assertEqual(phone.read(message), text)
            self.assertIn(("priority", "4"), message.properties.UserProperty)  # type: ignore[union-attr]

    def authorization(self, server: Server) -> str:
        claims = {"aud": f"http://localhost:{self.broker.port('http')}", "exp": int(time.time()) + 600}
        header: str = server._vapid.sign({**claims, "sub": "mailto:a@b.example"})["Authorization"]
        return header

    def test_device_that_is_away(self) -> None:
        """It finds what was pushed meanwhile, once for each Topic, and nothing that was withdrawn."""
        server, device = Server(), self.device("away")
        phone = self.register()
        device.subscribe(phone.endpoint["topic"], 1)
        device.leave()
        for text in ("old", "new"):
            server.push(phone, text, headers={"Topic": "news"})
        withdrawn = server.push(phone, "oops").headers["Location"]
        server.push(phone, "last")
        self.assertEqual(self.curl_url(withdrawn, "-X", "DELETE").status, 204)
        self.assertEqual(self.curl_url(withdrawn, "-X", "DELETE").status, 404)
        back = self.device("away")
        self.assertEqual([phone.read(back.next_message()) for _ in range(2)], ["new", "last"])

    def test_right_to_a_client(self) -> None:
        """No subscription is needed where the endpoint names the session."""
        phone, device = self.register(client="direct", topic="push"), self.device("direct")
        Server().push(phone, "straight")
        message = device.next_message()
        self.assertEqual((message.topic, phone.read(message)), ("push", "straight"))

    def test_streams(self) -> None:
        """Who reads the topic as a stream of ntfy's gets the same bytes, in base64."""
        phone = self.register()
        self.assertEqual(Server().push(phone, "to a stream").status_code, 201)
        answer = self.curl(f"/{phone.endpoint['topic']}/json?poll=1", *ADA)
        (told,) = map(json.loads, answer.body.splitlines())
        self.assertEqual(told["encoding"], "base64")
        payload = base64.b64decode(told["message"])
        self.assertEqual(phone.decrypt(payload, {"content-encoding": "aes128gcm"}), "to a stream")

    def test_refusals(self) -> None:
        """What a server has to understand: not yours, too much, gone."""
        server = Server()
        phone = self.register(vapid=server.key)
        self.assert_refused(403, Server(), phone, "x")
        self.assert_refused(413, server, phone, "x" * 4000)
        self.assertEqual(self.curl_url(phone.url, "-d", "x").status, 401)
        self.assertEqual(self.curl_url(phone.url, *BOB, "-X", "DELETE").status, 403)
        self.assertEqual(self.curl(f"/v1/up/{phone.endpoint['id']}", *ADA, "-X", "DELETE").status, 200)
        self.assert_refused(410, server, phone, "x")
        self.assertEqual(self.curl("/v1/up/nothing", "-d", "x").status, 404)

    def assert_refused(self, status: int, server: Server, phone: Phone, text: str) -> None:
        error = self.assertRaises(WebPushException, server.push, phone, text)
        self.assertEqual(error.response.status_code, status)

    def test_restart(self) -> None:
        """Endpoints, the keys that they are bound to and what waits are there after kill -9."""
        server, device = Server(), self.device("restarted")
        phone = self.register(vapid=server.key)
        device.subscribe(phone.endpoint["topic"], 1)
        device.leave()
        server.push(phone, "before")
        self.broker.kill()
        type(self).broker = self.broker.start_again()
        self.assert_refused(403, Server(), phone, "x")
        server.push(phone, "after")
        back = self.device("restarted")
        self.assertEqual([phone.read(back.next_message()) for _ in range(2)], ["before", "after"])
        listed = json.loads(self.curl("/v1/up", *ADA).body)["endpoints"]
        self.assertIn(phone.endpoint["id"], [endpoint["id"] for endpoint in listed])

    def test_too_many(self) -> None:
        """An endpoint takes some at once; then its sender is told to wait, and others are not."""
        phone, other = self.register(), self.register()
        with requests.Session() as sender:
            answers = [sender.post(phone.url, "x", timeout=DEADLINE_S) for _ in range(200)]
        self.assertEqual({answer.status_code for answer in answers}, {201, 429})
        self.assertGreater(int(answers[-1].headers["Retry-After"]), 0)
        self.assertEqual(self.curl_url(other.url, "-d", "x").status, 201)


class NtfysWayTests(UnifiedPushTestCase):
    """``/up<12 letters>?up=1``, as ntfy's application registers it."""

    def test_raw_bytes(self) -> None:
        """The body arrives byte for byte, and the answer is ntfy's."""
        device = self.device("ntfy")
        device.subscribe("upOpen12345678", 1)
        discovered = self.curl("/upOpen12345678?up=1")
        self.assertEqual(json.loads(discovered.body), {"unifiedpush": {"version": 1}})
        body = b" \xff\0 raw \n" * 3
        (self.directory / "body").write_bytes(body)
        answer = self.curl("/upOpen12345678?up=1", "--data-binary", "@body")
        self.assertEqual(answer.status, 200)
        self.assertEqual(json.loads(answer.body)["encoding"], "base64")
        self.assertEqual(device.next_message().payload, body)


class MatrixTests(UnifiedPushTestCase):
    """A homeserver with a pusher for either kind of endpoint."""

    def test_notify(self) -> None:
        """What it posts arrives as it was; pushkeys that are dead come back."""
        device, phone = self.device("matrix"), self.register()
        device.subscribe(phone.endpoint["topic"], 1)
        device.subscribe("upOpen12345678", 1)
        ntfys = f"http://localhost:{self.broker.port('http')}/upOpen12345678?up=1"
        for pushkey in (phone.url, ntfys):
            body = json.dumps({"notification": {"counts": {"unread": 1}, "devices": [{"pushkey": pushkey}]}})
            answer = self.curl("/_matrix/push/v1/notify", "-d", body)
            self.assertEqual(json.loads(answer.body), {"rejected": []})
            self.assertEqual(device.next_message().payload.decode(), body)
        dead = {"notification": {"devices": [{"pushkey": phone.url + "x"}]}}
        answer = self.curl("/_matrix/push/v1/notify", "-d", json.dumps(dead))
        self.assertEqual(json.loads(answer.body), {"rejected": [phone.url + "x"]})
