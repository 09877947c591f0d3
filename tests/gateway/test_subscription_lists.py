"""`pushd.gateway.subscription_lists`: what the server subscribes users to, by HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.gateway import subscription_lists
from pushd.gateway.identity.guards import Guard
from pushd.gateway.subscription_lists import SubscriptionListPages
from pushd.gateway.users import AccountPages, UserPages
from pushd.people.interfaces import PeopleUnavailable
from pushd.people.memory import MemoryPeople
from tests.gateway.callers import Answer, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"
HOSTILE = (
    "a b",
    "'; DROP TABLE x;--",
    '"',
    "\\",
    "*",
    "{user}",
    "<script>",
    "größe",
    "?qos=2",
    "a&b",
    "%",
    "%2F",
    "..",
)


class Lost(MemoryPeople):
    """Nobody answers."""

    def subscriptions(self, username: str) -> Deferred[Mapping[str, int]]:
        return fail(PeopleUnavailable("no answer"))


class ListTestCase(SynchronousTestCase):
    admins: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.people = MemoryPeople()
        self.caller = Caller(admins=self.admins, make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        accounts: Any = AccountPages(guard, lambda: self.people, lambda _: succeed(""), lambda: 0.0)
        lists: Any = SubscriptionListPages(guard, lambda: self.people)
        return {b"v1/users": UserPages(accounts.app.resource(), {b"subscriptions": lists.app.resource()})}

    def ask(
        self, method: str, path: str = "", body: bytes = b"", login: str = ADA, user: str = "ada"
    ) -> Answer:
        target = f"/v1/users/{quote(user, safe='')}/subscriptions{path and '/'}{quote(path, safe='')}"
        return self.caller.request(method, target, body, login)

    def listed(self, user: str = "ada") -> dict[str, int]:
        listed: Mapping[str, int] = self.successResultOf(self.people.subscriptions(user))
        return dict(listed)


class OwnTests(ListTestCase):
    """What a user may do itself"""

    def test_put(self) -> None:
        """The first time it is new; the QoS is 1 if nothing else is said."""
        self.assertEqual(201, self.ask("PUT", "alerts/#").status)
        self.assertEqual({"alerts/#": 1}, self.listed())
        self.assertEqual(200, self.ask("PUT", "alerts/#", b'{"qos": 2}').status)
        self.assertEqual({"alerts/#": 2}, self.listed())

    def test_listing(self) -> None:
        """All of them, in their order, and one alone."""
        for filter in ("b", "$share/g/a", "+/c"):
            self.ask("PUT", filter)
        shown = self.ask("GET").json
        self.assertEqual("ada", shown["username"])
        self.assertEqual(["$share/g/a", "+/c", "b"], [each["filter"] for each in shown["subscriptions"]])
        self.assertEqual({"username": "ada", "filter": "+/c", "qos": 1}, self.ask("GET", "+/c").json)

    def test_delete(self) -> None:
        """It is gone then, and cannot be removed again."""
        self.ask("PUT", "t")
        self.assertEqual([200, 404], [self.ask("DELETE", "t").status for _ in range(2)])
        self.assertEqual((404, {}), (self.ask("GET", "t").status, self.listed()))

    def test_wrong_requests(self) -> None:
        """Each is told what is wrong, and nothing changes."""
        for path, body, code in (
            ("a#", b"", 40009),
            ("a/#/b", b"", 40009),
            ("$share/g", b"", 40009),
            ("t", b'{"qos": 3}', 40000),
            ("t", b'{"qos": true}', 40000),
            ("t", b'{"qos": "1"}', 40000),
            ("t", b'{"qso": 1}', 40000),
            ("t", b"1", 40024),
            ("t", b"{", 40024),
        ):
            self.assertEqual(code, self.ask("PUT", path, body).code, (path, body))
        self.assertEqual({}, self.listed())

    def test_hostile_filters(self) -> None:
        """What can be subscribed to can be in the list, whatever it looks like."""
        for filter in HOSTILE:
            self.assertEqual(201, self.ask("PUT", filter).status, filter)
            self.assertEqual(filter, self.ask("GET", filter).json["filter"])
        self.assertEqual(set(HOSTILE), set(self.listed()))

    @given(
        st.text(min_size=1, max_size=12).filter(lambda text: text.encode("utf-8", "replace").decode() == text)
    )
    def test_any_filter(self, filter: str) -> None:
        """It is in the list then, or refused as no filter."""
        self.setUp()
        answer = self.ask("PUT", filter)
        if answer.status == 201:
            self.assertEqual([filter], [*self.listed()])
        else:
            self.assertIn(answer.code, (40009, 40401, 40000))

    def test_long_list(self) -> None:
        """Nobody fills the store; what is there may have another QoS."""
        self.patch(subscription_lists, "MAX_LISTED", 2)
        self.assertEqual([201, 201, 400], [self.ask("PUT", filter).status for filter in ("a", "b", "c")])
        self.assertEqual(200, self.ask("PUT", "a", b'{"qos": 0}').status)

    def test_others(self) -> None:
        """They are none of its business; nor has anybody without a name a list."""
        for method in ("GET", "PUT", "DELETE"):
            path = "" if method == "GET" else "t"
            self.assertEqual(40301, self.ask(method, path, user="bob").code)
            self.assertEqual(40301, self.ask(method, path, login="").code)

    def test_away(self) -> None:
        """While the keeper of people cannot be asked, the caller is told to come again."""
        self.people = Lost()
        for method, path in (("GET", ""), ("GET", "t"), ("PUT", "t")):
            self.assertEqual(50300, self.ask(method, path).code)


class AdminTests(ListTestCase):
    """What administrators may do"""

    admins = ("ada",)

    def test_anybody(self) -> None:
        """Lists of everybody, by whatever name."""
        for user in ("bob", "a/b", "+", "<script>", "größe", "subscriptions"):
            self.assertEqual(201, self.ask("PUT", "t", user=user).status, user)
            self.assertEqual({"t": 1}, self.listed(user))

    def test_nobody(self) -> None:
        """Not of who cannot be."""
        self.assertEqual(40000, self.ask("PUT", "t", user="a\x01").code)
