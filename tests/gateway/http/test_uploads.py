"""`pushd.gateway.http.uploads`: bodies that go to disk while they arrive."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.uploads import (
    BLOCK_BYTES,
    ENTRY_BYTES,
    HEAD_BYTES,
    MAX_AT_ONCE_PER_OWNER,
    PART,
    STEP_BYTES,
    FileLimits,
    Room,
    Upload,
    may_be_file,
    new_file_id,
)
from tests.gateway.file_folders import SMALL, Folder, SlowThreads


@dataclass
class Sender:
    """A connection that remembers what it was told."""

    told: list[str] = field(default_factory=list)

    def hold_reading(self) -> None:
        self.told.append("hold")

    def go_on_reading(self) -> None:
        self.told.append("go on")

    def made_progress(self) -> None:
        self.told.append("progress")


class RoomTests(SynchronousTestCase):
    """What there is, and whose"""

    def setUp(self) -> None:
        self.room = Room(lambda: FileLimits(max_total_bytes=100, max_owner_bytes=60))

    def refused(self, owner: str, count: int) -> int:
        code: int = self.assertRaises(Refusal, self.room.take, owner, count).problem.code
        return code

    def test_everybody_has_a_limit(self) -> None:
        """And all have one together."""
        self.room.take("ada", 60)
        self.assertEqual(self.refused("ada", 1), 42905)
        self.assertEqual(self.refused("bob", 41), 41301)
        self.room.take("bob", 40)

    def test_what_is_given_back_can_be_taken_again(self) -> None:
        """What is there already is counted whatever the limits."""
        self.room.put("ada", 1000)
        self.assertEqual(self.refused("bob", 1), 41301)
        self.room.give_back("ada", 1000)
        self.room.take("bob", 60)
        self.assertEqual(self.room.bytes, 60)


class MayBeFileTests(SynchronousTestCase):
    """Which requests may bring files"""

    def test_a_topic_may_have_a_sequence_behind_it(self) -> None:
        """With a query, too."""
        for method, target in (
            (b"PUT", b"/t"),
            (b"POST", b"/t?f=a.jpg"),
            (b"PUT", b"/t/seq"),
            (b"PUT", b"/a%2Fb"),
        ):
            self.assertTrue(may_be_file(method, target))

    def test_nothing_else_may(self) -> None:
        """JSON, our own pages, reading."""
        for method, target in (
            (b"PUT", b"/"),
            (b"PUT", b"/?a"),
            (b"POST", b"/v1/publish/t"),
            (b"PUT", b"/v1/push"),
            (b"POST", b"/_matrix/push"),
            (b"GET", b"/t"),
            (b"PUT", b"/t/seq/clear"),
            (b"PUT", b"*"),
            (b"PUT", b""),
        ):
            self.assertFalse(may_be_file(method, target), target)


class UploadTests(SynchronousTestCase):
    """One body"""

    def setUp(self) -> None:
        self.folder = Folder(self)
        self.uploads = self.folder.uploads

    def settle(self, upload: Upload, name: str = "kept") -> bytes:
        path = Path(self.folder.path, name)
        self.successResultOf(upload.settle(str(path), durable=False))
        return path.read_bytes()

    def test_it_is_a_file_when_it_is_settled(self) -> None:
        """Under its own name not before, so that nobody finds half of it."""
        upload = self.uploads.begin("ada")
        upload.write(b"x" * BLOCK_BYTES)
        self.assertEqual([name[-len(PART) :] for name in self.folder.files], [PART])
        upload.write(b"y")
        self.assertEqual(self.settle(upload), b"x" * BLOCK_BYTES + b"y")
        self.assertEqual(self.folder.files, ["kept"])
        self.assertEqual(upload.size, BLOCK_BYTES + 1)

    def test_its_beginning_is_remembered(self) -> None:
        """As much as is needed to see what it is."""
        upload = self.uploads.begin("ada")
        for piece in (b"ab", b"c" * HEAD_BYTES, b"d"):
            upload.write(piece)
        self.assertEqual(upload.head, b"ab" + b"c" * (HEAD_BYTES - 2))

    def test_two_of_the_same_have_the_same_digest(self) -> None:
        """However they came; others have others."""
        digests = []
        for pieces in ((b"ab", b"c"), (b"abc",), (b"abd",)):
            upload = self.uploads.begin("ada")
            for piece in pieces:
                upload.write(piece)
            digests.append(upload.digest)
        self.assertEqual(digests[0], digests[1])
        self.assertNotEqual(digests[1], digests[2])

    def test_nobody_can_read_it_but_us(self) -> None:
        """Whatever the umask."""
        upload = self.uploads.begin("ada")
        self.settle(upload)
        self.assertEqual(os.stat(os.path.join(self.folder.path, "kept")).st_mode & 0o777, 0o600)

    def test_what_nobody_wants_is_gone(self) -> None:
        """With the room that it took; twice is once."""
        upload = self.uploads.begin("ada")
        upload.write(b"x" * 100_000)
        self.assertEqual(self.uploads.room.bytes, 100_000 + ENTRY_BYTES)
        upload.discard()
        upload.discard()
        self.assertEqual((self.folder.files, self.uploads.room.bytes, len(self.uploads)), ([], 0, 0))

    def test_what_somebody_keeps_is_not_discarded(self) -> None:
        """The end of its request does not matter any more."""
        upload = self.uploads.begin("ada")
        upload.write(b"x")
        self.settle(upload)
        upload.discard()
        self.assertEqual(self.folder.files, ["kept"])

    def test_too_large_is_refused_and_gone(self) -> None:
        """By what was announced, and by what comes."""
        limit = SMALL.max_file_bytes
        error = self.assertRaises(Refusal, self.uploads.begin, "ada", None, limit + 1)
        self.assertEqual(error.problem.code, 41301)
        upload = self.uploads.begin("ada", None, limit)
        upload.write(b"x" * limit)
        self.assertEqual(self.assertRaises(Refusal, upload.write, b"x").problem.code, 41301)
        self.assertEqual((self.folder.files, self.uploads.room.bytes, len(self.uploads)), ([], 0, 0))

    def test_the_senders_room_counts_while_it_arrives(self) -> None:
        """So does everybody's, and what was announced is looked at before it comes."""
        for _ in range(2):
            self.uploads.begin("ada").write(b"x" * 900_000)
        self.assertEqual(
            self.assertRaises(Refusal, self.uploads.begin, "ada", None, 300_000).problem.code, 42905
        )
        upload = self.uploads.begin("ada")
        self.assertEqual(self.assertRaises(Refusal, upload.write, b"x" * 300_000).problem.code, 42905)
        self.uploads.begin("bob").write(b"x" * 900_000)
        self.assertEqual(
            self.assertRaises(Refusal, self.uploads.begin, "eve", None, 900_000).problem.code, 41301
        )

    def test_one_sender_has_so_many_at_once(self) -> None:
        """Slow ones keep nobody else's places."""
        mine = [self.uploads.begin("ada") for _ in range(MAX_AT_ONCE_PER_OWNER)]
        error = self.assertRaises(Refusal, self.uploads.begin, "ada")
        self.assertEqual((error.problem.code, error.headers), (42901, b"Retry-After: 5\r\n"))
        self.uploads.begin("bob")
        mine[0].discard()
        self.uploads.begin("ada")

    def test_it_can_be_given_to_somebody(self) -> None:
        """Then it counts for that one; or nothing has changed, and it can still be discarded."""
        upload = self.uploads.begin("address")
        upload.write(b"x" * 1000)
        self.uploads.room.put("ada", SMALL.max_owner_bytes)
        self.assertRaises(Refusal, upload.give_to, "ada")
        upload.give_to("bob")
        self.assertEqual((upload.owner, len(self.uploads)), ("bob", 0))
        self.uploads.room.take("address", SMALL.max_total_bytes - SMALL.max_owner_bytes - upload.cost)

    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.integers(0, 90_000), max_size=8))
    def test_however_it_is_cut_it_is_the_same(self, sizes: list[int]) -> None:
        """Every byte, in order."""
        upload = self.uploads.begin("ada")
        pieces = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
        for piece in pieces:
            upload.write(piece)
        self.assertEqual(self.settle(upload), b"".join(pieces))
        upload.remove()


