"""v3 §3.1.2.4, §3.1.4, §4.1: sessions, clean and kept, and taking over."""

from __future__ import annotations

import pytest

from tests.conformance import packets
from tests.conformance.harness import Broker
from tests.conformance.packets import ACCEPTED, RESUMED, connect, publish
from tests.conformance.statements import holds


@holds("v3 [MQTT-3.1.2-4]", "v3 [MQTT-3.2.2-2]", "v3 [MQTT-3.2.2-3]", "v3 [MQTT-3.1.3-2]")
def test_session_present(broker: Broker, name: str) -> None:
    """CONNACK tells whether the broker still knows the client."""
    broker.session(name).leave()
    broker.resumed(name).leave()
    broker.forgets(name)
    broker.session(name).leave()
    broker.forgets(name)


@holds("v3 [MQTT-3.1.2-4]", "v3 [MQTT-4.1.0-1]")
@pytest.mark.parametrize("ending", ["leave", "drop"])
def test_subscriptions_are_kept(broker: Broker, name: str, ending: str) -> None:
    """A client that comes back need not subscribe again, however it went."""
    getattr(broker.session(name, (name, 1)), ending)()
    client = broker.resumed(name)
    broker.publishes(name, b"still there", qos=1)
    client.expect(publish(name, b"still there", 1, qos=1))
    broker.forgets(name)


@holds("v3 [MQTT-3.1.2-5]", "v3 [MQTT-4.5.0-1]")
@pytest.mark.parametrize("qos", [1, 2])
def test_messages_wait_for_an_offline_session(broker: Broker, name: str, qos: int) -> None:
    """What comes at QoS 1 and 2 while a client is away is there when it is back."""
    broker.session(name, (name, 2)).leave()
    broker.publishes(name, b"missed", qos=qos)
    broker.resumed(name).expect(publish(name, b"missed", 1, qos=qos))
    broker.forgets(name)


@holds("v3 [MQTT-3.1.2-5]", "v3 [MQTT-4.5.0-1]")
def test_coming_and_going_while_somebody_publishes(broker: Broker, name: str) -> None:
    """To the publisher it makes no difference whether its subscriber is there."""
    publisher = broker.client()
    broker.session(name, (name, 1)).leave()
    for n in range(1, 6):
        publisher.publishes(name, b"while away", qos=1)
        client = broker.resumed(name)
        client.expect(publish(name, b"while away", 2 * n - 1, qos=1))
        publisher.publishes(name, b"while here", qos=1)
        client.expect(publish(name, b"while here", 2 * n, qos=1))
        client.send(packets.puback(2 * n - 1) + packets.puback(2 * n))
        client.leave()
    broker.forgets(name)


@holds("v3 §3.1.2.4")
def test_qos_0_does_not_wait(broker: Broker, name: str) -> None:
    """QoS 0 means now or never, unless queue_qos0_messages says otherwise."""
    broker.session(name, (name, 2)).leave()
    broker.publishes(name, b"gone")
    broker.resumed(name).expect_silence()
    broker.forgets(name)


@holds("v3 §3.1.2.4")
def test_subscriptions_at_qos_0_do_not_wait(broker: Broker, name: str) -> None:
    """A subscription at QoS 0 gets QoS 0, of which nothing is kept."""
    broker.session(name, (name, 0)).leave()
    broker.publishes(name, b"gone", qos=2)
    broker.resumed(name).expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-3.1.2-6]", "v3 [MQTT-3.1.4-3]", "v3 [MQTT-3.2.2-1]")
def test_clean_session_discards_the_kept_one(broker: Broker, name: str) -> None:
    """CleanSession starts from nothing: no subscriptions, no messages."""
    broker.session(name, (name, 1)).leave()
    broker.publishes(name, b"never seen", qos=1)
    client = broker.client(name)
    broker.publishes(name, b"not subscribed", qos=1)
    client.expect_silence()
    client.leave()


