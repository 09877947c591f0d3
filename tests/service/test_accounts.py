"""`pushd.service.accounts`: who has to go when accounts change, and what doors ask."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.accounts import AccountAuthenticator
from pushd.auth.check_queue import CheckQueue
from pushd.auth.password_hash import make_pbkdf2, parse_hash
from pushd.auth.scram import ScramMethod
from pushd.broker.broker import Broker
from pushd.broker.interfaces import Credentials
from pushd.broker.policy import Policy
from pushd.mqtt.codes import ReasonCode, Version
from pushd.mqtt.packets import Disconnect, Will
from pushd.people.interfaces import Account, PeopleUnavailable
from pushd.people.memory import Known, MemoryPeople
from pushd.service.accounts import AccountLogins
from pushd.service.assembly import Door, Logins
from pushd.service.gate import Gate
from pushd.service.people import PeopleOffice
from pushd.storage.memory import MemoryStore
from tests.auth.logins import Guarded
from tests.driver import Peer, Rig
from tests.service.test_assembly import DoorTestCase

HASH, OTHER_HASH = str(make_pbkdf2(b"secret", 1)), str(make_pbkdf2(b"other", 1))


class Frozen(MemoryPeople):
    """Gives `answer` instead of an account, if there is one."""

    answer: Deferred[Account | None] | None = None

    def account(self, username: str) -> Deferred[Account | None]:
        return self.answer or super().account(username)


class FakeDoor:
    """Knows "filed" from a password file; all others of a name have accounts."""

    def __init__(self, policy: Policy) -> None:
        self.policies = {policy}

    def asks_accounts_about(self, username: str | None) -> bool:
        return username not in (None, "filed")


class FarewellTestCase(SynchronousTestCase):
    """A broker at whose door accounts are asked; another process changes them."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.people = Frozen()
        self.other_process = MemoryPeople(self.people.known)
        office = PeopleOffice(lambda: self.people, self.rig.clock)
        doors: Any = [FakeDoor(self.rig.policy)]
        self.logins = AccountLogins(office, self.rig.broker, lambda: doors, execute, self.rig.clock)
        self.rig.policy.authenticator = self.logins.make(CheckQueue(), Guarded(0))
        office.start()
        self.addCleanup(office.stop)
        for name in ("anna", "ben"):
            self.keep(name, HASH)
        self.rig.clock.advance(0.3)

    def keep(self, username: str, password_hash: str, enabled: bool = True) -> None:
        self.successResultOf(self.other_process.keep_account(Account(username, password_hash, enabled)))

    def come(self, username: str, client_id: str = "", password: bytes = b"secret", **terms: Any) -> Peer:
        peer = self.rig.connect(
            client_id or username, username=username, password=password, version=Version.V5, **terms
        )
        assert peer.connack is not None and peer.connack.code is ReasonCode.SUCCESS
        return peer

    def pass_by(self, seconds: float = 0.3) -> None:
        """A look at what has changed, and what that takes."""
        self.rig.clock.advance(seconds)
        self.rig.clock.pump([0] * 20)

    def assertGone(self, peer: Peer) -> None:
        [goodbye] = peer.received()
        assert isinstance(goodbye, Disconnect)
        self.assertIs(goodbye.code, ReasonCode.NOT_AUTHORIZED)
        self.assertTrue(peer.closed)


class ChangeTests(FarewellTestCase):
    def test_disabled(self) -> None:
        """All connections of this user end, and nobody else's."""
        one, two, ben = self.come("anna", "1"), self.come("anna", "2"), self.come("ben")
        self.successResultOf(self.other_process.enable("anna", False))
        self.pass_by()
        self.assertGone(one)
        self.assertGone(two)
        self.assertFalse(ben.closed)

    def test_removed_or_another_password(self) -> None:
        """The same; and the new password lets in."""
        anna, ben = self.come("anna"), self.come("ben")
        self.successResultOf(self.other_process.remove_account("anna"))
        self.keep("ben", OTHER_HASH)
        self.pass_by()
        self.assertGone(anna)
        self.assertGone(ben)
        ben = self.come("ben", password=b"other")
        self.pass_by()
        self.assertFalse(ben.closed)

    def test_nothing_that_matters(self) -> None:
        """A hash that was replaced, an account that was written again, a user who is followed."""
        anna = self.come("anna")
        self.keep("anna", HASH)
        self.successResultOf(self.other_process.follow("ben", "anna"))
        self.successResultOf(self.other_process.replace_hash("ben", HASH, OTHER_HASH))
        self.pass_by()
        self.assertFalse(anna.closed)

    def test_a_will(self) -> None:
        """Is published: the client did not say goodbye."""
        ben = self.come("ben")
        ben.subscribe("will")
        self.come("anna", will=Will("will", b"gone"))
        self.successResultOf(self.other_process.enable("anna", False))
        self.pass_by()
        self.assertEqual(len(ben.received()), 1)

    def test_hostile_names(self) -> None:
        """They are names."""
        for name in ("a/b", "#", "+", "%u", "{0}", "'; --", "<script>", "größe"):
            self.keep(name, HASH)
            peer = self.come(name, "x")
            self.successResultOf(self.other_process.enable(name, False))
            self.pass_by()
            self.assertGone(peer)

    def test_others_of_the_same_name(self) -> None:
        """Who came by a password file is not meant."""
        self.keep("filed", HASH)
        self.come("filed", "account")
        filed = self.come("filed", "file")
        self.successResultOf(self.other_process.enable("filed", False))
        self.pass_by()
        self.assertFalse(filed.closed)

    def test_many(self) -> None:
        """They are seen out in pieces, each within its turn."""
        peers = [self.come("anna", str(number)) for number in range(450)]
        self.successResultOf(self.other_process.enable("anna", False))
        self.pass_by()
        self.assertEqual({peer.closed for peer in peers}, {True})


