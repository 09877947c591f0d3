"""Samples, by the clock."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.stats.figures import NAMES, Sample
from pushd.stats.machine import MachineReading, ProcessReading
from pushd.stats.sampler import Sampler
from pushd.stats.sys_topics import Gauges
from pushd.storage.commit_times import CommitTimes

GAUGES = Gauges(
    clients_connected=3,
    clients_total=5,
    subscriptions=7,
    shared_subscriptions=1,
    retained_messages=9,
    stored_messages=11,
    stored_bytes=1300,
    sockets=4,
    packets_out_bytes=60,
    event_loop_late_ms=12,
    scheduled_messages=6,
)


class FixedSystem:
    """Says what it was told to."""

    def __init__(self) -> None:
        self.process = ProcessReading(cpu_s=1.0, memory_bytes=5000, open_files=20)
        self.machine = MachineReading(12.5, memory_bytes=8000, received_bytes=100, sent_bytes=200)

    def read_process(self) -> ProcessReading:
        return self.process

    def read_machine(self) -> MachineReading:
        return self.machine


class SamplerCase(SynchronousTestCase):
    """A sampler on a clock that stands at 1003 s, started."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1003)
        self.counters = Counters()
        self.system = FixedSystem()
        self.commits = CommitTimes()
        self.kept: list[Sample] = []
        self.counted: Deferred[Gauges] | None = None  # the broker is still counting
        self.sampler = self.started()

    def started(self) -> Sampler:
        """One that begins now."""
        sampler = Sampler(
            self.counters,
            lambda: self.counted or succeed(GAUGES),
            self.system,
            self.commits,
            self.kept.append,
            clock=self.clock,
            monotonic_s=self.clock.seconds,
        )
        sampler.start()
        self.addCleanup(sampler.stop)
        return sampler

    def next(self) -> dict[str, float | None]:
        """The figures after another ten seconds."""
        self.clock.advance(10 - self.clock.seconds() % 10)
        return self.kept[-1].named()


class FiguresTests(SamplerCase):
    def test_first_look(self) -> None:
        """There is something to see at once; of rates nothing is known yet."""
        assert self.kept == []
        assert self.sampler.latest is not None
        figures = self.sampler.latest.named()
        assert (figures["clients_connected"], figures["messages_sent_per_s"]) == (3, None)

    def test_what_is_held(self) -> None:
        """The gauges of the broker and of the system, as they are."""
        figures = self.next()
        assert {name: figures[name] for name in NAMES[:16] if figures[name] is not None} == {
            "uptime_s": 7,
            "cpu_percent": 0.0,
            "memory_bytes": 5000,
            "open_files": 20,
            "machine_cpu_percent": 12.5,
            "machine_memory_bytes": 8000,
            "machine_network_received_bytes_per_s": 0.0,
            "machine_network_sent_bytes_per_s": 0.0,
            "event_loop_late_ms": 12,
            "connections": 4,
            "clients_connected": 3,
            "clients_total": 5,
            "subscriptions": 8,
            "retained_messages": 9,
            "waiting_messages": 2,
            "scheduled_messages": 6,
        }
        assert (figures["stored_bytes"], figures["unsent_bytes"]) == (1300, 60)

    def test_rates(self) -> None:
        """What was counted in between, for each of the ten seconds."""
        self.next()
        self.counters.publish_received += 25
        self.counters.publish_sent += 1000
        self.counters.bytes_received += 5
        self.counters.bytes_sent += 12_345
        self.counters.connects_accepted += 1
        self.system.process = ProcessReading(3.5, 5000, 20)
        self.system.machine = MachineReading(50.0, 8000, 1100, 100)
        figures = self.next()
        assert figures["messages_received_per_s"] == 2.5
        assert figures["messages_sent_per_s"] == 100
        assert figures["bytes_received_per_s"] == 0.5
        assert figures["bytes_sent_per_s"] == 1234.5
        assert figures["connects_per_s"] == 0.1
        assert figures["cpu_percent"] == 25.0
        assert figures["machine_network_received_bytes_per_s"] == 100
        assert figures["machine_network_sent_bytes_per_s"] == 0, "an interface went, and took its bytes along"

    def test_rates_of_a_late_sample(self) -> None:
        """They are over the time that has passed, not over that which should have."""
        self.next()
        self.counters.publish_sent += 400
        self.clock.advance(40)
        assert [sample.at for sample in self.kept] == [1000, 1040]
        assert self.kept[-1].named()["messages_sent_per_s"] == 10

    def test_drops(self) -> None:
        """By reason, those of this span only."""
        self.counters.dropped("queue_full", 30)
        self.next()
        self.counters.dropped("queue_full", 5)
        self.counters.dropped("expired")
        assert self.next()["dropped_per_s"] == 0.6
        assert [dict(sample.dropped) for sample in self.kept] == [
            {"queue_full": 30},
            {"queue_full": 5, "expired": 1},
        ]

    def test_commits(self) -> None:
        """How many, how long on average, and the longest of them; nothing if there were none."""
        self.next()
        for duration_s in (0.001, 0.005):
            self.commits.add(duration_s)
        figures = self.next()
        assert (figures["store_commits_per_s"], figures["store_commit_ms"]) == (0.2, 3.0)
        assert figures["store_longest_commit_ms"] == 5.0
        assert self.next()["store_longest_commit_ms"] is None

    def test_a_system_that_tells_nothing(self) -> None:
        """The other figures are there all the same."""
        self.system.process = ProcessReading(None, None, None)
        self.system.machine = MachineReading(None, None, None, None)
        figures = self.next()
        assert figures["cpu_percent"] is figures["machine_network_sent_bytes_per_s"] is None
        assert figures["clients_connected"] == 3


class TimeTests(SamplerCase):
    def test_multiples(self) -> None:
        """One at each multiple of ten seconds, called after the begin of its span."""
        for _ in range(3):
            self.next()
        assert [sample.at for sample in self.kept] == [1000, 1010, 1020]

    def test_too_short_a_span(self) -> None:
        """One that comes soon after the start is not kept: its rates would be noise. The next has all."""
        self.sampler.stop()
        self.clock.advance(4)  # 1007 s
        self.sampler = self.started()
        self.counters.publish_sent += 13
        self.clock.advance(3)
        assert self.kept == []
        self.clock.advance(10)
        assert [(sample.at, sample.named()["messages_sent_per_s"]) for sample in self.kept] == [(1010, 1)]

    def test_failure(self) -> None:
        """A sample that cannot be taken is in the log, and the next one is taken."""
        self.counted = Deferred()
        self.clock.advance(7)
        self.counted.errback(ValueError("no"))
        assert len(self.flushLoggedErrors(ValueError)) == 1
        self.counted = None
        self.next()
        assert [sample.at for sample in self.kept] == [1010]

    def test_stop(self) -> None:
        """Nothing is taken afterwards, not even what was being counted."""
        self.counted = Deferred()
        self.clock.advance(7)
        self.sampler.stop()
        self.counted.callback(GAUGES)
        self.clock.advance(100)
        assert self.kept == []
        assert self.clock.getDelayedCalls() == []
