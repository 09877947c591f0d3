"""What stands at the broker's edges in tests: door-keepers, a store that waits to be told, a connection."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushd.broker.client import Client
from pushd.broker.interfaces import (
    Access,
    Credentials,
    IAuthenticator,
    IAuthorizer,
    IConnection,
    IStore,
    Principal,
    Verdict,
)
from pushd.broker.records import Kept, KeptQuery, Record, SavedMessages, SavedState
from pushd.mqtt.codes import ReasonCode
from pushd.storage.memory import MemoryStore


@implementer(IAuthenticator)
@dataclass
class Doorkeeper:
    """Gives everybody the same `answer`, which may be a Deferred that the test fires."""

    answer: Verdict | Deferred[Verdict] = ReasonCode.SUCCESS
    seen: list[Credentials] = field(default_factory=list)

    def authenticate(self, credentials: Credentials) -> Verdict | Deferred[Verdict]:
        self.seen.append(credentials)
        return self.answer


@implementer(IAuthorizer)
@dataclass
class Rules:
    """
    Allows what is not in `refused`.

    :ivar refused: ``(access, topic)`` or ``(access, topic, client id)``.
    :ivar later: instead of deciding at once, WRITE and SUBSCRIBE give this; for one question only.
    """

    refused: set[tuple[object, ...]] = field(default_factory=set)
    later: Deferred[Verdict] | None = None
    asked: list[tuple[str, Access, str]] = field(default_factory=list)

    def authorize(self, principal: Principal, access: Access, topic: str) -> Verdict | Deferred[Verdict]:
        self.asked.append((principal.client_id, access, topic))
        if self.later is not None and access is not Access.READ:
            later, self.later = self.later, None
            return later
        if (access, topic) in self.refused or (access, topic, principal.client_id) in self.refused:
            return ReasonCode.NOT_AUTHORIZED
        return ReasonCode.SUCCESS


@implementer(IStore)
class HeldStore:
    """
    A memory store whose barriers fire when the test says so.

    :ivar records: everything recorded, in its order.
    :ivar barriers: those that have not fired.
    """

    def __init__(self) -> None:
        self._memory = MemoryStore()
        self.records: list[Record] = []
        self.barriers: list[Deferred[None]] = []
        self.pending = False
        self.failing: str | None = None
        self.closed = False

    def load(self) -> SavedState:
        return self._memory.load()

    def load_messages(self, client_id: str) -> Deferred[SavedMessages]:
        return self.barrier().addCallback(lambda _: self._memory.load_messages(client_id))

    def find_kept(self, query: KeptQuery) -> Deferred[list[Kept]]:
        return self.barrier().addCallback(lambda _: self._memory.find_kept(query))

    def kept_number(self, id: str) -> Deferred[int | None]:
        return self.barrier().addCallback(lambda _: self._memory.kept_number(id))

    def record(self, record: Record) -> None:
        self.pending = True
        self.records.append(record)
        self._memory.record(record)

    def barrier(self) -> Deferred[None]:
        self.pending = False
        barrier: Deferred[None] = Deferred()
        self.barriers.append(barrier)
        return barrier

    def close(self) -> Deferred[None]:
        self.closed = True
        return self.barrier()

    def release(self, count: int | None = None) -> None:
        """The oldest `count` barriers fire, or all."""
        due, self.barriers = self.barriers[:count], [] if count is None else self.barriers[count:]
        for barrier in due:
            barrier.callback(None)


@implementer(IConnection)
@dataclass
class FakeConnection:
    """The network side of a client, as a list of what happened to it."""

    address: str = "192.0.2.7:4711"
    client: Client | None = None
    keep_alive_s: float | None = None
    refused: tuple[ReasonCode, str] | None = None
    written: list[bytes] = field(default_factory=list)
    closed: ReasonCode | None = None
    pauses: int = 0
    unsent_bytes: int = 0
    unsent_packets: int = 0

    @property
    def paused(self) -> bool:
        return self.pauses > 0

    @property
    def is_open(self) -> bool:
        return self.closed is None

    def accept(self, client: Client, keep_alive_s: float) -> None:
        self.client = client
        self.keep_alive_s = keep_alive_s

    def refuse(self, code: ReasonCode, cause: str) -> None:
        self.refused = code, cause

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def challenge(self, exchange: object, packet: object) -> None:
        """Nobody here asks back."""

    def close(self, code: ReasonCode, cause: str = "") -> None:
        self.closed = code

    def pause(self) -> None:
        self.pauses += 1

    def resume(self) -> None:
        self.pauses -= 1


verifyObject(IAuthenticator, Doorkeeper())
verifyObject(IAuthorizer, Rules())
verifyObject(IStore, HeldStore())
verifyObject(IConnection, FakeConnection())
