"""`pushd.gateway.http.own_address`: what others call this gateway."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from pushd.gateway.http.own_address import OwnAddress
from pushd.gateway.http.request import GatewayRequest
from tests.gateway.callers import Caller


class Mirror(Resource):
    """Answers with the address that it was called by."""

    isLeaf = True

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._address = OwnAddress(lambda: base_url)

    def render_GET(self, request: GatewayRequest) -> int:
        lines = (self._address.base(request), *sorted(self._address.origins(request)))
        request.answer(" ".join(lines).encode())
        return NOT_DONE_YET


class OwnAddressTests(SynchronousTestCase):
    def seen(self, base_url: str, host: str | None) -> str:
        caller = Caller(make_pages=lambda guard: {b"v1/mirror": Mirror(base_url)})
        lines = "GET /v1/mirror HTTP/1.1\r\n" if host else "GET /v1/mirror HTTP/1.0\r\n"
        (answer,) = caller.send((lines + (f"Host: {host}\r\n" if host else "") + "\r\n").encode())
        return answer.body.decode()

    def test_said(self) -> None:
        """What the settings say counts, with a path in URLs and without one in tokens."""
        self.assertEqual(
            self.seen("https://Push.example.com:8443/here/", "other.example"),
            "https://Push.example.com:8443/here https://push.example.com:8443",
        )

    def test_not_said(self) -> None:
        """Else it is what the caller says; a proxy may have taken TLS off, so tokens may be for either."""
        self.assertEqual(
            self.seen("", "Here.example:80"),
            "http://here.example:80 http://here.example:80 https://here.example:80",
        )

    def test_not_even_the_caller(self) -> None:
        """HTTP/1.0 needs no Host."""
        self.assertTrue(self.seen("", None).startswith("http://localhost "))
