"""`pushd.gateway.push.push_api`: pushes as programs send them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.broker.interfaces import Access
from pushd.gateway.push.push_request import SCHEMA
from pushd.mqtt.codes import PropertyId, Version
from pushd.mqtt.packets import Publish
from tests.gateway.push_api_case import ADA, HOOK, PushApiCase, payloads

KEY = "Idempotency-Key: k-1\r\n"


class PushTests(PushApiCase):
    """POST /v1/push"""

    def test_topic(self) -> None:
        """Without targets, the topic's subscribers get it, and the answer says how many."""
        device = self.device("dev", "alerts/#")
        told = self.push(topic="alerts/fire")
        self.assertEqual(told["sessions"], 1)
        self.assertEqual(told["counts"], {"queued": 0, "sent": 1, "refused": 0})
        self.assertRegex(told["id"], "^[A-Za-z0-9]{12}$")
        self.assertEqual(payloads(device), [b"hi"])

    def test_users_and_clients(self) -> None:
        """They need no subscription, and get it on the topic that is named."""
        anna, dev, other = self.device("a", username="anna"), self.device("dev"), self.device("other")
        told = self.push(targets={"users": ["anna"], "clients": ["dev"]}, topic="x")
        self.assertEqual(told["sessions"], 2)
        self.assertEqual([payloads(each) for each in (anna, dev, other)], [[b"hi"], [b"hi"], []])

    def test_all(self) -> None:
        """Every session there is."""
        devices = [self.device(name) for name in ("a", "b")]
        self.push(targets={"all": True}, topic="x")
        self.assertEqual([payloads(each) for each in devices], [[b"hi"], [b"hi"]])

    def test_wildcard(self) -> None:
        """A topic with a wildcard is for the subscriptions that it covers."""
        fire, water = self.device("a", "alerts/fire"), self.device("b", "alerts/water")
        self.device("c", "news")
        self.assertEqual(self.push(targets={"topics": ["alerts/+"]})["sessions"], 2)
        self.assertEqual([payloads(fire), payloads(water)], [[b"hi"], [b"hi"]])

    def test_properties(self) -> None:
        """What is said about it goes along as properties of MQTT 5."""
        device = self.rig.connect("dev", version=Version.V5)
        device.subscribe("t")
        self.push(topic="t", title="T", priority="high", properties={"zone": "B"}, markdown=True)
        (packet,) = [each for each in device.received() if isinstance(each, Publish)]
        self.assertEqual(
            packet.properties[PropertyId.USER_PROPERTY], [("title", "T"), ("priority", "4"), ("zone", "B")]
        )
        self.assertEqual(packet.properties[PropertyId.CONTENT_TYPE], "text/markdown")

    def test_format_json(self) -> None:
        """A payload may be the whole message object."""
        device = self.device("dev", "t")
        told = self.push(topic="t", title="T", format="json")
        (payload,) = payloads(device)
        self.assertEqual(json.loads(payload)["title"], "T")
        self.assertEqual(json.loads(payload)["id"], told["id"])

    def test_who_is_away(self) -> None:
        """It waits for a session without a client, and not for longer than its time to live."""
        self.device("dev", "t").drop()
        told = self.push(topic="t", ttl=60)
        self.assertEqual(told["counts"], {"queued": 1, "sent": 0, "refused": 0})
        self.rig.clock.advance(61)
        self.assertEqual(payloads(self.device("dev")), [])

    def test_collapse_key(self) -> None:
        """A newer one takes the place of what was not sent yet."""
        self.device("dev", "t").drop()
        self.push(topic="t", message="1:0", collapse_key="score")
        self.push(topic="t", message="2:0", collapse_key="score")
        self.assertEqual(payloads(self.device("dev")), [b"2:0"])

    def test_forbidden(self) -> None:
        """One topic that the caller may not write to, and nothing is sent."""
        device = self.device("dev", "a", "b")
        self.rules.refused = {(Access.WRITE, "b")}
        said = {"targets": {"topics": ["a", "b"]}, "message": ""}
        self.assertEqual(self.ask("POST", "/v1/push", said).code, 40301)
        self.assertEqual(payloads(device), [])

    def test_reasons(self) -> None:
        """A full queue is told of."""
        for name in ("dev", "other"):
            self.device(name, "t").drop()
        for _ in range(3):
            self.push(topic="t")
        told = self.push(topic="t")
        self.assertEqual(told["counts"]["refused"], 2)
        self.assertEqual(told["reasons"], {"queue_full": 2})

    def test_after_the_commit(self) -> None:
        """The answer comes when the push is durable."""
        self.device("dev", "t").drop()
        store = self.hold()
        self.begin("POST", "/v1/push", {"topic": "t", "message": "hi"})
        self.assertEqual(self.caller.answers(), [])
        self.assertTrue(store.barriers)
        while store.barriers:
            store.barriers.pop(0).callback(None)
        self.turn()
        self.assertEqual(self.heard().status, 200)

    def test_large_body(self) -> None:
        """A list of names may be longer than a message."""
        names = ["c" * 60 + str(number) for number in range(1000)]
        self.assertEqual(self.push(targets={"clients": names}, topic="t")["sessions"], 0)

    def test_too_large(self) -> None:
        """A body that is larger is refused from what its headers announce."""
        for path, size in (("/v1/push", 1_048_577), ("/v1/push/batch", 8_388_609)):
            self.caller.connect()
            self.caller.channel.dataReceived(
                b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (path.encode(), size)
            )
            self.assertEqual(self.heard().code, 41303)


