"""v3 §4.4, §4.6: what a client is sent again when it comes back, and in which order."""

from __future__ import annotations

import pytest

from tests.conformance.harness import Broker
from tests.conformance.packets import puback, pubcomp, publish, pubrec, pubrel, unsuback, unsubscribe
from tests.conformance.statements import holds


@holds("v3 [MQTT-4.4.0-1]", "v3 [MQTT-3.3.1-1]", "v3 [MQTT-4.6.0-1]")
@pytest.mark.parametrize("qos", [1, 2])
def test_unacknowledged_messages_come_again(broker: Broker, name: str, qos: int) -> None:
    """What was not acknowledged comes again: DUP, the same identifiers, the same order; twice if need be."""
    client = broker.session(name, (name, 2))
    for n in (1, 2, 3):
        broker.publishes(name, b"%d" % n, qos=qos)
        client.expect(publish(name, b"%d" % n, n, qos=qos))
    for _ in range(2):
        client.drop()
        client = broker.resumed(name)
        client.expect(*(publish(name, b"%d" % n, n, qos=qos, dup=True) for n in (1, 2, 3)))
        client.expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-4.4.0-1]")
def test_acknowledged_messages_do_not(broker: Broker, name: str) -> None:
    """Only what was not acknowledged comes again."""
    client = broker.session(name, (name, 1))
    for n in (1, 2, 3):
        broker.publishes(name, b"%d" % n, qos=1)
        client.expect(publish(name, b"%d" % n, n, qos=1))
    client.send(puback(2))
    client.expect_silence()
    client.drop()
    client = broker.resumed(name)
    client.expect(publish(name, b"1", 1, qos=1, dup=True), publish(name, b"3", 3, qos=1, dup=True))
    client.ask(puback(1) + puback(3) + b"\xc0\x00", b"\xd0\x00")
    client.drop()
    broker.resumed(name).expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-4.4.0-1]", "v3 [MQTT-4.3.3-1]")
def test_pubrel_comes_again(broker: Broker, name: str) -> None:
    """After PUBREC it is PUBREL that comes again, never the message, until PUBCOMP."""
    client = broker.session(name, (name, 2))
    broker.publishes(name, b"x", qos=2)
    client.expect(publish(name, b"x", 1, qos=2))
    client.ask(pubrec(1), pubrel(1))
    for _ in range(2):
        client.drop()
        client = broker.resumed(name)
        client.expect(pubrel(1))
        client.expect_silence()
    client.ask(pubcomp(1) + b"\xc0\x00", b"\xd0\x00")
    client.drop()
    broker.resumed(name).expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-4.6.0-4]", "v3 [MQTT-4.4.0-1]")
def test_pubrels_come_again_in_order_of_the_pubrecs(broker: Broker, name: str) -> None:
    """PUBRELs are sent again in the order of the PUBRECs."""
    client = broker.session(name, (name, 2))
    for n in (1, 2, 3):
        broker.publishes(name, b"x", qos=2)
        client.expect(publish(name, b"x", n, qos=2))
    client.ask(pubrec(2) + pubrec(3) + pubrec(1), pubrel(2), pubrel(3), pubrel(1))
    client.drop()
    client = broker.resumed(name)
    client.expect(pubrel(2), pubrel(3), pubrel(1))
    broker.forgets(name)


@holds("v3 [MQTT-4.6.0-1]", "v3 [MQTT-4.6.0-6]")
def test_sent_again_before_new_ones(broker: Broker, name: str) -> None:
    """First what comes again, then what came meanwhile: the order of publishing."""
    client = broker.session(name, (name, 1))
    for n in (1, 2):
        broker.publishes(name, b"%d" % n, qos=1)
        client.expect(publish(name, b"%d" % n, n, qos=1))
    client.drop()
    for n in (3, 4):
        broker.publishes(name, b"%d" % n, qos=1)
    client = broker.resumed(name)
    client.expect(*(publish(name, b"%d" % n, n, qos=1, dup=n < 3) for n in (1, 2, 3, 4)))
    broker.forgets(name)


@holds("v3 [MQTT-2.3.1-4]")
def test_identifiers_under_way_stay_taken(broker: Broker, name: str) -> None:
    """New messages after the return do not use the identifiers of those that came again."""
    client = broker.session(name, (name, 1))
    broker.publishes(name, b"1", qos=1)
    client.expect(publish(name, b"1", 1, qos=1))
    client.drop()
    client = broker.resumed(name)
    client.expect(publish(name, b"1", 1, qos=1, dup=True))
    broker.publishes(name, b"2", qos=1)
    client.expect(publish(name, b"2", 2, qos=1))
    broker.forgets(name)


