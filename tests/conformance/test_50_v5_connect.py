"""v5 §3.1, §3.2: CONNECT and CONNACK."""

from __future__ import annotations

import pytest

from tests.conformance import packets
from tests.conformance import v5_packets as v5
from tests.conformance.harness import Broker, RawClient
from tests.conformance.packets import packet, text
from tests.conformance.statements import holds
from tests.conformance.v5_client import Client, connected, opened, publishes, subscribed


@holds("v5 [MQTT-3.1.4-5]", "v5 [MQTT-3.2.0-1]", "v5 [MQTT-3.2.2-1]", "v5 [MQTT-3.2.2-2]", "v5 §3.2.2.3")
def test_connack_bytes(broker: Broker, name: str) -> None:
    """What is not at the standard's default is announced: here Receive Maximum, size and aliases."""
    announced = b"\x21\x00\x14" + b"\x27\x00\x1e\x84\x80" + b"\x22\x00\x0a"
    opened(broker).ask(v5.connect(name), b"\x20\x0e\x00\x00\x0b" + announced)


@holds("v5 [MQTT-3.1.3-5]", "v5 [MQTT-3.1.3-2]", "v5 [MQTT-3.1.3-3]")
@pytest.mark.parametrize("client_id", ["a", "0123456789abcdefghijklm", "ABCDEFGHIJKLMNOPQRSTUVW"])
def test_plain_client_ids(broker: Broker, client_id: str) -> None:
    """Up to 23 letters and digits are always good."""
    connected(broker, client_id).leaves()


@holds("v5 [MQTT-3.1.3-6]", "v5 [MQTT-3.1.3-7]", "v5 [MQTT-3.2.2-16]")
@pytest.mark.parametrize("clean", [True, False])
def test_assigned_client_id(broker: Broker, clean: bool) -> None:
    """Who has no client id is given one of its own, and can come back with it."""
    first = connected(broker, "", v5.session_expiry(60), clean=clean)
    second = connected(broker, "", v5.session_expiry(0), clean=clean)
    mine, others = (client.connack.says(v5.ASSIGNED_CLIENT_ID) for client in (first, second))
    assert isinstance(mine, str) and mine and others and mine != others
    first.leaves()
    again = connected(broker, mine, clean=False)
    assert again.connack.packet_id == 1
    assert again.connack.says(v5.ASSIGNED_CLIENT_ID) is None


@holds("v5 [MQTT-3.1.3-8]", "v5 [MQTT-3.2.2-6]", "v5 [MQTT-3.2.2-7]", "v5 [MQTT-3.2.2-8]")
def test_no_client_id_where_one_is_needed(narrow: Broker) -> None:
    """0x85 where zero-length identifiers are not allowed."""
    client = opened(narrow)
    client.send(v5.connect(""))
    client.expect_refused(0x85)


@holds("v5 [MQTT-3.1.0-2]", "v5 [MQTT-3.2.0-2]", "v5 [MQTT-4.13.1-1]")
def test_second_connect(broker: Broker, name: str) -> None:
    """CONNECT comes once."""
    client = connected(broker, name)
    client.send(v5.connect(name))
    client.expect_disconnect(0x82)


@holds("v5 [MQTT-3.1.0-1]", "v5 [MQTT-3.14.0-1]")
@pytest.mark.parametrize(
    "first", [packets.PINGREQ, v5.publish("a"), v5.disconnect(), v5.auth(0x18, v5.auth_method("X"))]
)
def test_anything_before_connect(broker: Broker, first: bytes) -> None:
    """Whoever does not begin with CONNECT hears nothing."""
    client = opened(broker)
    client.send(first)
    client.expect_closed()


@holds("v5 [MQTT-3.1.2-1]")
def test_another_protocol(broker: Broker, name: str) -> None:
    """Another name is another protocol."""
    client = opened(broker)
    client.send(v5.connect(name, protocol=b"\x00\x04MQTX\x05"))
    client.expect_closed()


@holds("v5 [MQTT-3.1.2-2]")
@pytest.mark.parametrize("level", [0, 2, 6, 127])
def test_unknown_protocol_level(broker: Broker, name: str, level: int) -> None:
    """A version that does not exist is answered as 3.1.1 would, which every client can read."""
    client = opened(broker)
    client.ask(v5.connect(name, protocol=b"\x00\x04MQTT" + bytes((level,))), b"\x20\x02\x00\x01")
    client.expect_closed()


