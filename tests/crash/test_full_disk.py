"""
What a broker says while its disk is full, and that it goes on by itself when there is room again.

Nothing is acknowledged that could be forgotten. (That nothing is forgotten is `test_crash.test_full_disk`.)
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Publish,
    Pubrec,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from pushd.mqtt.reader import PacketReader
from pushd.mqtt.writer import encode
from tests.crash.brokers import MortalBroker
from tests.crash.crowd import Crowd, Visitor
from tests.crash.ledger import Ledger
from tests.crash.people import MQTTVisitor
from tests.crash.timeline import Timeline

V3, V5 = Version.V3_1_1, Version.V5
REFUSED = ReasonCode.QUOTA_EXCEEDED
NOTICED_S = 20.0  # until the broker finds out that its disk is full
SOON_S = 1.0  # for what waits for no disk
NOTICED_BY_ALL_S = 1.5  # until no message is taken any more as others of its topic were before
RESUMED_S = 10.0  # until it goes on when there is room again
LINES = ["sys_interval 1"]
FAILING = "$SYS/broker/store/failing"
WELL = b"", b"none"


class Caller(Visitor):
    """A client without manners or memory: it sends what it is told and keeps what it gets."""

    def __init__(self, port: int, version: Version, client_id: str, clean: bool = False) -> None:
        super().__init__(client_id, port)
        self.version = version
        self.clean = clean
        self.got: list[Packet] = []
        self.was_closed = False
        self._reader = PacketReader(0, version)

    def opened(self) -> None:
        self._reader = PacketReader(0, self.version)
        expires: Properties = {PropertyId.SESSION_EXPIRY_INTERVAL: 3600}
        properties = expires if self.version is V5 and not self.clean else {}
        self.send(Connect(self.version, self.name, self.clean, 0, properties=properties))

    def received(self, data: bytes) -> None:
        self._reader.feed(data)
        self.got.extend(iter(self._reader.next_packet, None))

    def closed(self) -> None:
        self.was_closed = True
        self.wanted = False

    def send(self, packet: Packet) -> None:
        self.outbox += encode(packet, self.version)

    def answers(self, kind: type) -> list[Packet]:
        """What it got of this kind."""
        return [packet for packet in self.got if isinstance(packet, kind)]


class FullDisk:
    """
    A broker whose disk is full, and three of its clients: of versions 5 and 3 with sessions that last, and
    one of version 5 without.
    """

    def __init__(self, folder: Path) -> None:
        self.broker = MortalBroker("pushd", folder, LINES, small_disk=True)
        self.visitors: list[Visitor] = []
        self._crowd = Crowd(self.visitors)
        self._packet_id = 100

    def prepare(self) -> None:
        """Get that far."""
        self.broker.start()
        self.broker.wait_until_up()
        self.five, self.three = self.call(V5, "five"), self.call(V3, "three")
        self.clean = self.call(V5, "clean", clean=True)
        self._subscribe_somebody_who_leaves()
        self.clean.send(Subscribe(1, [SubscriptionRequest(FAILING), SubscriptionRequest("chat")]))
        self.until(lambda: self.clean.answers(Suback))
        self._fill_disk()

    def close(self) -> None:
        self._crowd.close()
        self.broker.close()

    def call(self, version: Version, client_id: str, clean: bool = False) -> Caller:
        """A client that is connected; `clean`, without a session that lasts."""
        caller = self.knock(version, client_id, clean)
        self.until(lambda: caller.answers(Connack))
        return caller

    def knock(self, version: Version, client_id: str, clean: bool = False) -> Caller:
        """A client that will say CONNECT."""
        caller = Caller(self.broker.mqtt_port, version, client_id, clean)
        self.visitors.append(caller)
        return caller

    def _subscribe_somebody_who_leaves(self) -> None:
        """So that there is something to be stored."""
        away = self.call(V5, "away")
        away.send(Subscribe(1, [SubscriptionRequest("news/#", QoS(2))]))
        self.until(lambda: away.answers(Suback))
        away.wanted = False

    def pump(self, seconds: float) -> None:
        """Let everybody talk for a while."""
        self._crowd.pump(seconds)

    def until(self, condition: Callable[[], object], seconds: float = SOON_S + 4.0) -> None:
        """Let everybody talk until something is so."""
        assert not self._crowd.pump_while(lambda: not condition(), seconds), self.broker.log()

    def publish(self, caller: Caller, qos: int, topic: str = "news/a", payload: bytes = b"x") -> int:
        """:return: the packet identifier."""
        self._packet_id += 1
        caller.send(Publish(topic, payload, QoS(qos), packet_id=self._packet_id if qos else 0))
        return self._packet_id

    def _fill_disk(self) -> None:
        """Until the broker has noticed: what is published before that may stay without an answer."""
        deadline = time.monotonic() + NOTICED_S
        while not any(packet.code is REFUSED for packet in self.five.answers(Puback)):
            assert time.monotonic() < deadline, self.broker.log()
            self.broker.fill_disk(True)
            self.publish(self.five, 1, payload=bytes(20_000))
            self.pump(0.05)
        self.pump(NOTICED_BY_ALL_S)

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """:return: the status and the text of the gateway's answer."""
        assert self.broker.http_port is not None
        connection = http.client.HTTPConnection("127.0.0.1", self.broker.http_port, timeout=SOON_S + 4.0)
        with closing(connection):
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def failing(self) -> list[bytes]:
        """What the broker has said of its store."""
        said = [packet for packet in self.clean.got if isinstance(packet, Publish)]
        return [packet.payload for packet in said if packet.topic == FAILING]

    def is_taken_again(self) -> bool:
        """Publish once more; see whether any message was acknowledged as one that is kept."""
        self.publish(self.five, 1)
        self.pump(0.1)
        return any(packet.code is ReasonCode.SUCCESS for packet in self.five.answers(Puback))


