"""``pushctl subscriptions``, with the file that the server has."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl import main as pushctl


class SubscriptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.settings = self.directory / "pushd.conf"
        self.settings.write_text(f"persistence true\npersistence_location {self.directory}/\n")

    def pushctl(self, command: str, *words: str) -> tuple[int, list[str]]:
        """:return: exit status, and the lines that were printed."""
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                status = pushctl.main(["subscriptions", command, "-c", str(self.settings), "--", *words])
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, printed.getvalue().splitlines()

    def test_add(self) -> None:
        """It says what holds; the second time with another QoS."""
        self.assertEqual((0, ["anna: alerts/# 1"]), self.pushctl("add", "anna", "alerts/#", "1"))
        self.assertEqual((0, ["anna: alerts/# 2"]), self.pushctl("add", "anna", "alerts/#", "2"))
        self.assertEqual((0, ["alerts/# 2"]), self.pushctl("list", "anna"))

    def test_remove(self) -> None:
        """The second time there is nothing to remove."""
        self.pushctl("add", "anna", "t", "0")
        self.assertEqual((0, ["anna: t removed"]), self.pushctl("remove", "anna", "t"))
        self.assertEqual((1, ["anna: t is not in the list"]), self.pushctl("remove", "anna", "t"))

    def test_list(self) -> None:
        """In their order, and one alone; a question makes no file."""
        self.assertEqual((0, []), self.pushctl("list", "anna"))
        self.assertEqual([self.settings], list(self.directory.iterdir()))
        for filter in ("b", "a/+"):
            self.pushctl("add", "anna", filter, "1")
        self.assertEqual((0, ["a/+ 1", "b 1"]), self.pushctl("list", "anna"))
        self.assertEqual((0, ["b 1"]), self.pushctl("list", "anna", "b"))
        self.assertEqual((1, []), self.pushctl("list", "anna", "c"))

    def test_mistakes(self) -> None:
        """What is no filter, no QoS or no name changes nothing."""
        for words, told in (
            (("anna", "a#", "1"), "topic filter: # is not the last level, whole"),
            (("anna", "$share/g", "1"), "topic filter: a group name without a filter behind it"),
            (("", "t", "1"), "the user name is empty"),
        ):
            self.assertEqual((2, [f"pushctl subscriptions: {told}"]), self.pushctl("add", *words))
        status, said = self.pushctl("add", "anna", "t", "3")
        self.assertEqual((2, True), (status, "invalid choice: 3" in said[-1]))
        self.assertEqual((0, []), self.pushctl("list", "anna"))

    def test_hostile_names(self) -> None:
        """They are shown so that a terminal takes them for text, and found again."""
        for name in ("'; DROP TABLE x;--", "a/b", "+", "größe", "-c"):
            self.assertEqual((0, [f"{name}: t 1"]), self.pushctl("add", name, "t", "1"))
            self.assertEqual((0, ["t 1"]), self.pushctl("list", name))
        self.assertEqual((0, ["anna: a\\u202eb 1"]), self.pushctl("add", "anna", "a\u202eb", "1"))
