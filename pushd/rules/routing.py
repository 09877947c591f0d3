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

    # who is there is told to each friend
    presence/+  copy  feed/%F/%u/%1
    # and letters come through between friends only
    letters/%F  move  inbox/%1/%u
    letters/+  drop

``%f`` is each user whom the sender follows, ``%F`` each of those who follow back. In a destination one of
them makes one copy for each; for nobody there is none, and the rule does not apply. In a source it is a
wildcard for one level that is the name of one of them, whoever else there is. A sender without a user name
has no friends, and nobody has who is not known yet: see `RoutingRules.knowing`.

**Messages that are routed are routed again**, as if they had been published there, but never by a rule that
has brought them there: so there is no circle. After `MAX_HOPS` they stay where they are, and of one message
there are never more than `MAX_COPIES`, and `MAX_FRIEND_COPIES` for friends beside that.

A line that begins with ``#`` is a comment; everything there is may be written ``+/#``. As in any topic
filter, it takes a ``$`` in front to match topics that begin with one.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from twisted.logger import Logger
from zope.interface import implementer

from pushd.broker.interfaces import IRoutingRules, Principal
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import SHARE_PREFIX, check_filter, check_name, is_valid_name
from pushd.people.interfaces import Friends
from pushd.rules.rule_file import BLANKS, RuleFileError, is_one_level, numbered_lines, read_rule_file

# How many rules may send a message on, one after the other.
MAX_HOPS = 8

# Of one message. A file of twenty rules may ask for more copies than there are grains of sand: each of them
# sending on what the others do.
MAX_COPIES = 100

# The same of those that rules with %f or %F in their destination make, which are counted apart.
MAX_FRIEND_COPIES = 1000

# Where only the broker itself publishes.
RESERVED = ("$SYS", "$CONTROL", "$share")

_CAPTURED = re.compile(r"%[1-9][0-9]{0,2}")
_LOOKS_LIKE_A_VARIABLE = re.compile(r"%[A-Za-z0-9]")
_GAP = re.compile(f"[{BLANKS}]+")

_NO_NAMES = {"%u": "", "%c": ""}

_FRIENDS = FOLLOWED, MUTUAL = "%f", "%F"
NOBODY = Friends()

# Where the name of a friend is to be put in: no topic has such a level.
_FRIEND = "\0"

# Levels of a source that match more than themselves.
_WILDCARDS = ("+", "#", *_FRIENDS)


class Action(Enum):
    """What a rule does with a message."""

    COPY = "copy"
    MOVE = "move"
    DROP = "drop"


# Levels of a topic that a wildcard matched.
Captured = tuple[str, ...]


class _Everybody:
    """Whoever may be somebody's friend."""

    def __contains__(self, name: object) -> bool:
        return True


_EVERYBODY: Mapping[str, Container[str]] = {FOLLOWED: _Everybody(), MUTUAL: _Everybody()}


class RoutingRule:
    """
    One line of a file.

    :ivar number: of the line.
    :ivar text: as it stands there.
    :ivar for_each: ``%f`` or ``%F`` if it makes a copy for each of these; else empty.
    :ivar uses_friends: whether it asks for friends, there or in its source.
    """

    __slots__ = ("_destination", "_source", "action", "for_each", "number", "text", "uses_friends")

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
        self.for_each = ""
        if destination is not None:
            wildcards = sum(level in _WILDCARDS for level in self._source)
            _check_destination(destination, wildcards)
            levels = destination.split("/")
            self._destination = [_compiled(level) for level in levels]
            self.for_each = next((level for level in levels if level in _FRIENDS), "")
        self.uses_friends = bool(self.for_each) or any(level in _FRIENDS for level in self._source)

    def captured(
        self, levels: Sequence[str], friends: Mapping[str, Container[str]] = _EVERYBODY
    ) -> list[Captured] | None:
        """
        :param levels: of a topic name.
        :param friends: whom ``%f`` and ``%F`` stand for.
        :return: what each wildcard matched, in their order; ``None`` if the source does not match.
        """
        source = self._source
        if levels[0][:1] == "$" and source[0] in _WILDCARDS:
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
            elif level in friends:
                if not levels[depth] or levels[depth] not in friends[level]:
                    return None
                found.append((levels[depth],))
            elif level != levels[depth]:
                return None
        return found if len(source) == len(levels) else None

    def destinations(
        self, captured: Sequence[Captured], names: Mapping[str, str], friends: Sequence[str]
    ) -> Iterator[str]:
        """
        Where a message goes that the source matches, but for ``drop``: to one topic, or to one for each
        friend; nowhere if somebody's name cannot stand there.

        :param captured: by the wildcards.
        :param names: what ``%u`` and ``%c`` stand for; an empty one for nothing.
        :param friends: whom `for_each` stands for.
        :return: what perhaps is no topic name: see `is_destination`.
        """
        levels = self._levels(captured, names)
        if levels is None:
            return
        if not self.for_each:
            yield "/".join(levels)
            return
        at = levels.index(_FRIEND)
        for name in friends:
            if is_one_level(name, at):
                levels[at] = name
                yield "/".join(levels)

    def _levels(self, captured: Sequence[Captured], names: Mapping[str, str]) -> list[str] | None:
        """The destination, `_FRIEND` still in it; ``None`` if somebody's name cannot stand there."""
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
        return levels

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


