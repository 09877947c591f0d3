"""What every database of the history promises, and what is true of one kind only."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from pushd.stats.databases import in_file, in_memory, in_mysql
from pushd.stats.figures import FIGURES, NAMES, SAMPLE_S, Sample
from pushd.stats.history import AT_ONCE, MAX_WAITING, History
from pushd.stats.tables import COLUMNS, DAY_S, FORGOTTEN_AT_ONCE, HistoryError, Span
from tests.stats.histories import HOUR, HistoryCase, sample
from tests.stats.mariadb import PASSWORD, MariaDb, mariadb

if TYPE_CHECKING:
    _Case = HistoryCase
else:
    _Case = object


class Contract(_Case):
    """
    Inherited by a test case for each kind.

    :ivar history: makes a new and empty one.
    """

    history: Callable[[], History]

    def test_nothing_is_there_at_first(self) -> None:
        """An empty database answers with no rows, and the names of its columns."""
        table = self.table(self.opened(self.history()), HOUR, HOUR + 3600, 60, "uptime_s", "cpu_percent")
        assert table == {
            "step": 60,
            "columns": ["time", "samples", "uptime_s", "uptime_s_min", "cpu_percent", "cpu_percent_max"],
            "rows": [],
            "dropped": [],
        }

    def test_samples_come_back(self) -> None:
        """Each figure as it was sampled, unknown ones too, within the span and outside not."""
        history = self.opened(self.history())
        for number in range(4):
            history.add(sample(HOUR + 10 * number, cpu_percent=1.5 * number, memory_bytes=None))
        rows = self.rows(history, HOUR + 10, HOUR + 30, 10, "cpu_percent", "memory_bytes")
        assert rows == [[HOUR + 10, 1, 1.5, 1.5, None, None], [HOUR + 20, 1, 3.0, 3.0, None, None]]

    def test_every_figure_has_its_column(self) -> None:
        """No two of them are mixed up, at any resolution."""
        history = self.opened(self.history())
        history.add(Sample(HOUR, tuple(float(number) for number in range(len(NAMES))), {}))
        for step_s in (10, 60, 3600):
            table = self.table(history, HOUR, HOUR + 3600, step_s, *NAMES)
            (row,) = table["rows"]
            said = dict(zip(table["columns"], row, strict=True))
            for number, figure in enumerate(FIGURES):
                columns = figure.name, f"{figure.name}_min", f"{figure.name}_max"
                assert {said[name] for name in columns if name in said} == {number}, figure

    def test_roll_ups(self) -> None:
        """A minute is the average, lowest and highest of its samples, an hour of its minutes by weight."""
        history = self.opened(self.history())
        connected = {0: 10, 10: 20, 50: 60, 60: 1, 3600: 7}
        for at, clients in connected.items():
            history.add(sample(HOUR + at, clients_connected=clients))
        minutes = self.rows(history, HOUR, HOUR + 7200, 60, "clients_connected")
        assert minutes == [[HOUR, 3, 30, 10, 60], [HOUR + 60, 1, 1, 1, 1], [HOUR + 3600, 1, 7, 7, 7]]
        hours = self.rows(history, HOUR, HOUR + 7200, 3600, "clients_connected")
        assert hours == [[HOUR, 4, 22.75, 1, 60], [HOUR + 3600, 1, 7, 7, 7]]

    def test_any_multiple(self) -> None:
        """Steps between the resolutions are made of the finer one."""
        history = self.opened(self.history())
        for number in range(12):
            history.add(sample(HOUR + 10 * number, waiting_messages=number))
        rows = self.rows(history, HOUR, HOUR + 120, 30, "waiting_messages")
        assert rows == [[HOUR + 30 * number, 3, 3 * number + 1, 3 * number + 2] for number in range(4)]
        assert self.rows(history, HOUR, HOUR + 120, 120, "waiting_messages") == [[HOUR, 12, 5.5, 11]]

    def test_unknown_figures_weigh_nothing(self) -> None:
        """The average is over those samples that knew the figure."""
        history = self.opened(self.history())
        for number, commit_ms in enumerate((None, 4.0, 2.0, None)):
            history.add(sample(HOUR + 10 * number, store_commit_ms=commit_ms))
        history.add(sample(HOUR + 60, store_commit_ms=None))
        assert self.rows(history, HOUR, HOUR + 120, 60, "store_commit_ms") == [
            [HOUR, 4, 3.0],
            [HOUR + 60, 1, None],
        ]

    def test_drops_by_reason(self) -> None:
        """They add up from one resolution to the next."""
        history = self.opened(self.history())
        history.add(sample(HOUR, {"queue_full": 2, "expired": 1}))
        history.add(sample(HOUR + 10, {"queue_full": 3}))
        history.add(sample(HOUR + 60, {"queue_full": 4}))
        by_step = {
            step_s: self.table(history, HOUR, HOUR + 3600, step_s)["dropped"] for step_s in (10, 60, 3600)
        }
        assert by_step[10] == [
            [HOUR, "expired", 1],
            [HOUR, "queue_full", 2],
            [HOUR + 10, "queue_full", 3],
            [HOUR + 60, "queue_full", 4],
        ]
        assert by_step[60] == [[HOUR, "expired", 1], [HOUR, "queue_full", 5], [HOUR + 60, "queue_full", 4]]
        assert by_step[3600] == [[HOUR, "expired", 1], [HOUR, "queue_full", 9]]

    def test_names_are_values(self) -> None:
        """Nothing that stands in a sample becomes SQL."""
        history = self.opened(self.history())
        hostile = "'); DROP TABLE status; -- %s %(x)s ? ü"
        history.add(sample(HOUR, {hostile: 1}))
        assert self.table(history, HOUR, HOUR + 10, 10)["dropped"] == [[HOUR, hostile, 1]]

    def test_clock_set_back(self) -> None:
        """A span that comes twice is known as it was the second time."""
        history = self.opened(self.history())
        for connections in (1, 2):
            history.add(sample(HOUR, connections=connections))
        for step_s in (10, 60, 3600):
            assert self.rows(history, HOUR, HOUR + 3600, step_s, "connections") == [[HOUR, 1, 2, 2]]

    def test_retention(self) -> None:
        """Samples are there for a day, minutes for 31 days, hours for two years, and then they are not."""
        history = self.opened(self.history())
        history.add(sample(HOUR, {"expired": 1}, connections=5))
        for days, left in ((1, {10, 60, 3600}), (2, {60, 3600}), (32, {3600}), (732, set())):
            self.reactor.advance(HOUR + days * DAY_S - self.reactor.seconds())
            history.add(sample(HOUR + 800 * DAY_S))
            for step_s in (10, 60, 3600):
                table = self.table(history, HOUR, HOUR + 3600, step_s, "connections")
                assert len(table["rows"]) == len(table["dropped"]) == (step_s in left), (days, step_s)

    def test_forgotten_in_pieces(self) -> None:
        """After a long time without pushd, each sample takes a piece of what is too old along."""
        history = self.opened(self.history())
        self.reactor.advance(2 * DAY_S)
        spans = FORGOTTEN_AT_ONCE + 300
        history._pool.runInteraction(
            history._tables.write, [sample(HOUR + SAMPLE_S * number) for number in range(spans)]
        )
        now = HOUR + 2 * DAY_S
        history.add(sample(now))
        assert len(self.rows(history, HOUR, now, 10)) == 300
        history.add(sample(now + 10))
        assert self.rows(history, HOUR, now, 10) == []

    def test_many_at_once(self) -> None:
        """A long span away is written in transactions of an hour, with all sums."""
        history = self.history()
        self.addCleanup(history.close)
        for number in range(AT_ONCE + 1):
            history._waiting.append(sample(HOUR + SAMPLE_S * number, connections=number))
        history.open()
        assert history.waiting == 0
        hours = self.rows(history, HOUR, HOUR + 7200, 3600, "connections")
        assert hours == [[HOUR, 360, 179.5, 359], [HOUR + 3600, 1, 360, 360]]

    def test_closed(self) -> None:
        """Afterwards nothing is read or written, and nothing fails."""
        history = self.history()
        history.open()
        self.successResultOf(history.close())
        history.add(sample(HOUR))
        self.failureResultOf(history.read(Span(HOUR, HOUR + 10, 10)), HistoryError)


class MemoryTests(Contract, HistoryCase):
    """Without persistence."""

    def history(self) -> History:
        return in_memory(self.reactor)


class FileTests(Contract, HistoryCase):
    """With persistence."""

    def setUp(self) -> None:
        super().setUp()
        os.makedirs(folder := self.mktemp())
        self.path = os.path.join(folder, "status.db")

    def history(self) -> History:
        return in_file(self.path, self.reactor)

    def test_restart(self) -> None:
        """The history goes on where it ended, within a minute too; only its owner may read the file."""
        first = self.history()
        first.open()
        first.add(sample(HOUR, connections=1))
        self.successResultOf(first.close())
        second = self.opened(self.history())
        second.add(sample(HOUR + 10, connections=2))
        assert self.rows(second, HOUR, HOUR + 60, 60, "connections") == [[HOUR, 2, 1.5, 2]]
        assert stat.S_IMODE(os.stat(self.path).st_mode) == 0o600

    def test_damaged_file(self) -> None:
        """It is moved aside, the log says so, and the next sample begins a new one."""
        with open(self.path, "wb") as file:
            file.write(b"This is no database. " * 500)
        history = self.opened(self.history())
        assert "damaged" in str(history.failing)
        history.add(sample(HOUR))
        assert (history.failing, history.waiting) == (None, 0)
        assert os.path.exists(f"{self.path}.damaged")

    def test_newer_file(self) -> None:
        """What a newer pushd has made is not touched."""
        self.successResultOf(self.opened(self.history()).close())
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute("INSERT INTO status_schema VALUES (99)")
        connection.close()
        history = self.opened(self.history())
        history.add(sample(HOUR))
        assert "newer pushd" in str(history.failing)
        assert history.waiting == 1

    def test_columns_are_those_of_the_schema(self) -> None:
        """Figures and tables have the same names, in the same order."""
        self.opened(self.history())
        connection = sqlite3.connect(self.path)
        names = [row[1] for row in connection.execute("PRAGMA table_info(status)")]
        connection.close()
        assert names == ["step", "at", "samples", *COLUMNS]


class MariaDbTests(Contract, HistoryCase):
    """With ``status_database``."""

    def history(self) -> History:
        return in_mysql(mariadb().new_database(), self.reactor)

    def test_connection_lost(self) -> None:
        """The next sample is written by a new one."""
        history = self.opened(self.history())
        connection = next(iter(history._pool.connections.values()))  # type: ignore[attr-defined]
        connection._sock.shutdown(socket.SHUT_RDWR)
        history.add(sample(HOUR, connections=1))
        assert history.failing is not None
        history.add(sample(HOUR + 10, connections=3))
        assert self.rows(history, HOUR, HOUR + 60, 60, "connections") == [[HOUR, 2, 2.0, 3]]

    def test_wrong_password(self) -> None:
        """The reason is told, and neither password."""
        history = self.opened(in_mysql(mariadb().url("status", "hunter2"), self.reactor))
        assert "Access denied" in str(history.failing)
        said = str(self.flushLoggedErrors()) + str(history.failing) + history._place
        assert "hunter2" not in said
        assert PASSWORD not in said


class AwayTests(HistoryCase):
    """A MariaDB that is stopped and started."""

    def test_away_and_back(self) -> None:
        """What is sampled meanwhile is written when it is back, and each is said once."""
        server = MariaDb()
        self.addCleanup(server.stop)
        history = self.opened(in_mysql(server.new_database(), self.reactor))
        history.add(sample(HOUR, connections=1))
        server.stop()
        for number in (1, 2, 3):
            history.add(sample(HOUR + 10 * number, connections=1 + number))
        assert history.waiting == 3
        self.failureResultOf(history.read(Span(HOUR, HOUR + 60, 60)), HistoryError)
        server.start()
        history.add(sample(HOUR + 40, connections=5))
        assert (history.failing, history.waiting, history.lost) == (None, 0, 0)
        assert self.rows(history, HOUR, HOUR + 60, 60, "connections") == [[HOUR, 5, 3.0, 5]]

    def test_not_there_at_the_start(self) -> None:
        """What is sampled before it comes waits, a day of it at the most."""
        history = self.opened(in_mysql("mysql://pushd@127.0.0.1:1/status", self.reactor))
        for number in range(MAX_WAITING + 5):
            history._waiting.append(sample(HOUR + 10 * number))
        history.add(sample(HOUR))
        assert (history.waiting, history.lost) == (MAX_WAITING, 6)
        assert history._waiting[0].at == HOUR + 60
