"""`pushd.transports.protocol`: bytes in any pieces, time that runs out, ends of connections."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.broker.interfaces import Credentials, IConnection, Verdict
from pushd.broker.limits import Limits
from pushd.broker.wheel import TICK_S
from pushd.mqtt.codes import QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from pushd.mqtt.writer import encode
from pushd.transports.protocol import CLOSE_TIMEOUT_S, PACKET_TIMEOUT_S
from tests.driver import Peer, Rig
from tests.fakes import Doorkeeper, Rules

PINGREQ = b"\xc0\0"
V3 = Version.V3_1_1


def spend(rig: Rig, seconds: float) -> None:
    """Let time pass in steps that are no multiple of the wheel's."""
    steps = int(seconds / 0.1)
    rig.clock.pump([0.1] * steps + [seconds - 0.1 * steps])


class InterfaceTests(SynchronousTestCase):
    """What Twisted and the broker rely on."""

    def test_interfaces(self) -> None:
        """It is Twisted's protocol, the broker's connection and the transport's producer in one."""
        protocol = Rig().open().protocol
        self.assertTrue(verifyObject(IConnection, protocol))
        self.assertTrue(verifyObject(IPushProducer, protocol))
        self.assertTrue(IProtocol.providedBy(protocol))

    def test_no_dict(self) -> None:
        """A hundred thousand connections must not carry a dict each."""
        self.assertFalse(hasattr(Rig().open().protocol, "__dict__"))

    def test_address(self) -> None:
        """Log lines name the peer's host and port."""
        self.assertEqual("192.0.2.7:4711", Rig().open().protocol.address)


class PiecesTests(SynchronousTestCase):
    """TCP delivers a stream, in whatever pieces it likes."""

    STREAM = b"".join(
        encode(packet, V3)
        for packet in (
            Connect(client_id="ada"),
            Subscribe(1, [SubscriptionRequest("t", QoS.AT_LEAST_ONCE)]),
            Publish("t", b"one", QoS.AT_LEAST_ONCE, packet_id=7),
            Publish("t", b"x" * 300),
            Publish("t", b"y" * 20_000),
            Publish("t", b"two"),
            Pingreq(),
        )
    )

    def answers(self, pieces: list[bytes]) -> bytes:
        peer = Rig().open()
        for piece in pieces:
            peer.deliver(piece)
        peer._rig.turn()
        value: bytes = peer.transport.value()
        return value

    def test_byte_by_byte(self) -> None:
        """A peer that sends one byte at a time is answered like one that sends all at once."""
        single = [self.STREAM[at : at + 1] for at in range(len(self.STREAM))]
        self.assertEqual(self.answers([self.STREAM]), self.answers(single))

    def test_split_anywhere(self) -> None:
        """So is one whose stream is cut in two, wherever that is."""
        whole = self.answers([self.STREAM])
        stream = self.STREAM
        cuts = [*range(60), *range(360, 440), len(stream) - 9, len(stream) - 2, len(stream) - 1]
        wrong = [cut for cut in cuts if self.answers([stream[:cut], stream[cut:]]) != whole]
        self.assertEqual([], wrong)

    def test_large_packet_in_many_reads_is_looked_at_once(self) -> None:
        """A large packet that comes in small pieces costs one pass, not one for each piece."""
        peer = Rig().connect("ada")
        looks: list[int] = []
        real = peer.protocol._state.next_packet

        class Counting:
            phase = peer.protocol._state.phase
            version = V3

            def next_packet(self, data: bytes, at: int) -> object:
                looks.append(len(data))
                return real(data, at)

        peer.protocol._state = Counting()  # type: ignore[assignment]
        packet = encode(Publish("t", b"z" * 1_000_000), V3)
        for at in range(0, len(packet), 1000):
            peer.deliver(packet[at : at + 1000])
        self.assertEqual([1000, len(packet), len(packet)], looks)  # it starts, it is there, nothing is left

    def test_bytes_received_are_counted(self) -> None:
        """Every byte that came counts, whether or not it made a packet."""
        rig = Rig()
        rig.open().deliver(b"\x10\x20")
        self.assertEqual(2, rig.broker.counters.bytes_received)


