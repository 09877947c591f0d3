"""v3 §3.3, §4.3: what a publisher is answered, and that each message goes on as often as promised."""

from __future__ import annotations

import pytest

from tests.conformance import packets
from tests.conformance.harness import Broker
from tests.conformance.packets import PINGREQ, PINGRESP, puback, pubcomp, publish, pubrec, pubrel
from tests.conformance.statements import holds


@holds("v3 [MQTT-3.3.4-1]", "v3 [MQTT-4.3.1-1]", "v3 [MQTT-2.3.1-5]")
def test_qos_0(broker: Broker, name: str) -> None:
    """QoS 0 is not answered; it is passed on as it came."""
    watcher = broker.client(None, (name, 2))
    client = broker.client()
    client.ask(publish(name, b"\x00\xff payload") + PINGREQ, PINGRESP)
    watcher.expect(publish(name, b"\x00\xff payload"))


@holds("v3 [MQTT-3.3.4-1]", "v3 [MQTT-4.3.2-2]", "v3 [MQTT-2.3.1-6]")
def test_qos_1(broker: Broker, name: str) -> None:
    """QoS 1 is answered with PUBACK."""
    watcher = broker.client(None, (name, 2))
    broker.client().ask(publish(name, b"x", 0x1234, qos=1), puback(0x1234))
    watcher.expect(publish(name, b"x", 1, qos=1))


@holds("v3 [MQTT-3.3.4-1]", "v3 [MQTT-4.3.3-2]", "v3 [MQTT-2.3.1-6]")
def test_qos_2(broker: Broker, name: str) -> None:
    """QoS 2 is answered with PUBREC, and its PUBREL with PUBCOMP."""
    watcher = broker.client(None, (name, 2))
    client = broker.client()
    client.ask(publish(name, b"x", 65535, qos=2), pubrec(65535))
    client.ask(pubrel(65535), pubcomp(65535))
    watcher.expect(publish(name, b"x", 1, qos=2))
    watcher.expect_silence()


@holds("v3 [MQTT-4.3.2-2]")
@pytest.mark.parametrize("dup", [False, True])
def test_qos_1_again_is_a_new_message(broker: Broker, name: str, dup: bool) -> None:
    """After PUBACK the same packet identifier means another message, DUP or not."""
    watcher = broker.client(None, (name, 1))
    client = broker.client()
    for number in (1, 2, 3):
        client.ask(publish(name, b"x", 7, qos=1, dup=dup and number > 1), puback(7))
        watcher.expect(publish(name, b"x", number, qos=1))


@holds("v3 [MQTT-4.3.3-2]")
@pytest.mark.parametrize("dup", [False, True])
def test_qos_2_again_is_no_new_message(broker: Broker, name: str, dup: bool) -> None:
    """Before PUBREL the same packet identifier is the same message: acknowledged again, passed on once."""
    watcher = broker.client(None, (name, 2))
    client = broker.client()
    for _ in range(3):
        client.ask(publish(name, b"once", 7, qos=2, dup=dup), pubrec(7))
    client.ask(pubrel(7), pubcomp(7))
    watcher.expect(publish(name, b"once", 1, qos=2))
    watcher.expect_silence()


@holds("v3 [MQTT-4.3.3-2]")
def test_qos_2_identifier_is_free_after_pubcomp(broker: Broker, name: str) -> None:
    """After PUBCOMP the same packet identifier means another message."""
    watcher = broker.client(None, (name, 2))
    client = broker.client()
    for number in (1, 2, 3):
        client.ask(publish(name, b"x", 7, qos=2), pubrec(7))
        client.ask(pubrel(7), pubcomp(7))
        watcher.expect(publish(name, b"x", number, qos=2))


@holds("v3 [MQTT-4.3.3-2]")
def test_pubrel_again(broker: Broker) -> None:
    """A PUBREL is always answered with PUBCOMP, also when the handshake is over or never began."""
    client = broker.client()
    client.ask(pubrel(5) + pubrel(5), pubcomp(5), pubcomp(5))


@holds("v3 [MQTT-4.3.3-2]", "v3 [MQTT-4.1.0-1]")
def test_qos_2_handshake_goes_on_after_a_reconnect(broker: Broker, name: str) -> None:
    """The broker remembers the packet identifiers of a kept session: no message comes twice."""
    topic = name + "/topic"
    watcher = broker.client(None, (topic, 2))
    client = broker.session(name)
    client.ask(publish(topic, b"once", 7, qos=2), pubrec(7))
    client.drop()
    client = broker.resumed(name)
    client.ask(publish(topic, b"once", 7, qos=2, dup=True), pubrec(7))
    client.drop()
    client = broker.resumed(name)
    client.ask(pubrel(7), pubcomp(7))
    watcher.expect(publish(topic, b"once", 1, qos=2))
    watcher.expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-3.1.2-6]", "v3 [MQTT-4.3.3-2]")
