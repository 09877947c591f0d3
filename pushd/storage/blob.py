"""
A batch as bytes: what the journal has of it.

It is a MessagePack map (https://msgpack.org). What a batch says nothing of is left out:

    payloads       [bytes, ...], each once, however many messages have it
    messages       [[payload, topic, qos, retain, properties, expires_at, subscription_ids, source, push],
                   ...]; `payload` is a place in `payloads`; properties, source and push as in the tables;
                   push is left out where there is none, and source where there is neither, as they were by
                   versions that did not know them
    opened         [[session, client_id, username, expiry_s, listener], ...]; listener is left out where it
                   is not known, as it was by versions before it was asked for
    left           [[session, at], ...]
    ended          [session, ...]
    subscriptions  [[[session, filter], [qos, no_local, retain_as_published, retain_handling,
                   identifier, automatic]], ...]; automatic is left out where it is not; nothing in the list:
                   the client gave it up
    queued         [[[session, sequence], message], ...]; `message` is a place in `messages`
    unqueued       [[session, sequence], ...]
    inflight       [[[session, packet_id], message], ...]; a negative number is that of a queued message, with
                   its sign changed; nil: PUBREC came
    acknowledged   [[session, packet_id], ...]
    received       [[[session, packet_id], held], ...]
    retained       [[topic, message], ...]
    wills          [[client_id, [username, topic, payload, qos, retain, properties]], ...]
    scheduled      [[id, [due_at, message]], ...]
    kept           [[number, id, at, until, event, message], ...]
    forgotten      [number, ...]
    expired        [until], if anything is
    notes          [[[kind, key], [value, until]], ...]

Nil in place of a message, subscription, Will or note: there is none any more. Times are seconds since 1970.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn, cast

import msgpack  # type: ignore[import-untyped]

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.mqtt.codes import QoS, RetainHandling
from pushd.mqtt.packets import SubscriptionRequest
from pushd.mqtt.packets import Will as WillFields
from pushd.mqtt.properties import WILL
from pushd.storage.batch import Batch, Key, Standing
from pushd.storage.rows import (
    DamagedRow,
    Times,
    read_message,
    read_properties,
    read_push,
    read_source,
    written_properties,
    written_push,
    written_source,
)

# SQLite's integers have 64 bits with a sign.
_MAX = 2**63 - 1


def pack(batch: Batch, times: Times, most_bytes: int) -> bytes | None:
    """
    A batch as bytes.

    :param most_bytes: that payloads may have together.
    :return: ``None`` if they have more.
    """
    messages = _Messages(times)
    place = messages.__getitem__
    changes: dict[str, Any] = {
        "queued": list(zip(batch.queued, map(place, batch.queued.values()), strict=True)),
        "unqueued": list(batch.unqueued),
        "inflight": [
            (key, None if sent is None else -sent if type(sent) is int else place(sent))
            for key, sent in batch.inflight.items()
        ],
        "acknowledged": list(batch.acknowledged),
        "received": list(batch.received.items()),
        "retained": [
            (topic, None if message is None else place(message)) for topic, message in batch.retained.items()
        ],
        **_of_sessions(batch, times),
        **_of_clients(batch),
        "scheduled": [
            (id, None if later is None else (times.written(later.due_at), place(later.message)))
            for id, later in batch.scheduled.items()
        ],
        **_of_archive(batch, messages),
        "notes": [
            (key, None if note is None else (note.value, note.until)) for key, note in batch.notes.items()
        ],
        "messages": messages.rows,
        "payloads": messages.payloads,
    }
    if messages.payload_bytes > most_bytes:
        return None
    return cast(bytes, msgpack.packb({name: value for name, value in changes.items() if value}))


class _Messages(dict[Any, int]):
    """
    The places of messages, which each gets when it is first asked for.

    Variants of one publication share their payload, so that it is enough to compare identities.
    """

    def __init__(self, times: Times) -> None:
        self._offset = times.offset
        self._places: dict[int, int] = {}
        self.payloads: list[bytes] = []
        self.rows: list[tuple[Any, ...]] = []
        self.payload_bytes = 0

    def __missing__(self, message: Message) -> int:
        payload, expires_at = message.payload, message.expires_at
        payload_place = self._places.get(id(payload))
        if payload_place is None:
            payload_place = self._places[id(payload)] = len(self.payloads)
            self.payloads.append(payload)
            self.payload_bytes += len(payload)
        place = self[message] = len(self.rows)
        row: tuple[Any, ...] = (
            payload_place,
            message.topic,
            message.qos,
            message.retain,
            written_properties(message.properties) if message.properties else None,
            None if expires_at is None else expires_at + self._offset,
            message.subscription_ids,
        )
        source, push = message.source, message.push
        if push is not None:
            row = (*row, written_source(source), written_push(push))
        elif source is not None:
            row = (*row, written_source(source))
        self.rows.append(row)
        return place


def _of_sessions(batch: Batch, times: Times) -> dict[str, Any]:
    return {
        "opened": [
            (number, opened.client_id, opened.username, opened.expiry_s, *_known(opened.listener))
            for number, opened in batch.opened.items()
        ],
        "left": [(number, times.written(at)) for number, at in batch.left.items()],
        "ended": list(batch.ended),
    }


def _of_clients(batch: Batch) -> dict[str, Any]:
    return {
        "subscriptions": [
            (key, None if standing is None else _standing(standing))
            for key, standing in batch.subscriptions.items()
        ],
        "wills": [
            (client_id, None if will is None else (will.username, *_fields(will.fields)))
            for client_id, will in batch.wills.items()
        ],
    }


def _of_archive(batch: Batch, messages: _Messages) -> dict[str, Any]:
    return {
        "kept": [
            (number, kept.id, kept.at, kept.until, kept.event, messages[kept.message])
            for number, kept in batch.kept.items()
        ],
        "forgotten": list(batch.forgotten),
        "expired": [batch.expired] if batch.expired else [],
    }


def _known(listener: str | None) -> tuple[str, ...]:
    return () if listener is None else (listener,)


def _standing(standing: Standing) -> tuple[Any, ...]:
    if isinstance(standing, r.SubscriptionGivenUp):
        return ()
    return (*_options(standing.request), standing.identifier, *((True,) if standing.automatic else ()))


def _options(request: SubscriptionRequest) -> tuple[Any, ...]:
    return request.qos, request.no_local, request.retain_as_published, request.retain_handling


def _fields(will: WillFields) -> tuple[Any, ...]:
    return will.topic, will.payload, will.qos, will.retain, written_properties(will.properties)


def unpack(number: int, blob: bytes, times: Times) -> Batch:
    """
    Read what `pack` made.

    :param number: of the batch.
    :raises DamagedRow: it is something else.
    """
    try:
        changes = msgpack.unpackb(blob, use_list=False)
        return _Reader(changes, times).batch(number)
    except (
        DamagedRow,
        msgpack.UnpackException,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as problem:
        raise DamagedRow(f"journal: {number}: {problem!r}") from problem


class _Reader:
    """Takes a batch out of what MessagePack made of it. Anything odd is some exception: see `unpack`."""

    def __init__(self, changes: dict[str, Any], times: Times) -> None:
        self._changes = changes
        self._times = times
        payloads = self._list("payloads")
        self._messages = [self._message(payloads, *row) for row in self._list("messages")]

    def batch(self, number: int) -> Batch:
        batch = Batch(number)
        self._read_messages(batch)
        for session, *opened in self._list("opened"):
            batch.opened[_number(session)] = _opened(*opened)
        for session, at in self._list("left"):
            batch.left[_number(session)] = self._time(at)
        batch.ended = {_number(session) for session in self._list("ended")}
        self._read_subscriptions(batch)
        batch.retained = {_text(topic): self._at(place) for topic, place in self._list("retained")}
        for client_id, will in self._list("wills"):
            batch.wills[_text(client_id)] = None if will is None else _will(client_id, *will)
        for id, later in self._list("scheduled"):
            batch.scheduled[_text(id)] = None if later is None else self._scheduled(id, *later)
        self._read_archive(batch)
        for (kind, key), note in self._list("notes"):
            batch.notes[_text(kind), _text(key)] = None if note is None else _note(kind, key, *note)
        return batch

    def _list(self, name: str) -> tuple[Any, ...]:
        rows = self._changes.get(name, ())
        return rows if type(rows) is tuple else _nonsense(name)

    def _read_messages(self, batch: Batch) -> None:
        for key, place in self._list("queued"):
            batch.queued[_key(key)] = self._messages[_number(place)]
        batch.unqueued = {_key(key) for key in self._list("unqueued")}
        for key, sent in self._list("inflight"):
            batch.inflight[_key(key)] = _number(-sent) if sent is not None and sent < 0 else self._at(sent)
        batch.acknowledged = {_key(key) for key in self._list("acknowledged")}
        batch.received = {_key(key): bool(held) for key, held in self._list("received")}

    def _read_subscriptions(self, batch: Batch) -> None:
        for (session, filter), options in self._list("subscriptions"):
            key = _number(session), _text(filter)
            batch.subscriptions[key] = None if options is None else _read_standing(filter, *options)

    def _read_archive(self, batch: Batch) -> None:
        for number, id, at, until, event, place in self._list("kept"):
            message = self._messages[_number(place)]
            batch.kept[_number(number)] = r.Kept(
                number, _text(id), _number(at), _number(until), message, _text(event)
            )
        batch.forgotten = {_number(number) for number in self._list("forgotten")}
        for until in self._list("expired"):
            batch.expired = _number(until)

    def _message(
        self, payloads: tuple[Any, ...], place: int, topic: Any, qos: Any, retain: Any,
        properties: Any, expires_at: Any, ids: Any, source: Any = None, push: Any = None,
    ) -> Message:  # fmt: skip
        expires_at = _seconds_or_none(expires_at)
        message = read_message(topic, payloads[_number(place)], properties, expires_at, self._times)
        message.qos, message.retain = int(QoS(qos)), bool(retain)
        message.subscription_ids = tuple(map(_number, ids))
        message.source = read_source(_text_or_none(source))
        message.push = read_push(_text_or_none(push))
        return message

    def _at(self, place: int | None) -> Message | None:
        return None if place is None else self._messages[_number(place)]

    def _scheduled(self, id: str, due_at: Any, place: Any) -> r.MessageScheduled:
        return r.MessageScheduled(id, self._time(due_at), self._messages[_number(place)])

    def _time(self, at: Any) -> float:
        seconds = _seconds_or_none(at)
        return _nonsense(at) if seconds is None else seconds - self._times.offset


def _will(
    client_id: str, username: Any, topic: Any, payload: Any, qos: Any, retain: Any, properties: Any
) -> r.WillSet:
    if type(payload) is not bytes:
        _nonsense(payload)
    fields = WillFields(_text(topic), payload, QoS(qos), bool(retain), read_properties(properties, WILL))
    return r.WillSet(client_id, _text_or_none(username), fields)


def _note(kind: str, key: str, value: Any, until: Any) -> r.Note:
    if type(value) is not bytes:
        _nonsense(value)
    return r.Note(kind, key, value, _number(until))


def _opened(client_id: Any, username: Any, expiry_s: Any, listener: Any = None) -> r.SessionOpened:
    return r.SessionOpened(
        _text(client_id), _text_or_none(username), _seconds_or_none(expiry_s), _text_or_none(listener)
    )


# Tables have subscriptions by the number of their session: its client id is not told again.


def _read_standing(filter: str, *options: Any) -> Standing:
    return _subscription(filter, *options) if options else r.SubscriptionGivenUp("", filter)


def _subscription(
    filter: str,
    qos: Any,
    no_local: Any,
    as_published: Any,
    handling: Any,
    identifier: Any,
    automatic: Any = False,
) -> r.SubscriptionAdded:
    request = SubscriptionRequest(
        filter, QoS(qos), bool(no_local), bool(as_published), RetainHandling(handling)
    )
    return r.SubscriptionAdded("", request, _number(identifier), bool(automatic))


def _key(key: Any) -> Key:
    session, other = key
    return _number(session), _number(other)


def _number(value: Any) -> int:
    return value if type(value) is int and 0 <= value <= _MAX else _nonsense(value)


def _text(value: Any) -> str:
    return value if type(value) is str else _nonsense(value)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _seconds_or_none(value: Any) -> float | None:
    if value is None:
        return None
    return float(value) if type(value) in (int, float) and math.isfinite(value) else _nonsense(value)


def _nonsense(value: Any) -> NoReturn:
    raise ValueError(f"{value!r} makes no sense")