class TimeTests(SynchronousTestCase):
    """One wheel turns for all deadlines: never early, at most a second late."""

    GRACE_S = 3 * TICK_S

    def test_connect_must_come_in_time(self) -> None:
        """Who sends no CONNECT within connect_timeout is turned away, without a word, and counted."""
        rig = Rig(Limits(connect_timeout_s=4))
        peer = rig.open()
        spend(rig, 4)
        self.assertFalse(peer.closed)
        spend(rig, self.GRACE_S)
        self.assertTrue(peer.closed)
        self.assertEqual(b"", peer.transport.value())
        self.assertEqual({"connect_timeout": 1}, rig.broker.counters.connections_refused)

    def test_connect_byte_by_byte_does_not_extend_it(self) -> None:
        """A trickle of bytes that make no CONNECT buys no time."""
        rig = Rig(Limits(connect_timeout_s=4))
        peer = rig.open()
        for byte in encode(Connect(client_id="x" * 60), V3)[:45]:
            peer.deliver(bytes((byte,)))
            rig.clock.advance(0.12)
        self.assertTrue(peer.closed)

    def test_connect_timeout_ends_with_connect(self) -> None:
        """A client without keep alive may be silent for ever."""
        rig = Rig(Limits(connect_timeout_s=4))
        peer = rig.connect("ada")
        spend(rig, 100)
        self.assertFalse(peer.closed)

    def test_keep_alive_is_never_cut_short(self) -> None:
        """A client that pings at one and a half times its keep alive, to the moment, stays (v3 §3.1.2.10)."""
        rig = Rig()
        peer = rig.connect("ada", keep_alive_s=2)
        for _ in range(5):
            spend(rig, 3)
            peer.send(Pingreq())
        self.assertFalse(peer.closed)

    def test_silence_beyond_keep_alive_ends_it(self) -> None:
        """After one and a half times its keep alive a silent client is gone, and its Will is sent."""
        rig = Rig()
        bob = rig.connect("bob")
        bob.subscribe("gone")
        peer = rig.connect("ada", keep_alive_s=2, will=Will("gone", b"ada"))
        spend(rig, 3)
        self.assertFalse(peer.closed)
        spend(rig, self.GRACE_S)
        self.assertTrue(peer.closed)
        self.assertEqual([Publish("gone", b"ada")], bob.received())

    def test_what_the_server_sends_is_no_sign_of_life(self) -> None:
        """Only packets of the client count, not those for it."""
        rig = Rig()
        peer, bob = rig.connect("ada", keep_alive_s=2), rig.connect("bob")
        peer.subscribe("t")
        for _ in range(5):
            spend(rig, 0.9)
            bob.publish("t")
        self.assertTrue(peer.closed)

    def test_publishes_of_the_express_lane_are_signs_of_life(self) -> None:
        """A busy client needs no PINGREQ (v3 §3.1.2.10)."""
        rig = Rig()
        peer = rig.connect("ada", keep_alive_s=2)
        for _ in range(9):
            spend(rig, 1)
            peer.publish("t", b"busy")
        self.assertFalse(peer.closed)

    def test_closing_is_cut_off(self) -> None:
        """A peer that does not take our last bytes is cut off when CLOSE_TIMEOUT_S has passed."""
        rig = Rig()
        peer = rig.connect("ada")
        peer.transport.stuck = True
        peer.send(Disconnect())
        spend(rig, CLOSE_TIMEOUT_S - 0.1)
        self.assertFalse(peer.transport.aborted)
        spend(rig, 0.1 + self.GRACE_S)
        self.assertTrue(peer.transport.aborted)


