"""`pushd.service.friends`: the friends of everybody who is inside, and what follows when they change."""

from __future__ import annotations

from time import perf_counter
from unittest.mock import Mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.acl_file import AclAuthorizer, AclFile
from pushd.broker.broker import Broker
from pushd.broker.interfaces import IStore
from pushd.broker.message import Message
from pushd.broker.publication import Publication
from pushd.broker.tap import listen
from pushd.gateway.identity.guards import Caller
from pushd.mqtt.codes import QoS, ReasonCode
from pushd.mqtt.packets import Packet, Puback, Publish, Will
from pushd.people.interfaces import Friends, PeopleUnavailable
from pushd.people.memory import MemoryPeople
from pushd.rules.routing import RoutingRules
from pushd.service.friends import SessionFriends
from pushd.service.people import PeopleOffice
from pushd.storage.memory import MemoryStore
from tests.driver import Peer, Rig

RULES = """
pattern read user/%F/presence/+
pattern write /%F/chat
pattern read /%u/chat
pattern write user/%u/presence/%c
"""


class SlowPeople(MemoryPeople):
    """A keeper that can be told to take its time, or to be away."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.waiting: list[tuple[str, Deferred[Friends]]] = []

    def friends(self, username: str) -> Deferred[Friends]:
        if not self.slow:
            return super().friends(username)
        self.waiting.append((username, Deferred()))
        return self.waiting[-1][1]

    def answer(self) -> None:
        """Answer everybody who waits, and from now on at once."""
        self.slow = False
        for username, waiting in self.waiting:
            super().friends(username).chainDeferred(waiting)
        self.waiting = []

    def fail(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _, one in waiting:
            one.errback(PeopleUnavailable("away"))


class FriendsCase(SynchronousTestCase):
    """A broker whose access rules ask for friends; ann and bob are friends, and eve follows ann."""

    def setUp(self) -> None:
        self.people = SlowPeople()
        for follower, followed in (("ann", "bob"), ("bob", "ann"), ("eve", "ann")):
            self.people.follow(follower, followed)
        self.start(MemoryStore())

    def start(self, store: IStore) -> None:
        """Start, or start again, on what is stored."""
        self.rules = AclAuthorizer(None)
        self.rig = Rig(authorizer=self.rules, store=store)
        office = PeopleOffice(lambda: self.people, self.rig.clock)
        office.start()
        self.friends = SessionFriends(office, self.rig.broker, self.rig.clock)
        self.use(RULES)
        self.rig.clock.advance(0)

    def use(self, rules: str) -> None:
        """What a reload does."""
        acl = AclFile.parse(rules, "acl")
        self.rules.replace(acl, book=self.friends.book if acl.uses_friends else None)
        self.rig.policy.asks_for_friends = acl.uses_friends
        self.rig.broker.access_rules_changed()
        self.friends.look_again()

    def come(self, username: str, client_id: str = "", clean: bool = True) -> Peer:
        return self.rig.connect(client_id or f"{username}-phone", clean, username=username)

    def wait(self) -> None:
        """As long as a change may take."""
        for _ in range(4):
            self.rig.clock.advance(0.25)

    def payloads(self, peer: Peer) -> list[bytes]:
        packets: list[Packet] = peer.received()
        return [packet.payload for packet in packets if isinstance(packet, Publish)]


class LiveTests(FriendsCase):
    """Clients that are there"""

    def test_friends_hear_of_each_other(self) -> None:
        """And strangers do not, whatever they subscribe to."""
        ann, bob, eve = self.come("ann"), self.come("bob"), self.come("eve")
        for peer in (ann, bob, eve):
            peer.subscribe("user/+/presence/#")
        ann.send(Publish("user/ann/presence/ann-phone", b"on"))
        assert [self.payloads(peer) for peer in (ann, bob, eve)] == [[], [b"on"], []]

    def test_unfriended_stop_receiving(self) -> None:
        """Within a second, without reconnecting; and those who become friends start."""
        ann, bob, eve = self.come("ann"), self.come("bob"), self.come("eve")
        for peer in (bob, eve):
            peer.subscribe("user/ann/presence/+")
        ann.send(Publish("user/ann/presence/ann-phone", b"1"))
        self.people.unfollow("ann", "bob")
        self.people.follow("ann", "eve")
        self.wait()
        ann.send(Publish("user/ann/presence/ann-phone", b"2"))
        assert (self.payloads(bob), self.payloads(eve)) == ([b"1"], [b"2"])

    def test_unfriended_may_not_write(self) -> None:
        """A chat is among friends."""
        ann, bob = self.come("ann"), self.come("bob")
        bob.subscribe("/bob/chat")
        ann.send(Publish("/bob/chat", b"1"))
        self.people.unfollow("bob", "ann")
        self.wait()
        ann.send(Publish("/bob/chat", b"2"))
        assert self.payloads(bob) == [b"1"]

    def test_other_routes_stay(self) -> None:
        """A change concerns the routes that lead to this user, and no others."""
        ann, bob, eve = self.come("ann"), self.come("bob"), self.come("eve")
        ann.subscribe("user/bob/presence/+")
        eve.subscribe("/eve/chat")
        router = self.rig.broker.router
        to_ann, to_eve = router.route("user/bob/presence/bob-phone"), router.route("/eve/chat")
        self.people.unfollow("bob", "ann")
        self.wait()
        assert (to_ann.fresh, to_eve.fresh) == (False, True)
        bob.send(Publish("user/bob/presence/bob-phone", b"1"))
        assert self.payloads(ann) == []

    def test_what_waits_for_a_slow_client(self) -> None:
        """What is queued behind a full window is not sent any more."""
        ann, bob = self.come("ann"), self.come("bob")
        bob.subscribe("user/+/presence/+", qos=1)
        window = self.rig.broker.limits.max_inflight_messages
        for number in range(window + 3):
            ann.send(Publish("user/ann/presence/ann-phone", b"%d" % number, QoS(1), packet_id=number + 1))
        self.people.unfollow("ann", "bob")
        self.wait()
        sent = [packet for packet in bob.received() if isinstance(packet, Publish)]
        for packet in sent:
            assert packet.packet_id is not None
            bob.send(Puback(packet.packet_id))
        assert (len(sent), self.payloads(bob)) == (window, [])

    def test_two_terminals(self) -> None:
        """Both of a user's clients hear the same."""
        ann = self.come("ann")
        terminals = [self.come("bob", name) for name in ("phone", "desk")]
        for peer in terminals:
            peer.subscribe("user/ann/presence/+")
        terminals.pop().send(b"\xe0\x00")
        self.people.unfollow("ann", "bob")
        self.wait()
        ann.send(Publish("user/ann/presence/ann-phone", b"2"))
        assert self.payloads(terminals[0]) == []

    def test_listener_of_the_gateway(self) -> None:
        """A stream of events goes by the same friends."""
        heard: list[bytes] = []

        def hear(topic: str, message: Message) -> None:
            heard.append(message.payload)

        ann, bob = self.come("ann"), Caller("bob")
        tap = self.successResultOf(
            listen(self.rig.broker, self.rig.policy, bob, "user/#", hear, lambda: None)
        )
        assert not isinstance(tap, ReasonCode)
        ann.send(Publish("user/ann/presence/ann-phone", b"1"))
        self.people.unfollow("bob", "ann")
        self.wait()
        ann.send(Publish("user/ann/presence/ann-phone", b"2"))
        assert heard == [b"1"]
        tap.end()
        assert len(self.friends.book) == 1


