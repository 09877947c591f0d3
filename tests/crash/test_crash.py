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
from tests.crash.run import Run, report

SEED = 1


class ShortRunTests(SynchronousTestCase):
    """Publishers and subscribers at full speed, while something breaks."""

    def assert_balanced(self, *steps: Callable[[Run], None]) -> None:
        """Nothing is wrong after these."""
        with tempfile.TemporaryDirectory(prefix="pushd-crash-") as folder:
            run = Run(MortalBroker("pushd", Path(folder), []), SEED)
            try:
                for step in steps:
                    step(run)
            finally:
                run.close()
        findings = "\n\n".join(map(str, run.ledger.findings))
        assert not run.ledger.counts, f"{findings}\n{report(run, SEED, 0.0)}"
        assert run.ledger.acknowledged_count > 100 * run.settlements > 0

    def test_broken_connections(self) -> None:
        """Connections break, some with packets on their way; sessions go on where they were."""
        self.assert_balanced(lambda run: run.with_drops(40))