def test_qos_2_handshake_ends_with_a_clean_session(broker: Broker, name: str) -> None:
    """A new session knows nothing of packet identifiers of the one before."""
    watcher = broker.client(None, (name, 2))
    for number in (1, 2):
        client = broker.client(name)
        client.ask(publish(name, b"x", 7, qos=2), pubrec(7))
        client.drop()
        watcher.expect(publish(name, b"x", number, qos=2))


@holds("v3 [MQTT-4.6.0-2]", "v3 [MQTT-4.6.0-3]", "v3 [MQTT-4.6.0-4]", "v3 [MQTT-2.3.1-6]")
def test_acknowledgements_come_in_order(broker: Broker, name: str) -> None:
    """Each kind of acknowledgement comes in the order of what it acknowledges, whatever the identifiers."""
    client = broker.client()
    numbers = [9, 3, 65535, 1, 256, 2]
    client.ask(b"".join(publish(name, b"", n, qos=1) for n in numbers), *map(puback, numbers))
    client.ask(b"".join(publish(name, b"", n, qos=2) for n in numbers), *map(pubrec, numbers))
    client.ask(b"".join(map(pubrel, reversed(numbers))), *map(pubcomp, reversed(numbers)))


@holds("v3 [MQTT-4.3.3-2]")
def test_many_open_handshakes(broker: Broker, name: str) -> None:
    """A publisher may have many QoS 2 messages under way."""
    client = broker.client()
    numbers = range(1, 1001)
    client.ask(b"".join(publish(name, b"", n, qos=2) for n in numbers), *map(pubrec, numbers))
    client.ask(b"".join(map(pubrel, numbers)), *map(pubcomp, numbers))


@holds("v3 [MQTT-4.8.0-2]")
def test_too_many_open_handshakes(broker: Broker, name: str) -> None:
    """But not so many that the broker would have to remember identifiers without end."""
    client = broker.client()
    numbers = range(1, 1001)
    client.ask(b"".join(publish(name, b"", n, qos=2) for n in numbers), *map(pubrec, numbers))
    client.send(publish(name, b"", 1001, qos=2))
    client.expect_closed()


@holds("v3 §2.3.1")
def test_identifiers_of_both_directions_are_apart(broker: Broker, name: str) -> None:
    """The broker's packet identifiers and a client's have nothing to do with each other."""
    client = broker.client(None, (name, 2))
    client.send(publish(name, b"to myself", 1, qos=2) + pubrel(1))
    client.expect_in_any_order(pubrec(1), pubcomp(1), publish(name, b"to myself", 1, qos=2))
    client.ask(pubrec(1), pubrel(1))
    client.send(pubcomp(1))
    client.expect_silence()


@holds("v3 [MQTT-3.3.1-3]", "v3 [MQTT-3.3.1-1]")
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_is_not_passed_on(broker: Broker, name: str, qos: int) -> None:
    """DUP tells of one hop only."""
    watcher = broker.client(None, (name, 2), (name + "/0", 0))
    client = broker.client()
    client.send(publish(name, b"x", 7, qos=qos, dup=True) + pubrel(7) * (qos == 2))
    watcher.expect(publish(name, b"x", 1, qos=qos))
    client.send(publish(name + "/0", b"x", 8, qos=qos, dup=True) + pubrel(8) * (qos == 2))
    watcher.expect(publish(name + "/0", b"x"))


@holds("v3 [MQTT-3.3.1-2]", "v3 [MQTT-4.8.0-1]")
def test_dup_at_qos_0(broker: Broker, name: str) -> None:
    """DUP at QoS 0 makes no sense: nothing is sent twice there."""
    watcher = broker.client(None, (name, 0))
    client = broker.client()
    client.send(publish(name, b"x", dup=True))
    client.expect_closed()
    watcher.expect_silence()


@holds("v3 [MQTT-3.3.1-4]")
@pytest.mark.parametrize("flags", [0x36, 0x37, 0x3E, 0x3F])
def test_qos_3(broker: Broker, name: str, flags: int) -> None:
    """There is no QoS 3."""
    client = broker.client()
    client.send(bytes((flags,)) + publish(name, b"x", 1, qos=1)[1:])
    client.expect_closed()


