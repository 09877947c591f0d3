"""
The express lane: the packets that a busy connection is full of, handled without a packet object each.

They are the PUBLISH to a topic that this client has just published to, and the four acknowledgements. Every
effect is that of `Client` and `Session`; what this saves is making an object and looking up a method per
packet (see ``benchmarks/``, scenarios pair1 and qos1). Anything out of the ordinary (RETAIN, DUP, properties,
a Remaining Length of three bytes, an incomplete or malformed packet) is left to the reader.

A run of QoS 0 publishes to one topic is passed on as the one piece of bytes that it is: subscribers of the
same protocol version get exactly the packets that came in.
"""

from __future__ import annotations

from collections.abc import Iterator

from pushd.broker.client import Client
from pushd.broker.message import Message
from pushd.broker.router import Route

PUBLISH_QOS0, PUBLISH_QOS1, PUBLISH_QOS2 = 0x30, 0x32, 0x34
PUBACK, PUBREC, PUBREL, PUBCOMP = 0x40, 0x50, 0x62, 0x70

# How many copies of QoS 1 and 2 messages are made at a time: a read of 64 KiB may bring a thousand messages
# for a thousand subscribers each, and others want to be served, too.
MAX_COPIES = 2000


def handle_express(client: Client, data: bytes, at: int) -> int:
    """
    Handle packets from offset `at` on, as long as they are whole and ordinary.

    :return: the offset of the first packet that is left to the reader, or to the next time; ``len(data)`` if
        none is.
    """
    end = len(data)
    copies = MAX_COPIES
    while at + 4 <= end:
        first = data[at]
        length = data[at + 1]
        if first >= PUBACK:
            if length != 2 or not _handle_ack(client, first, data[at + 2] << 8 | data[at + 3]):
                return at
            at += 4
            continue
        body = at + 2
        if length > 127:
            if not 0 < data[body] < 128:  # three bytes, or an encoding that is too long to be passed on
                return at
            length = length & 127 | data[body] << 7
            body += 1
        after = body + length
        name_end = body + 2 + (data[body] << 8 | data[body + 1]) if body + 2 <= end else end + 1
        if after > end or name_end > after:
            return at
        route = client.routes.get(data[body + 2 : name_end])
        if route is None or not route.fresh:
            return at
        if first == PUBLISH_QOS0:
            stop = _relay_run(client, route, data, at, name_end, after)
        elif first in (PUBLISH_QOS1, PUBLISH_QOS2):
            stop = _publish(client, route, data, at, name_end, after)
            copies -= len(route.targets)
            if client.pressure.strained is not None:
                client.pressure.hold_back(client)
                return stop
            if copies < 0:
                return stop
        else:
            return at
        if stop == at:
            return at
        at = stop
    return at


def _handle_ack(client: Client, first: int, packet_id: int) -> bool:
    """:return: whether it was one of the four, of a legal packet identifier."""
    if packet_id == 0:
        return False
    if first == PUBACK:
        client.session.on_puback(packet_id)
    elif first == PUBREC:
        client.on_pubrec(packet_id)
    elif first == PUBREL:
        client.on_pubrel(packet_id)
    elif first == PUBCOMP:
        client.session.on_pubcomp(packet_id)
    else:
        return False
    client.counters.others_received += 1
    return True


def _publish(client: Client, route: Route, data: bytes, at: int, name_end: int, after: int) -> int:
    """One PUBLISH of QoS 1 or 2 without properties. :return: `after`, or `at` if it is none."""
    payload_at = name_end + 2
    v5 = client.v5
    if payload_at + v5 > after or (v5 and data[payload_at]):
        return at
    packet_id = data[name_end:payload_at]
    if packet_id == b"\0\0":
        return at
    qos = data[at] >> 1 & 3
    if qos > client.policy.max_qos or (v5 and (not route.targets or client.at_receive_maximum)):
        return at  # the answer is not simply Success
    tail = data[payload_at:after]
    message = Message(route.topic, tail[1:] if v5 else tail, qos)
    if not client.policy.mount_point:
        # The PUBLISH came in with exactly the bytes that it goes out with: no need to encode it again.
        if v5:
            message.image_v5 = data[at:name_end], tail
        else:
            message.image_v3 = data[at:name_end], tail
    counters = client.counters
    counters.publish_received += 1
    size = len(message.payload)
    counters.publish_bytes_received += size
    if qos == 1 or client.session.hold_received(int.from_bytes(packet_id, "big")):
        route.messages += 1
        route.payload_bytes += size
        route.publish_to(route.targets, message, client.session)
    client.accept_publish(qos, packet_id)
    return after


