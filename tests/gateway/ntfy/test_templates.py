"""`pushd.gateway.ntfy.templates`: messages made of somebody else's JSON."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.problems import Refusal
from pushd.gateway.ntfy.templates import (
    BUILT_IN,
    MAX_JSON_BYTES,
    MAX_TEMPLATE_LENGTH,
    Filled,
    Templates,
    read_file,
    read_json,
    render,
)

ALERT = b'{"status":"firing","alerts":[{"labels":{"name":"cpu"}},{"labels":{"name":"disk"}}]}'

NOTHING = Filled(None, None, None)

# What a template is made of, for one that makes no sense.
_PIECES = st.sampled_from(
    [
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "|",
        "(",
        ")",
        ".a",
        ".b",
        ".",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        '"t"',
        "1",
        "9999",
        "é",
    ]
) | st.sampled_from(
    [
        "if ",
        "else ",
        "end",
        "range ",
        "with ",
        "until ",
        "printf ",
        "%999d",
        "repeat ",
        "list ",
        "index ",
        "print ",
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abc"), inner),
)

# Each would take for ever, or all memory, if nobody counted.
GREEDY = (
    "{{range until 5000}}{{range until 5000}}{{range until 5000}}{{.}}{{end}}{{end}}{{end}}",
    '{{$t := "a"}}{{range until 5000}}{{$t = replace "a" "aaaaaaaaaa" $t}}{{end}}{{$t}}',
    "{{$l := list}}{{range until 5000}}{{$l = list $l $l $l}}{{end}}{{toJSON $l}}",
    '{{range until 5000}}{{$x := printf "%999d%999d%999d%999d" 1 2 3 4}}{{end}}',
    '{{range until 5000}}{{$x := repeat 100000 "a" | upper | replace "A" "b"}}{{end}}',
    "{{range until 5000}}{{$x := until 5000 | reverse}}{{end}}",
    '{{range until 5000}}{{$x := splitList "" (repeat 100000 "a")}}{{end}}',
    "{{$x := 7}}{{range until 5000}}{{$x = mul $x $x}}{{end}}{{$x}}",
    '{{range until 5000}}{{$x := sha512sum (repeat 100000 "a")}}{{end}}',
    "{{" + "(" * 16_000,
    "{{if 1}}" * 4_000,
    "{{/*" * 8_000,
    "{{ " + " " * 32_000,
    '{{ "' + "\\" * 32_000,
)


def code_of(template: str, data: object = None) -> int:
    """The code of what is refused; 0 if nothing is."""
    try:
        render(template, data)
    except Refusal as refusal:
        return refusal.problem.code
    return 0


class RenderTests(SynchronousTestCase):
    """ntfy's inline templates"""

    def test_a_template_is_filled(self) -> None:
        """As in ntfy's manual."""
        names = "{{ range $i, $a := .alerts }}{{ if $i }}, {{ end }}{{ $a.labels.name }}{{ end }}"
        self.assertEqual(render("{{ .status | upper }}: " + names, read_json(ALERT)), "FIRING: cpu, disk")

    def test_white_space_round_it_goes_and_backslash_n_is_a_new_line(self) -> None:
        """A header cannot have a line's end in it."""
        self.assertEqual(render(" a\\nb \n", None), "a\nb")

    def test_half_a_character_is_replaced(self) -> None:
        """JSON can spell it, UTF-8 cannot."""
        self.assertEqual(render("{{.a}}", read_json(rb'{"a":"x\ud800"}')), "x\ufffd")

    def test_each_mistake_has_ntfys_code(self) -> None:
        """Too large, unreadable, not allowed, failed."""
        self.assertEqual(code_of('{{range until 999}}{{printf "%999d" 1}}{{end}}'), 40041)
        self.assertEqual(code_of("{{.a"), 40043)
        self.assertEqual(code_of("x" * (MAX_TEMPLATE_LENGTH + 1)), 40043)
        self.assertEqual(code_of('{{template "a"}}'), 40044)
        self.assertEqual(code_of("{{.a.b}}", {}), 40045)

    def test_nothing_takes_long(self) -> None:
        """Whatever it asks for: about a tenth of a second at the most."""
        for template in GREEDY:
            began = time.process_time()
            code_of(template)
            self.assertLess(time.process_time() - began, 1.0, template[:60])

    @settings(deadline=None, max_examples=300)
    @given(st.lists(_PIECES).map("".join) | st.text(), _JSON)
    @example("{{range .}}{{.}}{{end}}", [1, [2]])
    def test_whatever_comes_it_is_text_or_refused(self, template: str, data: Any) -> None:
        """A 500 would be our own fault."""
        try:
            render(template, data).encode()
        except Refusal as refusal:
            self.assertIn(refusal.problem.code, (40041, 40043, 40044, 40045))


