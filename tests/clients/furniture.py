"""
What the tests of real clients share: a directory with certificates, password files and an ACL in it, a broker
in that directory, and the programs that people use with it.

    certs/  ca, server, and the devices phone, tablet, stolen (revoked) and late (run out)
    strangers/  the same of another authority
    passwd  written by mosquitto_passwd;  passwd-pushctl  the same users written by ``pushctl passwd``
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl.certs import CertificateFolder
from tests.processes import DEADLINE_S, Broker, Program, environment, program, start_pushd

USERS = {"ada": "secret", "bob": "hunter2"}
ADA = ("-u", "ada", "-P", "secret")  # for mosquitto's clients
BOB = ("-u", "bob", "-P", "hunter2")

SCRATCH = tempfile.TemporaryDirectory(prefix="pushd-clients-")


def new_directory() -> Path:
    """A furnished directory of its own."""
    path = Path(tempfile.mkdtemp(dir=SCRATCH.name))
    shutil.copytree(_furnished(), path, dirs_exist_ok=True)
    return path


@functools.cache
def _furnished() -> Path:
    """Made once per process: hashing and signing take longer than copying."""
    path = Path(tempfile.mkdtemp(dir=SCRATCH.name))
    for name, make in (("passwd", mosquitto_passwd), ("passwd-pushctl", pushctl_passwd)):
        for number, (user, password) in enumerate(USERS.items()):
            create = [] if number else ["-c"]
            make(*create, "-b", path / name, user, password)
    now = datetime.now(timezone.utc)
    for folder in ("certs", "strangers"):
        certificates = CertificateFolder(path / folder, now)
        certificates.prepare()
        for device in ("phone", "tablet", "stolen"):
            certificates.add_device(device)
        certificates.add_device("late", days=-1)
        certificates.revoke_device("stolen")
    return path


def mosquitto_passwd(*arguments: str | Path) -> None:
    """Debian's."""
    subprocess.run([program("mosquitto_passwd"), *arguments], check=True, timeout=DEADLINE_S)


def pushctl_passwd(*arguments: str | Path) -> None:
    """Ours, as a command of its own."""
    command = [sys.executable, "-m", "pushd.ctl.main", "passwd", *arguments]
    subprocess.run(command, check=True, timeout=DEADLINE_S, env=environment())


def pushctl(broker: Broker, directory: Path, *words: str) -> str:
    """
    Run a command of two words, such as ``token add``, by the settings of a broker. It must succeed.

    :return: what it prints on standard output.
    """
    command = [sys.executable, "-m", "pushd.ctl.main", *words[:2], "-c", str(broker.settings), *words[2:]]
    done = subprocess.run(
        command, cwd=directory, env=environment(), capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done
    return done.stdout.strip()


class BrokerTestCase(SynchronousTestCase):
    """
    One pushd for all tests of a class. Topics and client ids of their own keep the tests apart.

    :cvar settings: its settings file; ``{name}`` is a free port.
    :cvar acl: what is in its file ``acl``.
    """

    settings: ClassVar[str]
    acl: ClassVar[str] = ""
    directory: ClassVar[Path]
    broker: ClassVar[Broker]

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = new_directory()
        (cls.directory / "acl").write_text(cls.acl)
        cls.broker = start_pushd(cls.settings, cls.directory)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.broker.stop()
        assert "Traceback" not in cls.broker.log(), cls.broker.log()

    def subscriber(self, *flags: str | int, port: str = "mqtt") -> Subscriber:
        """A mosquitto_sub that is subscribed; it ends with the test."""
        subscriber = Subscriber(self.broker.port(port), self.directory, *flags)
        self.addCleanup(subscriber.kill)
        return subscriber

    def publish(self, *flags: str | int, port: str = "mqtt", feed: bytes = b"") -> Outcome:
        """Run mosquitto_pub. With ``-l``, each line of `feed` is a message."""
        words = ("-p", self.broker.port(port), *flags)
        return run("mosquitto_pub", *words, directory=self.directory, feed=feed)

    def subscribe_once(self, *flags: str | int, port: str = "mqtt") -> Outcome:
        """Run a mosquitto_sub that ends by itself."""
        return run("mosquitto_sub", "-p", self.broker.port(port), *flags, directory=self.directory)

    def curl(self, path: str, *flags: str | int, port: str = "http", scheme: str = "http") -> Answer:
        """Run curl on a path of the gateway."""
        url = f"{scheme}://localhost:{self.broker.port(port)}{path}"
        return curl(url, *flags, directory=self.directory)

    def make_session(self, client_id: str, *flags: str | int, port: str = "mqtt") -> None:
        """Make a persistent session, and leave it offline. `flags` say what it subscribes to."""
        outcome = self.subscribe_once("-i", client_id, "-c", "-E", *flags, port=port)
        self.assertEqual(outcome.status, 0, outcome)


class Outcome(NamedTuple):
    """How a command ended, and what it wrote."""

    status: int
    output: str


def run(name: str, *arguments: str | int, directory: Path, feed: bytes = b"") -> Outcome:
    """
    Run a program to its end.

    :param feed: what its standard input holds.
    """
    command = [program(name), *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment(),
        input=feed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEADLINE_S,
    )
    return Outcome(done.returncode, done.stdout.decode("utf-8", "replace"))


class Answer(NamedTuple):
    """What curl got."""

    status: int  # of HTTP
    body: str
    exit_status: int  # of curl: 0 unless there was no answer


def curl(url: str, *flags: str | int, directory: Path) -> Answer:
    """Run curl once; `flags` come before the address."""
    done = run("curl", "-s", "-S", "-w", "\n%{http_code}", *flags, url, directory=directory)
    body, _, status = done.output.rpartition("\n")
    return Answer(int(status), body, done.status)


class Received(NamedTuple):
    """One message as mosquitto_sub got it."""

    topic: str
    payload: str
    qos: int
    retained: bool


class Subscriber(Program):
    """A mosquitto_sub that is subscribed."""

    _MARK = "message: "

    def __init__(self, port: int, directory: Path, *flags: str | int) -> None:
        words = map(str, ("-p", port, "-F", f"{self._MARK}%q %r %t %p", *flags))
        super().__init__([program("mosquitto_sub"), "-d", *words], directory, terminal=True)
        self.wait_for("^Subscribed")

    def messages(self) -> list[Received]:
        """All that it got so far."""
        return [
            _received(line.removeprefix(self._MARK)) for line in self.lines if line.startswith(self._MARK)
        ]

    def payloads(self) -> list[str]:
        """The same, only what was in them."""
        return [message.payload for message in self.messages()]

    def until(self, payload: str) -> list[Received]:
        """
        Wait for a message.

        :return: all up to this one.
        """
        self.wait_for(f"^{self._MARK}\\S+ \\S+ \\S+ {payload}$")
        return self.messages()


def _received(text: str) -> Received:
    qos, retained, topic, payload = text.split(" ", 3)
    return Received(topic, payload, int(qos), retained == "1")


def device(name: str, folder: str = "certs") -> Sequence[str]:
    """Flags for mosquitto's clients: trust our server, show this device's certificate."""
    return ("--cafile", "certs/ca.crt", "--cert", f"{folder}/{name}.crt", "--key", f"{folder}/{name}.key")
