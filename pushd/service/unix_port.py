"""
Unix sockets: doors in the file system.

The file of a socket outlives a process that is killed. Mosquitto removes whatever is in its place at the
start; here, only a socket that nobody listens on any more is removed, so that a wrong path costs no file and
a second broker does not silently take over from the first.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Any

from twisted.internet import unix
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.broker.wheel import TimingWheel
from pushd.service.gate import Entrance
from pushd.service.ports import AcceptingPort, UnixTransport

log = Logger()

# What Mosquitto's 0770 comes to: the broker's user and its group may connect, others may not.
MODE = 0o660


class UnixPort(AcceptingPort, unix.Port):
    """
    A Unix socket that listens. Twisted's own would open an adopted one to everybody (mode 0666), and fail to
    close if it may not remove the file.

    :param listening: becomes this port's own.
    :param keep_file: the file is somebody else's.
    """

    transport = UnixTransport

    def __init__(
        self,
        listening: socket.socket,
        factory: IProtocolFactory,
        reactor: Any,
        entrance: Entrance,
        wheel: TimingWheel,
        keep_file: bool = False,
    ) -> None:
        self._path: str = listening.getsockname()
        self._file = None if keep_file else _identity(self._path)
        super().__init__(os.fsencode(self._path), factory, reactor=reactor)
        self.adopt(listening, entrance, wheel)

    def connectionLost(self, reason: Failure) -> None:
        """Close it; the file goes, unless another one is in its place by now."""
        super().connectionLost(reason)
        if self._file is not None and self._file == _identity(self._path):
            try:
                os.unlink(self._path)
            except OSError as problem:  # the directory is not ours to change: see `user`
                log.warn("{path} could not be removed: {problem}", path=self._path, problem=problem)


def bind_unix(path: str, owner: tuple[int, int] | None, backlog: int) -> socket.socket:
    """
    Make a listening socket.

    :param owner: user and group to give it to.
    :raises OSError: there is something else, or somebody listens already.
    """
    _remove_stale(path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.bind(path)
        # Nobody can connect before `listen`: there is no moment in which the door is too wide open.
        os.chmod(path, MODE)
        if owner is not None:
            os.chown(path, *owner)
        opened.listen(backlog)
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def _remove_stale(path: str) -> None:
    """:raises OSError: what is there must stay."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is something else, which is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, "another process listens there")
    os.unlink(path)


def _identity(path: str) -> tuple[int, int] | None:
    """What tells one file from another that has its name later."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