class ReadJsonTests(SynchronousTestCase):
    """The body that templates look at"""

    def refused(self, body: bytes) -> int:
        code: int = self.assertRaises(Refusal, read_json, body).problem.code
        return code

    def test_any_json_will_do(self) -> None:
        """Not only an object."""
        self.assertEqual([read_json(body) for body in (b"[1]", b'"a"', b" null\n")], [[1], "a", None])

    def test_what_is_none_is_40042(self) -> None:
        """So is what is too deep to be walked through, and a number without end."""
        for body in (b"", b"{", b"\xff", b"[" * 30_000, b"[" * 60 + b"]" * 60, b"1" * 5_000, b'{"a":1}x'):
            self.assertEqual(self.refused(body), 40042, body[:20])

    def test_more_than_32_kib_is_41303(self) -> None:
        """Exactly that is fine."""
        self.assertTrue(read_json(b'"%s"' % (b"x" * (MAX_JSON_BYTES - 2))))
        self.assertEqual(self.refused(b" " * (MAX_JSON_BYTES + 1)), 41303)

    @given(st.binary() | st.text(alphabet='[]{}":,1e-.\\u').map(str.encode))
    def test_any_bytes_are_json_or_refused(self, body: bytes) -> None:
        """Never another exception."""
        try:
            read_json(body)
        except Refusal as refusal:
            self.assertEqual(refusal.problem.code, 40042)


class FileTests(SynchronousTestCase):
    """X-Template: NAME"""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.templates = Templates(lambda: folder.name, execute)

    def fill(self, said: str, texts: Filled = NOTHING, body: bytes = ALERT) -> Filled:
        return self.successResultOf(Deferred.fromCoroutine(self.templates.fill(said, texts, body)))

    def refused(self, said: str) -> int:
        refusal = self.failureResultOf(Deferred.fromCoroutine(self.templates.find(said))).value
        assert isinstance(refusal, Refusal)
        return refusal.problem.code

    def test_yes_means_the_parameters_themselves(self) -> None:
        """Those that were said."""
        texts = Filled("{{.status}}", "{{len .alerts}}", None)
        self.assertEqual(self.fill("yes", texts), Filled("firing", "2", None))

    def test_a_name_means_a_file(self) -> None:
        """Whose texts go before the parameters; it may be changed at any time."""
        (self.folder / "mine.yml").write_text('title: "{{ .status }}!"\npriority: 4\n')
        self.assertEqual(self.fill("mine", Filled("no", "no", "no")), Filled("firing!", None, "4"))
        (self.folder / "mine.yml").write_text("message: m\n")
        self.assertEqual(self.fill("mine"), Filled(None, "m", None))

    def test_a_file_of_ones_own_goes_before_ours(self) -> None:
        """So that ours can be replaced."""
        (self.folder / "github.yml").write_text("message: mine")
        self.assertEqual(self.fill("github").message, "mine")

    def test_no_name_leads_out_of_the_folder(self) -> None:
        """And what is not there is not there."""
        (self.folder.parent / "secret.yml").touch()
        for name in (
            "../secret",
            "..",
            "",
            "a/b",
            "/etc/passwd",
            "a.b",
            "nothing",
            "x" * 65,
            "a\0",
            "mine\n",
        ):
            self.assertEqual(self.refused(name), 40047, name)

    def test_a_file_without_templates_is_40048(self) -> None:
        """The log says what is wrong with it."""
        for text in ("", "a", "- a", "title", "{", "other: 1", "[" * 2_000):
            (self.folder / "bad.yml").write_text(text)
            self.assertEqual(self.refused("bad"), 40048, text[:10])


