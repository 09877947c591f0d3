"""`pushd.transports.websocket`: MQTT through frames, from the first byte of the request to the last."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.broker.interfaces import PeerCertificate, Verdict
from pushd.broker.limits import Limits
from pushd.mqtt.codes import ReasonCode, Version
from pushd.mqtt.packets import (
    Connect,
    Disconnect,
    Publish,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from pushd.mqtt.reader import PacketReader
from pushd.mqtt.writer import encode
from pushd.transports.outlet import DirectOutlet, Outlet
from pushd.transports.protocol import CLOSE_TIMEOUT_S, no_certificate
from pushd.transports.upgrade import MAX_HEAD_BYTES
from pushd.transports.websocket import FramedMQTTFactory, WebSocketFactory
from tests.driver import ADDRESS, Rig, Wire
from tests.fakes import Doorkeeper
from tests.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Frame,
    close_payload,
    masked_frame,
    server_frames,
)

V3 = Version.V3_1_1
CONNECT = encode(Connect(client_id="ada"), V3)
CONNACK = b"\x20\x02\0\0"
SUBSCRIBE = encode(Subscribe(1, [SubscriptionRequest("t")]), V3)
PINGREQ, PINGRESP = b"\xc0\0", b"\xd0\0"


class Page:
    """The far end of one WebSocket: raw bytes in, frames out."""

    def __init__(
        self,
        rig: Rig | None = None,
        *origins: str,
        peer_certificate: Callable[[Any], PeerCertificate | None] = no_certificate,
    ) -> None:
        self.rig = rig or Rig()
        mqtt = FramedMQTTFactory(self.rig.broker, self.rig.policy, peer_certificate)
        self.factory = WebSocketFactory(mqtt, direct=False, origins=origins)
        self.protocol = protocol = self.factory.buildProtocol(ADDRESS)
        self.wire = Wire(self.rig.clock, protocol)  # type: ignore[arg-type]  # a protocol all the same
        protocol.makeConnection(self.wire)

    def send(self, *data: bytes) -> None:
        """Each in a read of its own, and all in one turn of the reactor."""
        for piece in data:
            self.wire.deliver(piece)
        self.rig.turn()

    def taken(self) -> bytes:
        """What came since the last time."""
        data: bytes = self.wire.value()
        self.wire.clear()
        return data

    def frames(self) -> list[Frame]:
        return server_frames(self.taken())

    def open(self) -> Page:
        """Up to the answer to the handshake."""
        self.send(REQUEST)
        assert self.taken().startswith(b"HTTP/1.1 101 ")
        return self

    def connect(self, packet: bytes = CONNECT) -> Page:
        """Up to the CONNACK."""
        self.open().send(masked_frame(packet))
        assert self.frames()[0].payload[:1] == CONNACK[:1]
        return self


class InterfaceTests(SynchronousTestCase):
    """What Twisted relies on, and what a hundred thousand connections cost."""

    def test_interfaces(self) -> None:
        """A protocol to Twisted; the outlet is the transport's producer."""
        page = Page()
        self.assertTrue(verifyObject(IProtocol, page.protocol))
        self.assertTrue(verifyObject(IPushProducer, page.wire.producer))

    def test_no_dict(self) -> None:
        """Neither the connection nor what it is made of carries one."""
        page = Page().open()
        for part in (page.protocol, page.wire.producer, page.protocol._reader):
            self.assertFalse(hasattr(part, "__dict__"))


class BehindAProxyTests(SynchronousTestCase):
    """What a proxy said of the client's TLS, before the WebSocket began."""

    def test_told_to_who_decides(self) -> None:
        """Whoever asks for the client's certificate is given what the proxy saw."""
        asked: list[Any] = []
        page = Page(peer_certificate=asked.append)
        page.wire.proxied_tls = "facts"  # type: ignore[attr-defined]  # as a ProxiedTransport has it
        page.connect()
        self.assertEqual(["facts"], [transport.proxied_tls for transport in asked])


