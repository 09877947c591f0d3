"""ntfy's contract for those who read, and for those who ask who they are, line by line, with curl."""

from __future__ import annotations

import json
import re
import time

import websocket

from tests.clients.ntfy_case import AS_ADA, EVENTS, SurfaceCase, basic, header_value
from tests.processes import DEADLINE_S

# By header or in the query: name and value, and what is left of the three messages of `FilterTests`.
FILTERS = {
    "m=low": ["low"],
    "message=nothing": [],
    "X-Message: high": ["high"],
    "Title: T": ["high"],
    "title=T": ["high"],
    "t=t": [],
    "priority=2": ["low"],
    "p=low,high": ["low", "high"],
    "X-Priority: 3": ["plain"],
    "tags=a": ["low", "high"],
    "ta=a,b": ["high"],
    "Tags: b": ["high"],
}
YES = ("poll=1", "po=yes", "X-Poll: true", "Poll: 1")
# The ten figures that Home Assistant's client reads.
FIGURES = 10


class FormatTests(SurfaceCase):
    """json, sse, raw and ws"""

    def test_json(self) -> None:
        """A line for each: that it is open, which names all topics, what is said, and signs of life."""
        reader = self.reader("/r1,r2/json", "-i")
        reader.wait_for('"event":"open","topic":"r1,r2"')
        self.push("/r2", "-d", "hello")
        reader.wait_for('"topic":"r2","message":"hello"')
        self.assertIn("content-type: application/x-ndjson; charset=utf-8", reader.log().lower())
        self.assertIn("access-control-allow-origin: *", reader.log().lower())
        for line in reader.lines[reader.lines.index("") + 1 :]:
            self.checked(json.loads(line))

    def test_sse(self) -> None:
        """Messages are data alone; every other event has its name as its type."""
        reader = self.reader("/r3/sse", "-i")
        reader.wait_for('^data: .*"event":"open"')
        self.push("/r3/door", "-d", "a\nb")
        reader.wait_for('^data: .*"event":"message".*"message":"a\\\\nb"')
        self.push("/r3/door", "-X", "DELETE")
        reader.wait_for("^event: message_delete$")
        self.assertIn("content-type: text/event-stream", reader.log().lower())
        events = re.findall("(?m)^event: (?!keepalive)(.*)$", reader.log())
        self.assertEqual(events, ["open", "message_delete"])

    def test_raw(self) -> None:
        """A line for each message, and an empty one for anything else."""
        reader = self.reader("/r4/raw", "-i")
        reader.wait_for("^$")
        self.push("/r4", "-d", "a\nb")
        reader.wait_for("^a b$")
        self.push("/r4/door/clear", "-X", "PUT")
        self.push("/r4", "-d", "end")
        reader.wait_for("^end$")
        self.assertIn("content-type: text/plain", reader.log().lower())
        said = reader.lines[reader.lines.index("") + 1 :]
        self.assertEqual((said[0], [line for line in said if line]), ("", ["a b", "end"]))

    def test_ws(self) -> None:
        """A text frame for each, and pings of the server's."""
        socket = websocket.create_connection(
            f"ws://localhost:{self.broker.port('http')}/r5/ws", timeout=DEADLINE_S
        )
        self.addCleanup(socket.close)
        self.assertEqual(self.checked(json.loads(socket.recv()))["event"], "open")
        self.push("/r5", "-d", "hello")
        opcode, text = socket.recv_data()
        self.assertEqual((opcode, json.loads(text)["message"]), (websocket.ABNF.OPCODE_TEXT, "hello"))

    def test_signs_of_life(self) -> None:
        """Where nothing is said: an event; by WebSocket, a ping."""
        socket = websocket.create_connection(
            f"ws://localhost:{self.broker.port('http')}/r7/ws", timeout=DEADLINE_S
        )
        self.addCleanup(socket.close)
        ndjson, events, raw = (self.reader(f"/r7/{name}") for name in ("json", "sse", "raw"))
        ndjson.wait_for('"event":"keepalive","topic":"r7"')
        events.wait_for("^event: keepalive$")
        raw.wait_for("^$", after=1)
        socket.recv()
        self.assertEqual(socket.recv_data(control_frame=True)[0], websocket.ABNF.OPCODE_PING)

    def test_no_other_events(self) -> None:
        """Receipts, schedules and MQTT's own goings-on have no place in these streams."""
        reader = self.reader("/r6/json")
        reader.wait_for("open")
        self.curl("/v1/push", "-d", json.dumps({"targets": {"topics": ["r6"]}, "message": "with a receipt"}))
        self.push("/r6", "-d", "later", "-H", "In: 1h")
        self.publish("-t", "r6", "-m", "retained", "-r", "-q", "1", "-u", "ada", "-P", "secret")
        self.push("/r6/s", "-d", "sequence")
        self.push("/r6/s/clear", "-X", "PUT")
        self.push("/r6", "-d", "end")
        reader.wait_for('"message":"end"')
        shown = [self.checked(json.loads(line)) for line in reader.lines]
        self.assertLessEqual({one["event"] for one in shown}, set(EVENTS))
        texts = [one.get("message") for one in shown if one["event"] != "keepalive"]
        self.assertEqual(texts, [None, "with a receipt", "retained", "sequence", None, "end"])


