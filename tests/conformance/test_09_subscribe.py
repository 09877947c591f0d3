"""v3 §3.8 to §3.11: SUBSCRIBE, UNSUBSCRIBE and their answers."""

from __future__ import annotations

import pytest

from tests.conformance.harness import Broker
from tests.conformance.packets import (
    packet,
    puback,
    publish,
    suback,
    subscribe,
    text,
    unsuback,
    unsubscribe,
)
from tests.conformance.statements import holds


@holds(
    "v3 [MQTT-3.8.4-1]", "v3 [MQTT-3.8.4-2]", "v3 [MQTT-2.3.1-7]", "v3 [MQTT-3.8.4-5]", "v3 [MQTT-3.8.1-1]"
)
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
def test_suback(broker: Broker, name: str, packet_id: int, qos: int) -> None:
    """SUBSCRIBE is answered with its identifier and the granted QoS."""
    body = packet_id.to_bytes(2, "big")
    broker.client().ask(subscribe(packet_id, (name, qos)), b"\x90\x03" + body + bytes((qos,)))


@holds("v3 [MQTT-3.9.3-1]", "v3 [MQTT-3.8.4-4]", "v3 [MQTT-3.8.4-5]", "v3 [MQTT-3.9.3-2]")
def test_suback_of_several_filters(broker: Broker, name: str) -> None:
    """One SUBACK has a code for each filter, in their order; each of them is subscribed."""
    client = broker.client()
    requests = [(f"{name}/{n}", n % 3) for n in range(10)]
    client.ask(subscribe(5, *requests), suback(5, *(qos for _, qos in requests)))
    for number, (topic, qos) in enumerate(requests):
        broker.publishes(topic, b"x", qos=qos)
        sent = client.packet()
        assert sent[0] == 0x30 | qos << 1, number


@holds("v3 [MQTT-3.8.4-4]", "v3 [MQTT-3.8.4-3]")
def test_the_same_filter_twice_in_one_subscribe(broker: Broker, name: str) -> None:
    """As if two had come: the second replaces the first."""
    client = broker.client()
    client.ask(subscribe(5, (name, 2), (name, 0)), suback(5, 2, 0))
    broker.publishes(name, b"x", qos=2)
    client.expect(publish(name, b"x"))
    client.expect_silence()


@holds("v3 [MQTT-3.8.4-3]")
@pytest.mark.parametrize(("first", "second"), [(0, 2), (2, 0), (1, 1)])
def test_the_same_filter_again_replaces(broker: Broker, name: str, first: int, second: int) -> None:
    """The last SUBSCRIBE to a filter counts; no message comes twice or is lost on the way."""
    client = broker.client(None, (name, first), (name, second))
    broker.publishes(name, b"x", qos=2)
    client.expect(publish(name, b"x", 1, qos=second))
    client.expect_silence()


@holds("v3 [MQTT-3.8.4-6]")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_lower_qos_counts(broker: Broker, name: str, qos: int, granted: int) -> None:
    """A message comes at its own QoS or at the granted one, whichever is lower."""
    client = broker.client(None, (name, granted))
    broker.publishes(name, b"x", qos=qos)
    client.expect(publish(name, b"x", 1, qos=min(qos, granted)))
    client.expect_silence()


@holds("v3 [MQTT-3.3.5-1]", "v3 §3.3.5")
def test_overlapping_subscriptions(broker: Broker, name: str) -> None:
    """A message that several subscriptions match comes once, at the highest QoS of them."""
    client = broker.client(None, (name + "/#", 0), (name + "/+", 2), (name + "/a", 1))
    broker.publishes(name + "/a", b"x", qos=2)
    client.expect(publish(name + "/a", b"x", 1, qos=2))
    client.expect_silence()


@holds("v3 [MQTT-3.3.5-1]", "v3 [MQTT-3.10.4-1]")
def test_overlapping_subscriptions_end_one_by_one(broker: Broker, name: str) -> None:
    """Unsubscribing from one of them leaves the others."""
    client = broker.client(None, (name + "/#", 0), (name + "/a", 1))
    client.ask(unsubscribe(1, name + "/a"), unsuback(1))
    broker.publishes(name + "/a", b"x", qos=1)
    client.expect(publish(name + "/a", b"x"))
    client.ask(unsubscribe(2, name + "/#"), unsuback(2))
    broker.publishes(name + "/a", b"x", qos=1)
    client.expect_silence()


MALFORMED_SUBSCRIBES = {
    "no filters": b"\x00\x01",
    "no packet identifier": b"",
    "packet identifier 0": b"\x00\x00" + text("a") + b"\x00",
    "no QoS": b"\x00\x01" + text("a"),
    "QoS 3": b"\x00\x01" + text("a") + b"\x03",
    "QoS 3 behind a good one": b"\x00\x01" + text("a") + b"\x00" + text("b") + b"\x03",
    "reserved bit 2": b"\x00\x01" + text("a") + b"\x04",
    "reserved bit 7": b"\x00\x01" + text("a") + b"\x80",
    "a filter longer than the packet": b"\x00\x01\x00\x09abc",
    "an empty filter": b"\x00\x01" + text("") + b"\x00",
    "no UTF-8": b"\x00\x01" + text(b"a\xff") + b"\x00",
    "U+0000": b"\x00\x01" + text("a\0b") + b"\x00",
}


@holds(
    "v3 [MQTT-3-8.3-4]", "v3 [MQTT-3.8.3-3]", "v3 [MQTT-3.8.3-1]", "v3 [MQTT-2.3.1-1]", "v3 [MQTT-4.7.3-1]"
)
@pytest.mark.parametrize("body", MALFORMED_SUBSCRIBES.values(), ids=MALFORMED_SUBSCRIBES)
def test_malformed_subscribe(broker: Broker, body: bytes) -> None:
    """A SUBSCRIBE that breaks a rule ends the connection; nothing of it counts."""
    client = broker.client()
    client.send(packet(0x82, body))
    client.expect_closed()


