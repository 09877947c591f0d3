"""`pushd.service.access`: the access control list in a running broker, and what follows when it changes."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.chain import AuthorizerChain
from pushd.auth.grants import AccessList, GrantAuthorizer
from pushd.broker.broker import Broker
from pushd.broker.interfaces import Access
from pushd.broker.message import Message
from pushd.gateway.identity.guards import Caller
from pushd.mqtt.codes import QoS, ReasonCode, Version
from pushd.mqtt.packets import Puback, Publish
from pushd.people.interfaces import Grant, PeopleUnavailable
from pushd.people.memory import MemoryPeople
from pushd.service.access import RETRY_S, AccessEntries
from pushd.service.assembly import Door, Logins
from pushd.service.gate import Gate
from pushd.service.people import PeopleOffice
from pushd.storage.memory import MemoryStore
from tests.driver import Peer, Rig
from tests.service.notes import Notes
from tests.service.test_assembly import DoorTestCase

YES, NO = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED


class CountingPeople(MemoryPeople):
    """Counts how often the list is read, and can be told to be slow or away."""

    reads = 0
    away = False
    slow: Deferred[list[Grant]] | None = None

    def grants(self) -> Deferred[list[Grant]]:
        self.reads += 1
        if self.away:
            return execute(self.fail)
        return self.slow or super().grants()

    def fail(self) -> list[Grant]:
        raise PeopleUnavailable("nobody answers")


class FakeDoor:
    """Asks the list while there is a reason to."""

    def __init__(self, chain: AuthorizerChain, grants: GrantAuthorizer) -> None:
        self._chain = chain
        self._grants = grants

    def use_grants(self) -> None:
        self._chain.authorizers = (self._grants,) if self._grants.in_use else ()


class AccessTestCase(SynchronousTestCase):
    """A broker with the list; another process changes it."""

    def setUp(self) -> None:
        self.chain = AuthorizerChain([])
        self.rig = Rig(authorizer=self.chain)
        self.people = CountingPeople()
        self.office = PeopleOffice(lambda: self.people, self.rig.clock)
        doors: list[Any] = []
        self.access = AccessEntries(
            self.office, self.rig.broker, lambda: doors, execute, self.rig.clock, lambda name: name == "root"
        )
        doors.append(FakeDoor(self.chain, self.access.make()))
        doors[0].use_grants()
        self.office.start()
        self.addCleanup(self.office.stop)

    def grant(self, *lines: str) -> None:
        """Lines like ``ada news read-only``; known everywhere when this returns."""
        for line in lines:
            self.successResultOf(MemoryPeople(self.people.known).keep_grant(Grant(*line.split(" "))))
        self.pass_by()

    def revoke(self, username: str) -> None:
        self.successResultOf(MemoryPeople(self.people.known).remove_grants(username))
        self.pass_by()

    def pass_by(self) -> None:
        """As long as a change may take, twice."""
        for _ in range(8):
            self.rig.clock.advance(0.25)

    def come(self, username: str, clean: bool = True) -> Peer:
        return self.rig.connect(f"{username}'s", clean, username=username, version=Version.V5)

    def payloads(self, peer: Peer) -> list[bytes]:
        return [packet.payload for packet in peer.received() if isinstance(packet, Publish)]


class LiveTests(AccessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.access.start()
        self.root, self.ada = self.come("root"), self.come("ada")

    def says(self, payload: bytes) -> list[bytes]:
        """What ada hears when that is published."""
        self.root.publish("news", payload)
        self.rig.turn()
        return self.payloads(self.ada)

    def test_nothing_in_the_list(self) -> None:
        """Nobody asks it, and everything is as it would be without."""
        self.assertEqual(self.chain.authorizers, ())
        self.ada.subscribe("news")
        self.assertEqual(self.says(b"1"), [b"1"])

    def test_revoked_while_connected(self) -> None:
        """What is published after that does not come; given again, it does."""
        self.ada.subscribe("#")
        self.assertEqual(self.says(b"1"), [b"1"])
        self.grant("* news deny-all")
        self.assertEqual(self.says(b"2"), [])
        self.grant("ada n* read-only")
        self.assertEqual(self.says(b"3"), [b"3"])
        self.revoke("ada")
        self.assertEqual(self.says(b"4"), [])
        self.revoke("*")
        self.assertEqual(self.says(b"5"), [b"5"])
        self.assertEqual(self.chain.authorizers, ())

    def test_subscribing(self) -> None:
        """Who may read nothing of it is told so."""
        self.grant("* * deny-all", "ada news read-only")
        self.assertEqual(self.ada.subscribe("news", "secret"), [ReasonCode(0), ReasonCode.NOT_AUTHORIZED])

    def test_queued_for_who_is_inside(self) -> None:
        """What waits for a client's acknowledgements goes out only if it may be read still."""
        self.ada.subscribe("#", qos=1)
        for number in range(30):
            self.root.publish("news", b"%d" % number, qos=1)
            self.rig.turn()
        session = self.rig.broker.sessions["ada's"]
        self.assertTrue(session.queue)
        self.grant("ada news deny-all")
        self.assertFalse(session.queue)

    def test_read_once_for_many_changes(self) -> None:
        """However many entries change while it is read, it is read once more."""
        reads, self.people.slow = self.people.reads, Deferred()
        self.grant("a x read-only", "b x read-only", "c x read-only", "* x deny-all")
        self.assertEqual(self.people.reads - reads, 1)
        slow, self.people.slow = self.people.slow, None
        slow.callback([])
        self.assertEqual(self.people.reads - reads, 2)

    def test_keeper_away(self) -> None:
        """The list that was read last counts, until it can be read again."""
        self.ada.subscribe("news")
        self.grant("* news deny-all")
        self.people.away = True
        self.revoke("*")
        self.assertEqual(self.says(b"1"), [])
        self.people.away = False
        self.rig.clock.advance(RETRY_S)
        self.assertEqual(self.says(b"2"), [b"2"])

    def test_changed_while_it_was_read(self) -> None:
        """It is read again: what comes may be too old."""
        self.people.slow = Deferred()
        self.grant("ada a read-only")
        self.grant("ada news deny-all")
        old, self.people.slow = self.people.slow, None
        old.callback([])
        self.ada.subscribe("#")
        self.assertEqual(self.says(b"1"), [])

    def test_list_that_cannot_be_made(self) -> None:
        """The log says why, and the old one counts."""
        notes = Notes(self)
        self.people.slow = Deferred()
        self.grant("* news deny-all")
        slow, self.people.slow = self.people.slow, None
        broken: Any = [None]
        slow.callback(broken)
        self.assertIn("The access control list", notes)
        self.flushLoggedErrors(AttributeError)
        self.rig.clock.advance(RETRY_S)
        self.ada.subscribe("#")
        self.assertEqual(self.says(b"1"), [])


