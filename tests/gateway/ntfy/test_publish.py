"""`pushd.gateway.ntfy.publish`: pushing, from bytes to bytes."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.identity.guards import Reception
from pushd.gateway.identity.visitors import BURST_S, PUSHES_PER_S, Rates, Visitors
from pushd.gateway.ntfy.delays import DelayRange
from pushd.gateway.ntfy.idempotency import Answers
from pushd.gateway.ntfy.publish import PushDesk
from pushd.mqtt.codes import QoS, ReasonCode
from pushd.service.assembly import Publisher
from tests.driver import Rig
from tests.gateway.callers import NOW, Answer, Caller, Press


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


class WebhookTests(SynchronousTestCase):
    """``GET /<topic>/publish``, for who can only open a URL"""

    def test_in_all_its_names(self) -> None:
        """The message is in the query."""
        caller = Caller()
        for name in ("publish", "send", "trigger"):
            self.assertEqual(caller.request("GET", f"/t/{name}?message=hi&title=T").json["title"], "T")
        self.assertEqual({push[:2] for push in caller.press.published}, {("t", b"hi")})

    def test_a_message_that_is_not_said_is_triggered(self) -> None:
        """As for every empty push."""
        self.assertEqual(Caller().request("GET", "/t/trigger").json["message"], "triggered")

    def test_other_pages_behind_a_topic_are_none(self) -> None:
        """HEAD publishes nothing."""
        caller = Caller()
        self.assertEqual(caller.request("GET", "/t/other").code, 40401)
        self.assertEqual(caller.request("HEAD", "/t/publish").status, 404)
        self.assertEqual(caller.press.published, [])


class SequenceTests(SynchronousTestCase):
    """``/<topic>/<sequence>``: what takes the place of what was said before"""

    def test_a_push_may_be_part_of_one(self) -> None:
        """By its path, or by what ntfy calls it."""
        for target, header in {"/t/s-1": "", "/t?sid=s-1": "", "/t": "X-Sequence-ID: s-1\r\n"}.items():
            caller = Caller()
            self.assertEqual(caller.post(target, b"50 %", header).json["sequence_id"], "s-1")
            self.assertEqual(caller.press.published[0][:2], ("t", b"50 %"))

    def test_clear_and_delete_are_told(self) -> None:
        """Nothing is published: MQTT has no word for it."""
        for method, target, event in (
            ("PUT", "/t/s-1/clear", "message_clear"),
            ("PUT", "/t/s-1/read", "message_clear"),
            ("DELETE", "/t/s-1", "message_delete"),
        ):
            caller = Caller()
            said = caller.request(method, target).json
            self.assertEqual((said["event"], said["sequence_id"], said["topic"]), (event, "s-1", "t"))
            self.assertEqual((caller.press.events, "message" in said), ([event], False))

    def test_what_is_no_sequence_is_refused(self) -> None:
        """As a topic would be."""
        caller = Caller()
        for method, target in (
            ("POST", "/t/a%20b"),
            ("DELETE", "/t/a%2Fb"),
            ("PUT", f"/t/{'x' * 65}/clear"),
        ):
            self.assertEqual(caller.request(method, target, b"x").code, 40000)
        self.assertEqual(caller.press.published, [])

    def test_whoever_may_not_publish_may_not_tell(self) -> None:
        """The broker's refusals are the same."""
        caller = Caller(Press(ReasonCode.NOT_AUTHORIZED))
        self.assertEqual(caller.request("DELETE", "/t/s-1").code, 40301)


class MarkTests(SynchronousTestCase):
    """What a message keeps of the push it comes from"""

    def test_its_id_and_time_are_those_of_the_answer(self) -> None:
        """Streams show the same object."""
        caller = Caller(Press(kept_for_s=60))
        answer = caller.post("/t", b"x").json
        mark = caller.press.publications[0].mark
        assert mark is not None
        self.assertEqual((mark.id, mark.at, mark.keep_s), (answer["id"], answer["time"], 60))
        self.assertEqual(answer["expires"], 1_700_000_060)

    def test_cache_no_keeps_nothing(self) -> None:
        """It is for who listens now."""
        caller = Caller(Press(kept_for_s=60))
        self.assertNotIn("expires", caller.post("/t?cache=no", b"x").json)
        self.assertEqual(caller.press.publications[0].mark.keep_s, 0)  # type: ignore[union-attr]

    def test_what_was_said_goes_along(self) -> None:
        """As properties of version 5, and with its expiry."""
        caller = Caller()
        caller.post("/t?title=T&priority=5&ttl=60", b"x")
        (publication,) = caller.press.publications
        self.assertEqual(publication.properties, {0x26: [("title", "T"), ("priority", "5")]})
        self.assertEqual(publication.expiry_s, 60)

    def test_format_json_sends_the_message_object(self) -> None:
        """To MQTT subscribers; the caller is answered as ever."""
        caller = Caller()
        answer = caller.post("/t?format=json&title=T", b"hi").json
        self.assertEqual(json.loads(caller.press.published[0][1]), answer)
        self.assertEqual(answer["message"], "hi")


