"""`pushd.gateway.users`: accounts by HTTP."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.gateway.http import problems
from pushd.gateway.http.pages import json_answer, json_app
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard
from pushd.gateway.users import AccountPages, UserPages, Wanted, user_of_path
from pushd.people.interfaces import Account, PeopleUnavailable
from pushd.people.memory import MemoryPeople
from pushd.people.names import check_username
from tests.gateway.callers import Answer, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"

# What nobody should be called, and everybody may be.
HOSTILE = (
    "a/b", "/", "..", ".", "+", "#", "%2F", "%", "a b", "'; DROP TABLE accounts;--", '"', "\\", "*", "{user}",
    "<script>alert(1)</script>", "größe", "🦊", "\u202e", "follows", "?after=x", "a&b=c;d", "-b", "$share/x",
)  # fmt: skip


class FollowPages:
    """Pages of somebody else below a user."""

    app = json_app()

    @app.route("/users/<user>/follows/<other>", methods=["PUT"])
    def follow(self, request: GatewayRequest, user: str, other: str) -> bytes:
        return json_answer(request, [user_of_path(user), user_of_path(other)])


class Lost(MemoryPeople):
    """Nobody answers."""

    def account(self, username: str) -> Deferred[Account | None]:
        return fail(PeopleUnavailable("no answer"))


class UsersTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.people = MemoryPeople()
        self.caller = Caller(admins=("ada",), make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        accounts: Any = AccountPages(guard, lambda: self.people, self.make_hash, lambda: 1_700_000_000.9)
        follows: Any = FollowPages()
        return {b"v1/users": UserPages(accounts.app.resource(), {b"follows": follows.app.resource()})}

    @staticmethod
    def make_hash(password: bytes) -> Deferred[str]:
        return succeed(f"hash of {password!r}")

    def ask(self, method: str, path: str = "", body: Any = None, login: str = ADA) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        return self.caller.request(method, f"/v1/users{path}", data, login)

    def kept(self, username: str) -> Account | None:
        return self.successResultOf(self.people.account(username))


class PutTests(UsersTestCase):
    def test_a_new_account(self) -> None:
        """It is there from now on, and the answer says so without its hash."""
        answer = self.ask("PUT", "/anna", {"password": "secret"})
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.json, {"username": "anna", "enabled": True, "created_at": 1_700_000_000})
        self.assertEqual(self.kept("anna"), Account("anna", "hash of b'secret'", True, 1_700_000_000))

    def test_another_password(self) -> None:
        """The rest stays as it is."""
        self.successResultOf(self.people.keep_account(Account("anna", "old", False, 7)))
        self.assertEqual(self.ask("PUT", "/anna", {"password": "ä"}).status, 200)
        self.assertEqual(self.kept("anna"), Account("anna", f"hash of {'ä'.encode()!r}", False, 7))

    def test_disable_and_enable(self) -> None:
        """Without touching the password."""
        self.successResultOf(self.people.keep_account(Account("anna", "old", True, 7)))
        for enabled in (False, True):
            self.assertIs(self.ask("PUT", "/anna", {"enabled": enabled}).json["enabled"], enabled)
            self.assertEqual(self.kept("anna"), Account("anna", "old", enabled, 7))

    def test_a_new_account_needs_a_password(self) -> None:
        """One that nobody can use is a mistake."""
        for body in ({}, {"enabled": True}, {"password": None}):
            self.assertEqual(self.ask("PUT", "/anna", body).code, 40000)
        self.assertIsNone(self.kept("anna"))

    def test_nonsense(self) -> None:
        """Nothing that does not mean anything is taken for something."""
        for body in (
            {"password": ""},
            {"password": 7},
            {"password": "\ud800"},
            {"password": "a", "enabled": "no"},
            {"password": "a", "enabled": 0},
            {"password": "a", "enable": False},
            {"password": "a", "password_hash": "$7$"},
        ):
            self.assertEqual(self.ask("PUT", "/anna", body).code, 40000)
        for data in (b"", b"[]", b"{", b'"anna"'):
            self.assertEqual(self.caller.request("PUT", "/v1/users/anna", data, ADA).code, 40024)
        self.assertIsNone(self.kept("anna"))

    def test_longest_password(self) -> None:
        """One that fits into a CONNECT, by whichever way the gateway would take it."""
        self.assertEqual(Wanted.of({"password": "x" * 65_535}).password, b"x" * 65_535)
        refused = self.assertRaises(Refusal, Wanted.of, {"password": "ä" * 32_768})
        self.assertIs(refused.problem, problems.PASSWORD_INVALID)

    def test_names_that_none_can_have(self) -> None:
        """Nobody could log in by them."""
        self.assertEqual(self.ask("PUT", "/a%0Ab", {"password": "a"}).code, 40000)
        self.assertEqual(self.ask("PUT", "/%1b%5b31m", {"password": "a"}).code, 40000)
        for name in ("%00", "a%00b", "%ff", "%ed%a0%80"):
            self.assertEqual(self.ask("PUT", f"/{name}", {"password": "a"}).code, 40401)


class ReadTests(UsersTestCase):
    def add(self, *names: str) -> None:
        for name in names:
            self.successResultOf(self.people.keep_account(Account(name, "very secret", True, 7)))

    def test_one(self) -> None:
        """Without the hash of its password."""
        self.add("anna")
        self.assertEqual(
            self.ask("GET", "/anna").json, {"username": "anna", "enabled": True, "created_at": 7}
        )
        self.assertEqual(self.ask("GET", "/nobody").code, 40400)

    def test_all_of_them(self) -> None:
        """In the order of their names, as many at once as was asked for."""
        self.add("carl", "anna", "b&b", "ängel")
        self.assertEqual(self.ask("GET", "/carl").status, 200)
        seen, page = [], self.ask("GET", "?limit=1").json
        while page["next"] is not None:
            seen += page["users"]
            page = self.ask("GET", f"?limit=1&after={quote(page['next'])}").json
        seen += page["users"]
        self.assertEqual([user["username"] for user in seen], ["anna", "b&b", "carl", "ängel"])
        self.assertEqual(self.ask("GET").json, {"users": seen, "next": None})
        self.assertNotIn(b"very secret", self.ask("GET").body)

    def test_nonsense(self) -> None:
        """A limit is a number."""
        for limit in ("0", "-1", "1001", "x", "1e2", "%C2%B2", "9" * 5000):
            self.assertEqual(self.ask("GET", f"?limit={limit}").code, 40000)
        for name in ("%00", "%ff"):
            self.assertEqual(self.ask("GET", f"?after={name}").code, 40401)

    def test_delete(self) -> None:
        """It is gone, and cannot go twice."""
        self.add("anna")
        self.assertEqual(self.ask("DELETE", "/anna").json, {"success": True})
        self.assertIsNone(self.kept("anna"))
        self.assertEqual(self.ask("DELETE", "/anna").code, 40400)


class NameTests(UsersTestCase):
    def test_hostile_names(self) -> None:
        """Each is a user like any other, at a path of its own."""
        for name in HOSTILE:
            self.assertEqual(self.ask("PUT", f"/{quote(name, safe='')}", {"password": "a"}).status, 201, name)
        self.assertEqual({user["username"] for user in self.ask("GET").json["users"]}, set(HOSTILE))
        for name in HOSTILE:
            self.assertEqual(self.ask("GET", f"/{quote(name, safe='')}").json["username"], name)
            self.assertEqual(self.ask("DELETE", f"/{quote(name, safe='')}").status, 200, name)
        self.assertEqual(self.ask("GET").json["users"], [])

    def test_pages_of_others(self) -> None:
        """They are found by the word behind the name, and see both names as they are."""
        for name in (*HOSTILE, "a" * 3000):
            path = "/{0}/follows/{0}".format(quote(name, safe=""))
            self.assertEqual(self.ask("PUT", path).json, [name, name])
        for path in ("/follows/follows", "/anna/chairs/x", "/anna/follows", "//follows/x", "/a/b"):
            self.assertEqual(self.ask("PUT", path).code, 40401, path)

    @given(st.text())
    def test_any_text_is_a_name_or_an_error(self, name: str) -> None:
        """What is taken for a name fits into a CONNECT."""
        try:
            check_username(name)
        except ValueError:
            return
        self.assertTrue(0 < len(name.encode()) <= 65_535)
        self.assertNotIn("\0", name)


class AccessTests(UsersTestCase):
    def test_administrators_only(self) -> None:
        """Nobody else learns who is there, nor who is not."""
        self.caller = Caller(admins=("eve",), make_pages=self.make_pages)
        for method, path in (("GET", ""), ("GET", "/ada"), ("PUT", "/ada"), ("DELETE", "/ada")):
            for login in (ADA, ""):
                self.assertEqual(self.ask(method, path, {"password": "a"}, login).code, 40301)

    def test_nobody_can_be_asked(self) -> None:
        """The caller shall try again."""
        self.people = Lost()
        self.caller = Caller(admins=("ada",), make_pages=self.make_pages)
        self.assertEqual(self.ask("GET", "/anna").code, 50300)
        self.assertEqual(self.ask("PUT", "/anna", {"password": "a"}).code, 50300)

    def test_other_methods(self) -> None:
        """They are no page."""
        for method, path in (("POST", "/anna"), ("PUT", ""), ("DELETE", ""), ("GET", "/")):
            self.assertEqual(self.ask(method, path, {}).code, 40401)
