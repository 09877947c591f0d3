"""One broker, one attack, and what the well-behaved pair notices of it."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.brokers import (
    ROOT,
    BenchmarkError,
    Certificates,
    RunningBroker,
    Store,
    confine,
    open_files,
    resident_bytes,
)
from benchmarks.overload.attack import Attack
from benchmarks.overload.doors import GUESSED_USERS
from benchmarks.overload.pair import Newcomer, Pair, percentile
from benchmarks.overload.peer import Stage
from benchmarks.scenarios import Figures
from pushd.auth.password_hash import make_argon2id, make_pbkdf2

P50, P99, MOST, MISSED = "p50 ms", "p99 ms", "max ms", "missed"
NEWCOMER, GROWTH, LEFT_OPEN, CPU = "newcomer ms", "RSS +MiB", "files left open", "CPU %"

CONNECT_TIMEOUT_S = 3.0
BEFORE_S = 0.3  # of peace, for pair and broker to be settled
PAIR_FILES = 2  # that the broker has open for the pair
AFTER_S = 5.0  # for the broker to close what the attacker left
LIMIT_S = 240.0  # that an attack may take
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Phase:
    """What was noticed in one part of an attack."""

    name: str
    figures: Figures


def settings_text(folder: Path, attack: Attack, is_pushd: bool, store: Store | None) -> str:
    """
    The settings of a broker that is to be attacked: all of its doors, the limits at their defaults.

    :param folder: for certificates and passwords.
    """
    certificates = Certificates.make(folder / "certs")
    lines = [
        "listener {load} 127.0.0.1",
        "listener {tls} 127.0.0.1",
        *(line for line in certificates.broker_lines() if not line.startswith("require_")),
        "listener {websocket} 127.0.0.1",
        "protocol websockets",
        *(["listener {gateway} 127.0.0.1", "protocol http"] if is_pushd else []),
        "allow_anonymous true",
        *(["password_file " + str(_write_passwords(folder, attack.passwords))] if attack.passwords else []),
        *([f"connect_timeout {CONNECT_TIMEOUT_S:.0f}"] if is_pushd else []),
        *([] if store is None else store.broker_lines()),
        "set_tcp_nodelay true",  # pushd's default, and what a Mosquitto that shall be quick is given
        f"user {pwd.getpwuid(os.getuid()).pw_name}",  # who can read our files
    ]
    return "\n".join(lines) + "\n"


def _write_passwords(folder: Path, kind: str) -> Path:
    """As many users as are guessed at, with one password: it takes long to make many."""
    made = make_argon2id(b"right") if kind == "argon2id" else make_pbkdf2(b"right")
    path = folder / "passwd"
    path.write_text("".join(f"user-{number}:{made}\n" for number in range(GUESSED_USERS)))
    path.chmod(0o600)
    return path


class Watch(threading.Thread):
    """Looks at a process's memory all the time: ``looks`` are monotonic seconds and bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._over = threading.Event()
        self.looks: list[tuple[float, int]] = []

    def run(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.looks.append((time.monotonic(), resident_bytes(self._pid)))

    def finish(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


def endure(
    broker: RunningBroker, name: str, stage_seconds: float, scale: float = 1.0, core: int | None = None
) -> list[Phase]:
    """
    Attack a broker that is running, while a pair of clients talk over it.

    :param name: of the attack.
    :param core: where the attackers run; ``None``: anywhere.
    :return: one for each part of the attack; the last one has what became of it besides.
    :raises BenchmarkError: the attack fails, or takes too long.
    """
    ports = {door: port for door, port in broker.ports.items() if door != "nobody"}
    stage = Stage(ports, stage_seconds, scale, CONNECT_TIMEOUT_S)
    memory_before = resident_bytes(broker.pid)
    pair, newcomer, watch = Pair(broker.port), Newcomer(broker.port), Watch(broker.pid)
    threads = (watch, pair, newcomer)
    pair.start()
    time.sleep(BEFORE_S)
    files_before = open_files(broker.pid) - PAIR_FILES
    watch.start()
    newcomer.start()
    begin = broker.sample()
    try:
        starts, outcome = _attack(name, stage, core)
    finally:
        end = broker.sample()
        for thread in reversed(threads):
            thread.finish()
    if pair.trouble:
        raise BenchmarkError(pair.trouble)
    left = _files_left(broker.pid, files_before)
    edges = [*starts, ("", time.monotonic())]
    phases = [
        Phase(phase, _noticed(pair, newcomer, watch, start, edges[at + 1][1], memory_before))
        for at, (phase, start) in enumerate(starts)
    ]
    busy = 100 * (end.cpu_s - begin.cpu_s) / (end.at_s - begin.at_s)
    phases[-1].figures.update({CPU: busy, LEFT_OPEN: left, **outcome})
    return phases


def _attack(name: str, stage: Stage, core: int | None) -> tuple[list[tuple[str, float]], Figures]:
    """
    Run the attackers until they are done.

    :return: when each phase began, and the outcome.
    """
    starts = [("", time.monotonic())]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.overload.attack", name, json.dumps(asdict(stage))],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: confine(core),
    )
    assert process.stdout is not None
    alarm = threading.Timer(LIMIT_S, process.kill)
    alarm.start()
    last_line = ""
    try:
        for last_line in process.stdout:
            if last_line.startswith("phase "):
                starts.append((last_line[len("phase ") :].strip(), time.monotonic()))
        if process.wait():
            raise BenchmarkError(f"the attackers of {name} ended with status {process.returncode}")
        return starts[1:] or starts, json.loads(last_line)
    finally:
        alarm.cancel()
        process.kill()
        process.wait()


def _files_left(pid: int, before: int) -> int:
    """How many more files are open than before, once the broker had time to close them."""
    deadline = time.monotonic() + AFTER_S
    while (left := open_files(pid) - before) > 0 and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
    return left


def _noticed(
    pair: Pair, newcomer: Newcomer, watch: Watch, begin_s: float, end_s: float, memory_before: int
) -> Figures:
    latencies = pair.latencies_ms(begin_s, end_s)
    arrived = [one for one in latencies if one < float("inf")]
    waits = sorted(wait for at, wait in newcomer.waits if begin_s <= at < end_s)
    memory = [seen for at, seen in watch.looks if begin_s <= at < end_s]
    return {
        P50: percentile(arrived, 0.5),
        P99: percentile(arrived, 0.99),
        MOST: percentile(arrived, 1.0),
        MISSED: len(latencies) - len(arrived),
        NEWCOMER: percentile(waits, 0.5),
        GROWTH: (max(memory, default=memory_before) - memory_before) / 2**20,
    }
