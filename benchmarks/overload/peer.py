"""An attacker's connection to the broker, and the stage that an attack is performed on."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.overload.packets import CONNACK, SUBACK, connect, cut, subscribe

PATIENCE_S = 30.0  # for an answer of a broker that is busy
_BIND_ADDRESS_NO_PORT = 24  # of <linux/in.h>: take a port when connecting, so that many can share one


@dataclass(frozen=True, slots=True)
class Stage:
    """
    What an attack knows.

    :ivar ports: of the broker, by the names of its doors: ``load`` for plain MQTT, ``tls``, ``websocket``
        and, where it has one, ``gateway``.
    :ivar seconds: how long to go on.
    :ivar scale: what part of the crowd to bring; 1 is what a benchmark brings.
    :ivar connect_timeout_s: after which the broker should drop who is not a client yet.
    """

    ports: dict[str, int]
    seconds: float
    scale: float
    connect_timeout_s: float

    def phase(self, name: str) -> None:
        """Say that another part of the attack begins."""
        print(f"phase {name}", flush=True)


def address(number: int) -> str:
    """One of 62 500 addresses of attackers."""
    return f"127.1.{number // 250 % 250}.{number % 250 + 1}"


class Peer(asyncio.Protocol):
    """
    One connection; counts what it gets.

    :ivar counts: packets by type.
    :ivar retained: how many of the PUBLISH packets were retained messages.
    :ivar on_packet: called with the first byte of each packet and its body.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.counts: Counter[int] = Counter()
        self.retained = 0
        self.on_packet: Callable[[int, bytes], None] | None = None
        self.gone = loop.create_future()
        self.refused = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, reason: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
        self._news.set()
        self._room.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while at < len(data) and (found := cut(data, at)):
            first, body, at = found
            self.counts[first >> 4] += 1
            self.retained += first & 0xF1 == 0x31
            if first >> 4 == CONNACK:
                self.refused = data[body + 1] != 0
            if self.on_packet:
                self.on_packet(first, data[body:at])
        self._rest = data[at:]
        self._news.set()

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended."""
        return bool(self.gone.done())

    def write(self, data: bytes) -> None:
        """Send, whatever still waits."""
        self.transport.write(data)

    async def send(self, data: bytes) -> None:
        """Send, and wait while the broker takes no more."""
        self.transport.write(data)
        await self._room.wait()

    async def has(self, kind: int, number: int = 1, patience_s: float = PATIENCE_S) -> bool:
        """Wait for so many packets of a type; ``False``: the connection ended, or the broker's time did."""
        return await self.until(lambda: self.counts[kind] >= number, patience_s)

    async def until(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Wait until something is true of what came; ``False``: nothing came for so long, or it ended."""
        while not condition():
            if self.is_gone:
                return False
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), patience_s)
            except asyncio.TimeoutError:
                return False
        return True

    def abort(self) -> None:
        """End it at once."""
        self.transport.abort()


async def open_peer(port: int, number: int = 0, receive_buffer: int | None = None) -> Peer:
    """
    Connect.

    :param number: of the address to come from.
    :param receive_buffer: bytes that the kernel keeps for who does not read.
    """
    loop = asyncio.get_running_loop()
    endpoint = socket.socket()
    endpoint.setblocking(False)
    endpoint.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    if receive_buffer is not None:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    endpoint.bind((address(number), 0))
    try:
        await asyncio.wait_for(loop.sock_connect(endpoint, ("127.0.0.1", port)), PATIENCE_S)
        _, peer = await loop.create_connection(Peer, sock=endpoint)
    except BaseException:
        endpoint.close()
        raise
    return peer


async def open_client(
    port: int,
    client_id: str,
    filters: Sequence[str] = (),
    *,
    qos: int = 0,
    number: int = 0,
    receive_buffer: int | None = None,
) -> Peer:
    """
    Connect as a client with a clean session, and subscribe.

    :raises ConnectionError: the broker does not want it.
    """
    peer = await open_peer(port, number, receive_buffer)
    peer.write(connect(client_id))
    if filters:
        peer.write(subscribe(filters, qos))
    if not await peer.has(SUBACK if filters else CONNACK):
        raise ConnectionError(f"{client_id} is not let in")
    return peer


async def seconds_until_gone(peers: list[Peer], limit_s: float) -> tuple[float, int]:
    """
    Wait for the broker to end connections.

    :return: how long that took, and how many are left after `limit_s`.
    """
    loop = asyncio.get_running_loop()
    begin = loop.time()
    if peers:
        await asyncio.wait([peer.gone for peer in peers], timeout=limit_s)
    return loop.time() - begin, sum(not peer.is_gone for peer in peers)
