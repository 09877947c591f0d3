"""
While somebody attacks, a well-behaved pair of clients goes on as if nothing was: the attacks of
``benchmarks/overload``, most of them shorter, with bounds that hold on a busy machine.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.brokers import RunningBroker, Store, pushd_command
from benchmarks.overload.attack import ATTACKS
from benchmarks.overload.ordeal import GROWTH, LEFT_OPEN, MISSED, P99, Phase, endure, settings_text
from benchmarks.scenarios import Figures

if sys.platform != "linux":
    pytest.skip("the attackers' addresses and the looks at the broker are Linux's", allow_module_level=True)

P99_MOST_MS = 250.0  # 100 is the promise; a machine that runs other tests is late by itself
GROWTH_MOST_MIB = 150.0  # of the broker's memory
WAITING_MOST = 200  # passwords that wait to be checked


class OverloadTestCase(SynchronousTestCase):
    """One broker for all attacks of a class, as they come in life."""

    passwords = "nobody"
    broker: RunningBroker
    _directory: tempfile.TemporaryDirectory[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls._directory = tempfile.TemporaryDirectory(prefix="pushd-overload-")
        folder = Path(cls._directory.name)
        store = Store(folder / "store", "normal")
        settings = settings_text(folder, ATTACKS[cls.passwords], is_pushd=True, store=store)
        cls.broker = RunningBroker(pushd_command(), folder, None, settings)
        cls.broker.__enter__()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.broker.__exit__(None, None, None)
        cls._directory.cleanup()

    def endure(self, attack: str, seconds: float = 2.0, scale: float = 1.0) -> Figures:
        """
        Be attacked; the pair must hardly notice.

        :return: what became of the attack.
        """
        phases = endure(self.broker, attack, seconds, scale)
        for phase in phases:
            self.assert_unimpressed(phase)
        self.assertLessEqual(phases[-1].figures[LEFT_OPEN], 0)
        return phases[-1].figures

    def assert_unimpressed(self, phase: Phase) -> None:
        """Nothing was late, nothing is lost, and memory is bounded."""
        self.assertLess(phase.figures[P99], P99_MOST_MS, phase)
        self.assertEqual(phase.figures[MISSED], 0, phase)
        self.assertLess(phase.figures[GROWTH], GROWTH_MOST_MIB, phase)


class DoorTests(OverloadTestCase):
    """Who never becomes a client, and who becomes one too often."""

    def test_silent_connections(self) -> None:
        """500 connections that say nothing are dropped when their time is over."""
        self.assertEqual(self.endure("silent")["still connected"], 0)

    def test_half_handshakes(self) -> None:
        """So are 500 that stop after their ClientHello."""
        self.assertEqual(self.endure("tls-half")["still connected"], 0)

    def test_dribbled_handshakes(self) -> None:
        """A byte now and then buys no time."""
        self.assertEqual(self.endure("tls-dribble")["still connected"], 0)

    def test_garbage(self) -> None:
        """10 MB/s of random bytes on ever new connections."""
        self.endure("garbage")

    def test_garbage_of_clients(self) -> None:
        """10 MB/s of random bytes after CONNECT."""
        self.endure("garbage-inside")

    def test_garbage_for_the_web(self) -> None:
        """10 MB/s of random bytes as HTTP and as WebSocket frames."""
        self.endure("garbage-web")

    def test_reconnect_storm(self) -> None:
        """Clients that all come back at once are all let in."""
        self.assertEqual(self.endure("reconnect-storm", scale=0.25)["unserved"], 0)

    def test_takeover_storm(self) -> None:
        """Of 200 connections with the same client id at once, exactly one survives."""
        outcome = self.endure("takeover-storm")
        self.assertEqual((outcome["survivors, least"], outcome["survivors, most"]), (1, 1))


class TrafficTests(OverloadTestCase):
    """Clients that ask for too much, send too much, read too little."""

    def test_wildcards(self) -> None:
        """10 000 wildcard subscriptions of one client, and its end."""
        outcome = self.endure("wildcards", seconds=1.0)
        self.assertEqual(outcome["received"], outcome["messages"])

    def test_deaf_to_qos_0(self) -> None:
        """50 MB/s for a subscriber that stopped reading; its publisher is not cut off."""
        self.assertFalse(self.endure("deaf-qos0")["publisher cut off"])

    def test_deaf_to_qos_1(self) -> None:
        """The same with messages that wait in its queue."""
        self.assertFalse(self.endure("deaf-qos1")["publisher cut off"])

    def test_publisher_faster_than_its_subscriber(self) -> None:
        """It is slowed down, not cut off, and all that was acknowledged arrives."""
        outcome = self.endure("eager", scale=0.1)
        self.assertFalse(outcome["publisher cut off"])
        self.assertEqual(outcome["received"], outcome["messages"])

    def test_crowd_that_does_not_read(self) -> None:
        """Those who read get every message, whoever else does not."""
        self.assertEqual(self.endure("slow-crowd", scale=0.25)["missed by those who read"], 0)


class RetainedTests(OverloadTestCase):
    """A great many retained topics."""

    def test_subscription_to_all(self) -> None:
        """All come, to who reads and to who reads at last."""
        outcome = self.endure("retained", seconds=1.0, scale=0.05)
        self.assertEqual((outcome["read"], outcome["read slowly"]), (outcome["topics"],) * 2)


class Pbkdf2Tests(OverloadTestCase):
    """Guessing at passwords of the kind that Mosquitto makes."""

    passwords = "guess-pbkdf2"

    def test_guessing(self) -> None:
        """Of 200 wrong ones in a second few wait; the others are refused at once."""
        outcome = self.endure("guess-pbkdf2")
        self.assertLessEqual(outcome["guesses"] - outcome["answered"], WAITING_MOST)


class Argon2idTests(OverloadTestCase):
    """The same with hashes that take much memory."""

    passwords = "guess-argon2id"

    def test_guessing(self) -> None:
        """Of 200 wrong ones in a second few wait; the others are refused at once."""
        outcome = self.endure("guess-argon2id")
        self.assertLessEqual(outcome["guesses"] - outcome["answered"], WAITING_MOST)
