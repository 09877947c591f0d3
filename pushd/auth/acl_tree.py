"""
The lines of an ACL as a tree of levels: who is asked about ``sensors/cellar/state`` walks along three levels,
however many lines there are.

    topic read sensors/+/state      root - "sensors" - "+" - "state": this line
    pattern write dev-%u/#          root - "dev-%u" - "#": this line

A level with ``%u`` or ``%c`` is kept as it is written, and gets the client's names during the walk. By the
rules of Mosquitto 2.0 that may make several levels of it, but never a wildcard: for a client with one in its
names, nobody looks at patterns at all (`pushd.auth.acl_file`).

A level that is ``%f`` or ``%F`` stands for any of the user's friends, of whom there may be thousands. They
are never put in: the topic's level at that place is looked up among them.

    pattern read user/%F/presence   root - "user" - one of `Friends.mutual` - "presence": this line
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from pushd.broker.interfaces import Access
from pushd.mqtt.topics import MAX_LEVELS
from pushd.people.interfaces import Friends

# What a line grants. Tuples, not sets: `in` finds an enumeration's member in them by identity.
GRANTS: dict[str, tuple[Access, ...]] = {
    "read": (Access.READ,),
    "write": (Access.WRITE,),
    "readwrite": (Access.READ, Access.WRITE),
    "deny": (),
}

VARIABLES = ("%u", "%c")

# Each for a whole level only: a name that is a part of one could be found by trying them all, not otherwise.
FOLLOWED, MUTUAL = "%f", "%F"
FRIEND_VARIABLES = (FOLLOWED, MUTUAL)

NO_FRIENDS = Friends()


class Substitution(Enum):
    """The version of Mosquitto whose way with ``%u`` and ``%c`` is taken."""

    ANYWHERE = "2.0"  # also in a part of a level, and a name with a slash makes several levels
    WHOLE_LEVELS = "2.1"  # for one whole level or not at all; then a name with a slash never matches


@dataclass(frozen=True, slots=True)
class AclLine:
    """One ``topic`` or ``pattern`` line. No grants at all means ``deny``."""

    number: int
    text: str
    grants: tuple[Access, ...]

    @property
    def allows(self) -> bool:
        """What it says about an access that it decides."""
        return bool(self.grants)

    def goes_before(self, other: AclLine) -> bool:
        """Whether it decides where both could: denials do first, and then a file's order counts."""
        return (bool(self.grants), self.number) < (bool(other.grants), other.number)


@dataclass(slots=True)
class Names:
    """Who is asked about, how names are put in, and who its friends are: none of an anonymous client."""

    client_id: str
    username: str | None
    substitution: Substitution
    friends: Friends = NO_FRIENDS

    @property
    def have_wildcards(self) -> bool:
        """Whether one of them could be taken for more than a name."""
        names = f"{self.client_id}/{self.username}"
        return "+" in names or "#" in names

    def put_into(self, level: str) -> list[str] | None:
        """
        The levels that a level of a pattern is for this client.

        Text is put in once: a user who is called ``%c`` does not get the client id in the place of the name.

        :return: ``None`` if the pattern is not for this client.
        """
        username, client_id = self.username or "", self.client_id
        if ("%u" in level and not username) or ("%c" in level and not client_id):
            return None
        whole_levels = self.substitution is Substitution.WHOLE_LEVELS
        if whole_levels and level not in VARIABLES:
            return [level]
        text = username.join(part.replace("%c", client_id) for part in level.split("%u"))
        slashes = text.count("/")
        # A name may be 65,535 slashes, which no topic has; taking them apart for each message costs 1 ms.
        return None if slashes >= (1 if whole_levels else MAX_LEVELS) else text.split("/")

    def circle(self, variable: str) -> frozenset[str]:
        """
        Those for whom ``%f`` or ``%F`` stands. A level of a topic name that is among them is a friend's:
        there is no level with ``+``, ``#`` or ``/`` in it, and so no friend with such a name.
        """
        return self.friends.mutual if variable == MUTUAL else self.friends.followed

    def extra_levels(self, variables: int) -> int:
        """How many levels a filter with so many variables may have more than it is written with."""
        if self.substitution is Substitution.WHOLE_LEVELS:
            return 0
        return variables * max(self.client_id.count("/"), (self.username or "").count("/"))


class _Node:
    """One level. Most of a hundred thousand have no children, so their dicts are made when needed."""

    __slots__ = ("children", "circles", "lines", "patterns", "readable")

    def __init__(self) -> None:
        self.lines: tuple[AclLine, ...] = ()  # whose filter ends here
        self.children: dict[str, _Node] | None = None  # by level, + and # among them
        self.patterns: dict[str, _Node] | None = None  # by level with %u or %c in it
        self.circles: dict[str, _Node] | None = None  # by %f and %F
        self.readable = False  # whether any line here or below grants reading

    def child(self, level: str, is_pattern: bool) -> _Node:
        """That for a level, made if there is none."""
        if is_pattern and any(variable in level for variable in VARIABLES):
            if self.patterns is None:
                self.patterns = {}
            return self.patterns.setdefault(level, _Node())
        if is_pattern and level in FRIEND_VARIABLES:
            if self.circles is None:
                self.circles = {}
            return self.circles.setdefault(level, _Node())
        if self.children is None:
            self.children = {}
        found = self.children.get(level)
        if found is None:
            found = self.children[level] = _Node()
        return found

    def below(self) -> tuple[AclLine, ...]:
        """The lines that end with ``#`` here, and so are about this level and all below."""
        rest = self.children.get("#") if self.children else None
        return rest.lines if rest else ()