class HalfPacketTests(SynchronousTestCase):
    """A packet that was begun must end in time, however its bytes trickle in."""

    PACKET = encode(Publish("t", b"x" * 500), V3)

    def connect(self, keep_alive_s: int) -> Peer:
        self.rig = Rig()
        peer = self.rig.connect("ada", keep_alive_s=keep_alive_s)
        spend(self.rig, 100 if not keep_alive_s else 0)
        return peer

    def trickle(self, peer: Peer, seconds: int) -> None:
        """A byte every ten seconds."""
        for at in range(seconds // 10):
            peer.deliver(self.PACKET[at : at + 1])
            spend(self.rig, 10)

    def test_without_keep_alive(self) -> None:
        """PACKET_TIMEOUT_S, counted from the packet's first byte."""
        peer = self.connect(0)
        self.trickle(peer, int(PACKET_TIMEOUT_S))
        self.assertFalse(peer.closed)
        spend(self.rig, 1)
        self.assertTrue(peer.closed)
        self.assertEqual({"keep_alive_timeout": 1}, self.rig.broker.counters.connections_closed)

    def test_long_keep_alive(self) -> None:
        """The same for a client that need not be heard for hours."""
        peer = self.connect(10_000)
        self.trickle(peer, int(PACKET_TIMEOUT_S))
        spend(self.rig, 1)
        self.assertTrue(peer.closed)

    def test_short_keep_alive(self) -> None:
        """Bytes are no sign of life, packets are."""
        peer = self.connect(10)
        self.trickle(peer, 20)
        self.assertTrue(peer.closed)

    def test_each_packet_has_its_own_time(self) -> None:
        """A slow client whose packets end in time may go on for ever."""
        peer = self.connect(0)
        for _ in range(6):
            peer.deliver(self.PACKET[:9])
            spend(self.rig, 40)
            peer.deliver(self.PACKET[9:] + self.PACKET[:9])
            spend(self.rig, 40)
            peer.deliver(self.PACKET[9:])
        spend(self.rig, 200)
        self.assertFalse(peer.closed)


class PendingVerdictTests(SynchronousTestCase):
    """While somebody thinks about a client, nothing of it is handled, and nothing is lost."""

    def setUp(self) -> None:
        self.verdict: Deferred[Verdict] = Deferred()
        self.rig = Rig(authenticator=Doorkeeper(self.verdict), authorizer=Rules())

    def test_what_was_sent_ahead_waits(self) -> None:
        """A client may go on without waiting for CONNACK; it is answered in order (v5 §3.1.4)."""
        peer = self.rig.open()
        peer.send(Connect(client_id="ada"), Pingreq(), Subscribe(1, [SubscriptionRequest("t")]))
        self.assertEqual(b"", peer.transport.value())
        self.verdict.callback(ReasonCode.SUCCESS)
        self.rig.turn()
        self.assertEqual([Pingresp(), Suback(1, [ReasonCode.SUCCESS])], peer.received())

    def test_reading_is_paused(self) -> None:
        """The peer's bytes stay with the kernel meanwhile: they cost no memory of ours."""
        peer = self.rig.connect("ada")
        self.assertEqual("paused", peer.transport.producerState)
        self.verdict.callback(ReasonCode.SUCCESS)
        self.assertEqual("producing", peer.transport.producerState)

    def test_bytes_that_come_all_the_same_wait(self) -> None:
        """A transport that still had bytes in hand may deliver them: they wait as well, in any pieces."""
        peer = self.rig.connect("ada")
        for piece in (PINGREQ, b"\xc0", b"\0"):
            peer.protocol.dataReceived(piece)
        self.verdict.callback(ReasonCode.SUCCESS)
        self.rig.turn()
        self.assertEqual([Pingresp(), Pingresp()], peer.received())

    def test_refusal(self) -> None:
        """A late no is a no, and what was sent ahead is not looked at."""
        peer = self.rig.open()
        peer.send(Connect(client_id="ada"), Publish("t", b"x"))
        self.verdict.callback(ReasonCode.BAD_USER_NAME_OR_PASSWORD)
        self.rig.turn()
        self.assertEqual(b"\x20\2\0\4", peer.transport.value())
        self.assertTrue(peer.closed)
        self.assertEqual(0, self.rig.broker.counters.publish_received)

    def test_an_authenticator_that_fails(self) -> None:
        """Whoever cannot be judged is told that the server is unavailable; the failure is logged."""
        peer = self.rig.connect("ada")
        self.verdict.errback(ZeroDivisionError())
        self.rig.turn()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(b"\x20\2\0\3", peer.transport.value())

    def test_peer_that_leaves_meanwhile(self) -> None:
        """A yes to somebody who is gone leaves nothing behind."""
        peer = self.rig.connect("ada")
        peer.drop()
        self.verdict.callback(ReasonCode.SUCCESS)
        self.rig.turn()
        self.assertEqual((0, {}), (self.rig.broker.online, self.rig.broker.sessions))

    def test_time_runs_on(self) -> None:
        """The deadline for a CONNECT holds while its verdict is pending; a late yes comes to nothing."""
        peer = self.rig.connect("ada")
        spend(self.rig, 12)
        self.assertTrue(peer.closed)
        self.verdict.callback(ReasonCode.SUCCESS)
        self.assertEqual(0, self.rig.broker.online)

    def test_keep_alive_does_not_run_while_we_do_not_read(self) -> None:
        """A client cannot be heard by who does not listen; afterwards its time begins anew."""
        later: Deferred[Verdict] = Deferred()
        rig = Rig(authorizer=Rules(later=later))
        peer = rig.connect("ada", keep_alive_s=2)
        peer.send(Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=5), PINGREQ[:1])
        spend(rig, 100)
        later.callback(ReasonCode.SUCCESS)
        spend(rig, 2.9)
        self.assertFalse(peer.closed)
        spend(rig, 1)
        self.assertTrue(peer.closed)

    def test_access_verdict_pauses(self) -> None:
        """A PUBLISH that waits for its verdict keeps what follows waiting behind it."""
        later: Deferred[Verdict] = Deferred()
        rig = Rig(authorizer=Rules(later=later))
        peer = rig.connect("ada")
        peer.send(Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=5), Pingreq())
        self.assertEqual([], peer.received())
        later.callback(ReasonCode.SUCCESS)
        rig.turn()
        self.assertEqual([Puback(5), Pingresp()], peer.received())


