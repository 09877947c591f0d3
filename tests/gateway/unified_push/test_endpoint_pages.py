"""`pushd.gateway.unified_push.endpoint_pages`: endpoints that are registered, pushed to and removed."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.broker.interfaces import Access, Credentials
from pushd.broker.records import KeptQuery
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.identity.guards import Reception
from pushd.gateway.unified_push.endpoints import Endpoint
from pushd.mqtt.codes import PropertyId, ReasonCode, Version
from pushd.people.interfaces import Token
from tests.gateway.callers import NOW, Answer
from tests.gateway.senders import Sender
from tests.gateway.up_case import ADA, BASE, UnifiedPushCase

BEN = "Authorization: Basic YmVuOnNlY3JldA==\r\n"


class ScopedToken:
    """Whatever is shown is a token of ada's, for one topic."""

    async def verify(self, credentials: Credentials, shown: str) -> Token:
        return Token("a" * 64, "ada", writes=("alerts",))

    async def vouch(self, credentials: Credentials, username: str) -> ReasonCode:
        return ReasonCode.SUCCESS


class RegistrationTests(UnifiedPushCase):
    """POST /v1/up"""

    def test_answer(self) -> None:
        """The device is told a URL with a secret in it, below our own, and all that it asked for."""
        sender = Sender()
        told = self.register(topic="alerts", vapid=sender.key + "=")
        self.assertRegex(told["endpoint"], f"^{BASE}/v1/up/[-_A-Za-z0-9]{{43}}$")
        self.assertEqual((told["topic"], told["vapid"], told["created_at"]), ("alerts", sender.key, int(NOW)))

    def test_nothing_asked_for(self) -> None:
        """Without a body, too, there is an endpoint, with a topic of its own that nobody guesses."""
        answers = [self.request("POST", "/v1/up", body, ADA) for body in (b"", b"{}", b'{"topic":null}')]
        topics = {answer.json["topic"] for answer in answers}
        self.assertEqual(len(topics), 3)
        for topic in topics:
            self.assertRegex(topic, "^up[A-Za-z0-9]{24}$")

    def test_makes_no_sense(self) -> None:
        """A field that nobody knows, a value that is none, and both a client and a user are refused."""
        bodies: list[Any] = [
            {"colour": "red"}, {"topic": 7}, {"topic": ""}, {"vapid": ["x"]}, {"client": "\0"},
            {"client": "a", "user": "ada"}, {"vapid": "x"}, {"client": "\ud800"},
        ]  # fmt: skip
        for body in bodies:
            answer = self.request("POST", "/v1/up", json.dumps(body).encode(), ADA)
            self.assertEqual(answer.code, 40000, body)
        for raw, code in (
            (b"[]", 40024),
            (b"{", 40024),
            (b'{"topic":"a/#"}', 40009),
            (b'{"topic":"v1"}', 40010),
        ):
            self.assertEqual(self.request("POST", "/v1/up", raw, ADA).code, code)

    def test_what_one_may_not_write(self) -> None:
        """Nobody gets by an endpoint what its own push would be refused."""
        self.rules.refused.add((Access.WRITE, "secret"))
        answer = self.request("POST", "/v1/up", b'{"topic":"secret"}', ADA)
        self.assertEqual(answer.code, 40301)

    def test_anonymous(self) -> None:
        """Where nobody needs a name, nobody needs one here; elsewhere it is refused."""
        self.register(login="", topic="upX")
        self.caller.doorkeeper.anonymous = ReasonCode.NOT_AUTHORIZED
        self.assertEqual(self.request("POST", "/v1/up").code, 40301)

    def test_for_other_users(self) -> None:
        """One's own sessions are one's own; those of another only an administrator may address."""
        self.register(user="ada")
        body = b'{"user":"ben"}'
        self.assertEqual(self.request("POST", "/v1/up", body, ADA).code, 40301)
        self.assertEqual(self.request("POST", "/v1/up", body).code, 40301)
        self.caller = self.new_caller("ada")
        self.register(user="ben")

    def test_for_another_users_client(self) -> None:
        """The same of a session that is there."""
        self.rig.connect("phone", username="ben")
        body = b'{"client":"phone"}'
        self.assertEqual(self.request("POST", "/v1/up", body, ADA).code, 40301)
        self.caller = self.new_caller("ada")
        self.register(client="phone")

    def test_token_with_a_scope(self) -> None:
        """It ends some day, and what it may do has bounds: it gets no endpoint, which has neither."""
        self.caller = self.new_caller(reception=Reception(ScopedToken()))
        for method, target in (("POST", "/v1/up"), ("GET", "/v1/up"), ("DELETE", "/v1/up/x")):
            answer = self.request(method, target, headers="Authorization: Bearer tk_ada\r\n")
            self.assertEqual(answer.code, 40301)

    @settings(max_examples=50, deadline=None)
    @given(
        st.binary(max_size=200)
        | st.dictionaries(
            st.sampled_from(["topic", "client", "user", "vapid", "x"]),
            st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        ).map(lambda fields: json.dumps(fields).encode())
    )
    def test_whatever_comes(self, body: bytes) -> None:
        """Any body registers an endpoint or is refused with a reason."""
        answer = self.request("POST", "/v1/up", body, ADA)
        if answer.status != 201:
            self.assertIn(answer.code, (40000, 40009, 40010, 40024, 40301, 42900), body)


