"""
Whatever happens, and whenever the process dies: what was acknowledged is kept, and comes once where it shall.

Hypothesis has devices come, go, publish, read and acknowledge in any order, over a store whose commits and
reads come late, fail and recover. At any moment the broker may be lost. The next one is made from exactly the
records that some commit held: the last that the broker was told of, or a later one. Devices are honest: they
keep their side of each handshake across connections, and believe what they are told.

Now and then all is well for a while and everybody comes. Then all traffic must come to an end, which finds
whoever waits for ever, and the accounts must balance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from zope.interface import implementer

from pushd.broker.interfaces import IStore
from pushd.broker.limits import Limits
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


FILTERS = ["t/#", "$share/g/t/+", "u/a", "u/#"]
TOPICS = ["t/a", "t/b", "u/a"]


def _id_of(filter: str) -> int:
    """The packet identifier of whatever is asked about a filter."""
    return 100 + FILTERS.index(filter)


# Who is there. Everybody publishes; listeners, by their QoS, and the group hear all of ``t`` from the start.
LISTENERS = {"bob": 2, "eve": 1}
GROUP = ("sid", "sue")
DEVICES = {
    "bob": Version.V3_1_1,
    "eve": Version.V5,
    "sid": Version.V3_1_1,
    "sue": Version.V5,
    "ada": Version.V3_1_1,
    "max": Version.V5,
}

ROOMY = Limits(max_inflight_messages=2, max_queued_messages=0)
LIMITS = [
    ROOMY,
    Limits(max_inflight_messages=3, max_queued_messages=2),
    Limits(max_inflight_messages=2, max_queued_messages=1, queue_full="drop_oldest"),
    Limits(max_inflight_messages=4, max_queued_messages=3, max_inflight_bytes=1),
    Limits(max_inflight_messages=0, max_queued_messages=0, max_queued_bytes=3, queue_qos0_messages=True),
]

devices = st.sampled_from(sorted(DEVICES))
few = st.integers(1, 3)
messages = st.tuples(st.sampled_from(TOPICS), st.integers(1, 2), st.sampled_from([0, 0, 0, 1]))


class CrashMachine(RuleBasedStateMachine):
    """
    :ivar dropped: what brokers that are gone have counted, by reason.
    """

    @initialize(kind=st.integers(0, len(LIMITS) - 1))
    def start(self, kind: int) -> None:
        self.accounts = Accounts()
        self.dropped: Counter[str] = Counter()
        self.published = 0
        self.store = LateStore()
        self._open(LIMITS[kind])
        self.devices = {name: Device(name, version, self.accounts) for name, version in DEVICES.items()}
        for name, device in self.devices.items():
            device.come(self.rig, 3)
            self.go_on()
            if name in LISTENERS:
                device.subscribe("t/#", LISTENERS[name])
            elif name in GROUP:
                device.subscribe("$share/g/t/+", 2)
            self.go_on()

    def _open(self, limits: Limits) -> None:
        """A process begins."""
        self.rig = Rig(limits, store=self.store)
        self.rig.broker.archive.keep_topics([("u/#", 86_400)])

    def go_on(self) -> None:
        """Nothing is in anybody's way: time passes, the disk writes, and everybody reads."""
        self.store.is_broken = False
        self.store.flush()
        self.store.commit(1000)
        self.store.read(1000)
        self.rig.clock.advance(0.25)
        for device in self.devices.values():
            device.read(1000)

    # What devices do

    @rule(name=devices, receive_maximum=few)
    def comes(self, name: str, receive_maximum: int) -> None:
        self.devices[name].come(self.rig, receive_maximum)

    @rule(name=devices)
    def goes(self, name: str) -> None:
        self.devices[name].gone()

    @rule()
    def everybody_comes(self) -> None:
        for device in self.devices.values():
            if device.peer is None:
                device.come(self.rig, 3)
        self.go_on()

    @rule(name=devices, messages=st.lists(messages, min_size=1, max_size=5))
    def publishes(self, name: str, messages: list[tuple[str, int, int]]) -> None:
        for topic, qos, expiry_s in messages:
            self._publish(name, topic, qos, expiry_s, retain=False)

    @rule(name=devices, qos=st.integers(1, 2))
    def retains(self, name: str, qos: int) -> None:
        self._publish(name, f"r/{name}/{qos}", qos, 0, retain=True)

    def _publish(self, name: str, topic: str, qos: int, expiry_s: int, retain: bool) -> None:
        device = self.devices[name]
        if len(device.unfinished) < device.max_unfinished:
            self.published += 1
            device.publish(topic, b"%d" % self.published, qos, retain, expiry_s)

    @rule(name=devices, count=st.integers(1, 9))
    def reads(self, name: str, count: int) -> None:
        self.devices[name].read(count)

    @rule()
    def everybody_reads(self) -> None:
        """And again what they are answered, as far as that need not wait for the disk."""
        for device in [*self.devices.values(), *self.devices.values()]:
            device.read(1000)

    @rule(name=devices, filter=st.sampled_from(FILTERS[2:]), qos=st.integers(0, 2))
    def subscribes(self, name: str, filter: str, qos: int) -> None:
        self.devices[name].subscribe(filter, qos)

    @rule(name=devices, filter=st.sampled_from(FILTERS[2:]))
    def unsubscribes(self, name: str, filter: str) -> None:
        self.devices[name].unsubscribe(filter)

    # What happens to the broker

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

    @rule(kind=st.integers(0, len(LIMITS) - 1))
    def limits_change(self, kind: int) -> None:
        """As SIGHUP has it."""
        self.rig.broker.limits = LIMITS[kind]
        self.rig.broker.access_rules_changed()

    @rule(unheard=st.integers(0, 3))
    def crashes(self, unheard: int) -> None:
        self.store.flush()
        self._begin_again(self.store.crash(unheard))

    @rule()
    def stops(self) -> None:
        """As SIGTERM has it, with a disk that is well."""
        self.store.is_broken = False
        self.rig.broker.stop()
        self.store.commit(1000)
        self._begin_again(self.store.crash(0))

    def _begin_again(self, store: LateStore) -> None:
        self.dropped.update(self.rig.broker.counters.publish_dropped)
        for device in self.devices.values():
            device.gone()
        self.store = store
        self._open(self.rig.broker.limits)
        self._check_retained()
        self._check_subscriptions()

    def _check_retained(self) -> None:
        for topic, payloads in self.accounts.retained.items():
            message = self.rig.broker.retained.get(topic)
            kept = b"" if message is None else message.payload
            assert payloads.index(kept) >= self.accounts.retained_since.get(topic, 0), topic

    def _check_subscriptions(self) -> None:
        for name, device in self.devices.items():
            session = self.rig.broker.sessions.get(name)
            kept = {} if session is None else {key: each.qos for key, each in session.subscriptions.items()}
            for filter in FILTERS:
                if filter not in device.unsure:
                    assert kept.get(filter) == device.subscriptions.get(filter), (name, filter)

    # What must hold

    @invariant()
    def once(self) -> None:
        """No message of QoS 2 comes twice, to a subscriber or to a group; nor one that was refused."""
        for name in LISTENERS:
            self._check_once(self.devices[name].seen, LISTENERS[name])
        for name in self.devices.keys() - LISTENERS.keys() - set(GROUP):
            self._check_once(self.devices[name].seen, 1)
        self._check_once([payload for name in GROUP for payload in self._of_the_group(name)], 2)

    def _check_once(self, seen: list[bytes], granted: int) -> None:
        for payload, times in Counter(seen).items():
            assert times == 1 or min(granted, self.accounts.streams[payload][2]) < 2, payload
            assert payload not in self.accounts.refused, payload

    def _of_the_group(self, name: str) -> list[bytes]:
        return [each for each in self.devices[name].seen if self.accounts.streams[each][1].startswith("t/")]

    @invariant()
    def in_order(self) -> None:
        """
        What one device publishes on a topic at a QoS comes in its order; a second copy does not count.

        What a full queue dropped may come out of its order: its publisher was not told, and sends it again.
        """
        if self._drops():
            return
        for name in LISTENERS:
            last: dict[tuple[str, str, int], int] = {}
            for payload in dict.fromkeys(self.devices[name].seen):
                stream = self.accounts.streams[payload]
                if stream[1].startswith("t/"):
                    assert last.get(stream, 0) < int(payload), (name, payload)
                    last[stream] = int(payload)

    @precondition(lambda self: self.published > 3)
    @rule()
    def balances(self) -> None:
        """All comes to an end, and nothing is missing but what was dropped by a policy, and counted."""
        for _ in range(200):
            for device in self.devices.values():
                if device.peer is None or device.peer.closed:
                    device.come(self.rig, 3)
            self.go_on()
            if all(device.idle for device in self.devices.values()) and not self._waiting():
                break
        else:
            raise AssertionError(f"somebody waits for ever: {self._waiting()}")
        self._check_missing()
        self._check_archive()

    def _waiting(self) -> dict[str, int]:
        sessions = self.rig.broker.sessions.values()
        return {each.client_id: each.waiting_messages for each in sessions if each.waiting_messages}

    def _check_missing(self) -> None:
        due = {
            payload
            for payload in self.accounts.acknowledged
            if self.accounts.streams[payload][1].startswith("t/")
        }
        missing = [due - set(self.devices[name].seen) for name in LISTENERS]
        missing.append(due - {payload for name in GROUP for payload in self.devices[name].seen})
        assert sum(map(len, missing)) <= self._drops(), missing

    def _check_archive(self) -> None:
        """What was said on ``u`` is kept, at QoS 2 once, and in the order of its publisher."""
        streams = self.accounts.streams
        due = {each for each in self.accounts.acknowledged if streams[each][1].startswith("u/")}
        missing = due - self.accounts.expiring - set(self.store.archive)
        assert not missing, missing
        for payload, times in Counter(self.store.archive).items():
            assert times == 1 or streams[payload][2] < 2, payload
            assert payload not in self.accounts.refused, payload
        last: dict[tuple[str, str, int], int] = {}
        for payload in dict.fromkeys(self.store.archive):
            assert last.get(streams[payload], 0) < int(payload), payload
            last[streams[payload]] = int(payload)

    def _drops(self) -> int:
        """What policies have dropped so far, in this process and those before it."""
        return sum(self.dropped.values()) + sum(self.rig.broker.counters.publish_dropped.values())

    def teardown(self) -> None:
        if hasattr(self, "rig") and self.published:
            self.balances()


CrashMachine.TestCase.settings = settings(
    max_examples=400,
    stateful_step_count=50,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)
CrashTests = CrashMachine.TestCase