@holds("v5 [MQTT-3.1.2-2]", "v5 [MQTT-3.1.4-2]")
def test_version_5_where_it_is_not_accepted(narrow: Broker, name: str) -> None:
    """accept_protocol_versions: 0x84, in the client's own version."""
    client = Client(narrow.second_port)
    client.send(v5.connect(name))
    client.expect_refused(0x84)


@holds("v3 [MQTT-3.1.2-2]")
def test_version_3_1_where_it_is_not_accepted(narrow: Broker, name: str) -> None:
    """The same the other way round: return code 1."""
    client = RawClient(narrow.port)
    client.ask(packets.connect(name, protocol=packets.V3_1), b"\x20\x02\x00\x01")
    client.expect_closed()


# CONNECT packets that are wrong, and the code of the CONNACK that says so.
WRONG_CONNECTS = {
    "reserved flag": (packet(0x10, v5.V5 + b"\x03\0\0\0" + text("a")), 0x81),
    "Will QoS 3": (packet(0x10, v5.V5 + b"\x1e\0\0\0" + text("a") + b"\0" + text("t") + text("m")), 0x81),
    "Will QoS without a Will": (packet(0x10, v5.V5 + b"\x0a\0\0\0" + text("a")), 0x81),
    "Will Retain without a Will": (packet(0x10, v5.V5 + b"\x22\0\0\0" + text("a")), 0x81),
    "a Will that is not there": (packet(0x10, v5.V5 + b"\x06\0\0\0" + text("a")), 0x81),
    "a user name that is not there": (packet(0x10, v5.V5 + b"\x82\0\0\0" + text("a")), 0x81),
    "a user name without its flag": (packet(0x10, v5.V5 + b"\x02\0\0\0" + text("a") + text("u")), 0x81),
    "a password that is not there": (packet(0x10, v5.V5 + b"\x42\0\0\0" + text("a")), 0x81),
    "a password without its flag": (
        packet(0x10, v5.V5 + b"\x82\0\0\0" + text("a") + text("u") + text("p")),
        0x81,
    ),
    "no client id": (packet(0x10, v5.V5 + b"\x02\0\0\0"), 0x81),
    "no properties": (packet(0x10, v5.V5 + b"\x02\0\0"), 0x81),
    "properties beyond the packet": (packet(0x10, v5.V5 + b"\x02\0\0\x7f" + text("a")), 0x81),
    "a property length of five bytes": (
        packet(0x10, v5.V5 + b"\x02\0\0\xff\xff\xff\xff\x01" + text("a")),
        0x81,
    ),
    "a property length in too many bytes": (packet(0x10, v5.V5 + b"\x02\0\0\x80\x00" + text("a")), 0x81),
    "a client id that is no UTF-8": (v5.connect(b"\xff"), 0x81),
    "a client id with U+0000": (v5.connect("a\0b"), 0x81),
    "a client id with a surrogate": (v5.connect(b"\xed\xa0\x80"), 0x81),
    "a user name that is no UTF-8": (v5.connect("a", username=b"\xc3\x28"), 0x81),
    "a Will topic that is no UTF-8": (v5.connect("a", will=v5.Will(b"\xff")), 0x81),
    "a Will topic with a wildcard": (v5.connect("a", will=v5.Will("a/#")), 0x90),
    "a Will topic that is empty": (v5.connect("a", will=v5.Will("")), 0x90),
    "an unknown property": (v5.connect("a", b"\x7e\x00"), 0x81),
    "a property that is cut short": (v5.connect("a", b"\x11\x00\x00"), 0x81),
    "a property of another packet": (v5.connect("a", v5.topic_alias(1)), 0x82),
    "a property of the Will's": (v5.connect("a", v5.will_delay(1)), 0x82),
    "a Will property of CONNECT's": (
        v5.connect("a", will=v5.Will("t", properties=(v5.session_expiry(1),))),
        0x82,
    ),
    "a user property that is no UTF-8": (v5.connect("a", v5.user(b"\xff", "b")), 0x81),
    "a user property whose value is no UTF-8": (v5.connect("a", v5.user("a", b"\xff")), 0x81),
    "Receive Maximum 0": (v5.connect("a", v5.receive_maximum(0)), 0x82),
    "Maximum Packet Size 0": (v5.connect("a", v5.maximum_packet_size(0)), 0x82),
    "Request Problem Information 2": (v5.connect("a", v5.request_problem_information(2)), 0x82),
    "Request Response Information 2": (v5.connect("a", v5.request_response_information(2)), 0x82),
    "a Will's Payload Format 2": (
        v5.connect("a", will=v5.Will("t", properties=(v5.payload_format(2),))),
        0x82,
    ),
    "a Will's Response Topic with a wildcard": (
        v5.connect("a", will=v5.Will("t", properties=(v5.response_topic("a/+"),))),
        0x90,
    ),
    "Authentication Data without a method": (v5.connect("a", v5.auth_data(b"x")), 0x82),
}  # fmt: skip


