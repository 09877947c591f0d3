"""`pushd.gateway.ntfy.gotemplate.syntax`: the tree of a template, and what has none."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.gotemplate.errors import NotAllowed, TemplateError, TemplateInvalid
from pushd.gateway.ntfy.gotemplate.syntax import (
    MAX_DEPTH,
    Call,
    Choice,
    Jump,
    Literal,
    Path,
    Pipeline,
    Range,
    parse,
)

A = Path(None, ("a",))
B = Path(None, ("b",))

# Each has something missing, left over or in the wrong place.
MALFORMED = (
    "{{}}",
    "{{end}}",
    "{{else}}",
    "{{if}}{{end}}",
    "{{if .a}}",
    "{{if .a}}{{else}}",
    "{{if .a}}{{else}}{{else}}{{end}}",
    "{{if .a}}{{else with .b}}{{end}}",
    "{{with .a}}{{else if .b}}{{end}}",
    "{{range .a}}{{else if .b}}{{end}}",
    "{{if .a}}{{end .b}}",
    "{{break}}",
    "{{continue}}",
    "{{range .a}}{{else}}{{break}}{{end}}",
    "{{range .a}}{{break 1}}{{end}}",
    "{{.a .b}}",
    "{{.a | .b}}",
    "{{1 2}}",
    "{{| upper}}",
    "{{.a |}}",
    "{{upper(.a)}}",
    '{{"a".b}}',
    "{{(.a}}",
    "{{.a)}}",
    "{{$a}}",
    "{{$a = 1}}",
    "{{if .a}}{{$x := 1}}{{end}}{{$x}}",
    "{{with $x := .a}}{{end}}{{$x}}",
    "{{$a, $b := .c}}",
    "{{$ := 1}}",
    "{{nofunction .a}}",
    "{{99999999999999999999}}",
    "{{1e999}}",
    '{{"\\q"}}',
    '{{"\\ud800"}}',
    "{{'ab'}}",
    "{{.a, .b}}",
)


class PipelineTests(SynchronousTestCase):
    """Values, functions and variables"""

    def test_fields_follow_one_another(self) -> None:
        """From the dot, a variable, the data as a whole, or parentheses."""
        self.assertEqual(parse("{{.a.b}}"), (Pipeline((Path(None, ("a", "b")),)),))
        self.assertEqual(parse("{{$.a}}"), (Pipeline((Path("$", ("a",)),)),))
        self.assertEqual(parse("{{(.a).b}}"), (Pipeline((Path(Pipeline((A,)), ("b",)),)),))

    def test_literals_are_values(self) -> None:
        """Numbers, texts with escapes, characters, true, false and nil."""
        (line,) = parse("{{print 1 0x1F -2.5 \"a\\n\\u00e9\" `\\n` 'b' true nil}}")
        assert isinstance(line, Pipeline) and isinstance(line.commands[0], Call)
        values = [value.value for value in line.commands[0].arguments if isinstance(value, Literal)]
        self.assertEqual(values, [1, 31, -2.5, "a\né", "\\n", 98, True, None])

    def test_commands_are_piped(self) -> None:
        """The first may be a value, the others are functions."""
        expected = Pipeline((A, Call("trunc", (Literal(3),)), Call("upper", ())))
        self.assertEqual(parse("{{.a | trunc 3 | upper}}"), (expected,))

    def test_variables_are_declared_and_set(self) -> None:
        """With := and =."""
        declared, set_again = parse("{{$x := .a}}{{$x = .b}}")
        self.assertEqual(declared, Pipeline((A,), ("$x",), True))
        self.assertEqual(set_again, Pipeline((B,), ("$x",), False))


class BlockTests(SynchronousTestCase):
    """What has an end"""

    def test_a_choice_has_branches(self) -> None:
        """As many as there are."""
        expected = Choice(((Pipeline((A,)), ("1",)), (Pipeline((B,)), ("2",))), ("3",), moves_dot=False)
        self.assertEqual(parse("{{if .a}}1{{else if .b}}2{{else}}3{{end}}"), (expected,))

    def test_with_moves_the_dot(self) -> None:
        """And is a choice otherwise."""
        (block,) = parse("{{with .a}}1{{else with .b}}2{{end}}")
        assert isinstance(block, Choice)
        self.assertTrue(block.moves_dot)
        self.assertEqual(len(block.branches), 2)

    def test_a_range_may_have_two_variables(self) -> None:
        """And jumps."""
        expected = Range(Pipeline((A,), ("$i", "$e"), True), (Jump(True), Jump(False)), ("n",))
        self.assertEqual(parse("{{range $i, $e := .a}}{{break}}{{continue}}{{else}}n{{end}}"), (expected,))


class RefusedTests(SynchronousTestCase):
    """What is no template, and what is one that nobody gets"""

    def test_each_malformed_one_is_refused(self) -> None:
        """Before anything of it is run."""
        for template in MALFORMED:
            self.assertRaises(TemplateInvalid, parse, template)

    def test_what_calls_others_is_not_allowed(self) -> None:
        """Wherever it stands."""
        for word in (
            'define "a"',
            'template "a"',
            'block "a" .',
            "call .a",
            'regexMatch "a" .a',
            "print (call .a)",
        ):
            self.assertRaises(NotAllowed, parse, f"{{{{{word}}}}}")

    def test_depth_has_a_limit(self) -> None:
        """Blocks and parentheses together, whatever the stack."""
        self.assertTrue(parse("{{if .a}}" * MAX_DEPTH + "{{end}}" * MAX_DEPTH))
        for template in ("{{if .a}}" * 9_000, "{{" + "(" * 9_000, "{{range .a}}{{with .b}}" * MAX_DEPTH):
            self.assertRaises(TemplateInvalid, parse, template)

    @given(
        st.lists(
            st.sampled_from(
                ["{{", "}}", "if ", "range ", "with ", "end", "else ", ".a", "$x", ":=", "|", "(", ")"]
            )
            | st.sampled_from(["upper ", "1", '"t"', " ", "-", ",", "break", "=", "text", "len "])
        )
    )
    def test_anything_is_a_tree_or_refused(self, pieces: list[str]) -> None:
        """Never another exception."""
        with contextlib.suppress(TemplateError):
            parse("".join(pieces))
