"""`pushd.gateway.api`: the pages, from bytes to bytes."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.delays import DelayRange
from pushd.mqtt.codes import QoS, ReasonCode
from tests.gateway.callers import Caller, Doorkeeper, Press


class PushTests(SynchronousTestCase):
    """``POST`` and ``PUT``, in all spellings"""

    def test_a_push_is_published_and_answered_with_its_message(self) -> None:
        """What curl -d does."""
        caller = Caller()
        answer = caller.post("/alerts", b"hello", "Content-Type: application/x-www-form-urlencoded\r\n")
        self.assertEqual(caller.press.published, [("alerts", b"hello", QoS.AT_LEAST_ONCE, False)])
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "application/json"))
        expected = {"time": 1_700_000_000, "event": "message", "topic": "alerts", "message": "hello"}
        self.assertEqual(answer.json, {"id": answer.json["id"], **expected})

    def test_put_is_post(self) -> None:
        """What curl -T does."""
        caller = Caller()
        self.assertEqual(caller.request("PUT", "/alerts?qos=2&retain=1", b"x").status, 200)
        self.assertEqual(caller.press.published, [("alerts", b"x", QoS.EXACTLY_ONCE, True)])

    def test_json_is_taken_whatever_its_type_is_called(self) -> None:
        """curl calls it a form, too."""
        caller = Caller()
        body = json.dumps({"topic": "home/door", "message": "open", "title": "T"}).encode()
        answer = caller.post("/?qos=0", body, "Content-Type: application/x-www-form-urlencoded\r\n")
        self.assertEqual(caller.press.published, [("home/door", b"open", QoS.AT_MOST_ONCE, False)])
        self.assertEqual(answer.json["title"], "T")

    def test_levels_by_escape_and_by_path(self) -> None:
        """``%2F`` on ntfy's surface, plain slashes on ours."""
        caller = Caller()
        caller.post("/home%2Fdoor", b" x ")
        caller.post("/v1/publish/home/door", b" x ")
        topics_and_payloads = [push[:2] for push in caller.press.published]
        self.assertEqual(topics_and_payloads, [("home/door", b"x"), ("home/door", b" x ")])

    def test_escapes_are_undone_once(self) -> None:
        """``%252F`` is a percent sign, and no slash by the back door."""
        caller = Caller()
        self.assertEqual(caller.post("/v1/publish/a%252Fb", b"x").json["topic"], "a%2Fb")
        self.assertEqual(caller.post("/a%252Fb", b"x").code, 40009)

    def test_a_message_for_nobody_is_a_success(self) -> None:
        """The sender need not know who listens."""
        self.assertEqual(Caller(Press(ReasonCode.NO_MATCHING_SUBSCRIBERS)).post("/t", b"x").status, 200)

    def test_the_answer_waits_for_the_store(self) -> None:
        """200 means that it is kept."""
        stored: Deferred[ReasonCode] = Deferred()
        caller = Caller(Press(stored))
        self.assertEqual(caller.send(b"POST /t HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"), [])
        stored.callback(ReasonCode.SUCCESS)
        self.assertEqual([answer.status for answer in caller.answers()], [200])

    def test_a_topic_that_is_none_is_400(self) -> None:
        """Wildcards, the server's topics, reserved names."""
        for target, code in {"/a%2F%2B": 40009, "/%24SYS%2Fx": 40009, "/docs": 40010, "/v1": 40010}.items():
            caller = Caller()
            self.assertEqual(caller.post(target, b"x").code, code)
            self.assertEqual(caller.press.published, [])


