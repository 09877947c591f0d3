"""The door, with a real Redis behind it."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl.authority import issue_server, make_authority
from pushd.redis.door import Door, connect
from pushd.redis.errors import BadUrl, RedisRefused, RedisUnavailable
from pushd.redis.script import Script, unpacked
from tests.processes import Program
from tests.redis.loop import Loop
from tests.redis.server import RedisServer, shared_server
from tests.service.notes import Notes

T = TypeVar("T")

DB = 9  # of the shared server

# Asks each Redis that the command line names. Twisted's TLS wants the reactor of the process.
ASKING = """
import sys
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from pushd.redis.door import connect

async def ask_all(reactor):
    for url in sys.argv[1:]:
        door = connect(url, reactor, 1.0)
        try:
            print(await door.call("ECHO", "in"))
        except Exception as problem:
            print(problem)
        await door.close()

react(lambda reactor: ensureDeferred(ask_all(reactor)))
"""


class DoorTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.lines = Notes(self).lines

    def open(self, url: str, timeout_s: float = 2.0) -> Door:
        door = connect(url, self.loop.reactor, timeout_s)
        self.addCleanup(lambda: self.loop.wait(door.close()))
        return door

    def wait(self, result: Deferred[T]) -> T:
        return self.loop.wait(result)

    def folder(self) -> Path:
        folder = Path(self.mktemp())
        folder.mkdir()
        return folder

    def server(self, *options: str) -> RedisServer:
        server = RedisServer(self.folder(), *options)
        self.addCleanup(server.stop)
        return server


class QuestionTests(DoorTestCase):
    """What can be asked."""

    def setUp(self) -> None:
        super().setUp()
        self.door = self.open(f"{shared_server().url}/{DB}")
        self.wait(self.door.call("FLUSHDB"))

    def test_kinds_of_answers(self) -> None:
        """Bytes, numbers, nothing and lists of them."""
        self.assertEqual(self.wait(self.door.call("APPEND", "ä", "1.0")), 3)
        self.assertEqual(self.wait(self.door.call("GET", "ä")), b"1.0")
        self.assertIsNone(self.wait(self.door.call("GET", "b")))
        self.assertEqual(self.wait(self.door.call("MGET", b"\xc3\xa4", "b")), [b"1.0", None])

    def test_words_are_only_words(self) -> None:
        """Line ends, blanks, quotes and length marks in a word are part of it."""
        for word in ("a b", "a\r\nPING\r\n", "$3\r\nabc", "'\"", "", "x" * 200_000):
            self.wait(self.door.call("SET", "key", word))
            self.assertEqual(self.wait(self.door.call("GET", "key")), word.encode())

    def test_refused(self) -> None:
        """An error of Redis is one of ours, and the connection goes on."""
        problem = self.assertRaises(RedisRefused, self.wait, self.door.call("LPUSH", "key"))
        self.assertIn("wrong number of arguments", str(problem))
        self.assertEqual(self.wait(self.door.call("EXISTS", "key")), 0)

    def test_script(self) -> None:
        """By its text the first time, by its hash then, and by its text again when Redis has forgotten it."""
        script = Script(f"return cmsgpack.pack({{KEYS[1], ARGV[1], {time.time()}}})")
        for _ in range(2):
            answers = [self.wait(self.door.run(script, ["k"], ["ä", 1])) for _ in range(2)]
            self.assertEqual([unpacked(answer)[:2] for answer in answers], [[b"k", "ä".encode()]] * 2)
            self.wait(self.door.call("SCRIPT", "FLUSH"))

    def test_script_that_fails(self) -> None:
        """Its error is told."""
        problem = self.assertRaises(RedisRefused, self.wait, self.door.run(Script("return nothing.at_all")))
        self.assertIn("nothing", str(problem))

    def test_pipeline(self) -> None:
        """Many questions, and as many answers in their order; one error fails them all."""
        answers = self.wait(self.door.pipeline([("INCRBY", "n", step) for step in range(200)]))
        self.assertEqual(answers[-1], sum(range(200)))
        self.assertEqual(self.wait(self.door.pipeline([])), [])
        failing = self.door.pipeline([("SET", "a", "b"), ("INCR", "a"), ("GET", "a")])
        self.assertRaises(RedisRefused, self.wait, failing)
        self.assertEqual(self.wait(self.door.call("GET", "a")), b"b")

    def test_transaction(self) -> None:
        """What the commands answer, as if they were asked alone; an error is told, wherever it is."""
        answers = self.wait(self.door.transaction([("SADD", "s", "x", "y"), ("GET", "no"), ("SCARD", "s")]))
        self.assertEqual(answers, [2, None, 2])
        for broken in (("INCR", "s"), ("INCR",)):
            self.assertRaises(RedisRefused, self.wait, self.door.transaction([("SET", "a", "b"), broken]))
        self.assertEqual(self.wait(self.door.call("SCARD", "s")), 2)

    def test_transaction_beside_others(self) -> None:
        """Questions that are asked at the same time are not part of it."""
        asked = [
            self.door.call("INCR", "n"),
            self.door.transaction([("INCR", "n"), ("INCR", "n")]),
            self.door.call("INCR", "n"),
        ]
        self.assertEqual([self.wait(each) for each in asked], [1, [2, 3], 4])

    def test_cancelled(self) -> None:
        """Who gives up gets no answer, and the answers of the others are still their own."""
        first, second = self.door.call("ECHO", "first"), self.door.call("ECHO", "second")
        first.addErrback(lambda _: None)
        first.cancel()
        self.assertEqual(self.wait(second), b"second")
        self.assertEqual(self.lines, [])

    def test_large_answers(self) -> None:
        """Megabytes come in one piece."""
        self.wait(self.door.call("SETRANGE", "key", 4_000_000, "x"))
        self.assertEqual(len(self.wait(self.door.call("GET", "key"))), 4_000_001)


class LoginTests(DoorTestCase):
    """Passwords, databases, sockets, TLS."""

    def test_password(self) -> None:
        """The right one opens; a wrong one, or none, is a reason that is told without it."""
        server = self.server("--requirepass", "sesame, open")
        host = f"127.0.0.1:{server.port}"
        self.assertEqual(self.wait(self.open(f"redis://:sesame%2C%20open@{host}").call("ECHO", "in")), b"in")
        for url in (f"redis://:hunter2@{host}", f"redis://nobody:hunter2@{host}", f"redis://{host}"):
            problem = self.assertRaises(RedisUnavailable, self.wait, self.open(url, 0.2).call("ECHO", "in"))
            self.assertRegex(str(problem), "no answer.*(WRONGPASS|NOAUTH)")
            self.assertNotIn("hunter2", str(problem))

    def test_user(self) -> None:
        """A user of Redis's own access lists."""
        server = self.server("--user", "pushd", "on", ">secret", "~pushd:*", "+@all")
        door = self.open(f"redis://pushd:secret@127.0.0.1:{server.port}")
        self.assertEqual(self.wait(door.call("ACL", "WHOAMI")), b"pushd")
        self.assertRaises(RedisRefused, self.wait, door.call("GET", "elsewhere"))

    def test_database(self) -> None:
        """Each is a world of its own; one that Redis does not have is a reason."""
        one, other = (self.open(f"{shared_server().url}/{number}") for number in (DB, DB + 1))
        self.wait(one.call("SET", "key", "value"))
        self.assertEqual(self.wait(other.call("EXISTS", "key")), 0)
        none = self.open(f"{shared_server().url}/9999", 0.2)
        problem = self.assertRaises(RedisUnavailable, self.wait, none.call("GET", "key"))
        self.assertIn("out of range", str(problem))

    def test_unix_socket(self) -> None:
        """The same through a path; a path that leads nowhere is Redis being away."""
        door = self.open(f"unix://{shared_server().path}?db={DB}")
        self.assertEqual(self.wait(door.call("ECHO", "in")), b"in")
        nowhere = self.open(f"unix://{self.mktemp()}", 0.1)
        self.assertRaises(RedisUnavailable, self.wait, nowhere.call("ECHO", "in"))

    def test_tls(self) -> None:
        """The server has to prove who it is: to us by the system's authorities, or by the one we name."""
        folder = self.folder()
        now = datetime.now(timezone.utc)
        authority = make_authority(now)
        identity = issue_server(authority, [], now)
        for name, text in (
            ("ca.pem", authority.certificate_pem()),
            ("server.pem", identity.certificate_pem()),
            ("server.key", identity.key_pem()),
        ):
            (folder / name).write_bytes(text)
        server = RedisServer(folder, tls=True)
        self.addCleanup(server.stop)
        url = f"rediss://localhost:{server.tls_port}"
        asking = Program([sys.executable, "-c", ASKING, f"{url}?ssl_ca_certs={folder}/ca.pem", url], folder)
        asking.finish()
        self.assertEqual(asking.lines[0], "b'in'")
        self.assertIn("certificate verify failed", asking.lines[1])

    def test_no_certificates(self) -> None:
        """A file that is not there, or has none in it, is found at the start."""
        for path in ("/nowhere/ca.pem", __file__):
            self.assertRaises(BadUrl, self.open, f"rediss://localhost?ssl_ca_certs={path}")


