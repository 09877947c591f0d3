"""``pushctl user``: accounts by the command line."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from pathlib import Path

from twisted.internet.defer import execute
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.password_hash import make_pbkdf2, parse_account_hash
from pushd.ctl import users
from pushd.ctl.main import main
from pushd.ctl.terminal import printable
from pushd.people.interfaces import Account
from pushd.people.sqlite import SqlitePeople

HASH = str(make_pbkdf2(b"secret", 1))


class UserTestCase(SynchronousTestCase):
    """A settings file, and the people whom its server would have."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.conf = self.write("pushd.conf", f"persistence_location {self.folder}/data\n")
        self.people = SqlitePeople(str(self.folder / "data" / "people.db"), execute)
        self.addCleanup(self.people.close)

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def run_user(self, word: str, *words: str, typed: str = "") -> int:
        """Run a command. What it says is in `out` and `error` afterwards."""
        out, error = io.StringIO(), io.StringIO()
        self.patch(sys, "stdin", io.StringIO(typed))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            status = main(["user", word, "-c", self.conf, *words])
        self.out, self.error = out.getvalue(), error.getvalue()
        return status

    def does(self, word: str, *words: str, typed: str = "") -> str:
        """What a command says that goes well."""
        self.assertEqual(self.run_user(word, *words, typed=typed), 0, lambda: self.error)
        self.assertEqual(self.error, "")
        return self.out

    def fails(self, word: str, *words: str, typed: str = "") -> str:
        """Why a command cannot be carried out."""
        self.assertEqual(self.run_user(word, *words, typed=typed), 1)
        return self.error.strip().rpartition("Error: ")[2]

    def account(self, username: str) -> Account:
        account = self.successResultOf(self.people.account(username))
        assert account is not None
        return account

    def has_password(self, username: str, password: bytes) -> bool:
        return parse_account_hash(self.account(username).password_hash).verify(password)


class AddTests(UserTestCase):
    def test_by_the_command_line(self) -> None:
        """Argon2id, unless something cheaper was asked for."""
        self.assertEqual(self.does("add", "-b", "anna", "secret"), "Added user anna\n")
        self.assertTrue(self.has_password("anna", b"secret"))
        self.assertTrue(self.account("anna").password_hash.startswith("$argon2id$"))
        self.does("add", "-H", "sha512-pbkdf2", "-b", "meter", "secret")
        self.assertTrue(self.account("meter").password_hash.startswith("$7$20000$"))
        self.assertTrue(self.account("anna").enabled and self.account("anna").created_at)

    def test_from_a_pipe(self) -> None:
        """Two lines each."""
        self.assertIn(
            "Added user ben", self.does("add", "-H", "sha512-pbkdf2", "anna", "ben", typed="a\na\nb\nb\n")
        )
        self.assertTrue(self.has_password("anna", b"a") and self.has_password("ben", b"b"))

    def test_no_password(self) -> None:
        """Nothing was changed."""
        self.assertEqual(self.fails("add", "anna", typed=""), "no password given.")
        self.assertEqual(self.fails("add", "anna", typed="\n"), "the password is empty")
        self.assertEqual(self.fails("add", "anna", typed="a\nb\n"), "the passwords do not match")
        self.assertEqual(self.fails("add", "-b", "anna"), "-b takes a user name and a password")
        self.assertFalse((self.folder / "data").exists())

    def test_twice(self) -> None:
        """A password is not replaced by accident, nor anybody else's account made."""
        self.does("add", "-b", "anna", "secret")
        why = "there is a user anna already; pushctl user passwd sets a new password"
        self.assertEqual(self.fails("add", "ben", "anna", typed="b\nb\na\na\n"), why)
        self.assertTrue(self.has_password("anna", b"secret"))
        self.assertIsNone(self.successResultOf(self.people.account("ben")))

    def test_names(self) -> None:
        """Any that a client may have."""
        for name in ("a/b", "+", "#", "'; DROP TABLE account; --", "<b>", "größe", "a b", "a:b", "%u", "🦊"):
            self.does("add", "-H", "sha512-pbkdf2", "-b", "--", name, "secret")
            self.assertTrue(self.has_password(name, b"secret"))
        self.assertEqual(self.fails("add", "-b", "", "x"), "the user name is empty")
        self.assertEqual(self.fails("add", "-b", "\udcff", "x"), "the user name is not UTF-8")
        why = "the user name must not contain control characters"
        self.assertEqual(self.fails("add", "-b", "a\nb", "x"), why)


