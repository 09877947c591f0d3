"""
``make bench``: run brokers side by side under the same load, and show tables.

Every run starts a fresh broker on its own core and free port, and the load program on another core. Within
a round the brokers take turns in every scenario (A B A B), so that a slow minute of the machine hits all of
them; tables show medians over the rounds. README.md beside this file has the method in full.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python benchmarks/run.py`

from benchmarks.brokers import (
    BenchmarkError,
    Certificates,
    RunningBroker,
    Store,
    chosen_brokers,
    confine,
    file_system_of,
    is_pushd,
    settings_text,
)
from benchmarks.report import number, scenario_table, target_table, way_table
from benchmarks.scenarios import (
    FAULTS,
    SCENARIOS,
    Figures,
    Sample,
    Scenario,
    figures_of_load,
    figures_of_start,
)

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
SOURCES = ("load.c", "clients.c", "link.c", "websocket.c", "wire.c", "post.c")
COMPILER_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")

SETTLE_S = 0.5  # a broker's port is open before its start is over
LOAD_MARGIN_S = 120.0  # what a run may take beyond the seconds it publishes for


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run the scenarios."""

    program: Path  # the load program
    scenarios: dict[str, Scenario]
    brokers: dict[str, str]  # commands by name; the first is the reference
    rounds: int
    seconds: float
    broker_core: int
    load_core: int
    folder: Path  # for what a run needs, pushd's store among it


# ---- the load program ----


def load_program() -> Path:
    """
    The load program, built anew if a source is younger than it; with TLS where OpenSSL's headers are there.

    :raises BenchmarkError: there is no C compiler, or it fails.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchmarkError("no C compiler (cc) for the load program: apt install gcc libc6-dev libssl-dev")
    has_openssl = _has_openssl(compiler)
    program = BUILD / ("load-tls" if has_openssl else "load")
    sources = [HERE / name for name in SOURCES]
    newest = max(path.stat().st_mtime for path in (*sources, *HERE.glob("*.h")))
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    BUILD.mkdir(exist_ok=True)
    tls = ["-DTLS", "-lssl", "-lcrypto"] if has_openssl else []
    command = [compiler, *COMPILER_FLAGS, "-o", str(program), *map(str, sources), *tls]
    if subprocess.run(command).returncode:
        raise BenchmarkError(f"could not build the load program: {' '.join(command)}")
    return program


def _has_openssl(compiler: str) -> bool:
    probe = [compiler, "-E", "-x", "c", "-include", "openssl/ssl.h", os.devnull]
    return subprocess.run(probe, capture_output=True).returncode == 0


def run_load(command: Sequence[str], broker: RunningBroker, core: int, limit_s: float) -> Figures:
    """
    Run the load program against a broker that is running, sampling the broker at each mark.

    :param command: the program and its arguments, without the port.

    :raises BenchmarkError: it fails, or is not done within `limit_s`.
    """
    samples: dict[str, Sample] = {}
    process = subprocess.Popen(
        [*command, "--marks", "--port", str(broker.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: confine(core),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    alarm = threading.Timer(limit_s, process.kill)
    alarm.start()
    try:
        last_line = ""
        for last_line in process.stdout:
            if last_line.startswith("mark "):
                samples[last_line.split()[1]] = broker.sample()
                with suppress(BrokenPipeError):  # it died meanwhile: its status tells
                    process.stdin.write("\n")
                    process.stdin.flush()
        if process.wait():
            raise BenchmarkError(f"load program ended with status {process.returncode}: {' '.join(command)}")
        return figures_of_load(json.loads(last_line), samples)
    finally:
        alarm.cancel()
        process.kill()
        process.wait()


# ---- running ----


def run_once(scenario: Scenario, name: str, plan: Plan) -> Figures:
    """
    One scenario, one broker, once.

    :raises BenchmarkError: the broker or the load program fails.
    """
    with tempfile.TemporaryDirectory(prefix="run-", dir=plan.folder) as folder_name:
        folder = Path(folder_name)
        certificates = Certificates.make(folder / "certs") if scenario.tls else None
        keeps = scenario.durability is not None and is_pushd(name)
        store = Store(folder / "store", str(scenario.durability)) if keeps else None
        settings = settings_text(certificates, scenario.websocket, scenario.gateway, store)
        with RunningBroker(plan.brokers[name], folder, plan.broker_core, settings) as broker:
            time.sleep(SETTLE_S)
            if not scenario.load:
                return _look_at(broker, plan.seconds)
            load = [str(plan.program), *load_arguments(scenario, plan.seconds)]
            if certificates:
                load += certificates.load_arguments()
            if scenario.gateway:
                load += ["--gateway-port", str(broker.ports["gateway"])]
            return run_load(load, broker, plan.load_core, plan.seconds + LOAD_MARGIN_S)


def load_arguments(scenario: Scenario, seconds: float) -> list[str]:
    """The words after the load program's name, without those that change from run to run."""
    words = scenario.load.split()
    if scenario.websocket:
        words.append("--websocket")
    return [*words, "--seconds", str(seconds)] if scenario.timed else words


