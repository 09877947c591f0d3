"""`pushd.ctl.chat`: what is sent, and what is shown. Two terminals side by side: tests/clients/test_im.py."""

from __future__ import annotations

import io
import json
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl import chat
from pushd.ctl.chat import Conversation, shown
from pushd.ctl.gateway import Event, Gateway
from tests.ctl.canned import Canned, answer, stream

NOON = 1_700_049_600  # in UTC


def message(*parts: Any, sender: str = "ben") -> Event:
    told = {"sender": sender, "time": NOON, "kind": 0, "media": 0, "content": list(parts)}
    return Event("message", json.dumps(told))


def text(said: str) -> dict[str, Any]:
    return {"ty": 0, "co": said}


class ShownTests(SynchronousTestCase):
    """A message as lines"""

    def setUp(self) -> None:
        self.patch(time, "localtime", time.gmtime)

    def test_text(self) -> None:
        """Who said it and when; each line of it is one."""
        self.assertEqual(list(shown(message(text("hi\nthere")))), ["12:00 ben: hi", "12:00 ben: there"])

    def test_no_sender(self) -> None:
        """A message of somebody without a name has no name that could be taken for one."""
        self.assertEqual(list(shown(message(text("hi"), sender=""))), ["12:00 (nobody): hi"])

    def test_links(self) -> None:
        """What is linked is named, and not fetched."""
        picture = {"ty": 1, "co": "https://h/p.png", "fn": {"name": "p\n.png", "size": 1}}
        self.assertEqual(list(shown(message(picture))), ["12:00 ben: [picture p\\n.png] https://h/p.png"])

    def test_hostile_text(self) -> None:
        """No escape sequence, no carriage return and no turned line comes from another person."""
        hostile = "\x1b]0;x\x07\rroot: \x9b2J\u202eabc\b\0"
        for line in shown(message(text(hostile), sender="b\x1b[1mn\n12:00 root: ")):
            self.assertTrue(line.isprintable(), line)
            self.assertTrue(line.startswith("12:00 b\\x1b[1mn\\n12:00 root: : "), line)

    def test_no_message(self) -> None:
        """It is said that something came."""
        for event in (
            Event("undecodable", '{"error":"the content is no JSON"}'),
            Event("message", "{}"),
            Event("message", "[]"),
            Event("message", "x"),
            Event("message", '{"sender":"a","time":1e300,"content":[]}'),
            message({"ty": 99, "co": ""}),
        ):
            (line,) = shown(event)
            self.assertTrue(line.startswith("-- something came that is no message"), line)

    @given(st.text(), st.text())
    def test_any_event(self, type: str, data: str) -> None:
        """Whatever a server sends, lines come of it that can be printed."""
        for line in shown(Event(type, data)):
            self.assertTrue(line.isprintable())


class ConversationTests(SynchronousTestCase):
    """Over a server that says what it was told to"""

    def converse(self, *answers: bytes) -> Conversation:
        self.server = Canned(*answers)
        self.addCleanup(self.server.close)
        self.lines: list[str] = []
        gateway = Gateway(urlsplit(self.server.url), "an/na", "secret")
        self.heard_all = threading.Event()  # three messages
        return Conversation(gateway, "chat", "b en", self.show)

    def show(self, line: str) -> None:
        self.lines.append(line)
        if sum("ben: hi" in line for line in self.lines) == 3:
            self.heard_all.set()

    def test_say(self) -> None:
        """A request for each line that says something; names are quoted."""
        talk = self.converse(answer(b"{}"), answer(b"{}"))
        talk.say(["hi\n", "\n", "  \r\n", "there"])
        self.server.close()
        self.assertEqual(
            [json.loads(r.partition(b"\r\n\r\n")[2]) for r in self.server.requests],
            [text_body("hi"), text_body("there")],
        )
        self.assertTrue(self.server.requests[0].startswith(b"POST /v1/im/chat/b%20en HTTP/1.1"))
        self.assertEqual(self.lines, [])

    def test_not_sent(self) -> None:
        """Is said, and the next line is tried."""
        no = answer(b'{"code":40301,"http":403,"error":"forbidden"}', "403 Forbidden")
        self.converse(no, answer(b"{}")).say(["a", "b"])
        self.assertEqual(self.lines, ["-- not sent: refused: forbidden"])

    def test_listens_again(self) -> None:
        """A stream that ends is asked for again, until somebody answers."""
        self.patch(chat, "FIRST_WAIT_S", 0.01)
        data = b"data: " + message(text("hi")).data.encode() + b"\n\n"
        talk = self.converse(stream(data), b"", stream(data, data))
        talk.begin()
        self.server.close()
        self.assertTrue(self.heard_all.wait(10.0), self.lines)
        talk.end()
        self.assertIn("-- connected again", self.lines)
        self.assertEqual({r.split(b" ")[1] for r in self.server.requests}, {b"/v1/im/chat/an%2Fna/sse"})


def text_body(said: str) -> dict[str, str]:
    return {"text": said}


class CommandTests(SynchronousTestCase):
    """The command line"""

    def run_with(self, *argv: str) -> tuple[int, str]:
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                status = chat.main(argv)
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, printed.getvalue()

    def test_nobody_listens(self) -> None:
        """The command ends before anybody has typed a line in vain."""
        server = Canned(answer(b'{"code":40101,"http":401,"error":"unauthorized"}', "401 Unauthorized"))
        status, printed = self.run_with("--url", server.url, "-u", "anna:wrong", "ben")
        self.assertEqual((status, printed), (1, "refused: unauthorized\n"))

    def test_names(self) -> None:
        """One level of a topic, or it is an error of the command line."""
        for argv in (("a/b",), ("#",), ("--namespace", "+", "ben"), ("",)):
            self.assertEqual(self.run_with("-u", "anna:x", *argv)[0], 2, argv)
