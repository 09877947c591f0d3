"""`pushd.service.callers`: who calls gateways by tokens and through proxies, and whose streams end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.access_tokens import Standing
from pushd.broker.interfaces import Credentials
from pushd.broker.policy import Policy
from pushd.broker.tap import Tap, listen
from pushd.config.settings import Settings
from pushd.gateway.http.problems import Refusal
from pushd.gateway.identity.guards import Caller
from pushd.gateway.identity.proxies import NOBODY, Trust
from pushd.gateway.ntfy.account import UNLIMITED
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Account, PeopleUnavailable, Token
from pushd.people.memory import MemoryPeople
from pushd.people.tokens import hash_of
from pushd.service.callers import LOOK_S, CallerOffice, allowance_of, trust_of
from pushd.service.people import PeopleOffice
from tests.auth.logins import Guarded
from tests.driver import Rig
from tests.service.test_assembly import DoorTestCase

NOW = 1_700_000_000
TOKEN = Token(hash_of("tk_eve"), "eve")


class Away(MemoryPeople):
    """Answers, unless it is away."""

    away = False

    def token(self, hash: str) -> Deferred[Token | None]:
        return fail(PeopleUnavailable("no answer")) if self.away else super().token(hash)


class FakeDoor:
    """Asks accounts about everybody but "filed"."""

    asks_accounts = True

    def __init__(self, *policies: Policy) -> None:
        self.policies = policies

    def standing(self, certificate: object, username: str) -> Standing:
        return Standing.ADMITTED if username == "filed" else Standing.BY_ACCOUNT

    def standing_of(self, tap: Tap, username: str) -> Standing:
        return self.standing(None, username)


def fake_door(policy: Policy) -> Any:
    """It passes for a `Door`."""
    return FakeDoor(policy)


class OfficeTestCase(SynchronousTestCase):
    """A broker; another process changes people."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.people = Away()
        self.other = MemoryPeople(self.people.known)
        self.settings = Settings(listeners=())
        self.door = fake_door(self.rig.policy)
        self.asked_for = 0
        self.office = PeopleOffice(self.make_people, self.rig.clock)
        self.office.start()
        self.addCleanup(self.office.stop)
        clock = self.rig.clock
        self.callers = CallerOffice(
            self.office,
            self.rig.broker,
            Guarded(),
            lambda: self.settings,
            lambda: [self.door],
            clock,
            lambda: NOW + clock.seconds(),
            clock.seconds,
        )
        self.addCleanup(self.callers.stop)
        self.reception = self.callers.reception(self.door)

    def make_people(self) -> MemoryPeople:
        self.asked_for += 1
        return self.people

    def keep(self, token: Token = TOKEN, enabled: bool = True) -> None:
        self.successResultOf(self.other.keep_account(Account(token.username, "hash", enabled)))
        self.successResultOf(self.other.keep_token(token))

    def show(self, secret: str = "tk_eve") -> Token | ReasonCode:
        assert self.reception.tokens is not None
        verdict = self.reception.tokens.verify(Credentials("", None, None, "192.0.2.7:1"), secret)
        result: Token | ReasonCode = self.successResultOf(Deferred.fromCoroutine(verdict))  # type: ignore[arg-type]  # it is one
        return result

    def stream(self, caller: Caller) -> list[str]:
        """What happens to a stream of somebody: "ended" if it does."""
        happened: list[str] = []
        listening = listen(
            self.rig.broker, self.rig.policy, caller, "#", lambda *_: None, lambda: happened.append("ended")
        )
        self.assertIsInstance(self.successResultOf(listening), Tap)
        return happened

    def pass_by(self, seconds: float = 1.0) -> None:
        for _ in range(round(seconds * 10)):
            self.rig.clock.advance(0.1)


