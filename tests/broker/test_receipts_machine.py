"""
Whatever happens, and whenever the process dies: a receipt never says that a device has acknowledged what it
has not, and never takes back what somebody was told.

The store and the devices are those of `tests.broker.late`. Pushes with receipts, collapse keys and expiries
go to devices that come, go, read and acknowledge in any order. At the end each receipt must be complete, and
say of each device just what that has seen.
"""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from pushd.broker.limits import Limits
from pushd.broker.message import PushMark
from pushd.broker.publication import Publication
from pushd.broker.receipts import Change, Receipt, State
from pushd.broker.targets import Outcome, Targets, push
from pushd.mqtt.codes import ReasonCode, Version
from tests.broker.late import Accounts, Device, LateMachine, LateStore
from tests.driver import Rig
from tests.pushing import Boss

LIMITS = [
    Limits(max_inflight_messages=2, max_queued_messages=0),
    Limits(max_inflight_messages=1, max_queued_messages=2),
    Limits(max_inflight_messages=2, max_queued_messages=2, queue_full="drop_oldest"),
    Limits(max_inflight_messages=1, max_queued_messages=0, max_queued_bytes=3),
]
DEVICES = {"bob": Version.V3_1_1, "eve": Version.V5, "sue": Version.V5}


class ReceiptsMachine(LateMachine):
    """
    :ivar accepted: the ids of pushes that their sender was told of, with the devices that they had then. A
        push's payload is its id.
    :ivar told: devices of which somebody was told that they have acknowledged a push.
    """

    @initialize(kind=st.integers(0, len(LIMITS) - 1))
    def start(self, kind: int) -> None:
        self.store = LateStore()
        self.rig = Rig(LIMITS[kind], store=self.store)
        self.devices = {name: Device(name, version, Accounts()) for name, version in DEVICES.items()}
        self.pushed = 0
        self.accepted: dict[str, set[tuple[str, str]]] = {}
        self.told: set[tuple[str, str]] = set()
        self.everybody_comes()

    # Who pushes

    @rule(
        to=st.sampled_from([("bob",), ("eve",), ("bob", "eve", "sue"), ()]),
        qos=st.integers(1, 2),
        key=st.sampled_from(["", "", "k", "l"]),
        expiry_s=st.sampled_from([None, None, 0, 1]),
    )
    def pushes(self, to: tuple[str, ...], qos: int, key: str, expiry_s: float | None) -> None:
        self.pushed += 1
        id = str(self.pushed)
        mark = PushMark(id, 0, receipt=True, collapse_key=key)
        publication = Publication("t", id.encode(), qos, expiry_s=expiry_s, mark=mark)
        targets = Targets(clients=to, all=not to)
        pushing = push(self.rig.broker, self.rig.policy, Boss(), publication, targets)
        pushing.addCallback(self._accept, id)
        self._watch(id)
        self.rig.turn()

    def _accept(self, outcome: Outcome, id: str) -> None:
        if outcome.code is ReasonCode.SUCCESS:
            self.accepted[id] = set(self._receipt(id).devices)

    def _watch(self, id: str) -> None:
        self.rig.broker.receipts.watch(id, self._hear)

    def _hear(self, receipt: Receipt, changes: list[Change]) -> None:
        for change in changes:
            if change.state is State.ACKNOWLEDGED:
                self.told.add((receipt.id, change.client_id))

    def _receipt(self, id: str) -> Receipt:
        receipt = self.rig.broker.receipts.get(id)
        assert receipt is not None, f"the receipt of {id} was forgotten"
        return receipt

    # What devices do

    @rule()
    def everybody_comes(self) -> None:
        for device in self.devices.values():
            if device.peer is None or device.peer.closed:
                device.come(self.rig, 3)
        self.go_on()

    # What happens to the broker

    def begin_again(self, store: LateStore) -> None:
        for device in self.devices.values():
            device.gone()
        self.store = store
        self.rig = Rig(self.rig.broker.limits, store=store)
        for number in range(1, self.pushed + 1):
            self._watch(str(number))

    # What must hold

    @invariant()
    def never_too_early(self) -> None:
        """What is acknowledged has been seen by its device."""
        for id in self.accepted:
            for device in self._receipt(id).devices.values():
                if device.state is State.ACKNOWLEDGED:
                    assert id.encode() in self.devices[device.client_id].seen, (id, device)

    @invariant()
    def never_forgotten(self) -> None:
        """Whatever somebody was told stays so: who it was for, and who has acknowledged it."""
        for id, known in self.accepted.items():
            assert known <= set(self._receipt(id).devices)
        for id, client_id in self.told:
            assert self._receipt(id).devices[client_id, "t"].state is State.ACKNOWLEDGED, (id, client_id)

    def teardown(self) -> None:
        """All comes to an end, and is as the receipts say."""
        if not hasattr(self, "rig"):
            return
        for _ in range(100):
            self.everybody_comes()
            if all(device.idle for device in self.devices.values()) and not self._open():
                break
        assert not self._open(), self._open()
        for id in self.accepted:
            for device in self._receipt(id).devices.values():
                seen = id.encode() in self.devices[device.client_id].seen
                assert seen is (device.state is State.ACKNOWLEDGED), (id, device)

    def _open(self) -> list[str]:
        return [id for id in self.accepted if not self._receipt(id).complete]


ReceiptsMachine.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)
ReceiptsMachineTests = ReceiptsMachine.TestCase
