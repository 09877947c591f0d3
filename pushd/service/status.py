"""
The status of this process: who samples it, where its history is kept, and what the gateway tells of it.

There is a history with or without a gateway, so that whoever opens one on the day of the trouble can look
back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd import __version__
from pushd.broker.counters import Counters
from pushd.config.settings import Settings
from pushd.stats.databases import in_file, in_memory, in_mysql
from pushd.stats.figures import FIGURES, NAMES, SAMPLE_S, Sample
from pushd.stats.history import History
from pushd.stats.machine import Machine
from pushd.stats.sampler import CommitTimes, Sampler
from pushd.stats.sys_topics import Gauges
from pushd.stats.tables import RESOLUTIONS, HistoryError, Span

if TYPE_CHECKING:
    from pushd.gateway.history_query import Query
    from pushd.stats.metrics import Metrics

log = Logger()


def make_history(settings: Settings, reactor: Any) -> History:
    """Where the settings say. Nothing is opened before the reactor runs."""
    if settings.status_database is not None:
        return in_mysql(settings.status_database, reactor)
    if settings.persistence:
        return in_file(file_beside(settings.store_path), reactor)
    return in_memory(reactor)


def file_beside(store_path: str) -> str:
    """As ``pushd.db``, so ``status.db``: two stores in one folder have two histories."""
    stem, ending = os.path.splitext(store_path)
    return f"{stem.removesuffix('pushd')}status{ending}"


class StatusOffice:
    """
    A `pushd.gateway.status.Status`, and what it is made of.

    :param gauges: what the broker holds; counted anew at each call.
    :param make_history: called at the start.
    :ivar ready: whether clients are let in; see `pushd.gateway.status.ReadyPage`.
    """

    kept = tuple(RESOLUTIONS)
    names = NAMES

    def __init__(
        self,
        counters: Counters,
        gauges: Callable[[], Deferred[Gauges]],
        commits: CommitTimes,
        make_history: Callable[[], History],
        clock: Any,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._commits = commits
        self._make_history = make_history
        self._history: History | None = None
        self._machine = Machine()
        self._sampler = Sampler(
            counters, gauges, self._machine, commits, self._keep, clock=clock, monotonic_s=monotonic_s
        )
        self._metrics: Metrics | None = None
        self._listeners: list[Callable[[dict[str, Any]], object]] = []
        self.ready = False

    def start(self) -> None:
        """The process is the user now that it stays, and may open files."""
        self._history = self._make_history()
        self._history.open()
        self._sampler.start()

    def stop(self) -> Deferred[None]:
        """Sample no more, and let go of the database."""
        self.ready = False
        self._sampler.stop()
        return succeed(None) if self._history is None else self._history.close()

    def _keep(self, sample: Sample) -> None:
        if self._history is not None:
            self._history.add(sample)
        for callback in self._listeners.copy():
            callback(self.now())

    # What the gateway asks

    def now(self) -> dict[str, Any]:
        """See `pushd.gateway.status.StatusPages.status`."""
        sample, gauges, counters = self._sampler.latest, self._sampler.gauges, self._counters
        return {
            "time": None if sample is None else sample.at + SAMPLE_S,
            "started": int(self._sampler.began_at),
            "version": __version__,
            "ready": self.ready,
            "store_failing": None if gauges is None else gauges.store_failing,
            "history": self._told_of_history(),
            "figures": dict.fromkeys(NAMES) if sample is None else sample.named(),
            "messages_received": counters.publish_received,
            "messages_sent": counters.publish_sent,
            "bytes_received": counters.bytes_received,
            "bytes_sent": counters.bytes_sent,
            "connections_accepted": counters.connections_accepted,
            "connects_accepted": counters.connects_accepted,
            "clients_maximum": counters.clients_maximum,
            "clients_expired": counters.clients_expired,
            "dropped": counters.publish_dropped,
            "connections_refused": counters.connections_refused,
            "connections_closed": counters.connections_closed,
            "connections_paused": counters.connections_paused,
            "logins_refused": counters.logins_refused,
            "plugin_failures": counters.plugin_failures,
        }

    def _told_of_history(self) -> dict[str, Any]:
        """Whether it is written, and what waits for that."""
        history = self._history
        if history is None:
            return {"failing": None, "waiting": 0, "lost": 0}
        return {"failing": history.failing, "waiting": history.waiting, "lost": history.lost}

    def history(self, query: Query) -> Deferred[bytes | None]:
        """See `pushd.gateway.status.StatusPages.history`."""
        if self._history is None:
            return succeed(None)
        span = Span(query.begin, query.end, query.step_s)
        columns = NAMES if query.columns is None else query.columns
        answer: Deferred[Any] = self._history.read(span, [one for one in FIGURES if one.name in columns])
        return answer.addErrback(_not_now)

    def listen(self, callback: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        """Call it with `now` after each sample. :return: ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def metrics(self) -> bytes:
        """See `pushd.stats.metrics`. Imported by the first scrape: that takes 10 ms, and 1 MB of memory."""
        if self._metrics is None:
            from pushd.stats.metrics import Metrics

            self._metrics = Metrics(self._counters, self._sampler, self._machine, self._commits, __version__)
        return self._metrics.page()


def _not_now(failure: Failure) -> None:
    failure.trap(HistoryError)
