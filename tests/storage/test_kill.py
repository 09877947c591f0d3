"""Whatever was acknowledged is there after ``kill -9`` at any moment, also during a start."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("PUSHD_KILLS", "6"))


def run_and_kill(path: Path, durability: str, after_s: float) -> tuple[int | None, int]:
    """
    Start a recorder and kill it `after_s` seconds after it began to count, or after its start if negative.

    :return: the number it found, ``None`` if it did not get so far; and the last number that it said is
        durable, 0 if it said none.
    """
    child = subprocess.Popen(
        [sys.executable, ROOT / "tests/storage/recorder.py", path, durability],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    lines: list[str] = []
    if after_s >= 0:
        lines.append(child.stdout.readline())
    reader = threading.Thread(target=lambda: lines.extend(child.stdout or ()))
    reader.start()
    time.sleep(abs(after_s))  # the moment of the kill is what is tested
    child.send_signal(signal.SIGKILL)
    child.wait()
    reader.join()
    child.stdout.close()
    whole = [line.strip() for line in lines if line.endswith("\n")]
    found = int(whole[0].removeprefix("at ")) if whole else None
    return found, max([int(line) for line in whole[1:]], default=0)


@pytest.mark.parametrize("durability", ["full", "normal", "off"])
def test_nothing_acknowledged_is_lost(tmp_path: Path, durability: str) -> None:
    """Kill after kill, each process goes on where the last one was acknowledged, or later."""
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    acknowledged = 0
    for kill in range(KILLS):
        # Every third is killed while it starts, or soon after.
        after_s = -moments.uniform(0.1, 0.6) if kill % 3 == 2 else moments.uniform(0.0, 0.3)
        found, last = run_and_kill(tmp_path / "pushd.db", durability, after_s)
        if found is not None:
            assert found >= acknowledged, f"seed {seed}, kill {kill}"
        acknowledged = max(acknowledged, last, found or 0)
    found, _ = run_and_kill(tmp_path / "pushd.db", durability, 0.0)
    assert found is not None
    assert found >= acknowledged > 0, f"seed {seed}"
