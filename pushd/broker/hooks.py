"""
What others may want to hear of a client, and have a say in, beside who it is and what it may do.

A listener's policy has one `Hooks`. Each hook is a single callable, whoever and however many are behind it
(`pushd.plugins.chain` puts them in their order), or ``None`` where nobody is: then asking costs one look at
an attribute, and a publisher stays in the express lane (`pushd.broker.express`).

Hooks never raise, and their Deferreds never fail: whoever is behind them fails closed there, where it is
known who it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred

from pushd.mqtt.codes import ReasonCode

if TYPE_CHECKING:
    from pushd.broker.client import Client
    from pushd.broker.interfaces import Credentials, Principal, Verdict
    from pushd.broker.message import Message
    from pushd.mqtt.codes import QoS
    from pushd.mqtt.packets import Connect

# What becomes of a message: it, or another in its place, is passed on; or the publisher is told this code and
# nothing is. ``SUCCESS`` is for a message that vanishes without its publisher's knowledge.
Decision: TypeAlias = "Message | ReasonCode"


@dataclass(frozen=True, slots=True)
class Hooks:
    """
    :ivar connect: of a client that has said who it is; any verdict but ``SUCCESS`` refuses it.
    :ivar disconnect: its connection is gone.
    :ivar publish: a message that may be published, before anybody gets it and before it is acknowledged;
        asked by MQTT clients, their Wills and the gateway's callers alike.
    :ivar subscribe: a subscription that is allowed, by topic filter (mount point included, without
        ``$share/NAME/``); any verdict but ``SUCCESS`` refuses it.
    :ivar unsubscribe: the same topic filter, given up.
    """

    connect: Callable[[Credentials, Connect], Verdict | Deferred[Verdict]] | None = None
    disconnect: Callable[[Client], None] | None = None
    publish: Callable[[Principal, Message], Decision | Deferred[Decision]] | None = None
    subscribe: Callable[[Client, str, QoS], Verdict | Deferred[Verdict]] | None = None
    unsubscribe: Callable[[Client, str], None] | None = None


NO_HOOKS = Hooks()


def and_then(
    verdict: Verdict | Deferred[Verdict], ask: Callable[[], Verdict | Deferred[Verdict]]
) -> Verdict | Deferred[Verdict]:
    """The verdict of `ask`, which is asked only if the first is ``SUCCESS``."""
    if isinstance(verdict, Deferred):
        return verdict.addCallback(partial(and_then, ask=ask))
    return ask() if verdict is ReasonCode.SUCCESS else verdict
