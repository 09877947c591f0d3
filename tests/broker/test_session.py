"""`pushd.broker.session`: both handshakes, window and queue, what is sent again and in which order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access
from pushd.broker.limits import Limits
from pushd.broker.message import Message
from pushd.broker.records import SavedMessages, SavedSession, SavedState, SubscriptionAdded
from pushd.broker.session import Session, Subscription
from pushd.mqtt.codes import PropertyId, QoS, Version
from pushd.mqtt.packets import (
    Connect,
    Packet,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
)
from pushd.storage.memory import MemoryStore
from tests.driver import Peer, Rig
from tests.fakes import Rules

QOS1, QOS2 = QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE


def publishes(peer: Peer) -> list[tuple[int, bytes, bool]]:
    """``(packet id, payload, dup)`` of each PUBLISH that came; anything else would not belong there."""
    received = peer.received()
    assert all(isinstance(packet, Publish) for packet in received), received
    return [(p.packet_id, p.payload, p.dup) for p in received if isinstance(p, Publish)]


class SessionCase(SynchronousTestCase):
    """Ada publishes on ``t``; bob's session is persistent, and may have 2 messages in flight and 3 queued."""

    limits = Limits(max_inflight_messages=2, max_queued_messages=3)

    def setUp(self) -> None:
        self.rules = Rules()
        self.store = MemoryStore()
        self.rig = Rig(self.limits, authorizer=self.rules, store=self.store)
        self.ada = self.rig.connect("ada")
        self.bob = self.come("bob")
        self.bob.subscribe("t", "u", qos=2)
        self._packet_id = 0

    def come(self, client_id: str) -> Peer:
        return self.rig.connect(client_id, clean=False)

    def say(self, *payloads: bytes, qos: int = 1, topic: str = "t") -> None:
        """Ada publishes, and finishes each handshake."""
        for payload in payloads:
            self._packet_id += 1
            self.ada.publish(topic, payload, qos=qos, packet_id=self._packet_id if qos else 0)
            if qos == 2:
                self.ada.send(Pubrel(self._packet_id))

    @property
    def session(self) -> Session:
        return self.rig.broker.sessions["bob"]


class AtLeastOnceTests(SessionCase):
    """v3 §4.3.2"""

    def test_publish_and_puback(self) -> None:
        """A message is in flight until its PUBACK."""
        self.say(b"1")
        self.assertEqual([(1, b"1", False)], publishes(self.bob))
        self.assertEqual(1, self.session.waiting_messages)
        self.bob.send(Puback(1))
        self.assertEqual(0, self.session.waiting_messages)

    def test_window(self) -> None:
        """No more than max_inflight_messages are sent; each PUBACK lets the next one out, in order."""
        self.say(b"1", b"2", b"3", b"4")
        self.assertEqual([(1, b"1", False), (2, b"2", False)], publishes(self.bob))
        self.bob.send(Puback(2))
        self.assertEqual([(3, b"3", False)], publishes(self.bob))
        self.bob.send(Puback(1), Puback(3))
        self.assertEqual([(4, b"4", False)], publishes(self.bob))

    def test_full_queue_drops_the_newest(self) -> None:
        """Mosquitto's way; what is dropped is counted by its reason."""
        self.say(b"1", b"2", b"3", b"4", b"5", b"6", b"7")
        self.assertEqual({"queue_full": 2}, self.rig.broker.counters.publish_dropped)
        self.assertEqual(2 + 3, self.session.waiting_messages)

    def test_nothing_overtakes_the_queue(self) -> None:
        """A message that comes while others wait goes behind them, also in the turn that makes room."""
        self.say(b"1", b"2", b"3")
        self.bob.send(Puback(1))
        self.say(b"4")
        self.bob.send(Puback(2), Puback(3))
        self.assertEqual([b"1", b"2", b"3", b"4"], [payload for _, payload, _ in publishes(self.bob)])

    def test_unknown_puback(self) -> None:
        """A PUBACK for nothing in flight changes nothing."""
        self.say(b"1")
        self.bob.send(Puback(77))
        self.assertEqual(1, self.session.waiting_messages)

    def test_puback_does_not_end_a_qos_2_handshake(self) -> None:
        """A client that mixes up its handshakes must go on with the right one."""
        self.say(b"1", qos=2)
        self.bob.send(Puback(1))
        self.assertEqual(1, self.session.waiting_messages)
        self.bob.send(Pubrec(1), Puback(1))
        self.assertEqual(1, self.session.waiting_messages)