class TokenTests(OfficeTestCase):
    """Whom they let in"""

    def test_nobody_is_asked_before(self) -> None:
        """A gateway to which nobody shows a token needs no people."""
        self.pass_by()
        self.assertEqual(self.asked_for, 0)
        self.show()
        self.assertEqual(self.asked_for, 1)

    def test_a_change_is_heard_of(self) -> None:
        """By whomever; within a second."""
        self.keep()
        self.assertIsInstance(self.show(), Token)
        self.successResultOf(self.other.remove_token("eve", TOKEN.hash))
        self.assertIsInstance(self.show(), Token)
        self.pass_by()
        self.assertIs(self.show(), ReasonCode.NOT_AUTHORIZED)
        self.keep()
        self.assertIsInstance(self.show(), Token)
        self.successResultOf(self.other.enable("eve", False))
        self.pass_by()
        self.assertIs(self.show(), ReasonCode.NOT_AUTHORIZED)

    def test_a_user_of_the_password_file(self) -> None:
        """Needs no account."""
        self.successResultOf(self.other.keep_token(replace(TOKEN, username="filed")))
        self.assertIsInstance(self.show(), Token)

    def test_vouching(self) -> None:
        """Accounts are asked where the listener asks them, and nowhere else."""
        assert self.reception.tokens is not None
        self.keep(enabled=False)
        for asks, expected in ((True, ReasonCode.NOT_AUTHORIZED), (False, ReasonCode.SUCCESS)):
            self.door.asks_accounts = asks
            verdict: Any = self.reception.tokens.vouch(Credentials("", None, None), "eve")
            self.assertIs(self.successResultOf(Deferred.fromCoroutine(verdict)), expected)


class StreamTests(OfficeTestCase):
    """What becomes of those who listen"""

    def setUp(self) -> None:
        super().setUp()
        self.keep()
        self.keep(replace(TOKEN, hash=hash_of("tk_bob"), username="bob"))
        self.others = [self.stream(self.by("tk_bob")), self.stream(Caller("eve")), self.stream(Caller(None))]
        self.eves = self.stream(self.by("tk_eve"))
        self.pass_by()

    def by(self, secret: str) -> Caller:
        token = self.show(secret)
        assert isinstance(token, Token)
        return Caller(token.username, token=token)

    def assert_only_eves_ends(self, change: Callable[[], Any]) -> None:
        change()
        self.assertEqual(self.eves, [])
        self.pass_by()
        self.assertEqual((self.eves, self.others), (["ended"], [[], [], []]))

    def test_revoked(self) -> None:
        """Only the stream that was opened with it ends."""
        self.assert_only_eves_ends(lambda: self.other.remove_token("eve", TOKEN.hash))

    def test_the_account_disabled(self) -> None:
        """Others see to those who came by its password."""
        self.assert_only_eves_ends(lambda: self.other.enable("eve", False))

    def test_the_account_removed(self) -> None:
        """And its tokens with it."""
        self.assert_only_eves_ends(lambda: self.other.remove_account("eve"))

    def test_nothing_that_matters(self) -> None:
        """Another label, another token, another password."""
        self.other.keep_token(replace(TOKEN, label="new"))
        self.other.keep_token(replace(TOKEN, hash="f" * 64))
        self.other.keep_account(Account("eve", "another hash"))
        self.pass_by()
        self.assertEqual(self.eves, [])

    def test_expired(self) -> None:
        """Soon after, though nobody changes anything."""
        soon = replace(TOKEN, hash=hash_of("tk_soon"), expires_at=int(NOW + self.rig.clock.seconds()) + 3)
        self.keep(soon)
        ends = self.stream(self.by("tk_soon"))
        self.pass_by(2)
        self.assertEqual(ends, [])
        self.pass_by(2 + LOOK_S)
        self.assertEqual((ends, self.eves), (["ended"], []))

    def test_nobody_can_say(self) -> None:
        """It goes on: an outage of Redis ends no streams."""
        self.people.away = True
        self.other.keep_token(replace(TOKEN, label="new"))
        self.pass_by()
        self.assertEqual(self.eves, [])

    def test_a_door_that_is_gone(self) -> None:
        """Whoever closed it sees to its streams."""
        self.door.policies = ()
        self.other.remove_token("eve", TOKEN.hash)
        self.pass_by()
        self.assertEqual(self.eves, [])


