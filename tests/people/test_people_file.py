"""The file itself."""

from __future__ import annotations

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from twisted.trial.unittest import SynchronousTestCase

from pushd.people import schema
from pushd.people.interfaces import PeopleUnavailable
from pushd.people.people_file import PeopleFile

INSERT = "INSERT INTO connected VALUES (?)"
COUNT = "SELECT count(*) FROM connected"


class PeopleFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.join(self.mktemp(), "below", "people.db")
        self.file = self.make()

    def make(self) -> PeopleFile:
        file = PeopleFile(self.path)
        self.addCleanup(file.close)
        return file

    def count(self) -> int:
        with self.file.reading() as connection:
            (count,) = connection.execute(COUNT).fetchone()
        return int(count)

    def test_nobody_else_may_read_it(self) -> None:
        """It has hashes of passwords in it, and so has its log."""
        with self.file.writing() as connection:
            connection.execute(INSERT, ["ada"])
        for suffix in ("", "-wal", "-shm"):
            self.assertEqual(stat.S_IMODE(os.stat(self.path + suffix).st_mode), 0o600, suffix)

    def test_belongs_to_whom_the_folder_belongs_to(self) -> None:
        """When root makes it, the user that the server runs as can still use it."""
        if os.geteuid() != 0:
            return  # only root can give files away
        os.makedirs(os.path.dirname(self.path))
        os.chown(os.path.dirname(self.path), 65_534, 65_534)
        self.assertEqual(self.count(), 0)
        self.assertEqual(os.stat(self.path).st_uid, 65_534)

    def test_all_or_nothing(self) -> None:
        """An exception takes back what was written before it, and the next can write."""
        with self.assertRaises(ZeroDivisionError), self.file.writing() as connection:
            connection.execute(INSERT, ["ada"])
            raise ZeroDivisionError
        self.assertEqual(self.count(), 0)
        with self.file.writing() as connection:
            connection.execute(INSERT, ["ada"])
        self.assertEqual(self.count(), 1)

    def test_many_at_once(self) -> None:
        """Any number of processes and threads make, open and change it at the same time."""
        files = [self.make() for _ in range(4)]

        def write(number: int) -> None:
            with files[number % 4].writing() as connection:
                connection.execute(INSERT, [f"user-{number}"])

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, range(200)))
        self.assertEqual(self.count(), 200)

    def test_a_newer_file_is_refused(self) -> None:
        """It may mean something else, so it is left as it is."""
        self.count()
        self.file.close()
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        problem = self.assertRaises(PeopleUnavailable, self.make().reading().__enter__)
        self.assertEqual(
            str(problem),
            f"{self.path}: a newer pushd wrote it: version 99, {len(schema.steps())} is known here",
        )

    def test_no_database(self) -> None:
        """A file of somebody else's is not touched, and the message names it."""
        os.makedirs(os.path.dirname(self.path))
        with open(self.path, "w", encoding="ascii") as other:
            other.write("something else\n" * 100)
        problem = self.assertRaises(PeopleUnavailable, self.file.reading().__enter__)
        self.assertEqual(str(problem), f"{self.path}: file is not a database")

    def test_a_step_that_fails_leaves_the_version_before(self) -> None:
        """So the next start tries the same again."""
        self.count()
        self.file.close()
        version = len(schema.steps())
        step = "CREATE TABLE more (x);\nCREATE TABLE account (x);\n"
        self.patch(schema, "steps", lambda: [""] * version + [step])
        self.assertRaises(PeopleUnavailable, self.make().reading().__enter__)
        with closing(sqlite3.connect(self.path)) as connection:
            self.assertEqual(schema.version_of(connection), version)
            tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'more'").fetchall()
        self.assertEqual(tables, [])

    def test_a_file_of_each_older_version(self) -> None:
        """It keeps what is in it, and gets the tables that it has not."""
        os.makedirs(os.path.dirname(self.path))
        steps = schema.steps()
        for version in range(1, len(steps)):
            self.patch(schema, "steps", lambda version=version: steps[:version])
            old = self.make()
            with old.writing() as connection:
                connection.execute(INSERT, [f"user of version {version}"])
            old.close()
        self.patch(schema, "steps", lambda: steps)
        with self.make().reading() as connection:
            self.assertEqual(schema.version_of(connection), len(steps))
            self.assertEqual(connection.execute("SELECT count(*) FROM token").fetchone(), (0,))
        self.assertEqual(self.count(), len(steps) - 1)


class StatementTests(SynchronousTestCase):
    def test_one_by_one(self) -> None:
        """Comments and several lines belong to the statement behind or around them."""
        step = "-- One; two.\nCREATE TABLE a (\n  b -- it; is\n);\nCREATE INDEX c ON a (b);\n"
        found = schema.statements(step)
        self.assertEqual([part.split()[-2:] for part in found], [["is", ");"], ["a", "(b);"]])
