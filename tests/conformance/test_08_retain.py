"""v3 §3.3.1.3: retained messages, a topic's last value."""

from __future__ import annotations

import pytest

from tests.conformance.harness import Broker
from tests.conformance.packets import publish, suback, subscribe
from tests.conformance.statements import holds


@holds("v3 [MQTT-3.3.1-5]", "v3 [MQTT-3.3.1-6]", "v3 [MQTT-3.3.1-7]", "v3 [MQTT-3.3.1-8]")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_new_subscriptions_get_it(broker: Broker, name: str, qos: int, granted: int) -> None:
    """Who subscribes gets the last value, marked as retained, at the lower QoS of the two."""
    broker.publishes(name, b"last", qos=qos, retain=True)
    client = broker.client(None, (name, granted))
    client.expect(publish(name, b"last", 1, qos=min(qos, granted), retain=True))
    client.expect_silence()


@holds("v3 [MQTT-3.3.1-9]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_established_subscriptions_see_no_flag(broker: Broker, name: str, qos: int) -> None:
    """For who is subscribed it is a message like any other."""
    client = broker.client(None, (name, 2))
    broker.publishes(name, b"news", qos=qos, retain=True)
    client.expect(publish(name, b"news", 1, qos=qos))


@holds("v3 [MQTT-3.3.1-9]")
def test_queued_messages_see_no_flag(broker: Broker, name: str) -> None:
    """Nor for who is subscribed and away."""
    broker.session(name, (name, 1)).leave()
    broker.publishes(name, b"news", qos=1, retain=True)
    broker.resumed(name).expect(publish(name, b"news", 1, qos=1))
    broker.forgets(name)


@holds("v3 [MQTT-3.3.1-6]", "v3 [MQTT-3.3.1-7]")
def test_the_last_one_counts(broker: Broker, name: str) -> None:
    """Each retained message takes the place of the one before, whatever their QoS."""
    for qos in (2, 1, 0):
        broker.publishes(name, b"%d" % qos, qos=qos, retain=True)
    assert broker.retained(name) == [publish(name, b"0", retain=True)]


@holds("v3 [MQTT-3.3.1-10]", "v3 [MQTT-3.3.1-11]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_empty_message_clears(broker: Broker, name: str, qos: int) -> None:
    """An empty retained message is delivered, and then nothing is retained."""
    broker.publishes(name, b"last", retain=True)
    client = broker.client(None, (name, 2))
    client.expect(publish(name, b"last", retain=True))
    broker.publishes(name, b"", qos=qos, retain=True)
    client.expect(publish(name, b"", 1, qos=qos))
    assert broker.retained(name) == []


@holds("v3 [MQTT-3.3.1-11]")
def test_an_empty_message_where_nothing_was(broker: Broker, name: str) -> None:
    """Clearing what is not there changes nothing."""
    broker.publishes(name, b"", retain=True)
    assert broker.retained(name) == []


@holds("v3 [MQTT-3.3.1-12]")
def test_other_messages_are_not_retained(broker: Broker, name: str) -> None:
    """Without RETAIN nothing is stored, replaced or cleared."""
    broker.publishes(name, b"unmarked")
    assert broker.retained(name) == []
    broker.publishes(name, b"kept", retain=True)
    broker.publishes(name, b"unmarked", qos=1)
    broker.publishes(name, b"")
    assert broker.retained(name) == [publish(name, b"kept", retain=True)]


@holds("v3 [MQTT-3.3.1-5]", "v3 [MQTT-3.3.1-12]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_one_publisher_may_do_both(broker: Broker, name: str, qos: int) -> None:
    """A publisher that sets RETAIN now and then is understood each time."""
    publisher = broker.client()
    for payload, retain in ((b"1", False), (b"2", False), (b"3", True), (b"4", False), (b"5", False)):
        publisher.publishes(name, payload, qos=qos, retain=retain)
    assert broker.retained(name) == [publish(name, b"3", 1, qos=qos, retain=True)]


@holds("v3 [MQTT-4.4.0-1]", "v3 [MQTT-3.3.1-8]")
def test_a_retained_message_that_comes_again(broker: Broker, name: str) -> None:
    """A retained message that was not acknowledged comes again as what it was, marked as retained."""
    broker.publishes(name, b"last", qos=1, retain=True)
    client = broker.session(name, (name, 1))
    client.expect(publish(name, b"last", 1, qos=1, retain=True))
    client.drop()
    broker.resumed(name).expect(publish(name, b"last", 1, qos=1, retain=True, dup=True))
    broker.forgets(name)


@holds("v3 [MQTT-3.3.1-6]", "v3 [MQTT-3.3.2-3]")
def test_wildcards_find_all_that_match(broker: Broker, name: str) -> None:
    """A new subscription with wildcards gets the last value of every topic that matches."""
    topics = [f"{name}/{rest}" for rest in ("a", "a/b", "c/b", "c/b/d")] + [name]
    for topic in topics:
        broker.publishes(topic, b"x", retain=True)
    found = {
        filter: broker.retained(filter) for filter in (f"{name}/#", f"{name}/+", f"{name}/+/b", f"{name}/a/#")
    }
    values = {topic: publish(topic, b"x", retain=True) for topic in topics}
    expected = {
        f"{name}/#": sorted(values.values()),
        f"{name}/+": [values[f"{name}/a"]],
        f"{name}/+/b": sorted([values[f"{name}/a/b"], values[f"{name}/c/b"]]),
        f"{name}/a/#": sorted([values[f"{name}/a"], values[f"{name}/a/b"]]),
    }
    assert {filter: sorted(messages) for filter, messages in found.items()} == expected


@holds("v3 [MQTT-3.8.4-3]")
def test_subscribing_again_sends_it_again(broker: Broker, name: str) -> None:
    """Each SUBSCRIBE is answered with what is retained, also one that replaces another."""
    broker.publishes(name, b"last", qos=1, retain=True)
    client = broker.client(None, (name, 0))
    client.expect(publish(name, b"last", retain=True))
    client.ask(subscribe(2, (name, 1)), suback(2, 1), publish(name, b"last", 1, qos=1, retain=True))
    client.expect_silence()


@holds("v3 [MQTT-3.3.1-6]")
def test_coming_back_does_not(broker: Broker, name: str) -> None:
    """A kept session that is resumed has no new subscription, so nothing retained is sent."""
    broker.publishes(name, b"last", qos=1, retain=True)
    client = broker.session(name, (name, 0))
    client.expect(publish(name, b"last", retain=True))
    client.leave()
    broker.resumed(name).expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-3.8.4-4]", "v3 [MQTT-3.3.1-6]")
def test_each_filter_of_one_subscribe_is_answered(broker: Broker, name: str) -> None:
    """Several filters in one SUBSCRIBE each get their retained messages."""
    broker.publishes(name + "/a", b"A", retain=True)
    broker.publishes(name + "/b", b"B", retain=True)
    client = broker.client(None, (name + "/b", 0), (name + "/a", 0))
    client.expect_in_any_order(
        publish(name + "/a", b"A", retain=True), publish(name + "/b", b"B", retain=True)
    )
    client.expect_silence()


@holds("v3 [MQTT-3.3.1-6]")
def test_many_retained_messages(broker: Broker, name: str) -> None:
    """More retained messages than fit into the in-flight window or one segment all arrive."""
    publisher = broker.client()
    expected = []
    for n in range(300):
        publisher.publishes(f"{name}/{n}", b"x" * 1000, retain=True)
        expected.append(publish(f"{name}/{n}", b"x" * 1000, retain=True))
    client = broker.client(None, (name + "/#", 0))
    client.expect_in_any_order(*expected)
    client.expect_silence()


@holds("mosquitto: retain_available false disconnects who retains")
def test_where_nothing_is_retained(tight: Broker, name: str) -> None:
    """retain_available false: who sets RETAIN is disconnected, and nothing is published."""
    watcher = tight.client(None, (name, 0))
    client = tight.client()
    client.send(publish(name, b"x", retain=True))
    client.expect_closed()
    watcher.expect_silence()
