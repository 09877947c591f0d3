"""A gateway with endpoints of UnifiedPush, over a broker that is there."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.gateway.http.own_address import OwnAddress
from pushd.gateway.identity.guards import Guard, Reception
from pushd.gateway.unified_push.endpoint_pages import EndpointPages
from pushd.gateway.unified_push.endpoints import Endpoint, Endpoints
from pushd.gateway.unified_push.matrix import MatrixPages
from pushd.gateway.unified_push.push_service import PushService
from pushd.mqtt.packets import Publish
from pushd.service.assembly import Publisher
from pushd.service.unified_push import BrokerCourier
from tests.driver import Peer, Rig
from tests.fakes import Rules
from tests.gateway.callers import NOW, Answer, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"
BASE = "https://push.example.com"


class UnifiedPushCase(SynchronousTestCase):
    """
    ada registers endpoints; senders have no name.

    :ivar charged: the endpoints that were pushed to.
    """

    def setUp(self) -> None:
        self.rules = Rules()
        self.rig = Rig(authorizer=self.rules)
        self.rig.broker.policies = {self.rig.policy.name: self.rig.policy}
        self.charged: list[Endpoint] = []
        self.admins: tuple[str, ...] = ()
        broker = self.rig.broker
        self.endpoints = Endpoints(broker.notes, broker.store.barrier, lambda: NOW)
        courier = BrokerCourier(broker, lambda username: username in self.admins)
        self.service = PushService(self.endpoints, courier, self.charge, lambda: NOW)
        self.caller = self.new_caller()

    def charge(self, endpoint: Endpoint) -> None:
        self.charged.append(endpoint)

    def new_caller(self, *admins: str, reception: Reception | None = None) -> Caller:
        self.admins = admins
        return Caller(admins=admins, reception=reception, make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        address = OwnAddress(lambda: BASE)
        publisher = Publisher(self.rig.broker, self.rig.policy)
        endpoints: Any = EndpointPages(guard, self.service, address, self.rig.policy.name)
        matrix: Any = MatrixPages(guard, self.service, publisher, address, lambda: NOW)
        return {b"v1/up": endpoints.app.resource(), b"_matrix": matrix.app.resource()}

    def register(self, login: str = ADA, **fields: Any) -> dict[str, Any]:
        """:return: the answer; `path` is that of the endpoint's URL."""
        answer = self.caller.post("/v1/up", json.dumps(fields).encode(), login)
        self.assertEqual(answer.status, 201, answer.body)
        told: dict[str, Any] = answer.json
        return {**told, "path": told["endpoint"].removeprefix(BASE)}

    def request(self, method: str, target: str, body: bytes = b"", headers: str = "") -> Answer:
        """One request, until what it waits for has happened."""
        head = f"{method} {target} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        answers = self.caller.send(head.encode("latin-1") + body)
        if not answers:
            self.rig.turn()
            answers = self.caller.answers()
        (answer,) = answers
        return answer

    def push(self, path: str, body: bytes = b"x", headers: str = "TTL: 60\r\n") -> Answer:
        return self.request("POST", path, body, headers)

    def got(self, peer: Peer) -> list[Publish]:
        """What came to a device since the last time."""
        self.rig.turn()
        return [packet for packet in peer.received() if isinstance(packet, Publish)]
