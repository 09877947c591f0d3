"""``pushctl access``, with the file that the server has."""

from __future__ import annotations

from tests.ctl.keeping import HOSTILE, KeepingTestCase


class CheckTests(KeepingTestCase):
    """``pushctl acl check`` knows the list."""

    command = "access"

    def check(self, *words: str) -> tuple[int, list[str]]:
        said = self.pushctl("acl", "check", "-c", str(self.settings), *words)
        return said.status, said.lines

    def test_entry_that_decides(self) -> None:
        """It is shown, and the file is not asked."""
        self.do("grant", "ada", "news*", "ro")
        self.assertEqual(
            self.check("ada", "phone", "read", "news"),
            (0, ["allowed: access list: user ada: read-only access to news*"]),
        )
        expected = (1, ["denied: access list: user ada: read-only access to news*"])
        self.assertEqual(self.check("ada", "phone", "write", "news"), expected)
        self.assertEqual(self.check("ada", "phone", "read", "others"), (0, ["allowed: there is no acl_file"]))

    def test_subscribe(self) -> None:
        """The list refuses without acl_check_subscribe, too."""
        self.do("grant", "everyone", "news*", "none")
        self.assertEqual(
            self.check("-", "phone", "subscribe", "news/#"),
            (1, ["denied: access list: everyone: no access to news*"]),
        )
        self.assertEqual(self.check("-", "phone", "subscribe", "#")[0], 0)

    def test_where_it_does_not_count(self) -> None:
        """Where no accounts are asked, for an administrator, and for what no rule can open."""
        self.do("grant", "everyone", "*", "none")
        self.assertEqual(self.check("root", "phone", "read", "news")[0], 0)
        self.do("grant", "ada", "$SYS*", "rw")
        self.assertIn("no rule can open", self.check("ada", "phone", "write", "$SYS/x")[1][0])
        self.use("accounts false")
        self.assertEqual(self.check("ada", "phone", "read", "news")[0], 0)


class AccessTests(KeepingTestCase):
    command = "access"

    def test_grant(self) -> None:
        """It says what holds now; the same user and topic once."""
        self.assertEqual(
            self.do("grant", "ada", "news*", "rw"), (0, ["user ada: read-write access to news*"], [])
        )
        self.do("grant", "ada", "news*", "deny-all")
        self.assertEqual(self.do("list").lines, ["user ada: no access to news*"])

    def test_everyone(self) -> None:
        """By each of the names that ntfy has for that."""
        for word, topic in (("everyone", "a"), ("*", "b"), ("anonymous", "c")):
            self.do("grant", word, topic, "write-only")
        expected = [f"everyone: write-only access to {topic}" for topic in "abc"]
        self.assertEqual(sorted(self.do("list").lines), expected)
        self.assertEqual(sorted(self.do("list", "everyone").lines), expected)

    def test_list_is_in_the_order_in_which_it_decides(self) -> None:
        """Users first, and the longest first."""
        for user, topic in (("*", "news-of-today"), ("bob", "n*"), ("bob", "news*"), ("ada", "x")):
            self.do("grant", user, topic, "ro")
        topics = [line.split()[-1] for line in self.do("list").lines]
        self.assertEqual(topics, ["x", "news*", "n*", "news-of-today"])

    def test_remove(self) -> None:
        """One entry, or all of a user; and it says if there is none."""
        for topic in ("a", "b", "c"):
            self.do("grant", "ada", topic, "rw")
        self.assertEqual(self.do("remove", "ada", "b"), (0, ["user ada: b: removed"], []))
        self.assertEqual(self.do("remove", "ada", "b"), (1, ["user ada: b: no entry"], []))
        self.assertEqual(len(self.do("list", "ada").lines), 2)
        self.assertEqual(self.do("remove", "ada"), (0, ["user ada: removed"], []))
        self.assertEqual(self.do("list", "ada"), (1, [], []))

    def test_who_only_asks_leaves_nothing_behind(self) -> None:
        """No file is made by that."""
        self.assertEqual(self.do("list"), (0, [], []))
        self.assertEqual(self.do("remove", "ada").status, 1)
        self.assertFalse(self.people_file.exists())

    def test_hostile_names(self) -> None:
        """They are names, and terminals are safe from them."""
        for name in HOSTILE:
            self.assertEqual(self.do("grant", "--", name, "news", "ro").status, 0, name)
            expected = [f"user {name}: read-only access to news"]
            self.assertEqual(self.do("list", "--", name).lines, expected)
        self.do("grant", "--", "\u202eada", "\u202enews", "rw")
        self.assertEqual(
            self.do("list", "--", "\u202eada").lines,
            ["user \\u202eada: read-write access to \\u202enews"],
        )

    def test_refused(self) -> None:
        """What is no name, no topic or no permission; nothing is kept then."""
        for words in (
            ("", "news", "rw"),
            ("a\nb", "news", "rw"),
            ("ada", "", "rw"),
            ("ada", "news/#", "rw"),
            ("ada", "+", "rw"),
            ("ada", "\x1b[2J", "rw"),
            ("ada", "news", "everything"),
        ):
            said = self.do("grant", *words)
            self.assertEqual((said.status, said.lines, len(said.errors)), (2, [], 1), words)
        self.assertFalse(self.people_file.exists())

    def test_list_that_nobody_goes_by(self) -> None:
        """A warning, for nothing is forbidden by it then."""
        self.use("allow_anonymous true")
        self.assertIn("no listener has accounts true", self.do("grant", "ada", "news", "none").errors[0])

    def test_admins(self) -> None:
        """The list says nothing about them, and this says so."""
        self.assertIn("admin_user", self.do("grant", "root", "news", "none").errors[0])

    def test_file_that_cannot_be_used(self) -> None:
        """The message names it."""
        self.people_file.write_text("this is no database, and it is long enough to be seen")
        said = self.do("list")
        self.assertEqual(said.status, 2)
        self.assertIn("people.db", said.errors[0])

    def test_settings_that_cannot_be_read(self) -> None:
        """As everywhere."""
        self.use("no_such_option 1")
        self.assertEqual(self.do("list").status, 2)
