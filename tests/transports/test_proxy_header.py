"""`pushd.transports.proxy_header`: from bytes to who the client is, and nothing else from other bytes."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.transports.proxy_header import (
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    SIGNATURE,
    BadHeader,
    Header,
    TcpClient,
    TlsFacts,
    UnixClient,
    parse_header,
)
from tests.transports.proxies import COMMON_NAME, LINE, TCP4, TCP6, binary, extension, ssl

CLIENT = TcpClient("192.0.2.7", 4711)

# What each version reads, with the header that it is.
LINES = {
    LINE: Header(CLIENT),
    b"PROXY TCP6 2001:db8::7 ::1 4711 1883\r\n": Header(TcpClient("2001:db8::7", 4711)),
    b"PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 0 65535\r\n": Header(TcpClient("2001:db8::7", 0)),
    b"PROXY UNKNOWN\r\n": Header(),
    b"PROXY UNKNOWN ffff:f...f:ffff x 65535 65535\r\n": Header(),
}
BINARIES = {
    binary(): Header(CLIENT),
    binary(TCP6, 0x21): Header(TcpClient("2001:db8::7", 4711)),
    binary(b"/run/app".ljust(108, b"\0") + bytes(108), 0x31): Header(UnixClient(b"/run/app")),
    binary(bytes(216), 0x31): Header(UnixClient(b"")),
    binary(b"", 0x00): Header(),
    binary(ssl(), 0x00): Header(None, TlsFacts(True)),
    binary(b"", 0x00, 0x20): Header(),
    binary(b"whatever", 0x99, 0x20): Header(),
    binary(TCP4 + extension(0x04, b"") + extension(0xEA, b"vpce")): Header(CLIENT),
    binary(TCP4 + ssl(0x07, 0, COMMON_NAME)): Header(CLIENT, TlsFacts(True, "phone1")),
    binary(TCP4 + ssl(0x05, 0, extension(0x21, b"TLSv1.3"), COMMON_NAME)): Header(
        CLIENT, TlsFacts(True, "phone1")
    ),
    binary(TCP4 + ssl(0x03, 1, COMMON_NAME)): Header(CLIENT, TlsFacts(False, "phone1")),
    binary(TCP4 + ssl(0x01, 0)): Header(CLIENT, TlsFacts(False)),
    binary(TCP4 + ssl(0x06, 0, COMMON_NAME)): Header(CLIENT),
    binary(TCP4 + ssl(0x07, 0, extension(0x22, b"\xff"))): Header(CLIENT, TlsFacts(True)),
    binary(TCP4 + ssl(0x07, 0, COMMON_NAME, extension(0x22, b"root"))): Header(CLIENT, TlsFacts(True)),
}

BAD_LINES = (
    b"\x10",  # MQTT's CONNECT
    b"proxy TCP4 ",
    b"PROXY  TCP4 192.0.2.7 198.51.100.1 4711 1883\r\n",
    b"PROXY\tTCP4 192.0.2.7 198.51.100.1 4711 1883\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 1883 \r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 65536\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 04711 1883\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 +4711 1883\r\n",
    b"PROXY TCP4 192.0.2.07 198.51.100.1 4711 1883\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.1 4711 1883\r\n",
    b"PROXY TCP4 ::1 ::1 4711 1883\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 4711 1883\r\n",
    b"PROXY TCP4 192.0.2.7 \xff 4711 1883\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 1883\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN ".ljust(MAX_V1_BYTES, b"x"),
    binary(),
)
BAD_BINARIES = (
    b"\x10",
    LINE,
    SIGNATURE[:-1] + b"\r",
    binary(command=0x11),
    binary(command=0x22),
    binary(TCP4[:-1]),
    binary(TCP4, 0x21),
    binary(TCP4, 0x12),
    binary(TCP4, 0x01),
    binary(TCP4 + b"\x04"),
    binary(TCP4 + b"\x04\0\x01"),
    binary(TCP4 + extension(0x20, b"\x01\0\0\0")),
    binary(TCP4 + extension(0x20, b"\x01\0\0\0\0\x22\0\xff")),
    binary(TCP4 + ssl() + ssl()),
    binary(TCP4 + extension(0x04, bytes(MAX_V2_BYTES)))[:16],
)


class WholeHeaderTests(SynchronousTestCase):
    """Headers as proxies send them."""

    def test_vectors(self) -> None:
        """Each says who the client is, and ends where it ends."""
        for version, vectors in ((1, LINES), (2, BINARIES)):
            for data, header in vectors.items():
                self.assertEqual(parse_header(version, data), (header, len(data)), data)
                self.assertEqual(parse_header(version, data + b"\x10\x0c"), (header, len(data)), data)

    def test_incomplete(self) -> None:
        """Cut anywhere, it is one that is not whole yet: neither an error nor somebody."""
        for version, vectors in ((1, LINES), (2, BINARIES)):
            for data in vectors:
                cut = {parse_header(version, data[:end]) for end in range(len(data))}
                self.assertEqual(cut, {None}, data)

    def test_longest(self) -> None:
        """As many bytes as we take, in both versions."""
        line = b"PROXY UNKNOWN ".ljust(MAX_V1_BYTES - 2, b"x") + b"\r\n"
        self.assertEqual(parse_header(1, line), (Header(), MAX_V1_BYTES))
        filled = binary(TCP4 + extension(0x04, bytes(MAX_V2_BYTES - 16 - len(TCP4) - 3)))
        self.assertEqual(parse_header(2, filled), (Header(CLIENT), MAX_V2_BYTES))


class BadHeaderTests(SynchronousTestCase):
    """Who does not begin as agreed is turned away."""

    def test_vectors(self) -> None:
        """Each is refused, and for a reason that can be logged: nothing in it is the peer's own text."""
        for version, vectors in ((1, BAD_LINES), (2, BAD_BINARIES)):
            for data in vectors:
                problem = self.assertRaises(BadHeader, parse_header, version, data)
                self.assertTrue(str(problem).isprintable() and str(problem).isascii())

    def test_at_the_first_wrong_byte(self) -> None:
        """MQTT without a header is not waited for: its first byte is enough."""
        for version in (1, 2):
            self.assertRaises(BadHeader, parse_header, version, b"\x10")
            self.assertIsNone(parse_header(version, b""))


