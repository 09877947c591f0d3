"""`pushd.gateway.ntfy.file_page`: fetching a file that came with a message."""

from __future__ import annotations

import os
from io import FileIO

from twisted.internet.defer import Deferred, execute
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.uploads import InThread
from pushd.gateway.identity.guards import Caller as Who
from pushd.gateway.ntfy import file_page
from pushd.gateway.ntfy.attachments import Kept
from pushd.gateway.ntfy.file_page import BLOCK_BYTES, STALL_S, FilePage
from tests.gateway.callers import Caller
from tests.gateway.file_folders import SMALL, Folder, SlowThreads

# (what is asked for, the status, which bytes of "0123456789", Content-Range)
RANGES: list[tuple[str, int, bytes, str | None]] = [
    ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
    ("bytes=7-", 206, b"789", "bytes 7-9/10"),
    ("bytes=-2", 206, b"89", "bytes 8-9/10"),
    ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
    ("bytes=0-", 200, b"0123456789", None),
    ("bytes=-99", 200, b"0123456789", None),
    ("bytes=3-2", 200, b"0123456789", None),
    ("bytes=-", 200, b"0123456789", None),
    ("bytes=0-1,3-4", 200, b"0123456789", None),
    ("lines=1-2", 200, b"0123456789", None),
    ("bytes=x", 200, b"0123456789", None),
]

TRAVERSALS = (
    "/file/../etc/passwd",
    "/file/..%2f..%2fetc%2fpasswd",
    "/file/%2e%2e",
    "/file/%2Fetc%2Fpasswd",
    "/file/..",
    "/file/",
    "/file",
    "/file/a",
    "/file/%00",
    "/file/" + "a" * 24,
    "/file/" + "a" * 24 + ".txt/x",
    "/file/" + "a" * 5000,
    "/file//x",
)


class Fetching(SynchronousTestCase):
    """A gateway with one file"""

    def make(self, body: bytes, name: str = "a.bin", in_thread: InThread = execute) -> None:
        self.folder = Folder(self)
        upload = self.folder.uploads.begin("address")
        upload.write(body)
        keeping = self.folder.attachments.keep(upload, name, Who("ada"), "http://h")
        attachment = self.successResultOf(Deferred.fromCoroutine(keeping))
        self.target = attachment.url.removeprefix("http://h")
        kept = self.folder.attachments.find(attachment.id)
        assert kept is not None
        self.kept: Kept = kept
        page = FilePage(self.folder.attachments, in_thread)
        self.caller = Caller(make_pages=lambda guard: {b"file": page})


