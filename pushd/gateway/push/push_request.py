"""
What ``POST /v1/push`` is told: a JSON object, read to the letter.

    {
      "targets": {"topics": ["alerts/#"], "users": ["anna"], "clients": ["dev-7"], "all": true},
      "topic": "alerts/fire",         what users, clients and all get it on; "topics" are topics themselves
      "message": "Fire!",             or "payload_base64": what is no text
      "title": "...", "priority": 5, "tags": ["fire"], "click": "https://...", "icon": "https://...",
      "actions": [...], "markdown": true, "sequence_id": "...",             as in ntfy's message object
      "properties": {"zone": "B"},    User Properties of MQTT 5, beside those
      "qos": 1, "retain": false, "ttl": 3600, "format": "raw", "cache": true,
      "collapse_key": "score",        takes the place of what a device has not been sent yet
      "deliver_at": 1893456000,       or a text: RFC 3339, or ntfy's words for a delay
      "receipt": true, "webhook": "https://..."
    }

A field that nobody knows is refused, and so is a value that is nearly right: whoever spelt "ttl" wrongly
would find out weeks later. Each mistake has words of its own.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pushd.broker.message import PushMark
from pushd.broker.publication import Publication
from pushd.broker.targets import Targets
from pushd.gateway.http import problems
from pushd.gateway.http.body_limits import MESSAGE_LIMIT_BYTES
from pushd.gateway.http.openapi import ANYTHING, BOOLEAN, closed, integer, listed, one_of, record, text
from pushd.gateway.http.problems import Problem, Refusal
from pushd.gateway.ntfy.messages import MAX_PROPERTIES_BYTES, properties_of
from pushd.gateway.ntfy.parameters import Parameters, read_parameters
from pushd.gateway.ntfy.topics import check_topic
from pushd.mqtt.codes import PropertyId
from pushd.mqtt.topics import is_valid_filter
from pushd.mqtt.wire import text_fault

MAX_TARGETS = 1000  # names in one push, of all sorts together
MAX_PROPERTIES = 64
MAX_COLLAPSE_KEY_LETTERS = 64
MAX_TTL_S = 999_999_999  # thirty years; as ``ttl`` in a header

Fields = Mapping[str, Any]

# What a field's value must be; `bool` is no number here. Those that need a closer look have it below.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "targets": ((dict,), "an object"),
    "topic": ((str,), "a text"),
    "message": ((str,), "a text"),
    "payload_base64": ((str,), "a text"),
    "title": ((str,), "a text"),
    "priority": ((int, str), "1 to 5 or a name"),
    "tags": ((list,), "a list of texts"),
    "click": ((str,), "a text"),
    "icon": ((str,), "a text"),
    "actions": ((list,), "a list"),
    "markdown": ((bool,), "true or false"),
    "sequence_id": ((str,), "a text"),
    "properties": ((dict,), "an object of texts"),
    "qos": ((int,), "0, 1 or 2"),
    "retain": ((bool,), "true or false"),
    "ttl": ((int,), f"seconds, 0 to {MAX_TTL_S}"),
    "format": ((str,), "raw or json"),
    "cache": ((bool,), "true or false"),
    "collapse_key": ((str,), "a text"),
    "deliver_at": ((int, str), "Unix seconds or a text"),
    "receipt": ((bool,), "true or false"),
    "webhook": ((str,), "a URL"),
}
_TARGETS = ("topics", "users", "clients")

_NAMES = listed(text(minLength=1))
SCHEMA = closed(
    record(
        targets=closed(record(topics=_NAMES, users=_NAMES, clients=_NAMES, all=BOOLEAN)),
        topic=text("What users, clients and all get it on; without targets, where it goes"),
        message=text("Or payload_base64; one of the two is needed"),
        payload_base64=text(),
        title=text(),
        priority=integer(minimum=1, maximum=5),
        tags=listed(text()),
        click=text(),
        icon=text(),
        actions=listed(ANYTHING),
        markdown=BOOLEAN,
        sequence_id=text(),
        properties={"type": "object", "additionalProperties": {"type": "string"}},
        qos=integer(minimum=0, maximum=2),
        retain=BOOLEAN,
        ttl=integer("Seconds", minimum=0, maximum=MAX_TTL_S),
        format=one_of("raw", "json"),
        cache=BOOLEAN,
        collapse_key=text("Takes the place of what a device has not been sent yet", minLength=1),
        deliver_at={"type": ["integer", "string"], "description": "Unix seconds, RFC 3339, or a delay"},
        receipt=BOOLEAN,
        webhook=text("An https URL that is told of the end"),
    )
)

# What `read_parameters` knows under the same name, and looks at in the same way as elsewhere.
_PARAMETERS = (
    "title", "priority", "tags", "click", "icon", "actions", "markdown", "sequence_id", "qos", "retain",
    "ttl", "format", "cache",
)  # fmt: skip

_COLLAPSE_KEY = re.compile(r"[^\x00-\x1f\x7f]+")
_SHOWN_NAME = re.compile(r"[-_A-Za-z0-9]{1,32}")


@dataclass(frozen=True, slots=True)
class PushRequest:
    """
    One push that was asked for, checked as far as that needs no clock and nobody else.

    :ivar topic: of what goes to users, clients and all; without those, the only topic, or empty.
    :ivar pairs: User Properties beside those of `parameters`.
    :ivar deliver_at: as it was said; see `pushd.gateway.ntfy.delays`.
    """

    targets: Targets
    topic: str
    payload: bytes
    parameters: Parameters
    pairs: tuple[tuple[str, str], ...] = ()
    collapse_key: str = ""
    deliver_at: str = ""
    receipt: bool = False
    webhook: str = ""

    def publication(self, mark: PushMark) -> Publication:
        """The same for the broker, on `topic`."""
        said = self.parameters
        properties = properties_of(said)
        if self.pairs:
            listed: Any = properties.setdefault(PropertyId.USER_PROPERTY, [])
            listed.extend(self.pairs)
        return Publication(
            self.topic, self.payload, said.qos, said.retain, properties or None, said.ttl_s, mark
        )


def read_json(body: bytes) -> Any:
    """
    :raises Refusal: 40024, it is no JSON, or says what no UTF-8 can.
    """
    try:
        text = body.decode()
        loaded = json.loads(text)
        if "\\ud" in text.lower():  # an escape may spell a lone surrogate
            json.dumps(loaded, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Refusal(problems.PUSH_INVALID) from None
    return loaded


def read_push_request(fields: Any) -> PushRequest:
    """
    :param fields: what JSON said.
    :raises Refusal: 40000, 40024, and what parameters are refused with: `read_parameters`, `check_topic`.
    """
    if not isinstance(fields, dict):
        raise Refusal(problems.PUSH_INVALID)
    _check_fields(fields)
    said = {name: value for name, value in fields.items() if value is not None}
    targets = _targets(said)
    request = PushRequest(
        targets=targets,
        topic=_topic(said, targets),
        payload=_payload(said),
        parameters=_parameters(said),
        pairs=_pairs(said.get("properties", {})),
        collapse_key=_collapse_key(said),
        deliver_at=str(said.get("deliver_at", "")),
        receipt=said.get("receipt", False),
        webhook=said.get("webhook", ""),
    )
    _check_whole(request)
    return request


def _check_fields(fields: Fields) -> None:
    for name, value in fields.items():
        if name not in _TYPES:
            raise Refusal(_unknown(name))
        types, wanted = _TYPES[name]
        if value is not None and (
            not isinstance(value, types) or (type(value) is bool and bool not in types)
        ):
            raise Refusal(Problem(40000, f"invalid request: {name} must be {wanted}"))


def _unknown(name: str, within: str = "") -> Problem:
    """The name is the caller's own, and shown only if it is one that nobody could mistake for markup."""
    shown = f" {within}{name}" if _SHOWN_NAME.fullmatch(name) else ""
    return Problem(40000, f"invalid request: unknown field{shown}")


