"""The $SYS tree."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.stats.sys_topics import Gauges, SysTopics

GAUGES = Gauges(
    clients_connected=3,
    clients_total=5,
    subscriptions=7,
    shared_subscriptions=1,
    retained_messages=9,
    stored_messages=11,
    stored_bytes=1300,
    sockets=4,
    packets_out=2,
    packets_out_bytes=60,
    event_loop_late_ms=12,
)
LOADS = (
    "messages/received",
    "messages/sent",
    "publish/dropped",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
)


class SysTopicsCase(SynchronousTestCase):
    """A tree on a clock that stands at 1000.5 s, publishing into a list."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.5)
        self.counters = Counters()
        self.gauges = GAUGES
        self.sent: list[tuple[str, bytes]] = []

    def publish(self, topic: str, payload: bytes) -> None:
        """What the broker would do."""
        self.sent.append((topic, payload))

    def tree(
        self,
        interval_s: int = 10,
        publish: Callable[[str, bytes], None] | None = None,
        started: bool = True,
        gauges: Callable[[], Deferred[Gauges]] | None = None,
    ) -> SysTopics:
        """The object under test."""
        tree = SysTopics(
            self.counters,
            gauges or (lambda: succeed(self.gauges)),
            publish or self.publish,
            version="1.2.3",
            interval_s=interval_s,
            clock=self.clock,
            monotonic_s=self.clock.seconds,
            heap_bytes=lambda: (5000, 6000),
        )
        if started:
            tree.start()
        return tree

    def said(self, name: str) -> bytes:
        """What the topic below ``$SYS/broker/`` was last told; a KeyError if it was not."""
        return dict(self.sent)["$SYS/broker/" + name]

    def next_update(self) -> dict[str, bytes]:
        """What another interval publishes, by topic below ``$SYS/broker/``."""
        self.sent.clear()
        self.clock.advance(10)
        return {topic.removeprefix("$SYS/broker/"): payload for topic, payload in self.sent}


