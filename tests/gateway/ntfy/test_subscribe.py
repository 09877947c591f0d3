"""`pushd.gateway.ntfy.subscribe`: streams as their readers ask for them, over a broker that is there."""

from __future__ import annotations

import json

from pushd.broker.interfaces import Access
from pushd.gateway.http.streams import Places
from pushd.gateway.ntfy.subscribe import MAX_TOPICS
from tests.gateway.readers import BEAT_S, NOW, ReadersCase


class FormatTests(ReadersCase):
    """The same in four ways; the fourth, WebSocket, is in test_websocket.py."""

    def test_json(self) -> None:
        """A line for each, the first of which says that it is open."""
        end = self.read("/news,more/json")
        id = self.push("news", "hello")
        self.assertIn("Content-Type: application/x-ndjson; charset=utf-8", end.head)
        opened, said = end.objects()
        self.assertRegex(opened.pop("id"), "^[A-Za-z0-9]{12}$")
        self.assertEqual(opened, {"time": int(NOW), "event": "open", "topic": "news,more"})
        about = {"id": id, "time": int(NOW), "expires": int(NOW) + 3600, "event": "message", "topic": "news"}
        self.assertEqual(said, {**about, "message": "hello"})

    def test_sse(self) -> None:
        """An event for each; only what is no message has a type."""
        end = self.read("/news/sse")
        self.push("news", "hello")
        self.assertIn("Content-Type: text/event-stream", end.head)
        opened, said, rest = end.body.decode().split("\n\n")
        self.assertTrue(opened.startswith('event: open\ndata: {"id":'), opened)
        self.assertTrue(said.startswith('data: {"id":'), said)
        self.assertEqual((json.loads(said[6:])["message"], rest), ("hello", ""))

    def test_raw(self) -> None:
        """A line for each message, and an empty one for anything else."""
        end = self.read("/news/raw")
        self.push("news", "two\nlines")
        end.beat()
        self.assertIn("Content-Type: text/plain", end.head)
        self.assertEqual(end.body, b"\ntwo lines\n\n")

    def test_headers(self) -> None:
        """Pages of others may read it, and nothing on the way keeps it."""
        head = self.read("/news/json").head
        self.assertTrue(head.startswith("HTTP/1.1 200 OK\r\n"), head)
        for line in ("Access-Control-Allow-Origin: *", "Cache-Control: no-store", "X-Accel-Buffering: no"):
            self.assertIn(f"\r\n{line}", head)

    def test_head(self) -> None:
        """Only the headers, and no place is taken for longer."""
        for name in ("json", "sse", "raw"):
            end = self.read(f"/news/{name}", method="HEAD")
            self.assertTrue(end.head.startswith("HTTP/1.1 200 OK\r\n"))
            self.assertEqual((end.body, len(self.places), len(self.rig.broker.taps)), (b"", 0, 0))

    def test_keepalive(self) -> None:
        """Who hears nothing for two of them knows that the connection is gone."""
        end = self.read("/news/json")
        end.beat(2)
        events = [shown["event"] for shown in end.objects()]
        self.assertEqual(events, ["open", "keepalive", "keepalive"])
        end = self.read("/news/sse")
        end.beat()
        self.assertIn(b'\n\nevent: keepalive\ndata: {"id":', end.body)

    def test_bytes_that_are_no_text(self) -> None:
        """They come in base64, and say so."""
        end = self.read("/news/json")
        self.rig.connect("thermometer").publish("news", b"\xff\x00")
        self.assertEqual(end.objects()[-1]["message"], "/wA=")
        self.assertEqual(end.objects()[-1]["encoding"], "base64")


class TopicTests(ReadersCase):
    """Which topics a path names"""

    def test_several(self) -> None:
        """Each message once, however often its topic is named."""
        end = self.read("/one,two,one/json")
        for topic in ("one", "two", "three"):
            self.push(topic, topic)
        self.assertEqual(end.messages(), ["one", "two"])

    def test_levels(self) -> None:
        """An MQTT topic of several levels, among others or on its own."""
        end, alone = self.read("/home%2Fdoor,alerts/json"), self.read("/v1/subscribe/home/door/json")
        self.push("home/door", "open")
        self.push("alerts", "fire")
        self.assertEqual(end.messages(), ["open", "fire"])
        self.assertEqual(alone.messages(), ["open"])
        self.assertEqual(alone.objects()[0]["topic"], "home/door")

    def test_wildcards(self) -> None:
        """As in MQTT; each message says where it was said."""
        end = self.read("/v1/subscribe/home/%2B/%23/json")
        self.push("home/door/state", "open")
        self.push("elsewhere", "x")
        self.assertEqual([shown["topic"] for shown in end.objects()], ["home/+/#", "home/door/state"])

    def test_commas(self) -> None:
        """Behind /v1/subscribe they are part of a topic."""
        end = self.read("/v1/subscribe/a,b/json")
        self.push("a,b", "x")
        self.push("a", "y")
        self.assertEqual(end.messages(), ["x"])

    def test_what_mqtt_clients_publish(self) -> None:
        """A topic is the same topic on both sides."""
        end = self.read("/news/json")
        self.rig.connect("thermometer").publish("news", b"21.5", 1)
        self.rig.turn()
        self.assertEqual(end.messages(), ["21.5"])
        self.assertRegex(end.objects()[-1]["id"], "^[A-Za-z0-9]{12}$")

    def test_what_is_retained(self) -> None:
        """It is the last value of a topic, and nothing that was said just now."""
        self.rig.connect("thermometer").publish("news", b"21.5", retain=True)
        self.assertEqual(self.read("/news/json").messages(), [])

    def test_no_topics(self) -> None:
        """What cannot be one, in a list as well; ntfy's own names; what is nothing at all."""
        invalid = ("a,,b", "a,", ",", "a%20b", "%ff", "a" * 65, "$SYS%2Fa", "a%2F%23", "%2B", "a%00b")
        for topics in invalid:
            self.assertEqual(self.refused(f"/{topics}/json"), 40009, topics)
        self.assertEqual(self.refused("/docs/json"), 40010)
        for path in ("a%23/json", "$share/g/a/json", "%00/json"):
            self.assertEqual(self.refused(f"/v1/subscribe/{path}"), 40009, path)
        for path in ("json", "/json", "a", "a/xml", "%ff/json"):
            self.assertEqual(self.refused(f"/v1/subscribe/{path}"), 40401, path)

    def test_too_many(self) -> None:
        """Each is a subscription in the broker."""
        topics = ",".join(f"t{number}" for number in range(MAX_TOPICS + 1))
        self.assertEqual(self.refused(f"/{topics}/json"), 42904)

    def test_other_methods(self) -> None:
        """There is nothing to be posted to a stream."""
        for method in ("POST", "PUT", "DELETE"):
            self.assertEqual(self.refused("/v1/subscribe/a/json", method=method), 40401, method)


