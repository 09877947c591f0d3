"""`pushd.broker.admission`: from a CONNECT to its CONNACK, whoever has to be asked."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Verdict
from pushd.broker.limits import Limits
from pushd.mqtt.codes import PropertyId as P
from pushd.mqtt.codes import QoS, Version
from pushd.mqtt.codes import ReasonCode as R
from pushd.mqtt.packets import Connack, Connect, Properties, Publish, Will
from tests.driver import Peer, Rig
from tests.fakes import Doorkeeper


class AdmissionCase(SynchronousTestCase):
    """A broker with some limits."""

    def setUp(self) -> None:
        self.door = Doorkeeper()
        self.rig = Rig(Limits(max_keepalive_s=60), authenticator=self.door)

    def come(
        self,
        client_id: str = "ada",
        properties: Properties | None = None,
        *,
        version: Version = Version.V5,
        keep_alive_s: int = 30,
        clean: bool = True,
        will: Will | None = None,
    ) -> Peer:
        peer = self.rig.open()
        peer.send(
            Connect(
                version,
                client_id,
                clean,
                keep_alive_s,
                will=will,
                properties=properties or {},
            )
        )
        return peer

    def connack(self, peer: Peer) -> Connack:
        assert peer.connack is not None
        return peer.connack


class RefusalTests(AdmissionCase):
    """What is refused whoever asks"""

    def assert_refused(self, code: R, peer: Peer) -> None:
        self.assertIs(code, self.connack(peer).code)
        self.assertTrue(peer.closed)
        self.assertEqual([], self.door.seen)
        self.assertEqual(({}, 0), (self.rig.broker.sessions, self.rig.broker.online))

    def test_version(self) -> None:
        """accept_protocol_versions"""
        self.rig.policy.accept_protocol_versions = frozenset({Version.V3_1_1})
        self.assert_refused(R.UNSUPPORTED_PROTOCOL_VERSION, self.come())
        self.rig.policy.accept_protocol_versions = frozenset({Version.V5})
        self.assert_refused(R.UNSUPPORTED_PROTOCOL_VERSION, self.come(version=Version.V3_1_1))

    def test_no_client_id(self) -> None:
        """allow_zero_length_clientid"""
        self.rig.policy.allow_zero_length_clientid = False
        self.assert_refused(R.CLIENT_IDENTIFIER_NOT_VALID, self.come(""))

    def test_prefix(self) -> None:
        """clientid_prefixes, for ids that clients bring and for those that they are given."""
        self.rig.policy.clientid_prefixes = "ada-"
        self.assert_refused(R.NOT_AUTHORIZED, self.come("bob"))
        self.assert_refused(R.NOT_AUTHORIZED, self.come("ada"))
        self.assert_refused(R.NOT_AUTHORIZED, self.come("", version=Version.V3_1_1))
        self.assertIs(R.SUCCESS, self.connack(self.come("ada-1")).code)
        self.rig.policy.auto_id_prefix = "ada-auto-"
        self.assertIs(R.SUCCESS, self.connack(self.come("")).code)

    def test_wills_that_could_not_be_sent(self) -> None:
        """max_qos, retain_available"""
        self.rig.policy.max_qos = 1
        self.assert_refused(R.QOS_NOT_SUPPORTED, self.come(will=Will("t", b"", QoS.EXACTLY_ONCE)))
        self.rig = Rig(Limits(retain_available=False), authenticator=self.door)
        self.assert_refused(R.RETAIN_NOT_SUPPORTED, self.come(will=Will("t", b"", retain=True)))

    def test_long_keep_alive_of_version_3(self) -> None:
        """max_keepalive, for those who cannot be told a shorter one."""
        for keep_alive_s in (0, 61):
            peer = self.come(version=Version.V3_1_1, keep_alive_s=keep_alive_s)
            self.assert_refused(R.CLIENT_IDENTIFIER_NOT_VALID, peer)

    def test_no_room_for_a_connack(self) -> None:
        """A client that takes no packet as large as our CONNACK cannot be let in: [MQTT-3.1.2-24]."""
        peer = self.come(properties={P.MAXIMUM_PACKET_SIZE: 15})
        self.assertIs(R.PACKET_TOO_LARGE, self.connack(peer).code)
        self.assertEqual({}, self.connack(peer).properties)
        self.assertEqual({}, self.rig.broker.sessions)
        self.assertIs(R.SUCCESS, self.connack(self.come(properties={P.MAXIMUM_PACKET_SIZE: 16})).code)


class UsernameTests(AdmissionCase):
    """The option use_username_as_clientid"""

    def setUp(self) -> None:
        super().setUp()
        self.rig.policy.use_username_as_clientid = True

    def log_in(self, username: str | None, client_id: str = "sent") -> Peer:
        peer = self.rig.open()
        peer.send(Connect(Version.V5, client_id, True, 30, username=username))
        return peer

    def test_taken(self) -> None:
        """The session is the user's, whatever client id was sent; the same user again takes it over."""
        first = self.log_in("ada", "one")
        second = self.log_in("ada", "two")
        self.assertEqual(["ada"], list(self.rig.broker.sessions))
        self.assertTrue(first.closed)
        self.assertFalse(second.closed)

    def test_told(self) -> None:
        """A client that sent no id hears which one it has: [MQTT-3.2.2-16]."""
        properties = self.connack(self.log_in("ada", "")).properties
        self.assertEqual("ada", properties[P.ASSIGNED_CLIENT_IDENTIFIER])
        self.assertNotIn(P.ASSIGNED_CLIENT_IDENTIFIER, self.connack(self.log_in("bob")).properties)

    def test_nobody(self) -> None:
        """Without a user name nobody comes in, even where anonymous clients may."""
        for username in (None, ""):
            self.assertIs(R.NOT_AUTHORIZED, self.connack(self.log_in(username)).code)
        self.assertEqual({}, self.rig.broker.sessions)

    def test_as_proven(self) -> None:
        """What the certificate says counts, not what the client sent."""
        self.door.answer = Deferred()
        peer = self.log_in("eve")
        self.door.seen[0].username = "phone"
        self.door.answer.callback(R.SUCCESS)
        self.rig.turn()
        peer.received()
        self.assertIs(R.SUCCESS, self.connack(peer).code)
        self.assertEqual(["phone"], list(self.rig.broker.sessions))


