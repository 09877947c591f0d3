"""
A client that writes down what it is told: paho-mqtt, one step after the other.

Nobody sleeps. A step ends with its answer, or with the end of the connection, which then is the answer.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.processes import DEADLINE_S

V31, V311, V5 = MQTTProtocolVersion.MQTTv31, MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


class Got(NamedTuple):
    """A message as it arrived."""

    topic: str
    payload: str
    qos: int
    retained: bool


class Visitor:
    """
    :ivar told: the properties of the CONNACK, if it is a version 5 client.
    :ivar session_present: the same CONNACK's.
    """

    # So many rounds without a message mean that nothing is under way: a message of QoS 2 takes two.
    QUIET_ROUNDS = 2

    def __init__(self, client_id: str = "", version: MQTTProtocolVersion = V311, **flags: Any) -> None:
        """:param flags: paho's own."""
        if version != V5:
            flags.setdefault("clean_session", True)
        self.client = Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False, **flags
        )
        self.told: dict[str, Any] = {}
        self.session_present = False
        self._news: SimpleQueue[tuple[str, int, Any]] = SimpleQueue()
        self._got: list[Got] = []
        self._end: str | None = None
        self.client.on_connect = self._connected
        self.client.on_message = self._arrived
        self.client.on_disconnect = lambda _, __, ___, code, ____: self._news.put(("end", 0, str(code)))
        for name in ("subscribe", "unsubscribe", "publish"):
            setattr(self.client, f"on_{name}", self._answer(name))

    def come(self, port: int | str, clean: bool = True, **flags: Any) -> str:
        """
        Connect.

        :param port: or the path of a Unix socket.
        :param flags: paho's own.
        :return: what the CONNACK says, in paho's words; or what became of the connection without one.
        """
        if self.client.protocol == V5:
            flags["clean_start"] = clean
        host = port if isinstance(port, str) else "localhost"
        try:
            self.client.connect(host, port if isinstance(port, int) else 1, **flags)
        except OSError as problem:
            return "no connection" if isinstance(problem, ConnectionError) else type(problem).__name__
        self.client.loop_start()
        return str(self._wait_for("connect", 0))

    def subscribe(self, *filters: str, qos: int = 0, said: Properties | None = None, **options: Any) -> Any:
        """
        :param options: of version 5.
        :return: what the SUBACK says of each.
        """
        if self.client.protocol == V5:
            how: Sequence[Any] = [(each, SubscribeOptions(qos, **options)) for each in filters]
        else:
            how = [(each, qos) for each in filters]
        _, packet_id = self.client.subscribe(list(how), properties=said)
        return self.end() if packet_id is None else self._wait_for("subscribe", packet_id)

    def publish(
        self,
        topic: str,
        payload: str = "",
        qos: int = 1,
        retain: bool = False,
        said: Properties | None = None,
    ) -> str:
        """:return: what the answer says; at QoS 0, that the broker has seen it."""
        if self._end is not None:
            return self._end
        info = self.client.publish(topic, payload, qos, retain, said)
        if qos:
            return str(self._wait_for("publish", info.mid))
        self._round()
        return self._end or "Success"

    def got(self) -> list[Got]:
        """What has arrived since the last call, once all has that the broker has for it now."""
        quiet = 0
        while quiet < self.QUIET_ROUNDS and self._end is None:
            before = len(self._got)
            self._round()
            quiet = quiet + 1 if len(self._got) == before else 0
        got, self._got = self._got, []
        return got

    def payloads(self) -> list[str]:
        """The same, only what was in them."""
        return [each.payload for each in self.got()]

    def until(self, payload: str) -> list[Got]:
        """
        Wait for a message that somebody else causes.

        :return: all up to this one.
        """
        return self._until(lambda got: got.payload == payload)

    def until_news(self, topic: str) -> list[Got]:
        """The same by its topic, whatever it says, unless it was retained."""
        return self._until(lambda got: got.topic == topic and not got.retained)

    def _until(self, wanted: Callable[[Got], bool]) -> list[Got]:
        while not any(wanted(each) for each in self._got):
            assert self._end is None, self._end
            self._next()
        got, self._got = self._got, []
        return got

    def end(self) -> str:
        """Wait until the broker ends the connection. :return: why."""
        while self._end is None:
            self._next()
        return self._end

    def leave(self) -> None:
        """With a DISCONNECT, if there is a connection."""
        self.client.disconnect()
        self.client.loop_stop()

    def die(self) -> None:
        """Without one."""
        connection = self.client.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        self.end()
        self.client.loop_stop()

    def _round(self) -> None:
        """To the broker and back: it answers in order. Nobody has a subscription of this name."""
        _, packet_id = self.client.unsubscribe("no/such/subscription")
        if packet_id is not None:  # there is still a connection
            self._wait_for("unsubscribe", packet_id)
        else:
            self.end()

    def _wait_for(self, kind: str, packet_id: int) -> Any:
        while self._end is None:
            news = self._next()
            if news[:2] == (kind, packet_id):
                return news[2]
        return self._end

    def _next(self) -> tuple[str, int, Any]:
        news = self._news.get(timeout=DEADLINE_S)
        if news[0] == "message":
            self._got.append(news[2])
        elif news[0] == "end":
            self._end = f"ended: {news[2]}"
        return news

    # Called by paho, in its thread

    def _connected(self, _: Any, __: Any, flags: Any, code: Any, properties: Any) -> None:
        self.session_present = flags.session_present
        self.told = {} if properties is None else properties.json()
        self._news.put(("connect", 0, str(code)))

    def _arrived(self, _: Any, __: Any, message: MQTTMessage) -> None:
        got = Got(message.topic, message.payload.decode(), message.qos, message.retain)
        self._news.put(("message", 0, got))

    def _answer(self, kind: str) -> Callable[..., None]:
        def answered(_: Any, __: Any, packet_id: int, codes: Any, *___: Any) -> None:
            words = [str(code) for code in codes] if isinstance(codes, list) else str(codes)
            self._news.put((kind, packet_id, words))

        return answered


def connect_properties(**said: Any) -> Properties:
    """Of a version 5 CONNECT, by paho's names."""
    properties = Properties(PacketTypes.CONNECT)
    for name, value in said.items():
        setattr(properties, name, value)
    return properties
