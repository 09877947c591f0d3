"""`pushd.auth.access_tokens`: who are you, by a token."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.access_tokens import NOTED_EVERY_S, AccessTokens, Standing, host_of
from pushd.auth.answers import FRESH_S
from pushd.broker.interfaces import Credentials
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Account, PeopleUnavailable, Token
from pushd.people.memory import MemoryPeople
from pushd.people.tokens import hash_of
from tests.auth.logins import Guarded

NOW = 1_700_000_000
SECRET = "tk_29ab29ab29ab29ab29ab29ab29ab2"
TOKEN = Token(hash_of(SECRET), "ada")
HERE, THERE = "192.0.2.7:4711", "192.0.2.8:4711"


class Counted(MemoryPeople):
    """Counts what it is asked, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.away = False

    def token(self, hash: str) -> Deferred[Token | None]:
        self.asked.append("token")
        return fail(PeopleUnavailable("no answer")) if self.away else super().token(hash)

    def account(self, username: str) -> Deferred[Account | None]:
        self.asked.append("account")
        return fail(PeopleUnavailable("no answer")) if self.away else super().account(username)

    def token_used(self, hash: str, at: int, address: str) -> Deferred[None]:
        self.asked.append("used")
        return fail(PeopleUnavailable("no answer")) if self.away else super().token_used(hash, at, address)


class TokensTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.people = Counted()
        self.failures = Guarded()
        self.standing = Standing.BY_ACCOUNT
        clock = self.failures.clock
        self.tokens = AccessTokens(
            lambda: self.people, self.failures, lambda: NOW + clock.seconds(), clock.seconds
        )
        self.keep(TOKEN)
        self.account()

    def keep(self, token: Token) -> None:
        self.successResultOf(self.people.keep_token(token))

    def account(self, enabled: bool = True) -> None:
        self.successResultOf(self.people.keep_account(Account("ada", "hash", enabled)))

    def show(self, secret: str = SECRET, address: str = HERE) -> Token | ReasonCode:
        self.credentials = Credentials("", None, None, address)
        verdict = self.tokens.verify(self.credentials, secret, lambda username: self.standing)
        return self.successResultOf(Deferred.fromCoroutine(verdict))

    def assert_let_in(self) -> None:
        token = self.show()
        assert isinstance(token, Token)
        self.assertEqual((token.username, token.hash), ("ada", TOKEN.hash))

    def pass_by(self, seconds: float) -> None:
        self.failures.clock.advance(seconds)


