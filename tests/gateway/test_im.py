"""`pushd.gateway.im`: instant messages by HTTP, over a broker that is there."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.broker.interfaces import Access, Verdict
from pushd.gateway.http.events import Streams
from pushd.gateway.http.pages import Quoted
from pushd.gateway.identity.guards import Guard
from pushd.gateway.im import ImPages
from pushd.im.envelope import Envelope, Kind, Medium, Part, PartType, decode, encode
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.packets import Publish
from pushd.service.assembly import Publisher
from tests.driver import Rig
from tests.fakes import Rules
from tests.gateway.callers import NOW, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"
TO_BEN = "/v1/im/chat/ben"


class ImCase(SynchronousTestCase):
    """ada calls; ben's phone listens by MQTT."""

    def setUp(self) -> None:
        self.rules = Rules()
        self.rig = Rig(authorizer=self.rules)
        self.phone = self.rig.connect("phone", username="ben")
        self.phone.subscribe("/+/im/u/ben", qos=1)
        self.caller = self.new_caller()

    def new_caller(self, *admins: str) -> Caller:
        return Caller(admins=admins, make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        publisher = Publisher(self.rig.broker, self.rig.policy)
        pages: Any = ImPages(guard, publisher, publisher, Streams(per_caller=lambda: 2), lambda: NOW)
        return {b"v1/im": Quoted(pages.app.resource())}

    def post(self, body: Any, target: str = TO_BEN, login: str = ADA) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.caller.post(target, data, login)

    def got(self) -> list[tuple[str, Envelope]]:
        """What came to ben's phone since the last time."""
        self.rig.turn()
        came = [packet for packet in self.phone.received() if isinstance(packet, Publish)]
        return [(packet.topic, decode(packet.payload)) for packet in came]


class SendTests(ImCase):
    """POST /v1/im/NAMESPACE/UID"""

    def test_text(self) -> None:
        """It is in an envelope on the other's topic, from whom logged in, at the time of the answer."""
        answer = self.post({"text": "grüezi"})
        self.assertEqual(answer.status, 200)
        self.assertEqual({**answer.json, "id": ""}, {"id": "", "topic": "/chat/im/u/ben", "time": int(NOW)})
        self.assertRegex(answer.json["id"], "^[0-9A-Za-z]{12}$")
        envelope = Envelope("ada", int(NOW), (Part(PartType.TEXT, "grüezi"),))
        self.assertEqual(self.got(), [("/chat/im/u/ben", envelope)])

    def test_content(self) -> None:
        """Several parts, a kind and a medium."""
        parts = [
            {"ty": 1, "co": "https://h/p.png", "fn": {"name": "p.png", "size": 7}},
            {"ty": 0, "co": "see"},
        ]
        self.assertEqual(self.post({"content": parts, "kind": 2, "media": 1}).status, 200)
        ((_, envelope),) = self.got()
        self.assertEqual([part.to_object() for part in envelope.parts], parts)
        self.assertEqual((envelope.kind, envelope.medium), (Kind.PHONE_TO_PC, Medium.PICTURE))

    def test_sender_is_the_login(self) -> None:
        """Nobody speaks in another's name, whatever the body says."""
        self.post({"text": "x", "sender": "ben", "time": 1})
        self.post({"text": "x", "sender": "ben"}, login="")
        self.assertEqual([envelope.sender for _, envelope in self.got()], ["ada", ""])

    def test_access_rules(self) -> None:
        """They are asked about the caller; anonymous callers as well."""
        self.rules.refused.add((Access.WRITE, "/chat/im/u/ben"))
        for login in (ADA, ""):
            self.assertEqual(self.post({"text": "x"}, login=login).code, 40301)
        self.assertEqual(self.got(), [])

    def test_no_message(self) -> None:
        """The answer says what is wrong with it."""
        for body, told in (
            ({}, "either a text or a content"),
            ({"text": "a", "content": []}, "either a text or a content"),
            ({"text": ""}, "its text is empty"),
            ({"text": 1}, "no text"),
            (b'{"text":"\\ud800"}', "no Unicode"),
            ({"content": []}, "no content"),
            ({"content": [{"ty": 1, "co": "data:image/png,x"}]}, "not given as a link"),
            ({"text": "a", "kind": 3}, "no such kind"),
            ({"text": "a", "media": True}, "no such media"),
            ({"text": "a", "kind": None}, "no such kind"),
        ):
            answer = self.post(body)
            self.assertEqual((answer.code, told in answer.json["error"]), (40000, True), (body, answer.body))
        self.assertEqual(self.post(b"[]").code, 40024)
        self.assertEqual(self.got(), [])

    def test_hostile_names(self) -> None:
        """A name is one level of a topic, however it is spelt; no other topic can be reached."""
        for name in ("%2B", "%23", "a%2Fb", "ben%2F%23", "..%2F", "+", "a+"):
            self.assertEqual(self.post({"text": "x"}, f"/v1/im/chat/{name}").code, 40009, name)
            self.assertEqual(self.post({"text": "x"}, f"/v1/im/{name}/ben").code, 40009, name)
        for name in ("%00", "%ff", "%ed%a0%80", ""):
            self.assertEqual(self.post({"text": "x"}, f"/v1/im/chat/{name}").code, 40401, name)
        self.assertEqual(self.got(), [])

    def test_odd_names(self) -> None:
        """What is only odd is a name."""
        for name, uid in (("%252F", "%2F"), ("%3Cscript%3E", "<script>"), ("%27%22%20%C3%A4", "'\" ä")):
            self.assertEqual(
                self.post({"text": "x"}, f"/v1/im/chat/{name}").json["topic"], f"/chat/im/u/{uid}"
            )


class StreamTests(ImCase):
    """GET /v1/im/NAMESPACE/UID/sse"""

    def listen(self, uid: str = "ada", login: str = ADA) -> bytes:
        """:return: what came at once."""
        request = f"GET /v1/im/chat/{uid}/sse HTTP/1.1\r\nHost: h\r\n{login}\r\n"
        self.caller.channel.dataReceived(request.encode())
        return self.came()

    def came(self) -> bytes:
        data: bytes = self.caller.transport.value()
        self.caller.transport.clear()
        return data

    def say(self, payload: bytes) -> str:
        """:return: the event that ada is told when ben's phone publishes this."""
        self.phone.publish("/chat/im/u/ada", payload)
        return self.came().partition(b"\r\n")[2].removesuffix(b"\r\n").decode()

    def test_messages(self) -> None:
        """They come decoded."""
        self.assertIn(b"event-stream", self.listen())
        event = self.say(encode(Envelope("ben", 5, (Part(PartType.TEXT, "hi\n<b>"),), Kind.PC_TO_PHONE)))
        told = json.loads(event.removeprefix("data: "))
        content = [{"ty": 0, "co": "hi\n<b>"}]
        self.assertEqual(told, {"sender": "ben", "time": 5, "kind": 1, "media": 0, "content": content})

    def test_undecodable(self) -> None:
        """What is no envelope is told as such, and the next message comes."""
        self.listen()
        event = self.say(b"hello")
        self.assertEqual(event.split("\n")[0], "event: undecodable")
        self.assertIn("sender", self.say(encode(Envelope("ben", 5, (Part(PartType.TEXT, "hi"),)))))

    def test_only_ones_own(self) -> None:
        """Nobody reads another's messages, or has a topic without a name; an administrator may look."""
        self.assertIn(b"40301", self.listen("ben"))
        self.assertIn(b"40301", self.listen(login=""))
        self.caller = self.new_caller("ada")
        self.assertIn(b"event-stream", self.listen("ben"))

    def test_hostile_names(self) -> None:
        """Not by a wildcard either, whoever asks."""
        self.caller = self.new_caller("ada")
        for uid in ("%2B", "%23", "ada%2F%23"):
            self.assertIn(b"40009", self.listen(uid))

    def test_access_rules(self) -> None:
        """They may forbid what is one's own."""
        self.rules.refused.add((Access.SUBSCRIBE, "/chat/im/u/ada"))
        self.assertIn(b"40301", self.listen())
        self.assertEqual(len(self.rig.broker.taps), 0)

    def test_too_many(self) -> None:
        """Places are given back, of refused callers too."""
        self.rules.refused.add((Access.SUBSCRIBE, "/chat/im/u/ada"))
        for _ in range(3):
            self.assertIn(b"40301", self.listen())
        self.rules.refused.clear()
        for expected in (b"event-stream", b"event-stream", b"42903"):
            self.assertIn(expected, self.listen())
            self.caller.connect()

    def test_leaving(self) -> None:
        """Nothing is left of a reader that is gone."""
        self.listen()
        self.caller.channel.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(len(self.rig.broker.taps), 0)
        self.phone.publish("/chat/im/u/ada", b"x")

    def test_leaving_before_the_verdict(self) -> None:
        """Who does not wait for it is not listened for when it comes."""
        later: Deferred[Verdict] = Deferred()
        self.rules.later = later
        self.assertEqual(self.listen(), b"")
        self.caller.channel.connectionLost(Failure(ConnectionLost()))
        later.callback(ReasonCode.SUCCESS)
        self.assertEqual((len(self.rig.broker.taps), self.came()), (0, b""))

    def test_head(self) -> None:
        """Who asks for the headers only is not listened for."""
        self.caller.channel.dataReceived(
            f"HEAD /v1/im/chat/ada/sse HTTP/1.1\r\nHost: h\r\n{ADA}\r\n".encode()
        )
        self.assertIn(b"event-stream", self.came())
        self.assertEqual(len(self.rig.broker.taps), 0)

    def test_cut(self) -> None:
        """The broker can end it; the reader sees the proper end of an answer."""
        self.listen()
        for tap in list(self.rig.broker.taps):
            tap.cut()
        self.assertEqual(self.came(), b"0\r\n\r\n")
