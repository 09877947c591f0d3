"""A paho-mqtt client that tests can wait for."""

from __future__ import annotations

import socket
from queue import SimpleQueue
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.processes import DEADLINE_S

V31, V311, V5 = MQTTProtocolVersion.MQTTv31, MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


class Device:
    """
    A paho client with a thread of its own. What it is told waits in queues.

    :ivar connects: of the code and *session present* of each CONNACK.
    :ivar arrived: of messages.
    :ivar acknowledged: of packet identifiers: of own publishes, subscriptions and the end of subscriptions.
    :ivar ends: for each connection that ended, why, in paho's words for reason codes.
    :ivar session_present: what the last CONNACK said.
    """

    def __init__(self, client_id: str, version: MQTTProtocolVersion = V311, **flags: Any) -> None:
        """
        :param flags: paho's own.
        """
        flags = {"reconnect_on_failure": False, **flags}
        self.client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=version, **flags)
        self.connects: SimpleQueue[tuple[int, bool]] = SimpleQueue()
        self.arrived: SimpleQueue[MQTTMessage] = SimpleQueue()
        self.acknowledged: SimpleQueue[int] = SimpleQueue()
        self.ends: SimpleQueue[str] = SimpleQueue()
        self.session_present = False
        self.client.on_connect = lambda _, __, told, code, ___: self.connects.put(
            (code.value, told.session_present)
        )
        self.client.on_message = lambda _, __, message: self.arrived.put(message)
        self.client.on_publish = lambda _, __, packet_id, *more: self.acknowledged.put(packet_id)
        self.client.on_subscribe = lambda _, __, packet_id, *more: self.acknowledged.put(packet_id)
        self.client.on_unsubscribe = lambda _, __, packet_id, *more: self.acknowledged.put(packet_id)
        self.client.on_disconnect = lambda _, __, ___, code, ____: self.ends.put(str(code))

    def connect(self, port: int, **flags: Any) -> tuple[int, bool]:
        """
        :param flags: paho's own.
        :return: what the CONNACK says.
        """
        self.client.connect("localhost", port, **flags)
        self.client.loop_start()
        code, self.session_present = self.connects.get(timeout=DEADLINE_S)
        return code, self.session_present

    def subscribe(self, filter: str, how: Any, said: Properties | None = None) -> None:
        """
        Until it is acknowledged.

        :param how: the QoS; with version 5 also `SubscribeOptions`.
        """
        if self.client.protocol == V5:
            options = SubscribeOptions(how) if isinstance(how, int) else how
            result, _ = self.client.subscribe(filter, options=options, properties=said)
        else:
            result, _ = self.client.subscribe(filter, how)
        assert result == MQTTErrorCode.MQTT_ERR_SUCCESS
        self.acknowledged.get(timeout=DEADLINE_S)

    def publish(self, topic: str, payload: bytes | str, qos: int = 1, said: Properties | None = None) -> None:
        """Until it is acknowledged."""
        self.client.publish(topic, payload, qos, properties=said).wait_for_publish(DEADLINE_S)

    def next_message(self) -> MQTTMessage:
        return self.arrived.get(timeout=DEADLINE_S)

    def next_payloads(self, count: int) -> list[bytes]:
        return [bytes(self.next_message().payload) for _ in range(count)]

    def die(self) -> None:
        """Lose the connection without a DISCONNECT."""
        connection = self.client.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        self.ends.get(timeout=DEADLINE_S)
        self.client.loop_stop()

    def leave(self) -> None:
        """With a DISCONNECT, if there is a connection."""
        self.client.disconnect()
        self.client.loop_stop()
