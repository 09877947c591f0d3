"""
What a proxy in front of the gateway says about its callers: where they come from, and who they are.

    X-Forwarded-For: 203.0.113.9, 10.0.0.3      from the caller's end to ours, each added by the next proxy
    X-Forwarded-User: anna                      by the name of ``proxy_user_header``

Both are headers like any other, which anybody may send. They count from addresses that are trusted
(``trusted_proxy``) and mean nothing from elsewhere. Who a caller is, the proxy alone decides: it has to take
the header away from requests in which it did not put it itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest

Network: TypeAlias = "IPv4Network | IPv6Network"

# Proxies between a caller and us that are believed. Whoever needs more is lying.
MAX_HOPS = 20

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Trust:
    """
    :ivar networks: where trusted proxies are.
    :ivar unix: whether who comes by a Unix socket is one.
    :ivar user_header: by which they say who somebody is; empty if they do not.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False
    user_header: str = ""

    def includes(self, address: str) -> bool:
        """
        :param address: as in `pushd.broker.interfaces.Credentials`, with or without a port.
        """
        if address.startswith("unix"):
            return self.unix
        return self.networks != () and self._includes_host(_host_of(address))

    def _includes_host(self, host: str) -> bool:
        try:
            found = ip_address(host)
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self.networks)


NOBODY = Trust()


class Proxies:
    """
    :param trust: whom to trust; asked each time, for a reload replaces it.
    """

    def __init__(self, trust: Callable[[], Trust] = lambda: NOBODY) -> None:
        self._trust = trust

    def address_of(self, request: GatewayRequest, peer: str) -> str:
        """
        Where a request comes from: the last address that no trusted proxy has. What stands before it was
        said by somebody whom we do not know.

        :param peer: the address that we see.
        :return: an address of the same form. The port of a forwarded one is 0: nobody tells.
        """
        trust = self._trust()
        if not trust.includes(peer):
            return peer
        address = peer
        for said in reversed(_forwarded(request)):
            host = _plain(said)
            if host is None:
                break
            address = f"[{host}]:0" if ":" in host else f"{host}:0"
            if not trust.includes(address):
                break
        return address

    def user_of(self, request: GatewayRequest, peer: str) -> str | None:
        """
        Who a trusted proxy says this is; ``None`` if it says nothing.

        :raises Refusal: 40101, what it says is no name.
        """
        trust = self._trust()
        if not trust.user_header or not trust.includes(peer):
            return None
        said = request.requestHeaders.getRawHeaders(trust.user_header.encode("ascii"), ())
        if not any(value.strip() for value in said):
            return None
        return _name(said)


def _forwarded(request: GatewayRequest) -> list[bytes]:
    """The nearest proxy's word is the last one. Several lines are one (RFC 9110 §5.3)."""
    lines = request.requestHeaders.getRawHeaders(b"x-forwarded-for", ())
    return [hop.strip() for line in lines for hop in line.split(b",")][-MAX_HOPS:]


def _plain(said: bytes) -> str | None:
    """An address, without the port that some proxies add; ``None`` for what is none."""
    try:
        text = said.decode("ascii")
        host = _host_of(text) if text.startswith("[") or text.count(":") == 1 else text
        return str(ip_address(host))
    except ValueError:
        return None


def _host_of(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0]


def _name(said: Sequence[bytes]) -> str:
    """One name. Of two the proxy has not sent one, and which that is we cannot tell."""
    try:
        (value,) = said
        name = value.strip().decode()
    except ValueError:
        raise Refusal(problems.UNAUTHORIZED) from None
    if _CONTROL.search(name):
        raise Refusal(problems.UNAUTHORIZED)
    return name
