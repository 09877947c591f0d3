"""Two well-behaved clients: one publishes 50 messages per second, the other one notes how late they are."""

from __future__ import annotations

import math
import selectors
import socket
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.overload.packets import DISCONNECT, PUBLISH, connect, cut, puback, publish, subscribe

RATE = 50.0  # messages per second, of QoS 0 and QoS 1 in turn
TOPIC = "pair/room/temperature"
NEWCOMER_EVERY_S = 0.25
PATIENCE_S = 5.0  # for what has not arrived when all is over, and for what a newcomer is answered
_NUMBER = struct.Struct("!Q")


class Pair(threading.Thread):
    """
    A publisher and its subscriber, from `start` until `finish`.

    :ivar trouble: why it ended early; ``None`` if it did not.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._publisher = _client(port, connect("pair-publisher"))
        self._subscriber = _client(port, connect("pair-subscriber") + subscribe([TOPIC], 1), answers=2)
        self._sent_s: list[float] = []
        self._late_s: dict[int, float] = {}
        self._over = threading.Event()
        self._rest = b""
        self.trouble: str | None = None

    def run(self) -> None:
        try:
            self._talk()
        except OSError as problem:
            self.trouble = str(problem)

    def finish(self) -> None:
        """Publish no more, and wait for what has not arrived."""
        self._over.set()
        self.join()
        for one in (self._publisher, self._subscriber):
            one.close()

    def latencies_ms(self, begin_s: float, end_s: float) -> list[float]:
        """Of messages sent in between (monotonic seconds), ascending; infinite: it never arrived."""
        late_s = self._late_s
        sent = [number for number, at in enumerate(self._sent_s) if begin_s <= at < end_s]
        return sorted(1000 * late_s[number] if number in late_s else math.inf for number in sent)

    def _talk(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._publisher, selectors.EVENT_READ, self._read_acknowledgements)
            selector.register(self._subscriber, selectors.EVENT_READ, self._read_messages)
            begin = time.monotonic()
            due_s = begin
            while not self._over.is_set() or self._awaits_more():
                if not self._over.is_set() and time.monotonic() >= due_s:
                    self._publish()
                    due_s += 1 / RATE
                wait_s = 0.1 if self._over.is_set() else max(due_s - time.monotonic(), 0)
                for key, _ in selector.select(wait_s):
                    key.data()

    def _awaits_more(self) -> bool:
        missing = len(self._late_s) < len(self._sent_s)
        return missing and time.monotonic() < self._sent_s[-1] + PATIENCE_S

    def _publish(self) -> None:
        number = len(self._sent_s)
        payload = _NUMBER.pack(number) + bytes(92)
        packet_id = number % 65_000 + 1 if number % 2 else 0
        self._sent_s.append(time.monotonic())
        self._publisher.sendall(publish(TOPIC, payload, packet_id))

    def _read_acknowledgements(self) -> None:
        _receive(self._publisher)

    def _read_messages(self) -> None:
        now_s = time.monotonic()
        data = self._rest + _receive(self._subscriber)
        at = 0
        while found := cut(data, at) if at < len(data) else None:
            first, body, at = found
            if first >> 4 == PUBLISH:
                self._note(first, data[body:at], now_s)
        self._rest = data[at:]

    def _note(self, first: int, body: bytes, now_s: float) -> None:
        payload_at = 2 + len(TOPIC)
        if first & 0x06:
            self._subscriber.sendall(puback(body[payload_at : payload_at + 2]))
            payload_at += 2
        (number,) = _NUMBER.unpack_from(body, payload_at)
        self._late_s.setdefault(number, now_s - self._sent_s[number])


class Newcomer(threading.Thread):
    """
    A client that comes anew four times a second, from an address of its own.

    :ivar waits: when each came (monotonic seconds), and how long it waited to be let in, in ms.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._over = threading.Event()
        self.waits: list[tuple[float, float]] = []

    def run(self) -> None:
        while not self._over.wait(NEWCOMER_EVERY_S):
            begin_s = time.monotonic()
            with suppress(OSError):
                one = _client(self._port, connect("newcomer"))
                one.sendall(DISCONNECT)
                one.close()
            self.waits.append((begin_s, 1000 * (time.monotonic() - begin_s)))

    def finish(self) -> None:
        """Come no more."""
        self._over.set()
        self.join()


def percentile(ascending: Sequence[float], part: float) -> float:
    """The value that this part of all does not exceed; 0 of none."""
    if not ascending:
        return 0.0
    return ascending[min(math.ceil(part * len(ascending)) - 1, len(ascending) - 1)]


def _client(port: int, packets: bytes, answers: int = 1) -> socket.socket:
    """Connect from an address that no attacker has, and wait for the answers."""
    one = socket.create_connection(("127.0.0.1", port), PATIENCE_S, source_address=("127.0.0.77", 0))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.sendall(packets)
    data = b""
    while answers:
        data += _receive(one)
        while answers and data and (found := cut(data, 0)):
            data = data[found[2] :]
            answers -= 1
    return one


def _receive(one: socket.socket) -> bytes:
    data = one.recv(65_536)
    if not data:
        raise ConnectionResetError("the broker ended a connection of the well-behaved pair")
    return data