class ChangeTests(UserTestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("anna", "ben"):
            self.successResultOf(self.people.keep_account(Account(name, HASH, True, 86_400)))

    def test_password(self) -> None:
        """The rest stays as it is."""
        self.does("disable", "anna")
        self.assertEqual(self.does("passwd", "-b", "anna", "new"), "Updated password of user anna\n")
        self.assertTrue(self.has_password("anna", b"new"))
        self.assertEqual((self.account("anna").enabled, self.account("anna").created_at), (False, 86_400))

    def test_disable_and_enable(self) -> None:
        """Several at once."""
        self.assertEqual(self.does("disable", "anna", "ben"), "Disabled user anna\nDisabled user ben\n")
        self.assertFalse(self.account("anna").enabled or self.account("ben").enabled)
        self.assertEqual(self.does("enable", "ben"), "Enabled user ben\n")
        self.assertTrue(self.account("ben").enabled)

    def test_delete(self) -> None:
        """With all that is known about somebody."""
        self.successResultOf(self.people.follow("anna", "ben"))
        self.assertEqual(self.does("delete", "anna"), "Deleted user anna\n")
        self.assertIsNone(self.successResultOf(self.people.account("anna")))
        self.assertFalse(self.successResultOf(self.people.friends("anna")).followed)

    def test_nobody(self) -> None:
        """Then nothing is changed about the others."""
        for word in ("disable", "delete"):
            self.assertEqual(self.fails(word, "anna", "nobody"), "there is no user nobody")
        self.assertEqual(self.fails("passwd", "-b", "nobody", "x"), "there is no user nobody")
        self.assertEqual(self.account("anna"), Account("anna", HASH, True, 86_400))

    def test_list(self) -> None:
        """In the order of their names, however many there are; never a hash."""
        self.patch(users, "LISTED_AT_ONCE", 1)
        self.does("disable", "ben")
        self.assertEqual(self.does("list"), "enabled   1970-01-02  anna\ndisabled  1970-01-02  ben\n")

    def test_names_for_a_terminal(self) -> None:
        """Nothing in them moves the cursor, or turns the direction of writing."""
        self.assertEqual(printable("größe a\x1b[2J\u202eb\n\udcff"), "größe a\\x1b[2J\\u202eb\\n\\udcff")


class ImportTests(UserTestCase):
    def test_a_password_file(self) -> None:
        """Hashes stay as they are."""
        self.assertEqual(self.does("import", self.write("passwd", f"anna:{HASH}\n")), "Imported 1 user\n")
        self.assertEqual(self.account("anna").password_hash, HASH)

    def test_csv(self) -> None:
        """Of another system, and of somebody's list."""
        digest = hashlib.md5(b"secretpepper").hexdigest()
        path = self.write("users.CSV", f"anna,{digest},pepper\nben,plain\n")
        self.assertEqual(self.does("import", path, "-H", "sha512-pbkdf2"), "Imported 2 users\n")
        self.assertEqual(self.account("anna").password_hash, f"$md5$pepper${digest}")
        self.assertTrue(self.has_password("ben", b"plain"))
        self.assertEqual(
            self.does("import", "--csv", "--replace", self.write("x", "ben,b\n")), "Imported 1 user\n"
        )

    def test_all_or_nothing(self) -> None:
        """A mistake in the last line keeps the first from being imported."""
        path = self.write("users.csv", "anna,a\nben\n")
        self.assertEqual(self.fails("import", path), f"{path}:2: expected user,password or user,hash,salt")
        self.assertFalse((self.folder / "data").exists())

    def test_somebody_is_there(self) -> None:
        """Is not replaced unasked, and stays disabled."""
        self.does("add", "-b", "ben", "old")
        self.does("disable", "ben")
        path = self.write("passwd", f"anna:{HASH}\nben:{HASH}\n")
        why = f"{path}:2: there is a user ben already; --replace gives it this password"
        self.assertEqual(self.fails("import", path), why)
        self.assertIsNone(self.successResultOf(self.people.account("anna")))
        self.does("import", "--replace", path)
        self.assertEqual((self.account("ben").password_hash, self.account("ben").enabled), (HASH, False))


class StoreTests(UserTestCase):
    def test_settings_with_a_mistake(self) -> None:
        """As at a start of the server."""
        self.conf = self.write("pushd.conf", "nonsense\n")
        self.assertIn("pushd.conf:1: ", self.fails("list"))

    def test_a_store_that_is_none(self) -> None:
        """Is named."""
        (self.folder / "data").mkdir()
        self.write("data/people.db", "no database, however long this text may be made" * 100)
        self.assertIn("people.db: ", self.fails("list"))
