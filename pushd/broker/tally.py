"""
What the broker has counted by topic name, until somebody collects it.

While a route is in use it counts for itself: two additions to plain integers per message, or per run of
messages, are all that the busy paths pay. From time to time `Tally.pieces` walks along the routes and takes
what they have. A route that is dropped before that waits here, as do the messages that subscribers did not
get: those are counted by name, for most of them were dropped long after they took their route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pushd.broker.router import Route


class Counts(NamedTuple):
    """
    What happened at one topic name.

    :ivar messages: that were published.
    :ivar payload_bytes: of these.
    :ivar deliveries: copies that were made for subscribers, whatever became of them; one for a shared group.
    :ivar drops: those of them that a subscriber did not get.
    """

    topic: str
    messages: int = 0
    payload_bytes: int = 0
    deliveries: int = 0
    drops: int = 0


class Collector(Protocol):
    """Who wants to know."""

    def wanted(self) -> None:
        """Much waits: collect it soon. Called from within anything, so not at once."""

    def take(self, piece: list[Counts]) -> None:
        """So much waits that some of it has to go now."""


class Tally:
    """:ivar collector: takes care that what waits stays in bounds; whoever collects it says who."""

    PIECE = 500  # routes or names looked at in one piece; less than a millisecond
    SOON = 10_000  # when so many wait that it is worth while
    # A tenth of a second brings no more, and while routes are in use there may be 50 000 more of them.
    MOST = 100_000

    def __init__(self, routes: Callable[[], list[Route]]) -> None:
        """:param routes: those that are in use."""
        self._routes = routes
        self._retired: list[Route] = []
        self._drops: dict[str, int] = {}
        self.collector: Collector | None = None

    def retired(self, route: Route) -> None:
        """A route is not used any more."""
        self._retired.append(route)
        self._watch(len(self._retired), self._next_retired)

    def dropped(self, topic: str, count: int) -> None:
        """Messages that a subscriber did not get."""
        known = self._drops.get(topic, 0)
        self._drops[topic] = known + count
        if not known:
            self._watch(len(self._drops), self._next_drops)

    def _watch(self, waiting: int, next_piece: Callable[[], list[Counts]]) -> None:
        if self.collector is None or waiting < self.SOON:
            return
        if waiting >= self.MOST:
            self.collector.take(next_piece())
        elif waiting == self.SOON:
            self.collector.wanted()

    def pieces(self) -> Iterator[list[Counts]]:
        """
        Take everything that was counted since the last time. Between two pieces others may go on counting;
        what comes behind the walk is left for the next one.
        """
        for _ in range(0, len(self._drops), self.PIECE):
            yield self._next_drops()
        for _ in range(0, len(self._retired), self.PIECE):
            yield self._next_retired()
        routes = self._routes()
        for at in range(0, len(routes), self.PIECE):
            yield [route.take() for route in routes[at : at + self.PIECE] if route.messages]

    def _next_drops(self) -> list[Counts]:
        count = min(self.PIECE, len(self._drops))
        return [Counts(topic, drops=drops) for topic, drops in (self._drops.popitem() for _ in range(count))]

    def _next_retired(self) -> list[Counts]:
        piece = self._retired[-self.PIECE :]
        del self._retired[-self.PIECE :]
        return [route.take() for route in piece if route.messages]