@holds(
    "v5 [MQTT-3.1.4-1]",
    "v5 [MQTT-3.1.2-3]",
    "v5 [MQTT-3.1.2-9]",
    "v5 [MQTT-3.1.2-11]",
    "v5 [MQTT-3.1.2-12]",
    "v5 [MQTT-3.1.2-13]",
    "v5 [MQTT-3.1.2-16]",
    "v5 [MQTT-3.1.2-17]",
    "v5 [MQTT-3.1.2-18]",
    "v5 [MQTT-3.1.2-19]",
    "v5 [MQTT-3.1.3-1]",
    "v5 [MQTT-3.1.3-3]",
    "v5 [MQTT-3.1.3-4]",
    "v5 [MQTT-3.1.3-11]",
    "v5 [MQTT-3.1.3-12]",
    "v5 [MQTT-1.5.4-1]",
    "v5 [MQTT-1.5.4-2]",
    "v5 [MQTT-1.5.5-1]",
    "v5 [MQTT-1.5.7-1]",
    "v5 [MQTT-2.2.2-1]",
    "v5 [MQTT-3.2.2-8]",
    "v5 [MQTT-4.13.2-1]",
)
@pytest.mark.parametrize(("wrong", "code"), WRONG_CONNECTS.values(), ids=WRONG_CONNECTS)
def test_wrong_connect(broker: Broker, wrong: bytes, code: int) -> None:
    """A CONNECT that breaks a rule is told which, and the connection ends."""
    client = opened(broker)
    client.send(wrong)
    client.expect_refused(code)


ONCE = {
    "Session Expiry Interval": v5.session_expiry(1),
    "Receive Maximum": v5.receive_maximum(1),
    "Maximum Packet Size": v5.maximum_packet_size(1000),
    "Topic Alias Maximum": v5.topic_alias_maximum(1),
    "Request Response Information": v5.request_response_information(1),
    "Request Problem Information": v5.request_problem_information(1),
    "Authentication Method": v5.auth_method("X"),
    "Authentication Data": v5.auth_method("X") + v5.auth_data(b"") + v5.auth_data(b""),
}


@holds("v5 §2.2.2.2", "v5 §3.1.2.11", "v5 [MQTT-3.1.4-1]")
@pytest.mark.parametrize("each", ONCE.values(), ids=ONCE)
def test_properties_that_may_come_once(broker: Broker, each: bytes) -> None:
    """Twice is a protocol error."""
    client = opened(broker)
    client.send(v5.connect("a", each, each))
    client.expect_refused(0x82)


WILL_ONCE = {
    "Will Delay Interval": v5.will_delay(1),
    "Payload Format Indicator": v5.payload_format(1),
    "Message Expiry Interval": v5.message_expiry(1),
    "Content Type": v5.content_type("text/plain"),
    "Response Topic": v5.response_topic("a"),
    "Correlation Data": v5.correlation_data(b"a"),
}


@holds("v5 §3.1.3.2", "v5 [MQTT-3.1.4-1]")
@pytest.mark.parametrize("each", WILL_ONCE.values(), ids=WILL_ONCE)
def test_will_properties_that_may_come_once(broker: Broker, each: bytes) -> None:
    """And so it is with those of the Will."""
    client = opened(broker)
    client.send(v5.connect("a", will=v5.Will("t", properties=(each, each))))
    client.expect_refused(0x82)


