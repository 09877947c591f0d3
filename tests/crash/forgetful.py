"""
A pushd that forgets: ``twistd`` with a store that loses some records, to see that an ordeal finds it.

    python -m tests.crash.forgetful MessageQueued:1000,RetainedSet:20 -n pushd -c ...

loses every thousandth `MessageQueued` and every twentieth `RetainedSet` (see `pushd.broker.records`).
"""

from __future__ import annotations

import sys
from collections import Counter

from twisted.scripts.twistd import run

from pushd.broker import records
from pushd.broker.records import Record
from pushd.storage.sqlite import SqliteStore


def forget(wish: str) -> None:
    """
    Make the store lose records.

    :param wish: a list as above.
    """
    pairs = (part.split(":") for part in wish.split(","))
    every: dict[type, int] = {getattr(records, kind): int(number) for kind, number in pairs}
    seen: Counter[type] = Counter()
    keep = SqliteStore.record

    def record(self: SqliteStore, record: Record) -> None:
        kind = type(record)
        seen[kind] += 1
        if kind not in every or seen[kind] % every[kind]:
            keep(self, record)

    SqliteStore.record = record  # type: ignore[method-assign]


if __name__ == "__main__":
    forget(sys.argv.pop(1))
    sys.argv[0] = "twistd"
    run()