class BacklogTests(SurfaceCase):
    """since, poll and scheduled"""

    def test_since(self) -> None:
        """all, none, latest, an id, a time, a duration; by each name."""
        ids = [self.push("/s1", "-d", text)["id"] for text in ("one", "two", "three")]
        now = int(time.time())
        for since, wanted in (
            ("all", ["one", "two", "three"]),
            ("none", []),
            ("latest", ["three"]),
            (ids[0], ["two", "three"]),
            (ids[2], []),
            ("AbCdEfGhIjKl", ["one", "two", "three"]),
            (f"{now - 600}", ["one", "two", "three"]),
            ("10m", ["one", "two", "three"]),
            ("1h30m", ["one", "two", "three"]),
        ):
            self.assertEqual(self.polled("s1", query=f"&since={since}"), wanted, since)
            self.assertEqual(self.polled("s1", query=f"&si={since}"), wanted, since)
            self.assertEqual(self.polled("s1", "-H", f"X-Since: {since}"), wanted, since)

    def test_id_of_another_topic(self) -> None:
        """Of those that are listed."""
        self.push("/s2", "-d", "one")
        id = self.push("/s3", "-d", "two")["id"]
        self.push("/s2", "-d", "three")
        self.assertEqual(self.polled("s2,s3", query=f"&since={id}"), ["three"])

    def test_poll(self) -> None:
        """What was said, without a word about being open; by each name, and in each format."""
        self.push("/s4", "-d", "x")
        for said in YES:
            flags, query = (("-H", said), "") if ":" in said else ((), f"?{said}")
            (line,) = self.ask(f"/s4/json{query}", *flags).body.splitlines()
            self.assertEqual(self.checked(json.loads(line))["message"], "x")
        self.assertEqual(self.ask("/s4/raw?poll=1").body, "x\n")
        self.assertRegex(self.ask("/s4/sse?poll=1").body, r"^data: {.*}\n\n$")

    def test_backlog_then_live(self) -> None:
        """First that it is open, then what was said, then what is said."""
        self.push("/s5", "-d", "one")
        reader = self.reader("/s5/json?since=all")
        reader.wait_for('"one"')
        self.push("/s5", "-d", "two")
        reader.wait_for('"two"')
        shown = [json.loads(line) for line in reader.lines]
        self.assertEqual([one.get("message", one["event"]) for one in shown], ["open", "one", "two"])

    def test_nothing_said_is_nothing(self) -> None:
        """Without ``since`` there is only what is being said."""
        self.push("/s6", "-d", "one")
        reader = self.reader("/s6/json")
        reader.wait_for("open")
        self.push("/s6", "-d", "two")
        reader.wait_for('"two"')
        self.assertNotIn('"one"', reader.log())

    def test_scheduled(self) -> None:
        """What is to be said, to who asks for it."""
        due = self.push("/s7", "-d", "later", "-H", "In: 1h")
        self.assertEqual(self.polled("s7"), [])
        for said in ("&scheduled=1", "&sched=1"):
            (shown,) = self.poll("s7", query=said)
            self.assertEqual([shown[name] for name in ("id", "time")], [due["id"], due["time"]])
        self.assertEqual(self.polled("s7", "-H", "X-Scheduled: 1"), ["later"])

    def test_the_same_object(self) -> None:
        """What is answered is what is read, live and later."""
        reader = self.reader("/s8/json")
        reader.wait_for("open")
        flags = ("-H", "Title: T", "-H", "Tags: a", "-H", "Priority: 5", "-H", "Click: https://e.org")
        answered = self.push("/s8", "-d", "x", *flags)
        reader.wait_for('"x"')
        live = next(shown for shown in map(json.loads, reader.lines) if shown["event"] == "message")
        self.assertEqual((live, self.poll("s8")), (answered, [answered]))


class FilterTests(SurfaceCase):
    """id, message, title, priority, tags"""

    def test_filters(self) -> None:
        """They are about messages only."""
        self.push("/f1", "-d", "low", "-H", "Priority: 2", "-H", "Tags: a")
        self.push("/f1", "-d", "high", "-H", "Priority: 4", "-H", "Tags: a,b", "-H", "Title: T")
        id = self.push("/f1", "-d", "plain")["id"]
        self.assertEqual(self.polled("f1", query=f"&id={id}"), ["plain"])
        for said, wanted in FILTERS.items():
            flags, query = (("-H", said), "") if ":" in said else ((), f"&{said}")
            self.assertEqual(self.polled("f1", *flags, query=query), wanted, said)
        self.push("/f1/s/clear", "-X", "PUT")
        self.assertEqual([one["event"] for one in self.poll("f1", query="&id=x")], ["message_clear"])