MALFORMED_UNSUBSCRIBES = {
    "no filters": b"\x00\x01",
    "no packet identifier": b"",
    "packet identifier 0": b"\x00\x00" + text("a"),
    "a filter longer than the packet": b"\x00\x01\x00\x09abc",
    "half a length": b"\x00\x01\x00",
    "an empty filter": b"\x00\x01" + text(""),
    "a bad wildcard": b"\x00\x01" + text("a#"),
    "no UTF-8": b"\x00\x01" + text(b"\xc3\x28"),
}


@holds("v3 [MQTT-3.10.3-1]", "v3 [MQTT-3.10.3-2]", "v3 [MQTT-4.8.0-1]", "v3 [MQTT-4.7.3-1]")
@pytest.mark.parametrize("body", MALFORMED_UNSUBSCRIBES.values(), ids=MALFORMED_UNSUBSCRIBES)
def test_malformed_unsubscribe(broker: Broker, body: bytes) -> None:
    """An UNSUBSCRIBE that breaks a rule ends the connection."""
    client = broker.client()
    client.send(packet(0xA2, body))
    client.expect_closed()


@holds("v3 [MQTT-3.10.4-4]", "v3 [MQTT-3.10.4-2]", "v3 [MQTT-2.3.1-7]", "v3 [MQTT-3.10.1-1]")
def test_unsubscribe(broker: Broker, name: str) -> None:
    """After UNSUBACK nothing new comes."""
    client = broker.client(None, (name, 1))
    client.ask(unsubscribe(0xABCD, name), b"\xb0\x02\xab\xcd")
    broker.publishes(name, b"x", qos=1)
    client.expect_silence()


@holds("v3 [MQTT-3.10.4-5]", "v3 [MQTT-3.10.4-1]")
def test_unsubscribe_from_something_else(broker: Broker, name: str) -> None:
    """Only the very same filter is removed, but UNSUBACK always comes."""
    client = broker.client(None, (name + "/+", 0))
    for number, other in enumerate(
        (name + "/a", name + "/#", "+/+", name + "/+/", name.upper() + "/+", name), 1
    ):
        client.ask(unsubscribe(number, other), unsuback(number))
    broker.publishes(name + "/a", b"x")
    client.expect(publish(name + "/a", b"x"))


@holds("v3 [MQTT-3.10.4-6]")
def test_unsubscribe_from_several(broker: Broker, name: str) -> None:
    """One UNSUBSCRIBE may remove several subscriptions; there is one UNSUBACK."""
    client = broker.client(None, (name + "/a", 0), (name + "/b", 0), (name + "/c", 0))
    client.ask(unsubscribe(1, name + "/c", name + "/nothing", name + "/a"), unsuback(1))
    client.expect_silence()
    for level in "abc":
        broker.publishes(f"{name}/{level}", b"x")
    client.expect(publish(name + "/b", b"x"))
    client.expect_silence()


@holds("v3 [MQTT-3.10.4-3]")
@pytest.mark.parametrize("qos", [1, 2])
def test_unsubscribe_in_the_middle_of_a_delivery(broker: Broker, name: str, qos: int) -> None:
    """What is under way is finished as if nothing had happened."""
    client = broker.client(None, (name, 2))
    broker.publishes(name, b"x", qos=qos)
    client.expect(publish(name, b"x", 1, qos=qos))
    client.ask(unsubscribe(1, name), unsuback(1))
    if qos == 1:
        client.send(puback(1))
    else:
        client.ask(b"\x50\x02\x00\x01", b"\x62\x02\x00\x01")
        client.send(b"\x70\x02\x00\x01")
    client.expect_silence()


@holds("v3 [MQTT-3.10.4-2]")
def test_unsubscribed_sessions_queue_nothing(broker: Broker, name: str) -> None:
    """Nor does anything wait for a session that unsubscribed before it went away."""
    client = broker.session(name, (name, 1))
    client.ask(unsubscribe(1, name), unsuback(1))
    client.leave()
    broker.publishes(name, b"x", qos=1)
    broker.resumed(name).expect_silence()
    broker.forgets(name)


@holds("v3 §3.8.4")
def test_subscribe_while_others_publish(broker: Broker, name: str) -> None:
    """A subscription counts from its SUBACK on, also for publishers whose messages were going nowhere."""
    publisher = broker.client()
    publisher.publishes(name, b"before")
    client = broker.client(None, (name, 0))
    publisher.publishes(name, b"after")
    client.expect(publish(name, b"after"))
    client.ask(unsubscribe(1, name), unsuback(1))
    publisher.publishes(name, b"too late")
    client.expect_silence()


@holds("v3 §3.8.4")
def test_publishing_to_oneself(broker: Broker, name: str) -> None:
    """A client gets what it publishes itself, if it subscribed."""
    client = broker.client(None, (name, 0))
    client.ask(publish(name, b"1") + publish(name, b"2"), publish(name, b"1"), publish(name, b"2"))


@holds(
    "v3 [MQTT-3.9.3-2]", "v3 [MQTT-3.8.4-5]", "mosquitto: $share is refused or served, never taken literally"
)
def test_shared_subscription(broker: Broker, name: str) -> None:
    """What the broker does not offer is refused in the SUBACK, and the client stays."""
    client = broker.client()
    client.send(subscribe(1, ("$share/group/" + name, 0), (name, 1)))
    answer = client.packet()
    assert answer in (suback(1, 0x80, 1), suback(1, 0, 1))
    client.expect_silence()
