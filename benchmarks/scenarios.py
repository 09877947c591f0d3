"""
What is measured, and what pushd is to reach: data, and the figures that follow from one run.

A figure is a number with a name that holds its unit. What a scenario's figures are depends on its mode:

- ``stream`` publishes for some seconds. CPU time of the broker per delivered message is what tells brokers
  apart on a noisy machine; throughput and latency stand beside it.
- ``offline`` publishes to sessions that nobody is connected to, then has their clients come back.
- ``post`` pushes by HTTP, for a session that nobody is connected to.
- ``hold`` opens connections that do nothing, ``push`` publishes one message at a time to many connections.
- ``start`` needs no clients: it looks at the broker itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Figures: TypeAlias = "dict[str, float]"

CPU_PER_MESSAGE = "CPU µs/message"
CPU_PER_COPY = "CPU µs/copy"
CPU_PER_RETURN = "CPU µs/copy returned"
CPU_PER_PUSH = "CPU µs/push"
THROUGHPUT = "messages/s"
PUSHES = "pushes/s"
CPU_PER_DELIVERY = "CPU µs/delivery"
CPU_PER_CONNECTION = "CPU µs/connection"
RSS_PER_CONNECTION = "KiB/connection"
LAST_ARRIVAL = "ms to last"
P50, P99 = "p50 ms", "p99 ms"
START_CPU, BASE_RSS, IDLE_CPU = "CPU s to start", "base RSS MiB", "idle CPU %"

# Counts of what must not happen. They get a column only where one of them is not zero.
FAULTS = ("lost", "duplicates", "misordered", "refused", "protocol_errors", "failed", "dropped")


@dataclass(frozen=True, slots=True)
class Target:
    """
    The most that a figure of pushd's may be, or the least.

    :ivar limit: as an absolute figure. It was set on one machine (2 cores of a virtual server in 2025);
        ``None`` where only the ratio was.
    :ivar ratio: as a multiple of Mosquitto's figure in the same run; this one travels to other machines.
    :ivar least: more is better.
    """

    limit: float | None
    ratio: float | None = None
    least: bool = False

    def allows(self, value: float, bound: float) -> bool:
        """Whether a figure is on the right side of a bound."""
        return value >= bound if self.least else value <= bound


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    One row of the comparison.

    :ivar load: arguments of the load program; none means that the broker is looked at as it is.
    :ivar timed: whether ``--seconds`` changes how long it runs.
    :ivar durability: pushd keeps a store, and this is what it waits for before it acknowledges; other brokers
        keep everything in memory. ``None``: so does pushd.
    :ivar gateway: for brokers with an HTTP gateway only.
    :ivar targets: by name of the figure.
    :ivar beside: the scenario that does the same in MQTT 3.1.1 over plain TCP.
    :ivar most: how many times the CPU per message of that one this may cost the same broker; ``None`` where
        nothing was asked for.
    """

    title: str
    load: str = ""
    timed: bool = True
    tls: bool = False
    websocket: bool = False
    durability: str | None = None
    gateway: bool = False
    targets: Mapping[str, Target] = field(default_factory=dict)
    beside: str | None = None
    most: float | None = None


# What a durable acknowledgement may cost: no more than one that Mosquitto gives out of memory.
_DURABLE = {CPU_PER_MESSAGE: Target(None, 1.0), THROUGHPUT: Target(None, 1.0, least=True)}

