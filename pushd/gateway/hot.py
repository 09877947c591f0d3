"""
Which topics are hot.

    GET /v1/topics/hot?by=messages&window=1m&n=20      for administrators

``by`` is ``messages`` (the default), ``bytes``, ``deliveries``, ``drops`` or ``subscribers``; ``window`` is
``1m`` (the default), ``1h`` or ``start``; ``n`` is 1 to 1000. The answer:

    {"by": "messages", "window": "1m", "topics": [
        {"topic": "a/b", "messages": 60, "bytes": 600, "deliveries": 120, "drops": 0, "error": 0}, ...]}

The hottest come first. ``deliveries`` are copies made for subscribers, ``drops`` those that they did not get.
A figure is never too high, and the one that was asked for at most its ``error`` too low. By subscribers, each
has ``filter`` and ``subscribers`` instead, as they are ``"now"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from pushd.gateway.http import problems
from pushd.gateway.http.openapi import described, integer, listed, one_of, record, text
from pushd.gateway.http.pages import json_answer, json_app
from pushd.gateway.http.problems import Problem, Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard

BY = ("messages", "bytes", "deliveries", "drops", "subscribers")
WINDOWS = ("1m", "1h", "start")
COUNT, MOST = 20, 1000


class HotTopics(Protocol):
    """Who has counted."""

    def report(self, by: str, window: str, count: int) -> Deferred[dict[str, Any]]:
        """:return: fires with what the answer is to say."""


_HOT = record(["by", "topics"], by=text(), window=text(), topics=listed(record()))
_HOT_QUERY = {"by": one_of(*BY), "window": one_of(*WINDOWS), "n": integer(minimum=1, maximum=MOST)}


class HotTopicPages:
    """Below ``/v1/topics``."""

    app = json_app()

    def __init__(self, guard: Guard, hot_topics: HotTopics | None) -> None:
        """:param hot_topics: ``None`` if topics are not counted."""
        self._guard = guard
        self._hot_topics = hot_topics

    @app.route("/topics/hot", methods=["GET"])
    @described("The hottest topics, for administrators", query=_HOT_QUERY, answer=_HOT)
    async def hot(self, request: GatewayRequest) -> bytes:
        await self._guard.identify_admin(request)
        by = _one_of(BY, request.argument(b"by"), problems.HOT_BY_INVALID)
        window = _one_of(WINDOWS, request.argument(b"window"), problems.HOT_WINDOW_INVALID)
        count = _count(request.argument(b"n"))
        if self._hot_topics is None:
            raise Refusal(problems.HOT_TOPICS_OFF)
        return json_answer(request, await self._hot_topics.report(by, window, count))


def _one_of(words: Sequence[str], said: bytes, problem: Problem) -> str:
    """The first of the words if nothing was said."""
    word = said.decode("ascii", "replace") or words[0]
    if word not in words:
        raise Refusal(problem)
    return word


def _count(said: bytes) -> int:
    if not said:
        return COUNT
    if not (said.isdigit() and len(said) <= len(str(MOST)) and 1 <= int(said) <= MOST):
        raise Refusal(problems.HOT_COUNT_INVALID)
    return int(said)
