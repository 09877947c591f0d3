"""`pushd.auth.security_file`: how password and ACL files are opened and cut into lines."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.security_file import SecurityFileError, numbered_lines, read_security_file


class NumberedLinesTests(SynchronousTestCase):
    """Which lines count, and what they are called."""

    def test_comments_and_empty_lines_are_counted_but_say_nothing(self) -> None:
        """A message about a line names the number that an editor shows for it."""
        lines = list(numbered_lines("# one\n\n   \nfour\r\n#five\n six \n", "f"))
        self.assertEqual(lines, [(4, "four"), (6, " six")])

    def test_only_a_line_feed_ends_a_line(self) -> None:
        """A name with a Unicode line separator in it is one name; nobody can smuggle a line in that way."""
        self.assertEqual(list(numbered_lines("a\u2028b\x85c", "f")), [(1, "a\u2028b\x85c")])

    def test_unicode_spaces_are_part_of_a_name(self) -> None:
        """Only the blanks that C knows are taken off an end."""
        self.assertEqual(list(numbered_lines("a\u00a0\t\n", "f")), [(1, "a\u00a0")])

    def test_bytes_that_are_no_utf8_are_refused_outside_comments(self) -> None:
        """A Latin-1 comment harms nobody; a Latin-1 name could never log in."""
        self.assertEqual(list(numbered_lines("# caf\udce9\n", "f")), [])
        error = self.assertRaises(SecurityFileError, list, numbered_lines("\ncaf\udce9\n", "conf/acl"))
        self.assertEqual(str(error), "conf/acl:2: not UTF-8")

    def test_nul_is_refused(self) -> None:
        """A NUL would end the line for a broker written in C, and not for us."""
        error = self.assertRaises(SecurityFileError, list, numbered_lines("a\0b", "f"))
        self.assertEqual(str(error), "f:1: NUL character")

    @given(st.text())
    def test_any_text_is_lines_or_an_error(self, text: str) -> None:
        """No text at all makes anything but lines or a `SecurityFileError`."""
        try:
            lines = list(numbered_lines(text, "f"))
        except SecurityFileError:
            return
        self.assertLessEqual(len(lines), text.count("\n") + 1)


class ReadSecurityFileTests(SynchronousTestCase):
    """What is not a readable file is named in the error."""

    def test_text_is_returned_as_it_is(self) -> None:
        """Line ends and odd bytes survive reading."""
        path = Path(self.mktemp())
        path.write_bytes(b"a\r\n\xe9")
        self.assertEqual(read_security_file(path), "a\r\n\udce9")

    def test_missing_file_is_named(self) -> None:
        """The operator reads which file is missing."""
        path = self.mktemp()
        error = self.assertRaises(SecurityFileError, read_security_file, path)
        self.assertEqual(str(error), f"{path}: No such file or directory")

    def test_directory_and_pipe_are_refused_at_once(self) -> None:
        """A path that is no file is an error, not a wait for somebody to write into a pipe."""
        directory, pipe = self.mktemp(), self.mktemp()
        os.mkdir(directory)
        os.mkfifo(pipe)
        for path in (directory, pipe):
            self.assertRaises(SecurityFileError, read_security_file, path)
