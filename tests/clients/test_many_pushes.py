"""A hundred thousand pushes over kept connections, while a thousand devices listen."""

from __future__ import annotations

import asyncio
import time

from pushd.mqtt.codes import QoS, Version
from pushd.mqtt.packets import Connack, Connect, Packet, Puback, Publish, Subscribe, SubscriptionRequest
from pushd.mqtt.reader import PacketReader
from pushd.mqtt.writer import encode
from tests.clients.furniture import BrokerTestCase

PUSHES = 100_000
DEVICES = 1000
CALLERS = 20
DEADLINE_S = 400.0

SETTINGS = """\
persistence true
persistence_location store
durability normal

listener {mqtt} 127.0.0.1
allow_anonymous true

listener {http} 127.0.0.1
protocol http
allow_anonymous true
"""


class Phone(asyncio.Protocol):
    """A device with a persistent session that is subscribed to its own topic at QoS 1."""

    def __init__(self, number: int, wanted: int) -> None:
        self._number = number
        self._wanted = wanted
        self._reader = PacketReader()
        self._transport: asyncio.Transport | None = None
        self.subscribed = asyncio.get_running_loop().create_future()
        self.complete = asyncio.get_running_loop().create_future()
        self.payloads: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send(Connect(Version.V3_1_1, f"phone-{self._number}", clean_start=False, keep_alive_s=600))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        for packet in iter(self._reader.next_packet, None):
            self._take(packet)

    def leave(self) -> None:
        """At once: a thousand open files would be too many for what other tests use."""
        assert self._transport is not None
        self._transport.abort()

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            self.payloads.append(int(packet.payload))
            self._send(Puback(packet.packet_id))
            if len(self.payloads) == self._wanted:
                self.complete.set_result(None)
        elif isinstance(packet, Connack):
            self._send(Subscribe(1, [SubscriptionRequest(f"phones/{self._number}", QoS.AT_LEAST_ONCE)]))
        else:
            self.subscribed.set_result(None)

    def _send(self, packet: Packet) -> None:
        assert self._transport is not None
        self._transport.write(encode(packet, Version.V3_1_1))


async def push_all(port: int, devices: range, rounds: int) -> None:
    """One caller: a push to each of its devices in turn, each after the answer to the one before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(rounds):
        for device in devices:
            body = b"%d" % number
            head = f"POST /phones%2F{device} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            length = int(answer.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
    writer.close()


class ManyPushesTests(BrokerTestCase):
    settings = SETTINGS

    def test_order_is_kept_and_nothing_is_lost(self) -> None:
        """Each device gets each of its messages once, in the order in which they were answered."""
        asyncio.run(asyncio.wait_for(self._push_to_phones(), DEADLINE_S))

    async def _push_to_phones(self) -> None:
        loop, rounds = asyncio.get_running_loop(), PUSHES // DEVICES
        phones = []
        for number in range(DEVICES):
            _, phone = await loop.create_connection(
                lambda number=number: Phone(number, rounds),  # type: ignore[misc]
                "127.0.0.1",
                self.broker.port("mqtt"),
            )
            phones.append(phone)
        await asyncio.gather(*(phone.subscribed for phone in phones))
        begun = time.monotonic()
        port = self.broker.port("http")
        await asyncio.gather(
            *(push_all(port, range(caller, DEVICES, CALLERS), rounds) for caller in range(CALLERS))
        )
        await asyncio.gather(*(phone.complete for phone in phones))
        for phone in phones:
            phone.leave()
        print(f"{PUSHES / (time.monotonic() - begun):.0f} pushes per second")
        for phone in phones:
            self.assertEqual(phone.payloads, list(range(rounds)))
