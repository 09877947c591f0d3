"""Files that come with pushes, and messages made of templates, as curl sends and fetches them."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import Answer, BrokerTestCase, curl, new_directory
from tests.processes import Broker, start_pushd

SETTINGS = """\
listener {mqtt} 127.0.0.1
allow_anonymous true

listener {http} 127.0.0.1
protocol http
allow_anonymous true

listener {https} 127.0.0.1
protocol http
allow_anonymous true
certfile certs/server.crt
keyfile certs/server.key

persistence true
persistence_location data
attachment_cache_dir files
attachment_file_size_limit 2M
gateway_limits false
template_dir templates
"""


def told(answer: Answer) -> dict[str, Any]:
    """The message object, or the error."""
    shown: dict[str, Any] = json.loads(answer.body)
    return shown


class FileTests(BrokerTestCase):
    """``curl -T``"""

    settings = SETTINGS

    def write(self, name: str, size: int) -> bytes:
        """A file to send."""
        content = os.urandom(size)
        Path(self.directory, name).write_bytes(content)
        return content

    def path_of(self, attachment: dict[str, Any]) -> str:
        """Of an attachment's address, on this gateway."""
        base = f"http://localhost:{self.broker.port('http')}"
        url: str = attachment["url"]
        self.assertTrue(url.startswith(f"{base}/file/"), url)
        return url.removeprefix(base)

    def test_a_file_is_kept_and_fetched(self) -> None:
        """Byte for byte; who subscribes by MQTT hears of it."""
        content = self.write("photo.bin", 1_500_000)
        subscriber = self.subscriber("-t", "photos")
        message = told(self.curl("/photos", "-T", "photo.bin", "-H", "Filename: photo.bin"))
        self.assertEqual(message["message"], "You received a file: photo.bin")
        self.assertEqual(message["attachment"]["size"], len(content))
        subscriber.until("You received a file: photo.bin")
        self.assertEqual(self.curl(self.path_of(message["attachment"]), "-o", "back.bin").status, 200)
        self.assertEqual(Path(self.directory, "back.bin").read_bytes(), content)

    def test_with_tls(self) -> None:
        """The address that is handed out has it, too; both ways the disk and the reader set the pace."""
        content = self.write("secret", 1_900_000)
        trusting = ("--cacert", "certs/ca.crt", "--limit-rate", "20M")
        answer = self.curl("/secrets", *trusting, "-T", "secret", port="https", scheme="https")
        url = told(answer)["attachment"]["url"]
        self.assertTrue(url.startswith(f"https://localhost:{self.broker.port('https')}/file/"), url)
        self.assertEqual(curl(url, *trusting, "-o", "told", directory=self.directory).status, 200)
        self.assertEqual(Path(self.directory, "told").read_bytes(), content)

    def test_in_chunks_and_in_parts(self) -> None:
        """With a length that nobody knows before; and fetched from the middle on."""
        content = self.write("piped", 300_000)
        answer = self.curl("/piped", "-T", "piped", "-H", "Transfer-Encoding: chunked")
        path = self.path_of(told(answer)["attachment"])
        answer = self.curl(path, "-r", "299990-", "-o", "part")
        self.assertEqual((answer.status, Path(self.directory, "part").read_bytes()), (206, content[-10:]))

    def test_too_large_is_413(self) -> None:
        """Announced or not."""
        self.write("large", 3_000_000)
        for flags in (("-T", "large"), ("-T", "large", "-H", "Transfer-Encoding: chunked")):
            self.assertEqual(told(self.curl("/large", *flags))["code"], 41301)

    def test_a_repetition_gets_the_first_answer(self) -> None:
        """With a key, as curl --retry sends it; the second file is not kept."""
        self.write("again", 200_000)
        first, second = (
            self.curl("/again", "-T", "again", "-H", "Idempotency-Key: k1", "-H", "Filename: again")
            for _ in "12"
        )
        self.assertEqual(first.body, second.body)
        self.write("again", 200_000)
        third = self.curl("/again", "-T", "again", "-H", "Idempotency-Key: k1", "-H", "Filename: again")
        self.assertEqual(told(third)["code"], 42200)

    def test_templates(self) -> None:
        """Inline, built in, and of one's own."""
        folder = Path(self.directory, "templates")
        folder.mkdir()
        (folder / "own.yml").write_text("title: '{{ .a }}'\nmessage: '{{ join \"+\" .b }}'\n")
        body = ("-d", '{"a":"A","b":[1,2],"status":"firing","title":"cpu"}')
        inline = ("-H", "X-Template: yes", "-H", "X-Title: {{.a}}", "-H", "X-Message: {{len .b}}")
        shown = [told(self.curl("/made", *inline, *body))]
        shown += [told(self.curl("/made", "-H", f"X-Template: {name}", *body)) for name in ("own", "grafana")]
        self.assertEqual([message["title"] for message in shown], ["A", "A", "🔥 cpu"])
        self.assertEqual([message["message"] for message in shown[:2]], ["2", "1+2"])
        self.assertEqual(told(self.curl("/made", "-H", "X-Template: ../own", *body))["code"], 40047)

    def test_slow_uploads_harm_nobody(self) -> None:
        """500 of them hold 20 files at the most, and others are served meanwhile."""
        head = b"PUT /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"
        senders = [socket.create_connection(("127.0.0.1", self.broker.port("http"))) for _ in range(500)]
        for sender in senders:
            self.addCleanup(sender.close)
            sender.sendall(head + b"x" * 1000)
        began = time.monotonic()
        self.assertEqual(self.curl("/v1/health").status, 200)
        self.assertEqual(self.curl("/quick", "-d", "hello").status, 200)
        self.assertLess(time.monotonic() - began, 2.0)
        files = os.listdir(Path(self.directory, "files"))
        self.assertLessEqual(len([name for name in files if name.endswith(".part")]), 20)


class KilledTests(SynchronousTestCase):
    """kill -9"""

    def setUp(self) -> None:
        self.directory = new_directory()
        self.start()

    def start(self) -> None:
        self.broker: Broker = start_pushd(SETTINGS, self.directory)
        self.addCleanup(self.broker.kill)

    def test_what_was_answered_survives_and_nothing_else(self) -> None:
        """The file is there with its message; half of one that was on its way is not."""
        content = os.urandom(500_000)
        Path(self.directory, "file").write_bytes(content)
        port = self.broker.port("http")
        answer = curl(f"http://localhost:{port}/t", "-T", "file", directory=self.directory)
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(b"PUT /t HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500_000)
            self.await_part()
            self.broker.kill()
        self.start()
        (name,) = os.listdir(self.directory / "files")
        self.assertFalse(name.endswith(".part"))
        base = f"http://localhost:{self.broker.port('http')}"
        (line,) = curl(f"{base}/t/json?poll=1", directory=self.directory).body.splitlines()
        attachment = json.loads(line)["attachment"]
        self.assertEqual(attachment, told(answer)["attachment"])
        path = attachment["url"].partition("/file/")[2]
        curl(f"{base}/file/{path}", "-o", "back", directory=self.directory)
        back = (self.directory / "back").read_bytes()
        self.assertEqual(hashlib.sha256(back).digest(), hashlib.sha256(content).digest())

    def await_part(self) -> None:
        """Until some of a file that is on its way is on disk."""
        deadline = time.monotonic() + 20
        while not any(name.endswith(".part") for name in os.listdir(self.directory / "files")):
            self.assertLess(time.monotonic(), deadline)
            os.sched_yield()
