"""Resident memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.stats.heap import resident_bytes


class ResidentBytesTests(SynchronousTestCase):
    """Read from Linux's /proc, else from what POSIX offers."""

    def status(self, text: str) -> str:
        """A file with `text` in the place of /proc/self/status."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name) / "status"
        path.write_text(text)
        return str(path)

    def test_linux(self) -> None:
        """What Linux tells in kB comes out in bytes."""
        path = self.status("Name:\tpython\nVmHWM:\t    2000 kB\nVmRSS:\t    1234 kB\n")
        assert resident_bytes(path) == (1234 * 1024, 2000 * 1024)

    def test_no_proc(self) -> None:
        """Without /proc, the highest use stands for both."""
        current, maximum = resident_bytes("/nonexistent/status")
        assert current == maximum > 1_000_000

    def test_part_of_proc(self) -> None:
        """A sandbox's status file without the line asked for, or with nonsense in it, is as good as none."""
        for text in ("VmRSS:\t 1234 kB\n", "VmRSS:\t much\nVmHWM:\t more\n", "VmRSS\n"):
            current, maximum = resident_bytes(self.status(text))
            assert current == maximum > 1_000_000

    def test_this_process(self) -> None:
        """A Python process with Twisted in it holds a few megabytes and not a terabyte."""
        current, _ = resident_bytes()
        assert 1_000_000 < current < 1_000_000_000_000
