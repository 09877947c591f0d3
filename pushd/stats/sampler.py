"""
Takes the sample: every ten seconds, what happened since the last one, and how things are now.

Samples are taken at wall-clock multiples of ten seconds, so that those of two servers line up, and so do
those before and after a restart. One bears the time at which its ten seconds began.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.broker.counters import Counters
from pushd.stats.figures import NAMES, SAMPLE_S, Sample
from pushd.stats.machine import MachineReading, ProcessReading
from pushd.stats.sys_topics import Gauges

FAILED = "No sample was taken"

# A timer may fire a hair before the multiple it was set for; the next one is then not this one again.
_EARLY_S = 0.01


class System(Protocol):
    """See `pushd.stats.machine.Machine`."""

    def read_process(self) -> ProcessReading: ...
    def read_machine(self) -> MachineReading: ...


class CommitTimes(Protocol):
    """Those of the store; see `pushd.storage.commit_times.CommitTimes`."""

    count: int
    total_s: float

    def take_longest(self) -> float: ...


class Totals(NamedTuple):
    """What only grows, at one moment; a rate is the difference of two. `at_s` is no wall clock's."""

    at_s: float
    cpu_s: float | None
    network_received_bytes: int | None
    network_sent_bytes: int | None
    connects: int
    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    commits: int
    commit_s: float
    dropped: dict[str, int]


