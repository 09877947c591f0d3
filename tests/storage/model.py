"""What a store has to remember, by the simplest means; and anything that may happen to it, for hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from pushd.broker import records as r
from pushd.broker.message import Message, PushMark, Source
from pushd.mqtt.codes import PropertyId, QoS, RetainHandling
from pushd.mqtt.packets import SubscriptionRequest, Will
from tests.storage.pictures import in_archive, kept, later, options, picture_of

# Topics, user names and client ids of any text, payloads of any bytes.
IDS = ["ada", "bob", "é/👋 'quoted\"%s", ""]
BODIES = [b"", b"x", bytes(range(256)), b"y" * 70_000]


@dataclass
class Model:
    """
    The journal in the simplest words, which also says which records are legal next.

    Each record is offered as a seed of random numbers, and becomes something that a broker could have done.
    """

    sessions: dict[str, tuple[str | None, float | None, str | None]] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)
    subscriptions: dict[tuple[str, str], r.SubscriptionAdded] = field(default_factory=dict)
    given_up: set[tuple[str, str]] = field(default_factory=set)
    queued: dict[str, list[tuple[int, Message]]] = field(default_factory=dict)
    inflight: dict[str, list[tuple[int, Message | None]]] = field(default_factory=dict)
    received: dict[str, set[int]] = field(default_factory=dict)
    retained: dict[str, Message] = field(default_factory=dict)
    wills: dict[str, r.WillSet] = field(default_factory=dict)
    scheduled: dict[str, r.MessageScheduled] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    archive: dict[int, r.Kept] = field(default_factory=dict)
    last_kept: int = 0
    now: int = 100
    notes: dict[tuple[str, str], r.Note] = field(default_factory=dict)

    def open(
        self, client_id: str, username: str | None, expiry_s: float | None, listener: str | None
    ) -> r.Record:
        self.sessions[client_id] = username, expiry_s, listener
        self.left.pop(client_id, None)
        for of_session in (self.queued, self.inflight):
            of_session.setdefault(client_id, [])
        self.received.setdefault(client_id, set())
        self.sequences.setdefault(client_id, 0)
        return r.SessionOpened(client_id, username, expiry_s, listener)

    def end(self, client_id: str) -> r.Record:
        for of_session in (self.sessions, self.queued, self.inflight, self.received, self.sequences):
            del of_session[client_id]
        self.subscriptions = {key: old for key, old in self.subscriptions.items() if key[0] != client_id}
        self.given_up = {key for key in self.given_up if key[0] != client_id}
        self.left.pop(client_id, None)
        return r.SessionEnded(client_id)

    def leave(self, client_id: str, at: float) -> r.Record:
        self.left[client_id] = at
        return r.SessionLeft(client_id, at)

    def subscribe(
        self, client_id: str, request: SubscriptionRequest, identifier: int, automatic: bool
    ) -> r.Record:
        record = r.SubscriptionAdded(client_id, request, identifier, automatic)
        self.subscriptions[client_id, request.filter] = record
        self.given_up.discard((client_id, request.filter))
        return record

    def unsubscribe(self, client_id: str, filter: str) -> r.Record | None:
        if self.subscriptions.pop((client_id, filter), None) is None:
            return None
        return r.SubscriptionRemoved(client_id, filter)

    def give_up(self, client_id: str, filter: str) -> r.Record:
        self.subscriptions.pop((client_id, filter), None)
        self.given_up.add((client_id, filter))
        return r.SubscriptionGivenUp(client_id, filter)

    def queue(self, client_id: str, message: Message) -> r.Record:
        self.sequences[client_id] += 1
        self.queued[client_id].append((self.sequences[client_id], message))
        return r.MessageQueued(client_id, self.sequences[client_id], message)

    def drop(self, client_id: str) -> r.Record | None:
        if not self.queued[client_id]:
            return None
        return r.MessageDropped(client_id, self.queued[client_id].pop(0)[0])

    def replace(self, client_id: str, place: int, message: Message) -> tuple[r.Record, ...]:
        if place >= len(self.queued[client_id]):
            return ()
        sequence, _ = self.queued[client_id][place]
        self.queued[client_id][place] = sequence, message
        return r.MessageDropped(client_id, sequence), r.MessageQueued(client_id, sequence, message)

    def assign(self, client_id: str, packet_id: int) -> r.Record | None:
        if not self.queued[client_id] or packet_id in dict(self.inflight[client_id]):
            return None
        sequence, message = self.queued[client_id].pop(0)
        self.inflight[client_id].append((packet_id, message))
        return r.PacketIdAssigned(client_id, sequence, packet_id)

    def send(self, client_id: str, packet_id: int, message: Message) -> r.Record | None:
        if packet_id in dict(self.inflight[client_id]):
            return None
        self.inflight[client_id].append((packet_id, message))
        return r.MessageSent(client_id, packet_id, message)

    def release(self, client_id: str, packet_id: int) -> r.Record | None:
        if dict(self.inflight[client_id]).get(packet_id) is None:
            return None
        self._forget(client_id, packet_id)
        self.inflight[client_id].append((packet_id, None))
        return r.MessageReleased(client_id, packet_id)

    def acknowledge(self, client_id: str, packet_id: int) -> r.Record | None:
        if packet_id not in dict(self.inflight[client_id]):
            return None
        self._forget(client_id, packet_id)
        return r.MessageAcknowledged(client_id, packet_id)

    def _forget(self, client_id: str, packet_id: int) -> None:
        self.inflight[client_id] = [entry for entry in self.inflight[client_id] if entry[0] != packet_id]

    def receive(self, client_id: str, packet_id: int) -> r.Record | None:
        if packet_id in self.received[client_id]:
            return None
        self.received[client_id].add(packet_id)
        return r.PacketIdReceived(client_id, packet_id)

    def finish(self, client_id: str, packet_id: int) -> r.Record | None:
        if packet_id not in self.received[client_id]:
            return None
        self.received[client_id].remove(packet_id)
        return r.PacketIdReleased(client_id, packet_id)

    def retain(self, message: Message) -> r.Record:
        self.retained[message.topic] = message
        return r.RetainedSet(message)

    def clear(self, topic: str) -> r.Record | None:
        return None if self.retained.pop(topic, None) is None else r.RetainedCleared(topic)

    def give_will(self, client_id: str, username: str | None, fields: Will) -> r.Record:
        self.wills[client_id] = r.WillSet(client_id, username, fields)
        return self.wills[client_id]

    def take_will(self, client_id: str) -> r.Record:
        self.wills.pop(client_id, None)
        return r.WillCleared(client_id)

    def schedule(self, id: str, due_at: float, message: Message) -> r.Record:
        self.scheduled[id] = r.MessageScheduled(id, due_at, message)
        return self.scheduled[id]

    def unschedule(self, id: str) -> r.Record:
        self.scheduled.pop(id, None)
        return r.ScheduleEnded(id)

    def keep(self, id: str, message: Message, pause_s: int, keep_s: int, event: str) -> r.Record:
        self.now += pause_s
        self.last_kept += 1
        kept = r.Kept(self.last_kept, id, self.now, self.now + keep_s, message, event)
        self.archive[kept.number] = kept
        return r.MessageKept(kept)

    def forget_kept(self, place: int) -> r.Record | None:
        if place >= len(self.archive):
            return None
        return r.KeptForgotten(self.archive.pop([*self.archive][place]).number)

    def expire_kept(self, pause_s: int) -> r.Record:
        self.now += pause_s
        self.archive = {number: kept for number, kept in self.archive.items() if kept.until > self.now}
        return r.KeptExpired(self.now)

    def note(self, kind: str, key: str, value: bytes, until: int) -> r.Record:
        self.notes[kind, key] = r.Note(kind, key, value, until)
        return r.NoteSet(self.notes[kind, key])

    def clear_note(self, kind: str, key: str) -> r.Record:
        self.notes.pop((kind, key), None)
        return r.NoteCleared(kind, key)

    def find(self, query: r.KeptQuery) -> list[r.Kept]:
        found = [kept for kept in self.archive.values() if query.wants(kept)]
        if query.latest:
            last = {kept.message.topic: kept.number for kept in found}
            found = [kept for kept in found if kept.number in last.values()]
        return found[: query.limit]

    def messages_of(self, client_id: str) -> r.SavedMessages:
        if client_id not in self.sessions:
            return r.SavedMessages()
        queued, inflight = dict(self.queued[client_id]), dict(self.inflight[client_id])
        return r.SavedMessages(queued, inflight, set(self.received[client_id]))

    def picture(self) -> dict[str, Any]:
        return {
            "archive": [in_archive(kept) for kept in self.archive.values()],
            "notes": dict(self.notes),
            "retained": {topic: kept(message) for topic, message in self.retained.items()},
            "sessions": {
                client_id: (
                    username,
                    expiry_s,
                    self.left.get(client_id),
                    {key[1]: options(old) for key, old in self.subscriptions.items() if key[0] == client_id},
                    *picture_of(self.messages_of(client_id)),
                    listener,
                    {key[1] for key in self.given_up if key[0] == client_id},
                )
                for client_id, (username, expiry_s, listener) in self.sessions.items()
            },
            "scheduled": {id: later(scheduled) for id, scheduled in self.scheduled.items()},
            "wills": {client_id: (will.username, will.fields) for client_id, will in self.wills.items()},
        }


def marked(message: Message, push: PushMark | None) -> Message:
    """The same message, as a push."""
    message.push = push
    return message


def signed_by(message: Message, source: Source | None) -> Message:
    """The same message, as somebody's."""
    message.source = source
    return message


