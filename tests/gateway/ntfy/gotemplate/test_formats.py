"""`pushd.gateway.ntfy.gotemplate.formats`: printf."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.gotemplate.errors import ExecutionFailed
from pushd.gateway.ntfy.gotemplate.formats import printf

PRINTED: list[tuple[str, tuple[object, ...], str]] = [
    ("%s is %d%%", ("cpu", 93), "cpu is 93%"),
    ("%v %v %v", ([1, "a"], {"b": None}, True), "[1 a] map[b:<nil>] true"),
    ("%5d|%-5d|%05d|%+d", (42, 42, 42, 42), "   42|42   |00042|+42"),
    ("%05d", (-42,), "-0042"),
    ("%.2f|%8.3f|%.0f", (1.005, 3.14159, 2), "1.00|   3.142|2"),
    ("%g %e", (1.5, 1500), "1.5 1.500000e+03"),
    ("%q %.2s %5s|%-5s|", ('a"b', "xyz", "r", "l"), '"a\\"b" xy     r|l    |'),
    ("%x %X %o %b %c", (255, 255, 8, 5, 0x1F525), "ff FF 10 101 🔥"),
    ("%x", ("hi",), "6869"),
    ("%t %T %T", (False, "a", 1.5), "false string float64"),
    ("%d", (3.0,), "3"),
    ("%d %d", (1,), "1 %!d(MISSING)"),
    ("%d %t", ("a", 1), "%!d(string=a) %!t(int=1)"),
    ("%d", (1.5,), "%!d(float64=1.5)"),
    ("%s", (3,), "%!s(int=3)"),
    ("a", (1, "b"), "a%!(EXTRA int=1, string=b)"),
    ("100%", (), "100%!(NOVERB)"),
]


class PrintfTests(SynchronousTestCase):
    """As Go prints"""

    def test_each_format(self) -> None:
        """What does not fit says so in the text."""
        for format, values, text in PRINTED:
            self.assertEqual(printf(format, *values), text)

    def test_widths_have_a_limit(self) -> None:
        """Nobody gets a megabyte for nine characters."""
        for format in ("%1000d", "%.1000f", "%*d", "%999999999d", "%0999999999d"):
            self.assertRaises(ExecutionFailed, printf, format, 1)
        self.assertRaises(ExecutionFailed, printf, "%999d" * 200, *range(200))

    @given(
        st.text(alphabet="%+-# 0123456789.*svdqxXcfgetTobé") | st.text(),
        st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text()),
    )
    def test_anything_is_printed_or_refused(self, format: str, values: list[object]) -> None:
        """Never another exception."""
        with contextlib.suppress(ExecutionFailed):
            self.assertIsInstance(printf(format, *values), str)
