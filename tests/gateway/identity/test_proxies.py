"""`pushd.gateway.identity.proxies`: whom to believe about callers."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.identity.proxies import MAX_HOPS, NOBODY, Proxies, Trust

TRUST = Trust((ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")), user_header="X-Forwarded-User")
PROXY, STRANGER = "10.0.0.1:5000", "203.0.113.66:5000"


class Request:
    """As much of one as is looked at."""

    def __init__(self, **headers: list[str]) -> None:
        raw = {name.replace("_", "-").encode(): [v.encode() for v in said] for name, said in headers.items()}
        self.requestHeaders = Headers(raw)


def forwarded(*lines: str) -> Any:
    return Request(X_Forwarded_For=list(lines))


class AddressTests(SynchronousTestCase):
    """X-Forwarded-For"""

    def where(self, request: Any, peer: str = PROXY, trust: Trust = TRUST) -> str:
        return Proxies(lambda: trust).address_of(request, peer)

    def test_the_last_that_is_no_proxy(self) -> None:
        """What stands before it was said by a stranger."""
        for said, expected in (
            ("203.0.113.9", "203.0.113.9:0"),
            ("127.0.0.1, 203.0.113.9", "203.0.113.9:0"),
            ("203.0.113.9, 10.0.0.3", "203.0.113.9:0"),
            ("1.1.1.1, 203.0.113.9, 10.0.0.3, 10.0.0.4", "203.0.113.9:0"),
            ("2a00::1", "[2a00::1]:0"),
            ("[2a00::1]:4711", "[2a00::1]:0"),
            ("203.0.113.9:4711", "203.0.113.9:0"),
            ("2A00:0::1, 2001:db8::5", "[2a00::1]:0"),
        ):
            self.assertEqual(self.where(forwarded(said)), expected, said)

    def test_several_headers_are_one(self) -> None:
        """The last line is the nearest proxy's."""
        self.assertEqual(self.where(forwarded("1.1.1.1", "203.0.113.9, 10.0.0.3")), "203.0.113.9:0")

    def test_from_elsewhere_it_means_nothing(self) -> None:
        """Whoever says it itself is where we see it."""
        self.assertEqual(self.where(forwarded("127.0.0.1"), STRANGER), STRANGER)
        self.assertEqual(self.where(forwarded("127.0.0.1"), PROXY, NOBODY), PROXY)

    def test_without_it_the_proxy_is_the_caller(self) -> None:
        """A health check of its own, say."""
        self.assertEqual(self.where(Request()), PROXY)
        self.assertEqual(self.where(forwarded("")), PROXY)

    def test_what_is_no_address_ends_it(self) -> None:
        """Nothing before it is believed."""
        for said in ("unknown", "203.0.113.9, _hidden", "1.1.1.1, 10.0.0.3.4", "a" * 3000, "1.1.1.1:x:y"):
            self.assertEqual(self.where(forwarded(said)), PROXY, said)
        self.assertEqual(self.where(forwarded("1.1.1.1, bad, 10.0.0.3")), "10.0.0.3:0")

    def test_mapped_and_unix(self) -> None:
        """IPv4 in IPv6's clothes is IPv4; a Unix socket is trusted by a word of its own."""
        self.assertEqual(self.where(forwarded("203.0.113.9"), "[::ffff:10.0.0.1]:5000"), "203.0.113.9:0")
        self.assertEqual(self.where(forwarded("203.0.113.9"), "unix:/run/x"), "unix:/run/x")
        self.assertEqual(
            self.where(forwarded("203.0.113.9"), "unix:/run/x", Trust(unix=True)), "203.0.113.9:0"
        )

    def test_no_more_hops_than_there_may_be(self) -> None:
        """A header of 16 KiB is not walked through."""
        said = ", ".join(["203.0.113.9", *["10.0.0.3"] * MAX_HOPS])
        self.assertEqual(self.where(forwarded(said)), "10.0.0.3:0")

    @given(st.binary(max_size=60))
    def test_anything(self, said: bytes) -> None:
        """Whatever it says, there is an address."""
        request: Any = Request()
        request.requestHeaders.setRawHeaders(b"X-Forwarded-For", [said])
        self.assertTrue(self.where(request))


class UserTests(SynchronousTestCase):
    """The header that names the user"""

    def who(self, *said: str, peer: str = PROXY, trust: Trust = TRUST) -> str | None:
        request: Any = Request(x_forwarded_user=list(said))
        return Proxies(lambda: trust).user_of(request, peer)

    def test_a_trusted_proxy_is_believed(self) -> None:
        """Names are UTF-8."""
        self.assertEqual(self.who("anna"), "anna")
        self.assertEqual(self.who(" größe "), "größe")

    def test_nobody_else_is(self) -> None:
        """The header is one like any other then."""
        self.assertIsNone(self.who("anna", peer=STRANGER))
        self.assertIsNone(self.who("anna", trust=Trust((ip_network("10.0.0.0/8"),))))
        self.assertIsNone(self.who("anna", peer="unix:/run/x"))

    def test_nothing_said_is_nobody(self) -> None:
        """A proxy that lets strangers through sends it empty."""
        self.assertIsNone(self.who())
        self.assertIsNone(self.who(" "))

    def test_two_names_are_none(self) -> None:
        """One of them may be the caller's own."""
        for said in (("anna", "bob"), ("anna", "")):
            self.assertIs(self.assertRaises(Refusal, self.who, *said).problem, problems.UNAUTHORIZED)

    def test_what_is_no_name(self) -> None:
        """Control characters, and what is no UTF-8."""
        request: Any = Request()
        for said in (b"a\x01b", b"\xff"):
            request.requestHeaders.setRawHeaders(b"X-Forwarded-User", [said])
            self.assertRaises(Refusal, Proxies(lambda: TRUST).user_of, request, PROXY)