class ExactlyOnceTests(SessionCase):
    """v3 §4.3.3, in both directions"""

    def test_whole_handshake(self) -> None:
        """PUBLISH, PUBREC, PUBREL, PUBCOMP; the identifier is free only then."""
        self.say(b"1", qos=2)
        self.assertEqual([(1, b"1", False)], publishes(self.bob))
        self.bob.send(Pubrec(1))
        self.assertEqual([Pubrel(1)], self.bob.received())
        self.assertEqual(1, self.session.waiting_messages)
        self.bob.send(Pubcomp(1))
        self.assertEqual(0, self.session.waiting_messages)

    def test_pubrec_again(self) -> None:
        """A second PUBREC is answered like the first: its PUBREL may have been lost."""
        self.say(b"1", qos=2)
        self.bob.received()
        self.bob.send(Pubrec(1), Pubrec(1))
        self.assertEqual([Pubrel(1), Pubrel(1)], self.bob.received())

    def test_pubrec_of_the_unknown(self) -> None:
        """Version 3 has no way to say so; PUBREL ends the handshake for the client, who forgets it."""
        self.bob.send(Pubrec(99))
        self.assertEqual([Pubrel(99)], self.bob.received())

    def test_pubrec_for_qos_1_does_not_end_it(self) -> None:
        """A QoS 1 message waits for its PUBACK, whatever else comes."""
        self.say(b"1")
        self.bob.send(Pubrec(1), Pubcomp(1))
        self.assertEqual(1, self.session.waiting_messages)

    def test_pubcomp_before_pubrec(self) -> None:
        """It comes to nothing."""
        self.say(b"1", qos=2)
        self.bob.send(Pubcomp(1))
        self.assertEqual(1, self.session.waiting_messages)

    def test_refused_message(self) -> None:
        """A PUBREC that fails ends the handshake (v5 §4.3.3)."""
        self.say(b"1", qos=2)
        self.session.on_refused(1, 2)
        self.assertEqual(0, self.session.waiting_messages)

    def test_publish_twice_is_passed_on_once(self) -> None:
        """A PUBLISH that comes again before its PUBREL is acknowledged, not passed on."""
        publish = Publish("t", b"1", QOS2, packet_id=9)
        again = Publish("t", b"1", QOS2, dup=True, packet_id=9)
        self.ada.send(publish, again, publish)
        self.assertEqual([Pubrec(9)] * 3, self.ada.received())
        self.assertEqual([(1, b"1", False)], publishes(self.bob))

    def test_identifier_is_new_after_pubrel(self) -> None:
        """The same identifier after PUBREL is another message."""
        self.ada.send(Publish("t", b"1", QOS2, packet_id=9), Pubrel(9), Publish("t", b"2", QOS2, packet_id=9))
        self.assertEqual([Pubrec(9), Pubcomp(9), Pubrec(9)], self.ada.received())
        self.assertEqual([b"1", b"2"], [payload for _, payload, _ in publishes(self.bob)])

    def test_pubrel_of_the_unknown(self) -> None:
        """It is answered all the same, or the client would ask for ever."""
        self.ada.send(Pubrel(5))
        self.assertEqual([Pubcomp(5)], self.ada.received())

    def test_publish_again_on_a_new_connection(self) -> None:
        """Exactly once holds across connections, and across a restart of the broker."""
        eve = self.come("eve")
        eve.send(Publish("t", b"1", QOS2, packet_id=9))
        eve.drop()
        self.come("eve").send(Publish("t", b"1", QOS2, dup=True, packet_id=9))
        self.rig.broker.stop()
        self.rig = Rig(self.limits, store=self.store)
        eve = self.come("eve")
        eve.send(Publish("t", b"1", QOS2, dup=True, packet_id=9), Pubrel(9))
        self.assertEqual([Pubrec(9), Pubcomp(9)], eve.received())
        self.assertEqual([b"1"], [payload for _, payload, _ in publishes(self.come("bob"))])


