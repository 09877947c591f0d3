"""Streams of the gateway, as curl, a browser and a library for WebSocket read them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import websocket  # of websocket-client

from tests.clients.browser import Browser, WebServer
from tests.clients.furniture import ADA, BrokerTestCase
from tests.processes import DEADLINE_S, Program, program

PAGE = Path(__file__).with_name("js") / "streams.html"

SETTINGS = """\
allow_anonymous true
password_file passwd
acl_file acl
persistence true
persistence_location data
stream_keepalive_interval 5

listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http

listener {https} 127.0.0.1
protocol http
certfile certs/server.crt
keyfile certs/server.key
"""

PAGED = SETTINGS + "# The page is served at {page}.\n"

ACL = """\
topic read public/#
topic readwrite open
topic readwrite later
user ada
topic readwrite #
"""

AS_ADA = ("-u", "ada:secret")
LOGIN = urlsafe_b64encode(b"Basic YWRhOnNlY3JldA==").decode().rstrip("=")  # for who can set no header


class StreamCase(BrokerTestCase):
    """One pushd with a gateway."""

    settings = SETTINGS
    acl = ACL

    def url(self, path: str, scheme: str = "http") -> str:
        port = self.broker.port("https" if scheme in ("https", "wss") else "http")
        return f"{scheme}://localhost:{port}{path}"

    def push(self, path: str, text: str, *flags: str) -> str:
        """:return: the message's id."""
        answer = self.curl(path, "-d", text, *AS_ADA, *flags)
        self.assertEqual(answer.status, 200, answer)
        return str(json.loads(answer.body)["id"])


class CurlTests(StreamCase):
    """Line by line"""

    def reader(self, path: str, *flags: str, scheme: str = "http") -> Program:
        """A curl that has a stream open; it ends with the test."""
        words = ("-s", "-S", "-N", "--cacert", "certs/ca.crt", *AS_ADA, *flags, self.url(path, scheme))
        reader = Program([program("curl"), *words], self.directory)
        self.addCleanup(reader.kill)
        return reader

    def polled(self, path: str, *flags: str) -> list[str]:
        """What was said there, by ``raw``."""
        return self.curl(f"{path}/raw?poll=1", *AS_ADA, *flags).body.splitlines()

    def test_json(self) -> None:
        """What is pushed and what MQTT clients publish, over TLS as well."""
        readers = [self.reader("/curl-1,curl-2/json", scheme=scheme) for scheme in ("http", "https")]
        for reader in readers:
            reader.wait_for('"event":"open","topic":"curl-1,curl-2"')
        self.push("/curl-1", "hello", "-H", "Title: T")
        self.publish("-t", "curl-2", "-m", "from MQTT", "-q", "1", *ADA)
        for reader in readers:
            reader.wait_for('"topic":"curl-1","title":"T","message":"hello"')
            reader.wait_for('"topic":"curl-2","message":"from MQTT"')

    def test_keepalive(self) -> None:
        """As often as the option says."""
        self.reader("/curl-3/sse").wait_for("^event: keepalive$")

    def test_away_for_a_while(self) -> None:
        """Who comes back with the last id gets what was said meanwhile, and then what is being said."""
        first = self.push("/curl-4", "one")
        for text in ("two", "three"):
            self.push("/curl-4", text)
        reader = self.reader(f"/curl-4/json?since={first}")
        reader.wait_for('"message":"three"')
        self.push("/curl-4", "four")
        reader.wait_for('"message":"four"')
        said = [json.loads(line) for line in reader.lines]
        self.assertEqual([shown.get("message") for shown in said], [None, "two", "three", "four"])

    def test_poll(self) -> None:
        """By query or header, with filters, and with what is to come."""
        self.push("/curl-5", "low", "-H", "Priority: low")
        self.push("/curl-5", "high", "-H", "Priority: high", "-H", "Tags: a,b")
        self.push("/curl-5", "later", "-H", "In: 1h")
        self.assertEqual(self.polled("/curl-5"), ["low", "high"])
        self.assertEqual(self.polled("/curl-5", "-H", "X-Scheduled: 1"), ["low", "high", "later"])
        self.assertEqual(self.polled("/curl-5", "-H", "Tags: b"), ["high"])
        self.assertEqual(self.polled("/curl-5", "-H", "X-Since: latest"), ["high"])

    def test_after_a_restart(self) -> None:
        """What was said is still there, in its order."""
        for number in range(200):
            self.push("/curl-6", str(number), "-H", "Priority: 1")
        self.broker.stop()
        type(self).broker = self.broker.start_again()
        self.assertEqual(self.polled("/curl-6"), [str(number) for number in range(200)])

    def test_access(self) -> None:
        """One topic that is not for somebody spoils the list."""
        self.assertEqual(self.curl("/open/auth").body, '{"success":true}\n')
        for path in ("/curl-7/auth", "/open,curl-7/json?poll=1"):
            answer = self.curl(path)
            self.assertEqual((answer.status, json.loads(answer.body)["code"]), (403, 40301), path)

    def test_many_pages_of_archive(self) -> None:
        """A long archive comes whole to a slow reader."""
        reader = self.reader("/curl-8/raw?since=all", "--limit-rate", "200k")
        text = "x" * 4000
        for number in range(120):
            self.push("/curl-8", f"{number} {text}")
        slow = self.reader("/curl-8/raw?since=all", "--limit-rate", "200k")
        for each in (reader, slow):
            each.wait_for("^119 ")
            numbers = [line.split()[0] for line in each.lines if line]
            self.assertEqual(numbers, [str(number) for number in range(120)])


