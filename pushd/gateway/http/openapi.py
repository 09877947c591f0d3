"""
What the gateway offers, as OpenAPI 3.1: ``/openapi.json``.

It is made from what serves. The paths and methods are those that klein routes by; what a page takes and
answers stands right above it:

    @app.route("/clients/<client_id>", methods=["GET"])
    @described("One client, with its subscriptions", answer=CLIENT)
    async def one(self, request: GatewayRequest, client_id: str) -> bytes: ...

Pages that are no klein's (pushes, streams, files) are listed beside their code as `Page`.

Schemas are JSON Schema 2020-12, as OpenAPI 3.1 has them, made with the few words below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from klein import Klein
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest

Schema: TypeAlias = "dict[str, Any]"
Function = TypeVar("Function", bound=Callable[..., Any])

JSON = "application/json"
EVENTS = "text/event-stream"

# Words for schemas

BOOLEAN: Schema = {"type": "boolean"}
ANYTHING: Schema = {}


def text(about: str = "", **more: Any) -> Schema:
    """A text. `more` are keywords of JSON Schema."""
    return {"type": "string", **_about(about), **more}


def integer(about: str = "", **more: Any) -> Schema:
    """A whole number."""
    return {"type": "integer", **_about(about), **more}


def number(about: str = "", **more: Any) -> Schema:
    """A number."""
    return {"type": "number", **_about(about), **more}


def one_of(*values: str, about: str = "") -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(values), **_about(about)}


def listed(of: Schema, about: str = "", **more: Any) -> Schema:
    """A list of such things."""
    return {"type": "array", "items": of, **_about(about), **more}


def record(required: Iterable[str] = (), about: str = "", **fields: Schema) -> Schema:
    """An object that has such fields, and perhaps others."""
    needed = list(required)
    return {
        "type": "object",
        "properties": fields,
        **({"required": needed} if needed else {}),
        **_about(about),
    }


def closed(schema: Schema) -> Schema:
    """An object that has no other fields."""
    return {**schema, "additionalProperties": False}


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def _about(about: str) -> Schema:
    return {"description": about} if about else {}


ERROR: Schema = closed(
    record(
        ["code", "http", "error"],
        about="What went wrong, in ntfy's words. There are never other fields.",
        code=integer("The HTTP status and two digits more."),
        http=integer("The HTTP status."),
        error=text(),
        link=text(),
    )
)


@dataclass(frozen=True, slots=True)
class Operation:
    """
    What a page takes and answers.

    :ivar summary: one line.
    :ivar about: what else there is to say.
    :ivar path: what names in the path may be, where not anything will do.
    :ivar query: parameters of the query, by name.
    :ivar headers: headers that mean something here.
    :ivar body: a JSON body, or ``None``.
    :ivar takes: the type of a body that is no JSON; empty for none.
    :ivar answer: a good answer, if it is JSON.
    :ivar answers: the type of one that is not; empty for one that is nothing.
    :ivar statuses: of good answers.
    :ivar open: whether it asks nobody who they are.
    """

    summary: str
    about: str = ""
    path: Mapping[str, Schema] = field(default_factory=dict)
    query: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None
    body_required: bool = True
    takes: str = ""
    answer: Schema | None = None
    answers: str = JSON
    statuses: tuple[int, ...] = (200,)
    open: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """An operation of a page that klein does not route."""

    method: str
    path: str  # "/{topic}"
    operation: Operation


def described(summary: str, **more: Any) -> Callable[[Function], Function]:
    """
    Say of a page of klein's what it takes and answers.

    :param more: fields of `Operation`.
    """

    def mark(function: Function) -> Function:
        function.operation = Operation(summary, **more)  # type: ignore[attr-defined]
        return function

    return mark


def pages_of(app: Klein, prefix: str = "/v1") -> list[Page]:
    """
    What klein routes.

    :param prefix: of all paths of this application.
    :raises AttributeError: a page is not `described`.
    """
    served: dict[str, Any] = app.endpoints
    return [
        Page(method, prefix + _braces(rule.rule).rstrip("/"), served[rule.endpoint].operation)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def _braces(rule: str) -> str:
    """A path of werkzeug's, ``/users/<user>``, as OpenAPI has it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def document(pages: Iterable[Page], version: str) -> dict[str, Any]:
    """
    The whole document.

    :param version: of pushd.
    """
    paths: dict[str, dict[str, Any]] = {}
    for page in sorted(pages, key=lambda page: (page.path, page.method)):
        paths.setdefault(page.path, {})[page.method.lower()] = _operation(page)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pushd", "version": version, "description": _ABOUT},
        "security": [{"basic": []}, {"bearer": []}, {}],
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


_ABOUT = "The HTTP gateway of an MQTT broker, compatible with ntfy."


def _operation(page: Page) -> dict[str, Any]:
    told = page.operation
    made: dict[str, Any] = {
        "operationId": f"{page.method.lower()} {page.path}",
        "summary": told.summary,
        "responses": {str(status): _good(told) for status in told.statuses} | {"default": _BAD},
    }
    if told.about:
        made["description"] = told.about
    names = re.findall(r"{(\w+)}", page.path)
    parameters = [_parameter("path", name, told.path.get(name, text(minLength=1))) for name in names]
    parameters += [_parameter("query", name, schema) for name, schema in told.query.items()]
    parameters += [_parameter("header", name, schema) for name, schema in told.headers.items()]
    if parameters:
        made["parameters"] = parameters
    if told.body is not None:
        made["requestBody"] = {"required": told.body_required, "content": {JSON: {"schema": told.body}}}
    elif told.takes:
        made["requestBody"] = {"content": {told.takes: {}}}
    if told.open:
        made["security"] = []
    return made


_BAD = {
    "description": "What went wrong",
    "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def _good(told: Operation) -> dict[str, Any]:
    if not told.answers:
        return {"description": "Done"}
    content = {told.answers: {"schema": told.answer} if told.answer is not None else {}}
    return {"description": "Done", "content": content}


def _parameter(place: str, name: str, schema: Schema) -> dict[str, Any]:
    about = schema.get("description", "")
    bare = {key: value for key, value in schema.items() if key != "description"}
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": bare,
        **({"description": about} if about else {}),
    }


class OpenApiPage(Resource):
    """``/openapi.json``. Open to all: it says what there is, and nothing of what is in it."""

    isLeaf = True

    def __init__(self, pages: Iterable[Page], version: str) -> None:
        super().__init__()
        self._body = json.dumps(document(pages, version), ensure_ascii=False).encode() + b"\n"

    def render(self, request: GatewayRequest) -> int:
        """
        :raises Refusal: 40401, there is nothing below it.
        """
        if request.postpath:
            raise Refusal(problems.NOT_FOUND)
        request.answer(self._body)
        return NOT_DONE_YET
