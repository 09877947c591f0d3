"""
Automatic subscription, put together: whose wishes there are (rules of a file, lists and friends that are kept
of people), when they are looked at, and how much of it at a time.

    a client comes ──▶ ask for its user's list and friends ──▶ compare (`pushd.broker.automatic`) ──▶ CONNACK
    rules, a list or friends change ──▶ the same, for each session that it concerns, whether its client is
                                        there or away

A comparison is done in slices of the reactor's time, all of them together; five thousand friends take some
fifty. Only of a new session the CONNACK waits for it: whoever hears that a client is online may rely on its
subscriptions. When the keeper of people cannot be asked in time, the client gets what is known without it,
loses nothing, and is looked at again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.broker.automatic import Assignment
from pushd.broker.broker import Broker
from pushd.broker.interfaces import ISubscriber
from pushd.broker.session import Session
from pushd.config.settings import Settings
from pushd.people.interfaces import Aspect, Friends, IPeople, PeopleUnavailable
from pushd.rules.auto_subscribe import NO_RULES, NOBODY, AutoRules
from pushd.service.people import PeopleOffice

log = Logger()

FIRST_CONNECTED = "$SYS/broker/clients/first-connected"

# What all comparisons together may take of a turn of the reactor, and what the one of a client that comes may
# take at once: twenty rules are done long before.
SLICE_S = 0.002
AT_ONCE_S = 0.001

# How long a CONNACK waits for the keeper of people.
PATIENCE_S = 1.0

# When those are asked for again that the keeper said nothing about.
RETRY_S = 5.0

# Sessions that are looked at side by side after a change, as most of the time is spent with asking.
WORKERS = 8

# Users who are known to have been here before. The keeper knows it better, but must be asked.
MAX_SEEN = 100_000


@dataclass(frozen=True, slots=True)
class Known:
    """
    What the keeper of people said about a user.

    :ivar is_all: whether it said everything.
    """

    listed: Mapping[str, int] | None = None
    friends: Friends = NOBODY
    is_all: bool = True


NOTHING = Known()


@implementer(ISubscriber)
class AutoSubscription:
    """
    See above.

    :param seconds: a clock that is not set back.
    :param wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        broker: Broker,
        reactor: Any,
        seconds: Callable[[], float] = time.perf_counter,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._broker = broker
        self._reactor = reactor
        self._seconds = seconds
        self._wall_clock = wall_clock
        self._people: IPeople | None = None
        self._rules = NO_RULES
        self._sessions: dict[str, set[Session]] = {}  # of each user; "": of nobody's
        self._queue: dict[Session, None] = {}  # to be looked at, in this order
        self._again: dict[Session, bool] = {}  # being looked at, and whether that has to be done once more
        self._unanswered: set[Session] = set()
        self._seen: set[str] = set()
        self._workers = 0
        self._retry: Any = None
        self._is_stopped = False
        self._cooperator = Cooperator(self._end_of_slice, partial(reactor.callLater, 0))

    def _end_of_slice(self) -> Callable[[], bool]:
        end = self._seconds() + SLICE_S
        return lambda: self._seconds() >= end

    # What there is to go by

    def take_up(self) -> None:
        """Look at the sessions that there are."""
        for session in self._broker.sessions.values():
            self._enter(session)
        self._look_soon(list(self._broker.sessions.values()))

    def stop(self) -> None:
        """Look at nothing any more. Whoever is being looked at goes with the process."""
        self._is_stopped = True
        self._cooperator.stop()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def use(self, rules: AutoRules) -> None:
        """Go by these rules from now on."""
        self._rules = rules
        self._look_soon(list(self._broker.sessions.values()))

    def ask(self, office: PeopleOffice) -> None:
        """From now on there are lists and friends, and users are here for the first time."""
        if self._people is None:
            self._people = office.people
            office.watch.listen(Aspect.SUBSCRIPTIONS, self._look_at_user)
            office.watch.listen(Aspect.FRIENDS, self._friends_changed)
            office.watch.listen(Aspect.ACCOUNT, self._account_changed)

    def _friends_changed(self, username: str) -> None:
        if not username or self._rules.wants_friends(username):
            self._look_at_user(username)

    def _account_changed(self, username: str) -> None:
        """One that was removed is forgotten, and may come for the first time again."""
        if username:
            self._seen.discard(username)
        else:
            self._seen.clear()

    def _look_at_user(self, username: str) -> None:
        sessions = self._sessions.get(username, ()) if username else self._broker.sessions.values()
        self._look_soon(list(sessions))

    # Sessions

    def came(self, session: Session) -> Deferred[None] | None:
        """See `pushd.broker.interfaces.ISubscriber`."""
        self._enter(session)
        self._greet(session)
        looked = Deferred.fromCoroutine(self._look(session))
        looked.addErrback(self._failed)
        return None if looked.called and not looked.paused else looked

    def forget(self, session: Session) -> None:
        """See `pushd.broker.interfaces.ISubscriber`."""
        username = session.username or ""
        sessions = self._sessions.get(username)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self._sessions[username]
        self._queue.pop(session, None)
        self._unanswered.discard(session)

    def _enter(self, session: Session) -> None:
        self._sessions.setdefault(session.username or "", set()).add(session)

    def _failed(self, failure: Failure) -> None:
        if failure.check(SchedulerStopped) is None:  # that is the end of the process
            log.failure("A client could not be subscribed", failure)

    # Looking at sessions

    async def _look(self, session: Session) -> None:
        """Compare one session with what it should be; once more if that has changed meanwhile."""
        if session in self._again:
            self._again[session] = True
            return
        self._again[session] = True
        try:
            while self._again[session]:
                self._again[session] = False
                await self._compare(session, await self._ask(session))
        finally:
            del self._again[session]

    async def _ask(self, session: Session) -> Known:
        """What the keeper says about a session's user, or what is known without it when its time is over."""
        people, username = self._people, session.username
        if people is None or not username:
            return NOTHING
        answer = Deferred.fromCoroutine(self._ask_people(people, username))
        if not answer.called:
            answer.addTimeout(PATIENCE_S, self._reactor)
        try:
            return await answer
        except (PeopleUnavailable, TimeoutError):
            self._ask_again(session)
        except Exception:
            log.failure("The subscriptions of {name!r} could not be read", name=username)
        return Known(is_all=False)

    async def _ask_people(self, people: IPeople, username: str) -> Known:
        listed = await people.subscriptions(username)
        friends = await people.friends(username) if self._rules.wants_friends(username) else NOBODY
        return Known(listed, friends)

    async def _compare(self, session: Session, known: Known) -> None:
        wishes = self._rules.wishes(session.username, session.client_id, known.friends, known.listed)
        assignment = Assignment(self._broker, session, wishes, known.is_all)
        end = self._seconds() + AT_ONCE_S
        pieces = assignment.pieces()
        for later in pieces:
            if later is not None:
                await later
            if self._seconds() >= end:
                await self._cooperator.coiterate(pieces)
        replays = assignment.replays()  # the CONNACK need not wait for these
        if any(self._seconds() >= end for _ in replays):
            self._cooperator.coiterate(replays).addErrback(self._failed)

    def _look_soon(self, sessions: list[Session]) -> None:
        if self._is_stopped:
            return
        self._queue.update(dict.fromkeys(sessions))
        while self._queue and self._workers < min(WORKERS, len(self._queue)):
            self._workers += 1
            self._cooperator.coiterate(self._work()).addErrback(self._failed)

    def _work(self) -> Iterator[Deferred[None]]:
        try:
            while self._queue:
                session = next(iter(self._queue))
                del self._queue[session]
                if self._broker.sessions.get(session.client_id) is session:
                    yield Deferred.fromCoroutine(self._look(session)).addErrback(self._failed)
        finally:
            self._workers -= 1

    def _ask_again(self, session: Session) -> None:
        self._unanswered.add(session)
        if self._retry is None and not self._is_stopped:
            self._retry = self._reactor.callLater(RETRY_S, self._retry_all)

    def _retry_all(self) -> None:
        self._retry = None
        unanswered, self._unanswered = self._unanswered, set()
        self._look_soon(list(unanswered))

    # Who is here for the first time

    def _greet(self, session: Session) -> None:
        """Tell whoever wants to know of a user who was never here before. Nobody waits for it."""
        username = session.username
        if self._people is None or not username or username in self._seen or session.client is None:
            return
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(username)
        said = {"username": username, "clientid": session.client_id}
        said["address"] = session.client.connection.address
        first = self._people.connected(username)
        first.addCallbacks(self._announce, self._not_noted, (said,), {}, (username,), {})
        first.addErrback(self._failed)

    def _announce(self, is_first: bool, said: dict[str, Any]) -> None:
        if is_first:
            said["time"] = int(self._wall_clock())
            payload = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
            self._broker.announce(FIRST_CONNECTED, payload, retain=False)

    def _not_noted(self, failure: Failure, username: str) -> None:
        """It counts as the first time when the user comes next."""
        self._seen.discard(username)
        failure.trap(PeopleUnavailable)


