"""Who keeps people in this process, and who hears of what changes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from pushd.config.settings import Settings
from pushd.people.interfaces import Account, Aspect, Change, PeopleUnavailable
from pushd.people.memory import EVERYTHING, MemoryPeople
from pushd.people.redis_people import RedisPeople
from pushd.people.sqlite import SqlitePeople
from pushd.service.people import PeopleOffice, PeopleWatch, make_people
from pushd.service.redis import RedisOffice
from tests.clients.furniture import new_directory
from tests.processes import (
    DEADLINE_S,
    Ports,
    environment,
    free_port,
    start_pushd,
    twistd_command,
    write_settings,
)
from tests.service.notes import Notes


class Slow(MemoryPeople):
    """
    :ivar asked: what `changes` has returned, to be fired by a test.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Deferred[list[Change]]] = []

    def changes(self) -> Deferred[list[Change]]:
        self.asked.append(Deferred())
        return self.asked[-1]


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.people = Slow()
        self.watch = PeopleWatch(self.people, self.clock, interval_s=1.0)
        self.heard: list[str] = []
        self.watch.listen(Aspect.FRIENDS, self.heard.append)
        self.notes = Notes(self)

    def test_tells_who_listens(self) -> None:
        """Each hears of the aspect that it wants to hear of, and of no other."""
        self.watch.listen(Aspect.ACCOUNT, lambda username: self.heard.append(f"account of {username}"))
        self.watch.start()
        self.people.asked[0].callback(
            [Change("ada", Aspect.FRIENDS), Change("bob", Aspect.ACCOUNT), *EVERYTHING]
        )
        self.assertEqual(self.heard, ["ada", "account of bob", "account of ", ""])

    def test_regularly(self) -> None:
        """At once, and then every second."""
        self.watch.start()
        for _ in range(3):
            self.people.asked[-1].callback([])
            self.clock.advance(1)
        self.assertEqual(len(self.people.asked), 4)

    def test_never_two_at_a_time(self) -> None:
        """While one look takes long there is no other."""
        self.watch.start()
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.people.asked), 1)
        self.people.asked[0].callback([])
        self.clock.advance(1)
        self.assertEqual(len(self.people.asked), 2)

    def test_unavailable(self) -> None:
        """It goes on looking; the log hears of it once, and once that it is over."""
        self.watch.start()
        for _ in range(3):
            self.people.asked[-1].errback(PeopleUnavailable("no answer"))
            self.clock.advance(1)
        self.people.asked[-1].callback([Change("ada", Aspect.FRIENDS)])
        self.assertEqual(self.heard, ["ada"])
        self.assertEqual(
            self.notes.lines,
            ["Accounts and friends cannot be read: no answer", "Accounts and friends can be read again."],
        )

    def test_a_mistake_of_a_keeper(self) -> None:
        """It is told with its traceback, and the next look is taken."""
        self.watch.start()
        self.people.asked[0].errback(ZeroDivisionError())
        self.clock.advance(1)
        self.assertEqual(len(self.people.asked), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_mistake_of_a_listener(self) -> None:
        """Whoever stumbles over a change keeps it from nobody else."""
        watch = PeopleWatch(self.people, self.clock)
        watch.listen(Aspect.FRIENDS, lambda username: 1 / 0)  # type: ignore[arg-type]
        watch.listen(Aspect.FRIENDS, self.heard.append)
        watch.start()
        self.people.asked[0].callback([Change("ada", Aspect.FRIENDS)])
        self.assertEqual(self.heard, ["ada"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        """No more looks; stopping and starting twice does no harm."""
        self.watch.start()
        self.watch.start()
        self.watch.stop()
        self.watch.stop()
        self.people.asked[0].callback([])
        self.assertEqual((len(self.people.asked), self.clock.getDelayedCalls()), (1, []))


class Noticed(MemoryPeople):
    """Says what is done with it."""

    def __init__(self, calls: list[str], problem: str = "") -> None:
        super().__init__()
        self._calls, self._problem = calls, problem
        calls.append("made")

    def open(self) -> None:
        self._calls.append("opened")
        if self._problem:
            raise PeopleUnavailable(self._problem)

    def close(self) -> Deferred[None]:
        self._calls.append("closed")
        return super().close()


class OfficeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.calls: list[str] = []
        self.problem = ""
        self.clock = Clock()
        self.office = PeopleOffice(lambda: Noticed(self.calls, self.problem), self.clock)

    def test_nobody_asks(self) -> None:
        """A server that needs no people makes no keeper, and looks for no changes."""
        self.office.start()
        self.successResultOf(self.office.stop())
        self.assertEqual((self.calls, self.office.in_use, self.clock.getDelayedCalls()), ([], False, []))

    def test_asked_before_the_start(self) -> None:
        """One is made for all, and opened when the process is the user that it stays."""
        people = self.office.people
        self.assertEqual((self.calls, self.office.in_use), (["made"], True))
        self.office.start()
        self.assertIs(self.office.people, people)
        self.successResultOf(self.office.stop())
        self.assertEqual(self.calls, ["made", "opened", "closed"])

    def test_asked_while_it_runs(self) -> None:
        """After a reload, say: it is opened and watched at once."""
        self.office.start()
        heard: list[str] = []
        self.office.watch.listen(Aspect.ACCOUNT, heard.append)
        self.office.people.keep_account(Account("ada", "hash"))
        self.clock.advance(1)
        self.assertEqual((self.calls, heard), (["made", "opened"], ["ada"]))

    def test_watched_from_the_start(self) -> None:
        """Who listens before the start hears of what happens after it, until the end."""
        heard: list[str] = []
        self.office.watch.listen(Aspect.ACCOUNT, heard.append)
        self.office.start()
        self.office.people.keep_account(Account("ada", "hash"))
        self.clock.advance(1)
        self.successResultOf(self.office.stop())
        self.assertEqual((heard, self.clock.getDelayedCalls()), (["ada"], []))

    def test_cannot_be_opened(self) -> None:
        """At the start that is the end; a server that runs goes on, and says so."""
        self.problem = "people.db: a newer pushd wrote it"
        self.assertIsNotNone(self.office.people)
        self.assertRaises(PeopleUnavailable, self.office.start)
        notes = Notes(self)
        running = PeopleOffice(lambda: Noticed(self.calls, self.problem), self.clock)
        running.start()
        self.assertIsNotNone(running.people)
        self.assertIn(f"Accounts and friends cannot be read: {self.problem}", notes)


class MakeTests(SynchronousTestCase):
    def make(self, **settings: str) -> object:
        redis = RedisOffice(settings.get("redis_url"), MemoryReactorClock())
        return make_people(Settings((), **settings), redis, execute)  # type: ignore[arg-type]

    def test_a_file_or_redis(self) -> None:
        """Redis if there is a line about it; neither is touched by that."""
        folder = self.mktemp()
        self.assertIsInstance(self.make(persistence_location=folder), SqlitePeople)
        self.assertFalse(os.path.exists(folder))
        self.assertIsInstance(self.make(redis_url="unix:///nowhere"), RedisPeople)

    def test_certificates_that_cannot_be_read(self) -> None:
        """They are a reason not to start, which names the option and the file."""
        url = "rediss://host?ssl_ca_certs=/nowhere/ca.pem"
        problem = self.assertRaises(PeopleUnavailable, self.make, redis_url=url)
        self.assertRegex(str(problem), "redis_url: /nowhere/ca.pem .*No such file")


class ServerTests(SynchronousTestCase):
    """pushd as it is started."""

    def folder(self) -> Path:
        folder = Path(self.mktemp())
        folder.mkdir()
        return folder

    def test_light(self) -> None:
        """A server that keeps no people loads nothing for them."""
        code = (
            "import sys, pushd.service.server; print([name for name in sys.argv[1:] if name in sys.modules])"
        )
        names = ["txredisapi", "pushd.redis.door", "pushd.people.sqlite", "pushd.people.redis_people"]
        said = subprocess.check_output([sys.executable, "-c", code, *names], env=environment(), text=True)
        self.assertEqual(said, "[]\n")

    def test_redis_is_away(self) -> None:
        """That does not delay the start, and is said once."""
        began = time.monotonic()
        broker = start_pushd(
            f"listener {{mqtt}} 127.0.0.1\naccounts true\nredis_url redis://127.0.0.1:{free_port()}\n",
            self.folder(),
        )
        self.addCleanup(broker.kill)
        broker.wait_for("Redis at 127.0.0.1:.* is away: .*refused")
        self.assertLess(time.monotonic() - began, DEADLINE_S / 2)
        broker.stop()
        self.assertEqual(sum("is away" in line for line in broker.lines), 1)

    def test_certificates_that_are_gone(self) -> None:
        """A reload that is the first to need accounts changes nothing if they cannot be had."""
        folder = self.folder()
        authority = folder / "ca.crt"
        authority.write_bytes((new_directory() / "certs" / "ca.crt").read_bytes())
        settings = f"listener {{mqtt}} 127.0.0.1\nhot_topics 0\nredis_url rediss://localhost?ssl_ca_certs={authority}\n"
        broker = start_pushd(settings, folder)
        self.addCleanup(broker.kill)
        authority.unlink()
        broker.write_settings(settings + "accounts true\nlistener 0 sock\n")
        self.assertIn("Nothing was reloaded: redis_url: ", broker.reload())
        self.assertFalse((folder / "sock").exists())
        broker.stop()

    def test_a_newer_file(self) -> None:
        """It is not touched; the start ends with its name."""
        folder = self.folder()
        with closing(sqlite3.connect(folder / "people.db")) as connection:
            connection.execute("PRAGMA user_version = 99")
        settings = folder / "pushd.conf"
        text = f"listener {{mqtt}} 127.0.0.1\naccounts true\npersistence_location {folder}\n"
        write_settings(settings, text, Ports())
        command = [*twistd_command(), "-n", "--pidfile=", "pushd", "-c", str(settings)]
        ended = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=DEADLINE_S
        )
        self.assertEqual(ended.returncode, 1)
        self.assertIn(f"Error: {folder}/people.db: a newer pushd wrote it: version 99", ended.stderr)