class FullDiskTests(SynchronousTestCase):
    """All of this happens to one broker."""

    disk: FullDisk

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory(prefix="pushd-crash-")
        cls.addClassCleanup(folder.cleanup)
        cls.disk = FullDisk(Path(folder.name))
        cls.addClassCleanup(cls.disk.close)
        cls.disk.prepare()

    def setUp(self) -> None:
        for caller in (self.disk.five, self.disk.three, self.disk.clean):
            caller.got = [packet for packet in caller.got if isinstance(packet, Publish)]

    def test_publish(self) -> None:
        """Version 5 is refused at QoS 1 and 2; version 3 hears nothing; both stay."""
        disk, five, three = self.disk, self.disk.five, self.disk.three
        one, two = disk.publish(five, 1), disk.publish(five, 2)
        disk.publish(three, 1)
        disk.publish(three, 2)
        disk.until(lambda: five.answers(Puback) and five.answers(Pubrec))
        disk.pump(SOON_S)
        said = [
            (packet.packet_id, packet.code) for packet in five.got if isinstance(packet, (Puback, Pubrec))
        ]
        assert said == [(one, REFUSED), (two, REFUSED)]
        assert not three.answers(Puback) and not three.answers(Pubrec)
        assert not five.was_closed and not three.was_closed

    def test_subscribe(self) -> None:
        """A session that lasts gets no new subscription; one that does not is not concerned."""
        five, clean = self.disk.five, self.disk.clean
        for caller in (five, clean):
            caller.send(Subscribe(7, [SubscriptionRequest("more", QoS(1))]))
        self.disk.until(lambda: five.answers(Suback) and clean.answers(Suback))
        assert five.answers(Suback) == [Suback(7, [REFUSED])]
        assert clean.answers(Suback) == [Suback(7, [ReasonCode.GRANTED_QOS_1])]

    def test_connect(self) -> None:
        """Nobody is given a session that lasts, for that cannot be promised; others may come."""
        callers = [self.disk.knock(*who) for who in ((V5, "six"), (V3, "four"), (V5, "away"))]
        self.disk.until(lambda: all(caller.answers(Connack) for caller in callers))
        codes = [packet.code for caller in callers for packet in caller.got if isinstance(packet, Connack)]
        assert codes == [REFUSED, ReasonCode.SERVER_UNAVAILABLE, REFUSED]  # in version 3 that is 3
        self.disk.call(V5, "another", clean=True)

    def test_ping(self) -> None:
        """PINGREQ is answered at once, also to who waits for acknowledgements."""
        callers = self.disk.five, self.disk.three, self.disk.clean
        self.disk.publish(self.disk.three, 1)
        self.disk.pump(0.1)
        for caller in callers:
            caller.send(Pingreq())
        self.disk.until(lambda: all(caller.answers(Pingresp) for caller in callers), SOON_S)

    def test_qos_0(self) -> None:
        """It needs no disk."""
        self.disk.publish(self.disk.three, 0, "chat", b"hello")
        self.disk.until(lambda: Publish("chat", b"hello") in self.disk.clean.got, SOON_S)

    def test_gateway(self) -> None:
        """A push is refused as by a disk that is full, and the health says why."""
        status, _ = self.disk.ask("POST", "/v1/publish/news/a?qos=1", b"x")
        assert status == 507
        status, text = self.disk.ask("GET", "/v1/health")
        assert status == 503 and json.loads(text)["healthy"] is False
        assert json.loads(text)["reason"]

    def test_sys_topic(self) -> None:
        """``$SYS`` says why."""
        self.disk.until(lambda: self.disk.failing() and self.disk.failing()[-1] not in WELL, 3.0)

    def test_there_is_room_again(self) -> None:
        """
        It goes on by itself, and is well; nobody was cut off. What it acknowledges then survives a kill.

        (The name is the last of this class, and tests go by their names.)
        """
        disk = self.disk
        disk.broker.fill_disk(False)
        disk.until(disk.is_taken_again, RESUMED_S)
        disk.until(lambda: not disk.failing() or disk.failing()[-1] in WELL, 3.0)
        assert (
            disk.ask("GET", "/v1/health")[0] == disk.ask("POST", "/v1/publish/news/a?qos=1", b"x")[0] == 200
        )
        assert not any(caller.was_closed for caller in (disk.five, disk.three, disk.clean))
        last = disk.publish(disk.five, 1, payload=b"last")
        disk.until(lambda: Puback(last) in disk.five.got)
        disk.broker.send_signal(signal.SIGKILL)
        assert not disk.broker.bury()
        disk.broker.start()
        disk.broker.wait_until_up()
        reader = Reader(disk.broker.mqtt_port)
        disk.visitors[:] = [reader]
        disk.until(lambda: b"last" in reader.payloads, RESUMED_S)


class Reader(MQTTVisitor):
    """The one who was away, with the manners of a client."""

    def __init__(self, port: int) -> None:
        super().__init__("away", V5, port, Ledger(Timeline()), Random(1))
        self.payloads: list[bytes] = []

    def arrived(self, packet: Publish) -> None:
        self.payloads.append(packet.payload)


if sys.platform != "linux":  # see `tests.crash.disk`
    del FullDiskTests
