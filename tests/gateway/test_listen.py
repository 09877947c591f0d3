"""`pushd.gateway.listen`: a stream of what is published, over a broker that is there."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.broker.interfaces import Access
from pushd.gateway.http.events import Streams
from pushd.gateway.identity.guards import Guard
from pushd.gateway.listen import ListenPage
from pushd.mqtt.codes import QoS
from pushd.service.assembly import Publisher
from tests.driver import Rig
from tests.fakes import Rules
from tests.gateway.callers import NOW, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"


class ListenTests(SynchronousTestCase):
    """ada listens; a thermometer publishes."""

    def setUp(self) -> None:
        self.rules = Rules()
        self.rig = Rig(authorizer=self.rules)
        self.thermometer = self.rig.connect("thermometer")
        self.caller = Caller(make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        pages: Any = ListenPage(guard, Publisher(self.rig.broker, self.rig.policy), Streams(), lambda: NOW)
        return {b"v1/listen": pages.app.resource()}

    def ask(self, query: str) -> bytes:
        """Ask for a stream. :return: what has come of the answer."""
        request = f"GET /v1/listen?{query} HTTP/1.1\r\nHost: h\r\n{ADA}\r\n"
        self.caller.channel.dataReceived(request.encode())
        return self.caller.transport.value()

    def events(self) -> list[Any]:
        """What has come of the stream, all in all."""
        lines = self.caller.transport.value().decode().splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]

    def test_messages(self) -> None:
        """Each with where and when; one of bytes that are no text in base64."""
        self.assertIn(b"text/event-stream", self.ask("filter=sensors/%23"))
        self.thermometer.publish("sensors/a", b"21.5", QoS.AT_LEAST_ONCE)
        self.thermometer.publish("elsewhere", b"x")
        self.thermometer.publish("sensors/b", b"\xff")
        about = {"time": int(NOW), "retain": False}
        self.assertEqual(
            self.events(),
            [
                {**about, "topic": "sensors/a", "qos": 0, "payload": "21.5"},
                {**about, "topic": "sensors/b", "qos": 0, "payload_base64": "/w=="},
            ],
        )

    def test_what_may_not_be_read(self) -> None:
        """It does not come."""
        self.rules.refused.add((Access.READ, "sensors/secret", ""))
        self.ask("filter=%23")
        self.thermometer.publish("sensors/secret", b"x")
        self.assertEqual(self.events(), [])

    def test_no_filter(self) -> None:
        """What is no topic filter, or none that one reader has for itself."""
        for query in ("", "filter=", "filter=a%23", "filter=%ff", "filter=$share/g/a", "filter=%00"):
            caller = Caller(make_pages=self.make_pages)
            self.assertEqual(caller.request("GET", f"/v1/listen?{query}", headers=ADA).code, 40009, query)
