"""What may be asked of whom, and what is heard of the answer."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.push.outbound import (
    MAX_ANSWER_BYTES,
    PER_ADDRESS,
    TIMEOUT_S,
    Answer,
    NoAnswer,
    NotAllowed,
    Outbound,
    is_public,
    read_url,
)

PUBLIC = "93.184.216.34"
LOST = Failure(ConnectionDone())
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# Spellings of this machine and its neighbours, and of what is no plain URL.
REFUSED = (
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://127.0.0.01/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.1.2.3/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://100.64.0.1/",
    "https://100.127.255.254/",
    "https://169.254.169.254/latest/meta-data/",
    "https://192.0.0.8/",
    "https://198.19.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fc00::1]/",
    "https://[ff02::1]/",
    "https://localhost/",
    "https://LOCALHOST:8443/",
    "https://intranet.example/",
    "https://mixed.example/",
    "https://good.example@127.0.0.1/",
    "https://127.0.0.1#@good.example/",
    "https://good.example\\@127.0.0.1/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://127\u30020\u30020\u30021/",
    "https://good.example:0/",
    "https://good.example:65536/",
    "https://good.example/a b",
    "https://good.example/\r\nHost: 127.0.0.1",
    "https://1.2.3.4.5/",
    "https:///",
    "https:good.example/",
    "//good.example/",
    "http://good.example/",
    "ftp://good.example/",
    "file:///etc/passwd",
    "gopher://good.example/",
    "unix:///run/docker.sock",
)

NAMES = {
    "good.example": [PUBLIC],
    "six.example": ["2606:2800:220:1::1"],
    "both.example": ["2606:2800:220:1::1", PUBLIC],
    "localhost": ["127.0.0.1", "::1"],
    "intranet.example": ["10.0.0.7"],
    "mixed.example": [PUBLIC, "192.168.1.1"],
}


class Internet:
    """A reactor, and names that mean something; `asked` are those that were looked up."""

    def __init__(self, **options: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.asked: list[str] = []
        self.outbound = Outbound(self.reactor, self.resolve, allow_http=lambda: True, **options)

    def resolve(self, name: str) -> Deferred[list[str]]:
        self.asked.append(name)
        found = NAMES.get(name.rstrip("."))
        return fail(OSError("no such name")) if found is None else succeed(found)

    def ask(self, url: str = "http://good.example/hook", body: bytes = b"{}") -> Deferred[Answer]:
        return Deferred.fromCoroutine(self.outbound.request("POST", url, {"X-One": "1"}, body))

    def accept(self, number: int = -1) -> tuple[StringTransport, Any]:
        """Let a connection come about."""
        client = self.reactor.tcpClients[number]
        protocol = client[2].buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)  # type: ignore[union-attr]
        return transport, protocol


class UrlTests(SynchronousTestCase):
    """What is asked for nobody."""

    def test_no_spelling_leads_inside(self) -> None:
        """However a private address is written, nothing is connected to."""
        for url in REFUSED:
            internet = Internet() if not url.startswith("http://") else None
            outbound = internet.outbound if internet else Outbound(None, lambda name: succeed([PUBLIC]))
            asking = Deferred.fromCoroutine(outbound.request("POST", url, {}, b""))
            self.failureResultOf(asking, NotAllowed)
            self.assertEqual(internet.reactor.tcpClients if internet else [], [], url)

    def test_table_is_long_enough(self) -> None:
        """All of the table counts: no two rows are one."""
        self.assertGreaterEqual(len(set(REFUSED)), 40)

    def test_parts(self) -> None:
        """A URL names a host and a port; the path stays as it is."""
        target = read_url("HTTPS://Good.Example:8443/a%2Fb?c=d&e")
        self.assertEqual(target, ("https", "good.example", 8443, "https://good.example:8443/a%2Fb?c=d&e"))
        self.assertEqual(read_url("https://good.example").url, "https://good.example:443/")

    def test_http_by_option(self) -> None:
        """Without TLS only where somebody has said so."""
        self.assertRaises(NotAllowed, read_url, "http://good.example/")
        self.assertEqual(read_url("http://good.example/", allow_http=True).port, 80)

    @given(st.text(max_size=80) | st.from_regex(r"https?://[0-9a-fx.:\[\]@%]{1,30}/?", fullmatch=True))
    def test_any_text_is_read_or_refused(self, url: str) -> None:
        """Whatever somebody names: a host that is a name or an address, or a refusal."""
        try:
            target = read_url(url, allow_http=True)
        except NotAllowed:
            return
        self.assertRegex(target.host, r"\A[a-z0-9._:-]+\Z")
        self.assertTrue(0 < target.port < 65_536)


class AddressTests(SynchronousTestCase):
    """Which addresses are the internet's."""

    def test_public(self) -> None:
        """Those of everyday servers."""
        for text in (PUBLIC, "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"):
            self.assertTrue(is_public(ip_address(text)), text)

    @given(st.ip_addresses())
    def test_never_more_than_python_says(self, address: Any) -> None:
        """What the standard library's table calls private is private here."""
        if address.is_private or address.is_multicast or address.is_link_local or address.is_loopback:
            self.assertFalse(is_public(address))

    def test_listed_networks(self) -> None:
        """A network that the operator lists may be asked, and its neighbour may not."""
        internet = Internet(allowed=lambda: [ip_network("10.0.0.0/29"), ip_network("fc00::/8")])
        internet.outbound.read("https://10.0.0.7/")
        internet.outbound.read("https://[fc00::1]/")
        self.assertRaises(NotAllowed, internet.outbound.read, "https://10.0.0.8/")
        self.assertRaises(NotAllowed, internet.outbound.read, "https://[::ffff:10.0.0.7]/")


