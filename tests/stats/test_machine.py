"""What the system says of a process and a machine: this one and this one."""

from __future__ import annotations

import os
import tempfile
from types import SimpleNamespace

import psutil  # type: ignore[import-untyped]  # it has no types of its own
from twisted.trial.unittest import SynchronousTestCase

from pushd.stats.machine import Machine, MachineReading, ProcessReading


class MachineTests(SynchronousTestCase):
    def test_process(self) -> None:
        """CPU time grows, memory is that of a Python, and an open file counts."""
        machine = Machine()
        before = machine.read_process()
        with tempfile.TemporaryFile():
            after = machine.read_process()
        assert before.cpu_s is not None and after.cpu_s is not None
        assert 0 < before.cpu_s <= after.cpu_s
        assert before.memory_bytes is not None and before.memory_bytes > 5_000_000
        assert before.open_files is not None
        assert after.open_files == before.open_files + 1

    def test_machine(self) -> None:
        """Percent are of all cores; memory is less than there is."""
        reading = Machine().read_machine()
        assert reading.cpu_percent is not None and 0 <= reading.cpu_percent <= 100
        assert reading.memory_bytes is not None
        assert 0 < reading.memory_bytes < psutil.virtual_memory().total

    def test_files_where_the_system_does_not_count(self) -> None:
        """Then they are counted one by one."""
        empty = self.mktemp()
        os.makedirs(empty)
        for path in (empty + "/missing", "/proc/self/status"):
            assert (Machine(path).read_process().open_files or 0) > 2

    def test_loopback_does_not_count(self) -> None:
        """What programs of one machine say to each other is no traffic."""
        counts = SimpleNamespace(bytes_sent=7, bytes_recv=5)
        self.patch(psutil, "net_io_counters", lambda pernic: {"lo": counts, "eth0": counts, "eth1": counts})
        reading = Machine().read_machine()
        assert (reading.sent_bytes, reading.received_bytes) == (14, 10)

    def test_a_system_that_hides_everything(self) -> None:
        """In a sandbox figures are missing, and nothing else happens."""

        def refuse(*_: object, **__: object) -> None:
            raise psutil.AccessDenied

        machine = Machine("/missing")
        for name in ("virtual_memory", "cpu_percent", "net_io_counters"):
            self.patch(psutil, name, refuse)
        for name in ("cpu_times", "memory_info", "num_fds"):
            self.patch(psutil.Process, name, refuse)
        assert machine.read_process() == ProcessReading(None, None, None)
        assert machine.read_machine() == MachineReading(None, None, None, None)
