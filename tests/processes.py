"""
Programs that tests start: pushd as ``twistd`` runs it, Debian's mosquitto beside it, and their clients.

One place starts them, listens to what they say and sees to it that they end. Nobody sleeps: a test waits for
a line of output (`Program.wait_for`) or for the end (`Program.finish`), up to a deadline that only a program
in trouble reaches.

    broker = start_pushd("listener {mqtt} 127.0.0.1\\nallow_anonymous true", directory)
    port = broker.port("mqtt")
    ...
    broker.stop()
"""

from __future__ import annotations

import atexit
import os
import pty
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 20.0

# Below the ports that Linux and macOS give to outgoing connections: nobody else's connection can take one
# between `free_port` and the start of the program that was to have it.
_PORTS = range(15_000, 32_000)
_ATTEMPTS = 100

_running: set[Program] = set()


class ProgramFailed(AssertionError):
    """A program did not do what was waited for; the text has all it said."""


class Program:
    """
    A running process and its output, standard output and standard error together.

    :param directory: where it runs, and so where relative paths begin.
    :param terminal: give it a terminal to write to: most programs keep what they write to a pipe for a while.
    :param keyboard: have it read from that terminal what `type` writes, too; it reads nothing otherwise.
    :param descriptors: of ours, which it has too.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        directory: Path,
        terminal: bool = False,
        descriptors: Sequence[int] = (),
        *,
        keyboard: bool = False,
    ) -> None:
        self._command = [str(word) for word in command]
        self._lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        reading, writing = pty.openpty() if terminal or keyboard else os.pipe()
        self._keyboard = reading
        self._process = subprocess.Popen(
            self._command,
            cwd=directory,
            env=environment(),
            stdin=writing if keyboard else subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            pass_fds=descriptors,
        )
        os.close(writing)
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()
        _running.add(self)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def lines(self) -> list[str]:
        """What it has said so far."""
        with self._news:
            return self._lines.copy()

    def log(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, after: int = 0, timeout_s: float = DEADLINE_S) -> re.Match[str]:
        """
        Wait until it says a line.

        :param pattern: a regular expression that the line contains.
        :param after: so many lines of the beginning do not count; ``len(program.lines)`` is "from now on".
        :raises ProgramFailed: it ends, or the time does, without such a line.
        """
        found: list[re.Match[str]] = []
        looked_at = after

        def is_there() -> bool:
            nonlocal looked_at
            matches = (re.search(pattern, line) for line in self._lines[looked_at:])
            found.extend(match for match in matches if match)
            looked_at = max(after, len(self._lines))
            return bool(found) or self._ended

        with self._news:
            self._news.wait_for(is_there, timeout_s)
        if not found:
            raise ProgramFailed(f"no line with {pattern!r} from {self}")
        return found[0]

    def finish(self, timeout_s: float = DEADLINE_S) -> int:
        """
        Wait until it ends by itself.

        :return: its exit status; below 0 for a signal.
        :raises ProgramFailed: it goes on.
        """
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProgramFailed(f"still running: {self}") from None
        self._reader.join(timeout_s)
        _running.discard(self)
        return status

    def type(self, text: str) -> None:
        """Press keys of its keyboard; the terminal shows them as well. Control-D is the end of all input."""
        os.write(self._keyboard, text.encode())

    def signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """
        Ask it to end and wait until it did.

        :return: its exit status; twistd passes the signal on to itself when all is closed.
        """
        self.signal(signal.SIGTERM)
        return self.finish()

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._reader.join(DEADLINE_S)
        _running.discard(self)

    def __str__(self) -> str:
        said = "\n".join(f"    {line}" for line in self.lines) or "    (nothing)"
        return f"{' '.join(self._command)}, which said:\n{said}"

    def _read(self, reading: int) -> None:
        # An OSError is how Linux says that the program at a terminal has ended.
        with open(reading, "rb") as output, suppress(OSError):
            for line in output:
                with self._news:
                    self._lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


class Broker(Program):
    """
    A broker that is up.

    :ivar settings: the path of its settings file.
    """

    def __init__(self, command: Sequence[str | Path], settings: Path, ports: Ports, ready: str) -> None:
        """
        Start it, and wait until its ports are open.

        :param ready: the line that says so.
        """
        self.settings = settings
        self._ports = ports
        self._ready = ready
        super().__init__(command, settings.parent)
        try:
            self.wait_for(ready)
        except ProgramFailed:
            self.kill()
            raise

    def start_again(self) -> Broker:
        """Another one with the same settings, files and ports, once this one has ended."""
        return Broker(self._command, self.settings, self._ports, self._ready)

    def port(self, name: str) -> int:
        """The port that stands for ``{name}`` in the settings."""
        if name not in self._ports:
            raise KeyError(f"no {{{name}}} in the settings")
        return self._ports[name]

    def write_settings(self, text: str) -> None:
        """Replace the settings file, with the same ports for the same names. Takes effect at `reload`."""
        write_settings(self.settings, text, self._ports)

    def reload(self) -> str:
        """
        Send SIGHUP and wait until it was obeyed.

        :return: what pushd said about it.
        """
        after = len(self.lines)
        self.signal(signal.SIGHUP)
        return self.wait_for(r"are reloaded|Nothing was reloaded", after).string


class Ports(dict[str, int]):
    """Free ports by name; a name that is new gets one."""

    def __missing__(self, name: str) -> int:
        self[name] = free_port()
        return self[name]


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    for _ in range(_ATTEMPTS):
        port = random.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ProgramFailed("no free port")


def start_pushd(
    settings: str, directory: Path, *flags: str, ready: str = "pushd version .* running"
) -> Broker:
    """
    Start ``twistd pushd`` and wait until its ports are open.

    :param settings: the text of the settings file; ``{name}`` stands for a port, the same for the same name.
    :param directory: where the file is put and the process runs.
    :param flags: further ones for ``pushd``, such as ``-v``.
    :param ready: the line that says so; to be given if the settings send the log elsewhere.
    """
    path = directory / "pushd.conf"
    command: list[str | Path] = [*twistd_command(), "-n", "--pidfile=", "pushd", "-c", path, *flags]
    return _start(command, path, settings, ready)


def start_mosquitto(settings: str, directory: Path) -> Broker:
    """The same with Debian's mosquitto. To be killed: just after its start it does not hear SIGTERM."""
    path = directory / "mosquitto.conf"
    # Started by root, it would become a user that cannot read our files.
    settings = f"user {pwd.getpwuid(os.getuid()).pw_name}\n{settings}"
    return _start([program("mosquitto"), "-c", path], path, settings, "mosquitto version .* running")


def _start(command: Sequence[str | Path], path: Path, settings: str, ready: str) -> Broker:
    ports = Ports()
    write_settings(path, settings, ports)
    return Broker(command, path, ports, ready)


def write_settings(path: Path, settings: str, ports: Ports) -> None:
    """Put ports in the place of their names, and all into a file."""
    path.write_text(settings.format_map(ports), encoding="utf-8")


def twistd_command() -> list[str]:
    """The twistd of the Python that runs the tests."""
    return [str(Path(sys.executable).with_name("twistd"))]


def program(name: str) -> str:
    """
    Where an installed program is; Debian has mosquitto in /usr/sbin, which is not on everybody's PATH.

    :raises ProgramFailed: nowhere.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ProgramFailed(f"{name} is not installed; tests/install_tools.sh installs it")
    return found


def environment() -> dict[str, str]:
    """The pushd of these sources, whether or not another one is installed."""
    path = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)}


@atexit.register
def _end_all() -> None:
    """A test run that is interrupted leaves nothing running."""
    for one in list(_running):
        one.kill()
