"""
Changes to what is written, as their sum.

Most of what happens is over soon: a message is queued, sent and acknowledged within milliseconds. So what is
recorded is not put into a list but applied to a sum, where it may undo what came before. What is undone is
never written, and while nothing can be written (a full disk) the sum grows with what there is to remember,
not with what happened.

A batch speaks of sessions by their numbers. A number is given to one session only as long as the process
lives, so that what concerns an ended session is told from what concerns the next one of the same client.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pushd.broker import records as r
from pushd.broker.message import Message

NOTHING: Final[Any] = object()

# A session's number, and a sequence number or packet identifier of the session.
Key = tuple[int, int]

# What is known of a session and a filter.
Standing: TypeAlias = "r.SubscriptionAdded | r.SubscriptionGivenUp"


@dataclass(slots=True)
class Batch:
    """
    Changes to what is written already.

    :ivar number: one more than that of the batch before; of a sum, that of the last one in it.
    :ivar created: sessions of which nothing is written yet.
    :ivar ended: sessions that are over. What else this batch says of them does not count: see `settle`.
    :ivar unqueued: messages that are written as queued, and need not be any more.
    :ivar inflight: in the order of sending: a message; ``None`` for one that is released; or the sequence
        number of one that is written as queued.
    :ivar acknowledged: packet identifiers that are written as in flight, and are free. One may be in
        `inflight` as well: it is used again.
    :ivar received: packet identifiers that are written (false) or are not (true), and that is wrong.
    :ivar kept: what the archive has more, by number.
    :ivar forgotten: numbers that are written in the archive, and need not be any more.
    :ivar expired: all is forgotten in the archive whose `until` is not later; 0: nothing.
    """

    number: int
    opened: dict[int, r.SessionOpened] = field(default_factory=dict)
    left: dict[int, float] = field(default_factory=dict)
    created: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    subscriptions: dict[tuple[int, str], Standing | None] = field(default_factory=dict)
    queued: dict[Key, Message] = field(default_factory=dict)
    unqueued: set[Key] = field(default_factory=set)
    inflight: dict[Key, Message | int | None] = field(default_factory=dict)
    acknowledged: set[Key] = field(default_factory=set)
    received: dict[Key, bool] = field(default_factory=dict)
    retained: dict[str, Message | None] = field(default_factory=dict)
    wills: dict[str, r.WillSet | None] = field(default_factory=dict)
    scheduled: dict[str, r.MessageScheduled | None] = field(default_factory=dict)
    kept: dict[int, r.Kept] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)
    expired: int = 0
    notes: dict[tuple[str, str], r.Note | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.queued or self.inflight or self.acknowledged or self.unqueued or self.received
            or self.retained or self.opened or self.left or self.ended or self.subscriptions or self.wills
            or self.scheduled or self.kept or self.forgotten or self.expired or self.notes
        )  # fmt: skip

    def __len__(self) -> int:
        """How many things there are to write, about."""
        return (
            len(self.queued) + len(self.inflight) + len(self.acknowledged) + len(self.unqueued)
            + len(self.received) + len(self.retained) + len(self.opened) + len(self.left) + len(self.ended)
            + len(self.subscriptions) + len(self.wills) + len(self.scheduled) + len(self.kept)
            + len(self.forgotten) + len(self.notes) + bool(self.expired)
        )  # fmt: skip

    # What undoes something

    def unqueue(self, key: Key) -> None:
        """A queued message will never be sent."""
        if self.queued.pop(key, None) is None:
            self.unqueued.add(key)

    def send(self, key: Key, sequence: int) -> None:
        """A queued message goes out, under the packet identifier of `key`."""
        message = self.queued.pop((key[0], sequence), None)
        self.inflight[key] = sequence if message is None else message

    def forget_in_flight(self, key: Key) -> None:
        """A packet identifier is free."""
        known = self.inflight.pop(key, NOTHING)
        if known is NOTHING:
            self.acknowledged.add(key)
        elif type(known) is int:
            self.unqueued.add((key[0], known))

    def flip(self, key: Key, held: bool) -> None:
        """A packet identifier is held, or let go. The two alternate: the second undoes the first."""
        if self.received.pop(key, held) is held:
            self.received[key] = held

    def forget_kept(self, number: int) -> None:
        """The archive has something no longer."""
        if self.kept.pop(number, None) is None:
            self.forgotten.add(number)

    def expire_kept(self, now: int) -> None:
        """The archive has nothing any longer whose time is over."""
        self.expired = now
        for number in [number for number, kept in self.kept.items() if kept.until <= now]:
            del self.kept[number]

    def settle(self) -> None:
        """Forget what concerns sessions that are over, and those that never were written altogether."""
        ended = self.ended
        if not ended:
            return
        by_numbers: tuple[dict[int, Any], ...] = self.opened, self.left
        for by_number in by_numbers:
            for number in ended & by_number.keys():
                del by_number[number]
        by_keys: tuple[dict[Any, Any], ...] = self.subscriptions, self.queued, self.inflight, self.received
        for by_key in by_keys:
            for key in [key for key in by_key if key[0] in ended]:
                del by_key[key]
        for keys in (self.unqueued, self.acknowledged):
            keys.difference_update([key for key in keys if key[0] in ended])
        never_written = ended & self.created
        self.created -= never_written
        ended -= never_written

    # The sum of many

    def absorb(self, later: Batch) -> None:
        """Add what happened next. `later` is not changed."""
        self.number = later.number
        for number in later.opened:
            self.left.pop(number, None)
        self.opened.update(later.opened)
        self.left.update(later.left)
        self.created |= later.created
        self.ended |= later.ended
        self.subscriptions.update(later.subscriptions)
        self._absorb_messages(later)
        for key, held in later.received.items():
            self.flip(key, held)
        self.retained.update(later.retained)
        self.wills.update(later.wills)
        self.scheduled.update(later.scheduled)
        self._absorb_archive(later)
        self.notes.update(later.notes)

    def _absorb_archive(self, later: Batch) -> None:
        for number in later.forgotten:
            self.forget_kept(number)
        if later.expired:
            self.expire_kept(later.expired)
        self.kept.update(later.kept)

    def _absorb_messages(self, later: Batch) -> None:
        # What goes before what comes, for a packet identifier may be both.
        for key in later.unqueued:
            self.unqueue(key)
        forget = self.forget_in_flight
        for key in later.acknowledged:
            forget(key)
        inflight = self.inflight
        for key, message in later.inflight.items():
            if type(message) is int:
                self.send(key, message)
            else:
                inflight[key] = message
        self.queued.update(later.queued)
