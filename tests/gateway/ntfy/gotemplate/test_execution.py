"""`pushd.gateway.ntfy.gotemplate.execution`: what a template comes to."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.gotemplate.errors import ExecutionFailed, OutputTooLarge
from pushd.gateway.ntfy.gotemplate.execution import execute
from pushd.gateway.ntfy.gotemplate.syntax import parse

DATA: dict[str, Any] = {
    "name": "db",
    "n": 3,
    "on": True,
    "off": False,
    "tags": ["x", "y"],
    "host": {"a": 1, "b": 2},
}


def run(template: str, data: object = DATA, max_bytes: int = 1000) -> str:
    return execute(parse(template), data, max_bytes)


class ValueTests(SynchronousTestCase):
    """Pipelines"""

    def test_values_and_functions(self) -> None:
        """A pipeline's value is the last argument of what comes next."""
        self.assertEqual(
            run('{{.name}} {{.n | printf "%03d"}} {{.host.a}} {{print .tags}}'), "db 003 1 [x y]"
        )

    def test_what_is_missing_is_shown_as_such(self) -> None:
        """As Go does it; a field of what is missing is an error."""
        self.assertEqual(run("{{.no}}"), "<no value>")
        self.assertRaises(ExecutionFailed, run, "{{.no.more}}")

    def test_and_and_or_stop_where_they_can(self) -> None:
        """What is behind is not looked at, so it may be impossible."""
        self.assertEqual(run("{{and .off .no.more}} {{or .name .no.more}} {{and .on .n}}"), "false db 3")

    def test_the_number_of_arguments_counts(self) -> None:
        """Too few and too many."""
        for template in ("{{upper}}", "{{.name | upper .name}}", "{{and}}"):
            self.assertRaises(ExecutionFailed, run, template)


class BlockTests(SynchronousTestCase):
    """if, with, range"""

    def test_the_first_true_branch_counts(self) -> None:
        """Or the last."""
        template = "{{if eq .n 1}}one{{else if eq .n 3}}three{{else}}many{{end}}"
        self.assertEqual([run(template, {"n": n}) for n in (1, 3, 5)], ["one", "three", "many"])

    def test_with_moves_the_dot_and_the_dollar_stays(self) -> None:
        """The data as a whole is always there."""
        self.assertEqual(
            run("{{with .host}}{{.b}}{{$.name}}{{end}}{{.n}}{{with .no}}{{else}}-{{end}}"), "2db3-"
        )

    def test_range_goes_through_lists_and_objects(self) -> None:
        """With one variable, two or none."""
        self.assertEqual(run("{{range .tags}}{{.}}{{end}}"), "xy")
        self.assertEqual(run("{{range $i, $t := .tags}}{{$i}}{{$t}}{{end}}"), "0x1y")
        self.assertEqual(run("{{range $k, $v := .host}}{{$k}}{{$v}}{{end}}"), "a1b2")
        self.assertEqual(run("{{range $t := .tags}}{{$t}}{{end}}{{range 2}}{{.}}{{end}}"), "xy01")

    def test_an_empty_range_has_an_else(self) -> None:
        """Nothing is empty, too."""
        self.assertEqual(run("{{range .no}}a{{else}}none{{end}}"), "none")

    def test_jumps_leave_a_round(self) -> None:
        """Out of whatever is within it; variables of the outside keep what they were given."""
        jumps = "{{if eq . 1}}{{continue}}{{else if eq . 3}}{{break}}{{end}}"
        template = "{{$n := 0}}{{range until 9}}{{$n = .}}" + jumps + "{{.}}{{end}}={{$n}}{{.name}}"
        self.assertEqual(run(template), "02=3db")

    def test_variables_end_with_their_block(self) -> None:
        """One of the same name within hides the other."""
        self.assertEqual(run("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}"), "21")
        self.assertEqual(run("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}"), "2")


class BoundTests(SynchronousTestCase):
    """Nothing goes on for long"""

    def test_output_has_a_limit_in_bytes(self) -> None:
        """Letters of two bytes count twice."""
        self.assertEqual(run("é" * 5, max_bytes=10), "é" * 5)
        self.assertRaises(OutputTooLarge, run, "é" * 5 + ".", max_bytes=10)

    def test_work_has_a_limit(self) -> None:
        """Loops, doubling texts, doubling lists, and looking at large lists again and again."""
        twice = "{{$l := list 1}}" + "{{$l = list $l $l}}" * 40
        for template in (
            "{{range until 5000}}{{range until 5000}}{{end}}{{end}}",
            "{{range 99999999}}{{end}}",
            '{{$t := "ab"}}{{range until 5000}}{{$t = print $t $t}}{{end}}',
            "{{$l := list 1}}{{range until 5000}}{{$l = concat $l $l}}{{end}}",
            twice + "{{$l}}",
            twice + "{{toJSON $l}}",
            twice + "{{if deepEqual $l $l}}{{end}}",
            '{{$d := dict}}{{range until 5000}}{{$d = dict "a" $d}}{{end}}{{$d}}',
            '{{$l := until 5000}}{{range $l}}{{$x := join "" $l}}{{end}}',
        ):
            self.assertRaises(ExecutionFailed, run, template)
