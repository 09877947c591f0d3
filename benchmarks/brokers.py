"""
Starting a broker for one run, looking at what it uses, and stopping it.

A broker is a command with ``{port}`` and ``{conf}`` for what changes from run to run. The settings file is
the same for all of them: it is a ``mosquitto.conf``, and pushd reads those.
"""

from __future__ import annotations

import os
import pwd
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from benchmarks.scenarios import Sample
from pushd.ctl.certs import CertificateFolder

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.01  # between two looks at whether the port is open


class BenchmarkError(Exception):
    """Why something could not be measured; the text is for the person who asked."""


# ---- which brokers ----


def mosquitto_command() -> str:
    """:raises BenchmarkError: it is not installed."""
    # Debian installs it in /usr/sbin, which is not on everybody's PATH.
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BenchmarkError(
            "mosquitto is missing: it is what pushd is compared to. Install it (apt install mosquitto; it "
            "need not run as a service), or measure pushd alone: --broker pushd"
        )
    return f"{shlex.quote(found)} -c {{conf}}"


def pushd_command() -> str:
    """
    pushd of this checkout, with the twistd beside the running Python.

    :raises BenchmarkError: there is none.
    """
    twistd = Path(sys.executable).with_name("twistd")
    if not twistd.exists():
        raise BenchmarkError(f"{twistd} is missing: run this with the Python that Twisted is installed for")
    return f"{shlex.quote(str(twistd))} -n --pidfile= pushd -c {{conf}}"


KNOWN_BROKERS = {"mosquitto": mosquitto_command, "pushd": pushd_command}


def chosen_brokers(given: list[str] | None) -> dict[str, str]:
    """
    Commands by name, from ``NAME=COMMAND`` or the name of a known broker.

    :param given: ``None`` is all known brokers; the first is the reference.
    :raises BenchmarkError: a name alone that is not known, or a known broker that is not installed.
    """
    commands = {}
    for choice in given or KNOWN_BROKERS:
        name, equals, command = choice.partition("=")
        if not equals and name not in KNOWN_BROKERS:
            raise BenchmarkError(
                f"--broker {name}: not known by name ({', '.join(KNOWN_BROKERS)}); NAME=COMMAND"
            )
        commands[name] = command if equals else KNOWN_BROKERS[name]()
    return commands


# ---- what they read ----


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of what both sides of a mutual handshake need."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Make an authority, the server's certificate and one for all the clients."""
        certificates = CertificateFolder(folder, datetime.now(timezone.utc))
        certificates.prepare()
        certificates.add_device("load")
        return cls(folder)

    def broker_lines(self) -> list[str]:
        """Options of a listener, in mosquitto.conf's syntax."""
        return [
            f"cafile {self.folder / 'ca.crt'}",
            f"certfile {self.folder / 'server.crt'}",
            f"keyfile {self.folder / 'server.key'}",
            "require_certificate true",
        ]

    def load_arguments(self) -> list[str]:
        """Options of the load program."""
        paths = {name: str(self.folder / name) for name in ("ca.crt", "load.crt", "load.key")}
        return ["--ca", paths["ca.crt"], "--certificate", paths["load.crt"], "--key", paths["load.key"]]


def settings_text(port: int, certificates: Certificates | None, plain_port: int | None = None) -> str:
    """
    The settings of every broker: loopback only, no log, and no limit that would drop a message.

    :param plain_port: given, MQTT is spoken over WebSocket at `port`. Mosquitto 2.0 does not start with such
        listeners alone, so this one is for nobody.
    """
    lines = [
        f"listener {port} 127.0.0.1",
        *(certificates.broker_lines() if certificates else []),
        *(["protocol websockets", f"listener {plain_port} 127.0.0.1"] if plain_port else []),
        "allow_anonymous true",
        "log_dest none",
        "max_queued_messages 0",
        # Mosquitto started by root would change to a user that cannot read our files.
        f"user {pwd.getpwuid(os.getuid()).pw_name}",
    ]
    return "\n".join(lines) + "\n"


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ---- the process ----


def confine(core: int) -> None:
    """Keep this process on one core, let it open all files that the system grants. For `preexec_fn`."""
    os.sched_setaffinity(0, {core})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class RunningBroker:
    """
    A broker on a free port, from entering the context until leaving it.

    :ivar listening: what it had used when its port was open first.
    """

    port: int
    listening: Sample

    def __init__(
        self,
        command: str,
        folder: Path,
        core: int,
        certificates: Certificates | None = None,
        websocket: bool = False,
    ) -> None:
        self._command = command
        self._folder = folder
        self._core = core
        self._certificates = certificates
        self._websocket = websocket

    def __enter__(self) -> RunningBroker:
        self.port = free_port()
        settings = self._folder / "broker.conf"
        plain_port = free_port() if self._websocket else None
        settings.write_text(settings_text(self.port, self._certificates, plain_port))
        command = self._command.replace("{port}", str(self.port)).replace("{conf}", str(settings))
        with open(self._folder / "broker.log", "wb") as log:
            self._process = subprocess.Popen(
                shlex.split(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
                preexec_fn=lambda: confine(self._core),
            )
        try:
            self._wait_until_listening()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def sample(self) -> Sample:
        """What the broker's processes use, now."""
        pids = _with_descendants(self._process.pid)
        cpu_s = sum(cpu_seconds(pid) for pid in pids)
        return Sample(cpu_s, sum(resident_bytes(pid) for pid in pids), time.monotonic())

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchmarkError(
                    f"broker ended with status {self._process.returncode}: {self._last_words()}"
                )
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                self.listening = self.sample()
                return
            time.sleep(POLL_S)
        raise BenchmarkError(f"broker does not listen after {START_TIMEOUT_S:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        lines = (self._folder / "broker.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "(it said nothing)"

    def _stop(self) -> None:
        """The whole process group: a broker may have workers, or a shell around it."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, kind)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
                return


def _environment() -> dict[str, str]:
    """This checkout's pushd, whether or not another one is installed."""
    path = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)}


# ---- what Linux says about processes ----


def _tasks(pid: int) -> list[Path]:
    """One folder for each thread; none if the process is gone."""
    with suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _with_descendants(pid: int) -> list[int]:
    family = [pid]
    for task in _tasks(pid):
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                family += _with_descendants(int(child))
    return family


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, to the nanosecond; 0 if the process is gone."""
    total_ns = 0
    for task in _tasks(pid):
        with suppress(OSError):
            total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def resident_bytes(pid: int) -> int:
    """0 if the process is gone."""
    with suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
