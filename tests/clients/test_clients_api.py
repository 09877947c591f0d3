"""Who is connected, as an administrator's curl sees it, and a client that is sent away."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.furniture import BrokerTestCase
from tests.clients.paho_device import V5, Device
from tests.processes import DEADLINE_S

ADA, BOB = ("-u", "ada:secret"), ("-u", "bob:hunter2")

SETTINGS = """\
admin_user ada
password_file passwd

listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http
"""


class ClientsTests(BrokerTestCase):
    """GET and DELETE /v1/clients"""

    settings = SETTINGS

    def ask(self, path: str = "", *flags: str) -> Any:
        return json.loads(self.curl(f"/v1/clients{path}", *ADA, *flags).body)

    def connect(self, client_id: str) -> Device:
        device = Device(client_id, V5)
        device.client.username_pw_set("bob", "hunter2")
        device.connect(self.broker.port("mqtt"), keepalive=77)
        self.addCleanup(device.client.loop_stop)
        self.addCleanup(device.client.disconnect)
        return device

    def test_one(self) -> None:
        """What the client said about itself, and what it is subscribed to."""
        client_id = "<b>'\"/ä #+"
        self.connect(client_id).subscribe("a/#", 1)
        self.assertIn(client_id, [each["client_id"] for each in self.ask()["clients"]])
        told = self.ask("/%3Cb%3E%27%22%2F%C3%A4%20%23%2B")
        self.assertEqual((told["client_id"], told["username"]), (client_id, "bob"))
        self.assertEqual((told["protocol_version"], told["keep_alive_s"], told["connected"]), (5, 77, True))
        self.assertEqual([(each["filter"], each["qos"]) for each in told["subscriptions"]], [("a/#", 1)])

    def test_kick(self) -> None:
        """paho hears who did it, and is not there any more."""
        device = self.connect("phone")
        self.assertEqual(self.ask("/phone", "-X", "DELETE"), {"disconnected": True, "session_ended": False})
        self.assertEqual(device.ends.get(timeout=DEADLINE_S), "Administrative action")
        self.assertEqual(self.ask("/phone")["code"], 40401)

    def test_others(self) -> None:
        """Everybody else is refused."""
        for login in (BOB, ()):
            answer = self.curl("/v1/clients", *login)
            self.assertEqual(answer.status, 403)