class StartTests(AccessTestCase):
    """Before anything was read."""

    def codes(self, peer: Peer) -> list[ReasonCode]:
        return [packet.code for packet in peer.received() if isinstance(packet, Puback)]

    def test_who_comes_first_waits(self) -> None:
        """Nothing is forbidden or allowed before it is known what is."""
        ada = self.come("ada")
        ada.publish("news", b"1", qos=1)
        self.assertEqual(self.codes(ada), [])
        self.successResultOf(self.people.keep_grant(Grant("ada", "news", "read-only")))
        self.access.start()
        self.rig.turn()
        self.assertEqual(self.codes(ada), [ReasonCode.NOT_AUTHORIZED])

    def test_list_cannot_be_had(self) -> None:
        """The answer is no, and in bounded time; when the list is there, it decides."""
        self.people.away = True
        ada = self.come("ada")
        ada.publish("news", b"1", qos=1)
        self.access.start()
        self.rig.turn()
        self.assertEqual(self.codes(ada), [ReasonCode.NOT_AUTHORIZED])
        self.people.away = False
        self.rig.clock.advance(RETRY_S)
        ada.publish("news", b"2", qos=1)
        self.assertNotIn(ReasonCode.NOT_AUTHORIZED, self.codes(ada))

    def test_kept_for_who_is_away(self) -> None:
        """What comes before the list waits for it with those who are not there."""
        asked, self.chain.authorizers = self.chain.authorizers, ()
        ada = self.rig.connect("ada's", clean=False, username="ada")
        ada.subscribe("#", qos=1)
        ada.drop()
        self.chain.authorizers = asked
        self.rig.broker.access_rules_changed()
        for topic in ("news", "secret"):
            self.rig.broker.publish_message(Message(topic, b"of " + topic.encode(), QoS(1)))
        self.successResultOf(self.people.keep_grant(Grant("*", "secret", "deny-all")))
        self.access.start()
        self.assertEqual(self.payloads(self.rig.connect("ada's", clean=False, username="ada")), [b"of news"])

    def test_admins(self) -> None:
        """Those whom the settings name are not in the list."""
        self.access.start()
        self.grant("* * deny-all")
        self.assertEqual(self.come("root").subscribe("#"), [ReasonCode.SUCCESS])

    def test_doors_that_come_later(self) -> None:
        """A reload that has accounts asked for the first time reads the list at once."""
        late = AccessEntries(self.office, self.rig.broker, list, execute, self.rig.clock, lambda name: False)
        late.start()
        self.assertEqual(self.people.reads, 0)
        self.assertFalse(late.make().in_use)


