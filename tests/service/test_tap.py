"""The command line: from words to settings, or to a line and an exit status."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from pushd import __version__
from pushd.config.settings import Settings
from pushd.service.tap import Options


class TapTestCase(SynchronousTestCase):
    """Parses words; what is printed is kept."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)

    def write(self, text: str, name: str = "x.conf") -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def parse(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(list(words))
        return options

    def status(self, *words: str) -> object:
        """The exit status that these words lead to."""
        return self.assertRaises(SystemExit, self.parse, *words).code

    def said(self) -> str:
        return self.errors.getvalue().replace(f"{self.directory}/", "")


class FlagTests(TapTestCase):
    def test_settings_file(self) -> None:
        """-c and --config name it, and --config-file as in Mosquitto."""
        path = self.write("listener 1884\n")
        for flags in (("-c", path), ("--config", path), ("--config-file", path)):
            settings: Settings = self.parse(*flags)["settings"]
            assert [door.port for door in settings.listeners] == [1884]

    def test_no_settings_file(self) -> None:
        """Loopback, and the ports of -p."""
        settings: Settings = self.parse("-p", "1885", "--port", "1886")["settings"]
        assert [door.port for door in settings.listeners] == [1885, 1886]
        assert {door.addresses for door in settings.listeners} == {("127.0.0.1", "::1")}

    def test_loud_and_quiet(self) -> None:
        """-v and -q are noted for the log."""
        options = self.parse("-v")
        assert (options["verbose"], options["quiet"]) == (1, 0)
        assert self.parse("--quiet")["quiet"] == 1

    def test_background(self) -> None:
        """-d is twistd's way without -n, and wins over it."""
        for words, stays in ((("-d",), False), (("--daemon",), False), ((), True)):
            twistd = usage.Options()
            twistd["nodaemon"] = True
            options = Options()
            options.parent = twistd
            options.parseOptions(list(words))
            assert twistd["nodaemon"] is stays

    def test_version(self) -> None:
        """Nothing else is printed, and nothing is read."""
        assert self.status("--version", "-c", "/no/such/file") == 0
        assert self.output.getvalue() == f"pushd {__version__}\n"

    def test_help(self) -> None:
        """-h and --help name every flag."""
        for flag in ("-h", "--help"):
            assert self.status(flag) == 0
        for name in ("config", "port", "daemon", "verbose", "quiet", "test-config", "version"):
            assert self.output.getvalue().count(f"--{name}") >= 2, name

    def test_bad_ports(self) -> None:
        """A port that is none, and too many, are refused like a bad file."""
        assert self.status("-p", "abc") == 3
        assert self.status("-p", "70000") == 3
        assert self.status(*["-p", "1883"] * 11) == 3
        assert self.said().splitlines() == [
            "Error: -p: 'abc' is not a number",
            "Error: -p: 70000 is above 65535",
            "Error: -p: 11 ports are more than 10",
        ]

    def test_bad_settings(self) -> None:
        """One line with file, line and reason, and Mosquitto's exit status."""
        assert self.status("-c", self.write("\nmax_keepalives 5\n")) == 3
        told = "Error: x.conf:2: unknown option 'max_keepalives'; did you mean max_keepalive?\n"
        assert self.said() == told


class TestConfigTests(TapTestCase):
    """``--test-config``"""

    __test__ = True

    def test_good_settings(self) -> None:
        """They are called good, with status 0."""
        assert self.status("--test-config", "-c", self.write("listener 1884\n")) == 0
        assert (self.output.getvalue(), self.said()) == ("The settings are good.\n", "")

    def test_warnings(self) -> None:
        """Whatever a start would warn of is printed, of the settings and of the files that they name."""
        acl = self.write("pattern read dev-%u/b\n", "acl")
        path = self.write(f"listener 1884\nretry_interval 20\nacl_file {acl}\n")
        assert self.status("--test-config", "-c", path) == 0
        first, second = self.said().splitlines()
        assert first.startswith("Warning: x.conf:2: retry_interval has no effect: ")
        assert second.startswith("Warning: acl:1: ")

    def test_bad_files(self) -> None:
        """A file that the settings name is read as at a start."""
        for line, reason in (
            (f"password_file {self.write('anna', 'passwd')}/no", "passwd/no"),
            (f"acl_file {self.write('nonsense', 'acl')}", "acl:1"),
            (f"routes_file {self.write('nonsense', 'routes')}", "routes:1"),
            ("certfile /no/crt\nkeyfile /no/key", "/no/"),
            ("log_dest file /no/such/folder/log", "/no/such/folder/log"),
        ):
            assert self.status("--test-config", "-c", self.write(f"listener 1884\n{line}\n")) == 3, line
            assert reason in self.said().splitlines()[-1], line
            assert self.output.getvalue() == ""
