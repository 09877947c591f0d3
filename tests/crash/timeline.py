"""What happened, in its order: kept while a run goes on, shown of a message that something is wrong with."""

from __future__ import annotations

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
    """The last events of a run. Cheap to write: text is made only of what is shown."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._events: deque[tuple[float, Subject, str, tuple[object, ...]]] = deque(maxlen=_KEPT)

    def note(self, subject: Subject, text: str, *parts: object) -> None:
        """
        :param text: with a ``%`` field for each of `parts`.
        """
        self._events.append((time.monotonic(), subject, text, parts))

    def about(self, *subjects: Subject) -> list[str]:
        """The last lines about these subjects and about everybody, from shortly before the first of them."""
        wanted = {None, *subjects}
        told = [event for event in self._events if event[1] in wanted]
        first = next((place for place, event in enumerate(told) if event[1] == subjects[0]), 0)
        return [self._line(event) for event in told[max(0, first - 3) :][-_SHOWN:]]

    def _line(self, event: tuple[float, Subject, str, tuple[object, ...]]) -> str:
        at, subject, text, parts = event
        mark = "*" if isinstance(subject, tuple) else " "
        who = f"{subject} " if isinstance(subject, str) else ""
        return f"{at - self._began:9.3f} {mark} {who}{text % parts}"