@holds("v3 [MQTT-3.1.2-6]")
def test_clean_session_leaves_nothing(broker: Broker, name: str) -> None:
    """A clean session ends with its connection: the next one starts from nothing."""
    broker.client(name, (name, 1)).leave()
    client = broker.session(name)
    broker.publishes(name, qos=1)
    client.expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-3.1.2-6]")
def test_clean_session_dropped_leaves_nothing(broker: Broker, name: str) -> None:
    """Nor is anything left when the connection of a clean session breaks in the middle of a delivery."""
    client = broker.client(name, (name, 2))
    broker.publishes(name, qos=2)
    client.expect(publish(name, b"", 1, qos=2))
    client.drop()
    client = broker.session(name)
    client.expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-3.1.2-7]")
def test_retained_messages_outlive_the_session(broker: Broker, name: str) -> None:
    """What a client retained stays when its session ends."""
    client = broker.client()
    client.publishes(name, b"kept", qos=1, retain=True)
    client.leave()
    assert broker.retained(name) == [publish(name, b"kept", 1, qos=1, retain=True)]


@holds("v3 [MQTT-4.1.0-2]")
def test_session_lasts_while_connected(broker: Broker, name: str) -> None:
    """Nothing that others do ends the session of a client that is connected."""
    client = broker.client(name, (name, 1))
    broker.client().drop()
    broker.publishes(name, b"here", qos=1)
    client.expect(publish(name, b"here", 1, qos=1))


@holds("v3 [MQTT-3.1.4-2]")
@pytest.mark.parametrize("old_clean", [True, False])
@pytest.mark.parametrize("new_clean", [True, False])
def test_take_over(broker: Broker, name: str, old_clean: bool, new_clean: bool) -> None:
    """The same client id again: the older connection is closed, whatever the sessions are."""
    old, new = broker.open(), broker.open()
    old.ask(connect(name, clean=old_clean), ACCEPTED)
    new.ask(connect(name, clean=new_clean), ACCEPTED if old_clean or new_clean else RESUMED)
    old.expect_closed()
    new.expect_silence()
    broker.forgets(name)
    new.expect_closed()


@holds("v3 [MQTT-3.1.4-2]", "v3 [MQTT-4.4.0-1]")
def test_take_over_in_the_middle_of_a_delivery(broker: Broker, name: str) -> None:
    """What the older connection did not acknowledge comes again on the new one."""
    old = broker.session(name, (name, 1))
    broker.publishes(name, b"x", qos=1)
    old.expect(publish(name, b"x", 1, qos=1))
    new = broker.resumed(name)
    new.expect(publish(name, b"x", 1, qos=1, dup=True))
    old.expect_closed()
    new.ask(packets.puback(1) + packets.PINGREQ, packets.PINGRESP)
    broker.forgets(name)


@holds("v3 [MQTT-3.1.4-2]")
def test_what_the_older_connection_sends_after_take_over_is_ignored(broker: Broker, name: str) -> None:
    """Whoever was taken over has nothing more to say, on a topic that it used before either."""
    watcher = broker.client(None, (name, 0))
    old = broker.client(name)
    old.publishes(name, b"in time")
    watcher.expect(publish(name, b"in time"))
    new = broker.client(name)
    old.expect_closed()
    watcher.expect_silence()
    new.leave()


@holds("v3 [MQTT-3.1.4-2]")
def test_many_take_overs(broker: Broker, name: str) -> None:
    """Two devices with one id throw each other out for as long as they like."""
    client = broker.session(name)
    for _ in range(20):
        following = broker.resumed(name)
        client.expect_closed()
        client = following
    broker.forgets(name)


@holds("v3 [MQTT-3.1.3-2]")
def test_client_ids_differ_in_case(broker: Broker, name: str) -> None:
    """Client ids are compared as they are."""
    lower, upper = broker.client(name + "x"), broker.client(name + "X")
    lower.expect_silence()
    upper.expect_silence()
