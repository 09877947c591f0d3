"""
The tables of the history, and how those of an older version become the newest.

``1.sql`` makes the first version; ``2.sql`` and so on change the one before. Both SQLite and MariaDB run
them, statement by statement; a semicolon ends a statement and stands nowhere else, comments included. MariaDB
commits after each statement that makes or changes a table, so each must do no harm when it is run again.
"""

from __future__ import annotations

from importlib.resources import files


def steps() -> list[list[str]]:
    """:return: the statements of each version, the first first."""
    here = files(__name__)
    count = sum(file.name.endswith(".sql") for file in here.iterdir())
    return [_statements(here.joinpath(f"{number}.sql").read_text("utf-8")) for number in range(1, count + 1)]


def _statements(text: str) -> list[str]:
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement for part in code.split(";") if (statement := part.strip())]
