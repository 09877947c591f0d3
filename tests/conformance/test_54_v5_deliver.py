"""v5 §3.3.4, §4.3, §4.4, §4.9: messages on their way to a client, flow control, and sending again."""

from __future__ import annotations

import pytest

from tests.conformance import v5_packets as v5
from tests.conformance.harness import Broker, RawClient
from tests.conformance.packets import PINGREQ, PINGRESP, packet, text
from tests.conformance.statements import holds
from tests.conformance.v5_client import (
    Client,
    connected,
    forgets,
    kept,
    pause,
    publishes,
    resumed,
    retained,
    subscribed,
)


def publishes_run(broker: Broker, topic: str, count: int, qos: int = 1) -> None:
    """Somebody publishes 0, 1, 2 and so on; on return the broker has them all."""
    client = connected(broker)
    for number in range(count):
        client.send(v5.publish(topic, b"%d" % number, number % 15 + 1, qos=qos))
        if qos:
            client.answer()
        if qos == 2:
            client.ask(v5.pubrel(number % 15 + 1), v5.pubcomp(number % 15 + 1))
    client.ask(PINGREQ, PINGRESP)
    client.drop()


# Receive Maximum


@holds(
    "v5 [MQTT-3.3.4-9]",
    "v5 [MQTT-4.9.0-1]",
    "v5 [MQTT-4.9.0-2]",
    "v5 [MQTT-2.2.1-4]",
    "v5 [MQTT-4.3.2-1]",
    "v5 [MQTT-4.3.2-3]",
    "v5 [MQTT-4.6.0-5]",
    "v5 [MQTT-4.6.0-6]",
)
@pytest.mark.parametrize("maximum", [1, 2, 7])
def test_receive_maximum_at_qos_1(broker: Broker, name: str, maximum: int) -> None:
    """Never more at once than the client takes; the rest waits, and comes in its order."""
    client = subscribed(broker, (name, 1), properties=(v5.receive_maximum(maximum),))
    publishes_run(broker, name, 12)
    waiting = client.messages_until_ping()
    got = []
    while waiting:
        assert len(waiting) <= maximum
        first = waiting.pop(0)
        got.append(first.payload)
        client.send(v5.puback(first.packet_id))
        waiting += client.messages_until_ping()
        assert len({message.packet_id for message in waiting}) == len(waiting)
    assert got == [b"%d" % number for number in range(12)]


@holds(
    "v5 [MQTT-3.3.4-9]", "v5 [MQTT-4.3.3-1]", "v5 [MQTT-4.3.3-3]", "v5 [MQTT-4.3.3-5]", "v5 [MQTT-4.3.3-4]"
)
@pytest.mark.parametrize("maximum", [1, 3])
def test_receive_maximum_at_qos_2(broker: Broker, name: str, maximum: int) -> None:
    """A message is under way until PUBCOMP."""
    client = subscribed(broker, (name, 2), properties=(v5.receive_maximum(maximum),))
    publishes_run(broker, name, 6, qos=2)
    for number in range(6):
        if number % maximum == 0:
            waiting = client.messages_until_ping()
            assert [m.payload for m in waiting] == [b"%d" % n for n in range(number, number + maximum)]
            for message in waiting:
                client.ask(v5.pubrec(message.packet_id), v5.pubrel(message.packet_id))
            client.expect_silence()
            client.send(b"".join(v5.pubcomp(message.packet_id) for message in waiting))


@holds("v5 [MQTT-3.3.4-10]", "v5 [MQTT-4.9.0-3]")
def test_other_packets_at_quota_0(broker: Broker, name: str) -> None:
    """A full window holds back neither QoS 0 nor answers."""
    client = subscribed(broker, (name, 1), properties=(v5.receive_maximum(1),))
    publishes_run(broker, name, 3)
    assert client.next_payload() == b"0"
    client.ask(v5.subscribe(1, (name + "/0", 0)), v5.suback(1, 0))
    publishes(broker, name + "/0", b"unacknowledged")
    client.expect(v5.publish(name + "/0", b"unacknowledged"))
    client.ask(v5.publish(name + "/1", b"", 1, qos=1), v5.puback(1, 0x10))
    client.ask(v5.unsubscribe(2, name), v5.unsuback(2, 0))


