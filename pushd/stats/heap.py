"""How much memory this process holds, read from the system: cheap enough for every few seconds."""

from __future__ import annotations

import resource
import sys

# ru_maxrss is in KiB everywhere but on macOS.
_MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def resident_bytes(status_path: str = "/proc/self/status") -> tuple[int, int]:
    """
    :param status_path: Linux's account of the process, one ``VmRSS:   1234 kB`` per line.
    :return: resident memory now, and at its highest. Where the system tells only the latter, it stands for
        both.
    """
    try:
        with open(status_path, "rb") as status:
            fields = dict(line.split(b":", 1) for line in status if line.startswith(b"Vm"))
        return _bytes_of(fields[b"VmRSS"]), _bytes_of(fields[b"VmHWM"])
    except (OSError, KeyError, ValueError):
        # No /proc (macOS, BSD), or a sandbox that shows only part of it.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT_BYTES
        return peak, peak


def _bytes_of(field: bytes) -> int:
    """``b"   1234 kB\\n"`` -> 1263616"""
    return int(field.split()[0]) * 1024
