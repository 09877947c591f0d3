"""
Drive a whole broker by bytes, without a socket or a second of waiting.

    rig = Rig()
    ada, bob = rig.connect("ada"), rig.connect("bob")
    bob.send(Subscribe(1, [SubscriptionRequest("news")]))
    ada.send(Publish("news", b"hello"))
    assert bob.received() == [Suback(1, [ReasonCode.GRANTED_QOS_0]), Publish("news", b"hello")]

Time stands still until ``rig.clock.advance(seconds)``.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from pushd.broker.broker import Broker
from pushd.broker.interfaces import IAuthenticator, IAuthorizer, IStore
from pushd.broker.limits import Limits
from pushd.broker.policy import Policy
from pushd.mqtt.codes import QoS, ReasonCode, Version
from pushd.mqtt.packets import (
    Connack,
    Connect,
    Packet,
    Properties,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from pushd.mqtt.reader import PacketReader
from pushd.mqtt.writer import encode
from pushd.storage.memory import MemoryStore
from pushd.testing.wire import ADDRESS as ADDRESS
from pushd.testing.wire import Wire as Wire
from pushd.transports.protocol import MQTTFactory, MQTTProtocol
from tests.fakes import Doorkeeper, Rules


class Rig:
    """
    A broker on a clock, with one listener.

    A second rig with the store of a first one is the same broker after a restart.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        authenticator: IAuthenticator | None = None,
        authorizer: IAuthorizer | None = None,
        store: IStore | None = None,
        *,
        mount_point: str = "",
    ) -> None:
        self.clock = Clock()
        self.store: IStore = store or MemoryStore()
        self.policy = Policy("a test", authenticator or Doorkeeper(), authorizer or Rules(), mount_point)
        self.broker = Broker(self.clock, self.store, limits)
        self.broker.start(self.policy)
        self.factory = MQTTFactory(self.broker, self.policy)

    def turn(self) -> None:
        """Let the reactor do what it would do at once."""
        self.clock.advance(0)

    def open(self) -> Peer:
        """A network connection that has said nothing yet."""
        return Peer(self, self.factory.buildProtocol(ADDRESS))

    def connect(
        self,
        client_id: str = "",
        clean: bool = True,
        *,
        keep_alive_s: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: Will | None = None,
        version: Version = Version.V3_1_1,
        properties: Properties | None = None,
    ) -> Peer:
        """A client that has sent its CONNECT. Its CONNACK, if it came, is in `Peer.connack`."""
        peer = self.open()
        given = properties or {}
        peer.send(Connect(version, client_id, clean, keep_alive_s, username, password, will, given))
        return peer


class Peer:
    """
    The far end of one connection.

    :ivar version: in which it speaks: that of the CONNECT it sent.
    :ivar connack: the answer to its CONNECT, if there was one.
    :ivar closed: whether the connection is gone.
    """

    def __init__(self, rig: Rig, protocol: MQTTProtocol) -> None:
        self._rig = rig
        self._reader = PacketReader()
        self.protocol = protocol
        self.version = Version.V3_1_1
        self.connack: Connack | None = None
        self.transport = Wire(rig.clock, protocol)
        protocol.makeConnection(self.transport)

    @property
    def closed(self) -> bool:
        return self.transport.over

    def send(self, *pieces: Packet | bytes) -> None:
        """Send packets or raw bytes in one read, and let the turn of the reactor end."""
        self.deliver(b"".join(self._encoded(pieces)))
        self._rig.turn()
        self._take_connack()

    def deliver(self, data: bytes) -> None:
        """Send bytes and stay within the turn."""
        self.transport.deliver(data)

    def received(self) -> list[Packet]:
        """All whole packets that came since the last time, the CONNACK aside."""
        self._take_connack()
        self._reader.feed(self._taken())
        return list(iter(self._reader.next_packet, None))

    def subscribe(self, *filters: str, qos: int = 0) -> list[ReasonCode]:
        """:return: the codes of the SUBACK. Whatever else came before it, or came with it, stays."""
        self.send(Subscribe(0xFFFF, [SubscriptionRequest(filter, QoS(qos)) for filter in filters]))
        before = self.received()
        (suback,) = [packet for packet in before if isinstance(packet, Suback)]
        before.remove(suback)
        self._reader.feed(b"".join(encode(packet, self.version) for packet in before))
        return suback.codes

    def publish(
        self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False, packet_id: int = 0
    ) -> None:
        """Send a PUBLISH. At QoS 1 and 2 a packet identifier of 0 becomes 1."""
        packet_id = packet_id or (1 if qos else 0)
        self.send(Publish(topic, payload, QoS(qos), retain, packet_id=packet_id))

    def drop(self) -> None:
        """The network fails: no DISCONNECT, and what is on its way is lost."""
        self.transport.lost(ConnectionLost())
        self._rig.turn()

    def stop_reading(self) -> None:
        """The peer takes no more bytes; the transport's buffer is full."""
        self.transport.full(True)

    def read_on(self) -> None:
        """The peer has taken all that waited."""
        self.transport.full(False)

    def _encoded(self, pieces: tuple[Packet | bytes, ...]) -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Connect):
                self.version = self._reader.version = piece.version
            yield piece if isinstance(piece, bytes) else encode(piece, self.version)

    def _taken(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def _take_connack(self) -> None:
        value: bytes = self.transport.value()
        if self.connack is None and value[:1] == b"\x20":
            self._reader.feed(self._taken())
            packet = self._reader.next_packet()
            assert isinstance(packet, Connack)
            self.connack = packet
