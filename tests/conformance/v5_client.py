"""Clients of MQTT 5.0 for the conformance tests: like `harness.RawClient`, bytes out and bytes in."""

from __future__ import annotations

import time

from tests.conformance import v5_packets as v5
from tests.conformance.harness import Broker, RawClient, unique
from tests.conformance.packets import PINGREQ, PINGRESP


class Client(RawClient):
    """
    One TCP connection that speaks version 5.

    :ivar connack: the answer to its CONNECT.
    """

    connack: v5.Answer

    def answer(self) -> v5.Answer:
        """The next packet, which is no PUBLISH."""
        data = self.packet()
        assert data, "the connection was closed"
        return v5.read_answer(data)

    def message(self) -> v5.Message:
        """The next packet, which is a PUBLISH."""
        return v5.read_message(self.packet())

    def messages_until_ping(self) -> list[v5.Message]:
        """The PUBLISH packets that were sent up to now."""
        return [v5.read_message(data) for data in self.packets_until_ping()]

    def payloads(self) -> list[bytes]:
        """What they carry."""
        return [message.payload for message in self.messages_until_ping()]

    def next_payload(self) -> bytes:
        """What the next packet, a PUBLISH, carries."""
        return self.message().payload

    def expect_refused(self, code: int) -> v5.Answer:
        """The answer to CONNECT is this CONNACK, and then the end."""
        answer = self.answer()
        assert (answer.kind, answer.packet_id, answer.code) == (0x20, 0, code), answer
        self.expect_closed()
        return answer

    def expect_disconnect(self, code: int) -> v5.Answer:
        """The next packet is this DISCONNECT, and then the connection ends."""
        answer = self.answer()
        assert (answer.kind, answer.code) == (0xE0, code), answer
        self.expect_closed()
        return answer

    def subscribes(self, *requests: tuple[str, int], identifier: int = 0) -> None:
        """Subscribe to each ``(topic filter, options)`` and be granted all of it."""
        granted = v5.suback(9000, *(options & 3 for _, options in requests))
        self.ask(v5.subscribe(9000, *requests, identifier=identifier), granted)

    def accepts(self, packet_id: int, qos: int) -> None:
        """Acknowledge a message with the whole handshake."""
        if qos == 1:
            self.send(v5.puback(packet_id))
        else:
            self.ask(v5.pubrec(packet_id), v5.pubrel(packet_id))
            self.send(v5.pubcomp(packet_id))

    def leaves(self, code: int = 0, *properties: bytes) -> None:
        """Say DISCONNECT, and see the broker close."""
        self.send(v5.disconnect(code, *properties))
        self.expect_closed()


def opened(broker: Broker) -> Client:
    """A connection on which nothing has been sent."""
    return Client(broker.port)


def connected(
    broker: Broker,
    client_id: str | None = None,
    *properties: bytes,
    clean: bool = True,
    keep_alive: int = 60,
    will: v5.Will | None = None,
    username: str | None = None,
    password: bytes | None = None,
) -> Client:
    """A client whose CONNECT was accepted."""
    client = opened(broker)
    client.send(
        v5.connect(
            unique() if client_id is None else client_id,
            *properties,
            clean=clean,
            keep_alive=keep_alive,
            will=will,
            username=username,
            password=password,
        )
    )
    client.connack = client.answer()
    assert (client.connack.kind, client.connack.code) == (0x20, 0), client.connack
    return client


def subscribed(
    broker: Broker, *requests: tuple[str, int], identifier: int = 0, properties: tuple[bytes, ...] = ()
) -> Client:
    """A connected client that was granted these subscriptions."""
    client = connected(broker, None, *properties)
    client.subscribes(*requests, identifier=identifier)
    return client


def kept(broker: Broker, client_id: str, *requests: tuple[str, int], expiry: int = 60) -> Client:
    """A client with a new session that outlives its connection."""
    client = connected(broker, client_id, v5.session_expiry(expiry), clean=True)
    if requests:
        client.subscribes(*requests)
    return client


def resumed(broker: Broker, client_id: str, *properties: bytes, expiry: int = 60) -> Client:
    """The client of a kept session that came back."""
    client = connected(broker, client_id, v5.session_expiry(expiry), *properties, clean=False)
    assert client.connack.packet_id == 1, "no session is present"
    return client


def forgets(broker: Broker, client_id: str) -> None:
    """End a kept session that a test is done with."""
    connected(broker, client_id).leaves()


def publishes(
    broker: Broker,
    topic: str,
    payload: bytes = b"",
    *properties: bytes,
    qos: int = 0,
    retain: bool = False,
) -> v5.Answer | None:
    """
    Somebody else publishes one message; on return the broker has it.

    :return: the PUBACK or PUBREC.
    """
    client = connected(broker)
    client.send(v5.publish(topic, payload, 1, *properties, qos=qos, retain=retain))
    answer = client.answer() if qos else None
    if qos == 2 and answer is not None and answer.code < 0x80:
        client.ask(v5.pubrel(1), v5.pubcomp(1))
    client.ask(PINGREQ, PINGRESP)
    client.leaves()
    return answer


def retained(broker: Broker, topic_filter: str) -> list[v5.Message]:
    """What a new subscription at QoS 2 is answered with."""
    client = subscribed(broker, (topic_filter, 2))
    found = client.messages_until_ping()
    client.drop()
    return found


def unretains(broker: Broker, topic: str) -> None:
    """Clear what is retained, so that other tests do not see it."""
    publishes(broker, topic, retain=True)


def pause(seconds: float) -> None:
    """Let time pass: for intervals of the standard, which are whole seconds."""
    time.sleep(seconds)
