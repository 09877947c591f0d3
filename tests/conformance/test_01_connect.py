"""v3 §3.1, §3.2: CONNECT, and what it is answered with."""

from __future__ import annotations

import pytest

from tests.conformance import packets
from tests.conformance.harness import Broker, unique
from tests.conformance.packets import ACCEPTED, PINGREQ, PINGRESP, V3_1_1, connack, connect, packet, text
from tests.conformance.statements import holds


@holds(
    "v3 [MQTT-3.1.4-4]", "v3 [MQTT-3.2.0-1]", "v3 [MQTT-3.2.2-1]", "v3 [MQTT-7.0.0-2]", "v3 [MQTT-7.1.1-1]"
)
def test_connect_is_accepted(broker: Broker) -> None:
    """A client that connects by the book is welcome, and is told so first of all."""
    client = broker.open()
    client.ask(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc", b"\x20\x02\x00\x00")
    client.leave()


@holds("v3 [MQTT-3.1.3-5]", "v3 [MQTT-3.1.3-3]")
@pytest.mark.parametrize(
    "client_id", ["a", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ"]
)
def test_short_alphanumeric_client_ids_are_accepted(broker: Broker, client_id: str) -> None:
    """Every client id that the standard promises to portable clients works."""
    broker.client(client_id).leave()


@holds("mosquitto: client ids of any length and any characters")
@pytest.mark.parametrize("client_id", ["x" * 24, "x" * 65535, "a/b +#$ é", "\ufeffid"])
def test_other_client_ids_are_accepted(broker: Broker, client_id: str) -> None:
    """Longer client ids than 23 bytes, and other characters, are in use everywhere."""
    broker.client(client_id).leave()


@holds("v3 [MQTT-3.1.3-6]")
def test_clients_without_an_id_get_one_each(broker: Broker) -> None:
    """Two clients that leave their id to the broker do not throw each other out."""
    first, second = broker.open(), broker.open()
    first.ask(connect(""), ACCEPTED)
    second.ask(connect(""), ACCEPTED)
    first.expect_silence()
    second.leave()
    first.leave()


@holds("v3 [MQTT-3.1.3-8]", "v3 [MQTT-3.1.3-7]", "v3 [MQTT-3.2.2-4]", "v3 [MQTT-3.2.2-5]")
def test_no_client_id_and_a_session_to_keep(broker: Broker) -> None:
    """A session cannot be kept for nobody: return code 2."""
    client = broker.open()
    client.ask(connect("", clean=False), connack(2))
    client.expect_closed()


@holds("v3 [MQTT-3.1.3-9]")
def test_no_client_id_where_one_is_wanted(tight: Broker) -> None:
    """allow_zero_length_clientid false: return code 2."""
    client = tight.open()
    client.ask(connect(""), connack(2))
    client.expect_closed()


@holds("v3 [MQTT-3.1.2-2]")
@pytest.mark.parametrize("level", [0, 1, 2, 3, 6, 127])
def test_unsupported_level(broker: Broker, level: int) -> None:
    """A protocol level that is not served is answered with return code 1."""
    client = broker.open()
    client.ask(connect("c", protocol=text("MQTT") + bytes((level,))), connack(1))
    client.expect_closed()


@holds("v3 [MQTT-3.1.2-1]", "v3 [MQTT-3.2.2-6]")
@pytest.mark.parametrize("name", ["MQTt", "mqtt", "MQTTT", "HTTP", "", "MQTT\u0041\u0300"])
def test_another_protocol(broker: Broker, name: str) -> None:
    """Whoever speaks another protocol is not answered in this one."""
    client = broker.open()
    client.send(connect("c", protocol=text(name) + b"\x04"))
    client.expect_closed()


@holds("v3 [MQTT-3.1.2-3]")
def test_reserved_connect_flag(broker: Broker) -> None:
    """The reserved bit of the connect flags must be 0."""
    client = broker.open()
    client.send(packet(0x10, V3_1_1 + b"\x03\x00\x00" + text("c")))
    client.expect_closed()


MALFORMED = {
    "nothing at all": b"",
    "a level is missing": b"\x00\x04MQTT",
    "flags are missing": V3_1_1,
    "keep alive is cut": V3_1_1 + b"\x02\x00",
    "no client id": V3_1_1 + b"\x02\x00\x00",
    "the client id is cut": V3_1_1 + b"\x02\x00\x00\x00\x05abc",
    "more than there should be": V3_1_1 + b"\x02\x00\x00" + text("c") + b"\x00",
    "a will without its fields": V3_1_1 + b"\x06\x00\x00" + text("c"),
    "a will without a message": V3_1_1 + b"\x06\x00\x00" + text("c") + text("t"),
    "a will of QoS 3": V3_1_1 + b"\x1e\x00\x00" + text("c") + text("t") + text("m"),
    "a will's QoS without a will": V3_1_1 + b"\x0a\x00\x00" + text("c"),
    "a will's retain without a will": V3_1_1 + b"\x22\x00\x00" + text("c"),
    "a will's fields without a will": V3_1_1 + b"\x02\x00\x00" + text("c") + text("t") + text("m"),
    "a will to a wildcard": V3_1_1 + b"\x06\x00\x00" + text("c") + text("t/#") + text("m"),
    "a will to no topic": V3_1_1 + b"\x06\x00\x00" + text("c") + text("") + text("m"),
    "a user name's flag without one": V3_1_1 + b"\x82\x00\x00" + text("c"),
    "a user name without its flag": V3_1_1 + b"\x02\x00\x00" + text("c") + text("user"),
    "a password's flag without one": V3_1_1 + b"\xc2\x00\x00" + text("c") + text("user"),
    "a password without its flag": V3_1_1 + b"\x82\x00\x00" + text("c") + text("user") + text("pw"),
    "a password without a user name": V3_1_1 + b"\x42\x00\x00" + text("c") + text("pw"),
    "a client id that is no UTF-8": V3_1_1 + b"\x02\x00\x00" + text(b"\xff"),
    "a client id with U+0000": V3_1_1 + b"\x02\x00\x00" + text("a\0"),
    "a will topic that is no UTF-8": V3_1_1 + b"\x06\x00\x00" + text("c") + text(b"\xc0\x80") + text("m"),
    "a user name that is no UTF-8": V3_1_1 + b"\x82\x00\x00" + text("c") + text(b"\xed\xa0\x80"),
}


@holds(
    "v3 [MQTT-3.1.4-1]",
    "v3 [MQTT-3.1.2-9]",
    "v3 [MQTT-3.1.2-11]",
    "v3 [MQTT-3.1.2-13]",
    "v3 [MQTT-3.1.2-14]",
    "v3 [MQTT-3.1.2-15]",
    "v3 [MQTT-3.1.2-18]",
    "v3 [MQTT-3.1.2-19]",
    "v3 [MQTT-3.1.2-20]",
    "v3 [MQTT-3.1.2-21]",
    "v3 [MQTT-3.1.2-22]",
    "v3 [MQTT-3.1.3-1]",
    "v3 [MQTT-3.1.3-4]",
    "v3 [MQTT-3.1.3-10]",
    "v3 [MQTT-3.1.3-11]",
)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_malformed_connect(broker: Broker, body: bytes) -> None:
    """A CONNECT that breaks a rule gets no answer, only an end."""
    client = broker.open()
    client.send(packet(0x10, body))
    client.expect_closed()


@holds("v3 [MQTT-2.2.2-2]", "v3 [MQTT-3.1.0-1]")
@pytest.mark.parametrize(
    "first", [first for first in range(0, 256, 16) if first != 0x10] + [*range(0x11, 0x20)]
)
def test_anything_but_connect_first(broker: Broker, first: int) -> None:
    """Whoever does not begin with CONNECT is not talked to."""
    client = broker.open()
    client.send(packet(first | (2 if first >> 4 in (6, 8, 10) else 0), b"\x00\x01\x00\x01a\x00"))
    client.expect_closed()


@holds("v3 [MQTT-3.1.0-1]", "v3 [MQTT-4.8.0-1]")
@pytest.mark.parametrize(
    "babble", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\xff" * 64, b"\0" * 64]
)
def test_another_language(broker: Broker, babble: bytes) -> None:
    """A browser, a TLS client or noise on the port is shown the door."""
    client = broker.open()
    client.send(babble)
    client.expect_closed()


@holds("v3 [MQTT-3.1.0-1]")
def test_connect_with_an_endless_length(broker: Broker) -> None:
    """A Remaining Length of more than four bytes is no number."""
    client = broker.open()
    client.send(b"\x10\xff\xff\xff\xff\x01")
    client.expect_closed()


@holds("v3 [MQTT-3.1.0-2]")
def test_second_connect(broker: Broker, name: str) -> None:
    """One CONNECT is enough."""
    client = broker.client(name)
    client.send(connect(name))
    client.expect_closed()


@holds("v3 [MQTT-3.1.0-2]")
def test_second_connect_right_behind_the_first(broker: Broker, name: str) -> None:
    """Also when both came together."""
    client = broker.open()
    client.ask(connect(name) + connect(name), ACCEPTED)
    client.expect_closed()


@holds("v3 [MQTT-3.1.4-5]")
def test_what_follows_a_refused_connect_is_ignored(broker: Broker, name: str) -> None:
    """Who is refused cannot publish, however fast."""
    watcher = broker.client(None, (name, 0))
    client = broker.open()
    client.ask(connect("", clean=False) + packets.publish(name, b"sneaked in") + PINGREQ, connack(2))
    client.expect_closed()
    watcher.expect_silence()


@holds("v3 §3.1.4")
def test_pipelining(broker: Broker, name: str) -> None:
    """Clients need not wait: everything may come in one segment, and is answered in order."""
    client = broker.open()
    client.send(
        connect(name)
        + packets.subscribe(1, (name, 1))
        + packets.publish(name, b"hello", 7, qos=1)
        + PINGREQ
        + packets.DISCONNECT
    )
    client.expect(ACCEPTED, packets.suback(1, 1))
    client.expect_in_any_order(packets.publish(name, b"hello", 1, qos=1), packets.puback(7), PINGRESP)
    client.expect_closed()


@holds("v3 §3.1")
def test_connect_that_never_comes(tight: Broker) -> None:
    """A connection on which nothing is said is closed when connect_timeout is over."""
    client = tight.open()
    client.expect_closed()


@holds("v3 §3.1")
def test_connect_that_never_ends(tight: Broker) -> None:
    """Half a CONNECT does not count as one."""
    client = tight.open()
    client.send(connect(unique())[:-1])
    client.expect_closed()


@holds("mosquitto: max_keepalive rejects longer ones with return code 2", "v3 [MQTT-3.2.2-5]")
@pytest.mark.parametrize("keep_alive", [0, 61, 65535])
def test_keep_alive_above_the_limit(tight: Broker, keep_alive: int) -> None:
    """max_keepalive cannot be told to a 3.1.1 client, so it is turned away."""
    client = tight.open()
    client.ask(connect(unique(), keep_alive=keep_alive), connack(2))
    client.expect_closed()


@holds("mosquitto: max_keepalive rejects longer ones with return code 2")
def test_keep_alive_at_the_limit(tight: Broker) -> None:
    """max_keepalive itself is fine."""
    client = tight.open()
    client.ask(connect(unique(), keep_alive=60), ACCEPTED)
    client.leave()
