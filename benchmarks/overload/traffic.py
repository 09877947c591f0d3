"""Attacks by clients that were let in: too many subscriptions, too many messages, too little reading."""

from __future__ import annotations

import asyncio
import itertools
import time

from benchmarks.overload.packets import (
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    puback,
    publish,
    publish_id,
    subscribe,
)
from benchmarks.overload.peer import Peer, Stage, open_client

Outcome = dict[str, float]

FILTERS = 10_000
LEVELS = 10  # of the topic that 2 ** LEVELS of the filters match
PER_SUBSCRIBE = 100  # filters
RETAINED_TOPICS = 1_000_000
DEAF_RATE = 50_000_000  # bytes per second
DEAF_PAYLOAD = 50_000
EAGER_MESSAGES = 100_000
CROWD = 1000  # who reads, and who does not
IDLE_S = 5.0  # without a message: no more will come


async def wildcards(stage: Stage) -> Outcome:
    """One client subscribes with 10 000 wildcards, is sent what a thousand of them match, and is cut off."""
    port = stage.ports["load"]
    levels = [f"level-{number}" for number in range(LEVELS)]
    matching = ["/".join(choice) for choice in itertools.product(*zip(levels, "+" * LEVELS, strict=True))]
    filters = matching + [f"other/{number}/+/#" for number in range(FILTERS - len(matching))]
    greedy = await open_client(port, "greedy")
    stage.phase("subscribe")
    for packet_id, start in enumerate(range(0, FILTERS, PER_SUBSCRIBE), 1):
        greedy.write(subscribe(filters[start : start + PER_SUBSCRIBE], packet_id=packet_id))
    await greedy.has(SUBACK, FILTERS // PER_SUBSCRIBE)
    stage.phase("publish")
    publisher = await open_client(port, "publisher")
    sent = 0
    end = time.monotonic() + stage.seconds
    while time.monotonic() < end:
        await publisher.send(publish("/".join(levels), b"x" * 100))
        sent += 1
        await asyncio.sleep(0.02)
    await greedy.has(PUBLISH, sent, IDLE_S)
    stage.phase("leave")
    greedy.abort()
    await asyncio.sleep(1)
    return {"SUBACKs": greedy.counts[SUBACK], "messages": sent, "received": greedy.counts[PUBLISH]}


# ---- retained messages ----


async def retained(stage: Stage) -> Outcome:
    """A million retained topics, and two who subscribe to all of them: one reads, one does at last."""
    port = stage.ports["load"]
    topics = int(RETAINED_TOPICS * stage.scale)
    stage.phase("publish")
    begin = time.monotonic()
    await _publish_retained(port, topics)
    published_s = time.monotonic() - begin
    stage.phase("read")
    begin = time.monotonic()
    reader = await open_client(port, "reader", ["#"])
    await _read_on(reader, topics)
    read_s = time.monotonic() - begin
    stage.phase("read slowly")
    slow = await open_client(port, "slow-reader", ["#"])
    await _read_slowly(slow, stage.seconds)
    await _read_on(slow, topics)
    return {
        "topics": topics,
        "read": reader.retained,
        "read slowly": slow.retained,
        "s to publish": published_s,
        "s to read": read_s,
    }


async def _publish_retained(port: int, topics: int) -> None:
    publisher = await open_client(port, "archive")
    for start in range(0, topics, 1000):
        numbers = range(start, min(start + 1000, topics))
        await publisher.send(b"".join(publish(f"r/{n % 1000}/{n}", b"x" * 16, retain=True) for n in numbers))
    await publisher.send(PINGREQ)  # answered when all before it are taken
    await publisher.has(PINGRESP, patience_s=120.0)
    publisher.abort()


async def _read_on(peer: Peer, topics: int) -> None:
    """Until all retained messages are there, or no more come; live ones do not count."""
    seen, since = -1, time.monotonic()
    while peer.retained < topics and not peer.is_gone and time.monotonic() < since + IDLE_S:
        if peer.retained > seen:
            seen, since = peer.retained, time.monotonic()
        await asyncio.sleep(0.02)


async def _read_slowly(peer: Peer, seconds: float) -> None:
    """A moment of reading, then none for longer, and so on."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not peer.is_gone:
        peer.transport.pause_reading()
        await asyncio.sleep(0.5)
        peer.transport.resume_reading()
        await asyncio.sleep(0.01)


# ---- who does not read ----


async def deaf_qos0(stage: Stage) -> Outcome:
    """50 MB/s of QoS 0 for a subscriber that stopped reading."""
    return await _shout(stage, 0)


async def deaf_qos1(stage: Stage) -> Outcome:
    """50 MB/s of QoS 1 for a subscriber that stopped reading."""
    return await _shout(stage, 1)


async def _shout(stage: Stage, qos: int) -> Outcome:
    port = stage.ports["load"]
    deaf = await open_client(port, "deaf", ["shout/#"], qos=qos)
    deaf.transport.pause_reading()
    publisher = await open_client(port, "shouter")
    begin = time.monotonic()
    sent = 0
    while (passed_s := time.monotonic() - begin) < stage.seconds:
        if sent * DEAF_PAYLOAD < passed_s * DEAF_RATE:
            sent += 1
            await publisher.send(publish("shout/x", b"x" * DEAF_PAYLOAD, packet_id=qos and sent % 65_000 + 1))
        else:
            await asyncio.sleep(0.001)
    return {
        "MB/s": sent * DEAF_PAYLOAD / passed_s / 1e6,
        "acknowledged": publisher.counts[PUBACK],
        "publisher cut off": publisher.is_gone,
    }


async def eager(stage: Stage) -> Outcome:
    """A publisher of QoS 1 that is faster than its subscriber, and waits for nothing but TCP."""
    port = stage.ports["load"]
    messages = int(EAGER_MESSAGES * stage.scale)
    subscriber = await open_client(port, "steady", ["eager"], qos=1)
    unacknowledged: list[bytes] = []

    def note(first: int, body: bytes) -> None:
        if first >> 4 == PUBLISH:
            unacknowledged.append(puback(publish_id(body)))

    subscriber.on_packet = note
    reading = asyncio.ensure_future(_acknowledge_now_and_then(subscriber, unacknowledged))
    publisher = await open_client(port, "eager")
    begin = time.monotonic()
    for number in range(messages):
        await publisher.send(publish("eager", b"x" * 100, packet_id=number % 65_000 + 1))
    await publisher.has(PUBACK, messages)
    published_s = time.monotonic() - begin
    await subscriber.until(lambda: subscriber.counts[PUBLISH] >= messages, IDLE_S)
    reading.cancel()
    return {
        "messages": messages,
        "acknowledged": publisher.counts[PUBACK],
        "received": subscriber.counts[PUBLISH],
        "messages/s": messages / published_s,
        "publisher cut off": publisher.is_gone,
    }


async def _acknowledge_now_and_then(peer: Peer, unacknowledged: list[bytes]) -> None:
    """As a phone does whose flash is slow: some hundred times a second, whatever has come."""
    while True:
        await asyncio.sleep(0.002)
        peer.write(b"".join(unacknowledged))
        unacknowledged.clear()


async def slow_crowd(stage: Stage) -> Outcome:
    """A fan-out to a crowd of which every other one does not read."""
    port = stage.ports["load"]
    crowd = int(CROWD * stage.scale)
    good = await asyncio.gather(*(open_client(port, f"good-{n}", ["news"], number=n) for n in range(crowd)))
    slow = await asyncio.gather(
        *(open_client(port, f"slow-{n}", ["news"], number=n, receive_buffer=4096) for n in range(crowd))
    )
    for peer in slow:
        peer.transport.pause_reading()
    publisher = await open_client(port, "news-desk")
    sent = 0
    end = time.monotonic() + stage.seconds
    while time.monotonic() < end:
        await publisher.send(publish("news", b"x" * 8000))
        sent += 1
        await asyncio.sleep(0.1)
    for peer in good:
        await peer.has(PUBLISH, sent, IDLE_S)
    received = sum(peer.counts[PUBLISH] for peer in good)
    return {"messages": sent, "missed by those who read": crowd * sent - received}
