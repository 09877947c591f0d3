"""What the tests of files share: a folder, threads that wait to be told, and limits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.uploads import FileLimits, InThread, Uploads
from pushd.gateway.ntfy.attachments import Attachments

SMALL = FileLimits(
    max_file_bytes=1_000_000, max_total_bytes=3_000_000, max_owner_bytes=2_000_000, expire_s=3600.0
)


@dataclass
class SlowThreads:
    """Calls nothing before `work` is called."""

    waiting: list[tuple[Deferred[Any], Callable[..., object], tuple[object, ...]]] = field(
        default_factory=list
    )

    def __call__(self, function: Callable[..., object], *arguments: object) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, function, arguments))
        return done

    def work(self) -> None:
        """Call all that wait, and what comes of that."""
        while self.waiting:
            done, function, arguments = self.waiting.pop(0)
            execute(function, *arguments).chainDeferred(done)


class Folder:
    """One with uploads and attachments in it, at a time that stands still."""

    def __init__(
        self, test: SynchronousTestCase, limits: FileLimits = SMALL, in_thread: InThread = execute
    ) -> None:
        folder = TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self.path = folder.name
        self.now = 1_700_000_000.0
        self.limits = limits
        self.in_thread = in_thread
        self.open()

    def open(self) -> None:
        """As a new process does, before it looks what is in there."""
        self.uploads = Uploads(self.path, self.in_thread, lambda: self.limits)
        self.attachments = Attachments(
            self.path, self.uploads, self.in_thread, lambda: self.now, durable=False, network_of=_without_port
        )

    @property
    def files(self) -> list[str]:
        """Their names."""
        return sorted(os.listdir(self.path))


def _without_port(address: str) -> bytes:
    return address.rpartition(":")[0].encode()
