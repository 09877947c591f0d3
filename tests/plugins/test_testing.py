"""`pushd.testing`: what authors of plugins rely on."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pushd.mqtt.codes import Version
from pushd.mqtt.packets import Connack, Connect
from pushd.mqtt.reader import PacketReader
from pushd.mqtt.writer import encode
from pushd.plugins import ALLOW, ClientInfo, Deny, Login, Message, Plugin, ReasonCode, Verdict
from pushd.plugins.loading import PluginError
from pushd.testing import ListeningBroker, MemoryBroker, use


class Slow(Plugin):
    """Waits for the clock."""

    async def authenticate(self, login: Login) -> Verdict:
        waiting: Deferred[None] = Deferred()
        self.broker.reactor.callLater(1, waiting.callback, None)
        await waiting
        return ALLOW


class Asyncio(Plugin):
    """Calls a library that needs asyncio's event loop, by giving it one in a thread."""

    async def authenticate(self, login: Login) -> Verdict:
        name: str = await deferToThread(asyncio.run, self._look_up(login.username or ""))
        return Deny(ReasonCode.BANNED) if name == "EVE" else ALLOW

    @staticmethod
    async def _look_up(name: str) -> str:
        await asyncio.sleep(0)
        return name.upper()


class NeedsAsyncio(Plugin):
    """Awaits what only asyncio can await."""

    async def authenticate(self, login: Login) -> Verdict:
        await asyncio.sleep(0.001)
        return ALLOW


class Broken(Plugin):
    def start(self) -> None:
        raise OSError("no")


class MemoryBrokerTests(SynchronousTestCase):
    def test_each_quality_of_service(self) -> None:
        """Messages arrive once, are acknowledged, and look as they were published."""
        with MemoryBroker() as broker:
            ada, bob = broker.connect("ada"), broker.connect("bob", version=4)
            assert bob.subscribe("#", qos=2) == [ReasonCode.GRANTED_QOS_2]
            for qos, code in ((0, None), (1, ReasonCode.SUCCESS), (2, ReasonCode.SUCCESS)):
                assert ada.publish("news", b"x", qos) is code
                assert bob.messages() == [Message("news", b"x", qos)]

    def test_time_passes_when_it_is_told_to(self) -> None:
        """A plugin that waits for a second is asked without waiting for one."""
        with MemoryBroker(use(Slow)) as broker:
            ada = broker.connect("ada", "ada")
            assert ada.code is None
            broker.advance(1)
            assert ada.code is ReasonCode.SUCCESS

    def test_a_plugin_that_does_not_start(self) -> None:
        """Fails the test with the reason."""
        error = self.assertRaises(PluginError, MemoryBroker(use(Broken)).__enter__)
        assert "could not be started: OSError: no" in str(error)

    def test_what_only_asyncio_can_await(self) -> None:
        """There is no loop of asyncio's: the plugin fails, and so refuses, instead of hanging."""
        with MemoryBroker(use(NeedsAsyncio)) as broker:
            assert broker.connect("ada").code is ReasonCode.SERVER_UNAVAILABLE
            assert broker.failures == {"authenticate/failed": 1}
        self.flushLoggedErrors()


class ListeningBrokerTests(TestCase):
    """Under the reactor, over TCP."""

    def connack(self, port: int, username: str) -> Connack:
        """Connect with a socket that blocks; for a thread."""
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(encode(Connect(Version.V5, "a", True, 0, username), Version.V5))
            reader = PacketReader()
            reader.version = Version.V5
            while (packet := reader.next_packet()) is None:
                reader.feed(connection.recv(1000))
        assert isinstance(packet, Connack)
        return packet

    async def test_any_client(self) -> None:
        """It listens on a free port, and what a plugin asks in a thread is heard."""
        async with ListeningBroker(use(Asyncio)) as broker:
            for username, code in (("ada", ReasonCode.SUCCESS), ("eve", ReasonCode.BANNED)):
                connack: Any = await deferToThread(self.connack, broker.port, username)
                assert connack.code is code
            assert broker.failures == {}


class Seen(Plugin):
    def start(self) -> None:
        self.seen: list[ClientInfo] = []

    def on_connect(self, client: ClientInfo) -> None:
        self.seen.append(client)


def test_in_a_plain_function_of_pytest() -> None:
    """A test need not be a class."""
    with MemoryBroker(use(Slow), use(Seen)) as broker:
        broker.connect("ada")
        broker.advance(1)
        assert [client.client_id for client in broker.plugin(1).seen] == ["ada"]
