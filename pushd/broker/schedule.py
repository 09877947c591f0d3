"""
Messages that are to be published later, each once.

**What a message keeps.** All that it would be published with now: topic, payload, QoS, RETAIN, properties.
Its `expires_at` counts from `due_at`, not from when it was handed in, and says until when it is worth
anything: what a stop of the process has kept past it is dropped and counted, not published late.

**Who may.** Its publisher was allowed to write to the topic when it was accepted, and is not asked for again
when it is published: like a message in a queue it was accepted already, and there may be nobody left to ask
about. Where somebody lost that right, its messages can be cancelled. What a subscriber may read is decided
when it is published, as ever.

**Once.** What follows from publishing is recorded first, then that the message is over, both in one turn of
the reactor. A store commits a turn's records together, so a crash leaves either both (a restart finds it
published) or neither (a restart publishes it). Were they to come apart, the order makes it twice rather than
never. To clients without a session a crash promises nothing, here as everywhere.

Where something must be known first (`prepare`), a message that is due waits for that on its own, and can be
cancelled, and is found by a restart, as before.

**One of each key.** A message with a collapse key (`PushMark.collapse_key`) takes the place of one that waits
for the same topic with the same key: the newer one counts, also if it is published at once (`collapse`).

**Cheap to wait for.** There is no timer for each message: a heap knows the next one, and the schedule as a
whole is one thing on the broker's timing wheel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from pushd.broker.counters import Counters
from pushd.broker.interfaces import IStore
from pushd.broker.message import Message
from pushd.broker.records import MessageScheduled, ScheduleEnded
from pushd.broker.wheel import TimingWheel

# They wait in memory: a hundred thousand take 53 MB and their payloads. None is ever dropped to make room, so
# there has to be an end to what is accepted.
MAX_MESSAGES = 100_000
MAX_BYTES = 268_435_456  # of payloads


class Schedule:
    """
    Iterating gives what waits, in no particular order, as `MessageScheduled`.

    :ivar slot: belongs to the wheel.
    :ivar payload_bytes: of all that wait together.
    """

    # Everybody's reminder is for nine o'clock: then that many are published at a time, and others served.
    SLICE = 200

    # So many entries of cancelled messages may stay in the heap, however few others there are.
    _SPARE = 1000

    _log = Logger()

    def __init__(
        self,
        wheel: TimingWheel,
        store: IStore,
        counters: Counters,
        publish: Callable[[Message], object],
        soon: Callable[[Callable[[], None]], IDelayedCall],
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        prepare: Callable[[Message], Deferred[None] | None] = lambda message: None,
    ) -> None:
        """
        :param publish: passes a message on, and has recorded what follows from it when it returns.
        :param soon: calls something once, after what is readable now has been read: ``callLater`` with 0.
        :param max_messages: how many may wait; 0 is no limit.
        :param max_bytes: how large all their payloads may be together; 0 is no limit.
        :param prepare: told of a message that is due; it is published at once if this returns ``None``, else
            when that fires. Never fails.
        """
        self._wheel = wheel
        self._store = store
        self._counters = counters
        self._publish = publish
        self._soon = soon
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._prepare = prepare
        self._stopped = False
        self._waiting: dict[str, MessageScheduled] = {}
        # (due_at, number, id): those that are due at the same time keep the order in which they came. A
        # cancelled message leaves its entry behind; one that was put in again leaves its old one.
        self._heap: list[tuple[float, int, str]] = []
        self._numbers = count()
        self._by_key: dict[tuple[str, str], str] = {}  # ids of messages with a collapse key, by topic and key
        self._rest: IDelayedCall | None = None
        self.payload_bytes = 0
        self.slot = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[MessageScheduled]:
        return iter(self._waiting.values())

    def __contains__(self, id: str) -> bool:
        return id in self._waiting

    def get(self, id: str) -> MessageScheduled | None:
        """The message of this id, if it waits."""
        return self._waiting.get(id)

    def has_room(self, payload_bytes: int) -> bool:
        """Whether one more message with a payload of this size may wait."""
        if 0 < self._max_messages <= len(self._waiting):
            return False
        return self._max_bytes == 0 or self.payload_bytes + payload_bytes <= self._max_bytes

    def add(self, id: str, due_at: float, message: Message) -> bool:
        """
        Publish `message` when it is time; at once, or nearly so, if that is past. It takes the place of the
        message of this id, if one waits.

        :param id: nobody else's; it may become known to whoever publishes the message.
        :param due_at: in the wheel's seconds.
        :return: whether there was room for it. Durable it is after the store's next barrier.
        """
        if not self.has_room(len(message.payload)):
            return False
        self.cancel(id)
        self.collapse(message)
        scheduled = MessageScheduled(id, due_at, message)
        self._store.record(scheduled)
        earliest = self.due_at()
        self._put(scheduled)
        if earliest is None or due_at < earliest:
            self._wheel.add(self)
        return True

    def collapse(self, message: Message) -> bool:
        """
        Forget the message whose place this one takes, by its collapse key.

        :return: whether there was one.
        """
        key = _key(message)
        return key is not None and self.cancel(self._by_key.get(key, ""))

    def cancel(self, id: str) -> bool:
        """
        Forget a message. Durable after the store's next barrier.

        :return: whether there was one: if not, it was published already, or never came.
        """
        scheduled = self._waiting.get(id)
        if scheduled is None:
            return False
        self._take_out(scheduled)
        self._store.record(ScheduleEnded(id))
        self._tidy()
        return True

    def restore(self, saved: Iterable[MessageScheduled]) -> None:
        """Take up what a store gives back, however much it is. What is overdue goes first."""
        for scheduled in saved:
            self._put(scheduled)
        self._wheel.add(self)

    def stop(self) -> None:
        """Publish nothing more: the process ends, and the store is about to be closed."""
        self._stopped = True
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    # What the wheel calls

    def due_at(self) -> float | None:
        while self._heap and not self._is_current(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def on_due(self) -> None:
        if self._rest is None:
            self._go_on()

    def _go_on(self) -> None:
        """Publish what is due, a slice of it at a time."""
        self._rest = None
        for _ in range(self.SLICE):
            scheduled = self._take_due(self._wheel.now)
            if scheduled is None:
                self._wheel.add(self)
                return
            preparing = self._prepare(scheduled.message)
            if preparing is None:
                self._finish(None, scheduled)
            else:
                preparing.addCallback(self._finish, scheduled)
        self._rest = self._soon(self._go_on)

    def _take_due(self, now: float) -> MessageScheduled | None:
        due_at = self.due_at()
        if due_at is None or due_at > now:
            return None
        return self._waiting[heappop(self._heap)[2]]

    def _finish(self, _: None, scheduled: MessageScheduled) -> None:
        """Publish a message that is due, and only then say that it is over (see **Once** above)."""
        if self._stopped or self._waiting.get(scheduled.id) is not scheduled:
            return  # the next process will; or it was cancelled
        self._take_out(scheduled)
        try:
            if scheduled.message.expired(self._wheel.now):
                self._counters.dropped("expired")
            else:
                self._publish(scheduled.message)
        except Exception:  # it would fail again after each restart, and must not hold up the others
            self._log.failure("scheduled message {id} could not be published", id=scheduled.id)
        self._store.record(ScheduleEnded(scheduled.id))

    # The heap

    def _put(self, scheduled: MessageScheduled) -> None:
        self._waiting[scheduled.id] = scheduled
        self.payload_bytes += len(scheduled.message.payload)
        if (key := _key(scheduled.message)) is not None:
            self._by_key[key] = scheduled.id
        heappush(self._heap, (scheduled.due_at, next(self._numbers), scheduled.id))

    def _take_out(self, scheduled: MessageScheduled) -> None:
        del self._waiting[scheduled.id]
        self.payload_bytes -= len(scheduled.message.payload)
        key = _key(scheduled.message)
        if key is not None and self._by_key.get(key) == scheduled.id:
            del self._by_key[key]

    def _is_current(self, entry: tuple[float, int, str]) -> bool:
        """Of a message put in twice for the same time, both are: the first that comes up takes it."""
        scheduled = self._waiting.get(entry[2])
        return scheduled is not None and scheduled.due_at == entry[0]

    def _tidy(self) -> None:
        """Leave no more than one dead entry for each live one, so that cancelling cannot fill the memory."""
        if len(self._heap) > 2 * len(self._waiting) + self._SPARE:
            self._heap = [entry for entry in self._heap if self._is_current(entry)]
            heapify(self._heap)


def _key(message: Message) -> tuple[str, str] | None:
    """The topic and collapse key of a message that has one."""
    if message.push is None or not message.push.collapse_key:
        return None
    return message.topic, message.push.collapse_key
