"""
What is done to a gateway that stands on the internet, at a real pushd, by raw sockets.

The same in detail, byte by byte and second by second, is in tests/gateway: here it is looked at whether it
holds over TCP, and whether those who do no harm notice.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.clients.furniture import BrokerTestCase
from tests.clients.paho_device import V311, Device
from tests.gateway.http.test_channel import MALFORMED
from tests.processes import DEADLINE_S, Program, program
from tests.websocket_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, masked_frame, server_frames

SETTINGS = """\
allow_anonymous true
persistence true
persistence_location data
attachment_cache_dir files
gateway_limits false
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""

GUESSED = """\
accounts true
allow_anonymous true
password_file passwd
gateway_limits false
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""

GOOD = b"POST /hidden HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nhidden"
UPGRADE = (
    b"GET /frames/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

MOST_S = 2.0  # how long a message may take while somebody attacks
# What is asked for, and where it is.
OWN_PLACES = (
    ("/console/", b"../console"),
    ("/console//", b"../../console"),
    ("/docs/", b"../docs"),
)
GUESSES = 1000
SLOW = 500


class AbuseCase(BrokerTestCase):
    """One pushd for all attacks of a class, as in life."""

    settings = SETTINGS

    def connect(self) -> socket.socket:
        """A connection to the gateway; it ends with the test."""
        connection = socket.create_connection(("127.0.0.1", self.broker.port("http")), DEADLINE_S)
        self.addCleanup(connection.close)
        return connection

    def exchange(self, data: bytes) -> bytes:
        """Send something. :return: all that comes back until the server closes."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
                return b"".join(iter(lambda: connection.recv(65_536), b""))
            except ConnectionError:
                return b""

    def polled(self, topic: str) -> list[str]:
        """What was said there."""
        lines = self.curl(f"/{topic}/json?poll=1").body.splitlines()
        return [json.loads(line)["message"] for line in lines]

    @contextmanager
    def healthy(self) -> Iterator[Device]:
        """A client of MQTT, to which nothing may take long: before, within and after."""
        device = Device("bystander", V311)
        device.connect(self.broker.port("mqtt"))
        device.subscribe("health", 1)
        self.assert_quick(device)
        yield device
        self.assert_quick(device)
        device.leave()

    def assert_quick(self, device: Device) -> None:
        """One message there and back, and one push, in time."""
        began = time.monotonic()
        device.publish("health", "from MQTT")
        self.assertEqual(self.curl("/health", "-d", "from HTTP").status, 200)
        self.assertEqual(device.next_payloads(2), [b"from MQTT", b"from HTTP"])
        self.assertLess(time.monotonic() - began, MOST_S)


class SmugglingTests(AbuseCase):
    """Requests that two servers would read in two ways"""

    def test_each_ends_in_400_and_close(self) -> None:
        """What stands behind it is nobody's request."""
        for what, data in MALFORMED.items():
            answer = self.exchange(data + GOOD)
            self.assertRegex(answer, rb"^HTTP/1.1 400 ", what)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, what)
            self.assertEqual(json.loads(answer.partition(b"\r\n\r\n")[2])["code"], 40000, what)
        self.assertEqual(self.polled("hidden"), [])
        self.assertEqual(self.polled("t"), [])

    def test_what_comes_in_pieces(self) -> None:
        """A front that sends the head and the rest apart hides nothing either."""
        with self.connect() as connection:
            for name in ("both framings", "two lengths", "chunks in HTTP/1.0"):
                head, _, rest = MALFORMED[name].partition(b"\r\n")
                with self.connect() as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for piece in (head, b"\r\n", rest):
                        connection.sendall(piece)
                    self.assertRegex(connection.recv(65_536), rb"^HTTP/1.1 400 ", name)


