"""``pushctl`` finds its commands and stays out of their way."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl import main as pushctl


def run(*argv: str) -> tuple[int, str]:
    """:return: exit status, and all that was printed."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            status = pushctl.main(argv)
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, printed.getvalue()


class DispatchTests(SynchronousTestCase):
    """From a word to a module."""

    def test_rest_of_the_line_is_the_commands_own(self) -> None:
        """Flags after the command reach it untouched, ``--help`` too; its exit status comes back."""
        seen: list[list[str]] = []
        command = ModuleType("pushd.ctl.passwd")
        command.main = lambda argv: seen.append(argv) or 3  # type: ignore[attr-defined, func-returns-value]
        self.patch(sys, "modules", {**sys.modules, "pushd.ctl.passwd": command})
        self.assertEqual(run("passwd", "-b", "--help", "file")[0], 3)
        self.assertEqual(seen, [["-b", "--help", "file"]])

    def test_arguments_of_the_process(self) -> None:
        """Without arguments of its own, ``main`` takes the process's; the console script calls it so."""
        self.patch(sys, "argv", ["pushctl", "--help"])
        with redirect_stdout(io.StringIO()) as printed:
            self.assertRaises(SystemExit, pushctl.main)
        self.assertIn("COMMAND", printed.getvalue())

    def test_help_lists_every_command(self) -> None:
        """``pushctl --help`` shows each command with what it is for."""
        status, printed = run("--help")
        self.assertEqual(status, 0)
        for name, command in pushctl.COMMANDS.items():
            self.assertIn(name, printed)
            self.assertIn(command.summary, printed)

    def test_unknown_or_no_command_is_a_usage_error(self) -> None:
        """Status 2, and the commands that there are."""
        for argv in ((), ("frobnicate",), ("-x",)):
            status, printed = run(*argv)
            self.assertEqual(status, 2)
            self.assertIn("usage: pushctl", printed)