class BuiltInTests(SynchronousTestCase):
    """github, grafana, alertmanager"""

    def filled(self, name: str, data: dict[str, Any]) -> Filled:
        templates = Templates(lambda: None, execute)
        filling = templates.fill(name, Filled(None, None, None), json.dumps(data).encode())
        return self.successResultOf(Deferred.fromCoroutine(filling))

    def test_each_makes_something_of_nothing(self) -> None:
        """An event that nobody thought of is told all the same."""
        for name in os.listdir(BUILT_IN):
            if name.endswith(".yml"):
                self.assertTrue(self.filled(name.removesuffix(".yml"), {"status": "?"}).title, name)

    def test_alertmanager_tells_each_alert(self) -> None:
        """With what its rules say about it."""
        alert = {
            "status": "firing",
            "labels": {"alertname": "HighLoad", "severity": "critical", "instance": "db:9100"},
            "annotations": {"summary": "Load is high", "description": "over 9"},
        }
        data = {
            "status": "firing",
            "commonLabels": {"severity": "critical"},
            "groupLabels": {"alertname": "HighLoad"},
        }
        filled = self.filled("alertmanager", {**data, "alerts": [alert, alert]})
        self.assertEqual(filled.title, "🔥 HighLoad: 2 firing")
        lines = "Firing: Load is high\nover 9\nSeverity: critical\nInstance: db:9100"
        self.assertEqual(filled.message, f"{lines}\n\n{lines}")
        self.assertEqual(filled.priority, "5")

    def test_grafana_tells_what_grafana_wrote(self) -> None:
        """Its own title and message."""
        filled = self.filled(
            "grafana", {"status": "resolved", "title": "[RESOLVED] cpu", "message": "fine again"}
        )
        self.assertEqual((filled.title, filled.message), ("✅ [RESOLVED] cpu", "fine again"))

    def test_github_tells_pushes(self) -> None:
        """The first line of each commit."""
        commits = [{"id": "0123456789", "message": "Mend it\n\nlong", "author": {"name": "Ada"}}]
        data = {"ref": "refs/heads/main", "commits": commits, "compare": "https://x/y"}
        filled = self.filled("github", {**data, "repository": {"full_name": "a/b"}})
        self.assertEqual(filled.title, "a/b: 1 commit on main")
        self.assertEqual(filled.message, "0123456 Mend it (Ada)\nhttps://x/y")

    def test_github_tells_issues_and_pull_requests(self) -> None:
        """With who did what."""
        issue = {
            "action": "opened",
            "issue": {"number": 7, "title": "T", "html_url": "u"},
            "sender": {"login": "ada"},
        }
        filled = self.filled("github", issue)
        self.assertEqual((filled.title, filled.message), ("GitHub: issue #7 opened", "T\nada\nu"))
        pull = {
            "action": "closed",
            "pull_request": {"number": 8, "title": "P", "html_url": "u", "head": {"ref": "f"}},
        }
        filled = self.filled("github", pull)
        self.assertEqual(
            (filled.title, filled.message), ("GitHub: pull request #8 closed", "P\nsomebody, f into ?\nu")
        )

    def test_a_number_is_a_text_too(self) -> None:
        """YAML knows it as one; nothing is left out."""
        self.assertEqual(read_file("priority: 5\ntitle:\n"), Filled(None, None, "5"))
