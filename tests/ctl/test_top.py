"""``pushctl top``: a picture of what the gateway says, in which nothing is dangerous."""

from __future__ import annotations

import getpass
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl import top
from pushd.ctl.gateway import NoAnswer
from pushd.ctl.terminal import printable
from pushd.ctl.top import Screen, clipped, lines, main, watch


def report(*names: str) -> dict[str, Any]:
    figures = {"messages": 1234, "bytes": 9_999_999, "deliveries": 5, "drops": 0, "error": 7}
    return {"by": "messages", "window": "1m", "topics": [{"topic": name, **figures} for name in names]}


class LinesTests(SynchronousTestCase):
    """A report as text."""

    def test_topics(self) -> None:
        """A line for each, figures under their titles."""
        _, titles, line = lines(report("a/b"), 100)
        self.assertEqual(titles.split(), ["MESSAGES", "BYTES", "DELIVERIES", "DROPS", "ERROR", "TOPIC"])
        self.assertEqual(line.split(), ["1,234", "9,999,999", "5", "0", "7", "a/b"])
        self.assertEqual(line.index("1,234") + 5, titles.index("MESSAGES") + 8)

    def test_filters(self) -> None:
        """By subscribers there are others."""
        answer = {
            "by": "subscribers",
            "window": "now",
            "topics": [{"filter": "a/#", "subscribers": 3, "error": 0}],
        }
        _, titles, line = lines(answer, 100)
        self.assertEqual((titles.split(), line.split()), (["SUBSCRIBERS", "FILTER"], ["3", "a/#"]))

    @given(st.lists(st.text()), st.integers(1, 120))
    def test_any_names(self, names: list[str], width: int) -> None:
        """Whatever strangers call their topics: one line each, of what can be printed, not too wide."""
        shown = list(lines(report(*names), width))
        assert len(shown) == 2 + len(names)
        for line in shown:
            assert line.isprintable() and len(clipped(line, width)) == len(line)

    def test_hostile_names(self) -> None:
        """What would clear the screen, set its title or turn the line round is spelled out."""
        self.assertEqual(printable("a\x1b[2J\r\n\x9b\u202e"), r"a\x1b[2J\r\n\x9b\u202e")

    def test_wide_letters(self) -> None:
        """Some letters take two cells of a terminal, and some none."""
        self.assertEqual(clipped("日本語", 5), "日本")
        self.assertEqual(clipped("e\u0301e\u0301e", 2), "e\u0301e\u0301")


class ScreenTests(SynchronousTestCase):
    """The live view."""

    def setUp(self) -> None:
        self.written: list[str] = []
        self.screen = Screen(self.written.append, lambda: (80, 5))
        self.answers: list[Any] = []
        self.slept: list[float] = []

    def ask(self) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, dict)
        return answer

    def watch(self, *answers: Any) -> None:
        """Somebody looks at these and then presses Ctrl-C."""
        self.answers = [*answers, KeyboardInterrupt()]
        with self.assertRaises(KeyboardInterrupt):
            watch(self.ask, self.screen, 2.0, self.slept.append)

    def test_draws_again_and_again(self) -> None:
        """Each answer in place of the last; afterwards the terminal is as it was, with its cursor."""
        self.watch(report("a"), report("b"))
        first, *pictures, last = self.written
        self.assertEqual((first, last), (top.OWN_SCREEN, top.OLD_SCREEN))
        self.assertEqual([picture.startswith(top.TOP_LEFT) for picture in pictures], [True, True])
        self.assertIn("  b\n", pictures[1])
        self.assertEqual(self.slept, [2.0, 2.0])

    def test_no_more_than_fits(self) -> None:
        """A terminal that scrolled would show the end of the list only."""
        self.screen.draw(report(*"abcdefg"), "away")
        self.assertEqual(self.written[0].count("\n"), 4)
        self.assertIn("away", self.written[0])

    def test_server_goes_away(self) -> None:
        """The last answer stays, with a complaint below it, until the server is back."""
        self.watch(report("a"), NoAnswer("away\x1b[2J"), report("b"))
        _, _, complaining, well, _ = self.written
        self.assertIn(r"away\x1b[2J", complaining)
        self.assertIn("  a\n", complaining)
        self.assertNotIn("away", well)

    def test_server_is_not_there(self) -> None:
        """Then there is nothing to watch, and the terminal is left alone."""
        self.answers = [NoAnswer("away")]
        self.assertRaises(NoAnswer, watch, self.ask, self.screen, 2.0, self.slept.append)
        self.assertEqual(self.written, [])


