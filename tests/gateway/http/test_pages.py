"""`pushd.gateway.http.pages`: pages beside the pushes, and who may see them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.gateway.http import problems
from pushd.gateway.http.pages import json_answer, json_app, json_object, path_text
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard
from tests.gateway.callers import Caller


class Desk:
    """Some pages, as others write them."""

    app = json_app()

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    @app.route("/desk/echo", methods=["POST"])
    async def echo(self, request: GatewayRequest) -> bytes:
        caller = await self._guard.identify_admin(request)
        return json_answer(request, {"by": caller.username, **json_object(request)}, 201)

    @app.route("/desk/named/<name>", methods=["GET"])
    def named(self, request: GatewayRequest, name: str) -> bytes:
        return json_answer(request, path_text(name))

    @app.route("/desk/late", methods=["GET"])
    def late(self, request: GatewayRequest) -> bytes:
        raise Refusal(problems.TOO_MANY_REQUESTS, b"Retry-After: 7\r\n")

    @app.route("/desk/broken", methods=["GET"])
    def broken(self, request: GatewayRequest) -> bytes:
        raise ValueError("a mistake of ours")


def desk(guard: Guard) -> dict[bytes, IResource]:
    resource: Any = Desk(guard).app.resource()
    return {b"v1/desk": resource}


ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"


class PagesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.caller = Caller(admins=("ada",), make_pages=desk)

    def test_json_in_and_out(self) -> None:
        """For an administrator, with the status that the page chose."""
        answer = self.caller.post("/v1/desk/echo", b'{"a": "\xc3\xa4"}', ADA)
        self.assertEqual((answer.status, answer.json), (201, {"by": "ada", "a": "ä"}))

    def test_no_json(self) -> None:
        """What is no JSON, or no object, is refused as a push would be."""
        for body in (b"", b"[]", b"{", b"\xff", b"[" * 4000):
            self.assertEqual(self.caller.post("/v1/desk/echo", body, ADA).code, 40024)

    def test_others(self) -> None:
        """Whoever has no name, or is no administrator, is told 403, and a wrong password 401."""
        self.assertEqual(self.caller.post("/v1/desk/echo", b"{}").code, 40301)
        wrong = "Authorization: Basic YWRhOndyb25n\r\n"
        self.assertEqual(self.caller.post("/v1/desk/echo", b"{}", wrong).code, 40101)
        nobody = Caller(make_pages=desk)
        self.assertEqual(nobody.post("/v1/desk/echo", b"{}", ADA).code, 40301)

    def test_names_in_paths(self) -> None:
        """They are decoded once; what no name of MQTT can be is no page."""
        answer = self.caller.request("GET", "/v1/desk/named/%C3%A4%252F%3Cb%3E")
        self.assertEqual(answer.json, "ä%2F<b>")
        for name in ("a%00b", "%ff"):
            self.assertEqual(self.caller.request("GET", f"/v1/desk/named/{name}").code, 40401)

    def test_refusals(self) -> None:
        """They keep their headers."""
        answer = self.caller.request("GET", "/v1/desk/late")
        self.assertEqual((answer.code, answer.headers["Retry-After"]), (42901, "7"))

    def test_our_own_mistakes(self) -> None:
        """They are in the log with their traceback, and the caller hears that it was not the request."""
        self.assertEqual(self.caller.request("GET", "/v1/desk/broken").code, 50001)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_other_pages(self) -> None:
        """A path that nothing is at, a method that it does not have."""
        for method, path in (("GET", "/v1/desk"), ("GET", "/v1/desk/echo"), ("GET", "/v1/chair")):
            self.assertEqual(self.caller.request(method, path).code, 40401)
        self.assertEqual(self.caller.request("GET", "/v1/health").status, 200)
