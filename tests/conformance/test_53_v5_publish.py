"""v5 §3.3, §4.3: messages on their way to the broker, and what it answers."""

from __future__ import annotations

import pytest

from tests.conformance import v5_packets as v5
from tests.conformance.harness import Broker
from tests.conformance.packets import packet, text
from tests.conformance.statements import holds
from tests.conformance.v5_client import connected, opened, publishes, retained, subscribed, unretains


@holds("v5 [MQTT-3.3.4-1]", "v5 [MQTT-4.3.2-4]", "v5 [MQTT-2.2.1-5]", "v5 [MQTT-3.4.2-1]")
@pytest.mark.parametrize("packet_id", [1, 256, 65535])
def test_puback(broker: Broker, name: str, packet_id: int) -> None:
    """PUBACK in its short form when somebody got it, with 0x10 when nobody did."""
    client = connected(broker)
    client.ask(v5.publish(name, b"x", packet_id, qos=1), v5.puback(packet_id, 0x10))
    watcher = subscribed(broker, (name, 0))
    client.ask(v5.publish(name, b"x", packet_id, qos=1), v5.puback(packet_id))
    watcher.expect(v5.publish(name, b"x"))


@holds("v5 [MQTT-4.3.3-8]", "v5 [MQTT-4.3.3-11]", "v5 [MQTT-2.2.1-5]", "v5 [MQTT-3.5.2-1]")
def test_pubrec_and_pubcomp(broker: Broker, name: str) -> None:
    """The whole handshake of QoS 2."""
    client = connected(broker)
    client.ask(v5.publish(name, b"x", 7, qos=2), v5.pubrec(7, 0x10))
    client.ask(v5.pubrel(7), v5.pubcomp(7))
    watcher = subscribed(broker, (name, 0))
    client.ask(v5.publish(name, b"x", 7, qos=2), v5.pubrec(7))
    client.ask(v5.pubrel(7), v5.pubcomp(7))
    watcher.expect(v5.publish(name, b"x"))


@holds("v5 [MQTT-4.3.3-10]", "v5 [MQTT-4.3.3-12]")
def test_qos_2_comes_once(broker: Broker, name: str) -> None:
    """Until PUBREL the same identifier is the same message; after PUBCOMP it is another."""
    client, watcher = connected(broker), subscribed(broker, (name, 0))
    for dup in (False, True, False):
        client.ask(v5.publish(name, b"x", 7, qos=2, dup=dup), v5.pubrec(7))
    client.ask(v5.pubrel(7), v5.pubcomp(7))
    client.ask(v5.publish(name, b"y", 7, qos=2, dup=True), v5.pubrec(7))
    client.ask(v5.pubrel(7), v5.pubcomp(7))
    assert watcher.payloads() == [b"x", b"y"]


@holds("v5 [MQTT-4.3.2-5]")
def test_qos_1_comes_each_time(broker: Broker, name: str) -> None:
    """After PUBACK the same identifier is a new message, even with DUP."""
    client, watcher = connected(broker), subscribed(broker, (name, 0))
    for dup in (False, True):
        client.ask(v5.publish(name, b"x", 7, qos=1, dup=dup), v5.puback(7))
    assert watcher.payloads() == [b"x", b"x"]


@holds("v5 [MQTT-3.6.2-1]", "v5 [MQTT-3.7.2-1]", "v5 [MQTT-4.3.3-11]")
def test_unknown_identifiers(broker: Broker) -> None:
    """What the broker knows nothing of is answered with 0x92, or not at all."""
    client = connected(broker)
    client.ask(v5.pubrel(9), v5.pubcomp(9, 0x92))
    client.ask(v5.pubrel(9, 0x92), v5.pubcomp(9, 0x92))
    client.ask(v5.pubrec(9), v5.pubrel(9, 0x92))
    client.send(v5.puback(9) + v5.pubcomp(9) + v5.pubcomp(9, 0x92) + v5.pubrec(9, 0x80))
    client.expect_silence()


