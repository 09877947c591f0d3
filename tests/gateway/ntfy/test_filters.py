"""`pushd.gateway.ntfy.filters` and `.lookup`: which messages a reader wants, and where it says so."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.ntfy.filters import EVERYTHING, Filter, read_filter
from pushd.gateway.ntfy.lookup import is_true, look_up
from tests.gateway.callers import Caller


def request(query: dict[str, str] | None = None, **headers: str) -> GatewayRequest:
    """One with a query and headers; ``x_title`` is the header ``X-Title``."""
    made = GatewayRequest(Caller().channel)
    made.args = {name.encode(): [value.encode()] for name, value in (query or {}).items()}
    named = {name.replace("_", "-").encode(): [value.encode()] for name, value in headers.items()}
    made.requestHeaders = Headers(named)
    return made


def message(**shown: Any) -> dict[str, Any]:
    """A message object."""
    return {"id": "bQ1gAWzE2cbG", "event": "message", "message": "hello", **shown}


class LookUpTests(SynchronousTestCase):
    """Headers first, then the query"""

    def test_order(self) -> None:
        """Any header goes before the query, and among each the names as they are listed."""
        both = request({"since": "1h", "si": "2h"}, si="3h")
        self.assertEqual(look_up(both, "x-since", "since", "si"), "3h")
        self.assertEqual(look_up(request({"si": "2h", "since": "1h"}), "x-since", "since", "si"), "1h")
        self.assertEqual(look_up(request({"other": "x"}), "x-since", "since", "si"), "")

    def test_not_ascii(self) -> None:
        """UTF-8 as it is, and RFC 2047's encoded words."""
        self.assertEqual(look_up(request(title="grüße"), "title"), "grüße")
        self.assertEqual(look_up(request(title="=?UTF-8?B?Z3LDvMOfZQ==?="), "title"), "grüße")

    def test_a_priority_of_http(self) -> None:
        """Proxies add this header, and it says nothing about messages (RFC 9218)."""
        names = "x-priority", "priority", "p"
        self.assertEqual(look_up(request(priority="u=4, i"), *names), "")
        self.assertEqual(look_up(request({"p": "5"}, priority="u=4, i"), *names), "5")

    def test_booleans(self) -> None:
        """Whatever is not yes is no."""
        for text, expected in (("1", True), ("yes", True), ("TRUE", True), ("0", False), ("on", False)):
            self.assertIs(is_true(request({"poll": text}), "x-poll", "poll"), expected, text)


class ReadTests(SynchronousTestCase):
    """What a request says"""

    def test_nothing_said(self) -> None:
        """Then nothing is looked at."""
        self.assertIs(read_filter(request()), EVERYTHING)

    def test_all_of_them(self) -> None:
        """By their shortest names; lists are parted by commas."""
        said = {"id": "x", "m": "hello", "t": "Title", "p": "high, 5", "ta": "a, b,"}
        expected = Filter("x", "hello", "Title", frozenset({4, 5}), frozenset({"a", "b"}))
        self.assertEqual(read_filter(request(said)), expected)
        self.assertEqual(read_filter(request(x_title="Title")), Filter(title="Title"))

    def test_no_priority(self) -> None:
        """One that is none is an error, in a list as well."""
        for text in ("6", "0", "1,urgently"):
            error = self.assertRaises(Refusal, read_filter, request({"priority": text}))
            self.assertEqual(error.problem.code, 40007)


class PassTests(SynchronousTestCase):
    """What comes through"""

    def test_exact(self) -> None:
        """Id, text and title have to be just that."""
        shown = message(title="Title")
        self.assertTrue(Filter(id="bQ1gAWzE2cbG", message="hello", title="Title").passes(shown))
        for wanted in (Filter(id="other"), Filter(message="hell"), Filter(title="title")):
            self.assertFalse(wanted.passes(shown))
        self.assertFalse(Filter(title="Title").passes(message()))

    def test_priority(self) -> None:
        """One of several; a message that has none has the third."""
        self.assertTrue(Filter(priorities=frozenset({4, 5})).passes(message(priority=5)))
        self.assertFalse(Filter(priorities=frozenset({4, 5})).passes(message()))
        self.assertTrue(Filter(priorities=frozenset({3})).passes(message()))

    def test_tags(self) -> None:
        """All of them."""
        both = Filter(tags=frozenset({"a", "b"}))
        self.assertTrue(both.passes(message(tags=["b", "c", "a"])))
        self.assertFalse(both.passes(message(tags=["a"])))
        self.assertFalse(both.passes(message()))

    def test_other_events(self) -> None:
        """They always come: a reader that does not hear of a deletion goes on showing the message."""
        self.assertTrue(Filter(title="Title").passes({"event": "message_delete"}))
