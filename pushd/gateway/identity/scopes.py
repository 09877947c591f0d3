"""
What an access token is for: the topics that it may be used for, of those that its user may.

    --write 'alerts/#' --read 'sensors/+/state'

A scope is held against everything that access rules are asked about a caller, before the rules: publishing,
now or later, and listening, to topics and to wildcards. So whoever asks the broker on behalf of a caller is
bound by it, and nobody has to think of it. Topics are those that ``acl_file`` is about, with the listener's
mount point in front.

What a scope says nothing about, such as the user's friends or its other tokens, is not open to a token that
has one (`pushd.gateway.identity.guards.Guard.identify_in_full`).
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from pushd.broker.interfaces import Access, IAuthorizer, Principal, Verdict
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import SHARE_PREFIX, matches


@dataclass(frozen=True, slots=True)
class Scope:
    """
    :ivar writes: topic filters that may be published to; ``None`` for no bounds.
    :ivar reads: the same for listening.
    """

    writes: tuple[str, ...] | None = None
    reads: tuple[str, ...] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it has no bounds at all."""
        return self.writes is None and self.reads is None

    def allows(self, access: Access, topic: str) -> bool:
        """
        Whether something is within it.

        :param topic: a topic filter for SUBSCRIBE, else a topic name.
        """
        if access is Access.WRITE:
            return self.writes is None or any(matches(filter, topic) for filter in self.writes)
        if self.reads is None:
            return True
        if access is Access.SUBSCRIBE:
            return any(covers(filter, topic) for filter in self.reads)
        return any(matches(filter, topic) for filter in self.reads)


WHOLE = Scope()


@implementer(IAuthorizer)
class ScopeAuthorizer:
    """Asked first, at listeners of the gateway. Of whoever has no scope it has no opinion."""

    def authorize(self, principal: Principal, access: Access, topic: str) -> Verdict:
        caller = getattr(principal, "principal", principal)  # a tap is of somebody
        scope: Scope = getattr(caller, "scope", WHOLE)
        return None if scope.allows(access, topic) else ReasonCode.NOT_AUTHORIZED


def covers(filter: str, wanted: str) -> bool:
    """
    Whether whatever `wanted` matches is matched by `filter`, too.

    :param filter: a valid topic filter, not a shared one.
    :param wanted: the same. A shared one is covered by nothing.
    """
    if wanted.startswith(SHARE_PREFIX):
        return False
    if wanted.startswith("$") and filter.startswith(("+", "#")):
        return False  # v3 and v5 [MQTT-4.7.2-1]
    levels, asked = filter.split("/"), wanted.split("/")
    for depth, level in enumerate(levels):
        if level == "#":
            return True
        if depth == len(asked) or asked[depth] == "#" or level not in ("+", asked[depth]):
            return False
    return len(levels) == len(asked)
