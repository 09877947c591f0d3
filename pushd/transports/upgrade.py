"""
The opening handshake of a WebSocket (RFC 6455 §4.2): the head of an HTTP request in, an answer out.

What is asked for is what Mosquitto asks for: any path, one of the two sub-protocols, and an origin from the
list if there is a list and the client says where it comes from. Only browsers do, and the list is about them.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Collection
from http import HTTPStatus

from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

# With the cookies of several services on one domain a browser sends some kilobytes.
MAX_HEAD_BYTES = 8192

# The first that a client offers wins. The other is what clients of version 3.1 offered.
SUB_PROTOCOLS = ("mqtt", "mqttv3.1")  # v5 [MQTT-6.0.0-4]


class UpgradeRefused(Exception):
    """
    The handshake ends here.

    :ivar answer: all that the client is sent; its body is the text of this exception.
    """

    def __init__(self, status: HTTPStatus, cause: str, headers: str = "") -> None:
        super().__init__(cause)
        body = f"{cause}\n"
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: pushd\r\nConnection: close\r\n{headers}"
        about = f"Content-Type: text/plain; charset=us-ascii\r\nContent-Length: {len(body)}\r\n\r\n"
        self.answer = (head + about + body).encode("ascii")


def find_head(data: bytes | bytearray) -> int | None:
    """
    :return: the length of the request's head, or ``None`` while it is not whole.
    :raises UpgradeRefused: it is too long, or this cannot become one.
    """
    # Somebody who speaks MQTT without WebSocket would otherwise wait for an answer until the time is up.
    if not b"GET ".startswith(data[:4]):
        raise UpgradeRefused(HTTPStatus.BAD_REQUEST, "This is not a GET request.")
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end >= 0:
        return end + 4
    if len(data) >= MAX_HEAD_BYTES:
        raise UpgradeRefused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The headers are longer than {MAX_HEAD_BYTES} bytes."
        )
    return None


def accept(head: bytes, origins: Collection[str]) -> bytes:
    """
    Answer a request for an upgrade to MQTT over WebSocket.

    :param head: the whole of it, and nothing behind it.
    :param origins: whose pages may connect; empty is everybody's.
    :return: what makes this connection a WebSocket.
    :raises UpgradeRefused: it does not become one.
    """
    handshake = H11Handshake(ConnectionType.SERVER)
    request = _read(handshake, head)
    headers = dict(request.extra_headers)
    _check_framing(headers)
    _check_key(headers)
    _check_origin(headers, origins)
    for name in SUB_PROTOCOLS:
        if name in request.subprotocols:
            return handshake.send(AcceptConnection(subprotocol=name))
    raise UpgradeRefused(HTTPStatus.BAD_REQUEST, "Offer the sub-protocol mqtt.")  # v5 [MQTT-6.0.0-3]


def _read(handshake: H11Handshake, head: bytes) -> Request:
    if b"\n" in head.replace(b"\r\n", b""):  # h11 would see the end of the head there
        raise UpgradeRefused(HTTPStatus.BAD_REQUEST, "A line ends without CR.")
    if not head.partition(b"\r\n")[0].endswith(b" HTTP/1.1"):  # §4.2.1; a proxy's default may be 1.0
        raise UpgradeRefused(HTTPStatus.BAD_REQUEST, "WebSocket needs HTTP/1.1.")
    try:
        handshake.receive_data(head)
        (request,) = handshake.events()
    except RemoteProtocolError as problem:
        raise _refusal(problem, head) from None
    except ValueError:  # names that are neither ASCII nor IDNA
        raise UpgradeRefused(HTTPStatus.BAD_REQUEST, "Bad HTTP message") from None
    assert isinstance(request, Request)
    return request


def _refusal(problem: RemoteProtocolError, head: bytes) -> UpgradeRefused:
    hint = problem.event_hint
    if isinstance(hint, RejectConnection) and hint.status_code == HTTPStatus.UPGRADE_REQUIRED:
        return UpgradeRefused(
            HTTPStatus.UPGRADE_REQUIRED,
            "Only version 13 of WebSocket is spoken here.",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        )
    if b"\r\nupgrade:" not in head.lower():  # somebody looks with a browser what is here
        return UpgradeRefused(
            HTTPStatus.UPGRADE_REQUIRED, "MQTT over WebSocket is spoken here.", "Upgrade: websocket\r\n"
        )
    return UpgradeRefused(HTTPStatus.BAD_REQUEST, str(problem))


def _check_framing(headers: dict[bytes, bytes]) -> None:
    """A body would be frames to us and a body to a proxy between."""
    if b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0"):
        raise UpgradeRefused(HTTPStatus.BAD_REQUEST, "A request for an upgrade has no body.")


def _check_key(headers: dict[bytes, bytes]) -> None:
    """§4.2.1: 16 bytes in Base64. wsproto only looks whether there is one."""
    try:
        size = len(b64decode(headers[b"sec-websocket-key"], validate=True))
    except NotBase64:
        size = 0
    if size != 16:
        raise UpgradeRefused(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in Base64.")


def _check_origin(headers: dict[bytes, bytes], origins: Collection[str]) -> None:
    origin = headers.get(b"origin")
    if origins and origin is not None and origin.decode("latin-1") not in origins:
        raise UpgradeRefused(HTTPStatus.FORBIDDEN, "Pages of this origin may not connect.")
