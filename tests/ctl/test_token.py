"""``pushctl token``, with the file that the server has."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from twisted.internet.defer import execute
from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl.token import line_of
from pushd.people.interfaces import Account, Token
from pushd.people.sqlite import SqlitePeople
from pushd.people.tokens import hash_of, id_of
from tests.ctl.keeping import HOSTILE, KeepingTestCase

DAY_S = 86_400


class TokenTests(KeepingTestCase):
    command = "token"

    def add(self, user: str, *words: str) -> str:
        """:return: the token."""
        said = self.do("add", f"--user={user}", *words)
        self.assertEqual(said.status, 0, said)
        (token,) = said.lines
        return token

    def kept(self, token: str) -> Token | None:
        people = SqlitePeople(str(self.people_file), execute)
        self.addCleanup(people.close)
        return self.successResultOf(people.token(hash_of(token)))

    def test_add(self) -> None:
        """The token is all that is printed, for scripts; what it may is said beside it."""
        said = self.do("add", "--user", "ada")
        self.assertRegex("\n".join(said.lines), r"\Atk_[a-z0-9]{29}\Z")
        self.assertIn(
            "may do what its user may; never expires; never used; it is not shown again", said.errors[0]
        )
        self.assertIn("no account", said.errors[1])

    def test_what_is_kept(self) -> None:
        """All that was asked for, and the time; the token itself nowhere."""
        began = int(time.time())
        words = ("--label", "my phone", "--write", "alerts/#", "--write", "a/+", "--rate", "30/min")
        shown = self.add("ada", *words, "--expires", "90d")
        token = self.kept(shown)
        assert token is not None
        self.assertEqual((token.username, token.label), ("ada", "my phone"))
        self.assertEqual((token.writes, token.reads), (("alerts/#", "a/+"), ()))
        self.assertEqual((token.rate_per_s, token.used_at), (0.5, 0))
        self.assertTrue(began <= token.created_at <= time.time())
        self.assertEqual(token.expires_at, token.created_at + 90 * DAY_S)
        for file in self.directory.iterdir():
            self.assertNotIn(shown.encode(), file.read_bytes(), file)

    def test_who_names_topics_gets_no_others(self) -> None:
        """Nothing to read where only --write is given, and the other way round; without any, both."""
        for words, writes, reads in (
            ((), None, None),
            (("--write", "a"), ("a",), ()),
            (("--read", "b"), (), ("b",)),
            (("--read", "b", "--write", "a"), ("a",), ("b",)),
        ):
            token = self.kept(self.add("ada", *words))
            assert token is not None
            self.assertEqual((token.writes, token.reads), (writes, reads))

    def test_list(self) -> None:
        """All of them, or one user's, the oldest first; without the secret."""
        shown = [
            self.add(user, "--label", label) for user, label in (("bob", "1"), ("ada", "2"), ("ada", "3"))
        ]
        lines = self.do("list").lines
        self.assertEqual(
            sorted(line.partition(":")[0].split(" ", 1)[1] for line in lines),
            ["ada (2)", "ada (3)", "bob (1)"],
        )
        self.assertEqual({line.split()[0] for line in lines}, {id_of(hash_of(token)) for token in shown})
        self.assertEqual(len(self.do("list", "ada").lines), 2)
        self.assertEqual(self.do("list", "eve"), (0, [], []))
        self.assertNotIn("tk_", "".join(lines))

    def test_remove(self) -> None:
        """By its ID, by some of it, or by the token; each once, and never another user's."""
        for id_from in (lambda token: id_of(hash_of(token)), lambda token: hash_of(token)[:6], str):
            shown = self.add("ada")
            self.assertEqual(self.do("remove", "bob", id_from(shown)).status, 1)
            said = self.do("remove", "ada", id_from(shown))
            self.assertEqual(said, (0, [f"Removed token {id_of(hash_of(shown))} of ada"], []))
            self.assertIsNone(self.kept(shown))
            self.assertEqual(
                self.do("remove", "ada", id_from(shown)).errors, ["pushctl token: ada has no such token"]
            )

    def test_id_that_fits_to_several(self) -> None:
        """None of them is removed."""
        self.add("ada")
        with closing(sqlite3.connect(self.people_file)) as connection, connection:
            for hash in ("abcd" + "0" * 60, "abcd" + "1" * 60):
                connection.execute(
                    "INSERT INTO token SELECT ?, username, label, writes, reads, rate_per_s, created_at,"
                    " expires_at, used_at, used_from FROM token LIMIT 1",
                    [hash],
                )
        for id in ("abcd", "abc", ""):
            self.assertEqual(self.do("remove", "ada", id).status, 1, id)
        self.assertEqual(len(self.do("list").lines), 3)

    def test_nothing_there(self) -> None:
        """Who only asks, or removes, makes no file."""
        self.assertEqual(self.do("list"), (0, [], []))
        self.assertEqual(self.do("remove", "ada", "abcdef").status, 1)
        self.assertFalse(self.people_file.exists())

    def test_refused(self) -> None:
        """What cannot be so; nothing is kept then."""
        for words in (
            ("--user", ""),
            ("--user", "a\nb"),
            ("--user", "ada", "--label", "a\x1bb"),
            ("--user", "ada", "--label", "x" * 1001),
            ("--user", "ada", "--write", "a/#/b"),
            ("--user", "ada", "--write", ""),
            ("--user", "ada", "--read", "$share/group/a"),
            ("--user", "ada", "--read", "\x00"),
            ("--user", "ada", "--expires", "soon"),
            ("--user", "ada", "--expires", "-1d"),
            ("--user", "ada", "--rate", "0/s"),
        ):
            said = self.do("add", *words)
            self.assertNotEqual(said.status, 0, words)
            self.assertEqual(said.lines, [], words)
        self.assertFalse(self.people_file.exists())

    def test_hostile_names(self) -> None:
        """They are names, and terminals are safe from them."""
        for name in HOSTILE:
            shown = self.add(name)
            self.assertIn(f" {name}: may", self.do("list", "--", name).lines[0])
            self.assertEqual(self.do("remove", "--", name, shown).status, 0)
        self.add("\u202eada")
        self.assertIn("\\u202eada", self.do("list").lines[0])

    def test_account(self) -> None:
        """Whoever has one needs no note about it."""
        people = SqlitePeople(str(self.people_file), execute)
        self.addCleanup(people.close)
        self.successResultOf(people.keep_account(Account("ada", "hash")))
        self.assertEqual(len(self.do("add", "--user", "ada").errors), 1)

    def test_file_that_cannot_be_used(self) -> None:
        """The message names it, and no token is shown that nobody knows."""
        self.people_file.write_text("this is no database, and it is long enough to be seen")
        said = self.do("add", "--user", "ada")
        self.assertEqual((said.status, said.lines), (1, []))
        self.assertIn("people.db", said.errors[0])


class LineTests(SynchronousTestCase):
    """How a token looks in a list."""

    HASH = "0123456789abcdef" * 4

    def test_everything(self) -> None:
        """What it may, how often, until when, and when it was shown last."""
        token = Token(
            self.HASH, "ada", "my phone", ("a/#", "b"), (), 10.0, 0, DAY_S, DAY_S // 2, "2001:db8::1"
        )
        expected = (
            "0123456789ab ada (my phone): may write a/# b, read nothing; 10/s;"
            " expires 1970-01-02 00:00 UTC; last used 1970-01-01 12:00 UTC from 2001:db8::1"
        )
        self.assertEqual(line_of(token, DAY_S - 1), expected)
        self.assertIn("expired 1970", line_of(token, DAY_S))

    def test_what_strangers_have_written(self) -> None:
        """A label, an address or a time of any kind breaks nothing."""
        token = Token(self.HASH, "ada", "\x1b[2J", None, None, 1e300, 0, 2**62, 2**70, "\r\n")
        line = line_of(token, 0.0)
        self.assertTrue(line.isprintable())
        self.assertIn("at some time", line)
