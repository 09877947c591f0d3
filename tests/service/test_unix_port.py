"""`pushd.service.unix_port`: doors in the file system, with real files and sockets."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path
from unittest.mock import Mock

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.broker.limits import Limits
from pushd.broker.wheel import TimingWheel
from pushd.service.gate import Entrance, Gate
from pushd.service.unix_port import MODE, UnixPort, bind_unix


class UnixTestCase(SynchronousTestCase):
    """A directory of its own, and a path in it."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = str(Path(directory.name, "mqtt.sock"))

    def bind(self) -> socket.socket:
        opened = bind_unix(self.path, None, 5)
        self.addCleanup(opened.close)
        return opened

    def connect(self) -> int:
        """:return: the error number, 0 for none."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(self.path)


class BindTests(UnixTestCase):
    """Making one."""

    def test_it_listens(self) -> None:
        """And does not block the reactor."""
        opened = self.bind()
        self.assertEqual(self.connect(), 0)
        self.assertFalse(opened.getblocking())

    def test_mode(self) -> None:
        """User and group may connect, whatever the umask says."""
        for mask in (0, 0o022, 0o777):
            before = os.umask(mask)
            self.addCleanup(os.umask, before)
            self.bind().close()
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), MODE)

    def test_owner(self) -> None:
        """It is given to whom pushd becomes; here, to who we are."""
        bind_unix(self.path, (os.geteuid(), os.getegid()), 5).close()
        self.assertEqual(os.stat(self.path).st_uid, os.geteuid())

    def test_of_a_dead_process(self) -> None:
        """A file that nobody listens on any more is replaced."""
        self.bind().close()
        self.assertNotEqual(self.connect(), 0)
        self.bind()
        self.assertEqual(self.connect(), 0)

    def test_of_a_live_process(self) -> None:
        """Whoever listens there goes on undisturbed, even with a full queue."""
        busy = socket.socket(socket.AF_UNIX)
        self.addCleanup(busy.close)
        busy.bind(self.path)
        busy.listen(0)
        for _ in range(3):
            waiting = socket.socket(socket.AF_UNIX)
            self.addCleanup(waiting.close)
            waiting.setblocking(False)
            waiting.connect_ex(self.path)
            problem = self.assertRaises(OSError, self.bind)
            self.assertIn("another process listens there", str(problem))

    def test_something_else(self) -> None:
        """A wrong path costs nobody a file; a link is not followed either."""
        Path(self.path).write_text("precious")
        self.assertIn("no socket", str(self.assertRaises(OSError, self.bind)))
        self.assertEqual(Path(self.path).read_text(), "precious")
        os.rename(self.path, self.path + ".moved")
        os.symlink(self.path + ".moved", self.path)
        self.assertRaises(OSError, self.bind)

    def test_nowhere(self) -> None:
        """A directory that is not there is the system's own error."""
        self.path = str(Path(self.path, "below"))
        self.assertRaises(OSError, self.bind)


class PortTests(UnixTestCase):
    """The port that the reactor knows; nothing here waits for one."""

    def port(self, keep_file: bool = False) -> UnixPort:
        reactor = Mock(spec=["addReader", "removeReader", "removeWriter"])
        clock = Clock()
        entrance = Entrance(Gate(Limits, Counters(), clock.seconds), "a test")
        wheel = TimingWheel(clock, clock.seconds)
        port = UnixPort(self.bind(), Factory(), reactor, entrance, wheel, keep_file)
        port.startListening()
        reactor.addReader.assert_called_once_with(port)
        return port

    def close(self, port: UnixPort) -> None:
        port.connectionLost(Failure(ConnectionError()))

    def test_the_file_goes_with_the_port(self) -> None:
        """After an orderly end nothing is left."""
        port = self.port()
        self.assertEqual(port.getHost().name, self.path.encode())
        self.close(port)
        self.assertFalse(os.path.exists(self.path))

    def test_a_file_of_systemd(self) -> None:
        """It stays, with the mode that it had."""
        port = self.port(keep_file=True)
        os.chmod(self.path, 0o600)
        self.close(port)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_a_file_of_the_next_one(self) -> None:
        """What has taken the place meanwhile is not removed."""
        port = self.port()
        os.rename(self.path, self.path + ".old")
        self.bind()
        self.close(port)
        self.assertEqual(self.connect(), 0)

    def test_a_file_that_is_gone(self) -> None:
        """Somebody else was quicker."""
        port = self.port()
        os.unlink(self.path)
        self.close(port)
        self.assertFalse(port.connected)
