"""
Bodies that are files: written to disk while they arrive, so that they may be large and many, and slow.

    memory   a block that is collected, one that is being written and one that waits for that; the connection
             is not read while there is more, so a slow disk slows the sender down and nobody else
    disk     <folder>/<id>.part until somebody keeps the file. What nobody keeps is removed: at once, or at
             the next start if the process ends first

Nobody is known yet while a body arrives. So it counts for its sender's address, and only when it is kept for
whoever it turns out to be: `Room` counts what there is, arriving or kept.
"""

from __future__ import annotations

import os
import secrets
import string
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, TypeAlias

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal

BLOCK_BYTES = 65_536  # what is written in one go

# As long as a body brings this much in each `pushd.gateway.http.channel.REQUEST_S`, its sender may take its
# time: 4 KiB/s is less than a phone at the edge of a cell has.
STEP_BYTES = 131_072

HEAD_BYTES = 4_096  # what is remembered of a file's beginning, to see what it is

# Each is a file of the process, and memory as above.
MAX_AT_ONCE = 300
MAX_AT_ONCE_PER_OWNER = 20

# What a file counts for beside what is in it: a million empty ones are no small thing.
ENTRY_BYTES = 4_096

PART = ".part"
ID_LENGTH = 24

_ALPHABET = string.ascii_letters + string.digits

log = Logger()

InThread: TypeAlias = "Callable[..., Deferred[Any]]"


class FileLimits(NamedTuple):
    """What files may take, in bytes, and for how long."""

    max_file_bytes: int = 15_728_640
    max_total_bytes: int = 5_368_709_120
    max_owner_bytes: int = 104_857_600
    expire_s: float = 10_800.0


class Reading(Protocol):
    """The connection that a body comes from."""

    def hold_reading(self) -> None:
        """Read nothing more for now."""

    def go_on_reading(self) -> None:
        """Read again."""

    def made_progress(self) -> None:
        """Its sender is slow, perhaps, but not asleep."""


def may_be_file(method: bytes, target: bytes) -> bool:
    """Whether a request's body may be a file: ``PUT /<topic>``, or with a sequence id behind the topic."""
    if method not in (b"PUT", b"POST"):
        return False
    segments = target.partition(b"?")[0].split(b"/")
    return len(segments) in (2, 3) and segments[1] not in (b"", b"v1", b"_matrix")


class Room:
    """
    How much there is, and whose.

    :param limits: asked each time, for a reload replaces them.
    """

    def __init__(self, limits: Callable[[], FileLimits]) -> None:
        self._limits = limits
        self._of: Counter[str] = Counter()
        self.bytes = 0

    def take(self, owner: str, count: int) -> None:
        """
        :raises Refusal: as `check`.
        """
        self.check(owner, count)
        self.put(owner, count)

    def used_by(self, owner: str) -> int:
        """How much of it somebody has, in bytes."""
        return self._of[owner]

    def check(self, owner: str, count: int) -> None:
        """
        :raises Refusal: 41301, there is no room at all; 42905, this owner has no more.
        """
        limits = self._limits()
        if self.bytes + count > limits.max_total_bytes:
            raise Refusal(problems.FILES_FULL)
        if self._of[owner] + count > limits.max_owner_bytes:
            raise Refusal(problems.TOO_MANY_FILES)

    def put(self, owner: str, count: int) -> None:
        """Count what is there, whatever the limits."""
        self.bytes += count
        self._of[owner] += count

    def give_back(self, owner: str, count: int) -> None:
        """What was taken by `take` or `put`."""
        self.bytes -= count
        self._of[owner] -= count
        if not self._of[owner]:
            del self._of[owner]


class Uploads:
    """
    Those that arrive.

    :param folder: where they are written to.
    :param in_thread: calls a function that blocks.
    :param limits: asked each time, for a reload replaces them.
    """

    def __init__(self, folder: str, in_thread: InThread, limits: Callable[[], FileLimits]) -> None:
        self._folder = folder
        self._in_thread = in_thread
        self.limits = limits
        self.room = Room(limits)
        self._owners: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many arrive at the moment."""
        return self._owners.total()

    def begin(self, owner: str, reading: Reading | None = None, announced: int = 0) -> Upload:
        """
        :param owner: who sends it, as far as that is known.
        :param reading: where it comes from; ``None`` if it is there already.
        :param announced: how large it will be, if its sender has said so.
        :raises Refusal: 41301, it will be too large; 42901, too many arrive at once; what `Room.take` raises.
        """
        if announced > self.limits().max_file_bytes:
            raise Refusal(problems.FILE_TOO_LARGE)
        self.room.check(owner, announced)
        if len(self) >= MAX_AT_ONCE or self._owners[owner] >= MAX_AT_ONCE_PER_OWNER:
            raise Refusal(problems.TOO_MANY_TRANSFERS, b"Retry-After: 5\r\n")
        self.room.take(owner, ENTRY_BYTES)
        self._owners[owner] += 1
        spool = Spool(os.path.join(self._folder, new_file_id() + PART))
        return Upload(self, spool, owner, self._in_thread, reading)

    def left(self, owner: str) -> None:
        """One of this owner's arrives no more."""
        self._owners[owner] -= 1
        if not self._owners[owner]:
            del self._owners[owner]


