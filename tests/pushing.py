"""Push into a broker that is driven by bytes (`tests.driver`), as the gateway does."""

from __future__ import annotations

from itertools import count

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import IStore
from pushd.broker.limits import Limits
from pushd.broker.message import PushMark
from pushd.broker.publication import Publication
from pushd.broker.receipts import Device, Receipt
from pushd.broker.targets import Outcome, Targets, push
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.packets import Packet, Publish
from pushd.mqtt.packets import Puback as Puback
from tests.driver import Peer, Rig
from tests.fakes import Rules


class Boss:
    """Who pushes."""

    client_id = ""
    username = "boss"


class PushCase(SynchronousTestCase):
    """
    bob and sue have sessions that last, and bob has two of them; ada's ends with her connection.

    :ivar made: ids of pushes: ``p1``, ``p2`` and so on.
    """

    limits = Limits(max_inflight_messages=2, max_queued_messages=3)
    mount_point = ""

    def setUp(self) -> None:
        self.rules = Rules()
        self.made = count(1)
        self.id = ""
        self.start(None)
        self.ada = self.rig.connect("ada", username="ada", password=b"")
        self.bob = self.come("bob")
        self.bob2 = self.come("bob2", "bob")
        self.sue = self.come("sue")

    def start(self, store: IStore | None) -> None:
        self.rig = Rig(self.limits, authorizer=self.rules, store=store, mount_point=self.mount_point)
        self.broker = self.rig.broker

    def restart(self) -> None:
        """The process ends without a word, and the next one begins; nobody has come back yet."""
        self.rig.clock.advance(0)
        self.start(self.rig.store)

    def come(self, client_id: str, username: str = "") -> Peer:
        return self.rig.connect(client_id, False, username=username or client_id, password=b"")

    def begin(
        self,
        payload: bytes,
        targets: Targets,
        *,
        topic: str = "news",
        qos: int = 1,
        retain: bool = False,
        expiry_s: float | None = None,
        receipt: bool = True,
        key: str = "",
    ) -> Deferred[Outcome]:
        """Begin to push; `id` is the push's."""
        self.id = f"p{next(self.made)}"
        mark = PushMark(self.id, 0, receipt=receipt, collapse_key=key)
        publication = Publication(topic, payload, qos, retain, None, expiry_s, mark)
        pushing = push(self.broker, self.rig.policy, Boss(), publication, targets)
        self.rig.turn()
        return pushing

    def push(self, payload: bytes, targets: Targets, **more: object) -> Outcome:
        """The same, to its end."""
        return self.successResultOf(self.begin(payload, targets, **more))  # type: ignore[arg-type]

    def code_of(self, payload: bytes, targets: Targets, **more: object) -> ReasonCode:
        return self.push(payload, targets, **more).code

    def push_to(self, client_id: str, payload: bytes = b"x", **more: object) -> str:
        """Push to one session. :return: the push's id."""
        self.push(payload, Targets(clients=(client_id,)), **more)
        return self.id

    def receipt(self, id: str = "") -> Receipt:
        """That of the last push, or of this one."""
        receipt = self.broker.receipts.get(id or self.id)
        assert receipt is not None
        return receipt

    def device(self, client_id: str, id: str = "", topic: str = "news") -> Device:
        return self.receipt(id).devices[client_id, topic]

    def state(self, client_id: str, id: str = "", topic: str = "news") -> str:
        """The state of a device, and the reason for it."""
        device = self.device(client_id, id, topic)
        return f"{device.state.value} {device.reason}".strip()


def published(packets: list[Packet]) -> list[Publish]:
    """The messages among them."""
    return [packet for packet in packets if isinstance(packet, Publish)]


def payloads(peer: Peer) -> list[bytes]:
    """Of the messages that came since the last time."""
    return [packet.payload for packet in published(peer.received())]


def said(peer: Peer) -> list[tuple[str, bytes]]:
    """The same with their topic names."""
    return [(packet.topic, packet.payload) for packet in published(peer.received())]


def acknowledge(peer: Peer) -> list[bytes]:
    """Take the messages of QoS 1 that came, and acknowledge them."""
    packets = [packet for packet in published(peer.received()) if packet.packet_id]
    for packet in packets:
        peer.send(Puback(packet.packet_id))
    return [packet.payload for packet in packets]
