"""
The tables of ``people.db``, and how a file of an older version gets the newest.

``1.sql`` makes the first version; ``2.sql`` and so on change the one before. The file itself says which it
has (``PRAGMA user_version``).
"""

from __future__ import annotations

import sqlite3
from importlib.resources import files

from pushd.people.interfaces import PeopleUnavailable


def steps() -> list[str]:
    """:return: the SQL of each version, the first first."""
    here = files(__name__)
    count = sum(file.name.endswith(".sql") for file in here.iterdir())
    return [here.joinpath(f"{number}.sql").read_text(encoding="utf-8") for number in range(1, count + 1)]


def version_of(connection: sqlite3.Connection) -> int:
    """:return: 0 for a file without any tables."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def upgrade(connection: sqlite3.Connection) -> None:
    """
    Bring a file to the newest version, all steps in one transaction: another process may want to as well.

    :raises PeopleUnavailable: the file is newer than that.
    """
    known = steps()
    if version_of(connection) == len(known):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = version_of(connection)  # again: somebody may have been faster
        if version > len(known):
            raise PeopleUnavailable(f"a newer pushd wrote it: version {version}, {len(known)} is known here")
        for step in known[version:]:
            for statement in statements(step):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(known)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.rollback()


def statements(step: str) -> list[str]:
    """
    One by one: `executescript` would commit before it begins. Comments go along, a ``;`` in them is none that
    ends a statement.
    """
    found, statement = [], ""
    for line in step.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            found.append(statement)
            statement = ""
    return found
