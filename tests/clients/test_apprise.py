"""Apprise, by which hundreds of programs notify people: through ``ntfy://`` and through ``mqtt://``."""

from __future__ import annotations

import json
from pathlib import Path
from sys import executable
from typing import Any

from tests.clients.furniture import ADA, BrokerTestCase
from tests.processes import Program

SETTINGS = """\
password_file passwd
attachment_cache_dir files

listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http
"""


class AppriseTests(BrokerTestCase):
    settings = SETTINGS

    def notify(self, url: str, body: str, *flags: str) -> None:
        """Run its command; it must say that it was successful."""
        command = [Path(executable).with_name("apprise"), *flags, "-b", body, url]
        run = Program(command, self.directory)
        self.assertEqual(run.finish(), 0, str(run))

    def ntfy(self, topic: str, query: str = "") -> str:
        return f"ntfy://ada:secret@127.0.0.1:{self.broker.port('http')}/{topic}{query}"

    def said(self, topic: str) -> list[dict[str, Any]]:
        """What the topic's archive has."""
        answer = self.curl(f"/{topic}/json?poll=1", "-u", "ada:secret")
        return [json.loads(line) for line in answer.body.splitlines()]

    def test_ntfy(self) -> None:
        """Title, tags and priority arrive, and MQTT subscribers get the text."""
        phone = self.subscriber("-t", "apprise-1", *ADA)
        url = self.ntfy("apprise-1", "?priority=high&tags=warning,skull&click=https://example.com/")
        self.notify(url, "the cellar is wet", "-t", "Water")
        phone.until("the cellar is wet")
        (message,) = self.said("apprise-1")
        self.assertEqual((message["title"], message["message"]), ("Water", "the cellar is wet"))
        self.assertEqual((message["priority"], set(message["tags"])), (4, {"warning", "skull"}))
        self.assertEqual(message["click"], "https://example.com/")

    def test_a_long_text_is_a_message(self) -> None:
        """Of 8000 letters, too."""
        self.notify(self.ntfy("apprise-2"), "x" * 7900)
        self.assertEqual(self.said("apprise-2")[0]["message"], "x" * 7900)

    def test_a_file(self) -> None:
        """It is attached, and can be fetched."""
        (self.directory / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
        self.notify(self.ntfy("apprise-3"), "look", "-a", "cat.png")
        (message,) = [each for each in self.said("apprise-3") if "attachment" in each]
        self.assertEqual(message["attachment"]["name"], "cat.png")
        self.assertEqual(message["attachment"]["size"], 108)

    def test_a_wrong_password_is_a_failure(self) -> None:
        """It tells whoever runs it."""
        url = f"ntfy://ada:wrong@127.0.0.1:{self.broker.port('http')}/apprise-4"
        run = Program([Path(executable).with_name("apprise"), "-b", "x", url], self.directory)
        self.assertEqual(run.finish(), 1, str(run))

    def test_mqtt(self) -> None:
        """The other door of the same topic."""
        phone = self.subscriber("-t", "apprise-5", *ADA)
        self.notify(f"mqtt://ada:secret@127.0.0.1:{self.broker.port('mqtt')}/apprise-5?qos=1", "by MQTT")
        phone.until("by MQTT")
