"""
Logging in by accounts, in this process: one authenticator for all doors, made when the first of them asks for
it; and who has to go when an account is disabled, removed or given another password.

Only clients that an account has let in are meant. A certificate's name is no account, nor is a user of the
password file, whatever accounts have the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.auth.accounts import AccountAuthenticator
from pushd.auth.check_queue import CheckQueue
from pushd.auth.failures import LoginFailures
from pushd.auth.password_hash import make_argon2id
from pushd.broker.broker import Broker
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Aspect, PeopleUnavailable
from pushd.service.people import PeopleOffice
from pushd.service.recheck import dismiss

if TYPE_CHECKING:
    from pushd.broker.session import Session
    from pushd.broker.tap import Tap
    from pushd.service.assembly import Door

log = Logger()

# Accounts that are asked for at the same time: after an outage all may have changed, and who logs in must not
# wait behind a hundred thousand of them.
AT_ONCE = 8

# Sessions that are looked at in one piece; about a millisecond.
SESSIONS_AT_ONCE = 200

# After a keeper could not answer; it was given its time already.
RETRY_S = 1.0


class AccountLogins:
    """
    See above.

    :param doors: all that are open.
    :param run_in_thread: calls a function that computes for long.
    """

    def __init__(
        self,
        office: PeopleOffice,
        broker: Broker,
        doors: Callable[[], list[Door]],
        run_in_thread: Callable[..., Deferred[Any]],
        reactor: Any,
    ) -> None:
        self._office = office
        self._broker = broker
        self._doors = doors
        self._run_in_thread = run_in_thread
        self._reactor = reactor
        self._cooperator = Cooperator(scheduler=partial(reactor.callLater, 0))
        self._authenticator: AccountAuthenticator | None = None
        self._changed: dict[str, None] = {}  # to be asked for, in the order in which they were heard of
        self._unanswered: dict[str, None] = {}  # to be asked for again
        self._gone: set[str] = set()  # to be sent away
        self._busy = False

    def make(self, queue: CheckQueue, failures: LoginFailures) -> AccountAuthenticator:
        """For all doors. From now on changes are listened for."""
        self._authenticator = AccountAuthenticator(
            self._office.people, self._run_in_thread, queue, failures, self._reactor
        )
        self._office.watch.listen(Aspect.ACCOUNT, self.changed)
        return self._authenticator

    def make_hash(self, password: bytes) -> Deferred[str]:
        """A hash for an account that gets this password."""
        return self._run_in_thread(lambda: str(make_argon2id(password)))

    def changed(self, username: str) -> None:
        """An account has; with an empty name, all may have."""
        assert self._authenticator is not None  # it was made before we listened
        names = [username] if username else self._authenticator.users()
        self._look_at(dict.fromkeys(names))

    def _look_at(self, names: dict[str, None]) -> None:
        self._changed.update(names)
        self._look()

    def _look(self) -> None:
        if self._busy or not self._changed:
            return
        self._busy = True
        names, self._changed = iter(self._changed), {}
        asking = [self._cooperator.coiterate(self._ask(names)) for _ in range(AT_ONCE)]
        looked = gatherResults(asking).addCallback(lambda _: self._send_away())
        looked.addErrback(
            lambda failure: log.failure("Changes of accounts were not followed", failure=failure)
        )
        looked.addCallback(self._looked)

    def _ask(self, names: Iterator[str]) -> Iterator[Deferred[None]]:
        """One of several who go through the same names."""
        assert self._authenticator is not None
        for name in names:
            asked = Deferred.fromCoroutine(self._authenticator.still_admits(name))
            yield asked.addCallbacks(self._told, self._not_told, callbackArgs=(name,), errbackArgs=(name,))

    def _told(self, may_stay: bool, name: str) -> None:
        if not may_stay:
            self._gone.add(name)

    def _not_told(self, failure: Failure, name: str) -> None:
        failure.trap(PeopleUnavailable)
        self._unanswered[name] = None

    def _send_away(self) -> Deferred[Any] | None:
        gone, self._gone = self._gone, set()
        return self._cooperator.coiterate(self._dismissals(gone)) if gone else None

    def _dismissals(self, gone: set[str]) -> Iterator[None]:
        for number, session in enumerate(list(self._broker.sessions.values()), 1):
            client = session.client
            if client is not None and session.username in gone and self._came_by_account(session):
                dismiss(self._broker, client, ReasonCode.NOT_AUTHORIZED, "its account has changed")
            if number % SESSIONS_AT_ONCE == 0:
                yield
        for tap in list(self._broker.taps):
            if tap.username in gone and self._came_by_account(tap):
                tap.cut()

    def _came_by_account(self, one: Session | Tap) -> bool:
        return any(
            door.asks_accounts_about(one.username) for door in self._doors() if one.policy in door.policies
        )

    def _looked(self, _: object) -> None:
        self._busy = False
        if self._unanswered:
            names, self._unanswered = self._unanswered, {}
            self._reactor.callLater(RETRY_S, self._look_at, names)
        self._look()