# Whom it is for


def _targets(said: Fields) -> Targets:
    """Without "targets", the topic is the only one."""
    named = said.get("targets")
    if named is None:
        return Targets(topics=(check_topic(said.get("topic", "")),))
    for name in named.keys() - {*_TARGETS, "all"}:
        raise Refusal(_unknown(name, "targets."))
    lists = [_names(name, named.get(name)) for name in _TARGETS]
    if sum(map(len, lists)) > MAX_TARGETS:
        raise Refusal(problems.TOO_MANY_TARGETS)
    everybody = named.get("all")
    if everybody is not None and not isinstance(everybody, bool):
        raise Refusal(problems.ALL_TARGETS_INVALID)
    topics, users, clients = lists
    targets = Targets(topics, users, clients, everybody is True)
    if targets == Targets():
        raise Refusal(problems.NO_TARGETS)
    for filter in targets.topics:
        if filter.startswith("$") or not is_valid_filter(filter):
            raise Refusal(problems.TOPIC_INVALID)
    return targets


def _names(name: str, said: object) -> tuple[str, ...]:
    """Each once, in the order in which they were said."""
    if said is None:
        return ()
    if not isinstance(said, list) or not all(map(_is_name, said)):
        raise Refusal(Problem(40000, f"invalid request: targets.{name} must be a list of names"))
    return tuple(dict.fromkeys(said))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != "" and text_fault(value) is None


