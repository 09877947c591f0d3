"""
What the system knows of this process and of the machine, through psutil.

All of it together takes 0.2 ms, so it is read in the reactor's thread. Nothing here waits for anything; the
one figure that may take long, the number of open files, is not counted where Linux counts for us.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import psutil  # type: ignore[import-untyped]  # it has no types of its own

Value = TypeVar("Value")

# Between programs of the same machine.
LOOPBACK = frozenset({"lo", "lo0"})


class ProcessReading(NamedTuple):
    """This process. ``None``: the system does not tell."""

    cpu_s: float | None  # since its start, user and system
    memory_bytes: int | None  # resident
    open_files: int | None


class MachineReading(NamedTuple):
    """Everybody on the machine, or in the container as far as the system sees it so."""

    cpu_percent: float | None  # of all cores, since the last reading
    memory_bytes: int | None  # in use
    received_bytes: int | None  # by its network interfaces, loopback aside
    sent_bytes: int | None


class Machine:
    """Reads the figures of the system."""

    def __init__(self, files_path: str = "/proc/self/fd") -> None:
        """:param files_path: a directory with one entry for each open file."""
        self._files_path = files_path
        self._process = psutil.Process()
        _known(psutil.cpu_percent)  # what it tells first is about no time at all

    def read_process(self) -> ProcessReading:
        """This process, now."""
        cpu = _known(self._process.cpu_times)
        memory = _known(self._process.memory_info)
        return ProcessReading(
            None if cpu is None else cpu.user + cpu.system,
            None if memory is None else memory.rss,
            _known(self._count_files),
        )

    def read_machine(self) -> MachineReading:
        """The machine, now."""
        memory = _known(psutil.virtual_memory)
        received, sent = _known(_network) or (None, None)
        return MachineReading(
            _known(psutil.cpu_percent),
            None if memory is None else memory.total - memory.available,
            received,
            sent,
        )

    def _count_files(self) -> int:
        """
        Linux 6.2 and later tell the number as the size of the directory. To list it took 14 ms for 20 000
        connections.
        """
        try:
            count = os.stat(self._files_path).st_size
        except OSError:
            count = 0
        return count or int(self._process.num_fds())


def _network() -> tuple[int, int]:
    """Bytes received and sent since the interfaces are up."""
    interfaces = psutil.net_io_counters(pernic=True)
    outer = [counts for name, counts in interfaces.items() if name not in LOOPBACK]
    return sum(counts.bytes_recv for counts in outer), sum(counts.bytes_sent for counts in outer)


def _known(read: Callable[[], Value]) -> Value | None:
    """A sandbox may hide any part of /proc, and each system lacks something else."""
    try:
        return read()
    except (psutil.Error, OSError, RuntimeError, NotImplementedError, AttributeError):
        return None
