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

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.message import Message
    from pushd.broker.session import Session


class State(Enum):
    """How far a push has come at one device."""

    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    EXPIRED = "expired"
    REFUSED = "refused"


class Change(NamedTuple):
    """
    One step of one device, as it was when it happened.

    :ivar at: Unix seconds.
    :ivar reason: why it is REFUSED; else empty.
    """

    client_id: str
    topic: str
    state: State
    reason: str
    at: float


class Device:
    """
    A session that a push was handed to, once for each topic name that led to it.

    :ivar topic: mount point included.
    :ivar reason: why it is REFUSED: ``queue_full``, ``replaced`` (by a newer one of the same collapse key),
        ``not_authorized``, ``packet_too_large``, ``slow_consumer``, ``offline`` (both of QoS 0 only),
        ``handed_on`` (to another of its shared group), ``by_client``, ``session_ended``, or ``lost``.
    :ivar queued_at: Unix seconds, as all times here; ``None`` if it never was.
    :ivar done_at: when it came to its end; ``None`` before.
    :ivar sequence: its number in the session's queue, while it is there.
    :ivar packet_id: of a message of QoS 2 whose PUBREC came; else 0.
    """

    __slots__ = (
        "client_id", "done_at", "packet_id", "queued_at", "reason", "receipt", "sent_at", "sequence", "state",
        "topic",
    )  # fmt: skip

    def __init__(self, receipt: Receipt, client_id: str, topic: str) -> None:
        self.receipt = receipt
        self.client_id = client_id
        self.topic = topic
        self.state = State.QUEUED
        self.reason = ""
        self.queued_at: float | None = None
        self.sent_at: float | None = None
        self.done_at: float | None = None
        self.sequence = 0
        self.packet_id = 0

    def __repr__(self) -> str:
        return f"<Device {self.client_id!r} {self.state.value} {self.reason}>"

    @property
    def at(self) -> float:
        """When it came to be as it is."""
        return self.done_at or self.sent_at or self.queued_at or 0.0


class Receipt:
    """
    :ivar owner: who may look at it: a user name; empty for an anonymous caller.
    :ivar created_at: Unix seconds.
    :ivar until: from then on it is forgotten.
    :ivar expires_at: when it is too late for the push, in the broker's seconds; ``None`` for never.
    :ivar settled: whether it was handed to everybody that it is for; before, there may be more devices.
    :ivar devices: by client id and topic name.
    :ivar open: how many of them have not come to their end.
    """

    __slots__ = (
        "created_at", "devices", "expires_at", "id", "open", "owner", "settled", "until", "watchers",
    )  # fmt: skip

    def __init__(self, id: str, owner: str, created_at: float, until: float) -> None:
        self.id = id
        self.owner = owner
        self.created_at = created_at
        self.until = until
        self.expires_at: float | None = None
        self.settled = False
        self.devices: dict[tuple[str, str], Device] = {}
        self.open = 0
        self.watchers: list[Callable[[Receipt, list[Change]], None]] | None = None

    def __repr__(self) -> str:
        return f"<Receipt {self.id} of {len(self.devices)}, {self.open} open>"

    @property
    def complete(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.settled and not self.open

    def counts(self) -> Counter[State]:
        """How many devices there are in each state."""
        return Counter(device.state for device in self.devices.values())


class Headcount:
    """
    What becomes of one push while it is being handed out, whether or not it wants a receipt.

    :ivar reached: the client ids of those who were.
    :ivar refused: by reason.
    """

    __slots__ = ("id", "queued", "reached", "refused", "sent")

    def __init__(self, id: str) -> None:
        self.id = id
        self.reached: set[str] = set()
        self.sent = 0
        self.queued = 0
        self.refused: Counter[str] = Counter()


class Receipts:
    """
    All receipts, and what sessions tell of pushes.

    :ivar headcount: of the push that is being handed out at this moment.
    :ivar released: devices that acknowledged half of a message of QoS 2, by client id and packet identifier.
    :ivar on_complete: told of each receipt that has become complete, when that is durable; after a restart
        perhaps once more.
    """

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

    def __len__(self) -> int:
        """How many devices all receipts have together."""
        return self._device_count

    def has_room(self, devices: int) -> bool:
        """Whether a push to so many devices may have a receipt (``max_receipts``)."""
        most = self._broker.limits.max_receipts
        return most == 0 or self._device_count + devices <= most

    # Those who ask

    def open(self, id: str, owner: str, expires_at: float | None = None) -> Receipt:
        """
        A push that wants a receipt is about to be handed out, or was scheduled.

        :param id: that of its `PushMark`.
        :param owner: who may look at it: a user name; empty for an anonymous caller.
        :param expires_at: when it is too late for it, in the broker's seconds.
        """
        now = self._unix()
        receipt = Receipt(id, owner, now, now + self._broker.limits.receipt_duration)
        receipt.expires_at = expires_at
        self._receipts[id] = receipt
        return receipt

    def settle(self, id: str) -> None:
        """The push of this id was handed to everybody that it is for."""
        receipt = self._receipts.get(id)
        if receipt is not None and not receipt.settled:
            receipt.settled = True
            self._tell_later(receipt)

    def forget(self, id: str) -> None:
        """There is no such receipt any more: its time is over, or its push was refused."""
        receipt = self._receipts.pop(id, None)
        if receipt is None:
            return
        for device in receipt.devices.values():
            if device.done_at is None:
                self._closed(device)
        self._device_count -= len(receipt.devices)

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

    def queued(self, session: Session, message: Message) -> None:
        """It waits for the session."""
        if (count := self._counted(session, message)) is not None:
            count.queued += 1
        if (device := self._device(session, message)) is not None:
            device.queued_at = self._unix()
            device.sequence = session.sequence
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
        if message.push is None or not message.push.receipt:
            return None
        receipt = self._receipts.get(message.push.id)
        if receipt is None:
            return None  # it was forgotten
        key = session.client_id, message.topic
        device = receipt.devices.get(key)
        return self._add(receipt, *key) if device is None else device

    def _add(self, receipt: Receipt, client_id: str, topic: str) -> Device:
        device = receipt.devices[client_id, topic] = Device(receipt, client_id, topic)
        self._device_count += 1
        self._opened(device)
        return device

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
        device.state, device.reason = state, reason
        device.done_at = self._unix() if final else None
        if final and not was_final:
            self._closed(device)
        elif was_final and not final:
            self._opened(device)
        receipt = device.receipt
        changes = self._tell_later(receipt)
        if receipt.watchers:
            changes.append(Change(device.client_id, device.topic, state, reason, device.at))

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
