"""
The same figures for Prometheus, by its naming conventions: base units in the name, ``_total`` for what only
grows.

Totals and what is said of the process are those of the moment, so that a rate over them is right whatever the
interval of the scrapes. What has to be counted is taken from the last sample: nobody makes the broker count
by asking. All labels are words of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from pushd.broker.counters import Counters
from pushd.stats.sampler import CommitTimes, Sampler, System
from pushd.stats.sys_topics import Gauges

# What only grows, and how it is called there.
_TOTALS: tuple[tuple[str, str, Callable[[Counters], int]], ...] = (
    ("messages_received", "PUBLISH packets received", lambda counters: counters.publish_received),
    ("messages_sent", "PUBLISH packets sent", lambda counters: counters.publish_sent),
    ("packets_received", "MQTT packets received", lambda counters: counters.messages_received),
    ("packets_sent", "MQTT packets sent", lambda counters: counters.messages_sent),
    ("received_bytes", "Bytes of MQTT received", lambda counters: counters.bytes_received),
    ("sent_bytes", "Bytes of MQTT sent", lambda counters: counters.bytes_sent),
    ("payload_received_bytes", "Payload bytes received", lambda counters: counters.publish_bytes_received),
    ("payload_sent_bytes", "Payload bytes sent", lambda counters: counters.publish_bytes_sent),
    ("connections_accepted", "Network connections accepted", lambda counters: counters.connections_accepted),
    ("connects_accepted", "Clients let in", lambda counters: counters.connects_accepted),
    ("sessions_expired", "Sessions ended by their expiry", lambda counters: counters.clients_expired),
)
_BY_REASON: tuple[tuple[str, str, Callable[[Counters], dict[str, int]]], ...] = (
    (
        "dropped_messages",
        "Messages that a subscriber did not get",
        lambda counters: counters.publish_dropped,
    ),
    (
        "connections_refused",
        "Connections that never had a client",
        lambda counters: counters.connections_refused,
    ),
    (
        "connections_closed",
        "Clients that were disconnected",
        lambda counters: counters.connections_closed,
    ),
    (
        "connections_paused",
        "Times that nobody was let in for a moment",
        lambda counters: counters.connections_paused,
    ),
    ("logins_refused", "Logins refused, by MQTT and HTTP", lambda counters: counters.logins_refused),
    (
        "plugin_failures",
        "Questions that a plugin did not answer",
        lambda counters: counters.plugin_failures,
    ),
)
_GAUGES: tuple[tuple[str, str, Callable[[Gauges], float]], ...] = (
    ("connections", "Network connections open", lambda gauges: gauges.sockets),
    ("clients_connected", "Clients connected", lambda gauges: gauges.clients_connected),
    (
        "clients_offline",
        "Clients away whose session is kept",
        lambda gauges: gauges.clients_total - gauges.clients_connected,
    ),
    (
        "subscriptions",
        "Subscriptions, shared ones included",
        lambda gauges: gauges.subscriptions + gauges.shared_subscriptions,
    ),
    ("retained_messages", "Retained messages", lambda gauges: gauges.retained_messages),
    (
        "waiting_messages",
        "Messages queued or in flight, counted for each session",
        lambda gauges: gauges.stored_messages - gauges.retained_messages,
    ),
    ("scheduled_messages", "Messages to be published later", lambda gauges: gauges.scheduled_messages),
    (
        "stored_bytes",
        "Payload bytes of what is retained, queued or in flight",
        lambda gauges: gauges.stored_bytes,
    ),
    ("unsent_bytes", "Bytes that peers have not taken yet", lambda gauges: gauges.packets_out_bytes),
    (
        "event_loop_late_seconds",
        "The latest that the event loop was in ten seconds",
        lambda gauges: gauges.event_loop_late_ms / 1000,
    ),
    (
        "store_failing",
        "1 while nothing can be made durable",
        lambda gauges: int(gauges.store_failing is not None),
    ),
)


class Metrics(Collector):
    """One server's figures, in a registry of their own."""

    def __init__(
        self, counters: Counters, sampler: Sampler, system: System, commits: CommitTimes, version: str
    ) -> None:
        self._counters = counters
        self._sampler = sampler
        self._system = system
        self._commits = commits
        self._version = version
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def page(self) -> bytes:
        """The text format, version 0.0.4."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing else is in the registry, so that no names can collide."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Each family of figures, for the registry."""
        yield from self._about_process()
        for name, text, total in _TOTALS:
            yield CounterMetricFamily(f"pushd_{name}", text, total(self._counters))
        for name, text, counts in _BY_REASON:
            yield _by_reason(f"pushd_{name}", text, counts(self._counters))
        if self._sampler.gauges is not None:
            for name, text, gauge in _GAUGES:
                yield GaugeMetricFamily(f"pushd_{name}", text, gauge(self._sampler.gauges))
        yield SummaryMetricFamily(
            "pushd_store_commit_seconds",
            "Commits of the store, and the time they took",
            self._commits.count,
            self._commits.total_s,
        )

    def _about_process(self) -> Iterator[Metric]:
        """By the names that the client libraries of Prometheus have for these."""
        build = GaugeMetricFamily("pushd_build_info", "The version of pushd", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        yield GaugeMetricFamily(
            "process_start_time_seconds", "Start of the process, in Unix time", self._sampler.began_at
        )
        process = self._system.read_process()
        if process.cpu_s is not None:
            yield CounterMetricFamily("process_cpu_seconds", "CPU time, user and system", process.cpu_s)
        if process.memory_bytes is not None:
            yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory", process.memory_bytes)
        if process.open_files is not None:
            yield GaugeMetricFamily("process_open_fds", "Open file descriptors", process.open_files)


def _by_reason(name: str, text: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["reason"])
    for reason, count in counts.items():
        family.add_metric([reason], count)
    return family
