"""`pushd.service.attachments`: the files of a process."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.config.settings import Settings
from pushd.gateway.http.uploads import new_file_id
from pushd.service.attachments import LOOK_S, AttachmentOffice


class AttachmentOfficeTests(SynchronousTestCase):
    """What the settings say about files"""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "files")
        self.settings = Settings(listeners=(), attachment_cache_dir=self.path)
        self.clock = Clock()
        self.clock.advance(1_700_000_000)

    def office(self) -> AttachmentOffice:
        return AttachmentOffice(lambda: self.settings, self.clock)

    def test_without_a_folder_there_are_none(self) -> None:
        """Nor a page to fetch them."""
        self.settings = Settings(listeners=())
        office = self.office()
        office.open(None)
        self.assertEqual((office.attachments, office.pages()), (None, {}))

    def test_the_folder_is_made(self) -> None:
        """For nobody else to look into."""
        office = self.office()
        office.open(None)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o700)
        self.assertEqual(office.pages().keys(), {b"file"})

    def test_a_folder_that_cannot_be_made_is_an_error(self) -> None:
        """A file is in its place."""
        Path(self.path).touch()
        self.assertRaises(OSError, self.office().open, None)

    def test_what_the_last_process_kept_is_there(self) -> None:
        """Before the first door opens."""
        os.mkdir(self.path)
        id = new_file_id()
        Path(self.path, f"{id}-1700000100-0123456789abcdef.txt").write_bytes(b"hello")
        office = self.office()
        office.open(None)
        assert office.attachments is not None
        self.assertIsNotNone(office.attachments.find(id))

    def test_limits_follow_a_reload(self) -> None:
        """Where the files are does not."""
        office = self.office()
        assert office.attachments is not None
        self.settings = replace(self.settings, attachment_file_size_limit=7, attachment_expiry_duration=60)
        limits = office.attachments.uploads.limits()
        self.assertEqual((limits.max_file_bytes, limits.expire_s), (7, 60))

    def test_expired_files_are_removed_in_time(self) -> None:
        """While it runs, and not after its end."""
        office = self.office()
        office.open(None)
        office.start()
        looked: list[float] = []

        def remove_expired() -> Deferred[None]:
            looked.append(self.clock.seconds())
            return succeed(None)

        self.patch(office.attachments, "remove_expired", remove_expired)
        self.clock.pump([LOOK_S, LOOK_S])
        office.stop()
        self.clock.pump([LOOK_S])
        self.assertEqual(len(looked), 2)

    def test_templates_are_where_the_settings_say(self) -> None:
        """As they are when a push asks for one."""
        office = self.office()
        Path(self.path).mkdir()
        Path(self.path, "mine.yml").write_text("title: t")
        self.settings = replace(self.settings, template_dir=self.path)
        found = self.successResultOf(Deferred.fromCoroutine(office.templates.find("mine")))
        self.assertEqual(found.title, "t")
