"""`pushd.broker.shared`: one member of a group gets each message, and nothing is lost when one leaves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access
from pushd.broker.limits import Limits
from pushd.broker.shared import shared_filter
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.packets import Puback, Publish, Pubrec, Pubrel, Unsubscribe
from pushd.mqtt.topics import split_shared
from tests.driver import Peer, Rig
from tests.fakes import Rules

GROUP = "$share/g/t"


class SharedCase(SynchronousTestCase):
    """ada publishes on ``t``; the others share it. Two messages may be in flight to each."""

    def setUp(self) -> None:
        self.rules = Rules()
        self.rig = Rig(Limits(max_inflight_messages=2), authorizer=self.rules)
        self.ada = self.rig.connect("ada")
        self._packet_id = 0

    def member(self, client_id: str, *, clean: bool = True, qos: int = 1) -> Peer:
        peer = self.rig.connect(client_id, clean=clean)
        peer.subscribe(GROUP, qos=qos)
        return peer

    def say(self, *payloads: bytes, qos: int = 1) -> None:
        for payload in payloads:
            self._packet_id += 1
            self.ada.publish("t", payload, qos, packet_id=self._packet_id if qos else 0)
            if qos == 2:
                self.ada.send(Pubrel(self._packet_id))

    def got(self, peer: Peer) -> list[bytes]:
        """What came, not acknowledged."""
        return [packet.payload for packet in peer.received() if isinstance(packet, Publish)]


class TurnsTests(SharedCase):
    """Who gets the next one"""

    def test_by_turns(self) -> None:
        """Members take turns, whoever joined when."""
        members = [self.member(name) for name in ("bob", "cy", "dan")]
        self.say(*(b"%d" % n for n in range(6)), qos=0)
        self.assertEqual([[b"0", b"3"], [b"1", b"4"], [b"2", b"5"]], [self.got(m) for m in members])

    def test_who_has_no_room_is_passed_over(self) -> None:
        """A member whose window is full is asked again when it is not."""
        bob, cy = self.member("bob"), self.member("cy")
        self.say(b"0", b"1", b"2", b"3")
        cy.send(Puback(1), Puback(2))
        self.say(b"4")
        self.assertEqual(([b"0", b"2"], [b"1", b"3", b"4"]), (self.got(bob), self.got(cy)))

    def test_who_is_online_goes_first(self) -> None:
        """A session without a client gets nothing while there is somebody else."""
        self.member("bob", clean=False).drop()
        cy = self.member("cy")
        self.say(b"0", b"1")
        self.assertEqual([b"0", b"1"], self.got(cy))

    def test_nobody_is_online(self) -> None:
        """Kept sessions take turns, too."""
        for name in ("bob", "cy"):
            self.member(name, clean=False).drop()
        self.say(b"0", b"1", b"2", b"3")
        sessions = self.rig.broker.sessions
        self.assertEqual([2, 2], [sessions[name].waiting_messages for name in ("bob", "cy")])

    def test_all_windows_are_full(self) -> None:
        """Then what comes is queued for all in turn."""
        self.member("bob"), self.member("cy")
        self.say(*(b"%d" % n for n in range(8)))
        sessions = self.rig.broker.sessions
        self.assertEqual([4, 4], [sessions[name].waiting_messages for name in ("bob", "cy")])

    def test_who_may_not_read_is_passed_over(self) -> None:
        """The access rules are asked for each member."""
        bob, cy = self.member("bob"), self.member("cy")
        self.rules.refused.add((Access.READ, "t", "bob"))
        self.say(b"0", b"1")
        self.assertEqual(([], [b"0", b"1"]), (self.got(bob), self.got(cy)))

    def test_nobody_may_read(self) -> None:
        """A message for nobody is dropped, and counted."""
        self.member("bob")
        self.rules.refused.add((Access.READ, "t", "bob"))
        self.say(b"0")
        self.assertEqual({"no_group_member": 1}, self.rig.broker.counters.publish_dropped)

    def test_groups_and_others(self) -> None:
        """Each group gets one copy, and who subscribed alone another."""
        bob, cy = self.member("bob"), self.member("cy")
        for peer, filter in ((bob, "$share/h/t"), (cy, "t")):
            peer.subscribe(filter)
        self.say(b"x", qos=0)
        self.assertEqual(3, len(self.got(bob) + self.got(cy)))

    def test_each_at_its_own_qos(self) -> None:
        """The QoS granted to the one that gets it counts: [MQTT-4.8.2-3]."""
        bob, cy = self.member("bob", qos=0), self.member("cy", qos=2)
        self.say(b"0", b"1", qos=2)
        sent = [packet for peer in (bob, cy) for packet in peer.received()]
        self.assertEqual([0, 2], [packet.qos for packet in sent if isinstance(packet, Publish)])


class LeavingTests(SharedCase):
    """What a member leaves behind"""

    def test_unsubscribed(self) -> None:
        """Who unsubscribed gets no more; a group without members is forgotten."""
        bob, cy = self.member("bob"), self.member("cy")
        bob.send(Unsubscribe(1, [GROUP]))
        self.say(b"0", b"1", qos=0)
        self.assertEqual(([], [b"0", b"1"]), (self.got(bob), self.got(cy)))
        cy.drop()
        self.assertEqual(0, len(self.rig.broker.router.subscriptions))
        self.assertEqual(0, self.successResultOf(self.rig.broker.gauges()).shared_subscriptions)

    def test_unacknowledged_go_to_others(self) -> None:
        """In flight and queued: all goes to who is there, in its order, also from a session that is kept."""
        for clean in (True, False):
            bob = self.member("bob", clean=clean)
            self.say(b"0", b"1", b"2")
            cy = self.member("cy")
            bob.drop()
            self.assertEqual([b"0", b"1"], self.got(cy))
            cy.send(Puback(1), Puback(2))
            self.assertEqual([b"2"], self.got(cy))
            cy.drop()
            self.rig.connect("bob").drop()

    def test_kept_for_who_comes_back(self) -> None:
        """If nobody else is there they wait, and come again as what was in flight does: [MQTT-4.4.0-1]."""
        self.member("cy", clean=False).drop()
        bob = self.member("bob", clean=False)
        self.say(b"0", b"1")
        bob.drop()
        again = self.rig.connect("bob", clean=False).received()
        expected = [(b"0", 1, True), (b"1", 2, True)]
        self.assertEqual(expected, [(p.payload, p.packet_id, p.dup) for p in again if isinstance(p, Publish)])

    def test_session_ends_and_others_are_away(self) -> None:
        """When the session itself ends, its messages wait for another kept one."""
        self.member("bob")
        self.member("cy", clean=False).drop()
        self.say(b"0", b"1", b"2")
        self.rig.connect("bob").drop()
        self.assertEqual(3, self.rig.broker.sessions["cy"].waiting_messages)

    def test_qos_2_stays(self) -> None:
        """What is in flight at QoS 2 is that member's own: [MQTT-4.8.2-4], [MQTT-4.8.2-5]."""
        bob = self.member("bob", clean=False, qos=2)
        self.say(b"0", qos=2)
        cy = self.member("cy", qos=2)
        bob.drop()
        self.assertEqual([], self.got(cy))
        again = self.rig.connect("bob", clean=False)
        self.assertEqual([b"0"], self.got(again))
        again.drop()
        self.rig.connect("bob").drop()
        self.assertEqual([], self.got(cy))

    def test_refused(self) -> None:
        """What a member refuses goes to nobody else: [MQTT-4.8.2-6]."""
        bob, cy = self.member("bob", qos=2), self.member("cy", qos=2)
        self.say(b"0", qos=2)
        bob.protocol.client.on_packet(Pubrec(1, ReasonCode.UNSPECIFIED_ERROR))  # type: ignore[union-attr]
        bob.drop()
        self.assertEqual([], self.got(cy))

    def test_nobody_is_left(self) -> None:
        """Without members there is nobody to give it to."""
        bob = self.member("bob")
        self.say(b"0")
        bob.drop()
        self.assertEqual({"no_group_member": 1}, self.rig.broker.counters.publish_dropped)

    def test_own_messages_stay(self) -> None:
        """What a session subscribed to by itself is not given away."""
        bob = self.member("bob", clean=False)
        bob.subscribe("own", qos=1)
        self.ada.publish("own", b"mine", 1, packet_id=99)
        cy = self.member("cy")
        bob.drop()
        self.assertEqual([], self.got(cy))
        self.assertEqual([b"mine"], self.got(self.rig.connect("bob", clean=False)))


class FilterTests(SynchronousTestCase):
    """``$share/GROUP/FILTER``"""

    def test_round_trip(self) -> None:
        """What is put together can be taken apart."""
        for group, filter in (("g", "a/#"), (None, "a/#"), ("g", "/")):
            self.assertEqual((group, filter), split_shared(shared_filter(group, filter)))

    def test_retained_messages(self) -> None:
        """Who joins a group gets nothing retained: §4.8.2."""
        rig = Rig()
        ada, bob = rig.connect("ada"), rig.connect("bob")
        ada.publish("t", b"x", retain=True)
        bob.subscribe(GROUP)
        self.assertEqual([], bob.received())
