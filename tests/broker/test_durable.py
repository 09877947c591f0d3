"""`pushd.broker.durable`: what waits until it is durable is told in order."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.durable import WhenDurable
from pushd.broker.message import Message
from pushd.broker.records import RetainedSet
from tests.fakes import HeldStore


class WhenDurableTests(SynchronousTestCase):
    """Over a store that commits when it is told to"""

    def setUp(self) -> None:
        self.store, self.clock = HeldStore(), Clock()
        self.when_durable = WhenDurable(self.store, partial(self.clock.callLater, 0))
        self.called: list[object] = []

    def record(self) -> None:
        self.store.record(RetainedSet(Message("t", b"x")))

    def ask(self, *names: object) -> None:
        for name in names:
            self.when_durable(partial(self.called.append, name))

    def test_at_once(self) -> None:
        """Where nothing was recorded there is nothing to wait for."""
        self.ask("a")
        self.assertEqual((["a"], []), (self.called, self.store.barriers))

    def test_after_the_barrier(self) -> None:
        """All of one turn wait for the same one."""
        self.record()
        self.ask("a", "b")
        self.clock.advance(0)
        self.assertEqual(([], 1), (self.called, len(self.store.barriers)))
        self.store.release()
        self.assertEqual(["a", "b"], self.called)

    def test_in_order(self) -> None:
        """Nobody overtakes, also when nothing more is pending at the moment."""
        self.record()
        self.ask("a")
        self.ask("b")
        self.clock.advance(0)
        self.ask("c")
        self.store.release()
        self.assertEqual(["a", "b"], self.called)
        self.clock.advance(0)
        self.store.release()
        self.assertEqual(["a", "b", "c"], self.called)

    def test_asked_while_others_are_told(self) -> None:
        """It comes after them."""
        self.record()
        self.when_durable(partial(self.ask, "late"))
        self.ask("a")
        self.clock.advance(0)
        self.store.release()
        self.clock.advance(0)
        self.store.release()
        self.assertEqual(["a", "late"], self.called)

    def test_one_that_fails(self) -> None:
        """The others are told all the same."""
        self.record()
        self.when_durable(partial(int, "x"))
        self.ask("a")
        self.clock.advance(0)
        self.store.release()
        self.assertEqual(["a"], self.called)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