client_ids = st.sampled_from(IDS)
packet_ids = st.sampled_from([1, 2, 3, 65_535])
schedule_ids = st.sampled_from(["1", "é", ""])
topics = st.sampled_from(["t", "t/é", "$x"])
bodies = st.sampled_from(BODIES)
unmarked = st.builds(
    Message, topics, bodies, st.integers(0, 2), st.booleans(),
    st.sampled_from([None, {PropertyId.CONTENT_TYPE: "text/plain", PropertyId.USER_PROPERTY: [("a", "1")]}]),
    st.sampled_from([None, 12.25, 86_400.5]),
)  # fmt: skip
pushes = st.sampled_from([None, PushMark("a1B2c3D4e5F6", 99), PushMark("é '\"; x", 7, 60, True, "key", True)])
messages = st.builds(marked, unmarked, pushes)
sources = st.sampled_from([None, Source("ada", None, "port 1883"), Source("", "ü'\"", "unix:/é")])
signed = st.builds(signed_by, messages, sources)
variants = st.builds(
    Message.variant, messages, st.integers(0, 2), st.booleans(), st.sampled_from([(), (1,), (268_435_455, 2)])
)
requests = st.builds(
    SubscriptionRequest, st.sampled_from(["t", "t/#", "+/é"]), st.sampled_from(list(QoS)),
    st.booleans(), st.booleans(), st.sampled_from(list(RetainHandling)),
)  # fmt: skip
wills = st.builds(
    Will, topics, bodies, st.sampled_from(list(QoS)), st.booleans(),
    st.sampled_from([{}, {PropertyId.WILL_DELAY_INTERVAL: 5, PropertyId.MESSAGE_EXPIRY_INTERVAL: 0}]),
)  # fmt: skip
usernames = st.sampled_from([None, "", "ada", "ü"])
expiries = st.sampled_from([None, 1.0, 86_400.5])
kinds = st.sampled_from(["answer", "é"])
note_keys = st.sampled_from(["", "k", "ü'"])
CHOICES: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "open": (client_ids, usernames, expiries, st.sampled_from([None, "port 1883", "unix:/é"])),
    "leave": (client_ids, st.sampled_from([1.5, 3600.25])),
    "end": (client_ids,),
    "subscribe": (client_ids, requests, st.sampled_from([0, 1, 268_435_455]), st.booleans()),
    "unsubscribe": (client_ids, st.sampled_from(["t", "t/#", "+/é"])),
    "give_up": (client_ids, st.sampled_from(["t", "t/#", "+/é"])),
    "queue": (client_ids, variants),
    "drop": (client_ids,),
    "replace": (client_ids, st.integers(0, 2), variants),
    "assign": (client_ids, packet_ids),
    "send": (client_ids, packet_ids, messages),
    "release": (client_ids, packet_ids),
    "acknowledge": (client_ids, packet_ids),
    "receive": (client_ids, packet_ids),
    "finish": (client_ids, packet_ids),
    "retain": (signed,),
    "clear": (topics,),
    "give_will": (client_ids, usernames, wills),
    "take_will": (client_ids,),
    "schedule": (schedule_ids, st.sampled_from([0.0, 1.5, 2_000.25]), signed),
    "unschedule": (schedule_ids,),
    "keep": (
        st.sampled_from(["a", "b", "é; x"]), messages, st.integers(0, 40), st.sampled_from([1, 60, 90]),
        st.sampled_from(["message", "message_clear"]),
    ),
    "forget_kept": (st.integers(0, 3),),
    "expire_kept": (st.integers(0, 90),),
    "note": (kinds, note_keys, bodies, st.sampled_from([0, 1_900_000_000])),
    "clear_note": (kinds, note_keys),
}  # fmt: skip
NEED_NO_SESSION = (
    "open", "retain", "clear", "give_will", "take_will", "schedule", "unschedule", "keep", "forget_kept",
    "expire_kept", "note", "clear_note",
)  # fmt: skip
WEIGHTED = [*CHOICES, "open", *["queue", "assign", "subscribe", "keep"] * 2]
steps = st.lists(
    st.one_of([st.tuples(st.just(name), st.tuples(*CHOICES[name])) for name in WEIGHTED]), max_size=60
)


def journal(model: Model, steps: Iterable[tuple[str, tuple[Any, ...]]]) -> Iterable[r.Record]:
    """Those of the steps that are legal, one by one, as the model takes them."""
    for name, arguments in steps:
        if name not in NEED_NO_SESSION and arguments[0] not in model.sessions:
            continue
        step: Callable[..., r.Record | tuple[r.Record, ...] | None] = getattr(model, name)
        done = step(*arguments)
        if isinstance(done, tuple):
            yield from done
        elif done is not None:
            yield done
