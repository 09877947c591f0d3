"""
One HTTP request, as Twisted and klein want it, whose every answer is a JSON object.

What differs from `twisted.web.server.Request`: bodies keep within their limit and stay in memory, unless one
may be a file and is (`pushd.gateway.http.uploads`; Twisted would spool all that come in chunks, on the
reactor's thread), form bodies are not taken apart (curl calls everything a form), no answer is ever HTML, and
an answer may come after the caller has left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from wsgiref.handlers import format_date_time

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.http import parse_qs
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request

from pushd.gateway.http import problems
from pushd.gateway.http.bodies import SMALL_BYTES, BodyRoom
from pushd.gateway.http.body_limits import BodyLimit
from pushd.gateway.http.problems import Problem, Refusal

if TYPE_CHECKING:
    from pushd.gateway.http.uploads import Upload

JSON_TYPE = b"application/json"
MAX_PARAMETERS = 100  # in a query

_REASON = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}  # Twisted's table lacks 429

_log = Logger()


class GatewayRequest(Request):
    """
    :ivar body_limit: of what stays in memory. The channel sets it once the headers are there.
    :ivar begin_upload: makes a file of a body that is larger; ``None`` where there are no files.
    :ivar upload: such a file. Whoever wants to keep it says so before the answer.
    """

    body_limit: BodyLimit
    begin_upload: Callable[[], Upload] | None = None
    upload: Upload | None = None
    content: BytesIO
    _room: BodyRoom | None = None  # of which a large body has taken some
    _room_taken = 0
    defaultContentType = None
    query = b""
    segments: list[bytes]  # of the path, percent-decoded once: a %2F is within one

    # What the channel calls

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        if self.upload is None:
            size = self.content.tell() + len(data)
            if size <= self.body_limit.max_bytes:
                if size > SMALL_BYTES:
                    self._take_room(size - SMALL_BYTES - self._room_taken)
                self.content.write(data)
                return
            self.upload = self._begin_upload()
        self.upload.write(data)

    def _take_room(self, count: int) -> None:
        """:raises Refusal: 42901, others have it all."""
        room: BodyRoom = self.channel.site.body_room  # type: ignore[attr-defined]  # ours has one
        room.take(count)
        self._room = room
        self._room_taken += count

    def _begin_upload(self) -> Upload:
        """:raises Refusal: the body is too large for what it is."""
        if self.begin_upload is None:
            raise Refusal(self.body_limit.problem)
        upload, in_memory = self.begin_upload(), self.content.getvalue()
        self.content = BytesIO()
        upload.write(in_memory)
        return upload

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query = origin_form(path).partition(b"?")
        self.args = {}
        self.process()

    def process(self) -> None:
        """Find the resource and let it answer; whatever goes wrong on the way is answered too."""
        self.site = self.channel.site  # type: ignore[attr-defined]  # `Site.buildProtocol` puts it there
        try:
            self.args = _arguments(self.query)
            self.segments = _segments(self.path)
            self.prepath, self.postpath = [], self.segments.copy()
            self.render(self.site.getResourceFor(self))
        except Exception:
            self._failed(Failure())

    def render(self, resource: IResource) -> None:
        """`resource` answers with bytes, or with NOT_DONE_YET and later."""
        answer = resource.render(self)
        if answer is not NOT_DONE_YET:
            assert isinstance(answer, bytes)
            self.answer(answer)

    # What resources call

    @property
    def body(self) -> bytes:
        """
        All of it, at most the limit.

        :raises Refusal: 41301, it is larger, and so a file.
        """
        if self.upload is not None:
            raise Refusal(problems.MESSAGE_TOO_LARGE)
        return self.content.getvalue()

    @property
    def fingerprint(self) -> bytes:
        """Something that is the same for the same body only."""
        return self.content.getvalue() if self.upload is None else self.upload.digest

    def argument(self, name: bytes) -> bytes:
        """The first value of `name` in the query, percent-decoded; empty if there is none."""
        values: list[bytes] = self.args.get(name, [b""])
        return values[0]

    def answer_with(self, answering: Coroutine[Deferred[Any], Any, bytes]) -> int:
        """Answer with what `answering` comes to. A resource's ``render`` returns this call's result."""
        Deferred.fromCoroutine(answering).addCallback(self.answer).addErrback(self._failed)
        return NOT_DONE_YET

    def answered_by(self, answering: Coroutine[Deferred[Any], Any, None]) -> int:
        """The same where `answering` answers by itself, with a stream for one."""
        Deferred.fromCoroutine(answering).addErrback(self._failed)
        return NOT_DONE_YET

    def answer_by(self, answering: Coroutine[Deferred[Any], Any, None]) -> int:
        """The same for one that writes its answer itself."""
        Deferred.fromCoroutine(answering).addErrback(self._failed)
        return NOT_DONE_YET

    def answer(self, body: bytes, status: int = 200, headers: bytes = b"") -> None:
        """
        Send the whole answer, unless there was one already or the caller has left.

        It leaves in one piece and without `responseHeaders`, which took a tenth of the time of a push.

        :param headers: further header lines, each with its end.
        """
        if self.finished or self.channel is None:
            return
        if not self.channel.persistent:
            headers += b"Connection: close\r\n"
        self.setResponseCode(status)
        self.startedWriting = 1
        self.channel.write(response(status, body, headers, head_only=self.method == b"HEAD"))
        self.finish()

    def prepared(self, body: bytes, status: int = 200) -> bytes:
        """Set status and headers for `body`, which klein's pages return: klein itself writes and finishes."""
        self.setResponseCode(status, _REASON[status])
        for name, value in (
            (b"Server", b"pushd"),
            (b"Date", http_date()),
            (b"Content-Type", JSON_TYPE),
            (b"Content-Length", b"%d" % len(body)),
            (b"Access-Control-Allow-Origin", b"*"),
        ):
            self.responseHeaders.setRawHeaders(name, [value])
        return body

    def refuse(self, problem: Problem, headers: bytes = b"") -> None:
        """Answer with `problem`. `headers` are as in `answer`."""
        self.answer(problem.body, problem.http, headers)

    def processingFailed(self, reason: Failure) -> Failure:
        """An exception that nobody meant: logged with its traceback, which the caller does not see."""
        _log.failure("answering {method} failed", failure=reason, method=self.method)
        self.refuse(problems.INTERNAL_ERROR)
        return reason

    def getRequestHostname(self) -> bytes:
        """
        A name for klein, which only needs one to make absolute redirects, and we send none. What the caller
        calls us is kept away from it: a name that does not fit IDNA would end in an exception.
        """
        return b"localhost"

    # Its end, of which there are two

    def finish(self) -> None:
        super().finish()
        self._let_go_of_body()

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._let_go_of_body()

    def _let_go_of_body(self) -> None:
        if self.upload is not None:
            self.upload.discard()
        if self._room is not None:
            self._room.give_back(self._room_taken)
            self._room = None

    def _failed(self, reason: Failure) -> None:
        error = reason.value
        if isinstance(error, Refusal):
            self.refuse(error.problem, error.headers)
        elif isinstance(error, UnsupportedMethod):
            self.refuse(problems.NOT_FOUND)  # ntfy knows pages by path *and* method
        else:
            self.processingFailed(reason)


