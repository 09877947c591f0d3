"""
The signals that Mosquitto's users know: kill -HUP, -USR1, -USR2, -RTMIN.

TERM and INT end the process, which is Twisted's business. PIPE is ignored by Python itself: that a peer is
gone shows when we send to it.

A signal only asks the reactor to do something in its next turn. Two of a kind that come before that are one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any


class Signals:
    """
    :param wanted: what to do, by the name of the signal; one that this system does not have is left out.
    :param reactor: does it.
    """

    def __init__(self, wanted: Mapping[str, Callable[[], object]], reactor: Any) -> None:
        self._wanted = wanted
        self._reactor = reactor
        self._before: dict[int, Any] = {}
        self._asked: set[int] = set()

    def listen(self) -> None:
        """Obey them from now on. Only the main thread can; in another, all stays as it was."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name, obey in self._wanted.items():
            number = getattr(signal, name, None)
            if number is not None:
                self._before[number] = signal.signal(number, self._receiver(number, obey))

    def leave(self) -> None:
        """Let them mean again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _receiver(self, number: int, obey: Callable[[], object]) -> Callable[[int, object], None]:
        def receive(_: int, frame: object) -> None:
            if number not in self._asked:
                self._asked.add(number)
                self._reactor.callFromThread(obey_once)

        def obey_once() -> None:
            self._asked.discard(number)
            obey()

        return receive
