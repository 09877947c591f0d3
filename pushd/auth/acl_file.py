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
    # for everybody, %f being each user whom this one follows, and %F each who follows back
    pattern read user/%F/presence

A decision looks at the client's own lines first, then at the patterns. In either, a ``deny`` that matches
refuses; else any other line that matches the topic and names the access allows; else the search goes on. When
nothing has matched, the answer is no. So the order of lines within one list does not matter, and
`pushd.auth.acl_tree` keeps them by topic rather than by line.

Subscribing is not refused, as in Mosquitto: each message is checked when it is delivered. With
`acl_check_subscribe` it is, where no message could ever be delivered: where no topic name that the filter
matches may be read.

Where a decision depends on friends who are not known yet, it comes later; that about a message to be
delivered cannot, and is ``SERVER_UNAVAILABLE`` until then.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.auth.acl_tree import (
    FRIEND_VARIABLES,
    GRANTS,
    NO_FRIENDS,
    VARIABLES,
    AclLine,
    AclLines,
    Names,
    Substitution,
)
from pushd.auth.dollar_topics import is_closed
from pushd.auth.security_file import BLANKS, SecurityFileError, numbered_lines, read_security_file
from pushd.broker.interfaces import Access, IAuthorizer, Principal, Verdict
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import MAX_LEVELS, SHARE_PREFIX, check_filter
from pushd.people.interfaces import Friends, PeopleUnavailable

if TYPE_CHECKING:
    from pushd.people.book import FriendBook

MAX_WARNINGS = 20  # of one kind; a script that writes one such line writes thousands

# The words for what can be asked about; the commands' own.
ACCESSES = {access.value: access for access in Access}

# A level that no line names: nobody can write it, neither in a file nor as a user name.
SOME_LEVEL = "\0"


# How far to look for something that a subscription could bring: 4 ms at most. Who asks is not trusted, and a
# SUBSCRIBE has many filters.
MAX_STEPS = 500


class Unlisted(Enum):
    """Why something is decided by no line."""

    CLOSED = "no rule can open this topic"
    WILDCARD_IN_NAME = "nothing matches; with + or # in a user name or client id no pattern does"
    NOTHING = "nothing matches"
    TOO_MUCH = "too many lines to look through; each message is checked at its delivery"

    @property
    def allows(self) -> bool:
        """The answer: no, unless it can wait. A subscription that is granted brings nothing by itself."""
        return self is Unlisted.TOO_MUCH


