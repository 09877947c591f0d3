"""What the tests of ntfy's contract share: a gateway, curl, and what counts as an answer of ntfy's."""

from __future__ import annotations

import base64
import functools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from tests.clients.furniture import BrokerTestCase, new_directory
from tests.processes import Broker, Program, program, start_pushd

SETTINGS = """\
allow_anonymous true
accounts true
password_file passwd
acl_file acl
admin_user ada
persistence true
persistence_location data
attachment_cache_dir files
attachment_file_size_limit 100K
visitor_attachment_total_size_limit 1M
stream_keepalive_interval 5
gateway_limits false
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""

# Whoever has no name may do everything but read and write what is ada's.
ACL = """\
topic readwrite #
topic deny adas
topic deny adas/#
user ada
topic readwrite #
user bob
topic readwrite bobs
"""

AS_ADA = ("-u", "ada:secret")

# ntfy's names, in ntfy's order. Clients tolerate others in messages; none are needed.
FIELDS = (
    "id", "time", "expires", "event", "topic", "sequence_id", "title", "message", "priority", "tags",
    "click", "icon", "actions", "attachment", "poll_id", "content_type", "encoding",
)  # fmt: skip
EVENTS = ("open", "keepalive", "message", "poll_request", "message_delete", "message_clear")
ATTACHMENT_FIELDS = ("name", "type", "size", "expires", "url")

# Twelve of these are a message's id.
ID = "[A-Za-z0-9]{12}"

Object = dict[str, Any]


class Reply(NamedTuple):
    """What curl got, with the headers, whose names are in lower case."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def object(self) -> Object:
        """The body, which must be a JSON object."""
        loaded = json.loads(self.body)
        assert isinstance(loaded, dict), self
        return loaded


class SurfaceCase(BrokerTestCase):
    """One gateway that any client of ntfy's could be pointed at; the same for all classes."""

    settings = SETTINGS
    acl = ACL

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory, cls.broker = _gateway(cls.settings, cls.acl)

    @classmethod
    def tearDownClass(cls) -> None:
        """The broker goes on: nothing in it is of one class. It ends with the run."""
        assert "Traceback" not in cls.broker.log(), cls.broker.log()

    def ask(self, path: str, *flags: str) -> Reply:
        """One request by curl; its answer must be no HTML and lead nowhere else."""
        answer = self.curl(path, "-i", "--max-time", "10", "--path-as-is", *flags)
        self.assertEqual(answer.exit_status, 0, (path, flags, answer))
        _, _, whole = answer.body.rpartition("HTTP/1.1 ")  # behind a "100 Continue", too
        head, _, body = re.sub("\r\n", "\n", whole).partition("\n\n")
        lines = dict(line.split(": ", 1) for line in head.split("\n")[1:])
        headers = {name.lower(): value for name, value in lines.items()}
        self.assertNotIn("html", headers.get("content-type", ""), (path, flags))
        self.assertNotIn("location", headers, (path, flags))
        return Reply(answer.status, headers, body)

    def push(self, path: str, *flags: str) -> Object:
        """A push that is taken. :return: the message object."""
        reply = self.ask(path, *flags)
        self.assertEqual(reply.status, 200, (path, flags, reply))
        return self.checked(reply.object)

    def checked(self, shown: Object) -> Object:
        """A message object as ntfy's clients take it."""
        self.assertEqual(list(shown), [name for name in FIELDS if name in shown])
        self.assertRegex(shown["id"], f"^{ID}$")
        self.assertIs(type(shown["time"]), int)
        self.assertIn(shown["event"], EVENTS)
        self.assertIn(shown.get("priority", 3), (1, 2, 3, 4, 5))
        attachment = shown.get("attachment", {})
        self.assertEqual(list(attachment), [name for name in ATTACHMENT_FIELDS if name in attachment])
        return shown

    def code(self, path: str, *flags: str) -> int:
        """The code of a refusal, whose object has no other fields than ntfy's."""
        reply = self.ask(path, *flags)
        told = reply.object
        self.assertEqual(told.keys() - {"link"}, {"code", "http", "error"}, (path, flags))
        self.assertEqual((told["http"], told["code"] // 100), (reply.status,) * 2, (path, flags))
        self.assertEqual(reply.headers["content-type"], "application/json", (path, flags))
        self.assertTrue(told["error"] and isinstance(told["error"], str))
        code: int = told["code"]
        return code

    def poll(self, topics: str, *flags: str, query: str = "") -> list[Object]:
        """What was said there."""
        body = self.ask(f"/{topics}/json?poll=1{query}", *flags).body
        return [self.checked(json.loads(line)) for line in body.splitlines()]

    def polled(self, topics: str, *flags: str, query: str = "") -> list[str]:
        """The same, the texts only."""
        return [shown["message"] for shown in self.poll(topics, *flags, query=query)]

    def assert_near(self, at: float, wanted: float) -> None:
        """Two times are the same, but for what a slow machine takes."""
        self.assertLessEqual(abs(at - wanted), 15)

    def reader(self, path: str, *flags: str) -> Program:
        """A curl that has a stream open; it ends with the test."""
        url = f"http://localhost:{self.broker.port('http')}{path}"
        reader = Program([program("curl"), "-s", "-S", "-N", *flags, url], self.directory)
        self.addCleanup(reader.kill)
        return reader


@functools.cache
def _gateway(settings: str, acl: str) -> tuple[Path, Broker]:
    directory = new_directory()
    (directory / "acl").write_text(acl)
    return directory, start_pushd(settings, directory)


def header_value(text: str) -> str:
    """The value of ``?auth=`` that stands for an Authorization header."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def basic(user: str, password: str) -> str:
    """An Authorization header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
