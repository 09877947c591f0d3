"""
Which subscriptions match a topic name?

Filters without a wildcard, which are nearly all of them on a push server, stand in a dictionary. Only those
with a wildcard form a trie of levels, walked without recursion: a name of 200 levels is no deeper for the
stack than one of two.

There is a node only where filters end or part, and no chain of nodes for what lies between: ten thousand
filters of 200 levels would take 400 MB, and two seconds for each topic name that is compared with all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pushd.broker.session import Subscription
    from pushd.broker.tap import Taker

    # One subscriber of a filter stands there as itself, several as a dict by session: a hundred thousand
    # devices with a topic each shall not cost a dict each.
    _Subscribers: TypeAlias = Subscription | dict[Taker, Subscription]


class _Node:
    """
    Where filters end or part. Each but the root has subscribers, or at least two children.

    :ivar label: the levels that lead here from the node above, as they stand in the filter.
    :ivar children: by the first level of their label.
    """

    __slots__ = ("children", "label", "subscribers")

    def __init__(self, label: str) -> None:
        self.label = label
        self.children: dict[str, _Node] = _NO_CHILDREN
        self.subscribers: _Subscribers | None = None

    def add(self, child: _Node) -> None:
        """Add a child, in place of the one with the same first level."""
        if self.children is _NO_CHILDREN:
            self.children = {}
        self.children[_first(child.label)] = child

    def remove(self, child: _Node) -> None:
        """Take a child out."""
        del self.children[_first(child.label)]
        if not self.children:
            self.children = _NO_CHILDREN


_NO_CHILDREN: dict[str, _Node] = {}  # that of all leaves; never written to


class SubscriptionTrie:
    """All subscriptions of the broker, by topic filter."""

    def __init__(self) -> None:
        self._exact: dict[str, _Subscribers] = {}
        self._root = _Node("")
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, subscription: Subscription) -> None:
        """Add a subscription, in place of the same session's to the same filter if there is one."""
        filter = subscription.filter
        if is_exact(filter):
            self._exact[filter] = self._joined(self._exact.get(filter), subscription)
            return
        node = self._node_for(filter)
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
        path = self._path(filter)
        if path:
            path[-1].subscribers = self._without(path[-1].subscribers, subscription)
            if path[-1].subscribers is None:
                _prune(path)

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
        words = name.split("/")
        nodes = [(self._root, 0)]  # and how many levels of the name have led there
        wild = words[0][:1] != "$"
        while nodes:
            node, depth = nodes.pop()
            children = node.children
            if depth == len(words):
                _collect(node.subscribers, found)
            elif (child := children.get(words[depth])) is not None and (end := _end(child, words, depth)):
                nodes.append((child, end))
            if wild or depth:
                if depth < len(words) and (child := children.get("+")) and (end := _end(child, words, depth)):
                    nodes.append((child, end))
                if (child := children.get("#")) is not None:  # "a/#" matches "a", too (v5 §4.7.1.2)
                    _collect(child.subscribers, found)
        return found

    def filters(self) -> Iterator[str]:
        """Every filter that is subscribed to, each once. What is added meanwhile may be among them or not."""
        yield from list(self._exact)
        nodes = [(self._root, "")]
        while nodes:
            node, above = nodes.pop()
            if node.subscribers is not None:
                yield above + node.label
            below = "" if node is self._root else f"{above}{node.label}/"
            nodes += [(child, below) for child in node.children.values()]

    def _path(self, filter: str) -> list[_Node]:
        """:return: the nodes from the root to that of a filter with a wildcard; empty if there is none."""
        levels = filter.split("/")
        path = [self._root]
        at = 0
        while at < len(levels):
            child = path[-1].children.get(levels[at])
            if child is None or _common(child, levels, at) < _length(child):
                return []
            path.append(child)
            at += _length(child)
        return path

    def _node_for(self, filter: str) -> _Node:
        """:return: the node of a filter with a wildcard, made if there is none."""
        levels = filter.split("/")
        node = self._root
        at = 0
        while at < len(levels):
            child = node.children.get(levels[at])
            if child is None:
                child = _Node("/".join(levels[at:]))
                node.add(child)
                return child
            common = _common(child, levels, at)
            if common < _length(child):
                child = _split(node, child, common)
            node = child
            at += common
        return node

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


def _first(label: str) -> str:
    return label.partition("/")[0]


def _length(node: _Node) -> int:
    """How many levels the label of a node has."""
    return node.label.count("/") + 1


def _common(node: _Node, levels: list[str], at: int) -> int:
    """How many levels of a node's label, the first of which is, are those of a filter from `at` on."""
    if "/" not in node.label:
        return 1
    label = node.label.split("/")
    for same, (one, other) in enumerate(zip(label, levels[at:], strict=False)):
        if one != other:
            return same
    return min(len(label), len(levels) - at)


def _split(above: _Node, node: _Node, common: int) -> _Node:
    """Make a node where the first `common` levels of another's label end. :return: the new one."""
    label = node.label.split("/")
    fork = _Node("/".join(label[:common]))
    above.add(fork)
    node.label = "/".join(label[common:])
    fork.add(node)
    return fork


def _prune(path: list[_Node]) -> None:
    """The last node of a path from the root has no subscribers any more: let there be no node in vain."""
    node = path.pop()
    if not node.children:
        path[-1].remove(node)
        node = path.pop()
    if path and node.subscribers is None and len(node.children) == 1:
        (child,) = node.children.values()
        child.label = f"{node.label}/{child.label}"
        path[-1].add(child)


def _end(node: _Node, words: list[str], depth: int) -> int:
    """
    Follow a node's label, the first level of which matches.

    :param depth: where in the topic name the label begins.
    :return: where it ends; 0 if it does not match.
    """
    if "/" not in node.label:
        return depth + 1
    label = node.label.split("/")
    rest = words[depth:]
    for level, word in zip(label, rest, strict=False):
        if level != word and level != "+":
            return len(words) if level == "#" else 0
    if len(label) <= len(rest):
        return depth + len(label)
    return len(words) if label[len(rest)] == "#" else 0
