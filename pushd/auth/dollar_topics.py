"""
What no rule can open: publishing into the broker's own topics, and messages in ``$share``.

Mosquitto asks this before any ACL, also where there is none. What is published below ``$CONTROL/`` it takes
for commands and hands on to nobody; here there are none to take.
"""

from __future__ import annotations

from pushd.broker.interfaces import Access
from pushd.mqtt.topics import matches

# A bridge tells here whether it is connected, so that one topic may be written to.
BRIDGE_STATE = "$SYS/broker/connection/+/state"


def is_closed(access: Access, topic: str) -> bool:
    """
    Whether this is refused to everybody. Subscribing never is: ``$SYS/#`` and ``$share/...`` are for that.
    """
    if not topic.startswith("$") or access is Access.SUBSCRIBE:
        return False
    if topic.startswith("$SYS"):
        return access is Access.WRITE and not matches(BRIDGE_STATE, topic)
    if topic == "$CONTROL" or topic.startswith("$CONTROL/"):
        return access is Access.WRITE
    return topic.startswith("$share")
