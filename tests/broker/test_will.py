"""`pushd.broker.will`: a Will outlives the process that was to send it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records
from pushd.broker.interfaces import Verdict
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import Disconnect, Packet, Properties, Publish, Will
from pushd.storage.memory import MemoryStore
from tests.driver import Peer, Rig
from tests.fakes import Rules

WILL = Will("gone", b"bob", QoS.AT_LEAST_ONCE)
LATE_WILL = Will("gone", b"bob", QoS.AT_LEAST_ONCE, properties={PropertyId.WILL_DELAY_INTERVAL: 10})
SENT = [Publish("gone", b"bob", QoS.AT_LEAST_ONCE, packet_id=1)]


class RestartTests(SynchronousTestCase):
    """A process ends without a word, and another takes up what it left behind"""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.rules = Rules()
        self.rig = Rig(authorizer=self.rules, store=self.store)
        ada = self.rig.connect("ada", clean=False)
        ada.subscribe("gone", qos=1)
        ada.drop()

    def restart(self) -> None:
        self.rig = Rig(authorizer=self.rules, store=self.store)

    def heard(self) -> list[Packet]:
        """What ada is sent when she is back."""
        return self.rig.connect("ada", clean=False).received()

    def bob(self, will: Will = LATE_WILL) -> Peer:
        """Bob with a session that is kept for a minute."""
        kept: Properties = {PropertyId.SESSION_EXPIRY_INTERVAL: 60}
        return self.rig.connect("bob", False, version=Version.V5, will=will, properties=kept)

    def test_client_without_a_session(self) -> None:
        """A clean session is gone with the process, which is what its Will is there to say; once."""
        self.rig.connect("bob", will=WILL)
        self.restart()
        self.assertEqual({}, self.store.state.wills)
        self.restart()
        self.assertEqual(SENT, self.heard())

    def test_farewell(self) -> None:
        """Who said good-bye before has no Will."""
        self.rig.connect("bob", will=WILL).send(Disconnect())
        self.restart()
        self.assertEqual([], self.heard())

    def test_will_that_was_sent(self) -> None:
        """It is not sent again."""
        self.rig.connect("bob", will=WILL).drop()
        self.restart()
        self.assertEqual(SENT, self.heard())

    def test_delay_goes_on(self) -> None:
        """A Will that waits is sent when its time has come, counted from when its client left."""
        self.bob().drop()
        self.rig.clock.pump([1.0] * 4)
        self.restart()
        self.rig.clock.pump([1.0] * 9)
        self.assertIn("bob", self.store.state.wills)
        self.rig.clock.pump([1.0] * 3)
        self.assertEqual(SENT, self.heard())

    def test_delay_of_a_client_that_was_there(self) -> None:
        """It left when the process ended: its delay begins then."""
        self.bob()
        self.restart()
        self.assertIn("bob", self.store.state.wills)
        self.rig.clock.pump([1.0] * 12)
        self.assertEqual(SENT, self.heard())

    def test_client_that_came_back(self) -> None:
        """Its old Will is forgotten, before and after a restart."""
        self.bob().drop()
        self.restart()
        self.rig.connect("bob", False)
        self.assertEqual({}, self.store.state.wills)
        self.restart()
        self.rig.clock.pump([1.0] * 20)
        self.assertEqual([], self.heard())

    def test_verdict_that_takes_its_time(self) -> None:
        """The Will is kept until it is known whether it may be sent."""
        bob = self.rig.connect("bob", will=WILL)
        self.rules.later = verdict = Deferred[Verdict]()
        bob.drop()
        self.assertIn("bob", self.store.state.wills)
        verdict.callback(ReasonCode.SUCCESS)
        self.assertEqual({}, self.store.state.wills)

    def test_verdict_after_the_client_came_back(self) -> None:
        """What becomes of the old Will says nothing of the new one."""
        bob = self.rig.connect("bob", will=WILL)
        self.rules.later = verdict = Deferred[Verdict]()
        bob.drop()
        self.rig.connect("bob", will=Will("gone", b"new"))
        verdict.callback(ReasonCode.SUCCESS)
        self.assertEqual(b"new", self.store.state.wills["bob"].fields.payload)

    def test_session_expiry_goes_on(self) -> None:
        """A restart does not lengthen the life of a session whose client had left before."""
        self.bob().drop()
        self.store.record(records.SessionLeft("bob", -55.0))
        self.restart()
        self.rig.clock.pump([1.0] * 6)
        self.assertNotIn("bob", self.store.state.sessions)
