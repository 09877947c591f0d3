"""What the broker's file says about a message or a client, for the timeline of a finding."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from tests.crash.timeline import Subject

_LINES = 8


class StoreFile:
    """
    A database that pushd writes, or has written. What is read is a copy: SQLite follows links, and would
    leave the file system that only the broker has.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def about(self, subject: Subject) -> list[str]:
        """A few lines; what cannot be read is told likewise."""
        what = f"{subject[0]} {subject[1]}" if isinstance(subject, tuple) else f"{subject}"
        try:
            with (
                tempfile.TemporaryDirectory(prefix="pushd-crash-") as folder,
                closing(sqlite3.connect(self._copy(Path(folder)))) as database,
            ):
                lines = (
                    _about_message(database, *subject)
                    if isinstance(subject, tuple)
                    else _about_client(database, subject or "")
                )
        except (sqlite3.Error, OSError) as problem:
            lines = [str(problem)]
        return [f"  in the file, {what}: {line}" for line in lines or ["nothing"]]

    def _copy(self, folder: Path) -> Path:
        for suffix in ("-wal", ""):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{self._path}{suffix}", folder / f"copy.db{suffix}")
        return folder / "copy.db"


def _about_message(database: sqlite3.Connection, topic: str, number: int) -> list[str]:
    digits = b"%d " % number
    found = []
    for table, place in (("queued", "sequence"), ("inflight", "packet_id")):
        rows = database.execute(
            f"SELECT client_id, {place}, {table}.qos FROM {table}"
            f" JOIN bodies ON bodies.id = {table}.body JOIN sessions ON sessions.id = {table}.session"
            " WHERE topic = ? AND substr(payload, 1, ?) = ?",
            (topic, len(digits), digits),
        )
        found += [f"{table} for {row[0]}, {place} {row[1]}, QoS {row[2]}" for row in rows]
    kept = "SELECT number, until FROM kept WHERE topic = ? AND substr(payload, 1, ?) = ?"
    for row in database.execute(kept, (topic, len(digits), digits)):
        found.append(f"kept as number {row[0]}, until {row[1]}")
    for table in ("retained", "wills"):
        rows = database.execute(f"SELECT substr(payload, 1, 20) FROM {table} WHERE topic = ?", (topic,))
        found += [f"{table} of this topic: {bytes(row[0])!r}" for row in rows]
    return found[:_LINES]


def _about_client(database: sqlite3.Connection, client_id: str) -> list[str]:
    found = []
    sessions = "SELECT id, expiry_s, left_at FROM sessions WHERE client_id = ?"
    for session, expiry_s, left_at in database.execute(sessions, (client_id,)).fetchall():
        counts = ", ".join(
            f"{database.execute(f'SELECT count(*) FROM {table} WHERE session = ?', (session,)).fetchone()[0]}"
            f" {table}"
            for table in ("subscriptions", "queued", "inflight", "received")
        )
        found.append(f"session {session}, expiry {expiry_s}, left at {left_at}, {counts}")
    return found[:_LINES]
