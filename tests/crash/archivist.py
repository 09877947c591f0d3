"""Somebody who reads what the gateway has kept of some topics, and compares."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote

from tests.crash.crowd import Visitor
from tests.crash.ledger import Ledger


class Archivist(Visitor):
    """
    Asks for all that was kept, in one request; comes only when nobody publishes.

    :ivar wanted: set it for another visit; it becomes false when all was seen.
    """

    wanted = False

    def __init__(self, port: int, ledger: Ledger, topics: Iterable[str]) -> None:
        """:param topics: where all that is said is kept."""
        super().__init__("archivist", port)
        self._ledger = ledger
        self._topics = list(topics)
        self._answer = b""
        for topic in self._topics:
            ledger.archives(topic)

    def opened(self) -> None:
        self._answer = b""
        topics = ",".join(quote(topic, safe="") for topic in self._topics)
        # To a client of HTTP/1.0 the end of the answer is the end of the connection.
        self.outbox += f"GET /{topics}/json?poll=1&since=all HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()

    def received(self, data: bytes) -> None:
        self._answer += data

    def closed(self) -> None:
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or not self.wanted:
            return
        self.wanted = False
        if b" 200 " not in head.splitlines()[0]:
            self._ledger.found("broken", f"what was kept cannot be read: {head!r}", None)
            return
        found: dict[str, list[int]] = {topic: [] for topic in self._topics}
        for line in body.splitlines():
            message = json.loads(line)
            found[message["topic"]].append(int(message["message"].partition(" ")[0]))
        for topic, numbers in found.items():
            self._ledger.archive_has(topic, numbers)
