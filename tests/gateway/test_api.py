"""`pushd.gateway.api`: the pages, from bytes to bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import ReasonCode
from tests.gateway.callers import Caller, Doorkeeper


class HealthTests(SynchronousTestCase):
    """``GET /v1/health``"""

    def test_it_is_open_to_all(self) -> None:
        """Also to who shows wrong credentials, and where nobody may push."""
        caller = Caller(doorkeeper=Doorkeeper(anonymous=ReasonCode.NOT_AUTHORIZED))
        answer = caller.request("GET", "/v1/health", headers="Authorization: Basic eDp5\r\n")
        self.assertEqual((answer.status, answer.json), (200, {"healthy": True}))
        self.assertEqual(caller.doorkeeper.seen, [])

    def test_a_sick_server_says_so(self) -> None:
        """In words and as 503, for probes that read only one of them."""
        answer = Caller(healthy=False).request("GET", "/v1/health")
        reason = "nothing can be stored at the moment"
        self.assertEqual((answer.status, answer.json), (503, {"healthy": False, "reason": reason}))

    def test_head_has_the_headers_of_get_and_no_body(self) -> None:
        """Probes often ask so."""
        caller = Caller()
        caller.channel.dataReceived(b"HEAD /v1/health HTTP/1.1\r\nHost: h\r\n\r\n")
        head, _, body = caller.transport.value().partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 17", head)
        self.assertEqual((head[:12], body), (b"HTTP/1.1 200", b""))


class NoSuchPageTests(SynchronousTestCase):
    """404, in JSON, for paths and methods alike"""

    def test_what_is_nothing_is_404(self) -> None:
        """As in ntfy, where a wrong method is another page."""
        for method, target in {
            "GET": "/",
            "DELETE": "/t",
            "PATCH": "/v1/health",
            "POST": "/v1/nothing",
            "PUT": "/t/seq/other",
            "TRACE": "/t",
            "FOO": "/v1/publish/t",
        }.items():
            answer = Caller().request(method, target)
            self.assertEqual(answer.code, 40401, target)

    def test_odd_paths_are_not_our_fault(self) -> None:
        """Neither twisted's nor klein's own pages are ever seen."""
        for target in ("/v1/%ff", "/v1//health", "/v1/health/", "//", "/v1/publish", "/v1/..", "/t/"):
            self.assertEqual(Caller().post(target).code, 40401, target)
        self.assertEqual(Caller().request("GET", "*").code, 40401)
        self.assertEqual(Caller().post("t").code, 40000)

    def test_a_query_without_end_is_refused(self) -> None:
        """Two hundred names are not read."""
        self.assertEqual(Caller().post("/t?" + "a&" * 200).code, 40000)

    @settings(deadline=None)
    @given(
        st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "X"]),
        st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
        st.lists(st.sampled_from(["X-Title", "Actions", "Authorization", "Cookie", "Content-Type", "Tags"])),
        st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")),
        st.binary(),
    )
    def test_no_request_is_our_fault(
        self, method: str, path: str, names: list[str], value: str, body: bytes
    ) -> None:
        """Any path, header and body ends in JSON, and never in a 500."""
        caller = Caller()
        headers = "".join(f"{name}: {value}\r\n" for name in names)
        head = f"{method} /{path} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        caller.channel.dataReceived(head.encode("latin-1") + body)
        answer = caller.transport.value()
        self.assertLess(answer[9:12], b"500")
        self.assertIn(b"\r\nContent-Type: application/json\r\n", answer)


class CrossOriginTests(SynchronousTestCase):
    """Pages of other sites may push"""

    def test_every_answer_says_so(self) -> None:
        """The refusals too, or their reason could not be read."""
        for answer in (Caller().post("/t", b"x"), Caller().post("/+"), Caller().request("GET", "/v1/health")):
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")
        (answer,) = Caller().send(b"nonsense\r\n")
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")

    def test_a_preflight_is_granted_anywhere(self) -> None:
        """Before anybody has shown who it is."""
        for target in ("/t", "/v1/health", "/v1/publish/a/b", "*"):
            answer = Caller(doorkeeper=Doorkeeper(anonymous=None)).request("OPTIONS", target)
            self.assertEqual((answer.status, answer.headers["Access-Control-Allow-Headers"]), (200, "*"))
            self.assertIn("PUT", answer.headers["Access-Control-Allow-Methods"])
