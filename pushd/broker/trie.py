"""
Which subscriptions match a topic name?

Filters without a wildcard, which are nearly all of them on a push server, stand in a dictionary. Only those
with a wildcard form a trie of levels, walked without recursion: a name of 200 levels is no deeper for the
stack than one of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pushd.broker.session import Session, Subscription
    from pushd.broker.shared import SharedGroup

    # One subscriber of a filter stands there as itself, several as a dict by session: a hundred thousand
    # devices with a topic each shall not cost a dict each.
    _Subscribers: TypeAlias = Subscription | dict[Session | SharedGroup, Subscription]


class _Node:
    """One level of the wildcard filters: ``a/+`` ends at the node ``+`` below the node ``a``."""

    __slots__ = ("children", "subscribers")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.subscribers: _Subscribers | None = None


class SubscriptionTrie:
    """All subscriptions of the broker, by topic filter."""

    def __init__(self) -> None:
        self._exact: dict[str, _Subscribers] = {}
        self._root = _Node()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, subscription: Subscription) -> None:
        """Add a subscription, in place of the same session's to the same filter if there is one."""
        filter = subscription.filter
        if is_exact(filter):
            self._exact[filter] = self._joined(self._exact.get(filter), subscription)
            return
        node = self._root
        for level in filter.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        node.subscribers = self._joined(node.subscribers, subscription)

    def remove(self, subscription: Subscription) -> None:
        """Take a subscription out; one that is not there is no error."""
        filter = subscription.filter
        if is_exact(filter):
            left = self._without(self._exact.get(filter), subscription)
            if left is None:
                self._exact.pop(filter, None)
            else:
                self._exact[filter] = left
            return
        path = list(self._path(filter))
        if len(path) <= filter.count("/"):
            return
        path[-1][2].subscribers = self._without(path[-1][2].subscribers, subscription)
        for parent, level, node in reversed(path):
            if node.subscribers is not None or node.children:
                break
            del parent.children[level]

    def match(self, name: str) -> list[Subscription]:
        """
        Every subscription whose filter matches this topic name (v5 §4.7). A session with overlapping
        subscriptions appears once for each. Wildcards on the first level do not match ``$`` topics
        (v5 [MQTT-4.7.2-1]).
        """
        found: list[Subscription] = []
        _collect(self._exact.get(name), found)
        if not self._root.children:
            return found
        nodes = [self._root]
        wild = not name.startswith("$")
        for level in name.split("/"):
            below: list[_Node] = []
            for node in nodes:
                children = node.children
                if (child := children.get(level)) is not None:
                    below.append(child)
                if wild:
                    if (child := children.get("+")) is not None:
                        below.append(child)
                    if (child := children.get("#")) is not None:
                        _collect(child.subscribers, found)
            nodes = below
            wild = True
            if not nodes:
                return found
        for node in nodes:
            _collect(node.subscribers, found)
            if (child := node.children.get("#")) is not None:  # "a/#" matches "a", too (v5 §4.7.1.2)
                _collect(child.subscribers, found)
        return found

    def _path(self, filter: str) -> Iterator[tuple[_Node, str, _Node]]:
        node = self._root
        for level in filter.split("/"):
            child = node.children.get(level)
            if child is None:
                return
            yield node, level, child
            node = child

    def _joined(self, there: _Subscribers | None, new: Subscription) -> _Subscribers:
        if there is None or (not isinstance(there, dict) and there.session is new.session):
            self._count += there is None
            return new
        if not isinstance(there, dict):
            there = {there.session: there}
        self._count += new.session not in there
        there[new.session] = new
        return there

    def _without(self, there: _Subscribers | None, old: Subscription) -> _Subscribers | None:
        if isinstance(there, dict):
            self._count -= there.pop(old.session, None) is not None
            return there or None
        if there is not None and there.session is old.session:
            self._count -= 1
            return None
        return there


def is_exact(filter: str) -> bool:
    """Whether a filter has no wildcard, so that it matches the one name that it spells."""
    return "+" not in filter and "#" not in filter


def _collect(subscribers: _Subscribers | None, found: list[Subscription]) -> None:
    if subscribers is None:
        return
    if isinstance(subscribers, dict):
        more: Iterable[Subscription] = subscribers.values()
        found.extend(more)
    else:
        found.append(subscribers)