class OwnTests(UnifiedPushCase):
    """GET /v1/up, DELETE /v1/up/<id>"""

    def test_listing(self) -> None:
        """A user sees its own endpoints, and of none the URL."""
        told = self.register(topic="a")
        self.register(login="", topic="b")
        listed = self.request("GET", "/v1/up", headers=ADA)
        (endpoint,) = listed.json["endpoints"]
        self.assertEqual((endpoint["id"], endpoint["topic"]), (told["id"], "a"))
        self.assertNotIn(told["endpoint"].rpartition("/")[2], listed.body.decode())
        self.assertEqual(self.request("GET", "/v1/up").code, 40301)

    def test_removed_by_id(self) -> None:
        """Then it is gone: senders are told to forget it, and it is listed no more."""
        told = self.register()
        self.assertEqual(self.request("DELETE", f"/v1/up/{told['id']}", headers=ADA).json, {"success": True})
        for method in ("POST", "GET", "DELETE"):
            self.assertEqual(self.request(method, told["path"], b"x", ADA).code, 41000)
        self.assertEqual(self.request("GET", "/v1/up", headers=ADA).json, {"endpoints": []})
        self.assertEqual(self.request("DELETE", f"/v1/up/{told['id']}", headers=ADA).code, 40400)

    def test_removed_by_url(self) -> None:
        """Its owner may use the URL, too. Who only knows that is a sender, and may not."""
        told = self.register()
        self.assertEqual(self.request("DELETE", told["path"]).code, 40301)
        self.assertEqual(self.push(told["path"]).status, 201)
        self.assertEqual(self.request("DELETE", told["path"], headers=ADA).status, 200)

    def test_another_users(self) -> None:
        """What ada has registered nobody else can remove, by whatever name."""
        told = self.register()
        self.assertEqual(self.request("DELETE", f"/v1/up/{told['id']}").code, 40400)
        self.assertEqual(self.push(told["path"]).status, 201)

    def test_nobodys(self) -> None:
        """An endpoint of nobody's is removed by who knows its id, and not by who knows its URL."""
        told = self.register(login="")
        self.assertEqual(self.request("DELETE", told["path"]).code, 40301)
        self.assertEqual(self.request("DELETE", f"/v1/up/{told['id']}").status, 200)
        self.assertEqual(self.push(told["path"]).code, 41000)


