"""
One plugin at the table: how it is asked, and what happens when it does not answer.

Whatever it does, somebody who asks gets an answer: an exception, nonsense or silence of more than its time
is counted (``$SYS/broker/plugins/failures``), logged and answered with what the asker has in mind for that,
which is always the closed door. What cannot be helped is a plugin that blocks: there is one thread, so
everybody waits with it. That is counted and logged as well, for it would be blamed on the broker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from inspect import iscoroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.broker.counters import Counters
from pushd.plugins.loading import LoadedPlugin

T = TypeVar("T")
log = Logger()

# A call that keeps everybody waiting for longer is worth a line. Fifty such in a second would be half of it.
BLOCKED_S = 0.1

# `Plugin.start` may have to connect to something.
START_TIMEOUT_S = 30.0

# The same kind of failure of one method is logged once in so many seconds, with the number of the others.
TELL_EVERY_S = 10.0


class TookTooLong(Exception):
    """A plugin did not answer in time."""


class Seat:
    """
    :ivar loaded: what it was made of.
    :ivar plugin: the instance.
    :ivar started: nobody is asked before; the answer is the closed door.
    """

    def __init__(
        self,
        loaded: LoadedPlugin,
        plugin: object,
        clock: IReactorTime,
        counters: Counters,
        seconds: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.loaded = loaded
        self.plugin = plugin
        self.started = False
        self._clock = clock
        self._counters = counters
        self._seconds = seconds
        self._told: dict[str, tuple[float, int]] = {}  # kind of failure -> when, and how many since

    def __repr__(self) -> str:
        return f"<Seat of {self.loaded.name}>"

    def wants(self, method: str) -> bool:
        """Whether it has this method."""
        return method in self.loaded.hooks

    def ask(
        self, method: str, arguments: tuple[Any, ...], read: Callable[[Any], T], otherwise: T
    ) -> T | Deferred[T]:
        """
        :param read: makes of its answer what is returned; raises an exception for nonsense.
        :param otherwise: what is returned if that fails.
        :return: at once if it answers at once. The Deferred never fails, and may be cancelled by who does
            not care any more.
        """
        if not self.started:
            return otherwise
        try:
            answer = self._call(method, arguments)
            if not isinstance(answer, Deferred):
                return read(answer)
        except KeyboardInterrupt:
            raise
        except BaseException:  # SystemExit, too: a plugin does not end the broker
            self.failed(method, Failure())
            return otherwise
        return self._wait(method, answer, read, otherwise)

    def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """:return: its answer, or a Deferred if it has not given it yet."""
        began = self._seconds()
        answer = getattr(self.plugin, method)(*arguments)
        if iscoroutine(answer):
            answer = Deferred.fromCoroutine(answer)
        took_s = self._seconds() - began
        if took_s > BLOCKED_S:
            self._note(f"{method} blocked", f"{method} kept everybody waiting for {took_s:.2f} s")
        return _unwrapped(answer) if isinstance(answer, Deferred) else answer

    def _wait(
        self, method: str, answer: Deferred[Any], read: Callable[[Any], T], otherwise: T
    ) -> Deferred[T]:
        """
        Not `Deferred.addTimeout`: a coroutine may catch its cancellation and go on, and whoever asked would
        wait for as long as it likes.
        """
        outcome: Deferred[T] = Deferred(lambda _: settle(otherwise))

        def settle(result: T) -> None:
            if timer.active():
                timer.cancel()
            if not outcome.called:
                outcome.callback(result)
            answer.cancel()  # of no effect if that is where the result came from

        def answered(result: Any) -> None:
            if outcome.called:
                return
            settle(self._read(method, result, read, otherwise))

        def late() -> None:
            told = TookTooLong(f"no answer for {self.loaded.timeout_s:g} s")
            self.failed(method, Failure(told))
            settle(otherwise)

        timer = self._clock.callLater(self.loaded.timeout_s, late)
        answer.addBoth(answered)
        return outcome

    def _read(self, method: str, result: Any, read: Callable[[Any], T], otherwise: T) -> T:
        if isinstance(result, Failure):
            self.failed(method, result)
            return otherwise
        try:
            return read(result)
        except Exception:
            self.failed(method, Failure())
            return otherwise

    # Beginning and end

    def start(self) -> Deferred[None]:
        """:return: fails with what `Plugin.start` failed with, or because it took too long."""
        answer = self._answer_of("start")
        answer.addTimeout(
            START_TIMEOUT_S, self._clock, onTimeoutCancel=lambda *_: fail(TookTooLong("start took too long"))
        )
        return answer.addCallback(self._has_started)

    def _has_started(self, _: Any) -> None:
        self.started = True

    def stop(self) -> Deferred[None]:
        """:return: never fails."""
        if not self.started:
            return succeed(None)
        self.started = False
        answer = self._answer_of("stop")
        answer.addTimeout(self.loaded.timeout_s, self._clock)
        answer.addCallbacks(lambda _: None, lambda failure: self.failed("stop", failure))
        return answer

    def _answer_of(self, method: str) -> Deferred[Any]:
        if not callable(getattr(self.plugin, method, None)):
            return succeed(None)
        try:
            answer = self._call(method, ())
        except KeyboardInterrupt:
            raise
        except BaseException:
            return fail(Failure())
        return answer if isinstance(answer, Deferred) else succeed(answer)

    # What went wrong

    def failed(self, method: str, failure: Failure) -> None:
        """Count a question that it could not answer."""
        kind = "timed_out" if failure.check(TookTooLong) else "failed"
        self._note(f"{method} {kind}", f"{method}: {type(failure.value).__name__}: {failure.value}", failure)

    def _note(self, kind: str, cause: str, failure: Failure | None = None) -> None:
        self._counters.plugin_failed(kind.replace(" ", "/"))
        now = self._clock.seconds()
        told_at, more = self._told.get(kind, (now - TELL_EVERY_S, 0))
        if now - told_at < TELL_EVERY_S:
            self._told[kind] = told_at, more + 1
            return
        self._told[kind] = now, 0
        text = "plugin {plugin}: {cause}" + (f" (and {more} more times before)" if more else "")
        if failure is None:
            log.warn(text, plugin=self.loaded.name, cause=cause)
        else:
            log.failure(text, failure=failure, plugin=self.loaded.name, cause=cause)


def _unwrapped(answer: Deferred[Any]) -> Any:
    """
    The result of a Deferred that has one already, as that of an ``async def`` that did not wait for anything.

    :raises Exception: if that is how it ended.
    """
    results: list[Any] = []
    at_once = True

    def note(result: Any) -> Any:
        if at_once:
            results.append(result)
            return None
        return result

    answer.addBoth(note)
    at_once = False
    if not results:
        return answer
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]
