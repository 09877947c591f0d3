"""`pushd.broker.later`: values that are there, and values that will be."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.later import deferred, then


def add(one: int, other: int) -> int:
    """As any function does it."""
    return one + other


class ThenTests(SynchronousTestCase):
    def test_now(self) -> None:
        """Nobody waits for what is there."""
        self.assertEqual(then(1, add, 2), 3)

    def test_later(self) -> None:
        """When it is there, and with whatever the function makes of it."""
        value: Deferred[int] = Deferred()
        result = then(value, add, 2)
        assert isinstance(result, Deferred)
        self.assertNoResult(result)
        value.callback(1)
        self.assertEqual(self.successResultOf(result), 3)

    def test_for_who_waits_anyway(self) -> None:
        """A Deferred is left as it is."""
        value: Deferred[int] = Deferred()
        self.assertIs(deferred(value), value)
        self.assertEqual(self.successResultOf(deferred(1)), 1)
