"""
Requests that come again: the header ``Idempotency-Key``.

Whoever pushes over a bad line does not know, when no answer came, whether there was a push. With a key of its
own choosing in the header it may simply ask again (``curl --retry 5 -H "Idempotency-Key: $(uuidgen)"``), for
24 hours: the push happens once, and the second request gets the first one's answer.

    while the first is still being answered    the second waits for it
    the same key with another request          42200: it is no repetition
    the first was refused                      nothing happened, so the second is looked at anew
    no room for another answer                 50700, before anything is published: nobody's key is forgotten
                                               early, for whoever sent one relies on it

Keys are a caller's own: a user's, or of those without a name, their address's.

An answer is recorded in the same turn of the reactor as what follows from the push, and the store commits a
turn as a whole. So a crash leaves both, and the repetition finds its answer, or neither, and it is the first.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pushd.broker.records import Note
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller
from pushd.gateway.ntfy.parameters import ALIASES

KEEP_S = 24 * 3600

# Of all callers together, and of one: who uses a new key each time leaves room for others.
MAX_ANSWERS = 100_000
MAX_BYTES = 67_108_864
SHARE = 4

KIND = "idempotency"

# Calls it with the answer in the very turn in which what is answered is recorded.
Remember: TypeAlias = "Callable[[bytes], None]"
Make: TypeAlias = "Callable[[Remember], Coroutine[Deferred[Any], Any, bytes]]"

_KEY = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_DIGEST_BYTES = 32
_PARAMETERS = frozenset(alias.encode("ascii") for aliases in ALIASES.values() for alias in aliases)


class Notes(Protocol):
    """What this needs of `pushd.broker.notes.Notes`."""

    def limit(self, kind: str, most: int) -> None: ...
    def set(self, kind: str, key: str, value: bytes, until: int) -> bool: ...
    def get(self, kind: str, key: str) -> Note | None: ...
    def of_kind(self, kind: str) -> list[Note]: ...


class _Kept(NamedTuple):
    """An answer that takes room."""

    until: int
    caller: str
    size: int


class _Running(NamedTuple):
    """A request that is being answered, and those that wait for the same."""

    digest: bytes
    waiting: list[Deferred[bytes]]


class Answers:
    """
    The answers that were given to requests with a key.

    :param now: Unix seconds.
    :param durable: fires when all that was recorded until now is.
    """

    def __init__(
        self,
        notes: Notes,
        now: Callable[[], float],
        durable: Callable[[], Deferred[None]],
        max_answers: int = MAX_ANSWERS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._notes = notes
        self._now = now
        self._durable = durable
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._running: dict[str, _Running] = {}
        self._kept: deque[_Kept] | None = None  # the oldest first; None before the first key came
        self._count: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._all_bytes = 0
        notes.limit(KIND, 2 * max_answers)  # we count ourselves

    async def of_request(self, request: GatewayRequest, caller: Caller, make: Make) -> bytes:
        """
        The answer to a request: `make`'s, unless it has a key and came before.

        :param make: answers it. It calls what it is given with the answer, in the turn in which that is
            recorded; not if it refuses.
        :raises Refusal: as `make`; 40000, 42200, 50700 for the key.
        """
        key = key_of(request)
        if key is None:
            return await make(forget)
        return await self.answer(who(caller), key, digest_of(request), make)

    async def answer(self, caller: str, key: bytes, digest: bytes, make: Make, part: int = 0) -> bytes:
        """
        The same for a request that was taken apart.

        :param caller: whose key it is; see `who`.
        :param digest: of all that a repetition has in common with the first, 32 bytes.
        :param part: of a request that has several answers, which one.
        """
        if not _KEY.fullmatch(key):
            raise Refusal(problems.IDEMPOTENCY_KEY_INVALID)
        whose = _short(caller.encode("utf-8", "surrogatepass"))
        name = f"{whose}:{_short(b'%d %s' % (part, key))}"
        running = self._running.get(name)
        if running is not None:
            _check_same(digest, running.digest)
            waiting: Deferred[bytes] = Deferred()
            running.waiting.append(waiting)
            return await waiting
        note = self._notes.get(KIND, name)
        if note is not None:
            _check_same(digest, note.value[:_DIGEST_BYTES])
            return note.value[_DIGEST_BYTES:]
        self._check_room(whose)
        return await self._first(whose, name, digest, make)

    async def _first(self, whose: str, name: str, digest: bytes, make: Make) -> bytes:
        running = self._running[name] = _Running(digest, [])
        remembered: list[bytes] = []

        def remember(answer: bytes) -> None:
            remembered.append(answer)
            self._keep(whose, name, digest + answer)

        try:
            answer = await make(remember)
            if not remembered:
                remember(answer)
                await self._durable()
        except Exception:
            self._tell(name, running, Failure())
            raise
        self._tell(name, running, answer)
        return answer

    def _tell(self, name: str, running: _Running, result: bytes | Failure) -> None:
        del self._running[name]
        for waiting in running.waiting:
            waiting.callback(result)  # a Failure makes it fail

    # Room

    def _check_room(self, whose: str) -> None:
        kept = self._all_kept()
        while kept and kept[0].until <= self._now():
            self._forget_first(kept)
        others = len(self._running)  # they are about to be kept
        if len(kept) + others >= self._max_answers or self._all_bytes >= self._max_bytes:
            raise Refusal(problems.NO_ROOM_FOR_KEY)
        if SHARE * self._count[whose] >= self._max_answers or SHARE * self._bytes[whose] >= self._max_bytes:
            raise Refusal(problems.NO_ROOM_FOR_KEY)

    def _all_kept(self) -> deque[_Kept]:
        """With those of the last process, which are there by the time that anybody asks."""
        if self._kept is None:
            self._kept = deque()
            for note in sorted(self._notes.of_kind(KIND), key=lambda note: note.until):
                self._take_room(self._kept, _Kept(note.until, note.key.partition(":")[0], len(note.value)))
        return self._kept

    def _keep(self, whose: str, name: str, value: bytes) -> None:
        until = int(self._now()) + KEEP_S
        if self._notes.set(KIND, name, value, until):
            self._take_room(self._all_kept(), _Kept(until, whose, len(value)))

    def _take_room(self, all_kept: deque[_Kept], kept: _Kept) -> None:
        all_kept.append(kept)
        self._count[kept.caller] += 1
        self._bytes[kept.caller] += kept.size
        self._all_bytes += kept.size

    def _forget_first(self, all_kept: deque[_Kept]) -> None:
        kept = all_kept.popleft()
        self._count[kept.caller] -= 1
        self._bytes[kept.caller] -= kept.size
        self._all_bytes -= kept.size
        if not self._count[kept.caller]:
            del self._count[kept.caller], self._bytes[kept.caller]


def digest_of(request: GatewayRequest) -> bytes:
    """
    What a repetition has in common with the first: method, target, body and the headers that are parameters
    of a push. Not the others, for proxies on the way add some that are new each time.
    """
    digest = sha256()
    headers = sorted(
        (name, values)
        for name, values in request.requestHeaders.getAllRawHeaders()
        if name.lower() in _PARAMETERS
    )
    said = [part for name, values in headers for part in (name, *values)]
    for part in (request.method, request.uri, request.fingerprint, *said):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def _check_same(digest: bytes, first: bytes) -> None:
    if digest != first:
        raise Refusal(problems.IDEMPOTENCY_KEY_USED)


def who(caller: Caller) -> str:
    """Whose keys those of a caller are."""
    if caller.username is not None:
        return f"user {caller.username}"
    return f"at {_without_port(caller.address)}"


def _without_port(address: str) -> str:
    """A repetition comes by another connection, and so by another port."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _short(text: bytes) -> str:
    """Of a length that is known: keys are the caller's."""
    return sha256(text).hexdigest()[:32]


def key_of(request: GatewayRequest) -> bytes | None:
    """The header, if there is one."""
    key: bytes | None = request.getHeader(b"idempotency-key")
    return key


def forget(answer: bytes) -> None:
    """Without a key there is nothing to remember an answer by."""