class RefusalTests(SynchronousTestCase):
    """A CONNECT that is turned down is answered, then the connection closes: [MQTT-3.2.2-5]."""

    def answer(self, rig: Rig, data: bytes) -> bytes:
        peer = rig.open()
        peer.deliver(data)
        rig.turn()
        self.assertTrue(peer.closed)
        value: bytes = peer.transport.value()
        return value

    def test_each_verdict_has_its_return_code(self) -> None:
        """v3 table 3.1."""
        table = {
            ReasonCode.BAD_USER_NAME_OR_PASSWORD: 4,
            ReasonCode.NOT_AUTHORIZED: 5,
            ReasonCode.SERVER_UNAVAILABLE: 3,
            ReasonCode.BANNED: 5,
            None: 5,
        }
        for verdict, code in table.items():
            answer = self.answer(Rig(authenticator=Doorkeeper(verdict)), encode(Connect(client_id="ada"), V3))
            self.assertEqual(bytes((0x20, 2, 0, code)), answer)

    def test_unknown_protocol_level(self) -> None:
        """[MQTT-3.1.2-2]: return code 1."""
        answer = self.answer(Rig(), b"\x10\x0d\0\4MQTT\x09\2\0\0\0\1a")
        self.assertEqual(b"\x20\2\0\1", answer)

    def test_persistent_session_without_a_client_id(self) -> None:
        """[MQTT-3.1.3-8]: return code 2."""
        answer = self.answer(Rig(), encode(Connect(client_id="", clean_start=False), V3))
        self.assertEqual(b"\x20\2\0\2", answer)

    def test_no_credentials_reach_the_authenticator_by_themselves(self) -> None:
        """It sees exactly what the client showed, and from where."""
        door = Doorkeeper()
        Rig(authenticator=door).connect("ada", username="a", password=b"p")
        self.assertEqual([Credentials("ada", "a", b"p", "192.0.2.7:4711", None)], door.seen)

    def test_refusals_are_counted_by_reason(self) -> None:
        """Whether or not the client could be told the reason."""
        rig = Rig(authenticator=Doorkeeper(ReasonCode.BANNED))
        for _ in range(2):
            rig.connect("ada", version=Version.V5)
        rig.open().send(Pingreq())
        self.assertEqual({"banned": 2, "protocol_error": 1}, rig.broker.counters.connections_refused)


