"""People in a real Redis."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.people import scripts
from pushd.people.interfaces import Account, Aspect, Change, Grant, IPeople, PeopleUnavailable, Token
from pushd.people.memory import EVERYTHING
from pushd.people.redis_people import RedisPeople
from pushd.redis.door import Door, connect
from tests.people.contract import PeopleContract
from tests.redis.loop import Loop
from tests.redis.server import RedisServer, shared_server
from tests.service.notes import Notes

T = TypeVar("T")

# What a test keeps is its own.
_prefixes = (f"test{number}:" for number in count())


class RedisPeopleTests(PeopleContract):
    """The contract; each keeper has a connection of its own, as another process would."""

    def setUp(self) -> None:
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.doors: list[Door] = []
        self.addCleanup(self.close_doors)
        self.start_over()
        super().setUp()

    def make(self) -> IPeople:
        door = connect(shared_server().url, self.loop.reactor)
        self.doors.append(door)
        people = RedisPeople(door, self.prefix)
        people.open()
        self.loop.wait(people.changes())  # it knows by now where it begins
        return people

    def start_over(self) -> None:
        self.close_doors()
        self.prefix = next(_prefixes)

    def close_doors(self) -> None:
        while self.doors:
            self.wait(self.doors.pop().close())

    def wait(self, result: Deferred[T]) -> T:
        return self.loop.wait(result)


del PeopleContract  # the tests of it alone are none


class InRedis(SynchronousTestCase):
    """Tests of one keeper, in the shared Redis."""

    def setUp(self) -> None:
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.prefix = next(_prefixes)
        self.door = self.connected(shared_server())
        self.people = RedisPeople(self.door, self.prefix)
        self.people.open()

    def connected(self, server: RedisServer, timeout_s: float = 2.0) -> Door:
        door = connect(server.url, self.loop.reactor, timeout_s)
        self.addCleanup(lambda: self.loop.wait(door.close()))
        return door

    def wait(self, result: Deferred[T]) -> T:
        return self.loop.wait(result)

    def call(self, command: str, key: str, *words: str | int) -> Any:
        return self.wait(self.door.call(command, self.prefix + key, *words))


class AccountsOfOthersTests(InRedis):
    """What other programs have written, the system that this one replaces first of all."""

    HEX = "5F4DCC3B5AA765D61D8327DEB882CF99"
    HASH = "0a" * 32

    def test_md5_and_salt(self) -> None:
        """Two fields there, one hash here; without a salt there is none in it."""
        self.call("HSET", "user:ada", "password", self.HEX, "salt", "s$a lt")
        self.call("HSET", "user:bob", "password", self.HEX)
        ada, bob = self.wait(self.people.account("ada")), self.wait(self.people.account("bob"))
        self.assertEqual(ada, Account("ada", f"$md5$s$a lt${self.HEX}"))
        self.assertEqual(bob, Account("bob", f"$md5$${self.HEX}"))

    def test_first_login(self) -> None:
        """The new hash takes the place of both fields; the account is among all others from then on."""
        for name, salt in (("ada", "s$a lt"), ("bob", "")):
            self.call("HSET", f"user:{name}", "password", self.HEX, "salt", salt, "mail", "ada@example.com")
            old = f"$md5${salt}${self.HEX}"
            wrong = f"$md5${salt}2${self.HEX}"
            self.assertIs(self.wait(self.people.replace_hash(name, wrong, "$7$new")), False)
            self.assertIs(self.wait(self.people.replace_hash(name, old, "$7$new")), True)
            self.assertEqual(self.call("HGET", f"user:{name}", "salt"), None)
            self.assertEqual(self.call("HGET", f"user:{name}", "mail"), b"ada@example.com")
        self.assertEqual(len(self.wait(self.people.accounts())), 2)

    def test_status(self) -> None:
        """Who is said to be enabled may log in, and who has no status; a word that is not known is a no."""
        for status, enabled in (
            *((word, True) for word in scripts.ENABLED),
            *((word, False) for word in ("disabled", "0", "locked", "Enabled", "\xff")),
        ):
            self.call("HSET", "user:ada", "password", "$7$x", "status", status)
            account = self.wait(self.people.account("ada"))
            assert account is not None
            self.assertIs(account.enabled, enabled, status)

    def test_enabled_already(self) -> None:
        """The word of another program for the same is left as it is."""
        self.call("HSET", "user:ada", "password", "$7$x", "status", "1")
        self.wait(self.people.enable("ada", True))
        self.assertEqual(self.call("HGET", "user:ada", "status"), b"1")
        self.assertEqual(self.wait(self.people.changes()), [])

    def test_bytes_that_are_no_text(self) -> None:
        """They are read as something, and nothing breaks."""
        self.wait(self.door.call("HSET", f"{self.prefix}user:ada", "password", b"\xff", "created_at", "soon"))
        self.wait(self.door.call("SADD", f"{self.prefix}follows:ada", b"\xff"))
        self.assertEqual(self.wait(self.people.account("ada")), Account("ada", "\ufffd"))
        self.assertEqual(self.wait(self.people.friends("ada")).followed, {"\ufffd"})

    def test_token(self) -> None:
        """A few fields are enough; all others have the value that they begin with."""
        self.call("HSET", f"token:{self.HASH}", "user", "ada", "reads", '["a/#"]')
        token = self.wait(self.people.token(self.HASH))
        self.assertEqual(token, Token(self.HASH, "ada", reads=("a/#",)))

    def test_token_that_cannot_be_read(self) -> None:
        """It opens nothing: what was written may have been a bound."""
        self.call("SADD", "tokens:ada", self.HASH)
        for field, value in (
            ("writes", "alerts/#"),
            ("writes", '"alerts/#"'),
            ("reads", "[1]"),
            ("reads", "[" * 10_000),
            ("expires_at", "soon"),
            ("rate_per_s", "many"),
            ("rate_per_s", "nan"),
            ("rate_per_s", "-1"),
            ("created_at", "\xff"),
        ):
            self.call("DEL", f"token:{self.HASH}")
            self.call("HSET", f"token:{self.HASH}", "user", "ada", field, value)
            self.assertIsNone(self.wait(self.people.token(self.HASH)), (field, value))
            self.assertEqual(self.wait(self.people.tokens("ada")), [])

    def test_token_that_is_only_listed(self) -> None:
        """It ran out of Redis by itself, if somebody has said so (EXPIRE)."""
        self.call("SADD", "tokens:ada", self.HASH)
        self.assertEqual(self.wait(self.people.tokens("ada")), [])

    def test_grants(self) -> None:
        """Whatever stands there is an entry; what it means is for who reads it."""
        self.call("HSET", "grants:ada", "news", "sometimes")
        self.call("SADD", "granted", "ada", "bob")
        self.assertEqual(self.wait(self.people.grants()), [Grant("ada", "news", "sometimes")])

    def test_something_else_under_the_key(self) -> None:
        """Redis refuses; for whoever asked it is as if it were away."""
        self.call("SET", "user:ada", "text")
        problem = self.assertRaises(PeopleUnavailable, self.wait, self.people.account("ada"))
        self.assertIn("WRONGTYPE", str(problem))

    def test_index_without_the_account(self) -> None:
        """An account that another program has removed is not listed."""
        self.wait(self.people.keep_account(Account("ada", "$7$x")))
        self.wait(self.people.keep_account(Account("bob", "$7$x")))
        self.call("DEL", "user:ada")
        self.assertEqual(self.wait(self.people.accounts()), [Account("bob", "$7$x")])


class FeedTests(InRedis):
    """What has changed, and when that cannot be told."""

    def test_feed_of_another_redis(self) -> None:
        """All may have changed when the last entry that was seen is not there any more; once."""
        self.wait(self.people.follow("ada", "bob"))
        self.wait(self.people.changes())
        self.call("DEL", "changes")
        self.call("XADD", "changes", "1-1", "user", "ada", "aspect", "friends")
        self.assertEqual(self.wait(self.people.changes()), EVERYTHING)
        self.wait(self.people.follow("cleo", "bob"))
        expected = [Change("cleo", Aspect.FRIENDS), Change("bob", Aspect.FRIENDS)]
        self.assertEqual(self.wait(self.people.changes()), expected)

    def test_feed_that_was_cut(self) -> None:
        """So it is for whoever was away for too long."""
        self.wait(self.people.changes())
        for name in ("bob", "cleo"):
            self.wait(self.people.follow("ada", name))
        self.call("XTRIM", "changes", "MAXLEN", 1)
        self.assertEqual(self.wait(self.people.changes()), EVERYTHING)
        self.assertEqual(self.wait(self.people.changes()), [])

    def test_feed_is_capped(self) -> None:
        """It does not grow for ever; roughly, for that is cheaper."""
        for number in range(3):
            self.wait(
                self.door.pipeline(
                    [("XADD", f"{self.prefix}changes", "*", "user", "x", "aspect", "account")] * 4000
                )
            )
            self.wait(self.people.follow("ada", f"friend-{number}"))
        self.assertLess(self.call("XLEN", "changes"), scripts.FEED_LENGTH + 200)

    def test_many_changes(self) -> None:
        """More than fit in one answer are all told."""
        self.wait(self.people.changes())
        follows = [self.people.follow("ada", f"friend-{number}") for number in range(1500)]
        self.wait(follows[-1])
        self.assertEqual(len(self.wait(self.people.changes())), 1501)
        self.assertEqual(self.wait(self.people.changes()), [])

    def test_entries_of_others(self) -> None:
        """What a newer pushd may write there is passed over."""
        self.wait(self.people.changes())
        self.call("XADD", "changes", "*", "user", "ada", "aspect", "mood")
        self.call("XADD", "changes", "*", "colour", "red")
        self.wait(self.people.keep_account(Account("ada", "$7$x")))
        self.assertEqual(self.wait(self.people.changes()), [Change("ada", Aspect.ACCOUNT)])

    def test_five_thousand_friends(self) -> None:
        """They are read within 50 ms of the reactor's time."""
        names = [f"friend-{number}" for number in range(5000)]
        self.wait(self.door.call("SADD", f"{self.prefix}follows:ada", *names))
        self.wait(self.door.call("SADD", f"{self.prefix}followers:ada", *names[::2]))
        began = time.process_time()
        friends = self.wait(self.people.friends("ada"))
        self.assertLess(time.process_time() - began, 0.05)
        self.assertEqual((len(friends.followed), len(friends.mutual)), (5000, 2500))