class WhoTests(SurfaceCase):
    """Auth, and what there is to know"""

    def test_ways_to_show_who_one_is(self) -> None:
        """Basic, a token in three ways, and either of them in the query."""
        made = self.ask("/v1/account/token", "-d", '{"label":"Home Assistant","expires":0}', *AS_ADA).object
        token = str(made["token"])
        self.assertRegex(token, "^tk_[A-Za-z0-9]{29}$")
        for path, flags in (
            ("/adas/auth", AS_ADA),
            ("/adas/auth", ("-u", f":{token}")),
            ("/adas/auth", ("-H", f"Authorization: Bearer {token}")),
            (f"/adas/auth?auth={header_value(basic('ada', 'secret'))}", ()),
            (f"/adas/auth?authorization={header_value(f'Bearer {token}')}", ()),
        ):
            self.assertEqual(self.ask(path, *flags).object, {"success": True}, (path, flags))
        self.assertEqual(self.code("/adas/auth"), 40301)

    def test_other_schemes(self) -> None:
        """Are none of ours, and not refused."""
        for scheme in ("WebPush x", "vapid t=a, k=b", "Digest x", "Negotiate x"):
            self.push("/w1", "-d", "x", "-H", f"Authorization: {scheme}")

    def test_account(self) -> None:
        """Of nobody: a star and ten figures; of a user: its name and its tokens."""
        account = self.ask("/v1/account").object
        self.assertEqual((account["username"], account["role"]), ("*", "anonymous"))
        self.assertEqual([type(figure) for figure in account["stats"].values()], [int] * FIGURES)
        account = self.ask("/v1/account", *AS_ADA).object
        self.assertEqual((account["username"], account["role"]), ("ada", "admin"))

    def test_tokens(self) -> None:
        """Made, changed and taken back."""
        made = self.ask("/v1/account/token", "-d", '{"label":"l"}', *AS_ADA).object
        body = json.dumps({"token": made["token"], "label": "m"})
        changed = self.ask("/v1/account/token", "-X", "PATCH", "-d", body, *AS_ADA)
        self.assertEqual((changed.status, changed.object["label"]), (200, "m"))
        bearer = ("-H", f"Authorization: Bearer {made['token']}")
        self.assertEqual(self.ask("/v1/account/token", "-X", "DELETE", *bearer).status, 200)
        # Within a second: whoever takes it back may be another process.
        until = time.monotonic() + DEADLINE_S
        while self.ask("/w2", *bearer, "-d", "x").status == 200 and time.monotonic() < until:
            pass
        self.assertEqual(self.code("/w2", "-d", "x", *bearer), 40101)

    def test_server(self) -> None:
        """Health and figures are for all."""
        self.assertEqual(self.ask("/v1/health").object, {"healthy": True})
        before = self.ask("/v1/stats").object
        self.assertEqual(before.keys(), {"messages", "messages_rate"})
        self.push("/w3", "-d", "x")
        self.assertGreater(self.ask("/v1/stats").object["messages"], before["messages"])
        self.assertIn("version", self.ask("/v1/version", *AS_ADA).object)

    def test_users_and_access(self) -> None:
        """Made, given something, seen, and removed by an administrator."""
        for method in ("POST", "PUT"):
            body = json.dumps({"username": f"u{method}", "password": "secret"})
            self.assertEqual(self.ask("/v1/users", "-X", method, "-d", body, *AS_ADA).status, 200)
        body = json.dumps({"username": "uPUT", "topic": "w4*", "permission": "read-write"})
        for method in ("POST", "PUT"):
            self.assertEqual(self.ask("/v1/users/access", "-X", method, "-d", body, *AS_ADA).status, 200)
        users = json.loads(self.ask("/v1/users", *AS_ADA).body)
        self.assertIn("uPUT", [user["username"] for user in users])
        body = json.dumps({"username": "uPUT", "topic": "w4*"})
        self.assertEqual(self.ask("/v1/users/access", "-X", "DELETE", "-d", body, *AS_ADA).status, 200)
        self.assertEqual(
            self.ask("/v1/users", "-X", "DELETE", "-d", '{"username":"uPUT"}', *AS_ADA).status, 200
        )

    def test_other_origins(self) -> None:
        """Any page may ask anything, and read what is answered, a refusal too."""
        for path in ("/w5", "/", "/v1/account", "/w5/json"):
            headers = self.ask(path, "-X", "OPTIONS", "-H", "Origin: https://e.org").headers
            self.assertEqual(headers["access-control-allow-origin"], "*", path)
            self.assertLessEqual(
                {"GET", "PUT", "POST"}, set(headers["access-control-allow-methods"].split(", "))
            )
            self.assertEqual(headers["access-control-allow-headers"], "*")
        for path in ("/w5/json?poll=1", "/v1/health", "/v1/stats", "/adas/auth", "/v1/nosuch"):
            self.assertEqual(self.ask(path).headers["access-control-allow-origin"], "*", path)
