"""
What ntfy's clients are refused, and in which words: each code of ntfy's that can be provoked from outside.

That an error object has no field but ntfy's is looked at with each of them (`SurfaceCase.code`).
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients.ntfy_case import AS_ADA, SurfaceCase, basic, header_value

AS_BOB = ("-u", "bob:hunter2")

UPGRADE = (
    "-H", "Upgrade: websocket", "-H", "Connection: Upgrade", "-H", "Sec-WebSocket-Version: 13",
    "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip

LIMITED = """\
allow_anonymous true
password_file passwd
acl_file acl
max_request_rate_per_user 1
max_streams_per_caller 2
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""

RESERVED = ("docs", "static", "file", "app", "metrics", "account", "settings", "signup", "login", "v1")

FOUR_ACTIONS = "Actions: " + "; ".join(["view, L, https://e.org"] * 4)

# code -> what is said with a push to /e1 that is refused with it, as headers.
HEADERS = {
    40001: ("X-Email: a@b", "X-E-Mail: a@b", "Email: a@b", "E-Mail: a@b", "mail: a@b", "e: a@b"),
    40004: ("Delay: nonsense", "At: 25:00", "In: -5m", "At: 1"),
    40005: ("Delay: 1s", "In: 9 seconds"),
    40006: ("Delay: 4 days", "At: 9999999999"),
    40007: ("X-Priority: 6", "Priority: 0", "prio: -1", "p: highest"),
    40013: ("Attach: ftp://e.org/a", "X-Attach: nonsense", "a: javascript:alert(1)"),
    40018: ("Actions: nonsense", "X-Actions: [", "Action: view, Label", FOUR_ACTIONS),
    40021: ("Icon: ftp://e.org/i.png", "X-Icon: nonsense", "Icon: data:image/png;base64,AA=="),
    40032: ("X-Call: +15551234", "Call: yes"),
}  # fmt: skip

BOMB = "{{range .a}}{{range $.a}}{{range $.a}}xxxxxxxxxx{{end}}{{end}}{{end}}"

# code -> template and body
TEMPLATES = {
    40041: (BOMB, json.dumps({"a": [0] * 30})),
    40042: ("x", "no JSON"),
    40043: ("{{.a", "{}"),
    40044: ('{{define "a"}}x{{end}}', "{}"),
    40045: ("{{index .a 5}}", '{"a": [1]}'),
}  # fmt: skip


class BadRequestTests(SurfaceCase):
    """400 and a number behind it"""

    def test_parameters(self) -> None:
        """By header, and by the same in the query."""
        for code, headers in HEADERS.items():
            for header in headers:
                self.assertEqual(self.code("/e1", "-d", "x", "-H", header), code, header)
                name, _, value = header.partition(": ")
                flags = ("-G", "--data-urlencode", f"{name.lower()}={value}", "-X", "POST")
                self.assertEqual(self.code("/e1", *flags), code, header)
        self.assertEqual(self.poll("e1"), [])

    def test_fields(self) -> None:
        """The same in an object."""
        for code, said in (
            (40004, {"delay": "nonsense"}),
            (40007, {"priority": 6}),
            (40013, {"attach": "nonsense"}),
            (40018, {"actions": [{"action": "dance", "label": "x"}]}),
            (40021, {"icon": "nonsense"}),
            (40001, {"email": "a@b.example"}),
            (40032, {"call": "yes"}),
        ):
            body = json.dumps({"topic": "e2", "message": "x", **said})
            self.assertEqual(self.code("/", "-d", body), code, said)

    def test_a_delay_that_nobody_keeps(self) -> None:
        """40002."""
        self.assertEqual(self.code("/e3", "-d", "x", "-H", "Delay: 1h", "-H", "Cache: no"), 40002)

    def test_since(self) -> None:
        """Which is neither an id, nor a time, nor a duration."""
        for since in ("nonsense", "12x", "1h2", "-5m", "all,none"):
            self.assertEqual(self.code(f"/e4/json?poll=1&since={since}"), 40008, since)
            self.assertEqual(self.code("/e4/sse", "-H", f"X-Since: {since}"), 40008, since)

    def test_topics(self) -> None:
        """Publishing takes one, of ntfy's letters; all but one method have ntfy's own names refused."""
        for topic in ("a.b", "a%20b", "%C3%A4", "x" * 65, "a,b", "%2B", "%23", "%24SYS", "a%00b", "a%0D%0Ab"):
            self.assertEqual(self.code(f"/{topic}", "-d", "x"), 40009, topic)
            self.assertEqual(self.code(f"/{topic}/publish"), 40009, topic)
        for topic in ("a.b", "x" * 65, "ok,a.b", "ok,", ""):
            self.assertEqual(self.code(f"/{topic}/json?poll=1"), 40009, topic)
        for topic in RESERVED:
            self.assertEqual(self.code(f"/{topic}", "-d", "x"), 40010, topic)
            self.assertEqual(self.code("/", "-d", json.dumps({"topic": topic})), 40010, topic)

    def test_no_websocket(self) -> None:
        """Somebody looks with a browser."""
        self.assertEqual(self.code("/e5/ws"), 40016)

    def test_no_object(self) -> None:
        """With a topic in it."""
        for body in ("no JSON", "[]", "1", '{"topic": 1}', '{"topic": "a", "tags": 5.5}', "{" * 1000, "\x01"):
            self.assertEqual(self.code("/", "-d", body), 40024, body[:20])
        self.assertEqual(self.code("/", "-d", '{"message": "x"}'), 40009)

    def test_templates(self) -> None:
        """What cannot be filled, or is none."""
        for code, (template, body) in TEMPLATES.items():
            flags = ("-H", "Template: yes", "-H", f"Message: {template}", "-d", body)
            self.assertEqual(self.code("/e6", *flags), code)
        self.assertEqual(self.code("/e6?template=nosuch", "-d", "{}"), 40047)
        large = json.dumps({"a": "x" * 33_000})
        self.assertIn(self.code("/e6?template=yes&m=x", "-d", large), (41301, 41303))

    def test_signing_up(self) -> None:
        """Nobody makes an account of its own."""
        self.assertEqual(self.code("/v1/account", "-d", '{"username": "x", "password": "y"}'), 40022)


