"""
The access control list: who may read and write which topics, as ntfy keeps it, entry by entry, beside the ACL
file and before it.

    everyone  *              deny-all     nobody may do anything, but
    everyone  up*            write-only   may push to any endpoint,
    ada       alerts*        read-write   and ada may do both with her alerts,
    ada       alerts-of-bob  deny-all     except for this one.

For each message one entry decides. A user's own go before those of everybody; among these the longer pattern
goes before the shorter, and of the same length a topic before a pattern, then the stricter before the less
strict. An entry that does not let read, or write, forbids it: there is nothing that it leaves open. Where no
entry is about a topic, others are asked, the ACL file first of all.

``*`` stands for any characters, slashes too. Patterns are of whole topic names, with mount point and prefix,
as in the ACL file. One that begins with ``*`` opens no topic that begins with ``$``, as MQTT's wildcards do
not; what it forbids it forbids there, too.

A filter with wildcards may match topics of many entries. It is allowed by the first entry that may let read
any of them, and refused by the first that forbids all of them: for whom ``news/secret`` is forbidden, there
is still the rest of ``news/#``, and one more entry must not cut off everybody who listens to ``#``. That
opens nothing, for each message is checked again when it is delivered. ``acl_check_subscribe`` is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from twisted.internet.defer import Deferred
from zope.interface import implementer

from pushd.broker.interfaces import Access, IAuthorizer, Principal, Verdict
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import matches
from pushd.people.access import PERMISSIONS
from pushd.people.interfaces import EVERYBODY, Grant

ANY = "*"
STRICTEST_FIRST = tuple(PERMISSIONS)

# Entries that are looked at for a filter with wildcards: less than a millisecond. Who asks is not trusted,
# and a SUBSCRIBE has many filters.
MAX_LOOKS = 500


class Entry:
    """
    One entry, ready to be asked.

    :ivar grant: as it is kept. A permission that nobody knows is none.
    :ivar stem: all of its pattern up to the first ``*``.
    """

    __slots__ = ("_last", "_middle", "grant", "is_pattern", "reads", "stem", "writes")

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self.reads, self.writes = PERMISSIONS.get(grant.permission, PERMISSIONS["deny-all"])
        self.stem, *rest = grant.pattern.split(ANY)
        self.is_pattern = bool(rest)
        self._last = rest.pop() if rest else ""
        self._middle = tuple(filter(None, rest))

    def rank(self) -> tuple[int, bool, int]:
        """Which of one user's entries goes first: the one with the least."""
        permission = self.grant.permission
        strictness = STRICTEST_FIRST.index(permission) if permission in STRICTEST_FIRST else -1
        return -len(self.grant.pattern), self.is_pattern, strictness

    def allows(self, access: Access) -> bool:
        """What it says about a topic that it decides about."""
        return self.writes if access is Access.WRITE else self.reads

    def opens(self, access: Access, topic: str) -> bool:
        """Whether it allows this to a topic name or filter that it is about."""
        return self.allows(access) and not (topic.startswith("$") and self.grant.pattern.startswith(ANY))

    def matches(self, topic: str) -> bool:
        """
        Whether it is about a topic name. In a time that grows with its length, whatever the pattern: what
        stands between two ``*`` is searched once, where it comes first.
        """
        if not self.is_pattern:
            return topic == self.stem
        at, end = len(self.stem), len(topic) - len(self._last)
        if at > end or not (topic.startswith(self.stem) and topic.endswith(self._last)):
            return False
        for part in self._middle:
            at = topic.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    def covers(self, topic_filter: str) -> bool:
        """
        Whether it is about every topic that a filter matches; ``False`` in doubt. A wildcard of the filter
        can only be what a ``*`` stands for, as no pattern has ``+`` or ``#`` in it.
        """
        parent = topic_filter[:-2] if topic_filter.endswith("/#") else topic_filter
        return self.matches(topic_filter) and self.matches(parent)

    def may_meet(self, topic_filter: str) -> bool:
        """Whether it is about any topic that a filter matches; ``True`` in doubt."""
        if not self.is_pattern:
            return matches(topic_filter, self.stem)
        stem = _stem(topic_filter)
        return stem.startswith(self.stem) or self.stem.startswith(stem)