class AtMostOnceTests(SessionCase):
    """v3 §4.3.1"""

    def test_offline(self) -> None:
        """QoS 0 messages are not kept for a client that is away."""
        self.bob.drop()
        self.say(b"1", qos=0)
        self.assertEqual([], publishes(self.come("bob")))

    def test_does_not_wait_for_the_window(self) -> None:
        """A full window holds up no QoS 0 message."""
        self.say(b"1", b"2", b"3")
        self.say(b"0", qos=0)
        self.assertEqual([b"1", b"2", b"0"], [payload for _, payload, _ in publishes(self.bob)])


class QueuedQos0Tests(SessionCase):
    """The option queue_qos0_messages."""

    limits = Limits(max_inflight_messages=2, max_queued_messages=3, queue_qos0_messages=True)

    def test_kept_while_offline(self) -> None:
        """They come first, for they wait for no window, and are forgotten once sent."""
        self.bob.drop()
        self.say(b"1")
        self.say(b"0", qos=0)
        self.say(b"2")
        bob = self.come("bob")
        self.assertEqual([b"0", b"1", b"2"], [payload for _, payload, _ in publishes(bob)])
        self.assertEqual({}, self.store.messages["bob"].queued)

    def test_not_overtaken_behind_a_full_window(self) -> None:
        """A QoS 0 message that comes after the client is back does not arrive before those that waited."""
        self.bob.drop()
        self.say(b"1", b"2")
        self.say(b"old", qos=0)
        bob = self.come("bob")
        self.say(b"new", qos=0)
        unacknowledged = [payload for packet_id, payload, _ in publishes(bob) if packet_id == 0]
        self.assertEqual([b"old", b"new"], unacknowledged)

    def test_limit_counts_them(self) -> None:
        """A queue full of QoS 0 messages is full."""
        self.bob.drop()
        self.say(b"1", b"2", b"3", b"4", qos=0)
        self.assertEqual({"queue_full": 1}, self.rig.broker.counters.publish_dropped)


class ExpiredInQueueTests(SessionCase):
    """Messages that expire while they wait: v5 [MQTT-3.3.2-5]"""

    def test_they_take_nobodys_place(self) -> None:
        """A queue full of expired messages has room, and its records stay in step."""
        self.bob.drop()
        ada = self.rig.connect("eve", version=Version.V5)
        for number in range(3):
            properties: Properties = {PropertyId.MESSAGE_EXPIRY_INTERVAL: 5}
            ada.send(Publish("t", b"%d" % number, QOS1, packet_id=number + 1, properties=properties))
        self.say(b"too many")
        self.rig.clock.pump([0.25] * 24)
        self.say(b"3", b"4")
        self.assertEqual({"queue_full": 1, "expired": 3}, self.rig.broker.counters.publish_dropped)
        kept = self.store.messages["bob"].queued
        self.assertEqual([b"3", b"4"], [message.payload for message in kept.values()])
        self.assertEqual([b"3", b"4"], [payload for _, payload, _ in publishes(self.come("bob"))])