@holds("v5 [MQTT-3.3.4-7]", "v5 §3.3.4")
def test_client_above_the_receive_maximum(narrow: Broker, name: str) -> None:
    """At QoS 1 a client that overruns it is acknowledged no faster than we can, and not cut off."""
    client = connected(narrow, name)
    client.send(b"".join(v5.publish(name, b"x", number, qos=1) for number in range(1, 31)))
    for number in range(1, 31):
        client.expect(v5.puback(number, 0x10))


@holds("v5 [MQTT-3.3.4-7]", "v5 §3.3.4")
def test_client_above_the_receive_maximum_at_qos_2(broker: Broker, name: str) -> None:
    """At QoS 2 a message counts until its PUBCOMP."""
    client = connected(broker, name)
    for number in range(1, 21):
        client.ask(v5.publish(name, b"x", number, qos=2), v5.pubrec(number, 0x10))
    client.ask(v5.publish(name, b"x", 7, qos=2, dup=True), v5.pubrec(7))
    client.ask(v5.pubrel(7), v5.pubcomp(7))
    client.ask(v5.publish(name, b"x", 99, qos=2), v5.pubrec(99, 0x10))
    client.send(v5.publish(name, b"x", 100, qos=2))
    client.expect_disconnect(0x93)


@holds("v5 [MQTT-3.3.4-7]", "v5 §3.3.4")
def test_client_at_the_receive_maximum(broker: Broker, name: str) -> None:
    """Just as many as announced, again and again, is what it is for."""
    watcher, client = subscribed(broker, (name, 0)), connected(broker)
    for _ in range(10):
        run = b"".join(v5.publish(name, b"x", number, qos=1) for number in range(1, 21))
        client.ask(run, *(v5.puback(number) for number in range(1, 21)))
    assert len(watcher.payloads()) == 200


# Handshakes


@holds(
    "v5 [MQTT-4.3.2-2]", "v5 [MQTT-4.3.3-2]", "v5 [MQTT-3.3.1-3]", "v5 [MQTT-3.3.1-2]", "v5 [MQTT-4.3.1-1]"
)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_dup_is_not_passed_on(broker: Broker, name: str, qos: int) -> None:
    """DUP of the incoming PUBLISH means nothing to subscribers."""
    client, publisher = subscribed(broker, (name, 2)), connected(broker)
    publisher.send(v5.publish(name, b"x", 1, qos=qos, dup=qos > 0))
    client.expect(v5.publish(name, b"x", 1, qos=qos))


@holds("v5 [MQTT-4.4.0-2]", "v5 [MQTT-3.5.2-1]", "v5 §4.3.3")
@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
def test_pubrec_with_a_failure_ends_the_handshake(broker: Broker, name: str, code: int) -> None:
    """The message is done with: nothing follows, also on the next connection."""
    client = kept(broker, name, (name, 2))
    publishes(broker, name, b"x", qos=2)
    client.expect(v5.publish(name, b"x", 1, qos=2))
    client.send(v5.pubrec(1, code))
    client.expect_silence()
    client.drop()
    resumed(broker, name, expiry=0).expect_silence()


@holds("v5 [MQTT-4.4.0-2]")
@pytest.mark.parametrize("code", [0x10, 0x80, 0x97])
def test_puback_with_a_code(broker: Broker, name: str, code: int) -> None:
    """Whatever PUBACK says, the message is done with."""
    client = kept(broker, name, (name, 1))
    publishes(broker, name, b"x", qos=1)
    client.expect(v5.publish(name, b"x", 1, qos=1))
    client.send(v5.puback(1, code, b"\x1f\x00\x01a", v5.user("a", "b")))
    client.expect_silence()
    client.drop()
    resumed(broker, name, expiry=0).expect_silence()