@holds("v3 [MQTT-3.1.2-5]", "v3 [MQTT-4.6.0-6]")
def test_offline_queue_is_sent_in_order_through_the_window(broker: Broker, name: str) -> None:
    """What waited comes in the order of publishing, as fast as it is acknowledged, of all topics."""
    broker.session(name, (name + "/#", 2)).leave()
    publisher = broker.client()
    for n in range(1, 51):
        publisher.publishes(f"{name}/{n % 3}", b"%d" % n, qos=1 + n % 2)
    client = broker.resumed(name)
    waiting = [publish(f"{name}/{n % 3}", b"%d" % n, n, qos=1 + n % 2) for n in range(1, 51)]
    client.expect(*waiting[:20])
    for n, following in enumerate(waiting[20:], 1):
        if n % 2:
            client.ask(pubrec(n), pubrel(n))
        client.send(pubcomp(n) if n % 2 else puback(n))
        client.expect(following)
    broker.forgets(name)


@holds("v3 [MQTT-3.1.2-5]")
def test_a_thousand_messages_wait(broker: Broker, name: str) -> None:
    """max_queued_messages is 1000 by default: so many wait, the oldest ones."""
    broker.session(name, (name, 1)).leave()
    publisher = broker.client()
    publisher.send(b"".join(publish(name, b"%d" % n, n, qos=1) for n in range(1, 1051)))
    publisher.expect(*(puback(n) for n in range(1, 1051)))
    client = broker.resumed(name)
    for n in range(1, 1001):
        client.expect(publish(name, b"%d" % n, n, qos=1))
        client.send(puback(n))
    client.expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-4.4.0-1]")
def test_half_a_window_unacknowledged(broker: Broker, name: str) -> None:
    """A client that always breaks off in the middle still gets everything at least once."""
    broker.session(name, (name, 1)).leave()
    publisher = broker.client()
    for n in range(1, 31):
        publisher.publishes(name, b"%d" % n, qos=1)
    got: set[bytes] = set()
    for _ in range(12):
        client = broker.resumed(name)
        for packet in client.packets_until_ping()[:5]:
            id_at = 4 + len(name)
            client.send(b"\x40\x02" + packet[id_at : id_at + 2])
            got.add(packet[id_at + 2 :])
        client.packets_until_ping()
        client.drop()
    assert len(got) == 30
    broker.forgets(name)


@holds("v3 [MQTT-3.10.4-3]")
def test_unsubscribing_does_not_stop_what_is_under_way(broker: Broker, name: str) -> None:
    """A delivery that has begun is finished, also after a reconnect, although the subscription is gone."""
    client = broker.session(name, (name, 2))
    broker.publishes(name, b"x", qos=2)
    client.expect(publish(name, b"x", 1, qos=2))
    client.ask(unsubscribe(5, name), unsuback(5))
    client.drop()
    client = broker.resumed(name)
    client.expect(publish(name, b"x", 1, qos=2, dup=True))
    client.ask(pubrec(1), pubrel(1))
    client.send(pubcomp(1))
    client.expect_silence()
    broker.forgets(name)


@holds("v3 [MQTT-4.4.0-1]", "v3 [MQTT-4.6.0-1]", "v3 [MQTT-4.6.0-4]")
def test_a_full_window_is_still_full_afterwards(broker: Broker, name: str) -> None:
    """What was under way fills the window again, so that what waits behind it goes on waiting."""
    client = broker.session(name, (name, 2))
    publisher = broker.client()
    for n in range(1, 26):
        publisher.publishes(name, b"%d" % n, qos=2)
    client.expect(*(publish(name, b"%d" % n, n, qos=2) for n in range(1, 21)))
    for n in range(1, 6):
        client.ask(pubrec(n), pubrel(n))
    client.drop()
    client = broker.resumed(name)
    client.expect_in_any_order(
        *(pubrel(n) for n in range(1, 6)),
        *(publish(name, b"%d" % n, n, qos=2, dup=True) for n in range(6, 21)),
    )
    client.expect_silence()
    for n in range(1, 6):
        client.ask(pubcomp(n), publish(name, b"%d" % (20 + n), 20 + n, qos=2))
    broker.forgets(name)
