"""`pushd.gateway.follows`: who follows whom, by HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.gateway.follows import FollowPages
from pushd.gateway.identity.guards import Guard
from pushd.gateway.users import AccountPages, UserPages
from pushd.people.interfaces import Friends, PeopleUnavailable
from pushd.people.memory import MemoryPeople
from tests.gateway.callers import Answer, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"

HOSTILE = (
    "a/b", "/", "..", ".", "+", "#", "%2F", "%", "a b", "'; DROP TABLE follows;--", '"', "\\", "*", "{user}",
    "<script>alert(1)</script>", "größe", "\U0001f98a", "follows", "?after=x", "a&b=c;d", "-b", "%f", "%F",
)  # fmt: skip


class Lost(MemoryPeople):
    """Nobody answers."""

    def friends(self, username: str) -> Deferred[Friends]:
        return fail(PeopleUnavailable("no answer"))

    def follow(self, follower: str, followed: str) -> Deferred[bool]:
        return fail(PeopleUnavailable("no answer"))


class FollowsTestCase(SynchronousTestCase):
    admins: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.people = MemoryPeople()
        self.caller = Caller(admins=self.admins, make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        accounts: Any = AccountPages(guard, lambda: self.people, lambda _: succeed(""), lambda: 0.0)
        follows: Any = FollowPages(guard, lambda: self.people)
        return {b"v1/users": UserPages(accounts.app.resource(), {b"follows": follows.app.resource()})}

    def ask(self, method: str, path: str, login: str = ADA) -> Answer:
        return self.caller.request(method, f"/v1/users/{path}", b"", login)

    def friends(self, username: str = "ada") -> Friends:
        return self.successResultOf(self.people.friends(username))


class OwnTests(FollowsTestCase):
    """What a user may do itself"""

    def test_follow(self) -> None:
        """The first time it is new."""
        self.assertEqual(self.ask("PUT", "ada/follows/bob").status, 201)
        self.assertEqual(self.ask("PUT", "ada/follows/bob").status, 200)
        self.assertEqual(self.friends(), Friends(frozenset({"bob"})))

    def test_unfollow(self) -> None:
        """What is over cannot end again."""
        self.people.follow("ada", "bob")
        self.assertEqual(self.ask("DELETE", "ada/follows/bob").json, {"success": True})
        self.assertEqual(self.friends(), Friends())
        self.assertEqual(self.ask("DELETE", "ada/follows/bob").code, 40400)

    def test_listing(self) -> None:
        """In the order of names, with those who follow back."""
        for follower, followed in (("ada", "eve"), ("ada", "bob"), ("eve", "ada"), ("zoe", "ada")):
            self.people.follow(follower, followed)
        self.assertEqual(
            self.ask("GET", "ada/follows").json,
            {"username": "ada", "follows": ["bob", "eve"], "mutual": ["eve"]},
        )

    def test_nobody(self) -> None:
        """Somebody who follows nobody is no error."""
        self.assertEqual(
            self.ask("GET", "ada/follows").json, {"username": "ada", "follows": [], "mutual": []}
        )

    def test_one(self) -> None:
        """Whether one is followed."""
        self.people.follow("ada", "bob")
        answer = self.ask("GET", "ada/follows/bob")
        self.assertEqual(answer.json, {"username": "ada", "follows": "bob", "mutual": False})
        self.people.follow("bob", "ada")
        self.assertTrue(self.ask("GET", "ada/follows/bob").json["mutual"])
        self.assertEqual(self.ask("GET", "ada/follows/eve").code, 40400)

    def test_of_others(self) -> None:
        """Nobody makes others follow, or learns whom they follow."""
        for method, path in (("GET", "bob/follows"), ("GET", "bob/follows/ada"), ("PUT", "bob/follows/ada")):
            self.assertEqual(self.ask(method, path).code, 40301)
            self.assertEqual(self.ask(method, path, login="").code, 40301)
        self.assertEqual(self.ask("DELETE", "bob/follows/ada").code, 40301)
        self.assertEqual(self.people.known.follows, {})

    def test_nobody_can_be_asked(self) -> None:
        """The caller shall try again."""
        self.people = Lost()
        self.assertEqual(self.ask("GET", "ada/follows").code, 50300)
        self.assertEqual(self.ask("PUT", "ada/follows/bob").code, 50300)

    def test_other_methods(self) -> None:
        """They are no page."""
        for method, path in (("POST", "ada/follows/bob"), ("PUT", "ada/follows"), ("DELETE", "ada/follows")):
            self.assertEqual(self.ask(method, path).code, 40401)


class AdminTests(FollowsTestCase):
    """What an administrator may do for everybody"""

    admins = ("ada",)

    def test_of_others(self) -> None:
        """Everything that they may themselves."""
        self.assertEqual(self.ask("PUT", "bob/follows/eve").status, 201)
        self.assertEqual(self.ask("GET", "bob/follows").json["follows"], ["eve"])
        self.assertEqual(self.ask("DELETE", "bob/follows/eve").status, 200)

    def test_hostile_names(self) -> None:
        """Each is a name like any other, on both sides."""
        for name in HOSTILE:
            path = "{0}/follows/{0}".format(quote(name, safe=""))
            self.assertEqual(self.ask("PUT", path).status, 201, name)
            self.assertEqual(self.friends(name).followed, {name})
            self.assertEqual(self.ask("GET", path).json["follows"], name)
            self.assertEqual(self.ask("DELETE", path).status, 200, name)

    def test_no_names(self) -> None:
        """What no client could log in with."""
        for segment in ("%0A", "%7F", "%C2%85", "a" * 70_000):
            answer = self.ask("PUT", f"ada/follows/{segment}")
            self.assertIn(answer.status, (400, 414, 431), segment)
        self.assertEqual(self.people.known.follows, {})