class QueuedBytesTests(SessionCase):
    """The option max_queued_bytes."""

    limits = Limits(max_inflight_messages=1, max_queued_messages=0, max_queued_bytes=10)

    def test_first_limit_reached_counts(self) -> None:
        """Payload bytes are counted in and out again; 0 messages is no limit on their number."""
        self.say(b"in flight", b"12345", b"12345", b"x")
        self.assertEqual({"queue_full": 1}, self.rig.broker.counters.publish_dropped)
        self.bob.send(Puback(1))
        self.say(b"54321")
        self.assertEqual(10, self.session.queued_bytes)
        self.assertEqual(15, self.session.waiting_bytes)


class ResumeTests(SessionCase):
    """v3 §4.4, §4.6: what a client that comes back is sent, and in which order."""

    def test_in_flight_comes_first_and_again(self) -> None:
        """In flight: in their order, same identifiers, DUP set: [MQTT-4.4.0-1]. Then what was queued."""
        self.say(b"1", b"2", b"3")
        self.bob.drop()
        self.say(b"4")
        bob = self.come("bob")
        self.assertEqual([(1, b"1", True), (2, b"2", True)], publishes(bob))
        bob.send(Puback(1), Puback(2))
        self.assertEqual([(3, b"3", False), (4, b"4", False)], publishes(bob))

    def test_pubrel_instead_of_publish(self) -> None:
        """Once PUBREC came, PUBREL is sent again, never the PUBLISH; PUBRELs in the order of the PUBRECs."""
        self.say(b"1", b"2", qos=2)
        self.bob.send(Pubrec(2), Pubrec(1))
        self.bob.drop()
        self.assertEqual([Pubrel(2), Pubrel(1)], self.come("bob").received())

    def test_session_present(self) -> None:
        """CONNACK says whether there was a session: [MQTT-3.2.2-2]."""
        self.bob.drop()
        connack = self.come("bob").connack
        assert connack is not None
        self.assertTrue(connack.session_present)
        connack = self.come("new").connack
        assert connack is not None
        self.assertFalse(connack.session_present)

    def test_clean_session_discards(self) -> None:
        """A client that asks for a clean session gets nothing of the old one: [MQTT-3.1.2-6]."""
        self.say(b"1")
        self.bob.drop()
        self.assertEqual([], self.rig.connect("bob").received())
        self.assertNotIn("bob", self.store.state.sessions)

    def test_after_a_restart(self) -> None:
        """The same, when the broker went away in between."""
        self.say(b"1", b"2", b"3")
        self.say(b"4", qos=2)
        self.bob.send(Puback(1))
        self.rig.broker.stop()
        self.rig = Rig(self.limits, store=self.store)
        bob = self.come("bob")
        self.assertEqual([(2, b"2", True), (3, b"3", True)], publishes(bob))
        bob.send(Puback(2), Puback(3))
        self.assertEqual([(1, b"4", False)], publishes(bob))

    def test_identifier_in_use_is_not_given_again(self) -> None:
        """After a restart numbering starts anew, but not with what is still in flight."""
        self.say(b"1", b"2")
        self.bob.send(Puback(1))
        self.rig.broker.stop()
        self.rig = Rig(self.limits, store=self.store)
        bob, self.ada = self.come("bob"), self.rig.connect("ada")
        self.say(b"3")
        bob.send(Puback(1))
        self.say(b"4")
        self.assertEqual([(2, b"2", True), (1, b"3", False), (3, b"4", False)], publishes(bob))

    def test_identifiers_wrap(self) -> None:
        """After 65 535 comes 1, or the next that is free."""
        self.say(b"1")
        self.session._next_packet_id = 65_535
        self.say(b"2")
        self.bob.send(Puback(65_535))
        self.say(b"3")
        self.assertEqual([1, 65_535, 2], [packet_id for packet_id, _, _ in publishes(self.bob)])


