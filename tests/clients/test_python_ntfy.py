"""python-ntfy, a client library that knows nothing but ntfy."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from python_ntfy import NtfyClient  # type: ignore[import-not-found]

from tests.clients.furniture import ADA, BrokerTestCase

SETTINGS = """\
password_file passwd
attachment_cache_dir files

listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http
"""


class PythonNtfyTests(BrokerTestCase):
    settings = SETTINGS

    def client(self, topic: str) -> NtfyClient:
        server = f"http://127.0.0.1:{self.broker.port('http')}"
        return NtfyClient(topic, server, ("ada", "secret"))

    def test_send(self) -> None:
        """With all that it can say; MQTT subscribers get the text."""
        phone = self.subscriber("-t", "python-1", *ADA)
        client = self.client("python-1")
        actions = [
            client.ViewAction("Open", "https://example.com/"),
            client.HttpAction("Close", "https://example.com/x"),
        ]
        said = client.send(
            "open", "Door", client.MessagePriority.HIGH, ["door"], actions, format_as_markdown=True
        )
        self.assertEqual((said["title"], said["priority"], said["tags"]), ("Door", 4, ["door"]))
        self.assertEqual([action["label"] for action in said["actions"]], ["Open", "Close"])
        self.assertEqual(said["content_type"], "text/markdown")
        phone.until("open")

    def test_what_was_said_before(self) -> None:
        """The newest first, as it sorts them."""
        client = self.client("python-2")
        ids = {client.send("one")["id"], client.send("two")["id"]}
        self.assertEqual({said["id"] for said in client.get_cached_messages()}, ids)
        self.assertEqual(client.get_cached_messages(since="1m")[0]["topic"], "python-2")

    def test_later(self) -> None:
        """What is scheduled is shown to who asks for it."""
        client = self.client("python-3")
        due_at = datetime.now(timezone.utc) + timedelta(hours=1)
        said = client.send("later", schedule=due_at)
        self.assertEqual(said["time"], int(due_at.timestamp()))
        self.assertEqual(client.get_cached_messages(), [])
        self.assertEqual([each["id"] for each in client.get_cached_messages(scheduled=True)], [said["id"]])

    def test_a_file(self) -> None:
        """It becomes an attachment."""
        (self.directory / "note.txt").write_text("hello")
        said = self.client("python-4").send_file(self.directory / "note.txt", "A note")
        self.assertEqual((said["title"], said["attachment"]["name"]), ("A note", "note.txt"))
        self.assertEqual(said["attachment"]["size"], 5)
