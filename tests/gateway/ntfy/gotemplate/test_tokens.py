"""`pushd.gateway.ntfy.gotemplate.tokens`: where texts end and actions begin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.gotemplate.errors import TemplateInvalid
from pushd.gateway.ntfy.gotemplate.tokens import Kind, parts_of


def shown(template: str) -> list[str]:
    """Texts in quotes, actions as their tokens."""
    return [
        repr(part) if isinstance(part, str) else " ".join(token.text for token in part)
        for part in parts_of(template)
    ]


class PartsTests(SynchronousTestCase):
    """Texts and actions"""

    def test_texts_and_actions_come_in_order(self) -> None:
        """Single braces are text."""
        self.assertEqual(shown("a {b} {{.c}}{{ $d | e }} f"), ["'a {b} '", ".c", "$d | e", "' f'"])

    def test_a_text_in_an_action_may_look_like_its_end(self) -> None:
        """Quoted, raw, or in a character."""
        self.assertEqual(shown('{{"}}"}}{{`}}`}}'), ['"}}"', "`}}`"])

    def test_trim_markers_take_white_space_away(self) -> None:
        """On their side only, with the ends of lines."""
        self.assertEqual(shown("a \n{{- .b }} c {{ .d -}} \n\t e"), ["'a'", ".b", "' c '", ".d", "'e'"])

    def test_a_minus_before_a_number_is_no_marker(self) -> None:
        """There must be white space between the two."""
        self.assertEqual(shown("a {{-3}} b"), ["'a '", "-3", "' b'"])

    def test_comments_leave_nothing(self) -> None:
        """But their trim markers count."""
        self.assertEqual(shown("a{{/* }} {{ */}}b {{- /* c */ -}} d"), ["'a'", "'b'", "'d'"])

    def test_kinds_are_told_apart(self) -> None:
        """And whether there was white space before a token."""
        (tokens,) = parts_of("{{f .a.b -1.5e3 \"t\" 'c' $x := (.)}}")
        assert not isinstance(tokens, str)
        kinds = [Kind.NAME, Kind.FIELD, Kind.FIELD, Kind.NUMBER, Kind.TEXT, Kind.CHARACTER, Kind.VARIABLE]
        kinds += [Kind.MARK, Kind.MARK, Kind.DOT, Kind.MARK]
        self.assertEqual([token.kind for token in tokens], kinds)
        self.assertEqual([token.spaced for token in tokens][:4], [True, True, False, True])


class MalformedTests(SynchronousTestCase):
    """What is no template"""

    def test_each_is_refused(self) -> None:
        """With the package's own error."""
        for template in (
            "{{",
            "{{ .a",
            "{{ .a }",
            '{{ "a }}',
            "{{ `a }}",
            "{{/* a",
            "{{ # }}",
            "{{ 1a }}",
            "{{'}}",
        ):
            with self.assertRaises(TemplateInvalid, msg=template):
                list(parts_of(template))

    @given(st.text(alphabet="{}-/*.$ab1\"'`|() \n\\"))
    def test_anything_is_parts_or_refused(self, template: str) -> None:
        """Texts that were not in the template are never made up."""
        try:
            texts = [part for part in parts_of(template) if isinstance(part, str)]
        except TemplateInvalid:
            return
        for text in texts:
            self.assertIn(text, template)
