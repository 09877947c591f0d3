"""
The access control list in this process: one authorizer for all doors that ask accounts, made when the first
of them does, and kept right as the list changes.

A door asks it only while there is anything in the list: it costs those nothing who have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.auth.grants import AccessList, GrantAuthorizer
from pushd.broker.broker import Broker
from pushd.people.interfaces import Aspect, Grant, PeopleUnavailable
from pushd.service.people import PeopleOffice

if TYPE_CHECKING:
    from pushd.service.assembly import Door

log = Logger()

# After a keeper could not answer; it was given its time already.
RETRY_S = 1.0

# Sessions that are looked at in one piece; about a millisecond.
SESSIONS_AT_ONCE = 200


class AccessEntries:
    """
    See above.

    :param doors: all that are open.
    :param in_thread: calls a function that computes for long, with arguments.
    :param is_admin: users about whom the list says nothing.
    """

    def __init__(
        self,
        office: PeopleOffice,
        broker: Broker,
        doors: Callable[[], list[Door]],
        in_thread: Callable[..., Deferred[Any]],
        reactor: Any,
        is_admin: Callable[[str], bool],
    ) -> None:
        self._office = office
        self._broker = broker
        self._doors = doors
        self._in_thread = in_thread
        self._reactor = reactor
        self._is_admin = is_admin
        self._cooperator = Cooperator(scheduler=partial(reactor.callLater, 0))
        self._authorizer: GrantAuthorizer | None = None
        self._running = False
        self._reading = False
        self._again = False  # what is being read may be too old already
        self._looks = 0

    def make(self) -> GrantAuthorizer:
        """For all doors. From now on changes are listened for."""
        self._authorizer = GrantAuthorizer(self._is_admin)
        self._office.watch.listen(Aspect.GRANTS, lambda username: self._read())
        if self._running:
            self._read()
        return self._authorizer

    def start(self) -> None:
        """People may be asked now."""
        self._running = True
        if self._authorizer is not None:
            self._read()

    def _read(self) -> None:
        self._again = self._reading
        if self._reading:
            return
        self._reading = True
        reading = self._office.people.grants().addCallback(self._make_list)
        reading.addCallbacks(self._use, self._not_read)
        reading.addErrback(lambda failure: log.failure("The access control list", failure=failure))

    def _make_list(self, grants: list[Grant]) -> Deferred[AccessList]:
        """Sorting a hundred thousand entries would hold up everybody for a second."""
        made: Deferred[AccessList] = self._in_thread(AccessList, grants)
        return made

    def _use(self, entries: AccessList) -> None:
        assert self._authorizer is not None  # or it would not have been read
        self._reading = False
        self._authorizer.use(entries)
        for door in self._doors():
            door.use_grants()
        self._broker.access_rules_changed()
        self._look_at_queues()
        if self._again:
            self._read()

    def _not_read(self, failure: Failure) -> None:
        """What was known last is as good as any; who waits for the first list is told that there is none."""
        assert self._authorizer is not None
        self._reading = False
        self._authorizer.look_again()
        self._reactor.callLater(RETRY_S, self._read)
        failure.trap(PeopleUnavailable)  # the log hears of it from whoever looks for changes

    def _look_at_queues(self) -> None:
        """What waits for a client that is inside, and may not be read any more, does not go out to it."""
        self._looks += 1
        self._cooperator.coiterate(self._pieces(self._looks)).addErrback(
            lambda failure: log.failure("Messages that may not be read any more", failure=failure)
        )

    def _pieces(self, look: int) -> Iterator[None]:
        for number, session in enumerate(list(self._broker.sessions.values()), 1):
            if look != self._looks:
                return  # another one is under way
            if session.client is not None and session.queue:
                session.drop_unreadable()
            if number % SESSIONS_AT_ONCE == 0:
                yield