class MountedTests(ReadersCase):
    """A listener with a mount point"""

    mount_point = "tenant/"

    def test_topics(self) -> None:
        """Its callers do not see it: neither live, nor in what was said, nor in what is to come."""
        end = self.read("/news/json")
        self.push("news", "one")
        self.push("news", "later", delay_s=60)
        polled = self.read("/news/json?poll=1&scheduled=1")
        for shown in (*end.objects()[1:], *polled.objects()):
            self.assertEqual(shown["topic"], "news")
        self.assertEqual((end.messages(), polled.messages()), (["one"], ["one", "later"]))


class AccessTests(ReadersCase):
    """Who may read"""

    def forbid(self, topic: str, access: Access = Access.READ) -> None:
        self.rules.refused.add((access, topic, ""))

    def test_auth(self) -> None:
        """A reader may ask before."""
        end = self.read("/news,more/auth")
        self.assertEqual(end.refusal().json, {"success": True})
        self.forbid("more")
        self.assertEqual(self.refused("/news,more/auth"), 40301)
        self.assertEqual(self.refused("/v1/subscribe/more/auth"), 40301)

    def test_one_of_several(self) -> None:
        """Then there is nothing of the others either, live or kept."""
        self.push("news", "x")
        self.forbid("more")
        for query in ("", "?since=all", "?poll=1"):
            self.assertEqual(self.refused(f"/news,more/json{query}"), 40301)
        self.assertEqual((len(self.places), len(self.rig.broker.taps)), (0, 0))

    def test_filters(self) -> None:
        """Whoever may subscribe to a filter gets of it what it may read."""
        self.forbid("home/secret")
        end = self.read("/v1/subscribe/home/%23/json")
        self.push("home/secret", "x")
        self.push("home/door", "y")
        self.assertEqual(end.messages(), ["y"])
        self.forbid("office/#", Access.SUBSCRIBE)
        self.assertEqual(self.refused("/v1/subscribe/office/%23/json"), 40301)

    def test_lost_later(self) -> None:
        """Nothing more comes from then on, and with the next heart beat the stream ends."""
        end = self.read("/news/json")
        self.forbid("news")
        self.rig.broker.access_rules_changed()
        self.push("news", "x")
        self.assertFalse(end.is_complete)
        end.beat()
        self.assertTrue(end.is_complete)
        self.assertEqual((end.messages(), len(self.places)), ([], 0))

    def test_the_broker_stops(self) -> None:
        """A proper end: the reader comes back."""
        end = self.read("/news/json")
        self.rig.broker.stop()
        self.assertTrue(end.is_complete)

    def test_wrong_credentials(self) -> None:
        """401, before anything else is looked at."""
        wrong = "Authorization: Basic YWRhOndyb25n\r\n"
        end = self.connect()
        end.channel.dataReceived(f"GET /news/json HTTP/1.1\r\nHost: h\r\n{wrong}\r\n".encode())
        self.assertEqual(end.refusal().code, 40101)


class PlaceTests(ReadersCase):
    """How many streams there may be"""

    def test_per_caller(self) -> None:
        """One more is refused, until another has ended, in whatever way."""
        self.places = Places(lambda: 2)
        ends = [self.read("/news/json"), self.read("/news/raw")]
        self.assertEqual(self.refused("/news/json"), 42903)
        ends[0].hang_up()
        self.read("/news/json?poll=1")  # over at once
        ends.append(self.read("/news/json"))
        self.assertEqual(self.refused("/news/sse"), 42903)
        for end in ends[1:]:
            end.hang_up()
        self.assertEqual((len(self.places), len(self.rig.broker.taps)), (0, 0))

    def test_who_leaves_leaves_nothing(self) -> None:
        """No timer, no tap, nobody who watches."""
        end = self.read("/a,b/json")
        end.hang_up()
        self.push("a", "x")
        self.assertEqual((end.clock.getDelayedCalls(), len(self.rig.broker.taps)), ([], 0))
        self.assertEqual(self.rig.broker.archive._watchers, {})

    def test_interval(self) -> None:
        """As the option says."""
        end = self.read("/news/json")
        end.clock.advance(BEAT_S - 0.1)
        self.assertEqual(len(end.objects()), 1)
        end.clock.advance(0.2)
        self.assertEqual(len(end.objects()), 2)