class AwayTests(InRedis):
    """A Redis that is stopped or frozen."""

    def setUp(self) -> None:
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.server = RedisServer(folder)
        self.addCleanup(self.server.stop)
        self.away = RedisPeople(self.connected(self.server, timeout_s=0.3))
        self.away.open()
        self.lines = Notes(self).lines
        self.wait(self.away.keep_account(Account("ada", "$7$x")))

    def check_unavailable(self) -> None:
        began = time.monotonic()
        asked = [self.away.account("ada"), self.away.follow("ada", "bob"), self.away.changes()]
        for question in asked:
            self.assertRaises(PeopleUnavailable, self.wait, question)
        self.assertLess(time.monotonic() - began, 1.5)

    def test_frozen(self) -> None:
        """Whoever asks is told in time that nobody answers; afterwards everything is as it was."""
        self.server.pause()
        self.check_unavailable()
        self.server.resume()
        self.assertEqual(self.wait(self.away.account("ada")), Account("ada", "$7$x"))

    def test_stopped(self) -> None:
        """So it is; and a Redis that comes back with nothing in it may have changed everything."""
        self.wait(self.away.changes())
        self.server.stop()
        self.check_unavailable()
        self.server.start()
        self.assertIsNone(self.wait(self.away.account("ada")))
        self.assertEqual(self.wait(self.away.changes()), EVERYTHING)

    def test_away_at_the_start(self) -> None:
        """It is no reason not to open; the first who hear of changes hear that all may have."""
        self.server.stop()
        people = RedisPeople(self.connected(self.server, timeout_s=0.1))
        people.open()
        self.assertRaises(PeopleUnavailable, self.wait, people.changes())
        self.server.start()
        # For both who have a connection to it.
        self.loop.wait_until(lambda: self.lines.count(f"Redis at 127.0.0.1:{self.server.port} is back") == 2)
        self.assertEqual(self.wait(people.changes()), EVERYTHING)
        self.assertEqual(self.wait(people.changes()), [])
