"""
What ntfy's clients ask about the server as a whole.

    GET /v1/stats      {"messages": 4711, "messages_rate": 0.5}: since the start, and per second of late
    GET /v1/version    {"version": "0.1.0", "commit": "", "date": ""}, for administrators
"""

from __future__ import annotations

from pushd.gateway.http.openapi import described, integer, number, record, text
from pushd.gateway.http.pages import json_answer, json_app
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard
from pushd.gateway.status import Status


class ServerPages:
    """``/v1/stats`` and ``/v1/version``."""

    app = json_app()

    def __init__(self, guard: Guard, status: Status) -> None:
        self._guard = guard
        self._status = status

    @app.route("/stats", methods=["GET"])
    @described(
        "How many messages were published",
        answer=record(["messages", "messages_rate"], messages=integer(), messages_rate=number("Per second")),
    )
    async def stats(self, request: GatewayRequest) -> bytes:
        await self._guard.identify(request)
        now = self._status.now()
        rate = now["figures"].get("messages_received_per_s") or 0.0  # nothing until the first sample
        return json_answer(request, {"messages": now["messages_received"], "messages_rate": float(rate)})

    @app.route("/version", methods=["GET"])
    @described(
        "What this server is, for administrators",
        answer=record(["version", "commit", "date"], version=text(), commit=text(), date=text()),
    )
    async def version(self, request: GatewayRequest) -> bytes:
        await self._guard.identify_admin(request)
        return json_answer(request, {"version": self._status.now()["version"], "commit": "", "date": ""})
