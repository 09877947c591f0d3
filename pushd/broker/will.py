"""Wills: what is published for clients that are gone, perhaps after a while, in which they may come back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from pushd.broker.message import PASSED_ON, Message
from pushd.broker.records import WillCleared, WillSet
from pushd.mqtt.codes import PropertyId, ReasonCode
from pushd.mqtt.packets import Properties
from pushd.mqtt.packets import Will as WillFields

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.hooks import Decision
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
            self._broker.wills.send(self.session)


class Wills:
    """Sends them when it is time, and has each remembered until then."""

    _log = Logger()

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def begin(self, will: Will) -> None:
        """
        The connection is lost: send it, or wait if that is wanted (v5 §3.1.3.2.2). When the session ends
        first, so does the wait.
        """
        if will.delay_s == 0:
            self.send(will.session)
            return
        will.due = will.session.offline_since + will.delay_s
        self._broker.wheel.add(will)

    def restore(self, session: Session, saved: WillSet) -> None:
        """
        Send the Will of a client that the last process took with it, or go on waiting.

        :param session: a kept one, or one that is made for its client, who has none.
        """
        will = session.will = Will(self._broker, session, saved.fields)
        if session.persistent:
            self.begin(will)
        else:
            self.send(session)

    def send(self, session: Session) -> None:
        """Publish the Will of a session that nobody came back for in time, if it has one."""
        will, session.will = session.will, None
        if will is None:
            return
        will.due = None
        message = will.message()
        broker, policy = self._broker, session.policy
        verdict = broker.may_write(policy, session, message.topic)
        if not isinstance(verdict, Deferred):
            verdict = succeed(verdict)
        decided: Deferred[Decision] = verdict.addCallback(broker.decide, policy, session, message)
        decided.addCallback(broker.inform_rules, session)
        sent = decided.addCallback(self._publish_if, session)
        sent.addErrback(lambda failure: self._log.failure("a Will was not sent", failure=failure))
        # Not before: until the message is recorded, the Will is all that there is of it.
        sent.addCallback(lambda _: self.forget(session.client_id))

    def _publish_if(self, decision: Decision, session: Session) -> None:
        if isinstance(decision, Message):
            self._broker.publish_message(decision, session)
        else:
            dropped = "plugin" if decision is ReasonCode.SUCCESS else "not_authorized"
            self._broker.counters.dropped(dropped)

    def forget(self, client_id: str) -> None:
        """Record that a client has no Will any more, unless it came back with another meanwhile."""
        session = self._broker.sessions.get(client_id)
        client = None if session is None else session.client
        if (session is None or session.will is None) and (client is None or client.will is None):
            self._broker.store.record(WillCleared(client_id))


def passed_on(properties: Properties) -> Properties | None:
    """What a server hands on of the properties of a PUBLISH or a Will, unaltered (v5 [MQTT-3.3.2-17])."""
    if not properties:
        return None
    return {name: properties[name] for name in PASSED_ON if name in properties} or None