class HandshakeTests(SynchronousTestCase):
    """From HTTP to frames"""

    def test_split_anywhere(self) -> None:
        """A request cut in two, wherever that is, is answered like a whole one, and MQTT follows."""
        whole = Page()
        whole.send(REQUEST, masked_frame(CONNECT))
        expected = whole.taken()
        assert expected.endswith(b"\x82\x04" + CONNACK)
        for cut in range(1, len(REQUEST)):
            page = Page()
            page.send(REQUEST[:cut], REQUEST[cut:], masked_frame(CONNECT))
            assert page.taken() == expected, cut

    def test_everything_in_one_read(self) -> None:
        """Frames may come with the request: a client that does not wait is not punished."""
        page = Page()
        page.send(REQUEST + masked_frame(CONNECT) + masked_frame(PINGREQ))
        head, _, rest = page.taken().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"".join(frame.payload for frame in server_frames(rest)) == CONNACK + PINGRESP

    def test_byte_by_byte(self) -> None:
        """Slowly is no mistake."""
        stream = REQUEST + masked_frame(CONNECT) + masked_frame(PINGREQ)
        page = Page()
        page.send(*(stream[at : at + 1] for at in range(len(stream))))
        assert page.taken().endswith(CONNACK + PINGRESP)

    def test_refusals_are_answered_and_closed(self) -> None:
        """With a text that says why, and what comes after it is not looked at."""
        page = Page()
        page.send(REQUEST.replace(b"mqtt\r\n", b"chat\r\n"), masked_frame(CONNECT))
        assert page.taken().startswith(b"HTTP/1.1 400 ")
        assert page.wire.over
        assert page.rig.broker.counters.connections_refused == {"websocket": 1}

    def test_origins(self) -> None:
        """A page of another site gets 403, one on the list gets in."""
        request = REQUEST[:-2] + b"Origin: https://a.example\r\n\r\n"
        page = Page(None, "https://b.example")
        page.send(request)
        assert page.taken().startswith(b"HTTP/1.1 403 ")
        page = Page(None, "https://b.example")
        page.factory.origins = ("https://a.example",)  # as a reload does
        page.send(request)
        assert page.taken().startswith(b"HTTP/1.1 101 ")

    def test_a_head_without_end(self) -> None:
        """Is not collected for ever."""
        page = Page()
        page.send(REQUEST[:-2], *[b"X: " + b"x" * 995 + b"\r\n"] * (MAX_HEAD_BYTES // 1000))
        assert page.taken().startswith(b"HTTP/1.1 431 ")
        assert page.wire.over


class DeadlineTests(SynchronousTestCase):
    """connect_timeout, from the first moment to a whole CONNECT"""

    def late(self, *pieces: bytes) -> Page:
        page = Page(Rig(Limits(connect_timeout_s=10)))
        for piece in pieces:
            page.send(piece)
            page.rig.clock.pump([0.1] * 40)
        page.rig.clock.pump([0.1] * (110 - 40 * len(pieces)))
        return page

    def test_nothing_at_all(self) -> None:
        """Dropped, and without an answer to nothing."""
        page = self.late()
        assert page.wire.over
        assert page.taken() == b""

    def test_half_a_request(self) -> None:
        """Dribbling does not buy time."""
        assert self.late(REQUEST[:20], REQUEST[20:40]).wire.over

    def test_no_connect(self) -> None:
        """The handshake took a part of it; for CONNECT there is what is left."""
        page = self.late(REQUEST[:20], REQUEST[20:])
        assert page.taken().endswith(bytes((0x88, 2)) + close_payload(1000))

    def test_pings_are_not_mqtt(self) -> None:
        """Neither before CONNECT nor instead of PINGREQ (v3 [MQTT-3.1.2-24])."""
        page = Page().connect(encode(Connect(client_id="ada", keep_alive_s=10), V3))
        for _ in range(16):
            page.send(masked_frame(b"", PING))
            page.rig.clock.advance(1)
        assert page.frames()[-1] == Frame(CLOSE, close_payload(1000))


class StreamTests(SynchronousTestCase):
    """v5 [MQTT-6.0.0-2]: packets do not care where frames end."""

    PACKETS = SUBSCRIBE + encode(Publish("t", b"hello"), V3) + PINGREQ
    ANSWERS = b"\x90\x03\0\x01\0" + encode(Publish("t", b"hello"), V3) + PINGRESP

    def answers(self, *frames: bytes) -> bytes:
        page = Page().connect()
        page.send(*frames)
        return b"".join(frame.payload for frame in page.frames())

    def test_one_frame_for_all(self) -> None:
        """Several packets in a frame."""
        assert self.answers(masked_frame(self.PACKETS)) == self.ANSWERS

    def test_a_frame_for_each_byte(self) -> None:
        """A packet over many frames, of one message or of many."""
        each = [masked_frame(self.PACKETS[at : at + 1]) for at in range(len(self.PACKETS))]
        assert self.answers(*each) == self.ANSWERS
        assert self.answers(b"".join(each)) == self.ANSWERS

    def test_parts_of_one_message(self) -> None:
        """The same with frames that continue the first."""
        first, *middle = [self.PACKETS[at : at + 3] for at in range(0, len(self.PACKETS), 3)]
        frames = [masked_frame(first, first=0)]
        frames += [masked_frame(piece, CONTINUATION, first=0) for piece in middle]
        assert self.answers(*frames, masked_frame(b"", CONTINUATION)) == self.ANSWERS

    def test_split_anywhere(self) -> None:
        """And cut by TCP in addition."""
        stream = masked_frame(self.PACKETS[:9]) + masked_frame() + masked_frame(self.PACKETS[9:])
        for cut in range(len(stream)):
            assert self.answers(stream[:cut], stream[cut:]) == self.ANSWERS, cut

    def test_empty_frames_after_a_packet(self) -> None:
        """Some clients flush that way."""
        assert self.answers(masked_frame(self.PACKETS), masked_frame(), masked_frame()) == self.ANSWERS

    def test_a_turn_is_one_frame(self) -> None:
        """What a client is sent in one turn of the reactor comes as one binary frame."""
        page = Page().connect()
        page.send(masked_frame(self.PACKETS))
        assert page.frames() == [Frame(BINARY, self.ANSWERS)]

    def test_large_messages(self) -> None:
        """Longer than any short form of a frame's length, both ways."""
        big = encode(Publish("t", bytes(100_000)), V3)
        page = Page().connect()
        page.send(masked_frame(SUBSCRIBE), masked_frame(big))
        reader = PacketReader()
        reader.feed(b"".join(frame.payload for frame in page.frames()))
        packets = list(iter(reader.next_packet, None))
        assert packets[-1] == Publish("t", bytes(100_000))

    def test_max_packet_size_is_mqtts(self) -> None:
        """A frame may claim what it likes; a packet that is too long ends the connection."""
        page = Page(Rig(Limits(max_packet_size=1000))).connect()
        page.send(masked_frame(PINGREQ, length=2**62))
        assert page.frames() == [Frame(BINARY, PINGRESP)]
        page = Page(Rig(Limits(max_packet_size=1000))).connect()
        page.send(masked_frame(b"\x30\x80\x80\x80\x01", length=2**40))
        assert page.frames() == [Frame(CLOSE, close_payload(1009))]

    def test_bytes_are_counted_without_frames(self) -> None:
        """$SYS tells of MQTT, not of what it travels in."""
        page = Page().connect()
        before = page.rig.broker.counters.bytes_received
        page.send(masked_frame(PINGREQ))
        assert page.rig.broker.counters.bytes_received == before + len(PINGREQ)


class ControlTests(SynchronousTestCase):
    """RFC 6455 §5.5"""

    def test_pings_are_answered(self) -> None:
        """With what was in them, at any time after the handshake."""
        page = Page().open()
        page.send(masked_frame(b"before", PING))
        page.send(masked_frame(CONNECT[:5]) + masked_frame(b"within", PING) + masked_frame(CONNECT[5:]))
        assert page.frames() == [Frame(PONG, b"before"), Frame(PONG, b"within"), Frame(BINARY, CONNACK)]

    def test_pongs_are_not(self) -> None:
        """Nor do they harm."""
        page = Page().connect()
        page.send(masked_frame(b"x", PONG) + masked_frame(PINGREQ))
        assert page.frames() == [Frame(BINARY, PINGRESP)]

    def test_pings_of_who_does_not_read(self) -> None:
        """Are left unanswered: the answers would fill the memory."""
        page = Page().connect()
        page.wire.full(True)
        page.send(masked_frame(b"x" * 100, PING) * 1000)
        assert page.taken() == b""
        page.wire.full(False)
        page.send(masked_frame(b"again", PING))
        assert page.frames() == [Frame(PONG, b"again")]


class ErrorTests(SynchronousTestCase):
    """Each ends its own connection and no other"""

    def closed_with(self, *frames: bytes) -> int:
        page = Page().connect()
        page.send(*frames)
        *_, last = page.frames()
        assert last.opcode == CLOSE
        assert page.wire.over
        return int.from_bytes(last.payload, "big")

    def test_codes(self) -> None:
        """What `pushd.transports.frames` finds is told."""
        assert self.closed_with(masked_frame(b"{}", TEXT)) == 1003  # v3, v5 [MQTT-6.0.0-1]
        assert self.closed_with(masked_frame(PINGREQ, key=None)) == 1002
        assert self.closed_with(masked_frame(PINGREQ, first=0xC0)) == 1002
        assert self.closed_with(masked_frame(b"x" * 126, PING)) == 1002
        assert self.closed_with(masked_frame(close_payload(1005), CLOSE)) == 1002
        assert self.closed_with(masked_frame(close_payload(1000, b"\xff"), CLOSE)) == 1007

    def test_what_came_before_counts(self) -> None:
        """A message in front of a broken frame is delivered."""
        rig = Rig()
        other = rig.connect("other")
        other.subscribe("t")
        page = Page(rig).connect()
        page.send(masked_frame(encode(Publish("t", b"last words"), V3)) + masked_frame(b"{}", TEXT))
        assert other.received() == [Publish("t", b"last words")]

    def test_a_will_is_published_at_once(self) -> None:
        """A broken connection is no DISCONNECT, and nobody waits for its close frame."""
        rig = Rig()
        other = rig.connect("other")
        other.subscribe("gone")
        will = encode(Connect(client_id="ada", will=Will("gone", b"ada")), V3)
        Page(rig).connect(will).send(masked_frame(b"{}", TEXT))
        assert other.received() == [Publish("gone", b"ada")]

    @given(st.lists(st.binary(max_size=100) | st.builds(masked_frame, st.binary(max_size=40)), max_size=8))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Nothing is raised, nothing is logged as a failure, and another connection does not notice."""
        rig = Rig()
        other = Page(rig).connect(encode(Connect(client_id="other"), V3))
        Page(rig).open().send(*pieces)
        assert self.flushLoggedErrors() == []
        other.send(masked_frame(PINGREQ))
        assert other.frames() == [Frame(BINARY, PINGRESP)]


class ClosingTests(SynchronousTestCase):
    """RFC 6455 §7"""

    def test_the_client_closes(self) -> None:
        """Its code is said back and the connection ends; without DISCONNECT the Will is published."""
        rig = Rig()
        other = rig.connect("other")
        other.subscribe("gone")
        page = Page(rig).connect(encode(Connect(client_id="ada", will=Will("gone", b"ada")), V3))
        page.send(masked_frame(close_payload(1001, b"tab closed"), CLOSE))
        assert page.frames() == [Frame(CLOSE, close_payload(1001))]
        assert page.wire.over
        assert other.received() == [Publish("gone", b"ada")]

    def test_no_code_is_answered_with_none(self) -> None:
        """Both sides then call it 1005."""
        page = Page().connect()
        page.send(masked_frame(b"", CLOSE))
        assert page.frames() == [Frame(CLOSE, b"")]

    def test_disconnect(self) -> None:
        """MQTT ends first, then the WebSocket: 1000, and the client's close frame is waited for."""
        page = Page().connect()
        page.send(masked_frame(encode(Disconnect(), V3)))
        assert page.frames() == [Frame(CLOSE, close_payload(1000))]
        assert not page.wire.over
        page.send(masked_frame(PINGREQ) + masked_frame(close_payload(1000), CLOSE))
        assert page.frames() == []
        assert page.wire.over

    def test_disconnect_and_close_in_one_read(self) -> None:
        """As MQTT.js does it."""
        page = Page().connect()
        page.send(masked_frame(encode(Disconnect(), V3)) + masked_frame(close_payload(1000), CLOSE))
        assert page.frames() == [Frame(CLOSE, close_payload(1000))]
        assert page.wire.over

    def test_a_client_that_does_not_answer(self) -> None:
        """Is cut off; MQTT did not wait for it."""
        page = Page().connect()
        page.send(masked_frame(encode(Disconnect(), V3)))
        assert page.rig.broker.online == 0
        page.rig.clock.pump([0.25] * int(CLOSE_TIMEOUT_S / 0.25 + 3))
        assert page.wire.aborted

    def test_a_client_that_does_not_take_the_last_bytes(self) -> None:
        """The same after a refusal."""
        page = Page()
        page.wire.stuck = True
        page.send(b"POST / HTTP/1.1\r\n")
        assert not page.wire.over
        page.rig.clock.pump([0.25] * int(CLOSE_TIMEOUT_S / 0.25 + 3))
        assert page.wire.aborted

    def test_refused_while_reading_is_paused(self) -> None:
        """CONNACK, the close frame, and the client's answer to it is read."""
        verdict: Deferred[Verdict] = Deferred()
        page = Page(Rig(authenticator=Doorkeeper(verdict))).open()
        page.send(masked_frame(CONNECT))
        verdict.callback(ReasonCode.BAD_USER_NAME_OR_PASSWORD)
        page.rig.turn()
        assert page.frames() == [Frame(BINARY, b"\x20\x02\0\x04"), Frame(CLOSE, close_payload(1000))]
        page.send(masked_frame(close_payload(1000), CLOSE))
        assert page.wire.over

    def test_the_server_stops(self) -> None:
        """1001: pages know that it is worth to come back."""
        page = Page().connect()
        page.rig.broker.stop()
        page.rig.turn()
        assert page.frames()[-1] == Frame(CLOSE, close_payload(1001))

    def test_the_network_fails(self) -> None:
        """MQTT is told once, also if it was told already."""
        page = Page().connect()
        page.wire.lost(OSError())
        page.wire.lost(OSError())
        assert page.rig.broker.online == 0
        page.rig.clock.pump([1.0] * 10)
        assert not page.wire.aborted


class BackPressureTests(SynchronousTestCase):
    """Slow readers"""

    def test_the_broker_is_told(self) -> None:
        """Messages of QoS 0 are dropped for a client that does not read, and flow again when it does."""
        rig = Rig()
        page = Page(rig).connect()
        page.send(masked_frame(SUBSCRIBE))
        page.wire.full(True)
        ada = rig.connect("publisher")
        for _ in range(3):
            ada.publish("t", bytes(600_000))
        assert rig.broker.counters.publish_sent == 2
        page.wire.full(False)
        page.taken()
        ada.publish("t", b"small")
        assert page.frames() == [Frame(BINARY, encode(Publish("t", b"small"), V3))]


class Socket:
    """Takes `room` bytes, then no more."""

    def __init__(self) -> None:
        self.room = 1000
        self.sent = b""
        self.broken = False

    def send(self, data: bytes) -> int:
        if self.broken:
            raise OSError(errno.ECONNRESET, "reset")
        if not self.room:
            raise BlockingIOError
        taken = data[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)


class SocketWire(Wire):
    """A transport with a socket; tells a pulling producer at once that it may go on, as Twisted does."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.socket = Socket()

    def getHandle(self) -> Any:
        return self.socket

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        if not streaming:
            producer.resumeProducing()


class Listener:
    """Who stands behind an outlet."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def pauseProducing(self) -> None:
        self.heard.append("full")

    def resumeProducing(self) -> None:
        self.heard.append("empty")


class OutletTests(SynchronousTestCase):
    """`pushd.transports.outlet`"""

    def setUp(self) -> None:
        rig = Rig()
        self.wire = SocketWire(rig.clock, rig.open().protocol)
        self.listener = Listener()

    def direct(self) -> DirectOutlet:
        outlet = DirectOutlet(self.wire)
        outlet.producer = self.listener
        return outlet

    def test_straight_to_the_socket(self) -> None:
        """What the kernel takes never sees Twisted's buffer."""
        self.direct().write(b"abc")
        assert (self.wire.socket.sent, self.wire.value()) == (b"abc", b"")

    def test_what_the_kernel_does_not_take(self) -> None:
        """Is left to Twisted, and all that follows, until that is gone."""
        outlet = self.direct()
        self.wire.socket.room = 2
        outlet.write(b"abc")
        outlet.write(b"def")
        assert (self.wire.socket.sent, self.wire.value()) == (b"ab", b"cdef")
        assert outlet.full
        outlet.resumeProducing()
        assert not outlet.full
        assert self.wire.producer is None
        assert self.listener.heard == ["full", "empty"]

    def test_behind_what_others_wrote(self) -> None:
        """Nothing overtakes it while it waits."""
        outlet = self.direct()
        self.wire.write(b"answer ")
        outlet.write_behind(b"101 ")
        outlet.write(b"frame")
        assert (self.wire.socket.sent, self.wire.value()) == (b"", b"answer 101 frame")

    def test_a_broken_socket(self) -> None:
        """Is the reactor's to tell of."""
        outlet = self.direct()
        self.wire.socket.broken = True
        outlet.write(b"abc")
        assert not outlet.full

    def test_through_the_transport(self) -> None:
        """The plain one writes there, and passes on what it hears."""
        outlet = Outlet(self.wire)
        outlet.producer = self.listener
        outlet.write(b"abc")
        self.wire.full(True)
        assert outlet.full
        self.wire.full(False)
        assert self.listener.heard == ["full", "empty"]
        assert self.wire.value() == b"abc"
        outlet.close()
        assert self.wire.producer is None
        assert self.wire.disconnecting
