"""v3 §4.3: the broker as the sender: identifiers, acknowledgements, the in-flight window, queues."""

from __future__ import annotations

import pytest

from tests.conformance.harness import Broker
from tests.conformance.packets import puback, pubcomp, publish, pubrec, pubrel
from tests.conformance.statements import holds

WINDOW = 20  # max_inflight_messages by default


@holds("v3 [MQTT-4.3.2-1]", "v3 [MQTT-2.3.1-4]")
def test_qos_1(broker: Broker, name: str) -> None:
    """QoS 1 to a subscriber: PUBLISH with an identifier of the broker's own, finished by PUBACK."""
    client = broker.client(None, (name, 1))
    for number in (1, 2, 3):
        broker.publishes(name, b"x", qos=1)
        client.expect(publish(name, b"x", number, qos=1))
        client.send(puback(number))
        client.expect_silence()


@holds("v3 [MQTT-4.3.3-1]", "v3 [MQTT-2.3.1-4]", "v3 [MQTT-3.6.1-1]")
def test_qos_2(broker: Broker, name: str) -> None:
    """QoS 2 to a subscriber: PUBREC is answered with PUBREL, PUBCOMP ends it."""
    client = broker.client(None, (name, 2))
    for number in (1, 2, 3):
        broker.publishes(name, b"x", qos=2)
        client.expect(publish(name, b"x", number, qos=2))
        client.ask(pubrec(number), b"\x62\x02\x00" + bytes((number,)))
        client.send(pubcomp(number))
        client.expect_silence()


@holds("v3 [MQTT-4.3.3-1]")
def test_pubrec_again(broker: Broker, name: str) -> None:
    """A PUBREC that comes twice is answered twice, never with the message."""
    client = broker.client(None, (name, 2))
    broker.publishes(name, b"x", qos=2)
    client.expect(publish(name, b"x", 1, qos=2))
    client.ask(pubrec(1) + pubrec(1), pubrel(1), pubrel(1))
    client.send(pubcomp(1))
    client.expect_silence()


@holds("v3 [MQTT-4.3.2-1]", "v3 [MQTT-4.3.3-1]")
def test_acknowledgements_out_of_order(broker: Broker, name: str) -> None:
    """Acknowledgements may come in any order; each frees its own message."""
    client = broker.client(None, (name, 2))
    for number, qos in enumerate([1, 2, 1, 2], 1):
        broker.publishes(name, b"x", qos=qos)
        client.expect(publish(name, b"x", number, qos=qos))
    client.ask(puback(3) + pubrec(4) + pubrec(2) + puback(1), pubrel(4), pubrel(2))
    client.send(pubcomp(2) + pubcomp(4))
    client.expect_silence()


@holds("v3 [MQTT-4.3.2-1]", "v3 [MQTT-4.3.3-1]")
def test_wrong_acknowledgements_acknowledge_nothing(broker: Broker, name: str) -> None:
    """PUBACK does not finish QoS 2, nor PUBCOMP a message that was not received yet."""
    client = broker.session(name, (name, 2))
    broker.publishes(name, b"x", qos=2)
    client.expect(publish(name, b"x", 1, qos=2))
    client.send(pubcomp(1))
    client.expect_silence()
    client.drop()
    broker.resumed(name).expect(publish(name, b"x", 1, qos=2, dup=True))
    broker.forgets(name)


@holds("v3 §4.4", "mosquitto: max_inflight_messages 20")
@pytest.mark.parametrize("qos", [1, 2])
def test_window(broker: Broker, name: str, qos: int) -> None:
    """Twenty messages are under way to a client at once; each that it finishes lets the next one go."""
    client = broker.client(None, (name, 2))
    publisher = broker.client()
    for n in range(1, WINDOW + 6):
        publisher.publishes(name, b"%d" % n, qos=qos)
    client.expect(*(publish(name, b"%d" % n, n, qos=qos) for n in range(1, WINDOW + 1)))
    client.expect_silence()
    for n in range(1, 6):
        if qos == 1:
            client.send(puback(n))
        else:
            client.ask(pubrec(n), pubrel(n))
            client.expect_silence()
            client.send(pubcomp(n))
        client.expect(publish(name, b"%d" % (WINDOW + n), WINDOW + n, qos=qos))
    client.expect_silence()


@holds("v3 §4.4")
def test_qos_0_passes_a_full_window(broker: Broker, name: str) -> None:
    """QoS 0 waits for no acknowledgement of others."""
    client = broker.client(None, (name, 1))
    publisher = broker.client()
    for _ in range(WINDOW + 1):
        publisher.publishes(name, qos=1)
    client.expect(*(publish(name, b"", n, qos=1) for n in range(1, WINDOW + 1)))
    publisher.publishes(name, b"urgent")
    client.expect(publish(name, b"urgent"))


