"""Attacks at the door: who never becomes a client, or becomes one again and again."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

from benchmarks.overload.packets import CONNACK, SUBACK, connect, subscribe
from benchmarks.overload.peer import Peer, Stage, open_peer, seconds_until_gone

CROWD = 500  # connections
CROWD_PER_ADDRESS = 10
GARBAGE_RATE = 10_000_000  # bytes per second
GARBAGE_BYTES = 64 * 1024  # to one connection
GARBAGE_WORKERS = 20
GUESSES = 200  # per second
GUESSED_USERS = 50
STORMING = 2000  # clients
TAKING_OVER = 200  # clients
MARGIN_S = 3.0  # that the broker may take longer than its connect_timeout

Outcome = dict[str, float]


async def silent(stage: Stage) -> Outcome:
    """Connections that send nothing."""
    return await _never_clients(stage, stage.ports["load"], _nothing)


async def tls_half(stage: Stage) -> Outcome:
    """TLS handshakes that end after the ClientHello."""
    hello = client_hello()

    async def say_hello(peer: Peer) -> None:
        peer.write(hello)

    return await _never_clients(stage, stage.ports["tls"], say_hello)


async def tls_dribble(stage: Stage) -> Outcome:
    """A ClientHello that comes a byte at a time."""
    hello = client_hello()

    async def dribble(peer: Peer) -> None:
        for byte in hello:
            if peer.is_gone:
                return
            peer.write(bytes((byte,)))
            await asyncio.sleep(0.1)

    return await _never_clients(stage, stage.ports["tls"], dribble)


async def _nothing(peer: Peer) -> None:
    pass


async def _never_clients(stage: Stage, port: int, behave: Callable[[Peer], Awaitable[None]]) -> Outcome:
    """A crowd that stays until it is sent away."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    peers = list(
        await asyncio.gather(*(open_peer(port, number // CROWD_PER_ADDRESS) for number in range(CROWD)))
    )
    tasks = [asyncio.ensure_future(behave(peer)) for peer in peers]
    _, left = await seconds_until_gone(peers, stage.connect_timeout_s + MARGIN_S)
    for task in tasks:
        task.cancel()
    return {"s until all are gone": loop.time() - begin, "still connected": left}


def client_hello() -> bytes:
    """The first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


# ---- garbage ----


async def garbage(stage: Stage) -> Outcome:
    """Random bytes, on ever new connections."""

    async def prepare(number: int) -> Peer:
        return await open_peer(stage.ports["load"], number)

    return await _throw_garbage(stage, prepare)


async def garbage_inside(stage: Stage) -> Outcome:
    """Random bytes of clients that were let in."""

    async def prepare(number: int) -> Peer:
        peer = await open_peer(stage.ports["load"], number)
        peer.write(connect(f"garbage-{number}"))
        await peer.has(CONNACK)
        return peer

    return await _throw_garbage(stage, prepare)


async def garbage_web(stage: Stage) -> Outcome:
    """Random bytes as HTTP requests, header fields, bodies and WebSocket frames."""
    web = stage.ports["websocket"]
    doors = [
        (web, b""),
        (web, b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
              b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"),
    ]  # fmt: skip
    if "gateway" in stage.ports:
        http = stage.ports["gateway"]
        doors += [
            (http, b""),
            (http, b"GET / HTTP/1.1\r\nX: "),
            (http, b"POST /alerts HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n"),
            (http, b"POST /alerts HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ]

    async def prepare(number: int) -> Peer:
        port, beginning = doors[number % len(doors)]
        peer = await open_peer(port, number)
        # What comes back is not MQTT.
        peer.data_received = lambda data: None  # type: ignore[method-assign]
        peer.write(beginning)
        return peer

    return await _throw_garbage(stage, prepare)


async def _throw_garbage(stage: Stage, prepare: Callable[[int], Awaitable[Peer]]) -> Outcome:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    rubbish = os.urandom(16 * GARBAGE_BYTES)
    connections = 0

    async def work(worker: int) -> None:
        nonlocal connections
        due = begin
        while loop.time() < begin + stage.seconds:
            number = connections
            connections += 1
            start = number % 15 * GARBAGE_BYTES + number % 251  # another first byte each time
            with suppress(OSError):
                peer = await prepare(number)
                peer.write(rubbish[start : start + GARBAGE_BYTES])
                await asyncio.wait([peer.gone], timeout=0.5)
                peer.abort()
            due += GARBAGE_BYTES * GARBAGE_WORKERS / GARBAGE_RATE
            await asyncio.sleep(max(due - loop.time(), 0))

    await asyncio.gather(*map(work, range(GARBAGE_WORKERS)))
    passed_s = loop.time() - begin
    return {"connections/s": connections / passed_s, "MB/s": connections * GARBAGE_BYTES / passed_s / 1e6}


# ---- those who come again ----


async def guess(stage: Stage) -> Outcome:
    """Wrong passwords for known and unknown users, each from another address."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    answered = 0

    async def attempt(number: int) -> None:
        nonlocal answered
        with suppress(OSError):
            was_answered = await _guess_once(stage, number)  # others count meanwhile
            answered += was_answered

    attempts: list[asyncio.Future[None]] = []
    while (passed_s := loop.time() - begin) < stage.seconds:
        while len(attempts) < passed_s * GUESSES:
            attempts.append(asyncio.ensure_future(attempt(len(attempts))))
        await asyncio.sleep(0.01)
    await asyncio.wait(attempts, timeout=MARGIN_S)
    for one in attempts:
        one.cancel()
    return {"guesses": len(attempts), "answered": answered}


async def _guess_once(stage: Stage, number: int) -> bool:
    peer = await open_peer(stage.ports["load"], number)
    user = f"user-{number % GUESSED_USERS}" if number % 4 else f"nobody-{number}"
    peer.write(connect(f"guess-{number}", user, f"wrong-{number}"))
    try:
        return await peer.has(CONNACK) or peer.is_gone
    finally:
        peer.abort()


async def reconnect_storm(stage: Stage) -> Outcome:
    """Clients that all lose their connections at once, and all come back at once."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    storming = int(STORMING * stage.scale)
    served = rounds = 0
    while loop.time() < begin + stage.seconds:
        made = await asyncio.gather(*(_come_back(stage, number) for number in range(storming)))
        served += sum(peer is not None for peer in made)
        rounds += 1
        for peer in filter(None, made):
            peer.abort()
    passed_s = loop.time() - begin
    return {"rounds": rounds, "let in/s": served / passed_s, "unserved": rounds * storming - served}


async def _come_back(stage: Stage, number: int) -> Peer | None:
    try:
        peer = await open_peer(stage.ports["load"], number)
    except OSError:
        return None
    peer.write(connect(f"storm-{number}") + subscribe([f"storm/{number}"]))
    if await peer.has(SUBACK):
        return peer
    peer.abort()
    return None


async def takeover_storm(stage: Stage) -> Outcome:
    """Many connections with the same client id at once: one survives."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    survivors: list[int] = []
    while not survivors or loop.time() < begin + stage.seconds:
        peers = await asyncio.gather(*(open_peer(stage.ports["load"], n) for n in range(TAKING_OVER)))
        for peer in peers:
            peer.write(connect("the-one"))
        for peer in peers:
            await peer.until(lambda peer=peer: peer.counts[CONNACK] or peer.is_gone)  # type: ignore[misc]
        await asyncio.sleep(0.3)  # for the last connection that was taken over to end
        survivors.append(sum(not peer.is_gone for peer in peers))
        for peer in peers:
            peer.abort()
    return {"rounds": len(survivors), "survivors, least": min(survivors), "survivors, most": max(survivors)}
