"""v5 §3.1.2.4, §3.1.2.11.2, §4.1: sessions, and when they end."""

from __future__ import annotations

import pytest

from tests.conformance import v5_packets as v5
from tests.conformance.harness import Broker
from tests.conformance.statements import holds
from tests.conformance.v5_client import connected, forgets, kept, pause, publishes, resumed


@holds("v5 [MQTT-3.1.2-6]", "v5 [MQTT-3.2.2-3]", "v5 [MQTT-3.1.2-5]", "v5 [MQTT-3.1.2-23]")
def test_resuming(broker: Broker, name: str) -> None:
    """A session with an expiry is there when its client comes back, with what it subscribed to."""
    first = connected(broker, name, v5.session_expiry(60), clean=False)
    assert first.connack.packet_id == 0
    first.subscribes((name, 1))
    first.leaves()
    publishes(broker, name, b"missed", qos=1)
    again = resumed(broker, name)
    assert again.next_payload() == b"missed"
    again.leaves()
    forgets(broker, name)


@holds("v5 [MQTT-3.1.2-4]", "v5 [MQTT-3.1.4-4]", "v5 [MQTT-3.2.2-2]")
def test_clean_start(broker: Broker, name: str) -> None:
    """Clean Start drops the session, whatever waits for it."""
    kept(broker, name, (name, 1)).leaves()
    publishes(broker, name, b"dropped", qos=1)
    client = connected(broker, name, v5.session_expiry(60))
    assert client.connack.packet_id == 0
    publishes(broker, name, b"x", qos=1)
    client.expect_silence()
    client.leaves()
    forgets(broker, name)


@holds("v5 [MQTT-4.1.0-2]", "v5 [MQTT-3.2.2-3]")
@pytest.mark.parametrize("properties", [(), (v5.session_expiry(0),)])
def test_expiry_0(broker: Broker, name: str, properties: tuple[bytes, ...]) -> None:
    """Without an expiry the session ends with its connection, Clean Start or not."""
    client = connected(broker, name, *properties, clean=False)
    client.subscribes((name, 1))
    client.leaves()
    again = connected(broker, name, clean=False)
    assert again.connack.packet_id == 0
    publishes(broker, name, b"x", qos=1)
    again.expect_silence()


@holds("v5 [MQTT-4.1.0-2]")
def test_expiry_0_and_taking_over(broker: Broker, name: str) -> None:
    """Being taken over is an end, too."""
    connected(broker, name).subscribes((name, 1))
    assert connected(broker, name, clean=False).connack.packet_id == 0


@holds("v5 [MQTT-3.1.2-23]", "v5 [MQTT-4.1.0-2]", "v5 §3.1.2.11.2")
@pytest.mark.parametrize("farewell", [True, False])
def test_expiry_of_a_second(broker: Broker, name: str, farewell: bool) -> None:
    """A session is kept for its second, and not for two; it does not matter how the client went away."""
    for client_id in (name + "/short", name + "/long"):
        client = kept(broker, client_id, (name, 1), expiry=1)
        client.leaves() if farewell else client.drop()
    pause(0.95)
    resumed(broker, name + "/short", expiry=0).leaves()
    pause(1.05)
    assert connected(broker, name + "/long", clean=False).connack.packet_id == 0


@holds("v5 §3.1.2.11.2")
def test_expiry_counts_from_the_end_of_the_connection(broker: Broker, name: str) -> None:
    """It does not run while the client is there."""
    client = kept(broker, name, expiry=1)
    pause(1.8)
    client.leaves()
    resumed(broker, name, expiry=0).leaves()


@holds("v5 §3.1.2.11.2")
def test_expiry_is_that_of_the_last_connect(broker: Broker, name: str) -> None:
    """Each CONNECT says anew how long the session is kept."""
    kept(broker, name, expiry=1).leaves()
    resumed(broker, name, expiry=v5.NEVER).leaves()
    pause(1.8)
    resumed(broker, name, expiry=1).leaves()
    pause(1.8)
    assert connected(broker, name, clean=False).connack.packet_id == 0


@holds("v5 §3.14.2.2.2")
def test_expiry_changed_at_the_end(broker: Broker, name: str) -> None:
    """DISCONNECT may say otherwise: at once, after a second, or never."""
    for client_id, seconds in ((name + "/0", 0), (name + "/1", 1), (name + "/never", v5.NEVER)):
        kept(broker, client_id, expiry=30).leaves(0, v5.session_expiry(seconds))
    assert connected(broker, name + "/0", clean=False).connack.packet_id == 0
    pause(1.8)
    assert connected(broker, name + "/1", clean=False).connack.packet_id == 0
    resumed(broker, name + "/never", expiry=0).leaves()


@holds("v5 §3.14.2.2.2", "v5 [MQTT-4.13.1-1]")
def test_expiry_from_nothing_at_the_end(broker: Broker, name: str) -> None:
    """A session that was to end with its connection cannot be kept after all."""
    client = connected(broker, name)
    client.send(v5.disconnect(0, v5.session_expiry(10)))
    client.expect_disconnect(0x82)
    assert connected(broker, name, clean=False).connack.packet_id == 0


@holds("v5 §3.14.2.2.2")
def test_expiry_0_at_the_end_of_a_session_without(broker: Broker, name: str) -> None:
    """Saying 0 again is no change."""
    connected(broker, name).leaves(0, v5.session_expiry(0))


@holds("v5 [MQTT-4.5.0-1]", "v5 [MQTT-3.1.2-23]")
def test_what_a_session_keeps(broker: Broker, name: str) -> None:
    """QoS 1 and 2, not QoS 0, of every subscription, in their order."""
    kept(broker, name, (name + "/a", 2), (name + "/b", 1), (name + "/c", 0)).leaves()
    for number in range(9):
        publishes(broker, f"{name}/{'abc'[number % 3]}", b"%d" % number, qos=number // 3)
    client = resumed(broker, name)
    assert client.payloads() == [b"3", b"4", b"6", b"7"]
    client.leaves()
    forgets(broker, name)


@holds("v5 [MQTT-3.1.3-2]", "v3 [MQTT-3.1.2-4]")
def test_a_session_changes_its_version(broker: Broker, name: str) -> None:
    """What a 3.1.1 client subscribed to, it has after its update to version 5, and back."""
    old = broker.session(name, (name, 1))
    old.leave()
    publishes(broker, name, b"1", v5.user("a", "b"), qos=1)
    new = resumed(broker, name)
    message = new.message()
    assert (message.payload, message.says(v5.USER)) == (b"1", [("a", "b")])
    new.send(v5.puback(message.packet_id))
    new.leaves()
    publishes(broker, name, b"2", v5.user("a", "b"), qos=1)
    old = broker.resumed(name)
    assert old.packet()[-1:] == b"2"
    old.leave()
    broker.forgets(name)
