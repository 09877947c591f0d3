"""`pushd.transports.upgrade`: RFC 6455 §4.2, from the bytes of a request to those of the answer."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.transports.upgrade import MAX_HEAD_BYTES, UpgradeRefused, accept, find_head
from tests.websocket_frames import ACCEPT, REQUEST


def without(name: bytes) -> bytes:
    """The request, one header less."""
    return re.sub(rb"(?i)%s: [^\r]*\r\n" % name, b"", REQUEST)


def instead(name: bytes, value: bytes) -> bytes:
    """The request with another value of a header."""
    return re.sub(rb"(?i)(%s): [^\r]*" % name, rb"\1: " + value, REQUEST)


def also(line: bytes) -> bytes:
    """The request and a header more."""
    return REQUEST[:-2] + line + b"\r\n\r\n"


def refusal(head: bytes, *origins: str) -> UpgradeRefused:
    try:
        accept(head, origins)
    except UpgradeRefused as refused:
        return refused
    raise AssertionError(f"accepted: {head!r}")


def status(head: bytes, *origins: str) -> int:
    return int(refusal(head, *origins).answer.split(b" ")[1])


class AcceptTests(SynchronousTestCase):
    """§4.2.2"""

    def test_the_answer(self) -> None:
        """What RFC 6455 §1.3 answers to this key, and the sub-protocol."""
        first, *lines = accept(REQUEST, ()).split(b"\r\n")
        assert first == b"HTTP/1.1 101 Switching Protocols"
        headers = {name.lower(): value for name, value in (line.split(b": ") for line in lines if line)}
        assert headers == {
            b"upgrade": b"websocket",
            b"connection": b"Upgrade",
            b"sec-websocket-accept": ACCEPT,
            b"sec-websocket-protocol": b"mqtt",
        }

    def test_names_are_in_any_case(self) -> None:
        """As HTTP/1.1 has it, and proxies make use of it."""
        lower = re.sub(rb"(?m)^[A-Z][\w-]+:", lambda found: found.group().lower(), REQUEST)
        assert lower != REQUEST
        assert accept(lower, ()) == accept(REQUEST, ())
        assert accept(instead(b"Upgrade", b"WebSocket"), ()) == accept(REQUEST, ())

    def test_any_path(self) -> None:
        """Clients are set up with /mqtt, with / or with /ws."""
        for path in (b"/", b"/ws", b"/mqtt?token=1", b"/a/b/c"):
            assert accept(REQUEST.replace(b"/mqtt", path), ()) == accept(REQUEST, ())

    def test_sub_protocols(self) -> None:
        """The standard's wins, wherever it stands in the list (v5 [MQTT-6.0.0-4])."""
        for offered, chosen in (
            (b"mqtt", b"mqtt"),
            (b"mqttv3.1", b"mqttv3.1"),
            (b"mqttv3.1, mqtt", b"mqtt"),
            (b"chat,mqtt", b"mqtt"),
        ):
            answer = accept(instead(b"Sec-WebSocket-Protocol", offered), ())
            assert b"Protocol: " + chosen + b"\r\n" in answer, offered

    def test_extensions_are_not_agreed_to(self) -> None:
        """Browsers offer compression; without a word about it there is none."""
        answer = accept(also(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), ())
        assert answer == accept(REQUEST, ())


