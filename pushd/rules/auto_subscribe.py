"""
What the server subscribes clients to, by a file of rules.

    # for everybody
    /%u/chat 1
    user/%F/presence/+ 1
    # for this user, beside that
    [user anna]
    alerts/# 2

A rule is a topic filter and a QoS; of two for the same filter the higher QoS counts. ``%u`` and ``%c`` are
the client's names, ``%f`` makes a subscription for each user whom this one follows, ``%F`` for each mutual
friend; only one of these two may be in a rule, once. What names may be is in `pushd.rules.rule_file`: where
one cannot stand, and for an anonymous client where a user's name is wanted, the rule does not match.

A line that begins with ``#`` is a comment; everything there is may be written ``+/#``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from heapq import merge

from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import check_filter, split_shared
from pushd.people.interfaces import Friends
from pushd.rules.rule_file import BLANKS, RuleFileError, is_one_level, numbered_lines, read_rule_file

NOBODY = Friends()

_RULE = re.compile(r"(.*[^ \t])[ \t]+([^ \t]+)", re.DOTALL)
_QOS = {"0": 0, "1": 1, "2": 2}
_CLIENTS = ("%u", "%c")
_FRIENDS = ("%f", "%F")


class Template:
    """
    A topic filter with variables, and its QoS.

    :ivar wants_friends: whether it makes a subscription for each of somebody's friends.
    """

    __slots__ = ("_depths", "_friend", "_levels", "_share", "qos", "wants_friends")

    def __init__(self, filter: str, qos: int) -> None:
        """
        :raises ValueError: a variable stands where it would mean nothing.
        :raises MalformedPacket: it is no topic filter.
        """
        check_filter(filter)
        group, plain = split_shared(filter)
        self.qos = qos
        self._share = "" if group is None else filter[: -len(plain)]
        self._levels = plain.split("/")
        friends = [depth for depth, level in enumerate(self._levels) if level in _FRIENDS]
        if len(friends) > 1:
            raise ValueError("%f or %F may be there once")
        for level in filter.split("/"):
            if any(name in level != name for name in (*_CLIENTS, *_FRIENDS)):
                raise ValueError(f"{level!r}: a variable is a whole level, or none")
        if any(name in self._share for name in (*_CLIENTS, *_FRIENDS)):
            raise ValueError("a group's name has no variables")
        self.wants_friends = bool(friends)
        self._friend = friends[0] if friends else 0
        self._depths = [(depth, level) for depth, level in enumerate(self._levels) if level in _CLIENTS]

    def filters(self, names: Mapping[str, str], friends: Friends) -> Iterator[str]:
        """
        The topic filters that it makes.

        :param names: what ``%u`` and ``%c`` stand for; an empty one for nothing.
        """
        levels = self._levels
        if self._depths:
            levels = levels.copy()
            for depth, variable in self._depths:
                if not is_one_level(names[variable], depth):
                    return
                levels[depth] = names[variable]
        if not self.wants_friends:
            yield self._share + "/".join(levels)
            return
        at = self._friend
        head = self._share + "".join(f"{level}/" for level in levels[:at])
        tail = "".join(f"/{level}" for level in levels[at + 1 :])
        for friend in friends.followed if levels[at] == "%f" else friends.mutual:
            if is_one_level(friend, at):
                yield f"{head}{friend}{tail}"


class AutoRules:
    """
    All rules of one file, compiled. Not changed once it is read: a reload makes new ones.

    :param everybody: for all clients.
    :param by_user: for those of some users beside that.
    """

    def __init__(self, everybody: list[Template], by_user: Mapping[str, list[Template]]) -> None:
        self._everybody = _in_order(everybody)
        self._by_user = {name: _in_order([*everybody, *own]) for name, own in by_user.items()}

    @classmethod
    def parse(cls, text: str, origin: str) -> AutoRules:
        """
        Read a file's text. A file without rules is valid.

        :param origin: the file's name for messages.
        :raises RuleFileError: a line that is neither a rule nor ``[user NAME]``.
        """
        everybody: list[Template] = []
        by_user: dict[str, list[Template]] = {}
        rules = everybody
        for number, line in numbered_lines(text, origin):
            try:
                if line[0] == "[" and line[-1] == "]":
                    rules = by_user.setdefault(_user_name(line), [])
                else:
                    rules.append(_template(line))
            except (ValueError, MalformedPacket) as problem:
                raise RuleFileError(f"{origin}:{number}: {problem}") from problem
        return cls(everybody, by_user)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> AutoRules:
        """:raises RuleFileError: as `parse`, or the file cannot be opened."""
        return cls.parse(read_rule_file(path), os.fspath(path))

    def wants_friends(self, username: str | None) -> bool:
        """Whether somebody's friends must be known to know the wishes."""
        return any(template.wants_friends for template in self._templates(username))

    def wishes(
        self,
        username: str | None,
        client_id: str,
        friends: Friends = NOBODY,
        listed: Mapping[str, int] | None = None,
    ) -> Iterator[tuple[str, int]]:
        """
        The topic filters that a client shall be subscribed to, with their QoS: made one by one, for there may
        be thousands. Where one comes again, it is not with a higher QoS.

        :param username: ``None`` or empty for an anonymous client.
        :param listed: more of them, with their QoS; names are not put in there.
        """
        by_file = self._wishes(username, {"%u": username or "", "%c": client_id}, friends)
        if not listed:
            return by_file
        in_order = sorted(listed.items(), key=_highest_first)
        return merge(by_file, in_order, key=_highest_first)

    def _wishes(
        self, username: str | None, names: Mapping[str, str], friends: Friends
    ) -> Iterator[tuple[str, int]]:
        for template in self._templates(username):
            qos = template.qos
            for filter in template.filters(names, friends):
                yield filter, qos

    def _templates(self, username: str | None) -> list[Template]:
        return self._by_user.get(username, self._everybody) if username else self._everybody


def _in_order(templates: list[Template]) -> list[Template]:
    return sorted(templates, key=lambda template: -template.qos)


def _highest_first(wish: tuple[str, int]) -> int:
    return -wish[1]


def _user_name(line: str) -> str:
    """
    The name in ``[user NAME]``, brackets in it included: no rule ends with one.

    :raises ValueError: it is another word, or there is no name.
    """
    word, _, name = line[1:-1].partition(" ")
    if word != "user":
        raise ValueError(f"{line} is not [user NAME]")
    name = name.strip(BLANKS)
    if not name:
        raise ValueError("no user name")
    return name


def _template(line: str) -> Template:
    """:raises ValueError, MalformedPacket: it is no rule."""
    found = _RULE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line!r}: no QoS behind it")
    filter, qos = found.groups()
    if qos not in _QOS:
        raise ValueError(f"{qos!r} is no QoS: 0, 1 or 2")
    return Template(filter, _QOS[qos])


NO_RULES = AutoRules([], {})
