"""`pushd.plugins.seat`: a plugin that raises, hangs, talks nonsense, blocks, will not be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.plugins.loading import LoadedPlugin
from pushd.plugins.seat import START_TIMEOUT_S, Seat, TookTooLong
from pushd.plugins.verdicts import ALLOW, DENY, IGNORE


class Plugin:
    """One hook, which does what the test says."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.on_publish = act


def read(answer: Any) -> str:
    if not isinstance(answer, str):
        raise TypeError(f"{answer!r} is no answer")
    return answer


class SeatTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.counters = Counters()

    def seat(self, act: Callable[[], Any], seconds: Callable[[], float] = lambda: 0.0) -> Seat:
        loaded = LoadedPlugin("x.conf:1", "p", Plugin, None)
        seat = Seat(loaded, Plugin(act), self.clock, self.counters, seconds)
        seat.started = True
        return seat

    def ask(self, act: Callable[[], Any]) -> str | Deferred[str]:
        return self.seat(act).ask("on_publish", (), read, "closed")

    def assert_failed(self, kind: str, *expected: type[BaseException]) -> None:
        assert self.counters.plugin_failures == {f"on_publish/{kind}": 1}
        assert len(self.flushLoggedErrors(*expected)) == 1


class AnswerTests(SeatTestCase):
    def test_at_once(self) -> None:
        """A plain function, a coroutine that waits for nothing and a fired Deferred cost no turn."""

        async def coroutine() -> str:
            return "open"

        for act in (lambda: "open", coroutine, lambda: succeed("open")):
            assert self.ask(act) == "open"
        assert self.clock.getDelayedCalls() == []

    def test_later(self) -> None:
        """A coroutine that waits answers when it can; nothing is left behind."""
        later: Deferred[str] = Deferred()

        async def coroutine() -> str:
            return await later

        answer = self.ask(coroutine)
        assert isinstance(answer, Deferred)
        self.assertNoResult(answer)
        later.callback("open")
        assert self.successResultOf(answer) == "open"
        assert self.clock.getDelayedCalls() == []


