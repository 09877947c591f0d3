"""`pushd.gateway.ntfy.since`: from where on a reader wants what was said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.problems import Refusal
from pushd.gateway.ntfy.since import ALL, LATEST, NONE, Since, read_since

NOW = 1_700_000_000.9


class ReadTests(SynchronousTestCase):
    """ntfy's spellings"""

    def test_names(self) -> None:
        """Everything, nothing, or the last of each topic."""
        self.assertEqual([read_since(text, NOW) for text in ("all", "none", "latest")], [ALL, NONE, LATEST])

    def test_nothing_said(self) -> None:
        """Who asks for a stream gets what is being said; who asks once gets what was said."""
        self.assertIs(read_since("", NOW), NONE)
        self.assertIs(read_since("", NOW, unsaid=ALL), ALL)

    def test_id(self) -> None:
        """Twelve letters or digits, and so twelve digits as well."""
        self.assertEqual(read_since("bQ1gAWzE2cbG", NOW), Since(id="bQ1gAWzE2cbG"))
        self.assertEqual(read_since("170000000000", NOW), Since(id="170000000000"))

    def test_time(self) -> None:
        """Unix seconds."""
        self.assertEqual(read_since("1699999999", NOW), Since(at=1_699_999_999))
        self.assertEqual(read_since("0", NOW), Since())

    def test_durations(self) -> None:
        """Ago, in one unit or several."""
        ago = {"10m": 600, "1h30m": 5400, "45s": 45, "1d": 86_400, "1.5h": 5400, "500ms": 0.5, "0s": 0}
        for text, seconds in ago.items():
            self.assertEqual(read_since(text, NOW), Since(at=int(NOW - seconds)), text)

    def test_longer_ago_than_there_are_times(self) -> None:
        """Is all there is."""
        self.assertEqual(read_since("999999999h", NOW), ALL)

    def test_nonsense(self) -> None:
        """It is said so: whoever misspells it would miss messages, or get them all."""
        for text in (
            "yesterday",
            "-10m",
            "10 m",
            "10x",
            "m",
            "1m" * 40,
            "1" * 13,
            "1" * 4000,
            "\u0661\u0660m",
            "Al l",
        ):
            error = self.assertRaises(Refusal, read_since, text, NOW)
            self.assertEqual(error.problem.code, 40008, text)

    @given(st.text(max_size=80))
    def test_any_text(self, text: str) -> None:
        """It is read, or refused."""
        try:
            since = read_since(text, NOW)
        except Refusal:
            return
        self.assertGreaterEqual(since.at, 0)
