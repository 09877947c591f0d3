"""The bookkeeping of `make crash`: it finds what it is there to find, and nothing else."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.ledger import Ledger
from tests.crash.timeline import Timeline


class LedgerTestCase(SynchronousTestCase):
    """Ada is subscribed to "news"."""

    def setUp(self) -> None:
        self.ledger = Ledger(Timeline())
        self.subscribe("ada", True)

    def subscribe(self, client_id: str, subscribed: bool) -> None:
        self.ledger.asked(client_id, "news")
        self.ledger.answered(client_id, "news", subscribed)

    def publish(self) -> tuple[str, int]:
        """A message that was sent and acknowledged."""
        key = "news", self.ledger.sent("news")
        self.ledger.acknowledged(key)
        return key

    def assert_found(self, *kinds: str) -> None:
        self.ledger.settle()
        self.assertEqual(sorted(self.ledger.counts.elements()), sorted(kinds))


class DeliveryTests(LedgerTestCase):
    """What is due to a subscriber."""

    def test_delivered(self) -> None:
        """A message that arrived once is in order, whether before or after its acknowledgement."""
        self.ledger.delivered("ada", self.publish(), 2)
        key = "news", self.ledger.sent("news")
        self.ledger.delivered("ada", key, 2)
        self.ledger.acknowledged(key)
        self.assert_found()

    def test_lost(self) -> None:
        """One that was acknowledged and never arrives is lost; its timeline tells that it was sent."""
        self.publish()
        self.assertTrue(self.ledger.is_missing)
        self.assert_found("lost")
        self.assertIn("sent to news, number 1", str(self.ledger.findings[0]))

    def test_without_acknowledgement(self) -> None:
        """Nobody promised that such a message arrives, nor that it does not."""
        self.ledger.sent("news")
        self.ledger.delivered("ada", ("news", self.ledger.sent("news")), 2)
        self.assert_found()

    def test_refused(self) -> None:
        """A message that is refused is due to nobody; that it is refused must have a reason."""
        self.ledger.sent("news")
        self.ledger.may_refuse = True
        self.ledger.refused(("news", 1), "the disk is full")
        self.assert_found()
        self.ledger.may_refuse = False
        self.ledger.refused("ada", "banned")
        self.assert_found("broken")

    def test_twice_at_qos_2(self) -> None:
        """That is a duplicate, however late the second one comes."""
        key = self.publish()
        self.ledger.delivered("ada", key, 2)
        self.ledger.delivered("ada", key, 2)
        self.ledger.settle()
        self.ledger.delivered("ada", key, 2)
        self.assert_found("duplicate", "duplicate")

    def test_twice_at_qos_1(self) -> None:
        """At least once is what was asked for."""
        key = self.publish()
        self.ledger.delivered("ada", key, 1)
        self.ledger.delivered("ada", key, 1)
        self.assert_found()
        self.assertEqual(self.ledger.repeated_count, 1)

    def test_order(self) -> None:
        """A later message first is a finding; an earlier one again is not."""
        first, second, third = self.publish(), self.publish(), self.publish()
        for key in (first, third, first, second):
            self.ledger.delivered("ada", key, 1)
        self.assert_found("order")

    def test_damaged(self) -> None:
        """A number that nobody sent comes of a payload that is not what was sent."""
        self.ledger.delivered("ada", ("news", 0), 1)
        self.ledger.delivered("ada", ("news", 1), 1)
        self.assert_found("damaged", "damaged")


class SubscriptionTests(LedgerTestCase):
    """Who is subscribed, as far as anybody can know."""

    def test_not_subscribed(self) -> None:
        """What is published after UNSUBACK must not arrive."""
        self.subscribe("ada", False)
        key = self.publish()
        self.ledger.delivered("ada", key, 1)
        self.assert_found("uninvited")

    def test_unsure(self) -> None:
        """Between question and answer a message may arrive or not."""
        self.ledger.asked("ada", "news")
        self.ledger.delivered("ada", self.publish(), 1)
        self.publish()
        self.assert_found()

    def test_change_before_the_acknowledgement(self) -> None:
        """The same holds for a message on its way while the subscription changes."""
        sent = "news", self.ledger.sent("news")
        self.subscribe("ada", False)
        self.ledger.acknowledged(sent)
        self.assert_found()

    def test_newcomer(self) -> None:
        """Who subscribes while a message is on its way is due nothing."""
        sent = "news", self.ledger.sent("news")
        self.ledger.delivered("ada", sent, 1)
        self.subscribe("bob", True)
        self.ledger.acknowledged(sent)
        self.assert_found()

    def test_queued_before_unsubscribing(self) -> None:
        """What was published before UNSUBSCRIBE is still due."""
        self.publish()
        self.subscribe("ada", False)
        self.assert_found("lost")

    def test_new_session(self) -> None:
        """Who begins a new session is due nothing of the old one, and must not get it either."""
        old = self.publish()
        self.ledger.renews("ada")
        self.ledger.renewed("ada")
        self.subscribe("ada", True)
        self.ledger.delivered("ada", self.publish(), 1)
        self.assert_found()
        self.ledger.delivered("ada", old, 1)
        self.assert_found("uninvited")

    def test_session_lost(self) -> None:
        """A session that is gone is a finding, and so is each message it was due."""
        self.publish()
        self.ledger.session_lost("ada")
        self.publish()
        self.assert_found("session", "lost")


class RetainedTests(LedgerTestCase):
    """The value of "door"."""

    def set(self, value: bytes, acknowledged: bool = True) -> None:
        key = "door", self.ledger.sent("door", retained=value)
        if acknowledged:
            self.ledger.acknowledged(key)

    def look(self, **values: bytes) -> None:
        self.ledger.retained_values(values)

    def test_last_acknowledged(self) -> None:
        """It must be there, and no earlier one."""
        self.set(b"open")
        self.set(b"shut")
        self.look(door=b"shut")
        self.assert_found()
        self.look(door=b"open")
        self.look()
        self.assert_found("retained", "retained")

    def test_later_without_acknowledgement(self) -> None:
        """It may be there already."""
        self.set(b"open")
        self.set(b"shut", acknowledged=False)
        self.look(door=b"open")
        self.look(door=b"shut")
        self.assert_found()

    def test_cleared(self) -> None:
        """Once a clear is acknowledged, the value must not come back."""
        self.set(b"open")
        self.set(b"")
        self.look()
        self.assert_found()
        self.look(door=b"open")
        self.assert_found("retained")

    def test_never_set(self) -> None:
        """Nothing is what such a topic has."""
        self.set(b"open", acknowledged=False)
        self.look()
        self.assert_found()