class NarrowResumeTests(SessionCase):
    """A client that comes back with a smaller Receive Maximum than before: v5 [MQTT-3.3.4-9]."""

    limits = Limits(max_inflight_messages=5, max_queued_messages=5)

    def come_back(self, receive_maximum: int) -> Peer:
        self.bob.drop()
        properties: Properties = {
            PropertyId.RECEIVE_MAXIMUM: receive_maximum,
            PropertyId.SESSION_EXPIRY_INTERVAL: 60,
        }
        bob = self.rig.open()
        bob.send(Connect(Version.V5, "bob", clean_start=False, properties=properties))
        return bob

    def test_one_at_a_time(self) -> None:
        """All that was in flight comes again in its order, no more at once than it takes; then the rest."""
        self.say(b"1", b"2", b"3", b"4", b"5", b"6")
        bob = self.come_back(1)
        expected = [(n, b"%d" % n, n < 6) for n in range(1, 7)]
        for packet_id, payload, dup in expected:
            self.assertEqual([(packet_id, payload, dup)], publishes(bob))
            bob.send(Puback(packet_id))
        self.assertEqual(0, self.session.waiting_messages)

    def test_new_messages_wait(self) -> None:
        """Nothing new overtakes what is to be sent again."""
        self.say(b"1", b"2", b"3")
        bob = self.come_back(2)
        self.say(b"new")
        self.assertEqual([(1, b"1", True), (2, b"2", True)], publishes(bob))
        bob.send(Puback(2), Puback(1))
        self.assertEqual([(3, b"3", True), (4, b"new", False)], publishes(bob))

    def test_handshakes_count_to_their_end(self) -> None:
        """PUBRELs come again at once, and make room with their PUBCOMP."""
        self.say(b"1", b"2", b"3", qos=2)
        self.bob.send(Pubrec(1))
        bob = self.come_back(1)
        self.assertEqual([Pubrel(1)], bob.received())
        bob.send(Pubcomp(1))
        self.assertEqual([(2, b"2", True)], publishes(bob))
        bob.send(Pubrec(2))
        self.assertEqual([Pubrel(2)], bob.received())
        bob.send(Pubcomp(2))
        self.assertEqual([(3, b"3", True)], publishes(bob))

    def test_acknowledged_before_it_came_again(self) -> None:
        """An acknowledgement from before the connection broke is as good as any."""
        self.say(b"1", b"2", b"3", b"4")
        self.say(b"5", qos=2)
        bob = self.come_back(1)
        bob.received()
        bob.send(Puback(2), Pubrec(5))
        self.assertEqual([Pubrel(5)], bob.received())
        bob.send(Puback(1), Pubcomp(5))
        self.assertEqual([(3, b"3", True)], publishes(bob))


class AccessOnResumeTests(SessionCase):
    """What a session may no longer read is not sent, though it was queued when it still might."""

    def forbid(self, topic: str) -> None:
        self.rules.refused.add((Access.READ, topic))
        self.rig.broker.access_rules_changed()

    def test_queued(self) -> None:
        """It is dropped and counted; the rest comes in its order, and the journal agrees."""
        self.bob.drop()
        self.say(b"1", topic="u")
        self.say(b"2")
        self.say(b"3", topic="u")
        self.forbid("u")
        self.assertEqual([(1, b"2", False)], publishes(self.come("bob")))
        self.assertEqual({"not_authorized": 2}, self.rig.broker.counters.publish_dropped)
        self.assertEqual({}, self.store.messages["bob"].queued)

    def test_in_flight(self) -> None:
        """It is not sent again, and its identifier is free."""
        self.say(b"1", topic="u")
        self.say(b"2")
        self.bob.drop()
        self.forbid("u")
        self.assertEqual([(2, b"2", True)], publishes(self.come("bob")))
        self.assertEqual([2], list(self.store.messages["bob"].inflight))

    def test_in_flight_makes_room_for_nobody_to_overtake(self) -> None:
        """A message that is no longer in flight lets a queued one out, behind what is sent again."""
        self.say(b"1", topic="u")
        self.say(b"2", b"3")
        self.bob.drop()
        self.forbid("u")
        self.assertEqual([(2, b"2", True), (3, b"3", False)], publishes(self.come("bob")))

    def test_room_is_not_taken_by_what_may_not_be_read(self) -> None:
        """Queued messages that may not be read stay unsent when one in flight may not be either."""
        self.say(b"1", b"2", b"3", topic="u")
        self.bob.drop()
        self.forbid("u")
        self.assertEqual([], publishes(self.come("bob")))

    def test_pubrel_is_still_owed(self) -> None:
        """A QoS 2 message that the client has already is finished, whatever the rules say now."""
        self.say(b"1", qos=2, topic="u")
        self.bob.send(Pubrec(1))
        self.bob.drop()
        self.forbid("u")
        self.assertEqual([Pubrel(1)], self.come("bob").received())


