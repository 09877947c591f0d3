"""A broker that listens on a free port of this machine, for any MQTT client."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pushd.broker.broker import Broker
from pushd.plugins.loading import LoadedPlugin
from pushd.storage.memory import MemoryStore
from pushd.testing.bench import Bench
from pushd.transports.tcp import TCPFactory

HOST = "127.0.0.1"


class ListeningBroker(Bench):
    """
    Use it in an ``async with`` statement, in a test that the reactor runs under: a coroutine of trial's
    `TestCase`, or of pytest with pytest-twisted.

    :ivar port: where it listens, on 127.0.0.1.
    """

    def __init__(
        self,
        *plugins: LoadedPlugin,
        users: Mapping[str, str] | None = None,
        allow_anonymous: bool = True,
        reactor: Any = None,
    ) -> None:
        """:param reactor: that of the process if it is not given; the rest is as of `MemoryBroker`."""
        if reactor is None:
            from twisted.internet import reactor as of_process  # not at the top: importing it chooses one

            reactor = of_process
        core = Broker(reactor, MemoryStore(), seconds=time.monotonic)
        super().__init__(core, reactor, plugins, users or {}, allow_anonymous)
        self._reactor = reactor
        self._listening: Any = None
        self.port = 0

    async def __aenter__(self) -> ListeningBroker:
        """:raises PluginError: a plugin could not be started."""
        await self._core.start(self._policy)
        await self._table.start()
        self._listening = self._reactor.listenTCP(0, TCPFactory(self._core, self._policy), interface=HOST)
        self.port = self._listening.getHost().port
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listening.stopListening()
        await self._core.stop()
        await self._table.stop()