class SettingsTests(OfficeTestCase):
    """What a reload changes"""

    def test_rates(self) -> None:
        """Those that count now; off is off."""
        caller = Caller("ada")
        self.settings = replace(self.settings, max_request_rate_per_user=1)
        for _ in range(11):
            self.reception.visitors.check(caller)
        self.assertRaises(Refusal, self.reception.visitors.check, caller)
        self.settings = replace(self.settings, gateway_limits=False)
        self.reception.visitors.check(caller)

    def test_one_for_all_doors(self) -> None:
        """Or whoever is too fast would go from one to the next."""
        self.assertIs(self.callers.reception(self.door).visitors, self.reception.visitors)

    def test_trust(self) -> None:
        """By default nobody is believed."""
        self.assertEqual(trust_of(self.settings), NOBODY)
        told = replace(self.settings, trusted_proxy=("unix", "10.0.0.0/8"), proxy_user_header="Remote-User")
        self.assertEqual(trust_of(told), Trust((ip_network("10.0.0.0/8"),), True, "Remote-User"))

    def test_trust_is_read_once(self) -> None:
        """Of each settings."""
        first = self.callers._trust()
        self.assertIs(self.callers._trust(), first)
        self.settings = replace(self.settings, trusted_proxy=("unix",))
        self.assertTrue(self.callers._trust().unix)


class AllowanceTests(SynchronousTestCase):
    """What a caller may have"""

    settings = Settings(listeners=(), max_request_rate_per_user=2, max_request_rate_per_address=1)

    def test_requests_of_a_day(self) -> None:
        """By the rate that counts for it; a number that clients can read if none does."""
        token = replace(TOKEN, rate_per_s=0.5)
        for caller, per_s in ((Caller("a"), 2), (Caller(None), 1), (Caller("a", token=token), 0.5)):
            self.assertEqual(allowance_of(self.settings, caller).messages_per_day, per_s * 86_400)
        free = replace(self.settings, gateway_limits=False)
        self.assertEqual(allowance_of(free, Caller("a")).messages_per_day, UNLIMITED)

    def test_files(self) -> None:
        """Only where they are taken."""
        self.assertEqual(allowance_of(self.settings, Caller("a")).file_bytes, 0)
        takes = replace(self.settings, attachment_cache_dir="files", attachment_file_size_limit=7)
        self.assertEqual(allowance_of(takes, Caller("a")).file_bytes, 7)


class StandingTests(DoorTestCase):
    """What a listener says of a user who shows a token: `pushd.service.assembly.Door.standing`"""

    class Certificate:
        common_name, subject = "phone", "CN=phone"

    def test_by_password_file(self) -> None:
        """Its users, and nobody else."""
        door = self.door("listener 1", "protocol http", "password_file {folder}/passwd")
        self.assertIs(door.standing(None, "anna"), Standing.ADMITTED)
        self.assertIs(door.standing(None, "eve"), Standing.UNKNOWN)

    def test_without_any_file(self) -> None:
        """There is nobody to ask: the token is enough."""
        door = self.door("listener 1", "protocol http", "allow_anonymous true")
        self.assertIs(door.standing(None, "eve"), Standing.ADMITTED)

    def test_by_certificate(self) -> None:
        """It is of the same user, or of no use."""
        certificates = "cafile {folder}/ca\ncertfile {folder}/crt\nkeyfile {folder}/key\n"
        settings = self.read(
            "listener 1",
            "protocol http",
            certificates,
            "require_certificate true",
            "use_identity_as_username true",
        )
        door = self.door("listener 1", "protocol http", "allow_anonymous true")
        door.settings = settings.listeners[0]
        certificate: Any = self.Certificate()
        self.assertIs(door.standing(certificate, "phone"), Standing.ADMITTED)
        self.assertIs(door.standing(certificate, "ada"), Standing.UNKNOWN)
        self.assertIs(door.standing(None, "phone"), Standing.UNKNOWN)
