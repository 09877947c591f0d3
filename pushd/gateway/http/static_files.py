"""
Pages made of files: as they are, with no build step and nothing from elsewhere.

The files hold no data and are open to all; what they show comes from ``/v1``, which asks who is there.
`POLICY` lets a page load its own server's files and ask its own server, and nothing else, whatever anybody
manages to write into it.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from twisted.web.http import CACHED
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest

if TYPE_CHECKING:
    from importlib.abc import Traversable

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}


class StaticFiles(Resource):
    """
    A page, and below it each of its other files by its name.

    :param package: in whose folder they are.
    :param page: the path of the page, for whoever puts a slash behind it.
    """

    isLeaf = True

    def __init__(self, package: str, page: bytes) -> None:
        super().__init__()
        self._page = page
        found = [each for each in files(package).iterdir() if _ending(each) in TYPES]
        self._files = {each.name.encode(): _File(each) for each in found}

    def render(self, request: GatewayRequest) -> int:
        """
        :raises Refusal: 40401, there is no such file.
        """
        path = request.postpath or []
        if path == [b""]:  # the names in the page begin at the root
            request.answer(b"", 301, b"Location: ../%s\r\n" % self._page)
            return NOT_DONE_YET
        file = self._files.get(b"/".join(path) or b"index.html")
        if file is None or request.method not in (b"GET", b"HEAD"):
            raise Refusal(problems.NOT_FOUND)
        file.answer(request)
        return NOT_DONE_YET


class _File:
    """One file, read at the start."""

    def __init__(self, file: Traversable) -> None:
        self._type = TYPES[_ending(file)]
        self._body = file.read_bytes()
        self._etag = b'"%s"' % sha256(self._body).hexdigest()[:16].encode()

    def answer(self, request: GatewayRequest) -> None:
        body = request.prepared(self._body)
        for name, value in (
            (b"Content-Type", self._type),
            (b"Content-Security-Policy", POLICY),
            (b"X-Frame-Options", b"DENY"),  # for whoever does not read the line above
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Referrer-Policy", b"no-referrer"),
            (b"Cache-Control", b"no-cache"),  # ask again each time; that costs 304 and no body
        ):
            request.responseHeaders.setRawHeaders(name, [value])
        request.responseHeaders.removeHeader(b"Access-Control-Allow-Origin")
        if request.setETag(self._etag) is CACHED:
            request.responseHeaders.removeHeader(b"Content-Length")
        elif request.method != b"HEAD":
            request.write(body)
        request.finish()


def _ending(file: Traversable) -> str:
    return file.name.rpartition(".")[2]