class AclFile:
    """All rules of one file. Not changed once it is read: a reload makes a new one."""

    def __init__(self, origin: str = "") -> None:
        """:param origin: the file's name for messages."""
        self.origin = origin
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
        acl = cls(origin)
        own, doubts = acl._anonymous, _Doubts(origin)
        for number, line in numbered_lines(text, origin):
            line = line.lstrip(" ")
            word, _, rest = line.partition(" ")
            try:
                if word == "topic":
                    grants, topic_filter = _rule(rest)
                    own.add(AclLine(number, line, grants), topic_filter, is_pattern=False)
                elif word == "user":
                    name = _user_name(rest)
                    own = acl._by_user.setdefault(name, AclLines())
                    doubts.see_user(number, name)
                elif word == "pattern":
                    grants, topic_filter = _rule(rest)
                    acl._patterns.add(AclLine(number, line, grants), topic_filter, is_pattern=True)
                    doubts.see_pattern(number, topic_filter)
                else:
                    raise ValueError(f"{word!r} is not user, topic or pattern")
            except (ValueError, MalformedPacket) as problem:
                raise SecurityFileError(f"{origin}:{number}: {problem}") from problem
        acl.warnings = tuple(doubts.warnings())
        return acl

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> AclFile:
        """
        Read a file; 100,000 lines take most of a second, so a reload does it in a thread.

        :raises SecurityFileError: as `parse`, or the file cannot be opened.
        """
        return cls.parse(read_security_file(path), os.fspath(path))

    @property
    def uses_friends(self) -> bool:
        """Whether any line asks who is whose friend."""
        return self._patterns.uses_friends

    def authorize(
        self,
        principal: Principal,
        access: Access,
        topic: str,
        substitution: Substitution = Substitution.WHOLE_LEVELS,
        friends: Friends = NO_FRIENDS,
    ) -> ReasonCode:
        """
        A decision, always: ``SUCCESS`` or ``NOT_AUTHORIZED``. An empty user name is an anonymous client's.
        """
        allows = self.explain(principal, access, topic, substitution, friends).allows
        return ReasonCode.SUCCESS if allows else ReasonCode.NOT_AUTHORIZED

    def explain(
        self,
        principal: Principal,
        access: Access,
        topic: str,
        substitution: Substitution = Substitution.WHOLE_LEVELS,
        friends: Friends = NO_FRIENDS,
    ) -> AclLine | Unlisted:
        """
        What decides: a line, or why there is none.

        :param topic: for SUBSCRIBE a filter, without ``$share/group/``. It is allowed by a line that allows
            to read a topic name of its.
        :param friends: the principal's.
        """
        names = Names(principal.client_id, principal.username, substitution)
        if names.username:
            names.friends = friends
        if access is Access.SUBSCRIBE:
            return self._explain_filter(names, topic)
        if is_closed(access, topic):
            return Unlisted.CLOSED
        return self._explain_name(names, access, topic)

    def depends_on_friends(
        self, principal: Principal, access: Access, topic: str, substitution: Substitution
    ) -> bool:
        """
        Whether it may matter who the principal's friends are; of a filter, where any line asks for them. The
        more friends, the more lines match: those that match with everybody as a friend, or already without
        any, are the same if it does not.
        """
        if not (self.uses_friends and principal.username):
            return False
        if access is Access.SUBSCRIBE:
            return True
        some, most = (
            Names(principal.client_id, principal.username, substitution, friends)
            for friends in (NO_FRIENDS, EVERYBODY)
        )
        if some.have_wildcards:
            return False  # no pattern is for this principal
        return len([*self._patterns.matching(topic, some)]) < len([*self._patterns.matching(topic, most)])

    def _lists(self, names: Names) -> Iterator[AclLines]:
        """Where to look, in this order."""
        own = self._by_user.get(names.username) if names.username else self._anonymous
        if own:
            yield own
        # Whoever could bring a wildcard in by a name gets nothing from any pattern, whichever way names are
        # put in (CVE-2017-7650). Not even from one without a variable: that is Mosquitto's rule as well.
        if self._patterns and not names.have_wildcards:
            yield self._patterns

    def _explain_name(self, names: Names, access: Access, topic: str) -> AclLine | Unlisted:
        for lines in self._lists(names):
            line = _deciding(lines.matching(topic, names), access)
            if line is not None:
                return line
        shut_out = self._patterns and names.have_wildcards
        return Unlisted.WILDCARD_IN_NAME if shut_out else Unlisted.NOTHING

    def _explain_filter(self, names: Names, topic_filter: str) -> AclLine | Unlisted:
        found: AclLine | Unlisted = Unlisted.NOTHING
        for steps, name in enumerate(self._examples(names, topic_filter)):
            if steps == MAX_STEPS:
                return Unlisted.TOO_MUCH
            if name is not None:
                found = self._explain_name(names, Access.READ, name)
                if found.allows:
                    break
        return found

    def _examples(self, names: Names, topic_filter: str) -> Iterator[str | None]:
        """
        Topic names that the filter matches and that, but for denials, may be read. If any such name may be
        read, so may one of these: they differ from all names in denials wherever a wildcard lets them, and
        they are as short and as long as denials can tell apart. ``None`` comes for each step on the way.
        """
        deepest = 1 + max((lines.depth(names) for lines in self._lists(names)), default=0)
        for lines in self._lists(names):
            for levels in lines.readable_within(topic_filter, names):
                yield from (None,) if levels is None else _examples_of(levels, min(deepest, MAX_LEVELS))


