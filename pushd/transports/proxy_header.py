"""
The header that a proxy puts in front of a connection, to say on whose behalf it connects: HAProxy's PROXY
protocol, versions 1 and 2 (the sections named below are those of its ``proxy-protocol.txt``).

`parse_header` has three outcomes: a header, ``None`` (need more bytes), or `BadHeader`. It does not guess the
version: the sender of the header is believed whatever it says, so only what the settings name is read.

Twisted's own parser (`twisted.protocols.haproxy`) does not serve: it drops a connection whose first read is
shorter than the header, takes either version, and skips the part of version 2 that has the client's TLS
identity in it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

# §2.1: the longest line of version 1, its CRLF included.
MAX_V1_BYTES = 107

# What we take of version 2, which could be 65 551 bytes long: addresses need 216, TLS facts a few hundred,
# and a client certificate that some proxies add fits as well.
MAX_V2_BYTES = 4096

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # §2.2
_V2_FIXED = struct.Struct(
    "!12sBBH"
)  # signature, version and command, family and transport, length of the rest

# §2.1 forbids leading zeroes.
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")

_LOCAL, _PROXY = 0x20, 0x21  # §2.2: version 2 in the high half, the command in the low one
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31

_TLV = struct.Struct("!BH")
_TLV_SSL = 0x20
_TLV_SSL_COMMON_NAME = 0x22
_SSL = struct.Struct("!BI")  # what the client used, and how its certificate was judged
_USED_TLS = 0x01
_SHOWED_CERTIFICATE = 0x02 | 0x04  # on this connection, or on the session that it resumed


class BadHeader(Exception):
    """Bytes that are no header of the version asked for. The connection ends; the text is for the log."""


@dataclass(frozen=True, slots=True)
class TcpClient:
    """A client that came over IP."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixClient:
    """A client that came through a Unix socket; `path` is empty if its end has no name."""

    path: bytes


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """
    What the proxy says of the client's TLS.

    :ivar certified: it showed a certificate, and the proxy found it good.
    :ivar common_name: the certificate's, as the proxy read it; only to be believed if `certified`.
    """

    certified: bool = False
    common_name: str | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """
    A whole header.

    :ivar client: ``None`` if the proxy speaks for itself (a health check) or does not know: then the address
        that the connection really comes from counts.
    :ivar tls: ``None`` if the client did not use TLS.
    """

    client: TcpClient | UnixClient | None = None
    tls: TlsFacts | None = None


def parse_header(version: int, data: bytes) -> tuple[Header, int] | None:
    """
    Read the header at the beginning of a connection.

    :param version: 1 or 2.
    :return: the header and the offset of what follows it, or ``None`` while it is incomplete.
    :raises BadHeader: as soon as it cannot become one any more.
    """
    return _parse_v1(data) if version == 1 else _parse_v2(data)


# Version 1: one line of text


def _parse_v1(data: bytes) -> tuple[Header, int] | None:
    start = b"PROXY "
    if data[: len(start)] != start[: len(data)]:
        raise BadHeader("it does not begin with a PROXY line")
    end = data.find(b"\r\n", 0, MAX_V1_BYTES)
    if end >= 0:
        return _read_line(data[:end].split(b" ")), end + 2
    if len(data) >= MAX_V1_BYTES:
        raise BadHeader("its PROXY line is too long")
    return None


def _read_line(words: list[bytes]) -> Header:
    if words[1] == b"UNKNOWN":
        return Header()  # whatever follows is to be ignored
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise BadHeader("its PROXY line cannot be read")
    _, family, source, destination, source_port, destination_port = words
    _read_host(family, destination)
    _read_port(destination_port)
    return Header(TcpClient(_read_host(family, source), _read_port(source_port)))


