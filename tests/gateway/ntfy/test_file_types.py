"""`pushd.gateway.ntfy.file_types`: what a file is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.file_types import file_type, is_text, type_of_ending

FILES: list[tuple[bytes, str, str, str]] = [
    (b"\x89PNG\r\n\x1a\n\0", "", "image/png", ".png"),
    (b"\xff\xd8\xff\xe0", "holiday.txt", "image/jpeg", ".jpg"),
    (b"GIF89a", "", "image/gif", ".gif"),
    (b"RIFF\0\0\0\0WEBPVP8 ", "", "image/webp", ".webp"),
    (b"\0\0\0\x18ftypmp42", "", "video/mp4", ".mp4"),
    (b"ID3\x04", "", "audio/mpeg", ".mp3"),
    (b"%PDF-1.7", "", "application/pdf", ".pdf"),
    (b"PK\x03\x04", "a.zip", "application/zip", ".zip"),
    (b"PK\x03\x04", "App.APK", "application/vnd.android.package-archive", ".apk"),
    (b"PK\x03\x04", "b.odt", "application/vnd.oasis.opendocument.text", ".odt"),
    (b"hello", "", "text/plain; charset=utf-8", ".txt"),
    (b"", "", "text/plain; charset=utf-8", ".txt"),
    (b'{"a":1}', "a.json", "application/json", ".json"),
    (b"a,b", "a.csv", "text/csv; charset=utf-8", ".csv"),
    (b"\0\1\2", "a.png", "application/octet-stream", ".bin"),
    # What a browser would run
    (b"<html><script>", "a.html", "text/plain; charset=utf-8", ".txt"),
    (b"<svg onload=alert(1)>", "a.svg", "text/plain; charset=utf-8", ".txt"),
    (b"<?xml version='1.0'?>", "a.xhtml", "text/plain; charset=utf-8", ".txt"),
    (b"alert(1)", "a.js", "text/plain; charset=utf-8", ".txt"),
]

RUN_BY_BROWSERS = ("html", "svg", "xml", "javascript", "ecmascript", "css", "flash", "x-shockwave")


class FileTypeTests(SynchronousTestCase):
    """By what is in it, then by its name"""

    def test_each_file(self) -> None:
        """The type, and the ending that it is kept with."""
        for head, name, expected, ending in FILES:
            self.assertEqual(tuple(file_type(head, name)), (expected, ending), name)

    def test_its_ending_says_it_again(self) -> None:
        """When it is fetched."""
        for _, name, expected, ending in FILES:
            self.assertEqual(type_of_ending(ending), expected, name)
        self.assertEqual(type_of_ending(".html"), "application/octet-stream")

    @given(st.binary(max_size=40), st.text())
    def test_no_file_is_run_by_a_browser(self, head: bytes, name: str) -> None:
        """Whatever it is called."""
        found = file_type(head, name)
        self.assertRegex(found.ending, r"\A\.[a-z0-9]{1,9}\Z")
        for word in RUN_BY_BROWSERS:
            self.assertNotIn(word, type_of_ending(found.ending))

    def test_text_may_be_cut_within_a_letter(self) -> None:
        """But not be wrong before."""
        self.assertTrue(is_text("é".encode()[:1]))
        self.assertFalse(is_text(b"a\xffb"))
        self.assertFalse(is_text(b"a\0b"))