class AwayTests(DoorTestCase):
    """A Redis that is not there, or does not answer."""

    def test_nobody_there(self) -> None:
        """Whoever asks waits for the time that it has, and is told why."""
        server = self.server()
        server.stop()
        door = self.open(server.url, 0.2)
        began = time.monotonic()
        asked: list[Deferred[Any]] = [
            door.call("PING"),
            door.run(Script("return 1")),
            door.pipeline([["PING"]]),
        ]
        for question in asked:
            problem = self.assertRaises(RedisUnavailable, self.wait, question)
            self.assertIn("refused", str(problem))
        self.assertLess(time.monotonic() - began, 1.5)

    def test_comes_back_in_time(self) -> None:
        """A question that waits is answered when Redis is back: a restart of it is not noticed by logins."""
        server = self.server()
        door = self.open(server.url)
        self.wait(door.call("PING"))
        server.stop()
        self.loop.wait_until(lambda: bool(self.lines))
        asked = door.call("ECHO", "waiting")
        server.start()
        self.assertEqual(self.wait(asked), b"waiting")
        there = f"Redis at 127.0.0.1:{server.port}"
        self.assertEqual(self.lines, [f"{there} is away: the connection is lost", f"{there} is back"])

    def test_lost_on_the_way(self) -> None:
        """What was asked and not answered fails at once, not when its time is over."""
        server = self.server()
        door = self.open(server.url)
        self.wait(door.call("PING"))
        server.pause()
        asked = door.call("ECHO", "never")
        began = time.monotonic()
        server.stop()
        self.assertRaises(RedisUnavailable, self.wait, asked)
        self.assertLess(time.monotonic() - began, 1.5)

    def test_frozen(self) -> None:
        """It costs each who asks its time and no more, and one line; the next connection works."""
        server = self.server()
        door = self.open(server.url, 0.2)
        self.wait(door.call("SET", "key", "value"))
        server.pause()
        for _ in range(2):
            began = time.monotonic()
            self.assertRaises(RedisUnavailable, self.wait, door.call("GET", "key"))
            self.assertLess(time.monotonic() - began, 1.5)
        server.resume()
        self.assertEqual(self.wait(door.call("GET", "key")), b"value")
        self.assertEqual(len(self.lines), 2)

    def test_closed(self) -> None:
        """Nothing is asked any more."""
        door = self.open(shared_server().url)
        self.wait(door.call("PING"))
        self.wait(door.close())
        self.assertRaises(RedisUnavailable, self.wait, door.call("PING"))
        self.assertEqual(self.lines, [])
