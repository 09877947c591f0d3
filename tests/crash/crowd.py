"""
Sockets that never wait, and one loop for all who have one.

A `Visitor` is somebody who wants a connection to the broker and, whenever there is one, has bytes to send and
gets bytes. Connections break all the time here; whoever is `wanted` gets the next one as soon as there is a
broker to take it.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence

RETRY_S = 0.01
_CHUNK_BYTES = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: what is on its way is thrown away


class Visitor:
    """
    :ivar port: where it connects to.
    :ivar wanted: whether it should have a connection.
    :ivar hangs_up: set it to lose the connection, with all that is on its way.
    :ivar busy: whether it should begin anything new.
    :ivar outbox: bytes to be sent.
    """

    wanted = True
    hangs_up = False
    busy = True

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.outbox = bytearray()

    @property
    def is_done(self) -> bool:
        """Whether it waits for no answer of the broker."""
        return True

    @property
    def may_break(self) -> bool:
        """Whether its connection may break now without leaving in doubt what its bookkeeping relies on."""
        return True

    def opened(self) -> None:
        """There is a connection."""

    def received(self, data: bytes) -> None:
        """The broker sent something."""

    def closed(self) -> None:
        """The connection is gone, with all that was not sent."""

    def act(self) -> None:
        """One turn of the loop: whatever it likes to do while it is connected."""


class Crowd:
    """
    All visitors and their sockets.

    :ivar heard_at: when the broker sent anything to anybody, by the monotonic clock.
    """

    def __init__(self, visitors: Sequence[Visitor]) -> None:
        self.visitors = visitors
        self.heard_at = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[Visitor, socket.socket] = {}
        self._retry_at = 0.0

    def close(self) -> None:
        """Drop everybody."""
        for visitor in list(self._sockets):
            self.drop(visitor)
        self._selector.close()

    def pump(self, seconds: float) -> None:
        """Let everybody act for a while."""
        self.pump_while(lambda: True, seconds)

    def pump_while(self, condition: Callable[[], bool], seconds: float) -> bool:
        """
        Let everybody act while something holds.

        :return: whether it held to the end of this time.
        """
        deadline = time.monotonic() + seconds
        while condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            self._turn(min(RETRY_S, left))
        return False

    def is_connected(self, visitor: Visitor) -> bool:
        """Whether there is a connection. Whether the broker has read a byte of it is another question."""
        return visitor in self._sockets

    def drop(self, visitor: Visitor, reset: bool = False) -> None:
        """
        End somebody's connection, if there is one.

        :param reset: lose what is on its way, in both directions.
        """
        visitor.hangs_up = False
        sock = self._sockets.pop(visitor, None)
        if sock is None:
            return
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._selector.unregister(sock)
        sock.close()
        visitor.outbox.clear()
        visitor.closed()

    def _turn(self, timeout_s: float) -> None:
        self._connect_whom_is_wanted()
        for key, _ in self._selector.select(timeout_s):
            self._read(key.data)
        for visitor in list(self._sockets):
            visitor.act()
            self._write(visitor)
            if visitor.hangs_up:
                self.drop(visitor, reset=True)
            elif not visitor.wanted and not visitor.outbox:
                self.drop(visitor)

    def _connect_whom_is_wanted(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            return
        for visitor in self.visitors:
            if visitor.wanted and visitor not in self._sockets and not self._connect(visitor):
                self._retry_at = now + RETRY_S
                return

    def _connect(self, visitor: Visitor) -> bool:
        try:
            sock = socket.create_connection(("127.0.0.1", visitor.port), 5.0)
        except OSError:
            return False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self._sockets[visitor] = sock
        self._selector.register(sock, selectors.EVENT_READ, visitor)
        visitor.opened()
        return True

    def _read(self, visitor: Visitor) -> None:
        sock = self._sockets.get(visitor)
        if sock is None:  # dropped in this very turn
            return
        try:
            data = sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(visitor)
            return
        self.heard_at = time.monotonic()
        visitor.received(data)

    def _write(self, visitor: Visitor) -> None:
        sock = self._sockets.get(visitor)
        if sock is None or not visitor.outbox:
            return
        try:
            del visitor.outbox[: sock.send(visitor.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self.drop(visitor)
