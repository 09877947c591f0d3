"""
ntfy's contract for those who publish, line by line, with curl: where to, what with, and what is
answered.

Who reads is in test_ntfy_reading.py, what is refused in test_ntfy_problems.py.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import quote

from tests.clients.ntfy_case import ID, Object, SurfaceCase

# parameter -> its names, a value, and the field that shows it. Each name is a header, and in the query the
# same in lower case.
NAMES: dict[str, tuple[tuple[str, ...], str, str, object]] = {
    "message": (("X-Message", "Message", "m"), "from a parameter", "message", "from a parameter"),
    "title": (("X-Title", "Title", "t"), "größer", "title", "größer"),
    "priority": (("X-Priority", "Priority", "prio", "p"), "high", "priority", 4),
    "tags": (("X-Tags", "Tags", "Tag", "ta"), "a b, c:d", "tags", ["a b", "c:d"]),
    "click": (("X-Click", "Click"), "mailto:a@b.example", "click", "mailto:a@b.example"),
    "icon": (("X-Icon", "Icon"), "https://e.org/i.png", "icon", "https://e.org/i.png"),
    "markdown": (("X-Markdown", "Markdown", "md"), "yes", "content_type", "text/markdown"),
    "sequence": (("X-Sequence-ID", "Sequence-ID", "SID"), "door-1", "sequence_id", "door-1"),
}
DELAYS = ("X-Delay", "Delay", "X-At", "At", "X-In", "In")
# What is taken and shows in no field.
SILENT = (
    "X-Cache: no", "Cache: no", "X-Firebase: no", "Firebase: no", "X-Email: no", "X-Call: no",
    "Priority: u=4, i", "Priority: u=4", "X-Markdown: no",
)  # fmt: skip

PRIORITIES = {
    "1": 1, "min": 1, "2": 2, "low": 2, "3": 3, "default": 3, "4": 4, "high": 4, "5": 5, "max": 5,
    "urgent": 5,
}  # fmt: skip

FIRST = "view, Open, https://e.org/door, clear=true"
SECOND = "http, Close, https://e.org/close, method=PUT, headers.X-Key=1, body='{\"a\": 1}'"
THIRD = "broadcast, Call, extras.number=1"
ACTIONS = f"{FIRST}; {SECOND}; {THIRD}"
AS_JSON = json.dumps([{"action": "copy", "label": "Copy", "value": "4711"}])


class RequestTests(SurfaceCase):
    """Where somebody publishes"""

    def test_a_body_to_a_topic(self) -> None:
        """PUT and POST; the body is the message."""
        for method in ("PUT", "POST"):
            shown = self.push("/t1", "-X", method, "-d", method)
            self.assertEqual((shown["event"], shown["topic"], shown["message"]), ("message", "t1", method))
            self.assert_near(shown["time"], time.time())
            self.assertEqual(shown["expires"], shown["time"] + 12 * 3600)

    def test_an_object_to_the_root(self) -> None:
        """Whatever its Content-Type says; and by PUT."""
        body = json.dumps({"topic": "t2", "message": "hello", "title": "T", "priority": 4, "tags": ["x"]})
        for flags in ((), ("-H", "Content-Type: application/json"), ("-X", "PUT"), ("-H", "Content-Type:")):
            shown = self.push("/", "-d", body, *flags)
            said = [shown[name] for name in ("topic", "message", "title", "priority", "tags")]
            self.assertEqual(said, ["t2", "hello", "T", 4, ["x"]])

    def test_a_url_to_open(self) -> None:
        """publish, send and trigger; without a message it is "triggered"."""
        for name in ("publish", "send", "trigger"):
            self.assertEqual(self.push(f"/t3/{name}")["message"], "triggered")
            self.assertEqual(self.push(f"/t3/{name}?message=hi")["message"], "hi")
            self.assertEqual(self.push(f"/t3/{name}?m=hi&t=T&p=5")["priority"], 5)

    def test_a_sequence(self) -> None:
        """Published, replaced, cleared, deleted, and published again; each of them an event."""
        for method in ("POST", "PUT"):
            self.assertEqual(self.push("/t4/door", "-X", method, "-d", "one")["sequence_id"], "door")
        for name in ("clear", "read"):
            self.assert_event(self.push(f"/t4/door/{name}", "-X", "PUT"), "message_clear")
        self.assert_event(self.push("/t4/door", "-X", "DELETE"), "message_delete")
        self.assertEqual(self.push("/t4/door", "-d", "again")["message"], "again")
        events = [shown["event"] for shown in self.poll("t4")]
        self.assertEqual(events[-2:], ["message_delete", "message"])

    def assert_event(self, shown: Object, event: str) -> None:
        self.assertEqual([shown[name] for name in ("event", "topic", "sequence_id")], [event, "t4", "door"])
        self.assertNotIn("message", shown)

    def test_deleted_before_its_time(self) -> None:
        """A sequence that is scheduled is cancelled."""
        self.push("/t5/later", "-d", "x", "-H", "In: 1h")
        self.assertEqual(self.polled("t5", query="&sched=1"), ["x"])
        self.push("/t5/later", "-X", "DELETE")
        self.assertEqual([shown["event"] for shown in self.poll("t5", query="&sched=1")], ["message_delete"])

    def test_matrix(self) -> None:
        """A homeserver asks whether this is a gateway of its kind, and pushes."""
        reply = self.ask("/_matrix/push/v1/notify")
        self.assertEqual(reply.object, {"unifiedpush": {"gateway": "matrix"}})
        key = f"http://localhost:{self.broker.port('http')}/upAbCdEfGhIjKl?up=1"
        pushed = {"notification": {"devices": [{"pushkey": key}]}}
        reply = self.ask("/_matrix/push/v1/notify", "-d", json.dumps(pushed))
        self.assertEqual((reply.status, reply.object), (200, {"rejected": []}))
        self.assertEqual(json.loads(self.polled("upAbCdEfGhIjKl")[0]), pushed)

    def test_topics(self) -> None:
        """1 to 64 letters."""
        for topic in ("a", "Az09-_", "x" * 64):
            self.assertEqual(self.push(f"/{topic}", "-d", "x")["topic"], topic)


class ParameterTests(SurfaceCase):
    """What somebody may say about a message"""

    def test_every_name(self) -> None:
        """As a header in any case, and in the query in lower case."""
        for names, value, field, wanted in NAMES.values():
            for name in names:
                for spelt in (name, name.lower(), name.upper()):
                    self.assertEqual(self.push("/p1", "-X", "POST", "-H", f"{spelt}: {value}")[field], wanted)
                shown = self.push(f"/p1?{name.lower()}={quote(value)}", "-X", "POST")
                self.assertEqual(shown[field], wanted, name)

    def test_which_goes_first(self) -> None:
        """An earlier name before a later one, and a header before the query."""
        for names, value, field, wanted in NAMES.values():
            later = tuple(flag for name in names[1:] for flag in ("-H", f"{name}: 2"))
            query = f"?{names[0].lower()}=1"
            shown = self.push(f"/p2{query}", "-d", "", *later, "-H", f"{names[0]}: {value}")
            self.assertEqual(shown[field], wanted, names)

    def test_priorities(self) -> None:
        """By number and by name."""
        for said, wanted in PRIORITIES.items():
            self.assertEqual(self.push("/p3", "-d", "x", "-H", f"Priority: {said}")["priority"], wanted)

    def test_taken_and_not_shown(self) -> None:
        """Nothing is said about them."""
        for header in SILENT:
            shown = self.push("/p4", "-d", "x", "-H", header)
            self.assertEqual(shown.keys() - {"expires"}, {"id", "time", "event", "topic", "message"}, header)

    def test_not_kept(self) -> None:
        """``Cache: no`` has no time when it expires, and is not there for who comes later."""
        self.assertNotIn("expires", self.push("/p5", "-d", "x", "-H", "X-Cache: no"))
        self.assertNotIn("expires", self.push("/p5?cache=no", "-d", "x"))
        self.assertEqual(self.poll("p5"), [])

    def test_delays(self) -> None:
        """The time is the future one; as a duration, as a time, in words; under each name."""
        now = int(time.time())
        for name in DELAYS:
            for path, flags in (("/p6", ("-H", f"{name}: 30m")), (f"/p6?{name.lower()}=30m", ())):
                self.assert_near(self.push(path, "-d", "x", *flags)["time"], now + 1800)
        for said, delay_s in (("2 hours", 7200), ("2 days", 172_800), (f"{now + 600}", 600)):
            shown = self.push("/p6", "-d", "x", "-H", f"At: {said}")
            self.assert_near(shown["time"], now + delay_s)
        self.assertGreater(self.push("/p6", "-d", "x", "-H", "At: tomorrow, 10am")["time"], now)

    def test_actions(self) -> None:
        """In ntfy's own words and in JSON; each has an id in the end."""
        for name in ("X-Actions", "Actions", "Action"):
            actions = self.push("/p7", "-d", "x", "-H", f"{name}: {ACTIONS}")["actions"]
            self.assertEqual([one["action"] for one in actions], ["view", "http", "broadcast"])
            for one in actions:
                self.assertTrue(one.pop("id"))
        self.assertEqual(actions[0] | {"clear": True}, actions[0])
        wanted = {
            "url": "https://e.org/close",
            "method": "PUT",
            "headers": {"X-Key": "1"},
            "body": '{"a": 1}',
        }
        self.assertEqual(actions[1] | wanted, actions[1])
        self.assertEqual(actions[2]["extras"], {"number": "1"})
        (action,) = self.push("/p7", "-d", "x", "-H", f"Actions: {AS_JSON}")["actions"]
        self.assertEqual((action["action"], action["value"]), ("copy", "4711"))
        (action,) = self.push("/p7", "-d", "x", "-H", "Actions: copy, Copy, 4711")["actions"]
        self.assertEqual((action["action"], action["value"]), ("copy", "4711"))

    def test_an_action_without_a_method_is_post(self) -> None:
        """Whether it is written down or meant."""
        (action,) = self.push("/p7", "-d", "x", "-H", "Actions: http, Go, https://e.org/")["actions"]
        self.assertEqual(action.get("method", "POST"), "POST")

    def test_text_of_headers(self) -> None:
        """UTF-8 as it is and RFC 2047's words; a ``\\n`` in a message is a new line."""
        for value in ("größer", "=?UTF-8?B?Z3LDtsOfZXI=?=", "=?utf-8?q?gr=C3=B6=C3=9Fer?="):
            self.assertEqual(self.push("/p8", "-d", "x", "-H", f"Title: {value}")["title"], "größer")
        for path, flags in (("/p8", ("-H", r"Message: a\nb")), (r"/p8?m=a%5Cnb", ())):
            self.assertEqual(self.push(path, "-X", "PUT", *flags)["message"], "a\nb")

    def test_markdown_by_its_type(self) -> None:
        """Content-Type text/markdown."""
        shown = self.push("/p9", "-d", "**x**", "-H", "Content-Type: text/markdown")
        self.assertEqual(shown["content_type"], "text/markdown")

    def test_what_apprise_says_twice(self) -> None:
        """An object and headers in one request."""
        body = json.dumps({"topic": "p10", "message": "m", "title": "T"})
        headers = ("X-Priority: high", "X-Tags: a,b", "X-Click: https://e.org", "X-Markdown: yes")
        shown = self.push("/", "-d", body, *(flag for header in headers for flag in ("-H", header)))
        said = [shown[name] for name in ("title", "message", "priority", "tags", "click", "content_type")]
        self.assertEqual(said, ["T", "m", 4, ["a", "b"], "https://e.org", "text/markdown"])

    def test_all_of_the_object(self) -> None:
        """Each parameter is a field, too; what was nothing to Go is nothing."""
        said = {
            "topic": "p11", "message": "m", "title": "T", "priority": 5, "tags": ["a"], "click": "https://e.org",
            "icon": "https://e.org/i.png", "attach": "https://e.org/a.jpg", "filename": "b.jpg",
            "markdown": True, "sequence_id": "s", "actions": json.loads(AS_JSON), "delay": "", "email": "",
            "call": "",
        }  # fmt: skip
        shown = self.push("/", "-d", json.dumps(said))
        for name in ("message", "title", "priority", "tags", "click", "icon", "sequence_id"):
            self.assertEqual(shown[name], said[name])
        self.assertEqual(shown["attachment"], {"name": "b.jpg", "url": "https://e.org/a.jpg"})
        self.assertEqual(self.push("/", "-d", '{"topic":"p11","priority":0}')["message"], "triggered")


