"""``pushctl route test`` says where the server would send a message, and why."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl import main as pushctl

ROUTES = """\
# terminals
/+/im/u/+  copy  /%1/im/u/%u
debug/# drop
old/# move new/%1
new/x copy log/%c
"""


class RouteTestCase(SynchronousTestCase):
    """A file of rules in a directory, and questions about it."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.routes = self.write("routes", ROUTES)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def run_pushctl(self, *words: str) -> tuple[int, list[str]]:
        """:return: exit status, and the lines that were printed."""
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                status = pushctl.main(["route", *words])
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, printed.getvalue().replace(f"{self.directory}/", "").splitlines()

    def ask(self, *words: str) -> tuple[int, list[str]]:
        return self.run_pushctl("test", *words, "--file", str(self.routes))


class AnswerTests(RouteTestCase):
    """With ``--file FILE``."""

    def test_copy(self) -> None:
        """Which line says so, and all places where it is delivered."""
        self.assertEqual(
            self.ask("/chat/im/u/jim", "--user", "alice", "--client", "pc"),
            (
                0,
                [
                    "routes:2: /+/im/u/+  copy  /%1/im/u/%u",
                    "    /chat/im/u/jim is copied to /chat/im/u/alice",
                    "delivered at /chat/im/u/jim",
                    "delivered at /chat/im/u/alice",
                ],
            ),
        )

    def test_one_after_the_other(self) -> None:
        """Each step is told."""
        status, lines = self.ask("old/x", "--client", "pc")
        self.assertEqual(0, status)
        self.assertEqual(["    old/x is moved to new/x", "    new/x is copied to log/pc"], lines[1:4:2])
        self.assertEqual(["delivered at new/x", "delivered at log/pc"], lines[4:])

    def test_drop(self) -> None:
        """Then it is delivered nowhere."""
        told = ["routes:3: debug/# drop", "    debug/a is dropped", "nobody gets it"]
        self.assertEqual((0, told), self.ask("debug/a"))

    def test_no_rule(self) -> None:
        """It goes where it was sent; so it does where a name is missing or can be no level."""
        for topic, flags in (
            ("news", ()),
            ("/chat/im/u/jim", ()),
            ("/chat/im/u/jim", ("--user", "a/b")),
            ("/chat/im/u/jim", ("--user", "+")),
        ):
            told = ["no rule applies (routes)", f"delivered at {topic}"]
            self.assertEqual((1, told), self.ask(topic, *flags))

    def test_friends(self) -> None:
        """A file alone knows nobody's."""
        self.write("routes", "p/%f drop\n")
        status, lines = self.ask("p/x", "--user", "ann")
        note = "note: with --file nobody has friends; -c CONF says where they are kept"
        self.assertEqual((1, note), (status, lines[-1]))

    def test_no_topic(self) -> None:
        """A filter is none."""
        told = ["pushctl route test: 'a/#': topic name: a wildcard"]
        self.assertEqual((2, told), self.ask("a/#"))

    def test_mistake(self) -> None:
        """A bad file is named with its line."""
        self.write("routes", "a copy b\na copy\n")
        told = ["pushctl route test: routes:2: no destination after 'copy'"]
        self.assertEqual((3, told), self.ask("a"))
        self.routes.unlink()
        self.assertEqual((3, ["pushctl route test: routes: No such file or directory"]), self.ask("a"))


class SettingsTests(RouteTestCase):
    """With ``-c CONF``."""

    def ask_settings(self, text: str) -> tuple[int, list[str]]:
        return self.run_pushctl("test", "debug/a", "-c", str(self.write("pushd.conf", text)))

    def test_routes_file(self) -> None:
        """The file that the settings name is asked."""
        status, lines = self.ask_settings(f"routes_file {self.routes}\n")
        self.assertEqual((0, "routes:3: debug/# drop"), (status, lines[0]))

    def test_friends(self) -> None:
        """Those of the sender are read from where they are kept; nothing is made there."""
        self.write("routes", "p/+ copy feed/%F/%u/%1\n")
        conf = f"persistence true\npersistence_location {self.directory}\nroutes_file {self.routes}\n"
        question = ("test", "p/x", "--user", "ann", "-c", str(self.write("pushd.conf", conf)))
        self.assertEqual((1, ["no rule applies (routes)", "delivered at p/x"]), self.run_pushctl(*question))
        self.assertFalse((self.directory / "people.db").exists())
        for one, other in (("ann", "bob"), ("bob", "ann"), ("ann", "eve"), ("eve", "ann"), ("ann", "joe")):
            with redirect_stdout(io.StringIO()):
                pushctl.main(["friends", "add", one, other, "-c", question[-1]])
        told = ["    p/x is copied to feed/bob/ann/x", "    p/x is copied to feed/eve/ann/x"]
        status, lines = self.run_pushctl(*question)
        self.assertEqual((0, ["routes:1: p/+ copy feed/%F/%u/%1", *told]), (status, lines[:3]))
        self.assertEqual(["p/x", "feed/bob/ann/x", "feed/eve/ann/x"], [line[13:] for line in lines[3:]])
        self.assertEqual(1, self.run_pushctl("test", "p/x", "-c", question[-1])[0])

    def test_friends_of_a_bad_file(self) -> None:
        """Where they cannot be read, there is no answer."""
        self.write("routes", "p/%f drop\n")
        self.write("people.db", "no database at all, " * 100)
        conf = f"persistence true\npersistence_location {self.directory}\nroutes_file {self.routes}\n"
        flags = ("--user", "ann", "-c", str(self.write("pushd.conf", conf)))
        status, lines = self.run_pushctl("test", "p/x", *flags)
        self.assertEqual((3, 1), (status, len(lines)))
        self.assertIn("people.db", lines[0])

    def test_none(self) -> None:
        """Without one nothing is routed."""
        self.assertEqual((1, ["there is no routes_file in pushd.conf"]), self.ask_settings(""))

    def test_bad_settings(self) -> None:
        """They are named, too."""
        status, lines = self.ask_settings("\nroutes_fil x\n")
        self.assertEqual(3, status)
        self.assertIn("pushd.conf:2: ", lines[0])
