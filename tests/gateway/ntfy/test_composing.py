"""`pushd.gateway.ntfy.composing`: from a request to the push that it asks for."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.defer import execute
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.composing import Composer
from pushd.gateway.ntfy.publish import PushDesk
from pushd.gateway.ntfy.templates import Templates
from pushd.mqtt.codes import PropertyId, ReasonCode
from tests.gateway.callers import Caller, Press
from tests.gateway.file_folders import Folder

JPEG = b"\xff\xd8\xff" + bytes(100)


class FileTests(SynchronousTestCase):
    """Bodies that are files"""

    def setUp(self) -> None:
        self.folder = Folder(self)
        self.caller = self.make_caller(Press())

    def make_caller(self, press: Press) -> Caller:
        return Caller(press, desk=PushDesk(composer=Composer(self.folder.attachments)))

    def published(self) -> bytes:
        return self.caller.press.published[0][1]

    def test_a_named_body_is_a_file(self) -> None:
        """The message says so, and the object has its address."""
        said = self.caller.request("PUT", "/t?filename=note.txt", b"hello").json
        self.assertEqual((said["attachment"]["name"], said["attachment"]["size"]), ("note.txt", 5))
        self.assertRegex(said["attachment"]["url"], r"^http://h/file/[A-Za-z0-9]{24}\.txt$")
        self.assertEqual(self.published(), b"You received a file: note.txt")

    def test_what_is_no_text_is_one_too(self) -> None:
        """With the text that was said beside it."""
        said = self.caller.post("/t?message=look", JPEG).json
        self.assertEqual(said["attachment"]["type"], "image/jpeg")
        self.assertEqual(self.published(), b"look")

    def test_subscribers_are_told_of_it(self) -> None:
        """As a property of version 5."""
        self.caller.post("/t", JPEG)
        properties = self.caller.press.publications[0].properties
        assert properties is not None
        ((name, value),) = properties[PropertyId.USER_PROPERTY]  # type: ignore[misc,union-attr]
        self.assertEqual((name, json.loads(value)["size"]), ("attachment", len(JPEG)))

    def test_one_that_is_not_published_is_forgotten(self) -> None:
        """Who may not publish there leaves nothing behind."""
        caller = self.make_caller(Press(ReasonCode.NOT_AUTHORIZED))
        self.assertEqual(caller.post("/t", JPEG).code, 40301)
        self.assertEqual(list(Path(self.folder.path).iterdir()), [])

    def test_bytes_for_programs_are_no_file(self) -> None:
        """UnifiedPush, and the MQTT surface."""
        for target in ("/t?up=1", "/v1/publish/t"):
            caller = self.make_caller(Press())
            self.assertNotIn("attachment", caller.post(target, JPEG).json)
            self.assertEqual(caller.press.published[0][1], JPEG)

    def test_without_a_folder_there_are_none(self) -> None:
        """40014, as in ntfy."""
        self.assertEqual(Caller().post("/t", JPEG).code, 40014)
        self.assertEqual(Caller().post("/t?filename=a", b"text").code, 40014)


class LinkTests(SynchronousTestCase):
    """``attach``: a file that is elsewhere"""

    def test_it_is_told_and_not_fetched(self) -> None:
        """By header and in JSON."""
        url = "https://example.com/cat.jpg"
        caller = Caller()
        for said in (
            caller.post("/t", b"", f"X-Attach: {url}\r\n").json,
            caller.post("/", json.dumps({"topic": "t", "attach": url}).encode()).json,
        ):
            self.assertEqual(said["attachment"], {"name": "cat.jpg", "url": url})
            self.assertEqual(said["message"], "You received a file: cat.jpg")

    def test_its_name_and_text_may_be_said(self) -> None:
        """The body is the text here."""
        said = Caller().post("/t?attach=https://example.com/1&filename=dog.jpg", b"look").json
        self.assertEqual((said["attachment"]["name"], said["message"]), ("dog.jpg", "look"))

    def test_what_is_no_address_is_refused(self) -> None:
        """40013."""
        self.assertEqual(Caller().post("/t?attach=file:///etc/passwd", b"x").code, 40013)


class TemplateTests(SynchronousTestCase):
    """``template``: a message made of JSON"""

    def setUp(self) -> None:
        templates = Templates(lambda: None, execute)
        self.caller = Caller(desk=PushDesk(composer=Composer(templates=templates)))

    def test_title_message_and_priority_are_filled_in(self) -> None:
        """Of the body's JSON."""
        query = "template=yes&title={{.repo}}&message={{.text}}&priority={{.level}}"
        said = self.caller.post(f"/t?{query}", b'{"repo":"pushd","text":"built","level":4}').json
        self.assertEqual((said["title"], said["message"], said["priority"]), ("pushd", "built", 4))

    def test_a_message_of_nothing_is_triggered(self) -> None:
        """As of every empty text."""
        self.assertEqual(self.caller.post("/t?tpl=1&m={{.x}}", b'{"x":" "}').json["message"], "triggered")

    def test_what_is_filled_in_is_checked(self) -> None:
        """A priority of 9 is none, however it came about."""
        self.assertEqual(self.caller.post("/t?tpl=1&m=x&p={{.p}}", b'{"p":9}').code, 40007)

    def test_a_title_has_one_line(self) -> None:
        """It may end up in a header."""
        said = self.caller.post("/t?tpl=1&m=x&title={{.t}}", b'{"t":"a\\r\\nb"}').json
        self.assertEqual(said["title"], "a b")

    def test_a_body_that_is_no_json_is_refused(self) -> None:
        """40042."""
        self.assertEqual(self.caller.post("/t?tpl=1&m=x", b"hello").code, 40042)

    def test_no_is_no(self) -> None:
        """Then the body is a text."""
        self.assertEqual(self.caller.post("/t?tpl=no", b"{{.x}}").json["message"], "{{.x}}")

    def test_without_templates(self) -> None:
        """A test bench need not have them."""
        self.assertEqual(Caller().post("/t?tpl=1&m=x", b"{}").code, 40043)
