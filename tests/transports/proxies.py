"""What proxies say in front of a connection, for the tests of those who listen to it."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from pushd.transports.proxy_header import SIGNATURE

# The client that all of these are about.
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 1883\r\n"
TCP4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 4711, 1883)
TCP6 = IPv6Address("2001:db8::7").packed + IPv6Address("::1").packed + struct.pack("!HH", 4711, 1883)


def binary(body: bytes = TCP4, family: int = 0x11, command: int = 0x21) -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def extension(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def ssl(used: int = 0x07, verdict: int = 0, *inner: bytes) -> bytes:
    """The extension with the client's TLS."""
    return extension(0x20, struct.pack("!BI", used, verdict) + b"".join(inner))


COMMON_NAME = extension(0x22, b"phone1")