@holds("v5 §3.4.2.1", "v5 §3.5.2.1", "v5 §3.6.2.1", "v5 §3.7.2.1")
def test_long_and_short_acknowledgements(broker: Broker, name: str) -> None:
    """Reason code and properties may be left out or be there."""
    client = subscribed(broker, (name, 2))
    for number, (code, properties) in enumerate(((b"", b""), (b"\0", b""), (b"\0", b"\0")), 1):
        publishes(broker, name, b"x", qos=2)
        client.expect(v5.publish(name, b"x", number, qos=2))
        tail = bytes((0, number)) + code + properties
        client.ask(packet(0x50, tail), v5.pubrel(number))
        client.send(packet(0x70, tail))
    client.expect_silence()


# Sending again


@holds(
    "v5 [MQTT-4.4.0-1]", "v5 [MQTT-4.6.0-1]", "v5 [MQTT-3.3.1-1]", "v5 [MQTT-4.3.3-6]", "v5 [MQTT-4.6.0-4]"
)
def test_sent_again_in_order(broker: Broker, name: str) -> None:
    """PUBLISH with DUP and PUBREL, each with its identifier; then what waited."""
    client = kept(broker, name, (name, 2))
    for number in range(6):
        publishes(broker, name, b"%d" % number, qos=1 + number % 2)
    assert client.payloads() == [b"%d" % number for number in range(6)]
    client.send(v5.puback(1))
    client.ask(v5.pubrec(4) + v5.pubrec(2), v5.pubrel(4), v5.pubrel(2))
    client.drop()
    publishes(broker, name, b"queued", qos=1)
    client = resumed(broker, name)
    found = client.packets_until_ping()
    released = [each for each in found if each[0] == 0x62]
    messages = [v5.read_message(each) for each in found if each[0] != 0x62]
    assert released == [v5.pubrel(4), v5.pubrel(2)]
    assert [(m.packet_id, m.payload, m.dup) for m in messages] == [
        (3, b"2", True),
        (5, b"4", True),
        (6, b"5", True),
        (7, b"queued", False),
    ]
    client.leaves()
    forgets(broker, name)


@holds("v5 [MQTT-4.4.0-1]")
def test_nothing_is_sent_again_in_between(broker: Broker, name: str) -> None:
    """On the same connection there is no second try."""
    client = subscribed(broker, (name, 2))
    publishes(broker, name, b"x", qos=1)
    publishes(broker, name, b"y", qos=2)
    assert client.payloads() == [b"x", b"y"]
    pause(1.2)
    client.expect_silence()


@holds("v5 [MQTT-3.3.4-9]", "v5 [MQTT-4.4.0-1]", "v5 §4.9")
def test_sent_again_within_the_new_receive_maximum(broker: Broker, name: str) -> None:
    """A client that takes less than before gets all the same, one by one."""
    client = kept(broker, name, (name, 2))
    publishes_run(broker, name, 4)
    assert len(client.payloads()) == 4
    client.drop()
    publishes(broker, name, b"4", qos=2)
    client = resumed(broker, name, v5.receive_maximum(1))
    for number in range(5):
        (message,) = client.messages_until_ping()
        assert (message.payload, message.dup) == (b"%d" % number, number < 4)
        client.accepts(message.packet_id, message.qos)
    client.expect_silence()
    client.leaves()
    forgets(broker, name)


