"""
What is published, as it comes.

    GET /v1/listen?filter=sensors/%23    server-sent events, one for each message that the caller may read

    data: {"time":1700000000,"topic":"sensors/cellar","qos":1,"retain":false,"payload":"21.5"}

A payload that is no UTF-8 comes as ``payload_base64`` instead. Nothing is kept for this reader: it gets what
comes while it is there, as a client does with QoS 0.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from pushd.broker.message import Message
from pushd.gateway.http.events import Listening, Streams, feed
from pushd.gateway.http.openapi import EVENTS, described, text
from pushd.gateway.http.pages import json_app
from pushd.gateway.http.problems import TOPIC_INVALID, Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard


class ListenPage:
    """
    ``/v1/listen``.

    :param now: Unix seconds.
    """

    app = json_app()

    def __init__(
        self, guard: Guard, listening: Listening, streams: Streams, now: Callable[[], float]
    ) -> None:
        self._guard = guard
        self._listening = listening
        self._streams = streams
        self._now = now

    @app.route("/listen", methods=["GET"])
    @described(
        "What is published, as it comes", query={"filter": text("A topic filter of MQTT")}, answers=EVENTS
    )
    async def listen(self, request: GatewayRequest) -> None:
        """
        :raises Refusal: 40009 for what is no topic filter, 40301 where the caller may not listen, 42903.
        """
        caller = await self._guard.identify(request)
        try:
            filter = request.argument(b"filter").decode()
        except UnicodeDecodeError:
            raise Refusal(TOPIC_INVALID) from None
        stream = self._streams.prepare(request, caller)
        await feed(stream, self._listening, caller, filter, lambda *came: stream.send(self._told(*came)))
        stream.begin()
        await stream.until_over()

    def _told(self, topic: str, message: Message) -> dict[str, Any]:
        told: dict[str, Any] = {
            "time": int(self._now()),
            "topic": topic,
            "qos": int(message.qos),
            "retain": message.retain,
        }
        try:
            return {**told, "payload": message.payload.decode()}
        except UnicodeDecodeError:
            return {**told, "payload_base64": base64.b64encode(message.payload).decode()}
