"""
Header injection and splitting: nothing that a caller says makes a line of its own, in an answer, in a stream,
or in what is passed on.
"""

from __future__ import annotations

import json
import re
from email.header import Header
from time import process_time
from typing import Any
from urllib.parse import quote_from_bytes

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.formats import JSON, RAW, SSE
from pushd.gateway.ntfy.messages import message_object
from pushd.gateway.ntfy.parameters import ALIASES, header_text
from pushd.mqtt.codes import PropertyId
from tests.gateway.callers import Caller

EVIL = "x\r\nX-Evil: 1\r\n\r\nHTTP/1.1 200 OK\r\n"

# What an answer to a push may have for headers; and beside them, when it is refused.
HEADERS = {
    "Server", "Date", "Content-Type", "Content-Length", "Access-Control-Allow-Origin", "Connection",
    "Retry-After",
}  # fmt: skip

# Of a request, beside parameters: what is looked at, or might be.
OTHERS = (
    "Authorization", "Idempotency-Key", "Content-Type", "Content-Encoding", "Host", "Origin", "Referer",
    "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP",
    "TTL", "Urgency", "Topic", "Prefer", "Crypto-Key", "Encryption", "Range", "Upgrade", "Expect", "Cookie",
)  # fmt: skip

NAMES = sorted({alias for aliases in ALIASES.values() for alias in aliases})
LINE_ENDS = re.compile("[\r\n\0]")

TEXTS = st.text(max_size=40) | st.text(st.sampled_from("\r\n\0\t a:=?<>\"';,/%é\u2028\x85\x1b"), max_size=20)
BYTES = st.binary(max_size=40) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))


class InjectionTests(SynchronousTestCase):
    """Every parameter, by every way"""

    def assert_harmless(self, caller: Caller, request: bytes) -> None:
        """One answer, with headers that we know; and no line ends in the properties of what is published."""
        (answer,) = caller.send(request)[:1]
        self.assertLessEqual(answer.headers.keys(), HEADERS, request)
        self.assertLess(answer.status, 500, request)
        self.assertNotIn("X-Evil", str(answer.headers))
        for publication in caller.press.publications:
            pairs: Any = (publication.properties or {}).get(PropertyId.USER_PROPERTY, [])
            for name, value in pairs:
                self.assertIsNone(LINE_ENDS.search(name + value), request)

    def push(self, head: bytes, body: bytes = b"x") -> None:
        """Push with these header lines, or to this path."""
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        self.assert_harmless(Caller(), head + b"Host: h\r\n" + length + body)

    def by_query(self, name: str, value: bytes) -> None:
        """Percent-encoded, where any byte can be said."""
        query = f"{name}={quote_from_bytes(value)}".encode()
        self.push(b"POST /t?" + query + b" HTTP/1.1\r\n")

    def by_header(self, name: str, value: bytes) -> None:
        """As it is; nothing that ends the line."""
        clean = re.sub(rb"[\r\n\0]", b" ", value)
        self.push(b"POST /t HTTP/1.1\r\n%s: %s\r\n" % (name.encode(), clean))

    def by_word(self, name: str, text: str) -> None:
        """In an encoded word (RFC 2047), where any letter can be said."""
        word = Header(text, "utf-8", maxlinelen=10_000).encode().replace("\n", "").encode()
        self.by_header(name, word)

    def by_field(self, name: str, text: str) -> None:
        """In JSON."""
        body = json.dumps({"topic": "t", name: text}).encode()
        self.push(b"POST / HTTP/1.1\r\n", body)

    def test_line_ends_are_refused(self) -> None:
        """Or are no line ends any more: in each parameter that is passed on."""
        for name in NAMES:
            self.by_query(name, EVIL.encode())
            self.by_header(name, b"=?utf-8?q?x=0D=0AX-Evil:_1?=")
            self.by_header(name, b"=?utf-8?b?eA0KWC1FdmlsOiAx?=")
            self.by_word(name, EVIL)
            self.by_field(name, EVIL)

    @settings(deadline=None, max_examples=150)
    @given(st.sampled_from(NAMES), BYTES, TEXTS)
    @example("title", b"\xc2\x85", "\u2028")
    @example("t", b"=?utf-8?q?=0D=0A?=", "=?utf-8?q?=0D=0A?=")
    def test_any_parameter(self, name: str, value: bytes, text: str) -> None:
        """Whatever is in it."""
        self.by_query(name, value)
        self.by_header(name, value)
        self.by_field(name, text)

    @settings(deadline=None, max_examples=100)
    @given(st.sampled_from(OTHERS), BYTES)
    def test_any_other_header(self, name: str, value: bytes) -> None:
        """Whatever is in it, too."""
        clean = re.sub(rb"[\r\n\0]", b" ", value)
        head = b"POST /t HTTP/1.1\r\n%s: %s\r\n" % (name.encode(), clean)
        for answer in Caller().send(head + b"Host: h\r\nContent-Length: 1\r\n\r\nx"):
            self.assertLessEqual(answer.headers.keys(), HEADERS)
            self.assertLess(answer.status, 500)

    def test_words_without_end(self) -> None:
        """Are not looked for in a header over and over: it would take a fifth of a second for each."""
        began = process_time()
        for text in ("=?a?q?b ", "=?a?q?", "=?a?", "=?", "=?utf-8?q?x y?= =?a?q?b "):
            value = text * (15_000 // len(text))
            self.assertEqual(header_text(value.encode()), value.strip())
        self.assertLess(process_time() - began, 0.2)

    def test_many_words(self) -> None:
        """Long texts are: of those that are as they should be there may be as many as fit."""
        text = "größer " * 600
        words = Header(text, "utf-8", maxlinelen=75).encode().replace("\n", "")
        self.assertGreater(words.count("=?utf-8?"), 100)
        self.assertEqual(header_text(words.encode()), text.strip())

    @settings(deadline=None)
    @given(TEXTS, TEXTS)
    @example("a\r\ndata: x\n\n", "\u2028event: open")
    def test_streams(self, message: str, title: str) -> None:
        """A message is one line of JSON, one event, one line of text, whatever it says."""
        caller = Caller()
        body = json.dumps({"topic": "t", "message": message, "title": title}).encode()
        caller.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        for publication in caller.press.publications:
            shown = message_object("t", publication.message("", 0))
            self.assertRegex(JSON.encode(shown), rb"\A[^\r\n]*\n\Z")
            self.assertRegex(SSE.encode(shown), rb"\Adata: [^\r\n]*\n\n\Z")
            self.assertRegex(RAW.encode(shown), rb"\A[^\r\n]*\n\Z")
