"""
The process that carries out one attack: ``python -m benchmarks.overload.attack NAME STAGE``.

It is another one than that which measures, so that it disturbs nobody but the broker. STAGE is a `Stage` as
JSON. On standard output it says ``phase NAME`` when another part begins; its last line is what became of it,
as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.overload import doors, traffic
from benchmarks.overload.peer import Stage


@dataclass(frozen=True, slots=True)
class Attack:
    """
    One of them.

    :ivar seconds: how long it goes on in a benchmark.
    :ivar passwords: how those that somebody tries to guess are hashed: ``pbkdf2`` or ``argon2id``.
    :ivar pushd_only: another broker cannot read its settings.
    """

    perform: Callable[[Stage], Awaitable[dict[str, float]]]
    seconds: float = 5.0
    passwords: str | None = None
    pushd_only: bool = False

    @property
    def title(self) -> str:
        """What it does, in a sentence."""
        return (self.perform.__doc__ or "").strip()


async def nobody(stage: Stage) -> dict[str, float]:
    """Nobody attacks: what the other figures are to be compared to."""
    await asyncio.sleep(stage.seconds)
    return {}


ATTACKS = {
    "nobody": Attack(nobody),
    "silent": Attack(doors.silent),
    "tls-half": Attack(doors.tls_half),
    "tls-dribble": Attack(doors.tls_dribble),
    "garbage": Attack(doors.garbage),
    "garbage-inside": Attack(doors.garbage_inside),
    "garbage-web": Attack(doors.garbage_web),
    "guess-pbkdf2": Attack(doors.guess, passwords="pbkdf2"),
    "guess-argon2id": Attack(doors.guess, passwords="argon2id", pushd_only=True),
    "reconnect-storm": Attack(doors.reconnect_storm),
    "takeover-storm": Attack(doors.takeover_storm),
    "wildcards": Attack(traffic.wildcards, seconds=3.0),
    "retained": Attack(traffic.retained, seconds=3.0),
    "deaf-qos0": Attack(traffic.deaf_qos0),
    "deaf-qos1": Attack(traffic.deaf_qos1),
    "eager": Attack(traffic.eager),
    "slow-crowd": Attack(traffic.slow_crowd),
}


def main(name: str, stage: str) -> None:
    """Attack, and say what became of it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.nice(10)  # who measures comes first
    outcome = asyncio.run(_perform(ATTACKS[name], Stage(**json.loads(stage))))
    print(json.dumps(outcome), flush=True)


async def _perform(attack: Attack, stage: Stage) -> dict[str, float]:
    return await attack.perform(stage)


if __name__ == "__main__":
    main(*sys.argv[1:])
