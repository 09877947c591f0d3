"""v3 §3.1.2.10, §3.12: keep alive and PINGREQ. Each test takes seconds: they wait for silence to end."""

from __future__ import annotations

from time import monotonic

from tests.conformance.harness import Broker, unique
from tests.conformance.packets import ACCEPTED, PINGREQ, PINGRESP, connect, publish
from tests.conformance.statements import holds


@holds("v3 [MQTT-3.12.4-1]")
def test_ping(broker: Broker) -> None:
    """Every PINGREQ has its PINGRESP."""
    client = broker.client()
    client.ask(PINGREQ * 3, PINGRESP, PINGRESP, PINGRESP)


@holds("v3 [MQTT-3.1.2-24]", "v3 [MQTT-3.1.2-8]", "v3 §3.1.2.10")
def test_silent_clients_are_disconnected(broker: Broker, name: str) -> None:
    """
    After one and a half times its keep alive, not before, a silent client is closed, and its Will is
    published. What it is sent does not count, nor do packets that never end; 0 is for ever.
    """
    watcher = broker.client(None, (name, 0))
    silent, eternal, half = broker.open(), broker.open(), broker.open()
    silent.ask(connect(unique(), keep_alive=1, will=(name, b"gone", 0, False)), ACCEPTED)
    began = monotonic()
    silent.subscribe((name, 0))
    half.ask(connect(unique(), keep_alive=1), ACCEPTED)
    eternal.ask(connect(unique(), keep_alive=0), ACCEPTED)
    half.send(publish(name)[:-1])
    broker.publishes(name, b"not from you")
    silent.expect(publish(name, b"not from you"))
    silent.expect_closed()
    assert 1.5 <= monotonic() - began < 4
    watcher.expect(publish(name, b"not from you"), publish(name, b"gone"))
    half.expect_closed()
    eternal.expect_silence()


@holds("v3 [MQTT-3.1.2-23]", "v3 [MQTT-3.1.2-24]")
def test_clients_that_are_heard_stay(broker: Broker, name: str) -> None:
    """Any packet counts, not only PINGREQ. The end of clients that are silent is the clock here."""
    pinging, publishing = broker.open(), broker.open()
    for client in (pinging, publishing):
        client.ask(connect(unique(), keep_alive=2), ACCEPTED)
        client.publishes(name)
    for _ in range(2):
        clock = broker.open()
        clock.ask(connect(unique(), keep_alive=1), ACCEPTED)
        clock.expect_closed()
        pinging.expect_silence()
        publishing.send(publish(name))
    pinging.expect_silence()
    publishing.expect_silence()
