"""How the far end of a connection is written in log lines, and told to those who check who is there."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import UNIXAddress

# An IPv4 client of a socket that takes both families (RFC 4291 §2.5.5.2).
_MAPPED = "::ffff:"


def peer_address(transport: Any) -> str:
    """
    Where a connection comes from: ``192.0.2.7:4711``, ``[2001:db8::7]:4711``, or ``unix:/run/pushd.sock``.

    :param transport: any of Twisted's, or the channel of one.
    """
    peer = transport.getPeer()
    if isinstance(peer, UNIXAddress):
        # Clients seldom bind their own end; what tells them apart from others is the door they came through.
        return _unix(peer) or _unix(transport.getHost()) or "unix"
    host = plain_host(peer.host if hasattr(peer, "host") else str(peer))
    port = getattr(peer, "port", "")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain_host(host: str) -> str:
    """The same host, an IPv4 address in IPv6's clothes without them."""
    plain = host.removeprefix(_MAPPED)
    return plain if "." in plain else host


def _unix(address: object) -> str:
    name = getattr(address, "name", None)
    return "" if name is None else f"unix:{name.decode('utf-8', 'backslashreplace')}"