@holds("v5 [MQTT-4.6.0-2]", "v5 [MQTT-4.6.0-3]", "v5 [MQTT-4.3.1-1]")
def test_answers_in_order(broker: Broker, name: str) -> None:
    """Acknowledgements come in the order of what they acknowledge."""
    client = connected(broker)
    sent = b"".join(v5.publish(name, b"x", number, qos=1 + number % 2) for number in range(1, 10))
    answers = [(v5.pubrec if number % 2 else v5.puback)(number, 0x10) for number in range(1, 10)]
    client.ask(sent, *answers)


# What is passed on

EVERYTHING = (
    v5.payload_format(0),
    v5.content_type("text/\u00fc"),
    v5.response_topic("answer/\ufeff"),
    v5.correlation_data(bytes(range(256))),
    v5.user("z", "1"),
    v5.user("a", ""),
    v5.user("z", "1"),
    v5.user("\ufeff", "\ufeff"),
)


@holds(
    "v5 [MQTT-3.3.2-4]",
    "v5 [MQTT-3.3.2-15]",
    "v5 [MQTT-3.3.2-16]",
    "v5 [MQTT-3.3.2-17]",
    "v5 [MQTT-3.3.2-18]",
    "v5 [MQTT-3.3.2-20]",
    "v5 [MQTT-1.5.4-3]",
)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_are_passed_on(broker: Broker, name: str, qos: int) -> None:
    """All that belongs to the message, unaltered and in its order."""
    watcher = subscribed(broker, (name, 2))
    publishes(broker, name, b"x", *EVERYTHING, qos=qos)
    watcher.expect(v5.publish(name, b"x", 1, *EVERYTHING, qos=qos))


@holds("v5 [MQTT-3.3.2-17]", "v5 [MQTT-3.3.1-5]")
def test_properties_are_retained(broker: Broker, name: str) -> None:
    """And kept with what is retained."""
    publishes(broker, name, b"x", *EVERYTHING, qos=1, retain=True)
    client = connected(broker)
    client.ask(
        v5.subscribe(1, (name, 1)),
        v5.suback(1, 1),
        v5.publish(name, b"x", 1, *EVERYTHING, qos=1, retain=True),
    )
    unretains(broker, name)


@holds("v5 §3.3.2.3", "v3 [MQTT-3.3.5-1]")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_from_version_5_to_3_1_1(broker: Broker, name: str, qos: int, granted: int) -> None:
    """A 3.1.1 subscriber gets the message without what it could not read."""
    old = broker.client(None, (name, granted))
    publishes(broker, name, b"x", *EVERYTHING, qos=qos)
    lower = min(qos, granted)
    old.expect(packet(0x30 | lower << 1, text(name) + (b"\0\1" if lower else b"") + b"x"))


@holds("v5 §3.3.2.3", "v5 [MQTT-2.2.2-1]")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_from_version_3_1_1_to_5(broker: Broker, name: str, qos: int, granted: int) -> None:
    """A 5.0 subscriber gets a 3.1.1 client's message with no properties."""
    new = subscribed(broker, (name, granted))
    publisher = broker.client()
    for _ in range(3):  # also once the broker knows the way
        publisher.publishes(name, b"x", qos=qos)
    for number in (1, 2, 3):
        new.expect(v5.publish(name, b"x", number, qos=min(qos, granted)))


@holds("v5 §3.3", "v5 [MQTT-3.3.1-3]", "v5 [MQTT-4.6.0-5]", "v5 [MQTT-4.2.0-1]")
def test_a_run_of_messages_to_all_kinds(broker: Broker, name: str) -> None:
    """Many messages in one segment, with and without properties, reach old and new subscribers in order."""
    new, old = subscribed(broker, (name, 0)), broker.client(None, (name, 0))
    numbered = subscribed(broker, (name, 0), identifier=7)
    sent, payloads = b"", []
    for number in range(40):
        each = (v5.user("n", str(number)),) if number % 5 == 4 else ()
        payload = b"%d" % number * (1 + 70 * (number % 3))
        sent += v5.publish(name, payload, 0, *each)
        payloads.append(payload)
    publisher = connected(broker)
    publisher.send(v5.publish(name, b"first") + sent)
    assert new.payloads() == [b"first", *payloads]
    messages = numbered.messages_until_ping()
    assert [message.payload for message in messages] == [b"first", *payloads]
    assert all(message.says(v5.SUBSCRIPTION_ID) == [7] for message in messages)
    assert [
        sent[-len(p) :] for sent, p in zip(old.packets_until_ping()[1:], payloads, strict=True)
    ] == payloads


