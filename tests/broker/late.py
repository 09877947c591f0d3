"""
What machines for hypothesis have in common that end the process at any moment: a store whose commits and
reads come late, fail and recover, and honest devices, which keep their side of each handshake across
connections and believe what they are told.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from twisted.internet.defer import Deferred
from zope.interface import implementer

from pushd.broker.interfaces import IStore
from pushd.broker.message import Message
from pushd.broker.records import Kept, KeptQuery, Record, SavedMessages, SavedState
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Packet,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from pushd.storage.memory import MemoryStore
from tests.driver import Peer, Rig

FOR_EVER = 0xFFFF_FFFF

# What devices may ask for.
FILTERS = ["t/#", "$share/g/t/+", "u/a", "u/#"]

# Of the machine's devices.
names = st.runner().flatmap(lambda machine: st.sampled_from(sorted(machine.devices)))
few = st.integers(1, 3)


@implementer(IStore)
class LateStore:
    """
    Commits when it is told to, in the order of what was recorded; what was read for a session comes when it
    is told to, too.

    :ivar log: everything that was recorded.
    :ivar cuts: how many records each commit will have made durable, that of all commits before it included.
    """

    def __init__(self, saved: MemoryStore | None = None) -> None:
        self._disk = saved or MemoryStore()
        self.log: list[Record] = []
        self.cuts: list[int] = []
        self.durable = 0
        self.failing: str | None = None
        self.is_broken = False
        self._barriers: list[tuple[int, Deferred[None]]] = []
        self._reads: list[tuple[int, Callable[[], Any], Deferred[Any]]] = []

    @property
    def pending(self) -> bool:
        return self.durable < len(self.log)

    def load(self) -> SavedState:
        return self._disk.load()

    def load_messages(self, client_id: str) -> Deferred[SavedMessages]:
        return self._read_later(partial(self._disk.load_messages, client_id))

    def find_kept(self, query: KeptQuery) -> Deferred[list[Kept]]:
        return self._read_later(partial(self._disk.find_kept, query))

    def kept_number(self, id: str) -> Deferred[int | None]:
        return self._read_later(partial(self._disk.kept_number, id))

    def _read_later(self, read: Callable[[], Any]) -> Deferred[Any]:
        self._reads.append((self._cut(), read, Deferred()))
        return self._reads[-1][2]

    def record(self, record: Record) -> None:
        self.log.append(record)

    def barrier(self) -> Deferred[None]:
        barrier: Deferred[None] = Deferred()
        if self.pending:
            self._barriers.append((self._cut(), barrier))
        else:
            barrier.callback(None)
        return barrier

    def close(self) -> Deferred[None]:
        return self.barrier()

    def _cut(self) -> int:
        """What is recorded now goes into one commit, or the commits up to now hold it."""
        if self.pending and (not self.cuts or self.cuts[-1] < len(self.log)):
            self.cuts.append(len(self.log))
        return len(self.log)

    @property
    def archive(self) -> list[bytes]:
        """The payloads that its archive has, as far as they are durable."""
        return [kept.message.payload for kept in self._disk.kept.values()]

    # What the test has it do

    def flush(self) -> None:
        """The timer that writes what nobody waits for."""
        self._cut()

    def commit(self, count: int) -> None:
        """So many commits come through, and those who wait for them are told."""
        if self.is_broken:
            self.failing = "disk full" if self.cuts else self.failing
            return
        self.failing = None
        due, self.cuts = self.cuts[:count], self.cuts[count:]
        if due:
            self._write(due[-1])
        while self._barriers and self._barriers[0][0] <= self.durable:
            self._barriers.pop(0)[1].callback(None)

    def read(self, count: int) -> None:
        """So many of those who asked are given what the disk has."""
        due = [read for read in self._reads if read[0] <= self.durable][:count]
        self._reads = [read for read in self._reads if read not in due]
        for _, read, result in due:
            result.callback(read())

    def crash(self, unheard: int) -> LateStore:
        """:return: what the next process finds: perhaps some commits more than this one was told of."""
        due = [] if self.is_broken else self.cuts[:unheard]
        if due:
            self._write(due[-1])
        return LateStore(_read_back(self._disk))

    def _write(self, count: int) -> None:
        for record in self.log[self.durable : count]:
            self._disk.record(record)
        self.durable = count


def _read_back(disk: MemoryStore) -> MemoryStore:
    """Messages that come from a disk know nothing of groups, nor of each other."""

    def again(message: Message) -> Message:
        copy = Message(message.topic, message.payload, message.qos, message.retain, None, message.expires_at)
        copy.subscription_ids, copy.push = message.subscription_ids, message.push
        return copy

    state = disk.state
    state.retained = {topic: again(message) for topic, message in state.retained.items()}
    for messages in disk.messages.values():
        messages.queued = {number: again(message) for number, message in messages.queued.items()}
        messages.inflight = {
            packet_id: message and again(message) for packet_id, message in messages.inflight.items()
        }
    return disk


@dataclass
class Accounts:
    """
    What was published and what became of it. Payloads are numbers in the order of publishing.

    :ivar streams: ``(publisher, topic, QoS)`` of each payload.
    :ivar acknowledged: the broker has taken over.
    :ivar refused: those of QoS 2 that it said it has not.
    :ivar expiring: those that are good for a moment only.
    :ivar retained: by topic, what was published to be retained, in its order.
    :ivar retained_since: by topic, from which of these on it may be.
    """

    streams: dict[bytes, tuple[str, str, int]] = field(default_factory=dict)
    acknowledged: set[bytes] = field(default_factory=set)
    refused: set[bytes] = field(default_factory=set)
    expiring: set[bytes] = field(default_factory=set)
    retained: dict[str, list[bytes]] = field(default_factory=dict)
    retained_since: dict[str, int] = field(default_factory=dict)

    def publish(self, packet: Publish, publisher: str) -> None:
        """Enter a message that is about to be sent for the first time."""
        self.streams[packet.payload] = publisher, packet.topic, int(packet.qos)
        if packet.retain:
            self.retained.setdefault(packet.topic, [b""]).append(packet.payload)

    def acknowledge(self, packet: Publish) -> None:
        """The broker said that it has it."""
        self.acknowledged.add(packet.payload)
        if packet.retain:
            since = self.retained[packet.topic].index(packet.payload)
            self.retained_since[packet.topic] = max(since, self.retained_since.get(packet.topic, 0))


class Device:
    """
    A client with a session that lasts, and both sides of its handshakes.

    :ivar unfinished: what it published, by packet id, in its order; ``None`` from PUBREC on.
    :ivar seen: the payloads of QoS 1 and 2 that came, in their order; of QoS 2, each handshake once.
    :ivar unsure: filters of which it does not know whether it is subscribed: its last wish was not granted.
    """

    def __init__(self, client_id: str, version: Version, accounts: Accounts) -> None:
        self.client_id = client_id
        self.version = version
        self.peer: Peer | None = None
        self.unfinished: dict[int, Publish | None] = {}
        self.seen: list[bytes] = []
        self.subscriptions: dict[str, int] = {}
        self.unsure: set[str] = set()
        self._asked: set[str] = set()  # on this connection, without an answer so far
        self._accounts = accounts
        self._is_admitted = False
        self._has_session = False
        self._held: set[int] = set()
        self._waiting: list[Packet] = []
        self._untaken: set[int] = set()  # came on this connection and is not acknowledged
        self._receive_maximum = 65_535
        self._next_id = 1
        # In version 5 the smallest Receive Maximum that the broker has here.
        self.max_unfinished = 2 if version is Version.V5 else 9

    @property
    def online(self) -> bool:
        """Whether it was admitted, as far as it knows."""
        return self.peer is not None and self._is_admitted

    @property
    def idle(self) -> bool:
        return not (self.unfinished or self._held or self._waiting)

    def come(self, rig: Rig, receive_maximum: int) -> None:
        self.gone()
        lasting: Properties = {}
        if self.version is Version.V5:
            lasting = {
                PropertyId.SESSION_EXPIRY_INTERVAL: FOR_EVER,
                PropertyId.RECEIVE_MAXIMUM: receive_maximum,
            }
            self._receive_maximum = receive_maximum
        self.peer = rig.connect(self.client_id, False, version=self.version, properties=lasting)

    def gone(self) -> None:
        """The network fails, or has failed; what was on its way is lost."""
        peer, self.peer = self.peer, None
        self._is_admitted = False
        self._waiting.clear()
        self._untaken.clear()
        self._asked.clear()
        if peer is not None and not peer.closed:
            peer.drop()

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, expiry_s: int) -> None:
        """Publish now, or when it is online again."""
        while self._next_id in self.unfinished:
            self._next_id = self._next_id % 20 + 1
        properties: Properties = {}
        if expiry_s and self.version is Version.V5:
            properties[PropertyId.MESSAGE_EXPIRY_INTERVAL] = expiry_s
            self._accounts.expiring.add(payload)
        packet = Publish(topic, payload, QoS(qos), retain, packet_id=self._next_id, properties=properties)
        self._accounts.publish(packet, self.client_id)
        self.unfinished[self._next_id] = packet
        self._next_id = self._next_id % 20 + 1
        self._send(packet)

    def subscribe(self, filter: str, qos: int) -> None:
        self._ask(filter, Subscribe(_id_of(filter), [SubscriptionRequest(filter, QoS(qos))]))

    def unsubscribe(self, filter: str) -> None:
        self._ask(filter, Unsubscribe(_id_of(filter), [filter]))

    def _ask(self, filter: str, packet: Packet) -> None:
        if self.online and filter not in self._asked:
            self._asked.add(filter)
            self.unsure.add(filter)
            self._send(packet)

    def read(self, count: int) -> None:
        """Take so many packets, and answer them."""
        if self.peer is None:
            return
        self._waiting += self.peer.received()
        if not self._is_admitted:
            self._hear_connack(self.peer)
        for packet in self._taken(count):
            self._handle(packet)
        if self.peer is not None and self.peer.closed:
            self.gone()

    def _taken(self, count: int) -> Iterable[Packet]:
        while self._waiting and count and self._is_admitted:
            count -= 1
            yield self._waiting.pop(0)

    def _hear_connack(self, peer: Peer) -> None:
        connack = peer.connack
        if connack is None or connack.code is not ReasonCode.SUCCESS:
            return
        assert connack.session_present >= self._has_session, f"{self.client_id}'s session was forgotten"
        self._is_admitted = self._has_session = True
        for packet_id, packet in list(self.unfinished.items()):
            self._send(Pubrel(packet_id) if packet is None else replace(packet, dup=True))

    def _send(self, packet: Packet) -> None:
        if self.online and self.peer is not None and not self.peer.closed:
            self.peer.send(packet)

    def _handle(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            self._hear(packet)
        elif isinstance(packet, Pubrel):
            self._held.discard(packet.packet_id)
            self._untaken.discard(packet.packet_id)
            self._send(Pubcomp(packet.packet_id))
        elif isinstance(packet, (Puback, Pubrec)):
            self._hear_answer(packet)
        elif isinstance(packet, Pubcomp):
            self.unfinished.pop(packet.packet_id)
        elif isinstance(packet, (Suback, Unsuback)):
            self._hear_granted(packet)

    def _hear(self, packet: Publish) -> None:
        if packet.qos == 0:
            return
        self._untaken.add(packet.packet_id)
        assert len(self._untaken) <= self._receive_maximum
        if packet.qos == 1:
            self.seen.append(packet.payload)
            self._untaken.remove(packet.packet_id)
            self._send(Puback(packet.packet_id))
            return
        if packet.packet_id not in self._held:
            self._held.add(packet.packet_id)
            self.seen.append(packet.payload)
        self._send(Pubrec(packet.packet_id))

    def _hear_answer(self, packet: Puback | Pubrec) -> None:
        published = self.unfinished.pop(packet.packet_id)
        assert published is not None, "a PUBREC after the PUBREC"
        if packet.code >= 0x80:
            if published.qos == 2:
                self._accounts.refused.add(published.payload)
            return
        self._accounts.acknowledge(published)
        if isinstance(packet, Pubrec):
            self.unfinished[packet.packet_id] = None
            self._send(Pubrel(packet.packet_id))

    def _hear_granted(self, packet: Suback | Unsuback) -> None:
        filter = FILTERS[packet.packet_id - 100]
        self._asked.remove(filter)
        if isinstance(packet, Unsuback):
            self.unsure.remove(filter)
            self.subscriptions.pop(filter, None)
        elif packet.codes[0] < 0x80:
            self.unsure.remove(filter)
            self.subscriptions[filter] = int(packet.codes[0])


def _id_of(filter: str) -> int:
    """The packet identifier of whatever is asked about a filter."""
    return 100 + FILTERS.index(filter)


class LateMachine(RuleBasedStateMachine):
    """
    What devices, the store and the clock do, whatever a machine is about.

    :ivar devices: by client id.
    """

    store: LateStore
    rig: Rig
    devices: dict[str, Device]

    @abstractmethod
    def begin_again(self, store: LateStore) -> None:
        """The process has ended; the next one finds this."""

    def go_on(self) -> None:
        """Nothing is in anybody's way: time passes, the disk writes, and everybody reads."""
        self.store.is_broken = False
        self.store.flush()
        self.store.commit(1000)
        self.store.read(1000)
        self.rig.clock.advance(0.25)
        for device in self.devices.values():
            device.read(1000)

    @rule(name=names, receive_maximum=few)
    def comes(self, name: str, receive_maximum: int) -> None:
        self.devices[name].come(self.rig, receive_maximum)

    @rule(name=names)
    def goes(self, name: str) -> None:
        self.devices[name].gone()

    @rule(name=names, count=st.integers(1, 9))
    def reads(self, name: str, count: int) -> None:
        self.devices[name].read(count)

    @rule(count=few)
    def store_commits(self, count: int) -> None:
        self.store.commit(count)
        self.rig.turn()

    @rule(count=few)
    def store_reads(self, count: int) -> None:
        self.store.read(count)
        self.rig.turn()

    @rule()
    def store_flushes(self) -> None:
        self.store.flush()

    @rule(is_broken=st.booleans())
    def disk_fills_or_clears(self, is_broken: bool) -> None:
        self.store.is_broken = is_broken
        self.store.commit(1)
        self.rig.clock.pump([0.25] * 3)

    @rule(quarters=st.integers(1, 8))
    def time_passes(self, quarters: int) -> None:
        self.rig.clock.pump([0.25] * quarters)

    @rule(unheard=st.integers(0, 3))
    def crashes(self, unheard: int) -> None:
        self.store.flush()
        self.begin_again(self.store.crash(unheard))

    @rule()
    def stops(self) -> None:
        """As SIGTERM has it, with a disk that is well."""
        self.store.is_broken = False
        self.rig.broker.stop()
        self.store.commit(1000)
        self.begin_again(self.store.crash(0))
