"""
What every store must do, told by records and by what `load` gives back.

A test module makes a case of it, ``class SomeTests(StoreContract, SynchronousTestCase)``, with `make`, and
with `reopen` if the store survives its process.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.broker import records as r
from pushd.broker.interfaces import IStore
from pushd.broker.message import Message, PushMark, Source
from pushd.mqtt.codes import PropertyId, QoS
from pushd.mqtt.packets import SubscriptionRequest, Will
from tests.storage.model import Model, journal, marked, signed_by, steps, topics
from tests.storage.pictures import (
    GIVEN_UP,
    INFLIGHT,
    LEFT_AT,
    QUEUED,
    SUBSCRIPTIONS,
    in_archive,
    kept,
    outline,
    outline_of,
    picture,
    plain,
)


class StoreContract:
    """Mixed into a `SynchronousTestCase`, which it is for the type checker's sake as well."""

    store: Any

    @abstractmethod
    def make(self) -> Any:
        """A new, empty store. Each test case of a store has its own."""

    def reopen(self, store: Any) -> Any:
        """What the next process finds. Here: the same store, for one that does not survive its process."""
        return store

    def setUp(self) -> None:
        self.store = self.make()

    def kept(self) -> dict[str, Any]:
        """What is given back once all is durable."""
        self.durable()
        self.store = self.reopen(self.store)
        loaded = self.store.load()
        if not isinstance(loaded, Deferred):
            loaded = succeed(loaded)
        return self.whole(self.result(loaded))

    def whole(self, state: r.SavedState) -> dict[str, Any]:
        """What was loaded, with the messages of all sessions, of which it must tell the truth."""
        outlines = {client_id: outline(session) for client_id, session in state.sessions.items()}
        messages = {client_id: self.messages(client_id) for client_id in state.sessions}
        self.check({client_id: outline_of(of) for client_id, of in messages.items()}, outlines)
        archive = self.find()
        self.check(r.amounts(archive), state.kept_by_minute)
        self.check(True, state.last_kept >= max((kept.number for kept in archive), default=0))
        self.check(True, state.last_kept_at >= max((kept.at for kept in archive), default=0))
        return picture(state, messages, archive)

    def find(self, *topics: str, **wanted: Any) -> list[r.Kept]:
        """What the store finds in its archive now."""
        found = self.store.find_kept(r.KeptQuery(topics, **wanted))
        kept: list[r.Kept] = self.result(found if isinstance(found, Deferred) else succeed(found))
        return kept

    def numbers(self, *topics: str, **wanted: Any) -> list[int]:
        """The same, as numbers."""
        return [kept.number for kept in self.find(*topics, **wanted)]

    def number_of(self, id: str) -> int | None:
        number = self.store.kept_number(id)
        found: int | None = self.result(number if isinstance(number, Deferred) else succeed(number))
        return found

    def keep(self, *topics: str, keep_s: int = 60) -> None:
        """One for each topic, numbered from 1, a second apart, all with a payload that tells its number."""
        for n, topic in enumerate(topics, 1):
            self.record(r.MessageKept(r.Kept(n, f"id{n}", n, n + keep_s, Message(topic, b"%d" % n))))

    def messages(self, client_id: str) -> r.SavedMessages:
        """What the store has for a session now."""
        loaded = self.store.load_messages(client_id)
        messages: r.SavedMessages = self.result(loaded if isinstance(loaded, Deferred) else succeed(loaded))
        return messages

    def durable(self) -> None:
        self.result(self.store.barrier())

    def result(self, deferred: Deferred[Any]) -> Any:
        """The result of a Deferred that has fired. A store with threads may wait for it here."""
        assert isinstance(self, SynchronousTestCase)
        return self.successResultOf(deferred)

    def record(self, *records: r.Record) -> None:
        for record in records:
            self.store.record(record)

    def check(self, expected: object, given: object) -> None:
        assert isinstance(self, SynchronousTestCase)
        self.assertEqual(expected, given)

    def test_interface(self) -> None:
        """It is what the broker asks for."""
        verifyObject(IStore, self.store)

    def test_empty(self) -> None:
        """A new store remembers nothing."""
        empty: dict[str, Any] = {"retained": {}, "sessions": {}, "scheduled": {}, "wills": {}}
        self.check({**empty, "archive": [], "notes": {}}, self.kept())

    def test_pending(self) -> None:
        """`pending` says whether anything is not durable yet."""
        self.check(False, self.store.pending)
        self.record(r.RetainedSet(Message("t", b"x")))
        self.check(True, self.store.pending)
        self.durable()
        self.check((False, None), (self.store.pending, self.store.failing))

    def test_barriers_fire_in_order(self) -> None:
        """What was recorded first is durable first."""
        fired: list[int] = []
        barriers = []
        for n in range(3):
            self.record(r.RetainedSet(Message(f"t/{n}", b"x")))
            barriers.append(self.store.barrier().addCallback(lambda _, n=n: fired.append(n)))
        for barrier in barriers:
            self.result(barrier)
        self.check([0, 1, 2], fired)

    def test_barrier_without_records(self) -> None:
        """It fires, with nothing to wait for."""
        self.durable()

    def test_order_of_the_queue(self) -> None:
        """Queued messages come back in the order of their numbers."""
        self.record(r.SessionOpened("ada", None, None))
        self.record(*[r.MessageQueued("ada", n, Message("t", b"%d" % n, 1)) for n in range(1, 13)])
        self.record(*[r.PacketIdAssigned("ada", n, n) for n in (1, 2)])
        queued = self.kept()["sessions"]["ada"][QUEUED]
        self.check(list(range(3, 13)), [sequence for sequence, _ in queued])

    def test_taken_place(self) -> None:
        """A message that takes another's place has its number, before and after it is durable."""
        self.record(r.SessionOpened("ada", None, None))
        self.record(*[r.MessageQueued("ada", n, Message("t", b"%d" % n, 1)) for n in (1, 2, 3)])
        self.durable()
        self.record(r.MessageDropped("ada", 2), r.MessageQueued("ada", 2, Message("t", b"new", 1)))
        expected = [(1, b"1"), (2, b"new"), (3, b"3")]
        self.check(expected, [(n, each.payload) for n, each in self.messages("ada").queued.items()])
        queued = self.kept()["sessions"]["ada"][QUEUED]
        self.check(expected, [(n, message[1]) for n, message in queued])

    def test_order_of_what_is_in_flight(self) -> None:
        """The order is that of sending; what was released moves behind, in the order of the PUBRECs."""
        self.record(r.SessionOpened("ada", None, None))
        self.record(*[r.MessageQueued("ada", n, Message("t", b"%d" % n, 2)) for n in range(1, 5)])
        ids = (9, 65_535, 1, 4)
        self.record(*[r.PacketIdAssigned("ada", n, packet_id) for n, packet_id in enumerate(ids, 1)])
        self.record(r.MessageReleased("ada", 65_535), r.MessageReleased("ada", 9))
        inflight = self.kept()["sessions"]["ada"][INFLIGHT]
        self.check([1, 4, 65_535, 9], [packet_id for packet_id, _ in inflight])
        self.check([None, None], [message for _, message in inflight[2:]])

    def test_identifier_that_is_used_again(self) -> None:
        """A packet identifier that was acknowledged is a new message, in its new place."""
        self.record(r.SessionOpened("ada", None, None))
        self.record(*[r.MessageQueued("ada", n, Message("t", b"%d" % n, 1)) for n in (1, 2, 3)])
        self.record(r.PacketIdAssigned("ada", 1, 1), r.PacketIdAssigned("ada", 2, 2))
        self.record(r.MessageAcknowledged("ada", 1), r.PacketIdAssigned("ada", 3, 1))
        inflight = self.kept()["sessions"]["ada"][INFLIGHT]
        self.check([(2, b"2"), (1, b"3")], [(packet_id, message[1]) for packet_id, message in inflight])

    def test_session_that_ended(self) -> None:
        """Nothing of it comes back, also when its client id begins anew; others keep what they have."""
        shared = Message("t", b"for both", 1)
        for client_id in ("ada", "bob"):
            self.record(r.SessionOpened(client_id, None, None), r.MessageQueued(client_id, 1, shared))
        self.record(r.SubscriptionAdded("ada", SubscriptionRequest("t")), r.PacketIdReceived("ada", 7))
        self.record(r.SessionEnded("ada"), r.SessionOpened("ada", "new", 60.0))
        sessions = self.kept()["sessions"]
        self.check(("new", 60.0, None, {}, [], [], set(), None, set()), sessions["ada"])
        self.check([(1, plain(shared))], sessions["bob"][QUEUED])

    def test_session_that_is_opened_again(self) -> None:
        """A client that comes back keeps everything; its name and expiry are the new ones."""
        self.record(r.SessionOpened("ada", "old", None), r.SubscriptionAdded("ada", SubscriptionRequest("t")))
        self.record(r.SessionOpened("ada", "new", 5.0))
        username, expiry_s, _, subscriptions, *_ = self.kept()["sessions"]["ada"]
        self.check(("new", 5.0, ["t"]), (username, expiry_s, list(subscriptions)))

    def test_message_that_many_wait_for(self) -> None:
        """A push to many sessions comes back for each, whoever has had it already."""
        push = Message("t", b"body" * 5000, 1)
        for n in range(20):
            self.record(r.SessionOpened(f"s{n}", None, None), r.MessageQueued(f"s{n}", 1, push))
        for n in range(10):
            self.record(r.PacketIdAssigned(f"s{n}", 1, 1), r.MessageAcknowledged(f"s{n}", 1))
        sessions = self.kept()["sessions"]
        self.check([[]] * 10, [sessions[f"s{n}"][QUEUED] for n in range(10)])
        self.check([[(1, plain(push))]] * 10, [sessions[f"s{n}"][QUEUED] for n in range(10, 20)])

    def test_retained(self) -> None:
        """The last one of each topic; a topic that was cleared has none."""
        self.record(*[r.RetainedSet(Message("t", b"%d" % n, n, True)) for n in range(3)])
        self.record(r.RetainedSet(Message("u", b"x")), r.RetainedCleared("u"))
        self.check({"t": ("t", b"2", 2, True, {}, None, (), None)}, self.kept()["retained"])

    def test_who_retained_it(self) -> None:
        """Comes back with it, also when it was scheduled before."""
        source = Source("ada's phone", "ada", "port 1883")
        self.record(r.RetainedSet(signed_by(Message("t", b"x", 1, True), source)))
        self.record(r.MessageScheduled("1", 5.0, signed_by(Message("u", b"y", 1, True), source)))
        everything = self.kept()
        self.check(source, everything["retained"]["t"][-1])
        self.check(source, everything["scheduled"]["1"][-2][-1])

    def test_client_that_left(self) -> None:
        """When it did is kept until it is back, so that a restart does not lengthen its session's life."""
        self.record(*[r.SessionOpened(client_id, None, 60.0) for client_id in ("ada", "bob")])
        self.record(r.SessionLeft("ada", 12.5), r.SessionLeft("bob", 13.5))
        self.durable()
        self.record(r.SessionOpened("bob", None, 60.0))
        sessions = self.kept()["sessions"]
        self.check((12.5, None), (sessions["ada"][LEFT_AT], sessions["bob"][LEFT_AT]))

    def test_automatic_subscriptions(self) -> None:
        """Which ones the server made is kept; a client's own to the same filter is its own."""
        self.record(r.SessionOpened("ada", "a", None, "port 1883"))
        for filter in ("t", "u"):
            self.record(r.SubscriptionAdded("ada", SubscriptionRequest(filter), 0, automatic=True))
        self.durable()
        self.record(r.SubscriptionAdded("ada", SubscriptionRequest("u")))
        subscriptions = self.kept()["sessions"]["ada"][SUBSCRIPTIONS]
        self.check({"t": True, "u": False}, {filter: kept[-1] for filter, kept in subscriptions.items()})

    def test_given_up(self) -> None:
        """That a client does not want a subscription is kept until it wants it, or the session ends."""
        self.record(r.SessionOpened("ada", "a", None), r.SessionOpened("bob", "b", None))
        for filter in ("t", "u"):
            self.record(r.SubscriptionAdded("ada", SubscriptionRequest(filter), 0, automatic=True))
            self.record(r.SubscriptionGivenUp("ada", filter), r.SubscriptionGivenUp("bob", filter))
        self.check({"t", "u"}, self.kept()["sessions"]["ada"][GIVEN_UP])
        self.record(r.SubscriptionAdded("ada", SubscriptionRequest("t")), r.SessionEnded("bob"))
        self.record(r.SessionOpened("bob", "b", None))
        sessions = self.kept()["sessions"]
        self.check(({"u"}, set()), (sessions["ada"][GIVEN_UP], sessions["bob"][GIVEN_UP]))
        self.check(["t"], [*sessions["ada"][SUBSCRIPTIONS]])

    def test_wills(self) -> None:
        """A client's last Will is kept, whether it has a session or not, until it is sent or withdrawn."""
        last = Will("gone", b"x", QoS.AT_LEAST_ONCE, True, {PropertyId.WILL_DELAY_INTERVAL: 5})
        self.record(r.WillSet("ada", None, Will("gone", b"first")), r.WillSet("ada", "a", last))
        self.record(r.WillSet("bob", None, Will("gone", b"bob")), r.WillCleared("bob"))
        self.record(r.WillCleared("nobody"))
        self.check({"ada": ("a", last)}, self.kept()["wills"])

    def test_messages_before_they_are_durable(self) -> None:
        """A session that comes back gets everything, also what was recorded a moment ago."""
        self.record(r.SessionOpened("ada", None, None))
        self.record(*[r.MessageQueued("ada", n, Message("t", b"%d" % n, 2)) for n in (1, 2, 3)])
        self.durable()
        self.record(r.PacketIdAssigned("ada", 1, 7), r.MessageDropped("ada", 2), r.PacketIdReceived("ada", 9))
        self.record(r.MessageQueued("ada", 4, Message("t", b"4", 1)))
        messages = self.messages("ada")
        self.check(([3, 4], [7], {9}), ([*messages.queued], [*messages.inflight], messages.received))

    def test_messages_of_nobody(self) -> None:
        """A session that has none, or that there is not, has no messages."""
        self.record(r.SessionOpened("ada", None, None), r.SessionOpened("bob", None, None))
        self.record(r.MessageQueued("bob", 1, Message("t", b"x", 1)), r.SessionEnded("bob"))
        for client_id in ("ada", "bob", "eve"):
            self.check(r.SavedMessages(), self.messages(client_id))

    def test_scheduled(self) -> None:
        """What is to be published later is kept until it was, or will not be."""
        message = Message("t", b"x", 1, True, {PropertyId.CONTENT_TYPE: "text/plain"}, expires_at=60.0)
        self.record(*[r.MessageScheduled(id, 12.5, message) for id in ("a", "b", "a")])
        self.record(r.ScheduleEnded("b"), r.ScheduleEnded("c"))
        self.check({"a": ("a", 12.5, kept(message), None)}, self.kept()["scheduled"])

    def test_mark_of_a_push(self) -> None:
        """It stays, whether a message waits for a client, is in flight to it, or is to be published later."""
        mark = PushMark("a1B2c3D4e5F6", 1_800_000_000, 43_200, True, "door", True)
        push = marked(Message("t", b"x", 1), mark)
        self.record(r.SessionOpened("ada", None, None), r.MessageScheduled("a", 12.5, push))
        self.record(*[r.MessageQueued("ada", n, push.variant(n, False)) for n in (1, 2)])
        self.record(r.PacketIdAssigned("ada", 1, 7))
        everything = self.kept()
        messages = self.messages("ada")
        self.check((mark, mark), (messages.inflight[7].push, messages.queued[2].push))  # type: ignore[union-attr]
        self.check(mark, everything["scheduled"]["a"][-1])

    # The archive

    def test_archive(self) -> None:
        """What was said on some topics comes back in its order, with all that belongs to it."""
        push = marked(
            Message("t/é", b"\0;x", 2, True, {PropertyId.CONTENT_TYPE: "text/plain"}, 60.25),
            PushMark("a1", 5, 60, False, "k", True),
        )
        large = r.Kept(7, "b2", 6, 90, Message("u", b"y" * 70_000), "message_clear")
        self.record(r.MessageKept(r.Kept(4, "a1", 5, 65, push)), r.MessageKept(large))
        for _ in range(2):
            found = [in_archive(kept) for kept in self.find("t/é", "u", "none")]
            self.check([(4, "a1", 5, 65, "message", plain(push)), in_archive(large)], found)
            self.kept()

    def test_archive_before_it_is_durable(self) -> None:
        """What was recorded a moment ago is found, too."""
        self.keep("t")
        self.durable()
        self.record(r.MessageKept(r.Kept(2, "id2", 2, 62, Message("t", b"2"))))
        self.check(([1, 2], 2), (self.numbers("t"), self.number_of("id2")))

    def test_archive_in_pages(self) -> None:
        """The first ones after a number, as many as are wanted."""
        self.keep(*["t", "u"] * 10)
        for _ in range(2):
            self.check([1, 3, 5], self.numbers("t", limit=3))
            self.check([7, 9, 11], self.numbers("t", after=5, limit=3))
            self.check([6, 7, 8], self.numbers("u", "t", after=5, limit=3))
            self.check([19, 20], self.numbers(after=18))
            self.check([], self.numbers("t", after=19))
            self.kept()

    def test_archive_since(self) -> None:
        """What was said then or later."""
        self.keep("t", "u", "t", "t")
        for _ in range(2):
            self.check([3, 4], self.numbers("t", since=2))
            self.check([4], self.numbers("t", since=2, after=3))
            self.check([], self.numbers("t", since=5))
            self.kept()

    def test_archive_latest(self) -> None:
        """The last of each topic."""
        self.keep("t", "u", "t", "v")
        self.kept()
        self.record(r.MessageKept(r.Kept(5, "id5", 5, 65, Message("u", b"5"))))
        self.check([3, 5], self.numbers("t", "u", "none", latest=True))
        self.check([5], self.numbers("t", "u", latest=True, after=3))

    def test_archive_expires(self) -> None:
        """What is over is there no longer, and nobody hears that it was."""
        self.keep("t", "t", keep_s=60)
        self.record(r.MessageKept(r.Kept(3, "id3", 3, 5, Message("t", b""))), r.KeptExpired(61))
        self.check(([2], None), (self.numbers("t"), self.number_of("id1")))
        self.kept()
        self.check(([2], [2]), (self.numbers("t"), [kept.minute for kept in self.find()]))

    def test_archive_forgets(self) -> None:
        """One of them, whether it is durable or not; the next of the same id counts."""
        for n in (1, 2, 3):
            self.record(r.MessageKept(r.Kept(n, "same", n, 90, Message("t", b""))))
        self.durable()
        self.record(r.KeptForgotten(1))
        self.check(([2, 3], 2), (self.numbers("t"), self.number_of("same")))
        self.check([2], self.numbers("t", limit=1))
        self.record(r.KeptForgotten(3), r.KeptForgotten(9))
        self.check([2], self.numbers("t", latest=True))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(steps, min_size=1, max_size=2),
        st.builds(
            r.KeptQuery, st.sets(topics).map(tuple), st.integers(0, 6), st.sampled_from([0, 99, 120, 200]),
            st.just(False), st.sampled_from([1, 2, 1000]),
        ),
        st.booleans(),
    )  # fmt: skip
    def test_any_search(
        self, parts: list[list[tuple[str, tuple[Any, ...]]]], query: r.KeptQuery, latest: bool
    ) -> None:
        """Whatever is asked for, it is what a list of all would give."""
        self.setUp()
        model = Model()
        query = replace(query, latest=latest and bool(query.topics))
        for part in parts:
            self.durable()
            self.record(*journal(model, part))
            wanted = {name: getattr(query, name) for name in ("after", "since", "latest", "limit")}
            found = [in_archive(kept) for kept in self.find(*query.topics, **wanted)]
            self.check([in_archive(kept) for kept in model.find(query)], found)

    def test_notes(self) -> None:
        """The last of each kind and key, until it is cleared."""
        for value in (b"", b"\0x"):
            self.record(*[r.NoteSet(r.Note(kind, "k", value, 7)) for kind in ("a", "b", "c")])
        self.durable()
        self.record(r.NoteCleared("b", "k"), r.NoteCleared("a", "other"), r.NoteSet(r.Note("c", "k", b"", 8)))
        expected = {("a", "k"): r.Note("a", "k", b"\0x", 7), ("c", "k"): r.Note("c", "k", b"", 8)}
        self.check(expected, self.kept()["notes"])

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(steps, min_size=1, max_size=3))
    def test_any_journal(self, parts: list[list[tuple[str, tuple[Any, ...]]]]) -> None:
        """Whatever a broker records, with barriers and restarts in between, what comes back is its sum."""
        self.setUp()
        model = Model()
        for part in parts:
            self.record(*journal(model, part))
            self.check(model.picture(), self.kept())

    def test_close(self) -> None:
        """Closing makes everything durable."""
        self.record(r.RetainedSet(Message("t", b"x", 0, True)))
        self.result(self.store.close())
        self.check(False, self.store.pending)