class Listener(BaseHTTPRequestHandler):
    """A gateway that answers with what it is told to, and remembers what it was asked."""

    answer: tuple[int, bytes] = (200, b"")
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error."""


@contextmanager
def gateway(status: int, body: bytes) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """:return: its URL, and what it was asked."""
    asked: list[tuple[str, str | None]] = []
    handler = type("Told", (Listener,), {"answer": (status, body), "asked": asked})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(*argv: str) -> tuple[int, str, str]:
    """:return: exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(argv)
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, out.getvalue(), err.getvalue()


class CommandTests(SynchronousTestCase):
    """What a shell sees."""

    def test_once(self) -> None:
        """One list, also where there is no terminal; names that are long are not cut."""
        name = "x" * 300
        with gateway(200, json.dumps(report(name)).encode()) as (url, asked):
            status, out, _ = run("--url", url, "-u", "ada:s:ü", "--by", "bytes", "--window", "1h", "-n", "3")
        self.assertEqual(status, 0)
        self.assertIn(name, out)
        self.assertNotIn("\x1b", out)
        self.assertEqual(asked, [("/v1/topics/hot?by=bytes&window=1h&n=3", "Basic YWRhOnM6w7w=")])

    def test_password_is_asked_for(self) -> None:
        """Where no other user of the machine sees it."""
        self.patch(getpass, "getpass", lambda prompt: "secret")
        with gateway(200, json.dumps(report()).encode()) as (url, asked):
            self.assertEqual(run("--url", url, "-u", "ada")[0], 0)
        self.assertEqual(asked[0][1], "Basic YWRhOnNlY3JldA==")

    def test_refusals(self) -> None:
        """The gateway's own words, with nothing in them that a terminal would obey; exit status 1."""
        body = json.dumps({"code": 40301, "http": 403, "error": "forbidden\x1b[2J"}).encode()
        with gateway(403, body) as (url, _):
            status, out, err = run("--url", url)
        self.assertEqual((status, out, err), (1, "", "refused: forbidden\\x1b[2J\n"))

    def test_no_gateway(self) -> None:
        """Something else listens there, or nothing does, or it sends us elsewhere."""
        for status, body in ((200, b"<html>"), (200, b"[]"), (200, b"{}"), (302, b"{}"), (200, b"\xff")):
            with gateway(status, body) as (url, asked):
                self.assertEqual(run("--url", url)[0], 1)
                self.assertEqual(len(asked), 1)
        status, _, err = run("--url", url)
        self.assertEqual(status, 1)
        self.assertIn("does not answer", err)

    def test_bad_arguments(self) -> None:
        """They are refused before anybody is asked."""
        for argv in (
            ("--url", "file:///etc/passwd"), ("--url", "http://"), ("--url", "http://h:99999"),
            ("-n", "0"), ("-n", "1001"), ("--interval", "0"), ("--interval", "nan"), ("--by", "x"),
        ):  # fmt: skip
            self.assertEqual(run(*argv)[0], 2, argv)

    def test_no_such_authority(self) -> None:
        """A file of certificates that is not there."""
        status, _, err = run("--url", "https://127.0.0.1:1", "--cafile", "/none")
        self.assertEqual(status, 1)
        self.assertIn("/none", err)

    def test_other_encodings(self) -> None:
        """A terminal that cannot show a letter shows a question mark."""
        plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        self.patch(sys, "stdout", plain)
        top._write("ä")
        plain.seek(0)
        self.assertEqual(plain.read(), "?")
