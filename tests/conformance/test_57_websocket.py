"""v3 and v5 §6: MQTT over WebSocket, frame by frame."""

from __future__ import annotations

import os

import pytest

from tests.conformance import v5_packets as v5
from tests.conformance.harness import Broker, RawClient, unique
from tests.conformance.packets import ACCEPTED, PINGREQ, PINGRESP, connect
from tests.conformance.statements import holds

BINARY, TEXT, CLOSE = 0x82, 0x81, 0x88


def frame(payload: bytes, first: int = BINARY) -> bytes:
    """One masked frame, as clients send it."""
    assert len(payload) < 126
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((first, 0x80 | len(payload))) + mask + masked


def asked(broker: Broker, protocols: str | None = "mqtt") -> tuple[RawClient, bytes]:
    """A client that asked for an upgrade, and the answer."""
    client = broker.open(second_port=True)
    wanted = "" if protocols is None else f"Sec-WebSocket-Protocol: {protocols}\r\n"
    client.send(
        b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        + wanted.encode()
        + b"\r\n"
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n") and (byte := client.read(1)):
        answer += byte
    return client, answer


def upgraded(broker: Broker) -> RawClient:
    """A client that frames may be sent on."""
    client, answer = asked(broker)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return client


def carried(client: RawClient, size: int) -> bytes:
    """So many bytes of MQTT, in however many frames."""
    data = b""
    while len(data) < size:
        first, length = client.read(2)
        assert first == BINARY
        data += client.read(length)
    return data


def question() -> bytes:
    return connect(unique(), username="alice", password=b"secret")


@holds("v5 [MQTT-6.0.0-4]", "v5 [MQTT-6.0.0-3]", "v3 [MQTT-6.0.0-4]", "v3 [MQTT-6.0.0-3]")
@pytest.mark.parametrize("protocols", ["mqtt", "other, mqtt"])
def test_sub_protocol(doors: Broker, protocols: str) -> None:
    """The server chooses mqtt."""
    _, answer = asked(doors, protocols)
    headers = [line.lower() for line in answer.decode().split("\r\n")]
    assert "sec-websocket-protocol: mqtt" in headers


@holds("v5 [MQTT-6.0.0-1]", "v3 [MQTT-6.0.0-1]")
def test_binary_frames(doors: Broker) -> None:
    """Packets go and come in binary frames."""
    client = upgraded(doors)
    client.ask(frame(question()), bytes((BINARY, len(ACCEPTED))) + ACCEPTED)


@holds("v5 [MQTT-6.0.0-1]", "v3 [MQTT-6.0.0-1]")
def test_text_frames(doors: Broker) -> None:
    """Any other frame with data ends the connection."""
    client = upgraded(doors)
    client.send(frame(question(), TEXT))
    rest = client.read(1000)
    assert rest[:1] in (b"", bytes((CLOSE,)))
    assert ACCEPTED not in rest


@holds("v5 [MQTT-6.0.0-2]", "v3 [MQTT-6.0.0-2]")
def test_packets_are_not_aligned_to_frames(doors: Broker) -> None:
    """A packet may be split over frames, share one, or be followed by empty ones."""
    client = upgraded(doors)
    data = question() + PINGREQ
    for at in range(len(data)):
        client.send(frame(data[at : at + 1]) + frame(b""))
    assert carried(client, 6) == ACCEPTED + PINGRESP
    client.send(frame(PINGREQ + PINGREQ))
    assert carried(client, 4) == PINGRESP * 2


@holds("v5 [MQTT-6.0.0-1]", "v5 §6")
def test_version_5(doors: Broker, name: str) -> None:
    """Version 5 is spoken there, too."""
    client = upgraded(doors)
    client.send(frame(v5.connect(name, username="alice", password=b"secret")))
    header = client.read(2)
    answer = v5.read_answer(client.read(header[1]))
    assert (header[0], answer.kind, answer.code) == (BINARY, 0x20, 0)
