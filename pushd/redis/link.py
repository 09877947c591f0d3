"""
One connection to Redis, made when it is first needed and made again whenever it is lost.

One is enough: Redis does one thing at a time, and answers in the order of the questions. It counts as made
when Redis has answered a PING over it; a port that accepts connections may belong to a process that is
frozen, or is still reading its data.

    idle --connection()--> trying --PING answered--> up --lost--> trying
                             ^  |  failed
                             +--+  after 0.1, 0.2, 0.4 ... 5 s
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.redis.errors import RedisUnavailable

FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0
GOODBYE_S = 1.0

# What a connection is made with: fires with a protocol of txredisapi that is ready to be asked.
Connect = Callable[[], Deferred[Any]]


class Link:
    """
    See the top of this file.

    :param connect: makes one connection, within a bounded time, or fails with any exception.
    :param name: of what it leads to, for the log.
    :ivar problem: why there is none; ``None`` if there is one, or none was needed so far.
    """

    _log = Logger()

    def __init__(self, connect: Connect, name: str, clock: Any) -> None:
        self._connect = connect
        self._name = name
        self._clock = clock
        self._connection: Any = None
        self._attempt: Deferred[None] | None = None
        self._retry: IDelayedCall | None = None
        self._failures = 0  # since it was last up
        self.problem: str | None = None
        self._closed = False
        self._waiting: dict[Deferred[Any], None] = {}

    def connection(self) -> Deferred[Any]:
        """
        The connection, at once if there is one, else as soon as there is. May be cancelled.

        Those who wait get it in the order in which they came.
        """
        if self._closed:
            return fail(RedisUnavailable(f"the connection to Redis at {self._name} was closed"))
        if self._connection is not None:
            return succeed(self._connection)
        if self._attempt is None and self._retry is None:
            self._try()
        # The attempt may have ended already, well or not.
        if self._connection is not None:
            return succeed(self._connection)
        waiting: Deferred[Any] = Deferred(lambda gone: self._waiting.pop(gone, None))
        self._waiting[waiting] = None
        return waiting

    def drop(self, connection: Any) -> None:
        """Give up a connection over which nothing comes any more; its pending questions fail."""
        self._gone(connection, "it does not answer")
        connection.transport.abortConnection()

    def close(self) -> Deferred[None]:
        """Give it up for good; who waits for it waits in vain. Fires when it is closed."""
        if self._closed:
            return succeed(None)
        self._closed = True
        for call in (self._attempt, self._retry):
            if call is not None:
                call.cancel()
        self._retry = None
        waiting, self._waiting = self._waiting, {}
        for one in waiting:
            one.errback(RedisUnavailable(f"the connection to Redis at {self._name} was closed"))
        return succeed(None) if self._connection is None else self._hang_up(self._connection)

    def _hang_up(self, connection: Any) -> Deferred[None]:
        """A Redis that is frozen may never say goodbye; TLS would wait for that."""
        cut = self._clock.callLater(GOODBYE_S, connection.transport.abortConnection)
        closed: Deferred[None] = connection.whenDisconnected()
        closed.addCallback(lambda _: cut.cancel() if cut.active() else None)
        connection.transport.loseConnection()
        return closed

    # Trying

    def _try(self) -> None:
        self._retry = None
        self._attempt = self._connect()
        self._attempt.addCallbacks(self._up, self._failed).addErrback(self._log_bug)

    def _up(self, connection: Any) -> None:
        self._attempt = None
        self._failures = 0
        self._connection = connection
        connection.whenDisconnected().addCallback(lambda _: self._gone(connection, "the connection is lost"))
        if self.problem is not None:
            self.problem = None
            self._log.info("Redis at {name} is back", name=self._name, log_type="notice")
        waiting, self._waiting = self._waiting, {}
        for one in waiting:
            one.callback(connection)

    def _failed(self, failure: Failure) -> None:
        self._attempt = None
        if self._closed:
            return
        self._say_away(failure.getErrorMessage() or repr(failure.value))
        # A float to the power of a failure count of weeks is out of range.
        delay_s = min(FIRST_DELAY_S * 2.0 ** min(self._failures, 10), LONGEST_DELAY_S)
        self._failures += 1
        self._retry = self._clock.callLater(delay_s, self._try)

    def _gone(self, connection: Any, problem: str) -> None:
        """It was lost, or is given up; in that case it will be lost as well."""
        if connection is not self._connection:
            return
        self._connection = None
        if not self._closed:
            self._say_away(problem)
            self._retry = self._clock.callLater(FIRST_DELAY_S, self._try)

    def _say_away(self, problem: str) -> None:
        if self.problem is None:
            self._log.error("Redis at {name} is away: {problem}", name=self._name, problem=problem)
        self.problem = problem

    def _log_bug(self, failure: Failure) -> None:
        self._log.failure("The connection to Redis was not looked after", failure=failure)