class PushTests(UnifiedPushCase):
    """POST /v1/up/<secret>"""

    def test_byte_for_byte(self) -> None:
        """What is sent arrives, whatever it is; 201 says where it is and how long it waits."""
        told = self.register(topic="alerts")
        phone = self.rig.connect("phone")
        phone.subscribe("alerts")
        body = bytes(range(256)) * 16
        for method in ("POST", "PUT"):
            answer = self.request(method, told["path"], body, "TTL: 60\r\n")
            self.assertEqual((answer.status, answer.headers["Ttl"]), (201, "60"))
            self.assertEqual(answer.headers["Location"], f"{told['endpoint']}/{answer.json['id']}")
            (packet,) = self.got(phone)
            self.assertEqual((packet.topic, packet.payload), ("alerts", body))

    def test_headers_become_properties(self) -> None:
        """A client of version 5 learns how to decrypt it, how urgent it is and when it is too late."""
        told = self.register(topic="alerts")
        phone = self.rig.connect("phone", version=Version.V5)
        phone.subscribe("alerts")
        self.push(told["path"], b"x", "TTL: 60\r\nUrgency: high\r\nContent-Encoding: aes128gcm\r\n")
        (packet,) = self.got(phone)
        self.assertEqual(
            packet.properties[PropertyId.USER_PROPERTY],
            [("content-encoding", "aes128gcm"), ("urgency", "high"), ("priority", "4")],
        )
        self.assertEqual(packet.properties[PropertyId.MESSAGE_EXPIRY_INTERVAL], 60)

    def test_waits_for_the_device(self) -> None:
        """Whoever listens is not asked for: a device that is away finds it within its TTL, and not later."""
        told = self.register(topic="alerts")
        phone = self.rig.connect("phone", clean=False)
        phone.subscribe("alerts", qos=1)
        phone.drop()
        self.assertEqual(self.push(told["path"], b"short", "TTL: 10\r\n").status, 201)
        self.assertEqual(self.push(told["path"], b"long", "TTL: 100\r\n").status, 201)
        self.rig.clock.advance(11)
        back = self.rig.connect("phone", clean=False)
        self.assertEqual([packet.payload for packet in self.got(back)], [b"long"])

    def test_only_now(self) -> None:
        """With TTL 0 it is for who is connected."""
        told = self.register(topic="alerts")
        here, away = (self.rig.connect(name, clean=False) for name in ("here", "away"))
        for phone in (here, away):
            phone.subscribe("alerts", qos=1)
        away.drop()
        self.assertEqual(self.push(told["path"], b"now", "TTL: 0\r\n").headers["Ttl"], "0")
        self.assertEqual([(packet.payload, packet.qos) for packet in self.got(here)], [(b"now", 0)])
        self.assertEqual(self.got(self.rig.connect("away", clean=False)), [])

    def test_right_to_a_session(self) -> None:
        """An endpoint for a client or a user needs no subscription, and reaches nobody else."""
        phone, tablet = (self.rig.connect(name, username="ada") for name in ("phone", "tablet"))
        stranger = self.rig.connect("stranger", username="ben")
        stranger.subscribe("#")
        self.push(self.register(client="phone", topic="chat")["path"], b"one")
        self.push(self.register(user="ada", topic="chat")["path"], b"both")
        self.assertEqual([packet.payload for packet in self.got(phone)], [b"one", b"both"])
        self.assertEqual([(packet.topic, packet.payload) for packet in self.got(tablet)], [("chat", b"both")])
        self.assertEqual(self.got(stranger), [])

    def test_session_of_somebody_else_by_now(self) -> None:
        """A client id that another user has taken meanwhile is not pushed to."""
        told = self.register(client="phone")
        thief = self.rig.connect("phone", username="ben")
        self.assertEqual(self.push(told["path"]).code, 40301)
        self.assertEqual(self.got(thief), [])

    def test_in_the_name_of_its_owner(self) -> None:
        """An owner that may not publish there any more has no endpoint that could."""
        told = self.register(topic="alerts")
        self.rules.refused.add((Access.WRITE, "alerts"))
        self.assertEqual(self.push(told["path"]).code, 40301)

    def test_refused(self) -> None:
        """What is no push is refused, and nothing is charged for it."""
        told = self.register()
        for body, headers, code in (
            (b"", "", 40000), (b"x" * 4097, "", 41301), (b"x", "TTL: soon\r\n", 40000),
            (b"x", "Urgency: now\r\n", 40000), (b"x", "Content-Encoding: gzip\r\n", 40000),
        ):  # fmt: skip
            self.assertEqual(self.push(told["path"], body, headers).code, code)
        self.assertEqual(self.charged, [])

    def test_unknown(self) -> None:
        """An endpoint that never was is not found, whatever its name looks like; there is no redirect."""
        for name in ("x" * 43, "x", "%00", "..", "a%2Fb", "%F0%9F%92%A9", "x/"):
            self.assertEqual(self.push(f"/v1/up/{name}").json["http"], 404, name)

    def test_too_many(self) -> None:
        """Who pushes too often to one endpoint is told when to come back."""
        told = self.register()

        def refuse(endpoint: Endpoint) -> None:
            self.assertEqual(endpoint.id, told["id"])
            raise Refusal(problems.TOO_MANY_REQUESTS, b"Retry-After: 3\r\n")

        self.charge = refuse  # type: ignore[method-assign]
        self.service = self.service.__class__(self.endpoints, self.service.courier, refuse, lambda: NOW)
        self.caller = self.new_caller()
        answer = self.push(told["path"])
        self.assertEqual((answer.code, answer.headers["Retry-After"]), (42901, "3"))

    def test_sender_is_nobody(self) -> None:
        """Neither credentials that are wrong nor a gateway closed to nobody matter to who has the URL."""
        told = self.register()
        self.caller.doorkeeper.anonymous = ReasonCode.NOT_AUTHORIZED
        self.assertEqual(self.push(told["path"], headers="Authorization: WebPush x\r\n").status, 201)
        self.assertEqual(self.push(told["path"], headers=BEN).status, 201)

    def test_discovery(self) -> None:
        """A sender may ask first."""
        told = self.register()
        self.assertEqual(self.request("GET", told["path"]).json, {"unifiedpush": {"version": 1}})
        self.assertEqual(self.request("GET", "/v1/up/unknown").code, 40400)


