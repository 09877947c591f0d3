"""
Reader and writer against each other, on packets and bytes that nobody thought of.

The strategies below build every packet a version can carry; what they cannot build is in the byte vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt import properties as table
from pushd.mqtt.codes import LEGAL_CODES, PacketType, PropertyId, QoS, ReasonCode, RetainHandling, Version
from pushd.mqtt.errors import MQTTError
from pushd.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    Will,
)
from pushd.mqtt.properties import RULES, WILL, Kind, Place
from pushd.mqtt.reader import PacketReader, read_packet
from pushd.mqtt.wire import MAX_VARINT
from pushd.mqtt.writer import connect_return_code, encode

V5 = Version.V5
EXAMPLES = settings(deadline=None, max_examples=300)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
letters = st.characters(exclude_characters="\0+#/", exclude_categories=["Cs"])
levels = st.text(letters, max_size=6)
names = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(bool)
plain_filters = st.lists(levels | st.just("+"), min_size=1, max_size=4).flatmap(
    lambda path: st.sampled_from(["/".join(path), "/".join([*path, "#"])])
)
shared_filters = st.builds("$share/{}/{}".format, st.text(letters, min_size=1, max_size=6), names)
filters = plain_filters.filter(lambda text: text and not text.startswith("$share/")) | shared_filters
payloads = st.binary(max_size=40) | st.binary(min_size=120, max_size=140)
packet_ids = st.integers(1, 65535)
qualities = st.sampled_from(QoS)

NUMBERS = {
    table.BYTE: 255,
    table.TWO_BYTES: 65535,
    table.FOUR_BYTES: 0xFFFF_FFFF,
    table.VARINT: MAX_VARINT,
}


def values(name: PropertyId, kind: Kind) -> SearchStrategy[Any]:
    """Values that one property may have."""
    if kind in NUMBERS:
        most = RULES[name].most
        return st.integers(RULES[name].least, NUMBERS[kind] if most is None else most)
    if name is PropertyId.RESPONSE_TOPIC:
        return names
    return {table.STRING: texts, table.BINARY: payloads, table.PAIR: st.tuples(texts, texts)}[kind]


def properties(version: Version, where: Place, *needed: PropertyId) -> SearchStrategy[dict[PropertyId, Any]]:
    """Property lists that may stand in `where`; none before version 5."""
    if version is not V5:
        return st.just({})
    choices = {}
    for name in PropertyId:
        rule = RULES[name]
        if where in rule.places:
            value = values(name, rule.kind)
            several = 3 if where in rule.repeats else 1
            choices[name] = st.lists(value, min_size=1, max_size=several) if rule.repeats else value
    required = {name: choices.pop(name) for name in needed}
    return st.fixed_dictionaries(required, optional=choices)


def codes(kind: PacketType) -> SearchStrategy[ReasonCode]:
    return st.sampled_from(sorted(LEGAL_CODES[kind].values()))


@st.composite
def connects(draw: st.DrawFn, version: Version) -> Connect:
    will = st.builds(Will, names, payloads, qualities, st.booleans(), properties(version, WILL))
    username = draw(st.none() | texts)
    may_have_password = version is V5 or username is not None
    listed = draw(properties(version, PacketType.CONNECT))
    if PropertyId.AUTHENTICATION_METHOD not in listed:
        listed.pop(PropertyId.AUTHENTICATION_DATA, None)
    clean_start = draw(st.booleans())
    may_be_nameless = version is V5 or (clean_start and version is Version.V3_1_1)
    return Connect(
        version,
        draw(texts if may_be_nameless else texts.filter(bool)),
        clean_start,
        draw(st.integers(0, 65535)),
        username,
        draw(st.none() | payloads) if may_have_password else None,
        draw(st.none() | will),
        listed,
        draw(st.booleans()) if version is not V5 else False,
    )


@st.composite
def connacks(draw: st.DrawFn, version: Version) -> Connack:
    code = draw(codes(PacketType.CONNACK))
    if version is not V5:
        code = draw(st.sampled_from(REASONS_OF_VERSION_3))
    present = draw(st.booleans()) and code is ReasonCode.SUCCESS and version is not Version.V3_1
    return Connack(present, code, draw(properties(version, PacketType.CONNACK)))


REASONS_OF_VERSION_3 = [
    ReasonCode.SUCCESS,
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    ReasonCode.SERVER_UNAVAILABLE,
    ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    ReasonCode.NOT_AUTHORIZED,
]


@st.composite
def publishes(draw: st.DrawFn, version: Version) -> Publish:
    qos = draw(qualities)
    listed = draw(properties(version, PacketType.PUBLISH))
    nameless = PropertyId.TOPIC_ALIAS in listed and draw(st.booleans())
    return Publish(
        "" if nameless else draw(names),
        draw(payloads),
        qos,
        draw(st.booleans()),
        draw(st.booleans()) if qos else False,
        draw(packet_ids) if qos else 0,
        listed,
    )


@st.composite
def acknowledgements(draw: st.DrawFn, version: Version) -> Packet:
    packet_class, kind = draw(st.sampled_from(ACKNOWLEDGEMENTS))
    code = draw(codes(kind)) if version is V5 else ReasonCode.SUCCESS
    packet: Packet = packet_class(draw(packet_ids), code, draw(properties(version, kind)))
    return packet


ACKNOWLEDGEMENTS: list[tuple[Callable[..., Packet], PacketType]] = [
    (Puback, PacketType.PUBACK),
    (Pubrec, PacketType.PUBREC),
    (Pubrel, PacketType.PUBREL),
    (Pubcomp, PacketType.PUBCOMP),
]


@st.composite
def requests(draw: st.DrawFn, version: Version) -> SubscriptionRequest:
    filter, qos = draw(filters), draw(qualities)
    if version is not V5:
        return SubscriptionRequest(filter, qos)
    no_local = draw(st.booleans()) and not filter.startswith("$share/")
    return SubscriptionRequest(
        filter, qos, no_local, draw(st.booleans()), draw(st.sampled_from(RetainHandling))
    )


def subscriptions(version: Version) -> SearchStrategy[Packet]:
    """SUBSCRIBE and UNSUBSCRIBE and their answers."""
    suback = codes(PacketType.SUBACK)
    if version is not V5:
        suback = suback.filter(lambda code: code <= 2 or code is ReasonCode.UNSPECIFIED_ERROR)
    unsuback = st.lists(codes(PacketType.UNSUBACK), min_size=1, max_size=4)
    return st.one_of(
        st.builds(
            Subscribe,
            packet_ids,
            st.lists(requests(version), min_size=1, max_size=4),
            properties(version, PacketType.SUBSCRIBE),
        ),
        st.builds(
            Suback,
            packet_ids,
            st.lists(suback, min_size=1, max_size=4),
            properties(version, PacketType.SUBACK),
        ),
        st.builds(
            Unsubscribe,
            packet_ids,
            st.lists(filters, min_size=1, max_size=4),
            properties(version, PacketType.UNSUBSCRIBE),
        ),
        st.builds(
            Unsuback,
            packet_ids,
            unsuback if version is V5 else st.just([]),
            properties(version, PacketType.UNSUBACK),
        ),
    )


def endings(version: Version) -> SearchStrategy[Packet]:
    """Everything that has no body in version 3."""
    simple: SearchStrategy[Packet] = st.sampled_from([Pingreq(), Pingresp(), Disconnect()])
    if version is not V5:
        return simple
    auth = properties(V5, PacketType.AUTH, PropertyId.AUTHENTICATION_METHOD)
    return st.one_of(
        simple,
        st.builds(Disconnect, codes(PacketType.DISCONNECT), properties(V5, PacketType.DISCONNECT)),
        st.builds(Auth, codes(PacketType.AUTH), auth),
    )


def packets(version: Version) -> SearchStrategy[tuple[Packet, Version]]:
    """Any packet of this version, with the version."""
    kinds = (connects, connacks, publishes, acknowledgements, subscriptions, endings)
    return st.tuples(st.one_of(*(kind(version) for kind in kinds)), st.just(version))


any_packets = st.one_of(*(packets(version) for version in Version))


class RoundTripTests(SynchronousTestCase):
    """What is written is what is read."""

    @EXAMPLES
    @given(any_packets)
    def test_every_packet_comes_back(self, sent: tuple[Packet, Version]) -> None:
        """Any packet of any version is read as it was written, to the last byte and not beyond."""
        packet, version = sent
        data = encode(packet, version)
        self.assertEqual((packet, len(data)), read_packet(data + b"\xff", 0, version, len(data)))

    @EXAMPLES
    @given(any_packets, st.data())
    def test_a_part_of_a_packet_is_no_packet(self, sent: tuple[Packet, Version], data: st.DataObject) -> None:
        """Cut anywhere, it is still to come."""
        packet, version = sent
        encoded = encode(packet, version)
        size = data.draw(st.integers(0, len(encoded) - 1))
        self.assertIsNone(read_packet(encoded[:size], 0, version, 0))

    @EXAMPLES
    @given(st.lists(packets(V5), max_size=5), st.integers(1, 50))
    def test_a_stream_comes_back(self, sent: list[tuple[Packet, Version]], size: int) -> None:
        """Packets one after the other, in pieces of any size, come out in their order."""
        stream = b"".join(encode(packet, version) for packet, version in sent)
        reader, seen = PacketReader(version=V5), []
        for at in range(0, len(stream), size):
            reader.feed(stream[at : at + size])
            while (packet := reader.next_packet()) is not None:
                seen.append(packet)
        self.assertEqual([packet for packet, _ in sent], seen)

    @EXAMPLES
    @given(connacks(V5), st.sampled_from([Version.V3_1, Version.V3_1_1]))
    def test_every_connack_can_be_said_in_version_3(self, packet: Connack, version: Version) -> None:
        """Whatever reason a CONNECT is refused for, a client of version 3 understands the answer."""
        data = encode(packet, version)
        self.assertEqual([4, connect_return_code(packet.code)], [len(data), data[3]])
        self.assertIsNotNone(read_packet(data, 0, version, 0))


class HostileBytesTests(SynchronousTestCase):
    """Whatever is received ends in a packet, in waiting, or in an `MQTTError`."""

    def read(self, data: bytes, at: int, version: Version) -> None:
        try:
            read = read_packet(data, at, version, 0)
        except MQTTError as error:
            self.assertGreaterEqual(error.code, 0x80)
        else:
            if read is not None:
                packet, end = read
                self.assertTrue(at + 2 <= end <= len(data))
                encode(packet, version)  # what was let in can be passed on

    @settings(deadline=None, max_examples=1000)
    @given(st.binary(max_size=60), st.integers(0, 3), st.sampled_from(Version))
    def test_any_bytes(self, data: bytes, at: int, version: Version) -> None:
        """Noise, from any offset on."""
        self.read(data, at, version)

    @settings(deadline=None, max_examples=1000)
    @given(st.integers(1, 255), st.binary(max_size=40), st.sampled_from(Version))
    def test_any_body_behind_a_fixed_header(self, first_byte: int, body: bytes, version: Version) -> None:
        """Noise that is announced with the right length, so that all of it is looked at."""
        self.read(bytes([first_byte, len(body)]) + body, 0, version)

    @settings(deadline=None, max_examples=1000)
    @given(any_packets, st.data())
    def test_damaged_packets(self, sent: tuple[Packet, Version], data: st.DataObject) -> None:
        """A whole packet with a few bytes changed: the lengths within it may say anything now."""
        packet, version = sent
        damaged = bytearray(encode(packet, version))
        for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
            damaged[at] = data.draw(st.integers(0, 255) | st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        self.read(bytes(damaged), 0, data.draw(st.sampled_from([version, *Version])))

    @EXAMPLES
    @given(any_packets, st.data())
    def test_shortened_packets(self, sent: tuple[Packet, Version], data: st.DataObject) -> None:
        """A packet whose body was cut and whose Remaining Length was made to fit."""
        packet, version = sent
        body = encode(packet, version)[2:][: data.draw(st.integers(0, 100))]
        first_byte = encode(packet, version)[:1]
        self.read(first_byte + bytes([len(body)]) + body, 0, version)
