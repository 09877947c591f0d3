"""A broker that is driven by bytes in memory; its time stands still until it is told to pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from pushd.broker.broker import Broker
from pushd.mqtt.codes import Version
from pushd.mqtt.packets import Will
from pushd.plugins.loading import LoadedPlugin
from pushd.storage.memory import MemoryStore
from pushd.testing.bench import Bench
from pushd.testing.device import Device
from pushd.testing.wire import ADDRESS
from pushd.transports.protocol import MQTTFactory


class MemoryBroker(Bench):
    """
    Use it in a ``with`` statement, which starts the plugins and stops them.

    :ivar reactor: what plugins get as ``broker.reactor``: `twisted.internet.testing.MemoryReactorClock`. It
        makes no connections; it notes what was asked for.
    """

    def __init__(
        self,
        *plugins: LoadedPlugin,
        users: Mapping[str, str] | None = None,
        allow_anonymous: bool = True,
    ) -> None:
        """
        :param plugins: made by `use`, in the order in which they are asked.
        :param users: name and password of those whom a password file would know.
        :param allow_anonymous: as in the settings.
        """
        self.reactor: Any = MemoryReactorClock()
        core = Broker(self.reactor, MemoryStore())
        super().__init__(core, self.reactor, plugins, users or {}, allow_anonymous)
        self._factory = MQTTFactory(core, self._policy)

    def __enter__(self) -> MemoryBroker:
        """:raises PluginError: a plugin could not be started. One that waits for something is not yet."""
        self._core.start(self._policy)
        self._now(self._table.start())
        return self

    def __exit__(self, *_: object) -> None:
        self._core.stop()
        self._now(self._table.stop())

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass, and happen what happens then."""
        self.reactor.advance(seconds)

    def connect(
        self,
        client_id: str,
        username: str | None = None,
        password: str | bytes | None = None,
        *,
        version: int = 5,
        clean: bool = True,
        will: Will | None = None,
    ) -> Device:
        """A client that has sent its CONNECT; `Device.code` says what came of it."""
        device = Device(self.reactor, self._factory.buildProtocol(ADDRESS), Version(version))
        device.connect(client_id, username, password, clean, will)
        return device

    @staticmethod
    def _now(outcome: Deferred[None]) -> None:
        failures: list[Failure] = []
        outcome.addErrback(failures.append)
        for failure in failures:
            failure.raiseException()