class OtherStatusTests(SurfaceCase):
    """401 to 413"""

    def test_wrong_credentials(self) -> None:
        """In each way that there is to show some."""
        wrong = basic("ada", "wrong")
        for path, flags in (
            ("/e7", ("-u", "ada:wrong")),
            ("/e7", ("-u", "nobody:secret")),
            ("/e7", ("-H", "Authorization: Bearer tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2")),
            ("/e7", ("-u", ":tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2")),
            (f"/e7?auth={header_value(wrong)}", ()),
            (f"/e7?authorization={header_value(wrong)}", ()),
        ):
            self.assertEqual(self.code(path, "-d", "x", *flags), 40101, (path, flags))
            self.assertEqual(self.code(path.replace("/e7", "/e7/auth"), *flags), 40101)

    def test_not_for_everybody(self) -> None:
        """403, also for those who have shown nothing."""
        for flags in ((), AS_BOB):
            self.assertEqual(self.code("/adas", "-d", "x", *flags), 40301)
            for name in ("json", "sse", "raw", "auth"):
                self.assertEqual(self.code(f"/adas,bobs/{name}", *flags), 40301, name)
            self.assertEqual(self.code("/bobs,adas/ws", *flags, *UPGRADE), 40301)
        for path in ("/v1/users", "/v1/version"):
            self.assertEqual(self.code(path, *AS_BOB), 40301)

    def test_not_found(self) -> None:
        """Whatever is asked for in whatever way: a page that there is not, never one of HTML."""
        for path in ("/no/such/page", "/v1/nosuch", "/file/AbCdEfGhIjKl.txt", "/e8/nosuch", "/../etc/passwd"):
            self.assertEqual(self.code(path), 40401, path)
        for method in ("DELETE", "PATCH", "TRACE", "PROPFIND"):
            self.assertEqual(self.code("/e8", "-X", method), 40401, method)

    def test_too_large(self) -> None:
        """A file, and an object."""
        Path(self.directory, "large").write_bytes(b"\xff" * 110_000)
        self.assertEqual(self.code("/e9", "-T", "large"), 41301)
        self.assertEqual(self.code("/e9", "-T", "large", "-H", "Transfer-Encoding: chunked"), 41301)
        Path(self.directory, "object").write_text(json.dumps({"topic": "e9", "message": "x" * 140_000}))
        self.assertEqual(self.code("/", "-d", "@object"), 41303)

    def test_too_many_topics(self) -> None:
        """In one subscription."""
        self.assertEqual(self.code("/" + ",".join(f"t{n}" for n in range(300)) + "/json?poll=1"), 42904)

    def test_too_many_bytes(self) -> None:
        """Of one user, in files; a text is still taken."""
        Path(self.directory, "full").write_bytes(b"\xff" * 100_000)
        statuses = [self.ask("/bobs", "-T", "full", *AS_BOB).status for _ in range(10)]
        self.assertEqual(statuses, [200] * 10)
        self.assertEqual(self.code("/bobs", "-T", "full", *AS_BOB), 42905)
        self.assertEqual(self.ask("/bobs", "-d", "x", *AS_BOB).status, 200)


class LimitTests(SurfaceCase):
    """A gateway that takes no files, and not much of anything"""

    settings = LIMITED

    def test_files(self) -> None:
        """40014, whatever makes a body one."""
        Path(self.directory, "binary").write_bytes(b"\xff\xfe")
        self.assertEqual(self.code("/l1", "-T", "binary"), 40014)
        self.assertEqual(self.code("/l1?filename=a.txt", "-d", "x"), 40014)

    def test_requests(self) -> None:
        """42901 after ten at once, and when to come again."""
        replies = [self.ask("/l2", "-d", "x", *AS_ADA) for _ in range(40)]
        refused = [reply for reply in replies if reply.status != 200]
        self.assertTrue(refused)
        self.assertEqual({reply.object["code"] for reply in refused}, {42901})
        self.assertGreaterEqual(int(refused[0].headers["retry-after"]), 1)

    def test_subscriptions(self) -> None:
        """42903; one that has ended is none."""
        readers = [self.reader("/bobs/json", *AS_BOB) for _ in range(2)]
        for reader in readers:
            reader.wait_for('"event":"open"')
        self.assertEqual(self.code("/bobs/json", *AS_BOB), 42903)


class GuessingTests(SurfaceCase):
    """A gateway where not many passwords can be tried"""

    settings = LIMITED + "max_login_failures 3\n"

    def test_failed_logins(self) -> None:
        """42909 after some, and then for the right password too; with when to come again."""
        codes = [self.code("/l4", "-d", "x", "-u", f"eve:{number}") for number in range(5)]
        self.assertEqual(codes, [40101] * 3 + [42909] * 2)
        self.assertIn("retry-after", self.ask("/l4", "-u", "eve:x", "-d", "x").headers)
