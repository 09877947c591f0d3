"""The page for Prometheus, as its own parser reads it."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.stats.machine import Machine
from pushd.stats.metrics import Metrics
from pushd.stats.sampler import Sampler
from pushd.stats.sys_topics import Gauges
from pushd.storage.commit_times import CommitTimes

GAUGES = Gauges(3, 5, 7, 1, 9, 11, 1300, 4, event_loop_late_ms=12, store_failing="disk full")


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        clock.advance(1003)
        self.counters = Counters()
        self.commits = CommitTimes()
        self.machine = Machine()
        self.sampler = Sampler(
            self.counters,
            lambda: succeed(GAUGES),
            self.machine,
            self.commits,
            lambda sample: None,
            clock=clock,
            monotonic_s=clock.seconds,
        )
        self.metrics = Metrics(self.counters, self.sampler, self.machine, self.commits, "1.2.3")

    def families(self) -> dict[str, Metric]:
        """What a scrape learns, by name."""
        page = self.metrics.page().decode()
        return {family.name: family for family in text_string_to_metric_families(page)}

    def value(self, name: str, **labels: str) -> float:
        """Of one line."""
        found: list[Sample] = [
            sample
            for family in self.families().values()
            for sample in family.samples
            if (sample.name, sample.labels) == (name, labels)
        ]
        assert len(found) == 1, (name, labels)
        return float(found[0].value)

    def test_totals(self) -> None:
        """They are those of the moment, whenever the last sample was."""
        self.counters.publish_received = 7
        self.counters.others_received = 2
        self.counters.bytes_sent = 1234
        assert self.value("pushd_messages_received_total") == 7
        assert self.value("pushd_packets_received_total") == 9
        assert self.value("pushd_sent_bytes_total") == 1234

    def test_reasons(self) -> None:
        """Each has a line of its own."""
        self.counters.dropped("queue_full", 3)
        self.counters.login_refused("failed")
        self.counters.plugin_failed("on_publish/timed_out")
        assert self.value("pushd_dropped_messages_total", reason="queue_full") == 3
        assert self.value("pushd_logins_refused_total", reason="failed") == 1
        assert self.value("pushd_plugin_failures_total", reason="on_publish/timed_out") == 1

    def test_gauges(self) -> None:
        """What the broker held at the last sample; before the first there are none."""
        assert "pushd_clients_connected" not in self.families()
        self.sampler.start()
        wanted = {
            "pushd_connections": 4,
            "pushd_clients_connected": 3,
            "pushd_clients_offline": 2,
            "pushd_subscriptions": 8,
            "pushd_retained_messages": 9,
            "pushd_waiting_messages": 2,
            "pushd_stored_bytes": 1300,
            "pushd_event_loop_late_seconds": 0.012,
            "pushd_store_failing": 1,
        }
        assert {name: self.value(name) for name in wanted} == wanted

    def test_commits(self) -> None:
        """A summary: how many, and how long together."""
        self.commits.add(0.25)
        self.commits.add(0.5)
        assert self.value("pushd_store_commit_seconds_count") == 2
        assert self.value("pushd_store_commit_seconds_sum") == 0.75

    def test_process(self) -> None:
        """By the names that dashboards for any process know."""
        assert self.value("process_start_time_seconds") == 1003
        assert self.value("process_cpu_seconds_total") > 0
        assert self.value("process_resident_memory_bytes") > 5_000_000
        assert self.value("process_open_fds") > 2
        assert self.value("pushd_build_info", version="1.2.3") == 1

    def test_conventions(self) -> None:
        """Every family is explained and typed; only the process has names that others have."""
        for counts in (self.counters.publish_dropped, self.counters.connections_closed):
            counts["queue_full"] = 1
        self.sampler.start()
        for name, family in self.families().items():
            assert name.startswith(("pushd_", "process_")), name
            assert family.documentation and family.type in ("counter", "gauge", "summary"), name
            assert all(set(sample.labels) <= {"reason", "version"} for sample in family.samples)

    def test_two_servers_of_one_process(self) -> None:
        """Each has a page of its own."""
        other = Metrics(Counters(), self.sampler, self.machine, CommitTimes(), "2")
        self.counters.publish_sent = 5
        assert b"pushd_messages_sent_total 0.0" in other.page()
        assert self.value("pushd_messages_sent_total") == 5