class AwayTests(FriendsCase):
    """Clients that are away, and their sessions"""

    def leave(self, username: str) -> None:
        """A client with a kept session has been there, and is gone."""
        peer = self.come(username, clean=False)
        peer.subscribe("user/+/presence/+", qos=1)
        peer.send(b"\xe0\x00")

    def publish(self, payload: bytes) -> None:
        self.come("ann").send(Publish("user/ann/presence/ann-phone", payload, QoS(1), packet_id=1))

    def test_queueing_stops_and_begins(self) -> None:
        """Friends of somebody who is away are followed as well."""
        self.leave("bob")
        self.leave("eve")
        self.publish(b"1")
        self.people.unfollow("ann", "bob")
        self.people.follow("ann", "eve")
        self.wait()
        self.publish(b"2")
        self.people.follow("ann", "bob")
        self.wait()
        self.publish(b"3")
        assert self.payloads(self.come("bob", clean=False)) == [b"1", b"3"]
        assert self.payloads(self.come("eve", clean=False)) == [b"2", b"3"]

    def test_queued_before_is_not_sent(self) -> None:
        """Who is no friend any more when it comes back gets nothing of before."""
        self.leave("bob")
        self.publish(b"1")
        self.people.unfollow("ann", "bob")
        self.wait()
        assert self.payloads(self.come("bob", clean=False)) == []

    def test_after_a_start(self) -> None:
        """Sessions that a start finds have their friends, too."""
        self.leave("bob")
        self.leave("eve")
        self.start(self.rig.store)
        self.publish(b"1")
        assert self.payloads(self.come("bob", clean=False)) == [b"1"]
        assert self.payloads(self.come("eve", clean=False)) == []
        assert len(self.friends.book) == 3

    def test_keeper_away_at_a_start(self) -> None:
        """What comes before anybody can say whose it is, waits: nothing for a friend is lost."""
        self.leave("bob")
        self.leave("eve")
        self.come("ann").send(b"\xe0\x00")
        ann = Message("user/ann/presence/ann-phone", b"1", 1)
        self.people.slow = True
        self.start(self.rig.store)
        self.people.fail()
        self.rig.broker.publish_message(ann)
        self.people.answer()
        self.wait()
        self.rig.broker.publish_message(ann)
        assert self.payloads(self.come("bob", clean=False)) == [b"1", b"1"]
        assert self.payloads(self.come("eve", clean=False)) == []

    def test_end_of_a_session(self) -> None:
        """Nobody's friends are kept longer than somebody may ask for them."""
        self.leave("bob")
        assert len(self.friends.book) == 1
        self.come("bob").send(b"\xe0\x00")
        assert len(self.friends.book) == 0

    def test_session_of_another_user(self) -> None:
        """Whoever takes a session over brings other friends."""
        self.leave("bob")
        eve = self.come("eve", "bob-phone", clean=False)
        self.publish(b"1")
        assert self.payloads(eve) == []
        assert not self.friends.book.friends("eve").mutual
        assert len(self.friends.book) == 2


