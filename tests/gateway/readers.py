"""What the tests of streams share: a broker that is there, and readers of its topics over HTTP."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.broker.interfaces import IStore
from pushd.broker.message import PushMark, new_push_id
from pushd.broker.publication import Publication
from pushd.gateway.http.streams import Places
from pushd.gateway.identity.guards import Caller as Principal
from pushd.gateway.identity.guards import Guard
from pushd.gateway.ntfy.subscribe import subscribe_pages
from pushd.mqtt.codes import PropertyId
from pushd.mqtt.packets import Properties
from pushd.service.assembly import Publisher
from pushd.service.audience import Audience
from tests.driver import Rig
from tests.fakes import Rules
from tests.gateway.callers import Answer, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
BEAT_S = 45.0
NOW = 1000.5  # Unix seconds; in that year there were no pushes, and nobody has to wait for as many ticks


class End(Caller):
    """One connection of a reader, as it sees it."""

    def ask(self, target: str, headers: str = "", method: str = "GET") -> End:
        """Send a request. What comes of it is looked at later."""
        request = f"{method} {target} HTTP/1.1\r\nHost: h\r\n{ADA}{headers}\r\n"
        self.channel.dataReceived(request.encode("latin-1"))
        return self

    @property
    def head(self) -> str:
        """Of the answer."""
        head: bytes = self.transport.value().partition(b"\r\n\r\n")[0]
        return head.decode("latin-1")

    @property
    def body(self) -> bytes:
        """What has come of it, taken out of its chunks."""
        body, rest = b"", self.transport.value().partition(b"\r\n\r\n")[2]
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        return body

    @property
    def is_complete(self) -> bool:
        """Whether it has ended as it should."""
        return bool(self.transport.value().endswith(b"0\r\n\r\n"))

    def objects(self) -> list[dict[str, Any]]:
        """Those of a stream of JSON."""
        return [json.loads(line) for line in self.body.splitlines()]

    def messages(self) -> list[str]:
        """What they say, without the events around them."""
        return [shown["message"] for shown in self.objects() if shown["event"] == "message"]

    def refusal(self) -> Answer:
        """The answer of a request that came to nothing."""
        (answer,) = self.answers()
        return answer

    def hang_up(self) -> None:
        """The network fails."""
        self.channel.connectionLost(Failure(ConnectionLost()))

    def beat(self, count: int = 1) -> None:
        """Let so many heart beats pass."""
        for _ in range(count):
            self.clock.advance(BEAT_S)


class ReadersCase(SynchronousTestCase):
    """
    A broker with a gateway, whose callers are ada.

    :cvar mount_point: of its listener.
    """

    mount_point = ""

    def setUp(self) -> None:
        self.rules = Rules()
        self.places = Places()
        self.use_broker()

    def use_broker(self, store: IStore | None = None) -> None:
        """Another one, over this store."""
        self.rig = Rig(authorizer=self.rules, store=store, mount_point=self.mount_point)
        self.rig.clock.advance(NOW)
        self.publisher = Publisher(self.rig.broker, self.rig.policy)
        self.source = Audience(self.rig.broker, self.publisher)

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        return dict(subscribe_pages(guard, self.source, self.places, self.rig.clock.seconds, lambda: BEAT_S))

    def connect(self) -> End:
        """A connection that has said nothing yet."""
        return End(make_pages=self.make_pages)

    def read(self, target: str, headers: str = "", method: str = "GET") -> End:
        """Somebody asks for a stream."""
        end = self.connect().ask(target, headers, method)
        self.rig.turn()
        return end

    def refused(self, target: str, headers: str = "", method: str = "GET") -> int:
        """:return: the code of the answer to somebody who gets no stream."""
        return self.read(target, headers, method).refusal().code

    def push(
        self,
        topic: str,
        text: str,
        keep_s: int = 3600,
        *,
        delay_s: float = 0.0,
        **said: str,
    ) -> str:
        """Somebody pushes. `keep_s` 0 is ``cache=no``. :return: the message's id."""
        properties: Properties = {PropertyId.USER_PROPERTY: list(said.items())} if said else {}
        mark = PushMark(new_push_id(), int(self.rig.clock.seconds() + delay_s), keep_s)
        publication = Publication(topic, text.encode(), properties=properties, mark=mark)
        if delay_s:
            self.publisher.schedule(Principal("bob"), publication, mark.id, delay_s)
        else:
            self.publisher.publish(Principal("bob"), publication)
        self.rig.turn()
        return mark.id
