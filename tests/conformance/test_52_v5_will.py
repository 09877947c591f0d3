"""v5 §3.1.2.5, §3.1.3.2: the Will, its delay and its properties."""

from __future__ import annotations

import pytest

from tests.conformance import v5_packets as v5
from tests.conformance.harness import Broker
from tests.conformance.statements import holds
from tests.conformance.v5_client import Client, connected, pause, retained, subscribed, unretains


def mortal(
    broker: Broker, topic: str, delay: int = 0, *, expiry: int = 30, client_id: str | None = None
) -> Client:
    """A client with the Will "gone"."""
    properties = (v5.will_delay(delay),) if delay else ()
    will = v5.Will(topic, properties=properties)
    return connected(broker, client_id, v5.session_expiry(expiry), will=will)


@holds("v5 [MQTT-3.1.2-7]", "v5 [MQTT-3.1.2-8]", "v5 [MQTT-3.1.2-14]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_will(broker: Broker, name: str, qos: int) -> None:
    """Sent at once when there is no delay, at its QoS, and not retained."""
    watcher = subscribed(broker, (name, 2))
    connected(broker, will=v5.Will(name, qos=qos)).drop()
    watcher.expect(v5.publish(name, b"gone", 1, qos=qos))
    assert retained(broker, name) == []


@holds("v5 [MQTT-3.1.2-15]")
def test_retained_will(broker: Broker, name: str) -> None:
    """With Will Retain, it is there for later subscribers."""
    watcher = subscribed(broker, (name, 0))
    connected(broker, will=v5.Will(name, retain=True)).drop()
    watcher.expect(v5.publish(name, b"gone"))
    (message,) = retained(broker, name)
    assert (message.payload, message.retain) == (b"gone", True)
    unretains(broker, name)


@holds("v5 [MQTT-3.1.2-10]", "v5 [MQTT-3.14.4-3]")
def test_no_will_after_a_farewell(broker: Broker, name: str) -> None:
    """DISCONNECT 0x00 discards it."""
    watcher = subscribed(broker, (name, 0))
    mortal(broker, name).leaves()
    mortal(broker, name).leaves(0, v5.user("why", "done"))
    watcher.expect_silence()


@holds("v5 [MQTT-3.1.2-8]", "v5 [MQTT-3.14.2-1]", "v5 §3.14.2.1")
@pytest.mark.parametrize("code", [0x04, 0x80, 0x81, 0x93])
def test_will_after_another_farewell(broker: Broker, name: str, code: int) -> None:
    """Only 0x00 does: 0x04 asks for the Will, and an error is no reason to keep silent."""
    watcher = subscribed(broker, (name, 0))
    mortal(broker, name).leaves(code)
    watcher.expect(v5.publish(name, b"gone"))


@holds("v5 [MQTT-3.1.2-8]", "v5 [MQTT-4.13.1-1]")
@pytest.mark.parametrize("violation", [b"\x36\x00", b"\xe1\x00", b"\x82\x00", v5.connect("a")])
def test_will_after_a_violation(broker: Broker, name: str, violation: bytes) -> None:
    """Who is thrown out has the Will published."""
    watcher = subscribed(broker, (name, 0))
    mortal(broker, name).send(violation)
    watcher.expect(v5.publish(name, b"gone"))


@holds("v5 §3.14.2.2.2", "v5 [MQTT-3.1.2-8]")
def test_will_after_a_farewell_that_breaks_a_rule(broker: Broker, name: str) -> None:
    """A DISCONNECT that is a protocol error is no farewell."""
    watcher = subscribed(broker, (name, 0))
    client = mortal(broker, name, expiry=0)
    client.send(v5.disconnect(0, v5.session_expiry(10)))
    client.expect_disconnect(0x82)
    watcher.expect(v5.publish(name, b"gone"))


@holds("v5 [MQTT-3.1.2-8]", "v5 §3.1.3.2.2")
@pytest.mark.parametrize("code", [None, 0x04])
def test_will_delay(broker: Broker, name: str, code: int | None) -> None:
    """A Will with a delay of a second comes after one second, and before two."""
    watcher = subscribed(broker, (name, 0))
    client = mortal(broker, name, 1)
    client.drop() if code is None else client.leaves(code)
    pause(0.95)
    watcher.expect_silence()
    pause(0.95)
    assert watcher.payloads() == [b"gone"]


@holds("v5 [MQTT-3.1.3-9]")
@pytest.mark.parametrize("taken_over", [False, True])
def test_coming_back_in_time(broker: Broker, name: str, taken_over: bool) -> None:
    """A client that comes back during the delay has no Will sent."""
    watcher = subscribed(broker, (name, 0))
    client = mortal(broker, name, 1, client_id=name)
    if not taken_over:
        client.drop()
    back = connected(broker, name, v5.session_expiry(30), clean=False)
    pause(1.8)
    watcher.expect_silence()
    back.leaves(0, v5.session_expiry(0))


@holds("v5 [MQTT-3.1.3-9]", "v5 §3.1.3.2.2")
def test_the_delay_begins_anew(broker: Broker, name: str) -> None:
    """A client that came back and goes away again has its new Will delayed in full."""
    watcher = subscribed(broker, (name, 0))
    mortal(broker, name, 1, client_id=name).drop()
    pause(0.6)
    will = v5.Will(name, b"second", properties=(v5.will_delay(2),))
    connected(broker, name, v5.session_expiry(30), clean=False, will=will).drop()
    pause(1.4)
    watcher.expect_silence()
    pause(1.4)
    assert watcher.payloads() == [b"second"]


@holds("v5 [MQTT-3.1.2-8]", "v5 §3.1.3.2.2")
@pytest.mark.parametrize("expiry", [0, 1])
def test_the_session_ends_first(broker: Broker, name: str, expiry: int) -> None:
    """A Will waits no longer than its session lasts."""
    watcher = subscribed(broker, (name, 0))
    mortal(broker, name, 30, expiry=expiry).drop()
    if expiry:
        pause(0.9)
        watcher.expect_silence()
        pause(0.9)
    watcher.expect(v5.publish(name, b"gone"))


@holds("v5 [MQTT-3.1.2-8]", "v5 §3.1.4")
def test_clean_start_ends_the_wait(broker: Broker, name: str) -> None:
    """Clean Start ends the session, and so the Will that waits is sent."""
    watcher = subscribed(broker, (name, 0))
    mortal(broker, name, 30, client_id=name).drop()
    watcher.expect_silence()
    connected(broker, name)
    watcher.expect(v5.publish(name, b"gone"))


PASSED_ON = (
    v5.payload_format(1),
    v5.content_type("text/plain"),
    v5.response_topic("answer/here"),
    v5.correlation_data(b"\x00\xff"),
    v5.user("b", "2"),
    v5.user("a", "1"),
    v5.user("b", "2"),
)


@holds("v5 [MQTT-3.1.3-10]", "v5 [MQTT-3.3.2-18]", "v5 §3.1.3.2")
def test_will_properties(broker: Broker, name: str) -> None:
    """They are passed on, the delay aside."""
    watcher = subscribed(broker, (name, 0))
    will = v5.Will(name, properties=(v5.will_delay(0), *PASSED_ON))
    connected(broker, will=will).drop()
    watcher.expect(v5.publish(name, b"gone", 0, *PASSED_ON))


@holds("v5 §3.1.3.2.4")
def test_will_expiry(broker: Broker, name: str) -> None:
    """Its Message Expiry Interval counts from when it is published."""
    will = v5.Will(name, retain=True, properties=(v5.message_expiry(1),))
    client = connected(broker, will=will)
    pause(1.3)
    client.drop()
    pause(0.3)
    (message,) = retained(broker, name)
    assert message.says(v5.MESSAGE_EXPIRY) in ([1], [0])
    pause(1.5)
    assert retained(broker, name) == []


@holds("v5 §3.1.3.2", "v3 [MQTT-3.1.2-8]")
def test_wills_across_versions(broker: Broker, name: str) -> None:
    """A 3.1.1 client sees the Will of a 5.0 client, without its properties, and the reverse."""
    new = subscribed(broker, (name, 0))
    old = broker.client(None, (name, 0))
    connected(broker, will=v5.Will(name, properties=PASSED_ON)).drop()
    new.expect(v5.publish(name, b"gone", 0, *PASSED_ON))
    assert old.packet()[-4:] == b"gone"


@holds("v5 §3.1.3.2")
def test_will_without_permission(guarded: Broker, name: str) -> None:
    """Access rules hold for Wills as for any PUBLISH."""
    watcher = connected(guarded, username="alice", password=b"secret")
    watcher.subscribes(("read/#", 0), ("open/" + name, 0))
    for topic in ("read/" + name, "open/" + name):
        connected(guarded, username="alice", password=b"secret", will=v5.Will(topic)).drop()
    assert watcher.next_payload() == b"gone"
    watcher.expect_silence()
