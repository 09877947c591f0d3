"""
The archive: what was said on a topic lately, for those who were not there.

A push is kept as long as its mark says (`PushMark.keep_s`), on each topic where it is published. What MQTT
clients publish is kept where an exception (``cache_topic``) asks for it. It is recorded in the turn in which
it is published, so that whoever waits for the store's next barrier, as PUBACK and the gateway's answers do,
has it kept. Nothing of the archive is in memory but how much there is: the store has it, and finds it.

**Order.** What is kept gets numbers that never come again. Its time (`Kept.at`) never goes back either, even
if the clock is set: so the two orders are the same, and what was said since some time is found at once.

**Until when.** A message that expires is not kept for longer than that. Once a minute what is over is
forgotten; before that, it is not given any more.

**How much.** Beyond ``max_kept_messages`` or ``max_kept_bytes`` the oldest go, whatever their topic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.broker.counters import Counters
from pushd.broker.interfaces import IStore
from pushd.broker.limits import Limits
from pushd.broker.message import Message, PushMark, new_push_id
from pushd.broker.records import Amount, Kept, KeptExpired, KeptForgotten, KeptQuery, MessageKept, SavedState
from pushd.broker.wheel import TimingWheel
from pushd.mqtt.topics import matches


class Archive:
    """
    :ivar count: how many messages and events it has.
    :ivar payload_bytes: of all of them together.
    :ivar slot: belongs to the wheel.
    """

    EXPIRY_S = 60

    # So many are looked up at a time when there are too many: a little more than that, so that a full archive
    # does not have to look for each one that comes.
    SLICE = 1000

    _log = Logger()

    def __init__(
        self,
        store: IStore,
        wheel: TimingWheel,
        counters: Counters,
        limits: Callable[[], Limits],
        wall_clock: Callable[[], float],
        lines_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """
        :param limits: gives those of now: a reload may replace them.
        :param wall_clock: Unix seconds.
        :param lines_changed: called when `concerns` may answer otherwise than before.
        """
        self._store = store
        self._wheel = wheel
        self._counters = counters
        self._limits = limits
        self._wall_clock = wall_clock
        self._lines_changed = lines_changed
        self._lines: tuple[tuple[str, int], ...] = ()
        self._watchers: dict[str, list[Callable[[Kept], None]]] = {}
        self._last = 0  # number
        self._latest = 0  # time
        self._by_minute: Counter[int] = Counter()  # how many, by `Kept.minute`
        self._bytes_by_minute: Counter[int] = Counter()
        self._making_room = False
        self._next_expiry = wheel.seconds() + self.EXPIRY_S
        self.count = 0
        self.payload_bytes = 0
        self.slot = 0

    # How long

    def keep_topics(self, lines: Sequence[tuple[str, int]]) -> None:
        """
        Set the exceptions.

        :param lines: a topic filter, mount point included, and for how long messages on these topics are kept
            (seconds; 0 for not at all), also those of MQTT clients. The first that matches a topic counts.
        """
        if self._lines != tuple(lines):
            self._lines = tuple(lines)
            self._lines_changed()

    def keep_s(self, topic: str) -> int:
        """How long a push on this topic is kept, unless its sender does not want that; 0 for not at all."""
        exception = self._exception(topic)
        return self._limits().cache_duration if exception is None else exception

    def concerns(self, topic: str) -> bool:
        """Whether what MQTT clients publish there is kept, too."""
        return bool(self._lines) and bool(self._exception(topic))

    def _exception(self, topic: str) -> int | None:
        return next((keep_s for filter, keep_s in self._lines if matches(filter, topic)), None)

    # What comes in

    def keep(self, message: Message) -> None:
        """A message is about to be published: record it, if it is to be kept."""
        if message.push is None and self.concerns(message.topic):
            message.push = PushMark(new_push_id(), self._now(), self.keep_s(message.topic))
        mark = message.push
        if mark is not None and mark.keep_s:
            self._add(message, mark, mark.keep_s, "message")

    def mark(self, message: Message) -> PushMark:
        """The mark of a message, which gets one if it has none: all who look at it see the same."""
        if message.push is None:
            message.push = PushMark(new_push_id(), self._now())
        return message.push

    def tell(self, message: Message, event: str) -> Kept:
        """
        Keep an event, as long as a push on its topic would be, and tell those who watch the topic. They are
        told at once; what they say should wait until it is durable (`Broker.when_durable`).

        :param message: says what it is about. It is not published.
        :param event: ``message_clear`` or ``message_delete``.
        """
        mark = self.mark(message)
        kept = self._add(message, mark, mark.keep_s or self.keep_s(message.topic), event)
        for watcher in list(self._watchers.get(message.topic, ())):
            try:
                watcher(kept)
            except Exception:
                self._log.failure("somebody who watches {topic} failed", topic=message.topic)
        return kept

    def _add(self, message: Message, mark: PushMark, keep_s: int, event: str) -> Kept:
        """:return: what is recorded; with the number 0 if it is not, for its time is over already."""
        now = self._now()
        if message.expires_at is not None:
            keep_s = min(keep_s, ceil(message.expires_at - self._wheel.seconds()))
        if keep_s <= 0:
            return Kept(0, mark.id, now, now, message, event)
        self._last += 1
        kept = Kept(self._last, mark.id, now, now + keep_s, message, event)
        self._store.record(MessageKept(kept))
        self._count(kept, 1)
        self._make_room()
        return kept

    def _now(self) -> int:
        self._latest = max(self._latest, int(self._wall_clock()))
        return self._latest

    def watch(self, topic: str, function: Callable[[Kept], None]) -> Callable[[], None]:
        """
        Hear of the events that are told on a topic; messages are heard by a tap (`pushd.broker.tap`).

        :param topic: its name, mount point included.
        :return: what ends it.
        """
        watcher = partial(function)  # another one for each time
        self._watchers.setdefault(topic, []).append(watcher)
        return partial(self._stop_watching, topic, watcher)

    def _stop_watching(self, topic: str, watcher: Callable[[Kept], None]) -> None:
        left = [other for other in self._watchers.get(topic, ()) if other is not watcher]
        if left:
            self._watchers[topic] = left
        else:
            self._watchers.pop(topic, None)

    # What it has

    def find(self, query: KeptQuery) -> Deferred[list[Kept]]:
        """
        By all that was kept before this call; what comes is durable when it comes. Fewer than `query.limit`
        may come though there are more: whoever wants all asks again, `after` the last, until none come.

        :return: in their order. Fails if the store cannot be read.
        """
        return self._ask(query).addCallback(self._still_there, query)

    def _ask(self, query: KeptQuery) -> Deferred[list[Kept]]:
        found = self._store.find_kept(query)
        return found if isinstance(found, Deferred) else succeed(found)

    def _still_there(self, found: list[Kept], query: KeptQuery) -> list[Kept] | Deferred[list[Kept]]:
        now = self._now()
        there = [kept for kept in found if kept.until > now]
        if there or not found:
            return there
        return self.find(replace(query, after=found[-1].number))  # "none" would mean that there are no more

    def number_of(self, id: str) -> Deferred[int | None]:
        """The number of what has this id: where to go on from, for whoever has had it. The first of many."""
        number = self._store.kept_number(id)
        return number if isinstance(number, Deferred) else succeed(number)

    # What goes

    def restore(self, saved: SavedState) -> None:
        """Take up what a store gives back."""
        self._last, self._latest = saved.last_kept, saved.last_kept_at
        for minute, amount in saved.kept_by_minute.items():
            self._by_minute[minute], self._bytes_by_minute[minute] = amount
        self.count, self.payload_bytes = self._by_minute.total(), self._bytes_by_minute.total()
        self._wheel.add(self)

    def due_at(self) -> float | None:
        return self._next_expiry

    def on_due(self) -> None:
        self._next_expiry = self._wheel.seconds() + self.EXPIRY_S
        self._wheel.add(self)
        self._expire()
        self._make_room()  # a reload may have changed how much that is

    def _expire(self) -> None:
        minute = self._now() // 60
        over = [until for until in self._by_minute if until <= minute]
        if over:
            self.count -= sum(map(self._by_minute.pop, over))
            self.payload_bytes -= sum(map(self._bytes_by_minute.pop, over))
            self._store.record(KeptExpired(minute * 60))

    async def forget(self, topic: str, id: str, collapse_key: str) -> bool:
        """
        Forget what has this id on a topic, before its time.

        :param collapse_key: which it has, too: an id is known to all who read the topic.
        :return: whether there was anything, when nobody finds it any more.
        """
        number = await self.number_of(id)
        if number is None:
            return False
        found = await self.find(KeptQuery((topic,), after=number - 1, limit=1))
        for kept in found:
            mark = kept.message.push
            its_key = None if mark is None else mark.collapse_key
            if kept.id == id and its_key == collapse_key and kept.minute in self._by_minute:
                self._take_out(kept)
                return True
        return False

    def _take_out(self, kept: Kept) -> None:
        self._store.record(KeptForgotten(kept.number))
        self._count(kept, -1)

    def _count(self, kept: Kept, change: int) -> None:
        """:param change: 1 for one that comes, -1 for one that goes."""
        minute, size = kept.minute, change * len(kept.message.payload)
        self._by_minute[minute] += change
        self._bytes_by_minute[minute] += size
        self.count += change
        self.payload_bytes += size

    def _make_room(self) -> None:
        limits = self._limits()
        most = Amount(limits.max_kept_messages, limits.max_kept_bytes)
        if self._making_room or not self._is_above(most):
            return
        self._making_room = True
        enough = Amount(*(limit - limit // 100 for limit in most))
        oldest = self._ask(KeptQuery((), limit=self.SLICE))
        oldest.addCallback(self._forget, enough).addErrback(self._cannot_forget)

    def _is_above(self, most: Amount) -> bool:
        """Whether there is more than that; 0 is no limit."""
        return 0 < most.messages < self.count or 0 < most.payload_bytes < self.payload_bytes

    def _forget(self, oldest: Iterable[Kept], enough: Amount) -> None:
        forgotten = 0
        for kept in oldest:  # of which some may have gone meanwhile, with the others of their minute
            if self._is_above(enough) and kept.minute in self._by_minute:
                self._take_out(kept)
                forgotten += 1
        if forgotten:
            self._counters.dropped("archive_full", forgotten)
        self._making_room = False
        if forgotten:
            self._make_room()

    def _cannot_forget(self, failure: Failure) -> None:
        """It is tried again with the next message."""
        self._log.failure("the archive is full and cannot be read", failure=failure)
        self._making_room = False
