"""
Small facts that must survive: the answer to a request that may come again, what became of a push, an endpoint
that was registered. Each has a kind, a key of its own among those, some bytes, and an end.

They are nobody's business but that of who writes them; here they are only kept. All are in memory from the
start on, and each change is recorded: it is durable after the store's next barrier. So they are for what is
looked up by its key, in numbers that memory has room for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from pushd.broker.interfaces import IStore
from pushd.broker.records import Note, NoteCleared, NoteSet
from pushd.broker.wheel import TimingWheel

# Of one kind, unless whoever writes them has said how many it needs.
MAX_NOTES = 100_000


class Notes:
    """:ivar slot: belongs to the wheel."""

    # What is over is not given any more, so nobody waits for it to be cleared: a look at a few now and then.
    SWEEP_S = 5.0
    SLICE = 1000

    def __init__(self, store: IStore, wheel: TimingWheel, wall_clock: Callable[[], float]) -> None:
        """:param wall_clock: Unix seconds."""
        self._store = store
        self._wheel = wheel
        self._wall_clock = wall_clock
        self._by_kind: dict[str, dict[str, Note]] = {}
        self._most: dict[str, int] = {}
        self._round: Iterator[Note] = iter(())
        self._kinds_left: list[str] = []
        self._next_sweep = wheel.seconds() + self.SWEEP_S
        self.slot = 0

    def __len__(self) -> int:
        return sum(map(len, self._by_kind.values()))

    def limit(self, kind: str, most: int) -> None:
        """Have at most so many of a kind. What is there already stays."""
        self._most[kind] = most

    def set(self, kind: str, key: str, value: bytes, until: int) -> bool:
        """
        Write one, in place of the one of the same kind and key.

        :param until: Unix seconds; it may be past, then it is as if it had not been written.
        :return: whether there was room for it.
        :raises UnicodeEncodeError: kind or key is no text that a store could have.
        """
        (kind + key).encode()
        of_kind = self._by_kind.setdefault(kind, {})
        if key not in of_kind and len(of_kind) >= self._most.get(kind, MAX_NOTES):
            return False
        note = of_kind[key] = Note(kind, key, value, until)
        self._store.record(NoteSet(note))
        return True

    def clear(self, kind: str, key: str) -> None:
        """Forget one, if it is there."""
        if self._by_kind.get(kind, {}).pop(key, None) is not None:
            self._store.record(NoteCleared(kind, key))

    def get(self, kind: str, key: str) -> Note | None:
        """The one of this kind and key, unless it is over."""
        note = self._by_kind.get(kind, {}).get(key)
        return None if note is None or note.until <= self._wall_clock() else note

    def of_kind(self, kind: str) -> list[Note]:
        """All of a kind that are not over, in no particular order."""
        now = self._wall_clock()
        return [note for note in self._by_kind.get(kind, {}).values() if note.until > now]

    def restore(self, saved: Iterable[Note]) -> None:
        """Take up what a store gives back, and begin to look for what is over."""
        for note in saved:
            self._by_kind.setdefault(note.kind, {})[note.key] = note
        self._wheel.add(self)

    # What the wheel calls

    def due_at(self) -> float | None:
        return self._next_sweep

    def on_due(self) -> None:
        self._next_sweep = self._wheel.seconds() + self.SWEEP_S
        self._wheel.add(self)
        self._sweep()

    def _sweep(self) -> None:
        """Clear those of the next slice that are over. It goes round by kinds."""
        now = self._wall_clock()
        looked_at = 0
        for note in islice(self._round, self.SLICE):
            looked_at += 1
            # One that was written again meanwhile is another.
            if note.until <= now and self._by_kind[note.kind].get(note.key) is note:
                self.clear(note.kind, note.key)
        if looked_at < self.SLICE:
            self._begin_round()

    def _begin_round(self) -> None:
        if not self._kinds_left:
            self._kinds_left = list(self._by_kind)
        if self._kinds_left:
            self._round = iter(list(self._by_kind[self._kinds_left.pop()].values()))
