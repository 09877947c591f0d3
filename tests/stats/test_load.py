"""Load averages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.stats.load import LoadAverage


class LoadAverageTests(SynchronousTestCase):
    """A rate per minute, forgotten exponentially."""

    def test_nothing_happened(self) -> None:
        """A broker that did nothing has no load."""
        load = LoadAverage()
        load.update(0, 10)
        assert load.values == [0, 0, 0]

    def test_what_was_counted_before_is_no_load(self) -> None:
        """An average that begins late does not take the whole past for one interval's work."""
        load = LoadAverage(1_000_000)
        load.update(1_000_000, 10)
        assert load.values == [0, 0, 0]

    def test_one_interval_by_hand(self) -> None:
        """10 in 10 s are 60 a minute, of which a window takes in 1 - e^(-10/window)."""
        load = LoadAverage()
        load.update(10, 10)
        assert [f"{value:.2f}" for value in load.values] == ["9.21", "1.97", "0.66"]

    def test_a_steady_rate_is_reached(self) -> None:
        """After some windows at 120 a minute, each average says 120."""
        load = LoadAverage()
        for turn in range(1, 1000):
            load.update(turn * 20, 10)
        assert [round(value) for value in load.values] == [120, 120, 120]

    def test_silence_decays_by_window(self) -> None:
        """A window of silence leaves 1/e of its average."""
        load = LoadAverage()
        load.values = [100.0, 100.0, 100.0]
        load.update(0, 60)
        assert [f"{value:.1f}" for value in load.values] == ["36.8", "81.9", "93.6"]

    def test_no_time_passed(self) -> None:
        """Two updates at the same moment divide nothing by zero and lose nothing."""
        load = LoadAverage()
        load.update(10, 0)
        assert load.values == [0, 0, 0]
        load.update(10, 10)
        assert f"{load.values[0]:.2f}" == "9.21"

    @given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(0.001, 10**6)), max_size=20))
    def test_stays_between_zero_and_the_peak(self, steps: list[tuple[int, float]]) -> None:
        """An average is never negative nor above the highest rate seen."""
        load, total, peak = LoadAverage(), 0, 0.0
        for count, elapsed_s in steps:
            total += count
            peak = max(peak, count * 60 / elapsed_s)
            load.update(total, elapsed_s)
        assert all(-1e-6 <= value <= peak * (1 + 1e-9) + 1e-6 for value in load.values)
