"""What happened, in its order: kept while a run goes on, shown of a message that something is wrong with."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TypeAlias

# A message by its topic name and its number there.
Key: TypeAlias = "tuple[str, int]"

# What an event is about: a message, a client by its id, or everybody (``None``), such as a kill.
Subject: TypeAlias = "Key | str | None"

_KEPT = 300_000  # events; a busy run has 30 000 a second
_SHOWN = 40


class Timeline:
    """
    The last events of a run. Cheap to write: text is made only of what is shown.

    :ivar life: which life of the broker it is, from 1; 0 before the first.
    :ivar served_at: when it first took anybody in in this life; infinite before.
    """

    def __init__(self) -> None:
        self.life = 0
        self.served_at = math.inf
        self._began = time.monotonic()
        self._events: deque[tuple[float, int, Subject, str, tuple[object, ...]]] = deque(maxlen=_KEPT)

    def note(self, subject: Subject, text: str, *parts: object) -> None:
        """
        :param text: with a ``%`` field for each of `parts`.
        """
        self._events.append((time.monotonic(), self.life, subject, text, parts))

    def begin_life(self) -> None:
        """The broker is started."""
        self.life += 1
        self.served_at = math.inf
        self.note(None, "the broker is started")

    def served(self) -> None:
        """Somebody was taken in."""
        self.served_at = min(self.served_at, time.monotonic())

    def about(self, *subjects: Subject) -> list[str]:
        """
        The last lines about these subjects and about everybody, from shortly before the first of them: when,
        in which life of the broker, whether the message itself or who else it is about, and what.
        """
        wanted = {None, *subjects}
        told = [event for event in self._events if event[2] in wanted]
        first = next((place for place, event in enumerate(told) if event[2] == subjects[0]), 0)
        return [self._line(event) for event in told[max(0, first - 3) :][-_SHOWN:]]

    def _line(self, event: tuple[float, int, Subject, str, tuple[object, ...]]) -> str:
        at, life, subject, text, parts = event
        who = "message" if isinstance(subject, tuple) else (subject or "---")
        return f"{at - self._began:9.3f} s  life {life:<3} {who:10} {text % parts}"