class ContentTests(SysTopicsCase):
    """Which topics there are and what they say."""

    def test_version(self) -> None:
        """The version says what it is a version of."""
        self.tree()
        assert self.said("version") == b"pushd version 1.2.3"

    def test_uptime(self) -> None:
        """Whole seconds, with the word."""
        self.tree()
        assert self.said("uptime") == b"0 seconds"
        self.clock.advance(29.5)
        assert self.said("uptime") == b"29 seconds"

    def test_clients(self) -> None:
        """Clients online, offline, and under the names that older exporters read."""
        self.counters.clients_maximum = 4
        self.counters.clients_expired = 6
        self.tree()
        wanted = {
            "total": b"5",
            "maximum": b"4",
            "connected": b"3",
            "active": b"3",
            "disconnected": b"2",
            "inactive": b"2",
            "expired": b"6",
        }
        assert {name: self.said(f"clients/{name}") for name in wanted} == wanted

    def test_what_is_held(self) -> None:
        """Subscriptions, retained and stored messages, packets and connections have a topic each."""
        self.tree()
        wanted = {
            "messages/stored": b"11",
            "store/messages/count": b"11",
            "store/messages/bytes": b"1300",
            "subscriptions/count": b"7",
            "shared_subscriptions/count": b"1",
            "retained messages/count": b"9",
            "packet/out/count": b"2",
            "packet/out/bytes": b"60",
            "connections/socket/count": b"4",
            "event_loop/late/ms": b"12",
            "heap/current": b"5000",
            "heap/maximum": b"6000",
        }
        assert {name: self.said(name) for name in wanted} == wanted

    def test_totals(self) -> None:
        """Every counter comes out where Mosquitto puts it."""
        wanted = {
            "bytes_received": "bytes/received",
            "bytes_sent": "bytes/sent",
            "publish_received": "publish/messages/received",
            "publish_sent": "publish/messages/sent",
            "publish_bytes_received": "publish/bytes/received",
            "publish_bytes_sent": "publish/bytes/sent",
        }
        for number, counter in enumerate(wanted, start=100):
            setattr(self.counters, counter, number)
        self.tree()
        assert [self.said(name) for name in wanted.values()] == [b"%d" % n for n in range(100, 106)]

    def test_messages_are_packets_of_any_type(self) -> None:
        """As in Mosquitto, a "message" is not only a PUBLISH."""
        self.counters.publish_received, self.counters.others_received = 3, 4
        self.counters.publish_sent, self.counters.others_sent = 5, 6
        self.tree()
        assert self.said("messages/received") == b"7"
        assert self.said("messages/sent") == b"11"

    def test_drops_by_reason(self) -> None:
        """What was dropped is told as one sum and by reason."""
        self.counters.dropped("queue_full", 3)
        self.counters.dropped("too_large")
        self.tree()
        assert self.said("publish/messages/dropped") == b"4"
        assert self.said("publish/messages/dropped/queue_full") == b"3"
        assert self.said("publish/messages/dropped/too_large") == b"1"

    def test_connections_by_reason(self) -> None:
        """Those that never had a client, those we ended, and the times that nobody was let in."""
        self.counters.refused("not_authorized")
        self.counters.refused("connect_timeout")
        self.counters.closed("malformed_packet")
        self.counters.paused("open_files")
        self.tree()
        wanted = {
            "refused": b"2",
            "refused/not_authorized": b"1",
            "refused/connect_timeout": b"1",
            "closed": b"1",
            "closed/malformed_packet": b"1",
            "paused": b"1",
            "paused/open_files": b"1",
        }
        assert {name: self.said(f"connections/{name}") for name in wanted} == wanted

    def test_loads_are_there_from_the_start(self) -> None:
        """A dashboard finds all 27 load topics before there is any load."""
        self.tree()
        for name in LOADS:
            for window in ("1min", "5min", "15min"):
                assert self.said(f"load/{name}/{window}") == b"0.00"

    def test_each_load_follows_its_counter(self) -> None:
        """6 of something in an interval show under its name, with two decimals."""
        self.tree()
        self.clock.advance(9.5)
        for counter in ("publish_received", "publish_sent"):
            setattr(self.counters, counter, 6)
        for counter in ("bytes_received", "bytes_sent", "connections_accepted", "connects_accepted"):
            setattr(self.counters, counter, 6)
        self.counters.dropped("queue_full", 6)
        loads = self.next_update()
        for name in LOADS:
            assert loads[f"load/{name}/1min"] == b"5.53"
            assert loads[f"load/{name}/15min"] == b"0.40"