def added(filter: str, subscription: Subscription) -> SubscriptionAdded:
    """The record of a subscription."""
    client_id = subscription.session.client_id if isinstance(subscription.session, Session) else ""
    request = SubscriptionRequest(
        filter, QoS(subscription.qos), subscription.no_local, subscription.retain_as_published
    )
    return SubscriptionAdded(client_id, request, subscription.identifier)


def lives(rig: Rig) -> SavedState:
    """The broker's state as a store should have it, without messages of sessions."""
    state = SavedState(retained={m.topic: m for m in rig.broker.retained.match("#")})
    for session in rig.broker.sessions.values():
        if session.persistent:
            state.sessions[session.client_id] = SavedSession(
                session.client_id,
                session.username,
                session.expiry_s,
                {
                    filter: added(filter, subscription)
                    for filter, subscription in session.subscriptions.items()
                },
                None if session.client else session.offline_since,
            )
    return state


def described(state: SavedState) -> dict[str, tuple[object, ...]]:
    """Its sessions but for their messages."""
    return {
        each.client_id: (each.username, each.expiry_s, each.subscriptions, each.left_at)
        for each in state.sessions.values()
    }


def held(session: Session) -> SavedMessages:
    """The messages of a session that is awake, as a store should have them."""
    queue = session.queue or ()
    first = session.sequence - len(queue) + 1
    return SavedMessages(dict(enumerate(queue, first)), dict(session.inflight), set(session.received or ()))


filters = st.sampled_from(["t", "t/#", "+", "v", "$share/g/t", "$share/g/#"])
topics = st.sampled_from(["t", "t/u", "v"])
qos = st.sampled_from(list(QoS))
packet_ids = st.integers(1, 4)


def numbered(topic: str, payload: bytes, qos: QoS, retain: bool, packet_id: int) -> Publish:
    return Publish(topic, payload, qos, retain, packet_id=packet_id if qos else 0)


packets: st.SearchStrategy[Packet] = st.one_of(
    st.builds(numbered, topics, st.sampled_from([b"", b"1", b"22"]), qos, st.booleans(), packet_ids),
    st.sampled_from([Puback, Pubrec, Pubrel, Pubcomp]).flatmap(lambda ack: st.builds(ack, packet_ids)),
    st.builds(lambda filter, qos: Subscribe(9, [SubscriptionRequest(filter, qos)]), filters, qos),
    filters.map(lambda filter: Unsubscribe(9, [filter])),
)


def written_and_read(store: MemoryStore) -> MemoryStore:
    """What a store on disk would give to the next process: messages that know nothing of groups."""
    read: dict[int, Message] = {}

    def again(message: Message) -> Message:
        copy = Message(
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            message.properties,
            message.expires_at,
        )
        return read.setdefault(id(message), copy)

    state = store.state
    state.retained = {topic: again(message) for topic, message in state.retained.items()}
    for messages in store.messages.values():
        messages.queued = {number: again(message) for number, message in messages.queued.items()}
        messages.inflight = {
            number: message and again(message) for number, message in messages.inflight.items()
        }
    return store


