"""What `pip install` would take along: setup.cfg against the sources."""

from __future__ import annotations

from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]


def lines(value: str) -> set[str]:
    return set(value.split())


class SetupTests(SynchronousTestCase):
    """A package that is not listed works in the checkout and is missing after an installation."""

    def setUp(self) -> None:
        self.setup = ConfigParser()
        self.setup.read(ROOT / "setup.cfg")

    def test_every_package_is_listed(self) -> None:
        """Each folder with an ``__init__.py``, and the folder of Twisted's plugins."""
        found = {
            ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "pushd").rglob("__init__.py")
        }
        self.assertEqual(lines(self.setup["options"]["packages"]), found | {"twisted.plugins"})

    def test_every_other_file_is_package_data(self) -> None:
        """SQL, pages and the like go along too."""
        data = self.setup["options.package_data"]
        for path in (ROOT / "pushd").rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                package = ".".join(path.parent.relative_to(ROOT).parts)
                patterns = lines(data.get(package, "")) | lines(data.get("*", ""))
                assert any(fnmatch(path.name, pattern) for pattern in patterns), path

    def test_plugin_folder_is_no_package(self) -> None:
        """``twisted/plugins`` belongs to Twisted; an ``__init__.py`` would hide all other plugins."""
        self.assertEqual([*(ROOT / "twisted").rglob("__init__.py")], [])
