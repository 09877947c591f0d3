"""
Topic names and topic filters (v3 §4.7, v5 §4.7): their syntax, which name a filter matches, shared filters.

A *topic name* is what a message is published to; a *topic filter* is what a client subscribes with, and may
hold the wildcards ``+`` (one level) and ``#`` (this level and all below). Everything here works on whole
levels and iterates: no recursion, and no regular expression, for both have been used to stop brokers.
"""

from __future__ import annotations

from typing import NewType

from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.wire import text_fault

TopicName = NewType("TopicName", str)
TopicFilter = NewType("TopicFilter", str)
ClientId = NewType("ClientId", str)

# A topic of nothing but slashes has 65 536 levels, and costs as much. Mosquitto draws the line here too.
MAX_LEVELS = 200

SHARE_PREFIX = "$share/"


def check_name(topic: str) -> None:
    """
    :raises MalformedPacket: 0x90, `topic` is no topic name.
    """
    fault = _name_fault(topic)
    if fault is not None:
        raise MalformedPacket(f"topic name: {fault}", ReasonCode.TOPIC_NAME_INVALID)


def check_filter(filter: str) -> None:
    """
    :param filter: a topic filter, shared (``$share/group/filter``) or not.
    :raises MalformedPacket: 0x8F, `filter` is no topic filter.
    """
    _, plain = split_shared(filter)
    fault = _wildcard_fault(plain) or _topic_fault(plain) or text_fault(filter)
    if fault is not None:
        raise _invalid_filter(fault)


def is_valid_name(topic: str) -> bool:
    """Whether a message may be published to `topic`, as far as syntax goes."""
    return _name_fault(topic) is None


def is_valid_filter(filter: str) -> bool:
    """Whether a client may subscribe with `filter`, as far as syntax goes."""
    try:
        check_filter(filter)
    except MalformedPacket:
        return False
    return True


def matches(filter: str, name: str) -> bool:
    """
    Whether a message published to `name` goes to a subscription with `filter`.

    Both must be valid, and `filter` without its ``$share/group/``. A ``$`` topic is not matched by a filter
    that starts with a wildcard (v3 and v5 [MQTT-4.7.2-1]); ``a/#`` matches ``a`` too (v5 §4.7.1.2).
    """
    if name.startswith("$") and filter.startswith(("+", "#")):
        return False
    levels = name.split("/")
    wanted = filter.split("/")
    for depth, level in enumerate(wanted):
        if level == "#":
            return True
        if depth == len(levels) or level not in ("+", levels[depth]):
            return False
    return len(wanted) == len(levels)


def split_shared(filter: str) -> tuple[str | None, str]:
    """
    Take a shared filter apart (v5 §4.8.2). Like Mosquitto we know them in every version.

    :return: ``(group, filter)`` of ``$share/group/filter``; ``(None, filter)`` of any other.
    :raises MalformedPacket: 0x8F, no group or no filter after ``$share/``.
    """
    if not filter.startswith(SHARE_PREFIX):
        return None, filter
    group, slash, shared = filter[len(SHARE_PREFIX) :].partition("/")
    if not group or "+" in group or "#" in group:
        raise _invalid_filter("a shared filter without a proper group name")  # v5 [MQTT-4.8.2-1]
    if not slash or not shared:
        raise _invalid_filter("a group name without a filter behind it")  # v5 [MQTT-4.8.2-2]
    return group, shared


def _invalid_filter(fault: str) -> MalformedPacket:
    return MalformedPacket(f"topic filter: {fault}", ReasonCode.TOPIC_FILTER_INVALID)


def _name_fault(topic: str) -> str | None:
    if "+" in topic or "#" in topic:
        return "a wildcard"  # v3 and v5 [MQTT-3.3.2-2]
    return _topic_fault(topic)


def _wildcard_fault(filter: str) -> str | None:
    if "#" in filter and (filter.index("#") != len(filter) - 1 or not ("/" + filter).endswith("/#")):
        return "# is not the last level, whole"  # v3 [MQTT-4.7.1-2], v5 [MQTT-4.7.1-1]
    if "+" in filter and any("+" in level and level != "+" for level in filter.split("/")):
        return "+ is not a whole level"  # v3 [MQTT-4.7.1-3], v5 [MQTT-4.7.1-2]
    return None


def _topic_fault(topic: str) -> str | None:
    """What names and filters have in common (v3 and v5 §4.7.3)."""
    if not topic:
        return "it is empty"  # v3 and v5 [MQTT-4.7.3-1]
    if topic.count("/") >= MAX_LEVELS:
        return f"more than {MAX_LEVELS} levels"
    return text_fault(topic)  # v3 and v5 [MQTT-4.7.3-2], [MQTT-4.7.3-3]
