"""
In front of any other protocol: wait for the proxy's header, then step aside.

Until the header is whole (`pushd.transports.proxy_header`), `ProxyProtocol` is the transport's protocol. Then
the real protocol takes its place and gets a transport that gives the client's address instead of the proxy's:
what follows costs nothing more than a connection without a proxy does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from pushd.broker.broker import Broker
from pushd.transports.addresses import peer_address
from pushd.transports.proxy_header import BadHeader, Header, TcpClient, TlsFacts, UnixClient, parse_header

log = Logger()


class ProxiedTransport:
    """
    A transport as it would be without the proxy.

    :ivar proxied_tls: what the proxy says of the client's TLS; ``None`` if it used none.
    """

    __slots__ = ("__provides__", "_peer", "_transport", "proxied_tls")

    def __init__(self, transport: Any, header: Header) -> None:
        self._transport = transport
        self._peer = transport.getPeer() if header.client is None else _address(header.client)
        self.proxied_tls: TlsFacts | None = header.tls
        directlyProvides(self, providedBy(transport))

    def getPeer(self) -> IAddress:
        """The client's address, not the proxy's."""
        return self._peer

    @property
    def protocol(self) -> Any:
        """Who gets the bytes; assigned by protocols that hand their connection on."""
        return self._transport.protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._transport.protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _address(client: TcpClient | UnixClient) -> IAddress:
    if isinstance(client, UnixClient):
        return UNIXAddress(client.path or None)
    family = IPv6Address if ":" in client.host else IPv4Address
    return family("TCP", client.host, client.port)


@implementer(IProtocol)
class ProxyProtocol:
    """
    Reads the header of one connection.

    :ivar slot: belongs to the timing wheel.
    """

    __slots__ = ("_data", "_due_at", "_factory", "_waiting", "slot", "transport")

    def __init__(self, factory: ProxyFactory) -> None:
        self._factory = factory
        self._data = b""
        self._due_at: float | None = None
        self._waiting: tuple[ProxiedTransport, bytes] | None = None  # a client that came before its turn
        self.slot = 0

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self._wait(self._factory.broker.limits.connect_timeout_s)

    def dataReceived(self, data: bytes) -> None:
        if self._due_at is None:
            return  # on its way out
        if self._waiting is not None:
            self._waiting = self._waiting[0], self._waiting[1] + data
            return
        self._data += data
        try:
            parsed = parse_header(self._factory.version, self._data)
        except BadHeader as problem:
            self._refuse(self.transport, str(problem))
            return
        if parsed is not None:
            header, end = parsed
            self._obey(ProxiedTransport(self.transport, header), self._data[end:])

    def connectionLost(self, reason: Failure) -> None:
        self._done()

    def _obey(self, transport: ProxiedTransport, rest: bytes) -> None:
        lack = self._factory.lack_of(transport.proxied_tls)
        if lack is not None:
            self._refuse(transport, lack)
            return
        turn_s = self._factory.turn_of(transport.getPeer())
        if turn_s is None:
            self._refuse(transport, "too many connections per second", "max_connect_rate_per_address")
        elif turn_s > 0:
            self.transport.pauseProducing()
            self._waiting = transport, rest
            self._wait(turn_s)
        else:
            self._step_aside(transport, rest)

    def _step_aside(self, transport: ProxiedTransport, rest: bytes) -> None:
        self._done()
        protocol = self._factory.inner.buildProtocol(transport.getPeer())
        transport.protocol = protocol
        protocol.makeConnection(transport)
        if rest:
            protocol.dataReceived(rest)

    def _refuse(self, transport: Any, cause: str, reason: str = "proxy_header") -> None:
        log.info(
            "Connection from {address} refused: {cause}",
            address=peer_address(transport),
            cause=cause,
            log_type="notice",
        )
        self._factory.broker.counters.refused(reason)
        self._done()
        self.transport.abortConnection()

    def _done(self) -> None:
        """Forget all; it may be told more than once."""
        self._due_at = None
        self._data = b""
        self._waiting = None

    # On the wheel: an end to waiting, theirs or ours

    def _wait(self, patience_s: float) -> None:
        wheel = self._factory.broker.wheel
        self._due_at = wheel.seconds() + patience_s
        wheel.add(self)

    def due_at(self) -> float | None:
        return self._due_at

    def on_due(self) -> None:
        if self._waiting is None:
            self._refuse(self.transport, "its PROXY header did not come in time")
            return
        transport, rest = self._waiting
        self._step_aside(transport, rest)
        self.transport.resumeProducing()


class ProxyFactory(Factory):
    """
    A listener behind a proxy.

    :param inner: the factory of the protocol that is spoken after the header.
    :param version: of the header, 1 or 2.
    :param turn_s: when a connection from an address has its turn: in how many seconds; ``None`` for never.
    :param require_tls: drop clients that did not use TLS.
    :ivar require_certificate: drop clients that did not show a good certificate; a reload may assign it.
    """

    noisy = False

    def __init__(
        self,
        inner: Any,
        version: int,
        broker: Broker,
        *,
        turn_s: Callable[[str], float | None] = lambda host: 0.0,
        require_tls: bool = False,
        require_certificate: bool = False,
    ) -> None:
        self.inner = inner
        self.version = version
        self.broker = broker
        self._turn_s = turn_s
        self._require_tls = require_tls
        self.require_certificate = require_certificate

    def doStart(self) -> None:
        self.inner.doStart()
        super().doStart()

    def doStop(self) -> None:
        self.inner.doStop()
        super().doStop()

    def buildProtocol(self, addr: IAddress | None) -> ProxyProtocol:  # type: ignore[override]  # no `factory` on it
        return ProxyProtocol(self)

    def turn_of(self, client: IAddress) -> float | None:
        """The same as `turn_s` for an address of Twisted's; the file system has no pace."""
        host = getattr(client, "host", None)
        return 0.0 if host is None else self._turn_s(host)

    def lack_of(self, tls: TlsFacts | None) -> str | None:
        """What the settings ask of a client and this one does not have."""
        if self._require_tls and tls is None:
            return "the client did not use TLS"
        if self.require_certificate and (tls is None or not tls.certified):
            return "the client did not show a good certificate"
        return None
