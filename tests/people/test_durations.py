"""Times and rates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.people.durations import MAX_S, duration_s, rate_per_s, rate_text


class DurationTests(SynchronousTestCase):
    def test_units(self) -> None:
        """From seconds to weeks, short and in words."""
        for text, seconds in (
            ("30s", 30),
            ("5m", 300),
            ("12 hours", 43_200),
            ("90d", 7_776_000),
            ("1week", 604_800),
        ):
            self.assertEqual(duration_s(text), seconds, text)

    def test_no_times(self) -> None:
        """Nothing is guessed."""
        for text in ("", "90", "d", "-1d", "1.5h", "90 d ", "90D", "٣d", "0s", "1y", "9" * 11 + "w", "1d2h"):
            self.assertRaises(ValueError, duration_s, text)

    @given(st.text())
    def test_whatever_is_written(self, text: str) -> None:
        """It is a time of reasonable length, or is refused."""
        try:
            seconds = duration_s(text)
        except ValueError:
            return
        self.assertTrue(0 < seconds <= MAX_S)


class RateTests(SynchronousTestCase):
    def test_units(self) -> None:
        """Per second, if nothing else is said."""
        for text, rate in (("10", 10), ("10/s", 10), ("600/min", 10), ("36 / hour", 0.01), ("0.5/s", 0.5)):
            self.assertAlmostEqual(rate_per_s(text), rate, msg=text)

    def test_no_rates(self) -> None:
        """One that lets nothing through would be a token for nothing."""
        for text in ("", "/s", "0", "0/s", "-1", "nan", "inf", "1e9", "10/", "10/parsec", "10 per s"):
            self.assertRaises(ValueError, rate_per_s, text)

    def test_text(self) -> None:
        """What is shown is what was asked for."""
        for text in ("10/s", "5/min", "7/h", "0.5/h", "1/s"):
            self.assertEqual(rate_text(rate_per_s(text)), text)
