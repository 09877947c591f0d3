"""`pushd.gateway.ntfy.websocket`: ntfy's streams over WebSocket (RFC 6455)."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pushd.gateway.http.channel import IDLE_S
from pushd.gateway.http.streams import MAX_UNREAD_BYTES
from pushd.gateway.ntfy.websocket import CLOSE_S, text_frame
from tests.gateway.readers import BEAT_S, UPGRADE, End, ReadersCase
from tests.websocket_frames import ACCEPT, BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, masked_frame


class WebSocketCase(ReadersCase):
    """Readers by WebSocket"""

    def open(self, target: str = "/news/ws", headers: str = "") -> End:
        return self.read(target, UPGRADE + headers)

    def frames(self, end: End) -> list[tuple[int, bytes]]:
        """What has come, by opcode; none of it is masked or in parts."""
        data, frames = end.transport.value().partition(b"\r\n\r\n")[2], []
        while data:
            self.assertEqual(data[0] & 0xF0, 0x80)
            size, at = data[1], 2
            if size > 125:
                width = 2 if size == 126 else 8
                size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
            frames.append((data[0] & 0xF, data[at : at + size]))
            data = data[at + size :]
        return frames

    def objects(self, end: End) -> list[dict[str, Any]]:
        """The message objects among them."""
        return [json.loads(payload) for opcode, payload in self.frames(end) if opcode == TEXT]

    def stop_reading(self, end: End) -> None:
        """The transport is full."""
        stream: Any = end.transport.producer
        stream.pauseProducing()

    def close_code(self, end: End) -> int:
        """What the last frame says, which is a close frame."""
        opcode, payload = self.frames(end)[-1]
        self.assertEqual(opcode, CLOSE)
        return int.from_bytes(payload[:2], "big")


class HandshakeTests(WebSocketCase):
    """§4.2"""

    def test_accepted(self) -> None:
        """By the key that the reader sent, and without any extension that it offers."""
        end = self.open(headers="Sec-WebSocket-Extensions: permessage-deflate\r\nOrigin: https://other\r\n")
        self.assertTrue(end.head.startswith("HTTP/1.1 101 "), end.head)
        self.assertIn(f"\r\nSec-WebSocket-Accept: {ACCEPT.decode()}", end.head)
        self.assertNotIn("Extensions", end.head)

    def test_no_websocket(self) -> None:
        """Whoever comes with something else is told so, in JSON."""
        for wrong in (
            "",
            UPGRADE.replace("Upgrade: websocket", "Upgrade: h2c"),
            UPGRADE.replace("keep-alive, Upgrade", "keep-alive"),
            UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
            UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
        ):
            self.assertEqual(self.refused("/news/ws", wrong), 40016, wrong)
        self.assertEqual(self.read("/news/ws", UPGRADE, "HEAD").head[:12], "HTTP/1.1 400")
        self.assertEqual((len(self.places), len(self.rig.broker.taps)), (0, 0))

    def test_other_version(self) -> None:
        """And which one is spoken here."""
        end = self.read("/news/ws", UPGRADE.replace("Version: 13", "Version: 8"))
        self.assertIn("Sec-WebSocket-Version: 13", end.head)
        self.assertEqual(end.refusal().code, 42600)

    def test_refusals(self) -> None:
        """Until the stream begins the request is one as any other."""
        self.assertEqual(self.refused("/a%20b/ws", UPGRADE), 40009)
        self.assertEqual(self.refused("/news/ws?since=x", UPGRADE), 40008)
        self.assertEqual(len(self.places), 0)

    def test_what_came_behind(self) -> None:
        """Frames that come before the answer are heard after it."""
        end = self.connect()
        head = f"GET /news/ws HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWRhOnNlY3JldA==\r\n{UPGRADE}\r\n"
        end.channel.dataReceived(head.encode() + masked_frame(b"x", PING))
        self.assertIn((PONG, b"x"), self.frames(end))


class StreamTests(WebSocketCase):
    """What a reader hears"""

    def test_messages(self) -> None:
        """Each in a text frame of its own: that it is open, what was said, what is being said."""
        self.push("news", "0")
        end = self.open("/news/ws?since=all")
        self.push("news", "1")
        said = [(shown["event"], shown.get("message")) for shown in self.objects(end)]
        self.assertEqual(said, [("open", None), ("message", "0"), ("message", "1")])

    def test_mqtt_topics(self) -> None:
        """The other spelling."""
        end = self.open("/v1/subscribe/home/%23/ws")
        self.push("home/door", "x")
        self.assertEqual(self.objects(end)[-1]["topic"], "home/door")

    def test_poll(self) -> None:
        """Closed properly when everything was said."""
        self.push("news", "0")
        end = self.open("/news/ws?poll=1")
        self.assertEqual([shown["message"] for shown in self.objects(end)], ["0"])
        self.assertEqual(self.close_code(end), 1000)
        end.channel.dataReceived(masked_frame(b"\x03\xe8", CLOSE))
        self.assertTrue(end.hung_up)

    def test_pings(self) -> None:
        """In place of keepalive events, for as long as they are answered."""
        end = self.open()
        for _ in range(3):
            end.beat()
            end.channel.dataReceived(masked_frame(b"", PONG))
        self.assertEqual([opcode for opcode, _ in self.frames(end)], [TEXT, PING, PING, PING])
        end.beat(2)
        self.assertTrue(end.transport.aborted)

    def test_no_deadline(self) -> None:
        """The channel's own patience is not for streams."""
        end = self.open()
        for _ in range(10):
            end.clock.advance(IDLE_S / 2)
            end.channel.dataReceived(masked_frame(b"", PONG))
        self.assertFalse(end.hung_up or end.transport.aborted)

    def test_no_rights_any_more(self) -> None:
        """Going away, as when the broker stops."""
        end = self.open()
        self.rig.broker.stop()
        self.assertEqual(self.close_code(end), 1001)

    def test_who_does_not_read(self) -> None:
        """What waits for a reader has a bound."""
        end = self.open()
        self.stop_reading(end)
        for _ in range(3):
            self.push("news", "x" * (MAX_UNREAD_BYTES // 2))
        self.assertTrue(end.transport.aborted)
        end.hang_up()
        self.assertEqual((len(self.places), len(self.rig.broker.taps)), (0, 0))

    def test_who_leaves_leaves_nothing(self) -> None:
        """No timer, no tap, no place."""
        end = self.open()
        end.hang_up()
        self.assertEqual(
            (end.clock.getDelayedCalls(), len(self.places), len(self.rig.broker.taps)), ([], 0, 0)
        )


class HearingTests(WebSocketCase):
    """What a reader says: control frames only"""

    def say(self, *frames: bytes) -> End:
        end = self.open()
        for frame in frames:
            end.channel.dataReceived(frame)
        return end

    def test_ping(self) -> None:
        """Answered with what was in it; in parts, too."""
        data = masked_frame(b"x" * 125, PING)
        for cut in range(1, len(data)):
            end = self.say(data[:cut], data[cut:])
            self.assertEqual(self.frames(end)[-1], (PONG, b"x" * 125), cut)
            end.hang_up()

    def test_ping_of_who_does_not_read(self) -> None:
        """Not answered: it would fill our memory."""
        end = self.open()
        self.stop_reading(end)
        end.channel.dataReceived(masked_frame(b"x", PING) * 1000)
        self.assertEqual(len(self.frames(end)), 1)

    def test_close(self) -> None:
        """Answered with the same code, and the connection ends."""
        end = self.say(masked_frame(b"\x0b\xb8bye", CLOSE))
        self.assertEqual((self.close_code(end), end.hung_up), (3000, True))
        end = self.say(masked_frame(b"", CLOSE))
        self.assertEqual((self.frames(end)[-1], end.hung_up), ((CLOSE, b""), True))

    def test_data(self) -> None:
        """There is nobody to hear it, however much or little it claims to be."""
        for frame in (
            masked_frame(b"hello", TEXT),
            masked_frame(b"", BINARY),
            masked_frame(b"x", BINARY, length=1 << 40),
        ):
            end = self.say(frame)
            self.assertEqual((self.close_code(end), end.hung_up), (1003, True))

    def test_no_frames(self) -> None:
        """Not masked, reserved bits, control frames in parts or too long, unknown opcodes, wrong codes."""
        for frame in (
            masked_frame(b"x", PING, key=None),
            masked_frame(b"x", PING, first=0xC0),
            masked_frame(b"x", PING, first=0x00),
            masked_frame(b"x" * 126, PING),
            masked_frame(b"x", 0xB),
            masked_frame(b"x", CONTINUATION),
            masked_frame(b"x", BINARY, length=1 << 63),
            masked_frame(b"\x03\xed", CLOSE),
            masked_frame(b"\x03", CLOSE),
        ):
            end = self.say(frame, masked_frame(b"x", PING))
            self.assertEqual((self.close_code(end), end.hung_up), (1002, True), frame)

    def test_who_does_not_close(self) -> None:
        """A reader that was told of the end, and does not say goodbye, is not waited for for long."""
        end = self.open("/news/ws?poll=1")
        end.clock.advance(CLOSE_S - 0.1)
        self.assertFalse(end.transport.aborted)
        end.clock.advance(0.2)
        self.assertTrue(end.transport.aborted)

    @given(st.lists(st.binary(max_size=64), max_size=8))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """The stream goes on, or ends; nothing is kept of what makes no sense, and nothing fails."""
        end = self.say(*pieces)
        end.clock.advance(BEAT_S)
        end.hang_up()
        self.assertEqual(len(self.places), 0)


class FrameTests(WebSocketCase):
    """§5.2: lengths"""

    def test_lengths(self) -> None:
        """In one, three or nine bytes, as short as it can be."""
        for size, head in (
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\0\x7e"),
            (65_536, b"\x81\x7f\0\0\0\0\0\1\0\0"),
        ):
            self.assertEqual(text_frame(b"x" * size), head + b"x" * size)
