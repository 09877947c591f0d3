"""What somebody who is no MQTT client wants published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pushd.broker.message import Message

if TYPE_CHECKING:
    from pushd.broker.message import PushMark
    from pushd.mqtt.packets import Properties


@dataclass(frozen=True, slots=True)
class Publication:
    """
    :ivar topic: a topic name, without the listener's mount point.
    :ivar qos: 0 to 2.
    :ivar properties: those of version 5 that go along, or ``None``.
    :ivar expiry_s: how long anybody is sent it; ``None`` for ever.
    :ivar mark: of the push that it is; ``None`` for what nobody will ask about.
    :ivar taken: called when it is passed on, in the turn in which all that follows from it is recorded: what
        is recorded there becomes durable together with that. Not if it is refused.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: Properties | None = None
    expiry_s: float | None = None
    mark: PushMark | None = None
    taken: Callable[[], object] | None = None

    def message(self, mount_point: str, now: float) -> Message:
        """
        :param now: in the broker's seconds.
        """
        expires_at = None if self.expiry_s is None else now + self.expiry_s
        message = Message(
            mount_point + self.topic, self.payload, self.qos, self.retain, self.properties, expires_at
        )
        message.push = self.mark
        return message