@holds("v5 §3.1.2.11", "v5 §3.1.2.11.8")
def test_every_property_of_connect(broker: Broker, name: str) -> None:
    """Everything that may be in a CONNECT, at its largest."""
    everything = (
        v5.session_expiry(0),
        v5.receive_maximum(65535),
        v5.maximum_packet_size(0xFFFF_FFFF),
        v5.topic_alias_maximum(65535),
        v5.request_response_information(1),
        v5.request_problem_information(1),
        v5.user("a", "1"),
        v5.user("a", "1"),
        v5.user("", ""),
    )
    will = v5.Will(name, b"x" * 1000, 2, True, (v5.will_delay(0xFFFF_FFFF), v5.user("a", "b")))
    connected(broker, name, *everything, will=will).leaves()


@holds("v5 [MQTT-3.1.2-28]", "v5 [MQTT-4.12.0-6]")
@pytest.mark.parametrize("each", [(), (v5.request_response_information(0),)])
def test_nothing_that_was_not_asked_for(broker: Broker, each: tuple[bytes, ...]) -> None:
    """No Response Information and no Authentication Method without a question for it."""
    connack = connected(broker, None, *each).connack
    assert connack.says(v5.RESPONSE_INFORMATION) is None
    assert connack.says(v5.AUTH_METHOD) is None


@holds("v5 [MQTT-3.1.4-2]", "v5 [MQTT-3.2.2-7]", "v5 [MQTT-4.13.2-1]")
@pytest.mark.parametrize(
    ("username", "password"), [(None, None), ("alice", b"wrong"), ("nobody", b"secret"), ("alice", None)]
)
def test_not_authorised(guarded: Broker, name: str, username: str | None, password: bytes | None) -> None:
    """Who may not come in is told so, and no more."""
    client = opened(guarded)
    client.send(v5.connect(name, username=username, password=password))
    answer = client.answer()
    assert (answer.kind, answer.packet_id) == (0x20, 0)
    assert answer.code in (0x86, 0x87)
    client.expect_closed()


@holds("v5 [MQTT-3.1.4-6]")
def test_what_follows_a_refused_connect(guarded: Broker, name: str) -> None:
    """A PUBLISH sent along with a CONNECT that is refused goes nowhere."""
    watcher = connected(guarded, username="alice", password=b"secret")
    watcher.subscribes(("open/" + name, 0))
    client = opened(guarded)
    client.send(v5.connect(name) + v5.publish("open/" + name, b"smuggled"))
    client.expect_refused(0x87)
    watcher.expect_silence()


@holds("v5 [MQTT-3.2.0-1]", "v5 §3.1.4")
def test_what_is_sent_ahead(broker: Broker, name: str) -> None:
    """A client need not wait for its CONNACK; it comes first all the same."""
    client = opened(broker)
    client.send(v5.connect(name) + v5.subscribe(1, (name, 0)) + v5.publish(name, b"x"))
    assert client.answer().kind == 0x20
    client.expect(v5.suback(1, 0), v5.publish(name, b"x"))


@holds("v5 §3.1.2.9")
def test_a_password_without_a_user_name(broker: Broker, name: str) -> None:
    """Version 5 allows it: a token needs no name."""
    connected(broker, name, password=b"token").leaves()


@holds("v5 [MQTT-3.12.4-1]")
def test_pingreq(broker: Broker) -> None:
    """PINGREQ is answered with PINGRESP."""
    connected(broker).ask(b"\xc0\x00", b"\xd0\x00")


# What a broker with limits announces


@holds("v5 [MQTT-3.2.2-9]", "v5 §3.2.2.3", "v5 §3.2.2.3.14")
def test_every_limit_is_announced(narrow: Broker, name: str) -> None:
    """Whatever is less than the standard's default stands in the CONNACK."""
    connack = connected(narrow, name, keep_alive=0).connack
    assert connack.says(v5.RECEIVE_MAXIMUM) == 3
    assert connack.says(v5.MAXIMUM_QOS) == 1
    assert connack.says(v5.RETAIN_AVAILABLE) == 0
    assert connack.says(v5.MAXIMUM_PACKET_SIZE) == 1000
    assert connack.says(v5.TOPIC_ALIAS_MAXIMUM) == 3
    assert connack.says(v5.SERVER_KEEP_ALIVE) == 60


@holds("v5 [MQTT-3.2.2-12]")
def test_will_above_the_maximum_qos(narrow: Broker, name: str) -> None:
    """0x9B, for the Will could never be sent."""
    client = opened(narrow)
    client.send(v5.connect(name, will=v5.Will(name, qos=2)))
    client.expect_refused(0x9B)