class AclLines:
    """
    The lines of one user, of the anonymous, or the patterns.

    :ivar uses_friends: whether there is any ``%f`` or ``%F`` in them.
    """

    __slots__ = ("_levels", "_root", "_variables", "uses_friends")

    def __init__(self) -> None:
        self.uses_friends = False
        self._root = _Node()
        self._levels = 0  # of the longest filter
        self._variables = 0  # of the one with most

    def __bool__(self) -> bool:
        return bool(self._levels)

    def add(self, line: AclLine, topic_filter: str, is_pattern: bool) -> None:
        """
        Take in a line.

        :param topic_filter: valid.
        :param is_pattern: whether variables are more than text.
        """
        reads = Access.READ in line.grants
        levels = topic_filter.split("/")
        node = self._root
        for level in levels:
            node.readable |= reads
            node = node.child(level, is_pattern)
        node.readable |= reads
        node.lines += (line,)
        self._levels = max(self._levels, len(levels))
        if is_pattern:
            self._variables = max(self._variables, sum(map(topic_filter.count, VARIABLES)))
            self.uses_friends |= any(variable in levels for variable in FRIEND_VARIABLES)

    def depth(self, names: Names) -> int:
        """The levels of the longest filter once names are put in, or more."""
        return self._levels + names.extra_levels(self._variables)

    def matching(self, topic: str, names: Names) -> Iterator[AclLine]:
        """
        The lines whose filter, with this client's names put in, matches a topic name; in no particular order.

        A ``$`` topic is reached only by a filter that is written with the ``$``. (Mosquitto up to 2.0 lets a
        user who is called ``$SYS`` in by ``%u/#``. Nobody can have meant that.)
        """
        levels = topic.split("/")
        unfinished = [(self._root, 0)]
        while unfinished:
            node, depth = unfinished.pop()
            plainly = depth > 0 or not topic.startswith("$")
            if plainly:
                yield from node.below()  # "a/#" matches "a", too (v5 §4.7.1.2)
            if depth == len(levels):
                yield from node.lines
                continue
            if node.children:
                for level in (levels[depth], "+") if plainly else (levels[depth],):
                    if level in node.children:
                        unfinished.append((node.children[level], depth + 1))
            if node.patterns:
                for level, child in node.patterns.items():
                    put_in = names.put_into(level) if plainly or level.startswith("$") else None
                    if put_in and levels[depth : depth + len(put_in)] == put_in:
                        unfinished.append((child, depth + len(put_in)))
            if node.circles and plainly and levels[depth]:
                for variable, child in node.circles.items():
                    if levels[depth] in names.circle(variable):
                        unfinished.append((child, depth + 1))

    def readable_within(self, topic_filter: str, names: Names) -> Iterator[list[str] | None]:
        """
        Whatever of a topic filter this list grants to read, as the levels of filters. What lies below a
        ``deny .../#`` is left out; other denials are not looked at.

        A wildcard may lead past all lines that there are. So ``None`` comes for each step that is taken, and
        whoever asks may lose patience.
        """
        wanted = topic_filter.split("/")
        unfinished: list[Iterator[_Step]] = [iter([(self._root, 0, [])])]
        while unfinished:
            step = next(unfinished[-1], None)
            if step is None:
                unfinished.pop()
                continue
            yield None
            node, depth, common = step
            rest = wanted[depth:]
            below = node.below() if common or not topic_filter.startswith("$") else ()
            if not node.readable or not all(line.allows for line in below):
                continue
            if any(Access.READ in line.grants for line in below):
                yield common + rest
            if rest in ([], ["#"]) and any(Access.READ in line.grants for line in node.lines):
                yield common
            if rest:
                unfinished.append(_plain_steps(node, depth, common, rest[0]))
                unfinished.append(_pattern_steps(node, depth, common, rest, names))
                unfinished.append(_circle_steps(node, depth, common, rest[0], names))


_Step = tuple[_Node, int, list[str]]  # where we are, how much of a filter led there, what it has in common


def _plain_steps(node: _Node, depth: int, common: list[str], wanted: str) -> Iterator[_Step]:
    children = node.children or {}
    if wanted in ("+", "#"):
        for level, child in children.items():
            if level != "#" and (common or not level.startswith("$")):
                yield child, depth + (wanted == "+"), [*common, level]
        return
    for level in (wanted, "+") if common or not wanted.startswith("$") else (wanted,):
        if level in children:
            yield children[level], depth + 1, [*common, wanted]


def _pattern_steps(
    node: _Node, depth: int, common: list[str], rest: list[str], names: Names
) -> Iterator[_Step]:
    for level, child in node.patterns.items() if node.patterns else ():
        put_in = names.put_into(level)
        # At the root, a dollar sign has to be written on both sides.
        if put_in and (common or put_in[0][:1] != "$" or level[0] == rest[0][:1] == "$"):
            taken = _taken(rest, put_in)
            if taken is not None:
                yield child, depth + taken, common + put_in


def _circle_steps(node: _Node, depth: int, common: list[str], wanted: str, names: Names) -> Iterator[_Step]:
    """To one friend, or where any will do to each, as long as whoever asks has patience."""
    for variable, child in node.circles.items() if node.circles else ():
        circle = names.circle(variable)
        for friend in circle if wanted in ("+", "#") else circle & {wanted}:
            if is_level(friend) and (common or not friend.startswith("$")):
                yield child, depth + (wanted != "#"), [*common, friend]


def is_level(name: str) -> bool:
    """Whether a user's name can be a level of a topic name."""
    return bool(name) and not any(letter in name for letter in "+#/")


def _taken(rest: list[str], levels: list[str]) -> int | None:
    """How many levels of a filter these use up, of which ``#`` is never; ``None`` if they do not match."""
    for at, level in enumerate(levels):
        if rest[at : at + 1] == ["#"]:
            return at
        if at == len(rest) or rest[at] not in ("+", level):
            return None
    return len(levels)
