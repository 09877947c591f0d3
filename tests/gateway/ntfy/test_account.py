"""`pushd.gateway.ntfy.account`: a caller's own account."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Credentials
from pushd.gateway.http.pages import Pages
from pushd.gateway.identity.guards import Guard, Reception
from pushd.gateway.ntfy.account import (
    EXPIRES_AFTER_S,
    MAX_LABEL_LENGTH,
    MAX_TOKENS,
    UNLIMITED,
    Allowance,
    OwnAccountPages,
    masked,
)
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import PeopleUnavailable, Token
from pushd.people.memory import MemoryPeople
from pushd.people.tokens import hash_of
from tests.gateway.callers import Answer, Caller, Doorkeeper

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"
NOW = 1_700_000_000

# What aiontfy 0.8 requires to be there, each a number.
STATS = {
    "messages", "messages_remaining", "emails", "emails_remaining", "calls", "calls_remaining",
    "reservations", "reservations_remaining", "attachment_total_size", "attachment_total_size_remaining",
}  # fmt: skip
LIMITS = {
    "messages", "messages_expiry_duration", "emails", "calls", "reservations", "attachment_total_size",
    "attachment_file_size", "attachment_expiry_duration", "attachment_bandwidth",
}  # fmt: skip


class Lost(MemoryPeople):
    """Nobody answers."""

    def tokens(self, username: str) -> Deferred[list[Token]]:
        return fail(PeopleUnavailable("no answer"))


class AccountTestCase(SynchronousTestCase):
    used_bytes = 0

    def setUp(self) -> None:
        self.people = MemoryPeople()
        self.doorkeeper = Doorkeeper()
        self.caller = Caller(
            doorkeeper=self.doorkeeper,
            make_pages=self.make_pages,
            reception=Reception(self),
            admins=("root",),
        )

    def make_pages(self, guard: Guard) -> Pages:
        pages: Any = OwnAccountPages(
            guard,
            lambda: self.people,
            lambda: NOW + 0.9,
            lambda caller: Allowance(
                100, keep_messages_s=3600, all_files_bytes=50, used_bytes=self.used_bytes
            ),
        )
        return {b"v1/account": pages.app.resource()}

    async def verify(self, credentials: Credentials, shown: str) -> Token | ReasonCode:
        """Any token that is kept."""
        return await self.people.token(hash_of(shown)) or ReasonCode.NOT_AUTHORIZED

    async def vouch(self, credentials: Credentials, username: str) -> ReasonCode:
        return ReasonCode.SUCCESS

    def ask(self, method: str, path: str = "/token", body: Any = None, headers: str = ADA) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        return self.caller.request(method, f"/v1/account{path}", data, headers)

    def make(self, body: Any = None, headers: str = ADA) -> str:
        """A new token of ada."""
        answer = self.ask("POST", body=body, headers=headers)
        self.assertEqual(answer.status, 200, answer.body)
        secret: str = answer.json["token"]
        return secret

    def keep(self, secret: str, **more: Any) -> Token:
        """A token that was made in another way."""
        token = Token(hash_of(secret), **{"username": "ada", **more})
        self.successResultOf(self.people.keep_token(token))
        return token

    def tokens(self, username: str = "ada") -> list[Token]:
        return self.successResultOf(self.people.tokens(username))


def bearer(secret: str) -> str:
    return f"Authorization: Bearer {secret}\r\n"


class ShowTests(AccountTestCase):
    """GET /v1/account"""

    def test_nobody(self) -> None:
        """A star, no role, and figures as ntfy's clients need them."""
        account = self.ask("GET", "", headers="").json
        self.assertEqual((account["username"], account["role"]), ("*", "anonymous"))
        self.assertNotIn("tokens", account)
        self.assertEqual(account["stats"].keys(), STATS)
        self.assertEqual(account["limits"].keys(), LIMITS | {"basis"})
        for number in (*account["stats"].values(), *(account["limits"][name] for name in LIMITS)):
            self.assertIs(type(number), int)

    def test_a_user(self) -> None:
        """Its name, its role, and its tokens, none of which could be used by who looks on."""
        secret = self.make({"label": "phone", "expires": NOW + 60})
        account = self.ask("GET", "").json
        self.assertEqual((account["username"], account["role"]), ("ada", "user"))
        (told,) = account["tokens"]
        self.assertEqual((told["label"], told["expires"], told["last_access"]), ("phone", NOW + 60, NOW))
        self.assertEqual(len(told["token"]), len(secret))
        self.assertNotIn(secret[3:9], json.dumps(account))

    def test_figures(self) -> None:
        """What is left is never less than nothing."""
        for used, left in ((0, 50), (30, 20), (60, 0)):
            self.used_bytes = used
            account = self.ask("GET", "").json
            stats = account["stats"]
            self.assertEqual(
                (stats["attachment_total_size"], stats["attachment_total_size_remaining"]), (used, left)
            )
        self.assertEqual((stats["messages"], stats["messages_remaining"]), (0, 100))
        self.assertEqual(account["limits"]["messages_expiry_duration"], 3600)

    def test_an_expired_token_is_not_shown(self) -> None:
        """It is as good as gone."""
        self.keep("tk_old", expires_at=NOW)
        self.assertEqual(self.ask("GET", "").json["tokens"], [])

    def test_a_token_for_some_topics(self) -> None:
        """It hears who it is, and nothing of other tokens."""
        self.keep("tk_scoped", writes=("a",))
        account = self.ask("GET", "", headers=bearer("tk_scoped")).json
        self.assertEqual(account["username"], "ada")
        self.assertNotIn("tokens", account)

    def test_a_closed_door(self) -> None:
        """Without a login where one is needed: 403, as everywhere."""
        self.doorkeeper.anonymous = ReasonCode.NOT_AUTHORIZED
        self.assertEqual(self.ask("GET", "", headers="").code, 40301)

    def test_nobody_answers(self) -> None:
        """To be tried again."""
        self.people = Lost()
        self.assertEqual(self.ask("GET", "").code, 50300)
        self.assertEqual(self.ask("POST").code, 50300)

    def test_signing_up_is_off(self) -> None:
        """And so is leaving: administrators do both."""
        self.assertEqual(self.ask("POST", "", {"username": "x", "password": "y"}, "").code, 40022)
        self.assertEqual(self.ask("DELETE", "", {"password": "secret"}).code, 40301)
        self.assertEqual(self.ask("DELETE", "", headers="").code, 40301)