# What may not be sent

WRONG = {
    "QoS 3": (packet(0x36, text("a") + b"\0\1\0x"), 0x81),
    "DUP at QoS 0": (packet(0x38, text("a") + b"\0x"), 0x81),
    "packet identifier 0": (v5.publish("a", b"x", 0, qos=1), 0x82),
    "no packet identifier": (packet(0x32, text("a")), 0x81),
    "no properties": (packet(0x30, text("a")), 0x81),
    "a wildcard in the topic": (v5.publish("a/#"), 0x90),
    "a topic that is no UTF-8": (v5.publish(b"a\xff"), 0x81),
    "U+0000 in the topic": (v5.publish("a\0"), 0x81),
    "a topic beyond the packet": (packet(0x30, b"\0\x09abc"), 0x81),
    "no topic, no alias": (v5.publish(""), 0x82),
    "a wildcard in the Response Topic": (v5.publish("a", b"", 0, v5.response_topic("a/#")), 0x90),
    "a Response Topic that is no UTF-8": (v5.publish("a", b"", 0, v5.response_topic(b"\xff")), 0x81),
    "a Content Type that is no UTF-8": (v5.publish("a", b"", 0, v5.content_type(b"\xff")), 0x81),
    "a Subscription Identifier": (v5.publish("a", b"", 0, v5.subscription_id(1)), 0x82),
    "Payload Format 2": (v5.publish("a", b"", 0, v5.payload_format(2)), 0x82),
    "a property of CONNECT": (v5.publish("a", b"", 0, v5.session_expiry(1)), 0x82),
    "an unknown property": (v5.publish("a", b"", 0, b"\x04"), 0x81),
    "Topic Alias 0": (v5.publish("a", b"", 0, v5.topic_alias(0)), 0x94),
    "a Topic Alias above the maximum": (v5.publish("a", b"", 0, v5.topic_alias(11)), 0x94),
    "a Topic Alias that stands for nothing": (v5.publish("", b"", 0, v5.topic_alias(1)), 0x82),
    "Payload Format twice": (v5.publish("a", b"", 0, v5.payload_format(1), v5.payload_format(1)), 0x82),
    "Message Expiry twice": (v5.publish("a", b"", 0, v5.message_expiry(1), v5.message_expiry(1)), 0x82),
    "Content Type twice": (v5.publish("a", b"", 0, v5.content_type("a"), v5.content_type("a")), 0x82),
    "Response Topic twice": (v5.publish("a", b"", 0, v5.response_topic("a"), v5.response_topic("a")), 0x82),
    "Correlation Data twice": (
        v5.publish("a", b"", 0, v5.correlation_data(b""), v5.correlation_data(b"")),
        0x82,
    ),
    "Topic Alias twice": (v5.publish("a", b"", 0, v5.topic_alias(1), v5.topic_alias(1)), 0x82),
    "PUBACK with an illegal code": (v5.puback(1, 0x95), 0x82),
    "PUBREC with an illegal code": (v5.pubrec(1, 0x92), 0x82),
    "PUBREL with an illegal code": (v5.pubrel(1, 0x10), 0x82),
    "PUBCOMP with an illegal code": (v5.pubcomp(1, 0x80), 0x82),
    "PUBREL with the flags of PUBACK": (packet(0x60, b"\0\1"), 0x81),
    "PUBACK with a flag": (packet(0x41, b"\0\1"), 0x81),
    "PUBACK of identifier 0": (v5.puback(0), 0x82),
    "PUBACK that is cut short": (packet(0x40, b"\0"), 0x81),
    "PUBACK with more than properties": (packet(0x40, b"\0\1\0\0x"), 0x81),
    "PUBACK with Reason String twice": (packet(0x40, b"\0\1\0\x08" + b"\x1f\0\1a" * 2), 0x82),
    "DISCONNECT with an illegal code": (v5.disconnect(0x85), 0x82),
    "DISCONNECT with a flag": (packet(0xE2, b""), 0x81),
    "PINGREQ with a flag": (packet(0xC1, b""), 0x81),
    "PINGREQ with a body": (packet(0xC0, b"\0"), 0x81),
    "packet type 0": (b"\x00\x00", 0x82),
    "CONNACK": (b"\x20\x03\0\0\0", 0x82),
    "SUBACK": (v5.suback(1, 0), 0x82),
    "UNSUBACK": (v5.unsuback(1, 0), 0x82),
    "PINGRESP": (b"\xd0\x00", 0x82),
    "a Remaining Length of five bytes": (b"\x30\xff\xff\xff\xff\x01", 0x81),
    "a Remaining Length in too many bytes": (b"\x30\x85\x00" + text("a") + b"\0x", 0x81),
}


