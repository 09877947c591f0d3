"""v3 §2.2, §3.14, §4.8: where packets begin and end, what no client may send, and what nobody may send."""

from __future__ import annotations

import pytest

from tests.conformance import packets
from tests.conformance.harness import Broker, unique
from tests.conformance.packets import (
    ACCEPTED,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    connect,
    puback,
    publish,
    suback,
    subscribe,
)
from tests.conformance.statements import holds

# Remaining Lengths at which the number takes one byte more.
LENGTHS = [126, 127, 128, 129, 16_383, 16_384, 16_385]


def publish_of_length(topic: str, remaining: int, packet_id: int = 0) -> bytes:
    """A PUBLISH with this Remaining Length."""
    filler = remaining - 2 - len(topic) - (2 if packet_id else 0)
    return publish(topic, bytes(n % 251 for n in range(filler)), packet_id, qos=1 if packet_id else 0)


@holds("v3 §2.2.3", "v3 [MQTT-4.3.1-1]")
@pytest.mark.parametrize("remaining", LENGTHS)
def test_lengths(broker: Broker, name: str, remaining: int) -> None:
    """Packets of every length come through, several in a row too."""
    client = broker.client(None, (name, 0))
    sent = publish_of_length(name, remaining)
    broker.client().send(sent * 3)
    client.expect(sent, sent, sent)


@holds("v3 §2.2.3", "v3 [MQTT-4.3.2-1]")
@pytest.mark.parametrize("remaining", LENGTHS)
def test_lengths_with_an_identifier(broker: Broker, name: str, remaining: int) -> None:
    """Those above QoS 0 as well."""
    client = broker.client(None, (name, 1))
    publisher = broker.client()
    publisher.ask(publish_of_length(name, remaining, 9) * 2, puback(9), puback(9))
    client.expect(publish_of_length(name, remaining, 1), publish_of_length(name, remaining, 2))


@holds("v3 §2.2.3", "mosquitto: max_packet_size 2000000 by default")
def test_the_longest_packet(broker: Broker, name: str) -> None:
    """A packet of max_packet_size bytes, fixed header included, is taken."""
    sent = publish_of_length(name, 2_000_000 - 4)
    assert len(sent) == 2_000_000
    client = broker.client(None, (name, 0))
    broker.client().send(sent)
    client.expect(sent)


@holds("v3 [MQTT-4.8.0-1]", "mosquitto: max_packet_size 2000000 by default")
@pytest.mark.parametrize(
    "length", [b"\xfd\x88\x7a", b"\xff\xff\x7f", b"\x80\x80\x80\x01", b"\xff\xff\xff\x7f"]
)
def test_longer_packets(broker: Broker, length: bytes) -> None:
    """A longer one ends the connection as soon as its length is known."""
    client = broker.client()
    client.send(b"\x30" + length)
    client.expect_closed()


@holds("v3 §2.2.3")
@pytest.mark.parametrize("tail", [b"", b"\x01", b"\x80" * 40])
def test_endless_length(broker: Broker, tail: bytes) -> None:
    """Four bytes are all that a Remaining Length may have; the fourth may not announce a fifth."""
    client = broker.client()
    client.send(b"\x30\xff\xff\xff\xff" + tail)
    client.expect_closed()


@holds("v3 §2.2.3")
@pytest.mark.parametrize("length", [b"\x80\x00", b"\x80\x80\x00", b"\x80\x80\x80\x00"])
def test_length_in_more_bytes_than_it_needs(broker: Broker, length: bytes) -> None:
    """3.1.1 does not say that a Remaining Length must be as short as it can."""
    client = broker.client()
    client.ask(b"\xc0" + length, PINGRESP)


@holds("v3 §2.2.3")
@pytest.mark.parametrize("cut", range(1, 12))
def test_length_in_more_bytes_than_it_needs_in_two_segments(broker: Broker, name: str, cut: int) -> None:
    """Nor does it matter where such a packet is cut."""
    topic = name.ljust(5, "x")
    client = broker.client(None, (topic, 0))
    sent = b"\x30\x88\x80\x00\x00\x05" + topic.encode() + b"x"
    client.send(sent[:cut])
    broker.serves()
    client.send(sent[cut:])
    client.expect(publish(topic, b"x"))