class BrowserTests(StreamCase):
    """A page of another origin"""

    settings = PAGED
    browser: ClassVar[Browser]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        page = WebServer(cls.broker.port("page"), PAGE)
        cls.addClassCleanup(page.close)
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def show(self, path: str, scheme: str = "http") -> None:
        query = urlencode({"url": self.url(path, scheme)})
        self.browser.open(f"http://localhost:{self.broker.port('page')}/streams.html?{query}")

    def shown(self, *texts: str) -> None:
        """Wait until these are all that the page shows."""
        self.browser.wait_for("messages", texts[-1])
        self.assertEqual(self.browser.texts("#messages li"), list(texts))

    def test_event_source_and_websocket(self) -> None:
        """What was said, what is being said, and what is taken back."""
        for form, schemes in (("sse", ("http", "https")), ("ws", ("ws", "wss"))):
            for scheme in schemes:
                topic = f"page-{scheme}"
                self.push(f"/{topic}", "kept")
                self.show(f"/{topic}/{form}?since=all&auth={LOGIN}", scheme)
                self.browser.wait_for("state", "open")
                self.push(f"/{topic}", "Grüße")
                self.curl(f"/{topic}/seq", "-X", "DELETE", *AS_ADA)
                said = ("kept", "Grüße")
                self.shown(*(f"message {topic} {text}" for text in said), f"message_delete {topic}")

    def test_refused(self) -> None:
        """A page that may not read is told that there is nothing."""
        self.show("/page-secret/sse")
        self.browser.wait_for("state", "closed")
        self.show("/page-secret/ws", "ws")
        self.browser.wait_for("state", "closed 1006")

    def test_polling(self) -> None:
        """Closed as everything was said."""
        self.show("/open/ws?poll=1", "ws")
        self.browser.wait_for("state", "closed 1000")


class WebSocketTests(StreamCase):
    """websocket-client"""

    def connect(self, path: str, headers: Sequence[str] = ("Authorization: Basic YWRhOnNlY3JldA==",)) -> Any:
        socket = websocket.create_connection(self.url(path, "ws"), timeout=DEADLINE_S, header=list(headers))
        self.addCleanup(socket.shutdown)
        return socket

    def test_messages(self) -> None:
        """In text frames."""
        socket = self.connect("/ws-1/ws")
        self.assertEqual(json.loads(socket.recv())["event"], "open")
        self.push("/ws-1", "hello")
        self.assertEqual(json.loads(socket.recv())["message"], "hello")
        socket.send_close(1000)
        self.assertEqual(socket.recv_data(control_frame=True), (websocket.ABNF.OPCODE_CLOSE, b"\x03\xe8"))

    def test_pings(self) -> None:
        """From both sides."""
        socket = self.connect("/ws-2/ws")
        socket.recv()
        socket.ping("x")
        self.assertEqual(socket.recv_data(control_frame=True), (websocket.ABNF.OPCODE_PONG, b"x"))
        self.assertEqual(socket.recv_data(control_frame=True), (websocket.ABNF.OPCODE_PING, b""))

    def test_large_messages(self) -> None:
        """Of any length that can be pushed."""
        socket = self.connect("/ws-3/ws")
        socket.recv()
        (self.directory / "large").write_text("x" * 60_000 + "é" * 2000)
        self.push("/ws-3", "@large")
        self.assertEqual(len(json.loads(socket.recv())["message"]), 62_000)

    def test_refused(self) -> None:
        """With the status of the problem."""
        with self.assertRaises(websocket.WebSocketBadStatusException) as caught:
            self.connect("/ws-4/ws", ())
        self.assertEqual(caught.exception.status_code, 403)
