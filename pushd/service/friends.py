"""
Has the friends of those at hand who are inside: of each session whose access rules ask for them, and of all
if routing rules do.

A session that opens waits for its user's. Those that a start finds, or that were open when a reload brought
rules that ask, get theirs in pieces; until then access rules cannot say who may read what, and messages for
clients that are away wait in their queues for the answer, and by routing rules nobody has friends. Who
publishes without a session, by HTTP or as a Will, waits as one does who logs in.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from zope.interface import implementer

from pushd.broker.broker import Broker
from pushd.broker.interfaces import ISessionCompanion
from pushd.broker.policy import Policy
from pushd.broker.session import Session
from pushd.broker.tap import Tap
from pushd.people.book import FriendBook
from pushd.people.interfaces import Aspect, Friends
from pushd.rules.routing import RoutingRules
from pushd.service.people import PeopleOffice

log = Logger()

Reader: TypeAlias = "Session | Tap"

# Sessions that are looked at in one piece: less than a millisecond.
AT_ONCE = 200


@implementer(ISessionCompanion)
class SessionFriends:
    """See above."""

    def __init__(self, office: PeopleOffice, broker: Broker, clock: IReactorTime) -> None:
        self._office = office
        self._broker = broker
        self._clock = clock
        self._book: FriendBook | None = None
        self._routes_ask = False
        # By user. Almost all have one: a set of it would be the largest thing that is kept about them.
        self._readers: dict[str, tuple[Reader, ...]] = {}
        self._users: dict[Reader, str] = {}  # whose friends it has in the book
        self._looking = Cooperator(scheduler=partial(clock.callLater, 0))
        self._looks = 0

    @property
    def book(self) -> FriendBook:
        """Made when somebody first asks: where nobody does, no keeper of people is needed."""
        if self._book is None:
            self._book = FriendBook(self._office.people, self._clock)
            self._book.listen(self._changed)
            self._office.watch.listen(Aspect.FRIENDS, self._book.refresh)
            self._broker.companion = self
        return self._book

    def route_by(self, rules: RoutingRules | None) -> None:
        """From the next message on the broker goes by these routing rules, or by none."""
        self._routes_ask = rules is not None and rules.uses_friends
        if rules is not None and self._routes_ask:
            rules = rules.knowing(self.book.friends)
        self._broker.use_routing(rules)

    # What the broker tells and asks

    def prepare(self, username: str | None, policy: Policy) -> Deferred[None] | None:
        """See `ISessionCompanion`."""
        if username is None or not (policy.asks_for_friends or self._routes_ask):
            return None
        return self._load(username)

    def prepare_sender(self, username: str | None) -> Deferred[None] | None:
        """See `ISessionCompanion`."""
        return self._load(username) if username and self._routes_ask else None

    def _load(self, username: str) -> Deferred[None] | None:
        """:return: ``None`` if somebody's friends are there, else fires when they are, or fails."""
        loading = self.book.need(username)
        if loading is None:
            self.book.release(username)
            return None
        # Released after all that happens when it fires: by then a session needs them itself.
        ready: Deferred[None] = Deferred()
        loading.addCallbacks(ready.callback, ready.errback)
        loading.addBoth(lambda _: self.book.release(username))
        return ready

    def opened(self, session: Reader) -> None:
        """See `ISessionCompanion`."""
        username = session.username if self._asks_about(session) else None
        old = self._users.get(session)
        if username == old:
            return
        if old is not None:
            self.ended(session)
        if username:
            self._users[session] = username
            self._readers[username] = (*self._readers.get(username, ()), session)
            self.book.keep(username)

    def _asks_about(self, reader: Reader) -> bool:
        return reader.policy.asks_for_friends or (self._routes_ask and isinstance(reader, Session))

    def ended(self, session: Reader) -> None:
        """See `ISessionCompanion`."""
        username = self._users.pop(session, None)
        if username is None:
            return
        others = tuple(reader for reader in self._readers.pop(username) if reader is not session)
        if others:
            self._readers[username] = others
        self.book.release(username)

    # What changes

    def _changed(self, username: str, old: Friends, new: Friends) -> None:
        for reader in self._readers.get(username, ()):
            if reader.policy.asks_for_friends:
                self._broker.access_changed(reader)

    def look_again(self) -> None:
        """Rules were replaced, or the store has brought sessions: see whose friends are wanted now."""
        if self._book is None:
            return
        self._looks += 1
        self._looking.coiterate(self._pieces(self._looks)).addErrback(
            lambda failure: log.failure("Friends of sessions", failure=failure)
        )

    def _pieces(self, look: int) -> Iterator[None]:
        readers: list[Reader] = [*self._broker.sessions.values(), *self._broker.taps]
        for number, reader in enumerate(readers, 1):
            if look != self._looks:
                return  # another one is under way
            if isinstance(reader, Tap) or self._broker.sessions.get(reader.client_id) is reader:
                self.opened(reader)
            if number % AT_ONCE == 0:
                yield