@holds(
    "v5 [MQTT-4.13.1-1]",
    "v5 [MQTT-4.13.2-1]",
    "v5 [MQTT-3.14.4-2]",
    "v5 [MQTT-3.14.4-1]",
    "v5 [MQTT-3.14.2-1]",
    "v5 [MQTT-3.14.2-2]",
    "v5 [MQTT-3.3.1-4]",
    "v5 [MQTT-3.3.1-2]",
    "v5 [MQTT-2.2.1-2]",
    "v5 [MQTT-2.2.1-3]",
    "v5 [MQTT-2.1.3-1]",
    "v5 [MQTT-3.3.2-1]",
    "v5 [MQTT-3.3.2-2]",
    "v5 [MQTT-3.3.2-8]",
    "v5 [MQTT-3.3.2-9]",
    "v5 [MQTT-3.3.2-13]",
    "v5 [MQTT-3.3.2-14]",
    "v5 [MQTT-3.3.2-19]",
    "v5 [MQTT-3.3.4-6]",
    "v5 [MQTT-3.6.1-1]",
    "v5 [MQTT-3.14.1-1]",
    "v5 [MQTT-3.2.2-17]",
    "v5 [MQTT-1.5.5-1]",
    "v5 [MQTT-4.7.0-1]",
    "v5 [MQTT-4.7.3-2]",
)
@pytest.mark.parametrize(("wrong", "code"), WRONG.values(), ids=WRONG)
def test_wrong_packets(broker: Broker, wrong: bytes, code: int) -> None:
    """Whatever breaks a rule: DISCONNECT says which, has no Session Expiry Interval, and is the end."""
    client = connected(broker)
    client.send(wrong)
    assert client.expect_disconnect(code).says(v5.SESSION_EXPIRY) is None


@holds("v5 [MQTT-3.14.4-1]", "v5 §4.13.1")
def test_nothing_is_processed_after_an_error(broker: Broker, name: str) -> None:
    """What stands behind a malformed packet in the same segment is not looked at."""
    watcher = subscribed(broker, (name, 0))
    client = connected(broker)
    client.send(v5.publish(name, b"1") + b"\x36\x00" + v5.publish(name, b"2"))
    client.expect_disconnect(0x81)
    assert watcher.payloads() == [b"1"]


@holds("v5 [MQTT-4.7.3-3]")
def test_the_longest_topic(broker: Broker, name: str) -> None:
    """A topic name may be as long as a string can be."""
    topic = name + "/" + "x" * (65_534 - len(name))
    watcher = subscribed(broker, (topic, 0))
    publishes(broker, topic, b"x")
    watcher.expect(v5.publish(topic, b"x"))