# Targets are written as (limit, limit / Mosquitto 2.0.11's figure on the machine where the limit was set).
# The rest of --pause-us after each look at the sockets lets messages gather to batches, as those from many
# machines do; `single` and `trickle` are about messages that come one by one, so they have none.
_PLAIN = {
    "pair1": Scenario(
        "1 publisher → 1 subscriber, QoS 0, saturated",
        "stream --publishers 1 --subscribers 1 --backlog 5000 --pause-us 200",
        targets={CPU_PER_MESSAGE: Target(1.5, 1.5 / 6.2)},
    ),
    "pair50": Scenario(
        "50 publishers → 50 subscribers, QoS 0, saturated",
        "stream --publishers 50 --subscribers 50 --backlog 400 --pause-us 500",
        targets={CPU_PER_MESSAGE: Target(1.9, 1.9 / 5.8)},
    ),
    # A stream to one topic is the best case for a broker that passes runs of messages on in one piece.
    "mixed": Scenario(
        "50 pairs, QoS 0, saturated; each publisher uses ten topics in turn, subscribed to by a wildcard",
        "stream --publishers 50 --subscribers 50 --spread 10 --backlog 400 --pause-us 500",
    ),
    "qos1": Scenario(
        "50 pairs, QoS 1, window 20",
        "stream --publishers 50 --subscribers 50 --qos 1 --window 20 --pause-us 500",
        targets={CPU_PER_MESSAGE: Target(4.5, 4.5 / 10.3)},
    ),
    "qos2": Scenario(
        "50 pairs, QoS 2, window 20",
        "stream --publishers 50 --subscribers 50 --qos 2 --window 20 --pause-us 500",
        targets={CPU_PER_MESSAGE: Target(9.0, 9.0 / 20.4)},
    ),
    **{
        f"qos{qos}-{durability}": Scenario(
            f"50 pairs, QoS {qos}, window 20, persistent sessions; pushd with durability {durability}",
            f"stream --publishers 50 --subscribers 50 --qos {qos} --window 20 --pause-us 500 --persistent",
            durability=durability,
            targets=_DURABLE,
        )
        for qos in (1, 2)
        for durability in ("normal", "full")
    },
    "offline": Scenario(
        "50 publishers, QoS 1, window 20 → one persistent session that is offline, and then returns",
        "offline --publishers 50 --subscribers 1 --qos 1 --window 20 --pause-us 500 --seconds 1",
        timed=False,
        durability="full",
    ),
    "offline1000": Scenario(
        "1 publisher, QoS 1, window 20 → 1000 persistent sessions that are offline, and then return",
        "offline --publishers 1 --subscribers 1000 --qos 1 --window 20 --pause-us 500 --seconds 1",
        timed=False,
        durability="full",
    ),
    "post": Scenario(
        "HTTP pushes of QoS 1 over 20 connections → one persistent session that is offline",
        "post --connections 20 --qos 1",
        durability="full",
        gateway=True,
        targets={PUSHES: Target(5000, least=True)},
    ),
    "post0": Scenario(
        "HTTP pushes of QoS 0 over 20 connections, to nobody, and kept by nobody (cache=no)",
        "post --connections 20 --qos 0",
        gateway=True,
        targets={PUSHES: Target(8000, least=True)},
    ),
    "fanout": Scenario(
        "1 publisher → 1000 subscribers, QoS 0, saturated",
        "stream --publishers 1 --subscribers 1000 --backlog 20 --pause-us 500",
        targets={CPU_PER_MESSAGE: Target(0.65, 0.65 / 7.6)},
    ),
    "fanin": Scenario(
        "100 publishers → 1 subscriber, QoS 0, saturated",
        "stream --publishers 100 --subscribers 1 --backlog 20 --pause-us 500",
        targets={CPU_PER_MESSAGE: Target(1.9, 1.9 / 5.3)},
    ),
    "single": Scenario(
        "50 pairs, one message under way per publisher: nothing to batch",
        "stream --publishers 50 --subscribers 50 --backlog 1",
        targets={CPU_PER_MESSAGE: Target(14, 14 / 12)},
    ),
    "trickle": Scenario(
        "2000 messages/s over 100 pairs: each message its own wake-up",
        "stream --publishers 100 --subscribers 100 --rate 2000",
        targets={
            CPU_PER_MESSAGE: Target(38, 38 / 30),
            P50: Target(0.09, 0.09 / 0.06),
            P99: Target(0.5, 0.5 / 0.5),
        },
    ),
    "push": Scenario(
        "one message to 10 000 held connections",
        "push --connections 10000 --messages 10",
        timed=False,
        targets={LAST_ARRIVAL: Target(110, 110 / 290), CPU_PER_DELIVERY: Target(11, 11 / 28)},
    ),
    "idle": Scenario(
        "15 000 idle connections with a subscription each",
        "hold --connections 15000 --seconds 1",
        timed=False,
        targets={RSS_PER_CONNECTION: Target(2.4, 2.4 / 1.0)},
    ),
    "connect": Scenario(
        "accept + CONNECT + SUBSCRIBE, 5000 times",
        "hold --connections 5000 --seconds 0",
        timed=False,
        targets={CPU_PER_CONNECTION: Target(80, 80 / 43)},
    ),
    "idle-ws": Scenario(
        "5000 connections over WebSocket with a subscription each; then idle",
        "hold --connections 5000 --seconds 1",
        timed=False,
        websocket=True,
        targets={RSS_PER_CONNECTION: Target(8)},
    ),
    "tls": Scenario(
        "1000 mutual TLS 1.3 handshakes, P-256, with CONNECT and SUBSCRIBE; then idle",
        "hold --connections 1000 --seconds 1",
        timed=False,
        tls=True,
        targets={CPU_PER_CONNECTION: Target(None, 1.6), RSS_PER_CONNECTION: Target(28)},
    ),
    "start": Scenario(
        "start, then some seconds without a client",
        targets={START_CPU: Target(0.6), BASE_RSS: Target(60), IDLE_CPU: Target(0.5)},
    ),
}


@dataclass(frozen=True, slots=True)
class Way:
    """
    Another way to have the same messages carried.

    :ivar load: what the load program is told besides.
    :ivar most: `Scenario.most`, by the scenarios that are run this way, too.
    """

    title: str
    most: Mapping[str, float | None]
    load: str = ""
    websocket: bool = False


WAYS = {
    "v5": Way("MQTT 5", {"pair1": 1.3, "pair50": 1.3, "mixed": 1.3, "qos1": None}, "--version 5"),
    "ws": Way(
        "WebSocket, a packet in each frame",
        {"pair1": 2.5, "pair50": 2.5, "mixed": 2.5, "single": 2.5},
        websocket=True,
    ),
    "ws20": Way(
        "WebSocket, up to 20 packets in a frame",
        {"pair50": 2.5},
        "--per-frame 20",
        websocket=True,
    ),
}