def _relay_run(client: Client, route: Route, data: bytes, start: int, name_end: int, at: int) -> int:
    """
    A QoS 0 publish, and as many to the same topic as follow it.

    :param start: where the first one starts; it is whole.
    :param name_end: where its topic name ends.
    :param at: where the next packet starts.
    :return: where the run ends; `start` if the first cannot be passed on as it is.
    """
    v5 = client.v5
    lead_end = name_end + v5
    if client.policy.mount_point or (v5 and (lead_end > at or data[name_end])):
        return start
    # The lead is what packets of equal length have in common: fixed header and topic name, in version 5
    # also the empty properties. It is compared in one piece, and read again only when the length changes.
    lead = data[start:lead_end]
    size = at - start
    end = len(data)
    name = route.name
    name_size = len(name)
    count = 1
    payload_bytes = at - lead_end
    while at < end:
        if not data.startswith(lead, at):
            if data.find(name, at + 2, at + name_size + 3) < 0:
                break  # to another topic: seen without a call, which is worth it where topics take turns
            cut = _cut_qos0(data, at, name, v5)
            if cut is None:
                break
            lead, size = cut
        if at + size > end:
            break
        at += size
        count += 1
        payload_bytes += size - len(lead)
    _pass_on(client, route, data[start:at], count, payload_bytes)
    return at


def _cut_qos0(data: bytes, at: int, name: bytes, v5: bool) -> tuple[bytes, int] | None:
    """
    :param name: the topic name with its length in front.
    :return: ``(lead, size)`` of a QoS 0 PUBLISH to this topic, or ``None`` if something else is at `at`.
    """
    if at + 3 > len(data) or data[at] != PUBLISH_QOS0 or data.find(name, at + 2, at + 3 + len(name)) < 0:
        return None
    length = data[at + 1]
    body = at + 2
    if length > 127:
        if not 0 < data[body] < 128:
            return None
        length = length & 127 | data[body] << 7
        body += 1
    lead_end = body + len(name) + v5
    if (
        lead_end > body + length
        or not data.startswith(name, body)
        or (v5 and data[lead_end - 1 : lead_end] != b"\0")
    ):
        return None
    return data[at:lead_end], body - at + length


def _pass_on(client: Client, route: Route, run: bytes, count: int, payload_bytes: int) -> None:
    v5 = client.v5
    takers, others = route.relay_v5 if v5 else route.relay_v3
    turn = client.turn
    congested = 0
    for taker in takers:
        if taker.congested:
            congested += 1
            continue
        outbox = taker.outbox
        if not outbox:
            turn.mark(taker)
        outbox.append(run)
    counters = client.counters
    if congested:
        counters.dropped("slow_consumer", congested * count, route.topic)
    sent = len(takers) - congested
    counters.publish_received += count
    counters.publish_bytes_received += payload_bytes
    counters.publish_sent += count * sent
    counters.publish_bytes_sent += payload_bytes * sent
    route.messages += count
    route.payload_bytes += payload_bytes
    if others:
        for message in _messages(route, run, v5):
            route.publish_to(others, message, client.session)


def _messages(route: Route, run: bytes, v5: bool) -> Iterator[Message]:
    at = 0
    while at < len(run):
        cut = _cut_qos0(run, at, route.name, v5)
        assert cut is not None  # the run was cut in the same way
        lead, size = cut
        yield Message(route.topic, run[at + len(lead) : at + size])
        at += size
