"""
Requests that pushd itself sends, to URLs that somebody else has named: webhooks, and whatever else calls out.

Whoever names a URL would like our address to be the one that asks: what stands behind the same firewall as
this server trusts it (server-side request forgery). So a request is held to what a stranger could reach, too:

    the URL        https (http if an option says so), a host and a path; no user, no fragment, nothing that
                   two programs read in two ways
    the address    a public one; of a host with several, all of them, or none is asked
    the connection to that very address: a name that means something else a second later (DNS rebinding) is
                   not looked up a second time
    the answer     no redirect is followed; 64 KiB and 10 s, headers included, and then it is over

Networks that ``allow_private_networks`` lists are public in this sense. A URL may spell an IPv4 address in
one way only: ``2130706433``, ``0x7f.1`` and ``0177.0.0.1`` are all ``127.0.0.1`` to some resolver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 65_536

# At one address at a time: whoever has a thousand pushes reported does not take somebody's server down.
PER_ADDRESS = 4
# Each is a file of the process.
AT_ONCE = 64

MAX_URL_LETTERS = 2048
MAX_ADDRESSES = 4  # of one name

Address: TypeAlias = "IPv4Address | IPv6Address"
Network: TypeAlias = "IPv4Network | IPv6Network"

T = TypeVar("T")

_SCHEMES = {"https": 443, "http": 80}

# RFC 3986 without user and fragment, and in ASCII: letters of other alphabets have to be written as they are
# sent, in Punycode, for some of them become digits and dots on the way.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:[/?](?:[-A-Za-z0-9._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*)?)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# As browsers decide whether a host is meant as an IPv4 address (WHATWG URL §3.5).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Of IPv4, what is not the internet: RFC 6890 and IANA's registry of special-purpose addresses.
_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # "this host": Linux connects to itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # behind a provider's translation (CGNAT)
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, and the metadata of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",  # relays to 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",  # 255.255.255.255 is the last of it
        ),
    )
)
# Of IPv6, this is the internet, and so none of ::1, ::ffff:127.0.0.1, 64:ff9b::/96, fc00::/7, fe80::/10 ...
_GLOBAL_IPV6 = IPv6Network("2000::/3")
# ... but for these: protocols, Teredo among them; documentation; 6to4, with an IPv4 address inside.
_SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


class NotAllowed(Exception):
    """A URL that is not asked. To try again is no use, unless its name means something else by then."""


class NoAnswer(Exception):
    """Nothing that could be understood came back in time."""


class Target(NamedTuple):
    """
    Whom a URL names.

    :ivar host: a name in lower case, or an address without brackets.
    :ivar url: as it is asked for.
    """

    scheme: str
    host: str
    port: int
    url: str


class Answer(NamedTuple):
    """
    What came back.

    :ivar body: as much of it as came within the limits.
    """

    status: int
    headers: Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        """A redirect is none: it is not followed."""
        return 200 <= self.status < 300


def read_url(url: str, *, allow_http: bool = False) -> Target:
    """
    :raises NotAllowed: it is no URL that we would ask, whatever its name means.
    """
    found = _URL.fullmatch(url) if len(url) <= MAX_URL_LETTERS else None
    if found is None:
        raise NotAllowed("it is no URL of https, host and path")
    scheme, host = found["scheme"].lower(), found["host"].lower()
    if scheme == "http" and not allow_http:
        raise NotAllowed("it is not https")
    port = int(found["port"] or _SCHEMES[scheme])
    if not 0 < port < 65_536:
        raise NotAllowed("there is no such port")
    _check_host(host)
    return Target(scheme, host.strip("[]"), port, f"{scheme}://{host}:{port}{found['path'] or '/'}")


def _check_host(host: str) -> None:
    if host.startswith("["):
        if _address(host[1:-1]) is None:
            raise NotAllowed("it has no IPv6 address in its brackets")
        return
    labels = host.removesuffix(".").split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        raise NotAllowed("its host is no name")
    if _NUMBER.fullmatch(labels[-1]) and (host.endswith(".") or _address(host) is None):
        raise NotAllowed("its host is a number, but no IPv4 address as usual")


def _address(text: str) -> Address | None:
    """Python reads four decimal numbers without leading zeros, and nothing else, as IPv4."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether it is one of the internet's, that anybody could ask."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if address.scope_id is not None:
        return False
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