class RepetitionTests(SynchronousTestCase):
    """``Idempotency-Key``"""

    def setUp(self) -> None:
        self.rig = Rig()
        publisher = Publisher(self.rig.broker, self.rig.policy)
        answers = Answers(self.rig.broker.notes, lambda: NOW, self.rig.broker.store.barrier)
        self.caller = Caller(press=cast(Any, publisher), desk=PushDesk(answers=answers))
        self.device = self.rig.connect("device")
        self.device.subscribe("t")
        self.device.received()

    def push(self, body: bytes, key: str = "k", query: str = "") -> Answer:
        return self.caller.post(f"/t{query}", body, f"Idempotency-Key: {key}\r\n")

    def test_the_same_key_pushes_once(self) -> None:
        """And is answered the same."""
        self.assertEqual(self.push(b"x").body, self.push(b"x").body)
        self.rig.turn()
        self.assertEqual([packet.payload for packet in self.device.received()], [b"x"])  # type: ignore[union-attr]

    def test_another_body_is_no_repetition(self) -> None:
        """It is told so."""
        self.push(b"x")
        self.assertEqual(self.push(b"y").code, 42200)

    def test_a_scheduled_push_waits_once(self) -> None:
        """Its answer is recorded with it."""
        self.assertEqual(self.push(b"x", query="?in=1h").body, self.push(b"x", query="?in=1h").body)
        self.assertEqual(len(self.rig.broker.scheduled), 1)

    def test_a_refused_push_is_not_remembered(self) -> None:
        """Nothing has happened."""
        self.assertEqual(self.push(b"x", query="?priority=9").code, 40007)
        self.assertEqual(self.push(b"x", query="?priority=9").code, 40007)
        self.assertEqual(self.rig.broker.notes.of_kind("idempotency"), [])


class AppTests(SynchronousTestCase):
    """``/<topic>?up=1``: an endpoint as ntfy's apps hand it out"""

    def setUp(self) -> None:
        visitors = Visitors(lambda: Rates(per_address=1.0), lambda: 0.0)
        self.caller = Caller(Press(read_topics={"upAAAA", "upBBBB"}), reception=Reception(visitors=visitors))

    def accepted(self, *topics: str) -> int:
        """How many of 200 pushes from one address are."""
        statuses = [self.caller.post(f"/{topics[n % len(topics)]}?up=1", b"x").status for n in range(200)]
        return statuses.count(200)

    def test_who_waits_for_it_is_charged(self) -> None:
        """A server of Matrix pushes for thousands."""
        one = self.accepted("upAAAA")
        self.assertEqual(one, int(BURST_S * PUSHES_PER_S) + 1)
        self.assertEqual(self.accepted("upAAAA", "upBBBB"), one)  # to the second, and no more to the first

    def test_ntfys_object_has_its_topic_in_it(self) -> None:
        """And not in the path."""
        self.assertEqual(self.caller.post("/?up=1", b'{"topic":"t","message":"x"}').status, 200)

    def test_who_pushes_to_nobody_is_charged_itself(self) -> None:
        """Or it could use a new topic each time."""
        self.assertEqual(self.accepted(*(f"up{n:04}" for n in range(200))), int(BURST_S) + 1)


class PollRequestTests(SynchronousTestCase):
    """``X-Poll-ID``: a message that an app is to fetch from another server"""

    def test_readers_are_told(self) -> None:
        """And MQTT subscribers hear nothing: there is nothing here for them."""
        caller = Caller()
        said = caller.post("/t", b"", "X-Poll-ID: AbCdEfGhIjKl\r\n").json
        self.assertEqual((said["event"], said["poll_id"]), ("poll_request", "AbCdEfGhIjKl"))
        self.assertEqual((said["message"], caller.press.events), ("New message", ["poll_request"]))

    def test_what_is_no_id_is_refused(self) -> None:
        """Nobody could fetch it."""
        self.assertEqual(Caller().post("/t", b"", "X-Poll-ID: ../x\r\n").code, 40000)
