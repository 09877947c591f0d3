"""
Routing rules: where else a message goes than to the topic that it was published to, by a file of rules.

    # what somebody says to a friend shows on all of his own terminals, too
    /+/im/u/+  copy  /%1/im/u/%u
    sensors/old/#  move  sensors/%1
    debug/#  drop

A rule is a source, which is a topic filter, and what becomes of the messages that it matches: ``copy`` has
them delivered at another topic, too; ``move``, there instead; ``drop``, nowhere. All rules that match are
gone through in their order. One that drops or moves takes the message away from its own topic, and from
nowhere else.

In a destination, ``%u`` and ``%c`` are the sender's user name and client id, ``%1``, ``%2`` and so on what
the wildcards of the source matched, in their order: ``+`` one level, ``#`` any number of them, also none.
Each is a whole level of the destination. What names may be is in `pushd.rules.rule_file`: where one cannot
stand, the rule does not apply. Nor does it where what comes out is no topic name, or where a message would
come back to a topic that it has just come from.

**Messages that are routed are routed again**, as if they had been published there, but never by a rule that
has brought them there: so there is no circle. After `MAX_HOPS` they stay where they are, and of one message
there are never more than `MAX_COPIES`.

A line that begins with ``#`` is a comment; everything there is may be written ``+/#``. As in any topic
filter, it takes a ``$`` in front to match topics that begin with one.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from twisted.logger import Logger
from zope.interface import implementer

from pushd.broker.interfaces import IRoutingRules, Principal
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import SHARE_PREFIX, check_filter, check_name, is_valid_name
from pushd.rules.rule_file import BLANKS, RuleFileError, is_one_level, numbered_lines, read_rule_file

# How many rules may send a message on, one after the other.
MAX_HOPS = 8

# Of one message. A file of twenty rules may ask for more copies than there are grains of sand: each of them
# sending on what the others do.
MAX_COPIES = 100

# Where only the broker itself publishes.
RESERVED = ("$SYS", "$CONTROL", "$share")

_CAPTURED = re.compile(r"%[1-9][0-9]{0,2}")
_LOOKS_LIKE_A_VARIABLE = re.compile(r"%[A-Za-z0-9]")
_GAP = re.compile(f"[{BLANKS}]+")

_NO_NAMES = {"%u": "", "%c": ""}


class Action(Enum):
    """What a rule does with a message."""

    COPY = "copy"
    MOVE = "move"
    DROP = "drop"


# Levels of a topic that a wildcard matched.
Captured = tuple[str, ...]


class RoutingRule:
    """
    One line of a file.

    :ivar number: of the line.
    :ivar text: as it stands there.
    """

    __slots__ = ("_destination", "_source", "action", "number", "text")

    def __init__(self, number: int, text: str) -> None:
        """
        :raises ValueError: it is no rule.
        :raises MalformedPacket: its source is no topic filter, or its destination is no topic name.
        """
        self.number = number
        self.text = text
        source, self.action, destination = _words(text)
        _check_source(source)
        self._source = source.split("/")
        self._destination: list[str | int] = []  # a number stands for what that wildcard matched
        if destination is not None:
            wildcards = sum(level in ("+", "#") for level in self._source)
            _check_destination(destination, wildcards)
            self._destination = [
                int(level[1:]) - 1 if _CAPTURED.fullmatch(level) else level
                for level in destination.split("/")
            ]

    def captured(self, levels: Sequence[str]) -> list[Captured] | None:
        """
        :param levels: of a topic name.
        :return: what each wildcard matched, in their order; ``None`` if the source does not match.
        """
        source = self._source
        if levels[0][:1] == "$" and source[0] in ("+", "#"):
            return None  # v3 and v5 [MQTT-4.7.2-1]
        found: list[Captured] = []
        for depth, level in enumerate(source):
            if level == "#":
                found.append(tuple(levels[depth:]))
                return found
            if depth == len(levels):
                return None
            if level == "+":
                found.append((levels[depth],))
            elif level != levels[depth]:
                return None
        return found if len(source) == len(levels) else None

    def destination(self, captured: Sequence[Captured], names: dict[str, str]) -> str | None:
        """
        Where a message goes that the source matches, but for ``drop``.

        :param captured: by the wildcards.
        :param names: what ``%u`` and ``%c`` stand for; an empty one for nothing.
        :return: perhaps no topic name: see `is_destination`. ``None`` if somebody's name cannot stand there.
        """
        levels: list[str] = []
        for depth, level in enumerate(self._destination):
            if isinstance(level, int):
                levels += captured[level]
            elif level not in names:
                levels.append(level)
            elif is_one_level(names[level], depth):
                levels.append(names[level])
            else:
                return None
        return "/".join(levels)

    def is_destination(self, topic: str) -> bool:
        """Whether it may be one; nothing that was published makes it one that begins with ``$``."""
        return is_valid_name(topic) and (topic[0] != "$" or str(self._destination[0])[0] == "$")


@dataclass(frozen=True, slots=True)
class Step:
    """
    One rule that applied.

    :ivar topic: where the message was.
    :ivar destination: where it is sent; ``None`` if it was dropped.
    """

    rule: RoutingRule
    topic: str
    destination: str | None


@dataclass(slots=True)
class Journey:
    """
    What becomes of one message.

    :ivar steps: the rules that applied, in their order.
    :ivar topics: where it is delivered; several ways may lead to one.
    """

    steps: list[Step] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Stop:
    """
    A topic on the way of a message, and how it got there.

    :ivar topics: where it has been; the last is where it is.
    """

    topics: tuple[str, ...]
    rules: tuple[RoutingRule, ...] = ()

    @property
    def topic(self) -> str:
        return self.topics[-1]

    def after(self, step: Step) -> _Stop:
        """Where a step leads that has a destination."""
        assert step.destination is not None
        return _Stop((*self.topics, step.destination), (*self.rules, step.rule))


@implementer(IRoutingRules)
class RoutingRules:
    """All rules of one file. Not changed once it is read: a reload makes new ones."""

    _log = Logger()

    def __init__(self, rules: Sequence[RoutingRule], origin: str) -> None:
        """:param origin: the file's name for messages."""
        self._rules = tuple(rules)
        self.origin = origin
        self._told: set[RoutingRule] = set()

    @classmethod
    def parse(cls, text: str, origin: str) -> RoutingRules:
        """
        Read a file's text. A file without rules is valid.

        :param origin: the file's name for messages.
        :raises RuleFileError: a line that is no rule.
        """
        rules = []
        for number, line in numbered_lines(text, origin):
            try:
                rules.append(RoutingRule(number, line))
            except (ValueError, MalformedPacket) as problem:
                raise RuleFileError(f"{origin}:{number}: {problem}") from problem
        return cls(rules, origin)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> RoutingRules:
        """:raises RuleFileError: as `parse`, or the file cannot be opened."""
        return cls.parse(read_rule_file(path), os.fspath(path))

    def concern(self, topic: str) -> bool:
        """Whether the source of any rule matches."""
        levels = topic.split("/")
        return any(rule.captured(levels) is not None for rule in self._rules)

    def destinations(self, topic: str, sender: Principal | None) -> tuple[str, ...]:
        """See `pushd.broker.interfaces.IRoutingRules`."""
        return tuple(dict.fromkeys(self.journey(topic, sender).topics))

    def journey(self, topic: str, sender: Principal | None) -> Journey:
        """
        What becomes of a message that `sender` publishes to `topic`. Copies come after what they are made
        from, and those of one message in the order of the rules.

        :param sender: ``None`` for a message that is nobody's.
        """
        journey = Journey()
        names = _NO_NAMES
        if sender is not None:
            names = {"%u": sender.username or "", "%c": sender.client_id}
        waiting = deque([_Stop((topic,))])
        copies = 0
        while waiting:
            stop = waiting.popleft()
            stays = True
            for step in self._steps(stop, names):
                if step.destination is not None:
                    if copies == MAX_COPIES:
                        continue
                    copies += 1
                    waiting.append(stop.after(step))
                stays = stays and step.rule.action is Action.COPY
                journey.steps.append(step)
            if stays:
                journey.topics.append(stop.topic)
        return journey

    def _steps(self, stop: _Stop, names: dict[str, str]) -> Iterator[Step]:
        """The rules that apply to a message at one of its stops."""
        levels = stop.topic.split("/")
        for rule in self._rules:
            captured = None if rule in stop.rules else rule.captured(levels)
            if captured is None:
                continue
            if rule.action is Action.DROP:
                yield Step(rule, stop.topic, None)
                continue
            if len(stop.rules) == MAX_HOPS:
                continue
            destination = rule.destination(captured, names)
            if destination is None or destination in stop.topics:
                continue
            if rule.is_destination(destination):
                yield Step(rule, stop.topic, destination)
            else:
                self._tell(rule, destination)

    def _tell(self, rule: RoutingRule, destination: str) -> None:
        """Once for each rule: anybody may publish such messages, as many as they like."""
        if rule in self._told:
            return
        self._told.add(rule)
        self._log.warn(
            "{place}: {destination!r} is no topic to publish to; the rule does not apply then.",
            place=f"{self.origin}:{rule.number}",
            destination=destination[:200],
        )


