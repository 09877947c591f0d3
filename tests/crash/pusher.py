"""Somebody who pushes through the HTTP gateway, on one connection after the other."""

from __future__ import annotations

from random import Random

from pushd.mqtt.codes import QoS
from tests.crash.crowd import Visitor
from tests.crash.ledger import Ledger
from tests.crash.people import next_message
from tests.crash.timeline import Key


class Pusher(Visitor):
    """
    Pushes through the HTTP gateway while it is `busy`, one after the other; 200 is the acknowledgement.

    What was not answered is not pushed again: nobody could tell it from another push.
    """

    def __init__(self, port: int, ledger: Ledger, rng: Random, topics: dict[str, QoS]) -> None:
        super().__init__("pusher", port)
        self._ledger = ledger
        self._rng = rng
        self._topics = topics
        self._pending: Key | None = None
        self._answer = b""

    @property
    def is_done(self) -> bool:
        """Whether nothing waits for its answer."""
        return self._pending is None

    @property
    def may_break(self) -> bool:
        """Not while it waits: that push could reach the broker after the one that follows on the next."""
        return self.is_done

    def closed(self) -> None:
        self._pending = None
        self._answer = b""

    def act(self) -> None:
        if self.busy and self._pending is None:
            topic = self._rng.choice(list(self._topics))
            self._pending, payload, retain, _ = next_message(topic, self._ledger, self._rng)
            self.outbox += (
                f"POST /v1/publish/{topic}?qos={self._topics[topic]:d}&retain={retain:d} HTTP/1.1\r\n"
                f"Host: localhost\r\nContent-Length: {len(payload)}\r\n\r\n"
            ).encode() + payload

    def received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if end and len(body) >= _content_length(head):
            self._answered(head)

    def _answered(self, head: bytes) -> None:
        assert self._pending is not None, head
        if head.startswith(b"HTTP/1.1 200"):
            self._ledger.acknowledged(self._pending)
        else:
            self._ledger.refused(self._pending, head.splitlines()[0].decode())
        self._pending, self._answer = None, b""


def _content_length(head: bytes) -> int:
    for line in head.lower().splitlines():
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
