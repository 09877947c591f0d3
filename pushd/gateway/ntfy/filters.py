"""
Which messages of its topics a reader wants: ntfy's filters ``id``, ``message``, ``title``, ``priority`` and
``tags``. They are about messages only: other events always come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.ntfy.lookup import look_up
from pushd.gateway.ntfy.parameters import PRIORITIES

DEFAULT_PRIORITY = 3  # of a message that says nothing


@dataclass(frozen=True, slots=True)
class Filter:
    """
    What is empty asks for nothing.

    :ivar priorities: one of these.
    :ivar tags: all of these.
    """

    id: str = ""
    message: str = ""
    title: str = ""
    priorities: frozenset[int] = frozenset()
    tags: frozenset[str] = frozenset()

    def passes(self, shown: dict[str, Any]) -> bool:
        """
        :param shown: a message object.
        """
        if shown["event"] != "message":
            return True
        exact = (("id", self.id), ("message", self.message), ("title", self.title))
        if any(wanted and shown.get(name) != wanted for name, wanted in exact):
            return False
        if self.priorities and shown.get("priority", DEFAULT_PRIORITY) not in self.priorities:
            return False
        return self.tags.issubset(shown.get("tags", ()))


EVERYTHING = Filter()


def read_filter(request: GatewayRequest) -> Filter:
    """
    :raises Refusal: 40007, a priority that is none.
    """
    read = Filter(
        look_up(request, "x-id", "id"),
        look_up(request, "x-message", "message", "m"),
        look_up(request, "x-title", "title", "t"),
        frozenset(map(_priority, _listed(look_up(request, "x-priority", "priority", "prio", "p")))),
        frozenset(_listed(look_up(request, "x-tags", "tags", "tag", "ta"))),
    )
    return EVERYTHING if read == EVERYTHING else read  # the one that is known to pass all


def _listed(text: str) -> list[str]:
    return [part for part in map(str.strip, text.split(",")) if part]


def _priority(text: str) -> int:
    try:
        return PRIORITIES[text.lower()]
    except KeyError:
        raise Refusal(problems.PRIORITY_INVALID) from None
