"""What stores give back, as plain values that can be compared whatever gave them back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pushd.broker import records as r
from pushd.broker.message import Message

# Where things are in what `picture` makes of a session.
LEFT_AT, SUBSCRIPTIONS, QUEUED, INFLIGHT, GIVEN_UP = 2, 3, 4, 5, 8


def plain(message: Message | None) -> tuple[object, ...] | None:
    """What a store must keep of a message."""
    if message is None:
        return None
    return (
        message.topic,
        bytes(message.payload),
        int(message.qos),
        bool(message.retain),
        message.properties or {},
        message.expires_at and round(message.expires_at, 3),
        message.subscription_ids,
        message.push,
    )


def kept(message: Message) -> tuple[object, ...]:
    """The same of one that is, or will be, retained: who did so counts, and no push that it comes from."""
    return (*(plain(message) or ())[:-1], message.source)


def in_archive(kept: r.Kept) -> tuple[object, ...]:
    """What a store must keep of something in the archive."""
    return kept.number, kept.id, kept.at, kept.until, kept.event, plain(kept.message)


def picture(
    state: r.SavedState, messages: Mapping[str, r.SavedMessages], archive: Iterable[r.Kept]
) -> dict[str, Any]:
    """
    A saved state as something that can be compared, orders included.

    :param messages: of each session.
    :param archive: all of it.
    """
    return {
        "archive": [in_archive(kept) for kept in archive],
        "notes": dict(state.notes),
        "retained": {topic: kept(message) for topic, message in state.retained.items()},
        "sessions": {
            session.client_id: (
                session.username,
                session.expiry_s,
                session.left_at and round(session.left_at, 3),
                {filter: options(added) for filter, added in session.subscriptions.items()},
                *picture_of(messages[session.client_id]),
                session.listener,
                set(session.given_up),
            )
            for session in state.sessions.values()
        },
        "scheduled": {id: later(scheduled) for id, scheduled in state.scheduled.items()},
        "wills": {client_id: (will.username, will.fields) for client_id, will in state.wills.items()},
    }


def picture_of(messages: r.SavedMessages) -> tuple[object, ...]:
    """The same of one session's messages."""
    return (
        [(sequence, plain(message)) for sequence, message in messages.queued.items()],
        [(packet_id, plain(message)) for packet_id, message in messages.inflight.items()],
        set(messages.received),
    )


def outline(session: r.SavedSession) -> tuple[object, ...]:
    """What a session is told of its messages at the start."""
    queued = session.queued
    expiries = [None if at == math.inf else round(at, 3) for at in queued._expiries]
    return (
        list(queued._sizes), expiries, queued.payload_bytes, session.last_sequence, session.inflight_count,
        session.has_received, session.places,
    )  # fmt: skip


def outline_of(messages: r.SavedMessages) -> tuple[object, ...]:
    """What it should be told."""
    queued = messages.queued.values()
    sizes = [len(message.payload) for message in queued]
    expiries = [None if message.expires_at is None else round(message.expires_at, 3) for message in queued]
    return (
        sizes, expiries, sum(sizes), max(messages.queued, default=0), len(messages.inflight),
        bool(messages.received), places_of(messages),
    )  # fmt: skip


def places_of(messages: r.SavedMessages) -> dict[tuple[str, str], int]:
    """Where queued messages stand that a newer one may take the place of."""
    return {
        (message.topic, message.push.collapse_key): sequence
        for sequence, message in messages.queued.items()
        if message.push is not None and message.push.collapse_key
    }


def later(scheduled: r.MessageScheduled) -> tuple[object, ...]:
    """What a store must keep of a message that is to be published later."""
    return scheduled.id, round(scheduled.due_at, 3), kept(scheduled.message), scheduled.message.push


def options(added: r.SubscriptionAdded) -> tuple[object, ...]:
    """What a store must keep of a subscription."""
    request = added.request
    flags = bool(request.no_local), bool(request.retain_as_published)
    handling = int(request.retain_handling)
    return request.filter, int(request.qos), *flags, handling, added.identifier, added.automatic


def standing(known: r.SubscriptionAdded | r.SubscriptionGivenUp) -> tuple[object, ...]:
    """The same of one that the client may have given up."""
    return options(known) if isinstance(known, r.SubscriptionAdded) else (known.filter, "given up")
