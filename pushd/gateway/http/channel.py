"""
One HTTP/1.1 connection: Twisted's parser, made strict and put on a clock.

**Strict.** Where two servers can read one request differently, what is a body to one is a second request to
the other (request smuggling). Whatever could be read in two ways is answered 400 and the connection closed:
both framings at once, obsolete line folding, bare line feeds, no or several ``Host``. What is merely too
large is refused from what its headers announce, before the body is read.

**On a clock.** A connection is in one phase at a time, and each phase has its patience:

    IDLE --first line--> RECEIVING --last byte--> ANSWERING --answered--> IDLE
      |                      |                        |  `--> STREAMING --^
      |                      |  `-- body too large --> DRAINING --.
      `----------------------+--------------------------------------> CLOSING

An answer that goes on (`pushd.gateway.http.events`) has no deadline: it ends when its reader leaves, or does
not read.

A connection that asks for a WebSocket is handed over: to who has its path, before there is a page that it
could be for, or by its page, once that has decided (`hand_over`). `_successor` is the protocol from then on,
with deadlines of its own, and all that is left to do here is to pass its bytes on.

One timer per connection looks at the deadline when it fires, instead of being moved with every request: a
request then costs a few assignments and no change to the reactor's heap of timers.
"""

from __future__ import annotations

import math
import re
from enum import IntEnum
from functools import partial
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IProtocolFactory, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from pushd.gateway.http import problems
from pushd.gateway.http.body_limits import body_limit
from pushd.gateway.http.problems import Problem, Refusal
from pushd.gateway.http.request import GatewayRequest, origin_form, response
from pushd.gateway.http.uploads import Upload, may_be_file

IDLE_S = 60.0  # between requests of a connection that is kept
STREAM_S = math.inf  # an answer that goes on
# From a request's first line to the end of its answer, however slowly the body comes. One that is a file has
# as long for each `pushd.gateway.http.uploads.STEP_BYTES`.
REQUEST_S = 30.0
DRAIN_S = 2.0  # for a caller to read why we take no more of the body that it is still sending
CLOSE_S = 15.0  # for a caller to take what is left of an answer

# Browsers send 20 or so headers; ntfy's clients may add as many parameters.
MAX_HEADERS = 100
MAX_HEADER_BYTES = 16_384  # request line and headers together

_HOST = re.compile(rb"[-A-Za-z0-9._~%!$&'()*+,;=:\[\]]*")  # RFC 9112 §3.2; it may be empty
_TWO_LINES = re.compile(rb"[\r\n\0]")


# What may be said while a good request is still being sent.
_IN_THE_MIDDLE = frozenset({413, 429, 507})


class Phase(IntEnum):
    """What a connection is doing. From DRAINING on nothing that it says is heard."""

    IDLE = 0
    RECEIVING = 1
    ANSWERING = 2
    STREAMING = 3
    DRAINING = 4
    CLOSING = 5
    CLOSED = 6


# ANSWERING goes on with the deadline of RECEIVING.
PATIENCE_S = {
    Phase.IDLE: IDLE_S,
    Phase.RECEIVING: REQUEST_S,
    Phase.STREAMING: STREAM_S,
    Phase.DRAINING: DRAIN_S,
    Phase.CLOSING: CLOSE_S,
}

# The timer fires at least this often, so a phase with at least this patience may begin without moving it.
_LOOK_S = min(IDLE_S, REQUEST_S)


