"""
What becomes of what was said: told to those who read a topic as a stream, and kept for those who will.

MQTT has no word for it, so its subscribers hear nothing. A sequence is what several pushes to one topic have
in common, such as the progress of one download: each takes the place of the one before on a reader's screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred, succeed

from pushd.mqtt.codes import PropertyId, ReasonCode
from pushd.mqtt.topics import is_valid_name

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.interfaces import Principal, Verdict
    from pushd.broker.message import Message
    from pushd.broker.policy import Policy
    from pushd.broker.publication import Publication

# Of the User Property by which a message says what it belongs to.
SEQUENCE_ID = "sequence_id"


def tell(
    broker: Broker, policy: Policy, principal: Principal, publication: Publication, event: str
) -> Deferred[ReasonCode]:
    """
    Tell readers of a topic of an event; whoever may publish there may.

    :param publication: with the sequence that it is about among its properties, and no payload.
    :param event: ``message_clear``, or ``message_delete``: that cancels what is scheduled of the sequence. Or
        ``poll_request``: there is something to fetch from another server.
    :return: fires when it is durable, or with why it was refused.
    """
    message = publication.message(policy.mount_point, broker.wheel.seconds())
    if not is_valid_name(message.topic):
        return succeed(ReasonCode.TOPIC_NAME_INVALID)
    verdict = broker.may_write(policy, principal, message.topic)
    if not isinstance(verdict, Deferred):
        verdict = succeed(verdict)
    return verdict.addCallback(_tell, broker, message, event)


def _tell(
    verdict: Verdict, broker: Broker, message: Message, event: str
) -> ReasonCode | Deferred[ReasonCode]:
    if verdict is not ReasonCode.SUCCESS:
        return verdict or ReasonCode.NOT_AUTHORIZED
    if broker.store.failing is not None:
        return ReasonCode.QUOTA_EXCEEDED
    if event == "message_delete":
        cancel_sequence(broker, message.topic, sequence_of(message))
    broker.archive.tell(message, event)
    return broker.store.barrier().addCallback(lambda _: ReasonCode.SUCCESS)


def cancel_sequence(broker: Broker, topic: str, sequence_id: str | None) -> None:
    """Publish nothing that is scheduled for this topic as part of this sequence."""
    if sequence_id is None:
        return
    waiting = [each for each in broker.scheduled if each.message.topic == topic]
    for each in waiting:
        if sequence_of(each.message) == sequence_id:
            broker.scheduled.cancel(each.id)


def sequence_of(message: Message) -> str | None:
    """
    The sequence that a message says it belongs to. A push that says nothing is one of its own, by its id.
    """
    properties = message.properties or {}
    pairs = cast("list[tuple[str, str]]", properties.get(PropertyId.USER_PROPERTY, []))
    for name, value in pairs:
        if name == SEQUENCE_ID:
            return value
    return None if message.push is None else message.push.id
