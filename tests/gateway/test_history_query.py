"""Which part of the history is asked for."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.history_query import MAX_STEPS, Query, read_query
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Problem, Refusal

NOW = 1_700_000_005.5
HOUR = 3600
DAY = 86_400
KEPT = ((10, DAY), (60, 31 * DAY), (HOUR, 731 * DAY))
NAMES = ("cpu_percent", "clients_connected")


def query(**parameters: str | bytes) -> Query:
    """``from`` is written ``since`` here."""
    encoded = {
        name.replace("since", "from").encode(): value if isinstance(value, bytes) else value.encode()
        for name, value in parameters.items()
    }
    return read_query(lambda name: encoded.get(name, b""), NOW, KEPT, NAMES)


class QueryTests(SynchronousTestCase):
    def refused(self, problem: Problem, **parameters: str) -> None:
        refusal = self.assertRaises(Refusal, query, **parameters)
        assert refusal.problem is problem, parameters

    def test_nothing_said(self) -> None:
        """An hour up to now, as fine as it is, and all figures; the running step is within."""
        assert query() == Query(1_699_996_400, 1_700_000_010, 10, None)

    def test_times(self) -> None:
        """In Unix seconds, by the calendar, and before now."""
        local = datetime(2023, 11, 14, 12).timestamp()
        for text, at in (
            ("1699990000", 1_699_990_000),
            ("1699990000.75", 1_699_990_000),
            ("2023-11-14T12:00:00Z", 1_699_963_200),
            ("2023-11-14t12:00:00.123z", 1_699_963_200),
            ("2023-11-14T12:00:00+02:00", 1_699_956_000),
            ("2023-11-14T12:00:00 02:00", 1_699_956_000),  # a plus that nobody encoded
            ("2023-11-14 12:00", local),
            ("2023-11-14", local - 12 * HOUR),
            ("-90s", 1_699_999_910),
            ("-90", 1_699_999_910),
            ("-10min", 1_699_999_400),
            ("-2 hours", 1_699_992_800),
            ("-1d", 1_699_913_600),
        ):
            assert query(since=text, step="10s", to=str(at + 1000)).begin == at // 10 * 10, text

    def test_no_times(self) -> None:
        """What is none, or not before the other, is refused."""
        words = "yesterday - --1h 1h 2023-02-30 2023-11-14T25:00 1e9 -999999999y 99999999999999 9999-12-31 ü"
        for text in (*words.split(), "now", "12:00", "-1 fortnight", "' OR 1=1 --"):
            self.refused(problems.SPAN_INVALID, since=text)
        self.refused(problems.SPAN_INVALID, since="-1h", to="-2h")
        self.refused(problems.SPAN_INVALID, to="tomorrow")

    def test_steps(self) -> None:
        """Multiples of ten seconds; the span grows to whole steps."""
        assert query(step="1min") == Query(1_699_996_380, 1_700_000_040, 60, None)
        assert query(step="1d", since="-7d").step_s == DAY
        assert query(step="600").step_s == 600
        for text in ("0", "5s", "15s", "-10s", "1.5h", "10q", "h", "99999999999", "999999999y"):
            self.refused(problems.STEP_INVALID, step=text)

    def test_fitting_steps(self) -> None:
        """Some hundreds, of what there is: samples are kept for a day only."""
        for since, to, step_s in (
            ("-1h", "now", 10),
            ("-6h", "now", 30),
            ("-1d", "now", 120),
            ("-30d", "now", HOUR),
            ("-1y", "now", DAY),
            ("-2d", "-47h", 60),
            ("-40d", "-39d", HOUR),
            ("0", "now", 28 * DAY),
        ):
            assert query(since=since, to=to).step_s == step_s, since

    def test_too_many_steps(self) -> None:
        """Who names a step that is too fine hears so, and gets no other one."""
        assert query(since="-19990s", step="10s").begin == 1_699_980_010
        self.refused(problems.TOO_MANY_STEPS, since="-20010s", step="10s")
        self.refused(problems.TOO_MANY_STEPS, since="0", to="99999999", step="10s")

    def test_columns(self) -> None:
        """Each once, in the order that they are asked for; others do not exist."""
        assert query(columns="clients_connected, cpu_percent,clients_connected").columns == [
            "clients_connected",
            "cpu_percent",
        ]
        for text in ("cpu", "cpu_percent,", "cpu_percent_max", "*", "1); DROP TABLE status; --"):
            self.refused(problems.COLUMNS_INVALID, columns=text)

    @given(
        st.sampled_from(("since", "to", "step", "columns")),
        st.one_of(st.text(), st.binary(), st.from_regex(r"-?[0-9]{1,14} ?[a-z]{0,7}", fullmatch=True)),
    )
    @settings(deadline=None)
    def test_anything(self, name: str, value: str | bytes) -> None:
        """Whatever is asked ends in a bounded span or in a refusal."""
        try:
            found = query(**{name: value.encode("utf-8", "replace") if isinstance(value, str) else value})
        except Refusal:
            return
        assert found.begin % found.step_s == found.end % found.step_s == found.step_s % 10 == 0
        assert 0 < (found.end - found.begin) // found.step_s <= MAX_STEPS
        assert found.columns is None or set(found.columns) <= set(NAMES)

    @given(st.integers(0, 2**34), st.integers(1, 2**34))
    def test_every_span_has_a_step(self, begin: int, length: int) -> None:
        """Without a step nothing is too long."""
        found = query(since=str(begin), to=str(begin + length))
        assert found.begin <= begin < begin + length <= found.end