class MakeTests(AccountTestCase):
    """POST /v1/account/token"""

    def test_as_home_assistant_asks(self) -> None:
        """A label, and never to expire."""
        answer = self.ask("POST", body={"label": "Home Assistant", "expires": 0}).json
        self.assertNotIn("expires", answer)
        (token,) = self.tokens()
        self.assertEqual(token.hash, hash_of(answer["token"]))
        self.assertEqual((token.label, token.expires_at, token.created_at), ("Home Assistant", 0, NOW))

    def test_without_wishes(self) -> None:
        """It lasts three days, as with ntfy; no body at all is one, too."""
        for body in (None, {}, {"label": None, "expires": None}):
            self.make(body)
        self.assertEqual({token.expires_at for token in self.tokens()}, {NOW + EXPIRES_AFTER_S})

    def test_it_lets_in(self) -> None:
        """At once."""
        secret = self.make()
        self.assertEqual(self.ask("GET", "", headers=bearer(secret)).json["username"], "ada")

    def test_no_label_and_no_time(self) -> None:
        """Each is refused; nothing is made."""
        for body in (
            {"label": 1},
            {"label": "x" * (MAX_LABEL_LENGTH + 1)},
            {"label": "a\nb"},
            {"label": "\ud800"},
            {"expires": "tomorrow"},
            {"expires": -1},
            {"expires": NOW},
            {"expires": True},
            {"expires": 1.5e9},
            {"expires": 10**30},
        ):
            self.assertEqual(self.ask("POST", body=body).code, 40000, body)
        self.assertEqual(self.caller.request("POST", "/v1/account/token", b"[]", ADA).code, 40024)
        self.assertEqual(self.tokens(), [])

    @given(st.recursive(st.none() | st.integers() | st.text() | st.booleans(), lambda some: st.lists(some)))
    def test_any_wish(self, value: Any) -> None:
        """Is granted or refused, and never our fault."""
        for name in ("label", "expires"):
            self.assertIn(self.ask("POST", body={name: value}).status, (200, 400, 429))

    def test_there_is_a_most(self) -> None:
        """None is forgotten for a new one."""
        for number in range(MAX_TOKENS):
            self.keep(f"tk_{number}")
        self.assertEqual(self.ask("POST").code, 42900)
        self.assertEqual(len(self.tokens()), MAX_TOKENS)

    def test_nobody_gets_one(self) -> None:
        """Nor a token that is for some topics only: it would make one for all."""
        self.keep("tk_scoped", reads=())
        for method in ("POST", "PATCH", "DELETE"):
            for headers in ("", bearer("tk_scoped")):
                self.assertEqual(self.ask(method, body={}, headers=headers).code, 40301, method)

    def test_no_child_is_more_than_its_parent(self) -> None:
        """It neither lives longer nor is faster."""
        self.keep("tk_parent", expires_at=NOW + 60, rate_per_s=2.0)
        for expires in (0, NOW + 600, NOW + 30, None):
            self.make({"expires": expires}, bearer("tk_parent"))
        children = [token for token in self.tokens() if token.hash != hash_of("tk_parent")]
        self.assertEqual(sorted(child.expires_at - NOW for child in children), [30, 60, 60, 60])
        self.assertEqual({child.rate_per_s for child in children}, {2.0})


