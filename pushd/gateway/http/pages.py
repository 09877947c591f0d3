"""
Pages beside the pushes: what they have in common, and where others put theirs.

    app = json_app()

    class StatusPages:
        app = app
        @app.route("/status", methods=["GET"])
        async def status(self, request: GatewayRequest) -> bytes: ...
            await self._guard.identify_admin(request)
            return json_answer(request, {...})

Whatever a page raises is answered with the error object: a `Refusal` as it says, anything else as our own
fault. A path below ``/v1`` belongs to the pages that its first segment names, such as ``/v1/status/history``;
`MakePages` says who they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard

log = Logger()

# Of lists that come in pages.
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

# By what stands first in their path: ``b"v1/status"``, or ``b"metrics"`` for one that is not below ``/v1``.
# The pages see their path from "status" on, and from behind "metrics" on.
Pages: TypeAlias = Mapping[bytes, IResource]

# Each listener has a guard of its own.
MakePages: TypeAlias = Callable[[Guard], Pages]


def no_pages(guard: Guard) -> Pages:
    """Of a gateway that takes pushes only."""
    return {}


def json_app() -> Klein:
    """A klein application that answers errors as this gateway does."""
    app = Klein()

    @app.handle_errors(Refusal)  # type: ignore[arg-type]  # klein's stub knows only IRequest here, and below
    def refused(_: object, request: GatewayRequest, failure: Failure) -> bytes:
        refusal = failure.value
        assert isinstance(refusal, Refusal)
        for line in filter(None, refusal.headers.split(b"\r\n")):
            name, _, value = line.partition(b": ")
            request.responseHeaders.addRawHeader(name, value)
        return request.prepared(refusal.problem.body, refusal.problem.http)

    @app.handle_errors(HTTPException)  # type: ignore[arg-type]
    def no_such_page(_: object, request: GatewayRequest, failure: Failure) -> bytes:
        """A wrong method is a wrong page, too: ntfy tells them not apart, and its clients cannot."""
        return request.prepared(problems.NOT_FOUND.body, problems.NOT_FOUND.http)

    @app.handle_errors(Exception)  # type: ignore[arg-type]
    def failed(_: object, request: GatewayRequest, failure: Failure) -> bytes:
        log.failure("answering {method} failed", failure=failure, method=request.method)
        return request.prepared(problems.INTERNAL_ERROR.body, problems.INTERNAL_ERROR.http)

    return app


def json_answer(request: GatewayRequest, value: Any, status: int = 200) -> bytes:
    """An answer of klein's pages; `value` is anything that JSON can say."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    return request.prepared(body, status)


def json_object(request: GatewayRequest) -> dict[str, Any]:
    """
    The JSON object in a request's body.

    :raises Refusal: 40024, there is none.
    """
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refusal(problems.JSON_INVALID) from None
    if not isinstance(value, dict):
        raise Refusal(problems.JSON_INVALID)
    return value


def page_limit(request: GatewayRequest) -> int:
    """
    How much of a list is wanted: ``?limit=``.

    :raises Refusal: 40000, it is no number from 1 to `MAX_LIMIT`.
    """
    said = request.argument(b"limit")
    if not said:
        return DEFAULT_LIMIT
    if not (said.isdigit() and len(said) <= len(str(MAX_LIMIT)) and 1 <= int(said) <= MAX_LIMIT):
        raise Refusal(problems.LIMIT_INVALID)
    return int(said)


def begin_behind(request: GatewayRequest) -> str:
    """
    The name that a list goes on from, which nobody needs to have: ``?after=``.

    :raises Refusal: 40401, nothing has such a name.
    """
    said = request.argument(b"after")
    return path_text(said.decode(errors="surrogateescape")) if said else ""


class Quoted(Resource):
    """
    Hands requests on to klein's pages with each segment of the path quoted again: klein sees a path as one
    text, in which a name with a slash would be two. The pages read such names with `quoted_text`.
    """

    isLeaf = True

    def __init__(self, pages: IResource) -> None:
        super().__init__()
        self._pages = pages

    def render(self, request: GatewayRequest) -> Any:
        segments = request.postpath or []
        request.postpath = [quote(segment, safe="").encode("ascii") for segment in segments]
        return self._pages.render(request)


def quoted_text(segment: str) -> str:
    """
    A name that stood in a path, for pages behind `Quoted`.

    :raises Refusal: as `path_text`.
    """
    return path_text(unquote(segment, errors="surrogateescape"))


def path_text(text: str) -> str:
    """
    A name that stood in a path. klein decodes it; what is no UTF-8 was refused before, and this what no name
    of MQTT may hold.

    :raises Refusal: 40401, nothing has such a name.
    """
    if not text or "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Refusal(problems.NOT_FOUND)
    return text
