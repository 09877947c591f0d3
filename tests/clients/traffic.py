"""
Pairs of clients that talk all the time, in a thread of their own: one publishes at QoS 1, one message after
the other is acknowledged; the other must get each of them once, in its order.

    with Traffic(port, pairs=50, username="ada", password=b"secret") as traffic:
        ...
    assert traffic.problems == []
"""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType

from pushd.mqtt.codes import QoS, Version
from pushd.mqtt.packets import Connect, Packet, Puback, Publish, Subscribe, SubscriptionRequest
from pushd.mqtt.reader import read_packet
from pushd.mqtt.writer import encode
from tests.processes import DEADLINE_S


class Line:
    """One connection that has said who it is."""

    def __init__(self, port: int, client_id: str, username: str, password: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._data = b""
        self.say(Connect(client_id=client_id, username=username, password=password))
        self.hear()

    def say(self, packet: Packet) -> None:
        """Send it; these are few and small."""
        self.socket.sendall(encode(packet, Version.V3_1_1))

    def hear(self) -> list[Packet]:
        """
        What has come; waits for the next if there is nothing.

        :raises ConnectionError: the broker has ended the connection.
        """
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError("closed by the broker")
        self._data += data
        packets: list[Packet] = []
        at = 0
        while (cut := read_packet(self._data, at, Version.V3_1_1, 0)) is not None:
            packet, at = cut
            packets.append(packet)
        self._data = self._data[at:]
        return packets


class Pair:
    """
    :ivar published: how many messages were sent; all but perhaps the last are acknowledged.
    :ivar received: how many came.
    """

    def __init__(self, port: int, name: str, username: str, password: bytes) -> None:
        self._topic = f"traffic/{name}"
        self.ear = Line(port, f"{name}-ear", username, password)
        self.ear.say(Subscribe(1, [SubscriptionRequest(self._topic, QoS.AT_LEAST_ONCE)]))
        self.ear.hear()
        self.mouth = Line(port, f"{name}-mouth", username, password)
        self.published = self.received = self.acknowledged = 0

    @property
    def is_done(self) -> bool:
        """Whether everything is acknowledged and has come."""
        return self.published == self.acknowledged == self.received

    def publish(self) -> None:
        payload = b"%d" % self.published
        self.published += 1
        self.mouth.say(
            Publish(self._topic, payload, QoS.AT_LEAST_ONCE, packet_id=self.published % 65_535 + 1)
        )

    def listen(self) -> None:
        """Take what has come for the ear."""
        for packet in self.ear.hear():
            assert isinstance(packet, Publish), packet
            assert packet.payload == b"%d" % self.received, (packet, self.received)
            self.received += 1
            self.ear.say(Puback(packet.packet_id))

    def go_on(self, is_over: bool) -> None:
        """Take the acknowledgement, and publish the next."""
        self.acknowledged += len(self.mouth.hear())
        if not is_over:
            self.publish()


class Traffic:
    """
    :ivar problems: what went wrong; empty if every message came.
    :ivar count: how many messages there were, at the end.
    """

    def __init__(self, port: int, pairs: int, username: str, password: bytes) -> None:
        self.problems: list[str] = []
        self.count = 0
        self._pairs = [Pair(port, f"pair-{number}", username, password) for number in range(pairs)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(DEADLINE_S)
        self.count = sum(pair.received for pair in self._pairs)
        if self._thread.is_alive():
            self.problems.append("some messages never came")
        for pair in self._pairs:
            pair.ear.socket.close()
            pair.mouth.socket.close()

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                self._talk(selector)
        except (OSError, AssertionError) as problem:
            self.problems.append(f"{type(problem).__name__}: {problem}")

    def _talk(self, selector: selectors.BaseSelector) -> None:
        for pair in self._pairs:
            selector.register(pair.ear.socket, selectors.EVENT_READ, (pair, True))
            selector.register(pair.mouth.socket, selectors.EVENT_READ, (pair, False))
            pair.publish()
        while not (self._over.is_set() and all(pair.is_done for pair in self._pairs)):
            for key, _ in selector.select(1):
                pair, is_ear = key.data
                if is_ear:
                    pair.listen()
                else:
                    pair.go_on(self._over.is_set())