class ChangeTests(AccountTestCase):
    """PATCH and DELETE"""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.keep("tk_one", label="one", expires_at=NOW + 60, used_at=NOW - 5, writes=("a",))
        self.keep("tk_bobs", username="bob")

    def test_a_new_label(self) -> None:
        """The rest stays; but its time begins again, as with ntfy."""
        answer = self.ask("PATCH", body={"token": "tk_one", "label": "new"}).json
        self.assertEqual((answer["label"], answer["token"]), ("new", masked(self.token)))
        changed = replace(self.token, label="new", expires_at=NOW + EXPIRES_AFTER_S)
        self.assertEqual(self.tokens(), [changed])

    def test_a_new_time(self) -> None:
        """By the name that lists have; the label stays."""
        self.ask("PATCH", body={"token": masked(self.token), "expires": 0})
        self.assertEqual(self.tokens(), [replace(self.token, expires_at=0)])

    def test_revoked(self) -> None:
        """By itself, or by the name that lists have."""
        self.keep("tk_two")
        self.assertEqual(self.ask("DELETE", headers=ADA + "X-Token: tk_two\r\n").json, {"success": True})
        name = masked(self.token)
        self.assertEqual(self.ask("DELETE", headers=ADA + f"X-Token: {name}\r\n").json, {"success": True})
        self.assertEqual(self.tokens(), [])
        self.assertEqual(self.ask("DELETE", headers=ADA + "X-Token: tk_one\r\n").code, 40400)

    def test_the_one_that_is_shown(self) -> None:
        """Is meant when none is named; a password shows none."""
        self.keep("tk_mine")
        self.assertEqual(self.ask("DELETE").code, 40023)
        self.assertEqual(self.ask("PATCH", body={}).code, 40023)
        self.assertEqual(self.ask("DELETE", headers=bearer("tk_mine")).status, 200)
        self.assertEqual(self.ask("GET", "", headers=bearer("tk_mine")).code, 40101)

    def test_of_others(self) -> None:
        """The same as for one that there is not, and nothing happens to it."""
        bobs = self.tokens("bob")
        for said in ("tk_bobs", masked(bobs[0]), "tk_no", "tk_", "*", bobs[0].hash, "größe"):
            header = f"X-Token: {said}\r\n".encode().decode("latin-1")
            self.assertEqual(self.ask("DELETE", headers=ADA + header).code, 40400, said)
            self.assertEqual(self.ask("PATCH", body={"token": said}).code, 40400, said)
        self.assertEqual(self.tokens("bob"), bobs)

    def test_whatever_a_token_is_said_to_be(self) -> None:
        """No text is none."""
        said: Any
        for said in (1, None, [], {"a": 1}):
            self.assertEqual(self.ask("PATCH", body={"token": said}).code, 40023)


class LimitTests(SynchronousTestCase):
    """Without any bounds"""

    def test_unlimited_is_a_number(self) -> None:
        """That JavaScript reads as what it is."""
        self.assertEqual(Allowance().messages_per_day, UNLIMITED)
        self.assertEqual(int(float(UNLIMITED)), UNLIMITED)
