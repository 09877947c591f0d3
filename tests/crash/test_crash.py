"""
The short runs of `python -m tests.crash.run`: nothing that was acknowledged is lost, nothing comes twice at
QoS 2. The long ones are `make crash`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.brokers import MortalBroker
from tests.crash.ordeal import Ordeal
from tests.crash.run import report

SEED = 1


class ShortRunTests(SynchronousTestCase):
    """Publishers and subscribers at full speed, while something breaks."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="pushd-crash-")
        self.addCleanup(folder.cleanup)
        self.ordeal = Ordeal(MortalBroker("pushd", Path(folder.name), []), SEED)

    def assert_balanced(self, trouble: Callable[[], None]) -> None:
        """Nothing is wrong after this."""
        self.ordeal.endure(trouble)
        ledger = self.ordeal.ledger
        findings = "\n\n".join(map(str, ledger.findings))
        assert not ledger.counts, f"{findings}\n{report(self.ordeal, SEED, 0.0)}"
        assert ledger.acknowledged_count > 100 * self.ordeal.settlements > 0

    def test_broken_connections(self) -> None:
        """Connections break, some with packets on their way; sessions go on where they were."""
        self.assert_balanced(lambda: self.ordeal.with_drops(40))
