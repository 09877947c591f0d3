"""
Where ntfy looks for a parameter: under each of its names among the headers, then under each in the query.

    look_up(request, "x-since", "since", "si")
"""

from __future__ import annotations

from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.ntfy.parameters import HTTP_PRIORITY, TRUE, header_text


def look_up(request: GatewayRequest, *names: str) -> str:
    """:return: the first that is said and not empty; empty if nothing is."""
    for name in names:
        text = header_text(request.getHeader(name.encode("ascii")) or b"")
        if text and not (name == "priority" and HTTP_PRIORITY.fullmatch(text)):
            return text
    said = (request.argument(name.encode("ascii")) for name in names)
    return next((text for text in (value.decode("utf-8", "replace").strip() for value in said) if text), "")


def is_true(request: GatewayRequest, *names: str) -> bool:
    """ntfy's booleans: whatever is not yes is no."""
    return look_up(request, *names).lower() in TRUE