def response(status: int, body: bytes, headers: bytes = b"", head_only: bool = False) -> bytes:
    """A whole answer. No part of it but the body is ever made of what a caller sent."""
    return (
        b"HTTP/1.1 %d %s\r\nServer: pushd\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
        b"Access-Control-Allow-Origin: *\r\n%s\r\n%s"
    ) % (status, _REASON[status], http_date(), JSON_TYPE, len(body), headers, b"" if head_only else body)


def origin_form(target: bytes) -> bytes:
    """A request target without ``http://host``, which a server must take as well (RFC 9112 §3.2.2)."""
    if not target.startswith((b"http://", b"https://")):
        return target
    _, slash, rest = target.partition(b"://")[2].partition(b"/")
    return b"/" + rest if slash else b"/"


def http_date() -> bytes:
    """Now, as the header ``Date`` wants it."""
    return _date_of(int(time.time()))


@lru_cache(maxsize=2)
def _date_of(second: int) -> bytes:
    return format_date_time(second).encode("ascii")


def _segments(path: bytes) -> list[bytes]:
    if not path.startswith(b"/") and path != b"*":  # "OPTIONS *" asks about the server as a whole
        raise Refusal(problems.MALFORMED_REQUEST)
    return [unquote_to_bytes(segment) for segment in path[1:].split(b"/")]


def _arguments(query: bytes) -> dict[bytes, list[bytes]]:
    if not query:
        return {}
    if query.count(b"&") >= MAX_PARAMETERS:
        raise Refusal(problems.TOO_MANY_PARAMETERS)
    arguments: dict[bytes, list[bytes]] = parse_qs(query, keep_blank_values=True)
    return arguments
