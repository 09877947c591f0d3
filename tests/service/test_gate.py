"""`pushd.service.gate`: who may come in, and when, by numbers and addresses alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.broker.limits import Limits
from pushd.broker.pace import Paces
from pushd.service.gate import BURST_S, LATE_PAUSE_S, MAX_HOLD_S, SPARE_FILES, STARVED_PAUSE_S, Entrance, Gate
from tests.service.notes import Notes

FAR = "192.0.2.9"


class GateTestCase(SynchronousTestCase):
    """A gate on a clock, and one entrance."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.limits = Limits(max_connect_rate=0, max_connect_rate_per_address=0)
        self.counters = Counters()
        self.gate = Gate(lambda: self.limits, self.counters, self.clock.seconds)
        self.door = Entrance(self.gate, "port 1883")
        self.notes = Notes(self)

    def limit(self, **values: Any) -> None:
        """What a reload may do at any time."""
        self.limits = replace(self.limits, **values)

    def come(self, count: int, host: str | None = FAR, door: Entrance | None = None) -> list[float | None]:
        """Connections at this moment. :return: how long each has to wait."""
        return [(door or self.door).admit(9, host) for _ in range(count)]


class CountTests(GateTestCase):
    """Connections at once"""

    def test_no_limit(self) -> None:
        """As it is without a line in the settings."""
        self.assertEqual(self.come(5000), [0.0] * 5000)
        self.assertEqual((self.gate.connection_count, self.door.connection_count), (5000, 5000))

    def test_one_listener(self) -> None:
        """Its own limit does not concern the others; a place that is free again can be had."""
        few = Entrance(self.gate, "port 1884", 2)
        self.assertEqual(self.come(3, door=few), [0.0, 0.0, None])
        self.assertEqual(self.come(1), [0.0])
        few.left()
        self.assertEqual(self.come(2, door=few), [0.0, None])
        self.assertEqual(self.counters.connections_refused, {"max_connections": 2})
        self.assertIn("Connection from 192.0.2.9 denied: max_connections of port 1884 reached", self.notes)

    def test_all_listeners(self) -> None:
        """Together, and a reload may change it."""
        other = Entrance(self.gate, "port 1884")
        self.limit(global_max_connections=3)
        self.assertEqual(self.come(2) + self.come(2, None, other), [0.0, 0.0, 0.0, None])
        self.limit(global_max_connections=4)
        self.assertEqual(self.come(2), [0.0, None])
        self.limit(global_max_connections=-1)
        self.assertEqual(self.come(1), [0.0])
        self.assertEqual(self.counters.connections_refused, {"global_max_connections": 2})

    def test_nobody(self) -> None:
        """0 is a limit like any other, as in Mosquitto."""
        self.assertEqual(self.come(1, door=Entrance(self.gate, "port 1884", 0)), [None])


class RateTests(GateTestCase):
    """max_connect_rate: the gate closes, and connections wait outside"""

    def rush(self) -> int:
        """Everybody wants to come in. :return: how many did at this moment."""
        count = 0
        while self.gate.pause_s() == 0:
            self.come(1)
            count += 1
        return count

    def test_a_fleet_comes_back(self) -> None:
        """Ten seconds' worth at once after a quiet time, then the rate."""
        self.limit(max_connect_rate=100)
        self.assertEqual(self.rush(), 100 * BURST_S + 1)
        self.assertAlmostEqual(self.gate.pause_s(), 0.01, places=5)
        for _ in range(5):
            self.clock.advance(1)
            self.assertIn(self.rush(), (100, 101))

    def test_told_and_counted(self) -> None:
        """One line in ten seconds, however often the gate closes."""
        self.limit(max_connect_rate=1)
        for _ in range(8):
            self.rush()
            self.clock.advance(1)
        self.assertEqual(self.counters.connections_paused, {"max_connect_rate": 8})
        line = "No connections are accepted for a moment: more than 1 connections per second"
        self.assertEqual(self.notes.lines, [line])
        self.clock.advance(10)
        self.rush()
        self.assertEqual(self.notes.lines, [line, line])

    def test_refused_ones_count(self) -> None:
        """A flood of connections that are turned away is a flood all the same."""
        self.limit(max_connect_rate=10, global_max_connections=0)
        self.assertEqual(self.rush(), 101)


