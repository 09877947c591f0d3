"""`pushd.gateway.http.openapi`: the document, and the page to try calls."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.explorer import explorer
from pushd.gateway.http.openapi import Page, described, document, integer, pages_of, record, text
from pushd.gateway.http.pages import json_app
from pushd.gateway.http.request import GatewayRequest
from tests.gateway.callers import Caller


class Shelf:
    """Pages as others write them."""

    app = json_app()

    @app.route("/books/<path:name>", methods=["GET"])
    @described("One book", query={"page": integer("From 1", minimum=1)}, answer=record(["name"], name=text()))
    def one(self, request: GatewayRequest, name: str) -> bytes:
        return b""

    @app.route("/books/<path:name>", methods=["PUT"])
    @described("Put a book there", body=record(text=text()), statuses=(201,), open=True)
    def put(self, request: GatewayRequest, name: str) -> bytes:
        return b""


def told() -> dict[str, Any]:
    """What the document says of its only path."""
    operations: dict[str, Any] = document(pages_of(Shelf.app), "1")["paths"]["/v1/books/{name}"]
    return operations


class DocumentTests(SynchronousTestCase):
    def test_paths_and_methods_are_what_klein_routes(self) -> None:
        """Nobody writes them twice."""
        self.assertEqual(told().keys(), {"get", "put"})
        self.assertEqual(told()["get"]["summary"], "One book")

    def test_parameters(self) -> None:
        """Those in the path must be there."""
        in_path, in_query = told()["get"]["parameters"]
        self.assertEqual((in_path["name"], in_path["in"], in_path["required"]), ("name", "path", True))
        self.assertEqual(in_query["schema"], {"type": "integer", "minimum": 1})
        self.assertEqual((in_query["description"], in_query["required"]), ("From 1", False))

    def test_bodies_and_answers(self) -> None:
        """Each with its schema; whatever goes wrong is the error object."""
        self.assertIn("application/json", told()["put"]["requestBody"]["content"])
        self.assertEqual(told()["put"]["responses"].keys(), {"201", "default"})
        schema = told()["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        self.assertEqual(schema["required"], ["name"])

    def test_who_need_not_log_in(self) -> None:
        """Where nobody is asked."""
        self.assertEqual(told()["put"]["security"], [])
        self.assertNotIn("security", told()["get"])

    def test_operations_have_ids_of_their_own(self) -> None:
        """As OpenAPI wants them."""
        pages = pages_of(Shelf.app)
        self.assertEqual(len({f"{page.method} {page.path}" for page in pages}), len(pages))
        self.assertIsInstance(pages[0], Page)


class ExplorerTests(SynchronousTestCase):
    """``/docs``"""

    def test_the_page_and_its_files(self) -> None:
        """It may ask its own server only, and shows text as text."""
        caller = Caller(make_pages=lambda guard: {b"docs": explorer()})
        answer = caller.request("GET", "/docs")
        self.assertIn("default-src 'none'", answer.headers["Content-Security-Policy"])
        script = caller.request("GET", "/docs/explorer.js").body
        self.assertNotIn(b"innerHTML", script)
        self.assertEqual(caller.request("GET", "/docs/other.js").code, 40401)

    def test_docs_is_no_topic_all_the_same(self) -> None:
        """As in ntfy."""
        caller = Caller(make_pages=lambda guard: {b"docs": explorer()})
        self.assertEqual(caller.post("/docs", b"x").code, 40010)