@holds("v5 [MQTT-4.3.3-10]", "v5 [MQTT-4.4.0-1]")
def test_a_clients_handshake_goes_on(broker: Broker, name: str) -> None:
    """What a client had not released is still the same message when it comes back."""
    watcher = subscribed(broker, (name, 0))
    client = kept(broker, name)
    client.ask(v5.publish(name, b"x", 5, qos=2), v5.pubrec(5))
    client.drop()
    client = resumed(broker, name, expiry=0)
    client.ask(v5.publish(name, b"x", 5, qos=2, dup=True), v5.pubrec(5))
    client.ask(v5.pubrel(5), v5.pubcomp(5))
    assert watcher.payloads() == [b"x"]
    client.leaves()


# Topic aliases


@holds("v5 [MQTT-3.3.2-12]", "v5 §3.3.2.3.4")
def test_aliases_of_a_client(broker: Broker, name: str) -> None:
    """All that were announced are taken, with the name once, and may be given another."""
    watcher, client = subscribed(broker, (name + "/#", 2)), connected(broker)
    for alias in range(1, 11):
        client.send(v5.publish(f"{name}/{alias}", b"1", 0, v5.topic_alias(alias)))
    client.send(v5.publish(f"{name}/new", b"1", 0, v5.topic_alias(3)))
    for alias in range(1, 11):
        client.send(v5.publish("", b"2", 0, v5.topic_alias(alias)))
    client.expect_silence()
    topics = [message.topic.rpartition("/")[2] for message in watcher.messages_until_ping()]
    numbers = [str(alias) for alias in range(1, 11)]
    assert topics == [*numbers, "new", "1", "2", "new", *numbers[3:]]


@holds("v5 §3.3.2.3.4")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_alias_at_each_qos(broker: Broker, name: str, qos: int) -> None:
    """With an acknowledgement, too; nothing of it is passed on."""
    watcher, client = subscribed(broker, (name, 2)), connected(broker)
    for number, topic in ((1, name), (2, ""), (3, ""), (4, name)):
        client.send(v5.publish(topic, b"x", number, v5.topic_alias(1), qos=qos))
        watcher.expect(v5.publish(name, b"x", number, qos=qos))


@holds("v5 [MQTT-3.3.2-7]")
def test_aliases_hold_for_one_connection(broker: Broker, name: str) -> None:
    """Also when the session is resumed."""
    client = kept(broker, name)
    client.send(v5.publish(name, b"x", 0, v5.topic_alias(1)))
    client.leaves()
    client = resumed(broker, name, expiry=0)
    client.send(v5.publish("", b"x", 0, v5.topic_alias(1)))
    client.expect_disconnect(0x82)


@holds("v5 [MQTT-3.2.2-18]", "v5 [MQTT-3.3.2-9]", "v5 [MQTT-3.2.2-17]")
def test_alias_above_what_was_announced(narrow: Broker, name: str) -> None:
    """max_topic_alias: 3 is good, 4 is 0x94."""
    client = connected(narrow, name)
    client.send(v5.publish(name, b"x", 0, v5.topic_alias(3)))
    client.expect_silence()
    client.send(v5.publish(name, b"x", 0, v5.topic_alias(4)))
    client.expect_disconnect(0x94)


@holds("v5 [MQTT-3.1.2-26]", "v5 [MQTT-3.3.2-11]")
@pytest.mark.parametrize("maximum", [1, 3, 65535])
def test_aliases_towards_a_client(broker: Broker, name: str, maximum: int) -> None:
    """Never above what the client takes; each can be read with the names that came before."""
    each = (v5.topic_alias_maximum(maximum),)
    client = subscribed(broker, (name + "/#", 0), properties=each)
    topics = [f"{name}/{number % 5}" for number in range(15)]
    for topic in topics:
        publishes(broker, topic, b"x")
    names: dict[object, str] = {}
    read = []
    for message in client.messages_until_ping():
        (alias,) = message.says(v5.TOPIC_ALIAS) or [0]
        assert isinstance(alias, int) and alias <= maximum
        names[alias] = message.topic or names[alias]
        read.append(names[alias])
    assert read == topics
    assert maximum == 1 or len(names) > 1


