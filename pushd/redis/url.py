"""
Where Redis is, as one line says it.

    redis://[USER:PASSWORD@]HOST[:PORT][/DB]          TCP
    rediss://[USER:PASSWORD@]HOST[:PORT][/DB]         TLS; ?ssl_ca_certs=PATH for a CA of one's own
    unix://[USER:PASSWORD@]/PATH[?db=DB]              a Unix socket

These are the forms that redis-cli and other clients know. ``:PASSWORD@`` is a password without a user. What
would mean something else in a URL is written as ``%XX``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pushd.redis.errors import BadUrl

PORT = 6379
SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class Address:
    """
    :ivar path: of a Unix socket; "" for TCP.
    :ivar password: ``None``: nobody asks for one.
    :ivar username: ``None``: Redis's default user.
    :ivar ca_file: of PEM certificates that the server's is to come from; ``None``: the system's.
    """

    host: str = ""
    port: int = PORT
    path: str = ""
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    ca_file: str | None = None

    def __str__(self) -> str:
        """For the log: no password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


def parse_url(text: str) -> Address:
    """:raises BadUrl: it is none of the forms above."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadUrl("the URL of Redis has a port that is none, or brackets out of place") from None
    if parts.scheme not in SCHEMES:
        raise BadUrl(f"the URL of Redis does not begin with {', '.join(f'{word}://' for word in SCHEMES)}")
    if parts.fragment:
        raise BadUrl("the URL of Redis has a '#' in it; in a password it is written %23")
    return _unix(parts) if parts.scheme == "unix" else _tcp(parts, PORT if port is None else port)


def _tcp(parts: SplitResult, port: int) -> Address:
    if not parts.hostname:
        raise BadUrl("the URL of Redis names no host")
    if port == 0:
        raise BadUrl("the URL of Redis has port 0")
    tls = parts.scheme == "rediss"
    query = _query(parts, {"ssl_ca_certs"} if tls else set())
    return Address(
        host=unquote(parts.hostname),
        port=port,
        tls=tls,
        username=_decoded(parts.username) or None,
        password=_decoded(parts.password),
        db=_db(parts.path.strip("/")),
        ca_file=query.get("ssl_ca_certs"),
    )


def _unix(parts: SplitResult) -> Address:
    if parts.hostname or len(parts.path) < 2:
        raise BadUrl("the URL of Redis needs an absolute path, as in unix:///run/redis/redis.sock")
    return Address(
        path=unquote(parts.path),
        username=_decoded(parts.username) or None,
        password=_decoded(parts.password),
        db=_db(_query(parts, {"db"}).get("db", "")),
    )


def _query(parts: SplitResult, known: set[str]) -> dict[str, str]:
    query = parse_qs(parts.query, keep_blank_values=True)
    if set(query) - known:
        raise BadUrl("the URL of Redis has something behind '?' that is not known there")
    return {name: values[-1] for name, values in query.items()}


def _db(text: str) -> int:
    if not text:
        return 0
    # Redis itself says whether it has so many.
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadUrl("the URL of Redis has a database that is no number")
    return int(text)


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)
