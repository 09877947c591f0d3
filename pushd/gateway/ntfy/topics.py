"""
Which MQTT topic a push goes to.

Three spellings, from the most to the least like ntfy:

- ``/alerts`` in a path is ntfy's flat topic, 1 to 64 of ``[-_A-Za-z0-9]``, and the MQTT topic of that name;
- ``/home%2Fdoor`` in a path, ``home/door`` in ntfy's JSON object or ``/v1/publish/home/door`` is a topic of
  several levels: any MQTT topic name will do;
- never a topic that starts with ``$``: those are the server's own.
"""

from __future__ import annotations

import re

from pushd.gateway.http.problems import NOT_FOUND, TOPIC_INVALID, TOPIC_RESERVED, Refusal
from pushd.mqtt.topics import is_valid_name

_FLAT = re.compile(r"[-_A-Za-z0-9]{1,64}")  # a fixed class and a bound: nothing to backtrack over

# ntfy's own pages live under these names, so its clients expect them to be refused as topics.
RESERVED = frozenset(
    {"docs", "static", "file", "app", "metrics", "account", "settings", "signup", "login", "v1"}
)


def topic_of_segment(segment: bytes) -> str:
    """
    :param segment: the only segment of a path, percent-decoded once.
    :raises Refusal: 40009 or 40010.
    """
    topic = _decode(segment)
    if "/" in topic:
        return check_topic(topic)
    if not _FLAT.fullmatch(topic):
        raise Refusal(TOPIC_INVALID)
    return _not_reserved(topic)


def topic_of_segments(segments: list[bytes]) -> str:
    """
    :param segments: what follows ``/v1/publish`` in a path, percent-decoded once.
    :raises Refusal: 40401 without any, 40009.
    """
    if not segments:
        raise Refusal(NOT_FOUND)
    return check_topic(_decode(b"/".join(segments)))


def topic_of_json(topic: str) -> str:
    """
    :raises Refusal: 40009 or 40010.
    """
    return _not_reserved(check_topic(topic))


def check_topic(topic: str) -> str:
    """
    :return: `topic`, a topic name that a client may publish to as far as syntax goes.
    :raises Refusal: 40009.
    """
    if topic.startswith("$") or not is_valid_name(topic):
        raise Refusal(TOPIC_INVALID)
    return topic


def _decode(path: bytes) -> str:
    try:
        return path.decode()
    except UnicodeDecodeError:
        raise Refusal(TOPIC_INVALID) from None


def _not_reserved(topic: str) -> str:
    if topic in RESERVED:
        raise Refusal(TOPIC_RESERVED)
    return topic