class KeyTests(PushApiCase):
    """Idempotency-Key"""

    def test_once(self) -> None:
        """The same request again is answered, and pushed once."""
        device = self.device("dev", "t")
        self.assertEqual(self.push(KEY, topic="t"), self.push(KEY, topic="t"))
        self.assertEqual(payloads(device), [b"hi"])

    def test_over_a_restart(self) -> None:
        """Also when the process is another one by then."""
        self.device("dev", "t").drop()
        first = self.push(KEY, topic="t")
        self.restart()
        self.assertEqual(self.push(KEY, topic="t"), first)
        self.assertEqual(payloads(self.device("dev")), [b"hi"])

    def test_other_body(self) -> None:
        """Another push under the same key is a mistake."""
        self.push(KEY, topic="t")
        self.assertEqual(self.ask("POST", "/v1/push", {"topic": "u", "message": ""}, KEY).code, 42200)

    def test_refused_first(self) -> None:
        """What was refused may be mended and sent again."""
        self.assertEqual(self.ask("POST", "/v1/push", {"topic": "t"}, KEY).code, 40000)
        self.push(KEY, topic="t")

    def test_recorded_with_the_push(self) -> None:
        """One barrier covers both: a crash leaves both, or neither."""
        self.device("dev", "t").drop()
        store = self.hold()
        self.begin("POST", "/v1/push", {"topic": "t", "message": "hi"}, KEY)
        kinds = [type(record).__name__ for record in store.records]
        self.assertIn("MessageQueued", kinds)
        self.assertIn("NoteSet", kinds)


