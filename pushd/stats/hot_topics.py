"""
Which topics are hot: most published to, with the most bytes, copies or drops; and most subscribed to.

Nobody registers a topic. The broker counts where messages pass (`pushd.broker.tally`), and every ten seconds,
or when somebody asks, that is collected into sketches (`pushd.stats.space_saving`): memory does not grow with
the number of topics, and of each figure it is known how much it may be too small. By the bounds given there
that is at most the sum over all topics divided by ``hot_topics``, and 0 while there were no more topics.

There are three windows. That since the start is one sketch for each measure. The others are rows of smaller
windows, each with its sketches, of which the oldest goes when a new one begins; asked for, they are added up,
counts and errors. So "1m" are the last 50 to 60 seconds and "1h" the last 55 to 60 minutes. Sketches that
forget exponentially would take a sixth of the memory, but their figures could not be checked by counting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from heapq import nlargest
from operator import itemgetter
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, LoopingCall, SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.broker.subscriber_counts import SubscriberCounts
from pushd.broker.tally import Counts, Tally
from pushd.stats.space_saving import SpaceSaving

log = Logger()

# What topics are ranked by, in the order in which it stands in `Counts`.
MEASURES = ("messages", "bytes", "deliveries", "drops")
SUBSCRIBERS = "subscribers"

PART_S = 10.0
PARTS_OF_MINUTE = 6
PARTS_OF_HOUR = 12
TICKS_PER_PART_OF_HOUR = 30

# Sixteen times as long as most names are. A name may take 64 KiB, and a sketch keeps thousands of them.
LONGEST_NAME = 256


class Board:
    """One sketch for each measure."""

    __slots__ = ("_sketches",)

    def __init__(self, capacity: int) -> None:
        self._sketches = {measure: SpaceSaving(capacity) for measure in MEASURES}

    def __getitem__(self, measure: str) -> SpaceSaving:
        return self._sketches[measure]

    def add(self, piece: list[Counts]) -> None:
        """Take in some more."""
        if not piece:
            return
        topics, *columns = zip(*piece, strict=True)
        for sketch, weights in zip(self._sketches.values(), columns, strict=True):
            sketch.add_all([(topic, weight) for topic, weight in zip(topics, weights, strict=True) if weight])

    def trim(self) -> None:
        """Nothing more will be added."""
        for sketch in self._sketches.values():
            sketch.trim()


class Window:
    """The last few parts of the time, the one that has just begun among them."""

    def __init__(self, capacity: int, parts: int = 1) -> None:
        self._capacity = capacity
        self._boards: deque[Board] = deque([Board(capacity)], parts)

    def add(self, piece: list[Counts]) -> None:
        """Take in what has happened now."""
        self._boards[-1].add(piece)

    def begin_part(self) -> None:
        """The oldest part goes, if there are as many as there should be."""
        self._boards[-1].trim()
        self._boards.append(Board(self._capacity))

    def top(self, by: str, count: int) -> list[dict[str, Any]]:
        """The topics with the most of a measure, and what is known of them: the most first."""
        totals: dict[str, int] = {}
        for board in self._boards:
            board[by].add_up(totals)
        best = nlargest(count, totals.items(), key=itemgetter(1))
        return [self._figures(name, by) for name, _ in best]

    def _figures(self, name: str, by: str) -> dict[str, Any]:
        figures = {measure: self._sum(name, measure)[0] for measure in MEASURES}
        return {"topic": name, **figures, "error": self._sum(name, by)[1]}

    def _sum(self, name: str, measure: str) -> tuple[int, int]:
        told = [board[measure].of(name) for board in self._boards]
        return sum(each.certain for each in told), sum(each.error for each in told)


class HotTopics:
    """
    Collects while it is started, and answers.

    :param capacity: how many topics a sketch keeps; ``hot_topics`` in the settings.
    """

    def __init__(
        self, capacity: int, tally: Tally, subscribers: SubscriberCounts, clock: IReactorTime
    ) -> None:
        self._tally = tally
        self._subscribers = subscribers
        self._minute = Window(capacity, PARTS_OF_MINUTE)
        self._hour = Window(capacity, PARTS_OF_HOUR)
        self._windows = {"1m": self._minute, "1h": self._hour, "start": Window(capacity)}
        self._ticks = 0
        self._ticking = LoopingCall.withCount(self._tick)
        self._ticking.clock = clock
        # One piece for one window per turn of the reactor: a millisecond or two, then others are served.
        self._cooperator = Cooperator(lambda: lambda: True, partial(clock.callLater, 0))
        self._waiters: list[Deferred[None]] = []
        tally.collector = self

    def start(self) -> None:
        """Collect every ten seconds from now on."""
        self._ticking.start(PART_S, now=False)

    def stop(self) -> None:
        """Collect no more."""
        if self._ticking.running:
            self._ticking.stop()
        self._cooperator.stop()

    # What is asked

    def report(self, by: str, window: str, count: int) -> Deferred[dict[str, Any]]:
        """
        :param by: one of `MEASURES`, or ``subscribers``.
        :param window: ``1m``, ``1h`` or ``start``; subscribers are counted as they are now.
        :return: fires with ``{"by", "window", "topics": [...]}``, the hottest first. Each has
            ``topic``, all measures, and as ``error`` that of `by`; or ``filter``, ``subscribers``, and an
            error of 0.
        """
        if by == SUBSCRIBERS:
            return succeed(_told(by, "now", self._most_subscribed(count)))
        return self.collect().addCallback(lambda _: _told(by, window, self._windows[window].top(by, count)))

    def _most_subscribed(self, count: int) -> list[dict[str, Any]]:
        return [
            {"filter": _shown(filter), SUBSCRIBERS: subscribers, "error": 0}
            for filter, subscribers in self._subscribers.top(count)
        ]

    # What is counted

    def collect(self) -> Deferred[None]:
        """:return: fires when all that was counted until now is in the sketches."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        if len(self._waiters) == 1:
            self._cooperator.cooperate(self._steps()).whenDone().addBoth(self._collected)
        return waiter

    def _steps(self) -> Iterator[None]:
        for piece in self._tally.pieces():
            named = _named(piece)
            for window in self._windows.values():
                window.add(named)
                yield

    def _collected(self, result: object) -> None:
        if isinstance(result, Failure) and not result.check(SchedulerStopped):
            log.failure("Not all topics were counted", result)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def wanted(self) -> None:
        """See `pushd.broker.tally.Collector`."""
        self.collect()

    def take(self, piece: list[Counts]) -> None:
        """See `pushd.broker.tally.Collector`."""
        named = _named(piece)
        for window in self._windows.values():
            window.add(named)

    def _tick(self, ticks: int) -> Deferred[None]:
        """:param ticks: how many there should have been since the last: more than one after a long sleep."""
        return self.collect().addCallback(lambda _: self._begin_parts(ticks))

    def _begin_parts(self, ticks: int) -> None:
        for _ in range(min(ticks, PARTS_OF_MINUTE)):
            self._minute.begin_part()
        before, self._ticks = self._ticks, self._ticks + ticks
        parts = self._ticks // TICKS_PER_PART_OF_HOUR - before // TICKS_PER_PART_OF_HOUR
        for _ in range(min(parts, PARTS_OF_HOUR)):
            self._hour.begin_part()


def _told(by: str, window: str, topics: list[dict[str, Any]]) -> dict[str, Any]:
    return {"by": by, "window": window, "topics": topics}


def _shown(name: str) -> str:
    """Names that begin alike and are too long are one."""
    return name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "…"


def _named(piece: list[Counts]) -> list[Counts]:
    """By the names that are kept. The broker's own topics are left out: they tell of all others."""
    return [
        counts if len(counts.topic) <= LONGEST_NAME else counts._replace(topic=_shown(counts.topic))
        for counts in piece
        if not counts.topic.startswith("$SYS/")
    ]
