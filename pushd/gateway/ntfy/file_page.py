"""
``GET /file/<id>.<ending>``: fetching a file that came with a message.

Whoever knows the address may fetch it, as in ntfy: it stands in a message, and nobody guesses one. The answer
is read from disk as fast as its reader takes it. No browser ever shows it as a page of this site: it is to be
saved, its type is not to be guessed, and what could run is called text.
"""

from __future__ import annotations

import os
import re
from io import FileIO
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from pushd.gateway.http import problems
from pushd.gateway.http.openapi import Operation, Page, text
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest, http_date
from pushd.gateway.http.uploads import InThread
from pushd.gateway.ntfy.attachments import Attachments, Kept
from pushd.gateway.ntfy.file_types import type_of_ending

BLOCK_BYTES = 65_536

# Files of the process that answers may have open.
MAX_AT_ONCE = 300

# A reader that takes less than what the transport holds (64 KiB) in this time is gone.
STALL_S = 60.0

OPERATION = Operation(
    "Fetch a file that came with a push",
    "Its address stands in the message. A Range asks for a part of it.",
    path={"name": text(pattern=r"^[A-Za-z0-9]{24}(\.[A-Za-z0-9]{1,16})?$")},
    headers={"Range": text("bytes=FIRST-LAST")},
    answers="application/octet-stream",
    statuses=(200, 206),
    open=True,
)
PAGES = tuple(Page(method, "/file/{name}", OPERATION) for method in ("GET", "HEAD"))

_NAME = re.compile(rb"([A-Za-z0-9]{24})(?:\.[A-Za-z0-9]{1,16})?")
_RANGE = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")


class Span(NamedTuple):
    """Which bytes of a file: from `start` up to, but without, `end`."""

    start: int
    end: int


class FilePage(Resource):
    """
    :param in_thread: calls a function that blocks.
    """

    isLeaf = True

    def __init__(self, attachments: Attachments, in_thread: InThread) -> None:
        super().__init__()
        self._attachments = attachments
        self._in_thread = in_thread
        self._open = 0

    def render(self, request: GatewayRequest) -> int:
        """
        :raises Refusal: 40401, there is no such file (any more), or it is no path of one.
        """
        request.answer_by(self._send(request, self._find(request)))
        return NOT_DONE_YET

    def _find(self, request: GatewayRequest) -> Kept:
        if request.method not in (b"GET", b"HEAD") or len(request.segments) != 2:
            raise Refusal(problems.NOT_FOUND)
        name = _NAME.fullmatch(request.segments[1])
        kept = self._attachments.find(name[1].decode("ascii")) if name else None
        if kept is None:
            raise Refusal(problems.NOT_FOUND)
        return kept

    async def _send(self, request: GatewayRequest, kept: Kept) -> None:
        span = wanted_span(request, kept.size)
        if self._open >= MAX_AT_ONCE:
            raise Refusal(problems.TOO_MANY_TRANSFERS, b"Retry-After: 5\r\n")
        self._open += 1
        try:
            file = await self._in_thread(_open_at, self._attachments.path(kept), span.start)
            try:
                await self._copy(request, kept, span, file)
            finally:
                file.close()
        finally:
            self._open -= 1

    async def _copy(self, request: GatewayRequest, kept: Kept, span: Span, file: FileIO) -> None:
        if request.channel is None:  # it left while the file was opened
            return
        _set_headers(request, kept, span)
        reader = _Reader(request)
        reader.begin()
        left = span.end - span.start if request.method == b"GET" else 0
        while left and await reader.ready():
            block = await self._in_thread(file.read, min(left, BLOCK_BYTES))
            if not block:
                reader.cut_off()  # the file is shorter than it was; a short answer would look whole
                return
            left -= len(block)
            reader.write(block)
        reader.end()


def wanted_span(request: GatewayRequest, size: int) -> Span:
    """
    What the header ``Range`` asks for (RFC 9110 §14): one range, or everything. What is not understood is
    ignored, as the RFC has it; ``If-Range`` as well, for files here have no name that would tell them apart.

    :raises Refusal: 41600, the file does not reach as far.
    """
    match = _RANGE.fullmatch(request.getHeader(b"range") or b"")
    if match is None or request.method != b"GET" or request.getHeader(b"if-range") is not None:
        return Span(0, size)
    first, last = match.groups()
    if not first and not last:
        return Span(0, size)
    if not first:
        span = Span(max(size - int(last), 0), size)
    else:
        span = Span(int(first), min(int(last) + 1, size) if last else size)
    if first and last and int(last) < int(first):
        return Span(0, size)
    if span.start >= span.end:
        raise Refusal(problems.RANGE_INVALID, b"Content-Range: bytes */%d\r\n" % size)
    return span


def _open_at(path: str, start: int) -> FileIO:
    """
    :raises Refusal: 40401, it has gone meanwhile.
    """
    try:
        file = FileIO(path)
    except FileNotFoundError:
        raise Refusal(problems.NOT_FOUND) from None
    file.seek(start, os.SEEK_SET)
    return file


def _set_headers(request: GatewayRequest, kept: Kept, span: Span) -> None:
    part = span != (0, kept.size)
    headers = {
        b"Server": b"pushd",
        b"Date": http_date(),
        b"Content-Type": type_of_ending(kept.ending).encode("ascii"),
        b"Content-Length": b"%d" % (span.end - span.start),
        b"Content-Disposition": b"attachment",
        b"X-Content-Type-Options": b"nosniff",
        b"Content-Security-Policy": b"default-src 'none'; sandbox",
        b"Accept-Ranges": b"bytes",
        b"Access-Control-Allow-Origin": b"*",
    }
    if part:
        headers[b"Content-Range"] = b"bytes %d-%d/%d" % (span.start, span.end - 1, kept.size)
    for name, value in headers.items():
        request.responseHeaders.setRawHeaders(name, [value])
    request.setResponseCode(206 if part else 200)


@implementer(IPushProducer)
class _Reader:
    """Whom a file is sent to, as fast as it reads."""

    def __init__(self, request: GatewayRequest) -> None:
        self._request = request
        self._channel: Any = request.channel  # a `GatewayChannel`; the request forgets it at its end
        self._gone = False
        self._waiting: Deferred[None] | None = None
        self._stalled: IDelayedCall | None = None
        request.notifyFinish().addBoth(lambda _: self._leave())

    def begin(self) -> None:
        """Be told from now on how fast it reads."""
        self._request.registerProducer(self, True)
        if self._channel.begin_stream():
            self.pauseProducing()

    async def ready(self) -> bool:
        """:return: when it can take more; False if it is gone."""
        if self._waiting is not None:
            await self._waiting
        return not self._gone

    def write(self, block: bytes) -> None:
        """Nothing if it is gone."""
        if not self._gone:
            self._request.write(block)

    def end(self) -> None:
        """The answer is whole; its connection may go on to another request."""
        if not self._gone:
            self._request.unregisterProducer()
            self._request.finish()

    def cut_off(self) -> None:
        """End the connection, so that it knows that something is missing."""
        if not self._gone:
            self._channel.transport.abortConnection()

    # What the transport says

    def pauseProducing(self) -> None:
        """It has enough for now."""
        if self._waiting is None and not self._gone:
            self._waiting = Deferred()
            self._stalled = self._channel.callLater(STALL_S, self.cut_off)

    def resumeProducing(self) -> None:
        """It has read all of that."""
        if self._stalled is not None and self._stalled.active():
            self._stalled.cancel()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """It is gone; the request is told, too."""

    def _leave(self) -> None:
        self._gone = True
        self.resumeProducing()