@holds("v5 [MQTT-3.2.2-13]")
def test_retained_will_where_nothing_is_retained(narrow: Broker, name: str) -> None:
    """0x9A."""
    client = opened(narrow)
    client.send(v5.connect(name, will=v5.Will(name, retain=True)))
    client.expect_refused(0x9A)


@holds("v5 [MQTT-3.2.2-14]")
def test_retain_where_nothing_is_retained(narrow: Broker, name: str) -> None:
    """A PUBLISH with RETAIN in spite of the CONNACK: 0x9A."""
    client = connected(narrow, name)
    client.send(v5.publish(name, b"x", retain=True))
    client.expect_disconnect(0x9A)


@holds("v5 [MQTT-3.2.2-11]")
@pytest.mark.parametrize("known", [False, True])
def test_publish_above_the_maximum_qos(narrow: Broker, name: str, known: bool) -> None:
    """0x9B, whether or not the client has published to the topic before."""
    watcher, client = subscribed(narrow, (name, 1)), connected(narrow, name)
    if known:
        client.ask(v5.publish(name, b"x", 1, qos=1), v5.puback(1))
        watcher.expect(v5.publish(name, b"x", 1, qos=1))
    client.send(v5.publish(name, b"x", 2, qos=2))
    client.expect_disconnect(0x9B)


@holds("v5 [MQTT-3.2.2-10]", "v5 [MQTT-3.8.4-7]")
def test_subscribing_above_the_maximum_qos(narrow: Broker, name: str) -> None:
    """Is granted, at what there is."""
    connected(narrow, name).ask(v5.subscribe(1, (name, 2), (name + "/a", 1)), v5.suback(1, 1, 1))


@holds("v5 [MQTT-3.2.2-15]", "v5 §3.1.2.11.4")
def test_maximum_packet_size_of_the_server(narrow: Broker, name: str) -> None:
    """Exactly as large as announced is good; a byte more is 0x95."""
    client = subscribed(narrow, (name, 0))
    overhead = len(v5.subscribe(2, (name, 0)))
    fitting = v5.subscribe(2, (name, 0), *(("x" * 93, 0),) * 9)
    assert overhead < len(fitting) < 1000
    client.ask(fitting, v5.suback(2, *(0,) * 10))
    client.send(packet(0x30, text(name) + b"\0" + b"x" * (998 - len(name) - 2 - 1)))
    client.expect_disconnect(0x95)


@holds("v5 [MQTT-3.4.2-1]")
def test_payload_above_the_limit(narrow: Broker, name: str) -> None:
    """A PUBLISH with too large a payload is refused, with a code that a PUBACK may have."""
    client = connected(narrow, name)
    client.send(v5.publish(name, b"x" * 501, 1, qos=1))
    assert client.answer()[:3] == (0x40, 1, (0x97,))
    client.ask(v5.publish(name, b"x" * 500, 2, qos=1), v5.puback(2, 0x10))


# Taking over


@holds("v5 [MQTT-3.1.4-3]", "v5 [MQTT-3.14.4-2]", "v5 [MQTT-3.1.3-2]")
@pytest.mark.parametrize("clean", [True, False])
def test_taking_over(broker: Broker, name: str, clean: bool) -> None:
    """The same client id again: the older connection is told, and ends."""
    old = connected(broker, name)
    new = connected(broker, name, clean=clean)
    old.expect_disconnect(0x8E)
    new.expect_silence()


@holds("v5 [MQTT-3.1.4-3]", "v3 [MQTT-3.1.4-2]")
def test_taking_over_across_versions(broker: Broker, name: str) -> None:
    """Client ids are the same in all versions; a 3.1.1 client cannot be told why."""
    old = connected(broker, name)
    middle = broker.client(name)
    old.expect_disconnect(0x8E)
    connected(broker, name)
    middle.expect_closed()


@holds("v5 [MQTT-4.1.0-1]")
def test_a_session_lasts_as_long_as_its_connection(broker: Broker, name: str) -> None:
    """Without an expiry, too: what is subscribed stays."""
    client = subscribed(broker, (name, 1))
    for number in range(1, 4):
        publishes(broker, name, b"x", qos=1)
        client.expect(v5.publish(name, b"x", number, qos=1))
        client.send(v5.puback(number))