@holds("v3 §4.2")
def test_byte_at_a_time(broker: Broker, name: str) -> None:
    """It does not matter how packets are cut: one byte in each segment will do."""
    client = broker.open()
    client.send_bytewise(connect(name, will=("w", b"m", 1, False), username="u", password=b"p"))
    client.expect(ACCEPTED)
    client.send_bytewise(subscribe(1, (name, 1)))
    client.expect(suback(1, 1))
    client.send_bytewise(publish(name, b"x", 1, qos=1) + publish(name, b"y" * 200))
    client.expect_in_any_order(puback(1), publish(name, b"x", 1, qos=1), publish(name, b"y" * 200))
    client.send_bytewise(puback(1) + PINGREQ)
    client.expect(PINGRESP)


@holds("v3 §4.2")
def test_cut_anywhere(broker: Broker, name: str) -> None:
    """Two packets in two segments, cut at every byte: on a topic that is new, and on one that is not."""
    client = broker.client(None, (name, 0))
    both = publish(name, b"first") + publish(name, b"x" * 130)
    for cut in range(1, len(both)):
        client.send(both[:cut])
        if cut % 20 == 0:
            broker.serves()
        client.send(both[cut:])
        client.expect(both)


@holds("v3 §4.2")
def test_many_packets_in_one_segment(broker: Broker, name: str) -> None:
    """Nor how they are put together: packets of all kinds in one piece are answered one by one."""
    client = broker.client()
    client.ask(
        PINGREQ
        + subscribe(1, (name, 0))
        + publish(name, b"x", 7, qos=1)
        + packets.unsubscribe(2, name)
        + PINGREQ,
        PINGRESP,
        suback(1, 0),
    )
    client.expect_in_any_order(publish(name, b"x"), puback(7), packets.unsuback(2), PINGRESP)


@holds(
    "v3 [MQTT-2.2.2-1]", "v3 [MQTT-2.2.2-2]", "v3 [MQTT-3.6.1-1]", "v3 [MQTT-3.8.1-1]", "v3 [MQTT-3.10.1-1]"
)
@pytest.mark.parametrize("kind", [4, 5, 6, 7, 8, 10, 12])
def test_reserved_flags(broker: Broker, kind: int) -> None:
    """Each bit beside the packet type must have the value that the standard gives it."""
    good = 2 if kind in (6, 8, 10) else 0
    body = {8: b"\x00\x01\x00\x01a\x00", 10: b"\x00\x01\x00\x01a", 12: b""}.get(kind, b"\x00\x01")
    clients = []
    for flags in set(range(16)) - {good}:
        clients.append(broker.client())
        clients[-1].send(packets.packet(kind << 4 | flags, body))
    for client in clients:
        client.expect_closed()


@holds("v3 [MQTT-3.14.1-1]", "v3 [MQTT-2.2.2-2]")
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_reserved_flags_of_disconnect(broker: Broker, name: str, flags: int) -> None:
    """A DISCONNECT with a reserved bit set is none: the Will is published."""
    watcher = broker.client(None, (name, 0))
    client = broker.open()
    client.ask(connect(unique(), will=(name, b"gone", 0, False)), ACCEPTED)
    client.send(bytes((0xE0 | flags, 0)))
    client.expect_closed()
    watcher.expect(publish(name, b"gone"))


SERVERS_ONLY = {
    "CONNACK": ACCEPTED,
    "SUBACK": suback(1, 0),
    "UNSUBACK": packets.unsuback(1),
    "PINGRESP": PINGRESP,
    "type 0": b"\x00\x00",
    "type 15": b"\xf0\x00",
}


@holds("v3 [MQTT-4.8.0-1]", "v3 §2.2.1")
@pytest.mark.parametrize("data", SERVERS_ONLY.values(), ids=SERVERS_ONLY)
def test_packets_that_no_client_sends(broker: Broker, data: bytes) -> None:
    """What only a server says, or nobody, ends the connection."""
    client = broker.client()
    client.send(data)
    client.expect_closed()