class SlownessTests(AbuseCase):
    """Those who take their time"""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * SLOW)), hard))

    def test_500_slow_bodies(self) -> None:
        """A byte now and then, of a message, an object, a file, a head, and in chunks."""
        starts = (
            b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{",
            b"PUT /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n",
            b"POST /v1/push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
            b"GET /slow/json HTTP/1.1\r\nHost: h\r\nX-",
        )
        senders = [self.connect() for _ in range(SLOW)]
        with self.healthy() as device:
            for number, sender in enumerate(senders):
                sender.sendall(starts[number % len(starts)])
            for _ in range(3):
                for sender in senders:
                    sender.send(b"x")
                self.assert_quick(device)
        self.assertEqual(self.polled("slow"), [])

    def test_readers_that_do_not_read(self) -> None:
        """They are cut off, take no memory, and one that reads gets all there is, in order."""
        deaf = [self.deaf(name) for name in ("json", "sse", "raw", "ws") for _ in range(5)]
        url = f"http://localhost:{self.broker.port('http')}/flood/raw"
        reader = Program([program("curl"), "-sSN", url], self.directory)
        self.addCleanup(reader.kill)
        reader.wait_for("^$")
        before = self.memory_mib()
        with self.healthy() as device:
            self.push_many(100)
            self.assert_quick(device)
            self.push_many(100, first=100)
        reader.wait_for("^199 ")
        numbers = [int(line.split()[0]) for line in reader.lines if line]
        self.assertEqual(numbers, list(range(200)))
        self.assertLess(self.memory_mib() - before, 60)
        for connection in deaf:
            self.assertLess(self.left_of(connection), 10_000_000)

    def test_questions_without_end(self) -> None:
        """Who asks for a long answer again and again, and takes none, is not read any more."""
        before = self.memory_mib()
        with self.healthy() as device:
            connection = self.connect()
            connection.settimeout(0.2)  # of silence: the kernel takes no more for pushd, nor pushd from it
            questions = b"GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n" * 1_000_000
            self.assertRaises(TimeoutError, connection.sendall, questions)
            self.assert_quick(device)
        self.assertLess(self.memory_mib() - before, 60)

    def test_large_bodies_without_end(self) -> None:
        """Batches whose last byte never comes: a few are waited for, the others told to come again."""
        before = self.memory_mib()
        body = b" " * 8_000_000
        head = b"POST /v1/push/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 8000001\r\n\r\n"
        with self.healthy() as device:
            senders = [self.connect() for _ in range(30)]
            for sender in senders:
                sender.sendall(head + body)
            self.assert_quick(device)
        self.assertLess(self.memory_mib() - before, 150)
        self.assertRegex(senders[-1].recv(4096), rb'(?s)^HTTP/1.1 429 .*Retry-After.*"code":42901')

    def deaf(self, name: str) -> socket.socket:
        """A stream whose reader stops reading."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(DEADLINE_S)
        connection.connect(("127.0.0.1", self.broker.port("http")))
        self.addCleanup(connection.close)
        connection.sendall(UPGRADE.replace(b"/frames/ws", b"/flood/" + name.encode()))
        self.assertIn(b"HTTP/1.1 ", connection.recv(64))
        return connection

    def push_many(self, count: int, first: int = 0) -> None:
        """60 kB each, over one connection."""
        gateway = http.client.HTTPConnection("127.0.0.1", self.broker.port("http"), timeout=DEADLINE_S)
        for number in range(first, first + count):
            gateway.request("POST", "/flood?cache=no", f"{number} ".encode() + b"x" * 60_000)
            self.assertEqual(gateway.getresponse().read()[:1], b"{")
        gateway.close()

    def left_of(self, connection: socket.socket) -> int:
        """How many bytes there still are; the stream must have an end."""
        count = 0
        try:
            while data := connection.recv(1 << 20):
                count += len(data)
        except ConnectionError:
            pass
        return count

    def memory_mib(self) -> float:
        """Of pushd."""
        status = Path(f"/proc/{self.broker.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024


class WebSocketTests(AbuseCase):
    """Frames that are none, and frames that nobody asked for"""

    # What a reader says, and the code with which it is sent away.
    BROKEN: ClassVar[dict[str, tuple[bytes, int]]] = {
        "unmasked": (masked_frame(b"x", PING, key=None), 1002),
        "unmasked data": (masked_frame(b"x", TEXT, key=None), 1002),
        "a length of 2^63": (masked_frame(b"x", BINARY, length=1 << 63), 1002),
        "a length of 2^64 - 1": (masked_frame(b"x", BINARY, length=(1 << 64) - 1), 1002),
        "a length of 2^62": (masked_frame(b"x", BINARY, length=1 << 62), 1003),
        "a text": (masked_frame(b"hello", TEXT), 1003),
        "a text that is no UTF-8": (masked_frame(b"\xff", TEXT), 1007),
        "a ping of 126 bytes": (masked_frame(b"x" * 126, PING), 1002),
        "a ping in two parts": (masked_frame(b"x", PING, first=0), 1002),
        "reserved bits": (masked_frame(b"x", PING, first=0xC0), 1002),
        "an unknown opcode": (masked_frame(b"x", 0x7), 1002),
        "an end without a beginning": (masked_frame(b"x", CONTINUATION), 1002),
        "a code of nobody's": (masked_frame(b"\x03\xed", CLOSE), 1002),
    }
    UPGRADES: ClassVar[dict[str, tuple[tuple[bytes, bytes], int]]] = {
        "none": ((b"Upgrade: websocket\r\n", b""), 40016),
        "another": ((b"Upgrade: websocket", b"Upgrade: h2c"), 40016),
        "no connection": ((b"Connection: Upgrade\r\n", b""), 40016),
        "no key": ((b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 40016),
        "half a key": ((b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBs"), 40016),
        "an old version": ((b"Version: 13", b"Version: 8"), 42600),
    }

    def open(self) -> socket.socket:
        """A stream by WebSocket, after its first frame."""
        connection = self.connect()
        connection.sendall(UPGRADE)
        said = b""
        while b'"event":"open"' not in said:
            said += connection.recv(4096)
        self.assertTrue(said.startswith(b"HTTP/1.1 101 "), said)
        return connection

    def test_broken_frames(self) -> None:
        """Each ends its own connection, with its code, and no other."""
        bystander = self.open()
        for what, (frame, code) in self.BROKEN.items():
            connection = self.open()
            connection.sendall(frame)
            said = b"".join(iter(lambda: connection.recv(4096), b""))  # noqa: B023  # read at once
            (closed,) = server_frames(said)
            self.assertEqual((closed.opcode, int.from_bytes(closed.payload[:2], "big")), (CLOSE, code), what)
        self.assert_alive(bystander)

    def assert_alive(self, connection: socket.socket) -> None:
        """It hears, and is answered."""
        connection.sendall(masked_frame(b"there?", PING))
        self.assertEqual(server_frames(connection.recv(4096)), [(PONG, b"there?")])
        self.assertEqual(self.curl("/frames", "-d", "still here").status, 200)
        self.assertIn(b"still here", connection.recv(4096))

    def test_a_byte_at_a_time(self) -> None:
        """Frames of no bytes and bytes of no frames: all that is well-formed is heard."""
        connection = self.open()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in masked_frame(b"", PONG) * 3 + masked_frame(b"x" * 125, PING):
            connection.sendall(bytes((byte,)))
        self.assertEqual(server_frames(connection.recv(4096)), [(PONG, b"x" * 125)])
        self.assert_alive(connection)

    def test_no_upgrade(self) -> None:
        """Refused in JSON, in words of their own."""
        for what, ((before, after), code) in self.UPGRADES.items():
            connection = self.connect()
            connection.sendall(UPGRADE.replace(before, after))
            answer = connection.recv(4096)
            self.assertEqual(json.loads(answer.partition(b"\r\n\r\n")[2])["code"], code, what)


class GuessingTests(AbuseCase):
    """Those who try passwords and tokens"""

    settings = GUESSED

    def ask(self, gateway: http.client.HTTPConnection, login: str) -> tuple[int, str, int]:
        """:return: status and text of the answer, and what it says of when to come again."""
        shown = "Bearer " + login if login.startswith("tk_") else "Basic " + encoded(login)
        gateway.request("GET", "/guess/auth", headers={"Authorization": shown})
        answer = gateway.getresponse()
        return answer.status, answer.read().decode(), int(answer.headers.get("Retry-After", 0))

    def test_a_thousand_guesses(self) -> None:
        """Few are looked at, whoever is guessed at, and what is said is the same for all."""
        gateway = http.client.HTTPConnection("127.0.0.1", self.broker.port("http"), timeout=DEADLINE_S)
        guesses = ("ada:{}", "nobody{}:x", ":tk_{:029}", "tk_{:029}", "bob:{}")
        began = time.monotonic()
        with self.healthy():
            told = [self.ask(gateway, guesses[n % len(guesses)].format(n)) for n in range(GUESSES)]
        statuses = [status for status, _, _ in told]
        self.assertEqual(set(statuses), {401, 429})
        looked_at = statuses.count(401)
        self.assertLessEqual(looked_at, 10 + (time.monotonic() - began) / 60 * 10 + 1)
        self.assertEqual(len({text for status, text, _ in told if status == 401}), 1)
        self.assertEqual(len({text for status, text, _ in told if status == 429}), 1)
        self.assertTrue(all(after > 0 for status, _, after in told if status == 429))

    def test_z_the_right_one_does_not_help(self) -> None:
        """After too many it is not looked at: else guessing would go on at the price of an answer."""
        gateway = http.client.HTTPConnection("127.0.0.1", self.broker.port("http"), timeout=DEADLINE_S)
        for number in range(20):
            self.ask(gateway, f"eve:{number}")
        self.assertEqual(self.ask(gateway, "ada:secret")[0], 429)


class LeadingAstrayTests(AbuseCase):
    """What a browser could be made to do"""

    def test_no_redirects(self) -> None:
        """Whatever stands in an address: a slash too many behind two pages, and nothing else."""
        for target in (
            "/", "//evil.example/", "/console/", "/docs/", "/docs", "//evil.example/..", "/\\evil.example",
            "/https://evil.example/", "/x//", "/v1", "/v1/", "/v1/health/", "/v1//health", "/file/",
            "/metrics/", "/_matrix/push/v1/notify/", "/openapi.json/", "/v1/clients/", "/v1/users//",
            "/t?url=//evil.example",
            "http://evil.example/v1/health/", "/%2F%2Fevil.example", "/console//", "/v1/%0d%0aLocation:%20x",
        ):  # fmt: skip
            head = f"GET {target} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
            answer = self.exchange(head.encode())
            self.assertRegex(answer, rb"^HTTP/1.1 \d", target)
            found = re.search(rb"(?m)^Location: (.*)\r$", answer.partition(b"\r\n\r\n")[0])
            if found is not None:
                self.assertIn((target, found[1]), OWN_PLACES, answer)

    def test_no_cookies(self) -> None:
        """No page of another site asks in its reader's name: a login is never remembered by the browser."""
        origin = ("-H", "Origin: https://evil.example", "-u", "ada:secret", "-i")
        for path in ("/console", "/docs", "/v1/account", "/t/json?poll=1", "/t/auth", "/v1/health"):
            for method in ("GET", "OPTIONS"):
                head = self.curl(path, "-X", method, *origin).body.lower().partition("\r\n\r\n")[0]
                self.assertNotIn("set-cookie", head, path)
                self.assertNotIn("allow-credentials", head, path)
                self.assertNotIn("www-authenticate", head, path)
        for path in ("/console", "/docs"):
            self.assertNotIn("access-control-allow-origin", self.curl(path, *origin).body.lower(), path)

    def test_files_are_never_pages(self) -> None:
        """Whatever they are called and contain, they are to be saved, and not what a browser would run."""
        for name, content in (
            ("a.html", b"<script>alert(1)</script>"),
            ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
            ("a.xhtml", b"<html xmlns='http://www.w3.org/1999/xhtml'/>"),
            ("a.js", b"alert(1)"),
            ("a.xml", b"<?xml-stylesheet href='x'?>"),
            ("a.png.html", b"\x89PNG\r\n\x1a\n<script>"),
            ("a", b"<!DOCTYPE html><script>"),
            ("a.mht", b"MIME-Version: 1.0"),
        ):
            Path(self.directory, "file").write_bytes(content)
            pushed = self.curl("/files", "-T", "file", "-H", f"Filename: {name}")
            url = json.loads(pushed.body)["attachment"]["url"]
            shown = self.curl(url[url.index("/file/") :], "-i").body.lower()
            self.assertIn("content-disposition: attachment", shown, name)
            self.assertIn("x-content-type-options: nosniff", shown, name)
            kind = re.search("content-type: (.*)", shown)
            assert kind is not None
            self.assertNotRegex(kind[1], "html|svg|xml|javascript|multipart", name)


def encoded(login: str) -> str:
    return base64.b64encode(login.encode()).decode()
