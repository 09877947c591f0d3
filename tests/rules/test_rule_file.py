"""`pushd.rules.rule_file`: lines, and what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.topics import matches
from pushd.rules.rule_file import RuleFileError, is_one_level, numbered_lines, read_rule_file


class LineTests(SynchronousTestCase):
    """What a file says"""

    def test_comments_and_blank_lines(self) -> None:
        """They say nothing, but count; blanks around a line are not of it."""
        lines = numbered_lines("# a\r\n\n  b c \t\r\n#d\ne", "rules")
        self.assertEqual([(3, "b c"), (5, "e")], list(lines))

    def test_only_a_line_feed_ends_a_line(self) -> None:
        """Names may have any other character."""
        self.assertEqual([(1, "a\x85b\u2028c 1")], list(numbered_lines("a\x85b\u2028c 1", "rules")))

    def test_nul(self) -> None:
        """No topic has one."""
        error = self.assertRaises(RuleFileError, list, numbered_lines("a 1\nb\0 1", "rules"))
        self.assertEqual("rules:2: NUL character", str(error))

    def test_latin_1(self) -> None:
        """It is welcome in a comment, and refused in a rule."""
        path = Path(self.mktemp())
        path.write_bytes(b"# caf\xe9\na 1\ncaf\xe9 1\n")
        lines = numbered_lines(read_rule_file(path), "rules")
        self.assertEqual((2, "a 1"), next(lines))
        self.assertEqual("rules:3: not UTF-8", str(self.assertRaises(RuleFileError, next, lines)))

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """It has lines, or an error that says where."""
        try:
            for number, line in numbered_lines(text, "rules"):
                assert number >= 1 and line
        except RuleFileError as error:
            assert str(error).startswith("rules:")


class OpenTests(SynchronousTestCase):
    """What can be opened"""

    def test_no_file(self) -> None:
        """The error names it."""
        error = self.assertRaises(RuleFileError, read_rule_file, "no/such/file")
        self.assertEqual("no/such/file: No such file or directory", str(error))

    def test_pipe(self) -> None:
        """It is not waited for."""
        path = self.mktemp()
        os.mkfifo(path)
        error = self.assertRaises(RuleFileError, read_rule_file, path)
        self.assertEqual(f"{path}: not a regular file", str(error))


class NameTests(SynchronousTestCase):
    """Names in the place of variables"""

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5))
    def test_no_name_widens_a_pattern(self, name: str) -> None:
        """One that can be put in is a filter that matches itself and nothing else."""
        if is_one_level(name):
            assert matches(f"a/{name}/b", f"a/{name}/b")
            assert not matches(f"a/{name}/b", "a/other-than-any/b")

    def test_hostile_names(self) -> None:
        """Wildcards, slashes, and no name at all."""
        for name in ("", "+", "#", "a/b", "a+", "\0"):
            self.assertFalse(is_one_level(name), name)
        for name in ("ada", "%u", "$SYS", "ü'\"<script>", "a b"):
            self.assertTrue(is_one_level(name), name)

    def test_dollar(self) -> None:
        """Nobody called $SYS or $share gets what is there."""
        self.assertEqual([True, False], [is_one_level("$share", depth) for depth in (1, 0)])
        self.assertTrue(is_one_level("a$", 0))
