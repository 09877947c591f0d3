"""`pushd.gateway.console`: the files of the page, and what keeps them harmless."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.console import console
from tests.gateway.callers import Answer, Caller

FOLDER = Path(__file__).parents[2] / "pushd" / "gateway" / "console"


class ConsoleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.caller = Caller(make_pages=lambda guard: {b"console": console()})

    def get(self, path: str, headers: str = "") -> Answer:
        return self.caller.request("GET", path, headers=headers)

    def test_the_page(self) -> None:
        """It is open to all, for there is nothing in it; and it may load and ask its own server only."""
        answer = self.get("/console")
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertIn(b"<!doctype html>", answer.body)
        policy = answer.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")

    def test_its_files(self) -> None:
        """Every file that the page or another file names is there, as what it is."""
        types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
        named = set(re.findall(rb'console/([a-z]+\.[a-z]+)"', self.get("/console").body))
        for script in FOLDER.glob("*.js"):
            named |= set(re.findall(rb'from "\./([a-z]+\.js)"', script.read_bytes()))
        self.assertIn(b"main.js", named)
        for name in map(bytes.decode, named):
            answer = self.get(f"/console/{name}")
            self.assertEqual(answer.status, 200, name)
            self.assertTrue(answer.headers["Content-Type"].startswith(types[name.rpartition(".")[2]]), name)

    def test_nothing_from_elsewhere(self) -> None:
        """No file names another server, and none makes elements of text."""
        for file in FOLDER.glob("*.*"):
            if file.suffix in (".html", ".css", ".js"):
                text = file.read_text().replace("http://www.w3.org/2000/svg", "")
                self.assertNotIn("//www", text)
                self.assertIsNone(re.search(r"https?://|innerHTML|outerHTML|eval\(| on[a-z]+=", text))

    def test_no_other_files(self) -> None:
        """Neither the code beside them nor anything above."""
        for path in ("__init__.py", "..%2fapi.py", "../api.py", "x", "main.js/", "%2e%2e/api.py"):
            self.assertEqual(self.get(f"/console/{path}").code, 40401, path)

    def test_a_slash_too_many(self) -> None:
        """It leads to the page, wherever a proxy has put it."""
        answer = self.get("/console/")
        self.assertEqual((answer.status, answer.headers["Location"]), (301, "../console"))

    def test_known_files(self) -> None:
        """A browser that has a file already is not sent it again."""
        etag = self.get("/console/main.js").headers["ETag"]
        answer = self.get("/console/main.js", f"If-None-Match: {etag}\r\n")
        self.assertEqual((answer.status, answer.body), (304, b""))

    def test_a_topic_of_that_name(self) -> None:
        """Pushing to it goes on."""
        self.assertEqual(self.caller.post("/console", b"hello").status, 200)
        self.assertEqual(self.caller.press.published[0][0], "console")
