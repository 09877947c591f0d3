"""
May you, by Mosquitto's ACL file.

    # for clients without a user name
    topic read news/#
    # for this user
    user roger
    topic readwrite sensors/+/state
    topic deny sensors/cellar/state
    # for everybody, %u being the user name and %c the client id
    pattern write devices/%u/up

A decision looks at the client's own lines first, then at the patterns. In either, a ``deny`` that matches
refuses; else any other line that matches the topic and names the access allows; else the search goes on. When
nothing has matched, the answer is no. So the order of lines within one list does not matter, and an
`AclLines` may keep them by topic rather than by line.

Subscribing is never refused: each message is checked when it is delivered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from zope.interface import implementer

from pushd.auth.dollar_topics import is_closed
from pushd.auth.security_file import BLANKS, SecurityFileError, numbered_lines, read_security_file
from pushd.broker.interfaces import Access, IAuthorizer, Principal, Verdict
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import check_filter, matches

# What a line grants. Tuples, not sets: `in` finds an enumeration's member in them by identity.
GRANTS: dict[str, tuple[Access, ...]] = {
    "read": (Access.READ,),
    "write": (Access.WRITE,),
    "readwrite": (Access.READ, Access.WRITE),
    "deny": (),
}

WILDCARDS = ("+", "#")
SUBSTITUTIONS = ("%u", "%c")
VARIABLES = (*WILDCARDS, *SUBSTITUTIONS)


@dataclass(frozen=True, slots=True)
class AclLine:
    """One ``topic`` or ``pattern`` line. No grants at all means ``deny``."""

    grants: tuple[Access, ...]
    topic_filter: str


class AclLines:
    """
    The lines of one user, of the anonymous, or the patterns.

    Kept under the part of the filter in front of its first variable level (``sensors/`` for
    ``sensors/+/state``), or under the whole filter if it has none. A topic name can match only what stands
    under one of its own beginnings, so a decision looks at a few lines however many there are.
    """

    __slots__ = ("_by_beginning", "_longest")

    def __init__(self) -> None:
        self._by_beginning: dict[str, list[AclLine]] = {}
        self._longest = 0

    def __bool__(self) -> bool:
        return bool(self._by_beginning)

    def add(self, line: AclLine, beginning: str) -> None:
        """Keep a line under the text that every topic it matches begins with."""
        self._by_beginning.setdefault(beginning, []).append(line)
        self._longest = max(self._longest, len(beginning))

    def matching(self, topic: str) -> Iterator[AclLine]:
        """The lines whose filter matches a topic name, in no particular order."""
        for line in self._candidates(topic):
            if matches(line.topic_filter, topic):
                yield line

    def matching_pattern(self, topic: str, client_id: str, username: str | None) -> Iterator[AclLine]:
        """The lines whose filter, with this client's names put in, matches a topic name."""
        for line in self._candidates(topic):
            topic_filter = _expanded(line.topic_filter, client_id, username)
            if topic_filter is not None and matches(topic_filter, topic):
                yield line

    def _candidates(self, topic: str) -> Iterator[AclLine]:
        by_beginning = self._by_beginning
        end = 0
        # A name may have 65,535 levels; no further than the longest beginning, or slicing them all is
        # quadratic.
        while end <= self._longest:
            yield from by_beginning.get(topic[:end], ())
            end = topic.find("/", end) + 1
            if not end:
                break
        yield from by_beginning.get(topic, ())
        yield from by_beginning.get(topic + "/", ())  # "a/#" matches "a" (v5 §4.7.1.2)


