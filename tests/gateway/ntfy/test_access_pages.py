"""`pushd.gateway.ntfy.access_pages`: users and what they may, in ntfy's words."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.pages import Pages
from pushd.gateway.identity.guards import Guard
from pushd.gateway.ntfy import access_pages
from pushd.gateway.ntfy.access_pages import AccessPages
from pushd.gateway.users import AccountPages, UserPages
from pushd.people.interfaces import Account, Grant, PeopleUnavailable
from pushd.people.memory import MemoryPeople
from tests.gateway.callers import Answer, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"


class Lost(MemoryPeople):
    """Nobody answers."""

    def grants(self) -> Deferred[list[Grant]]:
        return fail(PeopleUnavailable("no answer"))


class AccessTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.people = MemoryPeople()
        self.caller = Caller(admins=("ada",), make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> Pages:
        def people() -> MemoryPeople:
            return self.people

        ours: Any = AccountPages(guard, people, self.make_hash, lambda: 1_700_000_000.9)
        ntfys: Any = AccessPages(guard, people, self.make_hash, lambda: 1_700_000_000.9)
        return {b"v1/users": UserPages(ours.app.resource(), {}, ntfys.app.resource())}

    @staticmethod
    def make_hash(password: bytes) -> Deferred[str]:
        return succeed(f"hash of {password!r}")

    def ask(self, method: str, path: str = "", body: Any = None, headers: str = ADA) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        return self.caller.request(method, f"/v1/users{path}", data, headers)

    def does(self, method: str, path: str = "", body: Any = None) -> None:
        answer = self.ask(method, path, body)
        self.assertEqual((answer.status, answer.json), (200, {"success": True}))

    def kept(self, username: str) -> Account | None:
        return self.successResultOf(self.people.account(username))

    def grants(self) -> list[Grant]:
        return self.successResultOf(self.people.grants())


class UserTests(AccessTestCase):
    """POST, PUT and DELETE /v1/users"""

    def test_a_new_user(self) -> None:
        """Once; the second time there is one."""
        self.does("POST", body={"username": "eve", "password": "apple"})
        self.assertEqual(self.kept("eve"), Account("eve", "hash of b'apple'", True, 1_700_000_000))
        answer = self.ask("POST", body={"username": "eve", "password": "pear"})
        self.assertEqual((answer.status, answer.code), (409, 40901))

    def test_another_password(self) -> None:
        """Of one that there is, or is not yet; the rest stays."""
        self.does("PUT", body={"username": "eve", "password": "apple", "enabled": False})
        self.does("PUT", body={"username": "eve", "password": "pear"})
        self.assertEqual(self.kept("eve"), Account("eve", "hash of b'pear'", False, 1_700_000_000))
        self.does("PUT", body={"username": "eve", "enabled": True})
        self.assertEqual(self.kept("eve"), Account("eve", "hash of b'pear'", True, 1_700_000_000))

    def test_nothing_to_do(self) -> None:
        """An account without a password is none; and nothing is no change."""
        self.assertEqual(self.ask("POST", body={"username": "eve"}).code, 40000)
        self.assertEqual(self.ask("PUT", body={"username": "eve", "enabled": True}).code, 40000)
        self.does("POST", body={"username": "eve", "password": "apple"})
        self.assertEqual(self.ask("PUT", body={"username": "eve"}).code, 40000)

    def test_gone(self) -> None:
        """With what it may."""
        self.does("POST", body={"username": "eve", "password": "apple"})
        self.does("PUT", "/access", {"username": "eve", "topic": "a", "permission": "rw"})
        self.does("DELETE", body={"username": "eve"})
        self.assertEqual((self.kept("eve"), self.grants()), (None, []))
        self.assertEqual(self.ask("DELETE", body={"username": "eve"}).code, 40031)

    def test_who_cannot_be_one(self) -> None:
        """No name, and the name of everybody."""
        for username in ("", "*", None, 1, "a\nb", "\ud800", ["a"]):
            for method in ("POST", "PUT", "DELETE"):
                body = {"username": username, "password": "x"}
                self.assertEqual(self.ask(method, body=body).code, 40046, (method, username))

    def test_what_there_is_not(self) -> None:
        """Tiers, and hashes of other systems."""
        user = {"username": "eve", "password": "apple"}
        self.assertEqual(self.ask("POST", body={**user, "tier": "pro"}).code, 40030)
        self.assertEqual(self.ask("POST", body={**user, "hash": "$2a$10$x"}).code, 40000)
        self.assertEqual(self.ask("POST", body={"username": "eve", "password": ""}).code, 40000)
        self.assertEqual(self.caller.request("POST", "/v1/users", b"nonsense", ADA).code, 40024)
        self.assertIsNone(self.kept("eve"))

    def test_administrators_only(self) -> None:
        """Whatever is asked."""
        for path in ("", "/access"):
            for method in ("GET", "POST", "PUT", "DELETE"):
                self.assertEqual(self.ask(method, path, {}, "").code, 40301, (method, path))


class ListTests(AccessTestCase):
    """GET /v1/users"""

    def test_users_and_what_they_may(self) -> None:
        """In their order; then those without an account; everybody comes last."""
        for username in ("eve", "ada"):
            self.does("POST", body={"username": username, "password": "x"})
        for username in ("eve", "door-7", "*"):
            self.does("PUT", "/access", {"username": username, "topic": "a*", "permission": "ro"})
        may = [{"topic": "a*", "permission": "read-only"}]
        self.assertEqual(
            self.ask("GET").json,
            [
                {"username": "ada", "role": "admin"},
                {"username": "eve", "role": "user", "grants": may},
                {"username": "door-7", "role": "user", "grants": may},
                {"username": "*", "role": "anonymous", "grants": may},
            ],
        )

    def test_all_of_them(self) -> None:
        """However many: they are asked for in parts."""
        self.patch(access_pages, "PAGE", 3)
        for number in range(7):
            self.does("POST", body={"username": f"u{number}", "password": "x"})
        names = [user["username"] for user in self.ask("GET").json]
        self.assertEqual(names, [*(f"u{number}" for number in range(7)), "*"])

    def test_our_own_list(self) -> None:
        """Whoever asks for a part of it gets ours."""
        self.does("POST", body={"username": "eve", "password": "x"})
        self.assertEqual(self.ask("GET", "?limit=10").json["users"][0]["username"], "eve")
        self.assertEqual(self.ask("GET", "?after=eve").json, {"users": [], "next": None})

    def test_nobody_answers(self) -> None:
        """To be tried again."""
        self.people = Lost()
        self.assertEqual(self.ask("GET").code, 50300)


class GrantTests(AccessTestCase):
    """/v1/users/access"""

    def test_given_and_changed(self) -> None:
        """By POST as by PUT; one entry for a user and a topic."""
        self.does("PUT", "/access", {"username": "eve", "topic": "alerts/*", "permission": "read-write"})
        self.does("POST", "/access", {"username": "eve", "topic": "alerts/*", "permission": "deny"})
        self.does("POST", "/access", {"username": "*", "topic": "up*", "permission": "write-only"})
        self.assertEqual(
            self.grants(), [Grant("*", "up*", "write-only"), Grant("eve", "alerts/*", "deny-all")]
        )

    def test_taken_away(self) -> None:
        """One, or all of a user; it is no mistake if there is none."""
        for topic in ("a", "b", "c"):
            self.does("PUT", "/access", {"username": "eve", "topic": topic, "permission": "rw"})
        self.does("DELETE", "/access", {"username": "eve", "topic": "a"})
        self.assertEqual([grant.pattern for grant in self.grants()], ["b", "c"])
        self.does("DELETE", "/access", {"username": "eve"})
        self.does("DELETE", "/access", {"username": "eve"})
        self.assertEqual(self.grants(), [])

    def test_what_is_none(self) -> None:
        """A permission, a topic and a name: each must be one."""
        good = {"username": "eve", "topic": "a", "permission": "rw"}
        for wrong, code in (
            ({"permission": "all"}, 40025),
            ({"permission": None}, 40025),
            ({"topic": ""}, 40009),
            ({"topic": "a/#"}, 40009),
            ({"topic": ["a"]}, 40009),
            ({"username": ""}, 40046),
        ):
            self.assertEqual(self.ask("PUT", "/access", good | wrong).code, code, wrong)
        self.assertEqual(self.grants(), [])

    @given(st.dictionaries(st.sampled_from(["username", "topic", "permission"]), st.text() | st.integers()))
    def test_any_body(self, body: dict[str, Any]) -> None:
        """Is obeyed or refused, and never our fault."""
        for method, path in (("PUT", "/access"), ("DELETE", "/access"), ("PUT", ""), ("DELETE", "")):
            self.assertIn(self.ask(method, path, body).status, (200, 400))

    def test_a_user_called_access(self) -> None:
        """Is made and changed here, and shown by our own page."""
        self.does("POST", body={"username": "access", "password": "x"})
        self.assertEqual(self.ask("GET", "/access").json["username"], "access")
        self.does("PUT", body={"username": "access", "enabled": False})
        self.assertEqual(self.ask("GET", "/access").json["enabled"], False)
        self.does("DELETE", body={"username": "access"})
        self.assertEqual(self.ask("GET", "/access").code, 40400)
