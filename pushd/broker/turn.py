"""
What one turn of the reactor wants to send.

Nothing is written while packets are being handled: each client collects what it will be sent in its outbox,
and when the turn is over every outbox goes out with one call. A hundred messages for one subscriber cost one
`send`, and everything that must be durable first is waited for once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from pushd.broker.counters import Counters
from pushd.broker.interfaces import IStore
from pushd.mqtt.codes import ReasonCode

if TYPE_CHECKING:
    from pushd.broker.client import Client


class Turn:
    """
    Collects the clients that have something in their outbox, and empties them.

    :ivar dirty: clients with a filled outbox, in the order in which they were marked.
    """

    # A push to ten thousand devices must not stop the reactor until the last has it: a slice of 500 takes
    # about 5 ms, then others are read and served.
    SLICE = 500

    # A client that has this many outboxes waiting for the store is not read from until some have left: a disk
    # slower than the network must not fill the memory.
    MAX_HELD = 100

    _log = Logger()

    __slots__ = ("_afterwards", "_at_turn_end", "_counters", "_is_asked_for", "_store", "dirty")

    def __init__(
        self, at_turn_end: Callable[[Callable[[], None]], object], store: IStore, counters: Counters
    ) -> None:
        """
        :param at_turn_end: calls something once, when the sockets that are readable now have been read.
        """
        self._at_turn_end = at_turn_end
        self._store = store
        self._counters = counters
        self.dirty: list[Client] = []
        self._afterwards: list[Callable[[], None]] = []
        self._is_asked_for = False

    def mark(self, client: Client) -> None:
        """The outbox of `client` is about to be filled."""
        if not self.dirty:
            self._ask_for_flush()
        self.dirty.append(client)

    def unmark(self, client: Client) -> None:
        """Leave the outbox of `client` as it is, until it is marked again."""
        self.dirty.remove(client)

    def afterwards(self, call: Callable[[], None]) -> None:
        """Do this when every outbox that is filled now has been emptied."""
        if not self._afterwards:
            self._ask_for_flush()
        self._afterwards.append(call)

    def _ask_for_flush(self) -> None:
        """Once a turn: of two, the second would do at once what the first has put off to the next turn."""
        if not self._is_asked_for:
            self._is_asked_for = True
            self._at_turn_end(self.flush)

    def finish(self) -> None:
        """Write everything now, however much it is: the process ends."""
        while self.dirty or self._afterwards:
            self.flush()

    def flush(self) -> None:
        """
        Write each outbox with one call; those that hold an acknowledgement or a packet identifier whose
        record is not durable yet are written when it is.
        """
        self._is_asked_for = False
        clients = self.dirty
        self.dirty = []
        if len(clients) > self.SLICE:
            self.dirty = clients[self.SLICE :]
            del clients[self.SLICE :]
            self._ask_for_flush()
        waiting: list[tuple[Client, bytes, int]] = []
        sent = 0
        for client in clients:
            outbox = client.outbox
            data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
            outbox.clear()
            sent += len(data)
            # While the store fails, what need not wait for it goes before what does: no disk is known to be
            # repaired within a keep alive.
            if client.must_wait or (client.held and self._store.failing is None):
                client.must_wait = False
                client.held += 1
                if client.held == self.MAX_HELD:
                    client.connection.pause()
                waiting.append((client, data, 0 if client.terms is None else client.terms.hold()))
            else:
                self._write(client, data)
                if client.terms is not None:
                    client.terms.let_go()
        self._counters.bytes_sent += sent
        if waiting:
            self._store.barrier().addCallback(self._durable, waiting)
        if self._afterwards and not self.dirty:
            calls, self._afterwards = self._afterwards, []
            for call in calls:
                call()

    def _durable(self, _: None, waiting: list[tuple[Client, bytes, int]]) -> None:
        for client, data, owed in waiting:
            client.held -= 1
            self._write(client, data)
            if client.held == self.MAX_HELD - 1:
                client.connection.resume()
            if client.terms is not None:
                client.terms.settle(owed)

    def _write(self, client: Client, data: bytes) -> None:
        """One connection that cannot be written to must not keep the others from their bytes."""
        try:
            client.connection.write(data)
        except Exception:
            self._log.failure("{client!r} could not be written to", client=client)
            client.connection.close(ReasonCode.SUCCESS)