class VerdictTests(TokensTestCase):
    """Who comes in"""

    def test_by_a_good_one(self) -> None:
        """Of a user with an account."""
        self.assert_let_in()
        self.assertEqual(self.failures.counted, {})

    def test_what_is_wrong_is_told_alike(self) -> None:
        """And counted as a wrong password is: unknown, expired, or of a user who may not log in."""
        self.assertIs(self.show("tk_unknown"), ReasonCode.NOT_AUTHORIZED)
        self.keep(replace(TOKEN, expires_at=NOW))
        self.assertIs(self.show(), ReasonCode.NOT_AUTHORIZED)
        self.keep(replace(TOKEN, hash=hash_of("tk_bobs"), username="bob"))
        self.assertIs(self.show("tk_bobs"), ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(self.failures.counted, {"failed": 3})

    def test_of_a_disabled_account(self) -> None:
        """Not while it is; what was shown meanwhile is not held against it."""
        self.account(enabled=False)
        self.assertIs(self.show(), ReasonCode.NOT_AUTHORIZED)
        self.account(enabled=True)
        self.tokens.account_changed("ada")
        self.assert_let_in()

    def test_what_the_listener_says(self) -> None:
        """A user of its password file needs no account; whom it does not know has none."""
        self.successResultOf(self.people.remove_account("ada"))
        self.keep(TOKEN)
        self.standing = Standing.ADMITTED
        self.assert_let_in()
        self.standing = Standing.UNKNOWN
        self.assertIs(self.show(), ReasonCode.NOT_AUTHORIZED)
        self.assertNotIn("account", self.people.asked)

    def test_its_last_second(self) -> None:
        """A token ends when it says, also one that was looked up before."""
        self.keep(replace(TOKEN, expires_at=NOW + 2))
        self.assert_let_in()
        self.pass_by(2)
        self.assertIs(self.show(), ReasonCode.NOT_AUTHORIZED)

    def test_nobody_answers(self) -> None:
        """That is no failure; and nobody is let in for long by what was known."""
        self.assert_let_in()
        self.people.away = True
        self.assert_let_in()
        self.pass_by(FRESH_S)
        self.assertIs(self.show(), ReasonCode.SERVER_UNAVAILABLE)
        self.assertEqual(self.failures.counted, {"unavailable": 1})


class GuessingTests(TokensTestCase):
    """Too many wrong ones"""

    def guess(self, address: str = HERE) -> None:
        for number in range(10):
            self.show(f"tk_guess{number}", address)

    def test_held_off(self) -> None:
        """Then nothing is looked up, and the caller hears for how long."""
        self.guess()
        asked = len(self.people.asked)
        self.assertIs(self.show("tk_guess"), ReasonCode.NOT_AUTHORIZED)
        self.assertGreater(self.credentials.retry_after_s, 0)
        self.assertEqual(len(self.people.asked), asked)

    def test_a_thousand_guesses(self) -> None:
        """Hardly any is looked up, and the user of a token that is good notices nothing elsewhere."""
        for number in range(1000):
            self.assertIs(self.show(f"tk_{number}", THERE), ReasonCode.NOT_AUTHORIZED)
            self.pass_by(0.05)
        self.assertLess(len(self.people.asked), 20)
        self.assert_let_in()

    def test_a_neighbour_is_not(self) -> None:
        """Who has come in from there goes on coming in, however long ago its token was looked up."""
        self.assert_let_in()
        self.pass_by(2 * FRESH_S)
        self.guess()
        self.assert_let_in()

    def test_the_same_again_is_no_further_guess(self) -> None:
        """But a device with an old token; it does not lock its neighbours."""
        for _ in range(30):
            self.show("tk_old")
        self.assert_let_in()

    def test_elsewhere_all_is_well(self) -> None:
        """Addresses are counted one by one."""
        self.guess(THERE)
        self.assert_let_in()


class AskingTests(TokensTestCase):
    """How often the keeper is asked"""

    def test_once_for_many(self) -> None:
        """About the token and the account, and told of the use."""
        for _ in range(100):
            self.assert_let_in()
        self.assertEqual(self.people.asked, ["token", "account", "used"])

    def test_a_change_counts_at_once(self) -> None:
        """Of this user's tokens, of all, and of its account."""
        self.assert_let_in()
        for change in (lambda: self.tokens.tokens_changed("ada"), lambda: self.tokens.tokens_changed("")):
            self.people.asked.clear()
            change()
            self.assert_let_in()
            self.assertEqual(self.people.asked, ["token"])
        for change in (lambda: self.tokens.account_changed("ada"), lambda: self.tokens.account_changed("")):
            self.people.asked.clear()
            change()
            self.assert_let_in()
            self.assertEqual(self.people.asked, ["account"])

    def test_others_changes_do_not(self) -> None:
        """Nobody is asked for them."""
        self.assert_let_in()
        self.people.asked.clear()
        self.tokens.tokens_changed("bob")
        self.tokens.account_changed("bob")
        self.assert_let_in()
        self.assertEqual(self.people.asked, [])

    def test_revoked(self) -> None:
        """As soon as somebody says so."""
        self.assert_let_in()
        self.successResultOf(self.people.remove_token("ada", TOKEN.hash))
        self.tokens.tokens_changed("ada")
        self.assertIs(self.show(), ReasonCode.NOT_AUTHORIZED)


class UseTests(TokensTestCase):
    """When it was used last"""

    def kept(self) -> Token:
        token = self.successResultOf(self.people.token(TOKEN.hash))
        assert token is not None
        return token

    def test_noted_with_the_address(self) -> None:
        """Without a port."""
        self.show(address="[2001:db8::7]:4711")
        self.assertEqual((self.kept().used_at, self.kept().used_from), (NOW, "2001:db8::7"))

    def test_once_a_minute(self) -> None:
        """However often it is shown, and though what is known of it is looked up again meanwhile."""
        for _ in range(NOTED_EVERY_S):
            self.assert_let_in()
            self.pass_by(1)
        self.assertEqual(self.people.asked.count("used"), 1)
        self.assert_let_in()
        self.assertEqual(self.kept().used_at, NOW + NOTED_EVERY_S)

    def test_a_wrong_one_is_not(self) -> None:
        """Whoever tries an expired token does not use it."""
        self.keep(replace(TOKEN, expires_at=NOW))
        self.show()
        self.assertEqual(self.kept().used_at, 0)

    def test_nobody_waits_for_it(self) -> None:
        """It may fail, and come later."""
        self.assert_let_in()
        self.people.away = True
        self.pass_by(FRESH_S - 1)
        self.assert_let_in()

    def test_addresses(self) -> None:
        """Each kind, without what is no part of it."""
        for address, host in ((HERE, "192.0.2.7"), ("[::1]:0", "::1"), ("unix:/run/x:y", "unix:/run/x:y")):
            self.assertEqual(host_of(address), host)


class VouchTests(TokensTestCase):
    """Users whom a proxy names"""

    def vouch(self, username: str) -> ReasonCode:
        credentials = Credentials("", None, None, HERE)
        return self.successResultOf(Deferred.fromCoroutine(self.tokens.vouch(credentials, username)))

    def test_with_and_without_an_account(self) -> None:
        """The proxy knows users whom we do not."""
        self.assertEqual([self.vouch("ada"), self.vouch("sue")], [ReasonCode.SUCCESS] * 2)

    def test_a_disabled_account(self) -> None:
        """Is the one thing that speaks against it."""
        self.account(enabled=False)
        self.assertIs(self.vouch("ada"), ReasonCode.NOT_AUTHORIZED)

    def test_nobody_can_say(self) -> None:
        """Then nobody is let in."""
        self.people.away = True
        self.assertIs(self.vouch("ada"), ReasonCode.SERVER_UNAVAILABLE)


class StillGoodTests(TokensTestCase):
    """Who has come in before"""

    def still_good(self) -> bool:
        asked = self.tokens.still_good(TOKEN.hash, lambda username: self.standing)
        return self.successResultOf(Deferred.fromCoroutine(asked))

    def test_as_long_as_it_would_be_let_in(self) -> None:
        """By the token as it is now, which is not a use of it."""
        self.assertTrue(self.still_good())
        self.keep(replace(TOKEN, expires_at=NOW))
        self.tokens.tokens_changed("ada")
        self.assertFalse(self.still_good())
        self.successResultOf(self.people.remove_token("ada", TOKEN.hash))
        self.tokens.tokens_changed("ada")
        self.assertFalse(self.still_good())
        self.assertNotIn("used", self.people.asked)
