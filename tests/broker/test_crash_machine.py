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

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from pushd.broker.limits import Limits
from pushd.mqtt.codes import Version
from tests.broker.late import FILTERS, Accounts, Device, LateMachine, LateStore
from tests.driver import Rig

TOPICS = ["t/a", "t/b", "u/a"]


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
messages = st.tuples(st.sampled_from(TOPICS), st.integers(1, 2), st.sampled_from([0, 0, 0, 1]))


class CrashMachine(LateMachine):
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

    # What devices do

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

    @rule(kind=st.integers(0, len(LIMITS) - 1))
    def limits_change(self, kind: int) -> None:
        """As SIGHUP has it."""
        self.rig.broker.limits = LIMITS[kind]
        self.rig.broker.access_rules_changed()

    def begin_again(self, store: LateStore) -> None:
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
