"""The push API over a broker that is there: callers by HTTP, devices by MQTT, and time that stands still."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.broker.interfaces import IStore
from pushd.broker.limits import Limits
from pushd.config.settings import Settings
from pushd.gateway.http.events import Streams
from pushd.gateway.identity.guards import Guard
from pushd.gateway.ntfy.idempotency import Answers
from pushd.gateway.ntfy.publish import PushDesk
from pushd.gateway.push.outbound import Answer as Heard
from pushd.gateway.push.outbound import NotAllowed, Target, read_url
from pushd.mqtt.packets import Puback, Publish
from pushd.service.push_api import PushApi
from tests.driver import Peer, Rig
from tests.fakes import HeldStore, Rules
from tests.gateway.callers import Answer, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"
HOOK = "https://hooks.example/done"


class Outside:
    """Who sends webhooks, instead of the network. `asked` waits for answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.waiting: list[Deferred[Heard]] = []

    def read(self, url: str) -> Target:
        target = read_url(url)
        if target.host == "127.0.0.1":
            raise NotAllowed("private")
        return target

    async def request(self, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> Heard:
        self.asked.append((url, headers, body))
        waiting: Deferred[Heard] = Deferred()
        self.waiting.append(waiting)
        return await waiting

    def answer(self, status: int) -> None:
        """The first that waits is answered."""
        self.waiting.pop(0).callback(Heard(status, None, b""))  # type: ignore[arg-type]


class Door:
    """The publisher of a listener, as far as its policy matters."""

    def __init__(self, rig: Rig) -> None:
        self.policy = rig.policy


class PushApiCase(SynchronousTestCase):
    """
    ada may log in, and is the administrator where a test says so; others have no name.

    :ivar rig: the broker, and its clock.
    """

    limits = Limits(max_queued_messages=3)
    settings = Settings((), webhook_secret="open sesame")
    mount_point = ""
    admins: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.rules = Rules()
        self.outside = Outside()
        self.start(None)

    def start(self, store: IStore | None) -> None:
        """The process begins."""
        before = getattr(self, "rig", None)
        self.rig = Rig(self.limits, authorizer=self.rules, store=store, mount_point=self.mount_point)
        if before is not None:
            self.rig.clock.rightNow = before.clock.rightNow
        broker = self.rig.broker
        broker.policies = {self.rig.policy.name: self.rig.policy}
        answers = Answers(broker.notes, self.rig.clock.seconds, broker.store.barrier)
        self.api = PushApi(broker, lambda: self.settings, lambda: PushDesk(answers=answers), self.rig.clock)
        self.api.__dict__["outbound"] = self.outside
        self.caller = Caller(make_pages=self.make_pages, admins=self.admins)
        self.api.start()
        self.addCleanup(self.api.stop)

    def restart(self) -> None:
        """The process ends, and the next one begins."""
        self.turn()
        self.api.stop()
        self.start(self.rig.store)

    def hold(self) -> HeldStore:
        """Go on with a store whose barriers the test lets go, and that has recorded nothing yet."""
        held = HeldStore()
        held._memory = self.rig.store  # type: ignore[assignment]
        self.turn()
        self.api.stop()
        self.start(held)
        held.records.clear()
        held.barriers.clear()
        return held

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        pages: Any = self.api.pages(guard, Door(self.rig), Streams())  # type: ignore[arg-type]
        return pages  # type: ignore[no-any-return]

    def turn(self) -> None:
        """Let happen what is about to."""
        for _ in range(20):
            self.rig.clock.advance(0)

    def device(self, client_id: str, *filters: str, username: str | None = None) -> Peer:
        """One whose session lasts, and that has subscribed."""
        peer = self.rig.connect(client_id, False, username=username, password=b"" if username else None)
        if filters:
            peer.subscribe(*filters, qos=1)
        return peer

    def begin(self, method: str, target: str, body: Any = None, headers: str = "") -> None:
        """Ask, and do not wait for the answer. `body` is JSON unless it is bytes."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {len(data)}\r\n\r\n"
        self.caller.channel.dataReceived(head.encode("latin-1") + data)
        self.turn()

    def ask(self, method: str, target: str, body: Any = None, headers: str = "") -> Answer:
        """Ask, and have the answer."""
        self.begin(method, target, body, headers)
        return self.heard()

    def heard(self) -> Answer:
        (answer,) = self.caller.answers()
        return answer

    def push(self, headers: str = "", query: str = "", **said: Any) -> Any:
        """Push. :return: what the answer tells."""
        answer = self.ask("POST", f"/v1/push{query}", {"message": "hi", **said}, headers)
        assert answer.status == 200, answer.body
        return answer.json

    def receipt(self, id: str, query: str = "", headers: str = "") -> Any:
        return self.ask("GET", f"/v1/push/{id}{query}", headers=headers).json


def payloads(peer: Peer) -> list[bytes]:
    """Of the messages that came since the last time, each of which is acknowledged."""
    packets = [packet for packet in peer.received() if isinstance(packet, Publish)]
    for packet in packets:
        if packet.qos:
            peer.send(Puback(packet.packet_id))
    return [packet.payload for packet in packets]
