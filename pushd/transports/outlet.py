"""
The way out of a protocol that wraps another: bytes to the transport, and word of whether it keeps up.

A transport has one producer, which it tells when its buffer is full and when it is empty again. An `Outlet`
is that producer. It remembers the answer for whoever wraps, and passes it on to whoever is wrapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from pushd.transports.tcp import try_send


@implementer(IPushProducer)
class Outlet:
    """
    Leaves everything to the transport, as TLS must.

    :ivar full: the peer does not read as fast as it is written to.
    :ivar producer: an `IPushProducer` who wants to know; set by whoever is wrapped.
    """

    __slots__ = ("_transport", "full", "producer")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.full = False
        self.producer: Any = None
        self._watch_buffer()

    def write(self, data: bytes) -> None:
        """Send `data` after all that was written before."""
        self._transport.write(data)

    def write_behind(self, data: bytes) -> None:
        """The same, and after all that others have written to the transport before."""
        self._transport.write(data)

    def close(self) -> None:
        """End the connection once everything is sent."""
        self._transport.unregisterProducer()  # or TLS would wait for it before it closes
        self._transport.loseConnection()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.full = True
        if self.producer is not None:
            self.producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self.full = False
        if self.producer is not None:
            self.producer.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is gone; ``connectionLost`` follows."""

    def _watch_buffer(self) -> None:
        self._transport.registerProducer(self, True)


class DirectOutlet(Outlet):
    """Straight to the socket, for the reasons that `pushd.transports.tcp` gives."""

    __slots__ = ("_send",)

    _send: Callable[[bytes], int]

    def _watch_buffer(self) -> None:
        """There is no buffer to watch before `write` overflows."""
        self._send = self._transport.getHandle().send

    def write(self, data: bytes) -> None:
        if self.full:
            self._transport.write(data)
            return
        sent = try_send(self._send, data)
        if sent < len(data):
            self.write_behind(data[sent:])

    def write_behind(self, data: bytes) -> None:
        if not self.full:
            self._transport.registerProducer(self, False)  # calls resumeProducing at once
            self.pauseProducing()
        self._transport.write(data)

    def close(self) -> None:
        self._transport.loseConnection()  # what is left to Twisted goes first, then we unregister below

    def resumeProducing(self) -> None:
        if self.full:  # not the call at the registration
            self._transport.unregisterProducer()
            super().resumeProducing()
