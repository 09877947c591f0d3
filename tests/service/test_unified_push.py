"""`pushd.service.unified_push`: what the broker does for whoever owns an endpoint."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access
from pushd.broker.limits import Limits
from pushd.broker.message import PushMark
from pushd.broker.publication import Publication
from pushd.gateway.unified_push.endpoints import Endpoint
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.packets import Publish
from pushd.people.interfaces import Account
from pushd.people.memory import MemoryPeople
from pushd.service.people import PeopleOffice
from pushd.service.unified_push import BrokerCourier, Owner, UnifiedPush
from tests.driver import Peer, Rig
from tests.fakes import Rules

NOT_AUTHORIZED = ReasonCode.NOT_AUTHORIZED


class CourierTests(SynchronousTestCase):
    """Behind a listener with the mount point ``home/``."""

    def setUp(self) -> None:
        self.rules = Rules()
        self.rig = Rig(Limits(cache_duration=100), authorizer=self.rules, mount_point="home/")
        self.rig.broker.policies = {self.rig.policy.name: self.rig.policy}
        self.courier = BrokerCourier(self.rig.broker, lambda username: username == "root")

    def endpoint(self, owner: str | None = "ada", topic: str = "t", **fields: Any) -> Endpoint:
        return Endpoint("id", owner, self.rig.policy.name, topic, **fields)

    def deliver(self, endpoint: Endpoint) -> ReasonCode:
        publication = Publication(endpoint.topic, b"x", mark=PushMark("an id", 7))
        code = self.courier.deliver(endpoint, publication)
        self.rig.turn()
        delivered: ReasonCode = self.successResultOf(code)
        return delivered

    def permits(self, endpoint: Endpoint) -> ReasonCode:
        code: ReasonCode = self.successResultOf(self.courier.permits(Owner(endpoint.owner), endpoint))
        return code

    def came(self, peer: Peer) -> list[str]:
        return [packet.topic for packet in peer.received() if isinstance(packet, Publish)]

    def test_below_its_mount_point(self) -> None:
        """A topic is that of the listener where the endpoint was registered."""
        phone = self.rig.connect("phone")
        phone.subscribe("t")
        self.assertEqual(self.deliver(self.endpoint()), ReasonCode.SUCCESS)
        self.assertEqual(self.came(phone), ["t"])
        self.assertIn(("", Access.WRITE, "home/t"), self.rules.asked)

    def test_rules(self) -> None:
        """What the rules refuse is refused at registration, and at each push."""
        self.rules.refused.add((Access.WRITE, "home/t"))
        self.assertEqual(self.permits(self.endpoint()), NOT_AUTHORIZED)
        self.assertEqual(self.permits(self.endpoint(topic="u")), ReasonCode.SUCCESS)
        self.assertEqual(self.deliver(self.endpoint()), NOT_AUTHORIZED)

    def test_rules_that_answer_later(self) -> None:
        """A verdict may take its time."""
        self.rules.later = Deferred()
        verdict, permitted = self.rules.later, self.courier.permits(Owner("ada"), self.endpoint())
        self.assertNoResult(permitted)
        verdict.callback(None)
        self.assertEqual(self.successResultOf(permitted), NOT_AUTHORIZED)

    def test_whose_client(self) -> None:
        """A session is its user's: only an administrator reaches those of others."""
        phone = self.rig.connect("phone", username="ada")
        for owner, code in (("ada", ReasonCode.SUCCESS), ("ben", NOT_AUTHORIZED), (None, NOT_AUTHORIZED)):
            self.assertEqual(self.permits(self.endpoint(owner, client="phone")), code)
            self.assertEqual(self.deliver(self.endpoint(owner, client="phone")), code)
        self.assertEqual(self.deliver(self.endpoint("root", client="phone")), ReasonCode.SUCCESS)
        self.assertEqual(self.came(phone), ["t", "t"])

    def test_nobody_there(self) -> None:
        """A session that is not there is nobody's yet."""
        endpoint = self.endpoint(client="phone")
        self.assertEqual(self.permits(endpoint), ReasonCode.SUCCESS)
        self.assertEqual(self.deliver(endpoint), ReasonCode.NO_MATCHING_SUBSCRIBERS)

    def test_listener_that_is_gone(self) -> None:
        """Its rules are not known: whoever pushes shall try again."""
        self.rig.broker.policies = {}
        self.assertEqual(self.permits(self.endpoint()), ReasonCode.SERVER_UNAVAILABLE)
        self.assertEqual(self.deliver(self.endpoint()), ReasonCode.SERVER_UNAVAILABLE)
        withdrawn = Deferred.fromCoroutine(self.courier.withdraw(self.endpoint(), "id", "key", True))
        self.assertFalse(self.successResultOf(withdrawn))
        self.assertEqual(self.courier.keep_s(self.endpoint()), 0)

    def test_how_long_it_is_kept(self) -> None:
        """As the settings say of the topic, mount point included."""
        self.rig.broker.archive.keep_topics([("home/short", 5)])
        self.assertEqual(self.courier.keep_s(self.endpoint()), 100)
        self.assertEqual(self.courier.keep_s(self.endpoint(topic="short")), 5)


class RemovedAccountTests(SynchronousTestCase):
    """An account that is removed takes its endpoints along"""

    def setUp(self) -> None:
        self.rig = Rig()
        self.people = MemoryPeople()
        self.office = PeopleOffice(lambda: self.people, self.rig.clock)
        self.office.prepare()
        self.unified_push = UnifiedPush(self.rig.broker, lambda username: False, str, lambda: 1_700_000_000.0)
        self.unified_push.follow(self.office)
        self.office.start()
        self.addCleanup(self.office.stop)
        for name in ("anna", "ben"):
            self.successResultOf(self.people.keep_account(Account(name, "$7$...")))
            self.register(name)
        self.rig.clock.pump([0.5] * 4)

    def register(self, owner: str) -> None:
        endpoint = Endpoint(f"of {owner}", owner, self.rig.policy.name, "t")
        self.successResultOf(Deferred.fromCoroutine(self.unified_push.endpoints.register(endpoint)))

    def owners(self) -> list[str]:
        return [name for name in ("anna", "ben") if self.unified_push.endpoints.of_owner(name)]

    def test_they_are_gone(self) -> None:
        """Whoever gets the name next is somebody else."""
        self.people.remove_account("anna")
        self.rig.clock.pump([0.5] * 4)
        self.assertEqual(self.owners(), ["ben"])

    def test_other_changes_leave_them(self) -> None:
        """A new password, or a while without leave to log in."""
        self.people.enable("anna", False)
        self.people.keep_account(Account("ben", "$7$another"))
        self.rig.clock.pump([0.5] * 4)
        self.assertEqual(self.owners(), ["anna", "ben"])
