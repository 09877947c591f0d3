"""
The receipt of one push: what became of it at each device. `pushd.broker.receipts` has them all, and says what
the states mean.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple


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
    :ivar number: its place among the devices of its receipt, from 0.
    :ivar sequence: its number in the session's queue, while it is there.
    :ivar packet_id: of a message of QoS 2 whose PUBREC came; else 0.
    """

    __slots__ = (
        "client_id", "done_at", "number", "packet_id", "queued_at", "reason", "receipt", "sent_at",
        "sequence", "state", "topic",
    )  # fmt: skip

    def __init__(self, receipt: Receipt, number: int, client_id: str, topic: str) -> None:
        self.receipt = receipt
        self.client_id = client_id
        self.topic = topic
        self.number = number
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

    @property
    def key(self) -> str:
        """Of its note."""
        return f"{self.receipt.id}/{self.number}"

    def as_note(self) -> bytes:
        """All there is to know of it."""
        times = self.queued_at, self.sent_at, self.done_at
        where = self.sequence, self.packet_id
        fields = self.client_id, self.topic, self.state.value, self.reason, *times, *where
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def of_note(cls, receipt: Receipt, number: int, value: bytes) -> Device:
        """
        The device of which `as_note` made this.

        :raises ValueError: nothing of ours made it.
        """
        client_id, topic, state, reason, queued_at, sent_at, done_at, sequence, packet_id = json.loads(value)
        device = cls(receipt, number, client_id, topic)
        device.state, device.reason = State(state), reason
        device.queued_at, device.sent_at, device.done_at = queued_at, sent_at, done_at
        device.sequence, device.packet_id = sequence, packet_id
        return device


class Receipt:
    """
    :ivar owner: who may look at it: a user name; empty for an anonymous caller.
    :ivar created_at: Unix seconds, as all times here.
    :ivar until: from then on it is forgotten.
    :ivar expires_at: when it is too late for the push; ``None`` for never.
    :ivar scheduled: whether that is still to come.
    :ivar settled: whether it was handed to everybody that it is for; before, there may be more devices.
    :ivar devices: by client id and topic name.
    :ivar by_state: how many of them are in each state.
    :ivar open: how many of them have not come to their end.
    """

    __slots__ = (
        "by_state", "created_at", "devices", "expires_at", "id", "open", "owner", "scheduled", "settled",
        "until", "watchers",
    )  # fmt: skip

    def __init__(self, id: str, owner: str, created_at: float, until: float) -> None:
        self.id = id
        self.owner = owner
        self.created_at = created_at
        self.until = until
        self.expires_at: float | None = None
        self.scheduled = False
        self.settled = False
        self.devices: dict[tuple[str, str], Device] = {}
        self.by_state = dict.fromkeys(State, 0)
        self.open = 0
        self.watchers: list[Callable[[Receipt, list[Change]], None]] | None = None

    def __repr__(self) -> str:
        return f"<Receipt {self.id} of {len(self.devices)}, {self.open} open>"

    @property
    def complete(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.settled and not self.open

    def counts(self) -> dict[State, int]:
        """How many devices there are in each state, as it is now."""
        return dict(self.by_state)

    def as_note(self) -> bytes:
        """All there is to know of it but for its devices, and its id and end: the note has those itself."""
        fields = self.owner, self.created_at, self.expires_at, self.scheduled, self.settled
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def of_note(cls, id: str, value: bytes, until: float) -> Receipt:
        """
        The receipt of which `as_note` made this.

        :raises ValueError: nothing of ours made it.
        """
        owner, created_at, expires_at, scheduled, settled = json.loads(value)
        receipt = cls(id, owner, created_at, until)
        receipt.expires_at, receipt.scheduled, receipt.settled = expires_at, scheduled, settled
        return receipt


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