def has_wildcard(topic: str) -> bool:
    """Whether it stands for more than itself."""
    return "+" in topic or "#" in topic


def _topic(said: Fields, targets: Targets) -> str:
    if not targets.direct:
        if "targets" in said and "topic" in said:
            raise Refusal(problems.TOPIC_UNUSED)
        return targets.topics[0] if len(targets.topics) == 1 and not has_wildcard(targets.topics[0]) else ""
    if "topic" not in said:
        raise Refusal(problems.TOPIC_MISSING)
    return check_topic(said["topic"])


# What it says


def _payload(said: Fields) -> bytes:
    """Byte for byte, also none at all: with "retain" that clears a topic, as in MQTT."""
    if ("message" in said) == ("payload_base64" in said):
        raise Refusal(problems.PAYLOAD_INVALID)
    if "message" in said:
        payload: bytes = said["message"].encode()
    else:
        try:
            payload = base64.b64decode(said["payload_base64"], validate=True)
        except (binascii.Error, ValueError):  # the latter for letters that are not ASCII
            raise Refusal(problems.BASE64_INVALID) from None
    if len(payload) > MESSAGE_LIMIT_BYTES:
        raise Refusal(problems.MESSAGE_TOO_LARGE)
    return payload


def _parameters(said: Fields) -> Parameters:
    if not all(isinstance(tag, str) for tag in said.get("tags", ())):
        raise Refusal(Problem(40000, "invalid request: tags must be a list of texts"))
    if not 0 <= said.get("ttl", 0) <= MAX_TTL_S:
        raise Refusal(problems.TTL_INVALID)
    return read_parameters((), {}, {name: said[name] for name in _PARAMETERS if name in said})


def _pairs(properties: Fields) -> tuple[tuple[str, str], ...]:
    if len(properties) > MAX_PROPERTIES:
        raise Refusal(problems.PROPERTIES_INVALID)
    for name, value in properties.items():
        if name in _TYPES:
            raise Refusal(problems.PROPERTY_IS_FIELD)
        if not _is_name(name) or not isinstance(value, str) or text_fault(value) is not None:
            raise Refusal(problems.PROPERTIES_INVALID)
    return tuple(properties.items())


def _collapse_key(said: Fields) -> str:
    key: str | None = said.get("collapse_key")
    if key is None:
        return ""
    if len(key) > MAX_COLLAPSE_KEY_LETTERS or not _COLLAPSE_KEY.fullmatch(key):
        raise Refusal(problems.COLLAPSE_KEY_INVALID)
    return key


def _check_whole(request: PushRequest) -> None:
    """What no field can say for itself."""
    properties = request.publication(PushMark("", 0)).properties or {}
    pairs: Any = properties.get(PropertyId.USER_PROPERTY, ())
    if sum(len(text.encode()) for pair in pairs for text in pair) > MAX_PROPERTIES_BYTES:
        raise Refusal(problems.PROPERTIES_TOO_LARGE)
    targets = request.targets
    if request.parameters.retain and (targets.direct or any(map(has_wildcard, targets.topics))):
        raise Refusal(problems.RETAIN_WITHOUT_TOPIC)


# A batch

MAX_BATCH = 1000
# In all of a batch: what one push may have ten times over.
MAX_BATCH_TARGETS = 10 * MAX_TARGETS


def read_batch(body: bytes) -> list[Any]:
    """
    :return: what `read_push_request` reads, of each push: so each can be refused for itself.
    :raises Refusal: 40000 or 40024, the batch as a whole makes no sense.
    """
    loaded = read_json(body)
    pushes = loaded.get("pushes") if isinstance(loaded, dict) and loaded.keys() == {"pushes"} else loaded
    if not isinstance(pushes, list):
        raise Refusal(problems.BATCH_INVALID)
    if len(pushes) > MAX_BATCH:
        raise Refusal(problems.BATCH_TOO_LONG)
    if sum(map(_target_count, pushes)) > MAX_BATCH_TARGETS:
        raise Refusal(problems.TOO_MANY_BATCH_TARGETS)
    return pushes


def _target_count(fields: object) -> int:
    targets = fields.get("targets") if isinstance(fields, dict) else None
    if not isinstance(targets, dict):
        return 1
    return sum(len(names) for names in targets.values() if isinstance(names, list))
