"""
What is delivered of a message whose topic routing rules concern: it, copies of it on other topics, or
nothing.

Each session gets it once, whatever it subscribed to. Where several of the topics lead to a session, it is
sent the message of the topic that it has the highest QoS for, and of those the one that the rules name first
(the message as it was published goes before all copies): like overlapping subscriptions, they add up to what
any of them is due. Otherwise a wildcard at QoS 0 could cost a sleeping phone the message that its own topic
would have kept for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pushd.broker.message import Message

if TYPE_CHECKING:
    from pushd.broker.interfaces import IRoutingRules, Principal
    from pushd.broker.router import Router, Target
    from pushd.broker.tap import Taker


class Delivery(NamedTuple):
    """A message, and who gets it."""

    message: Message
    targets: tuple[Target, ...]


def deliveries(
    router: Router, rules: IRoutingRules, message: Message, sender: Principal | None
) -> list[Delivery]:
    """
    :param sender: who published it; ``None`` for a message that is nobody's.
    :return: what is to be delivered, in its order; empty if the rules let nobody have it.
    """
    found = []
    for topic in rules.destinations(message.topic, sender):
        one = message if topic == message.topic else message.forwarded(topic)
        found.append(Delivery(one, router.route(topic).targets))
    return found if len(found) < 2 else _each_once(found, sender)


def _each_once(found: list[Delivery], sender: Principal | None) -> list[Delivery]:
    """Leave each session in one of the deliveries."""
    best: dict[Taker, tuple[int, int]] = {}  # at which QoS, by which of the deliveries
    for number, (message, targets) in enumerate(found):
        for target in targets:
            if target.no_local and target.session is sender:
                continue
            qos = max(target.least_qos, min(target.qos, message.qos))
            if target.session not in best or best[target.session][0] < qos:
                best[target.session] = qos, number
    return [
        Delivery(
            message, tuple(target for target in targets if best.get(target.session, (0, -1))[1] == number)
        )
        for number, (message, targets) in enumerate(found)
    ]
