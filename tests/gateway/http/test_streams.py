"""`pushd.gateway.http.streams`: how streams live and end, whatever is in them. HTTP's: test_events.py."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.streams import MAX_UNREAD_BYTES, Places, Stage, Stream
from pushd.gateway.identity.guards import Caller

BEAT_S = 45.0


class Sheet(Stream):
    """A stream that is written on paper."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.callLater, self.heart, BEAT_S)
        self.written: list[bytes] = []
        self.torn = False

    def heart(self) -> bytes:
        return b"beat"

    def close(self) -> None:
        self._ended()

    def _begin(self) -> None:
        """Paper takes all, and needs no heading."""

    def _put(self, data: bytes) -> None:
        self.written.append(data)

    def _abort(self) -> None:
        self.torn = True


class StreamCase(SynchronousTestCase):
    """One that has begun"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.stream = Sheet(self.clock)
        self.stream.begin()


class LifeTests(StreamCase):
    """From `begin` to the end"""

    def test_written(self) -> None:
        """Only while there is somebody."""
        early = Sheet(self.clock)
        early.write(b"x")
        self.stream.write(b"a")
        self.stream.close()
        self.stream.write(b"b")
        self.assertEqual((early.written, self.stream.written), ([], [b"a"]))

    def test_begun_once(self) -> None:
        """One heart, and none after the end."""
        self.stream.begin()
        self.clock.advance(BEAT_S)
        self.assertEqual(self.stream.written, [b"beat"])
        self.stream.close()
        self.stream.begin()
        self.assertEqual((self.clock.getDelayedCalls(), self.stream.over), ([], True))

    def test_closed_by_its_beat(self) -> None:
        """Whoever makes the beat may end the stream instead."""

        class LastBeat(Sheet):
            def heart(self) -> bytes:
                self.close()
                return b""

        stream = LastBeat(self.clock)
        stream.begin()
        self.clock.advance(BEAT_S)
        self.clock.advance(BEAT_S)
        self.assertEqual(stream.written, [])

    def test_cut(self) -> None:
        """The connection is torn down once; that it is over is told when it is."""
        told: list[bool] = []
        self.stream.call_when_over(lambda: told.append(True))
        self.stream.cut("a test")
        self.assertEqual(
            (self.stream.torn, self.stream.is_open, self.stream.over, told), (True, False, False, [])
        )
        self.stream._ended()
        self.stream.torn = False
        self.stream.cut("a test")
        self.assertEqual((told, self.stream.torn), ([True], False))

    def test_stages(self) -> None:
        """Each says what it is."""
        self.assertEqual(len({stage.value for stage in Stage}), 4)


class FlowTests(StreamCase):
    """Readers that are slower than what is said"""

    def test_drained(self) -> None:
        """At once, or when the reader has taken what there was, or has gone."""
        self.successResultOf(self.stream.drained())
        for end in (self.stream.resumeProducing, self.stream._ended):
            self.stream.pauseProducing()
            waiting = self.stream.drained()
            self.assertTrue(self.stream.full)
            self.assertNoResult(waiting)
            end()
            self.successResultOf(waiting)
        self.successResultOf(self.stream.drained())

    def test_bound(self) -> None:
        """So much may wait, and not more."""
        self.stream.pauseProducing()
        self.stream.write(b"x" * MAX_UNREAD_BYTES)
        self.assertFalse(self.stream.torn)
        self.stream.write(b"x")
        self.assertTrue(self.stream.torn)

    def test_stuck(self) -> None:
        """Who takes nothing from one beat to the next is cut off; no beats are written to it."""
        self.stream.pauseProducing()
        self.clock.advance(BEAT_S)
        self.assertEqual((self.stream.written, self.stream.torn), ([], False))
        self.clock.advance(BEAT_S)
        self.assertTrue(self.stream.torn)

    def test_slow(self) -> None:
        """Who takes something is not."""
        for _ in range(5):
            self.stream.pauseProducing()
            self.clock.advance(BEAT_S)
            self.stream.resumeProducing()
        self.assertFalse(self.stream.torn)


class PlaceTests(SynchronousTestCase):
    """How many there may be"""

    def test_who(self) -> None:
        """Users by name, others by address, whatever the port."""
        places = Places(lambda: 1)
        for caller in (
            Caller("ada"),
            Caller(None, address="192.0.2.7:1"),
            Caller(None, address="192.0.2.8:1"),
        ):
            places.take(caller)
        for caller in (Caller("ada", address="192.0.2.9:1"), Caller(None, address="192.0.2.7:2")):
            error = self.assertRaises(Refusal, places.take, caller)
            self.assertEqual(error.problem.code, 42903)

    def test_nobody_in_particular(self) -> None:
        """May have as many as there are."""
        places = Places(lambda: 1, 3, lambda caller: None)
        for _ in range(3):
            places.take(Caller(None))
        self.assertRaises(Refusal, places.take, Caller(None))

    def test_changed_meanwhile(self) -> None:
        """A limit holds for who comes; 0 is none."""
        limit = [0]
        places = Places(lambda: limit[0])
        leave = [places.take(Caller("ada")) for _ in range(3)]
        limit[0] = 2
        self.assertRaises(Refusal, places.take, Caller("ada"))
        leave.pop()()
        leave.pop()()
        places.take(Caller("ada"))
        self.assertEqual(len(places), 2)