class _Everybody(frozenset[str]):
    """Has whoever is looked for in it."""

    def __contains__(self, name: object) -> bool:
        return True


EVERYBODY = Friends(_Everybody(), _Everybody())


@implementer(IAuthorizer)
class AclAuthorizer:
    """Asks an `AclFile`, which a reload may replace; ``None`` for no file, and then it has no opinion."""

    def __init__(self, acl: AclFile | None) -> None:
        self._acl = acl
        self._book: FriendBook | None = None
        self._substitution = Substitution.WHOLE_LEVELS
        self._check_subscribe = False

    def replace(
        self,
        acl: AclFile | None,
        substitution: Substitution = Substitution.WHOLE_LEVELS,
        check_subscribe: bool = False,
        book: FriendBook | None = None,
    ) -> None:
        """
        Use these rules from now on. Whoever remembers verdicts has to forget them then.

        :param book: where friends stand, if the rules ask for any; without it nobody has friends.
        """
        self._acl = acl
        self._book = book
        self._substitution = substitution
        self._check_subscribe = check_subscribe

    def authorize(self, principal: Principal, access: Access, topic: str) -> Verdict | Deferred[Verdict]:
        """See `AclFile.authorize`."""
        if self._acl is None:
            return None
        if access is Access.SUBSCRIBE and not self._check_subscribe:
            return ReasonCode.SUCCESS
        if self._book is None or not principal.username or not self._acl.uses_friends:
            return self._acl.authorize(principal, access, topic, self._substitution)
        return self._by_friends(self._acl, self._book, principal, access, topic)

    def _by_friends(
        self, acl: AclFile, book: FriendBook, principal: Principal, access: Access, topic: str
    ) -> Verdict | Deferred[Verdict]:
        username = principal.username or ""
        if access is Access.SUBSCRIBE and (settling := book.settled(username)) is not None:
            # Who asks may do so because friends have changed: a rule that subscribes to theirs, for one.
            settling.addErrback(lambda failure: failure.trap(PeopleUnavailable))
            return settling.addCallback(lambda _: self.authorize(principal, access, topic))
        substitution = self._substitution
        if book.knows(username) or not acl.depends_on_friends(principal, access, topic, substitution):
            return acl.authorize(principal, access, topic, substitution, book.friends(username))
        if access is Access.READ:
            return ReasonCode.SERVER_UNAVAILABLE
        return self._authorize_later(book, username, principal, access, topic)

    def _authorize_later(
        self, book: FriendBook, username: str, principal: Principal, access: Access, topic: str
    ) -> Verdict | Deferred[Verdict]:
        """For those without a session: a caller of the gateway, or a Will that was left behind."""

        def decide(_: None) -> Verdict | Deferred[Verdict]:
            return self.authorize(principal, access, topic)

        def undecided(failure: Failure) -> Verdict:
            failure.trap(PeopleUnavailable)
            # No MQTT client can be told the truth in a SUBACK or PUBACK.
            return ReasonCode.NOT_AUTHORIZED if principal.client_id else ReasonCode.SERVER_UNAVAILABLE

        def release(verdict: Verdict) -> Verdict:
            book.release(username)
            return verdict

        loading = book.need(username)
        assert loading is not None  # or they were known
        return loading.addCallbacks(decide, undecided).addBoth(release)


