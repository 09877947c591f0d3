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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.brokers import BenchmarkError, RunningBroker, Store, chosen_brokers, file_system_of, is_pushd
from benchmarks.overload.attack import ATTACKS
from benchmarks.overload.ordeal import GROWTH, MOST, P99, Phase, endure, settings_text
from benchmarks.report import asked_for, markdown, number, verdict
from benchmarks.run import BUILD, SETTLE_S, one_line, say
from benchmarks.scenarios import Figures, Target

P99_TARGET = Target(100.0)
SUMMARY = (P99, MOST, GROWTH)

Noticed: TypeAlias = "dict[str, list[Phase]]"  # by broker


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


def put_all_through(name: str, brokers: dict[str, str], options: argparse.Namespace) -> Noticed:
    """Each broker in turn; one that fails is left out."""
    noticed: dict[str, list[Phase]] = {}
    for broker, command in brokers.items():
        if ATTACKS[name].pushd_only and not is_pushd(broker):
            continue
        try:
            noticed[broker] = put_through(name, broker, command, options)
        except (BenchmarkError, OSError) as problem:  # the pair cannot even connect
            say(f"{name} {broker}: {problem}")
            continue
        for phase in noticed[broker]:
            say(f"{_label(name, phase)} {broker}: {one_line(phase.figures)}")
    return noticed


def _label(name: str, phase: Phase) -> str:
    return f"{name}, {phase.name}" if phase.name else name


def attack_table(name: str, noticed: Noticed) -> str:
    """Every figure of one attack: brokers, and the parts of the attack, below each other."""
    columns = list(dict.fromkeys(f for phases in noticed.values() for phase in phases for f in phase.figures))
    rows = [["broker", *columns]]
    for broker, phases in noticed.items():
        for phase in phases:
            cells = [number(phase.figures[f]) if f in phase.figures else "" for f in columns]
            rows.append([_label(broker, phase), *cells])
    return f"**{name}**: {ATTACKS[name].title}\n\n{markdown(rows)}\n"


def summary_table(results: Mapping[str, Noticed], brokers: Sequence[str]) -> str:
    """What the pair notices of each part of each attack: brokers side by side, with a verdict on pushd."""
    head = [f"{broker} {figure}" for broker in brokers for figure in SUMMARY]
    rows = [["attack", *head, "target", *(f"verdict {broker}" for broker in brokers if is_pushd(broker))]]
    for name, noticed in results.items():
        parts = {phase.name: phase for phases in noticed.values() for phase in phases}
        for part in parts:
            figures = {
                b: phase.figures for b, phases in noticed.items() for phase in phases if phase.name == part
            }
            rows.append([_label(name, parts[part]), *_summary_cells(figures, brokers)])
    return f"**While others attack**\n\n{markdown(rows)}\n"


def _summary_cells(figures: Mapping[str, Figures], brokers: Sequence[str]) -> list[str]:
    cells = [number(figures[b][f]) if b in figures else "-" for b in brokers for f in SUMMARY]
    judged = [figures.get(broker, {}).get(P99) for broker in brokers if is_pushd(broker)]
    return [*cells, f"{P99} {asked_for(P99_TARGET)}", *(verdict(P99_TARGET, value, None) for value in judged)]


def main(argv: Sequence[str] | None = None) -> int:
    """:return: 0 if every attack gave figures, 1 if one did not, 2 if nothing could be run."""
    options = _parser().parse_args(argv)
    try:
        names, brokers = chosen_attacks(options.attack), chosen_brokers(options.broker)
    except BenchmarkError as problem:
        say(f"overload: {problem}")
        return 2
    options.folder.mkdir(exist_ok=True)
    print(f"Stores are in {options.folder}: {file_system_of(options.folder)}.\n")
    results = {name: put_all_through(name, brokers, options) for name in names}
    for name, noticed in results.items():
        print(attack_table(name, noticed))
    print(summary_table(results, list(brokers)))
    runs = sum(not ATTACKS[name].pushd_only or is_pushd(broker) for name in names for broker in brokers)
    return 1 if sum(map(len, results.values())) < runs else 0


if __name__ == "__main__":
    sys.exit(main())