@holds("v5 [MQTT-4.7.3-4]", "v5 [MQTT-1.5.4-3]")
def test_topics_are_not_normalised(broker: Broker, name: str) -> None:
    """Two ways to write the same letter are two topics; U+FEFF is a character."""
    client = subscribed(broker, (name + "/\u00e9", 0), (name + "/\ufeffa", 0))
    for topic in ("/e\u0301", "/a", "/\u00e9", "/\ufeffa"):
        publishes(broker, name + topic, topic.encode())
    assert client.payloads() == ["/\u00e9".encode(), "/\ufeffa".encode()]


# Refusals that the conversation survives


@holds("v5 [MQTT-3.4.2-1]", "v5 [MQTT-3.5.2-1]", "v5 [MQTT-4.3.3-9]", "v5 §3.3.5")
def test_publish_without_permission(guarded: Broker, name: str) -> None:
    """0x87 in PUBACK or PUBREC, after which the identifier is free; at QoS 0 nothing is said."""
    client = connected(guarded, username="alice", password=b"secret")
    topic = "read/" + name
    client.send(v5.publish(topic, b"x"))
    client.send(v5.publish(topic, b"x", 1, qos=1))
    refusal = client.answer()
    assert refusal[:3] == (0x40, 1, (0x87,)) and refusal.says(v5.REASON_STRING)
    client.send(v5.publish(topic, b"x", 2, qos=2))
    assert client.answer()[:3] == (0x50, 2, (0x87,))
    client.ask(v5.publish("open/" + name, b"x", 2, qos=2), v5.pubrec(2, 0x10))
    client.ask(v5.pubrel(2), v5.pubcomp(2))


@holds("v5 [MQTT-3.1.2-29]", "v5 §3.1.2.11.7")
def test_without_problem_information(guarded: Broker, name: str) -> None:
    """A client that wants no explanations gets the code alone."""
    no = v5.request_problem_information(0)
    client = connected(guarded, None, no, username="alice", password=b"secret")
    client.ask(v5.publish("read/" + name, b"x", 1, qos=1), v5.puback(1, 0x87))
    client.ask(v5.publish("read/" + name, b"x", 2, qos=2), v5.pubrec(2, 0x87))
    client.send(b"\x36\x00")
    client.expect_disconnect(0x81)  # which may explain itself all the same


@holds("v5 [MQTT-3.4.2-2]", "v5 [MQTT-3.5.2-2]", "v5 [MQTT-3.14.2-3]", "v5 [MQTT-3.1.2-24]")
def test_no_room_for_explanations(guarded: Broker, name: str) -> None:
    """A Reason String never makes a packet larger than the client takes."""
    small = v5.maximum_packet_size(20)
    client = connected(guarded, None, small, username="alice", password=b"secret")
    client.ask(v5.publish("read/" + name, b"x", 1, qos=1), v5.puback(1, 0x87))
    client.ask(v5.publish("read/" + name, b"x", 2, qos=2), v5.pubrec(2, 0x87))
    client.ask(b"\x36\x00", v5.disconnect(0x81))
    client.expect_closed()


@holds("v5 [MQTT-3.2.2-19]")
def test_no_room_for_an_explanation_of_a_refusal(guarded: Broker, name: str) -> None:
    """That holds for the CONNACK of a refusal, too."""
    client = opened(guarded)
    client.send(v5.connect(name, v5.maximum_packet_size(5)))
    client.expect(b"\x20\x03\x00\x87\x00")
    client.expect_closed()


@holds("v5 [MQTT-3.3.1-6]", "v5 [MQTT-3.3.1-7]", "v5 [MQTT-3.3.1-8]", "v5 [MQTT-3.3.1-5]")
def test_retaining(broker: Broker, name: str) -> None:
    """The last message with RETAIN counts; an empty one clears the topic and goes to subscribers."""
    watcher = subscribed(broker, (name, 0))
    publishes(broker, name, b"1", retain=True)
    publishes(broker, name, b"2", qos=1, retain=True)
    publishes(broker, name, b"3")
    (message,) = retained(broker, name)
    assert (message.payload, message.qos, message.retain) == (b"2", 1, True)
    publishes(broker, name, b"", v5.user("a", "b"), retain=True)
    assert retained(broker, name) == []
    assert watcher.payloads() == [b"1", b"2", b"3", b""]
