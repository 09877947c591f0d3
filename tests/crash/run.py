"""
Kill a broker again and again while it is busy, and count what it forgot.

    python -m tests.crash.run --kills 200
    python -m tests.crash.run --kills 20 --signal TERM
    python -m tests.crash.run --kills 20 --backlog 10000    while so many messages pile up, and are fetched
    python -m tests.crash.run --drops 500                   the broker lives, connections break
    python -m tests.crash.run --full-disks 50               the broker lives, and cannot write for moments
    python -m tests.crash.run --kills 5 --broker mosquitto  forgets a lot: it saves every 30 minutes
    python -m tests.crash.run --kills 5 --forget MessageQueued:1000   as `tests.crash.forgetful` says

In each of its lives the broker is killed at a random moment: some while it starts, some just after, most in
full traffic; a few are asked to end (SIGTERM) the moment before. Every few lives the traffic stops, everybody
comes online, and when no more arrives the ledger must balance (`tests.crash.ledger` says how). What is wrong
is shown with its timeline, and the store is kept to be looked at. The last line sums up; the exit status is 1
if anything is wrong.

The seed decides who does what, but not when the kernel lets whom run: a run with the same seed is similar to
the first one, not equal.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.brokers import MortalBroker
from tests.crash.ordeal import Ordeal


def report(ordeal: Ordeal, seed: int, seconds: float) -> str:
    """The last line."""
    ledger, counts = ordeal.ledger, ordeal.ledger.counts
    others = ("order", "uninvited", "expired", "retained", "session", "damaged", "broken")
    parts = [
        f"{ordeal.kills} kills ({ordeal.early_kills} during start-up)",
        f"{ordeal.drops} drops",
        f"{ordeal.full_disks} full disks",
        f"{ordeal.settlements} balances in {seconds:.0f} s; {ledger.acknowledged_count} acknowledged",
        f"{ledger.refused_count} refused",
        f"{ledger.delivered_count} delivered",
        f"{ledger.repeated_count} repeated at QoS 1; {counts['lost']} lost",
        f"{counts['duplicate']} duplicates",
        *(f"{kind} {counts[kind]}" for kind in others),
        *(f"({number} {kind})" for kind, number in ledger.tally.items()),
    ]
    return f"seed {seed}: " + ", ".join(parts)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.run", description="Kill a broker and count.")
    parser.add_argument("--kills", type=int, default=0, help="how often to kill it")
    parser.add_argument("--drops", type=int, default=0, help="instead, how many connections to break")
    parser.add_argument("--backlog", type=int, default=0, help="with --kills, how many messages shall wait")
    parser.add_argument("--full-disks", type=int, default=0, help="instead, how often to let it not write")
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL", help="what it is killed with")
    parser.add_argument("--broker", choices=("pushd", "mosquitto"), default="pushd")
    parser.add_argument("--durability", choices=("full", "normal", "off"), help="pushd's; default: its own")
    parser.add_argument("--line", action="append", default=[], help="one more line for its settings")
    parser.add_argument(
        "--forget", default="", help="records that pushd shall lose, such as MessageQueued:1000"
    )
    parser.add_argument("--seed", type=int, default=None, help="default: a new one")
    options = parser.parse_args(arguments)
    if not options.kills | options.drops | options.full_disks:
        parser.error("one of --kills, --drops and --full-disks is needed")
    return options


def main(arguments: list[str]) -> int:
    """Run, print, and return the exit status."""
    options = parse(arguments)
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    lines = options.line + ([f"durability {options.durability}"] if options.durability else [])
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="pushd-crash-"))
    broker = MortalBroker(options.broker, folder, lines, bool(options.full_disks), options.forget)
    ordeal = Ordeal(broker, seed, signal.Signals[f"SIG{options.signal}"])
    ordeal.endure(lambda: go_through(ordeal, options))
    for finding in ordeal.ledger.findings:
        print(finding, "\n")
    if ordeal.ledger.counts:
        print(f"The settings and the store are in {folder}.")
    else:
        shutil.rmtree(folder)
    print(report(ordeal, seed, time.monotonic() - began))
    return 1 if ordeal.ledger.counts else 0


def go_through(ordeal: Ordeal, options: argparse.Namespace) -> None:
    """The trouble that was asked for."""
    if options.backlog:
        ordeal.with_backlog(options.backlog, options.kills)
    elif options.kills:
        ordeal.with_kills(options.kills)
    elif options.drops:
        ordeal.with_drops(options.drops)
    else:
        ordeal.with_full_disks(options.full_disks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