def _read_host(family: bytes, text: bytes) -> str:
    try:
        host = text.decode("ascii")
        return str(IPv4Address(host) if family == b"TCP4" else IPv6Address(host))
    except (AddressValueError, UnicodeDecodeError):
        raise BadHeader("an address in its PROXY line cannot be read") from None


def _read_port(text: bytes) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 65_535:
        raise BadHeader("a port in its PROXY line cannot be read")
    return int(text)


# Version 2: binary


def _parse_v2(data: bytes) -> tuple[Header, int] | None:
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        raise BadHeader("it does not begin with a PROXY header of version 2")
    if len(data) < _V2_FIXED.size:
        return None
    _, command, family, length = _V2_FIXED.unpack_from(data)
    end = _V2_FIXED.size + length
    if end > MAX_V2_BYTES:
        raise BadHeader(f"its PROXY header has {end} bytes")
    if command not in (_LOCAL, _PROXY):
        raise BadHeader(f"its PROXY header has the unknown command 0x{command:02X}")
    if len(data) < end:
        return None
    if command == _LOCAL:
        return Header(), end  # whatever follows is to be skipped
    return _read_binary(family, data[_V2_FIXED.size : end]), end


def _read_binary(family: int, body: bytes) -> Header:
    if family not in _READERS:
        raise BadHeader(f"its PROXY header is for addresses of the kind 0x{family:02X}")
    shape, read = _READERS[family]
    if len(body) < shape.size:
        raise BadHeader("its PROXY header is too short for its addresses")
    return Header(read(*shape.unpack_from(body)), _find_tls(body[shape.size :]))


def _nobody() -> None:
    """The proxy does not know on whose behalf it connects."""


def _tcp4(source: bytes, destination: bytes, source_port: int, destination_port: int) -> TcpClient:
    return TcpClient(str(IPv4Address(source)), source_port)


def _tcp6(source: bytes, destination: bytes, source_port: int, destination_port: int) -> TcpClient:
    return TcpClient(str(IPv6Address(source)), source_port)


def _unix(source: bytes, destination: bytes) -> UnixClient:
    return UnixClient(source.partition(b"\0")[0])


# By family and transport. Datagrams are missing: there is no MQTT over them.
_READERS: dict[int, tuple[struct.Struct, Callable[..., TcpClient | UnixClient | None]]] = {
    _UNSPECIFIED: (struct.Struct(""), _nobody),
    _TCP4: (struct.Struct("!4s4sHH"), _tcp4),
    _TCP6: (struct.Struct("!16s16sHH"), _tcp6),
    _UNIX: (struct.Struct("!108s108s"), _unix),
}


def _find_tls(extensions: bytes) -> TlsFacts | None:
    """
    The client's TLS among the extensions (§2.2.6). Others are to be ignored; a checksum too, for TCP has one.

    :raises BadHeader: one is cut off, or TLS is there twice: then whom to believe?
    """
    found = [value for kind, value in _extensions(extensions) if kind == _TLV_SSL]
    if len(found) > 1:
        raise BadHeader("its PROXY header describes TLS twice")
    return _read_tls(found[0]) if found else None


def _read_tls(value: bytes) -> TlsFacts | None:
    if len(value) < _SSL.size:
        raise BadHeader("the description of TLS in its PROXY header is cut off")
    used, verdict = _SSL.unpack_from(value)
    names = [name for kind, name in _extensions(value[_SSL.size :]) if kind == _TLV_SSL_COMMON_NAME]
    if not used & _USED_TLS:
        return None
    return TlsFacts(
        certified=bool(used & _SHOWED_CERTIFICATE) and verdict == 0,
        common_name=_text(names[0]) if len(names) == 1 else None,
    )


def _text(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + _TLV.size > len(data):
            raise BadHeader("an extension of its PROXY header is cut off")
        kind, length = _TLV.unpack_from(data, at)
        at += _TLV.size
        if at + length > len(data):
            raise BadHeader("an extension of its PROXY header is cut off")
        yield kind, data[at : at + length]
        at += length
