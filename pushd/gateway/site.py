"""
The gateway as a factory: everything an HTTP listener needs, put together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

from pushd.broker.interfaces import Credentials, IAuthenticator, PeerCertificate
from pushd.gateway.api import Root
from pushd.gateway.http.bodies import BodyRoom
from pushd.gateway.http.channel import IDLE_S, GatewayChannel
from pushd.gateway.http.pages import MakePages, no_pages
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.http.uploads import Uploads
from pushd.gateway.identity.guards import Guard, Reception
from pushd.gateway.ntfy.delays import DelayRange
from pushd.gateway.ntfy.publish import Publisher, PushDesk, PushPage

log = Logger()

NTFYS_DELAYS = DelayRange()
PLAIN_DESK = PushDesk()
NO_UPGRADES: Mapping[bytes, IProtocolFactory] = {}


def make_site(
    publisher: Publisher,
    authenticator: IAuthenticator,
    *,
    reactor: IReactorTime,
    connect_timeout_s: Callable[[], float] = lambda: IDLE_S,
    healthy: Callable[[], bool] = lambda: True,
    peer_certificate: Callable[[object], PeerCertificate | None] = lambda transport: None,
    peer_address: Callable[[object], str] = lambda transport: "",
    unreadable: Callable[[Credentials, bytes], None] = lambda credentials, shown: None,
    upgrades: Mapping[bytes, IProtocolFactory] = NO_UPGRADES,
    now: Callable[[], float] = time.time,
    delays: DelayRange = NTFYS_DELAYS,
    is_admin: Callable[[str], bool] = lambda username: False,
    reception: Reception | None = None,
    make_pages: MakePages = no_pages,
    desk: PushDesk = PLAIN_DESK,
) -> GatewaySite:
    """
    The factory for a listener with ``protocol http``.

    :param publisher: the broker.
    :param reactor: for deadlines only.
    :param connect_timeout_s: within which a connection's first request must begin, TLS handshake included.
    :param healthy: what ``/v1/health`` says; asked at each request, so it must be quick.
    :param peer_certificate: finds the verified client certificate of a TLS transport.
    :param peer_address: how the far end of a transport is called in log lines.
    :param unreadable: told of credentials that cannot be read; see `Guard`.
    :param upgrades: who takes a connection over that asks for a WebSocket at this path. The protocol gets the
        transport, and the request as its first bytes.
    :param now: Unix seconds, for message objects and delays.
    :param delays: how long a message may be held back.
    :param is_admin: whether this user may see and change everything; see `Guard.identify_admin`.
    :param reception: what counts beside names and passwords; see `Guard`.
    :param make_pages: what is there beside pushes.
    :param desk: what the push page has in common with those of other listeners.
    """
    guard = Guard(authenticator, peer_certificate, peer_address, unreadable, is_admin, reception)
    push = PushPage(guard, publisher, now, delays, desk)
    root = Root(push, healthy, make_pages(guard))
    site = GatewaySite(root, reactor, connect_timeout_s, upgrades)
    if desk.composer.attachments is not None:
        proxies, attachments = (reception or Reception()).proxies, desk.composer.attachments
        site.uploads = attachments.uploads
        site.sender_of = lambda request: attachments.owner(
            None, proxies.address_of(request, peer_address(request.transport))
        )
    return site


class GatewaySite(Site):
    """
    A `twisted.web.server.Site` that speaks HTTP/1.1 by `GatewayChannel` and keeps no access log.

    :ivar connect_timeout_s: see `make_site`, as for `upgrades`.
    :ivar uploads: where bodies go that are files; ``None`` if there shall be none.
    :ivar sender_of: for whom one counts while it arrives.
    :ivar body_room: for large bodies that stay in memory.
    """

    protocol = GatewayChannel  # type: ignore[assignment]  # typed as the proxy that would choose HTTP/2
    requestFactory = GatewayRequest
    uploads: Uploads | None = None
    sender_of: Callable[[GatewayRequest], str] = staticmethod(lambda request: "")

    def __init__(
        self,
        root: IResource,
        reactor: IReactorTime,
        connect_timeout_s: Callable[[], float],
        upgrades: Mapping[bytes, IProtocolFactory] = NO_UPGRADES,
    ) -> None:
        # The channel has deadlines of its own; with no `timeout` Twisted's idle timer is never started.
        super().__init__(root, reactor=reactor, timeout=None)
        self.connect_timeout_s = connect_timeout_s
        self.upgrades = upgrades
        self.body_room = BodyRoom()

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 only: were Twisted's HTTP/2 installed, its connections would pass by all our limits."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Not what Twisted does here: no log file is opened, and no timer keeps its date up to date."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: Request) -> None:
        """Twisted's access log has whole request targets in it, and with them ``?auth=``."""
