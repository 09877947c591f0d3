"""
A stream over WebSocket (RFC 6455), as ntfy's apps read it: messages in text frames, and pings.

    stream = WebSocketStream(request)               # or 40016: it did not ask for one
    stream.begin()
    stream.write(text_frame(b"{}"))

Until `begin` the request is one as any other, and refused as any other. From then on the connection is the
stream's:

    PREPARED --begin--> OPEN --close--> ENDING --the reader's close frame--> OVER
                         `-- that, or anything that is no control frame ------^

A reader has nothing to say: what is no control frame ends the stream, and it is held against a reader if it
does not answer a ping until the next one. Frames are compressed for nobody. Where a page comes from does not
matter here (``Origin``): no reader is known by a cookie.
"""

from __future__ import annotations

import binascii
import struct
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProtocol, ITCPTransport
from twisted.python.failure import Failure
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed
from wsproto.utilities import generate_accept_token
from zope.interface import implementer

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.http.streams import HEART_BEAT_S, Stage, Stream

CLOSE_S = 10.0  # for a reader to answer our close frame

_FINAL_TEXT = 0x80 | Opcode.TEXT
_OURS = FrameProtocol(client=False, extensions=[])  # only makes frames
PING = bytes(_OURS.ping())


def text_frame(text: bytes) -> bytes:
    """A whole message in one frame, as a server sends it: not masked (§5.2)."""
    size = len(text)
    if size < 126:
        return struct.pack("!BB", _FINAL_TEXT, size) + text
    if size < 0x10000:
        return struct.pack("!BBH", _FINAL_TEXT, 126, size) + text
    return struct.pack("!BBQ", _FINAL_TEXT, 127, size) + text


def accept(request: GatewayRequest) -> bytes:
    """
    :return: what makes the connection of this request a WebSocket (§4.2).
    :raises Refusal: 40016, it asks for none; 42600, for one of another version.
    """
    if not (_names(request, "connection", "upgrade") and _names(request, "upgrade", "websocket")):
        raise Refusal(problems.NO_WEBSOCKET)
    if request.getHeader("sec-websocket-version") != "13":
        raise Refusal(problems.WEBSOCKET_VERSION, b"Sec-WebSocket-Version: 13\r\n")
    key = (request.getHeader("sec-websocket-key") or "").encode("latin-1")
    if request.method != b"GET" or request.clientproto != b"HTTP/1.1" or not _is_key(key):
        raise Refusal(problems.NO_WEBSOCKET)
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nServer: pushd\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n"
    ) % generate_accept_token(key)


def _names(request: GatewayRequest, header: str, word: str) -> bool:
    """Whether a header, which is a list, has this word in it."""
    values = request.requestHeaders.getRawHeaders(header, ())
    return any(word == each.strip().lower() for value in values for each in value.split(","))


def _is_key(key: bytes) -> bool:
    """16 bytes in Base64."""
    try:
        return len(b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


@implementer(IProtocol)
class WebSocketStream(Stream):
    """One reader."""

    __slots__ = ("_answer", "_channel", "_frames", "_heard", "_request", "transport")

    transport: Any

    def __init__(
        self,
        request: GatewayRequest,
        beat: Callable[[], bytes] = lambda: PING,
        beat_s: float = HEART_BEAT_S,
    ) -> None:
        """
        :param beat: see `Stream`; what it writes should be or end with a ping.
        :raises Refusal: see `accept`.
        """
        self._answer = accept(request)
        self._request: GatewayRequest | None = request  # until it is a WebSocket
        self._channel: Any = request.channel  # a `GatewayChannel`
        super().__init__(getattr(self._channel, "callLater", None), beat, beat_s)  # type: ignore[arg-type]  # see below
        self._frames: FrameProtocol | None = FrameProtocol(client=False, extensions=[])  # until the last one
        self._heard = True  # since the last ping
        if self._channel is None:  # it left while somebody asked who it is
            self._stage = Stage.OVER
        else:
            request.notifyFinish().addBoth(self._ended)  # refused, or gone; not once it is a WebSocket

    # What the connection calls

    def makeConnection(self, transport: ITCPTransport) -> None:  # type: ignore[override]  # narrower
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self._heard = True
        try:
            self._receive(data)
        except ParseFailed as error:
            self._hang_up(error.code)

    def connectionLost(self, reason: Failure) -> None:
        self._ended()

    # What it hears

    def _receive(self, data: bytes) -> None:
        if self._frames is None:
            return
        self._frames.receive_bytes(data)
        for frame in self._frames.received_frames():
            payload: Any = frame.payload
            if frame.opcode is Opcode.CLOSE:
                self._hang_up(payload[0])
            elif frame.opcode is Opcode.PING:
                self._answer_ping(bytes(payload))
            elif frame.opcode is not Opcode.PONG:
                self._hang_up(CloseReason.UNSUPPORTED_DATA)
            if self._frames is None:
                break

    def _answer_ping(self, payload: bytes) -> None:
        """None for who does not read: it would fill our memory with its pings."""
        if not self.full:
            self.write(bytes(_OURS.pong(payload)))

    # Writing

    def _begin(self) -> None:
        self._request = None
        self._channel.hand_over(self, self._answer)

    def _put(self, data: bytes) -> None:
        self.transport.write(data)

    def _beat_heart(self) -> None:
        if self._heard:
            self._heard = False
            super()._beat_heart()
        else:
            self.cut("its reader does not answer pings")

    # Ending

    def close(self) -> None:
        """Say that it is over, and wait for the reader to say so, too."""
        if self._request is not None:
            self._request.refuse(problems.UNAVAILABLE)
        else:
            self._say_goodbye(CloseReason.GOING_AWAY)

    def finish(self) -> None:
        """The same when everything was said."""
        self._say_goodbye(CloseReason.NORMAL_CLOSURE)

    def _say_goodbye(self, code: int) -> None:
        if self._stage is Stage.OPEN:
            self.write(bytes(_OURS.close(code)))
            self._stage = Stage.ENDING
            self._be_patient()

    def _hang_up(self, code: int) -> None:
        """Nothing is heard any more; the connection ends when what was written has left."""
        self._frames = None
        self._say_goodbye(code)
        self.transport.unregisterProducer()  # a transport that is full would wait for more from it
        self.transport.loseConnection()

    def _be_patient(self) -> None:
        if self._next_beat is not None and self._next_beat.active():
            self._next_beat.cancel()
        self._next_beat = self._call_later(CLOSE_S, self._abort)

    def _abort(self) -> None:
        self.transport.abortConnection()
