"""`pushd.broker.express`: every effect is that of the slow way, whatever comes and however it is cut."""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.client import Client
from pushd.broker.express import MAX_COPIES, handle_express
from pushd.broker.interfaces import Access
from pushd.broker.limits import Limits
from pushd.mqtt.codes import PropertyId, QoS, Version
from pushd.mqtt.packets import (
    Packet,
    Pingreq,
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
from pushd.mqtt.writer import encode
from tests.driver import Peer, Rig
from tests.fakes import HeldStore, Rules

V3 = Version.V3_1_1
TOPICS = ["t", "a/b", "$SYS/x", "long/" + "x" * 120]

REFUSED: set[tuple[object, ...]] = {
    (Access.WRITE, "a/b"),
    (Access.READ, "t", "eve"),
    (Access.READ, "m/a/b"),
}

topics = st.sampled_from(TOPICS)
packet_ids = st.integers(1, 3)
payloads = st.one_of(
    st.binary(max_size=4), st.sampled_from([b"", b"0\5\0\1thi", b"x" * 119, b"x" * 130, b"x" * 16_500])
)
publishes = st.one_of(
    st.builds(Publish, topics, payloads, retain=st.integers(0, 9).map(lambda n: n == 0)),
    st.builds(
        Publish, topics, payloads, st.sampled_from([QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE]),
        dup=st.integers(0, 5).map(lambda n: n == 0), packet_id=packet_ids,
    ),
)  # fmt: skip
acks = st.sampled_from([Puback, Pubrec, Pubrel, Pubcomp]).flatmap(lambda kind: st.builds(kind, packet_ids))
others = st.one_of(
    st.just(Pingreq()),
    topics.map(lambda topic: Subscribe(9, [SubscriptionRequest(topic, QoS.AT_LEAST_ONCE)])),
    topics.map(lambda topic: Unsubscribe(9, [topic])),
)
packets: st.SearchStrategy[Packet] = st.one_of(publishes, publishes, publishes, acks, others)
broken = st.sampled_from(
    [b"\x36\5\0\1tab", b"\x40\2\0\0", b"\x32\5\0\1t\0\0", b"\x30\1\0", b"\x30\x84\0\0\1tx"]
)
streams = st.lists(st.one_of(*[packets] * 12, broken), max_size=25)
versions = st.lists(st.sampled_from([V3, Version.V5]), min_size=3, max_size=3)
cuts = st.lists(st.integers(0, 4000), max_size=4)


def slow_way(client: Client, data: bytes, at: int) -> int:
    """What stands in for the express lane: none."""
    return at


def counted(rig: Rig) -> dict[str, object]:
    counters = rig.broker.counters
    return {name: getattr(counters, name) for name in type(counters).__slots__}


def outcome(
    stream: list[Packet | bytes],
    versions: list[Version],
    cuts: list[int],
    limits: Limits,
    mount_point: str = "",
    congested: bool = False,
) -> object:
    """All that anybody can see of a stream of packets: who got which bytes, the journal, the counters."""
    store = HeldStore()
    rig = Rig(limits, authorizer=Rules(REFUSED), store=store, mount_point=mount_point)
    kept: Properties = {PropertyId.SESSION_EXPIRY_INTERVAL: 60}
    peers = [
        rig.connect(name, clean=name == "eve", version=version, properties=kept)
        for name, version in zip(("ada", "bob", "eve"), versions, strict=True)
    ]
    for peer, filters, qos in zip(peers, ("a/b", "#", "+"), (2, 1, 0), strict=True):
        peer.send(Subscribe(1, [SubscriptionRequest(filters, QoS(qos)), SubscriptionRequest("t", QoS(qos))]))
    store.release()
    for peer in peers:
        peer.publish("t", b"known", packet_id=0)
    if congested:
        congest(peers[2])
    data = b"".join(encoded(packet, versions[0]) for packet in stream)
    at = sorted(min(cut, len(data)) for cut in cuts)
    for start, end in zip([0, *at], [*at, len(data)], strict=True):
        peers[0].send(data[start:end])
        store.release()
        rig.turn()
    return (
        [peer.transport.value() for peer in peers],
        [peer.closed for peer in peers],
        [repr(record) for record in store.records],
        counted(rig),
    )


def encoded(packet: Packet | bytes, version: Version) -> bytes:
    return packet if isinstance(packet, bytes) else encode(packet, version)


def congest(peer: Peer) -> None:
    client = peer.protocol.client
    assert client is not None
    client.congested = True


class SameAsTheSlowWayTests(SynchronousTestCase):
    """The lane saves time and nothing else."""

    def check(self, *arguments: Any) -> None:
        fast = outcome(*arguments)
        with mock.patch("pushd.transports.protocol.handle_express", slow_way):
            slow = outcome(*arguments)
        self.assertEqual(slow, fast)

    @settings(max_examples=150, deadline=None)
    @given(
        streams, versions, cuts, st.sampled_from(["", "m/"]), st.booleans(), st.sampled_from([0, 20, 300]),
        st.sampled_from([2, 20]),
    )  # fmt: skip
    def test_any_stream_cut_anywhere(
        self,
        stream: list[Packet | bytes],
        versions: list[Version],
        cuts: list[int],
        mount_point: str,
        congested: bool,
        size_limit: int,
        window: int,
    ) -> None:
        """
        Subscribers get the same bytes, the journal and the counters say the same, whether or not packets
        take the express lane.
        """
        limits = Limits(max_inflight_messages=window, max_queued_messages=5, message_size_limit=size_limit)
        self.check(stream, versions, cuts, limits, mount_point, congested)

    @settings(max_examples=60, deadline=None)
    @given(streams, versions, st.integers(10, 300))
    def test_max_packet_size(self, stream: list[Packet | bytes], versions: list[Version], limit: int) -> None:
        """A packet above the limit ends the connection on both ways."""
        self.check(stream, versions, [], Limits(max_packet_size=limit))


class LaneTests(SynchronousTestCase):
    """What takes the lane, and what is left to the reader."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.peer, self.bob = self.rig.connect("ada"), self.rig.connect("bob")
        self.bob.subscribe("t", qos=2)
        self.peer.publish("t", b"first")
        self.peer.received()
        self.bob.received()
        client = self.peer.protocol.client
        assert client is not None
        self.client = client

    def taken(self, *packets: Packet | bytes) -> int:
        """:return: how many bytes the lane took."""
        data = b"".join(p if isinstance(p, bytes) else encode(p, V3) for p in packets)
        return handle_express(self.client, data, 0)

    def test_run_of_publishes(self) -> None:
        """Publishes to the topic of the last one, of any length, are taken in one go, byte for byte."""
        data = b"".join(encode(Publish("t", b"x" * n), V3) for n in (0, 1, 1, 5, 124, 125, 125, 16_000))
        self.assertEqual(len(data), handle_express(self.client, data, 0))
        self.rig.turn()
        self.assertEqual(data, self.bob.transport.value())

    def test_starts_at_an_offset(self) -> None:
        """What lies before the offset was handled already."""
        data = b"\xc0\0" + encode(Publish("t", b"x"), V3)
        self.assertEqual(len(data), handle_express(self.client, data, 2))

    def test_left_to_the_reader(self) -> None:
        """Whatever is out of the ordinary, or nothing the lane has met."""
        odd: dict[str, Packet | bytes] = {
            "retained": Publish("t", b"x", retain=True),
            "again": Publish("t", b"x", QoS.AT_LEAST_ONCE, dup=True, packet_id=1),
            "another topic": Publish("u", b"x"),
            "a long one": Publish("t", b"x" * 20_000),
            "ping": Pingreq(),
            "subscribe": Subscribe(1, [SubscriptionRequest("t")]),
            "an acknowledgement of packet identifier 0": b"\x40\2\0\0",
            "a publish with packet identifier 0": b"\x32\5\0\1t\0\0",
            "an acknowledgement with wrong flags": b"\x41\2\0\1",
            "QoS 3": b"\x36\5\0\1t\0\1",
            "a name that is longer than its packet": b"\x30\3\0\2t" + b"ab",
            "a length of more bytes than it needs": b"\x30\x84\0\0\1tx",
        }
        taken = {name: self.taken(packet) for name, packet in odd.items()}
        self.assertEqual(dict.fromkeys(odd, 0), taken)

    def test_incomplete(self) -> None:
        """A packet that is not all there waits, wherever it ends; the whole ones before it are taken."""
        for packet in (
            Publish("t", b"x" * 200),
            Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=4),
            Puback(1),
        ):
            data = encode(packet, V3)
            for end in range(len(data)):
                self.assertEqual(len(data), self.taken(data, data[:end]), end)

    def test_stale_route(self) -> None:
        """When who may get a message has changed, the next publish asks anew."""
        self.rig.broker.access_rules_changed()
        self.assertEqual(0, self.taken(Publish("t", b"x")))
        self.peer.publish("t", b"x")
        self.assertGreater(self.taken(Publish("t", b"x")), 0)

    def test_acknowledgements(self) -> None:
        """The four of them, in one read."""
        data = b"".join(encode(ack(7), V3) for ack in (Puback, Pubrec, Pubrel, Pubcomp))
        self.assertEqual(16, handle_express(self.client, data, 0))

    def test_payload_that_looks_like_a_packet(self) -> None:
        """Packets are cut by their length, never by what they look like."""
        inner = encode(Publish("t", b"hidden"), V3)
        self.taken(Publish("t", b""), Publish("t", inner), Publish("t", b""))
        self.rig.turn()
        self.assertEqual(
            [b"", inner, b""], [p.payload for p in self.bob.received() if isinstance(p, Publish)]
        )

    def test_acknowledged_publish_keeps_its_bytes(self) -> None:
        """A QoS 1 message is passed on under the subscriber's own packet identifier."""
        self.taken(Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=500))
        self.rig.turn()
        self.assertEqual([Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=1)], self.bob.received())
        self.assertEqual([Puback(500)], self.peer.received())

    def test_forgetting_routes(self) -> None:
        """A client that publishes to more topics than MAX_ROUTES does not fill our memory."""
        self.patch(Client, "MAX_ROUTES", 10)
        for n in range(35):
            self.peer.publish(f"t/{n}", b"x")
        self.assertLessEqual(len(self.client.routes), 10)

    def test_maximum_qos(self) -> None:
        """max_qos holds here, too."""
        self.rig.policy.max_qos = 1
        self.assertEqual(0, self.taken(Publish("t", b"x", QoS.EXACTLY_ONCE, packet_id=1)))
        self.assertGreater(self.taken(Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=1)), 0)

    def test_many_copies_at_a_time(self) -> None:
        """A burst to many subscribers is left to the next time when it has made enough copies."""
        rig = Rig()
        ada = rig.connect("ada")
        for number in range(50):
            rig.connect(f"s{number}").subscribe("t", qos=1)
        ada.publish("t", b"x", qos=1, packet_id=1)
        burst = b"".join(
            encode(Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=n), V3) for n in range(2, 102)
        )
        assert ada.protocol.client is not None
        at = handle_express(ada.protocol.client, burst, 0)
        handled = at * 100 // len(burst)
        assert handled == MAX_COPIES // 50 + 1