class LoginTests(FriendsCase):
    """A CONNECT"""

    def test_waits_for_friends(self) -> None:
        """Nobody is inside before it is known whose messages are for it."""
        self.people.slow = True
        bob = self.come("bob")
        assert bob.connack is None
        assert not self.rig.broker.sessions
        self.people.answer()
        self.rig.turn()
        bob.received()
        assert bob.connack is not None and bob.connack.code is ReasonCode.SUCCESS
        assert self.friends.book.knows("bob")

    def test_unavailable(self) -> None:
        """A client whose friends cannot be read is told so, and an older connection of it stays."""
        older = self.come("bob", "phone", clean=False)
        self.people.slow = True
        other = self.come("eve", "phone", clean=False)
        self.people.fail()
        self.rig.turn()
        other.received()
        assert other.connack is not None and other.connack.code is ReasonCode.SERVER_UNAVAILABLE
        assert other.closed and not older.closed

    def test_gone_while_it_waits(self) -> None:
        """A client that has no patience leaves nothing behind."""
        self.people.slow = True
        bob = self.come("bob")
        bob.drop()
        self.people.answer()
        self.rig.turn()
        assert (self.rig.broker.sessions, len(self.friends.book)) == ({}, 0)

    def test_anonymous_and_unconcerned(self) -> None:
        """Who has no name, or rules that do not ask, waits for nobody."""
        self.people.slow = True
        anonymous = self.rig.connect("x")
        assert anonymous.connack is not None
        self.use("pattern read a/#")
        assert self.come("bob").connack is not None
        assert self.people.waiting == []

    def test_known_from_another_session(self) -> None:
        """The second terminal does not wait."""
        self.come("bob", "phone")
        self.people.slow = True
        assert self.come("bob", "desk").connack is not None