class BatchTests(PushApiCase):
    """POST /v1/push/batch"""

    def batch(self, pushes: Any, headers: str = "") -> Any:
        return self.ask("POST", "/v1/push/batch", pushes, headers).json["results"]

    def test_each_for_itself(self) -> None:
        """A result for each, in their order; one that is refused stops none."""
        device = self.device("dev", "#")
        results = self.batch([{"topic": "a", "message": "1"}, {"topic": "b"}, {"topic": "c", "message": "3"}])
        self.assertEqual(payloads(device), [b"1", b"3"])
        self.assertEqual([result.get("sessions") for result in results], [1, None, 1])
        self.assertEqual(results[1]["error"]["code"], 40000)
        self.assertEqual(results[1]["error"].keys(), {"code", "http", "error"})

    def test_thousand_in_order(self) -> None:
        """As many as there may be, to one topic: their order stays."""
        device = self.device("dev", "t")
        self.begin(
            "POST", "/v1/push/batch", [{"topic": "t", "message": str(n), "qos": 0} for n in range(1000)]
        )
        for _ in range(100):
            self.rig.clock.advance(0)
        self.assertEqual(len(self.heard().json["results"]), 1000)
        self.assertEqual(payloads(device), [b"%d" % n for n in range(1000)])

    def test_again(self) -> None:
        """With a key, what was pushed is not pushed again, and what was refused is tried anew."""
        device = self.device("dev", "t")
        pushes = [{"topic": "t", "message": "1"}, {"topic": "+", "message": "2"}]
        first = self.batch(pushes, KEY)
        self.assertEqual(self.batch(pushes, KEY), first)
        pushes[1]["topic"] = "t"
        self.assertEqual(self.batch(pushes, KEY)[0], first[0])
        self.assertEqual(payloads(device), [b"1", b"2"])

    def test_no_batch(self) -> None:
        """Neither too many nor something else."""
        for body, code in (
            ([{}] * 1001, 40000),
            ({"pushes": [], "x": 1}, 40024),
            ("text", 40024),
            ([{"targets": {"clients": ["c"] * 1001}}] * 11, 40000),
        ):
            self.assertEqual(self.ask("POST", "/v1/push/batch", body).code, code)
        self.assertEqual(self.batch([]), [])
        self.assertEqual(self.batch({"pushes": []}), [])


class LaterTests(PushApiCase):
    """deliver_at"""

    def test_later(self) -> None:
        """It is sent when it is time, once, with all that was said; and its receipt begins."""
        device = self.device("dev")
        told = self.push(
            targets={"clients": ["dev"]}, topic="x", deliver_at="in 1 hour", ttl=60, receipt=True
        )
        self.assertEqual(told, {"id": told["id"], "time": 3600, "scheduled": True})
        self.assertTrue(self.receipt(told["id"])["scheduled"])
        self.rig.clock.advance(3599)
        self.assertEqual(payloads(device), [])
        self.rig.clock.advance(1)
        self.turn()
        self.assertEqual(payloads(device), [b"hi"])
        self.assertEqual(self.receipt(told["id"])["counts"]["acknowledged"], 1)

    def test_over_a_restart(self) -> None:
        """A restart before it is time changes nothing; one after that does not send it again."""
        self.device("dev", "t").drop()
        self.push(topic="t", deliver_at=100)
        self.restart()
        self.rig.clock.advance(101)
        self.turn()
        self.restart()
        self.rig.clock.advance(101)
        self.turn()
        self.assertEqual(payloads(self.device("dev")), [b"hi"])

    def test_forbidden_now(self) -> None:
        """Who may not write there now cannot put it off either."""
        self.rules.refused = {(Access.WRITE, "t")}
        self.assertEqual(
            self.ask("POST", "/v1/push", {"topic": "t", "message": "", "deliver_at": 99}).code, 40301
        )

    def test_no_time(self) -> None:
        """A time that is past, or none, or too far away."""
        self.rig.clock.advance(1000)
        for at, code in ((999, 40004), ("soon", 40004), ("in 31 days", 40006), (1000, 40005)):
            answer = self.ask("POST", "/v1/push", {"topic": "t", "message": "", "deliver_at": at})
            self.assertEqual(answer.code, code, at)

    def test_nobody_waits(self) -> None:
        """To wait for it would take until then."""
        said = {"topic": "t", "message": "", "deliver_at": 99}
        self.assertEqual(self.ask("POST", "/v1/push?wait=5s", said).code, 40000)

    def test_nothing_can_be_stored(self) -> None:
        """Then nothing is put off."""
        self.hold().failing = "disk full"
        answer = self.ask("POST", "/v1/push", {"topic": "t", "message": "", "deliver_at": 99})
        self.assertEqual((answer.code, len(self.api.office.postponed)), (50700, 0))

    def test_key(self) -> None:
        """With a key it is put off once."""
        first = self.push(KEY, topic="t", deliver_at=100)
        self.restart()
        self.assertEqual(self.push(KEY, topic="t", deliver_at=100), first)
        self.assertEqual(len(self.api.office.postponed), 1)


