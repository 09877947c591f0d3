"""
A disk that can be filled up.

Where a mount namespace can be made (by root, or by anybody if the kernel lets everybody have a user
namespace), it is a small file system in memory that only the broker and we can see; it goes with the process
that holds the namespace, and that ends when we do. Elsewhere the broker's process is forbidden to let any
file grow.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MiB = 1024 * 1024
_BLOCK_BYTES = 4096

# Each with the flags that enter what it makes.
_WAYS: Sequence[tuple[list[str], list[str]]] = (
    (["unshare", "--mount"], ["--mount"]),
    (["unshare", "--map-root-user", "--mount"], ["--user", "--preserve-credentials", "--mount"]),
)
_HOLD = 'mount -t tmpfs -o "size=$2,mode=0700" pushd-crash "$1" && echo mounted && exec cat'


class Disk:
    """
    What is stored below one folder.

    :ivar is_small: whether it is a file system of its own.
    """

    def __init__(self, folder: Path, small: bool, size_bytes: int = 256 * MiB) -> None:
        """
        :param folder: an empty one.
        :param small: make it a file system of this size, if that can be done.
        """
        self._folder = folder
        self._enter: list[str] = []
        self._holder: subprocess.Popen[bytes] | None = None
        if small:
            for make, enter in _WAYS:
                if self._mount(make, enter, size_bytes):
                    break

    def _mount(self, make: list[str], enter: list[str], size_bytes: int) -> bool:
        command = [*make, "sh", "-c", _HOLD, "sh", str(self._folder), str(size_bytes)]
        with suppress(OSError):
            holder = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert holder.stdout is not None
            if holder.stdout.readline() == b"mounted\n":
                self._holder = holder
                self._enter = ["nsenter", f"--target={holder.pid}", *enter, "--"]
                return True
            _end(holder)
        return False

    @property
    def is_small(self) -> bool:
        return self._holder is not None

    @property
    def folder(self) -> Path:
        """Where its files are for us."""
        if self._holder is None:
            return self._folder
        return Path(f"/proc/{self._holder.pid}/root{self._folder.resolve()}")

    def command(self, command: Sequence[str]) -> list[str]:
        """A command as it has to be started to see this disk."""
        return [*self._enter, *command]

    def fill(self, pid: int | None) -> None:
        """
        Leave no room, now; what the broker frees later it can use, until this is called again.

        :param pid: the broker's process, if it is there.
        """
        if self._holder is None:
            _let_files_grow(pid, False)
            return
        # Not `posix_fallocate`: it gives back all of what is too much.
        for block in (bytes(MiB), bytes(_BLOCK_BYTES)):
            with (self.folder / "ballast").open("ab", buffering=0) as ballast, suppress(OSError):
                while ballast.write(block):
                    pass

    def free(self, pid: int | None) -> None:
        """Give the room back."""
        if self._holder is None:
            _let_files_grow(pid, True)
        else:
            (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Forget all that is on it, if it is a file system of its own."""
        if self._holder is not None:
            _end(self._holder)
            self._holder = None


def _let_files_grow(pid: int | None, may: bool) -> None:
    """To the process it is an error of writing (EFBIG); its end ends that, too. Linux only."""
    if pid is not None:
        limit = resource.RLIM_INFINITY if may else 0
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def _end(holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    for pipe in (holder.stdin, holder.stdout):
        if pipe is not None:
            pipe.close()
