"""The package ``ntfy`` for Node programs, which knows nothing but ntfy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.clients.furniture import ADA, BrokerTestCase
from tests.processes import Program, program

SCRIPT = Path(__file__).with_name("js") / "ntfy.mjs"

SETTINGS = """\
password_file passwd
attachment_cache_dir files

listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http
"""


class NtfyForNodeTests(BrokerTestCase):
    settings = SETTINGS

    def publish(self, topic: str, **said: Any) -> Any:
        """:return: what its ``publish`` came to."""
        login = {"username": "ada", "password": "secret"}
        server = f"http://127.0.0.1:{self.broker.port('http')}"
        configuration = {"server": server, "authorization": login, "topic": topic, **said}
        run = Program([program("node"), SCRIPT, json.dumps(configuration)], self.directory)
        self.assertEqual(run.finish(), 0, str(run))
        return json.loads(run.lines[-1])

    def test_a_message(self) -> None:
        """With all that it can say; MQTT subscribers get the text."""
        phone = self.subscriber("-t", "node-1", *ADA)
        actions = [{"type": "view", "label": "Open", "url": "https://example.com/", "clear": True}]
        said = self.publish("node-1", message="built", title="CI", priority=4, tags=["ok"], actions=actions)
        self.assertEqual((said["title"], said["priority"], said["tags"]), ("CI", 4, ["ok"]))
        self.assertEqual((said["actions"][0]["label"], said["actions"][0]["clear"]), ("Open", True))
        phone.until("built")

    def test_a_file(self) -> None:
        """As an attachment."""
        (self.directory / "log.txt").write_bytes(b"\xff\xfe log")
        said = self.publish("node-2", fileAttachment="log.txt")
        self.assertEqual(said["attachment"]["size"], 6)

    def test_later(self) -> None:
        """It says when."""
        said = self.publish("node-3", message="later", delay="1h")
        self.assertEqual(self.curl(f"/v1/scheduled/{said['id']}", "-u", "ada:secret").status, 200)
