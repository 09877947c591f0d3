"""
The history as tables: what is written, summed up, forgotten and read, in SQL that SQLite and MariaDB share.

    10 s   for a day          samples, as they come
    1 min  for 31 days        sums of these
    1 h    for two years      sums of those

A sum is made anew whenever one of its parts comes, so there is one for the running minute and hour too, and
nothing is missing after a restart. All functions wait for the database and belong into a thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from pushd.stats.figures import FIGURES, SAMPLE_S, Figure, Sample

DAY_S = 86_400


class Resolution(NamedTuple):
    """Rows of so many seconds, and how long they are kept."""

    step_s: int
    kept_s: int


RESOLUTIONS = (
    Resolution(SAMPLE_S, DAY_S),
    Resolution(60, 31 * DAY_S),
    Resolution(3600, 731 * DAY_S),
)

_encode = json.JSONEncoder(separators=(",", ":")).encode

# Spans that are forgotten at once, of each resolution: all that a day has, in a few minutes of writes.
FORGOTTEN_AT_ONCE = 500


class HistoryError(Exception):
    """The database cannot be used as it is."""


class Cursor(Protocol):
    """What of the DB-API (PEP 249) is used."""

    def execute(self, statement: str, parameters: Sequence[object] = (), /) -> object: ...
    def executemany(self, statement: str, rows: Sequence[Sequence[object]], /) -> object: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> Any: ...


class Span(NamedTuple):
    """
    A part of the history, of `step_s` seconds for each row.

    :ivar begin: Unix seconds, a multiple of `step_s`, as is `end`; this one is within, `end` is not.
    :ivar step_s: a multiple of `SAMPLE_S`.
    """

    begin: int
    end: int
    step_s: int

    @property
    def resolution(self) -> Resolution:
        """The coarsest that such rows can be made of."""
        return next(one for one in reversed(RESOLUTIONS) if self.step_s % one.step_s == 0)


class Table(NamedTuple):
    """
    What the history says of a span. Where nothing is known, because pushd did not run, there is no row.

    :ivar columns: ``time`` (the begin of a row's step), ``samples`` and the figures.
    :ivar dropped: when, why and how many messages subscribers did not get.
    """

    columns: list[str]
    rows: list[list[float | None]]
    dropped: list[tuple[int, str, int]]


def columns_of(figures: Iterable[Figure]) -> list[str]:
    """The columns that figures have in the table."""
    return [name for figure in figures for name, _ in _columns(figure)]


def _columns(figure: Figure) -> Iterator[tuple[str, str]]:
    """Each column of a figure, and how many of its values become one."""
    name = figure.name
    # A sum of products over its weights, where there are any.
    yield name, f"ROUND(SUM({name} * samples) / SUM(CASE WHEN {name} IS NULL THEN 0 ELSE samples END), 3)"
    if figure.lowest:
        yield f"{name}_min", f"MIN({name}_min)"
    if figure.highest:
        yield f"{name}_max", f"MAX({name}_max)"


# Statements are made of the names in `FIGURES` and of nothing else. A ``?`` is a value.
COLUMNS = columns_of(FIGURES)
ADD = (
    f"REPLACE INTO status (step, at, samples, {', '.join(COLUMNS)})"
    f" VALUES (?, ?, ?, {', '.join('?' * len(COLUMNS))})"
)
ADD_DROPS = "REPLACE INTO status_drops (step, at, reason, messages) VALUES (?, ?, ?, ?)"
SUM_UP = (
    f"REPLACE INTO status (step, at, samples, {', '.join(COLUMNS)})"
    " SELECT ?, at - at % ? AS bucket, SUM(samples),"
    f" {', '.join(summed for figure in FIGURES for _, summed in _columns(figure))}"
    " FROM status WHERE step = ? AND at >= ? AND at < ? GROUP BY bucket"
)
SUM_UP_DROPS = (
    "REPLACE INTO status_drops (step, at, reason, messages)"
    " SELECT ?, at - at % ? AS bucket, reason, SUM(messages)"
    " FROM status_drops WHERE step = ? AND at >= ? AND at < ? GROUP BY bucket, reason"
)
READ = (
    "SELECT at - at % ? AS bucket, {columns}"
    " FROM status WHERE step = ? AND at >= ? AND at < ? GROUP BY bucket ORDER BY bucket"
)
READ_DROPS = (
    "SELECT at - at % ? AS bucket, reason, SUM(messages)"
    " FROM status_drops WHERE step = ? AND at >= ? AND at < ? GROUP BY bucket, reason ORDER BY bucket, reason"
)
OLDEST = "SELECT MIN(at) FROM status WHERE step = ?"
FORGET = "DELETE FROM status WHERE step = ? AND at < ?"
FORGET_DROPS = "DELETE FROM status_drops WHERE step = ? AND at < ?"


def to_json(table: Table, step_s: int) -> bytes:
    """
    As the gateway answers it. For the thread, too: a large table takes 50 ms, and is made row by row so that
    others get a turn in between.
    """
    rows = ",".join(map(_encode, table.rows))
    head = f'"step":{step_s},"columns":{_encode(table.columns)}'
    return f'{{{head},"rows":[{rows}],"dropped":{_encode(table.dropped)}}}\n'.encode()


class Tables:
    """
    The tables of one kind of database.

    :param mark: what stands for a value in its statements: ``?`` or ``%s``.
    :param steps: the versions of the schema, as the statements that lead to each.
    """

    def __init__(self, mark: str, steps: Sequence[Sequence[str]]) -> None:
        self._mark = mark
        self._steps = steps

    def prepare(self, cursor: Cursor) -> None:
        """
        Have the newest tables there, whatever there is.

        :raises HistoryError: they are newer than that.
        """
        cursor.execute("CREATE TABLE IF NOT EXISTS status_schema (version INTEGER NOT NULL)")
        cursor.execute("SELECT MAX(version) FROM status_schema")
        version = cursor.fetchone()[0] or 0
        if version > len(self._steps):
            raise HistoryError(
                f"the tables were made by a newer pushd: they have version {version},"
                f" this one knows {len(self._steps)}"
            )
        for number, statements in enumerate(self._steps[version:], version + 1):
            for statement in statements:
                cursor.execute(statement)
            self._run(cursor, "INSERT INTO status_schema (version) VALUES (?)", number)

    def write(self, cursor: Cursor, samples: Sequence[Sample]) -> None:
        """Add samples, and to the sums what they change."""
        cursor.executemany(self._sql(ADD), [_row(sample) for sample in samples])
        drops = [
            (SAMPLE_S, sample.at, reason, count)
            for sample in samples
            for reason, count in sample.dropped.items()
        ]
        if drops:
            cursor.executemany(self._sql(ADD_DROPS), drops)
        first, last = min(sample.at for sample in samples), max(sample.at for sample in samples)
        for fine, coarse in pairwise(RESOLUTIONS):
            step_s = coarse.step_s
            begin, end = first - first % step_s, last - last % step_s + step_s
            for statement in (SUM_UP, SUM_UP_DROPS):
                self._run(cursor, statement, step_s, step_s, fine.step_s, begin, end)

    def forget(self, cursor: Cursor, now: float) -> None:
        """
        Delete a piece of what is too old.

        :param now: in Unix seconds.
        """
        for step_s, kept_s in RESOLUTIONS:
            self._run(cursor, OLDEST, step_s)
            (oldest,) = cursor.fetchone()
            limit = int(now) - kept_s
            if oldest is not None and oldest < limit:
                limit = min(limit, oldest + FORGOTTEN_AT_ONCE * step_s)
                self._run(cursor, FORGET, step_s, limit)
                self._run(cursor, FORGET_DROPS, step_s, limit)

    def read_json(self, cursor: Cursor, span: Span, figures: Sequence[Figure]) -> bytes:
        """The same as `read`, as JSON."""
        return to_json(self.read(cursor, span, figures), span.step_s)

    def read(self, cursor: Cursor, span: Span, figures: Sequence[Figure]) -> Table:
        """What there is of a span, some figures of it."""
        where = (span.step_s, span.resolution.step_s, span.begin, span.end)
        summed = ["SUM(samples)", *(how for figure in figures for _, how in _columns(figure))]
        self._run(cursor, READ.format(columns=", ".join(summed)), *where)
        rows = [[int(at), int(samples), *values] for at, samples, *values in cursor.fetchall()]
        self._run(cursor, READ_DROPS, *where)
        drops = [(int(at), str(reason), int(messages)) for at, reason, messages in cursor.fetchall()]
        return Table(["time", "samples", *columns_of(figures)], rows, drops)

    def _run(self, cursor: Cursor, statement: str, *values: object) -> None:
        cursor.execute(self._sql(statement), values)

    def _sql(self, statement: str) -> str:
        if self._mark == "?":
            return statement
        return statement.replace("%", "%%").replace("?", self._mark)


def _row(sample: Sample) -> list[object]:
    """A sample is its own average, lowest and highest."""
    row: list[object] = [SAMPLE_S, sample.at, 1]
    for figure, value in zip(FIGURES, sample.figures, strict=True):
        row += [value] * (1 + figure.lowest + figure.highest)
    return row