class AclFile:
    """All rules of one file. Not changed once it is read: a reload makes a new one."""

    def __init__(self) -> None:
        self._anonymous = AclLines()
        self._by_user: dict[str, AclLines] = {}
        self._patterns = AclLines()
        self.warnings: tuple[str, ...] = ()  # for the log, each beginning with "conf/acl:7: "

    @classmethod
    def parse(cls, text: str, origin: str) -> AclFile:
        """
        Read a file's text. A file without rules is valid, and refuses everything.

        :param origin: the file's name for messages.
        :raises SecurityFileError: a word that is not known, no name after ``user``, or no proper topic
            filter.
        """
        acl = cls()
        own, warnings = acl._anonymous, []
        for number, line in numbered_lines(text, origin):
            word, _, rest = line.lstrip(" ").partition(" ")
            try:
                if word == "topic":
                    acl_line = _acl_line(rest)
                    own.add(acl_line, _beginning(acl_line.topic_filter, WILDCARDS))
                elif word == "user":
                    own = acl._by_user.setdefault(_user_name(rest), AclLines())
                elif word == "pattern":
                    acl_line = _acl_line(rest)
                    acl._patterns.add(acl_line, _beginning(acl_line.topic_filter, VARIABLES))
                    warnings += [f"{origin}:{number}: {doubt}" for doubt in _doubts(acl_line.topic_filter)]
                else:
                    raise ValueError(f"{word!r} is not user, topic or pattern")
            except (ValueError, MalformedPacket) as problem:
                raise SecurityFileError(f"{origin}:{number}: {problem}") from problem
        acl.warnings = tuple(warnings)
        return acl

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> AclFile:
        """
        Read a file; 100,000 lines take half a second, so a reload does it in a thread.

        :raises SecurityFileError: as `parse`, or the file cannot be opened.
        """
        return cls.parse(read_security_file(path), os.fspath(path))

    def authorize(self, principal: Principal, access: Access, topic: str) -> ReasonCode:
        """
        A decision, always: ``SUCCESS`` or ``NOT_AUTHORIZED``. An empty user name is an anonymous client's.
        """
        if access is Access.SUBSCRIBE:
            return ReasonCode.SUCCESS
        if is_closed(access, topic):
            return ReasonCode.NOT_AUTHORIZED
        username = principal.username
        own = self._by_user.get(username) if username else self._anonymous
        verdict = None if own is None else _decide(own.matching(topic), access)
        if verdict is None and self._patterns:
            verdict = self._by_patterns(principal.client_id, username, access, topic)
        return ReasonCode.NOT_AUTHORIZED if verdict is None else verdict

    def _by_patterns(self, client_id: str, username: str | None, access: Access, topic: str) -> Verdict:
        # Whoever could bring a wildcard in by its name gets nothing from any pattern (CVE-2017-7650).
        if any(wildcard in name for wildcard in WILDCARDS for name in (client_id, username or "")):
            return ReasonCode.NOT_AUTHORIZED
        return _decide(self._patterns.matching_pattern(topic, client_id, username), access)


@implementer(IAuthorizer)
class AclAuthorizer:
    """Asks an `AclFile`, which a reload may replace; ``None`` for no file, and then it has no opinion."""

    def __init__(self, acl: AclFile | None) -> None:
        self._acl = acl

    def replace(self, acl: AclFile | None) -> None:
        """Use these rules from now on. Whoever remembers verdicts has to forget them then."""
        self._acl = acl

    def authorize(self, principal: Principal, access: Access, topic: str) -> Verdict:
        """See `AclFile.authorize`."""
        return None if self._acl is None else self._acl.authorize(principal, access, topic)


def _decide(lines: Iterable[AclLine], access: Access) -> Verdict:
    """What matching lines say together; ``None`` if none of them is about this access."""
    verdict: Verdict = None
    for line in lines:
        if not line.grants:
            return ReasonCode.NOT_AUTHORIZED
        if access in line.grants:
            verdict = ReasonCode.SUCCESS
    return verdict


def _acl_line(text: str) -> AclLine:
    """
    Read what follows ``topic`` or ``pattern``. The access word may be missing, but then a space in the filter
    makes its beginning look like one; Mosquitto's grammar, and a refused file is better than a wrong guess.
    """
    word, _, topic_filter = text.lstrip(" ").partition(" ")
    topic_filter = topic_filter.strip(BLANKS)
    if not topic_filter:
        word, topic_filter = "readwrite", word
    if word not in GRANTS:
        raise ValueError(f"{word!r} is not read, write, readwrite or deny")
    check_filter(topic_filter)
    return AclLine(GRANTS[word], topic_filter)


def _user_name(text: str) -> str:
    name = text.strip(BLANKS)
    if not name:
        raise ValueError("no user name")
    return name


def _beginning(topic_filter: str, variables: tuple[str, ...]) -> str:
    """The filter up to its first variable level; all of it if there is none."""
    at = 0
    for level in topic_filter.split("/"):
        if level in variables:
            return topic_filter[:at]
        at += len(level) + 1
    return topic_filter


def _doubts(pattern: str) -> Iterator[str]:
    """What somebody who wrote this pattern, perhaps for an older Mosquitto, may not have meant."""
    # Unlike Mosquitto we do not doubt a pattern without any variable: a rule for every client is written so.
    levels = pattern.split("/")
    if any(variable in level != variable for variable in SUBSTITUTIONS for level in levels):
        yield f"pattern {pattern!r}: since Mosquitto 2.1 a %u or %c counts only as a whole level"


def _expanded(pattern: str, client_id: str, username: str | None) -> str | None:
    """
    The topic filter that a pattern is for this client, as Mosquitto 2.1 understands it: a name takes the
    place of a whole level or of nothing.

    :param client_id, username: without ``+`` and ``#``.
    :return: ``None`` if the pattern is not for this client: a name is missing or empty, has a ``/``, or would
        lead into a ``$`` topic.
    """
    if "%" not in pattern:
        return pattern
    if "%u" in pattern and not username:
        return None
    values = {"%c": client_id, "%u": username}
    levels = pattern.split("/")
    for depth, level in enumerate(levels):
        if level in values:
            value = values[level]
            if not value or "/" in value or (depth == 0 and value[0] == "$"):
                return None
            levels[depth] = value
    return "/".join(levels)