class RefusalTests(SynchronousTestCase):
    """Short answers that say what is wrong"""

    def test_missing_headers(self) -> None:
        """Each of them is needed."""
        for name in (b"Host", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version"):
            assert status(without(name)) == 400, name

    def test_no_upgrade(self) -> None:
        """426: somebody looks with a browser what is here."""
        for head in (without(b"Upgrade"), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"):
            assert status(head) == 426
            assert b"\r\nUpgrade: websocket\r\n" in refusal(head).answer

    def test_other_versions(self) -> None:
        """426 with the one that is spoken here (§4.2.2, 4)."""
        for version in (b"8", b"12", b"14", b"13, 8"):
            answer = refusal(instead(b"Sec-WebSocket-Version", version)).answer
            assert answer.startswith(b"HTTP/1.1 426 ")
            assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer

    def test_no_sub_protocol_of_ours(self) -> None:
        """As Mosquitto refuses it (v5 [MQTT-6.0.0-3])."""
        for head in (without(b"Sec-WebSocket-Protocol"), instead(b"Sec-WebSocket-Protocol", b"MQTT, chat")):
            assert status(head) == 400
            assert b"mqtt" in refusal(head).answer

    def test_bad_keys(self) -> None:
        """16 bytes in Base64 (§4.2.1, 5)."""
        for key in (b"", b"x", b"dGhlIHNhbXBsZSBub25j", b"dGhlIHNhbXBsZSBub25jZQ", b"\xff" * 24):
            assert status(instead(b"Sec-WebSocket-Key", key)) == 400, key

    def test_wrong_requests(self) -> None:
        """What is no GET of HTTP/1.1, or has a body."""
        for head in (
            REQUEST.replace(b"GET", b"POST"),
            REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"),
            REQUEST.replace(b"HTTP/1.1", b"HTTP/2.0"),
            instead(b"Connection", b"keep-alive"),
            instead(b"Upgrade", b"h2c"),
            instead(b"Host", b"xn--\xc3\xa9"),
            also(b"Content-Length: 5"),
            also(b"Transfer-Encoding: chunked"),
            also(b"no colon"),
            also(b"Folded: a\r\n b").replace(b"\r\n b", b"\n b"),
        ):
            assert status(head) == 400, head

    def test_the_answer_is_whole(self) -> None:
        """A length, a text, and the end of the connection."""
        head, _, body = refusal(without(b"Host")).answer.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
        assert b"Connection: close" in head.split(b"\r\n")
        assert body.endswith(b"\n")


class OriginTests(SynchronousTestCase):
    """websockets_origin"""

    def test_no_list(self) -> None:
        """Pages from everywhere may connect."""
        assert accept(also(b"Origin: https://evil.example"), ())

    def test_those_on_the_list(self) -> None:
        """Letter by letter as browsers send it."""
        origins = ("https://a.example", "https://b.example:8443")
        assert accept(also(b"Origin: https://b.example:8443"), origins)
        for other in (b"https://b.example", b"http://a.example", b"https://a.example.evil", b"null", b""):
            assert status(also(b"Origin: " + other), *origins) == 403, other

    def test_who_does_not_say(self) -> None:
        """Only browsers do: a phone's app gets in as it does with Mosquitto."""
        assert accept(REQUEST, ("https://a.example",))


class FindHeadTests(SynchronousTestCase):
    """Where a request ends"""

    def test_behind_the_blank_line(self) -> None:
        """What comes then is not HTTP any more."""
        assert find_head(REQUEST + b"\x82\x80") == len(REQUEST)

    def test_not_before(self) -> None:
        """However little has come."""
        for end in range(len(REQUEST)):
            assert find_head(REQUEST[:end]) is None

    def test_no_request(self) -> None:
        """MQTT without WebSocket, TLS or another method: known from the first bytes."""
        for start in (b"\x10", b"\x16\x03\x01", b"POST / HTTP/1.1", b"GETX"):
            refused = self.assertRaises(UpgradeRefused, find_head, start)
            assert refused.answer.startswith(b"HTTP/1.1 400 "), start

    def test_too_long(self) -> None:
        """431 once the limit is reached; up to there all is well."""
        padding = b"x" * (MAX_HEAD_BYTES - len(also(b"X: ")))
        assert find_head(also(b"X: " + padding)) == MAX_HEAD_BYTES
        assert accept(also(b"X: " + padding), ())
        refused = self.assertRaises(UpgradeRefused, find_head, also(b"X: x" + padding))
        assert refused.answer.startswith(b"HTTP/1.1 431 ")


class AnyBytesTests(SynchronousTestCase):
    @given(st.binary(max_size=200), st.integers(0, len(REQUEST)), st.integers(0, 30))
    def test_any_request(self, noise: bytes, at: int, gone: int) -> None:
        """Whatever a request has in it, there is an answer."""
        head = REQUEST[:at] + noise + REQUEST[at + gone :]
        try:
            end = find_head(head)
            answer = b"" if end is None else accept(head[:end], ())
        except UpgradeRefused as refused:
            answer = refused.answer
        assert answer == b"" or answer.startswith((b"HTTP/1.1 1", b"HTTP/1.1 4"))