class _Doubts:
    """
    Lines that mean something else by `acl_substitution` 2.0 than by 2.1, as far as a file can tell; and those
    that mean nothing by either.
    """

    # Unlike Mosquitto we do not doubt a pattern without any variable: a rule for every client is written so.

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._partial: list[tuple[int, str]] = []  # patterns
        self._whole_user: list[int] = []  # other patterns with %u
        self._with_slash: list[tuple[int, str]] = []  # users
        self._part_friends: list[tuple[int, str]] = []  # patterns

    def see_user(self, number: int, name: str) -> None:
        if "/" in name:
            self._with_slash.append((number, name))

    def see_pattern(self, number: int, topic_filter: str) -> None:
        levels = topic_filter.split("/")
        if any(variable in level != variable for variable in VARIABLES for level in levels):
            self._partial.append((number, topic_filter))
        elif "%u" in levels:
            self._whole_user.append(number)
        if any(variable in level != variable for variable in FRIEND_VARIABLES for level in levels):
            self._part_friends.append((number, topic_filter))

    def warnings(self) -> Iterator[str]:
        """Each beginning with the place of the line."""
        partial = (
            f"{self._origin}:{number}: pattern {topic_filter!r}: %u and %c count in a part of a level only "
            f"with acl_substitution 2.0, as in Mosquitto before 2.1"
            for number, topic_filter in self._partial
        )
        yield from self._first(partial, len(self._partial), "patterns like this")
        friends = (
            f"{self._origin}:{number}: pattern {topic_filter!r}: %f and %F count for a whole level only"
            for number, topic_filter in self._part_friends
        )
        yield from self._first(friends, len(self._part_friends), "patterns like this")
        if not self._whole_user:
            return
        patterns = _some(self._whole_user)
        slashes = (
            f"{self._origin}:{number}: user {name!r}: %u stands for a name with a slash only with "
            f"acl_substitution 2.0, as in Mosquitto before 2.1; see {patterns}"
            for number, name in self._with_slash
        )
        yield from self._first(slashes, len(self._with_slash), "users like this")

    def _first(self, warnings: Iterable[str], count: int, what: str) -> Iterator[str]:
        yield from islice(warnings, MAX_WARNINGS)
        if count > MAX_WARNINGS:
            yield f"{self._origin}: {count - MAX_WARNINGS} more {what}"


def _some(numbers: list[int]) -> str:
    """``line 3``, ``lines 3, 5``, or the first few."""
    named = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"line{'s' if len(numbers) > 1 else ''} {named}"


def _deciding(lines: Iterable[AclLine], access: Access) -> AclLine | None:
    """Which of the lines that match decides about an access; ``None`` if none is about it."""
    found: AclLine | None = None
    for line in lines:
        if not line.grants or access in line.grants:
            found = line if found is None or line.goes_before(found) else found
    return found


def _examples_of(levels: list[str], deepest: int) -> Iterator[str]:
    """Topic names of a filter: with ``#``, one of each depth."""
    *above, last = [SOME_LEVEL if level == "+" else level for level in levels]
    if last != "#":
        yield "/".join([*above, last])
        return
    if above:
        yield "/".join(above)
    for depth in range(len(above) + 1, max(deepest, len(above) + 1) + 1):
        yield "/".join(above + [SOME_LEVEL] * (depth - len(above)))


def _rule(text: str) -> tuple[tuple[Access, ...], str]:
    """
    Read what follows ``topic`` or ``pattern``: what it grants, and the topic filter. The access word may be
    missing, but then a space in the filter makes its beginning look like one; Mosquitto's grammar, and a
    refused file is better than a wrong guess.
    """
    word, _, topic_filter = text.lstrip(" ").partition(" ")
    topic_filter = topic_filter.strip(BLANKS)
    if not topic_filter:
        word, topic_filter = "readwrite", word
    if word not in GRANTS:
        raise ValueError(f"{word!r} is not read, write, readwrite or deny")
    # Mosquitto takes $share/+/a for a filter like others. None of it is a shared subscription's, and no
    # message has such a topic: what counts of a shared subscription is the filter in it.
    check_filter(topic_filter.removeprefix("$") if topic_filter.startswith(SHARE_PREFIX) else topic_filter)
    return GRANTS[word], topic_filter


def _user_name(text: str) -> str:
    name = text.strip(BLANKS)
    if not name:
        raise ValueError("no user name")
    return name
