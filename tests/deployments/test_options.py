"""The deployments together."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.config.options import OPTIONS, find
from tests.deployments.deployment import SETTINGS


class OptionTests(SynchronousTestCase):
    """Every option is used where people use it."""

    def test_every_option(self) -> None:
        """Each row of the table is in the settings of some deployment."""
        used = {find(name) for path in SETTINGS.rglob("*.conf") for name in _names(path)}
        self.assertEqual([], [option.name for option in OPTIONS if option not in used])


def _names(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line.split(" ")[0] for line in lines if line and not line.startswith("#")]
