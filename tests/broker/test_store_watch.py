"""`pushd.broker.store_watch`: what clients see while nothing can be made durable."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Pubrec,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from tests.driver import Peer, Rig
from tests.fakes import HeldStore

QOS1, QOS2 = QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE


class FullDiskTests(SynchronousTestCase):
    """Bob's session is persistent; then the disk is full."""

    def setUp(self) -> None:
        self.store = HeldStore()
        self.rig = Rig(store=self.store)
        self.ada = self.rig.connect("ada")
        self.eve = self.rig.connect("eve", version=Version.V5)
        self.bob = self.come("bob", Version.V3_1_1)
        self.bob.send(Subscribe(1, [SubscriptionRequest("t", QOS2)]))
        self.store.release()
        self.bob.received()

    def come(self, client_id: str, version: Version) -> Peer:
        lasting = {PropertyId.SESSION_EXPIRY_INTERVAL: 60}
        return self.rig.connect(
            client_id, clean=False, version=version, properties=lasting if version is Version.V5 else None
        )

    def fill(self) -> None:
        self.store.failing = "database or disk is full"
        self.store.pending = True
        self.rig.clock.pump([0.25] * 8)

    def clear(self) -> None:
        self.store.failing = None
        self.store.release()
        self.rig.clock.pump([0.25] * 8)
        self.store.release()
        self.rig.turn()

    def test_version_5_is_told(self) -> None:
        """QoS 1 and 2 get Quota exceeded, and reach nobody."""
        self.fill()
        self.eve.publish("t", b"1", qos=1, packet_id=1)
        self.eve.publish("t", b"2", qos=2, packet_id=2)
        quota = ReasonCode.QUOTA_EXCEEDED
        told = [(type(each), each.code) for each in self.eve.received()]  # type: ignore[union-attr]
        assert told == [(Puback, quota), (Pubrec, quota)]
        self.clear()
        assert self.bob.received() == []
        assert self.rig.broker.counters.publish_dropped == {"quota_exceeded": 2}

    def test_busy_publishers_are_told_too(self) -> None:
        """A topic that was in full use is no exception."""
        self.ada.subscribe("busy")
        for _ in range(3):
            self.eve.publish("busy", b"1", qos=1)
        self.eve.received()
        self.fill()
        self.eve.publish("busy", b"2", qos=1)
        (answer,) = self.eve.received()
        assert answer.code is ReasonCode.QUOTA_EXCEEDED  # type: ignore[union-attr]

    def test_version_3_waits(self) -> None:
        """It has no words for it: the PUBACK comes when there is space, and so does the message."""
        self.fill()
        self.ada.publish("t", b"1", qos=1)
        assert self.ada.received() == []
        self.clear()
        assert self.ada.received() == [Puback(1)]
        assert self.bob.received() == [Publish("t", b"1", QOS1, packet_id=1)]

    def test_pings_are_answered(self) -> None:
        """Nobody is cut off for want of a PINGRESP."""
        self.fill()
        self.ada.publish("t", b"1", qos=1)
        self.ada.send(Pingreq())
        assert self.ada.received() == [Pingresp()]

    def test_qos_0_goes_on(self) -> None:
        """It was never promised to be kept, also to a client that waits for something else."""
        self.ada.publish("t", b"1", qos=1)
        self.fill()
        self.ada.publish("t", b"0")
        assert self.bob.received() == [Publish("t", b"0")]

    def test_nothing_is_sent_that_cannot_be_recorded(self) -> None:
        """What comes for a persistent session is queued, so that nothing waits in front of QoS 0."""
        self.fill()
        self.ada.publish("t", b"1", qos=1)
        self.ada.publish("t", b"0")
        assert self.bob.received() == [Publish("t", b"0")]
        self.clear()
        assert self.bob.received() == [Publish("t", b"1", QOS1, packet_id=1)]

    def test_new_persistent_sessions_are_refused(self) -> None:
        """Both versions hear so; a clean one is let in."""
        self.fill()
        old, new = self.come("ned", Version.V3_1_1), self.come("liz", Version.V5)
        codes = [peer.connack.code for peer in (old, new) if peer.connack is not None]
        assert codes == [ReasonCode.SERVER_UNAVAILABLE, ReasonCode.QUOTA_EXCEEDED]
        clean = self.rig.connect("clean")
        assert clean.connack is not None
        assert clean.connack.code is ReasonCode.SUCCESS

    def test_kept_sessions_do_not_end(self) -> None:
        """A clean start would have to forget what is stored: it is refused, and the session stays."""
        self.bob.drop()
        self.fill()
        clean = self.rig.connect("bob")
        assert clean.connack is not None
        assert clean.connack.code is ReasonCode.SERVER_UNAVAILABLE
        assert "bob" in self.rig.broker.sessions

    def test_subscriptions_of_persistent_sessions(self) -> None:
        """Version 5 is refused, version 3 waits; those of clean sessions are granted."""
        liz = self.come("liz", Version.V5)
        self.store.release()
        liz.received()
        self.fill()
        assert liz.subscribe("u") == [ReasonCode.QUOTA_EXCEEDED]
        assert self.eve.subscribe("u") == [ReasonCode.GRANTED_QOS_0]
        self.bob.send(Subscribe(2, [SubscriptionRequest("u")]))
        assert self.bob.received() == []
        self.clear()
        assert self.bob.received() == [Suback(2, [ReasonCode.GRANTED_QOS_0])]

    def test_all_is_well_again(self) -> None:
        """Service goes on by itself."""
        self.fill()
        self.clear()
        self.eve.publish("t", b"1", qos=1)
        self.store.release()
        assert self.bob.received() == [Publish("t", b"1", QOS1, packet_id=1)]
        assert self.eve.received() == [Puback(1)]