class AddressTests(GateTestCase):
    """max_connect_rate_per_address: a connection waits inside, unread"""

    def setUp(self) -> None:
        super().setUp()
        self.limit(max_connect_rate_per_address=10)

    def test_burst_then_one_after_the_other(self) -> None:
        """Each has its turn a tenth of a second after the last; who would wait for too long must go."""
        turns = self.come(200)
        self.assertEqual(turns[:101], [0.0] * 101)
        waiting = [turn for turn in turns[101:] if turn is not None]
        self.assertIn(len(waiting), (10 * MAX_HOLD_S - 1, 10 * MAX_HOLD_S))
        self.assertAlmostEqual(waiting[9], 1.0, places=5)
        self.assertEqual(
            self.counters.connections_refused, {"max_connect_rate_per_address": 99 - len(waiting)}
        )

    def test_others_do_not_wait(self) -> None:
        """Whoever floods slows only themselves."""
        self.come(1000)
        self.assertEqual(self.come(1, "192.0.2.10"), [0.0])

    def test_refused_ones_are_not_held_against_anybody(self) -> None:
        """Behind the same router there may be others, who come in at the rate whatever happens."""
        self.come(1000)
        self.clock.advance(1)
        self.assertEqual(sum(turn is not None for turn in self.come(1000)), 10)

    def test_this_machine(self) -> None:
        """Proxies, programs beside the broker, the file system: none of them has an address of its own."""
        for host in ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", None):
            self.assertEqual(self.come(1000, host), [0.0] * 1000)

    def test_ipv6_networks(self) -> None:
        """Who has one IPv6 address has 2**64 of them."""
        hosts = [f"2001:db8:0:1::{number:x}" for number in range(1, 201)]
        turns = [self.come(1, host)[0] for host in hosts]
        self.assertIn(None, turns)
        self.assertEqual(self.come(1, "2001:db8:0:2::1"), [0.0])
        self.assertEqual(self.come(2, "fe80::1%eth0"), [0.0, 0.0])

    def test_ipv4_in_ipv6(self) -> None:
        """The same address by a socket for both families."""
        self.come(200)
        self.assertEqual(self.come(1, f"::ffff:{FAR}"), [None])

    def test_what_is_remembered_is_bounded(self) -> None:
        """A million addresses cost no more than ten thousand; who floods is remembered meanwhile."""
        self.gate._paces = Paces(max_kept=100)
        self.come(200)
        for number in range(3000):
            self.gate.turn_s(f"10.0.{number // 256}.{number % 256}")
            self.clock.advance(0.01 if number < 300 else 0)
            if number == 299:
                self.assertNotEqual(self.come(1), [0.0])
        self.assertLessEqual(len(self.gate._paces), 100)


class ShortageTests(GateTestCase):
    """Nothing to let anybody in with"""

    def test_the_last_descriptors_are_not_for_connections(self) -> None:
        """The store and the log need some; the gate closes, and opens again by itself."""
        self.gate.max_files = 1024
        self.assertEqual(self.door.admit(1024 - SPARE_FILES - 1, FAR), 0.0)
        self.assertIsNone(self.door.admit(1024 - SPARE_FILES, FAR))
        self.assertEqual(self.gate.pause_s(), STARVED_PAUSE_S)
        self.clock.advance(STARVED_PAUSE_S)
        self.assertEqual(self.gate.pause_s(), 0)
        self.assertEqual(self.counters.connections_refused, {"open_files": 1})
        self.assertEqual(self.gate.connection_count, 1)

    def test_very_few_descriptors(self) -> None:
        """Then most of them are for connections all the same."""
        self.gate.max_files = 100
        self.assertEqual(self.door.admit(74, FAR), 0.0)
        self.assertIsNone(self.door.admit(75, FAR))

    def test_the_system_has_none(self) -> None:
        """Whatever it is short of, in its own words; one line."""
        for _ in range(3):
            self.gate.starved(OSError(23, "Too many open files in system"))
        self.assertEqual(self.gate.pause_s(), STARVED_PAUSE_S)
        self.assertEqual(self.counters.connections_paused, {"open_files": 3})
        self.assertEqual(
            self.notes.lines,
            ["No connections are accepted for a moment: Too many open files in system"],
        )

    def test_a_late_event_loop(self) -> None:
        """It gets time to catch up; being a little late is nothing."""
        self.gate.loop_was_late(0.9)
        self.assertEqual(self.gate.pause_s(), 0)
        self.gate.loop_was_late(1.26)
        self.assertEqual(self.gate.pause_s(), LATE_PAUSE_S)
        self.assertIn("No connections are accepted for a moment: the event loop was 1.3 s late", self.notes)