class SlowDiskTests(SynchronousTestCase):
    """A disk that takes its time, or does not take it at all"""

    def setUp(self) -> None:
        self.threads = SlowThreads()
        self.folder = Folder(self, in_thread=self.threads)
        self.sender = Sender()
        self.upload = self.folder.uploads.begin("ada", self.sender)

    def test_it_slows_the_sender_down(self) -> None:
        """Not more than some blocks wait in memory."""
        self.upload.write(b"x" * BLOCK_BYTES)
        self.assertEqual(self.sender.told, [])
        self.upload.write(b"y" * BLOCK_BYTES)
        self.assertEqual(self.sender.told, ["progress", "hold"])
        self.threads.work()
        self.assertEqual(self.sender.told, ["progress", "hold", "go on"])

    def test_it_writes_in_order(self) -> None:
        """The file is settled when all of it is there."""
        for letter in b"abc":
            self.upload.write(bytes([letter]) * BLOCK_BYTES)
        path = os.path.join(self.folder.path, "kept")
        settled = self.upload.settle(path, durable=False)
        self.assertNoResult(settled)
        self.threads.work()
        self.successResultOf(settled)
        self.assertEqual(
            Path(path).read_bytes(), b"".join(bytes([letter]) * BLOCK_BYTES for letter in b"abc")
        )

    def test_what_is_discarded_while_it_is_written_is_gone(self) -> None:
        """Its sender is not held any more."""
        for _ in range(2):
            self.upload.write(b"x" * BLOCK_BYTES)
        self.upload.discard()
        self.assertEqual(self.sender.told[-1], "go on")
        self.threads.work()
        self.assertEqual(self.folder.files, [])

    def test_steady_progress_is_told(self) -> None:
        """Once for each step, however it is cut."""
        for _ in range(10):
            self.upload.write(b"x" * (STEP_BYTES // 4))
        self.assertEqual(self.sender.told.count("progress"), 2)

    def test_a_disk_that_fails_is_50700(self) -> None:
        """At the next bytes; and in the log."""
        self.upload._spool._path = os.path.join(self.folder.path, "missing", "file")
        self.upload.write(b"x" * BLOCK_BYTES)
        self.threads.work()
        self.assertEqual(self.assertRaises(Refusal, self.upload.write, b"x").problem.code, 50700)
        self.assertEqual(self.folder.uploads.room.bytes, 0)

    def test_a_disk_that_fails_at_the_end_fails_the_settling(self) -> None:
        """Nobody is told that it is kept."""
        self.upload.write(b"x" * BLOCK_BYTES)
        path = os.path.join(self.folder.path, "missing", "kept")
        settled = self.upload.settle(path, durable=False)
        self.threads.work()
        self.failureResultOf(settled, OSError)
        self.upload.remove()
        self.threads.work()
        self.assertEqual((self.folder.files, self.folder.uploads.room.bytes), ([], 0))


class DurabilityTests(SynchronousTestCase):
    """What survives a power loss"""

    def synced(self, durable: bool) -> int:
        """How many times the disk is asked to confirm."""
        folder = Folder(self)
        calls: list[object] = []
        self.patch(os, "fsync", calls.append)
        upload = folder.uploads.begin("ada")
        upload.write(b"x")
        self.successResultOf(upload.settle(os.path.join(folder.path, "kept"), durable))
        return len(calls)

    def test_the_file_and_its_name_do_if_asked(self) -> None:
        """Two confirmations, or none."""
        self.assertEqual((self.synced(durable=True), self.synced(durable=False)), (2, 0))


class FileIdTests(SynchronousTestCase):
    """What nobody guesses"""

    def test_ids_are_letters_and_digits(self) -> None:
        """24 of them: more than 128 bits; and not twice the same."""
        ids = {new_file_id() for _ in range(1000)}
        self.assertEqual(len(ids), 1000)
        for id in ids:
            self.assertTrue(len(id) == 24 and id.isalnum() and id.isascii())
