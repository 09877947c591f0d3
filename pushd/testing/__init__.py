"""
A broker for the tests of plugins: `MemoryBroker` without a socket or a second of waiting, `ListeningBroker`
with both.

    with MemoryBroker(use(Stamp, name="seen-by")) as broker:
        ada, bob = broker.connect("ada"), broker.connect("bob")
        bob.subscribe("news")
        ada.publish("news", b"hello")
        (message,) = bob.messages()
        assert message.user_properties == (("seen-by", "pushd"),)

Both work under pytest and under trial; ``docs/plugins.md`` has more.
"""

from pushd.testing.bench import use
from pushd.testing.device import Device
from pushd.testing.listening import ListeningBroker
from pushd.testing.memory import MemoryBroker

__all__ = ["Device", "ListeningBroker", "MemoryBroker", "use"]