class Outbound:
    """
    Sends requests out.

    :param resolve: the addresses of a name, as texts; fails if there are none. Not asked about addresses.
    :param allowed: networks that may be asked although they are private; as they count now.
    :param allow_http: whether a URL may do without TLS.
    :param tls_options: for a host's name, how to tell that it is it; by default, as this machine does.
    """

    def __init__(
        self,
        reactor: Any,
        resolve: Callable[[str], Deferred[list[str]]],
        *,
        allowed: Callable[[], Sequence[Network]] = tuple,
        allow_http: Callable[[], bool] = lambda: False,
        tls_options: Callable[[str], Any] = optionsForClientTLS,
    ) -> None:
        self._reactor = reactor
        self._resolve = resolve
        self._allowed = allowed
        self._allow_http = allow_http
        self._tls_options = tls_options
        self._everybody = DeferredSemaphore(AT_ONCE)
        self._at: dict[str, tuple[DeferredSemaphore, list[object]]] = {}

    def read(self, url: str) -> Target:
        """
        What can be said about a URL at once: for whoever takes it in, to be used later.

        :raises NotAllowed: it would not be asked.
        """
        target = read_url(url, allow_http=self._allow_http())
        address = _address(target.host)
        if address is not None:
            self._check(address)
        return target

    async def request(self, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """
        Ask, when it is this request's turn at that address.

        :param headers: names and values; ``Host`` and the length of the body are added.
        :raises NotAllowed: it is not asked.
        :raises NoAnswer: it was, or its name was looked up, in vain.
        """
        target = self.read(url)
        addresses = await self._addresses(target)
        sending = Headers({name: [value] for name, value in headers.items()})

        def ask() -> Deferred[Answer]:
            return Deferred.fromCoroutine(self._ask(method, target, addresses, sending, body))

        return await self._in_turn(addresses[0], ask)

    async def _addresses(self, target: Target) -> list[str]:
        if _address(target.host) is not None:
            return [target.host]
        try:
            found = await self._in_time(self._resolve(target.host))
        except Exception as problem:
            raise NoAnswer(f"its name is not known: {_said(problem)}") from None
        if not found:
            raise NoAnswer("its name has no address")
        for text in found:
            address = _address(text)
            if address is None:
                raise NotAllowed("its name has no address of the internet")
            self._check(address)
        return found

    def _check(self, address: Address) -> None:
        if is_public(address):
            return
        if not any(address in network for network in self._allowed()):  # False for the other version's
            raise NotAllowed("its address is private, and allow_private_networks does not name it")

    def _in_turn(self, address: str, ask: Callable[[], Deferred[Answer]]) -> Deferred[Answer]:
        """First the place at that address: who waits for a slow one keeps nobody else from asking."""
        slots, waiting = self._at.setdefault(address, (DeferredSemaphore(PER_ADDRESS), []))
        waiting.append(ask)

        def leave(result: T) -> T:
            waiting.remove(ask)
            if not waiting:
                del self._at[address]
            return result

        return slots.run(self._everybody.run, ask).addBoth(leave)

    async def _ask(
        self, method: str, target: Target, addresses: list[str], headers: Headers, body: bytes
    ) -> Answer:
        pinned = Pinned(self._reactor, addresses, target, self._tls_options)
        agent = Agent.usingEndpointFactory(self._reactor, pinned)
        producer = Body(body) if body else None
        asking = agent.request(method.encode("ascii"), target.url.encode("ascii"), headers, producer)
        try:
            return await self._in_time(asking.addCallback(_read))
        except Exception as problem:
            raise NoAnswer(_said(problem)) from None
        finally:
            pinned.hang_up()

    def _in_time(self, waiting: Deferred[T]) -> Deferred[T]:
        return waiting.addTimeout(TIMEOUT_S, self._reactor)


def _said(problem: Exception) -> str:
    """For a log line: a name of Twisted's says more than a text that a server may have made."""
    reasons = getattr(problem, "reasons", None)  # of ``ResponseFailed`` and its like
    inner = reasons[0].value if reasons else problem
    return type(inner).__name__


@implementer(IAgentEndpointFactory)
class Pinned:
    """
    The way to some addresses, whatever the URL's name means by now.

    The name is still what the certificate has to say, and what ``Host`` says.
    """

    def __init__(
        self, reactor: Any, addresses: list[str], target: Target, tls_options: Callable[[str], Any]
    ) -> None:
        self._reactor = reactor
        self._addresses = addresses[:MAX_ADDRESSES]
        self._target = target
        self._tls_options = tls_options
        self._connections: list[Bounded] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = FirstThatAnswers([self._to(each) for each in self._addresses])
        if self._target.scheme == "https":
            endpoint = wrapClientTLS(self._tls_options(self._target.host), endpoint)
        return BoundedEndpoint(endpoint, self._connections.append)

    def _to(self, address: str) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        timeout_s = TIMEOUT_S / len(self._addresses)
        endpoint: IStreamClientEndpoint = kind(self._reactor, address, self._target.port, timeout=timeout_s)
        return endpoint

    def hang_up(self) -> None:
        """Nothing more is wanted: neither the rest of a long answer, nor an end that never comes."""
        for connection in self._connections:
            connection.hang_up()


@implementer(IStreamClientEndpoint)
class FirstThatAnswers:
    """A host with several addresses may be there at one of them only: they are tried in turn."""

    def __init__(self, endpoints: list[IStreamClientEndpoint]) -> None:
        self._endpoints = endpoints

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        *others, last = self._endpoints
        for endpoint in others:
            with suppress(ConnectError):
                return await endpoint.connect(factory)
        return await last.connect(factory)


@implementer(IStreamClientEndpoint)
class BoundedEndpoint:
    """Connects protocols that hear no more than an answer's worth of bytes."""

    def __init__(self, endpoint: IStreamClientEndpoint, opened: Callable[[Bounded], object]) -> None:
        self._endpoint = endpoint
        self._opened = opened

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        wrapping = WrappingFactory(factory)
        wrapping.noisy = False
        wrapping.protocol = Bounded

        def unwrapped(bounded: Bounded) -> Any:
            self._opened(bounded)
            return bounded.wrappedProtocol

        connecting: Deferred[Any] = self._endpoint.connect(wrapping)
        return connecting.addCallback(unwrapped)


class Bounded(ProtocolWrapper):
    """Counts what comes. Twisted's client takes headers without end."""

    _left = MAX_ANSWER_BYTES
    _open = True

    def dataReceived(self, data: bytes) -> None:
        if not self._open:
            return
        super().dataReceived(data[: self._left])
        self._left -= len(data)
        if self._left <= 0:
            self.hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._open = False
        super().connectionLost(reason)

    def hang_up(self) -> None:
        """At once, without waiting for the other end."""
        if self._open:
            self._open = False
            self.transport.abortConnection()  # type: ignore[union-attr]  # those of TCP and TLS have it


def _read(response: IResponse) -> Deferred[Answer]:
    reading: Deferred[bytes] = Deferred()
    response.deliverBody(Collected(reading))
    return reading.addCallback(lambda body: Answer(response.code, response.headers, body))


class Collected(Protocol):
    """The body of an answer, as far as it comes: what follows from it is decided by its status."""

    def __init__(self, collected: Deferred[bytes]) -> None:
        self._collected = collected
        self._parts: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._collected.called:
            self._collected.callback(b"".join(self._parts))


@implementer(IBodyProducer)
class Body:
    """A body that is there as a whole."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """All of it was written at once."""

    def resumeProducing(self) -> None:
        """The same."""

    def stopProducing(self) -> None:
        """The same."""
