"""``pushctl friends``, and what ``pushctl acl check`` makes of friends; with the file that the server has."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl import main as pushctl

ACL = """\
pattern read user/%F/presence/+
pattern read news/%f
pattern write users/%u
"""


class FriendsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.acl = self.directory / "acl"
        self.acl.write_text(ACL)
        self.settings = self.directory / "pushd.conf"
        self.settings.write_text(
            f"persistence true\npersistence_location {self.directory}/\nacl_file {self.acl}\n"
        )

    def pushctl(self, *words: str) -> tuple[int, list[str]]:
        """:return: exit status, and the lines that were printed."""
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                status = pushctl.main([*words])
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, printed.getvalue().splitlines()

    def friends(self, command: str, *names: str) -> tuple[int, list[str]]:
        return self.pushctl("friends", command, "-c", str(self.settings), "--", *names)


class KeepingTests(FriendsTestCase):
    def test_add(self) -> None:
        """It says what holds, and whether it is new."""
        self.assertEqual(self.friends("add", "anna", "bob"), (0, ["anna follows bob"]))
        self.assertEqual(self.friends("add", "anna", "bob"), (0, ["anna follows bob already"]))

    def test_remove(self) -> None:
        """The second time there is nothing to remove."""
        self.friends("add", "anna", "bob")
        self.assertEqual(self.friends("remove", "anna", "bob"), (0, ["anna does not follow bob any more"]))
        self.assertEqual(self.friends("remove", "anna", "bob"), (1, ["anna does not follow bob"]))

    def test_list(self) -> None:
        """In the order of names; and one alone."""
        for follower, followed in (("anna", "eve"), ("anna", "bob"), ("eve", "anna")):
            self.friends("add", follower, followed)
        self.assertEqual(self.friends("list", "anna"), (0, ["bob", "eve (mutual)"]))
        self.assertEqual(self.friends("list", "anna", "eve"), (0, ["eve (mutual)"]))
        self.assertEqual(self.friends("list", "anna", "zoe"), (1, []))

    def test_list_makes_no_file(self) -> None:
        """Who only asks leaves nothing behind."""
        self.assertEqual(self.friends("list", "anna"), (0, []))
        self.assertFalse((self.directory / "people.db").exists())

    def test_hostile_names(self) -> None:
        """They are names, and terminals are safe from them."""
        for name in ("a/b", "+", "#", "-x", "'; DROP TABLE follows;--", "%f", "größe", "<b>"):
            self.assertEqual(self.friends("add", "anna", name)[0], 0, name)
            self.assertEqual(self.friends("list", "anna", name), (0, [name]))
        self.assertEqual(self.friends("add", "anna", "\u202ebob"), (0, ["anna follows \\u202ebob"]))

    def test_no_names(self) -> None:
        """What no client could log in with is refused."""
        for name in ("", "a\nb", "\x1b[2J"):
            self.assertEqual(self.friends("add", "anna", name)[0], 2, name)

    def test_file_that_cannot_be_used(self) -> None:
        """The message names it."""
        (self.directory / "people.db").write_text("this is no database, and it is long enough to be seen")
        status, lines = self.friends("list", "anna")
        self.assertEqual(status, 2)
        self.assertIn("people.db", lines[0])

    def test_settings_that_cannot_be_read(self) -> None:
        """As everywhere."""
        self.settings.write_text("no_such_option 1\n")
        self.assertEqual(self.friends("list", "anna")[0], 2)


class AclCheckTests(FriendsTestCase):
    def check(self, *words: str) -> tuple[int, list[str]]:
        status, lines = self.pushctl("acl", "check", *words)
        return status, [line.replace(str(self.acl), "acl") for line in lines]

    def settings_check(self, *words: str) -> tuple[int, list[str]]:
        return self.check(*words, "-c", str(self.settings))

    def test_friends_count(self) -> None:
        """As they are now, in the file that a server has."""
        self.friends("add", "anna", "bob")
        question = ("anna", "phone", "read", "user/bob/presence/desk")
        self.assertEqual(self.settings_check(*question)[0], 1)
        self.friends("add", "bob", "anna")
        self.assertEqual(
            self.settings_check(*question), (0, ["allowed: acl:1: pattern read user/%F/presence/+"])
        )
        self.assertEqual(self.settings_check("-", "phone", "read", "news/bob")[0], 1)

    def test_nobody_has_any(self) -> None:
        """Without a file of people; none is made."""
        self.assertEqual(self.settings_check("anna", "phone", "read", "news/bob")[0], 1)
        self.assertFalse((self.directory / "people.db").exists())

    def test_without_settings(self) -> None:
        """Nobody knows where friends are kept."""
        status, lines = self.check("anna", "phone", "read", "news/bob", "--acl", str(self.acl))
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], "note: with --acl nobody has friends; -c CONF says where they are kept")

    def test_file_that_cannot_be_used(self) -> None:
        """There is no answer then."""
        (self.directory / "people.db").write_text("this is no database, and it is long enough to be seen")
        self.assertEqual(self.settings_check("anna", "phone", "read", "news/bob")[0], 2)