class Sampler:
    """
    Takes samples while it is started.

    :param gauges: asked once for each sample; may take a moment to count.
    :param commits: of the store.
    :param keep: gets each sample but that of the start, and one that comes too soon after it.
    :param clock: its seconds are those of the wall clock, as the reactor's are.
    :param monotonic_s: what durations are measured with: a wall clock is set now and then.
    :ivar began_at: when it was made, in Unix seconds.
    :ivar latest: the last sample; the first is taken at the start and has no rates yet.
    :ivar gauges: those of the last sample.
    """

    _log = Logger()

    def __init__(
        self,
        counters: Counters,
        gauges: Callable[[], Deferred[Gauges]],
        system: System,
        commits: CommitTimes,
        keep: Callable[[Sample], None],
        *,
        clock: IReactorTime,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._count_gauges = gauges
        self._system = system
        self._commits = commits
        self._keep = keep
        self._clock = clock
        self._monotonic_s = monotonic_s
        self.began_at = clock.seconds()
        self._began_s = monotonic_s()
        self._before: Totals | None = None
        self._timer: IDelayedCall | None = None
        self.latest: Sample | None = None
        self.gauges: Gauges | None = None

    @property
    def uptime_s(self) -> float:
        """How long ago this was made."""
        return self._monotonic_s() - self._began_s

    def start(self) -> None:
        """Look around at once, and from here on take samples."""
        if self._timer is None:
            self._take()

    def stop(self) -> None:
        """Take no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take(self) -> None:
        """Take one; come back at the next multiple, whatever goes wrong."""
        # The span that ends now, though the timer be a hair early, or late.
        ends_at = int(self._clock.seconds() + _EARLY_S) // SAMPLE_S * SAMPLE_S
        self._timer = self._clock.callLater(self._delay_s(), self._take)
        taken = self._count_gauges().addCallback(self._counted, ends_at - SAMPLE_S)
        taken.addErrback(lambda failure: self._log.failure(FAILED, failure))

    def _delay_s(self) -> float:
        delay_s = SAMPLE_S - self._clock.seconds() % SAMPLE_S
        return delay_s if delay_s > _EARLY_S else delay_s + SAMPLE_S

    def _counted(self, gauges: Gauges, at: int) -> None:
        if self._timer is None:
            return  # stopped while it was counted
        process, machine = self._system.read_process(), self._system.read_machine()
        before, now = self._before, self._totals(process, machine)
        figures = self._held(gauges, process, machine) | self._commit_times(before, now)
        if before is not None:
            figures |= _rates(before, now)
        self.gauges = gauges
        self.latest = Sample(at, tuple(map(figures.get, NAMES)), _since(before, now))
        if before is None:
            self._before = now
        elif now.at_s - before.at_s >= SAMPLE_S / 2:
            self._before = now
            self._keep(self.latest)
        # Otherwise, just after the start, it would be a row of noise; the next one is about this time too.

    def _totals(self, process: ProcessReading, machine: MachineReading) -> Totals:
        counters = self._counters
        return Totals(
            at_s=self._monotonic_s(),
            cpu_s=process.cpu_s,
            network_received_bytes=machine.received_bytes,
            network_sent_bytes=machine.sent_bytes,
            connects=counters.connects_accepted,
            messages_received=counters.publish_received,
            messages_sent=counters.publish_sent,
            bytes_received=counters.bytes_received,
            bytes_sent=counters.bytes_sent,
            commits=self._commits.count,
            commit_s=self._commits.total_s,
            dropped=counters.publish_dropped.copy(),
        )

    def _held(
        self, gauges: Gauges, process: ProcessReading, machine: MachineReading
    ) -> dict[str, float | None]:
        """What is so at this moment."""
        return {
            "uptime_s": int(self.uptime_s),
            "memory_bytes": process.memory_bytes,
            "open_files": process.open_files,
            "machine_cpu_percent": machine.cpu_percent,
            "machine_memory_bytes": machine.memory_bytes,
            "event_loop_late_ms": gauges.event_loop_late_ms,
            "connections": gauges.sockets,
            "clients_connected": gauges.clients_connected,
            "clients_total": gauges.clients_total,
            "subscriptions": gauges.subscriptions + gauges.shared_subscriptions,
            "retained_messages": gauges.retained_messages,
            "waiting_messages": gauges.stored_messages - gauges.retained_messages,
            "scheduled_messages": gauges.scheduled_messages,
            "stored_bytes": gauges.stored_bytes,
            "unsent_bytes": gauges.packets_out_bytes,
        }

    def _commit_times(self, before: Totals | None, now: Totals) -> dict[str, float | None]:
        longest_s = self._commits.take_longest()
        commits = now.commits - (before.commits if before else 0)
        if not commits:
            return {}
        mean_s = (now.commit_s - (before.commit_s if before else 0.0)) / commits
        return {"store_commit_ms": _short(mean_s * 1000), "store_longest_commit_ms": _short(longest_s * 1000)}


def _rates(before: Totals, now: Totals) -> dict[str, float | None]:
    """What happened in between, for each second of it."""
    elapsed_s = now.at_s - before.at_s

    def rate(old: float | None, new: float | None) -> float | None:
        """An interface that is gone takes its bytes along: that is no rate below 0."""
        if old is None or new is None or elapsed_s <= 0:
            return None
        return _short(max(0.0, new - old) / elapsed_s)

    cpu = rate(before.cpu_s, now.cpu_s)
    return {
        "cpu_percent": None if cpu is None else _short(cpu * 100),
        "machine_network_received_bytes_per_s": rate(
            before.network_received_bytes, now.network_received_bytes
        ),
        "machine_network_sent_bytes_per_s": rate(before.network_sent_bytes, now.network_sent_bytes),
        "connects_per_s": rate(before.connects, now.connects),
        "messages_received_per_s": rate(before.messages_received, now.messages_received),
        "messages_sent_per_s": rate(before.messages_sent, now.messages_sent),
        "bytes_received_per_s": rate(before.bytes_received, now.bytes_received),
        "bytes_sent_per_s": rate(before.bytes_sent, now.bytes_sent),
        "dropped_per_s": rate(sum(before.dropped.values()), sum(now.dropped.values())),
        "store_commits_per_s": rate(before.commits, now.commits),
    }


def _since(before: Totals | None, now: Totals) -> dict[str, int]:
    """Messages dropped in between, by reason."""
    old = before.dropped if before else {}
    counts = {reason: count - old.get(reason, 0) for reason, count in now.dropped.items()}
    return {reason: count for reason, count in counts.items() if count}


def _short(value: float) -> float:
    """Three decimals say all that there is to say."""
    return round(value, 3)
