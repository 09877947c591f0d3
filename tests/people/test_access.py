"""The words and patterns of the access control list."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.people.access import PERMISSIONS, check_pattern, permission_of, who_is


class WordTests(SynchronousTestCase):
    def test_permissions(self) -> None:
        """The four of the list, and the short words of ntfy's command line."""
        for permission in PERMISSIONS:
            self.assertEqual(permission_of(permission), permission)
        self.assertEqual(permission_of("rw"), "read-write")
        self.assertEqual(permission_of("none"), "deny-all")

    def test_no_permissions(self) -> None:
        """Nothing is guessed."""
        for word in ("", "Read", "readwrite", "all", "deny_all"):
            self.assertRaises(ValueError, permission_of, word)

    def test_everybody(self) -> None:
        """Goes by several names, and is no user."""
        for word in ("*", "everyone", "anonymous"):
            self.assertEqual(who_is(word), "*")
        self.assertEqual(who_is("Everyone"), "Everyone")


class PatternTests(SynchronousTestCase):
    def test_patterns(self) -> None:
        """Any topic name, with any number of stars."""
        for pattern in ("*", "news", "a/b/*", "two words", "größe*", "$SYS/*", "'", "x" * 65_535):
            check_pattern(pattern)

    def test_no_patterns(self) -> None:
        """What matches no topic, or looks like a filter and is none."""
        for pattern in ("", "news/#", "+", "a\nb", "\x00", "\udc80", "x" * 65_536, "ä" * 32_768):
            self.assertRaises(ValueError, check_pattern, pattern)