class BodyTests(SurfaceCase):
    """What a body is, in the order in which it is asked"""

    def file(self, content: bytes) -> str:
        """:return: curl's words for a body of these bytes."""
        Path(self.directory, "body").write_bytes(content)
        return "@body"

    def test_unified_push(self) -> None:
        """Bytes as they are, under each name; what is no text comes in base64."""
        for flags in (
            ("X-UnifiedPush: 1",),
            ("UnifiedPush: 1",),
            ("up: 1",),
            ("Content-Encoding: aes128gcm",),
        ):
            headers = [word for flag in flags for word in ("-H", flag)]
            self.assertEqual(self.push("/b1", "--data-binary", " x \n", *headers)["message"], " x \n")
            shown = self.push("/b1", "--data-binary", self.file(b"\xff\x00"), *headers)
            self.assertEqual((shown["message"], shown["encoding"]), ("/wA=", "base64"))
        self.assertEqual(self.push("/b1?up=1", "--data-binary", " x ")["message"], " x ")

    def test_a_server_of_unified_push(self) -> None:
        """A distributor asks before it tells anybody."""
        self.assertEqual(self.ask("/upAbCdEfGhIjKl?up=1").object, {"unifiedpush": {"version": 1}})

    def test_text_is_trimmed(self) -> None:
        """And nothing at all is "triggered"."""
        self.assertEqual(self.push("/b2", "--data-binary", "  x \n")["message"], "x")
        for body in ("", " \n"):
            self.assertEqual(self.push("/b2", "--data-binary", body)["message"], "triggered")

    def test_8_kib_are_a_message(self) -> None:
        """Apprise sends so much."""
        text = "x" * 8192
        shown = self.push("/b3", "--data-binary", text)
        self.assertEqual((shown["message"], "attachment" in shown), (text, False))
        shown = self.push("/", "-d", json.dumps({"topic": "b3", "message": text}))
        self.assertEqual(shown["message"], text)

    def test_attached_by_url(self) -> None:
        """It is named by its path or by whoever says so; the body is text."""
        for name in ("X-Attach", "Attach", "a"):
            shown = self.push("/b4", "-d", "x", "-H", f"{name}: https://e.org/dir/photo.jpg?x=1")
            wanted = {"name": "photo.jpg", "url": "https://e.org/dir/photo.jpg?x=1"}
            self.assertEqual((shown["message"], shown["attachment"]), ("x", wanted))
        shown = self.push("/b4?attach=https://e.org/&filename=b.jpg", "-X", "POST")
        self.assertEqual(shown["message"], "You received a file: b.jpg")
        self.assertEqual(shown["attachment"]["name"], "b.jpg")

    def test_a_file(self) -> None:
        """By its name, or because it is no text; with or without a word about it."""
        for name in ("X-Filename", "Filename", "file", "f"):
            shown = self.push("/b5", "--data-binary", "hi", "-H", f"{name}: a.txt")
            self.assertEqual(shown["message"], "You received a file: a.txt")
        self.assert_file(shown["attachment"], "a.txt", 2)
        shown = self.push("/b5?m=look", "--data-binary", self.file(b"\x89PNG\r\n\x1a\n\xff"))
        self.assertEqual(shown["message"], "look")
        self.assertEqual(shown["attachment"]["type"], "image/png")

    def assert_file(self, attachment: Object, name: str, size: int) -> None:
        self.assertEqual((attachment["name"], attachment["size"]), (name, size))
        self.assert_near(attachment["expires"], time.time() + 3 * 3600)
        self.assertRegex(attachment["url"], rf"^http://localhost:\d+/file/{ID}[A-Za-z0-9]*\.txt$")
        path = attachment["url"].removeprefix(f"http://localhost:{self.broker.port('http')}")
        self.assertEqual(self.ask(path).body, "hi")

    def test_templates(self) -> None:
        """Inline, and those that are built in; under each name."""
        body = json.dumps({"host": "db", "load": 3})
        for name in ("X-Template", "Template", "tpl"):
            flags = ("-H", f"{name}: yes", "-H", "Title: {{.host}}", "-H", "Message: load {{.load}}")
            shown = self.push("/b6", "-d", body, *flags)
            self.assertEqual((shown["title"], shown["message"]), ("db", "load 3"))
        body = json.dumps({"status": "firing", "alerts": [], "title": "T", "message": "M"})
        for name in ("github", "grafana", "alertmanager"):
            self.push(f"/b6?template={name}", "-d", body)