class AnyBytesTests(SynchronousTestCase):
    """Whatever comes."""

    @given(st.sampled_from((1, 2)), st.binary(max_size=300))
    def test_any_bytes(self, version: int, data: bytes) -> None:
        """Nothing but `BadHeader` is raised, and no header ends behind the bytes."""
        for start in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, binary(TCP4)[:16]):
            try:
                parsed = parse_header(version, start + data)
            except BadHeader:
                continue
            self.assertTrue(parsed is None or parsed[1] <= len(start + data))

    @given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=50))
    def test_any_client(self, host: object, port: int, rest: bytes) -> None:
        """Both versions tell the same client, and leave what follows alone."""
        family = "TCP6" if ":" in str(host) else "TCP4"
        packed: bytes = host.packed  # type: ignore[attr-defined]  # of either class
        body = packed + bytes(len(packed)) + struct.pack("!HH", port, 1)
        line = f"PROXY {family} {host} {host} {port} 1\r\n".encode()
        for version, data in ((1, line), (2, binary(body, 0x11 if family == "TCP4" else 0x21))):
            expected = Header(TcpClient(str(host), port)), len(data)
            self.assertEqual(parse_header(version, data + rest), expected)

    @given(st.text(min_size=1, max_size=64))
    def test_any_common_name(self, name: str) -> None:
        """It comes through as it is; whether it is fit for a user name is judged elsewhere."""
        parsed = parse_header(2, binary(TCP4 + ssl(0x07, 0, extension(0x22, name.encode()))))
        self.assertEqual(parsed and parsed[0].tls, TlsFacts(True, name))
