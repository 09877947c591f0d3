"""A Will that waits (v5 §3.1.3.2.2): the client may come back before it is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from pushd.broker.message import PASSED_ON, Message
from pushd.broker.records import WillSet
from pushd.mqtt.codes import PropertyId
from pushd.mqtt.packets import Properties
from pushd.mqtt.packets import Will as WillFields

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.session import Session


class Will:
    """
    What is published for a client that went away without a farewell.

    On the wheel, it is the session's that waits: `due` is set when the connection is lost.
    """

    __slots__ = ("_broker", "_expiry_s", "_fields", "delay_s", "due", "session", "slot")

    def __init__(self, broker: Broker, session: Session, fields: WillFields, mount_point: str = "") -> None:
        self._broker = broker
        self.session = session
        self._fields = replace(fields, topic=mount_point + fields.topic) if mount_point else fields
        self.delay_s = cast(int, fields.properties.get(PropertyId.WILL_DELAY_INTERVAL, 0))
        self._expiry_s = cast("int | None", fields.properties.get(PropertyId.MESSAGE_EXPIRY_INTERVAL))
        self.due: float | None = None
        self.slot = 0

    def message(self) -> Message:
        """The message, as of now: its expiry counts from when it is published (v5 §3.1.3.2.4)."""
        fields = self._fields
        expires_at = None if self._expiry_s is None else self._broker.expires_at(self._expiry_s)
        message = Message(
            fields.topic, fields.payload, fields.qos, fields.retain, passed_on(fields.properties), expires_at
        )
        if message.retain:
            message.source = self.session.source
        return message

    def record(self) -> WillSet:
        """What a store remembers of it."""
        return WillSet(self.session.client_id, self.session.username, self._fields)

    def due_at(self) -> float | None:
        return self.due

    def on_due(self) -> None:
        if self.session.will is self:  # otherwise the client came back, and perhaps left another
            self._broker.send_will(self.session)


def passed_on(properties: Properties) -> Properties | None:
    """What a server hands on of the properties of a PUBLISH or a Will, unaltered (v5 [MQTT-3.3.2-17])."""
    if not properties:
        return None
    return {name: properties[name] for name in PASSED_ON if name in properties} or None