class Entries:
    """
    All entries of one user, or those of everybody.

    Patterns are found by what they begin with, up to their first ``*``, so that those about other topics cost
    next to nothing: they are asked for each message.
    """

    __slots__ = ("_all", "_by_stem", "_stem_lengths", "_topics")

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._all = tuple(sorted(map(Entry, grants), key=Entry.rank))
        self._topics: dict[str, Entry] = {}
        self._by_stem: dict[str, list[Entry]] = {}
        for entry in self._all:
            if entry.is_pattern:
                self._by_stem.setdefault(entry.stem, []).append(entry)
            else:
                self._topics[entry.stem] = entry
        self._stem_lengths = tuple(sorted(set(map(len, self._by_stem))))

    def about_name(self, topic: str) -> Iterator[Entry]:
        """Those that are about a topic name, in their order."""
        found = [self._topics[topic]] if topic in self._topics else []
        for length in self._stem_lengths:
            if length > len(topic):
                break
            found += self._by_stem.get(topic[:length], ())
        if len(found) > 1:
            found.sort(key=Entry.rank)
        return (entry for entry in found if entry.matches(topic))

    def about_filter(self, topic_filter: str) -> Iterator[Entry]:
        """Those that may be about any topic of a filter, in their order, as far as we look."""
        return (entry for entry in islice(self._all, MAX_LOOKS) if entry.may_meet(topic_filter))


class AccessList:
    """
    All entries of the list. None is added to it later.

    A user's are made ready when they are first asked for: of a hundred thousand users few are here. Those of
    everybody at once, by whoever makes the list and has the time.
    """

    def __init__(self, grants: Iterable[Grant] = ()) -> None:
        self._grants: dict[str, list[Grant]] = {}
        for grant in grants:
            if "+" not in grant.pattern and "#" not in grant.pattern:  # which match no topic name
                self._grants.setdefault(grant.username, []).append(grant)
        self._ready: dict[str, Entries] = {}
        self._entries(EVERYBODY)

    def __bool__(self) -> bool:
        return bool(self._grants)

    def deciding(self, username: str | None, access: Access, topic: str) -> Entry | None:
        """
        The entry that decides, or ``None`` if others have to.

        :param topic: for SUBSCRIBE a filter, without ``$share/group/``; mount point included.
        """
        for name in (username, EVERYBODY):
            entries = self._entries(name) if name else None
            found = None if entries is None else _deciding(entries, access, topic)
            if found is not None:
                return found
        return None

    def _entries(self, username: str) -> Entries | None:
        ready = self._ready.get(username)
        if ready is None and username in self._grants:
            ready = self._ready[username] = Entries(self._grants[username])
        return ready


@implementer(IAuthorizer)
class GrantAuthorizer:
    """
    Asks an `AccessList` that whoever watches the keeper brings, and brings anew when it changes.

    Until it came for the first time nobody can say what is forbidden: who wants to write or subscribe waits
    until it is there, or cannot be had.
    """

    def __init__(self, is_admin: Callable[[str], bool] = lambda username: False) -> None:
        """:param is_admin: users about whom the list says nothing, as in ntfy; the ACL file does."""
        self._is_admin = is_admin
        self._list: AccessList | None = None
        self._waiting: list[Deferred[None]] = []

    @property
    def in_use(self) -> bool:
        """Whether there is any reason to ask."""
        return self._list is None or bool(self._list)

    def use(self, entries: AccessList) -> None:
        """Go by this list from now on. Whoever remembers verdicts has to forget them then."""
        self._list = entries
        self.look_again()

    def look_again(self) -> None:
        """Who waits is answered, also if the list cannot be had: with a no then."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def authorize(self, principal: Principal, access: Access, topic: str) -> Verdict | Deferred[Verdict]:
        """See `AccessList.deciding`."""
        if self._list is None:
            return self._authorize_later(principal, access, topic)
        username = principal.username
        if not self._list or (username and self._is_admin(username)):
            return None
        entry = self._list.deciding(username, access, topic)
        if entry is None:
            return None
        return ReasonCode.SUCCESS if entry.allows(access) else ReasonCode.NOT_AUTHORIZED

    def _authorize_later(
        self, principal: Principal, access: Access, topic: str
    ) -> Verdict | Deferred[Verdict]:
        if access is Access.READ:
            return ReasonCode.SERVER_UNAVAILABLE

        def decide(_: None) -> Verdict | Deferred[Verdict]:
            if self._list is not None:
                return self.authorize(principal, access, topic)
            # No MQTT client can be told the truth in a SUBACK or PUBACK.
            return ReasonCode.NOT_AUTHORIZED if principal.client_id else ReasonCode.SERVER_UNAVAILABLE

        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting.addCallback(decide)


def _deciding(entries: Entries, access: Access, topic: str) -> Entry | None:
    if access is Access.SUBSCRIBE and _has_wildcard(topic):
        for entry in entries.about_filter(topic):
            if entry.opens(access, topic) or (not entry.reads and entry.covers(topic)):
                return entry
        return None
    for entry in entries.about_name(topic):
        if entry.opens(access, topic) or not entry.allows(access):
            return entry
    return None


def _has_wildcard(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter


def _stem(topic_filter: str) -> str:
    """What each topic begins with that a filter with wildcards matches."""
    stem = topic_filter.partition("+")[0].partition("#")[0]
    # "news/#" matches "news" as well.
    return stem[:-1] if topic_filter == f"{stem}#" else stem
