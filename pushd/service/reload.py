"""
What SIGHUP changes, and what it cannot.

All files are read first, in a thread, and nothing changes unless all of them are good. Plugins are made anew;
if they start, everything changes in one turn of the reactor. After that, in pieces, a second look at those
who are inside (`pushd.service.recheck`): whoever came by a door that is no more, or would not be let in
again, has to go; everybody else does not notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.auth.security_file import SecurityFileError
from pushd.broker.broker import Broker
from pushd.broker.client import Client
from pushd.config.errors import ConfigError
from pushd.config.options import OPTIONS, Status
from pushd.config.settings import Settings
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import PeopleUnavailable
from pushd.plugins.loading import PluginError
from pushd.rules.rule_file import RuleFileError
from pushd.service.assembly import ReadFiles, read_files
from pushd.service.doors import Doors, Shut
from pushd.service.listening import CannotListen, Endpoint, endpoints
from pushd.service.logs import LogFileError
from pushd.service.recheck import dismiss
from pushd.transports.tls import TlsFileError

log = Logger()

# Why nothing is reloaded, apart from mistakes of our own.
REASONS = (
    ConfigError,
    SecurityFileError,
    TlsFileError,
    PluginError,
    RuleFileError,
    PeopleUnavailable,
    CannotListen,
    LogFileError,
)

# How long those behind a door that was shut may take to go: callers of the gateway get their answer.
GRACE_S = 5.0

# Sessions that are looked at in one piece; about a millisecond.
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Read:
    """Everything that a reload needs from outside."""

    settings: Settings
    files: ReadFiles
    places: list[list[Endpoint]]  # of each listener


def read_everything(read_settings: Callable[[], Settings]) -> Read:
    """
    Read the settings and all that they name. Blocks, and changes nothing.

    :raises ConfigError, SecurityFileError, TlsFileError, PluginError, RuleFileError, CannotListen: something
        is wrong.
    """
    settings = read_settings()
    return Read(settings, read_files(settings), [endpoints(listener) for listener in settings.listeners])


def kept_until_restart(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """
    :return: `new` with the values of `old` for what only a start can change, and the options that this is
        about.
    """
    ours = {field.name for field in fields(Settings)}
    fixed = [
        option.key
        for option in OPTIONS
        if option.status is Status.WORKS and not option.reloadable and option.key in ours
    ]
    changed = [name for name in fixed if getattr(old, name) != getattr(new, name)]
    return replace(new, **{name: getattr(old, name) for name in changed}), changed


class OneAtATime:
    """
    Does something that takes its time, again for whoever asks meanwhile; but once for all of them.

    :param do: its Deferred fires, whatever happens, when the next may begin.
    """

    def __init__(self, do: Callable[[], Deferred[Any]]) -> None:
        self._do = do
        self._busy = False
        self._wanted = False

    def ask(self) -> None:
        """Do it now, or once more when it is done."""
        if self._busy:
            self._wanted = True
            return
        self._busy = True
        self._do().addErrback(lambda failure: log.failure("SIGHUP failed", failure=failure)).addCallback(
            self._done
        )

    def _done(self, _: object) -> None:
        self._busy = False
        if self._wanted:
            self._wanted = False
            self.ask()


class Farewell:
    """Sees everybody out who has to go after a reload."""

    def __init__(self, broker: Broker, doors: Doors, shut: list[Shut]) -> None:
        """:param shut: the doors that are no more."""
        self._broker = broker
        self._doors = {policy: door for door in doors.all for policy in door.policies}
        self._shut = {policy for one in shut for policy in one.door.policies}
        self._first = doors.all[0].policy

    def pieces(self) -> Iterator[None]:
        """Look at each session, and at everybody who listens, a few at a time."""
        for number, session in enumerate(list(self._broker.sessions.values()), 1):
            if session.client is not None:
                self._look_at(session.client)
            if session.client is None and session.policy in self._shut:
                session.policy = self._first  # as after a start, until its client comes back
            if number % AT_ONCE == 0:
                yield
        for number, tap in enumerate(list(self._broker.taps), 1):
            door = self._doors.get(tap.policy)
            if tap.policy in self._shut or (door is not None and not door.still_tells(tap)):
                tap.cut()
            if number % AT_ONCE == 0:
                yield

    def _look_at(self, client: Client) -> None:
        door = self._doors.get(client.policy)
        if client.policy in self._shut:
            dismiss(self._broker, client, ReasonCode.ADMINISTRATIVE_ACTION, "the listener was closed")
        elif door is not None and not door.still_admits(client):
            dismiss(self._broker, client, ReasonCode.NOT_AUTHORIZED, "not authorised any more")


def cut_off(shut: list[Shut]) -> None:
    """End what is still open behind doors that were shut: by now, clients were told and callers served."""
    for one in shut:
        for transport in one.inside:
            if transport.connected:
                transport.abortConnection()
