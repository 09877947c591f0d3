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
from tests.crash.people import HEAVY
from tests.crash.run import report

SEED = 1


class OrdealTestCase(SynchronousTestCase):
    """Publishers and subscribers at full speed, while something breaks."""

    def go_through(
        self,
        trouble: Callable[[Ordeal], None],
        number: int = signal.SIGKILL,
        kind: str = "pushd",
        small_disk: bool = False,
        forgets: str = "",
    ) -> Ordeal:
        """Put a new broker through something; it is killed by this signal."""
        with tempfile.TemporaryDirectory(prefix="pushd-crash-") as folder:
            broker = MortalBroker(kind, Path(folder), [], small_disk, forgets)
            ordeal = Ordeal(broker, SEED, number)
            ordeal.endure(lambda: trouble(ordeal))
        return ordeal


class PushdTests(OrdealTestCase):
    """Nothing is lost."""

    def assert_balanced(self, ordeal: Ordeal) -> None:
        """Nothing is wrong after this."""
        findings = "\n\n".join(map(str, ordeal.ledger.findings))
        assert not ordeal.ledger.counts, f"{findings}\n{report(ordeal, SEED, 0.0)}"
        assert ordeal.ledger.acknowledged_count > 100 * ordeal.settlements > 0

    def test_broken_connections(self) -> None:
        """Connections break, some with packets on their way; sessions go on where they were."""
        self.assert_balanced(self.go_through(lambda ordeal: ordeal.with_drops(30)))

    def test_killed(self) -> None:
        """``kill -9``, some while it starts; whatever was acknowledged is there when it comes back."""
        ordeal = self.go_through(lambda ordeal: ordeal.with_kills(10))
        self.assert_balanced(ordeal)
        of_each = {kind: ordeal.ledger.acknowledged_of(kind) for kind in (*KINDS, HEAVY)}
        assert all(of_each.values()), of_each
        assert ordeal.ledger.tally["withdrawn"] and ordeal.ledger.tally["sessions ended"]
        assert ordeal.ledger.tally["read in the archive"] > 100

    def test_killed_with_a_backlog(self) -> None:
        """Hundreds of messages wait, and are fetched a few at a time, by a client that takes no more."""
        self.assert_balanced(self.go_through(lambda ordeal: ordeal.with_backlog(500, 2)))

    def test_stopped(self) -> None:
        """SIGTERM: it makes everything durable, logs no error, and ends in time."""
        self.assert_balanced(self.go_through(lambda ordeal: ordeal.with_kills(3), signal.SIGTERM))

    if sys.platform == "linux":  # see `tests.crash.disk`

        def test_full_disk(self) -> None:
            """While nothing can be written nothing is acknowledged; then it goes on by itself."""
            self.assert_balanced(self.go_through(lambda ordeal: ordeal.with_full_disks(3), small_disk=True))


class ForgetfulTests(OrdealTestCase):
    """What is there to be found is found."""

    def test_mosquitto(self) -> None:
        """It saves every 30 minutes: sessions are gone. (2.0.11 also ignores a low Receive Maximum.)"""
        counts = self.go_through(lambda ordeal: ordeal.with_kills(3), kind="mosquitto").ledger.counts
        assert counts["session"] > 0, counts
        assert counts["uninvited"] == counts["damaged"] == 0, counts

    def test_a_record_in_a_thousand(self) -> None:
        """A store that forgets so few of the messages that wait is caught."""
        forgets = "MessageQueued:1000"
        ledger = self.go_through(lambda ordeal: ordeal.with_backlog(1500, 2), forgets=forgets).ledger
        lost = [str(finding) for finding in ledger.findings if finding.kind == "lost"]
        assert lost and "in the file" in lost[0], ledger.counts

    def test_a_message_of_the_archive(self) -> None:
        """One in twenty that nobody finds any more is caught, though all who were there got it."""
        forgets = "MessageKept:20"
        ledger = self.go_through(lambda ordeal: ordeal.with_kills(1), forgets=forgets).ledger
        lost = [str(finding) for finding in ledger.findings if finding.kind == "lost"]
        assert lost and "in the archive" in lost[0], ledger.counts


# How the names of the topics of messages of each kind begin.
KINDS = ("news/", "retained/", "retained/fleeting/", "retained/will/", "team/", "fleeting/", "will/")
