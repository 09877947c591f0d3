"""Who has subscribed to what, for the log: what Mosquitto prints on SIGUSR2."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from pushd.broker.session import Session

# Lines, and clients in one of them. Whoever has a million subscriptions does not want them in a log.
MAX_FILTERS = 1000
MAX_CLIENTS = 5

# Subscriptions that are looked at: sorting more would hold up everybody.
MAX_LOOKED_AT = 20_000


def subscription_lines(sessions: Collection[Session]) -> Iterator[str]:
    """
    Topic filters in the order of the topic tree, each with its subscribers and the QoS granted to them::

        sensors/+/temperature: kitchen-display (1), recorder (2)
    """
    left_out = sum(len(session.subscriptions) for session in sessions)
    subscribers = _subscribers(sessions)
    for filter in sorted(subscribers, key=lambda filter: filter.split("/"))[:MAX_FILTERS]:
        left_out -= len(subscribers[filter])
        yield f"  {filter}: {_shown(subscribers[filter])}"
    if left_out:
        yield f"  and {left_out} subscriptions more"


def _subscribers(sessions: Collection[Session]) -> dict[str, list[str]]:
    """By topic filter, as far as we look."""
    every = (
        (filter, f"{session.client_id} ({subscription.qos})")
        for session in sessions
        for filter, subscription in session.subscriptions.items()
    )
    found: dict[str, list[str]] = {}
    for filter, subscriber in islice(every, MAX_LOOKED_AT):
        found.setdefault(filter, []).append(subscriber)
    return found


def _shown(subscribers: list[str]) -> str:
    more = len(subscribers) - MAX_CLIENTS
    named = ", ".join(subscribers[:MAX_CLIENTS])
    return f"{named} and {more} more" if more > 0 else named
