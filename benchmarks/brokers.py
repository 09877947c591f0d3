"""
Starting a broker for one run, looking at what it uses, and stopping it.

A broker is a command with ``{port}`` and ``{conf}`` for what changes from run to run. The settings file is
the same for all of them: it is a ``mosquitto.conf``, and pushd reads those. Only what pushd has and others do
not, a store that is there before the acknowledgement and a gateway, is asked of pushd alone.
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


def is_pushd(name: str) -> bool:
    """Whether a broker is a pushd, by its name: ``pushd``, or ``pushd-old`` for another checkout."""
    return name.startswith("pushd")


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


def settings_text(
    certificates: Certificates | None = None,
    websocket: bool = False,
    gateway: bool = False,
    store: Store | None = None,
) -> str:
    """
    The settings of every broker: loopback only, no log, and no limit that would drop a message. Names in
    braces stand for free ports; clients go to ``{load}``.

    :param websocket: speak MQTT over WebSocket there. Mosquitto 2.0 does not start with such listeners alone,
        so there is another one, for nobody.
    :param gateway: have an HTTP gateway, too.
    :param store: where to keep what must not be lost; ``None``: nothing is kept.
    """
    lines = [
        "listener {load} 127.0.0.1",
        *(certificates.broker_lines() if certificates else []),
        *(["protocol websockets", "listener {nobody} 127.0.0.1"] if websocket else []),
        *(["listener {gateway} 127.0.0.1", "protocol http"] if gateway else []),
        "allow_anonymous true",
        *([] if store is None else store.broker_lines()),
        "log_dest none",
        "max_queued_messages 0",
        # Mosquitto started by root would change to a user that cannot read our files.
        f"user {pwd.getpwuid(os.getuid()).pw_name}",
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Store:
    """Where pushd keeps what must not be lost, and what it waits for before it acknowledges."""

    folder: Path
    durability: str

    def broker_lines(self) -> list[str]:
        """The options of pushd's settings file."""
        return ["persistence true", f"persistence_location {self.folder}", f"durability {self.durability}"]


class Ports(dict[str, int]):
    """Free ports by name; a name that is new gets one."""

    def __missing__(self, name: str) -> int:
        self[name] = free_port()
        return self[name]


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ---- the process ----


def confine(core: int | None) -> None:
    """Keep this process on one core, let it open all files that the system grants. For `preexec_fn`."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class RunningBroker:
    """
    A broker on free ports, from entering the context until leaving it.

    :ivar ports: by the names that they have in the settings.
    :ivar listening: what it had used when its port ``load`` was open first.
    """

    listening: Sample

    def __init__(self, command: str, folder: Path, core: int | None, settings: str) -> None:
        """
        :param folder: for its settings and what it says.
        :param core: what it is confined to; ``None``: nothing.
        :param settings: the text of its settings file, with names of ports in braces.
        """
        self._command = command
        self._folder = folder
        self._core = core
        self._settings = settings
        self.ports = Ports()

    def __enter__(self) -> RunningBroker:
        settings = self._folder / "broker.conf"
        settings.write_text(self._settings.format_map(self.ports))
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

    @property
    def port(self) -> int:
        """Where the clients go."""
        return self.ports["load"]

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

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


def open_files(pid: int) -> int:
    """How many files, sockets among them, a process has open; 0 if it is gone."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def file_system_of(folder: Path) -> str:
    """
    Where a folder's files are: ``ext4 on /dev/vda``.

    An fsync costs nothing on a tmpfs: figures of a store there would be figures of nothing.
    """
    wanted = os.path.realpath(folder)
    found = ""
    longest = -1
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, place, kind, *_ = line.split(" ")
        if os.path.commonpath([wanted, place]) == place and len(place) >= longest:
            found, longest = f"{kind} on {device}", len(place)
    return found
