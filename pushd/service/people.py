"""
Who keeps people, in this process: made when something asks for them, and not before.

A broker without accounts, friends and subscription lists has no file for them, no connection to Redis, and
none of the code for either in its memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.config.settings import Settings
from pushd.people import PEOPLE_FILE
from pushd.people.interfaces import Aspect, Change, IPeople, PeopleUnavailable
from pushd.service.redis import RedisOffice

log = Logger()


def make_people(settings: Settings, redis: RedisOffice, in_thread: Callable[..., Deferred[Any]]) -> IPeople:
    """
    In Redis if the settings name one, else in a file beside the store. Nothing is opened yet.

    :param in_thread: calls a function, with arguments, where it may wait for the disk.
    :raises PeopleUnavailable: the settings name certificates for Redis that cannot be read.
    """
    if settings.redis_url is not None:
        from pushd.people.redis_people import RedisPeople
        from pushd.redis.errors import BadUrl

        try:
            return RedisPeople(redis.door)
        except BadUrl as problem:
            raise PeopleUnavailable(f"redis_url: {problem}") from problem
    from pushd.people.sqlite import SqlitePeople

    return SqlitePeople(os.path.join(settings.persistence_location, PEOPLE_FILE), in_thread)


class PeopleWatch:
    """
    Hears of what changes about people, by whomever, and tells those who want to know.

    One look at a time; one that fails is repeated with the next. The log hears of the first that fails, and
    of the first that succeeds again.
    """

    def __init__(self, people: IPeople, clock: Any, interval_s: float = 0.3) -> None:
        self._people = people
        self._interval_s = interval_s
        self._listeners: dict[Aspect, list[Callable[[str], None]]] = {aspect: [] for aspect in Aspect}
        self._failing = False
        self._loop = LoopingCall(self.look)
        self._loop.clock = clock

    def listen(self, aspect: Aspect, callback: Callable[[str], None]) -> None:
        """From now on call this with each user of whom this has changed; an empty name: all may have."""
        self._listeners[aspect].append(callback)

    def start(self) -> None:
        """Look now, and then every `interval_s` seconds."""
        if not self._loop.running:
            self._loop.start(self._interval_s)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def look(self) -> Deferred[None]:
        """Ask once what has changed. The Deferred never fails."""
        return self._people.changes().addCallbacks(self._tell_all, self._not_now).addErrback(_log_bug)

    def _tell_all(self, changes: list[Change]) -> None:
        if self._failing:
            log.info("Accounts and friends can be read again.", log_type="notice")
        self._failing = False
        for change in changes:
            for callback in self._listeners[change.aspect]:
                _tell(callback, change.username)

    def _not_now(self, failure: Failure) -> None:
        failure.trap(PeopleUnavailable)
        if not self._failing:
            log.error("Accounts and friends cannot be read: {problem}", problem=failure.getErrorMessage())
        self._failing = True


def _tell(callback: Callable[[str], None], username: str) -> None:
    """One listener that fails keeps nothing from the others."""
    try:
        callback(username)
    except Exception:
        log.failure("A change of a user was not followed")


def _log_bug(failure: Failure) -> None:
    log.failure("Changes of people could not be read", failure=failure)


class PeopleOffice:
    """
    The one place of a process where people are asked for.

    :param make: see `make_people`.
    """

    def __init__(self, make: Callable[[], IPeople], clock: Any) -> None:
        self._make = make
        self._clock = clock
        self._people: IPeople | None = None
        self._watch: PeopleWatch | None = None
        self._running = False

    @property
    def in_use(self) -> bool:
        """Whether anything has asked for people."""
        return self._people is not None

    @property
    def people(self) -> IPeople:
        """Made when they are first asked for."""
        if self._people is None:
            self._people = self._make()
            if self._running:
                self._open_late(self._people)
        return self._people

    def prepare(self) -> None:
        """
        Have them made before anybody asks who could not bear that it fails.

        :raises PeopleUnavailable: it does.
        """
        assert self.people is not None

    @property
    def watch(self) -> PeopleWatch:
        """Looks for changes while the service runs."""
        if self._watch is None:
            self._watch = PeopleWatch(self.people, self._clock)
            if self._running:
                self._watch.start()
        return self._watch

    def start(self) -> None:
        """
        The process is the user now that it stays, and may open files.

        :raises PeopleUnavailable: what was asked for cannot be used.
        """
        self._running = True
        if self._people is not None:
            self._people.open()
        if self._watch is not None:
            self._watch.start()

    def stop(self) -> Deferred[None]:
        """Let go of files and connections."""
        self._running = False
        if self._watch is not None:
            self._watch.stop()
        return succeed(None) if self._people is None else self._people.close()

    def _open_late(self, people: IPeople) -> None:
        """After a reload. The service goes on; whoever asks hears the same."""
        try:
            people.open()
        except PeopleUnavailable as problem:
            log.error("Accounts and friends cannot be read: {problem}", problem=problem)