class WebhookTests(PushApiCase):
    """webhook"""

    def test_told_at_the_end(self) -> None:
        """When the last device has acknowledged, the URL is told."""
        device = self.device("dev", "t")
        told = self.push(topic="t", webhook=HOOK)
        self.assertEqual(self.outside.asked, [])
        payloads(device)
        self.turn()
        ((url, headers, body),) = self.outside.asked
        self.assertEqual((url, headers["X-Pushd-Delivery"]), (HOOK, told["id"]))
        self.assertEqual(json.loads(body)["counts"]["acknowledged"], 1)
        self.assertTrue(json.loads(body)["complete"])

    def test_nobody_there(self) -> None:
        """A push that reached nobody is at its end at once."""
        self.push(topic="t", webhook=HOOK)
        self.turn()
        self.assertEqual(len(self.outside.asked), 1)

    def test_expiry(self) -> None:
        """So is one whose time is over."""
        self.device("dev", "t").drop()
        self.push(topic="t", webhook=HOOK, ttl=60)
        for _ in range(5):
            self.rig.clock.advance(30)
            self.turn()
        ((_, _, body),) = self.outside.asked
        self.assertEqual(json.loads(body)["counts"]["expired"], 1)

    def test_over_a_restart(self) -> None:
        """What is waited for is waited for by the next process."""
        self.device("dev", "t").drop()
        self.push(topic="t", webhook=HOOK)
        self.restart()
        payloads(self.device("dev"))
        self.turn()
        self.assertEqual(len(self.outside.asked), 1)

    def test_private(self) -> None:
        """A URL that would not be asked is refused, and nothing is sent."""
        device = self.device("dev", "t")
        for url in ("https://127.0.0.1/", "http://hooks.example/", "", "x"):
            answer = self.ask("POST", "/v1/push", {"topic": "t", "message": "", "webhook": url})
            self.assertEqual(answer.code if url else 40000, 40000, url)
        self.assertEqual([payload for payload in payloads(device) if payload], [])


bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({*SCHEMA["properties"], "x"})
pushes = st.dictionaries(st.sampled_from(FIELDS), bodies, max_size=6).map(
    lambda said: {"topic": "t", "message": "m", **said}
)


class AnyBodyTests(PushApiCase):
    """Whatever is sent."""

    def setUp(self) -> None:
        super().setUp()
        self.device("dev", "#")

    @settings(max_examples=200, deadline=None)
    @given(said=pushes | bodies, path=st.sampled_from(["/v1/push", "/v1/push/batch", "/v1/push?wait=1s"]))
    def test_is_answered(self, said: Any, path: str) -> None:
        """A push, or a refusal: never a fault of ours, and never silence."""
        self.begin("POST", path, said)
        self.rig.clock.advance(1)
        self.turn()
        answer = self.heard()
        self.assertLess(answer.status, 500, (said, answer.body))
        if answer.status != 200:
            self.assertGreaterEqual(answer.code, 40000)

    @settings(max_examples=100, deadline=None)
    @given(body=st.binary(max_size=200), headers=st.sampled_from(["", KEY, ADA]))
    def test_bytes(self, body: bytes, headers: str) -> None:
        """The same of what is no JSON."""
        for path in ("/v1/push", "/v1/push/batch"):
            self.assertLess(self.ask("POST", path, body, headers).status, 500)

    @settings(max_examples=100, deadline=None)
    @given(
        id=st.text(st.characters(codec="ascii", exclude_characters=" \x7f", min_codepoint=33), max_size=20),
        query=st.sampled_from(["", "?wait=1s", "?wait=-1", "?after=x", "?after=9", "?limit=0", "?wait=61s"]),
    )
    def test_ids(self, id: str, query: str) -> None:
        """Nobody's id is nobody's."""
        for method, path in (("GET", "push"), ("GET", "scheduled"), ("DELETE", "scheduled")):
            self.begin(method, f"/v1/{path}/{id}{query}")
            answers = self.caller.answers()
            self.assertTrue(all(answer.status < 500 for answer in answers))
            if self.caller.hung_up:
                self.caller.connect()
