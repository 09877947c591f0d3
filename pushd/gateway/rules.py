"""
The rules that the server goes by, as their files say them.

    GET /v1/rules    {"files": [{"option": "acl_file", "path": "conf/acl", "text": "..."}]}

For administrators: access rules tell who there is. A file that has changed since it was read is shown as it
is now; after SIGHUP the two are the same, or the log says why not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from twisted.internet.defer import Deferred

from pushd.gateway.http.openapi import described, listed, record, text
from pushd.gateway.http.pages import json_answer, json_app
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard


@dataclass(frozen=True, slots=True)
class RuleFile:
    """
    :ivar option: the option that names it.
    :ivar text: what it says; empty if it cannot be read.
    """

    option: str
    path: str
    text: str


_FILES = record(
    ["files"], files=listed(record(["option", "path", "text"], option=text(), path=text(), text=text()))
)


class RulePages:
    """``/v1/rules``."""

    app = json_app()

    def __init__(self, guard: Guard, read: Callable[[], Deferred[list[RuleFile]]]) -> None:
        """:param read: reads the files, not in the reactor's thread."""
        self._guard = guard
        self._read = read

    @app.route("/rules", methods=["GET"])
    @described("The rules that the server goes by, for administrators", answer=_FILES)
    async def rules(self, request: GatewayRequest) -> bytes:
        """All of them, in the order of `pushd.conf`."""
        await self._guard.identify_admin(request)
        return json_answer(request, {"files": [asdict(file) for file in await self._read()]})