class FailureTests(SeatTestCase):
    def test_exceptions(self) -> None:
        """At once or later, in a function or a coroutine: the door stays shut."""

        def function() -> str:
            raise KeyError("x")

        async def coroutine() -> str:
            raise KeyError("x")

        for act in (function, coroutine):
            assert self.ask(act) == "closed"
        assert self.counters.plugin_failures == {"on_publish/failed": 2}
        self.flushLoggedErrors(KeyError)

    def test_the_end_of_the_process_is_not_up_to_it(self) -> None:
        """SystemExit, and asyncio's CancelledError, which is no Exception either."""
        for exception in (SystemExit, asyncio.CancelledError):

            def act(exception: type[BaseException] = exception) -> str:
                raise exception

            assert self.ask(act) == "closed"
            self.flushLoggedErrors(exception)

    def test_nonsense(self) -> None:
        """What the reader does not understand counts as a failure, also when it comes later."""
        assert self.ask(lambda: 42) == "closed"
        self.assert_failed("failed", TypeError)
        later: Deferred[Any] = Deferred()
        answer = self.ask(lambda: later)
        assert isinstance(answer, Deferred)
        later.callback(None)
        assert self.successResultOf(answer) == "closed"
        assert len(self.flushLoggedErrors(TypeError)) == 1

    def test_silence(self) -> None:
        """After its time the asker has an answer, and the plugin is cancelled."""
        seen: list[str] = []
        forever: Deferred[str] = Deferred(lambda _: seen.append("cancelled"))
        answer = self.ask(lambda: forever)
        assert isinstance(answer, Deferred)
        self.clock.advance(4.9)
        self.assertNoResult(answer)
        self.clock.advance(0.1)
        assert self.successResultOf(answer) == "closed"
        assert seen == ["cancelled"]
        self.assert_failed("timed_out", TookTooLong)

    def test_a_coroutine_that_will_not_be_cancelled(self) -> None:
        """Nobody waits for it; what it says later is not heard."""
        stubborn: Deferred[str] = Deferred()

        async def coroutine() -> str:
            try:
                await Deferred()
            except CancelledError:
                return await stubborn
            return "never"

        answer = self.ask(coroutine)
        assert isinstance(answer, Deferred)
        self.clock.advance(5)
        assert self.successResultOf(answer) == "closed"
        stubborn.callback("open")
        self.assert_failed("timed_out", TookTooLong)

    def test_nobody_waits_any_more(self) -> None:
        """The asker cancels: the plugin is told, and it is nobody's failure."""
        seen: list[str] = []

        async def coroutine() -> str:
            try:
                await Deferred()
            except CancelledError:
                seen.append("cancelled")
                raise
            return "never"

        answer = self.ask(coroutine)
        assert isinstance(answer, Deferred)
        answer.cancel()
        assert self.successResultOf(answer) == "closed"
        assert seen == ["cancelled"]
        assert self.counters.plugin_failures == {}
        assert self.clock.getDelayedCalls() == []

    def test_blocking_is_counted(self) -> None:
        """Its answer counts; a line says who kept everybody waiting."""
        times = iter((0.0, 0.5))
        seat = self.seat(lambda: "open", lambda: next(times))
        assert seat.ask("on_publish", (), read, "closed") == "open"
        assert self.counters.plugin_failures == {"on_publish/blocked": 1}

    def test_a_flood_of_failures_is_logged_once(self) -> None:
        """And counted in full."""
        seat = self.seat(lambda: 42)
        for _ in range(100):
            seat.ask("on_publish", (), read, "closed")
        assert len(self.flushLoggedErrors(TypeError)) == 1
        assert self.counters.plugin_failures == {"on_publish/failed": 100}
        self.clock.advance(10)
        seat.ask("on_publish", (), read, "closed")
        assert len(self.flushLoggedErrors(TypeError)) == 1

    def test_before_the_start(self) -> None:
        """A plugin that has not started yet is not asked."""
        seat = self.seat(lambda: "open")
        seat.started = False
        assert seat.ask("on_publish", (), read, "closed") == "closed"
        assert self.counters.plugin_failures == {}

    @given(
        st.lists(
            st.sampled_from(["answer", "nonsense", "raise", "hang", "cancel", "fire", "time"]), max_size=12
        )
    )
    def test_everybody_gets_exactly_one_answer(self, steps: list[str]) -> None:
        """Whatever happens in whatever order."""
        self.setUp()
        waiting: list[Deferred[Any]] = []
        answers: list[Any] = []

        def hang() -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        acts: dict[str, Callable[[], Any]] = {
            "answer": lambda: "open",
            "nonsense": lambda: 1,
            "raise": lambda: 1 / 0,
            "hang": hang,
        }
        asked: list[Any] = []
        for step in steps:
            if step in acts:
                asked.append(self.ask(acts[step]))
                if isinstance(asked[-1], Deferred):
                    asked[-1].addCallback(answers.append)
                else:
                    answers.append(asked[-1])
            elif step == "time":
                self.clock.advance(3)
            elif step == "fire" and waiting and not waiting[-1].called:
                waiting[-1].callback("open")
            elif step == "cancel" and asked and isinstance(asked[-1], Deferred):
                asked[-1].cancel()
        self.clock.advance(10)
        assert len(answers) == len(asked)
        assert set(answers) <= {"open", "closed"}
        self.flushLoggedErrors()


class LifeTests(SeatTestCase):
    def made_of(self, plugin: object) -> Seat:
        return Seat(LoadedPlugin("x.conf:1", "p", type(plugin), None), plugin, self.clock, self.counters)

    def test_without_start_and_stop(self) -> None:
        """They need not be there."""
        seat = self.made_of(Plugin(lambda: None))
        self.successResultOf(seat.start())
        assert seat.started
        self.successResultOf(seat.stop())
        assert not seat.started

    def test_start_takes_too_long(self) -> None:
        """The broker does not wait for ever."""

        class Slow:
            def start(self) -> Deferred[None]:
                return Deferred()

        starting = self.made_of(Slow()).start()
        self.clock.advance(START_TIMEOUT_S)
        self.failureResultOf(starting, TookTooLong)

    def test_a_stop_that_fails(self) -> None:
        """Is logged, and the end comes all the same."""

        class Broken:
            def stop(self) -> None:
                raise OSError("too late")

        seat = self.made_of(Broken())
        self.successResultOf(seat.start())
        self.successResultOf(seat.stop())
        assert len(self.flushLoggedErrors(OSError)) == 1


class VerdictTests(SynchronousTestCase):
    def test_they_are_not_truth_values_of_each_other(self) -> None:
        """None of them equals another, or what a beginner might return."""
        verdicts = [ALLOW, DENY, IGNORE, True, False, None]
        assert all(a is b or a != b for a in verdicts for b in verdicts)
