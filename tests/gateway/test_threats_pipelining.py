"""Callers who ask and do not read: what waits for them is bounded, and so is what is read of them."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.callers import Wire
from tests.gateway.readers import End, ReadersCase

ASK = b"POST /t HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
FULL_BYTES = 65_536  # from which on Twisted's transports say so


class FullWire(Wire):
    """Nobody reads at the other end until `drain`."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(self.value()) > FULL_BYTES and self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def drain(self) -> bytes:
        """The other end reads all that is there. :return: it."""
        data: bytes = self.value()
        self.clear()
        assert self.producer is not None
        self.producer.resumeProducing()
        return data


class NoReader(End):
    """A caller at the end of such a wire."""

    def connect(self) -> None:
        super().connect()
        address = IPv4Address("TCP", "192.0.2.7", 4711)
        channel = self.site.buildProtocol(address)
        self.wire = FullWire(peerAddress=address)
        channel.makeConnection(self.wire)
        self.channel = channel


class PipeliningTests(SynchronousTestCase):
    """Many requests in one read"""

    def setUp(self) -> None:
        self.caller = NoReader()

    @property
    def answered(self) -> int:
        """How many pushes there were so far."""
        return len(self.caller.press.published)

    def test_answers_wait_and_requests_with_them(self) -> None:
        """No more are answered than fit, however many have come; and no more are read."""
        self.caller.channel.dataReceived(ASK * 5000)
        most = FULL_BYTES + 1000
        self.assertLess(len(self.caller.wire.value()), most)
        self.assertEqual(self.caller.wire.producerState, "paused")
        self.assertLess(self.answered, 1000)

    def test_all_are_answered_in_the_end(self) -> None:
        """To who reads at last: each once, in order, and what is said after it."""
        self.caller.channel.dataReceived(ASK * 5000)
        answers = b""
        while self.caller.wire.value():
            answers += self.caller.wire.drain()
        self.assertEqual((self.answered, answers.count(b"HTTP/1.1 200 OK")), (5000, 5000))
        self.assertEqual(self.caller.wire.producerState, "producing")
        self.caller.channel.dataReceived(ASK)
        self.assertEqual(self.answered, 5001)

    def test_half_a_request_waits_too(self) -> None:
        """What was cut by the network is put together when its turn comes."""
        data = ASK * 1001
        for at in range(0, len(data), 1000):
            self.caller.channel.dataReceived(data[at : at + 1000])
        while self.caller.wire.value():
            self.caller.wire.drain()
        self.assertEqual(self.answered, 1001)

    def test_nobody_waits_for_ever(self) -> None:
        """Who does not read for a minute is sent away, with what it has asked for."""
        self.caller.channel.dataReceived(ASK * 5000)
        answered = self.answered
        self.caller.clock.pump([1.0] * 80)
        self.assertTrue(self.caller.wire.aborted)
        self.assertEqual(self.answered, answered)


class TalkingTests(ReadersCase):
    """Who talks while it does not read its stream"""

    def connect(self) -> NoReader:
        return NoReader(make_pages=self.make_pages)

    def test_is_not_heard(self) -> None:
        """What it says stays where it is, until it has read what there was."""
        end = self.connect()
        end.ask("/news/json")
        self.rig.turn()
        self.assertEqual(end.wire.producerState, "producing")
        self.push("news", "x" * FULL_BYTES)
        self.assertEqual(end.wire.producerState, "paused")
        end.wire.drain()
        self.assertEqual(end.wire.producerState, "producing")

    def test_has_said_enough(self) -> None:
        """With more than a little of it there already, nothing more is read before the stream has ended."""
        end = self.connect()
        end.ask("/news/json")
        self.rig.turn()
        end.channel.dataReceived(b"x" * FULL_BYTES)
        self.push("news", "x" * FULL_BYTES)
        end.wire.drain()
        self.assertEqual(end.wire.producerState, "paused")
