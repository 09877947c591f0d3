"""v3 §3.1.2.5: the Will, published for a client that cannot say goodbye."""

from __future__ import annotations

import pytest

from tests.conformance import packets
from tests.conformance.harness import Broker, RawClient, unique
from tests.conformance.packets import ACCEPTED, connect, publish
from tests.conformance.statements import holds


def mortal(
    broker: Broker, topic: str, *, qos: int = 0, retain: bool = False, client_id: str = ""
) -> RawClient:
    """A client with the Will "gone"."""
    client = broker.open()
    client.ask(connect(client_id or unique(), will=(topic, b"gone", qos, retain)), ACCEPTED)
    return client


@holds("v3 [MQTT-3.1.2-8]", "v3 [MQTT-3.1.2-16]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_will_of_a_broken_connection(broker: Broker, name: str, qos: int) -> None:
    """The Will of a client that vanishes is published, at its QoS, and is not retained."""
    watcher = broker.client(None, (name, 2))
    mortal(broker, name, qos=qos).drop()
    watcher.expect(publish(name, b"gone", 1, qos=qos))
    assert broker.retained(name) == []


@holds("v3 [MQTT-3.1.2-17]", "v3 [MQTT-3.3.1-9]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_will(broker: Broker, name: str, qos: int) -> None:
    """With Will Retain it is also there for those who subscribe later."""
    watcher = broker.client(None, (name, 2))
    mortal(broker, name, qos=qos, retain=True).drop()
    watcher.expect(publish(name, b"gone", 1, qos=qos))
    assert broker.retained(name) == [publish(name, b"gone", 1, qos=qos, retain=True)]


@holds("v3 [MQTT-3.14.4-3]", "v3 [MQTT-3.1.2-10]")
def test_no_will_after_disconnect(broker: Broker, name: str) -> None:
    """Who says goodbye leaves no Will."""
    watcher = broker.client(None, (name, 0))
    mortal(broker, name).leave()
    watcher.expect_silence()


@holds("v3 [MQTT-3.1.2-8]", "v3 §3.1.2.5")
@pytest.mark.parametrize("violation", [b"\x36\x00", packets.ACCEPTED, b"\xf0\x00", b"\x82\x00"])
def test_will_after_a_violation(broker: Broker, name: str, violation: bytes) -> None:
    """A client that is thrown out for breaking the protocol has its Will published."""
    watcher = broker.client(None, (name, 0))
    client = mortal(broker, name)
    client.send(violation)
    client.expect_closed()
    watcher.expect(publish(name, b"gone"))


@holds("v3 [MQTT-3.1.2-8]")
def test_will_of_a_client_that_is_taken_over(broker: Broker, name: str) -> None:
    """Taking over closes the older connection without DISCONNECT, so its Will is published."""
    watcher = broker.client(None, (name, 0))
    old = mortal(broker, name, client_id=name)
    broker.client(name)
    old.expect_closed()
    watcher.expect(publish(name, b"gone"))


@holds("v3 [MQTT-3.14.1-1]", "v3 [MQTT-3.1.2-8]")
def test_will_after_an_invalid_disconnect(broker: Broker, name: str) -> None:
    """A DISCONNECT with reserved bits set is none."""
    watcher = broker.client(None, (name, 0))
    client = mortal(broker, name)
    client.send(b"\xe1\x00")
    client.expect_closed()
    watcher.expect(publish(name, b"gone"))


@holds("v3 [MQTT-3.1.2-12]")
def test_no_will_no_message(broker: Broker, name: str) -> None:
    """Without a Will nothing is published, also when an earlier connection of this client had one."""
    watcher = broker.client(None, (name, 0))
    mortal(broker, name, client_id=name).leave()
    broker.client(name).drop()
    broker.client(name).leave()
    watcher.expect_silence()


@holds("v3 [MQTT-3.1.2-10]")
def test_will_is_published_once(broker: Broker, name: str) -> None:
    """The Will belongs to the connection: it does not come again when the session is resumed and broken."""
    watcher = broker.client(None, (name, 0))
    client = broker.open()
    client.ask(connect(name, clean=False, will=(name, b"gone", 0, False)), ACCEPTED)
    client.drop()
    watcher.expect(publish(name, b"gone"))
    broker.resumed(name).drop()
    broker.forgets(name)
    watcher.expect_silence()


@holds("v3 §3.1.3.3")
def test_empty_will(broker: Broker, name: str) -> None:
    """A Will of no bytes is a message of no bytes."""
    watcher = broker.client(None, (name, 1))
    client = broker.open()
    client.ask(connect(unique(), will=(name, b"", 1, False)), ACCEPTED)
    client.drop()
    watcher.expect(publish(name, b"", 1, qos=1))


@holds("v3 [MQTT-3.3.1-10]", "v3 [MQTT-3.3.1-11]")
def test_empty_retained_will_clears(broker: Broker, name: str) -> None:
    """A retained Will of no bytes clears what is retained."""
    broker.publishes(name, b"alive", retain=True)
    watcher = broker.client(None, (name, 0))
    watcher.expect(publish(name, b"alive", retain=True))
    client = broker.open()
    client.ask(connect(unique(), will=(name, b"", 0, True)), ACCEPTED)
    client.drop()
    watcher.expect(publish(name, b""))
    assert broker.retained(name) == []


@holds("v3 §3.1.3.3")
def test_large_will(broker: Broker, name: str) -> None:
    """The Will may be as long as its length can say."""
    watcher = broker.client(None, (name, 0))
    payload = bytes(range(256)) * 255
    client = broker.open()
    client.ask(connect(unique(), will=(name, payload, 0, False)), ACCEPTED)
    client.drop()
    watcher.expect(publish(name, payload))


@holds("v3 [MQTT-3.1.2-8]", "v3 [MQTT-3.1.2-6]")
def test_client_does_not_get_its_own_will(broker: Broker, name: str) -> None:
    """A clean session is over before its Will is published; a kept one gets it when it is back."""
    client = broker.open()
    client.ask(connect(name, clean=False, will=(name, b"gone", 1, False)), ACCEPTED)
    client.subscribe((name, 1))
    watcher = broker.client(None, (name, 0))
    client.drop()
    watcher.expect(publish(name, b"gone"))
    broker.resumed(name).expect(publish(name, b"gone", 1, qos=1))
    broker.forgets(name)


@holds("v3 [MQTT-3.2.2-5]", "v3 §3.1.2.5")
def test_no_will_of_a_refused_client(broker: Broker, name: str) -> None:
    """Who was not let in leaves nothing behind."""
    watcher = broker.client(None, (name, 0))
    client = broker.open()
    client.ask(connect("", clean=False, will=(name, b"gone", 0, False)), packets.connack(2))
    client.expect_closed()
    watcher.expect_silence()


@holds("mosquitto: retain_available false refuses retained Wills")
def test_retained_will_where_nothing_is_retained(tight: Broker, name: str) -> None:
    """A Will that could not be kept is refused at once, without a return code that would fit."""
    client = tight.open()
    client.send(connect(name, keep_alive=9, will=(name, b"gone", 0, True)))
    assert client.packet() in (b"", packets.connack(5), packets.connack(3))
    client.expect_closed()
