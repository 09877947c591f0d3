"""What others call this gateway: in URLs that it hands out, and in tokens that are made for it."""

from __future__ import annotations

from collections.abc import Callable

from pushd.gateway.http.request import GatewayRequest


class OwnAddress:
    """
    What others call this gateway.

    :param base_url: asked for at each request, for a reload may change it. Empty if nobody has said it: then
        it is what each caller calls us.
    """

    def __init__(self, base_url: Callable[[], str]) -> None:
        self._base_url = base_url

    def base(self, request: GatewayRequest) -> str:
        """Such as ``https://push.example.com``, without a slash at the end."""
        return self._base_url().rstrip("/") or f"{_scheme(request)}://{_host(request)}"

    def origins(self, request: GatewayRequest) -> frozenset[str]:
        """What a token may be made for. Behind a proxy we cannot know by which scheme we are called."""
        said = self._base_url()
        if said:
            return frozenset({_origin(said)})
        return frozenset({f"{scheme}://{_host(request)}" for scheme in ("http", "https")})


def _scheme(request: GatewayRequest) -> str:
    return "https" if request.isSecure() else "http"


def _host(request: GatewayRequest) -> str:
    """As the channel has let it pass: no character of it can end a URL's authority."""
    return (request.getHeader(b"host") or b"localhost").decode("ascii").lower()


def _origin(url: str) -> str:
    """Without a path, and in lower case as senders have it (RFC 6454 §4)."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}".lower()
