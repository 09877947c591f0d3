"""A folder with a settings file, for commands that keep something about people."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl import main as pushctl

# Names that are something else on a command line, in a statement, a pattern or a terminal.
HOSTILE = ("a/b", "+", "#", "-x", "'; DROP TABLE token;--", "%f", "größe", "<b>", "two words", "..")


class Said(NamedTuple):
    """What became of a command."""

    status: int
    lines: list[str]
    errors: list[str]


class KeepingTestCase(SynchronousTestCase):
    """
    :ivar command: the first word.
    """

    command: str

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.settings = self.directory / "pushd.conf"
        self.use("accounts true", "admin_user root")

    def use(self, *lines: str) -> None:
        """The settings, beside the folder where people are kept."""
        text = "\n".join((f"persistence_location {self.directory}/", *lines, ""))
        self.settings.write_text(text)

    @property
    def people_file(self) -> Path:
        return self.directory / "people.db"

    def pushctl(self, *words: str) -> Said:
        printed, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(errors):
            try:
                status = pushctl.main([*words])
            except SystemExit as stop:
                status = int(stop.code or 0)
        return Said(status, printed.getvalue().splitlines(), errors.getvalue().splitlines())

    def do(self, verb: str, *words: str) -> Said:
        """The command, with these settings. Flags stand among `words` before a ``--``."""
        return self.pushctl(self.command, verb, "-c", str(self.settings), *words)
