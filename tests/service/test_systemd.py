"""`pushd.service.systemd`: sockets by inheritance, and datagrams about how we are."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.service.systemd import Notifier, PassedSockets

# The kernel gives the lowest that are free: near the end of those that a process may have nobody is.
FREE_DESCRIPTOR = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 10_000) - 10


class PassedSocketsTests(SynchronousTestCase):
    """sd_listen_fds(3), with real sockets as descriptors."""

    def pass_on(self, *sockets: socket.socket) -> int:
        """Give them descriptors one after the other, as systemd does. :return: the first."""
        first = FREE_DESCRIPTOR
        for number, each in enumerate(sockets, first):
            self.addCleanup(each.close)
            os.dup2(each.fileno(), number)
        return first

    def passed(self, *sockets: socket.socket, **variables: str) -> PassedSockets:
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(sockets)), **variables}
        passed = PassedSockets.of(environ, self.pass_on(*sockets))
        self.assertEqual(environ, {})
        self.addCleanup(passed.close_rest)
        return passed

    def test_each_is_taken_once(self) -> None:
        """Sockets of one unit have one name, and all of them are there."""
        first, second = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
        passed = self.passed(first, second, LISTEN_FDNAMES="pushd.socket:pushd.socket")
        (taken,) = passed.take(lambda each: each.getsockname() == second.getsockname())
        self.addCleanup(taken.close)
        self.assertFalse(taken.getblocking() or taken.get_inheritable())
        self.assertEqual(passed.take(lambda each: each.getsockname() == second.getsockname()), [])

    def test_without_names(self) -> None:
        """Old systemds, and other programs of its kind, give none."""
        passed = self.passed(socket.create_server(("127.0.0.1", 0)))
        (taken,) = passed.take(lambda each: True)
        taken.close()

    def test_what_nobody_takes(self) -> None:
        """It is closed, and told of by its name and address."""
        other = socket.create_server(("127.0.0.1", 0))
        (told,) = self.passed(other, LISTEN_FDNAMES="web").close_rest()
        self.assertIn("'web'", told)
        self.assertIn(str(other.getsockname()[1]), told)

    def test_for_another_process(self) -> None:
        """Variables that a parent forgot to remove are not about us, and go no further."""
        environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "PATH": "/bin"}
        self.assertEqual(PassedSockets.of(environ).take(lambda each: True), [])
        self.assertEqual(environ, {"PATH": "/bin"})

    def test_no_listening_sockets(self) -> None:
        """A datagram socket, a connected one and no socket at all are no doors."""
        one, other = socket.socketpair()
        self.addCleanup(other.close)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.assertEqual(self.passed(one, datagrams).take(lambda each: True), [])
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), FREE_DESCRIPTOR)
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        self.assertEqual(PassedSockets.of(environ, FREE_DESCRIPTOR).take(lambda each: True), [])
        os.close(FREE_DESCRIPTOR)

    def test_nonsense(self) -> None:
        """Variables that make no sense pass nothing."""
        for count in ("", "-1", "three", "0"):
            environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
            self.assertEqual(PassedSockets.of(environ).take(lambda each: True), [])


class NotifierTests(SynchronousTestCase):
    """sd_notify(3), with a socket in systemd's place."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = str(Path(directory.name, "notify"))
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.systemd.close)
        self.systemd.setblocking(False)
        self.clock = Clock()

    def told(self) -> list[str]:
        """What systemd was told since the last time."""
        states = []
        while True:
            try:
                states.append(self.systemd.recv(1000).decode())
            except BlockingIOError:
                return states

    def test_ready_and_stopping(self) -> None:
        """Without a watchdog that is all."""
        self.systemd.bind(self.path)
        notifier = Notifier({"NOTIFY_SOCKET": self.path}, self.clock)
        notifier.ready()
        self.clock.pump([10] * 10)
        notifier.stopping()
        notifier.stopped()
        self.assertEqual(self.told(), ["READY=1", "STOPPING=1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_watchdog(self) -> None:
        """It is fed twice in its time until all is done, the end of the service included."""
        self.systemd.bind(self.path)
        environ = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
        notifier = Notifier(environ, self.clock)
        notifier.ready()
        self.assertEqual(self.told(), ["READY=1", "WATCHDOG=1"])
        self.clock.pump([1.5] * 2)
        notifier.stopping()
        self.clock.advance(1.5)
        self.assertEqual(self.told(), ["WATCHDOG=1", "WATCHDOG=1", "STOPPING=1", "WATCHDOG=1"])
        notifier.stopped()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abstract_socket(self) -> None:
        """``@`` stands for the NUL that such a name begins with."""
        self.systemd.bind("\0pushd-test-" + str(os.getpid()))
        Notifier({"NOTIFY_SOCKET": f"@pushd-test-{os.getpid()}"}, self.clock).ready()
        self.assertEqual(self.told(), ["READY=1"])

    def test_nobody_there(self) -> None:
        """Neither without systemd nor with one that is gone does anything happen."""
        for environ in ({}, {"NOTIFY_SOCKET": self.path}):
            notifier = Notifier(environ, self.clock)
            notifier.ready()
            notifier.stopping()
            notifier.stopped()

    def test_a_watchdog_of_others(self) -> None:
        """Or one whose time makes no sense, is not fed."""
        self.systemd.bind(self.path)
        for variables in ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}):
            Notifier({"NOTIFY_SOCKET": self.path, **variables}, self.clock).ready()
        self.clock.advance(1)
        self.assertEqual(self.told(), ["READY=1", "READY=1"])
