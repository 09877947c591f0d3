"""`pushd.gateway.identity.guards`: who is calling."""

from __future__ import annotations

import sys
from base64 import b64encode, urlsafe_b64encode
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Credentials, PeerCertificate, Verdict
from pushd.gateway.http.pages import Pages, json_answer, json_app
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller as Principal
from pushd.gateway.identity.guards import Guard, Reception
from pushd.gateway.identity.proxies import Proxies, Trust
from pushd.gateway.identity.scopes import Scope
from pushd.gateway.identity.visitors import Rates, Visitors
from pushd.gateway.site import make_site
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Token
from tests.gateway.callers import Answer, Caller, Doorkeeper

ADA = "Authorization: Basic " + b64encode(b"ada:secret").decode() + "\r\n"


def authorization(value: str) -> str:
    return f"Authorization: {value}\r\n"


def basic(credentials: bytes) -> str:
    return authorization("Basic " + b64encode(credentials).decode())


class CredentialsTests(SynchronousTestCase):
    """What counts as showing a name"""

    def assert_let_in(self, answer: Answer, caller: Caller, username: str | None) -> None:
        self.assertEqual(answer.status, 200)
        self.assertEqual(caller.press.principals, [Principal(username)])

    def test_basic_names_the_caller(self) -> None:
        """To the broker, whose access rules decide."""
        caller = Caller()
        self.assert_let_in(caller.post("/t", b"x", ADA), caller, "ada")
        seen = caller.doorkeeper.seen[0]
        self.assertEqual(
            (seen.client_id, seen.password, seen.address), ("", b"secret", "caller at 192.0.2.7")
        )

    def test_the_query_may_stand_for_the_header(self) -> None:
        """Raw URL-safe base64, under two names; it goes before the header."""
        value = urlsafe_b64encode(b"Basic " + b64encode(b"ada:secret")).decode().rstrip("=")
        for name in ("auth", "authorization"):
            caller = Caller()
            self.assert_let_in(caller.post(f"/t?{name}={value}", b"x", basic(b"ada:no")), caller, "ada")

    def test_a_scheme_of_others_is_ignored(self) -> None:
        """Web Push senders sign what is not meant for us."""
        for value in ("WebPush abc", "vapid t=a, k=b", "Digest x", ""):
            caller = Caller()
            self.assert_let_in(caller.post("/t", b"x", authorization(value)), caller, None)

    def test_wrong_credentials_are_401_everywhere(self) -> None:
        """Whatever is wrong with them, and even if anybody may come in."""
        wrong = [basic(b"ada:no"), basic(b"eve:secret"), basic(b"ada"), basic(b":token"), basic(b"\xff:x")]
        wrong += [
            basic(b"a\nb:x"),
            authorization("Basic !!"),
            authorization("Basic"),
            authorization("Bearer tk_1"),
        ]
        for headers in wrong:
            answer = Caller().post("/t", b"x", headers)
            self.assertEqual(answer.code, 40101, headers)
            self.assertNotIn("WWW-Authenticate", answer.headers)

    def test_an_unreadable_query_is_401(self) -> None:
        """It showed something."""
        self.assertEqual(Caller().post("/t?auth=%21").code, 40101)
        self.assertEqual(Caller().post("/t?auth=a").code, 40101)

    def test_wrong_credentials_go_before_wrong_requests(self) -> None:
        """Who is not let in learns nothing about topics."""
        self.assertEqual(Caller().post("/a+b", b"x", basic(b"ada:no")).code, 40101)

    @given(st.binary())
    def test_no_basic_value_is_our_fault(self, value: bytes) -> None:
        """Any bytes at all are 401 or let in."""
        answer = Caller().post("/t", b"x", basic(value))
        self.assertIn(answer.status, (200, 401))


class AnonymousTests(SynchronousTestCase):
    """Whoever shows nothing"""

    def test_a_locked_door_is_403_and_never_401(self) -> None:
        """ntfy's clients would ask for a password that was never wrong."""
        for verdict in (ReasonCode.NOT_AUTHORIZED, ReasonCode.BAD_USER_NAME_OR_PASSWORD, None):
            caller = Caller(doorkeeper=Doorkeeper(anonymous=verdict))
            self.assertEqual(caller.post("/t", b"x").code, 40301)
            self.assertEqual(caller.press.published, [])

    def test_nobody_is_let_in_without_a_verdict(self) -> None:
        """No opinion is no permission, with a name too."""
        caller = Caller(doorkeeper=Doorkeeper(known=None))
        self.assertEqual(caller.post("/t", b"x", ADA).code, 40101)


TOKEN = Token("a" * 64, "eve", writes=("t", "u"), rate_per_s=1.0)


