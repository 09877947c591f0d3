"""
What systemd and a service say to each other: sockets that it opened for us, and how we are.

Both go by environment variables and need no library: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
Without those variables nothing here does anything.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

log = Logger()

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """One socket that was opened for us; `name` is the ``FileDescriptorName=`` of its unit."""

    socket: socket.socket
    name: str


class PassedSockets:
    """
    The listening sockets that systemd passed to this process, until a listener takes them.

    Twisted's `twisted.python.systemd.ListenFDs` does not serve: of several sockets of one unit, which all
    have the unit's name, it knows the last only, and none at all if they have no names.
    """

    def __init__(self, sockets: list[PassedSocket]) -> None:
        self._sockets = sockets

    @classmethod
    def of(cls, environ: MutableMapping[str, str], first: int = FIRST_DESCRIPTOR) -> PassedSockets:
        """Those of this process. The variables are removed: programs that we start are not meant."""
        pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
        names = environ.pop("LISTEN_FDNAMES", "").split(":")
        if pid != str(os.getpid()) or not count.isdecimal():
            return cls([])
        descriptors = range(first, first + int(count))
        found = [_listening(at, name) for at, name in zip_longest(descriptors, names[: len(descriptors)])]
        return cls([each for each in found if each is not None])

    def take(self, wanted: Callable[[socket.socket], bool]) -> list[socket.socket]:
        """All that are wanted and that nobody took before; they are the caller's from now on."""
        taken = [each for each in self._sockets if wanted(each.socket)]
        self._sockets = [each for each in self._sockets if each not in taken]
        return [each.socket for each in taken]

    def close_rest(self) -> list[str]:
        """
        Close what no listener took.

        :return: a sentence about each, for the log.
        """
        rest, self._sockets = self._sockets, []
        told = [
            f"systemd passed the socket {each.name!r} on {each.socket.getsockname()}, which no listener of"
            " the settings is on; closed"
            for each in rest
        ]
        for each in rest:
            each.socket.close()
        return told


def _listening(descriptor: int, name: str | None) -> PassedSocket | None:
    """The socket behind a descriptor; ``None`` for what cannot be listened on: a datagram socket, a pipe."""
    try:
        passed = socket.socket(fileno=descriptor)
    except OSError as problem:
        log.warn("systemd passed {name!r}, which is no socket: {problem}", name=name, problem=problem)
        return None
    passed.set_inheritable(False)
    passed.setblocking(False)
    if passed.type != socket.SOCK_STREAM or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        log.warn("systemd passed {name!r}, which is no listening stream socket; closed", name=name)
        passed.close()
        return None
    return PassedSocket(passed, name or "unknown")


class Notifier:
    """
    Tells systemd how the service is: ``Type=notify``, and ``WatchdogSec=``.

    :param environ: names the socket to tell it to.
    :param clock: the reactor. A watchdog that it does not feed in time is a reactor that hangs.
    """

    def __init__(self, environ: MutableMapping[str, str], clock: Any) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self._watchdog_s = _watchdog_s(environ)
        self._feeding = LoopingCall(self._tell, "WATCHDOG=1")
        self._feeding.clock = clock

    def ready(self) -> None:
        """The doors are open."""
        self._tell("READY=1")
        if self._address and self._watchdog_s:
            self._feeding.start(self._watchdog_s / 2)  # as sd_watchdog_enabled(3) advises

    def stopping(self) -> None:
        """The end begins. The watchdog is still fed: what has to be made durable may take its time."""
        self._tell("STOPPING=1")

    def stopped(self) -> None:
        """All is done."""
        if self._feeding.running:
            self._feeding.stop()

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            with suppress(OSError):  # systemd restarts, say: the service goes on without it
                sender.sendto(state.encode(), self._address)


def _watchdog_s(environ: MutableMapping[str, str]) -> float:
    """How often systemd wants to hear of us, in seconds; 0 for never."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not microseconds.isdecimal():
        return 0.0
    return int(microseconds) / 1_000_000
