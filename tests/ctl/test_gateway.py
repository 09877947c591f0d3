"""`pushd.ctl.gateway`: questions, streams, and servers that say anything at all."""

from __future__ import annotations

import argparse
import getpass
import io
from contextlib import redirect_stderr
from typing import Any
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl import gateway as module
from pushd.ctl.gateway import Event, Gateway, NoAnswer, add_arguments, gateway_of
from pushd.ctl.terminal import printable
from tests.ctl.canned import Canned, answer, stream


class GatewayCase(SynchronousTestCase):
    """One server for each test."""

    def serve(self, *answers: bytes) -> Gateway:
        self.server = Canned(*answers)
        self.addCleanup(self.server.close)
        return Gateway(urlsplit(self.server.url + "/below"), "anna", "sécret")


class AskTests(GatewayCase):
    """Questions"""

    def test_question(self) -> None:
        """Below the URL's path, with a login and a body of JSON."""
        told = self.serve(answer(b'{"id":"x"}')).ask("POST", "/v1/im/chat/ben", {"text": "grüezi"})
        self.assertEqual(told, {"id": "x"})
        (request,) = self.server.requests
        self.assertTrue(request.startswith(b"POST /below/v1/im/chat/ben HTTP/1.1\r\n"), request)
        self.assertIn(b"Authorization: Basic YW5uYTpzw6ljcmV0\r\n", request)
        self.assertTrue(request.endswith(b'{"text": "gr\\u00fcezi"}'), request)

    def test_refused(self) -> None:
        """The server's reason is told, without anything that could do harm to a terminal."""
        body = b'{"code":40301,"http":403,"error":"for\\u001b[31mbidden"}'
        asked = self.serve(answer(body, "403 Forbidden"))
        problem = self.assertRaises(NoAnswer, asked.ask, "GET", "/x")
        self.assertEqual((str(problem), problem.status), ("refused: for\\x1b[31mbidden", 403))

    def test_strangers(self) -> None:
        """Whatever else is at the port, and servers that hang up."""
        for said in (
            answer(b"<html>", "502 Bad Gateway"),
            answer(b"[]"),
            answer(b"{}", "302 Found"),
            answer(b"[" * 100_000),
            b"",
            b"220 mail ESMTP\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        ):
            self.assertRaises(NoAnswer, self.serve(said).ask, "GET", "/x")

    def test_nobody(self) -> None:
        """Nothing listens there."""
        asked = self.serve()
        self.server.close()
        problem = self.assertRaises(NoAnswer, asked.ask, "GET", "/x")
        self.assertIn("does not answer", str(problem))


class ListenTests(GatewayCase):
    """Streams"""

    def events(self, *pieces: bytes) -> list[Event]:
        return list(self.serve(stream(*pieces)).listen("/x"))

    def test_events(self) -> None:
        """Comments and unknown fields are none; lines of data are put together; chunks end anywhere."""
        found = self.events(
            b":\n\n",
            b"data: a\nda",
            b"ta:b\n\nevent: x\nid: 7\n",
            b"data: \xc3\xa4\n\nretry: 1\n\n",
            b"data: cut",
        )
        self.assertEqual(found, [Event("message", "a\nb"), Event("x", "ä")])

    def test_refused(self) -> None:
        """Also with an answer that is no stream."""
        said = answer(b'{"code":40301,"http":403,"error":"forbidden"}', "403 Forbidden")
        self.assertRaises(NoAnswer, self.serve(said).listen, "/x")
        self.assertRaises(NoAnswer, self.serve(answer(b"{}")).listen, "/x")

    def test_endless_event(self) -> None:
        """It ends the stream before it fills the memory."""
        self.patch(module, "MAX_EVENT_BYTES", 1000)
        self.assertEqual(self.events(b"data: " + b"x" * 2000 + b"\n\n"), [])
        self.assertEqual(self.events(*[b"data: x\n"] * 200), [])

    def test_long_stream(self) -> None:
        """The bound is for one event, and not for all together."""
        self.patch(module, "MAX_EVENT_BYTES", 1000)
        self.assertEqual(len(self.events(*[b":\n\ndata: x\n\n"] * 500)), 500)

    def test_close(self) -> None:
        """Closed twice, and after its end, it is closed."""
        events = self.serve(stream(b"data: x\n\n")).listen("/x")
        events.close()
        events.close()
        self.assertLessEqual(len(list(events)), 1)


class ArgumentTests(SynchronousTestCase):
    """Flags"""

    def read(self, *argv: str) -> Any:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return gateway_of(parser.parse_args(argv))

    def test_password(self) -> None:
        """It may have colons; who gives none is asked, and who is nobody is not."""
        self.patch(getpass, "getpass", lambda prompt: f"asked: {prompt}")
        self.assertEqual(self.read("-u", "anna:a:b").password, "a:b")
        self.assertEqual(self.read("-u", "anna").password, "asked: Password of anna: ")
        self.assertIs(self.read().user, None)

    def test_bad_urls(self) -> None:
        """Are told before anybody is asked for a password."""
        for url in ("ftp://h", "h:8080", "http://", "http://u:p@h", "http://h:x", "http://h/?q"):
            with redirect_stderr(io.StringIO()):
                self.assertRaises(SystemExit, self.read, "--url", url)

    def test_cafile(self) -> None:
        """A file that is none is told by its name."""
        problem = self.assertRaises(NoAnswer, self.read, "--url", "https://h", "--cafile", "/nowhere")
        self.assertIn("/nowhere", str(problem))


class PrintableTests(SynchronousTestCase):
    """What reaches a terminal"""

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Only what can be printed; and that as it is."""
        self.assertTrue(printable(text).isprintable())
        if text.isprintable():
            self.assertEqual(printable(text), text)
