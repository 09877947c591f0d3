"""From counts of the load program and looks at the broker to figures."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.scenarios import (
    BASE_RSS,
    CPU_PER_CONNECTION,
    CPU_PER_COPY,
    CPU_PER_DELIVERY,
    CPU_PER_MESSAGE,
    CPU_PER_PUSH,
    CPU_PER_RETURN,
    FAULTS,
    IDLE_CPU,
    LAST_ARRIVAL,
    PUSHES,
    RSS_PER_CONNECTION,
    SCENARIOS,
    START_CPU,
    THROUGHPUT,
    WAYS,
    Figures,
    LoadResult,
    Sample,
    figures_of_load,
    figures_of_start,
)


def result(mode: str, **counts: float) -> LoadResult:
    """A line of the load program's, without faults unless they are given."""
    return {"mode": mode, **dict.fromkeys(FAULTS, 0.0), **counts}


def stream(**counts: float) -> Figures:
    """Figures of a second in which the broker used half a core."""
    given = {"received": 100_000, "seconds": 2.0, "load_cpu_s": 0.1, "p50_ms": 1, "p99_ms": 2} | counts
    samples = {"begin": Sample(1.0, 0, 10.0), "end": Sample(1.5, 0, 11.0)}
    return figures_of_load(result("stream", **given), samples)


class StreamTests(SynchronousTestCase):
    """Publishers and subscribers for some seconds."""

    def test_cpu_is_divided_among_deliveries(self) -> None:
        """Half a second for 100 000 messages is 5 µs each."""
        self.assertAlmostEqual(stream()[CPU_PER_MESSAGE], 5.0)

    def test_throughput_is_over_the_time_of_delivery(self) -> None:
        """The load program's clock counts, from the first message to the last arrival."""
        self.assertEqual(stream()["messages/s"], 50_000)

    def test_busy_is_cpu_over_time(self) -> None:
        """A saturated broker is near 100 %; less tells that the load was not enough."""
        self.assertAlmostEqual(stream()["busy %"], 50.0)

    def test_nothing_received(self) -> None:
        """A broker that delivers nothing gives figures, not a division by zero."""
        self.assertEqual(stream(received=0, lost=7)["lost"], 7)

    def test_faults_are_kept(self) -> None:
        """Each fault that the load program counts is a figure."""
        self.assertEqual(
            {name: stream(misordered=3)[name] for name in ("misordered", "lost")},
            {"misordered": 3, "lost": 0},
        )


class WaitingTests(SynchronousTestCase):
    """Messages for clients that are away."""

    def test_offline(self) -> None:
        """Queueing counts by message and by copy, the way back by copy."""
        samples = {
            "begin": Sample(1.0, 0, 0),
            "queued": Sample(1.5, 0, 0),
            "end": Sample(2.5, 0, 0),
        }
        counts = {"acknowledged": 1000, "received": 10_000, "seconds": 0.5, "return_seconds": 2.0}
        figures = figures_of_load(result("offline", **counts), samples)
        self.assertAlmostEqual(figures[CPU_PER_MESSAGE], 500.0)
        self.assertAlmostEqual(figures[CPU_PER_COPY], 50.0)
        self.assertAlmostEqual(figures[CPU_PER_RETURN], 100.0)
        self.assertEqual((figures[THROUGHPUT], figures["copies returned/s"]), (2000, 5000))

    def test_post(self) -> None:
        """Only pushes that were accepted count; those refused are faults."""
        samples = {"begin": Sample(1.0, 0, 0), "end": Sample(2.0, 0, 2.0)}
        counts = result("post", accepted=5000, seconds=2.0) | {"refused": 3.0}
        figures = figures_of_load(counts, samples)
        self.assertEqual((figures[PUSHES], figures["busy %"], figures["refused"]), (2500, 50, 3))
        self.assertAlmostEqual(figures[CPU_PER_PUSH], 200.0)


class ConnectionTests(SynchronousTestCase):
    """Connections that are opened and held."""

    def test_hold(self) -> None:
        """CPU counts until all are ready, memory from before the first to the end of the hold."""
        samples = {
            "begin": Sample(1.0, 2**20, 0),
            "ready": Sample(1.4, 0, 0),
            "end": Sample(1.9, 2**20 + 20_480_000, 0),
        }
        figures = figures_of_load(result("hold", ready=10_000, seconds=0.5), samples)
        self.assertAlmostEqual(figures[CPU_PER_CONNECTION], 40.0)
        self.assertAlmostEqual(figures[RSS_PER_CONNECTION], 2.0)
        self.assertEqual(figures["connections/s"], 20_000)

    def test_push(self) -> None:
        """CPU counts from when all connections are held."""
        samples = {"begin": Sample(0, 0, 0), "ready": Sample(1.0, 0, 0), "end": Sample(2.0, 0, 0)}
        counts = result("push", received=100_000, median_ms=88.0, max_ms=99.0)
        figures = figures_of_load(counts, samples)
        self.assertAlmostEqual(figures[CPU_PER_DELIVERY], 10.0)
        self.assertEqual(figures[LAST_ARRIVAL], 88.0)


class StartTests(SynchronousTestCase):
    """A broker without clients."""

    def test_start(self) -> None:
        """CPU until listening, memory once settled, and the share of a core afterwards."""
        figures = figures_of_start(Sample(0.4, 0, 1.0), Sample(0.5, 50 * 2**20, 2.0), Sample(0.52, 0, 6.0))
        self.assertEqual((figures[START_CPU], figures[BASE_RSS]), (0.4, 50))
        self.assertAlmostEqual(figures[IDLE_CPU], 0.5)


class WayTests(SynchronousTestCase):
    """Scenarios that are those of others, done in another way."""

    def test_follows_what_it_is_compared_to(self) -> None:
        """The same load but for the way, measured right after."""
        names = list(SCENARIOS)
        self.assertEqual(names[names.index("pair1") + 1], "pair1-v5")
        self.assertEqual(SCENARIOS["pair1-v5"].load, SCENARIOS["pair1"].load + " --version 5")
        self.assertEqual((SCENARIOS["pair1-v5"].beside, SCENARIOS["pair1-v5"].most), ("pair1", 1.3))

    def test_websocket(self) -> None:
        """Only the door is another, and the frames may hold more."""
        self.assertEqual(SCENARIOS["single-ws"].load, SCENARIOS["single"].load)
        self.assertTrue(SCENARIOS["single-ws"].websocket)
        self.assertTrue(SCENARIOS["pair50-ws20"].load.endswith(" --per-frame 20"))

    def test_all_are_there(self) -> None:
        """A way for a scenario that does not exist would never be measured."""
        self.assertLessEqual({f"{name}-{way}" for way in WAYS for name in WAYS[way].most}, set(SCENARIOS))


class TableOfScenariosTests(SynchronousTestCase):
    """The data itself."""

    def test_every_target_is_a_figure_of_its_scenario(self) -> None:
        """A target for a figure that is never measured would never be missed."""
        per_mode = {
            "stream": set(stream()),
            "offline": {CPU_PER_MESSAGE, CPU_PER_COPY, THROUGHPUT, CPU_PER_RETURN},
            "post": {PUSHES, CPU_PER_PUSH},
            "hold": {CPU_PER_CONNECTION, RSS_PER_CONNECTION},
            "push": {CPU_PER_DELIVERY, LAST_ARRIVAL},
            "": {START_CPU, BASE_RSS, IDLE_CPU},
        }
        for scenario in SCENARIOS.values():
            mode = scenario.load.partition(" ")[0]
            self.assertLessEqual(set(scenario.targets), per_mode[mode])