class Upload:
    """
    One body. Made by `Uploads.begin`; ends with `discard` unless somebody calls `settle`, and then takes the
    room that it has as his own.

    :ivar size: bytes that have come.
    :ivar head: the first `HEAD_BYTES` of them.
    :ivar owner: for whom it counts.
    """

    def __init__(
        self, uploads: Uploads, spool: Spool, owner: str, in_thread: InThread, reading: Reading | None
    ) -> None:
        self._uploads = uploads
        self._spool = spool
        self._in_thread = in_thread
        self._reading = reading
        self.owner = owner
        self.size = 0
        self.head = b""
        self._hash = sha256()
        self._collected = bytearray()
        self._last: Deferred[Any] = succeed(None)  # fires when what was asked of the disk is done
        self._writing_bytes = 0
        self._held = False
        self._failure: Failure | None = None
        self._arriving = True

    @property
    def cost(self) -> int:
        """What it takes of the `Room`."""
        return self.size + ENTRY_BYTES

    @property
    def digest(self) -> bytes:
        """SHA-256 of what has come."""
        return self._hash.digest()

    def write(self, data: bytes) -> None:
        """
        Take the next bytes. Whoever is refused need not `discard`.

        :raises Refusal: 41301, it is too large; 50700, the disk does not take it; what `Room.take` raises.
        """
        try:
            self._check(len(data))
        except Refusal:
            self.discard()
            raise
        self._count(data)
        self._collected += data
        if len(self._collected) >= BLOCK_BYTES:
            self._flush()

    def _check(self, more: int) -> None:
        if self._failure is not None:
            raise Refusal(problems.NO_ROOM)
        if self.size + more > self._uploads.limits().max_file_bytes:
            raise Refusal(problems.FILE_TOO_LARGE)
        self._uploads.room.take(self.owner, more)

    def _count(self, data: bytes) -> None:
        steps = self.size // STEP_BYTES
        self.size += len(data)
        self._hash.update(data)
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        if self._reading is not None and self.size // STEP_BYTES > steps:
            self._reading.made_progress()

    # The disk. One thing after the other, each in a thread.

    def _flush(self) -> None:
        block, self._collected = bytes(self._collected), bytearray()
        self._writing_bytes += len(block)
        if self._writing_bytes > BLOCK_BYTES:
            self._hold()
        self._do(self._spool.append, block).addCallbacks(self._written, self._failed, (len(block),))

    def _do(self, function: Callable[..., object], *arguments: object) -> Deferred[Any]:
        """
        :return: fires when everything before is done, and this.
        """
        done = self._last.addBoth(lambda _: self._in_thread(function, *arguments))
        self._last = Deferred()
        done.addBoth(self._last_done, self._last)
        return done

    @staticmethod
    def _last_done(result: Any, waiting: Deferred[Any]) -> Any:
        waiting.callback(None)
        return result

    def _written(self, _: object, count: int) -> None:
        self._writing_bytes -= count
        self._go_on()

    def _failed(self, failure: Failure) -> None:
        log.error("A file that is sent to us cannot be written: {error}", error=failure.getErrorMessage())
        self._failure = failure
        self._go_on()

    def _hold(self) -> None:
        if self._reading is not None and not self._held:
            self._held = True
            self._reading.hold_reading()

    def _go_on(self) -> None:
        if self._held and self._reading is not None:
            self._held = False
            self._reading.go_on_reading()

    # Its end: one of the two

    def give_to(self, owner: str) -> None:
        """
        Count it for whoever it turns out to be from.

        :raises Refusal: as `Room.take`; then nothing has changed.
        """
        if owner != self.owner:
            self._uploads.room.take(owner, self.cost)
            self._uploads.room.give_back(self.owner, self.cost)
        self._leave()
        self.owner = owner

    def settle(self, path: str, durable: bool) -> Deferred[None]:
        """
        Make it the file at `path`, in the same folder.

        :param durable: whether it shall survive a power loss from then on.
        :return: fires when it is, or fails with `OSError`; then it still has to be discarded.
        """
        self._leave()
        if self._failure is not None:
            failed: Deferred[None] = Deferred()
            failed.errback(self._failure)
            return failed
        return self._do(self._spool.settle, bytes(self._collected), path, durable)

    def discard(self) -> None:
        """Nobody wants it, unless somebody does: whoever has called `settle` decides."""
        if self._arriving:
            self._leave()
            self.remove()

    def remove(self) -> None:
        """Give its room back, and take it from the disk."""
        self._uploads.room.give_back(self.owner, self.cost)
        self._do(self._spool.remove).addErrback(lambda failure: log.failure("removing", failure=failure))

    def _leave(self) -> None:
        if self._arriving:
            self._arriving = False
            self._go_on()
            self._reading = None
            self._uploads.left(self.owner)


class Spool:
    """A file that is written. Everything here blocks, and is called by one thread at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def append(self, data: bytes) -> None:
        """:raises OSError: the disk does not take it."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def settle(self, rest: bytes, path: str, durable: bool) -> None:
        """
        Write the rest and have the file at `path`, whole or not at all.

        :raises OSError: that is not possible.
        """
        self.append(rest)
        if durable:
            os.fsync(self._fd)
        self._close()
        os.rename(self._path, path)
        if durable:
            sync_folder(os.path.dirname(path))

    def remove(self) -> None:
        """Also one that was never written."""
        self._close()
        remove(self._path)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def sync_folder(path: str) -> None:
    """Have the names in a folder survive a power loss. Blocks."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """Remove a file, if it is there. Blocks."""
    try:
        os.remove(path)
    except FileNotFoundError:
        pass
    except OSError as problem:
        log.warn("{path} could not be removed: {problem}", path=path, problem=problem)


def new_file_id() -> str:
    """142 bits that nobody guesses, in letters and digits as ntfy's ids."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))