class DoorTests(DoorTestCase):
    """Which listeners ask the list, and before whom."""

    def setUp(self) -> None:
        super().setUp()
        self.write("acl", "topic readwrite news\n")
        self.grants = GrantAuthorizer()
        self.made = 0

    def make(self) -> GrantAuthorizer:
        self.made += 1
        return self.grants

    def door(self, *lines: str) -> Door:
        settings = self.read("listener 1883", *lines)
        broker, clock = Broker(Clock(), MemoryStore()), Clock()
        gate = Gate(lambda: broker.limits, broker.counters, clock.seconds)
        logins = Logins(broker, 2, lambda queue, failures: Mock(), self.make)
        door = Door(settings.listeners[0], broker, gate, execute, clock, logins)
        self.use(door, settings)
        return door

    def may_read(self, door: Door, topic: str) -> object:
        return door.policy.authorizer.authorize(Caller("ada"), Access.READ, topic)

    def test_without_accounts(self) -> None:
        """Nobody asks it, and no list is made."""
        door = self.door("allow_anonymous true")
        self.assertIs(self.may_read(door, "news"), ReasonCode.SUCCESS)
        self.assertEqual(self.made, 0)

    def test_before_the_acl_file(self) -> None:
        """It can open what the file leaves shut, and shut what the file leaves open."""
        door = self.door("accounts true", "acl_file {folder}/acl")
        self.grants.use(AccessList([Grant("*", "news", "deny-all"), Grant("ada", "alerts", "read-only")]))
        door.use_grants()
        answers = [self.may_read(door, topic) for topic in ("news", "alerts", "others")]
        self.assertEqual(answers, [NO, YES, NO])

    def test_nothing_in_it(self) -> None:
        """Then only the ACL file is asked, as without accounts."""
        door = self.door("accounts true", "acl_file {folder}/acl")
        self.assertIs(self.may_read(door, "news"), ReasonCode.SERVER_UNAVAILABLE)
        self.grants.use(AccessList())
        door.use_grants()
        self.assertEqual(len(door.policy.authorizer.authorizers), 1)  # type: ignore[attr-defined]

    def test_reload(self) -> None:
        """On and off again."""
        self.grants.use(AccessList([Grant("*", "news", "deny-all")]))
        door = self.door()
        for line, verdict in (("accounts true", NO), ("accounts false", YES)):
            self.use(door, self.read("listener 1883", line))
            self.assertIs(self.may_read(door, "news"), verdict)
