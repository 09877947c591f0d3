"""What clients see of the broker's own end."""

from __future__ import annotations

from collections.abc import Callable

from tests.conformance.harness import Broker, unique
from tests.conformance.packets import ACCEPTED, connect, publish
from tests.conformance.statements import holds


@holds("v3 §4.2")
def test_sigterm_closes_every_connection(start: Callable[[], Broker], name: str) -> None:
    """An operator who stops the broker ends every connection, whatever it is doing, without an error."""
    broker = start()
    silent, mortal = broker.open(), broker.open()
    clean, kept = broker.client(None, (name, 2)), broker.session(name, (name, 1))
    mortal.ask(connect(unique(), will=(name + "/will", b"gone", 1, True)), ACCEPTED)
    mortal.send(publish(name, b"half")[:-1])
    broker.publishes(name, b"under way", qos=2)
    broker.stop()
    silent.expect_closed()
    mortal.expect_closed()
    clean.expect(publish(name, b"under way", 1, qos=2))
    clean.expect_closed()
    kept.expect(publish(name, b"under way", 1, qos=1))
    kept.expect_closed()