class GatewayChannel(HTTPChannel):
    """Made by `pushd.gateway.site.GatewaySite`, whose `reactor` tells the time."""

    maxHeaders = MAX_HEADERS
    totalHeadersSize = MAX_HEADER_BYTES
    requests: list[GatewayRequest]
    site: Any  # the `GatewaySite`; it imports this module
    transport: ITCPTransport

    _phase = Phase.IDLE
    _deadline = 0.0
    _timer: IDelayedCall | None = None
    _successor: IProtocol | None = None
    _peer: IAddress | None = None
    _host: IAddress | None = None

    # Each request asks, and each time the kernel would be asked.

    def getPeer(self) -> IAddress:
        if self._peer is None:
            self._peer = super().getPeer()
        return self._peer

    def getHost(self) -> IAddress:
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def connectionMade(self) -> None:
        first_s = self.site.connect_timeout_s()
        self._deadline = self.factory.reactor.seconds() + first_s
        self._timer = self.callLater(min(first_s, _LOOK_S), self._look)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_clock()
        super().connectionLost(reason)
        if self._successor is not None:
            self._successor.connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """The one place where something that is not HTTP as we want it becomes an answer."""
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        if self._phase >= Phase.DRAINING:
            return
        try:
            super().dataReceived(data)
        except Refusal as refusal:
            self._refuse(refusal.problem, refusal.headers)

    # Reading: everything below may raise Refusal

    def lineReceived(self, line: bytes) -> None:
        if self._phase is Phase.IDLE and line:
            self._enter(Phase.RECEIVING)
        # An obsolete folded header (RFC 9112 §5.2), or what another server would read as two lines.
        if line[:1] in (b" ", b"\t") or _TWO_LINES.search(line):
            raise Refusal(problems.MALFORMED_REQUEST)
        super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        try:
            accepted: bool = super().headerReceived(line)
        except ValueError:  # a Content-Length of more digits than Python's integers take
            raise Refusal(problems.MALFORMED_REQUEST) from None
        return accepted

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        _check_host(request.requestHeaders, self._version)
        _check_framing(request.requestHeaders, self._version)
        request.body_limit = body_limit(self._path)
        self._expect_body(request, self.length or 0)  # None is for a body in chunks: checked as it comes
        super().allHeadersReceived()

    def _expect_body(self, request: GatewayRequest, announced: int) -> None:
        """:raises Refusal: it will be too large."""
        if self.site.uploads is not None and may_be_file(self._command, origin_form(self._path)):
            request.begin_upload = partial(self._begin_upload, request, announced)
            if announced > request.body_limit.max_bytes:
                request.upload = request.begin_upload()
        else:
            request.body_limit.check(announced)

    def allContentReceived(self) -> None:
        factory = self._find_successor()
        if factory is not None:
            self._hand_over(factory)
            return
        self._phase = Phase.ANSWERING
        if self.requests[-1].upload is not None:
            self.made_progress()
        super().allContentReceived()

    # Bodies that are files: see `pushd.gateway.http.uploads.Reading`

    def _begin_upload(self, request: GatewayRequest, announced: int) -> Upload:
        upload: Upload = self.site.uploads.begin(self.site.sender_of(request), self, announced)
        return upload

    def hold_reading(self) -> None:
        """The disk is slower than the caller."""
        self._networkProducer.pauseProducing()

    def go_on_reading(self) -> None:
        """It is no more."""
        self._networkProducer.resumeProducing()

    def made_progress(self) -> None:
        """A large body may take its time, as long as it comes."""
        self._deadline = self.factory.reactor.seconds() + REQUEST_S

    def begin_stream(self) -> bool:
        """
        The answer ends when it ends, from now on.

        :return: whether the transport is full already, of answers that the caller did not read.
        """
        self._enter(Phase.STREAMING)
        full: bool = self._waitingForTransport
        return full

    def requestDone(self, request: GatewayRequest) -> None:
        self._enter(Phase.IDLE)
        # What it has asked for besides waits as long as the answers do: one read of small requests would
        # become hundreds of megabytes of answers.
        self.paused = self._waitingForTransport
        super().requestDone(request)

    # What the transport says of the answers

    def pauseProducing(self) -> None:
        """They are not taken. Nothing more is read of such a caller; Twisted would, while it is answered."""
        super().pauseProducing()
        self._networkProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """They are. Reading goes on, also to hear of the end of a stream's reader."""
        super().resumeProducing()
        if sum(map(len, self._dataBuffer)) <= self._optimisticEagerReadSize:
            self._networkProducer.resumeProducing()
        if self.paused:
            self.paused = False
            self.dataReceived(b"")  # what is there already

    def lineLengthExceeded(self, line: bytes) -> None:
        raise Refusal(problems.MALFORMED_REQUEST)

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's name for what it does with all that its parser refuses. Without this method the answer
        # would be a 400 without a body.
        raise Refusal(problems.MALFORMED_REQUEST)

    # Handing over

    def _find_successor(self) -> IProtocolFactory | None:
        wanted = self.requests[-1].requestHeaders.getRawHeaders(b"Upgrade", ())
        if self._command != b"GET" or b"websocket" not in (name.lower() for name in wanted):
            return None
        path = origin_form(self._path).partition(b"?")[0]
        factory: IProtocolFactory | None = self.site.upgrades.get(path)
        return factory

    def _hand_over(self, factory: IProtocolFactory) -> None:
        request = self.requests.pop()
        head = _head(self._command, self._path, self._version, request.requestHeaders)
        protocol = factory.buildProtocol(self.transport.getPeer())
        if protocol is None:
            self.loseConnection()
            return
        self.setRawMode()  # what came behind the request goes to `rawDataReceived`
        self._let_go(protocol)
        protocol.dataReceived(head)

    def hand_over(self, protocol: IProtocol, answer: bytes) -> None:
        """
        Let somebody else have the connection, in the place of an answer to the request under way.

        :param answer: what makes the caller expect that. What it has said since goes to `protocol`.
        """
        self.requests.pop().channel = None  # type: ignore[assignment]  # as Twisted does at a request's end
        self.transport.write(answer)
        self._let_go(protocol)
        said, self._dataBuffer = b"".join(self._dataBuffer), []
        self.transport.resumeProducing()  # type: ignore[attr-defined]  # it is not read from while much waits
        if said:
            protocol.dataReceived(said)

    def _let_go(self, protocol: IProtocol) -> None:
        self._successor = protocol
        self._stop_clock()
        self.transport.unregisterProducer()  # type: ignore[attr-defined]  # ours has it
        protocol.makeConnection(self.transport)

    def rawDataReceived(self, data: bytes) -> None:
        if self._successor is not None:
            self._successor.dataReceived(data)
        else:
            super().rawDataReceived(data)

    # Ending

    def _refuse(self, problem: Problem, headers: bytes = b"") -> None:
        self.transport.write(response(problem.http, problem.body, headers + b"Connection: close\r\n"))
        if problem.http in _IN_THE_MIDDLE:
            # To close with bytes unread is to reset the connection: many callers would never see why.
            self._enter(Phase.DRAINING)
        else:
            self.loseConnection()

    def loseConnection(self) -> None:
        self._enter(Phase.CLOSING)
        super().loseConnection()

    # The clock

    def allow(self, further_s: float) -> None:
        """Let the answer take so much longer: its caller has asked to wait for something."""
        self._deadline += further_s

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._deadline = self.factory.reactor.seconds() + PATIENCE_S[phase]
        if PATIENCE_S[phase] < _LOOK_S and self._timer is not None:
            self._timer.reset(PATIENCE_S[phase])

    def _stop_clock(self) -> None:
        self._phase = Phase.CLOSED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._deadline <= self.factory.reactor.seconds():
            self._lose_patience()
        if self._phase is not Phase.CLOSED:
            left_s = self._deadline - self.factory.reactor.seconds()
            self._timer = self.callLater(min(max(left_s, 0.0), _LOOK_S), self._look)

    def _lose_patience(self) -> None:
        if self._phase is Phase.RECEIVING:
            self._refuse(problems.REQUEST_TIMEOUT)
        elif self._phase is Phase.ANSWERING:
            self.requests[0].refuse(problems.NO_ANSWER_IN_TIME)
        elif self._phase is Phase.CLOSING:
            self._phase = Phase.CLOSED
            self.transport.abortConnection()
        else:
            self.loseConnection()


def _head(command: bytes, target: bytes, version: bytes, headers: Headers) -> bytes:
    """A request as it came; Twisted has only parsed it. No header has a line's end in it."""
    lines = [b"%s %s %s" % (command, target, version)]
    lines += [b"%s: %s" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
    return b"\r\n".join((*lines, b"", b""))


def _check_host(headers: Headers, version: bytes) -> None:
    """RFC 9112 §3.2: exactly one Host, or 400; HTTP/1.0 had none yet."""
    hosts = headers.getRawHeaders(b"Host", ())
    if len(hosts) != 1 and (hosts or version != b"HTTP/1.0"):
        raise Refusal(problems.MALFORMED_REQUEST)
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise Refusal(problems.MALFORMED_REQUEST)


def _check_framing(headers: Headers, version: bytes) -> None:
    """RFC 9112 §6.1: a body has one length. Twisted refuses most of this itself, but lets "identity" pass."""
    codings = headers.getRawHeaders(b"Transfer-Encoding")
    if codings is None:
        return
    only_chunked = len(codings) == 1 and codings[0].lower() == b"chunked"
    if not only_chunked or headers.hasHeader(b"Content-Length") or version == b"HTTP/1.0":
        raise Refusal(problems.MALFORMED_REQUEST)