class VapidTests(UnifiedPushCase):
    """RFC 8292 §4"""

    def setUp(self) -> None:
        super().setUp()
        self.sender = Sender()
        self.path = self.register(vapid=self.sender.key)["path"]

    def test_bound_to_a_key(self) -> None:
        """401 without a token, 403 with one of somebody else or for somebody else, 201 with the right one."""

        def header(sender: Sender, audience: str) -> str:
            return f"Authorization: {sender.authorization(audience, NOW + 60)}\r\n"

        self.assertEqual(self.push(self.path).code, 40100)
        self.assertEqual(self.push(self.path, headers=header(Sender(), BASE)).code, 40300)
        self.assertEqual(
            self.push(self.path, headers=header(self.sender, "https://other.example")).code, 40300
        )
        self.assertEqual(self.push(self.path, headers=header(self.sender, BASE)).status, 201)

    def test_no_charge(self) -> None:
        """Who cannot sign cannot use up what the endpoint takes either, nor withdraw anything."""
        self.push(self.path)
        self.assertEqual(self.request("DELETE", f"{self.path}/abcdefABCDEF").code, 40100)
        self.assertEqual(self.charged, [])

    def test_not_bound(self) -> None:
        """Elsewhere a token is not looked at."""
        path = self.register()["path"]
        self.assertEqual(self.push(path, headers="Authorization: vapid t=x, k=y\r\n").status, 201)


class WithdrawalTests(UnifiedPushCase):
    """DELETE of what a push was answered with as its Location, for a device that is away."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.register(topic="alerts")["path"]
        phone = self.rig.connect("phone", clean=False)
        phone.subscribe("alerts", qos=1)
        phone.drop()

    def pushed(self, body: bytes, headers: str = "TTL: 60\r\n") -> str:
        """:return: the path of the message."""
        return self.push(self.path, body, headers).headers["Location"].removeprefix(BASE)

    def waiting(self) -> list[bytes]:
        """What the device finds when it comes."""
        return [packet.payload for packet in self.got(self.rig.connect("phone", clean=False))]

    def kept(self) -> list[bytes]:
        """What readers of a stream find."""
        found = self.successResultOf(self.rig.broker.archive.find(KeptQuery(("alerts",))))
        return [each.message.payload for each in found]

    def withdraw(self, message: str) -> Answer:
        return self.request("DELETE", message)

    def test_before_it_is_sent(self) -> None:
        """It is not sent any more, and neither are readers of streams told of it; the others are."""
        messages = [self.pushed(body) for body in (b"a", b"b", b"c")]
        answer = self.withdraw(messages[1])
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(self.waiting(), [b"a", b"c"])
        self.assertEqual(self.kept(), [b"a", b"c"])

    def test_twice(self) -> None:
        """There is nothing more to take back, and nothing of what never was."""
        message = self.pushed(b"a")
        self.assertEqual(self.withdraw(message).status, 204)
        self.assertEqual(self.withdraw(message).code, 40400)
        for name in ("x", "abcdefABCDEF", "abcdefABCDEF.t", "%00", "a%2Fb"):
            self.assertEqual(self.withdraw(f"{self.path}/{name}").json["http"], 404, name)

    def test_replaced(self) -> None:
        """Of pushes with one Topic the last waits; to withdraw one before it leaves that alone."""
        older, newer = (self.pushed(body, "Topic: news\r\n") for body in (b"a", b"b"))
        self.assertTrue(newer.endswith(".news"))
        self.withdraw(older)
        self.assertEqual(self.waiting(), [b"b"])

    def test_last_of_its_topic(self) -> None:
        """That can be withdrawn."""
        messages = [self.pushed(body, "Topic: news\r\n") for body in (b"a", b"b")]
        self.assertEqual(self.withdraw(messages[1]).status, 204)
        self.assertEqual(self.waiting(), [])

    def test_by_another_endpoint(self) -> None:
        """An endpoint's URL is good for its own messages, though both are for one topic."""
        message, other = self.pushed(b"a"), self.register(topic="alerts")["path"]
        self.assertEqual(self.withdraw(f"{other}/{message.rpartition('/')[2]}").code, 40400)
        self.assertEqual((self.waiting(), self.kept()), ([b"a"], [b"a"]))

    def test_right_to_a_session(self) -> None:
        """The same where it was not published."""
        self.rig.connect("tablet", clean=False, username="ada").drop()
        for fields in ({"user": "ada"}, {"client": "tablet"}):
            self.path = self.register(**fields)["path"]
            self.assertEqual(self.withdraw(self.pushed(b"x")).status, 204)
        self.assertEqual(self.got(self.rig.connect("tablet", clean=False, username="ada")), [])
