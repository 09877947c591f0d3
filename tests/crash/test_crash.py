"""
The short runs of `python -m tests.crash.run`: nothing that was acknowledged is lost, nothing comes twice at
QoS 2. The long ones are `make crash`.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.brokers import MortalBroker
from tests.crash.ordeal import Ordeal
from tests.crash.run import report

SEED = 1


class OrdealTestCase(SynchronousTestCase):
    """Publishers and subscribers at full speed, while something breaks."""

    def go_through(
        self, kind: str, trouble: Callable[[Ordeal], None], number: int = signal.SIGKILL
    ) -> Ordeal:
        """Put a new broker through something; it is killed by this signal."""
        with tempfile.TemporaryDirectory(prefix="pushd-crash-") as folder:
            ordeal = Ordeal(MortalBroker(kind, Path(folder), []), SEED, number)
            ordeal.endure(lambda: trouble(ordeal))
        return ordeal


class PushdTests(OrdealTestCase):
    """Nothing is lost."""

    def assert_balanced(self, trouble: Callable[[Ordeal], None], number: int = signal.SIGKILL) -> None:
        """Nothing is wrong after this."""
        ordeal = self.go_through("pushd", trouble, number)
        findings = "\n\n".join(map(str, ordeal.ledger.findings))
        assert not ordeal.ledger.counts, f"{findings}\n{report(ordeal, SEED, 0.0)}"
        assert ordeal.ledger.acknowledged_count > 100 * ordeal.settlements > 0

    def test_broken_connections(self) -> None:
        """Connections break, some with packets on their way; sessions go on where they were."""
        self.assert_balanced(lambda ordeal: ordeal.with_drops(40))

    def test_killed(self) -> None:
        """``kill -9``, some while it starts; whatever was acknowledged is there when it comes back."""
        self.assert_balanced(lambda ordeal: ordeal.with_kills(10))

    def test_stopped(self) -> None:
        """SIGTERM: it makes everything durable, logs no error, and ends."""
        self.assert_balanced(lambda ordeal: ordeal.with_kills(4), signal.SIGTERM)

    if sys.platform == "linux":  # see `MortalBroker.fill_disk`

        def test_full_disk(self) -> None:
            """While nothing can be written nothing is acknowledged; then it goes on by itself."""
            self.assert_balanced(lambda ordeal: ordeal.with_full_disks(5))


class MosquittoTests(OrdealTestCase):
    """The same with a broker that saves every 30 minutes: what is there to be found is found."""

    def test_killed(self) -> None:
        """Sessions are gone, and with them what they were due; of other faults there is no sign."""
        counts = self.go_through("mosquitto", lambda ordeal: ordeal.with_kills(3)).ledger.counts
        assert counts["session"] > 0, counts
        assert counts["uninvited"] == counts["damaged"] == counts["broken"] == 0, counts