def _with_ways(plain: Mapping[str, Scenario]) -> dict[str, Scenario]:
    """Every scenario, followed by its other ways: what is compared shall be measured one after the other."""
    scenarios = {}
    for name, scenario in plain.items():
        scenarios[name] = scenario
        for suffix, way in WAYS.items():
            if name in way.most:
                scenarios[f"{name}-{suffix}"] = _in_another_way(name, scenario, way)
    return scenarios


def _in_another_way(name: str, scenario: Scenario, way: Way) -> Scenario:
    return Scenario(
        f"{scenario.title}; {way.title}",
        f"{scenario.load} {way.load}".rstrip(),
        websocket=way.websocket,
        beside=name,
        most=way.most[name],
    )


SCENARIOS = _with_ways(_PLAIN)


@dataclass(frozen=True, slots=True)
class Sample:
    """A look at a broker's processes: CPU seconds so far (user + system), resident bytes, and when (s)."""

    cpu_s: float
    rss_bytes: float
    at_s: float


LoadResult: TypeAlias = "dict[str, float | str]"  # the line of JSON that the load program ends with


def figures_of_load(result: LoadResult, samples: Mapping[str, Sample]) -> Figures:
    """
    What one run of the load program says about the broker.

    :param samples: at the marks of the load program: ``begin``, ``end``, and what its mode has in between.
    """
    per_mode = {
        "stream": _stream_figures,
        "offline": _offline_figures,
        "post": _post_figures,
        "hold": _hold_figures,
        "push": _push_figures,
    }
    counts = {name: float(value) for name, value in result.items() if name != "mode"}
    figures = per_mode[str(result["mode"])](counts, samples)
    return figures | {fault: counts[fault] for fault in FAULTS}


def figures_of_start(listening: Sample, settled: Sample, later: Sample) -> Figures:
    """
    What a broker without clients costs.

    :param listening: when its port was open first.
    :param settled: a moment after, when it should have nothing left to do.
    :param later: some seconds after that.
    """
    idle_s = later.at_s - settled.at_s
    return {
        START_CPU: listening.cpu_s,
        BASE_RSS: settled.rss_bytes / 2**20,
        IDLE_CPU: 100 * (later.cpu_s - settled.cpu_s) / idle_s,
    }


def _stream_figures(counts: Mapping[str, float], samples: Mapping[str, Sample]) -> Figures:
    messages = max(counts["received"], 1)
    used_s = samples["end"].cpu_s - samples["begin"].cpu_s
    return {
        CPU_PER_MESSAGE: used_s * 1e6 / messages,
        THROUGHPUT: counts["received"] / counts["seconds"],
        P50: counts["p50_ms"],
        P99: counts["p99_ms"],
        "busy %": 100 * used_s / (samples["end"].at_s - samples["begin"].at_s),
        "load µs/message": counts["load_cpu_s"] * 1e6 / messages,
    }


def _offline_figures(counts: Mapping[str, float], samples: Mapping[str, Sample]) -> Figures:
    copies = max(counts["received"] + counts["lost"], 1)
    queueing_s = samples["queued"].cpu_s - samples["begin"].cpu_s
    return {
        CPU_PER_MESSAGE: queueing_s * 1e6 / max(counts["acknowledged"], 1),
        CPU_PER_COPY: queueing_s * 1e6 / copies,
        THROUGHPUT: counts["acknowledged"] / counts["seconds"],
        CPU_PER_RETURN: (samples["end"].cpu_s - samples["queued"].cpu_s) * 1e6 / copies,
        "copies returned/s": counts["received"] / counts["return_seconds"],
    }


def _post_figures(counts: Mapping[str, float], samples: Mapping[str, Sample]) -> Figures:
    used_s = samples["end"].cpu_s - samples["begin"].cpu_s
    return {
        CPU_PER_PUSH: used_s * 1e6 / max(counts["accepted"], 1),
        PUSHES: counts["accepted"] / counts["seconds"],
        "busy %": 100 * used_s / (samples["end"].at_s - samples["begin"].at_s),
    }


def _hold_figures(counts: Mapping[str, float], samples: Mapping[str, Sample]) -> Figures:
    connections = max(counts["ready"], 1)
    return {
        CPU_PER_CONNECTION: (samples["ready"].cpu_s - samples["begin"].cpu_s) * 1e6 / connections,
        RSS_PER_CONNECTION: (samples["end"].rss_bytes - samples["begin"].rss_bytes) / 1024 / connections,
        "connections/s": connections / counts["seconds"],
    }


def _push_figures(counts: Mapping[str, float], samples: Mapping[str, Sample]) -> Figures:
    deliveries = max(counts["received"], 1)
    return {
        LAST_ARRIVAL: counts["median_ms"],
        "slowest ms": counts["max_ms"],
        CPU_PER_DELIVERY: (samples["end"].cpu_s - samples["ready"].cpu_s) * 1e6 / deliveries,
    }