WRONG_LENGTHS = {
    "PUBACK without an identifier": b"\x40\x00",
    "PUBACK with half of one": b"\x40\x01\x00",
    "PUBACK of three bytes": b"\x40\x03\x00\x01\x00",
    "PUBREC of three bytes": b"\x50\x03\x00\x01\x00",
    "PUBREL without an identifier": b"\x62\x00",
    "PUBREL of three bytes": b"\x62\x03\x00\x01\x00",
    "PUBCOMP of four bytes": b"\x70\x04\x00\x01\x00\x00",
    "PUBACK of identifier 0": b"\x40\x02\x00\x00",
    "PUBREL of identifier 0": b"\x62\x02\x00\x00",
    "PINGREQ with a body": b"\xc0\x01\x00",
    "DISCONNECT with a body": b"\xe0\x01\x00",
}


@holds("v3 [MQTT-4.8.0-1]")
@pytest.mark.parametrize("data", WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
def test_wrong_lengths(broker: Broker, data: bytes) -> None:
    """A packet that is longer or shorter than its kind can be ends the connection."""
    client = broker.client()
    client.send(data)
    client.expect_closed()


@holds("v3 [MQTT-3.14.4-2]", "v3 [MQTT-3.14.4-1]", "v3 §3.14.4")
def test_nothing_counts_after_disconnect(broker: Broker, name: str) -> None:
    """What follows DISCONNECT is not looked at, on a topic that was used before either."""
    watcher = broker.client(None, (name, 0))
    client = broker.client()
    client.publishes(name, b"before")
    client.send(publish(name, b"last") + DISCONNECT + publish(name, b"after") * 3)
    client.expect_closed()
    watcher.expect(publish(name, b"before"), publish(name, b"last"))
    watcher.expect_silence()


@holds("v3 [MQTT-4.8.0-1]")
def test_nothing_counts_after_a_violation(broker: Broker, name: str) -> None:
    """Nor is what follows a violation."""
    watcher = broker.client(None, (name, 0))
    client = broker.client()
    client.publishes(name, b"before")
    client.send(publish(name, b"last") + b"\x36\x00" + publish(name, b"after") * 3)
    client.expect_closed()
    watcher.expect(publish(name, b"before"), publish(name, b"last"))
    watcher.expect_silence()


@holds("v3 [MQTT-4.8.0-1]")
def test_only_the_culprit_is_disconnected(broker: Broker, name: str) -> None:
    """A violation ends the connection that it came on, and no other."""
    others = [broker.client(None, (name, 0)) for _ in range(3)]
    culprit = broker.client(None, (name, 0))
    culprit.send(b"\xff\xff\xff\xff\xff")
    culprit.expect_closed()
    broker.publishes(name, b"still here")
    for other in others:
        other.expect(publish(name, b"still here"))


@holds("v3 §4.2")
def test_closing_the_sending_half(broker: Broker, name: str) -> None:
    """What came before the end of the stream is handled, then the connection is closed."""
    watcher = broker.client(None, (name, 0))
    client = broker.open()
    client.send(connect(unique()) + publish(name, b"last words"))
    client.send_no_more()
    watcher.expect(publish(name, b"last words"))
    client.expect(ACCEPTED)
    client.expect_closed()


@holds("mosquitto: max_packet_size counts the whole packet")
def test_packets_at_the_limit(tight: Broker, name: str) -> None:
    """A packet of max_packet_size bytes is taken, one byte more is not."""
    client = tight.client()
    client.ask(subscribe(1, ("f" * 990, 0)), suback(1, 0))
    client.publishes(name)
    client.send(subscribe(1, ("f" * 993, 0)))
    client.expect_closed()


@holds("mosquitto: max_packet_size counts the whole packet")
def test_publish_above_the_limit_on_a_topic_in_use(short: Broker, name: str) -> None:
    """Having published before is no way round the limit."""
    watcher = short.client(None, (name, 0))
    client = short.client()
    client.publishes(name, b"short")
    client.publishes(name, b"short")
    client.send(publish(name, b"x" * 101))
    client.expect_closed()
    watcher.expect(publish(name, b"short") * 2)
    watcher.expect_silence()