def _look_at(broker: RunningBroker, seconds: float) -> Figures:
    settled = broker.sample()
    time.sleep(seconds)
    return figures_of_start(broker.listening, settled, broker.sample())


class Comparison:
    """
    The figures of all rounds so far.

    :ivar results: figures of each round, by scenario and broker.
    :ivar failures: how many runs gave none.
    """

    def __init__(self, plan: Plan, record: Path | None) -> None:
        self._plan = plan
        self._record = record
        self.results: dict[str, dict[str, list[Figures]]] = {
            name: {broker: [] for broker in plan.brokers} for name in plan.scenarios
        }
        self.failures = 0

    def run_round(self, round_number: int) -> None:
        """Every scenario once, with every broker in turn."""
        for name, scenario in self._plan.scenarios.items():
            for broker in self._plan.brokers:
                if scenario.gateway and not is_pushd(broker):
                    continue
                label = f"round {round_number} {name} {broker}"
                try:
                    figures = run_once(scenario, broker, self._plan)
                except BenchmarkError as problem:
                    self.failures += 1
                    say(f"{label}: {problem}")
                    continue
                self.results[name][broker].append(figures)
                self._write_record(name, broker, round_number, figures)
                say(f"{label}: {one_line(figures)}")

    def _write_record(self, scenario: str, broker: str, round_number: int, figures: Figures) -> None:
        if self._record is None:
            return
        row = {"scenario": scenario, "broker": broker, "round": round_number, "figures": figures}
        with self._record.open("a") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def one_line(figures: Figures) -> str:
    """Figures of one run for the eye; faults only if there were any."""
    shown = {name: value for name, value in figures.items() if value or name not in FAULTS}
    return ", ".join(f"{name} {number(value)}" for name, value in shown.items())


def say(text: str) -> None:
    """Progress goes to standard error, so that the tables can be redirected to a file."""
    print(text, file=sys.stderr, flush=True)


# ---- the command ----


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py", description="Run brokers side by side under the same load, and show tables."
    )
    parser.add_argument(
        "--scenario",
        help=f"names, comma separated, of: {', '.join(SCENARIOS)} (default: all)",
        metavar="NAMES",
    )
    parser.add_argument(
        "--broker",
        action="append",
        metavar="NAME[=COMMAND]",
        help="{port} and {conf} stand for what changes; the first is what others are compared to "
        "(default: mosquitto, then pushd)",
    )
    parser.add_argument("--rounds", type=_rounds, help="of all scenarios (default: 3)")
    parser.add_argument("--seconds", type=_seconds, help="that a stream lasts (default: 4)")
    parser.add_argument(
        "--quick", action="store_true", help="one round, one second: about three minutes in all"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=BUILD,
        help="where pushd keeps its store: on the disk that is to be measured (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="append each run's figures, one line each")
    return parser


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 1:
        raise argparse.ArgumentTypeError("at least one")
    return rounds


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("from 0.1 to 3600")
    return seconds


def chosen_scenarios(names: str | None) -> dict[str, Scenario]:
    """:raises BenchmarkError: a name is not known."""
    chosen = names.split(",") if names else list(SCENARIOS)
    for name in chosen:
        if name not in SCENARIOS:
            raise BenchmarkError(f"--scenario {name}: not one of {', '.join(SCENARIOS)}")
    return {name: SCENARIOS[name] for name in chosen}


def make_plan(options: argparse.Namespace) -> Plan:
    """
    What the command line asks for.

    :raises BenchmarkError: it cannot be done here.
    """
    if not sys.platform.startswith("linux"):
        raise BenchmarkError("the load program uses epoll, and figures come from /proc: Linux only")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        say("only one core: broker and load share it, so throughput and latency say little")
    usual_rounds, usual_seconds = (1, 1.0) if options.quick else (3, 4.0)
    return Plan(
        scenarios=chosen_scenarios(options.scenario),
        brokers=chosen_brokers(options.broker),
        program=load_program(),
        rounds=options.rounds or usual_rounds,
        seconds=options.seconds or usual_seconds,
        broker_core=cores[0],
        load_core=cores[-1],
        folder=options.folder,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """:return: 0 if every run gave figures, 1 if one did not, 2 if nothing could be run."""
    options = _parser().parse_args(argv)
    try:
        plan = make_plan(options)
    except BenchmarkError as problem:
        say(f"benchmarks: {problem}")
        return 2
    print(f"Stores are in {plan.folder}: {file_system_of(plan.folder)}.\n")
    comparison = Comparison(plan, options.json)
    for round_number in range(1, plan.rounds + 1):
        comparison.run_round(round_number)
    for name, rounds in comparison.results.items():
        print(scenario_table(name, plan.scenarios[name], rounds))
    if any(scenario.beside for scenario in plan.scenarios.values()):
        print(way_table(comparison.results))
    print(target_table(comparison.results))
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())