class FilePageTests(Fetching):
    """``GET`` and ``HEAD``"""

    def test_a_file_is_handed_out(self) -> None:
        """Byte for byte, to be saved, whatever it is."""
        self.make(b"\0\1\2" * 100_000)
        answer = self.caller.request("GET", self.target)
        self.assertEqual((answer.status, answer.body), (200, b"\0\1\2" * 100_000))
        self.assertEqual(answer.headers["Content-Disposition"], "attachment")
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")

    def test_the_connection_goes_on(self) -> None:
        """With the next request."""
        self.make(b"hello")
        for _ in range(2):
            self.assertEqual(self.caller.request("GET", self.target).body, b"hello")

    def test_the_ending_need_not_be_said(self) -> None:
        """Nor be the right one."""
        self.make(b"hello")
        for target in (self.target.partition(".")[0], self.target.partition(".")[0] + ".jpg"):
            self.assertEqual(self.caller.request("GET", target).body, b"hello")

    def test_head_has_no_body(self) -> None:
        """But says how long it would be; so does an empty file."""
        self.make(b"hello")
        self.caller.channel.dataReceived(f"HEAD {self.target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        head, _, body = self.caller.transport.value().partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 5", head)
        self.assertEqual(body, b"")
        self.make(b"")
        self.assertEqual(self.caller.request("GET", self.target).headers["Content-Length"], "0")

    def test_what_a_browser_would_run_is_text(self) -> None:
        """It could do here what its user may do here."""
        for name in ("a.html", "a.svg", "a.xml", "a.js"):
            self.make(b"<svg onload=alert(1)>", name)
            answer = self.caller.request("GET", self.target)
            self.assertEqual(answer.headers["Content-Type"], "text/plain; charset=utf-8")
            self.assertIn("sandbox", answer.headers["Content-Security-Policy"])

    def test_part_of_it_may_be_asked_for(self) -> None:
        """What is not understood is ignored."""
        self.make(b"0123456789")
        for wanted, status, body, shown in RANGES:
            answer = self.caller.request("GET", self.target, headers=f"Range: {wanted}\r\n")
            self.assertEqual((answer.status, answer.body), (status, body), wanted)
            self.assertEqual(answer.headers.get("Content-Range"), shown)

    def test_beyond_its_end_is_41600(self) -> None:
        """With how far it reaches."""
        self.make(b"0123456789")
        for wanted in ("bytes=10-", "bytes=99-100", "bytes=-0"):
            answer = self.caller.request("GET", self.target, headers=f"Range: {wanted}\r\n")
            self.assertEqual((answer.code, answer.headers["Content-Range"]), (41600, "bytes */10"))

    def test_what_is_not_there_is_40401(self) -> None:
        """Outside of the folder above all."""
        self.make(b"hello")
        for target in TRAVERSALS:
            self.assertEqual(self.caller.request("GET", target).code, 40401, target)

    def test_what_has_expired_is_40401(self) -> None:
        """Removed or not yet, or removed by somebody else."""
        self.make(b"hello")
        os.remove(self.folder.attachments.path(self.kept))
        self.assertEqual(self.caller.request("GET", self.target).code, 40401)
        self.folder.now += SMALL.expire_s
        self.assertEqual(self.caller.request("GET", self.target).code, 40401)

    def test_there_are_so_many_at_once(self) -> None:
        """Then 42901, and when to come again."""
        self.make(b"hello")
        self.patch(file_page, "MAX_AT_ONCE", 0)
        answer = self.caller.request("GET", self.target)
        self.assertEqual((answer.code, answer.headers["Retry-After"]), (42901, "5"))


class SlowReaderTests(Fetching):
    """A file is read as fast as its reader takes it"""

    def setUp(self) -> None:
        self.threads = SlowThreads()
        self.make(b"x" * (10 * BLOCK_BYTES), in_thread=self.threads)
        self.caller.channel.dataReceived(f"GET {self.target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())

    def step(self) -> None:
        """One thing that a thread does."""
        done, function, arguments = self.threads.waiting.pop(0)
        execute(function, *arguments).chainDeferred(done)

    def pause(self) -> None:
        """The transport is full."""
        assert self.caller.transport.producer is not None
        self.caller.transport.producer.pauseProducing()

    def test_who_does_not_read_is_not_read_for(self) -> None:
        """Two blocks: one that was on its way, and the one that was too much."""
        self.step()
        self.step()
        self.pause()
        self.threads.work()
        self.assertLess(len(self.caller.transport.value()), 3 * BLOCK_BYTES)
        self.assertEqual(self.threads.waiting, [])
        assert self.caller.transport.producer is not None
        self.caller.transport.producer.resumeProducing()
        self.threads.work()
        (answer,) = self.caller.answers()
        self.assertEqual(len(answer.body), self.kept.size)

    def test_who_never_reads_is_cut_off(self) -> None:
        """Its file is closed."""
        self.step()
        self.pause()
        self.threads.work()
        self.caller.clock.advance(STALL_S)
        self.assertTrue(self.caller.transport.aborted)

    def test_who_leaves_is_forgotten(self) -> None:
        """And leaves no timer."""
        files: list[FileIO] = []

        def opened(path: str) -> FileIO:
            files.append(FileIO(path))
            return files[-1]

        self.patch(file_page, "FileIO", opened)
        self.step()
        self.pause()
        self.threads.work()
        self.caller.channel.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(files[0].closed)
        self.assertEqual(self.caller.clock.getDelayedCalls(), [])

    def test_who_leaves_while_it_is_opened_gets_nothing(self) -> None:
        """Nor does anybody else notice."""
        self.caller.channel.connectionLost(Failure(ConnectionLost()))
        self.threads.work()
        self.assertEqual(self.caller.transport.value(), b"")

    def test_a_file_that_has_shrunk_ends_the_connection(self) -> None:
        """Half a file would look whole."""
        os.truncate(self.folder.attachments.path(self.kept), 10)
        self.threads.work()
        self.assertTrue(self.caller.transport.aborted)
