"""`pushd.service.audience`: what the readers of streams may ask of the broker."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access, Principal, Verdict
from pushd.broker.message import PushMark
from pushd.broker.publication import Publication
from pushd.broker.records import Kept, KeptQuery
from pushd.gateway.identity.guards import Caller
from pushd.mqtt.codes import ReasonCode
from pushd.service.assembly import Publisher
from pushd.service.audience import Audience
from tests.driver import Rig
from tests.fakes import Rules

ADA = Caller("ada")
SUCCESS, NOT_AUTHORIZED = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED


class Companion:
    """Has nothing at hand until the test says so."""

    def __init__(self) -> None:
        self.loading: Deferred[None] = Deferred()

    def prepare(self, username: str | None, policy: object) -> Deferred[None]:
        return self.loading

    def opened(self, session: object) -> None: ...

    def ended(self, session: object) -> None: ...


class Judge(Rules):
    """Says this of whoever wants to read."""

    verdict: Any = ReasonCode.SERVER_UNAVAILABLE

    def authorize(self, principal: Principal, access: Access, topic: str) -> Verdict | Deferred[Verdict]:
        if access is Access.READ:
            verdict: Verdict | Deferred[Verdict] = self.verdict
            return verdict
        return super().authorize(principal, access, topic)


class AudienceTests(SynchronousTestCase):
    """At a listener with a mount point"""

    def setUp(self) -> None:
        self.rules: Rules = Rules()
        self.open()

    def open(self) -> None:
        self.rig = Rig(authorizer=self.rules, mount_point="tenant/")
        self.publisher = Publisher(self.rig.broker, self.rig.policy)
        self.audience = Audience(self.rig.broker, self.publisher)

    def may_read(self, topic: str) -> ReasonCode:
        code = self.successResultOf(self.audience.may_read(ADA, topic))
        self.assertIs(self.audience.still_reads(ADA, topic), code is SUCCESS or "#" in topic)
        return code

    def test_names(self) -> None:
        """To subscribe is not enough: nothing would ever come."""
        self.assertIs(self.may_read("news"), SUCCESS)
        self.rules.refused.add((Access.READ, "tenant/news", ""))
        self.rules.refused.add((Access.SUBSCRIBE, "tenant/more", ""))
        self.assertIs(self.may_read("news"), NOT_AUTHORIZED)
        self.assertIs(self.successResultOf(self.audience.may_read(ADA, "more")), NOT_AUTHORIZED)

    def test_filters(self) -> None:
        """Of these, what matters is whether one may subscribe."""
        self.assertIs(self.may_read("home/#"), SUCCESS)
        self.rules.refused.add((Access.SUBSCRIBE, "tenant/home/#", ""))
        self.assertIs(self.may_read("home/#"), NOT_AUTHORIZED)
        self.assertIs(
            self.successResultOf(self.audience.may_read(ADA, "a#")), ReasonCode.TOPIC_FILTER_INVALID
        )

    def test_nobody_says_yes(self) -> None:
        """Is a no."""
        self.rules = judge = Judge()
        judge.verdict = None
        self.open()
        self.assertIs(self.may_read("news"), NOT_AUTHORIZED)

    def test_nobody_can_say(self) -> None:
        """Who comes now is told to come again; who is there may stay."""
        self.rules = judge = Judge()
        self.open()
        verdicts: list[Any] = [ReasonCode.SERVER_UNAVAILABLE, Deferred()]
        for verdict in verdicts:
            judge.verdict = verdict
            code = self.successResultOf(self.audience.may_read(ADA, "news"))
            self.assertIs(code, ReasonCode.SERVER_UNAVAILABLE)
            self.assertTrue(self.audience.still_reads(ADA, "news"))

    def test_friends_are_looked_up_first(self) -> None:
        """Reading is decided at once, so what it depends on has to be there."""
        companion: Any = Companion()
        self.rig.broker.companion = companion
        answer = self.audience.may_read(ADA, "news")
        self.assertNoResult(answer)
        companion.loading.callback(None)
        self.assertIs(self.successResultOf(answer), SUCCESS)

    def test_topics(self) -> None:
        """Readers do not see the mount point: not of what is kept, nor of what waits, nor of what is told."""
        kept, mark = PushMark("bQ1gAWzE2cbG", 0, 60), PushMark("cQ1gAWzE2cbG", 60, 60)
        self.publisher.publish(ADA, Publication("news", b"0", mark=kept))
        self.publisher.schedule(ADA, Publication("news", b"1", mark=mark), mark.id, 60)
        told: list[Kept] = []
        stop = self.audience.watch("news", told.append)
        (found,) = self.successResultOf(self.audience.find(KeptQuery(("news", "other"))))
        (waiting,) = self.audience.scheduled(("news",))
        self.publisher.tell(ADA, Publication("news", b"", mark=mark), "message_clear")
        stop()
        for message in (found.message, waiting, told[0].message):
            self.assertEqual(self.audience.topic_of(message), "news")
        self.assertEqual(self.successResultOf(self.audience.number_of(kept.id)), 1)
        self.assertEqual(self.audience.scheduled(("tenant/news",)), [])
