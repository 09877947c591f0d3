"""People in a file."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing

from twisted.internet.defer import execute
from twisted.trial.unittest import SynchronousTestCase

from pushd.people import people_file, sqlite
from pushd.people.interfaces import Account, Aspect, Change, IPeople, PeopleUnavailable
from pushd.people.memory import EVERYTHING
from pushd.people.sqlite import SqlitePeople
from tests.people.contract import PeopleContract


class SqlitePeopleTests(PeopleContract):
    """The contract; each keeper is what another process would be."""

    def setUp(self) -> None:
        self.start_over()
        super().setUp()

    def make(self) -> IPeople:
        people = SqlitePeople(self.path, execute)
        people.open()
        self.addCleanup(people.close)
        return people

    def start_over(self) -> None:
        self.path = self.mktemp()


del PeopleContract  # the tests of it alone are none


class FileTests(SynchronousTestCase):
    """What only a keeper in a file has to get right."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.people = self.make()

    def make(self) -> SqlitePeople:
        people = SqlitePeople(self.path, execute)
        people.open()
        self.addCleanup(people.close)
        return people

    def test_survives(self) -> None:
        """What was kept is there when the file is opened again."""
        self.successResultOf(self.people.keep_account(Account("ada", "hash", True, 5)))
        self.successResultOf(self.people.follow("ada", "bob"))
        self.successResultOf(self.people.close())
        again = self.make()
        self.assertEqual(self.successResultOf(again.account("ada")), Account("ada", "hash", True, 5))
        self.assertEqual(self.successResultOf(again.friends("ada")).followed, {"bob"})
        self.assertEqual(self.successResultOf(again.changes()), [])

    def test_five_thousand_friends(self) -> None:
        """They are read within 50 ms: logins wait for them."""
        names = [f"friend-{number}" for number in range(5000)]
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executemany("INSERT INTO follow VALUES ('ada', ?)", zip(names, strict=True))
            connection.executemany("INSERT INTO follow VALUES (?, 'ada')", zip(names[::2], strict=True))
            connection.commit()
        began = time.process_time()
        friends = self.successResultOf(self.people.friends("ada"))
        self.assertLess(time.process_time() - began, 0.05)
        self.assertEqual((len(friends.followed), len(friends.mutual)), (5000, 2500))

    def test_changes_that_were_cut(self) -> None:
        """Whoever was away for longer than changes are kept hears that all may have changed."""
        self.patch(sqlite, "CHANGES_KEPT", 10)
        late = self.make()
        for number in range(5):
            self.successResultOf(self.people.follow("ada", f"friend-{number}"))
        self.assertEqual(len(self.successResultOf(late.changes())), 6)
        for number in range(6):
            self.successResultOf(self.people.unfollow("ada", f"friend-{number}"))
            self.successResultOf(self.people.follow("ada", f"friend-{number}"))
        self.assertEqual(self.successResultOf(late.changes()), EVERYTHING)
        self.assertEqual(self.successResultOf(late.changes()), [])

    def test_an_older_file_put_in_place(self) -> None:
        """A file with fewer changes than were seen is another one."""
        self.successResultOf(self.people.follow("ada", "bob"))
        self.successResultOf(self.people.changes())
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("DELETE FROM change")
            connection.execute("DELETE FROM sqlite_sequence")
            connection.commit()
        self.assertEqual(self.successResultOf(self.people.changes()), EVERYTHING)
        self.successResultOf(self.people.follow("ada", "cleo"))
        expected = [Change("ada", Aspect.FRIENDS), Change("cleo", Aspect.FRIENDS)]
        self.assertEqual(self.successResultOf(self.people.changes()), expected)

    def test_writers_wait_for_each_other_and_readers_for_nobody(self) -> None:
        """While another program keeps the file, logins go on; changes fail in bounded time, and then work."""
        self.patch(people_file, "BUSY_S", 0.05)
        people = self.make()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.assertIsNone(self.successResultOf(people.account("ada")))
            for failing in (people.follow("ada", "bob"), people.connected("ada")):
                problem = self.failureResultOf(failing, PeopleUnavailable)
                self.assertIn("locked", problem.getErrorMessage())
        self.assertIs(self.successResultOf(people.follow("ada", "bob")), True)

    def test_closed(self) -> None:
        """It answers nobody any more, and opens nothing again."""
        self.successResultOf(self.people.close())
        self.failureResultOf(self.people.account("ada"), PeopleUnavailable)

    def test_no_place_for_the_file(self) -> None:
        """A path that cannot be is a reason, which names it, and not a crash."""
        path = os.path.join(self.path, "people.db")  # in what is no folder
        people = SqlitePeople(path, execute)
        problem = self.failureResultOf(people.account("ada"), PeopleUnavailable)
        self.assertIn(self.path, problem.getErrorMessage())
        self.assertRaises(PeopleUnavailable, people.open)
