"""MQTT 3.1, which many devices still speak: the protocol called MQIsdp, level 3."""

from __future__ import annotations

import pytest

from tests.conformance import packets
from tests.conformance.harness import Broker, RawClient, unique
from tests.conformance.packets import (
    ACCEPTED,
    PINGREQ,
    PINGRESP,
    V3_1,
    connack,
    connect,
    packet,
    publish,
    text,
)
from tests.conformance.statements import holds


def old_client(broker: Broker, client_id: str = "", *, clean: bool = True) -> RawClient:
    """A client of MQTT 3.1."""
    client = broker.open()
    client.ask(connect(client_id or unique(), clean=clean, protocol=V3_1), ACCEPTED)
    return client


@holds("3.1 §3.1")
def test_connect(broker: Broker) -> None:
    """A 3.1 client is welcome."""
    client = broker.open()
    client.ask(b"\x10\x11\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03old", b"\x20\x02\x00\x00")
    client.ask(PINGREQ, PINGRESP)
    client.leave()


@holds("3.1 §3.1")
@pytest.mark.parametrize("level", [0, 1, 2, 4, 5])
def test_unsupported_level(broker: Broker, level: int) -> None:
    """Under this name there is level 3 only; others get return code 1."""
    client = broker.open()
    client.ask(connect("c", protocol=text("MQIsdp") + bytes((level,))), connack(1))
    client.expect_closed()


@holds("3.1 §3.1")
@pytest.mark.parametrize("clean", [True, False])
def test_no_client_id(broker: Broker, clean: bool) -> None:
    """In 3.1 a client must have an id: return code 2."""
    client = broker.open()
    client.ask(connect("", clean=clean, protocol=V3_1), connack(2))
    client.expect_closed()


@holds("3.1 §3.1", "mosquitto: client ids of any length and any characters")
@pytest.mark.parametrize("length", [1, 23, 24, 200])
def test_client_ids(broker: Broker, length: int) -> None:
    """3.1 wants at most 23 characters; devices in the field do not care, and are let in."""
    old_client(broker, "o" * length).leave()


@holds("3.1 §3.2")
def test_no_session_present(broker: Broker, name: str) -> None:
    """CONNACK of 3.1 has a reserved byte for Session Present; a kept session works all the same."""
    client = old_client(broker, name, clean=False)
    client.subscribe((name, 1))
    client.leave()
    broker.publishes(name, b"missed", qos=1)
    client = broker.open()
    client.ask(connect(name, clean=False, protocol=V3_1), ACCEPTED)
    client.expect(publish(name, b"missed", 1, qos=1))
    broker.forgets(name)


@holds("3.1 §3.1")
def test_credentials_may_be_left_out(broker: Broker) -> None:
    """3.1 lets a client set the flags for user name and password, and send neither."""
    client = broker.open()
    client.ask(packet(0x10, V3_1 + b"\xc2\x00\x00" + text(unique())), ACCEPTED)
    client.leave()


@holds("3.1 §3.8", "3.1 §3.10", "3.1 §3.6")
def test_dup_in_requests(broker: Broker, name: str) -> None:
    """3.1 clients set DUP when they send SUBSCRIBE, UNSUBSCRIBE or PUBREL again."""
    client = old_client(broker)
    for asked, answer in (
        (packets.subscribe(1, (name, 1)), packets.suback(1, 1)),
        (packets.unsubscribe(2, name), packets.unsuback(2)),
        (packets.pubrel(3), packets.pubcomp(3)),
    ):
        client.ask(bytes((asked[0] | 8,)) + asked[1:], answer)


@holds("3.1 §4.1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_versions_talk_to_each_other(broker: Broker, name: str, qos: int) -> None:
    """What a client of one version publishes, one of the other gets."""
    old, new = old_client(broker), broker.client(None, (name, 2))
    old.subscribe((name, 2))
    old_publisher = old_client(broker)
    old_publisher.publishes(name, b"from old", qos=qos)
    broker.publishes(name, b"from new", qos=qos)
    for client in (old, new):
        client.expect(publish(name, b"from old", 1, qos=qos), publish(name, b"from new", 2, qos=qos))


@holds("3.1 §3.1")
def test_take_over_by_another_version(broker: Broker, name: str) -> None:
    """A device whose firmware was updated is the same client."""
    old = old_client(broker, name, clean=False)
    new = broker.resumed(name)
    old.expect_closed()
    new.leave()
    broker.forgets(name)


@holds("3.1 §3.14", "3.1 §3.1")
def test_will(broker: Broker, name: str) -> None:
    """The Will of 3.1 is that of 3.1.1."""
    watcher = broker.client(None, (name, 0))
    for word in (b"", packets.DISCONNECT):
        client = broker.open()
        client.ask(connect(unique(), will=(name, b"gone", 1, False), protocol=V3_1), ACCEPTED)
        client.send(word or b"\xf0\x00")
        client.expect_closed()
    watcher.expect(publish(name, b"gone"))
    watcher.expect_silence()