class ErrorTests(SynchronousTestCase):
    """A broken connection closes; the others do not notice."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.bob = self.rig.connect("bob")

    def assert_only_this_closes(self, peer: Peer) -> None:
        self.assertTrue(peer.closed)
        self.bob.send(Pingreq())
        self.assertEqual([Pingresp()], self.bob.received())

    def test_first_packet_must_be_connect(self) -> None:
        """[MQTT-3.1.0-1]; silence is all the answer."""
        peer = self.rig.open()
        peer.send(Pingreq())
        self.assert_only_this_closes(peer)
        self.assertEqual(b"", peer.transport.value())

    def test_second_connect(self) -> None:
        """[MQTT-3.1.0-2]"""
        peer = self.rig.connect("ada")
        peer.send(Connect(client_id="ada"))
        self.assert_only_this_closes(peer)

    def test_malformed_packet(self) -> None:
        """QoS 3 does not exist."""
        peer = self.rig.connect("ada")
        peer.send(b"\x36\x03\0\1t")
        self.assert_only_this_closes(peer)

    def test_what_came_before_a_malformed_packet(self) -> None:
        """What is ahead of the mistake in the same read counts; what is behind it does not."""
        self.bob.subscribe("t")
        peer = self.rig.connect("ada")
        peer.send(Publish("t", b"1"), b"\x36\x03\0\1t", Publish("t", b"2"))
        self.assertEqual([Publish("t", b"1")], self.bob.received())

    def test_too_large_a_packet(self) -> None:
        """It is refused when its length is known, before its body takes any memory."""
        rig = Rig(Limits(max_packet_size=1000))
        peer = rig.connect("ada")
        peer.send(b"\x30\xe9\x07")
        self.assertTrue(peer.closed)

    def test_too_large_a_packet_to_a_topic_in_use(self) -> None:
        """The limit holds on the express lane as well."""
        rig = Rig(Limits(max_packet_size=1000))
        peer = rig.connect("ada")
        peer.publish("t", b"small")
        peer.publish("t", b"x" * 1000)
        self.assertTrue(peer.closed)

    def test_unexpected_exception(self) -> None:
        """A mistake of ours ends the connection that met it, is logged, and the broker goes on."""
        rules = Rules()
        rig = Rig(authorizer=rules)
        self.rig, self.bob = rig, rig.connect("bob")
        peer = rig.connect("ada")
        self.patch(rules, "authorize", lambda *_: 1 // 0)
        peer.publish("t")
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assert_only_this_closes(peer)

    def test_unexpected_exception_after_a_late_verdict(self) -> None:
        """The same when it happens once the verdict is there."""
        later: Deferred[Verdict] = Deferred()
        rig = Rig(authorizer=Rules(later=later))
        self.rig, self.bob = rig, rig.connect("bob")
        peer = rig.connect("ada")
        peer.publish("t")
        self.patch(rig.broker, "publish_message", lambda *_: 1 // 0)
        later.callback(ReasonCode.SUCCESS)
        rig.turn()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assert_only_this_closes(peer)


class EndTests(SynchronousTestCase):
    """How connections end, and what is forgotten with them."""

    def test_disconnect(self) -> None:
        """DISCONNECT closes the connection and drops the Will: [MQTT-3.14.4-3]."""
        rig = Rig()
        bob = rig.connect("bob")
        bob.subscribe("gone")
        peer = rig.connect("ada", will=Will("gone", b"ada"))
        peer.send(Disconnect())
        self.assertTrue(peer.closed)
        self.assertEqual([], bob.received())

    def test_nothing_counts_after_disconnect(self) -> None:
        """Packets behind a DISCONNECT are not looked at, not even those of a topic in use."""
        rig = Rig()
        bob, peer = rig.connect("bob"), rig.connect("ada")
        bob.subscribe("t")
        peer.publish("t", b"1")
        peer.send(Disconnect(), Publish("t", b"2"))
        self.assertEqual([Publish("t", b"1")], bob.received())

    def test_bytes_that_come_after_a_take_over(self) -> None:
        """A connection that was replaced cannot acknowledge what its successor was sent."""
        rig = Rig()
        first = rig.connect("ada", clean=False)
        first.subscribe("t", qos=1)
        first.publish("t", b"1", qos=1)
        old = first.protocol
        second = rig.open()
        second.deliver(encode(Connect(client_id="ada", clean_start=False), V3))
        old.dataReceived(encode(Puback(1), V3))  # read in the same turn of the reactor
        rig.turn()
        self.assertEqual(1, rig.broker.sessions["ada"].waiting_messages)

    def test_outbox_goes_before_the_end(self) -> None:
        """What was answered in the same turn is sent before the connection closes."""
        peer = Rig().connect("ada")
        peer.send(Pingreq(), Disconnect())
        self.assertEqual([Pingresp()], peer.received())

    def test_version_5_peer_is_told_why(self) -> None:
        """v5 §4.13.1: a server may say DISCONNECT; version 3 has no such packet."""
        rig = Rig()
        peer = rig.connect("ada", version=Version.V5)
        peer.protocol.close(ReasonCode.SERVER_SHUTTING_DOWN)
        rig.turn()
        self.assertEqual(b"\xe0\1\x8b", peer.transport.value())

    def test_lost_connection_is_lost_once(self) -> None:
        """However it ends, the client is taken out of the count once."""
        rig = Rig()
        peer = rig.connect("ada")
        peer.drop()
        peer.protocol.close(ReasonCode.SUCCESS)
        rig.turn()
        self.assertEqual((0, {}), (rig.broker.online, rig.broker.sessions))

    def test_closing_twice(self) -> None:
        """Closing a connection that is closing changes nothing, nor does refusing it."""
        rig = Rig()
        peer = rig.connect("ada")
        peer.protocol.close(ReasonCode.SUCCESS)
        peer.protocol.close(ReasonCode.SUCCESS)
        peer.protocol.refuse(ReasonCode.NOT_AUTHORIZED, "too late")
        rig.turn()
        self.assertTrue(peer.closed)
        self.assertEqual(b"", peer.transport.value())

    def test_connection_is_named_in_logs(self) -> None:
        """A failure is reported with the address it came from."""
        self.assertIn("192.0.2.7:4711", repr(Rig().open().protocol))

    def test_a_connection_that_was_forgotten_by_its_transport(self) -> None:
        """`connectionLost` before any CONNECT leaves nothing either."""
        rig = Rig()
        peer = rig.open()
        peer.protocol.connectionLost(Failure(ConnectionError()))
        spend(rig, 60)
        self.assertFalse(peer.transport.aborted)
