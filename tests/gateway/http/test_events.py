"""`pushd.gateway.http.events`: answers that go on, and when they do not."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.gateway.http.events import EventStream, Streams, encode_event
from pushd.gateway.http.pages import json_app
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.http.streams import HEART_BEAT_S, MAX_UNREAD_BYTES
from pushd.gateway.identity.guards import Guard
from tests.gateway.callers import Caller

ASK = b"GET /v1/news HTTP/1.1\r\nHost: h\r\n\r\n"
ADA = b"Authorization: Basic YWRhOnNlY3JldA==\r\n"


class News:
    """A page that streams, as others write them."""

    app = json_app()

    def __init__(self, guard: Guard, streams: Streams) -> None:
        self._guard = guard
        self._streams = streams
        self.opened: list[EventStream] = []
        self.closes_early = False

    @app.route("/news", methods=["GET"])
    async def news(self, request: GatewayRequest) -> None:
        caller = await self._guard.identify(request)
        stream = self._streams.prepare(request, caller)
        self.opened.append(stream)
        if self.closes_early:
            stream.close()
        stream.begin()
        await stream.until_over()


class EventsCase(SynchronousTestCase):
    """One reader of the news, and others where they are needed."""

    def setUp(self) -> None:
        self.streams = Streams(per_caller=lambda: 2, at_most=3)
        self.caller = Caller(make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        self.news = News(guard, self.streams)
        resource: Any = self.news.app.resource()
        return {b"v1/news": resource}

    def ask(self, data: bytes = ASK) -> bytes:
        self.caller.channel.dataReceived(data)
        return self.came()

    def came(self) -> bytes:
        """What was sent since the last time."""
        data: bytes = self.caller.transport.value()
        self.caller.transport.clear()
        return data

    def chunks(self) -> bytes:
        """The same as the body that it is a part of."""
        body, rest = b"", self.came()
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        return body

    def hang_up(self) -> None:
        self.caller.channel.connectionLost(Failure(ConnectionLost()))

    @property
    def stream(self) -> EventStream:
        return self.news.opened[-1]


class AnswerTests(EventsCase):
    """What a reader sees"""

    def test_headers(self) -> None:
        """They come at once, with a first comment, and keep caches and proxies away."""
        head, _, body = self.ask().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
        for line in (
            b"Content-Type: text/event-stream; charset=utf-8",
            b"Cache-Control: no-store",
            b"Access-Control-Allow-Origin: *",
            b"Transfer-Encoding: chunked",
        ):
            self.assertIn(b"\r\n" + line, head)
        self.assertEqual(body, b"3\r\n:\n\n\r\n")

    def test_events(self) -> None:
        """Objects are JSON on one line; an event may have a type and an id."""
        self.ask()
        self.stream.send({"text": "grüße\n"}, event="said", id="7")
        self.assertEqual(self.chunks(), 'event: said\nid: 7\ndata: {"text":"grüße\\n"}\n\n'.encode())

    def test_heart_beats(self) -> None:
        """Who hears nothing for two of them knows that the connection is gone."""
        self.ask()
        for _ in range(3):
            self.caller.clock.advance(HEART_BEAT_S)
            self.assertEqual(self.chunks(), b":\n\n")

    def test_no_deadline(self) -> None:
        """An answer that goes on is not too late, however long it does."""
        self.ask()
        for _ in range(100):
            self.caller.clock.advance(40)
        self.came()
        self.stream.send("still here")
        self.assertEqual(self.chunks(), b"data: still here\n\n")
        self.assertFalse(self.caller.hung_up)

    def test_close(self) -> None:
        """The answer ends as it should, and the connection serves the next request."""
        self.ask()
        self.stream.close()
        self.assertEqual(self.came(), b"0\r\n\r\n")
        self.assertIn(b"healthy", self.ask(b"GET /v1/health HTTP/1.1\r\nHost: h\r\n\r\n"))

    def test_closed_and_idle(self) -> None:
        """After the stream, the connection is as any other: it closes when nobody asks for anything."""
        self.ask()
        self.stream.close()
        for _ in range(3):
            self.caller.clock.advance(31)
        self.assertTrue(self.caller.hung_up)

    def test_closed_before_it_began(self) -> None:
        """Then there is an ordinary answer."""
        self.news.closes_early = True
        answer = self.caller.request("GET", "/v1/news")
        self.assertEqual(answer.code, 50300)
        self.assertEqual(len(self.streams), 0)

    def test_head(self) -> None:
        """Headers, and that is all."""
        said = self.ask(ASK.replace(b"GET", b"HEAD"))
        self.assertTrue(said.endswith(b"\r\n\r\n") and b"event-stream" in said, said)
        self.assertEqual(len(self.streams), 0)
        self.assertIn(b"healthy", self.ask(b"GET /v1/health HTTP/1.1\r\nHost: h\r\n\r\n"))

    def test_http_1_0(self) -> None:
        """Without chunks: the end of the connection is the end of the stream."""
        head, _, body = self.ask(b"GET /v1/news HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
        self.assertEqual(body, b":\n\n")
        self.assertNotIn(b"chunked", head)
        self.stream.close()
        self.assertTrue(self.caller.hung_up)

    def test_next_request_waits(self) -> None:
        """What a caller asks on the same connection is answered when the stream is over."""
        self.ask()
        self.assertEqual(self.ask(b"GET /v1/health HTTP/1.1\r\nHost: h\r\n\r\n"), b"")
        self.stream.close()
        self.assertIn(b"healthy", self.came())


class EndTests(EventsCase):
    """Readers that leave, and those that do not read"""

    def test_reader_leaves(self) -> None:
        """Whoever feeds the stream is told, once; what is sent after that is lost, and no timer is left."""
        self.ask()
        told: list[str] = []
        self.stream.call_when_over(lambda: told.append("over"))
        self.hang_up()
        self.assertEqual((told, self.stream.over), (["over"], True))
        self.stream.send("x")
        self.stream.close()
        self.stream.call_when_over(lambda: told.append("at once"))
        self.assertEqual(told, ["over", "at once"])
        self.assertEqual(self.caller.clock.getDelayedCalls(), [])

    def test_reader_does_not_read(self) -> None:
        """What waits for it has a bound; then it is cut off, and nothing more is kept for it."""
        self.ask()
        self.caller.channel.pauseProducing()
        for _ in range(MAX_UNREAD_BYTES // 1000 + 100):
            self.stream.send("x" * 1000)
        self.assertTrue(self.caller.transport.aborted)
        self.assertLess(len(self.came()), MAX_UNREAD_BYTES * 1.1)
        self.hang_up()
        self.assertEqual(len(self.streams), 0)

    def test_reader_is_slow(self) -> None:
        """Whoever reads in the end has missed nothing."""
        self.ask()
        for _ in range(10):
            self.caller.channel.pauseProducing()
            self.stream.send("x" * (MAX_UNREAD_BYTES - 1000))
            self.caller.channel.resumeProducing()
        self.assertFalse(self.caller.transport.aborted)

    def test_already_full(self) -> None:
        """Answers that were not read before count as well: their transport says so only once."""
        self.caller.channel.pauseProducing()
        self.ask()
        self.stream.send("x" * MAX_UNREAD_BYTES)
        self.assertTrue(self.caller.transport.aborted)


class PlaceTests(EventsCase):
    """How many may be open"""

    def test_per_user(self) -> None:
        """One more than that is told so, and each that ends makes room."""
        with_login = ASK[:-2] + ADA + b"\r\n"
        for _ in range(2):
            self.ask(with_login)
            self.caller.connect()
        self.assertIn(b'"code":42903', self.ask(with_login))
        self.stream.close()
        self.caller.connect()
        self.assertIn(b"event-stream", self.ask(with_login))

    def test_altogether(self) -> None:
        """Users have places of their own, until all are taken."""
        with_login = ASK[:-2] + ADA + b"\r\n"
        for data in (ASK, ASK, with_login):
            self.assertIn(b"event-stream", self.ask(data))
            self.caller.connect()
        self.assertIn(b'"code":42903', self.ask(with_login))
        self.assertEqual(len(self.streams), 3)


class EncodeTests(SynchronousTestCase):
    """HTML §9.2: the text format"""

    def test_lines(self) -> None:
        """Each line of a text is one of the event's; nothing in it can begin another field or event."""
        self.assertEqual(
            encode_event("a\nevent: x\r\rb\r\n\n"),
            b"data: a\ndata: event: x\ndata: \ndata: b\ndata: \ndata: \n\n",
        )

    def test_type_and_id_are_one_line(self) -> None:
        """Who would put more there made a mistake."""
        for bad in ("a\nb", "a\rb", "a\0b"):
            self.assertRaises(ValueError, encode_event, "x", bad)
            self.assertRaises(ValueError, encode_event, "x", None, bad)

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text(self, text: str) -> None:
        """A reader puts together what was sent, but for the kinds of its line ends."""
        lines = encode_event(text).decode().split("\n")
        self.assertEqual(lines[-2:], ["", ""])
        read = "\n".join(line.removeprefix("data: ") for line in lines[:-2])
        self.assertEqual(read, text.replace("\r\n", "\n").replace("\r", "\n"))
