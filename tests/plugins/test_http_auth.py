"""``docs/examples/http_auth.py``: a service that answers, refuses, fails, hangs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseNeverReceived

from pushd.plugins import ReasonCode
from pushd.plugins.loading import PluginError
from pushd.testing import MemoryBroker, use

HTTP_AUTH = "docs/examples/http_auth.py"
URL = "http://127.0.0.1:5000/mqtt"


@dataclass
class Response:
    """One without a body."""

    code: int
    phrase: bytes = b""

    def deliverBody(self, protocol: Any) -> None:
        protocol.connectionLost(Failure(ResponseDone()))


Answer: TypeAlias = int | Exception | Deferred[Response]


@dataclass
class FakeAgent:
    """
    Stands where `twisted.web.client.Agent` does.

    :ivar answers: by URL: a status, an exception, or a Deferred for later.
    :ivar asked: the URLs, in their order.
    :ivar first: what comes of the first questions instead.
    """

    answers: dict[str, Answer]
    asked: list[str] = field(default_factory=list)
    first: list[Exception] = field(default_factory=list)

    def request(self, method: bytes, url: bytes, headers: object, body: object) -> Deferred[Response]:
        self.asked.append(url.decode())
        answer = self.first.pop() if self.first else self.answers[url.decode()]
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(Response(answer))


class HttpAuthTestCase(SynchronousTestCase):
    def serve(self, login: Answer = 200, access: Answer = 200, **options: object) -> MemoryBroker:
        """A broker whose plugin asks a service that answers so."""
        broker = MemoryBroker(use(HTTP_AUTH, url=URL, **options), users={"eve": "apple"})
        broker.__enter__()
        self.addCleanup(broker.__exit__)
        self.agent = FakeAgent({f"{URL}/login": login, f"{URL}/access": access})
        broker.plugin().agent = self.agent
        return broker


class LoginTests(HttpAuthTestCase):
    def test_statuses(self) -> None:
        """200 lets in, 401 and 403 do not, anything unknown is a failure."""
        for status, code in (
            (200, ReasonCode.SUCCESS),
            (401, ReasonCode.NOT_AUTHORIZED),
            (403, ReasonCode.NOT_AUTHORIZED),
            (500, ReasonCode.SERVER_UNAVAILABLE),
            (302, ReasonCode.SERVER_UNAVAILABLE),
        ):
            assert self.serve(login=status).connect("a", "ada", "secret").code is code, status
        self.flushLoggedErrors()

    def test_not_found_leaves_it_to_the_password_file(self) -> None:
        """Users that the service does not know may be known there."""
        broker = self.serve(login=404)
        assert broker.connect("e", "eve", "apple").code is ReasonCode.SUCCESS
        assert broker.connect("m", "mallory", "apple").code is ReasonCode.NOT_AUTHORIZED

    def test_nobody_is_asked_about_anonymous_clients(self) -> None:
        """Whether they come in is up to the settings."""
        assert self.serve(login=401).connect("a").code is ReasonCode.SUCCESS
        assert self.agent.asked == []

    def test_a_service_that_is_gone_refuses(self) -> None:
        """In version 3 with "server unavailable", too: the client may try again."""
        broker = self.serve(login=ConnectionRefusedError())
        assert broker.connect("a", "ada", "secret", version=4).closed
        assert broker.failures == {"authenticate/failed": 1}
        assert len(self.flushLoggedErrors()) == 1

    def test_a_service_that_hangs_refuses(self) -> None:
        """After `timeout_s`; meanwhile everybody else is served."""
        broker = self.serve(login=Deferred(), timeout_s=2)
        ada, guest = broker.connect("a", "ada", "secret"), broker.connect("guest")
        assert (ada.code, guest.code) == (None, ReasonCode.SUCCESS)
        broker.advance(2)
        assert ada.code is ReasonCode.SERVER_UNAVAILABLE
        assert len(self.flushLoggedErrors()) == 1

    def test_a_kept_connection_that_is_closed(self) -> None:
        """The service may hang up just then; it is asked again, and once only."""
        lost = ResponseNeverReceived([Failure(ConnectionLost())])
        broker = self.serve()
        self.agent.first = [lost]
        assert broker.connect("a", "ada", "secret").code is ReasonCode.SUCCESS
        self.agent.first = [lost, lost]
        assert broker.connect("b", "ada", "secret").code is ReasonCode.SERVER_UNAVAILABLE
        assert len(self.agent.asked) == 4
        assert len(self.flushLoggedErrors()) == 1

    def test_answers_are_remembered_for_a_while(self) -> None:
        """The same login again within `cache_s` asks nobody; another password does."""
        broker = self.serve(cache_s=30)
        for password in ("secret", "secret", "other"):
            broker.connect("a", "ada", password)
        assert len(self.agent.asked) == 2
        broker.advance(30)
        broker.connect("a", "ada", "secret")
        assert len(self.agent.asked) == 3

    def test_failures_are_not_remembered(self) -> None:
        """When the service is back, so are its users."""
        broker = self.serve(login=ConnectionRefusedError())
        assert broker.connect("a", "ada", "secret").code is ReasonCode.SERVER_UNAVAILABLE
        self.agent.answers[f"{URL}/login"] = 200
        assert broker.connect("a", "ada", "secret").code is ReasonCode.SUCCESS
        self.flushLoggedErrors()

    def test_the_cache_has_a_limit(self) -> None:
        """Whoever tries a million names does not fill the memory."""
        broker = self.serve(login=401, cache_size=10)
        for number in range(20):
            broker.connect("a", f"user{number}", "x")
        assert len(broker.plugin()._cache) == 10


class AccessTests(HttpAuthTestCase):
    def test_refused_to_publish(self) -> None:
        """The publisher learns it; nobody gets the message."""
        broker = self.serve(access=403)
        ada = broker.connect("a", "ada", "secret")
        assert ada.publish("news", b"x", qos=1) is ReasonCode.NOT_AUTHORIZED
        assert ada.subscribe("news") == [ReasonCode.NOT_AUTHORIZED]

    def test_allowed_topics_are_asked_about_once(self) -> None:
        """A topic that may be published to is remembered by the broker as well."""
        broker = self.serve()
        ada = broker.connect("a", "ada", "secret")
        ada.subscribe("news")
        for _ in range(3):
            ada.publish("news", b"x")
        assert len(ada.messages()) == 3
        assert self.agent.asked == [f"{URL}/login", f"{URL}/access", f"{URL}/access"]


class OptionTests(SynchronousTestCase):
    def test_a_url_is_needed(self) -> None:
        """Without one, or with something else, pushd does not start."""
        for options, told in (
            ({}, "plugin_opt_url is missing"),
            ({"url": "localhost"}, "plugin_opt_url: 'localhost' is no URL"),
        ):
            error = self.assertRaises(PluginError, use, HTTP_AUTH, **options)
            assert told in str(error)
