"""`pushd.gateway.ntfy.attachments`: files that come with messages."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.uploads import ENTRY_BYTES, PART, new_file_id
from pushd.gateway.identity.guards import Caller
from pushd.gateway.ntfy.attachments import MAX_NAME_LENGTH, Attachment, linked, plain_name
from tests.gateway.file_folders import SMALL, Folder

ADA = Caller("ada", address="192.0.2.1:1")
BASE = "https://push.example.com"

NO_ADDRESSES = ["", "a", "ftp://h/a", "file:///etc/passwd", "javascript:alert(1)", "https://", "https:///a"]
NO_ADDRESSES += ["//h/a", "https://h/a b", "https://h/\r\nX: y", "https://h/\x85", "https://[", " https://h"]


class KeepTests(SynchronousTestCase):
    """From an upload to an address"""

    def setUp(self) -> None:
        self.folder = Folder(self)

    def keeping(
        self, body: bytes = b"hello", name: str = "a.txt", caller: Caller = ADA, needed_at: float = 0.0
    ) -> Deferred[Attachment]:
        attachments = self.folder.attachments
        upload = self.folder.uploads.begin(attachments.owner(None, caller.address))
        upload.write(body)
        return Deferred.fromCoroutine(attachments.keep(upload, name, caller, BASE, needed_at))

    def keep(self, body: bytes = b"hello", name: str = "a.txt", caller: Caller = ADA) -> Attachment:
        return self.successResultOf(self.keeping(body, name, caller))

    def refused(self, keeping: Deferred[Attachment]) -> int:
        refusal = self.failureResultOf(keeping).value
        assert isinstance(refusal, Refusal)
        return refusal.problem.code

    def test_it_is_shown_as_ntfy_does(self) -> None:
        """Name, type, size, expiry and where it is."""
        kept = self.keep()
        url = f"{BASE}/file/{kept.id}.txt"
        shown = {"name": "a.txt", "type": "text/plain; charset=utf-8", "size": 5}
        self.assertEqual(kept.shown(), {**shown, "expires": 1_700_003_600, "url": url})
        self.assertEqual(kept.message, "You received a file: a.txt")

    def test_it_is_found_until_it_expires(self) -> None:
        """And its bytes are on disk."""
        kept = self.folder.attachments.find(self.keep().id)
        assert kept is not None
        self.assertEqual(Path(self.folder.attachments.path(kept)).read_bytes(), b"hello")
        self.folder.now += SMALL.expire_s
        self.assertIsNone(self.folder.attachments.find(kept.id))

    def test_one_without_a_name_gets_one(self) -> None:
        """After what it is."""
        self.assertEqual(self.keep(b"\x89PNG\r\n\x1a\n", "").name, "attachment.png")

    def test_its_name_is_never_a_path(self) -> None:
        """On disk it is not used at all."""
        kept = self.keep(name="../../etc/passwd\r\n")
        self.assertEqual(kept.name, "passwd")
        (name,) = self.folder.files
        self.assertRegex(name, r"\A[A-Za-z0-9]{24}-1700003600-[0-9a-f]{16}\.txt\Z")

    def test_what_expired_is_removed(self) -> None:
        """With the room that it took."""
        self.keep()
        self.folder.now += SMALL.expire_s - 1
        self.successResultOf(self.folder.attachments.remove_expired())
        self.assertEqual(len(self.folder.files), 1)
        self.folder.now += 1
        self.successResultOf(self.folder.attachments.remove_expired())
        self.assertEqual((self.folder.files, self.folder.uploads.room.bytes), ([], 0))

    def test_one_can_be_forgotten(self) -> None:
        """Such as when its message was refused after all; twice is once."""
        id = self.keep().id
        for _ in range(2):
            self.successResultOf(self.folder.attachments.forget(id))
        self.folder.now += SMALL.expire_s
        self.successResultOf(self.folder.attachments.remove_expired())
        self.assertEqual((self.folder.files, self.folder.uploads.room.bytes), ([], 0))

    def test_it_counts_for_whoever_sent_it(self) -> None:
        """A user wherever it is, and an address without a name."""
        elsewhere, nobody = Caller("ada", address="192.0.2.2:1"), Caller(None, address="192.0.2.1:2")
        big = b"x" * 990_000
        self.folder.limits = SMALL._replace(max_total_bytes=10_000_000)
        self.keep(big)
        self.keep(big, caller=elsewhere)
        self.assertEqual(self.refused(self.keeping(big)), 42905)
        self.keep(big, caller=nobody)
        self.assertEqual(len(self.folder.files), 3)
        self.assertEqual(self.folder.uploads.room.bytes, 3 * (990_000 + ENTRY_BYTES))

    def test_a_message_later_than_the_file_lives_is_40015(self) -> None:
        """Nobody is told of a file that is gone."""
        keeping = self.keeping(needed_at=self.folder.now + SMALL.expire_s)
        self.assertEqual(self.refused(keeping), 40015)
        self.assertEqual((self.folder.files, len(self.folder.uploads)), ([], 0))

    def test_a_disk_that_fails_is_50700(self) -> None:
        """And nothing is left of it."""
        self.patch(os, "rename", self._no_space)
        self.assertEqual(self.refused(self.keeping()), 50700)
        self.assertEqual((self.folder.files, self.folder.uploads.room.bytes), ([], 0))

    def _no_space(self, *_: object) -> None:
        raise OSError(28, "No space left on device")


class RestartTests(SynchronousTestCase):
    """A new process, the same folder"""

    def setUp(self) -> None:
        self.folder = Folder(self)

    def restart(self) -> None:
        self.folder.open()
        self.successResultOf(self.folder.attachments.load())

    def put(self, name: str) -> None:
        Path(self.folder.path, name).write_bytes(b"x")

    def test_what_was_kept_is_there(self) -> None:
        """With its size, its end and its owner."""
        upload = self.folder.uploads.begin("address")
        upload.write(b"hello")
        keeping = self.folder.attachments.keep(upload, "a.json", ADA, BASE)
        id = self.successResultOf(Deferred.fromCoroutine(keeping)).id
        before = self.folder.attachments.find(id)
        self.restart()
        self.assertEqual(self.folder.attachments.find(id), before)
        self.assertEqual(self.folder.uploads.room.bytes, 5 + ENTRY_BYTES)

    def test_what_expired_meanwhile_is_gone(self) -> None:
        """As if it had been looked for all the time."""
        self.put(f"{new_file_id()}-1699999999-0123456789abcdef.txt")
        self.restart()
        self.assertEqual((self.folder.files, len(self.folder.attachments)), ([], 0))

    def test_uploads_that_never_ended_are_gone(self) -> None:
        """Nobody will ever bring their rest."""
        self.put(new_file_id() + PART)
        self.restart()
        self.assertEqual(self.folder.files, [])

    def test_what_is_not_ours_stays(self) -> None:
        """Nor is it handed out."""
        names = ["README", "my.part", "a" * 24, "x-1-y.txt", ".hidden"]
        for name in names:
            self.put(name)
        link = f"{new_file_id()}-1999999999-0123456789abcdef.txt"
        os.symlink("/etc/passwd", os.path.join(self.folder.path, link))
        self.restart()
        self.assertEqual(self.folder.files, sorted([*names, link]))
        self.assertEqual(len(self.folder.attachments), 0)

    def test_a_folder_that_cannot_be_read_is_an_error(self) -> None:
        """The process does not start as if it were empty."""
        self.folder.path = os.path.join(self.folder.path, "missing")
        self.folder.open()
        self.failureResultOf(self.folder.attachments.load(), OSError)


class LinkedTests(SynchronousTestCase):
    """X-Attach: a file elsewhere, which nobody fetches"""

    def test_its_address_is_all_that_is_known(self) -> None:
        """And a name: what it shall be called, or what stands last."""
        self.assertEqual(
            linked("https://h/a.jpg", "b.jpg").shown(), {"name": "b.jpg", "url": "https://h/a.jpg"}
        )
        for url, name in (
            ("https://h/x/a%20b.jpg?c=d/e#f", "a b.jpg"),
            ("HTTP://h", "attachment"),
            ("https://h/", "attachment"),
            ("https://h/..", "attachment"),
            ("http://[::1]/a", "a"),
        ):
            self.assertEqual(linked(url).name, name)

    def test_what_is_no_address_is_40013(self) -> None:
        """Nothing that a client could take for something else."""
        for url in NO_ADDRESSES:
            self.assertEqual(self.assertRaises(Refusal, linked, url).problem.code, 40013, url)

    @given(st.text(), st.text())
    def test_anything_is_an_attachment_or_refused(self, url: str, name: str) -> None:
        """Never another exception."""
        try:
            shown = linked(f"https://{url}", name).shown()
        except Refusal:
            return
        self.assertEqual(shown.keys(), {"name", "url"})


class PlainNameTests(SynchronousTestCase):
    """What a file may be called"""

    @given(st.text(alphabet="/\\.ab\r\n\0 é") | st.text())
    def test_it_is_one_line_and_no_path(self, name: str) -> None:
        """Of a reasonable length."""
        plain = plain_name(name)
        self.assertNotIn("/", plain)
        self.assertNotIn(plain, (".", ".."))
        self.assertLessEqual(len(plain), MAX_NAME_LENGTH)
        self.assertFalse(any(ord(letter) < 32 for letter in plain))