class _Party:
    """
    What the variables stand for that depend on the sender.

    :ivar names: ``%u`` and ``%c``; an empty one for nothing.
    :ivar friends: ``%f`` and ``%F``.
    """

    __slots__ = ("_in_order", "friends", "names")

    def __init__(self, names: Mapping[str, str], friends: Friends = NOBODY) -> None:
        self.names = names
        self.friends: Mapping[str, frozenset[str]] = {FOLLOWED: friends.followed, MUTUAL: friends.mutual}
        self._in_order: dict[str, Sequence[str]] = {"": ()}

    def in_order(self, variable: str) -> Sequence[str]:
        """The names of these friends that can be a level. Sorted once: they may be thousands."""
        if variable not in self._in_order:
            self._in_order[variable] = sorted(filter(is_one_level, self.friends[variable]))
        return self._in_order[variable]


_NO_PARTY = _Party(_NO_NAMES)


@implementer(IRoutingRules)
class RoutingRules:
    """
    All rules of one file. Not changed once it is read: a reload makes new ones.

    :ivar uses_friends: whether any rule asks who is whose friend.
    """

    _log = Logger()

    def __init__(
        self,
        rules: Sequence[RoutingRule],
        origin: str,
        friends: Callable[[str], Friends] = lambda username: NOBODY,
    ) -> None:
        """
        :param origin: the file's name for messages.
        :param friends: those of a user, as they are now. Asked for each message, so it must know at once.
        """
        self._rules = tuple(rules)
        self._friends = friends
        self.origin = origin
        self.uses_friends = any(rule.uses_friends for rule in self._rules)
        self._told: set[RoutingRule] = set()

    def knowing(self, friends: Callable[[str], Friends]) -> RoutingRules:
        """The same rules, for who knows whose friend somebody is: nobody has any by those of a file."""
        return RoutingRules(self._rules, self.origin, friends)

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
        """Whether the source of any rule matches, whosever friends there are."""
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
        party = self._party(sender)
        waiting = deque([_Stop((topic,))])
        left = {False: MAX_COPIES, True: MAX_FRIEND_COPIES}  # by whether they are for friends
        while waiting:
            stop = waiting.popleft()
            stays = True
            for step in self._steps(stop, party, left):
                if step.destination is not None:
                    waiting.append(stop.after(step))
                stays = stays and step.rule.action is Action.COPY
                journey.steps.append(step)
            if stays:
                journey.topics.append(stop.topic)
        return journey

    def _party(self, sender: Principal | None) -> _Party:
        """Who a sender is, and whom it knows."""
        if sender is None:
            return _NO_PARTY
        names = {"%u": sender.username or "", "%c": sender.client_id}
        if not (self.uses_friends and sender.username):
            return _Party(names)
        return _Party(names, self._friends(sender.username))

    def _steps(self, stop: _Stop, party: _Party, left: dict[bool, int]) -> Iterator[Step]:
        """The rules that apply to a message at one of its stops. What they cost is taken from `left`."""
        levels = stop.topic.split("/")
        for rule in self._rules:
            captured = None if rule in stop.rules else rule.captured(levels, party.friends)
            if captured is None:
                continue
            if rule.action is Action.DROP:
                yield Step(rule, stop.topic, None)
                continue
            if len(stop.rules) == MAX_HOPS:
                continue
            for destination in self._destinations(rule, captured, party, left):
                if destination in stop.topics:
                    continue
                if rule.is_destination(destination):
                    yield Step(rule, stop.topic, destination)
                else:
                    problem = "is no topic to publish to; the rule does not apply then."
                    self._tell(rule, f"{destination[:200]!r} {problem}")

    def _destinations(
        self, rule: RoutingRule, captured: Sequence[Captured], party: _Party, left: dict[bool, int]
    ) -> Iterator[str]:
        """Those of a rule, as many as are left: also those that come to nothing take time to find."""
        is_for_friends = bool(rule.for_each)
        for destination in rule.destinations(captured, party.names, party.in_order(rule.for_each)):
            if not left[is_for_friends]:
                if is_for_friends:
                    self._tell(
                        rule, f"more than {MAX_FRIEND_COPIES} copies for friends; the others get none."
                    )
                return
            left[is_for_friends] -= 1
            yield destination

    def _tell(self, rule: RoutingRule, problem: str) -> None:
        """Once for each rule: anybody may publish such messages, as many as they like."""
        if rule not in self._told:
            self._told.add(rule)
            self._log.warn("{place}: {problem}", place=f"{self.origin}:{rule.number}", problem=problem)


def _compiled(level: str) -> str | int:
    """One of a destination, as a rule keeps it."""
    if level in _FRIENDS:
        return _FRIEND
    return int(level[1:]) - 1 if _CAPTURED.fullmatch(level) else level


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
        if level not in _WILDCARDS and _LOOKS_LIKE_A_VARIABLE.match(level):
            raise ValueError(f"{level!r}: variables but %f and %F stand in the destination only")


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
    if sum(level in _FRIENDS for level in levels) > 1:
        raise ValueError("%f or %F may be there once")
    for level in levels:
        if _CAPTURED.fullmatch(level):
            if int(level[1:]) > wildcards:
                raise ValueError(f"{level}: the source has {wildcards or 'no'} wildcards")
        elif level not in (*_NO_NAMES, *_FRIENDS) and _LOOKS_LIKE_A_VARIABLE.search(level):
            raise ValueError(f"{level!r}: variables are %u, %c, %f, %F, %1, %2 ..., each a whole level")