@holds("v5 [MQTT-3.1.2-27]")
@pytest.mark.parametrize("each", [(), (v5.topic_alias_maximum(0),)])
def test_no_aliases_towards_a_client(broker: Broker, name: str, each: tuple[bytes, ...]) -> None:
    """A client that allows none gets none."""
    client = subscribed(broker, (name, 0), properties=each)
    for _ in range(3):
        publishes(broker, name, b"x")
        client.expect(v5.publish(name, b"x"))


# Maximum Packet Size


@holds("v5 [MQTT-3.1.2-24]", "v5 [MQTT-3.1.2-25]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_maximum_packet_size_of_a_client(broker: Broker, name: str, qos: int) -> None:
    """Exactly as large is sent; a byte more is dropped for this client only, as if it had been sent."""
    size = len(v5.publish(name, b"x" * 50, 1, qos=qos))
    client = subscribed(broker, (name, 2), properties=(v5.maximum_packet_size(size),))
    other = subscribed(broker, (name, 2))
    for payload in (b"y" * 51, b"x" * 50, b"z" * 51, b"x"):
        publishes(broker, name, payload, qos=qos)
    client.expect(v5.publish(name, b"x" * 50, 1, qos=qos), v5.publish(name, b"x", 2, qos=qos))
    assert len(other.payloads()) == 4


@holds("v5 [MQTT-3.1.2-25]", "v5 [MQTT-4.4.0-1]")
def test_too_large_when_it_comes_back(broker: Broker, name: str) -> None:
    """What was in flight or queued, and is too large for the client's new limit, is dropped."""
    client = kept(broker, name, (name, 1))
    publishes(broker, name, b"x" * 100, qos=1)
    assert client.message().packet_id == 1
    client.drop()
    publishes(broker, name, b"y" * 100, qos=1)
    publishes(broker, name, b"small", qos=1)
    client = resumed(broker, name, v5.maximum_packet_size(60))
    assert client.payloads() == [b"small"]
    client.leaves()
    forgets(broker, name)


# Message expiry


@holds("v5 [MQTT-3.3.2-6]", "v5 [MQTT-3.3.2-5]")
def test_queued_messages_expire(broker: Broker, name: str) -> None:
    """What waited is passed on with the rest of its time, and not at all when that is over."""
    kept(broker, name, (name, 1)).leaves()
    publishes(broker, name, b"short", v5.message_expiry(1), qos=1)
    publishes(broker, name, b"long", v5.message_expiry(100), qos=1)
    publishes(broker, name, b"ever", qos=1)
    pause(1.8)
    client = resumed(broker, name)
    long, ever = client.messages_until_ping()
    assert (long.payload, ever.payload, ever.found) == (b"long", b"ever", ())
    assert long.says(v5.MESSAGE_EXPIRY) in ([98], [99])
    client.leaves()
    forgets(broker, name)


@holds("v5 [MQTT-3.3.2-5]", "v5 [MQTT-3.3.2-6]")
def test_messages_are_there_until_they_expire(broker: Broker, name: str) -> None:
    """Not a moment too early."""
    kept(broker, name, (name, 1)).leaves()
    publishes(broker, name, b"x", v5.message_expiry(1), qos=1, retain=True)
    pause(0.9)
    assert [m.payload for m in retained(broker, name)] == [b"x"]
    client = resumed(broker, name, expiry=0)
    assert client.payloads() == [b"x"]
    client.leaves()
    pause(0.9)
    assert retained(broker, name) == []


@holds("v5 [MQTT-3.3.2-6]")
def test_expiry_of_what_does_not_wait(broker: Broker, name: str) -> None:
    """What is passed on at once has all its time."""
    client = subscribed(broker, (name, 1))
    publishes(broker, name, b"x", v5.message_expiry(7), qos=1)
    client.expect(v5.publish(name, b"x", 1, v5.message_expiry(7), qos=1))


@holds("v5 [MQTT-3.3.2-5]", "v5 [MQTT-3.3.4-9]")
def test_messages_behind_a_full_window_expire(broker: Broker, name: str) -> None:
    """Also for a client that is there, but slow."""
    client = subscribed(broker, (name, 1), properties=(v5.receive_maximum(1),))
    publishes(broker, name, b"1", qos=1)
    publishes(broker, name, b"2", v5.message_expiry(1), qos=1)
    publishes(broker, name, b"3", qos=1)
    assert client.payloads() == [b"1"]
    pause(1.6)
    client.send(v5.puback(1))
    assert client.payloads() == [b"3"]


@holds("v5 [MQTT-4.3.3-7]", "v5 [MQTT-4.3.3-13]")
def test_expiry_does_not_end_a_handshake(broker: Broker, name: str) -> None:
    """Once it was sent, a message is finished however long that takes."""
    client = subscribed(broker, (name, 2))
    publishes(broker, name, b"x", v5.message_expiry(1), qos=2)
    assert client.message().packet_id == 1
    publisher = connected(broker)
    publisher.ask(v5.publish(name + "/n", b"", 1, v5.message_expiry(1), qos=2), v5.pubrec(1, 0x10))
    pause(1.6)
    client.ask(v5.pubrec(1), v5.pubrel(1))
    client.send(v5.pubcomp(1))
    client.expect_silence()
    publisher.ask(v5.pubrel(1), v5.pubcomp(1))


# Keep alive


@holds("v5 [MQTT-3.1.2-22]", "v5 [MQTT-3.2.2-22]", "v5 [MQTT-3.14.2-1]")
def test_keep_alive(broker: Broker, name: str) -> None:
    """A silent client is told 0x8D after one and a half times its Keep Alive, and its Will is sent."""
    watcher = subscribed(broker, (name, 0))
    client = connected(broker, None, keep_alive=1, will=v5.Will(name))
    lively = connected(broker, None, keep_alive=1)
    pause(1.0)
    lively.expect_silence()
    pause(0.45)
    watcher.expect_silence()
    client.expect_disconnect(0x8D)
    assert watcher.payloads() == [b"gone"]
    lively.expect_silence()


# AUTH


@holds("v5 [MQTT-4.12.0-7]", "v5 [MQTT-3.15.1-1]", "v5 [MQTT-3.15.2-1]", "v5 §3.15.2")
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (v5.auth(0x18, v5.auth_method("X")), 0x82),
        (v5.auth(0x19, v5.auth_method("X")), 0x82),
        (v5.auth(0x00, v5.auth_method("X")), 0x82),
        (v5.auth(0x18), 0x82),
        (packet(0xF0, b""), 0x82),
        (v5.auth(0x80, v5.auth_method("X")), 0x82),
        (packet(0xF1, b""), 0x81),
        (v5.auth(0x18, v5.auth_method("X"), v5.auth_method("X")), 0x82),
    ],
)
def test_auth_without_a_method(broker: Broker, sent: bytes, code: int) -> None:
    """A client that named no method at CONNECT has nothing to say in AUTH."""
    client = connected(broker)
    client.send(sent)
    client.expect_disconnect(code)


@holds("v5 [MQTT-4.12.0-1]")
def test_unknown_method(broker: Broker, name: str) -> None:
    """0x8C, and the connection ends."""
    client = Client(broker.port)
    client.send(v5.connect(name, v5.auth_method("NO-SUCH-METHOD"), v5.auth_data(b"x")))
    client.expect_refused(0x8C)


@holds("v5 §3.15", "v3 [MQTT-4.8.0-1]")
def test_auth_in_version_3(broker: Broker) -> None:
    """There is no such packet."""
    client: RawClient = broker.client()
    client.send(packet(0xF0, b"\x18\x00") + text("x"))
    client.expect_closed()
