"""The pages about the server itself, and who may see them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.history_query import Query
from pushd.gateway.http.events import Streams
from pushd.gateway.status import status_pages
from pushd.mqtt.codes import ReasonCode
from tests.gateway.callers import Caller, Doorkeeper

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"
WRONG = "Authorization: Basic YWRhOndyb25n\r\n"


class FixedStatus:
    """A server that is always the same."""

    kept: Sequence[tuple[int, int]] = ((10, 86_400),)
    names: Sequence[str] = ("cpu_percent", "connections")

    def __init__(self) -> None:
        self.ready = True
        self.asked: list[Query] = []
        self.answer: Deferred[bytes | None] = succeed(b'{"rows":[]}\n')
        self.listeners: list[Callable[[dict[str, Any]], object]] = []

    def now(self) -> dict[str, Any]:
        return {"figures": {"cpu_percent": 1.5, "connections": None}}

    def history(self, query: Query) -> Deferred[bytes | None]:
        self.asked.append(query)
        return self.answer

    def listen(self, callback: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        self.listeners.append(callback)
        return lambda: self.listeners.remove(callback)

    def metrics(self) -> bytes:
        return b"pushd_connections 1.0\n"


class StatusCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.status = FixedStatus()
        self.doorkeeper = Doorkeeper()
        self.caller = self.called_by("ada")

    def called_by(self, *admins: str) -> Caller:
        return Caller(
            doorkeeper=self.doorkeeper,
            admins=admins,
            make_pages=lambda guard: status_pages(guard, self.status, Streams()),
        )


class StatusPageTests(StatusCase):
    def test_now(self) -> None:
        """What is known, and null for what is not."""
        answer = self.caller.request("GET", "/v1/status", headers=ADA)
        assert answer.json == {"figures": {"cpu_percent": 1.5, "connections": None}}

    def test_history(self) -> None:
        """The parameters arrive as they are meant, and the answer as it is."""
        target = "/v1/status/history?from=1000&to=1100&step=10s&columns=connections"
        answer = self.caller.request("GET", target, headers=ADA)
        assert (answer.status, answer.body) == (200, b'{"rows":[]}\n')
        assert answer.headers["Content-Type"] == "application/json"
        assert self.status.asked == [Query(1000, 1100, 10, ["connections"])]

    def test_bad_parameters(self) -> None:
        """They are ntfy's error object, and nobody is asked."""
        for parameters in ("from=x", "from=2&to=1", "step=7s", "from=1&to=99999&step=10s", "columns=%27"):
            assert self.caller.request("GET", f"/v1/status/history?{parameters}", headers=ADA).code == 40000
        assert self.status.asked == []

    def test_database_away(self) -> None:
        """Then there is no history now, and the answer says to try again."""
        self.status.answer = succeed(None)
        assert self.caller.request("GET", "/v1/status/history", headers=ADA).code == 50300

    def test_caller_leaves_while_the_database_thinks(self) -> None:
        """Nothing comes of it."""
        self.status.answer = Deferred()
        head = f"GET /v1/status/history HTTP/1.1\r\nHost: h\r\n{ADA}\r\n"
        assert self.caller.send(head.encode()) == []
        self.caller.channel.connectionLost(Failure(ConnectionLost()))
        self.status.answer.callback(b"{}")

    def test_who_may(self) -> None:
        """Administrators, and nobody else."""
        for path in ("/v1/status", "/v1/status/history", "/v1/status/sse"):
            assert self.caller.request("GET", path).code == 40301
            assert self.caller.request("GET", path, headers=WRONG).code == 40101
            assert self.called_by().request("GET", path, headers=ADA).code == 40301
        assert self.status.asked == self.status.listeners == []


class EventsTests(StatusCase):
    def listen(self) -> str:
        self.caller.channel.dataReceived(f"GET /v1/status/sse HTTP/1.1\r\nHost: h\r\n{ADA}\r\n".encode())
        return self.heard()

    def heard(self) -> str:
        """What has come since the last time."""
        text = self.caller.transport.value().decode()
        self.caller.transport.clear()
        return text

    def test_each_sample(self) -> None:
        """An event with what the page of the moment says."""
        assert "text/event-stream" in self.listen()
        (callback,) = self.status.listeners
        callback(self.status.now())
        (line,) = [line for line in self.heard().splitlines() if line.startswith("data: ")]
        assert json.loads(line.removeprefix("data: ")) == self.status.now()

    def test_reader_leaves(self) -> None:
        """Then nobody is told any more."""
        self.listen()
        self.caller.channel.connectionLost(Failure(ConnectionLost()))
        assert self.status.listeners == []


class ReadyTests(StatusCase):
    def test_open_to_all(self) -> None:
        """Load balancers have no login."""
        self.doorkeeper.anonymous = ReasonCode.NOT_AUTHORIZED
        answer = self.caller.request("GET", "/v1/ready")
        assert (answer.status, answer.json) == (200, {"ready": True})

    def test_not_ready(self) -> None:
        """Before all is there, and from a stop on."""
        self.status.ready = False
        answer = self.caller.request("GET", "/v1/ready")
        assert (answer.status, answer.json) == (503, {"ready": False})


class MetricsPageTests(StatusCase):
    def test_type(self) -> None:
        """The format says its version, and is the same with a slash behind the path."""
        for path in ("/metrics", "/metrics/"):
            answer = self.caller.request("GET", path, headers=ADA)
            assert (answer.status, answer.body) == (200, b"pushd_connections 1.0\n")
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")

    def test_without_a_login(self) -> None:
        """Where the listener lets such callers in."""
        assert self.caller.request("GET", "/metrics").status == 200
        self.doorkeeper.anonymous = ReasonCode.NOT_AUTHORIZED
        assert self.caller.request("GET", "/metrics").code == 40301
        assert self.caller.request("GET", "/metrics", headers=ADA).status == 200

    def test_others(self) -> None:
        """A user without rights, and a wrong password."""
        assert self.called_by("bob").request("GET", "/metrics", headers=ADA).code == 40301
        assert self.caller.request("GET", "/metrics", headers=WRONG).code == 40101
        assert self.caller.request("GET", "/metrics/more", headers=ADA).code == 40401