class DelayTests(SynchronousTestCase):
    """ntfy's ``delay``, ``at`` and ``in``"""

    def test_the_broker_is_given_the_message_and_how_long_it_waits(self) -> None:
        """The answer tells the time of the delivery, and the id under which the message waits."""
        caller = Caller()
        answer = caller.post("/t?retain=1", b"x", "In: 30 min\r\n")
        self.assertEqual((answer.status, answer.json["time"]), (200, 1_700_001_800))
        self.assertEqual(caller.press.scheduled, [(answer.json["id"], 1800.0)])
        self.assertEqual(caller.press.published, [("t", b"x", QoS.AT_LEAST_ONCE, True)])

    def test_in_every_spelling(self) -> None:
        """All of ntfy's headers and query names, and the field of its object."""
        caller = Caller()
        for name in ("X-Delay", "Delay", "X-At", "At", "X-In", "In"):
            self.assertEqual(caller.post("/t", b"x", f"{name}: 1h\r\n").json["time"], 1_700_003_600)
            self.assertEqual(caller.post(f"/t?{name.lower()}=1700003600", b"x").json["time"], 1_700_003_600)
        self.assertEqual(caller.post("/", b'{"topic":"t","delay":"1h"}').json["time"], 1_700_003_600)
        self.assertEqual(caller.post("/", b'{"topic":"t","delay":1700003600}').json["time"], 1_700_003_600)
        self.assertEqual(len(caller.press.scheduled), 14)

    def test_what_is_refused(self) -> None:
        """Nothing is published instead, neither now nor later."""
        codes = {"delay=9s": 40005, "delay=73h": 40006, "delay=soon": 40004, "delay=no": 40004}
        for query, code in {**codes, "delay=1h&cache=no": 40002, "delay=1h&email=a@b.c": 40001}.items():
            caller = Caller()
            self.assertEqual(caller.post(f"/t?{query}", b"x").code, code, query)
            self.assertEqual(caller.press.published, [], query)

    def test_the_answer_waits_for_the_store(self) -> None:
        """200 means that it will be delivered, come what may."""
        stored: Deferred[ReasonCode] = Deferred()
        caller = Caller(Press(stored))
        head = b"POST /t HTTP/1.1\r\nHost: h\r\nIn: 1h\r\nContent-Length: 1\r\n\r\nx"
        self.assertEqual(caller.send(head), [])
        stored.callback(ReasonCode.SUCCESS)
        self.assertEqual([answer.status for answer in caller.answers()], [200])

    def test_the_brokers_refusals(self) -> None:
        """As for what is published now: "not yours", and no room for more that waits."""
        for reason, code in {ReasonCode.NOT_AUTHORIZED: 40301, ReasonCode.QUOTA_EXCEEDED: 50700}.items():
            self.assertEqual(Caller(Press(reason)).post("/t?in=1h", b"x").code, code)

    def test_the_range_is_up_to_the_listener(self) -> None:
        """ntfy's 10 seconds to 3 days are a default."""
        caller = Caller(delays=DelayRange(min_s=0, max_s=5))
        self.assertEqual(caller.post("/t?in=1s", b"x").status, 200)
        self.assertEqual(caller.post("/t?in=6s", b"x").code, 40006)


class RefusedByTheBrokerTests(SynchronousTestCase):
    """Its reason codes, in HTTP's words"""

    def test_each_reason_has_its_answer(self) -> None:
        """So that a script can tell "not yours" from "later"."""
        answers = {
            ReasonCode.NOT_AUTHORIZED: 40301,
            ReasonCode.TOPIC_NAME_INVALID: 40009,
            ReasonCode.PACKET_TOO_LARGE: 41301,
            ReasonCode.QUOTA_EXCEEDED: 50700,
            ReasonCode.RETAIN_NOT_SUPPORTED: 40000,
            ReasonCode.MESSAGE_RATE_TOO_HIGH: 42901,
            ReasonCode.SERVER_UNAVAILABLE: 50300,
            ReasonCode.UNSPECIFIED_ERROR: 50001,
        }
        for reason, code in answers.items():
            self.assertEqual(Caller(Press(reason)).post("/t", b"x").code, code)

    def test_an_exception_is_logged_and_not_shown(self) -> None:
        """The caller learns only that it was not its fault."""
        answer = Caller(Press(RuntimeError("secret path"))).post("/t", b"x")
        self.assertEqual(answer.code, 50001)
        self.assertNotIn(b"secret path", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class LeavingTests(SynchronousTestCase):
    """Callers that do not wait"""

    def leave_early(self, stored: Deferred[ReasonCode]) -> None:
        caller = Caller(Press(stored))
        caller.send(b"POST /t HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
        caller.channel.connectionLost(Failure(ConnectionLost()))

    def test_a_message_outlives_its_sender(self) -> None:
        """It was published; that nobody hears of it is no error."""
        stored: Deferred[ReasonCode] = Deferred()
        self.leave_early(stored)
        stored.callback(ReasonCode.SUCCESS)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_failure_outlives_it_too(self) -> None:
        """It is logged, and only that."""
        stored: Deferred[ReasonCode] = Deferred()
        self.leave_early(stored)
        stored.errback(Failure(RuntimeError("disk")))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


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
            "PUT": "/t/seq",
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