@holds("v3 [MQTT-4.6.0-6]")
def test_order_through_the_window(broker: Broker, name: str) -> None:
    """However the window empties, messages arrive in their order."""
    client = broker.client(None, (name, 1))
    publisher = broker.client()
    for n in range(100):
        publisher.publishes(name, b"%d" % n, qos=1)
    under_way = []
    for n in range(100):
        packet = client.packet()
        assert packet == publish(name, b"%d" % n, n + 1, qos=1)
        under_way.append(n + 1)
        if len(under_way) == WINDOW:
            client.send(b"".join(map(puback, reversed(under_way))))
            under_way = []


@holds("v3 [MQTT-2.3.1-4]", "v3 [MQTT-2.3.1-3]")
def test_identifiers_in_use_are_left_out(broker: Broker, name: str) -> None:
    """When all 65535 packet identifiers have been used they begin again, but never with one under way."""
    client = broker.client(None, (name, 1))
    publisher = broker.client()
    publisher.publishes(name, b"never acknowledged", qos=1)
    client.expect(publish(name, b"never acknowledged", 1, qos=1))
    sent = publish(name, b"", 1, qos=1)
    step = WINDOW - 1
    for first in range(2, 65536, step):
        numbers = range(first, min(first + step, 65536))
        publisher.send(sent * len(numbers))
        client.expect(b"".join(publish(name, b"", n, qos=1) for n in numbers))
        client.send(b"".join(map(puback, numbers)))
    publisher.send(sent)
    client.expect(publish(name, b"", 2, qos=1))


@holds("mosquitto: max_queued_messages, the newest is dropped")
def test_queue_limit_behind_a_full_window(tight: Broker, name: str) -> None:
    """Behind the window of a slow client max_queued_messages wait; what is more is dropped."""
    client = tight.client(None, (name, 1))
    publisher = tight.client()
    for n in range(1, 12):
        publisher.publishes(name, b"%d" % n, qos=1)
    client.expect(*(publish(name, b"%d" % n, n, qos=1) for n in range(1, 4)))
    client.expect_silence()
    for n in range(1, 6):
        client.send(puback(n))
        client.expect(publish(name, b"%d" % (n + 3), n + 3, qos=1))
    client.send(puback(6) + puback(7) + puback(8))
    client.expect_silence()


@holds("mosquitto: max_queued_messages, the newest is dropped")
def test_queue_limit_of_an_offline_session(tight: Broker, name: str) -> None:
    """For a client that is away, max_queued_messages wait: the oldest ones."""
    tight.session(name, (name, 1)).leave()
    for n in range(1, 12):
        tight.publishes(name, b"%d" % n, qos=1)
    client = tight.resumed(name)
    client.expect(*(publish(name, b"%d" % n, n, qos=1) for n in range(1, 4)))
    client.ask(puback(1) + puback(2) + puback(3), *(publish(name, b"%d" % n, n, qos=1) for n in (4, 5)))
    client.send(puback(4) + puback(5))
    client.expect_silence()
    tight.forgets(name)


@holds("v3 [MQTT-4.5.0-1]")
def test_many_subscribers(broker: Broker, name: str) -> None:
    """A message to seven hundred subscribers reaches each of them once, and those that come behind it too."""
    watchers = [broker.client(None, (name, n % 3)) for n in range(700)]
    publisher = broker.client()
    for qos in (1, 2):
        publisher.publishes(name, b"%d" % qos, qos=qos)
    for n, watcher in enumerate(watchers):
        watcher.expect(*(publish(name, b"%d" % qos, qos, qos=min(qos, n % 3)) for qos in (1, 2)))
        watcher.leave()


@holds("v3 §4.3.1")
def test_subscriber_that_does_not_read(broker: Broker, name: str) -> None:
    """
    QoS 0 messages for a client that does not keep up are dropped, whole ones, and the others stay in order;
    neither the publisher nor anybody else waits for it.
    """
    slow, quick = broker.client(None, (name, 0)), broker.client(None, (name, 0))
    publisher = broker.client()
    for n in range(300):
        publisher.publishes(name, b"%06d" % n + b"x" * 60_000)
        assert quick.packet()[-60_006:-60_000] == b"%06d" % n
    numbers = [int(packet[-60_006:-60_000]) for packet in slow.packets_until_ping()]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    publisher.publishes(name, b"at last")
    slow.expect(publish(name, b"at last"))