class TimingTests(SysTopicsCase):
    """When it publishes."""

    def test_only_changes(self) -> None:
        """An idle broker tells its uptime and nothing else."""
        self.tree()
        self.clock.advance(9.5)
        assert self.next_update() == {"uptime": b"19 seconds"}

    def test_one_change(self) -> None:
        """A figure that moved is published alone."""
        self.tree()
        self.clock.advance(9.5)
        self.gauges = GAUGES._replace(subscriptions=8)
        assert self.next_update() == {"uptime": b"19 seconds", "subscriptions/count": b"8"}

    def test_a_load_settles(self) -> None:
        """After a burst the averages fall to 0.00 and then say nothing more."""
        self.tree()
        self.counters.others_received = 6
        self.clock.pump([10] * 1000)
        assert self.said("load/messages/received/1min") == b"0.00"
        assert self.said("load/messages/received/15min") == b"0.00"
        assert list(self.next_update()) == ["uptime"]

    def test_multiples_of_the_interval(self) -> None:
        """Started at 1000.5 s, it updates at 1010, 1020 and 1030."""
        self.tree()
        at: list[float] = []
        self.tree(publish=lambda topic, payload: at.append(self.clock.seconds()))
        for _ in range(300):
            self.clock.advance(0.1)
        assert sorted({round(moment) for moment in at}) == [1000, 1010, 1020, 1030]

    def test_no_drift(self) -> None:
        """An update that comes late does not make the next one late."""
        self.tree()
        self.clock.advance(13)  # a busy reactor: 3.5 s after 1010
        delayed = self.clock.getDelayedCalls()
        assert [call.getTime() for call in delayed] == [1020]

    def test_a_timer_that_fires_early(self) -> None:
        """A hair before the multiple counts as the multiple; there is no second update at once."""
        self.clock.advance(9.4999)
        self.tree()
        assert [round(call.getTime(), 3) for call in self.clock.getDelayedCalls()] == [1020]

    def test_interval_zero(self) -> None:
        """``sys_interval 0`` means no $SYS at all."""
        self.tree(interval_s=0)
        self.clock.advance(100)
        assert self.sent == []
        assert self.clock.getDelayedCalls() == []

    def test_not_before_start(self) -> None:
        """Nothing is published while the broker is being put together."""
        self.tree(started=False)
        self.clock.advance(100)
        assert self.sent == []

    def test_started_twice(self) -> None:
        """A second start adds no second timer."""
        self.tree().start()
        assert len(self.clock.getDelayedCalls()) == 1

    def test_stop(self) -> None:
        """A stopped tree leaves no timer behind, and may be stopped again."""
        tree = self.tree()
        tree.stop()
        tree.stop()
        assert self.clock.getDelayedCalls() == []

    def test_set_interval(self) -> None:
        """A reload that changes sys_interval counts from then on."""
        tree = self.tree()
        tree.set_interval(60)
        assert [call.getTime() for call in self.clock.getDelayedCalls()] == [1020]
        tree.set_interval(0)
        assert self.clock.getDelayedCalls() == []
        tree.set_interval(5)
        assert [call.getTime() for call in self.clock.getDelayedCalls()] == [1005]


class CountingTests(SysTopicsCase):
    """Of many sessions, the gauges take a moment."""

    def setUp(self) -> None:
        super().setUp()
        self.counted: Deferred[Gauges] = Deferred()

    def test_waits_for_the_count(self) -> None:
        """Nothing is published before everything is counted."""
        self.tree(gauges=lambda: self.counted)
        assert self.sent == []
        self.counted.callback(GAUGES)
        assert self.said("clients/total") == b"5"

    def test_stopped_meanwhile(self) -> None:
        """After a stop, a count that ends is not published."""
        self.tree(gauges=lambda: self.counted).stop()
        self.counted.callback(GAUGES)
        assert self.sent == []

    def test_a_failing_count(self) -> None:
        """It is logged, and the next update comes."""
        self.tree(gauges=lambda: self.counted)
        self.counted.errback(RuntimeError("miscounted"))
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        self.counted = Deferred()
        self.clock.advance(10)
        self.counted.callback(GAUGES)
        assert self.said("uptime") == b"10 seconds"


class TroubleTests(SysTopicsCase):
    """What a failure costs."""

    def test_a_failing_publish(self) -> None:
        """An exception is logged once per update, and the next update comes and catches up."""
        broken = True

        def publish(topic: str, payload: bytes) -> None:
            if broken:
                raise RuntimeError("no broker")
            self.publish(topic, payload)

        self.tree(publish=publish)
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        broken = False
        self.clock.advance(10)
        assert self.said("version") == b"pushd version 1.2.3"

    def test_publishing_that_counts(self) -> None:
        """A $SYS message that a subscriber's full queue drops does not disturb the update that sends it."""

        def publish(topic: str, payload: bytes) -> None:
            self.counters.dropped(f"reason {len(self.sent)}")
            self.publish(topic, payload)

        self.tree(publish=publish)
        assert self.said("publish/bytes/sent") == b"0"
        assert self.said("load/connections/15min") == b"0.00"
