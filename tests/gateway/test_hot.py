"""`pushd.gateway.hot`: hot topics over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.gateway.hot import HotTopicPages, HotTopics
from pushd.gateway.identity.guards import Guard
from tests.gateway.callers import Answer, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"


class Counting:
    """A `pushd.gateway.hot.HotTopics` that says what it was asked."""

    def report(self, by: str, window: str, count: int) -> Deferred[dict[str, Any]]:
        return succeed({"by": by, "window": window, "topics": [count, '"<ä']})


def caller(hot_topics: HotTopics | None, *admins: str) -> Caller:
    def pages(guard: Guard) -> dict[bytes, IResource]:
        resource: Any = HotTopicPages(guard, hot_topics).app.resource()
        return {b"v1/topics": resource}

    return Caller(admins=admins, make_pages=pages)


class HotTopicPagesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.caller = caller(Counting(), "ada")

    def get(self, query: str = "", headers: str = ADA) -> Answer:
        return self.caller.request("GET", f"/v1/topics/hot{query}", headers=headers)

    def test_defaults(self) -> None:
        """By messages, over a minute, 20 of them."""
        expected = {"by": "messages", "window": "1m", "topics": [20, '"<ä']}
        self.assertEqual((self.get().status, self.get().json), (200, expected))

    def test_asked_otherwise(self) -> None:
        """Each parameter is heard."""
        for by in ("messages", "bytes", "deliveries", "drops", "subscribers"):
            for window in ("1m", "1h", "start"):
                answer = self.get(f"?by={by}&window={window}&n=1000").json
                self.assertEqual((answer["by"], answer["window"], answer["topics"][0]), (by, window, 1000))

    def test_nonsense(self) -> None:
        """Anything else is refused, and not taken for something near it."""
        for query in (
            "by=message", "by=Messages", "by=%C3%A4", "by=by,drops", "window=2m", "window=now", "window=%00",
            "n=0", "n=1001", "n=-1", "n=1e2", "n=%D9%A1", "n=+5", "n=" + "9" * 5000,
        ):  # fmt: skip
            self.assertEqual(self.get(f"?{query}").code, 40000, query)

    def test_for_administrators(self) -> None:
        """Topic names may say much about others."""
        self.assertEqual(self.get(headers="").code, 40301)
        self.caller = caller(Counting())
        self.assertEqual(self.get().code, 40301)

    def test_off(self) -> None:
        """Nobody has counted."""
        self.caller = caller(None, "ada")
        answer = self.get()
        self.assertEqual(answer.code, 40000)
        self.assertIn("not enabled", answer.json["error"])

    def test_other_methods(self) -> None:
        """There is nothing to change."""
        self.assertEqual(self.caller.request("DELETE", "/v1/topics/hot", headers=ADA).code, 40401)
