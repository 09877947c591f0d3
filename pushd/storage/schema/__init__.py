"""
The tables of the durable store, and how a file of an older version gets the newest.

``1.sql`` makes the first version; ``2.sql`` and so on change the one before. A new file runs through all of
them, so what is tested with every new file is what an old one meets. The file itself says which it has
(``PRAGMA user_version``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from importlib.resources import files

from pushd.storage.errors import StoreError


def steps() -> list[str]:
    """:return: the SQL of each version, the first first."""
    here = files(__name__)
    count = sum(file.name.endswith(".sql") for file in here.iterdir())
    return [here.joinpath(f"{number}.sql").read_text(encoding="utf-8") for number in range(1, count + 1)]


def version_of(connection: sqlite3.Connection) -> int:
    """:return: 0 for a file without any tables."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def upgrade(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    """
    Bring a file to the version of the last of `steps`. Each step is a transaction of its own: when one
    fails, the file has the version before it.

    :raises StoreError: the file is newer than that.
    """
    version = version_of(connection)
    if version > len(steps):
        raise StoreError(
            f"it was written by a newer pushd: its schema has version {version}, this one knows {len(steps)}"
        )
    for number, step in enumerate(steps[version:], version + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.rollback()
            raise