class AnswerTests(AdmissionCase):
    """What a CONNACK says"""

    def test_server_keep_alive(self) -> None:
        """A longer one than max_keepalive, or none, is cut down; others are left: [MQTT-3.1.2-21]."""
        for asked, told in ((0, 60), (61, 60), (60, None), (1, None)):
            properties = self.connack(self.come(keep_alive_s=asked)).properties
            self.assertEqual(told, properties.get(P.SERVER_KEEP_ALIVE))

    def test_server_keep_alive_holds(self) -> None:
        """It is what the client is held to."""
        peer = self.come(keep_alive_s=0)
        self.rig.clock.pump([0.25] * 4 * 89)
        self.assertFalse(peer.closed)
        self.rig.clock.pump([0.25] * 4 * 3)
        self.assertTrue(peer.closed)

    def test_assigned_client_id(self) -> None:
        """One that nobody has, with the configured prefix; it is the session's, and the authenticator's."""
        self.rig.policy.auto_id_prefix = "device-"
        told = [self.connack(self.come("")).properties[P.ASSIGNED_CLIENT_IDENTIFIER] for _ in range(2)]
        self.assertEqual(2, len(set(told)))
        self.assertEqual(told, list(self.rig.broker.sessions))
        self.assertEqual(told, [credentials.client_id for credentials in self.door.seen])
        assert all(isinstance(each, str) and each.startswith("device-") for each in told)

    def test_version_3_is_told_nothing(self) -> None:
        """An invented client id is good enough there."""
        peer = self.come("", version=Version.V3_1_1)
        self.assertEqual(Connack(), self.connack(peer))

    def test_session_present(self) -> None:
        """Whether there was one to resume."""
        expiry: Properties = {P.SESSION_EXPIRY_INTERVAL: 60}
        seen = [
            self.connack(self.come(properties=expiry, clean=clean)).session_present
            for clean in (False, False, True)
        ]
        self.assertEqual([False, True, False], seen)


class ExpiryTests(AdmissionCase):
    """How long a session is kept"""

    def expiry(self, version: Version, clean: bool, properties: Properties | None = None) -> float | None:
        self.come(version=version, clean=clean, properties=properties)
        return self.rig.broker.sessions["ada"].expiry_s

    def test_version_3(self) -> None:
        """Not at all, or for ever."""
        self.assertEqual(0.0, self.expiry(Version.V3_1_1, True))
        self.assertIsNone(self.expiry(Version.V3_1_1, False))

    def test_version_5(self) -> None:
        """As the client says, whatever Clean Start is."""
        for clean in (True, False):
            self.assertEqual(0.0, self.expiry(Version.V5, clean))
            self.assertEqual(9.0, self.expiry(Version.V5, clean, {P.SESSION_EXPIRY_INTERVAL: 9}))
            self.assertIsNone(self.expiry(Version.V5, clean, {P.SESSION_EXPIRY_INTERVAL: 0xFFFF_FFFF}))


class VerdictTests(AdmissionCase):
    """What the authenticator says"""

    def test_refused(self) -> None:
        """Its code is passed on; no opinion is a refusal."""
        for verdict, code in (
            (R.BAD_USER_NAME_OR_PASSWORD, R.BAD_USER_NAME_OR_PASSWORD),
            (None, R.NOT_AUTHORIZED),
        ):
            self.door.answer = verdict
            self.assertIs(code, self.connack(self.come()).code)
        self.assertEqual({}, self.rig.broker.sessions)

    def test_later(self) -> None:
        """What the client sent ahead waits for the verdict, and is handled after it."""
        later: Deferred[Verdict] = Deferred()
        self.door.answer = later
        peer = self.rig.open()
        peer.send(Connect(Version.V5, "ada"), Publish("t", b"x"))
        self.assertEqual(0, self.rig.broker.counters.publish_received)
        later.callback(R.SUCCESS)
        self.rig.turn()
        peer.received()
        self.assertIs(R.SUCCESS, self.connack(peer).code)
        self.assertEqual(1, self.rig.broker.counters.publish_received)

    def test_gone_meanwhile(self) -> None:
        """Who did not wait for the verdict leaves nothing behind, and takes no session over."""
        later: Deferred[Verdict] = Deferred()
        self.door.answer = later
        self.come().drop()
        self.door.answer = R.SUCCESS
        patient = self.come()
        later.callback(R.SUCCESS)
        self.rig.turn()
        self.assertFalse(patient.closed)
        self.assertEqual(1, self.rig.broker.online)

    def test_no_verdict(self) -> None:
        """An authenticator that fails is no reason to let anybody in."""
        self.door.answer = fail(RuntimeError("out of order"))
        self.assertIs(R.SERVER_UNAVAILABLE, self.connack(self.come()).code)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
