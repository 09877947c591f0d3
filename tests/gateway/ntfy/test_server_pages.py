"""`pushd.gateway.ntfy.server_pages`: the server as a whole."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.pages import Pages
from pushd.gateway.identity.guards import Guard
from pushd.gateway.ntfy.server_pages import ServerPages
from tests.gateway.callers import Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"


class Status:
    """What a process says of itself."""

    figures: dict[str, float | None]

    def now(self) -> dict[str, Any]:
        return {"version": "1.2.3", "messages_received": 4711, "figures": self.figures}


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.status: Any = Status()
        self.status.figures = {"messages_received_per_s": 0.5}
        self.caller = Caller(admins=("ada",), make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> Pages:
        pages: Any = ServerPages(guard, self.status)
        return dict.fromkeys((b"v1/stats", b"v1/version"), pages.app.resource())

    def test_messages(self) -> None:
        """For whoever may come in; before the first sample the rate is nothing."""
        self.assertEqual(
            self.caller.request("GET", "/v1/stats").json, {"messages": 4711, "messages_rate": 0.5}
        )
        self.status.figures = {"messages_received_per_s": None}
        self.assertEqual(self.caller.request("GET", "/v1/stats").json["messages_rate"], 0.0)

    def test_version(self) -> None:
        """For administrators."""
        self.assertEqual(self.caller.request("GET", "/v1/version").code, 40301)
        told = self.caller.request("GET", "/v1/version", headers=ADA).json
        self.assertEqual(told, {"version": "1.2.3", "commit": "", "date": ""})
