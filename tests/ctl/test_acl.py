"""``pushctl acl check`` says what the server would, and why."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl import main as pushctl

ACL = """\
# who may what
topic read news/#

user anna
topic sensors/#
topic deny sensors/cellar
pattern readwrite users/%u/#
pattern read dev-%c/+
"""


class AclCheckTestCase(SynchronousTestCase):
    """An ACL file in a directory, and questions about it."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.acl = self.write("acl", ACL)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def run_pushctl(self, *words: str) -> tuple[int, str]:
        """:return: exit status, and all that was printed."""
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                status = pushctl.main(["acl", *words])
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, printed.getvalue().replace(str(self.acl), "acl")

    def check(self, *words: str) -> tuple[int, str]:
        """Ask the file."""
        return self.run_pushctl("check", *words, "--acl", str(self.acl))

    def check_settings(self, text: str, *words: str) -> tuple[int, str]:
        """Ask by a settings file."""
        settings = self.write("pushd.conf", text.format(acl=self.acl))
        return self.run_pushctl("check", *words, "-c", str(settings))


class AnswerTests(AclCheckTestCase):
    """With ``--acl FILE``."""

    def test_line_that_allows(self) -> None:
        """Status 0; file, line number and the line itself."""
        self.assertEqual(
            self.check("anna", "phone", "write", "sensors/attic"), (0, "allowed: acl:5: topic sensors/#\n")
        )
        self.assertEqual(
            self.check("bert", "phone", "read", "users/bert/in"),
            (0, "allowed: acl:7: pattern readwrite users/%u/#\n"),
        )

    def test_line_that_denies(self) -> None:
        """Status 1."""
        answer = self.check("anna", "phone", "read", "sensors/cellar")
        self.assertEqual(answer, (1, "denied: acl:6: topic deny sensors/cellar\n"))

    def test_nothing_that_matches(self) -> None:
        """Denied, for want of a line; also by a name that shuts out patterns, and where none could help."""
        self.assertEqual(self.check("bert", "x", "read", "news/a"), (1, "denied: nothing matches (acl)\n"))
        status, printed = self.check("a+b", "x", "read", "users/a")
        self.assertEqual(status, 1)
        self.assertIn("with + or # in a user name or client id no pattern does", printed)
        answer = self.check("anna", "x", "write", "$SYS/broker/uptime")
        self.assertEqual(answer, (1, "denied: no rule can open this topic (acl)\n"))

    def test_client_without_a_user_name(self) -> None:
        """Is written as a dash, or as nothing."""
        for nobody in ("-", ""):
            answer = self.check(nobody, "phone", "read", "news/today")
            self.assertEqual(answer, (0, "allowed: acl:2: topic read news/#\n"))

    def test_subscription(self) -> None:
        """Allowed by a line that allows to read something of it; a shared one is the same."""
        for topic_filter in ("#", "$share/group/sensors/+"):
            status, printed = self.check("anna", "x", "subscribe", topic_filter)
            self.assertEqual((status, printed), (0, "allowed: acl:5: topic sensors/#\n"))
        answer = self.check("anna", "x", "subscribe", "alerts/#")
        self.assertEqual(answer, (1, "denied: nothing matches (acl)\n"))

    def test_other_substitution(self) -> None:
        """Where Mosquitto 2.0 and 2.1 differ, both answers are given."""
        self.assertEqual(
            self.check("-", "c1", "read", "dev-c1/a"),
            (
                1,
                "denied: nothing matches (acl)\n"
                "note: with acl_substitution 2.0 it would be allowed: acl:8: pattern read dev-%c/+\n",
            ),
        )


class SettingsTests(AclCheckTestCase):
    """With a settings file, as the server would read it."""

    def test_files_and_options_of_the_server(self) -> None:
        """Its acl_file, its acl_substitution."""
        answer = self.check_settings(
            "listener 1884\nacl_file {acl}\nacl_substitution 2.0\n", "-", "c1", "read", "dev-c1/a"
        )
        self.assertEqual(
            answer,
            (
                0,
                "allowed: acl:8: pattern read dev-%c/+\n"
                "note: with acl_substitution 2.1 it would be denied: nothing matches (acl)\n",
            ),
        )

    def test_no_acl_file(self) -> None:
        """Everything is allowed, but for what never is."""
        answer = self.check_settings("listener 1884\n", "anna", "c1", "write", "a")
        self.assertEqual(answer, (0, "allowed: there is no acl_file\n"))
        answer = self.check_settings("listener 1884\n", "anna", "c1", "write", "$SYS/a")
        self.assertEqual(answer, (1, "denied: no rule can open this topic (there is no acl_file)\n"))

    def test_subscriptions_are_granted(self) -> None:
        """Unless acl_check_subscribe is true; what that would mean is told."""
        settings = "listener 1884\nacl_file {acl}\n"
        status, printed = self.check_settings(settings, "anna", "c1", "subscribe", "alerts")
        self.assertEqual(status, 0)
        self.assertIn("note: with acl_check_subscribe it would be denied: nothing matches (acl)", printed)
        settings += "acl_check_subscribe true\n"
        answer = self.check_settings(settings, "anna", "c1", "subscribe", "alerts")
        self.assertEqual(answer, (1, "denied: nothing matches (acl)\n"))

    def test_listeners_with_rules_of_their_own(self) -> None:
        """Which one is meant has to be said."""
        settings = "per_listener_settings true\nlistener 1884\nacl_file {acl}\nlistener 1885\n"
        question = ("-", "c1", "write", "news/a")
        status, printed = self.check_settings(settings, *question)
        self.assertEqual(status, 2)
        self.assertIn("add --listener with one of 1884, 1885", printed)
        self.assertEqual(self.check_settings(settings, *question, "--listener", "1884")[0], 1)
        self.assertEqual(self.check_settings(settings, *question, "--listener", "1885")[0], 0)
        self.assertIn("no listener 1886", self.check_settings(settings, *question, "--listener", "1886")[1])


class NoAnswerTests(AclCheckTestCase):
    """Status 2, and the reason."""

    def test_bad_usage(self) -> None:
        """Words that are missing or unknown, and both kinds of files."""
        for words in (
            (),
            ("check",),
            ("check", "anna", "c1", "publish", "a"),
            ("check", "anna", "c1", "read"),
            ("check", "anna", "c1", "read", "a", "-c", "a", "--acl", "b"),
        ):
            status, printed = self.run_pushctl(*words)
            self.assertEqual(status, 2, words)
            self.assertIn("usage: pushctl acl", printed)

    def test_bad_topic(self) -> None:
        """A wildcard is for subscribing, and there it has its place."""
        self.assertEqual(self.check("anna", "c1", "read", "a/+")[0], 2)
        self.assertEqual(self.check("anna", "c1", "write", "")[0], 2)
        status, printed = self.check("anna", "c1", "subscribe", "a/#/b")
        self.assertEqual(status, 2)
        self.assertIn("'a/#/b': topic filter: ", printed)

    def test_bad_files(self) -> None:
        """Named with their line, as at the start of the server."""
        self.write("acl", "topic a\ntopics b\n")
        status, printed = self.check("anna", "c1", "read", "a")
        self.assertEqual(
            (status, printed), (2, "pushctl acl check: acl:2: 'topics' is not user, topic or pattern\n")
        )
        self.assertEqual(self.check_settings("listener 1\nacl_file {acl}\n", "-", "c", "read", "a")[0], 2)
        self.assertEqual(self.check_settings("listener one\n", "-", "c", "read", "a")[0], 2)
        self.acl.unlink()
        self.assertEqual(self.check("anna", "c1", "read", "a")[0], 2)
