"""
The pages of the gateway: what is at which path.

    /  /<topic>  /<topic>/<sequence>  /v1/publish/...   pushes: see `pushd.gateway.ntfy.publish`
    GET       /<topics>/json          and sse, raw, ws, auth: whoever is in charge of ``*/json``
    GET       /<topic>?up=1           whether this is a server of UnifiedPush
    /_matrix/push/...                 not the topic ``_matrix``: a homeserver's
    GET       /v1/health              open to all
    OPTIONS   anything                what a browser may send from another site's page: everything

Pushing is the hot path and a plain resource. The other pages of ``/v1`` are klein's: half as fast, and easier
to read.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from pushd.gateway.http import problems
from pushd.gateway.http.openapi import BOOLEAN, described, record, text
from pushd.gateway.http.pages import Pages, json_app
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.ntfy.parameters import TRUE
from pushd.gateway.ntfy.publish import PushPage

_READING = (b"GET", b"HEAD")


class Root(Resource):
    """Sends each request to its page."""

    def __init__(self, push: PushPage, healthy: Callable[[], bool], pages: Pages) -> None:
        super().__init__()
        self._push = push
        self._version_1 = VersionOne(healthy).app.resource()
        self._preflight = Preflight()
        self._unified_push = UnifiedPushPage()
        self._pages = pages

    def getChildWithDefault(self, segment: bytes, request: GatewayRequest) -> IResource:
        if request.method == b"OPTIONS":
            return self._preflight
        if segment == b"v1" and request.postpath and request.postpath[0] != b"publish":
            _check_path(request)
            return self._pages.get(b"v1/" + request.postpath[0], self._version_1)
        if segment == b"_matrix" and len(request.segments) > 2:
            _check_path(request)
            return self._pages.get(segment, self._push)
        if request.method in _READING:
            return self._page(segment, request)
        return self._push

    def _page(self, segment: bytes, request: GatewayRequest) -> IResource:
        """Of one who reads: a page of its own, or one behind topics, or a push by GET."""
        if segment in self._pages:
            _check_path(request)
            return self._pages[segment]
        if len(request.segments) == 2:
            return self._pages.get(b"*/" + request.segments[1], self._push)
        if request.argument(b"up").decode("latin-1").lower() in TRUE:
            return self._unified_push
        return self._push


def _check_path(request: GatewayRequest) -> None:
    """klein answers a path that is not UTF-8 with plain text, and logs it as an error of ours."""
    try:
        b"/".join(request.segments).decode()
    except UnicodeDecodeError:
        raise Refusal(problems.NOT_FOUND) from None


# There is one thing yet that can be wrong with a pushd that answers.
_NOT_HEALTHY = b'{"healthy":false,"reason":"nothing can be stored at the moment"}\n'


_HEALTH = record(["healthy"], healthy=BOOLEAN, reason=text())


class VersionOne:
    """The pages under ``/v1`` that are not pushes."""

    app = json_app()

    def __init__(self, healthy: Callable[[], bool]) -> None:
        self._healthy = healthy

    @app.route("/health", methods=["GET"])
    @described("Whether what is pushed can be stored", answer=_HEALTH, statuses=(200, 503), open=True)
    def health(self, request: GatewayRequest) -> bytes:
        """For probes and load balancers, without a login: it names no file, and the log says more."""
        if self._healthy():
            return request.prepared(b'{"healthy":true}\n')
        return request.prepared(_NOT_HEALTHY, 503)


class UnifiedPushPage(Resource):
    """What a distributor of UnifiedPush asks of a topic before it tells anybody to push there."""

    isLeaf = True

    def render(self, request: GatewayRequest) -> int:
        request.answer(b'{"unifiedpush":{"version":1}}\n')
        return NOT_DONE_YET


_EVERYTHING_ALLOWED = (
    b"Access-Control-Allow-Methods: GET, PUT, POST, PATCH, DELETE\r\nAccess-Control-Allow-Headers: *\r\n"
)


class Preflight(Resource):
    """``OPTIONS``, with which a browser asks whether a page of another site may send what it is about to."""

    isLeaf = True

    def render(self, request: GatewayRequest) -> int:
        request.answer(b"", headers=_EVERYTHING_ALLOWED)
        return NOT_DONE_YET
