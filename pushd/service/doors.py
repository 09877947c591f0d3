"""
All doors of the process: opened at the start, changed by a reload, closed at the end.

A reload is all or nothing, so what may fail comes first:

    new doors open ──▶ the others are told their settings ──▶ doors that are no more close
          │ one cannot
          ▼
    those that did close again, and nothing has changed

A door is known by its place: its port and addresses, or its path. One that speaks something else from now on
(TLS, another protocol) keeps its sockets, so that nobody is turned away while it changes and nobody else gets
its port; but who is inside has to go.

Where places overlap (all addresses of a port before, one of them now) a new door cannot open before an old
one has closed. Then it is tried that way round, and the old one opens again if it was in vain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger

from pushd.broker.wheel import TimingWheel
from pushd.config.settings import ListenerSettings, Settings
from pushd.service.assembly import Door, ReadFiles
from pushd.service.gate import Entrance
from pushd.service.listening import CannotListen, Endpoint, endpoints, listen
from pushd.service.ports import AcceptedTransport
from pushd.service.systemd import PassedSockets

log = Logger()

MakeDoor: TypeAlias = "Callable[[ListenerSettings, Entrance | None], Door]"


class Shut(NamedTuple):
    """A door that nobody comes in by any more, and who is still behind it."""

    door: Door
    inside: tuple[AcceptedTransport, ...]


class Doors:
    """
    :ivar all: those that are open, in the order of the settings; before `open`, those that will be.
    """

    def __init__(self, make: MakeDoor, reactor: Any, wheel: TimingWheel) -> None:
        """:param make: makes a door of its settings, in the place of another if given that one's entrance."""
        self.make = make
        self._reactor = reactor
        self._wheel = wheel
        self._no_delay = False
        self.all: list[Door] = []

    def prepare(self, settings: Settings, files: ReadFiles) -> None:
        """Make the doors of the start."""
        self._no_delay = settings.set_tcp_nodelay
        self.all = [self.make(listener, None) for listener in settings.listeners]
        for door, listener, context in zip(self.all, settings.listeners, files.contexts, strict=True):
            door.use(listener, files, context, settings.clientid_prefixes)

    def open(self, passed: PassedSockets, owner: tuple[int, int] | None) -> None:
        """
        Open them.

        :param passed, owner: see `listen`.
        :raises CannotListen: one cannot be opened; others may be open.
        """
        for door in self.all:
            door.places = endpoints(door.settings)
            self.open_one(door, passed, owner)

    def open_one(
        self, door: Door, passed: PassedSockets | None = None, owner: tuple[int, int] | None = None
    ) -> None:
        """
        Open a door where its `places` are.

        :raises CannotListen: that is not possible.
        """
        door.ports = listen(
            door.settings,
            door.places,
            door.factory(),
            passed or PassedSockets([]),
            self._reactor,
            door.entrance,
            self._wheel,
            no_delay=self._no_delay,
            owner=owner,
        )

    def close(self) -> Deferred[Any]:
        """Let nobody in any more; who is inside stays. Fires when the last is closed."""
        ports = [port for door in self.all for port in door.ports]
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])

    def set_no_delay(self, no_delay: bool) -> None:
        """``set_tcp_nodelay``, for connections that come from now on."""
        self._no_delay = no_delay
        for door in self.all:
            for port in door.ports:
                port.set_no_delay(no_delay)


class Change:
    """
    The doors of other settings, in the place of those there are: `open`, and then `commit` or `undo`.

    :param places: the `endpoints` of each listener.
    """

    def __init__(
        self, doors: Doors, settings: Settings, files: ReadFiles, places: list[list[Endpoint]]
    ) -> None:
        self._doors = doors
        self._settings = settings
        self._files = files
        self._known = {_place(door.settings): door for door in doors.all if door.ports}
        wanted = {_place(listener) for listener in settings.listeners}
        self._leaving = [_shut(door) for place, door in self._known.items() if place not in wanted]
        self._closed_early = False
        self._new: dict[object, Door] = {}
        for listener, context, heard_at in zip(settings.listeners, files.contexts, places, strict=True):
            if _place(listener) not in self._known:
                door = self._new[_place(listener)] = doors.make(listener, None)
                door.use(listener, files, context, settings.clientid_prefixes)
                door.places = heard_at

    def open(self) -> None:
        """
        Open what is new.

        :raises CannotListen: something cannot be opened, and nothing has changed.
        """
        try:
            self._open_new()
        except CannotListen as problem:
            if not (problem.is_taken and self._leaving):
                raise
            self._open_instead()

    def undo(self) -> None:
        """Close it again."""
        for door in self._new.values():
            _close(door)
        if self._closed_early:
            for one in self._leaving:
                self._open_again(one)

    def commit(self) -> list[Shut]:
        """
        Go by the new settings.

        :return: the doors that are shut now.
        """
        for one in self._leaving:
            _close(one.door)
        shut = self._leaving
        doors = []
        for listener, context in zip(self._settings.listeners, self._files.contexts, strict=True):
            door = self._new.get(_place(listener)) or self._known[_place(listener)]
            if _language(door.settings) != _language(listener):
                shut.append(_shut(door))
                door = self._doors.make(listener, door.entrance)
            door.use(listener, self._files, context, self._settings.clientid_prefixes)
            doors.append(door)
        self._take_over(shut, doors)
        self._doors.all = doors
        self._doors.set_no_delay(self._settings.set_tcp_nodelay)
        return shut

    def _take_over(self, shut: list[Shut], doors: list[Door]) -> None:
        """Let doors that speak something else have the ports of those whose place they are in."""
        known = {_place(one.door.settings): one.door for one in shut}
        for door in doors:
            if not door.ports:
                old = known[_place(door.settings)]
                door.places, door.ports = old.places, old.ports
                for port in door.ports:
                    port.lead_to(door.factory())

    def _open_new(self) -> None:
        try:
            for door in self._new.values():
                self._doors.open_one(door)
        except CannotListen:
            for door in self._new.values():
                _close(door)
            raise

    def _open_instead(self) -> None:
        """Open them in the place of those that leave."""
        for one in self._leaving:
            _close(one.door)
        self._closed_early = True
        try:
            self._open_new()
        except CannotListen:
            self.undo()
            raise

    def _open_again(self, one: Shut) -> None:
        try:
            self._doors.open_one(one.door)
        except CannotListen as problem:  # somebody was quicker than us, or it takes a right that we gave up
            log.error("{problem}; this listener stays closed", problem=problem)
        else:
            one.door.ports[0].take_over(one.inside)


def _place(listener: ListenerSettings) -> object:
    """Where a door is; no two have the same."""
    return (
        listener.port,
        listener.path,
        listener.addresses,
        listener.socket_domain,
        listener.bind_interface,
    )


def _language(listener: ListenerSettings) -> object:
    """What is spoken there from the first byte on."""
    return (
        listener.protocol,
        listener.tls,
        listener.enable_proxy_protocol,
        listener.proxy_protocol_v2_require_tls,
    )


def _shut(door: Door) -> Shut:
    return Shut(door, tuple(transport for port in door.ports for transport in port.inside))


def _close(door: Door) -> None:
    """At once: whoever wants its place shall have it."""
    ports, door.ports = door.ports, []
    for port in ports:
        port.close()
