"""
Put brokers through all attacks in turn, and show what a well-behaved pair of clients notices of each.

The README.md of the folder above has the method.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.brokers import BenchmarkError, RunningBroker, Store, chosen_brokers, is_pushd
from benchmarks.overload.attack import ATTACKS
from benchmarks.overload.ordeal import P99, Phase, endure, settings_text
from benchmarks.report import markdown, number
from benchmarks.run import BUILD, SETTLE_S, one_line, say

P99_MOST_MS = 100.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overload", description="What good clients notice while others attack."
    )
    parser.add_argument("--attack", metavar="NAMES", help=f"comma separated, of: {', '.join(ATTACKS)} (all)")
    parser.add_argument("--broker", action="append", metavar="NAME[=COMMAND]", help="as of benchmarks/run.py")
    parser.add_argument("--scale", type=float, default=1.0, help="of the larger crowds (default: 1)")
    parser.add_argument("--folder", type=Path, default=BUILD, help="for pushd's store (default: %(default)s)")
    return parser


def chosen_attacks(names: str | None) -> list[str]:
    """:raises BenchmarkError: a name is not known."""
    chosen = names.split(",") if names else list(ATTACKS)
    for name in chosen:
        if name not in ATTACKS:
            raise BenchmarkError(f"--attack {name}: not one of {', '.join(ATTACKS)}")
    return chosen


def put_through(name: str, broker: str, command: str, options: argparse.Namespace) -> list[Phase]:
    """
    One broker, started anew, through one attack.

    :raises BenchmarkError: it does not start, or does not survive.
    """
    attack = ATTACKS[name]
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="overload-", dir=options.folder) as folder_name:
        folder = Path(folder_name)
        store = Store(folder / "store", "full") if is_pushd(broker) else None
        settings = settings_text(folder, attack, is_pushd(broker), store)
        with RunningBroker(command, folder, cores[0], settings) as running:
            time.sleep(SETTLE_S)
            return endure(running, name, attack.seconds, options.scale, cores[-1])


def attack_table(name: str, results: dict[str, list[Phase]]) -> str:
    """What was noticed of one attack: brokers, and their phases, below each other."""
    columns = list(dict.fromkeys(f for phases in results.values() for phase in phases for f in phase.figures))
    rows = [["broker", *columns, "verdict"]]
    for broker, phases in results.items():
        for phase in phases:
            label = f"{broker}, {phase.name}" if phase.name else broker
            cells = [number(phase.figures[f]) if f in phase.figures else "" for f in columns]
            rows.append([label, *cells, "ok" if phase.figures[P99] <= P99_MOST_MS else "missed"])
    return f"**{name}**: {ATTACKS[name].title}\n\n{markdown(rows)}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """:return: 0 if every attack gave figures, 1 if one did not, 2 if nothing could be run."""
    options = _parser().parse_args(argv)
    try:
        names, brokers = chosen_attacks(options.attack), chosen_brokers(options.broker)
    except BenchmarkError as problem:
        say(f"overload: {problem}")
        return 2
    options.folder.mkdir(exist_ok=True)
    failures = 0
    for name in names:
        results: dict[str, list[Phase]] = {}
        for broker, command in brokers.items():
            if ATTACKS[name].pushd_only and not is_pushd(broker):
                continue
            try:
                results[broker] = put_through(name, broker, command, options)
            except BenchmarkError as problem:
                failures += 1
                say(f"{name} {broker}: {problem}")
                continue
            for phase in results[broker]:
                say(f"{name} {phase.name} {broker}: {one_line(phase.figures)}")
        print(attack_table(name, results), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
