"""`pushd.service.status`: where the history is, and what the gateway hears."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.defer import succeed

from pushd import __version__
from pushd.broker.counters import Counters
from pushd.config.settings import Settings
from pushd.gateway.history_query import Query
from pushd.service.status import StatusOffice, make_history
from pushd.stats.history import History
from pushd.stats.sys_topics import Gauges
from pushd.storage.commit_times import CommitTimes
from tests.stats.histories import HOUR, HistoryCase

GAUGES = Gauges(3, 5, 7, 1, 9, 11, 1300, 4)


class PlaceTests(HistoryCase):
    """Which database the settings mean."""

    def made(self, **settings: Any) -> str:
        history = make_history(Settings((), **settings), self.reactor)
        self.addCleanup(history.close)
        return history._place

    def test_places(self) -> None:
        """A file beside the store, memory without one, and MariaDB if one is named."""
        assert (
            self.made(persistence=True, persistence_location="/var/lib/pushd/") == "/var/lib/pushd/status.db"
        )
        place = self.made(persistence=True, persistence_location="a", persistence_file="b.db")
        assert place == "a/b.status.db"
        assert self.made() == "memory"
        url = "mysql://pushd:secret@[::1]/our%20status"
        assert self.made(persistence=True, status_database=url) == "database our status at [::1]:3306"


class OfficeTests(HistoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.counters = Counters()
        self.histories: list[History] = []
        self.office = StatusOffice(
            self.counters,
            lambda: succeed(GAUGES),
            CommitTimes(),
            self.make_history,
            self.reactor,
            self.reactor.seconds,
        )

    def make_history(self) -> History:
        self.histories.append(make_history(Settings(()), self.reactor))
        return self.histories[-1]

    def start(self) -> None:
        self.office.start()
        self.addCleanup(self.office.stop)

    def test_before_the_start(self) -> None:
        """Whoever asks gets an answer."""
        assert set(self.office.now()["figures"].values()) == {None}
        assert self.successResultOf(self.office.history(Query(HOUR, HOUR + 60, 10, None))) is None
        assert b"pushd_messages_sent_total 0.0" in self.office.metrics()
        self.successResultOf(self.office.stop())

    def test_now(self) -> None:
        """The last sample, and totals of the moment."""
        self.start()
        self.reactor.advance(10)
        self.counters.publish_sent = 5
        self.counters.dropped("expired")
        now = json.loads(json.dumps(self.office.now()))
        assert (now["time"], now["started"], now["version"]) == (HOUR + 10, HOUR, __version__)
        assert (now["figures"]["uptime_s"], now["figures"]["clients_connected"]) == (10, 3)
        assert (now["messages_sent"], now["dropped"]) == (5, {"expired": 1})
        assert now["history"] == {"failing": None, "waiting": 0, "lost": 0}

    def test_history(self) -> None:
        """What was sampled, in the columns that are asked for."""
        self.start()
        self.reactor.pump([10, 10])
        answer = self.successResultOf(self.office.history(Query(HOUR, HOUR + 60, 10, ["connections"])))
        assert answer is not None
        assert json.loads(answer)["rows"] == [[HOUR, 1, 4, 4], [HOUR + 10, 1, 4, 4]]

    def test_listeners(self) -> None:
        """Each hears of each sample, until it has heard enough."""
        self.start()
        heard: list[int] = []
        stop = self.office.listen(lambda status: heard.append(status["time"]))
        self.reactor.pump([10, 10])
        stop()
        self.reactor.pump([10])
        assert heard == [HOUR + 10, HOUR + 20]

    def test_stop(self) -> None:
        """Nothing is sampled any more, no client should come, and the history is closed."""
        self.office.start()
        self.office.ready = True
        self.successResultOf(self.office.stop())
        assert not self.office.ready
        assert self.reactor.getDelayedCalls() == []
        assert not os.path.exists("status.db")