class Subscribing:
    """
    Automatic subscription of a process, from the moment that something asks for it: ``autosubscribe_file``,
    or ``accounts``, whose users may have lists. A broker without either has nothing of it.
    """

    def __init__(self, broker: Broker, office: PeopleOffice, reactor: Any) -> None:
        self._broker = broker
        self._office = office
        self._reactor = reactor
        self._subscriber: AutoSubscription | None = None
        self._is_started = False

    def use(self, settings: Settings, rules: AutoRules | None) -> None:
        """
        Go by these.

        :param rules: those of the file, if there is one.
        """
        if rules is not None or any(listener.security.accounts for listener in settings.listeners):
            self._get().ask(self._office)
        if self._subscriber is not None:
            self._subscriber.use(rules or NO_RULES)

    def start(self) -> None:
        """The broker has its sessions: see what has changed for them while no process was there."""
        self._is_started = True
        if self._subscriber is not None or self._has_leftovers():
            self._get().take_up()

    def stop(self) -> None:
        """Subscribe nobody any more."""
        if self._subscriber is not None:
            self._subscriber.stop()

    def _get(self) -> AutoSubscription:
        if self._subscriber is None:
            self._subscriber = self._broker.subscriber = AutoSubscription(self._broker, self._reactor)
            if self._is_started:
                self._subscriber.take_up()
        return self._subscriber

    def _has_leftovers(self) -> bool:
        """Whether there are subscriptions by rules that are no more."""
        return any(
            subscription.automatic
            for session in self._broker.sessions.values()
            for subscription in session.subscriptions.values()
        )
