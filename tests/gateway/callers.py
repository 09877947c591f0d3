"""What the gateway's tests share: a broker and a door-keeper that remember, and a caller made of bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushd.broker.interfaces import Credentials, IAuthenticator, Principal, Verdict
from pushd.broker.publication import Publication
from pushd.gateway.http.channel import GatewayChannel
from pushd.gateway.http.pages import MakePages, no_pages
from pushd.gateway.identity.guards import Reception
from pushd.gateway.ntfy.delays import DelayRange
from pushd.gateway.ntfy.publish import PushDesk
from pushd.gateway.site import NTFYS_DELAYS, PLAIN_DESK, make_site
from pushd.mqtt.codes import QoS, ReasonCode

NOW = 1_700_000_000.9


@implementer(IAuthenticator)
@dataclass
class Doorkeeper:
    """Knows ada, whose password is "secret", and lets in whoever shows nothing unless told not to."""

    anonymous: Verdict = ReasonCode.SUCCESS
    known: Verdict | Deferred[Verdict] = ReasonCode.SUCCESS
    seen: list[Credentials] = field(default_factory=list)

    def authenticate(self, credentials: Credentials) -> Verdict | Deferred[Verdict]:
        self.seen.append(credentials)
        if credentials.username is None:
            return self.anonymous
        if (credentials.username, credentials.password) == ("ada", b"secret"):
            return self.known
        return ReasonCode.BAD_USER_NAME_OR_PASSWORD


verifyObject(IAuthenticator, Doorkeeper())


@dataclass
class Press:
    """A broker that answers each publish with `answer`, at once unless that is a Deferred."""

    answer: ReasonCode | Deferred[ReasonCode] | Exception = ReasonCode.SUCCESS
    published: list[tuple[str, bytes, QoS, bool]] = field(default_factory=list)
    publications: list[Publication] = field(default_factory=list)  # the same, whole
    scheduled: list[tuple[str, float]] = field(default_factory=list)  # id and delay, beside `published`
    principals: list[Principal] = field(default_factory=list)
    events: list[str] = field(default_factory=list)  # what readers were told, beside `published`
    kept_for_s: int = 0
    read_topics: set[str] = field(default_factory=set)

    def publish(self, principal: Principal, publication: Publication) -> Deferred[ReasonCode]:
        self.principals.append(principal)
        self.publications.append(publication)
        self.published.append(
            (publication.topic, publication.payload, QoS(publication.qos), publication.retain)
        )
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, Deferred) else succeed(self.answer)

    def has_readers(self, topic: str) -> bool:
        return topic in self.read_topics

    def keep_s(self, topic: str) -> int:
        return self.kept_for_s

    def tell(self, principal: Principal, publication: Publication, event: str) -> Deferred[ReasonCode]:
        self.events.append(event)
        return self.publish(principal, publication)

    def schedule(
        self, principal: Principal, publication: Publication, id: str, delay_s: float
    ) -> Deferred[ReasonCode]:
        self.scheduled.append((id, delay_s))
        return self.publish(principal, publication)


@dataclass
class Answer:
    """One HTTP answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int:
        """That of the error object, which must be nothing but one."""
        assert self.json.keys() == {"code", "http", "error"}, self.body
        assert self.json["http"] == self.status
        code: int = self.json["code"]
        return code


class Wire(StringTransport):
    """Remembers whether it was cut, and not only closed."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Caller:
    """One connection to a gateway, as its caller sees it."""

    def __init__(
        self,
        press: Press | None = None,
        doorkeeper: Doorkeeper | None = None,
        healthy: bool = True,
        delays: DelayRange = NTFYS_DELAYS,
        admins: tuple[str, ...] = (),
        make_pages: MakePages = no_pages,
        desk: PushDesk = PLAIN_DESK,
        reception: Reception | None = None,
        peer_address: Callable[[object], str] = lambda end: f"caller at {end.getPeer().host}",  # type: ignore[attr-defined]
    ) -> None:
        self.press = press or Press()
        self.doorkeeper = doorkeeper or Doorkeeper()
        self.clock = Clock()
        self.unreadable: list[tuple[Credentials, bytes]] = []
        self.site = make_site(
            self.press,
            self.doorkeeper,
            reactor=self.clock,
            healthy=lambda: healthy,
            peer_address=peer_address,
            unreadable=lambda credentials, shown: self.unreadable.append((credentials, shown)),
            now=lambda: NOW,
            delays=delays,
            is_admin=lambda username: username in admins,
            reception=reception,
            make_pages=make_pages,
            desk=desk,
        )
        self.connect()

    def connect(self) -> None:
        """Open a new connection; the old one is forgotten."""
        channel = self.site.buildProtocol(IPv4Address("TCP", "192.0.2.7", 4711))
        assert isinstance(channel, GatewayChannel)
        self.channel = channel
        self.transport = Wire(peerAddress=IPv4Address("TCP", "192.0.2.7", 4711))
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> list[Answer]:
        """Send raw bytes. :return: all answers since the last time."""
        self.channel.dataReceived(data)
        return self.answers()

    def answers(self) -> list[Answer]:
        """What has come back since the last time."""
        data, answers = self.transport.value(), []
        self.transport.clear()
        while data:
            answer, data = _first_answer(data)
            answers.append(answer)
        return answers

    def request(self, method: str, target: str, body: bytes = b"", headers: str = "") -> Answer:
        """One whole request and its answer. `headers` are lines, each with its end."""
        head = f"{method} {target} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        (answer,) = self.send(head.encode("latin-1") + body)
        return answer

    def post(self, target: str, body: bytes = b"", headers: str = "") -> Answer:
        """The request that most of this is about."""
        return self.request("POST", target, body, headers)

    @property
    def hung_up(self) -> bool:
        """Whether the gateway has closed the connection."""
        return self.transport.disconnecting


def _first_answer(data: bytes) -> tuple[Answer, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, data
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, status, _ = status_line.split(" ", 2)
    assert version == "HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines)
    length = int(headers.get("Content-Length", "0"))
    return Answer(int(status), headers, rest[:length]), rest[length:]
