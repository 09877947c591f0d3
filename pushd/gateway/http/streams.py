"""
Answers that go on for as long as their reader stays, whatever is in them.

    self._places = Places()                         # one for each gateway
    ...
    leave = self._places.take(caller)      # or 42903: too many are open
    stream = HttpStream(request, b"text/plain", lambda: b"still here\n")
    stream.call_when_over(leave)
    stream.begin()
    stream.write(b"hello\n")

Until `begin` the request can still be refused; from then on its answer has begun. A stream is over when its
reader leaves, when `close` is called, or when the reader does not read what it is sent: then it is cut off,
for what waits for a reader takes memory, and a stream with gaps would look whole. Whoever has much to say
looks at `full` and waits for `drained`, and its reader may be as slow as it likes, as long as it reads at
all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest, http_date
from pushd.gateway.identity.guards import Caller

# As often as ntfy's keep-alives (`keepalive-interval`): proxies and phones take a minute of silence for the
# end.
HEART_BEAT_S = 45.0

# What may wait for a reader beside the 64 KiB from which on the transport says that it does not keep up.
MAX_UNREAD_BYTES = 262_144

# A browser shares one login between its tabs, a house its address; ntfy has `visitor-subscription-limit` 30.
MAX_PER_CALLER = 30
# A stream takes a file of the process, as a connection does, and about 20 KiB.
MAX_STREAMS = 10_000

_HEADERS = (
    (b"Server", b"pushd"),
    (b"Cache-Control", b"no-store"),
    (b"Access-Control-Allow-Origin", b"*"),
    (b"X-Accel-Buffering", b"no"),  # nginx would wait for a few kilobytes
)

log = Logger()


def user_or_address(caller: Caller) -> Hashable:
    """As whom somebody is counted: callers without a name are told apart by address."""
    return caller.username or (caller.address.rpartition(":")[0],)


class Places:
    """
    Those for streams at one gateway.

    :param per_caller: how many one caller may have now; 0 is no limit.
    :param at_most: how many there are.
    :param who: as whom a caller is counted; ``None`` for whoever may have as many as there are.
    """

    def __init__(
        self,
        per_caller: Callable[[], int] = lambda: MAX_PER_CALLER,
        at_most: int = MAX_STREAMS,
        who: Callable[[Caller], Hashable | None] = user_or_address,
    ) -> None:
        self._per_caller = per_caller
        self._at_most = at_most
        self._who = who
        self._taken: Counter[Hashable] = Counter()
        self._count = 0

    def __len__(self) -> int:
        """How many are taken."""
        return self._count

    def take(self, caller: Caller) -> Callable[[], None]:
        """
        :return: gives the place back; to be called once.
        :raises Refusal: 42903, all places are taken.
        """
        who = self._who(caller)
        has_all = who is not None and 0 < self._per_caller() <= self._taken[who]
        if has_all or self._count >= self._at_most:
            raise Refusal(problems.TOO_MANY_STREAMS)
        self._taken[who] += 1
        self._count += 1
        return lambda: self._leave(who)

    def _leave(self, who: Hashable | None) -> None:
        self._count -= 1
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]


class Stage(Enum):
    """How far a stream has come."""

    PREPARED = "its request can still be refused"
    OPEN = "its answer has begun"
    ENDING = "its connection is about to end"
    OVER = "nobody is there any more"


@implementer(IPushProducer)
class Stream(ABC):
    """One reader. How it is written to is up to those that are made from this."""

    __slots__ = (
        "_beat",
        "_beat_s",
        "_call_later",
        "_drained",
        "_full",
        "_next_beat",
        "_stage",
        "_stuck",
        "_unread_bytes",
        "_when_over",
    )

    def __init__(
        self, call_later: Callable[..., IDelayedCall], beat: Callable[[], bytes], beat_s: float = HEART_BEAT_S
    ) -> None:
        """
        :param call_later: that of the reactor.
        :param beat: makes what is written every `beat_s` seconds; it may close the stream instead.
        """
        self._call_later = call_later
        self._beat = beat
        self._beat_s = beat_s
        self._stage = Stage.PREPARED
        self._full = False  # the transport, of what the reader has not read
        self._stuck = False  # it was full at the last beat, and ever since
        self._unread_bytes = 0  # written since it is full
        self._next_beat: IDelayedCall | None = None
        self._drained: Deferred[None] | None = None
        self._when_over: list[Callable[[], object]] = []

    @property
    def over(self) -> bool:
        """Whether nobody is there any more."""
        return self._stage is Stage.OVER

    @property
    def is_open(self) -> bool:
        """Whether what is written reaches anybody."""
        return self._stage is Stage.OPEN

    @property
    def full(self) -> bool:
        """Whether what is written now has to wait for its reader."""
        return self._full

    def drained(self) -> Deferred[None]:
        """:return: fires when the stream is not full, or over. One waits at a time."""
        if not self._full or self._stage is not Stage.OPEN:
            return succeed(None)
        self._drained = Deferred()
        return self._drained

    def call_when_over(self, function: Callable[[], object]) -> None:
        """Call it once when the stream is over: at once, if it is."""
        if self.over:
            function()
        else:
            self._when_over.append(function)

    def until_over(self) -> Deferred[None]:
        """:return: fires when the stream is over. klein's pages await it, and then return nothing."""
        waiting: Deferred[None] = Deferred()
        self.call_when_over(lambda: waiting.callback(None))
        return waiting

    def begin(self) -> None:
        """The answer begins."""
        if self._stage is Stage.PREPARED:
            self._stage = Stage.OPEN
            self._next_beat = self._call_later(self._beat_s, self._beat_heart)
            self._begin()

    def write(self, data: bytes) -> None:
        """Before `begin` and after the end there is nobody to write to."""
        if self._stage is not Stage.OPEN:
            return
        was_full = self._full  # the very write that fills the transport does not count
        self._put(data)
        if was_full:
            self._unread_bytes += len(data)
            if self._unread_bytes > MAX_UNREAD_BYTES:
                self.cut("its reader does not keep up")

    @abstractmethod
    def close(self) -> None:
        """End it properly, before its time."""

    def finish(self) -> None:
        """End it properly when everything was said."""
        self.close()

    def cut(self, cause: str) -> None:
        """End it at once, so that nobody can take what has come for the whole. `cause` is for the log."""
        if self._stage in (Stage.OPEN, Stage.ENDING):
            self._stage = Stage.ENDING
            log.info("A stream is cut off: {cause}.", cause=cause, log_type="notice")
            self._abort()

    # What the transport says

    def pauseProducing(self) -> None:
        """
        The reader does not keep up. What is said meanwhile waits for it, up to a bound. Twisted says so again
        with each write that has to wait.
        """
        if not self._full:
            self._full, self._unread_bytes = True, 0

    def resumeProducing(self) -> None:
        """It has read all that waited."""
        self._full = self._stuck = False
        self._go_on()

    def stopProducing(self) -> None:  # noqa: B027  # nobody has to do anything: `_ended` is called, too
        """It is gone."""

    # For those made from this

    @abstractmethod
    def _begin(self) -> None:
        """Write what comes first, and find out whether the transport is full."""

    @abstractmethod
    def _put(self, data: bytes) -> None:
        """Write."""

    @abstractmethod
    def _abort(self) -> None:
        """End the connection now."""

    def _ended(self, _: object = None) -> None:
        """The reader has left, or the end was written."""
        self._stage = Stage.OVER
        if self._next_beat is not None and self._next_beat.active():
            self._next_beat.cancel()
        functions, self._when_over = self._when_over, []
        for function in functions:
            function()
        self._go_on()

    def _beat_heart(self) -> None:
        if self._stuck:  # the reader took nothing from one beat to the next
            self.cut("its reader does not read")
            return
        self._next_beat = self._call_later(self._beat_s, self._beat_heart)
        if self._full:
            self._stuck = True
        else:
            self.write(self._beat())

    def _go_on(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(None)


class HttpStream(Stream):
    """In the body of an answer."""

    __slots__ = ("_channel", "_content_type", "_request")

    def __init__(
        self,
        request: GatewayRequest,
        content_type: bytes,
        beat: Callable[[], bytes],
        beat_s: float = HEART_BEAT_S,
    ) -> None:
        self._request = request
        self._content_type = content_type
        self._channel: Any = request.channel  # a `GatewayChannel`; the request forgets it at its end
        super().__init__(getattr(self._channel, "callLater", None), beat, beat_s)  # type: ignore[arg-type]  # see below
        if self._channel is None:  # it left while somebody asked who it is
            self._stage = Stage.OVER
        else:
            request.notifyFinish().addBoth(self._ended)

    def close(self) -> None:
        """End the answer properly; its connection may go on to another request."""
        if self._stage is Stage.PREPARED:
            self._request.refuse(problems.UNAVAILABLE)
        elif self._stage is Stage.OPEN:
            self._request.unregisterProducer()
            self._request.finish()

    def begin(self) -> None:
        """A HEAD has only headers, and is over."""
        super().begin()
        if self._request.method == b"HEAD":
            self.close()

    def _begin(self) -> None:
        headers = self._request.responseHeaders
        for name, value in (*_HEADERS, (b"Content-Type", self._content_type), (b"Date", http_date())):
            headers.setRawHeaders(name, [value])
        self._request.registerProducer(self, True)
        self._full = self._channel.begin_stream()
        self._request.write(b"")  # the headers

    def _put(self, data: bytes) -> None:
        self._request.write(data)

    def _abort(self) -> None:
        self._channel.transport.abortConnection()
