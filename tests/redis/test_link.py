"""One connection, made again whenever it is lost; on a clock, with connections that are none."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.redis.errors import RedisUnavailable
from pushd.redis.link import FIRST_DELAY_S, GOODBYE_S, LONGEST_DELAY_S, Link
from tests.service.notes import Notes


class Wire:
    """A connection, as far as a link knows it; its own transport as well."""

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()
        self.transport = self

    def whenDisconnected(self) -> Deferred[None]:
        return self.gone

    def loseConnection(self) -> None:
        self.gone.callback(None)

    abortConnection = loseConnection


class LinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts: list[Deferred[Wire]] = []
        self.link = Link(self.connect, "there", self.clock)
        self.lines = Notes(self).lines

    def connect(self) -> Deferred[Wire]:
        self.attempts.append(Deferred())
        return self.attempts[-1]

    def up(self) -> Wire:
        """A link that is up."""
        asked = self.link.connection()
        wire = Wire()
        self.attempts[-1].callback(wire)
        self.assertIs(self.successResultOf(asked), wire)
        return wire

    @staticmethod
    def note(order: list[str], name: str, connection: Wire) -> None:
        order.append(name)

    def fail(self) -> None:  # type: ignore[override]  # of an attempt, not of the test
        self.attempts[-1].errback(ConnectionRefusedError("refused"))

    def test_nothing_before_it_is_needed(self) -> None:
        """A server that never asks never connects."""
        self.clock.advance(100)
        self.assertEqual(self.attempts, [])

    def test_one_for_all(self) -> None:
        """Those who come meanwhile wait for the same, and get it in their order."""
        order: list[str] = []
        for name in ("first", "second"):
            self.link.connection().addCallback(partial(self.note, order, name))
        self.attempts[0].callback(Wire())
        self.link.connection().addCallback(partial(self.note, order, "third"))
        self.assertEqual((order, len(self.attempts)), (["first", "second", "third"], 1))

    def test_tries_again(self) -> None:
        """More and more rarely, but never less often than every five seconds; whoever waits still waits."""
        asked = self.link.connection()
        delays = []
        for _ in range(10):
            self.fail()
            began, count = self.clock.seconds(), len(self.attempts)
            while len(self.attempts) == count:
                self.clock.advance(0.05)
            delays.append(round(self.clock.seconds() - began, 1))
        self.assertEqual(delays[:4], [FIRST_DELAY_S, 0.2, 0.4, 0.8])
        self.assertEqual(delays[-3:], [LONGEST_DELAY_S] * 3)
        self.attempts[-1].callback(Wire())
        self.successResultOf(asked)

    def test_lost(self) -> None:
        """It is made again without anybody's asking, and at first soon."""
        wire = self.up()
        wire.gone.callback(None)
        asked = self.link.connection()
        self.clock.advance(FIRST_DELAY_S)
        self.attempts[1].callback(Wire())
        self.assertIsNot(self.successResultOf(asked), wire)

    def test_dropped(self) -> None:
        """Nobody gets a connection that does not answer, and its end is no second loss."""
        wire = self.up()
        self.link.drop(wire)
        asked = self.link.connection()
        self.clock.advance(FIRST_DELAY_S)
        self.assertEqual(len(self.attempts), 2)
        self.assertNoResult(asked)

    def test_said_once(self) -> None:
        """One line when it is away, however often it is tried; one when it is back."""
        self.link.connection()
        for _ in range(3):
            self.fail()
            self.clock.advance(LONGEST_DELAY_S)
        self.attempts[-1].callback(Wire())
        self.assertEqual(self.lines, ["Redis at there is away: refused", "Redis at there is back"])
        self.assertIsNone(self.link.problem)

    def test_nothing_to_say(self) -> None:
        """A connection that is made at once is no news."""
        self.up()
        self.assertEqual(self.lines, [])

    def test_waiting_in_vain(self) -> None:
        """Those who give up are forgotten: an outage costs no memory."""
        for _ in range(100):
            asked = self.link.connection()
            asked.addErrback(lambda _: None)
            asked.cancel()
        self.assertEqual(len(self.link._waiting), 0)

    def test_closed(self) -> None:
        """Nobody waits any longer, nothing is tried any more, and nothing is said about it."""
        asked = self.link.connection()
        self.fail()
        self.successResultOf(self.link.close())
        self.failureResultOf(asked, RedisUnavailable)
        self.failureResultOf(self.link.connection(), RedisUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed_while_it_is_up(self) -> None:
        """The connection is closed, for good."""
        wire = self.up()
        self.successResultOf(self.link.close())
        self.assertTrue(wire.gone.called)
        self.assertEqual((self.clock.getDelayedCalls(), self.lines), ([], []))

    def test_closed_without_a_goodbye(self) -> None:
        """The end of the process does not wait for a Redis that is frozen."""
        wire = self.up()
        wire.loseConnection = lambda: None  # type: ignore[method-assign]
        closed = self.link.close()
        self.assertNoResult(closed)
        self.clock.advance(GOODBYE_S)
        self.successResultOf(closed)

    def test_closed_while_it_is_tried(self) -> None:
        """The attempt ends with it."""
        asked = self.link.connection()
        self.successResultOf(self.link.close())
        self.failureResultOf(asked, RedisUnavailable)
        self.assertEqual((self.clock.getDelayedCalls(), self.lines), ([], []))
