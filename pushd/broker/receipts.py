"""
What becomes of a push at each device: receipts.

A push that asks for one (`PushMark.receipt`) has a `Receipt`, with a `Device` for each session that it was
handed to:

    QUEUED ──sent──▶ SENT ──PUBACK, PUBCOMP──▶ ACKNOWLEDGED
       │              └──refused by the client, may not be read any more──▶ REFUSED
       ├──too late──▶ EXPIRED
       └──queue full, replaced, packet too large, session ended──▶ REFUSED

SENT is the end of it at QoS 0. Sessions say what happens where it happens, and only of messages that are a
push; for all others this costs a look at one attribute. Each change is recorded in the turn in which it
happens, so it becomes durable together with the acknowledgement that it speaks of, or not at all: who is told
of it (`watch`, `read`) is told afterwards.

What is not over when the process ends is taken up by the next one: messages come back from the store with
their marks. Where a message does not come back, the device's receipt ends, too.

A member of a shared group that leaves before it acknowledged hands its messages on: that is a refusal for it,
and the next member is a device of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import ceil
from sys import maxsize
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from pushd.broker.receipt import Change as Change
from pushd.broker.receipt import Device as Device
from pushd.broker.receipt import Headcount as Headcount
from pushd.broker.receipt import Receipt as Receipt
from pushd.broker.receipt import State as State

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.message import Message
    from pushd.broker.session import Session

# The kinds of their notes.
RECEIPT, DEVICE = "receipt", "receipt device"


class Receipts:
    """
    All receipts, and what sessions tell of pushes.

    :ivar headcount: of the push that is being handed out at this moment.
    :ivar released: devices that acknowledged half of a message of QoS 2, by client id and packet identifier.
    :ivar on_complete: told of each receipt that has become complete, when that is durable; after a restart
        perhaps once more.
    """

    # So many devices are told at a time that it is too late: 5 ms.
    SLICE = 500

    # So many dead entries may stay in the heap, however few others there are.
    _SPARE = 1000

    _log = Logger()

    def __init__(self, broker: Broker, unix: Callable[[], float]) -> None:
        """:param unix: the wall clock, in seconds."""
        self._broker = broker
        self._unix = unix
        self.headcount: Headcount | None = None
        self.released: dict[tuple[str, int], Device] = {}
        self.on_complete: Callable[[Receipt], None] | None = None
        self._receipts: dict[str, Receipt] = {}
        self._open: dict[str, list[Device]] = {}  # by client id
        self._device_count = 0
        self._changes: dict[Receipt, list[Change]] = {}  # not told yet
        self._heap: list[tuple[float, str]] = []  # when to look at a receipt, by Unix time
        self._late: deque[Device] = deque()  # for whose messages it is too late
        self.slot = 0  # on the wheel

    def __len__(self) -> int:
        """How many devices all receipts have together."""
        return self._device_count

    def has_room(self, devices: int) -> bool:
        """Whether a push to so many devices may have a receipt (``max_receipts``)."""
        most = self._broker.limits.max_receipts
        return most == 0 or len(self._receipts) + self._device_count + devices <= most

    # Those who ask

    def open(self, id: str, owner: str, *, delay_s: float = 0.0, expiry_s: float | None = None) -> Receipt:
        """
        A push that wants a receipt is about to be handed out, or was scheduled.

        :param id: that of its `PushMark`; one that is scheduled keeps the receipt that it was given then.
        :param owner: who may look at it: a user name; empty for an anonymous caller.
        :param delay_s: when it will be handed out.
        :param expiry_s: from then on, when it is too late for it; ``None`` for never.
        """
        now = self._unix()
        receipt = self._receipts.get(id)
        if receipt is None:
            receipt = Receipt(id, owner, now, ceil(now + delay_s + self._broker.limits.receipt_duration))
        receipt.scheduled = delay_s > 0
        receipt.expires_at = None if expiry_s is None else now + delay_s + expiry_s
        self._receipts[id] = receipt
        self._note(receipt)
        self._look_at(receipt)
        return receipt

    def settle(self, id: str) -> None:
        """The push of this id was handed to everybody that it is for, or will not be."""
        receipt = self._receipts.get(id)
        if receipt is not None and not receipt.settled:
            receipt.scheduled, receipt.settled = False, True
            self._note(receipt)
            self._tell_later(receipt)

    def forget(self, id: str) -> None:
        """There is no such receipt any more: its push was refused."""
        receipt = self._receipts.get(id)
        if receipt is None:
            return
        for device in receipt.devices.values():
            self._broker.notes.clear(DEVICE, device.key)
        self._broker.notes.clear(RECEIPT, id)
        self._drop(receipt)
        if len(self._heap) > 2 * len(self._receipts) + self._SPARE:
            self._heap = [entry for entry in self._heap if entry[1] in self._receipts]
            heapify(self._heap)

    def _drop(self, receipt: Receipt) -> None:
        del self._receipts[receipt.id]
        self._device_count -= len(receipt.devices)
        if receipt.open:
            for device in receipt.devices.values():
                if device.done_at is None:
                    self._closed(device)

    def get(self, id: str) -> Receipt | None:
        """The receipt of this id as it is now, which may not be durable yet: see `read`."""
        return self._receipts.get(id)

    def read(self, id: str) -> Deferred[Receipt | None]:
        """:return: fires with the receipt of this id when what it says is durable."""
        if not self._broker.store.pending:
            return succeed(self.get(id))
        return self._broker.store.barrier().addCallback(lambda _: self.get(id))

    def watch(self, id: str, function: Callable[[Receipt, list[Change]], None]) -> Callable[[], None]:
        """
        Hear of each change, when it is durable; and once without any when that makes the receipt complete.

        :return: stops it; may be called again. One for a receipt that is unknown does nothing.
        """
        receipt = self._receipts.get(id)
        if receipt is None:
            return lambda: None
        if receipt.watchers is None:
            receipt.watchers = []
        watchers = receipt.watchers
        watchers.append(function)

        def stop() -> None:
            if function in watchers:
                watchers.remove(function)

        return stop

    # What sessions tell: messages that are a push

    def queued(self, session: Session, message: Message, sequence: int) -> None:
        """It waits for the session, with this number in its queue; perhaps it did with another before."""
        if (count := self._counted(session, message)) is not None:
            count.queued += 1
        if (device := self._device(session, message)) is not None:
            waited = device.queued_at is not None and device.state is State.QUEUED
            device.sequence = sequence
            if waited:
                self._note_device(device)
            else:
                device.queued_at = self._unix()
                self._move(device, State.QUEUED)

    def sent(self, session: Session, message: Message) -> None:
        """It was handed to the network; at QoS 0 that is all there is to it."""
        if (count := self._counted(session, message)) is not None:
            count.sent += 1
        if (device := self._device(session, message)) is not None:
            device.sent_at = self._unix()
            self._move(device, State.SENT, final=message.qos == 0)

    def refused(self, session: Session, message: Message, reason: str) -> None:
        """The session will not have it: see `Device.reason`; or ``expired``."""
        if (count := self._counted(session, message)) is not None:
            count.refused[reason] += 1
        if (device := self._device(session, message)) is not None:
            self._end(device, reason)

    def acknowledged(self, session: Session, message: Message) -> None:
        """PUBACK came."""
        if (device := self._device(session, message)) is not None:
            self._move(device, State.ACKNOWLEDGED, final=True)

    def release(self, session: Session, message: Message, packet_id: int) -> None:
        """PUBREC came: from now on, the session knows of the message by its packet identifier only."""
        if (device := self._device(session, message)) is not None:
            device.packet_id = packet_id
            self.released[session.client_id, packet_id] = device
            self._note_device(device)

    def completed(self, session: Session, packet_id: int) -> None:
        """PUBCOMP came."""
        device = self.released.get((session.client_id, packet_id))
        if device is not None:
            self._move(device, State.ACKNOWLEDGED, final=True)

    def dropped(self, session: Session, sequence: int, reason: str) -> None:
        """What has this number in the queue of a session that sleeps will never be sent."""
        for device in self._open.get(session.client_id, ()):
            if device.sequence == sequence and device.state is State.QUEUED:
                self._end(device, reason)
                return

    def ended(self, session: Session) -> None:
        """A session is over."""
        for device in list(self._open.get(session.client_id, ())):
            self._end(device, "session_ended")

    def _counted(self, session: Session, message: Message) -> Headcount | None:
        """:return: the headcount of the push that is being handed out, if this message is part of it."""
        count = self.headcount
        if count is None or message.push is None or message.push.id != count.id:
            return None
        count.reached.add(session.client_id)
        return count

    def _device(self, session: Session, message: Message) -> Device | None:
        """:return: the device that is meant, a new one if need be; ``None`` if nobody wants to know."""
        if message.push is None or not message.push.receipt:
            return None
        receipt = self._receipts.get(message.push.id)
        if receipt is None:
            return None  # it was forgotten
        key = session.client_id, message.topic
        device = receipt.devices.get(key)
        if device is not None:
            return None if device.state is State.ACKNOWLEDGED else device  # that is for ever
        if receipt.settled and message.shared is None:
            return None  # it was retained, and somebody has subscribed to it later
        return self._add(receipt, *key)

    def _add(self, receipt: Receipt, client_id: str, topic: str) -> Device:
        device = Device(receipt, len(receipt.devices), client_id, topic)
        self._enter(device)
        self._opened(device)
        return device

    def _enter(self, device: Device) -> None:
        device.receipt.devices[device.client_id, device.topic] = device
        device.receipt.by_state[device.state] += 1
        self._device_count += 1

    def _opened(self, device: Device) -> None:
        device.receipt.open += 1
        self._open.setdefault(device.client_id, []).append(device)

    def _closed(self, device: Device) -> None:
        device.receipt.open -= 1
        others = self._open[device.client_id]
        others.remove(device)
        if not others:
            del self._open[device.client_id]
        if device.packet_id:
            self.released.pop((device.client_id, device.packet_id), None)

    def _end(self, device: Device, reason: str) -> None:
        if reason == "expired":
            self._move(device, State.EXPIRED, final=True)
        else:
            self._move(device, State.REFUSED, reason, final=True)

    def _move(self, device: Device, state: State, reason: str = "", *, final: bool = False) -> None:
        """A device has come to a state; a message that was handed on may come back to it."""
        was_final = device.done_at is not None
        counts = device.receipt.by_state
        counts[device.state] -= 1
        counts[state] += 1
        device.state, device.reason = state, reason
        device.done_at = self._unix() if final else None
        if final and not was_final:
            self._closed(device)
        elif was_final and not final:
            self._opened(device)
        self._note_device(device)
        receipt = device.receipt
        changes = self._tell_later(receipt)
        if receipt.watchers:
            changes.append(Change(device.client_id, device.topic, state, reason, device.at))

    # What survives

    def _note(self, receipt: Receipt) -> None:
        self._broker.notes.set(RECEIPT, receipt.id, receipt.as_note(), int(receipt.until))

    def _note_device(self, device: Device) -> None:
        self._broker.notes.set(DEVICE, device.key, device.as_note(), int(device.receipt.until))

    def restore(self) -> None:
        """Take up what notes tell of the last process, when its sessions are there."""
        notes = self._broker.notes
        for kind in (RECEIPT, DEVICE):
            notes.limit(kind, maxsize)  # there is an end to them: `has_room`
        for note in notes.of_kind(RECEIPT):
            self._receipts[note.key] = Receipt.of_note(note.key, note.value, note.until)
            self._look_at(self._receipts[note.key])
        for note in sorted(notes.of_kind(DEVICE), key=lambda note: _number_of(note.key)):
            known = self._receipts.get(note.key.rpartition("/")[0])
            if known is not None:
                self._take_up(Device.of_note(known, _number_of(note.key), note.value))
        for receipt in self._receipts.values():
            if not receipt.scheduled:
                self.settle(receipt.id)  # whoever was handing it out is no more

    def _take_up(self, device: Device) -> None:
        self._enter(device)
        if device.done_at is not None:
            return
        self._opened(device)
        if device.client_id not in self._broker.sessions:
            self._end(device, "session_ended")
        elif device.packet_id:
            self.released[device.client_id, device.packet_id] = device

    def woke(self, session: Session) -> None:
        """A session's messages are in memory again: those that did not come back never will."""
        devices = self._open.get(session.client_id)
        if devices is None:
            return
        messages = [*(session.queue or ()), *session.inflight.values()]
        known = {
            (each.push.id, each.topic) for each in messages if each is not None and each.push is not None
        }
        for device in list(devices):
            is_released = device.packet_id and device.packet_id in session.inflight
            if not is_released and (device.receipt.id, device.topic) not in known:
                self._end(device, "lost")

    # On the wheel: receipts whose time is over, and pushes that it is too late for

    def _look_at(self, receipt: Receipt) -> None:
        """Have a look when something is due by the clock."""
        expires_at = receipt.expires_at
        when = receipt.until
        if expires_at is not None and self._unix() < expires_at < when:
            when = expires_at
        heappush(self._heap, (when, receipt.id))
        if self.slot == 0 or self._heap[0][1] == receipt.id:
            self._broker.wheel.add(self)

    def due_at(self) -> float | None:
        if not self._heap:
            return None
        return self._broker.wheel.seconds() + self._heap[0][0] - self._unix()

    def on_due(self) -> None:
        now = self._unix()
        while self._heap and self._heap[0][0] <= now:
            receipt = self._receipts.get(heappop(self._heap)[1])
            if receipt is not None:
                self._visit(receipt, now)
        self._broker.wheel.add(self)

    def _visit(self, receipt: Receipt, now: float) -> None:
        if receipt.until <= now:
            self._drop(receipt)  # and so do the notes
            return
        if receipt.expires_at is not None and receipt.expires_at <= now:
            was_idle = not self._late
            self._late.extend(each for each in receipt.devices.values() if each.state is State.QUEUED)
            if was_idle:
                self._expire()
        self._look_at(receipt)

    def _expire(self) -> None:
        """Nobody will be sent what waits too long, though it may be noticed in a queue much later."""
        for _ in range(min(self.SLICE, len(self._late))):
            device = self._late.popleft()
            if device.state is State.QUEUED and device.done_at is None:
                self._end(device, "expired")
        if self._late:
            self._broker.soon(self._expire)

    # Telling those who watch, once for each turn, and when it is durable

    def _tell_later(self, receipt: Receipt) -> list[Change]:
        """:return: what will be told of it."""
        if not self._changes:
            self._broker.turn.afterwards(self._tell_when_durable)
        return self._changes.setdefault(receipt, [])

    def _tell_when_durable(self) -> None:
        changes, self._changes = self._changes, {}
        if self._broker.store.pending:
            complete = {receipt for receipt in changes if receipt.complete}
            self._broker.store.barrier().addCallback(lambda _: self._tell(changes, complete))
        else:
            self._tell(changes, {receipt for receipt in changes if receipt.complete})

    def _tell(self, changes: dict[Receipt, list[Change]], complete: set[Receipt]) -> None:
        for receipt, steps in changes.items():
            for function in list(receipt.watchers or ()):
                self._call(function, receipt, steps)
            if receipt in complete and self.on_complete is not None:
                self._call(self.on_complete, receipt)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            function(*arguments)
        except Exception:
            self._log.failure("somebody who was told of {receipt!r} failed", receipt=arguments[0])


def _number_of(key: str) -> int:
    """Of a device, by the key of its note."""
    return int(key.rpartition("/")[2])