class RequestTests(SynchronousTestCase):
    """Asking."""

    def test_asks_the_address_that_was_checked(self) -> None:
        """The name is looked up once, and the connection goes to what came of it."""
        internet = Internet()
        asking = internet.ask()
        transport, protocol = internet.accept()
        protocol.dataReceived(OK)
        answer = self.successResultOf(asking)
        self.assertEqual((answer.status, answer.body, answer.is_success), (200, b"ok", True))
        self.assertEqual(internet.asked, ["good.example"])
        self.assertEqual(internet.reactor.tcpClients[0][:2], (PUBLIC, 80))
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertIn(b"POST /hook HTTP/1.1\r\n", head)
        self.assertIn(b"Host: good.example", head)
        self.assertEqual(body, b"{}")

    def test_name_that_changes(self) -> None:
        """A name that is private at the next request is refused then, whatever it was before."""
        internet = Internet()
        answers = iter(([PUBLIC], ["127.0.0.1"]))
        internet.outbound._resolve = lambda name: succeed(next(answers))
        internet.ask()
        self.failureResultOf(internet.ask(), NotAllowed)
        self.assertEqual([client[0] for client in internet.reactor.tcpClients], [PUBLIC])

    def test_ipv6(self) -> None:
        """An address in brackets is asked as such, and named so."""
        internet = Internet()
        internet.ask("http://[2606:2800:220:1::1]:8080/")
        transport, _ = internet.accept()
        self.assertEqual(internet.reactor.tcpClients[0][:2], ("2606:2800:220:1::1", 8080))
        self.assertIn(b"Host: [2606:2800:220:1::1]:8080\r\n", transport.value())

    def test_next_address(self) -> None:
        """Where nobody is at the first address, the next is asked; they are all of the one look-up."""
        internet = Internet()
        internet.ask("http://both.example/")
        client = internet.reactor.tcpClients[0]
        client[2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertEqual([client[0] for client in internet.reactor.tcpClients], NAMES["both.example"])
        self.assertEqual(internet.asked, ["both.example"])

    def test_redirect_is_not_followed(self) -> None:
        """A redirect to this machine is an answer like another, and no success."""
        internet = Internet()
        asking = internet.ask()
        _, protocol = internet.accept()
        protocol.dataReceived(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertFalse(self.successResultOf(asking).is_success)
        self.assertEqual(len(internet.reactor.tcpClients), 1)

    def test_unknown_name(self) -> None:
        """No address, no answer."""
        self.failureResultOf(Internet().ask("http://nobody.example/"), NoAnswer)

    def test_silence(self) -> None:
        """Ten seconds, and the connection is cut."""
        internet = Internet()
        asking = internet.ask()
        transport, protocol = internet.accept()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\nX: ")
        internet.reactor.advance(TIMEOUT_S)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(LOST)
        self.failureResultOf(asking, NoAnswer)

    def test_endless_headers(self) -> None:
        """A server that never comes to the point is not listened to for longer than 64 KiB."""
        internet = Internet()
        internet.ask()
        transport, protocol = internet.accept()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * (MAX_ANSWER_BYTES // 8))
        self.assertTrue(transport.disconnecting)

    def test_endless_body(self) -> None:
        """Of a long body there is the beginning."""
        internet = Internet()
        asking = internet.ask()
        transport, protocol = internet.accept()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (2 * MAX_ANSWER_BYTES))
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(LOST)
        answer = self.successResultOf(asking)
        self.assertTrue(answer.is_success)
        self.assertLess(len(answer.body), MAX_ANSWER_BYTES)

    def test_one_address_is_asked_a_few_times_at_once(self) -> None:
        """The others wait for their turn, and have it."""
        internet = Internet()
        asking = [internet.ask() for _ in range(PER_ADDRESS + 2)]
        self.assertEqual(len(internet.reactor.tcpClients), PER_ADDRESS)
        internet.ask("http://six.example/")
        self.assertEqual(len(internet.reactor.tcpClients), PER_ADDRESS + 1)
        _, protocol = internet.accept(0)
        protocol.dataReceived(OK)
        self.successResultOf(asking[0])
        self.assertEqual(len(internet.reactor.tcpClients), PER_ADDRESS + 2)

    def test_nothing_is_kept_about_an_address(self) -> None:
        """A million hosts that were asked once leave nothing behind."""
        internet = Internet()
        internet.ask()
        _, protocol = internet.accept()
        protocol.dataReceived(OK)
        self.assertEqual(internet.outbound._at, {})
