"""Streams as slow consumers, on a transport of Twisted's that can be full."""

from __future__ import annotations

from twisted.internet.abstract import FileDescriptor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.streams import MAX_UNREAD_BYTES, Stream

PIECE = b"x" * 60_000


class Pipe(FileDescriptor):
    """Into which nothing goes."""

    connected = 1

    def startWriting(self) -> None:
        """Nobody takes anything."""

    def waiting_bytes(self) -> int:
        return len(self.dataBuffer) + self._tempDataLen


class PipeStream(Stream):
    """A stream that ends there."""

    def __init__(self) -> None:
        super().__init__(Clock().callLater, lambda: b"beat")
        self.pipe = Pipe(MemoryReactor())
        self.cut_off = False

    def _begin(self) -> None:
        self.pipe.registerProducer(self, True)

    def close(self) -> None:
        self._ended()

    def _put(self, data: bytes) -> None:
        self.pipe.write(data)

    def _abort(self) -> None:
        self.cut_off = True


class SlowConsumerTests(SynchronousTestCase):
    """Who does not read takes a bounded amount of memory, at whatever speed things are said"""

    def test_bounded(self) -> None:
        """Twisted says with each write that its buffer is full: the count goes on all the same."""
        stream = PipeStream()
        stream.begin()
        for _ in range(100):
            stream.write(PIECE)
        self.assertTrue(stream.cut_off)
        most = stream.pipe.bufferSize + MAX_UNREAD_BYTES + 2 * len(PIECE)
        self.assertLessEqual(stream.pipe.waiting_bytes(), most)

    def test_counted_anew_when_it_has_read(self) -> None:
        """A reader that is behind again and again is not cut off for what it did take."""
        stream = PipeStream()
        stream.begin()
        for _ in range(100):
            stream.write(PIECE)
            stream.write(PIECE)
            stream.pipe._tempDataBuffer, stream.pipe._tempDataLen = [], 0
            stream.resumeProducing()
        self.assertFalse(stream.cut_off)