class JournalMachine(RuleBasedStateMachine):
    """
    Clients come, go, subscribe, publish and acknowledge in any order. Whatever they do, the journal adds up
    to what the broker has in memory, and limits hold.
    """

    clients = st.sampled_from(["ada", "bob", "eve"])
    limits = Limits(max_inflight_messages=2, max_queued_messages=3, queue_qos0_messages=True)

    @initialize()
    def start(self) -> None:
        self.store = MemoryStore()
        self.access = Rules()
        self.online: dict[str, Peer] = {}
        self.rig = Rig(self.limits, authorizer=self.access, store=self.store)

    @rule(client=clients, clean=st.integers(0, 3), version=st.sampled_from([Version.V3_1_1, Version.V5]))
    def comes(self, client: str, clean: int, version: Version) -> None:
        properties: Properties = {PropertyId.SESSION_EXPIRY_INTERVAL: 0 if clean == 0 else 60}
        self.online[client] = self.rig.connect(
            client,
            clean=clean == 0,
            version=version,
            properties=properties if version is Version.V5 else None,
        )

    @precondition(lambda self: self.online)
    @rule(data=st.data(), packets=st.lists(packets, min_size=1, max_size=6))
    def sends(self, data: st.DataObject, packets: list[Packet]) -> None:
        client = data.draw(st.sampled_from(sorted(self.online)))
        self.online[client].send(*packets)
        if self.online[client].closed:  # it broke a rule, such as the Receive Maximum of version 5
            del self.online[client]

    @precondition(lambda self: self.online)
    @rule(data=st.data())
    def goes(self, data: st.DataObject) -> None:
        self.online.pop(data.draw(st.sampled_from(sorted(self.online)))).drop()

    @rule(client=clients, topic=topics)
    def rules_change(self, client: str, topic: str) -> None:
        self.access.refused ^= {(Access.READ, topic, client)}
        self.rig.broker.access_rules_changed()

    @rule()
    def restarts(self) -> None:
        self.online.clear()
        self.rig.broker.stop()
        self.rig.turn()
        self.store = written_and_read(self.store)
        self.rig = Rig(self.limits, authorizer=self.access, store=self.store)

    @invariant()
    def journal_adds_up(self) -> None:
        if hasattr(self, "rig"):
            live, kept = lives(self.rig), self.store.state
            assert described(live) == described(kept)
            assert live.retained == kept.retained

    @invariant()
    def messages_add_up(self) -> None:
        for session in self.rig.broker.sessions.values() if hasattr(self, "rig") else ():
            if session.persistent:
                kept = self.store.messages[session.client_id]
                assert session.waiting_messages == len(kept.queued) + len(kept.inflight)
                if session.sleep is None:
                    assert held(session) == kept
                else:
                    assert session.client is None
                    assert session.waiting_bytes == sum(len(each.payload) for each in kept.queued.values())
                    assert session.sequence == max(kept.queued, default=session.sequence)

    @invariant()
    def limits_hold(self) -> None:
        for session in self.rig.broker.sessions.values() if hasattr(self, "rig") else ():
            assert len(session.inflight) <= self.limits.max_inflight_messages
            assert len(session.queue or ()) <= self.limits.max_queued_messages
            assert session.queued_bytes == sum(len(message.payload) for message in session.queue or ())
            # Nothing waits that could be sent.
            assert not (session.client and session.queue and len(session.inflight) < session.client.window)

    @invariant()
    def nothing_leaks(self) -> None:
        if hasattr(self, "rig"):
            broker = self.rig.broker
            filters = [filter for session in broker.sessions.values() for filter in session.subscriptions]
            groups = {filter for filter in filters if filter.startswith("$share/")}
            alone = [filter for filter in filters if filter not in groups]
            assert len(broker.router.subscriptions) == len(alone) + len(groups)
            assert broker.online == len(self.online)


JournalMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
JournalTests = JournalMachine.TestCase
