"""
Plain TCP: one `send` per connection and turn, straight to the socket.

Twisted's `write` buffers and asks the reactor to tell when the socket is writable: two `epoll_ctl` and
another turn for every message. A socket with nothing in Twisted's buffer is nearly always writable, so we
try first and leave to Twisted only what the kernel does not take.
"""

from __future__ import annotations

from collections.abc import Callable

from pushd.transports.protocol import MQTTFactory, MQTTProtocol


def try_send(send: Callable[[bytes], int], data: bytes) -> int:
    """:return: how many bytes of `data` need not be sent any more."""
    try:
        return send(data)
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)  # reset by the peer: the reactor is about to say connectionLost


class TCPProtocol(MQTTProtocol):
    """An MQTT connection whose transport has a socket of its own."""

    __slots__ = ("_send",)

    _send: Callable[[bytes], int]

    def _watch_buffer(self) -> None:
        """There is no buffer to watch before `write` overflows."""
        self._send = self.transport.getHandle().send

    def write(self, data: bytes) -> None:
        if self._unsent:
            self._leave(data, 0)
            return
        sent = try_send(self._send, data)
        if sent < len(data):
            self._leave(data, sent)

    def _leave(self, data: bytes, sent: int) -> None:
        """Give Twisted what the kernel did not take, and be told when that is gone, too."""
        if not self._unsent:
            self.transport.registerProducer(self, False)  # calls resumeProducing at once
        self._add_unsent(data, sent)
        self.transport.write(data[sent:])

    def _let_go(self) -> None:
        self.transport.loseConnection()  # what is left to Twisted goes first, then we unregister below

    def resumeProducing(self) -> None:
        if self._unsent:  # not the call at the registration
            self.transport.unregisterProducer()
            super().resumeProducing()


class TCPFactory(MQTTFactory):
    """A listener of plain TCP."""

    protocol_class = TCPProtocol
