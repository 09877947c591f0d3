"""`pushd.gateway.guards`: who is calling."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Credentials, PeerCertificate, Verdict
from pushd.gateway.guards import Caller as Principal
from pushd.gateway.site import make_site
from pushd.mqtt.codes import ReasonCode
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
        self.assertEqual((seen.client_id, seen.password, seen.address), ("", b"secret", "caller of Wire"))

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
        """A token is no password; who shows one after another is guessing all the same."""
        caller = Caller()
        for headers in (authorization("Bearer tk_1"), authorization("Basic !!"), basic(b":x")):
            self.assertEqual(caller.post("/t", b"x", headers).code, 40101)
        caller.post("/t?auth=%21")
        reported = [shown for _, shown in caller.unreadable]
        self.assertEqual(len(set(reported)), 4)
        self.assertEqual({credentials.address for credentials, _ in caller.unreadable}, {"caller of Wire"})

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