class ReloadTests(FriendsCase):
    """Other rules"""

    def test_rules_begin_to_ask(self) -> None:
        """Those who are inside already have their friends soon."""
        self.use("pattern readwrite #")
        ann, bob, eve = self.come("ann"), self.come("bob"), self.come("eve")
        for peer in (bob, eve):
            peer.subscribe("#")
        assert len(self.friends.book) == 0
        self.use(RULES)
        self.wait()
        ann.send(Publish("user/ann/presence/ann-phone", b"1"))
        assert (self.payloads(bob), self.payloads(eve)) == ([b"1"], [])

    def test_rules_ask_no_more(self) -> None:
        """Then nobody's are kept."""
        self.come("ann")
        self.use("pattern read a")
        self.wait()
        assert len(self.friends.book) == 0


class RoutingTests(FriendsCase):
    """Routing rules that ask, where access rules do not"""

    def setUp(self) -> None:
        super().setUp()
        self.use("pattern readwrite #")
        self.route("presence/+ copy feed/%F/%u/%1", "letters/%f move inbox/%1/%u")

    def route(self, *lines: str) -> None:
        """What a reload does."""
        self.friends.route_by(RoutingRules.parse("\n".join(lines), "routes"))
        self.friends.look_again()
        self.wait()

    def reader(self, *filters: str) -> Peer:
        reader = self.rig.connect("reader")
        reader.subscribe(*(filters or ("feed/#", "inbox/#", "letters/#")))
        return reader

    def topics(self, peer: Peer) -> list[str]:
        return [packet.topic for packet in peer.received() if isinstance(packet, Publish)]

    def push(self, username: str, topic: str) -> Deferred[ReasonCode]:
        """By HTTP."""
        return self.rig.broker.publish(self.rig.policy, Caller(username), Publication(topic, b"x"))

    def test_changes(self) -> None:
        """The next message goes by them, within a second, without reconnecting."""
        reader, ann = self.reader(), self.come("ann")
        ann.publish("presence/pc")
        self.people.follow("ann", "eve")
        self.people.unfollow("bob", "ann")
        self.wait()
        ann.publish("presence/pc")
        ann.publish("letters/bob")
        ann.publish("letters/joe")
        self.assertEqual(
            ["feed/bob/ann/pc", "feed/eve/ann/pc", "inbox/bob/ann", "letters/joe"], self.topics(reader)
        )

    def test_routes_stay(self) -> None:
        """What was remembered of who reads what is not forgotten for it."""
        reader, ann = self.reader(), self.come("ann")
        ann.publish("letters/joe")
        route = self.rig.broker.router.route("letters/joe")
        self.people.follow("ann", "eve")
        self.wait()
        self.assertIs(route, self.rig.broker.router.route("letters/joe"))
        self.assertEqual(["letters/joe"], self.topics(reader))

    def test_login_waits(self) -> None:
        """So that the first message of a client is told to its friends already."""
        reader = self.reader()
        self.people.slow = True
        ann = self.come("ann")
        self.assertIsNone(ann.connack)
        self.people.answer()
        self.rig.turn()
        ann.publish("presence/pc")
        self.assertEqual(["feed/bob/ann/pc"], self.topics(reader))

    def test_push(self) -> None:
        """One by HTTP waits for its caller's, if it is on a topic that a rule names; the next does not."""
        reader = self.reader("feed/#", "other")
        self.people.slow = True
        first, other = self.push("ann", "presence/web"), self.push("ann", "other")
        self.successResultOf(other)
        self.assertNoResult(first)
        self.people.answer()
        self.assertIs(ReasonCode.SUCCESS, self.successResultOf(first))
        self.people.slow = True
        self.successResultOf(self.push("ann", "presence/web"))
        self.rig.turn()
        self.assertEqual(["other", "feed/bob/ann/web", "feed/bob/ann/web"], self.topics(reader))

    def test_push_while_nobody_answers(self) -> None:
        """It is passed on as if its caller had no friends."""
        reader = self.reader("#")
        self.people.slow = True
        pushed = self.push("ann", "presence/web")
        self.people.fail()
        self.assertIs(ReasonCode.SUCCESS, self.successResultOf(pushed))
        self.rig.turn()
        self.assertEqual(["presence/web"], self.topics(reader))

    def test_will(self) -> None:
        """Friends of a client that is gone hear of that, and of a session that is over long since."""
        reader = self.reader()
        will = Will("presence/pc", b"gone")
        self.rig.connect("ann-pc", username="ann", will=will).drop()
        self.rig.turn()
        self.assertEqual(["feed/bob/ann/pc"], self.topics(reader))
        assert len(self.friends.book) == 0

    def test_will_of_the_last_process(self) -> None:
        """Its user's friends are waited for."""
        store = MemoryStore()
        rig = Rig(store=store)
        rig.connect("reader", clean=False).subscribe("feed/#", qos=1)
        rig.connect("ann-pc", username="ann", will=Will("presence/pc", b"gone", QoS.AT_LEAST_ONCE))
        broker = Broker(rig.clock, store)
        friends = SessionFriends(PeopleOffice(lambda: self.people, rig.clock), broker, rig.clock)
        friends.route_by(RoutingRules.parse("presence/+ copy feed/%F/%u/%1", "routes"))
        self.people.slow = True
        broker.start(rig.policy)
        self.assertEqual(0, broker.sessions["reader"].waiting_messages)
        self.people.answer()
        self.assertEqual(1, broker.sessions["reader"].waiting_messages)

    def test_later(self) -> None:
        """A push that is due goes to the friends of then, though its caller is away."""
        reader = self.reader()
        broker = self.rig.broker
        broker.schedule(self.rig.policy, Caller("eve"), Publication("presence/web", b"x"), "1", 9.0)
        self.people.follow("ann", "eve")
        self.people.slow = True
        self.rig.clock.pump([0.5] * 30)
        self.assertEqual([], self.topics(reader))
        self.people.answer()
        self.rig.turn()
        self.assertEqual(["feed/ann/eve/web"], self.topics(reader))

    def test_begin_and_end(self) -> None:
        """After a reload nobody's friends are kept for nothing, and those who are inside have theirs soon."""
        reader, ann = self.reader(), self.come("ann")
        self.route("presence/# drop")
        assert len(self.friends.book) == 0
        self.route("presence/+ copy feed/%F")
        assert len(self.friends.book) == 1
        ann.publish("presence/pc")
        self.friends.route_by(None)
        ann.publish("presence/pc")
        self.assertEqual(["feed/bob"], self.topics(reader))

    def test_streams(self) -> None:
        """Who only listens publishes nothing: its friends do not matter."""
        listening = listen(self.rig.broker, self.rig.policy, Caller("bob"), "#", Mock(), Mock())
        tap = self.successResultOf(listening)
        assert not isinstance(tap, ReasonCode)
        assert len(self.friends.book) == 0
        tap.end()


class CostTests(FriendsCase):
    """Five thousand friends"""

    def test_login(self) -> None:
        """
        They cost the reactor far less than 5 ms. The bound is generous, for machines that run tests are busy.
        """
        many = frozenset(f"user{number}" for number in range(5000))
        self.people.slow = True
        bob = self.come("bob")
        started = perf_counter()
        self.people.waiting.pop()[1].callback(Friends(many, many))
        took_s = perf_counter() - started
        self.rig.turn()
        bob.received()
        assert bob.connack is not None
        assert took_s < 0.05

    def test_change(self) -> None:
        """One friend less of them costs no more."""
        many = frozenset(f"user{number}" for number in range(5000))
        self.people.slow = True
        bob = self.come("bob")
        self.people.waiting.pop()[1].callback(Friends(many, many))
        self.rig.turn()
        bob.subscribe("user/+/presence/+")
        self.friends.book.refresh("bob")
        fewer = many - {"user7"}
        started = perf_counter()
        self.people.waiting.pop()[1].callback(Friends(fewer, fewer))
        assert perf_counter() - started < 0.05