class OutageTests(FarewellTestCase):
    def test_all_may_have_changed(self) -> None:
        """Only those go whose account has: the others notice nothing."""
        anna, ben = self.come("anna"), self.come("ben")
        self.people.known.accounts["anna"] = Account("anna", HASH, False)
        self.logins.changed("")
        self.pass_by(0)
        self.assertGone(anna)
        self.assertFalse(ben.closed)

    def test_nobody_can_say(self) -> None:
        """Everybody stays until somebody can."""
        anna = self.come("anna")
        self.successResultOf(self.other_process.enable("anna", False))
        self.people.answer = fail(PeopleUnavailable("gone"))
        self.pass_by()
        self.assertFalse(anna.closed)
        self.people.answer = None
        self.pass_by(1)
        self.assertGone(anna)

    def test_changes_meanwhile(self) -> None:
        """While one account is asked for, others are not forgotten."""
        anna, ben = self.come("anna"), self.come("ben")
        waiting: Deferred[Account | None] = Deferred()
        self.people.answer = waiting
        self.successResultOf(self.other_process.enable("anna", False))
        self.pass_by()
        self.successResultOf(self.other_process.enable("ben", False))
        self.pass_by()
        self.people.answer = None
        waiting.callback(None)
        self.pass_by(0)
        self.assertGone(anna)
        self.assertGone(ben)


class DoorTests(DoorTestCase):
    """Whom a listener asks."""

    def setUp(self) -> None:
        super().setUp()
        self.write("passwd", f"filed:{HASH}\n")
        self.people = MemoryPeople(Known())
        for name in ("anna", "filed"):
            self.successResultOf(self.people.keep_account(Account(name, OTHER_HASH)))
        self.made = 0

    def door(self, *lines: str) -> Door:
        settings = self.read("listener 1883", *lines)
        clock = Clock()
        broker = Broker(clock, MemoryStore())
        gate = Gate(lambda: broker.limits, broker.counters, clock.seconds)
        logins = Logins(broker, 2, self.make)
        door = Door(settings.listeners[0], broker, gate, execute, clock, logins)
        self.use(door, settings)
        return door

    def make(self, queue: CheckQueue, failures: Any) -> AccountAuthenticator:
        self.made += 1
        return AccountAuthenticator(self.people, execute, queue, failures, Clock())

    def asks(self, door: Door, username: str | None, password: bytes | None) -> Any:
        answer = door.policy.authenticator.authenticate(Credentials("id", username, password))
        return self.successResultOf(answer) if isinstance(answer, Deferred) else answer

    YES, NO = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED

    def test_off(self) -> None:
        """Nobody asks for people where nobody needs them."""
        door = self.door("password_file {folder}/passwd")
        self.assertIs(self.asks(door, "anna", b"other"), self.NO)
        self.assertFalse(door.asks_accounts_about("anna"))
        self.assertEqual(self.made, 0)

    def test_alone(self) -> None:
        """Who has none is refused; anonymous clients are another matter."""
        for anonymous, verdict in (("false", self.NO), ("true", self.YES)):
            door = self.door("accounts true", f"allow_anonymous {anonymous}")
            self.assertIs(self.asks(door, "anna", b"other"), self.YES)
            self.assertIs(self.asks(door, "nobody", b"other"), self.NO)
            self.assertIs(self.asks(door, None, None), verdict)
            self.assertEqual(door.policy.auth_methods, {})

    def test_with_a_password_file(self) -> None:
        """It comes first, and what it says about its users is final."""
        door = self.door("accounts true", "password_file {folder}/passwd")
        self.assertIs(self.asks(door, "filed", b"secret"), self.YES)
        self.assertIs(self.asks(door, "filed", b"other"), self.NO)
        self.assertIs(self.asks(door, "anna", b"other"), self.YES)
        self.assertIs(self.asks(door, "nobody", b"other"), self.NO)
        self.assertEqual([True, False, False], [*map(door.asks_accounts_about, ("anna", "filed", None))])
        self.assertEqual([ScramMethod.name], list(door.policy.auth_methods))

    def test_reload(self) -> None:
        """On and off again."""
        door = self.door("password_file {folder}/passwd")
        for line, verdict in (("accounts true", self.YES), ("accounts false", self.NO)):
            self.use(door, self.read("listener 1883", "password_file {folder}/passwd", line))
            self.assertIs(self.asks(door, "anna", b"other"), verdict)

    def test_one_for_all_doors(self) -> None:
        """They share what is remembered, and are asked once a change."""
        settings = self.read("accounts true", "listener 1883", "listener 1884")
        broker = Broker(Clock(), MemoryStore())
        logins = Logins(broker, 2, self.make)
        gate = Gate(lambda: broker.limits, broker.counters, broker.wheel.seconds)
        for listener in settings.listeners:
            self.use(Door(listener, broker, gate, execute, Clock(), logins), settings)
        self.assertEqual(self.made, 1)

    def test_hash_is_argon2id(self) -> None:
        """What an account gets that is made by HTTP."""
        office = PeopleOffice(lambda: self.people, Clock())
        logins = AccountLogins(office, Broker(Clock(), MemoryStore()), list, execute, Clock())
        made = self.successResultOf(logins.make_hash(b"secret"))
        self.assertTrue(made.startswith("$argon2id$"))
        self.assertTrue(parse_hash(made).verify(b"secret"))
