"""`pushd.service.signals`: what signals ask for, in the reactor's next turn."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from pushd.service.signals import Signals


class Reactor:
    """Keeps what is to be called."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def callFromThread(self, function: Callable[[], object]) -> None:
        self.calls.append(function)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class SignalsTests(SynchronousTestCase):
    """A process that sends signals to itself"""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.obeyed: list[str] = []
        wanted = {"SIGUSR1": lambda: self.obeyed.append("one"), "SIGUSR2": lambda: self.obeyed.append("two")}
        self.signals = Signals(wanted | {"SIGNONE": self.fail}, self.reactor)
        self.addCleanup(self.signals.leave)

    def send(self, *numbers: int) -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    def test_obeyed_by_the_reactor(self) -> None:
        """Not at once, in the middle of anything."""
        self.signals.listen()
        self.send(signal.SIGUSR1, signal.SIGUSR2)
        self.assertEqual([], self.obeyed)
        self.reactor.turn()
        self.assertEqual(["one", "two"], sorted(self.obeyed))

    def test_once_a_turn(self) -> None:
        """However often one comes; the next turn is another matter."""
        self.signals.listen()
        for _ in range(2):
            self.send(*[signal.SIGUSR1] * 5)
            self.reactor.turn()
        self.assertEqual(["one", "one"], self.obeyed)

    def test_as_before(self) -> None:
        """In the end they mean what they did."""
        before = signal.getsignal(signal.SIGUSR1)
        self.signals.listen()
        self.assertNotEqual(before, signal.getsignal(signal.SIGUSR1))
        self.signals.leave()
        self.assertEqual(before, signal.getsignal(signal.SIGUSR1))

    def test_another_thread(self) -> None:
        """A broker within a larger program leaves its signals alone."""
        before = signal.getsignal(signal.SIGUSR1)
        thread = threading.Thread(target=self.signals.listen)
        thread.start()
        thread.join()
        self.assertEqual(before, signal.getsignal(signal.SIGUSR1))