class TokenDesk:
    """Knows the token "tk_good", which is eve's, and vouches for whoever is not called "mallory"."""

    def __init__(self, verdict: ReasonCode = ReasonCode.NOT_AUTHORIZED) -> None:
        self.verdict = verdict
        self.seen: list[tuple[str, str]] = []

    async def verify(self, credentials: Credentials, shown: str) -> Token | ReasonCode:
        self.seen.append((shown, credentials.address))
        return TOKEN if shown == "tk_good" else self.verdict

    async def vouch(self, credentials: Credentials, username: str) -> ReasonCode:
        return ReasonCode.NOT_AUTHORIZED if username == "mallory" else ReasonCode.SUCCESS


class FullPages:
    """For those who may do all that their user may."""

    app = json_app()

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    @app.route("/full", methods=["GET"])
    async def full(self, request: GatewayRequest) -> bytes:
        await self.guard.identify_in_full(request)
        return json_answer(request, {})

    @app.route("/admin", methods=["GET"])
    async def admin(self, request: GatewayRequest) -> bytes:
        await self.guard.identify_admin(request)
        return json_answer(request, {})


class TokenTests(SynchronousTestCase):
    """Access tokens"""

    def setUp(self) -> None:
        self.desk = TokenDesk()
        self.caller = Caller(reception=Reception(self.desk), admins=("eve",), make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> Pages:
        pages: Any = FullPages(guard)
        return dict.fromkeys((b"v1/full", b"v1/admin"), pages.app.resource())

    def test_each_way_to_show_one(self) -> None:
        """As Bearer, as the password of nobody, in the query; the caller is its user, within its scope."""
        query = urlsafe_b64encode(b"Bearer tk_good").decode().rstrip("=")
        for target, headers in (
            ("/t", authorization("Bearer tk_good")),
            ("/t", authorization("bearer   tk_good ")),
            ("/t", basic(b":tk_good")),
            (f"/t?auth={query}", ""),
            (f"/t?authorization={query}", ""),
        ):
            self.assertEqual(self.caller.post(target, b"x", headers).status, 200, headers)
        self.assertEqual(self.caller.press.principals, [Principal("eve", scope=Scope(("t", "u")))] * 5)
        self.assertEqual(self.desk.seen, [("tk_good", "caller at 192.0.2.7")] * 5)

    def test_a_wrong_one_is_401(self) -> None:
        """As a wrong password is; what cannot be one is reported without being looked up."""
        self.assertEqual(self.caller.post("/t", b"x", authorization("Bearer tk_bad")).code, 40101)
        self.assertEqual(self.caller.unreadable, [])
        for wrong in (b":", b":\xff", b":" + b"x" * 1025):
            self.assertEqual(self.caller.post("/t", b"x", basic(wrong)).code, 40101)
        self.assertEqual(self.caller.post("/t", b"x", authorization("Bearer")).code, 40101)
        self.assertEqual((len(self.caller.unreadable), len(self.desk.seen)), (4, 1))

    @given(st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\r\n\0")))
    def test_any_token(self, value: bytes) -> None:
        """Is a wrong one, and never our fault."""
        headers = b"Authorization: Bearer " + value + b"\r\n"
        answer = Caller(reception=Reception(TokenDesk())).post("/t", b"x", headers.decode("latin-1"))
        self.assertEqual(answer.code, 40101)

    def test_nobody_can_say(self) -> None:
        """To be tried again."""
        self.desk.verdict = ReasonCode.SERVER_UNAVAILABLE
        self.assertEqual(self.caller.post("/t", b"x", authorization("Bearer tk_x")).status, 503)

    def test_a_scope_is_for_topics_only(self) -> None:
        """Not for making other tokens, nor for administration, whoever its user is."""
        for page in ("/v1/full", "/v1/admin"):
            answer = self.caller.request("GET", page, headers=authorization("Bearer tk_good"))
            self.assertEqual(answer.code, 40301, page)
            self.assertEqual(self.caller.request("GET", page).code, 40301, page)

    def test_a_token_without_scope_is_its_user(self) -> None:
        """An administrator's is an administrator."""
        self.patch(sys.modules[__name__], "TOKEN", replace(TOKEN, writes=None))
        for page in ("/v1/full", "/v1/admin"):
            answer = self.caller.request("GET", page, headers=authorization("Bearer tk_good"))
            self.assertEqual(answer.status, 200, page)


class ProxyTests(SynchronousTestCase):
    """Behind a proxy that is trusted"""

    def caller(self, peer: str = "10.0.0.1:5000", **more: Any) -> Caller:
        trust = Trust((ip_network("10.0.0.0/8"),), user_header="X-User")
        self.desk = TokenDesk()
        return Caller(
            reception=Reception(self.desk, Proxies(lambda: trust), **more), peer_address=lambda _: peer
        )

    def test_its_word_goes_before_all_others(self) -> None:
        """What else the request shows is for the proxy."""
        caller = self.caller()
        headers = "X-User: anna\r\n" + authorization("Bearer of-the-proxys-own")
        self.assertEqual(caller.post("/t", b"x", headers).status, 200)
        self.assertEqual(caller.press.principals, [Principal("anna")])
        self.assertEqual((caller.doorkeeper.seen, self.desk.seen), ([], []))

    def test_from_elsewhere_the_header_means_nothing(self) -> None:
        """Whoever sends it is who it shows to be."""
        caller = self.caller(peer="192.0.2.1:5000")
        for headers in ("X-User: root\r\n", "X-User: root\r\n" + ADA):
            self.assertEqual(caller.post("/t", b"x", headers).status, 200)
        self.assertEqual(caller.press.principals, [Principal(None), Principal("ada")])

    def test_who_may_not_come_in(self) -> None:
        """Its account is disabled; or the header is no name."""
        caller = self.caller()
        self.assertEqual(caller.post("/t", b"x", "X-User: mallory\r\n").code, 40101)
        self.assertEqual(caller.post("/t", b"x", "X-User: a\r\nX-User: b\r\n").code, 40101)
        self.assertEqual(caller.press.published, [])

    def test_failures_are_counted_where_they_come_from(self) -> None:
        """And not against the proxy."""
        caller = self.caller()
        caller.post("/t", b"x", "X-Forwarded-For: 203.0.113.9\r\n" + basic(b"ada:no"))
        self.assertEqual(caller.doorkeeper.seen[0].address, "203.0.113.9:0")

    def test_so_are_requests(self) -> None:
        """One bucket for each address behind the proxy."""
        visitors = Visitors(lambda: Rates(per_address=0.1), lambda: 1000.0)
        caller = self.caller(visitors=visitors)
        answers = [caller.post("/t", b"x", f"X-Forwarded-For: 203.0.113.{host}\r\n") for host in (1, 1, 1, 2)]
        self.assertEqual([answer.status for answer in answers], [200, 200, 429, 200])
        self.assertEqual((answers[2].code, answers[2].headers["Retry-After"]), (42901, "10"))


class VerdictTests(SynchronousTestCase):
    """Late ones, and those that are no verdict"""

    def test_a_verdict_may_come_later(self) -> None:
        """Hashing takes its time in a thread."""
        verdict: Deferred[Verdict] = Deferred()
        caller = Caller(doorkeeper=Doorkeeper(known=verdict))
        self.assertEqual(
            caller.send(f"POST /t HTTP/1.1\r\nHost: h\r\n{ADA}Content-Length: 0\r\n\r\n".encode()), []
        )
        verdict.callback(ReasonCode.SUCCESS)
        self.assertEqual([answer.status for answer in caller.answers()], [200])

    def test_a_busy_door_is_503(self) -> None:
        """To be tried again, which 401 is not."""
        for verdict in (ReasonCode.SERVER_BUSY, ReasonCode.SERVER_UNAVAILABLE):
            caller = Caller(doorkeeper=Doorkeeper(known=verdict))
            self.assertEqual(caller.post("/t", b"x", ADA).status, 503)


class FailureTests(SynchronousTestCase):
    """Whoever fails too often"""

    def test_held_off_is_429_and_says_for_how_long(self) -> None:
        """In whole seconds, never fewer than it takes; not 401, for the password was not looked at."""

        class Tired(Doorkeeper):
            def authenticate(self, credentials: Credentials) -> Verdict:
                credentials.retry_after_s = 3.2
                return ReasonCode.NOT_AUTHORIZED

        answer = Caller(doorkeeper=Tired()).post("/t", b"x", ADA)
        self.assertEqual((answer.code, answer.headers["Retry-After"]), (42909, "4"))

    def test_what_cannot_be_read_is_reported(self) -> None:
        """Where there are no tokens, one is that, too: who shows one after another is guessing."""
        caller = Caller()
        for headers in (authorization("Bearer tk_1"), authorization("Basic !!"), basic(b":x")):
            self.assertEqual(caller.post("/t", b"x", headers).code, 40101)
        caller.post("/t?auth=%21")
        reported = [shown for _, shown in caller.unreadable]
        self.assertEqual(len(set(reported)), 4)
        self.assertEqual(
            {credentials.address for credentials, _ in caller.unreadable}, {"caller at 192.0.2.7"}
        )

    def test_what_can_be_read_is_not(self) -> None:
        """The authenticator sees to that."""
        caller = Caller()
        for headers in ("", ADA, basic(b"ada:no"), authorization("vapid t=a")):
            caller.post("/t", b"x", headers)
        self.assertEqual(caller.unreadable, [])


class CertificateTests(SynchronousTestCase):
    """HTTPS with client certificates"""

    def test_a_certificates_name_is_the_callers(self) -> None:
        """The authenticator sees it and says who that is."""

        class Identity:
            common_name, subject = "door-7", "CN=door-7"

        class ByCertificate(Doorkeeper):
            def authenticate(self, credentials: Credentials) -> Verdict:
                assert credentials.certificate is not None
                credentials.username = credentials.certificate.common_name
                return ReasonCode.SUCCESS

        def certificate(transport: object) -> PeerCertificate:
            return Identity()

        caller = Caller()
        caller.site = make_site(caller.press, ByCertificate(), reactor=Clock(), peer_certificate=certificate)
        caller.connect()
        caller.post("/t", b"x")
        self.assertEqual(caller.press.principals, [Principal("door-7")])