def _words(text: str) -> tuple[str, Action, str | None]:
    """
    :return: source, action and destination of a rule.
    :raises ValueError: there are others than these.
    """
    words = _GAP.split(text)
    actions = {action.value: action for action in Action}
    action = actions.get(words[1]) if len(words) > 1 else None
    if action is None:
        raise ValueError(f"{text!r} is not SOURCE copy|move|drop DESTINATION")
    wanted = 2 if action is Action.DROP else 3
    if len(words) < wanted:
        raise ValueError(f"no destination after {words[1]!r}")
    if len(words) > wanted:
        raise ValueError(f"{words[wanted]!r} is too much; topics with blanks in them have no rules")
    return words[0], action, words[2] if wanted == 3 else None


def _check_source(source: str) -> None:
    """:raises ValueError, MalformedPacket: it is no topic filter of an ordinary subscription."""
    if source.startswith(SHARE_PREFIX):
        raise ValueError("a source is no shared filter: nobody publishes to $share/")
    check_filter(source)
    for level in source.split("/"):
        if _LOOKS_LIKE_A_VARIABLE.match(level):
            raise ValueError(f"{level!r}: variables stand in the destination only")


def _check_destination(destination: str, wildcards: int) -> None:
    """
    :param wildcards: how many the source has.
    :raises ValueError: a variable that there is not, or a topic that only the broker publishes to.
    :raises MalformedPacket: it is no topic name.
    """
    check_name(destination)
    levels = destination.split("/")
    if levels[0] in RESERVED:
        raise ValueError(f"only the broker itself publishes under {levels[0]}")
    for level in levels:
        if _CAPTURED.fullmatch(level):
            if int(level[1:]) > wildcards:
                raise ValueError(f"{level}: the source has {wildcards or 'no'} wildcards")
        elif level not in _NO_NAMES and _LOOKS_LIKE_A_VARIABLE.search(level):
            raise ValueError(f"{level!r}: variables are %u, %c, %1, %2 ..., each a whole level")