@holds("v3 [MQTT-2.3.1-1]")
@pytest.mark.parametrize("qos", [1, 2])
def test_packet_identifier_0(broker: Broker, name: str, qos: int) -> None:
    """0 is no packet identifier, also on a topic that was just published to."""
    client = broker.client()
    client.publishes(name, qos=qos)
    client.send(publish(name, b"x", 0, qos=qos))
    client.expect_closed()


BROKEN = {
    "empty": b"\x30\x00",
    "half a topic length": b"\x30\x01\x00",
    "a topic longer than the packet": b"\x30\x04\x00\x09ab",
    "no topic": b"\x30\x03\x00\x00x",
    "no packet identifier": b"\x32\x03\x00\x01t",
    "half a packet identifier": b"\x34\x04\x00\x01t\x00",
}


@holds("v3 [MQTT-3.3.2-1]", "v3 [MQTT-4.7.3-1]", "v3 [MQTT-4.8.0-1]")
@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_publish(broker: Broker, data: bytes) -> None:
    """A PUBLISH that is cut short, or names no topic, ends the connection."""
    client = broker.client()
    client.send(data)
    client.expect_closed()


@holds("v3 [MQTT-4.5.0-1]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_nobody_is_interested(broker: Broker, name: str, qos: int) -> None:
    """A message that nobody wants is handled like any other."""
    broker.publishes(name, b"x", qos=qos)


@holds("v3 [MQTT-4.5.0-1]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_subscriber_gets_it(broker: Broker, name: str, qos: int) -> None:
    """Fan-out: each gets the message at the QoS it was granted."""
    watchers = [broker.client(None, (name, granted)) for granted in (0, 1, 2, 0, 1, 2)]
    broker.publishes(name, b"y", qos=qos)
    for watcher, granted in zip(watchers, (0, 1, 2, 0, 1, 2), strict=True):
        watcher.expect(publish(name, b"y", 1, qos=min(qos, granted)))


@holds("v3 [MQTT-4.6.0-5]", "v3 [MQTT-4.6.0-6]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_stay_in_order(broker: Broker, name: str, qos: int) -> None:
    """Messages of one publisher on one topic arrive in the order in which they were sent."""
    watcher = broker.client(None, (name, 0))
    client = broker.client()
    client.send(b"".join(publish(name, b"%d" % n, n, qos=qos) for n in range(1, 501)))
    client.send(b"".join(pubrel(n) for n in range(1, 501)) if qos == 2 else b"")
    watcher.expect(*(publish(name, b"%d" % n) for n in range(1, 501)))


@holds("v3 [MQTT-4.6.0-6]", "v3 §4.2")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_long_stream(broker: Broker, name: str, qos: int) -> None:
    """Nothing is lost or changed in a stream that the broker reads in pieces of its own choice."""
    watcher = broker.client(None, (name, 0))
    payloads = [b"%d" % n + b"." * (n * n % 150) for n in range(1, 4001)]
    released = [pubrel(n) if qos == 2 else b"" for n in range(1, 4001)]
    client = broker.client()
    client.send(b"".join(publish(name, p, n, qos=qos) + released[n - 1] for n, p in enumerate(payloads, 1)))
    watcher.expect(*(publish(name, payload) for payload in payloads))


@holds("v3 [MQTT-4.6.0-6]")
def test_topics_stay_in_order_when_they_alternate(broker: Broker, name: str) -> None:
    """Also when QoS 0 messages to several topics come in one piece."""
    watcher = broker.client(None, (name + "/#", 0))
    sent = [publish(f"{name}/{n % 3}", b"%d" % n) for n in range(300)]
    broker.client().send(b"".join(sent))
    watcher.expect(*sent)


@holds("mosquitto: message_size_limit drops but acknowledges")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_payload_above_the_limit(tight: Broker, name: str, qos: int) -> None:
    """A longer payload than message_size_limit vanishes; the publisher stays, and goes on."""
    watcher = tight.client(None, (name, 0))
    client = tight.client()
    client.publishes(name, b"x" * 501, qos=qos)
    client.publishes(name, b"x" * 500, qos=qos)
    client.publishes(name, b"x" * 501, qos=qos)
    watcher.expect(publish(name, b"x" * 500))
    watcher.expect_silence()


@holds("v3 [MQTT-4.8.0-1]")
def test_identifiers_in_acknowledgements_of_nothing(broker: Broker, name: str) -> None:
    """Acknowledgements of what was never sent are no reason to part."""
    client = broker.client()
    client.send(puback(77) + pubcomp(78))
    client.expect_silence()
    client.ask(pubrec(79), pubrel(79))
    client.ask(pubcomp(79) + packets.PINGREQ, PINGRESP)
