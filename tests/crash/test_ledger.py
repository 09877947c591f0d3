"""The bookkeeping of `make crash`: it finds what it is there to find, and nothing else."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.ledger import SLACK_S, Ledger
from tests.crash.timeline import Timeline


class LedgerTestCase(SynchronousTestCase):
    """Ada is subscribed to "news"."""

    def setUp(self) -> None:
        self.now = 100.0
        self.ledger = Ledger(Timeline(), lambda: self.now)
        self.subscribe("ada", True)

    def subscribe(self, client_id: str, subscribed: bool) -> None:
        self.ledger.asked(client_id, "news")
        self.ledger.answered(client_id, "news", subscribed)

    def publish(self, expires_s: int | None = None) -> tuple[str, int]:
        """A message that was sent and acknowledged."""
        key = "news", self.ledger.sent("news", expires_s=expires_s)
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

    def test_order_for_a_newcomer(self) -> None:
        """Who subscribes between a message and its repetition may get a later one before it."""
        first, second = (("news", self.ledger.sent("news")) for _ in range(2))
        self.subscribe("bob", True)
        self.ledger.delivered("bob", second, 1)
        self.ledger.delivered("bob", first, 1)
        self.assert_found()

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


class ExpiryTests(LedgerTestCase):
    """Messages that are good for ten seconds."""

    def test_dropped(self) -> None:
        """Once it may be over, a message is due no more; before, it is."""
        self.publish(10)
        self.now += 9.0
        self.assertTrue(self.ledger.is_missing)
        self.now += 1.0
        self.assertFalse(self.ledger.is_missing)
        self.assert_found()

    def test_order_of_a_second_life(self) -> None:
        """One that was over, and is sent again by its publisher, comes after what was sent in between."""
        first, second = self.ledger.sent("news", expires_s=10), self.ledger.sent("news")
        self.ledger.delivered("ada", ("news", second), 1)
        self.now += 10.0
        self.ledger.delivered("ada", ("news", first), 1)
        self.assert_found()

    def test_dropped_too_early(self) -> None:
        """A message that was dropped before that is lost."""
        self.publish(10)
        self.now += 9.0
        self.assert_found("lost")

    def test_came_too_late(self) -> None:
        """It must not be sent when it is certainly over, but may be sent again."""
        first, second = self.publish(10), self.publish(10)
        self.now += 10.0 + SLACK_S + 1.0
        self.ledger.delivered("ada", first, 1, again=True)
        self.assertFalse(self.ledger.counts)
        self.ledger.delivered("ada", second, 1)
        self.assert_found("expired")

    def test_came_back(self) -> None:
        """One that was over at a balance must not come at all any more."""
        key = self.publish(10)
        self.now += 10.0
        self.ledger.settle()
        self.ledger.delivered("ada", key, 1)
        self.assert_found("expired")

    def test_what_is_left(self) -> None:
        """The rest of its time that it comes with must be right."""
        keys = [self.publish(10) for _ in range(3)]
        self.now += 5.0
        for key, left_s in zip(keys, (5, 11, 1), strict=True):
            self.ledger.delivered("ada", key, 1, left_s=left_s)
        self.assert_found("expired", "expired")


class WillTests(LedgerTestCase):
    """A message that is sent with a CONNECT, and due when its connection is lost."""

    def test_due(self) -> None:
        """The broker must publish it, also when balances were made in the meantime."""
        will = "news", self.ledger.sent("news")
        self.ledger.settle()
        self.ledger.acknowledged(will)
        self.assert_found("lost")

    def test_withdrawn(self) -> None:
        """Must not arrive once it is withdrawn, nor have arrived before."""
        first, second = (("news", self.ledger.sent("news")) for _ in range(2))
        self.ledger.delivered("ada", first, 1)
        self.ledger.withdrawn(first)
        self.ledger.withdrawn(second)
        self.ledger.delivered("ada", second, 1)
        self.assert_found("uninvited", "uninvited")


class GroupTests(LedgerTestCase):
    """A group is one client, whoever of it gets a message."""

    def test_any_member(self) -> None:
        """One that came to nobody is lost; one that came later than the next is in order."""
        self.subscribe("$share/team", True)
        first, second, _ = (self.publish() for _ in range(3))
        for key in (second, first):
            self.ledger.delivered("$share/team", key, 1)
        for number in (1, 2, 3):
            self.ledger.delivered("ada", ("news", number), 1)
        self.assert_found("lost")


class RetainedTests(LedgerTestCase):
    """The value of "door"."""

    def set(self, value: bytes, acknowledged: bool = True, expires_s: int | None = None) -> None:
        key = "door", self.ledger.sent("door", value, expires_s)
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

    def test_expiry(self) -> None:
        """A value may be gone when it may be over, and must be when it is; a clear is for ever."""
        self.set(b"open", expires_s=10)
        self.look(door=b"open")
        self.now += 10.0
        self.look()
        self.look(door=b"open")
        self.now += SLACK_S + 1.0
        self.look()
        self.assert_found()
        self.look(door=b"open")
        self.set(b"", expires_s=1)
        self.now += 1.0 + SLACK_S + 1.0
        self.look()
        self.assert_found("retained")


class ArchiveTests(LedgerTestCase):
    """What is kept of a topic for those who come later."""

    def setUp(self) -> None:
        super().setUp()
        self.ledger = Ledger(Timeline(), lambda: self.now)
        self.ledger.archives("news")
        for _ in range(3):
            self.publish()

    def test_all_of_it(self) -> None:
        """Each once and in order, after every balance; also what was never acknowledged."""
        self.ledger.archive_has("news", [1, 2, 3])
        self.ledger.settle()
        self.ledger.sent("news")
        self.publish()
        self.ledger.archive_has("news", [1, 2, 3, 5])
        self.ledger.archive_has("news", [1, 2, 3, 4, 5])
        self.assert_found()

    def test_lost(self) -> None:
        """One that was acknowledged is not there."""
        self.ledger.archive_has("news", [1, 3])
        self.assert_found("lost")

    def test_twice(self) -> None:
        """Nobody could tell it from another."""
        self.ledger.archive_has("news", [1, 2, 2, 3])
        self.assert_found("duplicate")

    def test_out_of_order(self) -> None:
        """Whoever reads on from the last would miss one."""
        self.ledger.archive_has("news", [1, 3, 2])
        self.assert_found("order")

    def test_made_up(self) -> None:
        """Nobody has said that."""
        self.ledger.archive_has("news", [1, 2, 3, 4])
        self.assert_found("damaged")
