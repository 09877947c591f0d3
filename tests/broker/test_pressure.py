"""`pushd.broker.pressure`: a publisher faster than its subscriber is slowed down, and nothing is dropped."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.limits import Limits
from pushd.broker.pressure import Pressure
from pushd.mqtt.codes import QoS
from pushd.mqtt.packets import Packet, Puback, Publish
from tests.driver import Peer, Rig

QOS1 = QoS.AT_LEAST_ONCE
COUNT = 300


class PressureTests(SynchronousTestCase):
    """Ada says 300 things at once; bob takes one at a time, and his queue has place for 100."""

    def setUp(self) -> None:
        self.rig = Rig(Limits(max_inflight_messages=1, max_queued_messages=100))
        self.ada, self.bob = self.rig.connect("ada"), self.rig.connect("bob")
        self.bob.subscribe("t", qos=1)
        self.ada.publish("t", b"first", qos=1)  # from now on the topic is in the express lane

    def flood(self, peer: Peer) -> None:
        peer.send(*[Publish("t", b"x", QOS1, packet_id=number + 1) for number in range(COUNT)])

    def take(self) -> list[Packet]:
        """All that bob can get, one by one."""
        taken: list[Packet] = []
        while packets := self.bob.received():
            taken += packets
            self.bob.send(*[Puback(each.packet_id) for each in packets if isinstance(each, Publish)])
        return taken

    @property
    def dropped(self) -> dict[str, int]:
        return self.rig.broker.counters.publish_dropped

    def test_nothing_is_dropped(self) -> None:
        """As long as the subscriber keeps going, the publisher waits for it."""
        self.flood(self.ada)
        assert len(self.ada.received()) < COUNT
        assert len(self.take()) == COUNT + 1
        assert self.dropped == {}

    def test_everything_is_acknowledged_in_the_end(self) -> None:
        """The publisher is read from again as the queue drains."""
        self.flood(self.ada)
        self.take()
        assert len(self.ada.received()) == COUNT + 1

    def test_who_stands_still_holds_nobody_up(self) -> None:
        """After a moment the publisher goes on, and the queue overflows."""
        self.flood(self.ada)
        self.rig.clock.pump([0.25] * 8)
        assert len(self.ada.received()) == COUNT + 1
        assert self.dropped == {"queue_full": COUNT - 100}

    def test_once_is_enough(self) -> None:
        """A publisher that waited in vain is not made to wait again soon."""
        self.flood(self.ada)
        self.rig.clock.pump([0.25] * 8)
        self.ada.received()
        self.flood(self.ada)
        assert len(self.ada.received()) == COUNT
        self.rig.clock.pump([0.25] * int(Pressure.IMPATIENCE_S * 4))
        self.take()
        self.flood(self.ada)
        assert len(self.ada.received()) < COUNT

    def test_subscriber_leaves(self) -> None:
        """Nobody waits for a client that is gone."""
        self.flood(self.ada)
        self.bob.drop()
        self.rig.turn()
        assert len(self.ada.received()) == COUNT + 1

    def test_publisher_leaves(self) -> None:
        """One that is gone is not read from."""
        self.flood(self.ada)
        self.ada.drop()
        assert len(self.take()) < COUNT

    def test_own_messages(self) -> None:
        """Who publishes to itself must be read from, or its acknowledgements would never come."""
        self.flood(self.bob)
        assert len([each for each in self.bob.received() if isinstance(each, Puback)]) == COUNT

    def test_several_publishers(self) -> None:
        """All of those who are ahead wait, and all go on."""
        eve = self.rig.connect("eve")
        self.flood(self.ada)
        self.flood(eve)
        assert len(self.take()) == 2 * COUNT + 1
        assert self.dropped == {}
        assert len(eve.received()) == COUNT
