"""
Who failed how often, and how long that keeps them waiting: a bounded memory of counts.

    .......xxxxxxxxxx|1s|x|-2s-|x|--4s--|x|-----8s-----|x| ...      x: a failure      |..|: locked
           `-- as many as allowed within a minute

After as many failures within a minute as are allowed a key is locked for a second; from then on each further
failure locks it for twice as long, up to a limit, until none has come for some minutes. What is tried while
it is locked does not make it longer: a device that knows no better must not keep its neighbours out for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

WINDOW_S = 60.0

# The longest time a key is locked. Somebody who guesses is down to 12 an hour then.
LONGEST_LOCK_S = 300.0

# Without a failure for so long all is forgotten. Longer than the longest lock, or to sit that out would pay.
FORGOTTEN_AFTER_S = 600.0

# Some 200 bytes each; `pushd.auth.failures` keeps 25 MB at most. Who fills this up gets rid of the
# oldest, and has spent that many addresses or names.
MAX_KEPT = 20_000


@dataclass(slots=True)
class Tally:
    """What is known of one key. Times are those of whoever asks."""

    since_s: float  # when the window began that is being counted
    last_s: float  # the last failure
    count: int = 0  # in the window
    locks: int = 0  # since all was forgotten the last time
    until_s: float = 0.0  # the end of the last lock

    def fail(self, limit: int, longest_lock_s: float, now: float) -> None:
        """Count a failure, and lock if it was one too many. A `limit` of 0 never locks."""
        if now - self.since_s >= WINDOW_S:
            self.since_s, self.count = now, 0
        self.count += 1
        self.last_s = now
        # Not again while it is locked: that was tried before, and only judged now.
        if limit and now >= self.until_s and (self.locks or self.count >= limit):
            self.until_s = now + min(2.0 ** min(self.locks, 30), longest_lock_s)
            self.locks += 1


class Tallies:
    """
    A `Tally` for each of many keys, the longest unused of which are forgotten first.

    :param longest_lock_s: at most this long is a key locked.
    """

    def __init__(self, longest_lock_s: float = LONGEST_LOCK_S, max_kept: int = MAX_KEPT) -> None:
        self._longest_lock_s = longest_lock_s
        self._max_kept = max_kept
        self._tallies: OrderedDict[bytes, Tally] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tallies)

    def fail(self, key: bytes, limit: int, now: float) -> None:
        """Count a failure of `key`; `limit` of them within a minute lock it, 0 is no limit."""
        tally = self._find(key, now)
        if tally is None:
            tally = self._tallies[key] = Tally(since_s=now, last_s=now)
            if len(self._tallies) > self._max_kept:
                self._tallies.popitem(last=False)
        self._tallies.move_to_end(key)
        tally.fail(limit, self._longest_lock_s, now)

    def lock_left_s(self, key: bytes, now: float) -> float:
        """How long `key` stays locked; 0 if it is not."""
        tally = self._tallies.get(key)
        return 0.0 if tally is None else max(tally.until_s - now, 0.0)

    def remembers(self, key: bytes, now: float) -> bool:
        """Whether `key` has failed lately."""
        return self._find(key, now) is not None

    def _find(self, key: bytes, now: float) -> Tally | None:
        tally = self._tallies.get(key)
        if tally is not None and now - tally.last_s >= FORGOTTEN_AFTER_S:
            del self._tallies[key]
            return None
        return tally


class Recent:
    """A set of so many keys, the longest unused of which are forgotten first."""

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        self._max_kept = max_kept
        self._keys: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes) -> None:
        """Put `key` in, or remember that it was used."""
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > self._max_kept:
            self._keys.popitem(last=False)
