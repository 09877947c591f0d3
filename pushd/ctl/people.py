"""
The keeper of people, as commands ask it: the one that the server's settings name, while it runs or not.

A running server hears of each change within a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import react
from twisted.python.failure import Failure

from pushd.config.settings import Settings
from pushd.people import PEOPLE_FILE
from pushd.people.interfaces import IPeople

T = TypeVar("T")

# What is asked for; any `PeopleUnavailable` goes to whoever asks.
Question = Callable[[IPeople], Coroutine[Any, Any, T]]


def ask_people(settings: Settings, question: Question[T]) -> T:
    """
    Ask, and wait for the answer.

    :raises PeopleUnavailable: there is none; or whatever else the question raises.
    """
    if settings.redis_url is None:
        return _ask_file(_path(settings), question)
    return _ask_redis(settings.redis_url, question)


def are_kept(settings: Settings) -> bool:
    """Whether there may be any. A file is made by who writes to it, and not by who only asks."""
    return settings.redis_url is not None or os.path.exists(_path(settings))


def _path(settings: Settings) -> str:
    return os.path.join(settings.persistence_location, PEOPLE_FILE)


def _ask_file(path: str, question: Question[T]) -> T:
    """Nothing else waits in a command, so what may wait for the disk does it here, and no reactor runs."""
    from pushd.people.sqlite import SqlitePeople

    outcome: list[T | Failure] = []
    people = SqlitePeople(path, execute)
    people.open()
    Deferred.fromCoroutine(question(people)).addBoth(outcome.append)
    people.close()
    return _result(outcome)


def _ask_redis(url: str, question: Question[T]) -> T:
    from pushd.people.redis_people import RedisPeople
    from pushd.redis.door import connect

    outcome: list[T | Failure] = []

    def ask(reactor: Any) -> Deferred[None]:
        people = RedisPeople(connect(url, reactor))
        asked = Deferred.fromCoroutine(question(people)).addBoth(outcome.append)
        return asked.addCallback(lambda _: people.close())

    with suppress(SystemExit):  # how `react` ends; commands say themselves how they end
        react(ask)
    return _result(outcome)


def _result(outcome: list[T | Failure]) -> T:
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
